"""What is held of one person, out and away: preview, export, erasure; and erasure of what is old enough.

A mention that is erased stays as a row without content: its label, its times and its place in counts. What it said, who said it,
and every text that was made of it are gone, and a keyed digest stands for its address (`erased.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import UserError
from triage.mention import ActionKind, State, Work
from triage.store import batch, blanks, erased, rows
from triage.store.database import Database
from triage.store.markers import MARKED, marker
from triage.store.moves import add_audit, cancel, withdraw_ticket
from triage.store.place import Place, put
from triage.store.schema import (
    OPEN,
    TAKEN_BACK,
    actions,
    alerts,
    approvals,
    attempts,
    audit,
    drafts,
    items,
    mentions,
    meta,
    notes,
    presence,
    problems,
    revisions,
    samples,
    sightings,
    verdicts,
)

BATCH = 100  # mentions a transaction: others write in between
SCAN = 2_000  # mentions that one look for old ones passes
_CURSOR = "retention_at"
_HARMLESS = (
    "what",
    "by",
    "by_person",
    "task_id",
    "released",
    "severity",
    "urgent",
    "name",
)  # keys of a payload that hold no text of theirs
_UNDER_WAY = (str(State.SENDING), str(State.DOUBT))
UNREACHED = (
    "the history of tickets in the tracker, which keeps what triage takes out of them, and mails that it sent",
    "the name and links in tickets of posts that were erased before, since they were deleted or old: search the tracker for the handle",
    "what people wrote or changed in a ticket: where triage can't tell it from the words that it filed, a task asks a person",
    "our own answers on the platform, and what other people wrote about or to this person",
    "backups made before, logs, and alerts and messages that were sent",
    "a classifier that was trained here while their posts were labelled: train again",
    "free space within the database's files until it is used again (VACUUM)",
)
"""What an erasure can't reach, in words for a receipt."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of one person: rows by table, their tickets as (key, link), links of our answers.

    `busy` counts the mentions that can't be erased now, since something of theirs is being sent, is in doubt, or an alert is open.
    """

    handle: str
    counts: Mapping[str, int]
    tickets: Sequence[tuple[str, str]]
    answers: Sequence[str]
    busy: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erasure did. `number` names it in the trail without the person; the same person has the same number."""

    number: str
    counts: Mapping[str, int]
    left: int
    tickets: Sequence[tuple[str, str]]
    unreached: Sequence[str] = field(default=UNREACHED)


Prints = Callable[[Work, Sequence[str]], Mapping[str, Any] | None]
"""Of a post that was filed, and all that it ever said: by what its words are known again there; None where nothing can take them out."""


