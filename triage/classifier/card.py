"""The card: what a model is, what it was made from, how good it is, and the digest of the file that it vouches for."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triage.classifier.corpus import corpus_folder
from triage.errors import ModelError
from triage.mention import Label

CARD = "card.json"
MODEL = "model.skops"
LICENCE = "Apache-2.0"
"""The project's, and so that of its corpus, as an SPDX expression."""
_LARGEST_CARD = 256 * 1024  # bytes
TRAIN_AGAIN = "Next: train it again with `triage train`, or reinstall to get the shipped one back"

Share = Field(ge=0.0, le=1.0)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelScore(_Part):
    """How well one label is found, over the held-back posts.

    `sure_share` of the posts called so reach the label's threshold, and `sure_precision` of those are right.
    """

    precision: float = Share
    recall: float = Share
    f1: float = Share
    posts: int
    sure_share: float = Share
    sure_precision: float = Share


class Scores(_Part):
    """Measured by cross-validation: each post judged by a model that has seen no text of its kind.

    `ece` is the expected calibration error over 15 equal bins of confidence. `confusion` has a row for each true label and a
    column for each label given, in the card's order.
    """

    folds: int
    macro_f1: float = Share
    accuracy: float = Share
    ece: float = Share
    labels: dict[Label, LabelScore]
    languages: dict[str, float]
    confusion: list[list[int]]


class Data(_Part):
    """What the model learned from. `digest` is the sha256 of all (text, label) pairs; `corrections` of the posts are people's."""

    digest: str
    posts: int
    corrections: int
    labels: dict[Label, int]
    languages: dict[str, int]


class File(_Part):
    """The model's file, beside the card."""

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)


class Joined(_Part):
    """The encoder that a model is joined with, by the digest of its recipe. A label is worth `words` times what it is worth to the model
    alone, and `encoder` times what the encoder says.
    """

    version: str = Field(min_length=1, max_length=64)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    words: float = Field(ge=0.0, le=100.0)
    encoder: float = Field(ge=0.0, le=100.0)


class Card(_Part):
    """What `card.json` holds. `version` is the `by` of every verdict; `versions` are those of the packages that made the model.

    `encoder` is None for a model of n-grams and form alone.
    """

    version: str = Field(min_length=1, max_length=64)
    description: str
    trained_at: str
    labels: tuple[Label, ...]
    versions: dict[str, str]
    seed: int
    data: Data
    model: File
    encoder: Joined | None = None
    precision_wanted: float = Share
    thresholds: dict[Label, float]
    scores: Scores


def read_card(folder: Path) -> Card:
    """The card of the model in `folder`. Raises ModelError when it is missing, or not what a card must be."""
    path = folder / CARD
    if not folder.is_dir():
        raise ModelError(f"there is no model in {folder}. {TRAIN_AGAIN}")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_CARD + 1)
    except OSError as error:
        raise ModelError(f"the model in {folder} has no card that can be read ({CARD}: {error.strerror}). {TRAIN_AGAIN}") from None
    try:
        if len(content) > _LARGEST_CARD:
            raise ValueError("it is too large")
        card = Card.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        raise ModelError(f"{path} is no card of this program's: {where}: {first['msg']}. {TRAIN_AGAIN}") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no card of this program's: {error}. {TRAIN_AGAIN}") from None
    if sorted(card.labels) != sorted(Label) or set(card.thresholds) != set(Label):
        raise ModelError(f"{path} is for other labels than {', '.join(Label)}. {TRAIN_AGAIN}")
    if not all(0.0 <= threshold <= 1.0 for threshold in card.thresholds.values()):
        raise ModelError(f"{path} holds a threshold that is not between 0 and 1. {TRAIN_AGAIN}")
    return card


def licence(name: str, sha256: str) -> str:
    """The licence of a file that a model learned from: the project's for one of the corpus that ships, else nothing is known of it."""
    ours = corpus_folder() / name
    return LICENCE if ours.is_file() and hashlib.sha256(ours.read_bytes()).hexdigest() == sha256 else "not stated"


def describe(card: Card) -> str:
    """The card for people, in Markdown."""
    scores = card.scores
    lines = [
        f"# {card.version}",
        "",
        card.description,
        "",
        f"Trained on {card.trained_at} from {card.data.posts} posts ({_counts(card.data.labels)}; "
        f"languages: {_counts(card.data.languages)}), {card.data.corrections} of them people's corrections. "
        f"Seed {card.seed}. Made with {_counts(card.versions)}.",
        "",
        *(
            [
                f"English is read by {card.encoder.version} as well (recipe {card.encoder.sha256[:12]}), which the extra `encoder` runs: "
                f"{card.encoder.words:.2f} times what the n-grams say and {card.encoder.encoder:.2f} times what it says.",
                "",
            ]
            if card.encoder is not None
            else []
        ),
        "## How good it is",
        "",
        f"Cross-validation in {scores.folds} parts; a post is judged by a model that has seen no text of its kind (forum, chat ...).",
        "",
        f"Macro-F1 **{scores.macro_f1:.3f}**, accuracy {scores.accuracy:.3f}, expected calibration error {scores.ece:.3f} (15 bins).",
        "",
        "| label | precision | recall | F1 | posts | sure from | share that is sure | right when sure |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label in card.labels:
        one = scores.labels[label]
        lines.append(
            f"| `{label}` | {one.precision:.3f} | {one.recall:.3f} | {one.f1:.3f} | {one.posts} | {card.thresholds[label]:.3f} "
            f"| {one.sure_share:.0%} | {one.sure_precision:.3f} |"
        )
    lines += [
        "",
        f"A verdict is *sure* from the confidence at which {card.precision_wanted:.0%} of the held-back posts with that label were right. "
        "The last two columns and the calibration error count each part of the posts by thresholds and a temperature that were chosen "
        "on the other parts alone. "
        "`thresholds` in the config overrides them.",
        "",
        "True label in rows, given label in columns:",
        "",
        "| | " + " | ".join(f"`{label}`" for label in card.labels) + " |",
        "|---" * (len(card.labels) + 1) + "|",
        *(f"| `{label}` | " + " | ".join(map(str, row)) + " |" for label, row in zip(card.labels, scores.confusion, strict=True)),
        "",
        "Macro-F1 by language: " + ", ".join(f"{language} {score:.3f}" for language, score in scores.languages.items()) + ".",
        "",
    ]
    return "\n".join(lines)


def _counts(counts: dict[Label, int] | dict[str, int] | dict[str, str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
