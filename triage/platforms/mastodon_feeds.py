"""Walking a list that is shown newest first and grows while we walk: forward without holes, backward without loops.

Ids are opaque. The walk asks the server to compare them (`min_id`, `max_id`) and only brakes by `newer`, for servers that
ignore a parameter, take it as inclusive, or no longer have the post that an id belonged to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from triage.platforms.mastodon_wire import NO_ID, digest, raw_of

OVERLAP = 20  # entries read again at each poll: an id that was given out first may be committed last, and posts are edited
LEAST_PAGE = 20  # every server gives that many when it has them, so a shorter page is the last one
SANE_ID = re.compile(r"[!-~]{1,100}")  # digits or a ULID; half a surrogate pair could not even be written down
PAGE = 80  # what we ask for; most servers give 40, some 80


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a list. `key` is its id, and the time of its last edit where there was one: an edited entry is new again."""

    id: str
    key: str
    payload: Any
    created_at: datetime | None = None

    @classmethod
    def of(cls, payload: Any) -> Entry:
        """From a status or a notification, however broken."""
        given = payload.get("id") if isinstance(payload, dict) else None
        if isinstance(given, bool) or not isinstance(given, str | int) or not SANE_ID.fullmatch(str(given)):
            name = digest(raw_of(payload))
            return cls(name, name, payload)
        status = payload.get("status") if isinstance(payload.get("status"), dict) else payload
        edited = status.get("edited_at")
        is_edited = isinstance(edited, str) and SANE_ID.fullmatch(edited) is not None
        moment = payload.get("created_at", payload.get("latest_page_notification_at"))
        return cls(
            str(given),
            f"{given} {edited}" if is_edited else str(given),
            payload,
            moment_of(moment),
        )

    @property
    def has_id(self) -> bool:
        """False for what is too broken to have an id: it can't be a place to go on from."""
        return not self.id.startswith(NO_ID)


class Read(Protocol):
    """One page of a list, oldest first, empty where there is nothing (more)."""

    def __call__(self, *, min_id: str | None = None, max_id: str | None = None) -> Sequence[Entry]:
        """`min_id` asks for what follows it directly, `max_id` for what comes right before it, neither for the newest."""


def moment_of(value: Any) -> datetime | None:
    """An aware time from the server's text, None for anything else."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


def newer(one: str, other: str) -> bool:
    """Whether an id comes after another: digits grow in length, ULIDs in their letters. True on every server that we know of."""
    return (len(one), one) > (len(other), other)


def forward(read: Read, seen: Sequence[str], cut: Callable[[], None] = lambda: None) -> Iterator[list[Entry]]:
    """What is not in `seen` (the newest keys of the last walk, oldest first) and not older than it, in pages, oldest first.

    `cut` is called before the first page when the list no longer reaches back to any of `seen`: something may be missing.
    """
    ids = [key.partition(" ")[0] for key in seen]
    if not ids:
        yield from _everything(read)
        return
    oldest, newest, known, known_ids = ids[0], ids[-1], set(seen), set(ids)

    def fresh(page: Iterable[Entry]) -> list[Entry]:
        found = [e for e in page if e.key not in known and (not e.has_id or e.id in known_ids or newer(e.id, oldest))]
        known.update(entry.key for entry in found)
        return found

    def touches(page: Iterable[Entry]) -> bool:
        return any(entry.id in known_ids or (entry.has_id and not newer(entry.id, oldest)) for entry in page)

    position = oldest
    page = read(min_id=position)
    first = next((entry.id for entry in page if entry.has_id), None)
    if first is not None and not touches(page):  # a hole below it, unless the server honours min_id: look
        below = _fill(read, first, touches)
        # A few entries may be all there is left after deletions; a list that was cut at a number or an age is longer than that.
        if not any(map(touches, below)) and len(page) + sum(map(len, below)) >= LEAST_PAGE:
            cut()
        for lower in below:
            if found := fresh(lower):
                yield found
    while page:
        found = fresh(page)
        if found:
            yield found
        last = next((entry.id for entry in reversed(page) if entry.has_id and newer(entry.id, position)), position)
        if last == position or (not found and last == newest and len(page) < LEAST_PAGE):
            return
        position = last
        page = read(min_id=position)


def _fill(read: Read, below: str, touches: Any) -> list[Sequence[Entry]]:
    """The pages below an id down to one that touches what is known, oldest page first."""
    pages: list[Sequence[Entry]] = []
    for page in backward(read, below):
        pages.insert(0, page)
        if touches(page):
            break
    return pages


def _everything(read: Read) -> Iterator[list[Entry]]:
    pages = list(backward(read))
    yield from reversed(pages)


def backward(read: Read, max_id: str | None = None) -> Iterator[list[Entry]]:
    """Pages from the newest (or from below `max_id`) back to the beginning; each page is oldest first."""
    known: set[str] = set()
    while True:
        page = [entry for entry in (read(max_id=max_id) if max_id else read()) if entry.key not in known]
        if not page:
            return
        known.update(entry.key for entry in page)
        yield page
        lowest = next((entry.id for entry in page if entry.has_id), None)
        if lowest is None or lowest == max_id:
            return
        max_id = lowest


def back_to(read: Read, start: datetime, *, block: int = 2_000) -> Iterator[list[Entry]]:
    """Everything from `start` on, in pages. Oldest first within blocks of that many entries, so that a long past needs little memory."""
    pages: list[list[Entry]] = []
    for page in backward(read):
        wanted = [entry for entry in page if entry.created_at is None or entry.created_at >= start]
        pages.insert(0, wanted)
        if sum(map(len, pages)) >= block:
            yield from (one for one in pages if one)
            pages = []
        if not wanted:
            break
    yield from (one for one in pages if one)


def newest_keys(seen: Iterable[str], entries: Iterable[Entry], keep: int = OVERLAP) -> list[str]:
    """The keys to remember for the next walk, oldest first."""
    keys: Mapping[str, str] = {
        **{key.partition(" ")[0]: key for key in seen},
        **{entry.id: entry.key for entry in entries if entry.has_id},
    }
    return [keys[id_] for id_ in sorted(keys, key=lambda id_: (len(id_), id_))[-keep:]]
