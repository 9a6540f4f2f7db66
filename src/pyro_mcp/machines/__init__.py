"""Machines: one running guest each, and the process that holds it."""
