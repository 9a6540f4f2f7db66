"""State: one SQLite database per state directory, the only index of what exists."""
