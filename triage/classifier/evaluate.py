"""How good a model is: what its card says, and what it does on labelled data that somebody fetched.

Data is a folder of `*.jsonl` files, searched in depth, with the fields `text`, `label`, `label_source` and, where known, `lang`.
Only rows that a person labelled (`label_source` is "human") count: labels that were derived from stars or tags measure the
derivation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from triage.classifier.card import Card
from triage.classifier.model import Classifier
from triage.classifier.train import calibration_error, label_scores, macro_f1
from triage.errors import ModelError
from triage.mention import Label

_ROW = "{:<32} {:>6} {:>8} {:>8} {:>6} {:>6}  {}"


def evaluate(folder: Path, data: Path | None = None) -> str:
    """A report in plain text on the model in `folder`: its card's scores, then those on each set of `data`.

    Macro-F1 is over the labels that a set holds. Raises ModelError when the model can't be loaded or `data` holds no labelled rows.
    """
    classifier = Classifier.load(folder)
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
    sets = {path: rows for path in sorted(data.rglob("*.jsonl")) if (rows := list(_rows(path)))}
    if not sets:
        raise ModelError(f"{data} holds no .jsonl file with rows that a person labelled. Next: name the right folder with --data")
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


def _rows(path: Path) -> Iterator[tuple[str, Label, str | None]]:
    """(text, label, language) of the rows that a person labelled with one of our labels."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} can't be read: {error}. Next: check the file") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise ModelError(f"{path}, line {number} is no JSON. Next: correct it") from None
        if (
            isinstance(row, dict)
            and row.get("label_source") == "human"
            and row.get("label") in list(Label)
            and isinstance(row.get("text"), str)
        ):
            yield row["text"], Label(row["label"]), row.get("lang")
