"""What the measures share: the corpus, the model that ships, the baseline, and the sets without what was learned from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.measure import recipe, scoring, sets
from tests.measure.scoring import Array
from triage.classifier import Classifier
from triage.classifier.corpus import Post, digest_of
from triage.mention import Label

_QUICK_ROWS = 240  # of a set
_QUICK_POSTS = 700  # of the corpus


class NoSet(Exception):
    """A labelled set that a measure needs is not there."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of the model that ships: the scores in the order of `recipe.LABELS`, and whether each is called sure."""

    scores: Array
    sure: Array

    @property
    def given(self) -> Array:
        """The number of the likeliest label."""
        return np.asarray(self.scores.argmax(axis=1))

    @property
    def confidence(self) -> Array:
        """Its probability."""
        return np.asarray(self.scores.max(axis=1))


class Ground:
    """Made once a run. `data` is the folder of the sets, if there is one. A quick run takes a part of everything, to try it out."""

    def __init__(self, data: Path | None, model: Path, *, quick: bool = False) -> None:
        self.data = data
        self.model = model
        self.quick = quick

    @property
    def seeds(self) -> range:
        """The seeds of what is drawn."""
        return range(1 if self.quick else 3)

    def interval(self, statistic: Callable[..., float], *sizes: int) -> tuple[float, float]:
        """The bootstrap 95 % interval of a statistic over rows; see `scoring.interval`."""
        return scoring.interval(statistic, *sizes, times=50 if self.quick else scoring.TIMES)

    @cached_property
    def corpus(self) -> list[Post]:
        """The project's own corpus."""
        posts = recipe.corpus()
        return random.Random(0).sample(posts, _QUICK_POSTS) if self.quick else posts

    @cached_property
    def known(self) -> frozenset[str]:
        """What was learned from, as `sets.bare` texts."""
        return frozenset(sets.bare(post.text) for post in recipe.corpus())

    @cached_property
    def reference(self) -> list[Post]:
        """The reference set, without what the corpus holds too."""
        return [post for post in recipe.reference() if sets.bare(post.text) not in self.known]

    @cached_property
    def classifier(self) -> Classifier:
        """The model that ships (or another one that was asked for)."""
        return Classifier.load(self.model)

    def is_of_this_corpus(self) -> bool:
        """Whether the model learned from the corpus as it stands."""
        return self.classifier.card.data.digest == digest_of((post.text, post.label) for post in recipe.corpus())

    @cached_property
    def baseline(self) -> Any:
        """The baseline, learned from the same corpus."""
        return recipe.fit_baseline(self.corpus)

    def rows(self, name: str, labels: Sequence[Label] | None = None) -> list[sets.Row]:
        """The rows of a set that people labelled with one of `labels` (None: with anything), each text once, none of the corpus's own.

        Raises NoSet when it is not there.
        """
        path = sets.find(self.data, name) if self.data else None
        if path is None:
            raise NoSet(name)
        found = [row for row in sets.read(path) if labels is None or row.label in labels]
        if self.quick:
            found = random.Random(0).sample(found, min(_QUICK_ROWS, len(found)))
        return sets.different(found, known=self.known)

    def judged(self, texts: Sequence[str], languages: Sequence[str | None]) -> Judged:
        """The verdicts of the model that ships."""
        verdicts = self.classifier.classify(texts, languages)
        return Judged(
            np.array([[verdict.scores[label] for label in recipe.LABELS] for verdict in verdicts]),
            np.array([verdict.sure for verdict in verdicts]),
        )


def numbers(labels: Sequence[Label | None]) -> Array:
    """Labels as their places in `recipe.LABELS`; -1 for none of them."""
    return np.array([-1 if label is None else recipe.LABELS.index(str(label)) for label in labels])
