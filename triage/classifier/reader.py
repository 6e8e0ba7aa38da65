"""Reading texts fast: what each word is worth to each label is worked out once and remembered.

The outcome is that of the pipeline itself (features, then logistic regression), which a test holds it to. A text costs one look-up for
each of its words and pairs; the sums are made for a whole batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from triage.classifier.features import Form, Terms, form, is_real, pairs, tokens, without_names
from triage.classifier.form import GRAMS, GROUPS
from triage.classifier.judge import heat

_MOST_WORDS = 40_000  # some 12 MB; then the memory starts anew

_AT_ONCE = 8_000  # words and pairs; a batch of the longest texts would take 300 MB


@dataclass(frozen=True, slots=True)
class Beside:
    """What an encoder says of the texts with the numbers `rows`: what each label is worth to them, which is added to `share` of ours."""

    rows: Sequence[int]
    worth: np.ndarray
    share: float


class Reader:
    """A fitted pipeline, turned into a table of words. Safe to use from several threads."""

    def __init__(self, terms: Terms, form: Form, judge: Any) -> None:
        self._terms = terms
        self._form = form
        self._judge = judge
        size = len(terms.words_idf_) + len(terms.letters_idf_)
        self._worth: np.ndarray = judge.coef_[:, :size].T * terms.weight  # columns of n-grams by labels
        self._form_worth: np.ndarray = np.ascontiguousarray(judge.coef_[:, size:]) * form.weight  # labels by columns of form
        self._start: np.ndarray = judge.intercept_
        self._labels = len(judge.intercept_)
        # What a word is worth to each label, whether it is a real one, whether that is known, and its groups of form.
        self._width = self._labels + 2 + len(GROUPS)
        self._known = frozenset(terms.words_.split("\n")) if terms.words_ else frozenset()
        self._guard = Lock()
        self._runs: dict[str, int] = {}
        self._openers: set[str] = set()
        self._fixed = self._table_of_runs()
        self._forget()

    def _table_of_runs(self) -> np.ndarray:
        """A row for each run of words that counts; the first row is nothing."""
        known = self._terms.pairs()
        runs = sorted({*known, *(gram for gram in GRAMS if " " in gram)})
        table = np.zeros((1 + len(runs), self._width))
        for number, run in enumerate(runs, start=1):
            self._runs[run] = number
            if run in known:
                column, value = known[run]
                table[number, : self._labels] = self._worth[column] * value
            for group in GRAMS.get(run, ()):
                table[number, self._labels + 2 + group] = 1.0
            if run.count(" ") == 2:
                self._openers.add(run.rpartition(" ")[0])
        return table

    def _forget(self) -> None:
        self._table = np.vstack([self._fixed, np.zeros((1024, self._width))])
        self._used = len(self._fixed)
        self._words: dict[str, int] = {}

    def _learn(self, word: str) -> int:
        if self._used == len(self._table):
            self._table = np.vstack([self._table, np.zeros((len(self._table) // 2, self._width))])
        number, row = self._used, self._table[self._used]
        columns, values = self._terms.added(word)
        row[: self._labels] = values @ self._worth[columns]
        row[self._labels] = is_real(word)
        row[self._labels + 1] = word in self._known and is_real(word)
        for group in GRAMS.get(word, ()):
            row[self._labels + 2 + group] = 1.0
        self._words[word] = number
        self._used += 1
        return number

    def read(self, texts: Sequence[str], beside: Beside | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The probability of each label for each text (a row each), and the share of its real words that the model knows.

        `beside` is what an encoder says of some of them.
        """
        bare = [without_names(text) for text in texts]
        split = [tokens(text) for text in bare]
        with self._guard:
            if len(self._words) > _MOST_WORDS:
                self._forget()
            sums = np.zeros((len(texts), self._width))
            numbers: list[int] = []
            starts: list[int] = []
            first = 0
            for row, words in enumerate(split, start=1):
                starts.append(len(numbers))
                numbers.append(0)
                numbers += self._numbers(words)
                if len(numbers) > _AT_ONCE or row == len(split):
                    sums[first:row] = np.add.reduceat(self._table[numbers], starts, axis=0)
                    numbers, starts, first = [], [], row
        lengths = np.array([max(1, len(words)) for words in split], float) ** self._terms.power
        groups = sums[:, self._labels + 2 :]
        # Not a product of matrices: its last digit depends on how many texts there are, and a text must get the same in any batch.
        shape = form(bare, split, groups)
        of_form = (shape[:, None, :] * self._form_worth[None]).sum(axis=2)
        worth = sums[:, : self._labels] / lengths[:, None] + of_form + self._start
        if beside is not None:
            worth[beside.rows] = beside.share * worth[beside.rows] + beside.worth
        worth = worth / heat(self._judge, shape)[:, None]
        worth = np.exp(worth - worth.max(axis=1, keepdims=True))
        return worth / worth.sum(axis=1, keepdims=True), sums[:, self._labels + 1] / np.maximum(sums[:, self._labels], 1.0)

    def _numbers(self, words: list[str]) -> list[int]:
        """The rows of a text's words and runs."""
        known, runs = self._words, self._runs
        try:
            found = list(map(known.__getitem__, words))
        except KeyError:
            found = [known[word] if word in known else self._learn(word) for word in words]
        two = pairs(words)
        found += filter(None, map(runs.get, two))
        if not self._openers.isdisjoint(two):
            three = [f"{pair} {word}" for pair, word in zip(two, words[2:], strict=False) if pair in self._openers]
            found += filter(None, map(runs.get, three))
        return found
