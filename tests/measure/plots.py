"""The plots of docs/model.md: small SVG files, the same for the same figures, readable on light and on dark ground."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.measure.report import Curve

_INK = "#7d8792"  # reads on white and on black
_COLOURS = ("#3b82d6", "#e07b00", "#1a9e77", "#c855a8", "#9a8a00", "#7a6ff0", "#d1495b", "#4a9db5", "#8a8a8a", "#b06f2a")
_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True, slots=True)
class Plot:
    """What a plot shows: its caption, its axes, and whether it draws the line on which a perfect one lies."""

    caption: str
    x: str
    y: str
    diagonal: bool = False
    first_is_bold: bool = False


PLOTS = {
    "calibration": Plot("Calibration: on the dashed line, confidence is the share that is right.", "confidence", "share right", True),
    "coverage": Plot(
        "Coverage against precision: how right the surest part of the verdicts is.", "share of the verdicts kept", "share right"
    ),
    "learning": Plot("Learning: macro-F1 gained on a left-out project.", "corrections", "macro-F1 gained", first_is_bold=True),
    "transfer": Plot("Transfer: macro-F1 on text from elsewhere by the size of the corpus.", "posts in the corpus", "macro-F1"),
}


def draw(curves: Iterable[Curve], folder: Path) -> list[str]:
    """Write the plot of each name that has curves; the names, in the order of `PLOTS`."""
    found: dict[str, list[Curve]] = {}
    looks: dict[str, int] = {}  # a name looks the same in every plot
    for curve in curves:
        found.setdefault(curve.plot, []).append(curve)
        looks.setdefault(curve.name, len(looks))
    folder.mkdir(parents=True, exist_ok=True)
    for name in found:
        _draw(PLOTS[name], found[name], looks, folder / f"{name}.svg")
    return [name for name in PLOTS if name in found]


def _draw(plot: Plot, curves: Sequence[Curve], looks: Mapping[str, int], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    plain = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    style: dict[Any, Any] = {
        **plain,
        "svg.fonttype": "none",
        "svg.hashsalt": path.stem,
        "font.size": 9,
        "path.simplify": True,
        "axes.grid": True,
    }
    with matplotlib.rc_context({**style, "grid.color": _INK, "grid.alpha": 0.25, "grid.linewidth": 0.5}):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.8), layout="constrained")
        if plot.diagonal:
            axes.plot([0, 1], [0, 1], color=_INK, linestyle="--", linewidth=1)
        for number, curve in enumerate(curves):
            colour, dash = _COLOURS[looks[curve.name] % len(_COLOURS)], _DASHES[looks[curve.name] % len(_DASHES)]
            bold = plot.first_is_bold and number == 0
            if curve.low:
                axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
            width = 2.4 if bold else 0.9 if plot.first_is_bold else 1.5
            marker = "o" if len(curve.x) < 15 else None
            axes.plot(
                curve.x,
                curve.y,
                color=colour,
                linestyle="-" if bold else dash,
                linewidth=width,
                marker=marker,
                markersize=3,
                label=curve.name,
            )
        axes.set(xlabel=plot.x, ylabel=plot.y)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text(encoding="utf-8").splitlines()) + "\n", encoding="utf-8")
