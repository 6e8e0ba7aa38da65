"""What people have to do with a mention beside its actions: who has it, until when it sleeps, notes, and the problem that it shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, State, Visibility
from triage.rules import comment_key
from triage.store import batch, rows
from triage.store.board import LIVE
from triage.store.database import Database, insert
from triage.store.dossier import Dossier, dossier
from triage.store.moves import BY_OWN_WORD, add_audit, cancel, close_task, raise_again, withdraw_ticket
from triage.store.schema import actions, audit, items, mentions, notes, people, problems, verdicts
from triage.store.seen import NOTHING_DONE, Seen, hold

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Until when sleeps what waits for its author: so that one column tells everything that sleeps."""

LONGEST_NOTE = 10_000  # characters
LONGEST_SLEEP = timedelta(days=36_500)
NEWEST_TICKETS = 5_000  # among these a ticket's key is looked for
SENT_TWICE = timedelta(minutes=1)  # the same note by the same person within this is one form that was sent twice
UNDO_WITHIN = timedelta(minutes=5)
TOOK_BACK = "took back"
_NAMED = re.compile(r"(?<![\w.@])@([a-z0-9][a-z0-9._-]{0,39})(?<![._-])", re.IGNORECASE)


FOLLOWS = frozenset({BY_OWN_WORD, "cancelled", "claimed", "released", "reopened the task"})
"""Lines of the trail that follow from something else that the person did; nobody means them when they take something back."""


@dataclass(frozen=True, slots=True)
class Deed:
    """A line of the trail: something that a person did to an item, and might take back."""

    id: int
    at: datetime
    what: str
    action_id: int | None
    detail: str


