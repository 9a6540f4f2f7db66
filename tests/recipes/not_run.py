"""The only documented commands that the tests do not run, each with the reason."""

NOT_RUN = {
    "scripts/dev demo": "makes the .venv that the tests run in; CI starts with the same set-up",
    "scripts/dev test": "is what runs this test",
    "apt-get update": "changes the host, as root; the set-up does it where it is needed",
    "apt-get install -y --no-install-recommends bubblewrap mmdebstrap uidmap python3-venv":
        "changes the host, as root; tests/rules compare the packages with scripts/packages",
    "python3 -m venv ~/pyro": "tests/packaging installs the built wheel in the same way",
    "~/pyro/bin/pip install .": "tests/packaging installs the built wheel in the same way",
}  # fmt: skip
"""A line of a page → why it is left out. Everything else in a `sh` block runs as written."""
