"""What this host can do, and what to do about the rest."""
