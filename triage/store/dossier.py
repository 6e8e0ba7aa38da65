"""One item whole, as its page shows it: the post, its thread, its author's history, what was decided and done. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.errors import Missing
from triage.mention import ActionKind, Mention, State, Ticket, Verdict
from triage.person import Person
from triage.store import rows
from triage.store.people import to_person
from triage.store.schema import actions, attempts, audit, items, mentions, notes, people, problems, revisions, verdicts
from triage.store.seen import Seen

BEFORE = 30  # posts of the thread that are shown above
AFTER = 10  # and below
EARLIER = 5  # of the author's own posts
COUNTED = 1_000  # of them; more are "more than"
TRAIL = 200  # lines of the trail, the newest
Row = Mapping[Any, Any]
SENT = tuple(str(state) for state in (State.DONE, State.SENDING, State.DOUBT, State.PLANNED, State.PARKED, State.REJECTED))


@dataclass(frozen=True, slots=True)
class Post:
    """A post of the thread. `who` is author (of the item), us, colleague or other; `by` is the colleague who wrote it, where known."""

    at: datetime
    author: str
    who: str
    text: str
    warning: str = ""
    url: str = ""
    mention_id: int | None = None
    by: str = ""
    state: str = ""
    deleted: bool = False
    elsewhere: bool = False  # it came to the same problem from another thread


@dataclass(frozen=True, slots=True)
class Earlier:
    """Another post by the item's author."""

    id: int
    at: datetime
    text: str
    label: str | None
    ticket: str


@dataclass(frozen=True, slots=True)
class Dossier:
    """An item. `mention` is None for what could never be read. `above` and `below` are the thread, oldest first."""

    id: int
    uri: str
    source: str
    mention: Mention | None
    seen: Seen
    stored_at: datetime
    deleted_at: datetime | None
    quarantined: str | None
    revisions: Sequence[Mapping[str, Any]]
    verdict: Verdict | None
    verdict_at: datetime | None
    rule: str
    reason: str
    problem: int | None
    ticket: Ticket | None
    ticket_read: bool
    actions: Sequence[Mapping[str, Any]]
    above: Sequence[Post]
    below: Sequence[Post]
    posts: int
    earlier: Sequence[Earlier]
    first_at: datetime | None
    item: Mapping[str, Any]
    notes: Sequence[Mapping[str, Any]]
    trail: Sequence[Mapping[str, Any]]
    people: Sequence[Person]


def dossier(connection: Connection, mention_id: int) -> Dossier:
    """Read it, every statement by an index. `Missing` when there is no such mention."""
    row = connection.execute(sa.select(mentions).where(mentions.c.id == mention_id)).mappings().first()
    if row is None:
        raise Missing(f"there is no mention {mention_id}")
    everybody = [to_person(one) for one in connection.execute(sa.select(people).order_by(people.c.name)).mappings()]
    judged = _all(connection, sa.select(verdicts).where(verdicts.c.mention_id == mention_id).order_by(verdicts.c.id))
    last = judged[-1] if judged else None
    done = _all(connection, sa.select(actions).where(actions.c.mention_id == mention_id).order_by(actions.c.id))
    problem = connection.execute(sa.select(problems).where(problems.c.id == row["problem_id"])).mappings().first()
    texts = sa.select(revisions.c.number, revisions.c.text, revisions.c.seen_at).where(revisions.c.mention_id == mention_id)
    item = connection.execute(sa.select(items).where(items.c.mention_id == mention_id)).mappings().first()
    above, below = _thread(connection, row, everybody) if row["platform"] else ([], [])
    posts, first_at, earlier = _history(connection, row) if row["platform"] else (0, None, [])
    return Dossier(
        id=mention_id,
        uri=row["uri"],
        source=row["source"],
        mention=rows.to_mention(row) if row["platform"] else None,
        seen=Seen(row["revision"], last["id"] if last else 0),
        stored_at=row["stored_at"],
        deleted_at=row["deleted_at"],
        quarantined=row["quarantined"],
        revisions=_all(connection, texts.order_by(revisions.c.number)),
        verdict=rows.to_verdict(last) if last else None,
        verdict_at=last["at"] if last else None,
        rule=last["data"].get("rule", "") if last else "",
        reason=last["data"].get("reason", "") if last else "",
        problem=row["problem_id"],
        ticket=rows.to_ticket(problem["ticket_id"], problem["ticket"]) if problem else None,
        ticket_read=bool(problem and problem["ticket"] and problem["ticket"].get("updated_at")),
        actions=done,
        above=above,
        below=below,
        posts=posts,
        earlier=earlier,
        first_at=first_at,
        item=dict(item) if item else dict.fromkeys(column.name for column in items.c),
        notes=_all(connection, sa.select(notes).where(notes.c.mention_id == mention_id).order_by(notes.c.id)),
        trail=_trail(connection, row, judged, done),
        people=everybody,
    )


def _all(connection: Connection, statement: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(statement).mappings()]


