"""The SDK: `Pyro` and the manager behind it."""
