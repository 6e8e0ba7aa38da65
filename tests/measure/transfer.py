"""Text of kinds and sources that the model has never seen: labels, calibration, how sure, and what a larger corpus brings."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.measure import recipe, scoring, sets
from tests.measure.ground import Ground, NoSet, numbers
from tests.measure.report import Curve, Figure, Section
from tests.measure.scoring import Array
from triage.classifier.calibration import calibration_error
from triage.classifier.corpus import Post
from triage.mention import Label

Statistic = Callable[[Array], float]

BUG, QUESTION, PRAISE, NOISE = Label.BUG_REPORT, Label.SUPPORT_QUESTION, Label.PRAISE, Label.NOISE


@dataclass(frozen=True, slots=True)
class Set:
    """A set that the model is measured on, the labels that it holds, and the bars for its macro-F1."""

    name: str
    labels: tuple[Label, ...]
    floor: float
    stretch: float


SETS = (
    Set("intention_mining", (BUG, QUESTION, NOISE), 0.85, 0.90),
    Set("sxsw_product_tweets", (PRAISE, NOISE), 0.58, 0.65),
    Set("nlbse24_train", (BUG, QUESTION), 0.60, 0.70),
    Set("arya2019_infotypes", (BUG, NOISE), 0.65, 0.72),
)
SIZES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the corpus
NOT_BUGS = ("intention_mining", "nlbse24_train", "arya2019_infotypes", "maalej2016", "scalabrino2017_rq1", "minibar_en", "minibar_fr")
"""Sets with rows that people called something else than a bug."""
NEAR_BUGS = ("bug", "problem", "performance", "energy", "security", "usability", "expected behaviour")
"""What an original label says that is none of ours, but may well be a bug: such rows are no negatives."""
SUREST = 0.7


def transfer(ground: Ground) -> Section:
    """Macro-F1 on each set, by the four-label model as it ships, and with the argmax among the set's labels only."""
    figures = []
    for one in SETS:
        rows = ground.rows(one.name, one.labels)
        truth, labels = numbers([row.label for row in rows]), numbers(one.labels).tolist()
        ours = ground.judged([row.text for row in rows], [row.language for row in rows]).scores
        theirs = recipe.scores(ground.baseline, [row.text for row in rows])
        given = ours.argmax(axis=1)
        by_label = ", ".join(f"{recipe.LABELS[label]} {scoring.f1(truth, given, label):.2f}" for label in labels)
        figures.append(
            Figure(
                one.name,
                scoring.macro_f1(truth, given, labels),
                len(rows),
                between=ground.interval(_macro_f1(truth, given, labels), len(rows)),
                baseline=scoring.macro_f1(truth, theirs.argmax(axis=1), labels),
                floor=one.floor,
                stretch=one.stretch,
                beside=f"among the set's labels only: {scoring.macro_f1(truth, among(ours, labels), labels):.3f}, "
                f"baseline {scoring.macro_f1(truth, among(theirs, labels), labels):.3f}; F1 {by_label}",
            )
        )
    note = (
        "Macro-F1 over the labels that a set holds, by the model that ships; it may give all four labels, so that one that the set doesn't "
        "hold is a miss. The baseline learned from the same corpus."
    )
    return Section("transfer", "Text from elsewhere", note, figures)


def among(scores: Array, labels: Sequence[int]) -> Array:
    """The likeliest of `labels` for each row."""
    return np.asarray(np.array(labels)[scores[:, list(labels)].argmax(axis=1)])


def _macro_f1(truth: Array, given: Array, labels: Sequence[int]) -> Statistic:
    return lambda drawn: scoring.macro_f1(truth[drawn], given[drawn], labels)


