"""What was measured, as series and as text: median, spread, count, and ratios to the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was measured, or the reason why it was not."""

    label: str
    series: tuple[float, ...] = ()
    """One value a round, in the order they were taken."""
    goal: str = ""
    """What pyro promises, in words; nothing is compared with it here."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that were measured in turn, so that a ratio of two is one of the same moments."""

    title: str
    unit: str
    rows: Sequence[Row]
    references: Sequence[str] = ()
    """Labels of rows that all others are divided by; one column each."""
    digits: int = 3
    remarks: Sequence[str] = ()

    def text(self) -> str:
        """The table as lines for a terminal."""
        names = [label for label in self.references if self._row(label).series]
        head = ["", f"median {self.unit}", "min .. max", "n", *(f"/ {name}" for name in names)]
        lines = [[*self._cells(row, names), _remark(row)] for row in self.rows]
        return _grid(self.title, [*head, ""], lines, self.remarks)

    def to_dict(self) -> dict[str, Any]:
        """The raw series."""
        return {
            "title": self.title,
            "unit": self.unit,
            "series": {row.label: list(row.series) for row in self.rows if row.series},
            "not_measured": {row.label: row.note for row in self.rows if not row.series},
        }

    def _row(self, label: str) -> Row:
        return next(row for row in self.rows if row.label == label)

    def _cells(self, row: Row, references: Sequence[str]) -> list[str]:
        if not row.series:
            return [row.label, "-", "", "", *("" for _ in references)]
        low, middle, high = (
            f"{value:.{self.digits}f}"
            for value in (min(row.series), median(row.series), max(row.series))
        )
        ratios = (ratio(row.series, self._row(label).series) for label in references)
        return [
            row.label, middle, f"{low} .. {high}", str(len(row.series)),
            *(f"{value:.2f}" for value in ratios),
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Medians only: one row a step, one column a subject."""

    title: str
    unit: str
    columns: Mapping[str, Mapping[str, Sequence[float]]]
    """Subject, then step, then its series."""
    digits: int = 2
    remarks: Sequence[str] = ()

    def text(self) -> str:
        """The table as lines for a terminal."""
        steps = dict.fromkeys(step for column in self.columns.values() for step in column)
        lines = [
            [step, *(self._cell(column.get(step, ())) for column in self.columns.values())]
            for step in steps
        ]
        return _grid(self.title, [f"median {self.unit}", *self.columns], lines, self.remarks)

    def to_dict(self) -> dict[str, Any]:
        """The raw series."""
        series = {
            subject: {step: list(values) for step, values in column.items()}
            for subject, column in self.columns.items()
        }
        return {"title": self.title, "unit": self.unit, "series": series}

    def _cell(self, series: Sequence[float]) -> str:
        return f"{median(series):.{self.digits}f}" if series else "-"


def ratio(series: Sequence[float], reference: Sequence[float]) -> float:
    """Median of the ratios round by round: what slowed both down in a round cancels out."""
    if len(series) == len(reference):
        return median(a / b for a, b in zip(series, reference, strict=True))
    return median(series) / median(reference)


def _remark(row: Row) -> str:
    return "; ".join(part for part in (row.goal and f"goal {row.goal}", row.note) if part)


def _grid(
    title: str, head: Sequence[str], lines: Sequence[Sequence[str]], remarks: Sequence[str]
) -> str:
    cells = [list(head), *map(list, lines)]
    # The last column of a table with remarks may be long, and needs no padding.
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    shown = []
    for line in cells:
        first, *rest = (
            cell.ljust(width) if column in (0, len(head) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        shown.append("  ".join((first, *rest)).rstrip())
    rule = "-" * max(len(line) for line in shown[:1])
    return "\n".join((title, shown[0], rule, *shown[1:], *(f"  {text}" for text in remarks)))
