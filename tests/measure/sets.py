"""Labelled sets as somebody fetched them, one JSON object a line: reading them, and dropping what is there twice.

Labels that were derived, from stars for instance, measure the derivation, so only those that a person gave count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from triage.mention import Label

BY_PEOPLE = ("human", "maintainer issue label")


@dataclass(frozen=True, slots=True)
class Row:
    """A text of a set. `label` is None where the set's own label, `original`, is none of ours. `group` is its project."""

    text: str
    label: Label | None
    original: str
    group: str
    language: str | None = None


def bare(text: str) -> str:
    """The words alone: no case, no signs, each number the same. Texts with the same words are the same text."""
    return " ".join(re.findall(r"\w+", re.sub(r"\d+", "0", text.casefold())))


def different(rows: Iterable[Row], *, known: frozenset[str] = frozenset()) -> list[Row]:
    """The rows without those whose words stand in an earlier one, or in `known` (`bare` texts of what was learned from)."""
    seen = set(known)
    kept = []
    for row in rows:
        words = bare(row.text)
        if words not in seen:
            seen.add(words)
            kept.append(row)
    return kept


def find(folder: Path, name: str) -> Path | None:
    """The file of a set, at any depth of `folder`."""
    return next(iter(sorted(folder.rglob(f"{name}.jsonl"))), None)


def read(path: Path) -> list[Row]:
    """The rows that a person labelled. Raises ValueError for a line that is no such object."""
    return list(_rows(path))


def _rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            if found["label_source"] in BY_PEOPLE:
                yield Row(
                    text=found["text"],
                    label=Label(found["label"]) if found["label"] else None,
                    original=str(found.get("orig_label") or ""),
                    group=str(found.get("group") or ""),
                    language=found.get("lang"),
                )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path.name}, line {number}: {type(error).__name__}: {error}") from None


def leave_one_out(groups: Sequence[str]) -> Iterator[tuple[str, list[int], list[int]]]:
    """Each group by name, the numbers of the rows of all others, and those of its own."""
    for name in sorted(set(groups)):
        yield (
            name,
            [number for number, group in enumerate(groups) if group != name],
            [number for number, group in enumerate(groups) if group == name],
        )
