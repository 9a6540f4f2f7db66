"""Ways into agent frameworks; each module imports its framework only when it is imported itself."""
