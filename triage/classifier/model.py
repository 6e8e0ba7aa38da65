"""Loading a model and asking it: the seam between the pipeline and scikit-learn.

A model is a folder: `model.skops`, `card.json` that vouches for it, `recipe.json`. A skops file is data: nothing in it runs. It
is loaded only when its digest is the card's and it holds no type but scikit-learn's, numpy's and those of `TRUSTED`.
Importing this module is cheap; loading a model imports scikit-learn, once a process.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.classifier.card import MODEL, TRAIN_AGAIN, Card, read_card
from triage.classifier.encoder import Encoder, encoder_folder, read_recipe, reads
from triage.classifier.language import language_of
from triage.errors import ModelError
from triage.mention import Label, Verdict
from triage.signals import beside, signals

if TYPE_CHECKING:
    from triage.classifier.reader import Beside
    from triage.classifier.reasons import Labelled, Neighbours, Weighed

TRUSTED = (
    "triage.classifier.features.Form",
    "triage.classifier.features.Terms",
    "triage.classifier.judge.Judge",
)
"""What a model may hold beside scikit-learn's public types and numpy's arrays; `test_classifier` compares it with the shipped model."""

_LARGEST_MODEL = 64 * 1024 * 1024  # bytes, on disk
_LARGEST_UNPACKED = 256 * 1024 * 1024  # bytes
_LONGEST_TEXT = 8_000  # characters that the model reads; posts are shorter, and issues say in the first lines what they are
_BATCH = 512  # texts; more gain nothing and cost memory
_EVIDENCE = 5  # words
_READ_SHARE = 0.6  # of the words of a text whose language can't be told; below it the model guesses by letters
_SIGN = re.compile(r"[?!\u2600-\u27bf\U0001f300-\U0001faff]")  # what says something without a letter


def model_folder() -> Path:
    """The model that ships: in the installed package, or else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_models" / "default"
    return installed if installed.is_dir() else package.parent / "models" / "default"


