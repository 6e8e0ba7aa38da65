"""docs/model.md: what stands between its markers is written from the figures in docs/model/figures.json, and so are the plots.

Each measure is kept with the day, the machine and the model that it was made with, so that one can be made anew alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.measure import plots
from tests.measure.report import Section, markdown
from tests.shared import ROOT

PAGE = ROOT / "docs" / "model.md"
FOLDER = ROOT / "docs" / "model"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOT_YET = "Nothing is written here yet: `python -m tests.measure --data FOLDER --write` does it."


@dataclass(frozen=True, slots=True)
class Kept:
    """A section, and when, where and of which model it was measured."""

    section: Section
    when: str
    machine: str
    model: str


def read(folder: Path = FOLDER) -> dict[str, Kept]:
    """The figures that are kept, by the name of their section; none when there is no file."""
    path = folder / "figures.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {name: Kept(Section.from_json(one["section"]), one["when"], one["machine"], one["model"]) for name, one in found.items()}


def keep(new: dict[str, Kept], order: list[str], page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Put the new figures in the place of the old ones of their sections, and write page and plots anew."""
    kept = {**read(folder), **new}
    kept = {name: kept[name] for name in order if name in kept}
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        name: {"when": one.when, "machine": one.machine, "model": one.model, "section": one.section.as_json()} for name, one in kept.items()
    }
    (folder / "figures.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    kept = read(folder)  # rounded, so that the page is that of the file
    plots.draw([curve for one in kept.values() for curve in one.section.curves], folder)
    page.write_text(between(page.read_text(encoding="utf-8"), written(kept)), encoding="utf-8")


def between(text: str, new: str) -> str:
    """The text with `new` between its markers. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def written(kept: dict[str, Kept]) -> str:
    """The tables and plots, as Markdown: first what has a bar, then every section."""
    if not kept:
        return NOT_YET
    parts = ["### Beside the bars", "", *_days(kept), "", _bars(kept)]
    shown: set[str] = set()
    for one in kept.values():
        parts += ["", f"### {one.section.title}", "", one.section.note, "", markdown(one.section.figures)]
        for name in dict.fromkeys(curve.plot for curve in one.section.curves):
            if name not in shown:
                shown.add(name)
                parts += ["", f"![{plots.PLOTS[name].caption}](model/{name}.svg)"]
    return "\n".join(parts)


def _days(kept: dict[str, Kept]) -> list[str]:
    """Where and when; one sentence where all was measured in one run."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for one in kept.values():
        found.setdefault((one.when, one.machine, one.model), []).append(one.section.title.lower())
    return [
        f"Measured on {when}, {machine}, with `{model}`" + ("." if len(found) == 1 else f": {', '.join(titles)}.")
        for (when, machine, model), titles in found.items()
    ]


def _bars(kept: dict[str, Kept]) -> str:
    from dataclasses import replace

    held = [
        replace(figure, what=f"{one.section.title.lower()}: {figure.what}", beside="")
        for one in kept.values()
        for figure in one.section.figures
        if figure.floor is not None
    ]
    return markdown(held)
