"""The gate: whether a challenger may take the place of today's model.

Both judge the same posts, which neither has learned from: the corrections of this store that are held back, and the project's
reference set. The rule, for each set:

- on no label with 10 posts or more may the challenger be worse than today's model beyond doubt: the 95 % interval of the
  difference of F1 must not lie below 0;
- on a set of 100 posts or more its confidence must not become clearly worse: it is refused when its calibration error (ECE) is more
  than 0.02 above today's, and the 95 % interval of the difference lies above 0;
- something must be measured at all: without a label of 10 posts in any set there is no verdict.

The intervals are paired bootstraps: posts are drawn again 2,000 times, and both models are scored on the same draw. Every draw
comes from one seed, so the same answers give the same table.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from triage.classifier.calibration import gaps
from triage.classifier.corpus import read_corpus
from triage.errors import ModelError
from triage.mention import Label

if TYPE_CHECKING:
    import numpy as np

    from triage.classifier.model import Classifier

RESAMPLES = 2_000
LEAST_POSTS = 10  # of a label, before it can refuse
LEAST_CALIBRATED = 100  # posts of a set, before its calibration can refuse
ECE_WORSE = 0.02
HELD_BACK = 0.3
CALIBRATION = "calibration"
CORRECTIONS, REFERENCE = "corrections", "reference"
_AT_ONCE = 200_000  # weights of posts that are held in memory at a time
_ROW = "{:<12} {:<17} {:>6} {:>7} {:>10} {:>11}   {:<18} {}"

Outcome = Literal["passed", "refused", "unmeasured"]
Example = tuple[str, Label, str | None]
"""A labelled post: its text, its label, and its language where that is known."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What both models said of the posts of one set, in the order of the posts."""

    truth: Sequence[Label]
    today: Sequence[Label]
    today_confidence: Sequence[float]
    challenger: Sequence[Label]
    challenger_confidence: Sequence[float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: F1 of a label, or the calibration error of a set, with the 95 % interval of the difference."""

    set: str
    label: str
    posts: int
    today: float
    challenger: float
    difference: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate says of `challenger` against `today` (versions), and why."""

    today: str
    challenger: str
    outcome: Outcome
    reason: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the challenger may act."""
        return self.outcome == "passed"

    def as_json(self) -> dict[str, Any]:
        """As the store keeps it."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows], "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Gate:
        """What `as_json` made."""
        return cls(**{**value, "rows": tuple(Row(**row) for row in value["rows"]), "notes": tuple(value["notes"])})


def reference_folder() -> Path:
    """The project's reference set: in the installed package, or else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_models" / "reference"
    return installed if installed.is_dir() else package.parent / "models" / "reference"


def read_reference(folder: Path) -> list[Example]:
    """The posts of a reference set, in the form of a corpus; none where the folder holds none. Raises ModelError for one with faults."""
    if not folder.is_dir() or not any(folder.glob("*.jsonl")):
        return []
    found = read_corpus(folder)
    if found.faults:
        raise ModelError(f"the reference set in {folder} can't be used: {'; '.join(found.faults[:3])}. Next: mend these lines")
    return [(post.text, post.label, post.lang) for post in found.posts]


def is_held_back(text: str) -> bool:
    """Whether a correction is for the gate alone. It hangs on the words of the post: copies of one post are never on both sides."""
    words = " ".join(re.findall(r"\w+", text.casefold())) or text
    return int.from_bytes(hashlib.sha256(words.encode("utf-8", "replace")).digest()[:4]) < HELD_BACK * 2**32


def split(corrections: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Corrections as (those to learn from, those held back); the last word on a text counts, oldest first."""
    last: dict[str, str] = {}
    for text, label in corrections:
        last.pop(text, None)
        last[text] = label
    learn = [pair for pair in last.items() if not is_held_back(pair[0])]
    return learn, [pair for pair in last.items() if is_held_back(pair[0])]


def answers(today: Classifier, challenger: Classifier, examples: Sequence[Example]) -> Answers:
    """Let both models judge the posts."""
    texts, languages = [text for text, _, _ in examples], [language for _, _, language in examples]
    one, other = today.classify(texts, languages), challenger.classify(texts, languages)
    return Answers(
        [label for _, label, _ in examples],
        [verdict.label for verdict in one],
        [verdict.confidence for verdict in one],
        [verdict.label for verdict in other],
        [verdict.confidence for verdict in other],
    )


def decide(sets: Mapping[str, Answers], *, today: str, challenger: str, notes: Sequence[str] = (), seed: int = 0) -> Gate:
    """The rule of this file over the answers of each set. Pure: the same answers and seed give the same table."""
    import numpy as np

    rows: list[Row] = []
    for number, (name, found) in enumerate(sets.items()):
        for index, label in enumerate(Label):
            rows.append(_f1_row(name, label, found, np.random.default_rng([seed, number, index])))
        if found.truth:
            rows.append(_calibration_row(name, found, np.random.default_rng([seed, number, len(Label)])))
    said = list(notes)
    worse = [row for row in rows if row.verdict == "worse"]
    measured = {row.label for row in rows if row.posts >= LEAST_POSTS and row.label != CALIBRATION}
    if measured and (unknown := [str(label) for label in Label if label not in measured]):
        said.append(f"too few posts to say anything of {', '.join(unknown)}: {LEAST_POSTS} of a label are needed in a set")
    if worse:
        words = "; ".join(_in_words(row) for row in worse)
        return Gate(today, challenger, "refused", f"it is worse than {today}: {words}", tuple(rows), tuple(said))
    if not measured:
        reason = f"nothing could be measured: no label has {LEAST_POSTS} posts that were held back"
        return Gate(today, challenger, "unmeasured", reason, tuple(rows), tuple(said))
    better = [row for row in rows if row.verdict == "better"]
    words = f", and better: {'; '.join(_in_words(row) for row in better)}" if better else ""
    return Gate(today, challenger, "passed", f"it is nowhere worse than {today} beyond doubt{words}", tuple(rows), tuple(said))


def table(gate: Gate) -> list[str]:
    """The gate as lines of plain text."""
    lines = [f"{gate.challenger} (challenger) against {gate.today} (today)", ""]
    lines.append(_ROW.format("set", "label", "posts", "today", "challenger", "difference", "95 % interval", "").rstrip())
    lines += [
        _ROW.format(
            row.set,
            f"{row.label} F1" if row.label != CALIBRATION else f"{CALIBRATION} error",
            row.posts,
            f"{row.today:.3f}",
            f"{row.challenger:.3f}",
            f"{row.difference:+.3f}",
            f"{row.low:+.3f} to {row.high:+.3f}",
            row.verdict,
        )
        for row in gate.rows
    ]
    return [*lines, "", *gate.notes, f"{gate.outcome}: {gate.reason}"]


def _in_words(row: Row) -> str:
    what = "the calibration error" if row.label == CALIBRATION else f"F1 of {row.label}"
    return f"{what} on {row.set} is {row.challenger:.3f} where it was {row.today:.3f} ({row.low:+.3f} to {row.high:+.3f})"


def _f1_row(name: str, label: Label, found: Answers, generator: np.random.Generator) -> Row:
    """F1 hangs only on how many posts fall into each of eight cells, so a resample of posts is one draw of eight numbers."""
    import numpy as np

    cells = np.zeros(8)
    for truth, one, other in zip(found.truth, found.today, found.challenger, strict=True):
        cells[(truth == label) * 4 + (one == label) * 2 + (other == label)] += 1
    posts = sum(truth == label for truth in found.truth)
    today, challenger = float(_f1(cells, 2)), float(_f1(cells, 1))
    if not len(found.truth):
        return Row(name, label, 0, 0.0, 0.0, 0.0, 0.0, 0.0, "too few")
    drawn = generator.multinomial(len(found.truth), cells / cells.sum(), size=RESAMPLES).astype(float)
    low, high = _interval(_f1(drawn, 1) - _f1(drawn, 2))
    verdict = "too few" if posts < LEAST_POSTS else "worse" if high < 0 else "better" if low > 0 else "no worse"
    return _row(name, label, posts, today, challenger, low, high, verdict)


def _f1(cells: np.ndarray, bit: int) -> Any:
    """F1 of the model whose answer is this bit of a cell's number, over the last axis."""
    import numpy as np

    there = cells[..., 4:].sum(axis=-1)
    called = sum(cells[..., cell] for cell in range(8) if cell & bit)
    hits = sum(cells[..., cell] for cell in range(4, 8) if cell & bit)
    return 2 * hits / np.maximum(there + called, 1)


def _calibration_row(name: str, found: Answers, generator: np.random.Generator) -> Row:
    import numpy as np

    posts = len(found.truth)
    apart = [
        gaps(confidence, [one == truth for one, truth in zip(given, found.truth, strict=True)])
        for given, confidence in ((found.today, found.today_confidence), (found.challenger, found.challenger_confidence))
    ]
    today, challenger = (float(np.abs(gap.sum(axis=0)).sum() / posts) for gap in apart)
    differences = []
    for start in range(0, RESAMPLES, step := max(_AT_ONCE // posts, 1)):
        weights = generator.multinomial(posts, np.full(posts, 1 / posts), size=min(step, RESAMPLES - start)).astype(float)
        one, other = (np.abs(weights @ gap).sum(axis=1) / posts for gap in apart)
        differences.append(other - one)
    low, high = _interval(np.concatenate(differences))
    clearly = challenger - today > ECE_WORSE and low > 0
    verdict = "too few" if posts < LEAST_CALIBRATED else "worse" if clearly else "better" if high < 0 else "no worse"
    return _row(name, CALIBRATION, posts, today, challenger, low, high, verdict)


def _interval(values: np.ndarray) -> tuple[float, float]:
    import numpy as np

    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _row(name: str, label: str, posts: int, today: float, challenger: float, low: float, high: float, verdict: str) -> Row:
    numbers = [round(number, 4) for number in (today, challenger, challenger - today, low, high)]
    return Row(name, str(label), posts, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], verdict)