class Items:
    """One transaction a method. `by` is a person's name; a refusal is a `UserError` that says who was first, or what changed."""

    def __init__(self, database: Database, *, site: str, observe: bool) -> None:
        self._database = database
        self._site = site
        self._observe = observe

    def look(self, mention_id: int) -> Dossier:
        """Everything that the item's page shows. `UserError` when there is no such mention."""
        with self._database.read() as connection:
            return dossier(connection, mention_id)

    # Who has it

    def assign(self, mention_id: int, to: str | None, by: str, now: datetime, *, was: str | None = None, seen: Seen | None = None) -> None:
        """Give the item to somebody, or to nobody. `was` is who had it when `by` decided: of two who assign at once one wins."""
        with self._database.write() as connection:
            hold(connection, mention_id, seen)
            before = self._row(connection, mention_id)["assignee"]
            if (before or "") != (was or ""):
                raise UserError(f"it was given to {before or 'nobody'} meanwhile; {NOTHING_DONE}")
            if to is not None:
                self._known(connection, [to])
            if to == before:
                return
            self._set(connection, mention_id, assignee=to)
            add_audit(connection, now, by, "assigned", mention_id=mention_id, detail=f"{before or 'nobody'} → {to or 'nobody'}")

    # Sleep

    def snooze(self, mention_id: int, until: datetime | None, by: str, now: datetime, *, seen: Seen | None = None) -> None:
        """Let it sleep until a time, or with None until its author writes again in the thread."""
        if until is not None and until <= now:
            raise UserError("that time is over already; choose a later one")
        if until is not None and until > now + LONGEST_SLEEP:
            raise UserError("that is more than a hundred years away; choose an earlier time, or archive it")
        with self._database.write() as connection:
            hold(connection, mention_id, seen)
            self._row(connection, mention_id)
            self._set(connection, mention_id, snoozed_until=until or FOREVER, snoozed_by=by, until_reply=until is None)
            told = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until its author writes again"
            add_audit(connection, now, by, "snoozed", mention_id=mention_id, detail=told)

    def wake(self, mention_id: int, by: str, now: datetime) -> None:
        """Back into the queue at once. `UserError` when it does not sleep."""
        with self._database.write() as connection:
            hold(connection, mention_id)
            if not _wake(connection, [mention_id]):
                raise UserError("it does not sleep (any more)")
            add_audit(connection, now, by, "woke it", mention_id=mention_id)

    def wake_due(self, now: datetime) -> list[int]:
        """Wake everything whose time has come; the ids."""
        with self._database.write() as connection:
            due = sa.select(items.c.mention_id).where(items.c.snoozed_until <= now).order_by(items.c.mention_id)
            woken = _wake(connection, connection.execute(due.with_for_update()).scalars().all())
            for mention_id in woken:
                add_audit(connection, now, "triage", "woke it", mention_id=mention_id, detail="its time has come")
        return woken

    # Notes

    def note(self, mention_id: int, text: str, by: str, now: datetime) -> list[str]:
        """Keep a note that only colleagues see; returns the names of those that it names with @.

        `UserError` for an empty one, and for a name that nobody has: what looks like a colleague must be one.
        """
        text = rows.clean(text).strip()
        if not text:
            raise UserError("the note is empty; nothing was kept")
        if len(text) > LONGEST_NOTE:
            raise UserError(f"a note holds {LONGEST_NOTE:,} characters at most; this one has {len(text):,}")
        named = list(dict.fromkeys(found.lower() for found in _NAMED.findall(text)))
        with self._database.write() as connection:
            hold(connection, mention_id)
            self._known(connection, named)
            twice = sa.select(notes).where(notes.c.mention_id == mention_id).order_by(notes.c.id.desc()).limit(1)
            last = connection.execute(twice).mappings().first()
            if last is not None and (last["by"], last["text"]) == (by, text) and last["at"] > now - SENT_TWICE:
                return named
            row = {"mention_id": mention_id, "by": by, "text": text, "to": named, "at": now}
            note_id = connection.execute(sa.insert(notes).values(row).returning(notes.c.id)).scalar_one()
            to = f" to {', '.join(named)}" if named else ""
            add_audit(connection, now, by, "wrote a note", mention_id=mention_id, detail=f"note {note_id}{to}")
        return named

    # Done with it

    def close(self, mention_id: int, by: str, now: datetime, why: str = "", *, seen: Seen | None = None) -> list[int]:
        """Close every open task of the item without an answer of ours; their ids. Of two people one wins, the other is told who."""
        with self._database.write() as connection:
            hold(connection, mention_id, seen)
            mine = sa.select(actions).where(actions.c.mention_id == mention_id).order_by(actions.c.id)
            found = connection.execute(mine).mappings().all()
            tasks = [row["id"] for row in found if row["via"] == HUMAN and row["kind"] == ActionKind.TASK and row["state"] == State.PLANNED]
            if not tasks:
                raise UserError(_nothing_open(found))
            for task_id in tasks:
                close_task(connection, task_id, by, now)
                add_audit(connection, now, by, "closed the task", mention_id=mention_id, action_id=task_id, detail=rows.clean(why))
            _wake(connection, [mention_id])
        return tasks

    def belongs(self, mention_id: int, action_id: int, *, seen: Seen | None = None) -> None:
        """`UserError` unless the action is one of this item's, and the item is as it was seen."""
        with self._database.read() as connection:
            hold(connection, mention_id, seen)
            found = connection.scalar(sa.select(actions.c.mention_id).where(actions.c.id == action_id))
        if found != mention_id:
            raise UserError(f"item {mention_id} has no action {action_id}; reload the page")

    def tell(self, mention_id: int, by: str, what: str, now: datetime, *, detail: str = "", action_id: int | None = None) -> None:
        """A line for the trail, for what a verb did in other rooms."""
        with self._database.write() as connection:
            add_audit(connection, now, by, what, mention_id=mention_id, action_id=action_id, detail=detail)

    # The same problem as another

    def newest_problems(self, mention_id: int, limit: int = 8) -> list[dict[str, Any]]:
        """The newest problems with a ticket that is not resolved, and the post that each ticket was made of: something to pick from."""
        with self._database.read() as connection:
            own = connection.scalar(sa.select(mentions.c.problem_id).where(mentions.c.id == mention_id))
            newest = _newest_tickets(limit * 8)
            columns = (problems.c.ticket_id, problems.c.ticket, mentions.c.author, sa.func.substr(mentions.c.text, 1, 200).label("text"))
            wanted = (
                sa.select(newest.c.mention_id, newest.c.problem_id, *columns)
                .join(problems, problems.c.id == newest.c.problem_id)
                .join(mentions, mentions.c.id == newest.c.mention_id)
                .order_by(newest.c.first_intent_at.desc())
            )
            found = connection.execute(wanted).mappings().all()
        picked = [
            {"mention": row["mention_id"], "ticket": ticket.key, "status": ticket.status, "author": row["author"], "text": row["text"]}
            for row in found
            if row["problem_id"] != own and (ticket := rows.to_ticket(row["ticket_id"], row["ticket"])) and not ticket.resolution
        ]
        return picked[:limit]

    def named(self, name: str) -> int:
        """The mention that a person means by a mention's number or a ticket's key."""
        name = name.strip().removeprefix("#")
        with self._database.read() as connection:
            if name.isdecimal() and len(name) < 18:
                found = connection.scalar(sa.select(mentions.c.id).where(mentions.c.id == int(name)))
                if found is None:
                    raise UserError(f"there is no mention {name}")
                return int(found)
            newest = _newest_tickets(NEWEST_TICKETS)
            this = sa.and_(newest.c.state == str(State.DONE), sa.func.upper(newest.c.remote_key) == name.upper())
            mention_id = connection.scalar(sa.select(newest.c.mention_id).where(this).limit(1))
        if mention_id is not None:
            return int(mention_id)
        raise UserError(
            f"none of the newest {NEWEST_TICKETS:,} tickets has the key {name[:60]!r}; give the number of a mention of that problem"
        )

    def join(self, mention_id: int, other_id: int, by: str, now: datetime, *, seen: Seen | None = None) -> list[int]:
        """The item belongs to the other's problem from now on, and later answers to it too. Returns the id of the comment that is due.

        Its own ticket is cancelled where it was not sent yet. `UserError` where it has one: which of two stands people decide there.
        """
        with self._database.write() as connection:
            held = {id_: hold(connection, id_, seen if id_ == mention_id else None) for id_ in sorted({mention_id, other_id})}
            mine, other = held[mention_id], held[other_id]
            if mine["problem_id"] is None or other["problem_id"] is None:
                raise UserError(
                    f"mention {mention_id if mine['problem_id'] is None else other_id} is not judged yet; try again in a moment"
                )
            if mine["problem_id"] == other["problem_id"]:
                raise UserError(f"it belongs to the same problem as mention {other_id} already")
            both = sorted((mine["problem_id"], other["problem_id"]))
            locked_rows = connection.execute(sa.select(problems).where(problems.c.id.in_(both)).order_by(problems.c.id).with_for_update())
            found = {row["id"]: row for row in locked_rows.mappings()}
            ours, theirs = found[mine["problem_id"]], found[other["problem_id"]]
            self._leave(connection, mine, ours, theirs, other_id, now)
            connection.execute(
                sa.update(mentions).where(mentions.c.id == mention_id).values(problem_id=theirs["id"], thread=theirs["thread"])
            )
            told = f"problem {ours['id']} → problem {theirs['id']}, as mention {other_id}"
            add_audit(connection, now, by, "same problem", mention_id=mention_id, detail=told)
            return self._report(connection, mine, theirs, by, now)

    def _leave(self, connection: Connection, mine: RowMapping, ours: RowMapping, theirs: RowMapping, other_id: int, now: datetime) -> None:
        """Take back what this item asked of its own problem's ticket; `UserError` where a ticket stands in the way."""
        ticket, there = rows.to_ticket(ours["ticket_id"], ours["ticket"]), rows.to_ticket(theirs["ticket_id"], theirs["ticket"])
        if ticket and there:
            raise UserError(
                f"both have tickets, {ticket.key} and {there.key}: link them in the tracker and close one there; nothing was done"
            )
        if ticket:
            raise UserError(f"this item has the ticket {ticket.key} and the other none: open mention {other_id} and join it to this one")
        own = sa.select(actions).where(actions.c.problem_id == ours["id"], actions.c.kind == str(ActionKind.TICKET))
        planned = connection.execute(own).mappings().first()
        if planned is not None and planned["state"] in LIVE and planned["state"] != State.PLANNED:
            raise UserError(f"its own ticket is {planned['state']} at this moment; decide that first, then join")
        if planned is not None and planned["mention_id"] == mine["id"] and planned["state"] == State.PLANNED:
            withdraw_ticket(connection, planned["id"], now, "it is the same problem as another")
        reports = sa.select(actions.c.id).where(
            actions.c.mention_id == mine["id"], actions.c.kind == str(ActionKind.COMMENT), actions.c.state == str(State.PLANNED)
        )
        for comment_id in connection.execute(reports).scalars().all():
            cancel(connection, comment_id, now, "it is the same problem as another")

    def _report(self, connection: Connection, mine: RowMapping, theirs: RowMapping, by: str, now: datetime) -> list[int]:
        """Plan the comment that tells the problem's ticket of this report; nothing where it has no ticket and none is on its way."""
        wanted = sa.select(actions).where(actions.c.problem_id == theirs["id"], actions.c.kind == str(ActionKind.TICKET))
        ticket = connection.execute(wanted).mappings().first()
        alive = ticket is not None and ticket["state"] in LIVE
        if not theirs["ticket_id"] and not alive:
            return []
        private = Visibility(mine["visibility"]).is_private
        waits = ticket is not None and alive and ticket["state"] != State.DONE
        values: dict[str, Any] = {
            "kind": str(ActionKind.COMMENT),
            "via": theirs["tracker"] or (ticket["via"] if ticket is not None else ""),
            "state": str(State.OBSERVED if self._observe else State.PLANNED),
            "mention_id": mine["id"],
            "problem_id": theirs["id"],
            "after_id": ticket["id"] if ticket is not None and alive else None,
            "reason": f"{by} says it is the same problem",
            "rule": "",
            "payload": {"what": "report", "joined": True, "lifted": private},
            "due_at": None if self._observe or waits else now,
            "error": "",
            "closed_at": None,
            "closed_by": "",
        }
        key = comment_key(self._site, mine["uri"])
        back = sa.update(actions).where(actions.c.key == key, actions.c.state == str(State.CANCELLED)).values(values)
        comment_id = connection.execute(back.returning(actions.c.id)).scalar()
        if comment_id is None:
            new = insert(connection, actions).values(values | {"key": key, "created_at": now}).on_conflict_do_nothing()
            comment_id = connection.execute(new.returning(actions.c.id)).scalar()
        return [] if comment_id is None or values["due_at"] is None else [int(comment_id)]

    # Taking back

    def last_deed(self, mention_id: int, by: str, now: datetime) -> Deed:
        """The last thing that this person did to the item and has not taken back. `UserError` when there is none, or it is too long ago."""
        with self._database.read() as connection:
            mine = (
                sa.select(audit)
                .where(audit.c.mention_id == mention_id, audit.c.who == by, audit.c.at >= now - UNDO_WITHIN)
                .order_by(audit.c.id.desc())
            )
            found = connection.execute(mine).mappings().all()
        below: int | None = None  # a line that took another back covers everything since that one
        for row in found:
            if below is not None and row["id"] >= below:
                continue
            if row["what"] == TOOK_BACK:
                below = int(row["detail"].rsplit("line ", 1)[-1])
                continue
            if row["what"] not in FOLLOWS:
                same = [one["id"] for one in found if (one["what"], one["at"]) == (row["what"], row["at"])]  # a line for each task
                return Deed(min(same), row["at"], row["what"], row["action_id"], row["detail"])
        raise UserError("you did nothing to this item within the last five minutes that could be taken back")

    def take_back(self, mention_id: int, deed: Deed, by: str, now: datetime) -> str:
        """Take back what lies in this room: an assignment, a sleep, a note, a closed task. Says what is so again.

        `UserError` when it has been changed since, or can't be taken back.
        """
        with self._database.write() as connection:
            hold(connection, mention_id)
            told = self._taken_back(connection, mention_id, deed, by, now)
            self._cover(connection, mention_id, deed, by, now)
        return told

    def _taken_back(self, connection: Connection, mention_id: int, deed: Deed, by: str, now: datetime) -> str:
        row = self._row(connection, mention_id)
        if deed.what == "assigned":
            before, _, after = (part.strip() for part in deed.detail.partition("→"))
            if (row["assignee"] or "nobody") != after:
                raise UserError(f"it can't be taken back: {row['assignee'] or 'nobody'} has it now")
            self._set(connection, mention_id, assignee=None if before == "nobody" else before)
            return f"{before} has it again"
        if deed.what == "snoozed":
            if row["snoozed_by"] != by or not _wake(connection, [mention_id]):
                raise UserError("it can't be taken back: it does not sleep by your word any more")
            return "it is awake again"
        if deed.what == "wrote a note":
            number = int(deed.detail.split()[1])
            gone = sa.delete(notes).where(notes.c.id == number, notes.c.mention_id == mention_id, notes.c.by == by)
            if connection.execute(gone).rowcount != 1:
                raise UserError("it can't be taken back: the note is gone already")
            return "the note is gone"
        if deed.what == "closed the task":
            if not _reopen(connection, mention_id, deed.at, State.DONE, by, now):
                raise UserError("it can't be taken back: the task has changed since")
            return "the task is open again"
        raise UserError(f'"{deed.what}" can\'t be taken back' + (f": {deed.detail}" if deed.detail else ""))

    def take_back_plans(self, mention_id: int, deed: Deed, action_ids: Sequence[int], judged_at: datetime, by: str, now: datetime) -> None:
        """Cancel what filing or accepting planned, as long as nothing of it was sent, and open the tasks that it ended (at `judged_at`).

        `UserError` names the ticket that stands by now.
        """
        with self._database.write() as connection:
            hold(connection, mention_id)
            mine = sa.select(actions).where(actions.c.id.in_(action_ids), actions.c.mention_id == mention_id).with_for_update()
            planned = connection.execute(mine.order_by(actions.c.id)).mappings().all()
            for row in planned:
                what = f"the {row['kind']} {row['remote_key'] or row['remote_id'] or ''}".rstrip()
                if row["state"] == State.DONE:
                    raise UserError(f"it can't be taken back: {what} is {'filed' if row['kind'] == ActionKind.TICKET else 'sent'}")
                if row["state"] in (State.SENDING, State.DOUBT):
                    raise UserError(f"it can't be taken back: {what} is being sent at this moment")
            for row in planned:
                if row["kind"] == ActionKind.TICKET:
                    withdraw_ticket(connection, row["id"], now, f"{by} took it back")
                else:
                    cancel(connection, row["id"], now, f"{by} took it back", by)
            _reopen(connection, mention_id, judged_at, State.DONE, by, now)
            _reopen(connection, mention_id, judged_at, State.CANCELLED, "triage", now)
            self._cover(connection, mention_id, deed, by, now)

    def took_back_label(self, mention_id: int, deed: Deed, judged_at: datetime, by: str, now: datetime) -> None:
        """A label is what it was: open the tasks that were open before, which it (at `judged_at`) or its taking back has ended."""
        with self._database.write() as connection:
            hold(connection, mention_id)
            newest = sa.select(sa.func.max(verdicts.c.id)).where(verdicts.c.mention_id == mention_id).scalar_subquery()
            again_at = connection.execute(sa.select(verdicts.c.at).where(verdicts.c.id == newest)).scalar_one()
            _reopen(connection, mention_id, judged_at, State.CANCELLED, "triage", now)
            _reopen(connection, mention_id, again_at, State.CANCELLED, "triage", now, before=judged_at)
            self._cover(connection, mention_id, deed, by, now)

    def took_back(self, mention_id: int, deed: Deed, by: str, now: datetime) -> None:
        """Something that lies in another room was taken back there."""
        with self._database.write() as connection:
            self._cover(connection, mention_id, deed, by, now)

    def _cover(self, connection: Connection, mention_id: int, deed: Deed, by: str, now: datetime) -> None:
        """Write down that a deed was taken back, so that the next time the one before it is."""
        add_audit(connection, now, by, TOOK_BACK, mention_id=mention_id, action_id=deed.action_id, detail=f"{deed.what}: line {deed.id}")

    # Rows

    def _row(self, connection: Connection, mention_id: int) -> RowMapping:
        connection.execute(insert(connection, items).values(mention_id=mention_id).on_conflict_do_nothing())
        return connection.execute(sa.select(items).where(items.c.mention_id == mention_id).with_for_update()).mappings().one()

    def _set(self, connection: Connection, mention_id: int, **values: Any) -> None:
        connection.execute(sa.update(items).where(items.c.mention_id == mention_id).values(values))

    def _known(self, connection: Connection, names: Sequence[str]) -> None:
        if not names:
            return
        there = sa.select(people.c.name).where(people.c.name.in_(names), people.c.disabled_at.is_(None))
        found = set(connection.execute(there).scalars())
        for name in names:
            if name not in found:
                raise UserError(f"there is no colleague {name[:60]!r}; write a name as the people's page shows it")


