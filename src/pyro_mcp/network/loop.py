"""The gateway's loop: descriptors to wait for, and a tick for what must not take for ever."""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    OnReady = Callable[[int], None]

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_TICK_SECONDS = 1.0


class Loop:
    """Calls back, one thing at a time, until it is stopped."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._on_tick: list[Callable[[float], bool]] = []
        self._running = True

    def watch(self, sock: socket.socket, events: int, on_ready: OnReady) -> None:
        """Call `on_ready` with what `sock` is ready for; with no events, never."""
        if sock in self._selector.get_map():
            if events:
                self._selector.modify(sock, events, on_ready)
            else:
                self._selector.unregister(sock)
        elif events:
            self._selector.register(sock, events, on_ready)

    def forget(self, sock: socket.socket) -> None:
        """No longer wait for it; before it is closed."""
        self.watch(sock, 0, lambda _events: None)

    def each_tick(self, on_tick: Callable[[float], bool]) -> None:
        """Call it about every second with the monotonic time; it says whether it waits for more."""
        self._on_tick.append(on_tick)

    def run(self) -> None:
        """Go on until `stop`."""
        waiting, ticked = True, time.monotonic()
        while self._running:
            # Every event may be the beginning of a wait.
            ready = self._selector.select(_TICK_SECONDS if waiting else None)
            for key, events in ready:
                if self._selector.get_map().get(key.fd) is key:
                    key.data(events)
            now = time.monotonic()
            if now - ticked >= _TICK_SECONDS:
                ticked = now
                waiting = False
                for on_tick in self._on_tick:
                    waiting = on_tick(now) or waiting
            else:
                waiting = True

    def stop(self) -> None:
        """Leave the loop after this event."""
        self._running = False
