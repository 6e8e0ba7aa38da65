"""A small encoder beside the n-grams: an optional extra, for English.

It reads a post as a sequence of pieces of words and says what each label is worth to it. It ships as numbers (ONNX, weights of one byte)
in a folder with `encoder.json`, which vouches for each of its files; `models/encoder/make.py` makes it, and nothing here needs the
library that trained it. Importing this module is cheap; loading the encoder imports onnxruntime.
"""

from __future__ import annotations

import hashlib
import importlib.util
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triage.classifier.language import language_of
from triage.errors import ModelError
from triage.mention import Label

if TYPE_CHECKING:
    import numpy as np

RECIPE = "encoder.json"
MODEL = "encoder.onnx"
VOCABULARY = "vocab.txt"
HELD_BACK = "held.json"
FILES = (MODEL, VOCABULARY, HELD_BACK)
LABELS = tuple(sorted(map(str, Label)))
"""The labels in the order of what it says: that of scikit-learn's judges."""

_LARGEST = 64 * 1024 * 1024  # bytes of one file
_LONGEST_WORD = 100  # characters; a longer one is unknown, as it was when the vocabulary was made
_READ = 4_000  # characters of a text; what is left out is beyond the longest sequence anyway
_REINSTALL = "Next: reinstall triage to get the shipped encoder back, or train without one (triage train)"


class Recipe(BaseModel):
    """What `encoder.json` holds. `files` is the sha256 of each file, `longest` the pieces of a text that are read.

    `made` tells where the weights are from and under which licence, what they were tuned on, and how.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(min_length=1, max_length=64)
    labels: tuple[str, ...]
    longest: int = Field(ge=8, le=512)
    files: dict[str, str]
    made: dict[str, Any]


def encoder_folder() -> Path:
    """The encoder that ships: in the installed package, or else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_models" / "encoder"
    return installed if installed.is_dir() else package.parent / "models" / "encoder"


def reads(text: str, tag: str | None = None) -> bool:
    """Whether the encoder is asked about `text`: it knows English, and short posts often do not tell their language.

    `tag` is what the platform says; people's clients say a wrong one, so the words count as well.
    """
    return language_of(text) in ("en", None) and language_of(text, tag) in ("en", None)


