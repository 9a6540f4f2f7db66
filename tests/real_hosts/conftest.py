"""The hosts are large: their tests are collected only for `scripts/dev test-hosts`."""

import os

collect_ignore_glob = [] if "PYRO_TEST_HOSTS" in os.environ else ["test_*.py"]
