"""Learned on a set's own rows: on some of its projects and judged on the others, and within each project.

What is chosen (how strongly to believe, whether to learn from the corpus or other projects as well, the threshold) is chosen on the rows
that are learned from, by holding parts of them back in turn; the rows that are judged take no part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.model_selection import StratifiedKFold

from tests.measure import recipe, scoring, sets
from tests.measure.ground import Ground
from tests.measure.report import Figure, Section
from tests.measure.scoring import Array
from triage.mention import Label

STRENGTHS = (1.0, 3.0, 10.0)
_OF_OTHERS = 0.2  # what a row from elsewhere weighs beside one of the project or the set
_FOLDS = 5
_INNER_FOLDS = 3


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts with their labels (any words)."""

    texts: list[str]
    labels: Array

    def of(self, rows: Sequence[int] | Array) -> Texts:
        """Some of them."""
        return Texts([self.texts[row] for row in rows], self.labels[rows])


NOTHING = Texts([], np.array([], dtype="<U32"))


def _matrix(parts: recipe.Parts, learn: Texts, more: Texts, judge: Texts) -> tuple[Any, Any, Any]:
    """Rows of what is learned from, of what is learned from besides, and of what is judged; the features know the first two alone."""
    features = parts.features()
    rows = sparse.csr_matrix(features.fit_transform([text[: recipe.LONGEST] for text in (*learn.texts, *more.texts)]))
    return (
        rows[: len(learn.texts)],
        rows[len(learn.texts) :],
        sparse.csr_matrix(features.transform([text[: recipe.LONGEST] for text in judge.texts])),
    )