def read_recipe(folder: Path) -> tuple[Recipe, str]:
    """The recipe of the encoder in `folder`, and its digest, by which a model names the encoder that it is joined with.

    Cheap: no other file is read. Raises ModelError when there is none, or where the extra is not installed.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ModelError(
            "this model needs the extra that reads with an encoder, and onnxruntime is not installed. "
            "Next: pip install 'triage-inbox[encoder]', or use a model without an encoder (triage models rollback)"
        )
    path = folder / RECIPE
    try:
        content = path.read_bytes()
        found = Recipe.model_validate_json(content)
    except OSError as error:
        raise ModelError(f"there is no encoder in {folder} ({RECIPE}: {error.strerror}). {_REINSTALL}") from None
    except (ValidationError, ValueError, RecursionError):
        raise ModelError(f"{path} is no recipe of an encoder. {_REINSTALL}") from None
    if found.labels != LABELS or set(found.files) != set(FILES):
        raise ModelError(f"{path} is for other labels or files than {', '.join((*LABELS, *FILES))}. {_REINSTALL}")
    return found, hashlib.sha256(content).hexdigest()


class Encoder:
    """A loaded encoder. Safe to use from several threads."""

    def __init__(self, recipe: Recipe, digest: str, session: Any, pieces: Pieces, held_back: Mapping[str, Sequence[float]]) -> None:
        self.version = recipe.version
        self.digest = digest
        self._session = session
        self._pieces = pieces
        self._held_back = held_back

    @classmethod
    def load(cls, folder: Path) -> Encoder:
        """Load the encoder in `folder`.

        Raises ModelError, ending with the next step, when the extra or a file is missing, a file is not the one that the recipe vouches
        for, or it can't be used with the installed onnxruntime.
        """
        recipe, digest = read_recipe(folder)
        content = {name: _content(folder / name, recipe.files[name]) for name in FILES}

        import json

        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a worker has processes enough
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(content[MODEL], options, providers=["CPUExecutionProvider"])
            pieces = Pieces(content[VOCABULARY].decode("utf-8").split("\n"), recipe.longest)
            found = cls(recipe, digest, session, pieces, json.loads(content[HELD_BACK]))
            if found.read(["it works"]).shape != (1, len(LABELS)):
                raise ValueError("it gives other labels than its recipe says")
        except Exception as error:  # noqa: BLE001 - onnxruntime raises types of its own, and no such file is used
            said = " ".join(str(error).split())[:200]
            raise ModelError(f"the encoder in {folder} can't be used: {type(error).__name__}: {said}. {_REINSTALL}") from None
        return found

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """What each of `LABELS` is worth to each text, a row each.

        One text at a time: the numbers inside are rounded by the largest of a batch, and a text must get the same in any batch.
        """
        import numpy as np

        rows = []
        for text in texts:
            numbers = np.array([self._pieces.of(text)], dtype=np.int64)
            rows.append(self._session.run(None, {"pieces": numbers})[0][0])
        return np.array(rows, dtype=float).reshape(len(texts), len(LABELS))

    def unseen(self, texts: Sequence[str]) -> np.ndarray:
        """The same as an encoder would say it that has learned from no text of that kind.

        What it did learn from was read by others that were made without that kind of text, and what they said is kept with it.
        """
        import numpy as np

        keys = [text_key(text) for text in texts]
        new = [row for row, key in enumerate(keys) if key not in self._held_back]
        found = np.array([self._held_back.get(key, (0.0,) * len(LABELS)) for key in keys], dtype=float).reshape(len(texts), len(LABELS))
        if new:
            found[new] = self.read([texts[row] for row in new])
        return found


def text_key(text: str) -> str:
    """What a text is called among those that were held back."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _content(path: Path, sha256: str) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"{path} is larger than {_LARGEST // 1024 // 1024} MiB. {_REINSTALL}")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}. {_REINSTALL}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path} is not the file that its recipe vouches for: one of the two was changed or swapped. {_REINSTALL}")
    return content


class Pieces:
    """Texts as numbers of pieces of words: BERT's uncased WordPiece.

    Words are split at spaces and signs, without case and accents; each is then the longest pieces of the vocabulary from left to right.
    Written here since the library that does it brings a client for downloads with it.
    """

    def __init__(self, vocabulary: Sequence[str], longest: int) -> None:
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self._longest = longest
        self._first, self._last, self._unknown = (self._numbers[name] for name in ("[CLS]", "[SEP]", "[UNK]"))

    def of(self, text: str) -> list[int]:
        """The numbers of a text's pieces, between those of its first and last mark; the longest text is cut."""
        found = [self._first]
        for word in _words(text[:_READ]):
            if len(found) >= self._longest - 1:
                break
            found += self._of_word(word)
        return [*found[: self._longest - 1], self._last]

    def _of_word(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                if piece in self._numbers:
                    found.append(self._numbers[piece])
                    start = end
                    break
            else:
                return [self._unknown]
        return found


def _words(text: str) -> list[str]:
    """Words and single signs, in small letters without accents; a Chinese character is a word."""
    kept: list[str] = []
    for letter in text:
        kind = unicodedata.category(letter)
        if letter.isspace():
            kept.append(" ")
        elif kind[0] != "C" and letter != "\ufffd":
            kept.append(f" {letter} " if _is_chinese(letter) else letter)
    bare = (letter for letter in unicodedata.normalize("NFD", "".join(kept)) if unicodedata.category(letter) != "Mn")
    return "".join(f" {letter} " if _is_sign(letter) else letter for letter in "".join(bare).lower()).split()


def _is_sign(letter: str) -> bool:
    return (letter.isascii() and not letter.isalnum() and not letter.isspace()) or unicodedata.category(letter)[0] == "P"


_CHINESE = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


def _is_chinese(letter: str) -> bool:
    return any(first <= ord(letter) <= last for first, last in _CHINESE)
