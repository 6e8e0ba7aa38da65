"""What the model sees of a text: weighted n-grams of words and of letters, and its form.

Every word adds the same to a row wherever it stands, and a row is their sum by a power of its length. So what a word is worth
to each label can be worked out once and remembered (`triage.classifier.reader`), and a text costs a look-up for each of its words.

Both transformers are ours so that they are fast, small on disk and loadable from a skops file by name. They hold numbers and strings
only. This module imports scikit-learn; only `triage.classifier.train` and the loading of a model import it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin

from triage.classifier.form import GRAMS, GROUPS, NAMES, WORD_GROUPS, counts, leads, negated, shapes

_LONGEST_WORD = 32  # letters; what is longer is a token or a hash, and its end says nothing

# What is masked, and a character that must be there before the pattern is tried. Posts are hostile: no pattern may look at a text
# more often than it is long, so nothing unbounded stands before a sign that may be missing.
_PERSON = re.compile(r"(?<![\w/])@[\w.-]+(?:@[\w.-]+)?")
_MASKS = (
    ("://", re.compile(r"https?://\S+"), " xlink "),
    ("www.", re.compile(r"www\.\S+"), " xlink "),
    ("@", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}"), " xmail "),
)
_NUMBERS = (
    (re.compile(r"(?<!\w)v?\d+(?:\.\d+)+[\w-]*"), " xversion "),
    (re.compile(r"(?<!\d)[45]\d\d(?!\d)"), " xstatus "),
    (re.compile(r"\d+"), "0"),
)
_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"\w+(?:'\w+)*|[?!]+|[\u2600-\u27bf\U0001f300-\U0001faff]")
_MASKED = frozenset({"0", "xlink", "xmail", "xversion", "xstatus"})


def without_names(text: str) -> str:
    """The text without the names that it addresses: nearly every mention of us holds ours, so they say nothing."""
    return _PERSON.sub(" ", text).strip() if "@" in text else text


def tokens(text: str) -> list[str]:
    """The words of a text in lower case; `?`, `!` and emoji are words of their own. Links, addresses and numbers are masked."""
    text = text.lower().replace("’", "'")
    for sign, shape, word in _MASKS:
        if sign in text:
            text = shape.sub(word, text)
    if _DIGIT.search(text):
        for shape, word in _NUMBERS:
            text = shape.sub(word, text)
    found: list[str] = _TOKEN.findall(text)
    if found and len(max(found, key=len)) > _LONGEST_WORD:
        found = [token[:_LONGEST_WORD] for token in found]
    return found


def spans(text: str) -> Iterator[tuple[str, str]]:
    """Each word as it stands in the text, with its token; masked things are left out, so that an explanation shows real words."""
    for match in _TOKEN.finditer(without_names(text).replace("’", "'")):
        found = tokens(match[0])
        if len(found) == 1 and found[0] == match[0].lower()[:_LONGEST_WORD]:
            yield match[0], found[0]


def pairs(split: Sequence[str]) -> list[str]:
    """Each two words that stand next to each other."""
    return list(map(" ".join, pairwise(split)))


def is_real(gram: str) -> bool:
    """Whether a run of tokens holds a real word, and not signs, numbers and masks alone."""
    return any(word[0].isalpha() and word not in _MASKED for word in gram.split())


def _pieces(word: str, longest: int) -> list[str]:
    """The n-grams of letters of a word with a blank at both ends, from pairs up."""
    padded = f" {word} "
    return [padded[start : start + size] for size in range(2, min(longest, len(padded)) + 1) for start in range(len(padded) - size + 1)]


class Terms(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """N-grams, the rarer the heavier: words and pairs of words, beside runs of 2 to `letters` letters inside a word.

    A word adds its own rarity (idf), and its letters' rarities scaled to length 1 times their mean. A row is the sum over its words and
    pairs by their number to the power `power`, times `weight`. An n-gram counts when at least `words_least` (`letters_least`) training
    texts hold it.
    """

    def __init__(self, letters: int = 5, words_least: int = 2, letters_least: int = 5, power: float = 0.35, weight: float = 0.33) -> None:
        self.letters = letters
        self.words_least = words_least
        self.letters_least = letters_least
        self.power = power
        self.weight = weight
        self._kept: _Columns | None = None

    def fit(self, texts: Sequence[str], y: object = None) -> Terms:
        """Learn the n-grams and how rare each is. The outcome depends on the texts alone, not on their order."""
        words: Counter[str] = Counter()
        pieces: Counter[str] = Counter()
        inside: dict[str, frozenset[str]] = {}
        for text in texts:
            split = tokens(without_names(text))
            words.update({*split, *pairs(split)})
            found: set[str] = set()
            for word in set(split):
                if word not in inside:
                    inside[word] = frozenset(_pieces(word, self.letters))
                found |= inside[word]
            pieces.update(found)
        self.words_, self.words_idf_ = _kept(words, self.words_least, len(texts))
        self.letters_, self.letters_idf_ = _kept(pieces, self.letters_least, len(texts))
        self._kept = None
        return self

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """One row a text; the words' columns, then the letters'."""
        columns = self._columns()
        numbers: list[np.ndarray] = []
        values: list[np.ndarray] = []
        ends = [0]
        for text in texts:
            split = tokens(without_names(text))
            found = [*map(columns.word, split), *(columns.pair(pair) for pair in pairs(split))]
            by = self.weight / max(1, len(split)) ** self.power
            numbers += [one for one, _ in found]
            values += [value * by for _, value in found]
            ends.append(ends[-1] + sum(len(one) for one, _ in found))
        data = np.concatenate(values) if values else np.zeros(0)
        indices = np.concatenate(numbers) if numbers else np.zeros(0, np.int32)
        rows = sparse.csr_matrix((data, indices, np.array(ends)), shape=(len(texts), len(self.words_idf_) + len(self.letters_idf_)))
        rows.sum_duplicates()
        return rows

    def columns(self, token: str) -> list[int]:
        """The columns that one word touches by itself."""
        numbers: list[int] = self._columns().word(token)[0].tolist()
        return numbers

    def added(self, token: str) -> tuple[np.ndarray, np.ndarray]:
        """The columns that one word touches, and what it adds to each of them before length and `weight`."""
        return self._columns().word(token)

    def pairs(self) -> dict[str, tuple[int, float]]:
        """The pairs of words that count: the column of each and what it adds."""
        return {
            gram: (number, float(self.words_idf_[number]))
            for number, gram in enumerate(self.words_.split("\n") if self.words_ else [])
            if " " in gram
        }

    def _columns(self) -> _Columns:
        if self._kept is None:
            self._kept = _Columns(self)
        return self._kept

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kept": None}


def _kept(seen: Counter[str], least: int, texts: int) -> tuple[str, np.ndarray]:
    """The n-grams that enough texts hold, as lines of one string (skops writes a list of 20,000 as 20,000 files), and their rarity."""
    kept = sorted(gram for gram, count in seen.items() if count >= least)
    return "\n".join(kept), np.array([math.log((1 + texts) / (1 + seen[gram])) + 1 for gram in kept])


_NOTHING = (np.zeros(0, np.int32), np.zeros(0))


class _Columns:
    """What each n-gram adds to a row; made anew after loading."""

    _MOST = 50_000  # words; then the memory starts anew

    def __init__(self, terms: Terms) -> None:
        self._words = {gram: number for number, gram in enumerate(terms.words_.split("\n"))} if terms.words_ else {}
        self._letters = {gram: number for number, gram in enumerate(terms.letters_.split("\n"))} if terms.letters_ else {}
        self._words_idf, self._letters_idf = terms.words_idf_, terms.letters_idf_
        self._longest = terms.letters
        self._met: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def word(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        met = self._met.get(word)
        if met is None:
            if len(self._met) >= self._MOST:
                self._met.clear()
            met = self._met[word] = self._add(word)
        return met

    def _add(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        own = [self._words[word]] if word in self._words else []
        pieces = [self._letters[piece] for piece in _pieces(word, self._longest) if piece in self._letters]
        weights = self._letters_idf[pieces]
        if pieces:
            weights = weights / np.linalg.norm(weights) * weights.mean()
        return (
            np.array([*own, *(len(self._words_idf) + piece for piece in pieces)], np.int32),
            np.concatenate([self._words_idf[own], weights]),
        )

    def pair(self, pair: str) -> tuple[np.ndarray, np.ndarray]:
        number = self._words.get(pair)
        return _NOTHING if number is None else (np.array([number], np.int32), self._words_idf[[number]])


class Form(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The form of a text: one column for each of `form.NAMES`, 0 to `weight`."""

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
        bare = [without_names(text) for text in texts]
        split = [tokens(text) for text in bare]
        groups = np.zeros((len(texts), len(GROUPS)))
        for row, words in enumerate(split):
            two = pairs(words)
            for gram in (*words, *two, *map(" ".join, zip(two, words[2:], strict=False))):
                for number in GRAMS.get(gram, ()):
                    groups[row, number] += 1
        return sparse.csr_matrix(self.weight * form(bare, split, groups))


