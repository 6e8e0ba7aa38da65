"""How good a model is: what its card says, and what it does on labelled data that somebody fetched.

Data is a `.jsonl` file, or a folder of them, searched in depth, with the fields `text`, `label`, `label_source` and, where known, `lang`.
Only rows that a person labelled (`label_source` is "human") count: labels that were derived from stars or tags measure the
derivation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triage.classifier.calibration import calibration_error
from triage.classifier.card import Card
from triage.classifier.model import Classifier
from triage.classifier.train import label_scores, macro_f1
from triage.errors import ModelError
from triage.mention import Label

Row = tuple[str, Label, str | None]
"""The text, its label, and its language where that is known."""

FORMAT = (
    "Next: give a .jsonl file, or a folder of them: one JSON object a line with the keys text, label "
    f"({', '.join(Label)}), label_source (human) and, if known, lang. For example: "
    '{"text": "It crashes when I save", "label": "bug_report", "label_source": "human", "lang": "en"}'
)
"""What `--data` has to be, with an example."""

_ROW = "{:<32} {:>6} {:>8} {:>8} {:>6} {:>6}  {}"


def evaluate(classifier: Classifier, data: Path | None = None) -> str:
    """A report in plain text on a model: its card's scores, then those on each set of `data`.

    Macro-F1 is over the labels that a set holds. Raises ModelError when `data` holds no labelled rows.
    """
    lines = [*_from_card(classifier.card)]
    if classifier.warning:
        lines += ["", classifier.warning]
    if data is not None:
        lines += ["", *_on_data(classifier, data)]
    return "\n".join(lines)


def _from_card(card: Card) -> Iterator[str]:
    scores = card.scores
    yield f"{card.version}: {card.data.posts} posts, cross-validated in {scores.folds} parts by kind of text"
    yield f"macro-F1 {scores.macro_f1:.3f}   accuracy {scores.accuracy:.3f}   calibration error {scores.ece:.3f}"
    yield ""
    yield f"{'label':<18} {'precision':>9} {'recall':>7} {'F1':>6} {'posts':>6}   sure from   sure, right"
    for label in card.labels:
        one = scores.labels[label]
        yield (
            f"{label:<18} {one.precision:>9.3f} {one.recall:>7.3f} {one.f1:>6.3f} {one.posts:>6}   {card.thresholds[label]:>9.3f}   "
            f"{one.sure_share:>4.0%}, {one.sure_precision:.3f}"
        )
    yield ""
    yield "by language: " + ", ".join(f"{language} {score:.3f}" for language, score in scores.languages.items())


def _on_data(classifier: Classifier, data: Path) -> Iterator[str]:
    files = sorted(data.rglob("*.jsonl")) if data.is_dir() else [data]
    if not files:
        raise ModelError(f"{data} holds no .jsonl file. {FORMAT}")
    read = {path: list(_rows(path)) for path in files}
    sets = {path: [row for row in rows if not isinstance(row, str)] for path, rows in read.items()}
    sets = {path: rows for path, rows in sets.items() if rows}
    if not sets:
        faults = Counter(row for rows in read.values() for row in rows if isinstance(row, str))
        why = f"none of its {faults.total()} rows can be used: {', '.join(f'{count} with {why}' for why, count in faults.most_common())}"
        raise ModelError(f"{data} holds no row that a person labelled; {why if faults else 'it is empty'}. {FORMAT}")
    yield f"on {data} (rows labelled by people)"
    yield _ROW.format("set", "rows", "macro-F1", "accuracy", "ECE", "sure", "F1 by label")
    everything: list[tuple[Label, Label, float, bool]] = []
    for path, rows in sets.items():
        verdicts = classifier.classify([text for text, _, _ in rows], [language for _, _, language in rows])
        judged = [(truth, verdict.label, verdict.confidence, verdict.sure) for (_, truth, _), verdict in zip(rows, verdicts, strict=True)]
        yield _scored(path.stem, judged)
        everything += judged
    if len(sets) > 1:
        yield _scored("all together", everything)


def _scored(name: str, judged: list[tuple[Label, Label, float, bool]]) -> str:
    truth, given = [row[0] for row in judged], [row[1] for row in judged]
    right = [one == other for one, other in zip(truth, given, strict=True)]
    by_label = ", ".join(f"{label} {label_scores(truth, given, label)[2]:.2f}" for label in Label if label in truth)
    return _ROW.format(
        name[:32],
        len(judged),
        f"{macro_f1(truth, given):.3f}",
        f"{sum(right) / len(right):.3f}",
        f"{calibration_error([row[2] for row in judged], right):.3f}",
        f"{sum(row[3] for row in judged) / len(judged):.0%}",
        by_label,
    )


def _rows(path: Path) -> Iterator[Row | str]:
    """The rows that a person labelled with one of our labels; of each other one, what it has that it should not."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ModelError(f"{path} can't be read: {why}. {FORMAT}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ModelError(f"{path}, line {number} is no JSON. {FORMAT}") from None
        yield _row(row)


def _row(row: Any) -> Row | str:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        return 'no "text"'
    if row.get("label") not in list(Label):
        return "no label of ours" if "label" in row else 'no "label"'
    if row.get("label_source") != "human":
        return 'another "label_source" than "human"'
    language = row.get("lang")
    return row["text"], Label(row["label"]), language if isinstance(language, str) else None
