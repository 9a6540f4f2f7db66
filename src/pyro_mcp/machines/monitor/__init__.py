"""The monitor: the one process that holds a machine."""
