"""The arithmetic of the measures. Labels are numbers, texts are rows; every function takes arrays and returns a number or arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triage.classifier.calibration import BINS

Array = np.ndarray[Any, Any]

TIMES = 1_000  # resamples of an interval


def f1(truth: Array, given: Array, label: int) -> float:
    """The F1 of one label; 0 where it is neither there nor given."""
    hits = np.count_nonzero((truth == label) & (given == label))
    return 2 * int(hits) / max(1, int(np.count_nonzero(truth == label)) + int(np.count_nonzero(given == label)))


def macro_f1(truth: Array, given: Array, labels: Sequence[int]) -> float:
    """The mean F1 of `labels`. What is given another label is missed."""
    return float(np.mean([f1(truth, given, label) for label in labels]))


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows whose confidence falls into one bin: their mean confidence, the share that is right, and how many they are."""

    confidence: float
    right: float
    rows: int


def bins(confidence: Array, right: Array, count: int = BINS) -> list[Bin]:
    """The bins of equal width that hold a row."""
    number = np.minimum((confidence * count).astype(int), count - 1)
    rows = np.bincount(number, minlength=count)
    sure, hits = np.bincount(number, confidence, count), np.bincount(number, right, count)
    return [Bin(float(sure[one] / rows[one]), float(hits[one] / rows[one]), int(rows[one])) for one in np.nonzero(rows)[0]]


def precision_of_surest(confidence: Array, right: Array, share: float) -> float:
    """The share that is right among the surest `share` of the rows; 0 where there is no row."""
    kept = np.argsort(-confidence, kind="stable")[: max(1, round(share * len(confidence)))]
    return float(right[kept].mean()) if len(kept) else 0.0


def best_threshold(score: Array, truth: Array) -> tuple[float, float]:
    """The score from which calling a row true gives the best F1, and that F1."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    found = 2 * hits / (np.arange(1, len(order) + 1) + max(1, truth.sum()))
    last = np.append(score[order][1:] != score[order][:-1], True)  # rows of one score stand or fall together
    best = int(np.argmax(np.where(last, found, -1.0)))
    return float(score[order][best]), float(found[best])


def interval(statistic: Callable[..., float], *sizes: int, times: int = TIMES, seed: int = 0) -> tuple[float, float]:
    """The bootstrap 95 % interval of a statistic: its middle 95 % over rows drawn anew with replacement.

    There is one block of rows for each of `sizes`, each drawn within itself; `statistic` gets the numbers of the drawn rows of each.
    """
    draw = np.random.default_rng(seed)
    found = [statistic(*(draw.integers(0, size, size) for size in sizes)) for _ in range(times)]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
