"""Which lines two versions of a text have in common, within a bounded amount of work.

Lines that occur once on each side split the texts (the patience method); what is left between
two such lines is compared with Myers' greedy algorithm ("An O(ND) Difference Algorithm and Its
Variations", 1986). When the work allowed is used up, what is left counts as different: the result
is always right, and only then longer than it need be.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Range = tuple[int, int, int, int]

WORK = 2_000_000
"""Steps of the inner loops for one pair of texts: about a second at the very worst."""
_FURTHEST = 700
"""Differing lines of one range beyond which Myers gives up; memory grows with its square."""


class Allowance:
    """Work that several comparisons may take together: who writes the texts may be hostile."""

    def __init__(self, work: int = WORK) -> None:
        self.left = work


def changes(
    old: Sequence[bytes], new: Sequence[bytes], allowance: Allowance | None = None
) -> list[Range]:
    """The ranges that differ, in order: `old[a:b]` became `new[c:d]`, as (a, b, c, d)."""
    if allowance is None:
        allowance = Allowance()
    given = min(WORK, allowance.left)
    matching = _Matching(old, new, given)
    found = matching.run()
    allowance.left -= given - max(0, matching.work)
    return found


class _Matching:
    def __init__(self, old: Sequence[bytes], new: Sequence[bytes], work: int) -> None:
        numbers: dict[bytes, int] = {}
        self._old = [numbers.setdefault(line, len(numbers)) for line in old]
        self._new = [numbers.setdefault(line, len(numbers)) for line in new]
        self.work = work
        self._found: list[Range] = []

    def run(self) -> list[Range]:
        todo = [(0, len(self._old), 0, len(self._new))]
        while todo:
            a, b, c, d = self._trimmed(*todo.pop())
            if a == b or c == d:
                if a != b or c != d:
                    self._found.append((a, b, c, d))
                continue
            anchors = self._anchors(a, b, c, d) if self._spend(b - a + d - c) else []
            if anchors:
                todo += self._between(anchors, a, b, c, d)
            else:
                self._found += self._greedy(a, b, c, d)
        return _joined(sorted(self._found))

    def _spend(self, steps: int) -> bool:
        self.work -= steps
        return self.work > 0

    def _trimmed(self, a: int, b: int, c: int, d: int) -> Range:
        old, new = self._old, self._new
        while a < b and c < d and old[a] == new[c]:
            a += 1
            c += 1
        while a < b and c < d and old[b - 1] == new[d - 1]:
            b -= 1
            d -= 1
        return a, b, c, d

    def _anchors(self, a: int, b: int, c: int, d: int) -> list[tuple[int, int]]:
        once_old = _once(self._old, a, b)
        once_new = _once(self._new, c, d)
        pairs = [(i, once_new[line]) for line, i in once_old.items() if line in once_new]
        pairs.sort()
        return _longest_rising(pairs)

    @staticmethod
    def _between(
        anchors: list[tuple[int, int]], a: int, b: int, c: int, d: int
    ) -> list[tuple[int, int, int, int]]:
        parts = []
        for i, j in anchors:
            parts.append((a, i, c, j))
            a, c = i + 1, j + 1
        parts.append((a, b, c, d))
        return parts

    def _greedy(self, a: int, b: int, c: int, d: int) -> list[Range]:
        """Myers over one range, remembering the furthest points of each round to go back by."""
        old, new = self._old, self._new
        n, m = b - a, d - c
        furthest = {1: 0}
        rounds: list[dict[int, int]] = []
        for distance in range(min(n + m, _FURTHEST) + 1):
            if not self._spend(distance + 1):
                break
            rounds.append(furthest)
            following: dict[int, int] = {}
            for k in range(-distance, distance + 1, 2):
                down, right = furthest.get(k + 1, -1), furthest.get(k - 1, -1)
                x = down if right < down else right + 1
                y = x - k
                # Outside, or reached from outside: a neighbour gets further than this one could.
                if x > n or y > m or down == right == -1:
                    continue
                while x < n and y < m and old[a + x] == new[c + y]:
                    x += 1
                    y += 1
                following[k] = x
                if x == n and y == m:
                    return self._way_back(rounds, a, b, c, d)
            furthest = following
        return [(a, b, c, d)]

    @staticmethod
    def _way_back(rounds: list[dict[int, int]], a: int, b: int, c: int, d: int) -> list[Range]:
        found = []
        x, y = b - a, d - c
        for distance in range(len(rounds) - 1, 0, -1):
            furthest = rounds[distance]
            k = x - y
            down, right = furthest.get(k + 1, -1), furthest.get(k - 1, -1)
            if right < down:
                x, y = down, down - k - 1
                found.append((a + x, a + x, c + y, c + y + 1))
            else:
                x, y = right, right - k + 1
                found.append((a + x, a + x + 1, c + y, c + y))
        return found


def _once(lines: list[int], start: int, end: int) -> dict[int, int]:
    seen: dict[int, int] = {}
    for at in range(start, end):
        seen[lines[at]] = -1 if lines[at] in seen else at
    return {line: at for line, at in seen.items() if at >= 0}


def _longest_rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of pairs sorted by the first number, the most whose second numbers rise as well."""
    tops: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for at, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        before.append(ends[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(j)
            ends.append(at)
        else:
            tops[pile], ends[pile] = j, at
    chain = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def _joined(found: list[Range]) -> list[Range]:
    """Neighbours made one."""
    out: list[Range] = []
    for a, b, c, d in found:
        if out and out[-1][1] == a and out[-1][3] == c:
            out[-1] = (out[-1][0], b, out[-1][2], d)
        else:
            out.append((a, b, c, d))
    return out
