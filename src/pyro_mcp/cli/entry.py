"""The console script: what can be interrupted before the rest is loaded."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` without what it loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # Nothing is begun yet: until `main.main` takes it over, it ends this process as any other.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def main() -> NoReturn:
    """Run `pyro` on the words of this process."""
    from pyro_mcp.cli import main as cli

    cli.main()