_AT = {name: number for number, name in enumerate(GROUPS)}


def form(texts: Sequence[str], split: Sequence[Sequence[str]], groups: np.ndarray) -> np.ndarray:
    """A row for each text (without names) with its tokens: `form.NAMES`, 0 to 1. `groups` counts the words of each of `form.GROUPS`."""

    def said(name: str) -> np.ndarray:
        column: np.ndarray = groups[:, _AT[name]]
        return column

    denied = np.array([negated(words) for words in split], bool)
    asked = np.array([text.count("?") for text in texts])
    praise = said("praises") + said("good (run)") > 0
    defect = (said("breaks") + said("cannot (run)") > 0) | denied
    ask = said("asking (run)") + said("wish (run)") + asked > 0
    wrong, turns, wants = said("goes wrong") > 0, said("turns") > 0, said("wants") > 0
    most = np.array([3.0] * WORD_GROUPS + [2.0] * (len(GROUPS) - WORD_GROUPS))
    alone = [
        denied,
        praise & ~defect & ~ask & ~wrong & ~turns,
        praise & turns,
        defect & ~praise & ~ask,
        defect & praise,
        defect & ask,
        (said("mends") > 0) & wants,
        ~(praise | defect | ask | wrong | wants),
    ]
    return np.hstack(
        [
            np.minimum(groups, most) / most,
            np.array([shapes(text) for text in texts]).reshape(len(texts), -1),
            np.column_stack(alone).astype(float),
            np.array([[*leads(words), *counts(text, words)] for text, words in zip(texts, split, strict=True)]).reshape(len(texts), -1),
        ]
    )
