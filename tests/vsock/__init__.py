"""The vsock device, driven by a front end and a guest of our own."""
