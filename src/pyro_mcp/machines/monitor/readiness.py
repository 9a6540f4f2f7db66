"""The agent's first word: one REPLY frame on the ready port."""

from __future__ import annotations

import _socket

from pyro_mcp import protocol
from pyro_mcp.machines.monitor.polling import EVENT_READ

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.machines.monitor.polling import Selector


class Readiness:
    """Reads the agent's report from `guest_end`'s other side, then closes it."""

    def __init__(
        self,
        selector: Selector,
        on_ready: Callable[[dict[str, object]], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._selector = selector
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._decoder = protocol.Decoder(protocol.FROM_GUEST)
        self._ours, self.guest_end = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._ours.setblocking(False)
        selector.register(self._ours, EVENT_READ, self._read)

    def _read(self, _mask: int) -> None:
        try:
            data = self._ours.recv(4096)
            frames = self._decoder.feed(data)
            if data and not frames:
                return
            report = protocol.parse_json(frames[0][1]) if frames else None
        except protocol.VersionMismatchError as error:
            self._finish()
            self._on_failure(f"{error}")
        except protocol.ProtocolError as error:
            self._finish()
            self._on_failure(f"the agent's report is not understood: {error}")
        except OSError as error:
            self._finish()
            self._on_failure(f"the agent's report broke off: {error}")
        else:
            self._finish()
            if report is None:
                self._on_failure("the agent's report broke off")
            else:
                self._on_ready(report)

    def _finish(self) -> None:
        self._selector.unregister(self._ours)
        self._ours.close()
