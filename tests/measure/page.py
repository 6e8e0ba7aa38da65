"""docs/model.md: what stands between its markers is written from the figures in docs/model/figures.json, and so are the plots.

Each measure is kept with the day, the machine and the model that it was made with, so that one can be made anew alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.measure import plots
from tests.measure.report import Section, markdown
from tests.shared import ROOT
from triage.classifier.corpus import Post
from triage.mention import Label

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


@dataclass(frozen=True, slots=True)
class Content:
    """What the page is written from: the corpus in counts (by file, by label and language), and each section by its name."""

    corpus: dict[str, dict[str, int]]
    measured: dict[str, Kept]


def read(folder: Path = FOLDER) -> Content:
    """What is kept; nothing when there is no file."""
    path = folder / "figures.json"
    if not path.exists():
        return Content({}, {})
    found = json.loads(path.read_text(encoding="utf-8"))
    measured = {
        name: Kept(Section.from_json(one["section"]), one["when"], one["machine"], one["model"]) for name, one in found["measured"].items()
    }
    return Content(found["corpus"], measured)


def keep(new: dict[str, Kept], posts: Sequence[Post], order: Sequence[str], page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Put the new figures in the place of the old ones of their sections, count the corpus, and write page and plots anew."""
    kept = {**read(folder).measured, **new}
    measured = {
        name: {"when": one.when, "machine": one.machine, "model": one.model, "section": one.section.as_json()}
        for name in order
        if (one := kept.get(name))
    }
    folder.mkdir(parents=True, exist_ok=True)
    content = {"corpus": counted(posts), "measured": measured}
    (folder / "figures.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    made = read(folder)  # rounded, so that the page is that of the file
    plots.draw([curve for one in made.measured.values() for curve in one.section.curves], folder)
    page.write_text(between(page.read_text(encoding="utf-8"), written(made)), encoding="utf-8")


def counted(posts: Sequence[Post]) -> dict[str, dict[str, int]]:
    """How many posts each file of a corpus holds, by label and by language."""
    files = sorted({post.kind for post in posts})
    return {
        file: {
            **{str(label): sum(post.label == label for post in posts if post.kind == file) for label in Label},
            **dict(Counter(post.lang for post in posts if post.kind == file).most_common()),
        }
        for file in files
    }


def between(text: str, new: str) -> str:
    """The text with `new` between its markers. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def written(content: Content) -> str:
    """The tables and plots, as Markdown: the corpus, then what has a bar, then every section."""
    if not content.measured:
        return NOT_YET
    kept = content.measured
    parts = ["## The corpus in numbers", "", _corpus(content.corpus), "", "## Figures beside the bars", "", *_days(kept), "", _bars(kept)]
    shown: set[str] = set()
    for one in kept.values():
        parts += ["", f"### {one.section.title}", "", one.section.note, "", markdown(one.section.figures)]
        for name in dict.fromkeys(curve.plot for curve in one.section.curves):
            if name not in shown:
                shown.add(name)
                parts += ["", f"![{plots.PLOTS[name].caption}](model/{name}.svg)", "", plots.PLOTS[name].caption]
    return "\n".join(parts)


def _corpus(files: Mapping[str, Mapping[str, int]]) -> str:
    labels = [str(label) for label in Label]
    lines = ["| file | posts | " + " | ".join(f"`{label}`" for label in labels) + " | languages |", "|---" * (len(labels) + 3) + "|"]
    total: Counter[str] = Counter()
    for counts in files.values():
        total.update(counts)
    for name, counts in (*((f"`{file}.jsonl`", counts) for file, counts in files.items()), ("together", total)):
        languages = ", ".join(f"{one} {count:,}" for one, count in counts.items() if one not in labels)
        held = [counts[label] for label in labels]
        lines.append(f"| {name} | {sum(held):,} | " + " | ".join(f"{count:,}" for count in held) + f" | {languages} |")
    return "\n".join(lines)


def _days(kept: Mapping[str, Kept]) -> list[str]:
    """Where and when; one sentence where all was measured in one run."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for one in kept.values():
        found.setdefault((one.when, one.machine, one.model), []).append(one.section.title.lower())
    return [
        f"Measured on {when}, {machine}, with `{model}`" + ("." if len(found) == 1 else f": {', '.join(titles)}.")
        for (when, machine, model), titles in found.items()
    ]


def _bars(kept: Mapping[str, Kept]) -> str:
    held = [
        replace(figure, what=f"{one.section.title.lower()}: {figure.what}", beside="")
        for one in kept.values()
        for figure in one.section.figures
        if figure.floor is not None
    ]
    return markdown(held)
