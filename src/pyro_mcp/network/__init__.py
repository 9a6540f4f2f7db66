"""The network of a guest: what it may reach, and the way there."""
