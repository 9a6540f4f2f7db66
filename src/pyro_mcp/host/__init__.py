"""Processes, files and locks of this host."""
