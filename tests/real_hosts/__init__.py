"""Real command lines of chat hosts: large, and started by `scripts/dev test-hosts` alone."""
