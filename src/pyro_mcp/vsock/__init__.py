"""The vsock device: its backend in the monitor."""