class Classifier:
    """A loaded model. `warning` says in words what is unusual about it, empty when nothing is. Safe to use from several threads."""

    def __init__(
        self, card: Card, pipeline: Any, thresholds: Mapping[Label, float], warning: str = "", encoder: Encoder | None = None
    ) -> None:
        self.card = card
        self._encoder = encoder
        self.thresholds = thresholds
        self.warning = warning
        self._features: Any = pipeline[0]
        self._judge: Any = pipeline[1]
        self._labels = [Label(name) for name in self._judge.classes_]
        self._terms: Any = self._features.transformer_list[0][1]
        self._reader = _reader(pipeline)

    @classmethod
    def load(cls, folder: Path, thresholds: Mapping[str, float] | None = None) -> Classifier:
        """Load the model in `folder`; `thresholds` (label to confidence, 0 to 1) override the card's.

        Raises ModelError, ending with the next step, when a file is missing, was changed after training, is a pickle, holds
        types that are not trusted, or can't be used with the installed scikit-learn; and when it is joined with an encoder that is
        not the installed one, or the extra that runs it is missing.
        """
        card = read_card(folder)
        content = _content(folder, card)
        _check_encoder(card)
        pipeline, warning = _unpacked(folder, content, card)
        encoder = Encoder.load(encoder_folder()) if card.encoder is not None else None
        chosen = {**card.thresholds}
        for name, threshold in (thresholds or {}).items():
            if name not in list(Label) or not 0.0 <= threshold <= 1.0:
                raise ModelError(f"the threshold {name}: {threshold} is no label with a number from 0 to 1. Next: correct it in the config")
            chosen[Label(name)] = threshold
        return cls(card, pipeline, chosen, warning, encoder)

    def classify(self, texts: Sequence[str], languages: Sequence[str | None] | None = None, *, evidence: bool = False) -> list[Verdict]:
        """One verdict a text, in order. `languages` are what the platform says, where it says it; else the language is guessed.

        The same text gets the same verdict in any batch. `sure` also needs a word that the model knows, and a language that it was
        measured in, or, where the language can't be told, words enough that it knows; else the scores are halfway to not knowing. A
        text without any letter, digit, emoji, `?` or `!` gets a quarter for each label. `evidence` adds up to five words that spoke
        for the label.
        """
        given = languages if languages is not None else [None] * len(texts)
        names = [str(label) for label in Label]
        verdicts: list[Verdict] = []
        for start in range(0, len(texts), _BATCH):
            batch = [text[:_LONGEST_TEXT] for text in texts[start : start + _BATCH]]
            tags = given[start : start + _BATCH]
            for text, tag, (scores, share) in zip(batch, tags, self._scores(batch, tags), strict=True):
                label = max(scores, key=scores.__getitem__)
                language = language_of(text, tag)
                reads = self._reads(text, language, share)
                if not reads:  # it guesses: half of what it says is "I don't know"
                    scores = {name: (score + 1 / len(Label)) / 2 for name, score in scores.items()}
                verdicts.append(
                    Verdict(
                        label=label,
                        confidence=scores[label],
                        scores=dict(zip(names, scores.values(), strict=True)),
                        sure=share > 0 and reads and scores[label] >= self.thresholds[label],
                        by=self.card.version,
                        language=language,
                        signals=beside(label, signals(text)),
                        evidence=self.explain(text, label) if evidence else (),
                    )
                )
        return verdicts

    def explain(self, text: str, label: str) -> tuple[str, ...]:
        """Up to five words of `text`, as they stand in it, that spoke for `label`; strongest first."""
        return tuple(one.what for one in self.weigh(text, label).speaks_for if one.kind == "word")[:_EVIDENCE]

    def weigh(self, text: str, label: str) -> Weighed:
        """What of `text` spoke for `label`, and what against it."""
        from triage.classifier.reasons import weigh

        def scores_of(texts: Sequence[str]) -> list[dict[Label, float]]:
            return [scores for scores, _ in self._scores(texts)] if texts else []

        text = text[:_LONGEST_TEXT]
        share = self.card.encoder.words if self.card.encoder is not None and reads(text) else 1.0
        return weigh(self._features, self._judge, scores_of, text, Label(label), share)

    def doubts(self, text: str, verdict: Verdict, tag: str | None = None) -> list[str]:
        """Why a verdict of this model on `text` is not sure, in words; empty when it is. `tag` is the language that the platform says."""
        text = text[:_LONGEST_TEXT]
        found: list[str] = []
        share = next(self._scores([text]))[1]
        if not share:
            found.append("it has no word that the model knows")
        if verdict.confidence < self.thresholds[verdict.label]:
            found.append(f"{verdict.confidence:.2f} is below the threshold of {verdict.label}, {self.thresholds[verdict.label]:.2f}")
        language = language_of(text, tag)
        if not self._reads(text, language, share):
            if language:
                found.append(f"the model was not measured in the language {language}")
            elif share:
                found.append(f"its language can't be told, and the model knows {share:.0%} of its words")
        return found

    def knows(self, text: str, tag: str | None = None) -> bool:
        """Whether `text` has a word that the model knows, in a language that it was measured in: what `sure` needs beside confidence."""
        text = text[:_LONGEST_TEXT]
        share = next(self._scores([text]))[1]
        return share > 0 and self._reads(text, language_of(text, tag), share)

    def neighbours(self, posts: Sequence[Labelled]) -> Neighbours:
        """These posts as the model sees them, to find the nearest in."""
        from triage.classifier.reasons import Neighbours

        return Neighbours(self._terms, posts)

    def _reads(self, text: str, language: str | None, share: float) -> bool:
        """Whether the model was measured in the text's language; people's clients say a wrong one, so a guess counts as well.

        A text whose language can't be told must hold words enough that the model knows.
        """
        measured = self.card.scores.languages
        guess = language_of(text) if language not in measured else language
        return guess in measured or (language is None and share >= _READ_SHARE)

    def _scores(self, texts: Sequence[str], tags: Sequence[str | None] | None = None) -> Iterator[tuple[dict[Label, float], float]]:
        """For each text the probability of each label, and the share of its words that the model knows."""
        found, known = self._reader.read(texts, self._beside(texts, tags or [None] * len(texts)))
        labels = tuple(Label)
        order = [self._labels.index(label) for label in labels]
        for text, probabilities, share in zip(texts, found[:, order].tolist(), known.tolist(), strict=True):
            if any(map(str.isalnum, text)) or _SIGN.search(text):
                yield dict(zip(labels, probabilities, strict=True)), share
            else:
                yield dict.fromkeys(Label, 1 / len(Label)), 0.0

    def _beside(self, texts: Sequence[str], tags: Sequence[str | None]) -> Beside | None:
        """What the encoder says of those that it can read; None where the model has none."""
        if self._encoder is None or self.card.encoder is None:
            return None
        from triage.classifier.reader import Beside

        rows = [row for row, (text, tag) in enumerate(zip(texts, tags, strict=True)) if reads(text, tag)]
        return Beside(rows, self.card.encoder.encoder * self._encoder.read([texts[row] for row in rows]), self.card.encoder.words)


