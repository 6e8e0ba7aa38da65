"""A figure beside its bar, the figures of one measure, and both as text."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HEAD = ("what", "rows", "figure", "95 % interval", "baseline", "floor", "stretch", "met", "beside")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, the interval that it lies in, the same of the baseline in the same run, and its bars. `less`: the smaller the better.

    `rows` is what it rests on. `beside` is what else is to be known of it, in words.
    """

    what: str
    value: float
    rows: int = 0
    between: tuple[float, float] | None = None
    baseline: float | None = None
    floor: float | None = None
    stretch: float | None = None
    less: bool = False
    unit: str = ""
    beside: str = ""

    @property
    def met(self) -> str:
        """Which bar the figure itself meets; the interval may reach below it."""
        for name, bar in (("stretch", self.stretch), ("floor", self.floor)):
            if bar is not None and (self.value <= bar if self.less else self.value >= bar):
                return name
        return "" if self.floor is None else "no"

    def cells(self) -> tuple[str, ...]:
        """The figure as texts, in the order of `HEAD`."""
        between = "" if self.between is None else " to ".join(map(self._said, self.between))
        bars = ("" if bar is None else f"{'at most ' if self.less else ''}{self._said(bar)}" for bar in (self.floor, self.stretch))
        rows = f"{self.rows:,}" if self.rows else ""
        baseline = "" if self.baseline is None else self._said(self.baseline)
        return self.what, rows, self._said(self.value), between, baseline, *bars, self.met, self.beside

    def _said(self, value: float) -> str:
        if self.unit == "%":
            return f"{value:.1%}"
        return f"{value:.1f} {self.unit}" if self.unit else f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a plot: the plot's name, the line's, and its points, with what lies between `low` and `high` where that is known."""

    plot: str
    name: str
    x: list[float]
    y: list[float]
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Section:
    """What one measure found: figures, how they came about in a sentence or two (`note`), and curves."""

    name: str
    title: str
    note: str
    figures: list[Figure]
    curves: list[Curve] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For `figures.json`; numbers are rounded so that a repeated run gives the same file."""
        return _rounded(asdict(self))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Section:
        """The section that `as_json` gave."""
        return cls(
            found["name"],
            found["title"],
            found["note"],
            [Figure(**{**one, "between": one["between"] and tuple(one["between"])}) for one in found["figures"]],
            [Curve(**one) for one in found["curves"]],
        )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def text(figures: Sequence[Figure]) -> str:
    """The figures below their head, in columns; a column without any text is left out."""
    lines = [HEAD, *(figure.cells() for figure in figures)]
    wanted = _columns(figures)
    widths = {column: max(len(line[column]) for line in lines) for column in wanted}
    rows = ["  ".join(line[column].ljust(widths[column]) for column in wanted).rstrip() for line in lines]
    return "\n".join([rows[0], "  ".join("-" * widths[column] for column in wanted), *rows[1:]])


def markdown(figures: Sequence[Figure]) -> str:
    """The same as a table of Markdown."""
    wanted = _columns(figures)
    lines = [HEAD, *(figure.cells() for figure in figures)]
    rows = ["| " + " | ".join(line[column] for column in wanted) + " |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(wanted), *rows[1:]])


def _columns(figures: Sequence[Figure]) -> list[int]:
    cells = [figure.cells() for figure in figures]
    return [column for column in range(len(HEAD)) if any(line[column] for line in cells)]


def machine() -> str:
    """What this is measured on, on one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next((line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")), model)
    return f"{os.cpu_count()} cores, {model} ({platform.machine()}), Python {platform.python_version()}"
