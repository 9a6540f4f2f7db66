"""The jail: what confines a guest kernel on the host."""
