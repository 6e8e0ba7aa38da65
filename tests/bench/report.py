"""What a measurement found: a row, and the rows as a table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HEAD = ("what", "figure", "beside", "ratio", "bar", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure in `unit`, what stands `beside` it in the same unit (and what that is), the bar in words, and whether it is met.

    `met` is None where there is no bar.
    """

    what: str
    figure: float
    unit: str
    beside: float | None = None
    beside_what: str = ""
    bar: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """The figure over what stands beside it."""
        return self.figure / self.beside if self.beside else None

    def cells(self) -> tuple[str, ...]:
        """The row as texts, in the order of `HEAD`."""
        beside = f"{_number(self.beside)} {self.unit}, {self.beside_what}" if self.beside is not None else ""
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        met = {True: "yes", False: "no", None: ""}[self.met]
        return self.what, f"{_number(self.figure)} {self.unit}", beside, ratio, self.bar, met


@dataclass(frozen=True, slots=True)
class Failed:
    """What could not be measured, and why."""

    what: str
    why: str

    def cells(self) -> tuple[str, ...]:
        """The row as texts, in the order of `HEAD`."""
        return self.what, "not measured", self.why, "", "", ""


def table(rows: Sequence[Row | Failed]) -> str:
    """The rows below their head, in columns."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def machine() -> str:
    """Where and when this is measured, on one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next((line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")), model)
    load = f"{os.getloadavg()[0]:.1f}"
    what = f"{os.cpu_count()} cores, {model} ({platform.machine()}), Python {platform.python_version()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {what}, load {load}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
