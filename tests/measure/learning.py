"""What people's corrections bring to a project that the model has never met, and how long one retraining takes."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.measure import recipe, scoring, sets
from tests.measure.ground import Ground, numbers
from tests.measure.report import Curve, Figure, Section
from triage.mention import Label

SIZES = (20, 50, 100, 200)
LABELS_OF = {
    "intention_mining": (Label.BUG_REPORT, Label.SUPPORT_QUESTION, Label.NOISE),
    "nlbse24_train": (Label.BUG_REPORT, Label.SUPPORT_QUESTION),
}
_LEAST = 50  # posts of each label, for a project to count


def learning(ground: Ground) -> Section:
    """Macro-F1 on a left-out project before and after 20, 50, 100 and 200 of its posts were corrected."""
    projects = _projects(ground)
    start = recipe.fit(ground.corpus)
    before: list[float] = []
    gains: dict[int, list[float]] = {size: [] for size in SIZES}  # one number a project, the mean of the seeds
    names: dict[int, list[str]] = {size: [] for size in SIZES}
    one_batch: list[tuple[str, str]] = []
    for name, rows in projects.items():
        first: list[float] = []
        gained: dict[int, list[float]] = {}
        for seed in ground.seeds:
            pool, rest = split(rows, max(SIZES), seed)
            labels = numbers(LABELS_OF[name.partition(":")[0]]).tolist()
            truth, texts = numbers([row.label for row in rest]), [row.text for row in rest]
            first.append(scoring.macro_f1(truth, recipe.scores(start, texts).argmax(axis=1), labels))
            for size in [size for size in SIZES if size <= len(pool)]:
                corrections = [(row.text, str(row.label)) for row in pool[:size]]
                given = recipe.scores(recipe.fit(ground.corpus, corrections), texts).argmax(axis=1)
                gained.setdefault(size, []).append(scoring.macro_f1(truth, given, labels) - first[-1])
                one_batch = max(one_batch, corrections, key=len)
        before.append(float(np.mean(first)))
        for size, found in gained.items():
            gains[size].append(float(np.mean(found)))
            names[size].append(name)
    figures = [Figure("macro-F1 before any correction, mean of the projects", float(np.mean(before)), len(before))]
    lows, highs, means = [0.0], [0.0], [0.0]
    sizes = [size for size in SIZES if gains[size]]
    for size in sizes:
        found_ = np.array(gains[size])
        between = ground.interval(lambda drawn, found_=found_: float(found_[drawn].mean()), len(found_))
        floor, stretch = (0.05, 0.08) if size == 100 else (None, None)
        worst = int(found_.argmin())
        beside = f"{(found_ > 0).sum()} of {len(found_)} projects gained; least {found_[worst]:+.3f} ({names[size][worst]})"
        figures.append(
            Figure(
                f"gained by {size} corrections",
                float(found_.mean()),
                len(found_),
                between=between,
                floor=floor,
                stretch=stretch,
                beside=beside,
            )
        )
        means.append(float(found_.mean()))
        lows.append(between[0])
        highs.append(between[1])
    figures.append(_retraining(one_batch))
    curve = Curve("learning", "mean of the projects", [0.0, *map(float, sizes)], means, lows, highs)
    each = [
        Curve(
            "learning",
            name.partition(": ")[2],
            [0.0, *(float(size) for size in sizes if name in names[size])],
            [0.0, *_of(name, names, gains, sizes)],
        )
        for name in projects
    ]
    note = (
        "A project's posts are split in two: corrections are drawn from one part, and the other is judged before and after. The model "
        "starts from the corpus; a correction weighs as `triage train` lets it weigh. *Rows* counts projects; the intervals are drawn over "
        f"them, and they are few. {len(ground.seeds)} draws a project. Projects too small for 200 corrections stop at 100."
    )
    return Section("learning", "Learning from corrections", note, figures, [curve, *each])


def _of(name: str, names: dict[int, list[str]], gains: dict[int, list[float]], sizes: Sequence[int]) -> list[float]:
    return [gains[size][names[size].index(name)] for size in sizes if name in names[size]]


def _projects(ground: Ground) -> dict[str, list[sets.Row]]:
    """The rows of each project that has enough of each label, by `set: project`."""
    found: dict[str, list[sets.Row]] = {}
    for name, labels in LABELS_OF.items():
        rows = ground.rows(name, labels)
        for group in sorted({row.group for row in rows}):
            own = [row for row in rows if row.group == group]
            counts = Counter(row.label for row in own)
            if min(counts[label] for label in labels) >= (5 if ground.quick else _LEAST):
                found[f"{name}: {group}"] = own
    return dict(list(found.items())[:2]) if ground.quick else found


def split(rows: Sequence[sets.Row], most: int, seed: int) -> tuple[list[sets.Row], list[sets.Row]]:
    """Up to `most` rows to correct, half of all at most, and the rest to judge."""
    drawn = random.Random(seed).sample(list(rows), len(rows))
    pool = min(most, (len(rows) + 1) // 2)
    return drawn[:pool], drawn[pool:]


def _retraining(corrections: Sequence[tuple[str, str]]) -> Figure:
    """One whole retraining: the corpus checked, cross-validated, fitted, calibrated and saved."""
    with tempfile.TemporaryDirectory(prefix="triage-measure-") as folder:
        began, used = time.perf_counter(), time.process_time()
        card = recipe.retrain(Path(folder) / "model", corrections)
        took, busy = time.perf_counter() - began, time.process_time() - used
    beside = f"{busy:.1f} CPU s; {card.data.posts:,} posts, {card.data.corrections} of them corrections"
    return Figure("one retraining", took, card.data.posts, floor=20.0, less=True, unit="s", beside=beside)
