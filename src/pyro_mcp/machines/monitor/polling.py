"""Waiting for descriptors, and giving back what is owned: what `selectors` and `contextlib` do.

These two bring `collections`, `functools` and `enum` along, which take as long to load as all of
the monitor, and a kernel that boots waits for it.
"""

from __future__ import annotations

import select

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Protocol, Self

    class HasDescriptor(Protocol):
        """A socket, say."""

        def fileno(self) -> int:
            """Its descriptor."""


EVENT_READ, EVENT_WRITE = 1, 2  # as in `selectors`


class Key:
    """What was registered."""

    def __init__(self, data: Callable[[int], object]) -> None:
        self.data = data


class Selector:
    """Level-triggered; `for key, mask in selector.select(): key.data(mask)`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, Key] = {}

    def register(
        self, watched: int | HasDescriptor, events: int, data: Callable[[int], object]
    ) -> None:
        """Watch a descriptor, or what has one, for reading or writing or both."""
        descriptor = _descriptor(watched)
        self._epoll.register(descriptor, _mask(events))
        self._keys[descriptor] = Key(data)

    def modify(
        self, watched: int | HasDescriptor, events: int, data: Callable[[int], object]
    ) -> None:
        """Change a registration."""
        descriptor = _descriptor(watched)
        self._epoll.modify(descriptor, _mask(events))
        self._keys[descriptor] = Key(data)

    def unregister(self, watched: int | HasDescriptor) -> None:
        """Stop watching; before it is closed. `KeyError` if it is not watched."""
        descriptor = _descriptor(watched)
        del self._keys[descriptor]
        self._epoll.unregister(descriptor)

    def watches(self, watched: int | HasDescriptor) -> bool:
        """Whether it is registered."""
        return _descriptor(watched) in self._keys

    def select(self, timeout: float | None = None) -> list[tuple[Key, int]]:
        """Wait, for ever or that many seconds; an end or an error is ready both ways."""
        ready = []
        for descriptor, events in self._epoll.poll(timeout):
            key = self._keys.get(descriptor)
            if key is not None:
                readable = EVENT_READ if events & ~select.EPOLLOUT else 0
                ready.append((key, readable | (EVENT_WRITE if events & ~select.EPOLLIN else 0)))
        return ready

    def close(self) -> None:
        """Give back its descriptor; what was watched is its owners'."""
        self._epoll.close()
        self._keys.clear()


class Owned:
    """Calls to make at the end, last in first out; each is made whatever another raises."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def callback(self, call: Callable[..., object], *arguments: Any) -> None:
        """One more."""
        self._calls.append((call, arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        while self._calls:
            call, arguments = self._calls.pop()
            try:
                call(*arguments)
            except BaseException:
                self.__exit__(kind, error, at)
                raise


def _descriptor(watched: int | HasDescriptor) -> int:
    return watched if isinstance(watched, int) else watched.fileno()


def _mask(events: int) -> int:
    reading = select.EPOLLIN if events & EVENT_READ else 0
    return reading | (select.EPOLLOUT if events & EVENT_WRITE else 0)
