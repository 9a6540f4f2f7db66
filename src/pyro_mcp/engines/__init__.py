"""Engines: ways to run a guest kernel."""
