"""What the model sees of a text: weighted n-grams of words and of letters, and its form.

Both transformers are ours so that they are fast (a word's letters are looked up once, then remembered), small on disk
and loadable from a skops file by name. They hold numbers and strings only. This module imports scikit-learn; only
`triage.classifier.train` and the loading of a model import it.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import normalize

from triage.classifier.form import NAMES, PERSON, form

_LONGEST_WORD = 32  # letters; what is longer is a token or a hash, and its end says nothing
_REMEMBERED_WORDS = 20_000  # some 8 MB; then the memory starts anew

# What is masked, and a character that must be there before the pattern is tried. Posts are hostile: no pattern may look at a text
# more often than it is long, so nothing unbounded stands before a sign that may be missing.
_MASKS = (
    ("://", re.compile(r"https?://\S+"), " xlink "),
    ("www.", re.compile(r"www\.\S+"), " xlink "),
    ("@", PERSON, " "),
    ("@", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}"), " xmail "),
)
_NUMBERS = (
    (re.compile(r"(?<!\w)v?\d+(?:\.\d+)+[\w-]*"), " xversion "),
    (re.compile(r"(?<!\d)[45]\d\d(?!\d)"), " xstatus "),
    (re.compile(r"\d+"), "0"),
)
_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[?!]+|[\u2600-\u27bf\U0001f300-\U0001faff]")


def tokens(text: str) -> list[str]:
    """The words of a text in lower case; `?`, `!` and emoji are words of their own.

    Links, addresses and numbers are masked, the names that it addresses are left out.
    """
    text = text.lower()
    for sign, shape, word in _MASKS:
        if sign in text:
            text = shape.sub(word, text)
    if _DIGIT.search(text):
        for shape, word in _NUMBERS:
            text = shape.sub(word, text)
    return [token[:_LONGEST_WORD] for token in _TOKEN.findall(text)]


def spans(text: str) -> Iterator[tuple[str, str]]:
    """Each word as it stands in the text, with its token; masked things are left out, so that an explanation shows real words."""
    for match in _TOKEN.finditer(text):
        found = tokens(match[0])
        if len(found) == 1 and found[0] == match[0].lower()[:_LONGEST_WORD]:
            yield match[0], found[0]


def _runs(words: Sequence[str], longest: int) -> list[str]:
    """The n-grams of words, from single ones up."""
    grams = list(words)
    for size in range(2, longest + 1):
        grams += map(" ".join, zip(*(words[start:] for start in range(size)), strict=False))
    return grams


def _pieces(word: str, longest: int) -> list[str]:
    """The n-grams of letters of a word with a blank at both ends, from pairs up."""
    padded = f" {word} "
    return [padded[start : start + size] for size in range(2, min(longest, len(padded)) + 1) for start in range(len(padded) - size + 1)]


class Terms(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """TF-IDF of n-grams: runs of up to `words` words, beside runs of 2 to `letters` letters inside a word.

    Counts are damped (1 + ln). An n-gram counts when at least `words_least` (`letters_least`) training texts hold it. The words'
    half and the letters' half of a row have length 1 each.
    """

    def __init__(self, words: int = 2, letters: int = 5, words_least: int = 2, letters_least: int = 3) -> None:
        self.words = words
        self.letters = letters
        self.words_least = words_least
        self.letters_least = letters_least
        self._kept: _Lookup | None = None

    def fit(self, texts: Sequence[str], y: object = None) -> Terms:
        """Learn the n-grams and how rare each is. The outcome depends on the texts alone, not on their order."""
        split = [tokens(text) for text in texts]
        self.words_, self.words_idf_ = _learn(split, lambda words: _runs(words, self.words), self.words_least)
        self.letters_, self.letters_idf_ = _learn(
            split, lambda words: [piece for word in words for piece in _pieces(word, self.letters)], self.letters_least
        )
        self._kept = None
        return self

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """One row a text; the words' columns, then the letters'."""
        lookup = self._lookup()
        words, letters = _Rows(), _Rows()
        for text in texts:
            split = tokens(text)
            words.add(lookup.runs(split))
            letters.add(*map(lookup.pieces, split))
        return sparse.hstack([words.weighted(self.words_idf_), letters.weighted(self.letters_idf_)], format="csr")

    def real_words(self) -> np.ndarray:
        """1 for each column of `words` that holds a real word, 0 for signs, numbers and masks alone."""
        masks = {"0", "xlink", "xmail", "xversion", "xstatus"}
        grams = self.words_.split("\n") if self.words_ else []
        return np.array([float(any(word[0].isalpha() and word not in masks for word in gram.split())) for gram in grams])

    def columns(self, token: str) -> list[int]:
        """The columns that one word touches by itself."""
        lookup = self._lookup()
        return [*lookup.runs([token]), *(len(self.words_idf_) + column for column in lookup.pieces(token))]

    def _lookup(self) -> _Lookup:
        if self._kept is None:
            self._kept = _Lookup(self.words_, self.words, self.letters_, self.letters)
        return self._kept

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kept": None}


def _learn(split: Sequence[Sequence[str]], grams_of: Callable[[Sequence[str]], list[str]], least: int) -> tuple[str, np.ndarray]:
    """The n-grams that enough texts hold, as lines of one string (skops writes a list of 20,000 as 20,000 files), and their rarity."""
    seen: Counter[str] = Counter()
    for words in split:
        seen.update(set(grams_of(words)))
    kept = sorted(gram for gram, count in seen.items() if count >= least)
    return "\n".join(kept), np.array([math.log((1 + len(split)) / (1 + seen[gram])) + 1 for gram in kept])


class _Lookup:
    """N-gram to column, with a memory of the words met so far; made anew after loading."""

    def __init__(self, words: str, longest_run: int, letters: str, longest_piece: int) -> None:
        self._words = {gram: number for number, gram in enumerate(words.split("\n"))} if words else {}
        self._letters = {gram: number for number, gram in enumerate(letters.split("\n"))} if letters else {}
        self._longest_run = longest_run
        self._longest_piece = longest_piece
        self._met: dict[str, array[int]] = {}

    def runs(self, split: Sequence[str]) -> array[int]:
        known = self._words
        return array("i", (known[gram] for gram in _runs(split, self._longest_run) if gram in known))

    def pieces(self, word: str) -> array[int]:
        met = self._met.get(word)
        if met is None:
            known = self._letters
            met = array("i", (known[piece] for piece in _pieces(word, self._longest_piece) if piece in known))
            if len(self._met) >= _REMEMBERED_WORDS:
                self._met.clear()
            self._met[word] = met
        return met


class _Rows:
    """Columns gathered row by row in flat arrays, then counted and weighted."""

    def __init__(self) -> None:
        self._columns = array("i")
        self._ends = array("i", [0])

    def add(self, *columns: array[int]) -> None:
        for some in columns:
            self._columns.extend(some)
        self._ends.append(len(self._columns))

    def weighted(self, idf: np.ndarray) -> sparse.csr_matrix:
        columns = np.array(self._columns, np.int32)
        rows = sparse.csr_matrix((np.ones(len(columns)), columns, np.array(self._ends)), shape=(len(self._ends) - 1, len(idf)))
        rows.sum_duplicates()
        rows.data = (1 + np.log(rows.data)) * idf[rows.indices]
        return normalize(rows, copy=False)


class Form(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The form of a text, as `triage.classifier.form` reads it: one column for each of `form.NAMES`, 0 to `weight`."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def fit(self, texts: Sequence[str], y: object = None) -> Form:
        """Nothing to learn but the columns' names, so that a model made with others is refused."""
        self.names_ = "\n".join(NAMES)
        return self

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """One row a text. Raises ValueError when the columns are no longer those that the model was made with."""
        if self.names_ != "\n".join(NAMES):
            raise ValueError("the model was made with other features of form")
        return sparse.csr_matrix(self.weight * np.array([form(text) for text in texts], dtype=float).reshape(len(texts), len(NAMES)))