def wake_by_reply(connection: Connection, arrived: Iterable[tuple[int, int, str]], now: datetime) -> list[int]:
    """Wake what waits for its author, who has written again: mentions as (id, problem, author) that have just been judged.

    Works in the caller's transaction, which holds the mentions' rows.
    """
    new = {mention_id: (problem_id, author) for mention_id, problem_id, author in arrived}
    if not new:
        return []
    asleep = (
        sa.select(items.c.mention_id, mentions.c.problem_id, mentions.c.author)
        .join(mentions, mentions.c.id == items.c.mention_id)
        .where(batch.among(connection, mentions.c.problem_id, {problem for problem, _ in new.values()}), items.c.until_reply)
        .order_by(items.c.mention_id)
    )
    wanted = set(new.values())
    found = [row.mention_id for row in connection.execute(asleep) if (row.problem_id, row.author) in wanted and row.mention_id not in new]
    woken = _wake(connection, found)
    for mention_id in woken:
        add_audit(connection, now, "triage", "woke it", mention_id=mention_id, detail="its author has written again")
    return woken


def _wake(connection: Connection, ids: Sequence[int]) -> list[int]:
    if not ids:
        return []
    asleep = sa.update(items).where(items.c.mention_id.in_(ids), items.c.snoozed_until.is_not(None))
    awake = asleep.values(snoozed_until=None, snoozed_by="", until_reply=sa.false()).returning(items.c.mention_id)
    return sorted(connection.execute(awake).scalars())


