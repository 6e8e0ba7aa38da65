"""The table of what was shown, and the bound that zero failures allow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.case import Case
from tests.faults.runs import SEARCH, SIMULATOR, Run

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
HEAD = ("case", "what happens", "database", "runs", "of them", "lost", "twice", "limbo", "failed", "so a failure is rarer than")
TRIALS = ("kills", "stops", "faults")  # what counts as one trial, the first of these that a case has notes of; else a run
SHOWN_BY_NUMBER = 6  # notes in a cell


def bound(trials: int) -> float:
    """Zero failures in so many trials show at 95 % that the chance of one is below this."""
    return 1.0 if trials < 1 else 1.0 - 0.05 ** (1.0 / trials)


def table(cases: Sequence[Case], runs: Sequence[Run]) -> list[str]:
    """The lines in Markdown: a line for each case and database, whether it was run or not."""
    lines = [_line(HEAD), _line(["---"] * len(HEAD))]
    lines += [
        _row(f"{case.number} `{case.name}`", case.what, store, [r for r in runs if (r.case, r.store) == (case.name, store)])
        for case in sorted(cases, key=lambda one: one.number)
        for store in case.stores
    ]
    for name in sorted({run.case for run in runs if not run.store}):
        what = (
            "poller, workers, sweeper and servers under one scheduler"
            if name == SIMULATOR
            else "every state of one action, every crash point"
        )
        lines.append(_row(f"`{name}`", what, "", [run for run in runs if run.case == name]))
    return lines


def _row(name: str, what: str, store: str, runs: Sequence[Run]) -> str:
    notes: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for run in runs:
        notes.update(run.notes)
        wrong.update(run.broken)
    failed = sum(not run.ok for run in runs)
    trials = notes.pop("runs", 0) or next((notes[one] for one in TRIALS if notes[one]), len(runs))
    of_them = ", ".join(f"{count:,} {note}" for note, count in _most_telling(notes))
    shown = f"{bound(trials):.2%}" if runs and not failed and not name.startswith(f"`{SEARCH}") else "–"
    counts = [f"{wrong[one]}" if runs else "–" for one in ("lost", "duplicates", "limbo")]
    return _line(
        [name, what, store, f"{max(len(runs), trials) if name == f'`{SIMULATOR}`' else len(runs)}", of_them, *counts, f"{failed}", shown]
    )


def _most_telling(notes: Counter[str]) -> list[tuple[str, int]]:
    first = [one for one in (*TRIALS, "mentions", "sent") if notes[one]]
    rest = [one for one in notes if one not in first and notes[one]]
    return [(one, notes[one]) for one in [*first, *rest][: SHOWN_BY_NUMBER + len(first)]]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write(path: Path, lines: Sequence[str]) -> None:
    """Put the lines between the two markers of a document. `ValueError` where it has none."""
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path} has no {BEGIN} and {END}")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text("\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"]))


def names_in(text: str) -> set[str]:
    """The cases that a document's table names."""
    inside = text.partition(BEGIN)[2].partition(END)[0]
    return set(re.findall(r"^\| \d+ `([^`]+)` \|", inside, flags=re.MULTILINE))
