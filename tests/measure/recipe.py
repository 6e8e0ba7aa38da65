"""The one door to how a model is made: what the measures need of `triage.classifier.train`, and a plain baseline of the same shape.

The measures train many models, and most need no calibration, which changes no label and costs five fits more. So they fit features and
judge by themselves, from the same parts, parameters and weights; `retrain` is the real thing.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.class_weight import compute_sample_weight

from tests.measure.scoring import Array
from triage.classifier import Card, corpus_folder, read_corpus
from triage.classifier.corpus import Post
from triage.classifier.features import Form, Terms
from triage.classifier.form import NAMES
from triage.classifier.reader import Reader
from triage.mention import Label

_train: Any = importlib.import_module("triage.classifier.train")  # the package holds a function of the same name

LABELS = [str(label) for label in Label]
"""The labels in the order of every array of scores."""
LONGEST = 8_000  # characters that a model reads


def corpus() -> list[Post]:
    """The project's own corpus: all that the model that ships has learned from."""
    return list(read_corpus(corpus_folder()).posts)


def reference() -> list[Post]:
    """The project's own reference set, which no model learns from."""
    return list(read_corpus(corpus_folder().parent / "reference").posts)


class Parts(Protocol):
    """Features and judge of a way to make models."""

    def features(self) -> Any:
        """A transformer of texts, not fitted."""

    def judge(self, strength: float = 1.0) -> Any:
        """A classifier of its rows, not fitted. The larger `strength`, the more it believes what it learns from."""


class Ours:
    """The recipe's parts. Labels weigh the same whatever their number of rows."""

    def features(self) -> Any:
        """N-grams and form, as `triage train` makes them."""
        given = _train._PARAMETERS
        return FeatureUnion([("terms", Terms(**given["terms"])), ("form", Form(**given["form"]))])

    def judge(self, strength: float = 1.0) -> Any:
        """Logistic regression, as `triage train` makes it."""
        return _Judge(strength)


class _Judge:
    """`triage train`'s judge in the shape of an estimator: labels weigh the same."""

    def __init__(self, strength: float) -> None:
        self._strength = strength

    def fit(self, rows: Any, labels: Any, sample_weight: Any = None) -> Any:
        """Learn, and become the regression that learned."""
        found = np.asarray(labels)
        weights = compute_sample_weight("balanced", found) * (1.0 if sample_weight is None else np.asarray(sample_weight))
        return _train.fitted(rows, rows.shape[1] - len(NAMES), found, weights, self._strength)


class Baseline:
    """TF-IDF of words and letters with logistic regression: what anybody would try first."""

    def features(self) -> Any:
        """Words and pairs of words, and runs of 2 to 5 letters inside a word."""
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
        return FeatureUnion([("words", words), ("letters", letters)])

    def judge(self, strength: float = 1.0) -> Any:
        """Logistic regression with scikit-learn's defaults; the solver gives the same in less time."""
        return LogisticRegression(C=strength, class_weight="balanced", solver="newton-cg")


def fit(posts: Sequence[Post], corrections: Sequence[tuple[str, str]] = ()) -> Reader:
    """A model that learned from `posts` and from people's corrections, (text, label) pairs, as `triage train` weighs them."""
    learned = [*posts, *_train._corrections(corrections)]
    features = Ours().features()
    rows = features.fit_transform([post.text for post in learned])
    return Reader(features.transformer_list[0][1], features.transformer_list[1][1], fit_rows(rows, learned))


def fit_rows(rows: Any, posts: Sequence[Post]) -> Any:
    """The recipe's judge alone, with its weights, on rows that its features made."""
    labels, weights = np.array([str(post.label) for post in posts]), np.array(_train._weights(posts))
    return _train.fitted(rows, rows.shape[1] - len(NAMES), labels, weights)


def fit_baseline(posts: Sequence[Post]) -> Any:
    """The baseline, learned from `posts`."""
    pipeline = Pipeline([("features", Baseline().features()), ("judge", Baseline().judge())])
    return pipeline.fit([post.text[:LONGEST] for post in posts], [str(post.label) for post in posts])


def scores(model: Any, texts: Sequence[str]) -> Array:
    """The probability of each of `LABELS` for each text, by a model that `fit` or `fit_baseline` made."""
    texts = [text[:LONGEST] for text in texts]
    if isinstance(model, Reader):
        found = [model.read(texts[start : start + 256])[0] for start in range(0, len(texts), 256)]
        return np.vstack(found)[:, [sorted(LABELS).index(label) for label in LABELS]]
    return np.asarray(model.predict_proba(texts)[:, [list(model.classes_).index(label) for label in LABELS]])


def retrain(out: Path, corrections: Sequence[tuple[str, str]]) -> Card:
    """What `triage train` does: check the corpus, cross-validate, fit, calibrate, save."""
    made: Card = _train.train(corpus_folder(), out, corrections=corrections)
    return made