def _fitted(parts: recipe.Parts, strength: float, rows: Any, labels: Array, more: Any, more_labels: Array) -> Any:
    """A judge that learned from both, what is `more` weighing less."""
    weights = np.concatenate([np.ones(len(labels)), np.full(len(more_labels), _OF_OTHERS)])
    return parts.judge(strength).fit(sparse.vstack([rows, more]).tocsr(), np.concatenate([labels, more_labels]), sample_weight=weights)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way to learn gave: a label for each row, the rows of each part, and how well it did on what that part was learned from."""

    given: Array
    parts: list[list[int]]
    inner: list[float]


def best_of(*outcomes: Outcome) -> tuple[Array, list[int]]:
    """Part by part what the way gave that did best on the rows that were learned from, and the number of that way."""
    given, chosen = outcomes[0].given.copy(), []
    for part, rows in enumerate(outcomes[0].parts):
        chosen.append(max(range(len(outcomes)), key=lambda way: outcomes[way].inner[part]))
        given[rows] = outcomes[chosen[-1]].given[rows]
    return given, chosen


# Leave one project out


def dialogs(ground: Ground) -> Section:
    """F1 of bug dialogs in each project, learned from the other projects, with and without the corpus."""
    rows = ground.rows("buglistener_chat_4projects")
    found = Texts([row.text for row in rows], np.array([str(row.label == Label.BUG_REPORT) for row in rows]))
    groups = [row.group for row in rows]
    corpus = Texts(
        [post.text for post in ground.corpus], np.array([str(post.label == Label.BUG_REPORT) for post in ground.corpus], dtype="<U32")
    )
    theirs = _left_out(recipe.Baseline(), found, groups, NOTHING).given
    ways = _left_out(recipe.Ours(), found, groups, NOTHING), _left_out(recipe.Ours(), found, groups, corpus)
    (alone, joined), (chosen, choices) = (way.given for way in ways), best_of(*ways)
    truth = found.labels == "True"
    blocks = [held for _, _, held in sets.leave_one_out(groups)]

    def mean(given: Array, *drawn: Array) -> float:
        return float(np.mean([scoring.f1(truth[held][one], given[held][one], 1) for held, one in zip(blocks, drawn, strict=True)]))

    every = [np.arange(len(held)) for held in blocks]
    figures = [
        Figure(
            "mean of the projects",
            mean(chosen, *every),
            len(rows),
            between=ground.interval(lambda *drawn: mean(chosen, *drawn), *(len(held) for held in blocks)),
            baseline=mean(theirs, *every),
            floor=0.68,
            stretch=0.74,
            beside=f"dialogs alone {mean(alone, *every):.3f}, with the corpus {mean(joined, *every):.3f}; "
            f"the corpus was chosen for {sum(choices)} of {len(blocks)}; all rows in one {scoring.f1(truth, chosen, 1):.3f}",
        )
    ]
    for name, _, held in sets.leave_one_out(groups):
        figures.append(
            Figure(
                f"`{name}`",
                scoring.f1(truth[held], chosen[held], 1),
                len(held),
                between=ground.interval(lambda drawn, held=held: scoring.f1(truth[held][drawn], chosen[held][drawn], 1), len(held)),
                baseline=scoring.f1(truth[held], theirs[held], 1),
                beside=f"dialogs alone {scoring.f1(truth[held], alone[held], 1):.3f}, "
                f"with the corpus {scoring.f1(truth[held], joined[held], 1):.3f}",
            )
        )
    note = (
        "F1 of *bug* on the dialogs of a project, by features and regression of the recipe, learned from the dialogs of the other three. "
        "Strength, threshold and whether to learn from the corpus too (as bug or not, at a fifth of the weight) were chosen by leaving "
        "each of those three out in turn. The baseline chose strength and threshold likewise, without the corpus."
    )
    return Section("dialogs", "Chat dialogs, one project left out", note, figures)


def _left_out(parts: recipe.Parts, found: Texts, groups: Sequence[str], more: Texts) -> Outcome:
    """1 for each row that is called "True", by a judge that knows no row of its group; strength and threshold chosen on the others."""
    outcome = Outcome(np.zeros(len(found.texts), int), [], [])
    for _, learn, judge in sets.leave_one_out(groups):
        known, theirs = found.of(learn), [groups[row] for row in learn]
        scores = {strength: np.zeros(len(learn)) for strength in STRENGTHS}
        for _, inner_learn, inner_judge in sets.leave_one_out(theirs):
            part = known.of(inner_learn)
            rows, others, judged = _matrix(parts, part, more, known.of(inner_judge))
            for strength in STRENGTHS:
                scores[strength][inner_judge] = _score(_fitted(parts, strength, rows, part.labels, others, more.labels), judged)
        tried = {strength: scoring.best_threshold(scores[strength], known.labels == "True") for strength in STRENGTHS}
        strength = max(STRENGTHS, key=lambda one: tried[one][1])
        threshold, f1 = tried[strength]
        rows, others, judged = _matrix(parts, known, more, found.of(judge))
        outcome.given[judge] = _score(_fitted(parts, strength, rows, known.labels, others, more.labels), judged) >= threshold
        outcome.parts.append(judge)
        outcome.inner.append(f1)
    return outcome


def _score(model: Any, rows: Any) -> Array:
    """The probability of "True"."""
    return np.asarray(model.predict_proba(rows)[:, list(model.classes_).index("True")])


# Within each project


def issues(ground: Ground) -> Section:
    """Bug, feature and question told apart within each repository, in five parts."""
    rows = ground.rows("nlbse24_train")
    found = Texts([row.text for row in rows], np.array([row.original for row in rows]))
    groups = [row.group for row in rows]
    names = sorted(set(found.labels.tolist()))
    truth = np.array([names.index(label) for label in found.labels])
    theirs = _within(recipe.Baseline(), found, groups, with_others=False).given
    ways = tuple(_within(recipe.Ours(), found, groups, with_others=one) for one in (False, True))
    chosen, choices = best_of(*ways)
    given, others, own, joined = (np.array([names.index(label) for label in one]) for one in (chosen, theirs, *(way.given for way in ways)))
    blocks = {name: held for name, _, held in sets.leave_one_out(groups)}
    every = list(range(len(names)))

    def mean(what: Array, *drawn: Array) -> float:
        scores = [scoring.macro_f1(truth[held][one], what[held][one], every) for held, one in zip(blocks.values(), drawn, strict=True)]
        return float(np.mean(scores))

    whole = [np.arange(len(held)) for held in blocks.values()]
    figures = [
        Figure(
            "mean of the repositories",
            mean(given, *whole),
            len(rows),
            between=ground.interval(lambda *drawn: mean(given, *drawn), *(len(held) for held in blocks.values())),
            baseline=mean(others, *whole),
            floor=0.80,
            stretch=0.83,
            beside=f"own issues alone {mean(own, *whole):.3f}, with the others' {mean(joined, *whole):.3f}; these were chosen in "
            f"{sum(choices)} of {len(choices)} parts",
        )
    ]
    for name, held in blocks.items():
        by_label = ", ".join(f"{label} {scoring.f1(truth[held], given[held], number):.2f}" for number, label in enumerate(names))
        figures.append(
            Figure(
                f"`{name}`",
                scoring.macro_f1(truth[held], given[held], every),
                len(held),
                between=ground.interval(
                    lambda drawn, held=held: scoring.macro_f1(truth[held][drawn], given[held][drawn], every), len(held)
                ),
                baseline=scoring.macro_f1(truth[held], others[held], every),
                beside=f"own issues alone {scoring.macro_f1(truth[held], own[held], every):.3f}; F1 {by_label}",
            )
        )
    note = (
        "Macro-F1 over the set's own labels *bug*, *feature* and *question*, by features and regression of the recipe, in five parts "
        "within each repository. Strength and whether to learn from the other repositories too (at a fifth of the weight) were chosen "
        "by three parts of what is learned from. The baseline learned from the repository's own issues and chose its strength likewise."
    )
    return Section("issues", "Whole issues, within each repository", note, figures)


def _within(parts: recipe.Parts, found: Texts, groups: Sequence[str], *, with_others: bool) -> Outcome:
    """The label given to each row by a judge that learned from other rows of its group; its strength was chosen on those."""
    outcome = Outcome(np.empty(len(found.texts), found.labels.dtype), [], [])
    for _, elsewhere, held in sets.leave_one_out(groups):
        own, more = found.of(held), found.of(elsewhere) if with_others else NOTHING
        for learn, judge in _folds(_FOLDS, own):
            known = own.of(learn)
            rows, others, judged = _matrix(parts, known, more, own.of(judge))
            tried = {}
            for strength in STRENGTHS:
                inner = np.empty(len(learn), found.labels.dtype)
                for one, other in _folds(_INNER_FOLDS, known):
                    inner[other] = _fitted(parts, strength, rows[one], known.labels[one], others, more.labels).predict(rows[other])
                tried[strength] = float(np.mean([scoring.f1(known.labels == label, inner == label, 1) for label in set(known.labels)]))
            strength = max(STRENGTHS, key=lambda one: tried[one])
            outcome.parts.append([held[row] for row in judge])
            outcome.inner.append(tried[strength])
            outcome.given[outcome.parts[-1]] = _fitted(parts, strength, rows, known.labels, others, more.labels).predict(judged)
    return outcome


def _folds(count: int, texts: Texts) -> Iterator[tuple[Array, Array]]:
    """The same parts for every way to learn, the labels spread evenly."""
    yield from StratifiedKFold(count, shuffle=True, random_state=0).split(texts.texts, texts.labels)