def _check_encoder(card: Card) -> None:
    """Refuse a model that is joined with another encoder than the installed one. Cheap: the encoder is not loaded."""
    if card.encoder is None:
        return
    recipe, digest = read_recipe(encoder_folder())
    if digest != card.encoder.sha256:
        raise ModelError(
            f"the model {card.version} is joined with {card.encoder.version}, and the encoder that is installed is another one "
            f"({recipe.version}, or one that was changed). Next: train again (triage train --encoder)"
        )


def _reader(pipeline: Any) -> Any:
    from triage.classifier.reader import Reader  # it imports scikit-learn

    return Reader(pipeline[0].transformer_list[0][1], pipeline[0].transformer_list[1][1], pipeline[1])


def checked_card(folder: Path) -> Card:
    """The card of the model in `folder`, whose file is the one that the card vouches for. Cheap: nothing is unpacked. Raises ModelError."""
    card = read_card(folder)
    _content(folder, card)
    _check_encoder(card)
    return card


def _content(folder: Path, card: Card) -> bytes:
    """The bytes of the model's file, when they are those that the card vouches for."""
    path = folder / MODEL
    if card.model.name != MODEL:
        raise ModelError(f"the card in {folder} names {card.model.name!r} as its model; only {MODEL} is loaded. {TRAIN_AGAIN}")
    if not path.is_file():
        others = sorted(other.name for other in folder.iterdir() if other.suffix in (".pkl", ".pickle", ".joblib"))
        if others:
            raise ModelError(f"{folder / others[0]} is a pickle, which can run anything, and is never loaded. {TRAIN_AGAIN}")
        raise ModelError(f"{path} is missing. {TRAIN_AGAIN}")
    try:
        if path.stat().st_size > _LARGEST_MODEL:
            raise ModelError(f"{path} is larger than {_LARGEST_MODEL // 1024 // 1024} MiB. {TRAIN_AGAIN}")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}. Next: check your rights") from None
    if not content.startswith(b"PK"):
        raise ModelError(f"{path} is no skops file; pickle and joblib files can run anything and are never loaded. {TRAIN_AGAIN}")
    if hashlib.sha256(content).hexdigest() != card.model.sha256:
        raise ModelError(f"{path} is not the file that its card vouches for: one of the two was changed or swapped. {TRAIN_AGAIN}")
    return content


def _unpacked(folder: Path, content: bytes, card: Card) -> tuple[Any, str]:
    """The pipeline in the file and what to warn of. Every failure becomes a ModelError."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST_UNPACKED:
                raise ModelError(f"the model in {folder} unpacks to more than {_LARGEST_UNPACKED // 1024 // 1024} MiB. {TRAIN_AGAIN}")
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(f"the model in {folder} is no skops file: {error}. {TRAIN_AGAIN}") from None

    import sklearn
    from skops.io import get_untrusted_types, loads

    made_with = card.versions.get("scikit-learn", "an unknown version")
    same = made_with == sklearn.__version__
    try:
        strangers = sorted(set(get_untrusted_types(data=content)) - set(TRUSTED))
    except Exception as error:  # noqa: BLE001 - skops raises whatever its parser meets, and no such file is loaded
        raise ModelError(f"the model in {folder} can't be read: {_said(error)}. {TRAIN_AGAIN}") from None
    if strangers:
        raise ModelError(f"the model in {folder} holds types that are not trusted: {', '.join(strangers)[:200]}. {TRAIN_AGAIN}")
    versions = "" if same else f" (it was made with scikit-learn {made_with}, this is {sklearn.__version__})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of other versions; we say so once, in `warning`
            pipeline = loads(content, trusted=list(TRUSTED))
            labels = sorted(map(str, pipeline[1].classes_))
            pipeline.predict_proba(["it works"])
    except Exception as error:  # noqa: BLE001 - another version of scikit-learn fails in any way it likes
        raise ModelError(f"the model in {folder} can't be used{versions}: {_said(error)}. {TRAIN_AGAIN}") from None
    if labels != sorted(Label):
        raise ModelError(f"the model in {folder} gives other labels than its card: {', '.join(labels)[:200]}. {TRAIN_AGAIN}")
    return (
        pipeline,
        "" if same else f"the model was made with scikit-learn {made_with}, this is {sklearn.__version__}: its scores may differ a little",
    )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
