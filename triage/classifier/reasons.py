"""Why a model says what it says of a text: what spoke for a label and what against, and the labelled posts that are nearest.

A word's part is measured: how the log-odds of the label (against all others together) change when the text is judged without it, its
part in features of form included. A feature of form, which can't be taken out, has the part that it adds to them in the model's sum.
This module imports scikit-learn when asked.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from triage.mention import Label

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["word", "form"]
Judge = Callable[[Sequence[str]], Sequence[Mapping[Label, float]]]
"""Texts to the scores of each."""

_LEAST = 1e-12  # a probability of nothing
_TRIED = 24  # words that are taken out; a long text has more, and those that the model gives most weight are tried

# The features of form in words; one without words here is told by its own name.
_FORM = {
    "asks": "has question words",
    "wants": "asks for help or wishes for something",
    "negates": "says no or not",
    "breaks": "speaks of a defect",
    "goes wrong": "speaks of something that goes wrong",
    "blames": "blames",
    "turns": "turns round with a but",
    "mends": "speaks of mending",
    "changes": "tells since when or how often",
    "praises": "praises",
    "thanks": "thanks",
    "sells": "advertises or announces",
    "advises": "advises somebody",
    "i": "speaks of the writer",
    "you": "speaks to somebody",
    "laughs": "laughs",
    "cannot (run)": "tells that something does not work",
    "asking (run)": "asks a question",
    "wish (run)": "wishes for something",
    "good (run)": "tells that something is good",
    "more (run)": "says that it happens here as well",
    "sarcasm (run)": "sounds sarcastic",
    "sells (run)": "advertises or announces",
    "advises (run)": "advises somebody",
    "trace": "has a stack trace",
    "status": "has a status or error code",
    "version": "has a version number",
    "measure": "has a measure",
    "code": "has code",
    "camel": "has names like those in code",
    "steps": "has a list of steps",
    "glad": "has a glad sign",
    "sad": "has a sad sign",
    "negated verb": "tells that something does not work",
    "praise alone": "praises and nothing else",
    "praise but": "praises, but",
    "break alone": "tells of a defect and nothing else",
    "praise and break": "praises and tells of a defect",
    "ask and break": "asks about a defect",
    "please mend": "asks to mend something",
    "nothing of all": "neither praises nor asks nor complains",
    "asks first": "begins like a question",
    "advises first": "begins like advice",
    "questions": "has question marks",
    "question last": "ends in a question mark",
    "exclaims": "has exclamation marks",
    "capitals": "has words in capitals",
    "links": "has a link",
    "tags": "has hashtags",
    "lines": "its number of lines",
    "length": "its length",
    "words": "its number of words",
    "digits": "has digits",
    "quotes": "has a quotation",
    "dots": "trails off in dots",
    "lower": "begins in a small letter",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that spoke for a label (`log_odds` above 0) or against it.

    `kind` is word (`what` stands in the text) or form (`what` tells a feature). `share` is its part, 0 to 1, of all that is told on
    both sides.
    """

    kind: Kind
    what: str
    log_odds: float
    share: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """What spoke for `label` and what against it, strongest first. `other` is the likeliest other, `log_odds` the whole text's."""

    label: Label
    other: Label
    log_odds: float
    speaks_for: tuple[Reason, ...]
    against: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled post to compare with. `where` says where it is from: a post of the corpus, or a mention that a person labelled."""

    text: str
    label: Label
    where: str


@dataclass(frozen=True, slots=True)
class Near:
    """A labelled post and how alike it is, 0 to 1: the cosine of both rows of words."""

    post: Labelled
    alike: float


def weigh(features: Any, judge: Any, scores_of: Judge, text: str, label: Label, share: float = 1.0) -> Weighed:
    """What of `text` spoke for `label`, and what against it.

    `features` is a union of transformers with one named "terms", `judge` the calibrated linear model behind it, `scores_of` both together
    with the encoder where there is one: then `share` of what the linear model says counts.
    """
    from triage.classifier.judge import heat

    [scores] = scores_of([text])
    other = max((one for one in scores if one is not label), key=lambda one: scores[one])
    labels = [Label(name) for name in judge.classes_]
    ours, whole = labels.index(label), odds(scores, label)
    rest = [0.0 if one is label else scores[one] / max(1.0 - scores[label], _LEAST) for one in labels]
    lift = judge.coef_[ours] - rest @ judge.coef_  # how a column moves the label against the others, each as likely as it is
    parts: dict[tuple[Kind, str], float] = defaultdict(float)
    start = 0
    heaviest: list[str] = []
    for name, part in features.transformer_list:
        row = part.transform([text])
        weights = lift[start : start + row.shape[1]]
        start += row.shape[1]
        values = {int(column): float(value * weights[column]) for column, value in zip(row.indices, row.data, strict=True)}
        if name == "terms":
            heaviest = _heaviest(part, text, values)
        elif name == "form":
            for column, value in values.items():
                parts["form", _form(column)] += share * value / float(heat(judge, row.toarray())[0])
    cut = [_without(text, token) for token in heaviest]
    for (shown, _), scored in zip(cut, scores_of([left for _, left in cut]), strict=True):
        parts["word", shown] = whole - odds(scored, label)
    total = sum(map(abs, parts.values())) or 1.0
    found = sorted(
        (Reason(kind, what, value, abs(value) / total) for (kind, what), value in parts.items() if abs(value) > 1e-6),
        key=lambda one: (-one.share, one.what),
    )
    return Weighed(label, other, whole, tuple(one for one in found if one.log_odds > 0), tuple(one for one in found if one.log_odds < 0))


def _form(column: int) -> str:
    from triage.classifier.form import NAMES

    return _FORM.get(NAMES[column], NAMES[column].removesuffix(" (run)"))


def _words(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Each real word where it stands, with its token: no links, addresses and numbers, nor the names that the text addresses."""
    from triage.classifier.features import tokens, without_names

    read = set(tokens(without_names(text)))
    for match in _WORD.finditer(text):
        found = tokens(match[0])
        if len(found) == 1 and found[0] in read and match[0].lower().startswith(found[0]):
            yield match, found[0]


