"""Measurements of pyro beside what else one could use, taken in the same run."""
