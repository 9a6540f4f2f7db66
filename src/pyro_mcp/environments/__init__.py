"""Environments: from catalogue entries to read-only images."""
