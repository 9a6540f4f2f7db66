"""A command's output, kept within bounds."""

from __future__ import annotations

from collections import deque


class BoundedOutput:
    """Keeps the head and the tail of one stream; what lies between is counted and left out."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes; 0 keeps nothing."""
        self._head_room = limit // 2
        self._tail_room = limit - limit // 2
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.total = 0
        """Bytes the command wrote."""

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self.total += len(data)
        if self._head_room:
            taken = data[: self._head_room]
            self._head.append(taken)
            self._head_room -= len(taken)
            data = data[len(taken) :]
        if data and self._tail_room:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= self._tail_room:
                self._tail_size -= len(self._tail.popleft())

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return self.left_out > 0

    @property
    def left_out(self) -> int:
        """Bytes between head and tail that were not kept."""
        return self.total - sum(map(len, self._head)) - min(self._tail_size, self._tail_room)

    def text(self) -> str:
        """As text: bytes that are not UTF-8 are replaced, a line tells what was left out."""
        head = b"".join(self._head)
        tail = b"".join(self._tail)[-self._tail_room :] if self._tail else b""
        if not self.truncated:
            return (head + tail).decode("utf-8", "replace")
        note = f"\n[... {self.left_out} bytes left out ...]\n"
        return head.decode("utf-8", "replace") + note + tail.decode("utf-8", "replace")
