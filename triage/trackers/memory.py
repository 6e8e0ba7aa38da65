"""A tracker that keeps its tickets in memory: complete, for trying things out and for tests. What it holds ends with the process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from threading import RLock
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from triage.contracts import Finding, Manifest
from triage.errors import Gone, Refused
from triage.mention import ActionKind, Receipt, Ticket, Work
from triage.trackers import blanking, wording
from triage.trackers.markup import LONGEST_TEXT, fit, units, wiki


class Options(BaseModel):
    """The keys of an in-memory tracker in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str = Field(default="MEM", pattern=r"^[A-Z][A-Z0-9_]*$", description="What the keys of its tickets begin with.")
    summary: str = Field(default="{{ author }}: {{ first_line }}", description="A template of the ticket's title.")


@dataclass(slots=True)
class Comment:
    """A comment; `text` is wiki text."""

    id: str
    marker: str
    text: str


@dataclass(slots=True)
class Kept:
    """A ticket; `text` is wiki text."""

    id: str
    key: str
    marker: str
    summary: str
    text: str
    made_at: datetime
    updated_at: datetime
    status: str = "Open"
    resolution: str = ""
    fix_versions: tuple[str, ...] = ()
    comments: list[Comment] = field(default_factory=list)


class Memory:
    """The tracker. `tickets` lists what it holds, oldest first; `edits` counts what was changed in them."""

    def __init__(self, name: str, options: Options) -> None:
        self.manifest = MANIFEST
        self.account = name
        self.options = options
        self.tickets: list[Kept] = []
        self.edits = 0
        self._ids = count(1)
        self._lock = RLock()

    def file(self, work: Work) -> Receipt:
        """Keep a ticket."""
        text = fit(wording.ticket("", work), wiki, units, LONGEST_TEXT)
        title = wording.summary(self.options.summary, work)
        with self._lock:
            number, now = next(self._ids), datetime.now(UTC)
            kept = Kept(str(number), f"{self.options.project}-{number}", work.marker, title, text, now, now)
            self.tickets.append(kept)
            return self._receipt(kept)

    def update(self, work: Work) -> Receipt:
        """Keep a comment. `Gone` where the ticket was deleted."""
        text = fit(wording.comment(work), wiki, units, LONGEST_TEXT)
        with self._lock:
            kept = self._of(work)
            if kept is None:
                raise Gone(f"{self.account}: the ticket does not exist any more")
            comment = Comment(str(next(self._ids)), work.marker, text)
            kept.comments.append(comment)
            kept.updated_at = datetime.now(UTC)
            return self._receipt(kept, comment)

    def prints(self, work: Work, texts: Sequence[str]) -> Mapping[str, Any]:
        """By what `blank` knows the words of a post again."""
        return blanking.prints(self.options.summary, "", work, texts)

    def blank(self, work: Work) -> Receipt:
        """Take the post's words out of a ticket or a comment."""
        with self._lock:
            kept, comment, held = self._held(work)
            if not held.is_written:
                self.edits += 1
                kept.updated_at = datetime.now(UTC)
                kept.summary = kept.summary if held.title is None else held.title
                if held.body is not None and comment is not None:
                    comment.text = held.body
                elif held.body is not None:
                    kept.text = held.body
        if held.missing:
            raise Refused(f"{self.account}: {held.receipt.key}: {'; '.join(held.missing)}")
        return held.receipt

    def _held(self, work: Work) -> tuple[Kept, Comment | None, blanking.Held]:
        if work.previous is None:
            raise Refused("there is no ticket to take anything out of")
        kept = next((kept for kept in self.tickets if kept.key == work.previous.key), None)
        comment = next((one for one in kept.comments if one.id == work.previous.remote_id), None) if kept else None
        if kept is None or (comment is None and work.payload.get("of") != "ticket"):
            raise Gone(f"{self.account}: the ticket or comment does not exist any more")
        known = blanking.Prints(work.payload.get("prints") or self.prints(work, work.payload["texts"]))
        if comment is not None:
            return kept, comment, blanking.held(work, known, self._receipt(kept, comment), comment.text)
        return kept, None, blanking.held(work, known, self._receipt(kept), kept.text, kept.summary)

    def find(self, work: Work) -> Sequence[Receipt]:
        """Tickets, or comments for a comment, that carry the marker; for a blank what it was to be taken out of, once it is."""
        with self._lock:
            if work.kind is ActionKind.BLANK:
                try:
                    held = self._held(work)[2]
                except Refused:
                    return []
                return [held.receipt] if held.is_blank else []
            if work.kind is not ActionKind.COMMENT:
                return [self._receipt(kept) for kept in self.tickets if kept.marker == work.marker]
            kept = self._of(work)
            return [self._receipt(kept, comment) for comment in kept.comments if comment.marker == work.marker] if kept else []

    def changed(self, since: datetime | None) -> Iterator[Ticket]:
        """Tickets that changed since then, oldest change first."""
        with self._lock:
            changed = [kept for kept in self.tickets if since is None or kept.updated_at >= since]
            yield from [self._ticket(kept) for kept in sorted(changed, key=lambda kept: kept.updated_at)]

    def duplicates(self, since: datetime) -> Mapping[str, Sequence[Receipt]]:
        """Tickets made since then that share a marker."""
        found: dict[str, list[Receipt]] = {}
        with self._lock:
            for kept in self.tickets:
                if kept.made_at >= since:
                    found.setdefault(kept.marker, []).append(self._receipt(kept))
        return {marker: receipts for marker, receipts in found.items() if len(receipts) > 1}

    def check(self) -> Iterator[Finding]:
        """It works, and forgets."""
        yield Finding("ok", f"{len(self.tickets)} tickets in memory, which end with this process")

    def resolve(self, key: str, resolution: str = "Fixed", fix_versions: Sequence[str] = ()) -> None:
        """Close a ticket, as somebody at the tracker would."""
        with self._lock:
            for kept in self.tickets:
                if kept.key == key:
                    kept.status, kept.resolution, kept.fix_versions = "Done", resolution, tuple(fix_versions)
                    kept.updated_at = datetime.now(UTC)

    def delete(self, key: str) -> None:
        """Delete a ticket, as somebody at the tracker would."""
        with self._lock:
            self.tickets = [kept for kept in self.tickets if kept.key != key]

    def _of(self, work: Work) -> Kept | None:
        if work.problem is not None and work.problem.ticket is not None:
            wanted = work.problem.ticket.id
        elif work.previous is not None:
            wanted = work.previous.remote_id
        else:
            raise Refused("there is no ticket yet to comment on")
        return next((kept for kept in self.tickets if kept.id == wanted), None)

    def _receipt(self, kept: Kept, comment: Comment | None = None) -> Receipt:
        return Receipt(comment.id if comment else kept.id, kept.key, f"memory:{kept.key}")

    def _ticket(self, kept: Kept) -> Ticket:
        return Ticket(kept.id, kept.key, f"memory:{kept.key}", kept.status, kept.resolution, kept.fix_versions, kept.updated_at)


MANIFEST = Manifest(name="memory", options=Options, build=Memory)