class Privacy:
    """Questions and erasures. Handles are whole, `name@host`; the case counts, as it does in what the servers send."""

    def __init__(self, database: Database, place: Place, *, site: str) -> None:
        self._database = database
        self._place = place
        self._site = site

    def preview(self, handle: str) -> Held:
        """What is held of this person; nothing is changed. `UserError` when there is nothing."""
        handle = _handle(handle)
        with self._database.read() as connection:
            theirs = sa.select(mentions.c.id).where(mentions.c.author == handle)
            made = sa.select(actions.c.id).where(actions.c.mention_id.in_(theirs))
            counts = {"mentions": _count(connection, mentions, mentions.c.author == handle)}
            if not counts["mentions"]:
                raise UserError(
                    f"nothing is held of {handle!r}; write the handle as the queue shows it, name@host. "
                    "Tickets of posts that were erased before may still name them"
                )
            for table in (revisions, sightings, verdicts, actions, notes, drafts):
                counts[table.name] = _count(connection, table, table.c.mention_id.in_(theirs))
            counts["audit"] = _count(connection, audit, audit.c.mention_id.in_(theirs))
            counts["audit"] += _count(connection, audit, audit.c.action_id.in_(made), audit.c.mention_id.is_(None))
            uris = sa.select(mentions.c.uri).where(mentions.c.author == handle)
            counts["alerts"] = _count(connection, alerts, alerts.c.subject.in_(uris))
            busy = _count(connection, mentions, mentions.c.author == handle, _busy())
            answered = sa.select(actions.c.url).where(
                actions.c.mention_id.in_(theirs), actions.c.kind == str(ActionKind.REPLY), actions.c.url != ""
            )
            answers = list(connection.execute(answered.order_by(actions.c.id)).scalars())
            return Held(handle, counts, self._tickets(connection, theirs), answers, busy)

    def export(self, handle: str, by: str, now: datetime) -> dict[str, Any]:
        """All that is held of this person, as one document; that it was taken out is noted in the trail. `UserError` for nothing."""
        held = self.preview(handle)
        with self._database.write() as connection:
            number = self._number(connection, held.handle)
            add_audit(connection, now, by, "exported a person", detail=f"receipt {number}, {held.counts['mentions']} mentions")
        with self._database.snapshot() as connection:
            found = connection.execute(sa.select(mentions).where(mentions.c.author == held.handle).order_by(mentions.c.id)).mappings().all()
            return {
                "handle": held.handle,
                "made_at": now.isoformat(),
                "counts": dict(held.counts),
                "tickets": [{"key": key, "url": url} for key, url in held.tickets],
                "mentions": [_document(connection, row) for row in found],
            }

    def erase(self, handle: str, by: str, now: datetime, prints: Prints) -> Receipt:
        """Erase what is held of this person, a batch a transaction; run again, it goes on. `UserError` when there is nothing.

        What is under way is left, and counted. Their words are taken out of tickets and comments later, by actions that know them
        by `prints` alone; where there are none a task asks a person.
        """
        held = self.preview(handle)
        counts: Counter[str] = Counter()
        last = 0
        while True:
            with self._database.write() as connection:
                wanted = sa.select(mentions).where(mentions.c.author == held.handle, mentions.c.id > last, sa.not_(_busy()))
                chosen = connection.execute(wanted.order_by(mentions.c.id).limit(BATCH).with_for_update()).mappings().all()
                if not chosen:
                    break
                known = {id_: found for row in chosen for id_, found in self._prints(connection, row, now, prints).items()}
                counts += self._erase(connection, chosen, now)
                self._blank(connection, known, now)
                last = chosen[-1]["id"]
        with self._database.write() as connection:
            number = self._number(connection, held.handle)
            left = _count(connection, mentions, mentions.c.author == held.handle)
            told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
            add_audit(connection, now, by, "erased a person", detail=f"receipt {number}: {told or 'nothing'}; {left} mentions left")
        return Receipt(number, dict(counts), left, held.tickets)

    def expire(self, before: Mapping[str, datetime], now: datetime) -> int:
        """Erase mentions of these labels that were posted before those moments and have nothing open. Returns how many.

        It looks at the next `SCAN` of the old ones, from where the last look ended, and begins anew after the last.
        """
        if not before:
            return 0
        with self._database.read() as connection:
            kept = connection.scalar(sa.select(meta.c.value).where(meta.c.name == _CURSOR))
            since = json.loads(kept) if kept else None
            newest = (
                sa.select(sa.func.max(verdicts.c.id)).where(verdicts.c.mention_id == mentions.c.id).correlate(mentions).scalar_subquery()
            )
            label = sa.select(verdicts.c.label).where(verdicts.c.id == newest).correlate(mentions).scalar_subquery()
            old = sa.select(mentions.c.id, mentions.c.created_at, mentions.c.author, label).where(
                mentions.c.created_at < max(before.values())
            )
            if since:
                moment = datetime.fromisoformat(since[0])
                further = sa.and_(mentions.c.created_at == moment, mentions.c.id > since[1])
                old = old.where(mentions.c.created_at >= moment, sa.or_(mentions.c.created_at > moment, further))
            seen = connection.execute(old.order_by(mentions.c.created_at, mentions.c.id).limit(SCAN)).all()
        due = [id_ for id_, at, author, said in seen if author and said in before and at < before[said]]
        done = 0
        for start in range(0, len(due), BATCH):
            with self._database.write() as connection:
                still = sa.and_(batch.among(connection, mentions.c.id, due[start : start + BATCH]), sa.not_(_busy()), sa.not_(_open()))
                chosen = connection.execute(sa.select(mentions).where(still).order_by(mentions.c.id).with_for_update()).mappings().all()
                if chosen:
                    self._erase(connection, chosen, now)
                    add_audit(connection, now, "triage", "erased by retention", detail=f"{len(chosen)} mentions")
                done += len(chosen)
        with self._database.write() as connection:
            put(connection, _CURSOR, json.dumps([seen[-1][1].isoformat(), seen[-1][0]]) if len(seen) == SCAN else "")
        return done

    def forget(self, before: datetime, now: datetime) -> int:
        """Erase what its author deleted before that moment, unless something of it is under way or open, a batch at a time.

        Returns how many. What is open may still need the words: to be taken out of a ticket, or for a person.
        """
        taken_back = sa.and_(TAKEN_BACK, mentions.c.deleted_at < before, sa.not_(_busy()), sa.not_(_open()))
        with self._database.write() as connection:
            found = sa.select(mentions).where(taken_back).order_by(mentions.c.deleted_at).limit(BATCH).with_for_update(of=mentions)
            chosen = connection.execute(found).mappings().all()
            if chosen:
                self._erase(connection, chosen, now)
                add_audit(connection, now, "triage", "erased what authors deleted", detail=f"{len(chosen)} mentions")
        return len(chosen)

    def _erase(self, connection: Connection, chosen: Sequence[RowMapping], now: datetime) -> Counter[str]:
        """Take the content out of these mentions and of all that hangs on them. Their rows are locked."""
        counts: Counter[str] = Counter(mentions=len(chosen))
        key, secret = erased.key(connection), self._place.stand_in(connection, now).secret
        ids = [row["id"] for row in chosen]
        for row in chosen:
            self._withdraw(connection, row["id"], now)
            counts["actions"] += self._bare_actions(connection, row, erased.digest(key, row["uri"]), secret)
        of_mention = {
            table: batch.among(connection, table.c.mention_id, ids) for table in (revisions, sightings, notes, drafts, presence, items)
        }
        for table, theirs in of_mention.items():
            counts[table.name] += connection.execute(sa.delete(table).where(theirs)).rowcount
        unanswered = sa.delete(samples).where(batch.among(connection, samples.c.mention_id, ids), samples.c.answer.is_(None))
        connection.execute(unanswered)
        for id_, data in connection.execute(
            sa.select(verdicts.c.id, verdicts.c.data).where(batch.among(connection, verdicts.c.mention_id, ids))
        ).all():
            kept = {name: data[name] for name in ("scores", "signals", "language", "rule") if name in data} | {"evidence": []}
            connection.execute(sa.update(verdicts).where(verdicts.c.id == id_).values(data=kept))
            counts["verdicts"] += 1
        made = list(connection.execute(sa.select(actions.c.id).where(batch.among(connection, actions.c.mention_id, ids))).scalars())
        connection.execute(sa.update(attempts).where(batch.among(connection, attempts.c.action_id, made)).values(detail=""))
        connection.execute(sa.update(approvals).where(batch.among(connection, approvals.c.action_id, made)).values(why=""))
        authors = {row["author"] for row in chosen}
        for column, these in ((audit.c.mention_id, ids), (audit.c.action_id, made)):
            who = sa.case((audit.c.who.in_(authors), "the author"), else_=audit.c.who)
            lines = sa.update(audit).where(batch.among(connection, column, these), audit.c.detail != "erased")
            counts["audit"] += connection.execute(lines.values(who=who, detail="erased")).rowcount
        for row in chosen:
            counts["alerts"] += self._bare_identity(connection, row, erased.digest(key, row["uri"]), now)
        return +counts

    def _withdraw(self, connection: Connection, mention_id: int, now: datetime) -> None:
        """Nothing of it is sent any more; a planned ticket passes to the next report of the problem."""
        waiting = (str(State.PLANNED), str(State.PARKED), str(State.REJECTED), str(State.OBSERVED))
        open_ = sa.select(actions.c.id, actions.c.kind, actions.c.state).where(
            actions.c.mention_id == mention_id, actions.c.state.in_(waiting)
        )
        for action_id, kind, state in connection.execute(open_.order_by(actions.c.id)).all():
            if kind == ActionKind.TICKET and state == State.PLANNED:
                withdraw_ticket(connection, action_id, now, "erased")
            else:
                cancel(connection, action_id, now, "erased")

    def _bare_actions(self, connection: Connection, row: RowMapping, tomb: str, secret: bytes) -> int:
        """Its actions keep what happened and lose what was said. What the far side carries for them is noted before the key changes."""
        prefix = f"{self._site}/{row['uri']}/"
        problem = sa.select(problems.c.id).where(problems.c.thread == row["uri"]).scalar_subquery()
        about = sa.or_(actions.c.mention_id == row["id"], actions.c.problem_id == problem)
        count = 0
        renamed: dict[str, str] = {}
        for action in connection.execute(sa.select(actions).where(about).order_by(actions.c.id).with_for_update()).mappings().all():
            values: dict[str, Any] = {}
            if action["key"].startswith(prefix):
                values["key"] = f"{self._site}/{tomb}/{action['key'].removeprefix(prefix)}"
                renamed[action["key"]] = values["key"]
                if action["kind"] in MARKED and action["first_intent_at"] is not None and action["marker"] is None:
                    values["marker"] = marker(secret, action["key"])
            for column in ("remote_id", "remote_key"):  # an alert's is its key
                if (action[column] or "").startswith(prefix):
                    values[column] = f"{self._site}/{tomb}/{action[column].removeprefix(prefix)}"
            if action["mention_id"] == row["id"]:
                payload = {name: action["payload"][name] for name in _HARMLESS if name in action["payload"]}
                values |= {"payload": payload, "reason": "erased", "error": ""}
                count += 1
            if values:
                connection.execute(sa.update(actions).where(actions.c.id == action["id"]).values(values))
        self._rename(connection, renamed)
        return count

    def _rename(self, connection: Connection, renamed: Mapping[str, str]) -> None:
        """What is known by an action's key: that it was stuck, which ends with it, and the task of whoever takes its words out by hand."""
        told = sa.select(alerts.c.id, alerts.c.subject).where(batch.among(connection, alerts.c.subject, list(renamed)))
        for alert_id, key in connection.execute(told).all():
            connection.execute(sa.update(alerts).where(alerts.c.id == alert_id).values(subject=renamed[key]))
        tasks = {f"{old}/task": f"{new}/task" for old, new in renamed.items()}
        asked = sa.select(actions.c.id, actions.c.key).where(batch.among(connection, actions.c.key, list(tasks)))
        for task_id, key in connection.execute(asked).all():
            connection.execute(sa.update(actions).where(actions.c.id == task_id).values(key=tasks[key]))

    def _bare_identity(self, connection: Connection, row: RowMapping, tomb: str, now: datetime) -> int:
        problem_id = connection.scalar(
            sa.update(problems).where(problems.c.thread == row["uri"]).values(thread=tomb).returning(problems.c.id)
        )
        if problem_id is not None:
            others = sa.update(mentions).where(mentions.c.problem_id == problem_id, mentions.c.thread == row["uri"])
            connection.execute(others.values(thread=tomb))
        told = sa.update(alerts).where(alerts.c.subject == row["uri"])
        count = connection.execute(told.values(subject=tomb, summary="erased", data={"labels": {}, "url": ""})).rowcount
        connection.execute(
            sa.update(mentions)
            .where(mentions.c.id == row["id"])
            .values(
                uri=tomb,
                remote_id=tomb,
                parent_id=None,
                author="",
                text="",
                data={},
                deleted_at=row["deleted_at"] or now,
                due_at=None,
                attempt=0,
                reread_at=None,
                quarantined=None,
            )
        )
        return count

    def _tickets(self, connection: Connection, ids: Any) -> list[tuple[str, str]]:
        """The tickets that hold words of these mentions: of each that was filed as one, or reported in a comment."""
        filed = actions.c.kind.in_([str(ActionKind.TICKET), str(ActionKind.COMMENT)])
        found = (
            sa.select(problems.c.ticket)
            .where(
                problems.c.ticket_id.is_not(None),
                problems.c.id.in_(
                    sa.select(actions.c.problem_id).where(actions.c.mention_id.in_(ids), filed, actions.c.state == str(State.DONE))
                ),
            )
            .order_by(problems.c.id)
        )
        return [(ticket["key"], ticket.get("url", "")) for ticket in connection.execute(found).scalars()]

    def _prints(self, connection: Connection, row: RowMapping, now: datetime, prints: Prints) -> dict[int, Mapping[str, Any] | None]:
        """By what the words of a mention are known again, for each action that filed them."""
        filed = [one for one in blanks.filed(connection, row["id"], words=False) if one["state"] == State.DONE]
        if not filed:
            return {}
        said = sa.select(revisions.c.text).where(revisions.c.mention_id == row["id"]).order_by(revisions.c.number)
        texts = list(connection.execute(said).scalars())
        last = sa.select(verdicts).where(verdicts.c.mention_id == row["id"]).order_by(verdicts.c.id.desc()).limit(1)
        judged = connection.execute(last).mappings().first()
        mention, verdict = rows.to_mention(row), rows.to_verdict(judged) if judged else None

        def work(one: RowMapping) -> Work:
            return Work(one["id"], "", "", ActionKind.BLANK, one["via"], 0, now, now, one["reason"], mention, verdict)

        return {one["id"]: prints(work(one), texts) for one in filed}

    def _blank(self, connection: Connection, known: Mapping[int, Mapping[str, Any] | None], now: datetime) -> None:
        """After the erasure, which gave the actions' keys their new names and cancelled what was planned before."""
        by_service = {id_: {"prints": found} for id_, found in known.items() if found is not None}
        blanks.plan(connection, blanks.ERASED, now, by_service)
        by_hand = sa.select(actions).where(batch.among(connection, actions.c.id, [id_ for id_, found in known.items() if found is None]))
        for row in connection.execute(by_hand.order_by(actions.c.id)).mappings().all():
            why = f"a reporter was erased here, and {row['via']} can't change what it holds"
            blanks.ask(connection, f"{row['key']}/erased/task", row["remote_key"], row["url"], now, why)

    def _number(self, connection: Connection, handle: str) -> str:
        return erased.digest(erased.key(connection), handle).removeprefix(erased.PREFIX)[:12]