_WORD = re.compile(r"\w+(?:['’]\w+)*|[?!]+|[\u2600-\u27bf\U0001f300-\U0001faff]")


def _heaviest(terms: Any, text: str, values: Mapping[int, float]) -> list[str]:
    """The tokens that the model gives the most weight by themselves, either way."""
    weights: dict[str, float] = {}
    for _, token in _words(text):
        if token not in weights:
            weights[token] = abs(sum(values.get(column, 0.0) for column in set(terms.columns(token))))
    return sorted(weights, key=lambda token: -weights[token])[:_TRIED]


def _without(text: str, token: str) -> tuple[str, str]:
    """The word as it first stands in the text, and the text without it."""
    shown, left, end = "", [], 0
    for match, other in _words(text):
        if other == token:
            shown = shown or match[0]
            left.append(text[end : match.start()])
            end = match.end()
    return shown, "".join([*left, text[end:]])


def odds(scores: Mapping[Any, float], label: Label) -> float:
    """The log-odds of a label against all others together, from their probabilities."""
    return math.log(max(scores[label], _LEAST) / max(1.0 - scores[label], _LEAST))


class Neighbours:
    """Labelled posts as rows of words, built once: some 10,000 posts a second."""

    def __init__(self, terms: Any, posts: Sequence[Labelled]) -> None:
        self._terms = terms
        self._posts = posts
        self._rows = self._unit(terms.transform([post.text for post in posts])) if posts else None

    def near(self, text: str, least: float = 0.0) -> list[Near]:
        """Those that share something with `text`, at least `least` alike, the nearest first."""
        if self._rows is None:
            return []
        alike: np.ndarray = (self._rows @ self._unit(self._terms.transform([text])).T).toarray().ravel()
        order = sorted((row for row in alike.nonzero()[0].tolist() if alike[row] >= least), key=lambda row: (-alike[row], row))
        return [Near(self._posts[row], min(float(alike[row]), 1.0)) for row in order]

    def _unit(self, rows: Any) -> Any:
        from sklearn.preprocessing import normalize

        return normalize(rows)
