"""Reads a lock that uv wrote: each package with its version, the machines that it is for, its hashes, and who wants it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock. `version` is empty where it is not pinned, `via` names those that want it, `hashes` are SHA-256."""

    name: str
    version: str
    marker: str
    url: str
    hashes: tuple[str, ...]
    via: tuple[str, ...]
    line: int


def read(path: Path) -> list[Pin]:
    """The pins of a lock, in order. Raises ValueError, with file and line, for what is neither a pin nor a comment."""
    entries: list[tuple[int, list[str], list[str]]] = []  # line, the words of the requirement, the comments below it
    open_line = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if text.startswith("#"):
            if entries:
                entries[-1][2].append(text.lstrip("# "))
        elif text:
            if not open_line:
                entries.append((number, [], []))
            entries[-1][1].append(text.rstrip("\\").strip())
        open_line = text.endswith("\\")
    return [_pin(path, number, " ".join(words), comments) for number, words, comments in entries]


def _pin(path: Path, line: int, text: str, comments: Sequence[str]) -> Pin:
    requirement, *options = re.split(r"\s--", text)
    try:
        found = Requirement(requirement)
    except InvalidRequirement as error:
        raise ValueError(f"{path.name}:{line}: {text!r} is no pin ({error}); write the lock with requirements/lock.sh") from None
    versions = [one.version for one in found.specifier if one.operator == "=="]
    via = [word for comment in comments for word in re.sub(r"^via\b", "", comment).split() if not word.startswith("(")]
    return Pin(
        name=canonicalize_name(found.name),
        version=versions[0] if len(versions) == len(found.specifier) == 1 else "",
        marker=str(found.marker or ""),
        url=found.url or "",
        hashes=tuple(option.removeprefix("hash=sha256:") for option in options if option.startswith("hash=sha256:")),
        via=tuple(sorted({canonicalize_name(word.partition(":")[0].partition("[")[0]) for word in via})),
        line=line,
    )