def _reopen(
    connection: Connection,
    mention_id: int,
    closed_at: datetime,
    state: State,
    closed_by: str,
    now: datetime,
    *,
    before: datetime | None = None,
) -> int:
    """Open the tasks of an item again that ended at this very moment by this hand, and were made `before`; how many."""
    ended = sa.update(actions).where(
        actions.c.mention_id == mention_id,
        actions.c.kind == str(ActionKind.TASK),
        actions.c.state == str(state),
        actions.c.closed_at == closed_at,
        actions.c.closed_by == closed_by,
        *(() if before is None else (actions.c.created_at < before,)),
    )
    opened = connection.execute(ended.values(state=str(State.PLANNED), closed_at=None, closed_by="", error="")).rowcount
    if opened:
        raise_again(connection, mention_id, closed_at, now)
    return opened


def _newest_tickets(limit: int) -> sa.Subquery:
    """The tickets that were sent last, by their index; what is joined to them comes after the limit."""
    sent = sa.and_(actions.c.kind == sa.literal_column(f"'{ActionKind.TICKET}'"), actions.c.first_intent_at.is_not(None))
    newest = sa.select(actions.c.mention_id, actions.c.problem_id, actions.c.remote_key, actions.c.state, actions.c.first_intent_at)
    return newest.where(sent).order_by(actions.c.first_intent_at.desc()).limit(limit).subquery()


def _nothing_open(found: Sequence[RowMapping]) -> str:
    """Why nothing of an item can be closed."""
    closed = [row for row in found if row["via"] == HUMAN and row["closed_by"] and row["closed_at"]]
    stuck = [row for row in found if row["state"] in (State.PARKED, State.REJECTED)]
    if stuck:
        return f"nothing is open but action {stuck[0]['id']}, which is {stuck[0]['state']}: send it again or drop it"
    if closed:
        last = max(closed, key=lambda row: row["closed_at"])
        return f"{last['closed_by']} has closed it already, at {last['closed_at']:%H:%M} UTC; nothing was done"
    return "nothing is open about it; there is nothing to close"
