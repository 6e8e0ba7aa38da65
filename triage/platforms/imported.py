"""Posts from files: the way in for channels without an API. Nothing is fetched, and answers are given by hand.

A row is a line of JSON or of CSV. It needs a `text`; it may have a `link` (its identity: the same link is never taken in
twice), an `author`, a `date`, a `language`, a `title` and a `visibility`. The names that exports commonly use are known too.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from triage.contracts import Change, Finding, Item, Manifest, Page, Shown
from triage.errors import Refused
from triage.mention import Author, Mention, Receipt, Visibility, Work
from triage.text import is_web_address, neutralise, one_line, shorten

TEXT_CHARACTERS = 16 * 1024
FORMATS = ("jsonl", "csv")

_NAMES = {
    "text": ("text", "content", "body", "message"),
    "link": ("link", "url", "uri", "permalink"),
    "author": ("author", "handle", "user", "username", "from"),
    "date": ("date", "created_at", "time", "timestamp", "published"),
    "language": ("language", "lang"),
    "title": ("title", "subject"),
    "visibility": ("visibility",),
}


class ImportedOptions(BaseModel):
    """It has none."""

    model_config = ConfigDict(extra="forbid")


class ImportedPlatform:
    """The platform of imported posts: everything that would need a far side says so."""

    manifest: Manifest

    def __init__(self, name: str, options: ImportedOptions | None = None) -> None:
        self.name = name

    def fetch(self, cursor: str | None) -> Iterator[Page]:
        """One page without items: posts come by `triage import`."""
        yield Page((), "-")

    def history(self, since: datetime) -> Iterator[Page]:
        """Nothing to look back to."""
        return iter(())

    def reread(self, remote_ids: Sequence[str]) -> Mapping[str, Item | None]:
        """Nothing can be read again."""
        return {}

    def thread(self, remote_id: str, colleagues: Collection[str] = frozenset()) -> str:
        """An imported post is a thread of its own; the store knows its uri already."""
        raise Refused(f"{self.name}: imported posts have no threads")

    def compose(self, mention: Mention, text: str) -> Sequence[str]:
        """The text as it is: a person pastes it where it belongs."""
        return [text]

    def show(self, mention: Mention, part: str) -> Shown:
        """The text as it is."""
        return Shown(part, len(part), None)

    def reply(self, work: Work) -> Receipt:
        """Refused: a person answers."""
        raise Refused(f"{self.name}: imported posts are answered by hand")

    def find(self, work: Work) -> Sequence[Receipt]:
        """Nothing was sent."""
        return []

    def answers(self, work: Work) -> Sequence[Receipt]:
        """None."""
        return []

    def repeatable(self) -> bool:
        """False: there is nothing to repeat."""
        return False

    def stream(self, stop: Event) -> Iterator[Change]:
        """Nothing changes."""
        return iter(())

    def check(self) -> Iterator[Finding]:
        """Always well."""
        yield Finding("ok", "imported posts need no account; they are answered by hand")


def items(lines: Iterable[str], *, form: str, source: str, now: datetime) -> Iterator[Item]:
    """An item for each row of a file, in its order; a row that can't be read becomes a broken one. `form` is jsonl or csv.

    `now` is the date of rows without one.
    """
    for row in _rows_of_csv(lines) if form == "csv" else _rows_of_jsonl(lines):
        if isinstance(row, Mapping):
            yield item_of(row, source=source, now=now)
        else:
            raw = row.encode(errors="backslashreplace")
            yield Item(_digest(raw), raw, broken="the row is not one JSON object" if form == "jsonl" else "the row is no CSV")


def _rows_of_jsonl(lines: Iterable[str]) -> Iterator[Mapping[str, Any] | str]:
    for line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        yield row if isinstance(row, dict) else line


def _rows_of_csv(lines: Iterable[str]) -> Iterator[Mapping[str, Any] | str]:
    reader = csv.DictReader(line.replace("\x00", "") for line in lines)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {reader.line_num}: {error}"
            continue
        yield {name: value for name, value in row.items() if isinstance(name, str)}


def item_of(row: Mapping[str, Any], *, source: str, now: datetime) -> Item:
    """One row as a mention, or the reason why it is none."""
    raw = json.dumps(row, ensure_ascii=False, default=str).encode(errors="backslashreplace")
    known = {str(name).strip().lower(): value for name, value in row.items()}
    cell = {field: _cell(known, names) for field, names in _NAMES.items()}
    text = shorten(neutralise(cell["text"][: 4 * TEXT_CHARACTERS]).strip(), TEXT_CHARACTERS)
    link = cell["link"]
    if not text:
        return Item(_digest(raw), raw, broken="the row has no text")
    if link and (not is_web_address(link) or one_line(link) != link):
        return Item(_digest(raw), raw, broken="the link is no web address")
    try:
        created_at = _date(cell["date"]) if cell["date"] else now
    except (ValueError, OverflowError, OSError):
        return Item(_digest(raw), raw, broken="the date is none that we can read; write it like 2026-05-01T12:00:00Z")
    uri = link or f"import:{_digest(chr(0).join((cell['author'], cell['date'], text)).encode(errors='backslashreplace'))}"
    host = urlsplit(link).hostname or "import"
    name = shorten(one_line(cell["author"]).lstrip("@").replace(" ", "_"), 200) or "somebody"
    mention = Mention(
        uri=uri,
        platform=MANIFEST.name,
        source=source,
        remote_id=uri,
        author=Author(handle=name if "@" in name else f"{name}@{host}", name=one_line(cell["author"])),
        text=text,
        created_at=created_at,
        url=link,
        thread=uri,
        via="import",
        visibility=_visibility(cell["visibility"]),
        language=cell["language"].lower()[:12] or None,
        warning=shorten(one_line(cell["title"]), 500),
    )
    return Item(uri, raw, mention=mention)


def _cell(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The first of these columns that says something."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return ""


def _date(value: str) -> datetime:
    """ISO 8601, or seconds since 1970; without a time zone it is UTC."""
    if value.replace(".", "", 1).isdigit() and float(value) > 100_000_000:
        return datetime.fromtimestamp(float(value), UTC)
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _visibility(word: str) -> Visibility:
    """Ours for theirs: a row that says nothing is public, one that says something else is for nobody else's eyes."""
    try:
        return Visibility(word.lower() or "public")
    except ValueError:
        return Visibility.DIRECT


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]


MANIFEST = Manifest(name="import", options=ImportedOptions, build=ImportedPlatform, interval=3600.0, replies=False, streams=False)
ImportedPlatform.manifest = MANIFEST
