"""What tests share: waiting for facts, looking at the system, naming what the host lacks.

Nothing here asserts anything about pyro.
"""

from tests.support.needs import needs
from tests.support.processes import is_running
from tests.support.waiting import until

__all__ = ["is_running", "needs", "until"]