def _thread(connection: Connection, row: Row, everybody: Sequence[Person]) -> tuple[list[Post], list[Post]]:
    """What stands before and after the item in its problem: posts that we know, and our own answers to them."""
    if row["problem_id"] is None:
        return [], []
    here = sa.and_(mentions.c.problem_id == row["problem_id"], mentions.c.id != row["id"])
    place = sa.tuple_(mentions.c.created_at, mentions.c.id) < sa.tuple_(
        sa.bindparam("at", row["created_at"]), sa.bindparam("id", row["id"])
    )
    order = (mentions.c.created_at, mentions.c.id)
    before = _all(connection, sa.select(mentions).where(here, place).order_by(*(one.desc() for one in order)).limit(BEFORE))
    after = _all(connection, sa.select(mentions).where(here, ~place).order_by(*order).limit(AFTER))
    shown = {one["id"]: one for one in (*before, row, *after)}
    colleagues = {handle.lower().lstrip("@"): person.called for person in everybody for handle in person.handles}
    posts = [_post(one, row, colleagues) for one in (*before, *after)]
    ours = sa.select(actions).where(
        actions.c.mention_id.in_(shown), actions.c.kind == str(ActionKind.REPLY), actions.c.state.in_(SENT), actions.c.via != "human"
    )
    posts += [_answer(one, shown[one["mention_id"]]["author"]) for one in connection.execute(ours).mappings()]
    posts.sort(key=lambda post: (post.at, post.mention_id or 0))
    return [post for post in posts if post.at < row["created_at"]], [post for post in posts if post.at >= row["created_at"]]


def _post(one: Row, row: Row, colleagues: Mapping[str, str]) -> Post:
    colleague = colleagues.get(one["author"].lower())
    return Post(
        at=one["created_at"],
        author=one["author"],
        who="author" if one["author"] == row["author"] else "colleague" if colleague else "other",
        text=one["text"],
        warning=one["data"].get("warning", ""),
        url=one["data"].get("url", ""),
        mention_id=one["id"],
        by=colleague or "",
        deleted=one["deleted_at"] is not None,
        elsewhere=_conversation(one) != _conversation(row),
    )


def _conversation(row: Row) -> str:
    """The thread that a post is in; one that was joined to the problem by hand began elsewhere and answers nothing here."""
    return str(row["thread"] if row["parent_id"] is not None else row["uri"])


def _answer(action: Row, to: str) -> Post:
    payload = action["payload"]
    return Post(
        at=action["intent_at"] or action["created_at"],
        author=to,
        who="us",
        text=str(payload.get("text") or ""),
        url=action["url"],
        by=str(payload.get("by") or ""),
        state=action["state"],
    )


def _history(connection: Connection, row: Row) -> tuple[int, datetime | None, list[Earlier]]:
    """How many posts by this author we have (counted up to a limit), since when, and the newest others."""
    by_author = mentions.c.author == row["author"]
    some = sa.select(mentions.c.id).where(by_author).limit(COUNTED + 1).subquery()
    count = connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0
    first = sa.select(mentions.c.created_at).where(by_author).order_by(mentions.c.id).limit(1)
    newest = verdicts.alias("newest")
    last = sa.select(sa.func.max(newest.c.id)).where(newest.c.mention_id == mentions.c.id).correlate(mentions).scalar_subquery()
    wanted = (
        sa.select(
            mentions.c.id,
            mentions.c.created_at,
            sa.func.substr(mentions.c.text, 1, 200).label("text"),
            verdicts.c.label,
            problems.c.ticket_id,
            problems.c.ticket,
        )
        .select_from(mentions.outerjoin(verdicts, verdicts.c.id == last).outerjoin(problems, problems.c.id == mentions.c.problem_id))
        .where(by_author, mentions.c.id != row["id"])
        .order_by(mentions.c.id.desc())
        .limit(EARLIER)
    )
    earlier = []
    for one in connection.execute(wanted).mappings():
        ticket = rows.to_ticket(one["ticket_id"], one["ticket"])
        earlier.append(Earlier(one["id"], one["created_at"], one["text"], one["label"], ticket.key if ticket else ""))
    return count, connection.scalar(first), earlier


def _trail(connection: Connection, row: Row, judged: Sequence[Row], done: Sequence[Row]) -> list[dict[str, Any]]:
    """Everything that happened, oldest first: verdicts, plans, attempts, and what people did."""
    ids = [action["id"] for action in done]
    of_item = sa.select(audit).where(audit.c.mention_id == row["id"]).order_by(audit.c.id.desc()).limit(TRAIL)
    of_actions = sa.select(audit).where(audit.c.action_id.in_(ids), audit.c.mention_id.is_(None)).order_by(audit.c.id.desc()).limit(TRAIL)
    lines = [*_all(connection, of_item), *_all(connection, of_actions)] if ids else _all(connection, of_item)
    tries = sa.select(attempts).where(attempts.c.action_id.in_(ids)).order_by(attempts.c.started_at.desc()).limit(TRAIL)
    events = [{"at": row["stored_at"], "who": "triage", "what": "stored", "detail": f"from {row['source']}"}]
    for verdict in judged:
        sure = "" if verdict["sure"] else ", not sure"
        why = f"rule {verdict['data'].get('rule') or 'none'}: {verdict['data'].get('reason', '')}"
        label = verdict["label"].replace("_", " ")
        events.append(
            {"at": verdict["at"], "who": verdict["by"], "what": f"judged {label}", "detail": f"{verdict['confidence']:.0%}{sure}; {why}"}
        )
    events += [
        {"at": one["created_at"], "who": "triage", "what": f"{one['kind']} {one['id']} planned", "detail": one["reason"]} for one in done
    ]
    for one in _all(connection, tries) if ids else ():
        told = f"{one['outcome']} {one['detail']}".strip() or "begun"
        events.append(
            {"at": one["started_at"], "who": "triage", "what": f"action {one['action_id']}, attempt {one['number']}", "detail": told}
        )
    events += [
        {
            "at": line["at"],
            "who": line["who"],
            "what": line["what"] + (f" (action {line['action_id']})" if line["action_id"] else ""),
            "detail": line["detail"],
        }
        for line in lines
    ]
    return sorted(events, key=lambda event: event["at"])[-TRAIL:]
