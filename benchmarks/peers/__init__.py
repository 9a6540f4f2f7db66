"""What pyro is compared with, one module each; all run the same tree of files."""