def _handle(handle: str) -> str:
    return rows.clean(handle.strip().removeprefix("@"))


def _count(connection: Connection, table: sa.Table, *where: Any) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0)


def _busy() -> Any:
    """Something of it is under way, or tells people on call of it."""
    sending = sa.or_(
        actions.c.state.in_(_UNDER_WAY), sa.and_(actions.c.kind == str(ActionKind.ALERT), actions.c.state == str(State.PLANNED))
    )
    mine = sa.select(actions.c.id).where(actions.c.mention_id == mentions.c.id, sending).correlate(mentions)
    raised = sa.select(alerts.c.id).where(alerts.c.subject == mentions.c.uri, alerts.c.closed_at.is_(None)).correlate(mentions)
    return sa.or_(mine.exists(), raised.exists())


def _open() -> Any:
    """Something of it is open, or would take its words out of a ticket if a person released it."""
    observed = sa.and_(actions.c.kind == str(ActionKind.BLANK), actions.c.state == str(State.OBSERVED))
    mine = sa.select(actions.c.id).where(actions.c.mention_id == mentions.c.id, sa.or_(OPEN, observed))
    return mine.correlate(mentions).exists()


def _document(connection: Connection, row: RowMapping) -> dict[str, Any]:
    """One mention with all that hangs on it, as JSON takes it."""

    def of(table: sa.Table, order: Any, *names: str) -> list[dict[str, Any]]:
        found = connection.execute(sa.select(*(table.c[name] for name in names)).where(table.c.mention_id == row["id"]).order_by(order))
        return [dict(one) for one in found.mappings()]

    texts = of(revisions, revisions.c.number, "number", "seen_at", "text", "raw")
    names = ("id", "uri", "platform", "source", "author", "visibility", "language", "text", "data", "created_at", "stored_at", "deleted_at")
    return {name: row[name] for name in names} | {
        "revisions": [one | {"raw": rows.unpack(one["raw"]).decode("utf-8", "replace")} for one in texts],
        "verdicts": of(verdicts, verdicts.c.id, "label", "confidence", "by", "data", "at"),
        "actions": of(actions, actions.c.id, "kind", "via", "state", "reason", "payload", "url", "created_at", "closed_at"),
        "notes": of(notes, notes.c.id, "by", "text", "at"),
        "drafts": of(drafts, drafts.c.person, "person", "text", "at"),
        "trail": of(audit, audit.c.id, "at", "who", "what", "detail"),
    }
