"""Between rows and nouns: the only place that knows how a mention, a verdict or an action lies in the tables."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.engine import RowMapping

from triage.mention import Attachment, Author, Label, Mention, Problem, Ticket, Verdict, Visibility

LARGEST_RAW_BYTES = 1024 * 1024  # a larger post keeps its beginning: enough to see what it was


def pack(raw: bytes) -> bytes:
    """Raw bytes as they are stored."""
    return zlib.compress(raw[:LARGEST_RAW_BYTES], 1)


def unpack(stored: bytes) -> bytes:
    """The raw bytes as they came."""
    return zlib.decompress(stored)


def clean(text: str) -> str:
    """PostgreSQL takes neither NUL nor lone surrogates."""
    text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def clean_json(value: Any) -> Any:
    """The same for everything in a JSON column."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(k)): clean_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean_json(v) for v in value]
    return value


def of_mention(mention: Mention) -> dict[str, Any]:
    """The columns that a mention fills."""
    author = mention.author
    return {
        "uri": clean(mention.uri),
        "platform": mention.platform,
        "source": mention.source,
        "remote_id": clean(mention.remote_id),
        "parent_id": mention.parent_id,
        "thread": mention.thread,
        "author": clean(author.handle),
        "visibility": str(mention.visibility),
        "language": mention.language,
        "text": clean(mention.text),
        "created_at": mention.created_at,
        "data": clean_json(
            {
                "url": mention.url,
                "via": mention.via,
                "warning": mention.warning,
                "edited_at": mention.edited_at.isoformat() if mention.edited_at else None,
                "attachments": [[a.kind, a.url, a.description] for a in mention.attachments],
                "poll": list(mention.poll),
                "quote": mention.quote,
                "author": {
                    "name": author.name,
                    "url": author.url,
                    "followers": author.followers,
                    "bot": author.bot,
                    "no_bots": author.no_bots,
                    "created_at": author.created_at.isoformat() if author.created_at else None,
                },
            }
        ),
    }


def to_mention(row: RowMapping, *, source: str | None = None, remote_id: str | None = None) -> Mention:
    """The mention in a row of `mentions`; `source` and `remote_id` as another sighting knows it."""
    data = row["data"]
    author = data.get("author", {})
    return Mention(
        uri=row["uri"],
        platform=row["platform"],
        source=source or row["source"],
        remote_id=remote_id or row["remote_id"],
        author=Author(
            handle=row["author"],
            name=author.get("name", ""),
            url=author.get("url", ""),
            followers=author.get("followers"),
            bot=author.get("bot", False),
            no_bots=author.get("no_bots", False),
            created_at=_time(author.get("created_at")),
        ),
        text=row["text"],
        created_at=row["created_at"],
        url=data.get("url", ""),
        parent_id=row["parent_id"],
        thread=row["thread"],
        via=data.get("via", "mention"),
        visibility=Visibility(row["visibility"]),
        language=row["language"],
        warning=data.get("warning", ""),
        edited_at=_time(data.get("edited_at")),
        attachments=tuple(Attachment(*entry) for entry in data.get("attachments", ())),
        poll=tuple(data.get("poll", ())),
        quote=data.get("quote", ""),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def of_verdict(verdict: Verdict) -> dict[str, Any]:
    """The columns that a verdict fills."""
    return {
        "label": str(verdict.label),
        "confidence": float(verdict.confidence),
        "sure": verdict.sure,
        "by": verdict.by,
        "by_person": verdict.by_person,
        "data": {
            "scores": {str(k): round(float(v), 6) for k, v in verdict.scores.items()},
            "language": verdict.language,
            "signals": sorted(verdict.signals),
            "evidence": clean_json(verdict.evidence),
        },
    }


def to_verdict(row: RowMapping | Mapping[str, Any]) -> Verdict:
    """The verdict in a row of `verdicts`."""
    data = row["data"]
    return Verdict(
        label=Label(row["label"]),
        confidence=row["confidence"],
        scores=data["scores"],
        sure=row["sure"],
        by=row["by"],
        by_person=row["by_person"],
        language=data.get("language"),
        signals=frozenset(data.get("signals", ())),
        evidence=tuple(data.get("evidence", ())),
    )


def of_ticket(ticket: Ticket) -> dict[str, Any]:
    """A ticket as its problem's row keeps it."""
    return {
        "key": ticket.key,
        "url": ticket.url,
        "status": clean(ticket.status),
        "resolution": clean(ticket.resolution),
        "fix_versions": clean_json(ticket.fix_versions),
        "updated_at": ticket.updated_at.isoformat() if ticket.updated_at else None,
    }


def to_ticket(ticket_id: str | None, data: dict[str, Any] | None) -> Ticket | None:
    """The ticket of a problem's row, if it has one."""
    if not ticket_id or not data:
        return None
    return Ticket(
        id=ticket_id,
        key=data["key"],
        url=data["url"],
        status=data.get("status", ""),
        resolution=data.get("resolution", ""),
        fix_versions=tuple(data.get("fix_versions", ())),
        updated_at=_time(data.get("updated_at")),
    )


def to_problem(row: RowMapping) -> Problem:
    """The problem in a row of `problems`."""
    return Problem(row["id"], row["thread"], to_ticket(row["ticket_id"], row["ticket"]), tracker=row["tracker"])


def dumps(value: Any) -> str:
    """JSON for people and pipes: stable, not escaped."""
    return json.dumps(value, ensure_ascii=False, default=str)
