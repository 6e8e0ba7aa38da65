"""The project's own reference set: sentences on topics of their own, two fifths of them none of bug report, question and praise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.measure import recipe, scoring, sets
from tests.measure.ground import Ground, numbers
from tests.measure.report import Figure, Section
from tests.measure.scoring import Array
from triage.mention import Label


def reference(ground: Ground) -> Section:
    """Macro-F1, by label and language; what is called a bug and is none of the four; how right the sure verdicts are."""
    posts = ground.reference
    texts, truth = [post.text for post in posts], numbers([post.label for post in posts])
    judged = ground.judged(texts, [post.lang for post in posts])
    given, theirs = judged.given, recipe.scores(ground.baseline, texts).argmax(axis=1)
    everything = list(range(len(recipe.LABELS)))

    def figure(what: str, rows: Array, score: Callable[[Array, Array], float], **more: object) -> Figure:
        return Figure(
            what,
            score(truth[rows], given[rows]),
            len(rows),
            between=ground.interval(lambda drawn: score(truth[rows][drawn], given[rows][drawn]), len(rows)),
            baseline=score(truth[rows], theirs[rows]),
            **more,  # type: ignore[arg-type]
        )

    every = np.arange(len(posts))
    figures = [figure("macro-F1", every, lambda t, g: scoring.macro_f1(t, g, everything))]
    figures += [
        figure(f"F1 of `{name}`", every, lambda t, g, label=label: scoring.f1(t, g, label))  # type: ignore[misc]
        for label, name in enumerate(recipe.LABELS)
    ]
    for language, _, rows in sets.leave_one_out([post.lang for post in posts]):
        there = sorted(set(truth[rows].tolist()))
        figures.append(
            figure(f"macro-F1, `{language}`", np.array(rows), lambda t, g, there=there: scoring.macro_f1(t, g, there))  # type: ignore[misc]
        )
    bug, noise = recipe.LABELS.index(Label.BUG_REPORT), recipe.LABELS.index(Label.NOISE)
    none = np.flatnonzero(truth == noise)
    figures.append(
        figure(
            "none of the four, called `bug_report`",
            none,
            lambda _, g: float(np.mean(g == bug)),
            floor=0.20,
            stretch=0.10,
            less=True,
            unit="%",
        )
    )
    right = given == truth
    for label, name in enumerate(recipe.LABELS):
        called = given == label
        sure = np.flatnonzero(called & judged.sure)
        if not len(sure):
            figures.append(Figure(f"right when sure, `{name}`", 0.0, unit="%", beside="no verdict is sure"))
            continue
        figures.append(
            Figure(
                f"right when sure, `{name}`",
                float(right[sure].mean()),
                len(sure),
                between=ground.interval(lambda drawn, sure=sure: float(right[sure[drawn]].mean()), len(sure)),
                unit="%",
                beside=f"{len(sure) / max(1, called.sum()):.0%} of the verdicts with this label are sure",
            )
        )
    note = (
        "Posts written for this project, after the same guide as the corpus, on topics that the corpus doesn't hold. No model learns from "
        "them, and nothing was chosen by them but the three numbers that lower confidence, which change no label."
    )
    return Section("reference", "The reference set", note, figures)