def calibration(ground: Ground) -> Section:
    """How far confidence and hits lie apart on what the model never saw: the reference set, and each set of `SETS` that is there."""
    posts = ground.reference
    texts: dict[str, tuple[list[str], list[str | None], Array]] = {
        "reference set": ([post.text for post in posts], [post.lang for post in posts], numbers([post.label for post in posts]))
    }
    left_out = []
    for one in SETS:
        try:
            rows = ground.rows(one.name, one.labels)
        except NoSet:
            left_out.append(one.name)
            continue
        texts[one.name] = [row.text for row in rows], [row.language for row in rows], numbers([row.label for row in rows])
    figures, curves = [], []
    for name, (found, languages, truth) in texts.items():
        judged = ground.judged(found, languages)
        confidence, right = judged.confidence, judged.given == truth
        theirs = recipe.scores(ground.baseline, found)
        sure = judged.sure
        figures.append(
            Figure(
                name,
                calibration_error(confidence, right),
                len(found),
                between=ground.interval(_calibration_error(confidence, right), len(found)),
                baseline=calibration_error(theirs.max(axis=1), theirs.argmax(axis=1) == truth),
                floor=0.08,
                stretch=0.05,
                less=True,
                beside=f"mean confidence {confidence.mean():.2f}, right {right.mean():.2f}; sure {sure.mean():.0%}, "
                f"of those right {right[sure].mean() if sure.any() else 0.0:.2f}",
            )
        )
        held = [one for one in scoring.bins(confidence, right, 10) if one.rows >= 10]
        curves.append(Curve("calibration", name, [one.confidence for one in held], [one.right for one in held]))
        shares = [share / 20 for share in range(1, 21)]
        curves.append(Curve("coverage", name, shares, [scoring.precision_of_surest(confidence, right, share) for share in shares]))
    note = "The expected calibration error, in 15 bins, over the rows with one of our labels; a set with a single one says nothing of it."
    if left_out:
        note += f" Left out, since the set is not there: {', '.join(left_out)}."
    return Section("calibration", "Honest about doubt", note, figures, curves)


def _calibration_error(confidence: Array, right: Array) -> Statistic:
    return lambda drawn: calibration_error(confidence[drawn], right[drawn])


def surest(ground: Ground) -> Section:
    """How many of the surest 70 % of the predicted bugs are bugs, where people labelled what is none."""
    figures = []
    for name in NOT_BUGS:
        rows = [row for row in ground.rows(name) if row.label is not None or not is_near_a_bug(row.original)]
        ours = ground.judged([row.text for row in rows], [row.language for row in rows]).scores
        theirs = recipe.scores(ground.baseline, [row.text for row in rows])
        truth, has_label = numbers([row.label for row in rows]), np.array([row.label is not None for row in rows])
        bug = recipe.LABELS.index(BUG)
        narrow = len(set(truth[has_label].tolist())) > 1
        for what, kept in ((f"{name}, rows with one of our labels", has_label), (f"{name}, all rows", np.ones(len(rows), bool))):
            if kept is has_label and not narrow:
                continue  # bugs alone: no negatives
            called = kept & (ours.argmax(axis=1) == bug)
            baseline = kept & (theirs.argmax(axis=1) == bug)
            confidence, right = ours[called, bug], truth[called] == bug
            if not len(right):
                continue
            figures.append(
                Figure(
                    what,
                    scoring.precision_of_surest(confidence, right, SUREST),
                    round(SUREST * len(right)),
                    between=ground.interval(_precision(confidence, right), len(right)),
                    baseline=scoring.precision_of_surest(theirs[baseline, bug], truth[baseline] == bug, SUREST),
                    floor=0.95 if kept is has_label else None,
                    stretch=0.98 if kept is has_label else None,
                    beside=f"{np.mean(truth[kept] == bug):.0%} of the set are bugs; all predicted bugs {right.mean():.3f}",
                )
            )
    note = (
        "The share of bugs among the surest 70 % of what is called one. The bar is for rows that people gave one of our labels. *All rows* "
        "adds those that are none of the four, such as wishes and remarks, without those whose own label comes near a bug."
    )
    return Section("surest", "The surest bugs", note, figures)


def is_near_a_bug(original: str) -> bool:
    """Whether a set's own label, which is none of ours, may well be that of a bug."""
    return any(word in original.casefold() for word in NEAR_BUGS)


def _precision(confidence: Array, right: Array) -> Statistic:
    return lambda drawn: scoring.precision_of_surest(confidence[drawn], right[drawn], SUREST)


