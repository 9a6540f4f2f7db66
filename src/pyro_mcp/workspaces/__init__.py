"""Workspaces: computers that are kept, across calls and processes."""
