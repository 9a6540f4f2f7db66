"""What crosses the boundary between host and guest as data."""