def curve(ground: Ground) -> Section:
    """Macro-F1 on the sets by the size of the corpus, in whole topics drawn at random."""
    sets_ = {one.name: (ground.rows(one.name, one.labels), numbers(one.labels).tolist()) for one in SETS}
    found: dict[str, dict[float, list[float]]] = {one.name: {size: [] for size in SIZES} for one in SETS}
    posts: dict[float, list[int]] = {size: [] for size in SIZES}
    for size in SIZES:
        for seed in ground.seeds if size < 1.0 else [0]:
            part = by_topics(ground.corpus, size, seed)
            posts[size].append(len(part))
            model = recipe.fit(part)
            for name, (rows, labels) in sets_.items():
                given = recipe.scores(model, [row.text for row in rows]).argmax(axis=1)
                found[name][size].append(scoring.macro_f1(numbers([row.label for row in rows]), given, labels))
    sizes = [float(np.mean(posts[size])) for size in SIZES]
    figures = [
        Figure(
            f"{name}, from 60 % to all of it",
            float(np.mean(by[1.0]) - np.mean(by[0.6])),
            between=(float(np.mean(by[1.0]) - max(by[0.6])), float(np.mean(by[1.0]) - min(by[0.6]))),
            beside=", ".join(f"{count:,.0f} posts {np.mean(by[size]):.3f}" for size, count in zip(SIZES, sizes, strict=True)),
        )
        for name, by in found.items()
    ]
    curves = [
        Curve(
            "transfer",
            name,
            sizes,
            [float(np.mean(by[size])) for size in SIZES],
            [float(min(by[size])) for size in SIZES],
            [float(max(by[size])) for size in SIZES],
        )
        for name, by in found.items()
    ]
    note = (
        f"What the last two fifths of the corpus brought in macro-F1. Topics are drawn at random, {len(ground.seeds)} times for each size; "
        "the interval is the range over the draws."
    )
    return Section("curve", "What more posts would bring", note, figures, curves)


def by_topics(posts: Sequence[Post], share: float, seed: int) -> list[Post]:
    """Whole topics, drawn at random, until they hold `share` of the posts."""
    topics = sorted({post.topic for post in posts})
    random.Random(seed).shuffle(topics)
    counts = dict.fromkeys(topics, 0)
    for post in posts:
        counts[post.topic] += 1
    kept: set[str] = set()
    held = 0
    for topic in topics:
        if held >= share * len(posts):
            break
        kept.add(topic)
        held += counts[topic]
    return [post for post in posts if post.topic in kept]


def kinds(ground: Ground) -> Section:
    """Each kind of text of the corpus judged by a model that learned from all others."""
    posts = ground.corpus
    texts = [post.text for post in posts]
    truth = numbers([post.label for post in posts])
    given = {}
    for parts in (recipe.Ours(), recipe.Baseline()):
        rows = parts.features().fit_transform(texts)  # once: which n-grams there are says nothing of the labels
        found = np.zeros(len(posts), int)
        for _, learn, judge in sets.leave_one_out([post.kind for post in posts]):
            learned = [posts[one] for one in learn]
            if isinstance(parts, recipe.Ours):
                model = recipe.fit_rows(rows[learn], learned)
            else:
                model = parts.judge().fit(rows[learn], [str(post.label) for post in learned])
            found[judge] = [recipe.LABELS.index(label) for label in model.predict(rows[judge])]
        given[type(parts)] = found
    ours, theirs = given[recipe.Ours], given[recipe.Baseline]
    groups = {"all kinds": list(range(len(posts)))}
    groups |= {f"`{kind}`": held for kind, _, held in sets.leave_one_out([post.kind for post in posts])}
    groups |= {f"language `{language}`": held for language, _, held in sets.leave_one_out([post.lang for post in posts]) if len(held) >= 50}
    figures = []
    for name, held in groups.items():
        there = sorted(set(truth[held].tolist()))
        figures.append(
            Figure(
                name,
                scoring.macro_f1(truth[held], ours[held], there),
                len(held),
                between=ground.interval(_macro_f1(truth[held], ours[held], there), len(held)),
                baseline=scoring.macro_f1(truth[held], theirs[held], there),
                beside=", ".join(f"{recipe.LABELS[label]} {scoring.f1(truth[held], ours[held], label):.2f}" for label in there),
            )
        )
    note = (
        "Macro-F1 on each file of the corpus, which is one kind of text, by a model that learned from all other files. Which n-grams there "
        "are, and how rare each is, was counted on all of it; what they are worth was not."
    )
    return Section("kinds", "Kinds of text held back whole", note, figures)
