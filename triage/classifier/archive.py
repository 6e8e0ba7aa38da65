"""A model's folder as one zip, for the store; and back, believing nothing that it says of itself.

Whoever can write to the database can write anything here. So only four plain names come out, never more bytes than a model may have, into
a private folder that is gone once the model is loaded; and the model then has to pass everything that any other one has to.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triage.classifier.card import CARD, MODEL
from triage.classifier.model import Classifier, checked_card
from triage.errors import ModelError

FILES = (MODEL, CARD, "recipe.json", "CARD.md")
LARGEST = 80 * 1024 * 1024  # bytes, packed and unpacked: a model of 64 MiB, and what is said of it
_OTHER = "Next: let another one act (triage models rollback), and train again (triage train)"


def pack(folder: Path) -> bytes:
    """The files of the model in `folder` as a zip. Raises ModelError when one can't be read."""
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # the model itself is compressed already
            for name in FILES:
                if (folder / name).is_file() or name in (MODEL, CARD):
                    archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())
    except OSError as error:
        raise ModelError(f"the model in {folder} can't be read: {error.strerror}. Next: check the disk, then train again") from None
    return out.getvalue()


def load(files: bytes, version: str, card: Mapping[str, Any], under: Path, thresholds: Mapping[str, float] | None = None) -> Classifier:
    """The model in the zip `files`, which must be `version` and have the card `card`. `under` is where its private folder is made.

    Raises ModelError for anything that is not just so, and for all that `Classifier.load` refuses.
    """
    with _unpacked(files, version, card, under) as folder:
        return Classifier.load(folder, thresholds)


def check(files: bytes, card: Mapping[str, Any], version: str) -> None:
    """Whether the zip `files` holds `version` with the card `card`, and the file that the card vouches for. Cheap: nothing is loaded.

    Raises ModelError where it doesn't.
    """
    with _unpacked(files, version, card, Path(tempfile.gettempdir())) as folder:
        checked_card(folder)


@contextmanager
def _unpacked(files: bytes, version: str, card: Mapping[str, Any], under: Path) -> Iterator[Path]:
    """The zip as a folder that is gone after the block; what the block refuses is refused by the model's name."""
    try:
        under.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="model-", dir=under) as name:
            folder = Path(name)
            _unpack(files, version, folder)
            told = json.loads((folder / CARD).read_bytes())
            if told != dict(card) or told.get("version") != version:
                raise ModelError(f"the stored model {version} has another card than its row: one of the two was changed. {_OTHER}")
            try:
                yield folder
            except ModelError as error:
                why = str(error).replace(f"{folder}/", "").replace(str(folder), "the store").partition(" Next: ")[0].rstrip(".")
                raise ModelError(f"the stored model {version} is refused: {why}. {_OTHER}") from None
    except OSError as error:
        raise ModelError(f"the stored model {version} can't be unpacked in {under}: {error.strerror}. Next: check the disk") from None
    except (ValueError, RecursionError, AttributeError):
        raise ModelError(f"the stored model {version} has no card that can be read. {_OTHER}") from None


def _unpack(files: bytes, version: str, folder: Path) -> None:
    if not files:
        raise ModelError(f"the files of the model {version} are not kept any more, or are too large. {_OTHER}")
    try:
        with zipfile.ZipFile(io.BytesIO(files)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if not set(names) <= set(FILES) or len(names) != len(set(names)) or not {MODEL, CARD} <= set(names):
                strange = next((name for name in names if name not in FILES), "not its own files, once each")
                raise ModelError(f"the stored model {version} holds {ascii(strange)[:80]}, which no model does. {_OTHER}")
            left = LARGEST
            for entry in entries:
                with archive.open(entry) as content:  # what the entry says of its size may be a lie
                    data = content.read(left + 1)
                left -= len(data)
                if left < 0:
                    raise ModelError(f"the stored model {version} unpacks to more than {LARGEST // 1024 // 1024} MiB. {_OTHER}")
                (folder / entry.filename).write_bytes(data)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise ModelError(f"the stored model {version} is no zip that can be read ({str(error)[:100]}). {_OTHER}") from None
