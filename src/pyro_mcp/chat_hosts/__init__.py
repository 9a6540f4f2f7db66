"""Chat programs that can use pyro's tools: their configuration files, and one entry in each."""
