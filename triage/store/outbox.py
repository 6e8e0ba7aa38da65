"""What goes out: claiming an action, writing down how it ended, doubt, and the people's word on it.

Every change of state is one `UPDATE … WHERE id=? AND state=? AND attempt=?`, checked by its row count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.budget import Purpose
from triage.delivery import TWICE, Move
from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, Label, Receipt, State, Ticket, Visibility, Work
from triage.store import blanks, rows
from triage.store.accounts import Accounts
from triage.store.alerts import Alerts
from triage.store.changes import withdraw_boost
from triage.store.database import Database
from triage.store.markers import MARKED, marker_of
from triage.store.moves import add_audit, cancel, give_ticket_back, withdraw_ticket
from triage.store.owners import Owners
from triage.store.place import Place, Stand
from triage.store.schema import accounts, actions, alerts, approvals, attempts, mentions, problems, revisions, sightings, verdicts

JUDGE_FIRST = timedelta(seconds=3)
ONCE = (*MARKED, ActionKind.REPLY, ActionKind.BOOST, ActionKind.BLANK)  # what must not be sent twice; an alert may be


@dataclass(frozen=True, slots=True)
class Pending:
    """An action that may be due, before it is claimed."""

    id: int
    kind: ActionKind
    via: str
    source: str | None
    remote_id: str | None
    mention_id: int | None
    read_at: datetime | None
    what: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt's end is written down. `news`: a failure that is not just another one of an outage that was told."""

    news: bool


class Outbox:
    """Actions from plan to receipt. `brake` is how many tickets an hour a source may cause (by name; `""` for all others)."""

    def __init__(
        self,
        database: Database,
        owners: Owners,
        accounts_: Accounts,
        alerts_: Alerts,
        place: Place,
        *,
        observe: bool,
        brake: Mapping[str, int],
    ) -> None:
        self._database = database
        self._owners = owners
        self._accounts = accounts_
        self._alerts = alerts_
        self._place = place
        self._observe = observe
        self._brake = dict(brake)
        self._in_flight: set[int] = set()
        self._glances: set[int] = set()
        self._guard = Lock()

    # Claiming and finishing

    def pending(self, ids: Sequence[int]) -> list[Pending]:
        """These actions, in order, as far as they are still planned."""
        statement = (
            sa.select(
                actions.c.id,
                actions.c.kind,
                actions.c.via,
                mentions.c.source,
                mentions.c.remote_id,
                actions.c.mention_id,
                mentions.c.read_at,
                actions.c.payload,
                actions.c.attempt,
            )
            .outerjoin(mentions, mentions.c.id == actions.c.mention_id)
            .where(actions.c.id.in_(ids), actions.c.state == str(State.PLANNED), actions.c.via != HUMAN)
            .order_by(actions.c.id)
        )
        with self._database.read() as connection:
            found = connection.execute(statement).mappings().all()
        return [
            Pending(
                row["id"],
                ActionKind(row["kind"]),
                row["via"],
                row["source"],
                row["remote_id"],
                row["mention_id"],
                row["read_at"],
                row["payload"].get("what", ""),
                row["attempt"],
            )
            for row in found
        ]

    @contextmanager
    def glance(self, action_id: int, now: datetime) -> Iterator[tuple[Work, int] | None]:
        """An action as it would be sent, to look for it before it is claimed, and how many looks have failed. Changes nothing.

        None when it would not be sent now, or when another thread looks for it.
        """
        with self._guard:
            busy = action_id in self._glances or action_id in self._in_flight
            if not busy:
                self._glances.add(action_id)
        try:
            yield None if busy else self._as_it_would_be(action_id, now)
        finally:
            if not busy:
                with self._guard:
                    self._glances.discard(action_id)

    def _as_it_would_be(self, action_id: int, now: datetime) -> tuple[Work, int] | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(actions).where(actions.c.id == action_id)).mappings().first()
            if row is None or row["state"] != State.PLANNED or row["via"] == HUMAN or row["due_at"] is None or row["due_at"] > now:
                return None
            waits = row["after_id"] is not None and not self._is_done(connection, row["after_id"])
            if waits or self._observe or not self._accounts.rests_in(connection, row["via"], now, post=ActionKind(row["kind"]).is_post).go:
                return None
            stand = self._place.stand_in(connection, now)
            # A store that was restored may have sent it before it was planned (again): as early as the backup is old.
            earliest = row["first_intent_at"] or min(row["created_at"], stand.since or now)
            return self._work(connection, {**row, "intent_at": now, "first_intent_at": earliest}, marker_of(row, stand)), row["looks"]

    def settle(self, work: Work, move: Move, now: datetime, *, looks: int, seen: Sequence[str] = ()) -> bool:
        """Write down what a look before sending told, if the action has not moved on. `seen` are ids that a person is shown."""
        with self._database.write() as connection:
            return self._finish(connection, work, move, now, looks, unsent=True, seen=seen)

    def strangers(self, work: Work, answers: Sequence[Receipt]) -> list[Receipt]:
        """Those of our own answers on the far side that this store knows nothing of, and that no person was shown."""
        ids = [receipt.remote_id for receipt in answers]
        with self._database.read() as connection:
            known = sa.select(actions.c.remote_id).where(actions.c.via == work.via, actions.c.remote_id.in_(ids))
            told = {*connection.execute(known).scalars(), *work.payload.get("seen", ())}
        return [receipt for receipt in answers if receipt.remote_id not in told]

    def claim(self, action_id: int, now: datetime, *, looked: Work | None = None) -> Work | None:
        """Write down the intent and count the attempt; None when it is not ours to do, not due, paused, or held by the brake.

        `looked` is what was looked for before, and not found: without it nothing is claimed that may have been sent already.
        """
        me = self._owners.me(now)
        with self._guard:
            if action_id in self._in_flight:
                return None
            self._in_flight.add(action_id)
        work = None
        try:
            with self._database.write() as connection:
                work = self._claim(connection, action_id, me, now, looked)
        finally:
            if work is None:
                self.let_go(action_id)
        return work

    def _claim(self, connection: Connection, action_id: int, me: str, now: datetime, looked: Work | None) -> Work | None:
        stand = self._place.stand_in(connection, now)
        if stand.newer:
            return None
        row = connection.execute(sa.select(actions).where(actions.c.id == action_id).with_for_update()).mappings().first()
        if row is None or row["state"] != State.PLANNED or row["via"] == HUMAN or row["due_at"] is None or row["due_at"] > now:
            return None
        if self._is_void(connection, row, now) or self._waits(connection, row, now):
            return None
        if row["after_id"] is not None and not self._is_done(connection, row["after_id"]):
            connection.execute(sa.update(actions).where(actions.c.id == action_id).values(due_at=None))
            return None
        if self._observe and row["kind"] != ActionKind.TASK:
            connection.execute(sa.update(actions).where(actions.c.id == action_id).values(state=str(State.OBSERVED), due_at=None))
            return None
        post = ActionKind(row["kind"]).is_post
        leave = self._accounts.rests_in(connection, row["via"], now, post=post)
        if not leave.go:
            self._accounts.wait_in(connection, action_id, row["via"], row["kind"], leave)
            return None
        if row["kind"] in ONCE:
            if stand.copied:
                return None
            if looks_first(row["kind"], row["attempt"], stand) and (looked is None or looked.attempt != row["attempt"]):
                return None
        released = row["payload"].get("released", False)  # a person's word lets it pass
        if row["kind"] == ActionKind.TICKET and row["first_intent_at"] is None and not released and self._braked(connection, row, now):
            return None
        leave = self._accounts.leave_in(connection, row["via"], Purpose.SEND, now, post=post)
        if not leave.go:
            self._accounts.wait_in(connection, action_id, row["via"], row["kind"], leave)
            return None
        marker = marker_of(row, stand)
        changed = connection.execute(
            sa.update(actions)
            .where(actions.c.id == action_id, actions.c.state == str(State.PLANNED), actions.c.attempt == row["attempt"])
            .values(
                marker=marker if row["kind"] in MARKED else None,
                state=str(State.SENDING),
                attempt=row["attempt"] + 1,
                owner=me,
                intent_at=now,
                first_intent_at=sa.func.coalesce(actions.c.first_intent_at, now),
                due_at=None,
                unknown_at=None,
                looks=0,
            )
        )
        if changed.rowcount != 1:
            return None
        if row["kind"] != ActionKind.ALERT or row["attempt"] == 0:  # an open alert is repeated every minute
            connection.execute(sa.insert(attempts).values(action_id=action_id, number=row["attempt"] + 1, owner=me, started_at=now))
        fresh = connection.execute(sa.select(actions).where(actions.c.id == action_id)).mappings().one()
        return self._work(connection, fresh, marker)

    def _is_void(self, connection: Connection, row: RowMapping, now: datetime) -> bool:
        """Whether the post is gone (the action is cancelled), or was edited and not judged since (the action waits for that)."""
        about_post = row["kind"] in (ActionKind.TICKET, ActionKind.REPLY, ActionKind.BOOST) or row["payload"].get("what") == "report"
        boost = row["kind"] == ActionKind.BOOST
        if row["mention_id"] is None or not about_post or (row["payload"].get("released") and not boost):
            return False
        columns = (mentions.c.deleted_at, mentions.c.due_at, mentions.c.visibility)
        deleted_at, due_at, visibility = connection.execute(sa.select(*columns).where(mentions.c.id == row["mention_id"])).one()
        if boost and Visibility(visibility).is_private:  # whatever a person's word was, and when
            cancel(connection, row["id"], now, "a private post is never boosted")
            return True
        if boost and deleted_at is None and due_at is None:
            last = sa.select(verdicts.c.label).where(verdicts.c.mention_id == row["mention_id"]).order_by(verdicts.c.id.desc()).limit(1)
            if connection.scalar(last) != Label.PRAISE:
                withdraw_boost(connection, row, "it is not praise any more", "triage", now)
                return True
        if deleted_at is not None:
            if row["kind"] == ActionKind.TICKET:
                withdraw_ticket(connection, row["id"], now, "the post was deleted by its author")
            else:
                cancel(connection, row["id"], now, "the post was deleted by its author")
            return True
        if due_at is not None:
            connection.execute(sa.update(actions).where(actions.c.id == row["id"]).values(due_at=now + JUDGE_FIRST))
            return True
        return False

    def _waits(self, connection: Connection, row: RowMapping, now: datetime) -> bool:
        """Whether an answer or a boost can still be taken back, or waits for an approval; whoever may have made it due."""
        if not ActionKind(row["kind"]).is_post:
            return False
        held = row["payload"].get("held_until")
        if held is not None and datetime.fromisoformat(held) > now:
            connection.execute(sa.update(actions).where(actions.c.id == row["id"]).values(due_at=datetime.fromisoformat(held)))
            return True
        first = row["payload"].get("first", row["id"])
        decision = connection.execute(sa.select(approvals.c.decision).where(approvals.c.action_id == first)).first()
        if decision is None or decision.decision == "approved":
            return False
        connection.execute(sa.update(actions).where(actions.c.id == row["id"]).values(due_at=None))
        return True

    def strand(self, action_id: int, via: str, now: datetime) -> None:
        """Its far side is not in the config any more: a person decides. Nothing was sent."""
        why = f"{via} is not in the config (any more); put it back and retry, or drop the action"
        with self._database.write() as connection:
            row = connection.execute(sa.select(actions).where(actions.c.id == action_id).with_for_update()).mappings().one()
            if row["kind"] == ActionKind.ALERT:
                cancel(connection, action_id, now, why)
            elif row["state"] in (State.PLANNED, State.DOUBT):
                connection.execute(
                    sa.update(actions).where(actions.c.id == action_id).values(state=str(State.PARKED), due_at=None, error=why)
                )
                add_audit(connection, now, "triage", "parked", mention_id=row["mention_id"], action_id=action_id, detail=why)

    def _is_done(self, connection: Connection, action_id: int) -> bool:
        return connection.scalar(sa.select(actions.c.state).where(actions.c.id == action_id)) == State.DONE

    def _braked(self, connection: Connection, row: RowMapping, now: datetime) -> bool:
        source = connection.scalar(sa.select(mentions.c.source).where(mentions.c.id == row["mention_id"])) or ""
        limit = self._brake.get(source, self._brake.get("", 30))
        # One at a time: two workers that count before either has committed would both find room for the last one.
        connection.execute(sa.select(accounts.c.name).where(accounts.c.name == source, accounts.c.role == "source").with_for_update())
        recent = (
            sa.select(sa.func.count())
            .select_from(actions.join(mentions, mentions.c.id == actions.c.mention_id))
            .where(actions.c.kind == ActionKind.TICKET, actions.c.first_intent_at > now - timedelta(hours=1), mentions.c.source == source)
        )
        if (connection.scalar(recent) or 0) < limit:
            return False
        why = f"the brake: {source} has caused {limit} tickets within the hour"
        connection.execute(sa.update(actions).where(actions.c.id == row["id"]).values(state=str(State.PARKED), due_at=None, error=why))
        add_audit(connection, now, "triage", "parked", mention_id=row["mention_id"], action_id=row["id"], detail=why)
        summary = f"{source} has caused {limit} tickets within an hour; the rest is parked: triage queue. Release one: triage retry ACTION"
        self._alerts.raise_in(connection, now, "Brake", source, "critical", summary, {})
        return True

    def _work(self, connection: Connection, row: Mapping[Any, Any], marker: str) -> Work:
        mention = verdict = problem = previous = None
        payload = dict(row["payload"])
        if row["mention_id"] is not None:
            found = connection.execute(sa.select(mentions).where(mentions.c.id == row["mention_id"])).mappings().one()
            seen = connection.scalar(
                sa.select(sightings.c.remote_id)
                .where(sightings.c.mention_id == row["mention_id"], sightings.c.source == row["via"])
                .limit(1)
            )
            mention = rows.to_mention(found, source=row["via"] if seen else None, remote_id=seen)
            payload["mention_id"] = row["mention_id"]
            if row["kind"] == ActionKind.BLANK and "prints" not in payload:
                said = sa.select(revisions.c.text).where(revisions.c.mention_id == row["mention_id"]).order_by(revisions.c.number)
                payload["texts"] = [*connection.execute(said).scalars()]
            last = sa.select(verdicts).where(verdicts.c.mention_id == row["mention_id"]).order_by(verdicts.c.id.desc()).limit(1)
            judged = connection.execute(last).mappings().first()
            verdict = rows.to_verdict(judged) if judged else None
        if row["problem_id"] is not None:
            problem = rows.to_problem(connection.execute(sa.select(problems).where(problems.c.id == row["problem_id"])).mappings().one())
            payload["known_key"] = self._known_key(connection, row)
        if row["after_id"] is not None:
            before = connection.execute(sa.select(actions).where(actions.c.id == row["after_id"])).mappings().one()
            previous = Receipt(before["remote_id"] or "", before["remote_key"], before["url"])
            if row["kind"] == ActionKind.BLANK:
                payload["because"] = before["reason"]
        if row["alert_id"] is not None:
            alert = connection.execute(sa.select(alerts).where(alerts.c.id == row["alert_id"])).mappings().one()
            payload |= {
                "name": alert["name"],
                "severity": alert["severity"],
                "summary": alert["summary"],
                "open": alert["closed_at"] is None,
            }
            payload |= {"labels": alert["data"].get("labels", {}), "url": alert["data"].get("url", ""), "opened_at": alert["opened_at"]}
            payload |= {"closed_at": alert["closed_at"]}
        return Work(
            action_id=row["id"],
            key=row["key"],
            marker=marker,
            kind=ActionKind(row["kind"]),
            via=row["via"],
            attempt=row["attempt"],
            intent_at=row["intent_at"],
            first_intent_at=row["first_intent_at"],
            reason=row["reason"],
            mention=mention,
            verdict=verdict,
            problem=problem,
            previous=previous,
            payload=payload,
        )

    def _known_key(self, connection: Connection, row: Mapping[Any, Any]) -> str:
        """The key of our last ticket from before this one was first sent: from there on a tracker can look key by key."""
        earlier = actions.c.closed_at < (row["first_intent_at"] or row["created_at"])
        statement = sa.select(actions.c.remote_key).where(actions.c.kind == ActionKind.TICKET, actions.c.via == row["via"], earlier)
        sent = statement.where(actions.c.state == str(State.DONE), actions.c.first_intent_at.is_not(None))
        done = sent.order_by(actions.c.first_intent_at.desc()).limit(1)
        return connection.scalar(done) or ""

    def finish(self, work: Work, move: Move, now: datetime, *, looks: int | None = None, repeats: float | None = None) -> Finished | None:
        """Write down how an attempt ended, or what look number `looks` + 1 showed. None when the row has moved on without us.

        What the far side has told us that it made stays in the trail then.
        `repeats` is after how many seconds the notifier wants an alert again that is open.
        """
        try:
            with self._database.write() as connection:
                if not self._finish(connection, work, self._unless_edited(connection, work, move), now, looks):
                    self._keep_receipt(connection, work, move, now)
                    return None
                if work.kind is ActionKind.ALERT and move.state is State.DONE:
                    self._repeat_alert(connection, work, now, repeats)
                return Finished(self._accounts.is_news_in(connection, work.via))
        finally:
            self.let_go(work.action_id)

    def _unless_edited(self, connection: Connection, work: Work, move: Move) -> Move:
        """A reply that was approved for the old text is not sent again below the new one, nor is the new one boosted for the old."""
        if not move.retried or not work.kind.is_post:
            return move
        since = sa.select(revisions.c.number).where(
            revisions.c.mention_id == _mention_id(work), revisions.c.number > 1, revisions.c.seen_at > work.first_intent_at
        )
        if connection.execute(since.limit(1)).first() is None:
            return move
        what = "answer was approved" if work.kind is ActionKind.REPLY else "boost was asked for"
        why = f"not found, and the post was edited after the {what}"
        return replace(move, state=State.PARKED, why=why, due_at=None, retried=False, alert=why)

    def _finish(
        self,
        connection: Connection,
        work: Work,
        move: Move,
        now: datetime,
        looks: int | None,
        *,
        unsent: bool = False,
        seen: Sequence[str] = (),
    ) -> bool:
        # A receipt for this very attempt is a fact, even when somebody has called the outcome unknown in the meantime.
        where = [State.SENDING, State.DOUBT] if move.receipt is not None else [State.DOUBT if move.looked else State.SENDING]
        if unsent:
            where = [State.PLANNED]
        in_state: sa.ColumnElement[bool] = actions.c.state.in_([str(state) for state in where])
        if not unsent and move.receipt is not None and not move.looked and work.kind is not ActionKind.ALERT:
            # Also when a person has parked it since, or it is to be sent once more; but of several that were found it settles nothing.
            aside = actions.c.state.in_([str(State.PARKED), str(State.PLANNED)])
            in_state = sa.or_(in_state, sa.and_(aside, ~actions.c.error.startswith(TWICE)))
        values: dict[str, Any] = {
            "state": str(move.state),
            "due_at": move.due_at,
            "error": rows.clean(move.why) if move.receipt is None else "",
        }
        if move.state is State.DOUBT:
            if move.looked:
                values["looks"] = actions.c.looks + 1
            else:
                values |= {"unknown_at": now, "looks": 0}
        if move.state is State.PLANNED:  # from here on it counts looks before sending; those after a doubt are over
            values["looks"] = actions.c.looks + 1 if unsent else 0
        if seen:
            payload = connection.scalar(sa.select(actions.c.payload).where(actions.c.id == work.action_id)) or {}
            values["payload"] = payload | {"seen": sorted({*payload.get("seen", ()), *seen})}
        if move.retried:
            values["retried"] = True
        if move.receipt is not None:
            if work.kind in MARKED:
                values["marker"] = work.marker
            receipt = move.receipt
            values |= {
                "remote_id": receipt.remote_id,
                "remote_key": receipt.key,
                "url": receipt.url,
                "closed_at": now,
                "closed_by": "triage",
            }
        statement = sa.update(actions).where(actions.c.id == work.action_id, actions.c.attempt == work.attempt, in_state)
        if looks is not None:
            statement = statement.where(actions.c.looks == looks)
        if connection.execute(statement.values(values)).rowcount != 1:
            return False
        ended = sa.update(attempts).where(attempts.c.action_id == work.action_id, attempts.c.number == work.attempt)
        if not unsent:
            connection.execute(ended.values(ended_at=now, outcome=str(move.state), detail=rows.clean(move.why)))
        if work.kind is not ActionKind.ALERT or work.attempt == 1 or move.state is not State.DONE:
            add_audit(
                connection,
                now,
                "triage",
                f"{work.kind}: {move.state}",
                mention_id=_mention_id(work),
                action_id=work.action_id,
                detail=move.why,
            )
        if move.state is State.DONE:
            self._done(connection, work, move, now)
        if work.kind is ActionKind.BLANK and move.state in (State.DONE, State.REJECTED):
            blanks.ended(connection, work, move.state, move.why, now)
        self._accounts.after_move_in(connection, work.via, move, now)
        if move.alert and work.kind is not ActionKind.ALERT:
            self._alerts.raise_in(
                connection,
                now,
                "ActionStuck",
                work.key,
                "warning",
                f"{work.kind} {work.action_id} is {move.state}: {move.alert}",
                {"action": str(work.action_id)},
            )
        return True

    def _keep_receipt(self, connection: Connection, work: Work, move: Move, now: datetime) -> None:
        """The action was dropped, found or begun anew meanwhile: what this attempt made is there all the same, and people must know."""
        receipt = move.receipt
        if receipt is None or move.looked or work.kind is ActionKind.ALERT:
            return
        columns = (actions.c.state, actions.c.remote_id, actions.c.remote_key)
        now_is = connection.execute(sa.select(*columns).where(actions.c.id == work.action_id)).first()
        if now_is is None or receipt.remote_id == now_is.remote_id or (receipt.key and receipt.key == now_is.remote_key):
            return  # it is that one
        detail = f"attempt {work.attempt} has made {receipt.key or receipt.remote_id} {receipt.url}".rstrip()
        what = f"{work.kind}: a receipt for what is {now_is.state}"
        add_audit(connection, now, "triage", what, mention_id=_mention_id(work), action_id=work.action_id, detail=detail)

    def _done(self, connection: Connection, work: Work, move: Move, now: datetime) -> None:
        receipt = move.receipt
        if work.kind is ActionKind.TICKET and receipt is not None and work.problem is not None:
            ticket = rows.of_ticket(Ticket(receipt.remote_id, receipt.key, receipt.url))
            statement = sa.update(problems).where(problems.c.id == work.problem.id)
            connection.execute(statement.values(tracker=work.via, ticket_id=receipt.remote_id, ticket=ticket))
        mention_id = _mention_id(work)
        if work.kind is ActionKind.TICKET and mention_id is not None:
            give_ticket_back(connection, work.action_id, mention_id, now)
        if work.kind in (ActionKind.TICKET, ActionKind.COMMENT) and mention_id is not None:
            blanks.made_late(connection, mention_id, work.action_id, now)
        waiting = sa.update(actions).where(
            actions.c.after_id == work.action_id, actions.c.state == str(State.PLANNED), actions.c.via != HUMAN
        )
        connection.execute(waiting.values(due_at=now))
        self._alerts.clear_in(connection, now, ["ActionStuck"], work.key)

    def let_go(self, action_id: int) -> None:
        """This process no longer works on it."""
        with self._guard:
            self._in_flight.discard(action_id)

    def _repeat_alert(self, connection: Connection, work: Work, now: datetime, every: float | None) -> None:
        """An alert was delivered: while it is open some notifiers want it again; what ended meanwhile is told once more; then it rests."""
        still_open = (
            sa.select(alerts.c.closed_at.is_(None)).join(actions, actions.c.alert_id == alerts.c.id).where(actions.c.id == work.action_id)
        )
        found = connection.scalar(still_open)
        if found is None:
            return  # it belongs to no alert (any more)
        is_open = bool(found)
        resolved_since = not is_open and work.payload.get("open", False)
        if (is_open and every is not None) or resolved_since:
            due = now if resolved_since else now + timedelta(seconds=every or 0.0)
            statement = sa.update(actions).where(actions.c.id == work.action_id, actions.c.state == str(State.DONE))
            connection.execute(statement.values(state=str(State.PLANNED), due_at=due))

    # Doubt

    def orphans(self, now: datetime) -> list[int]:
        """Actions whose sender is dead, or that this process sent and forgot: their outcome is unknown from now on."""
        me = self._owners.me(now)
        with self._database.read() as connection:
            # A literal, since SQLite uses the partial index for nothing else.
            statement = sa.select(actions.c.id, actions.c.owner, actions.c.attempt, actions.c.kind).where(sa.text("state = 'sending'"))
            sending = connection.execute(statement).all()
        alive: dict[str, bool] = {}
        lost: list[int] = []
        for action_id, owner, attempt, kind in sending:
            if owner == me:
                with self._guard:
                    gone = action_id not in self._in_flight
            else:
                if owner not in alive:
                    alive[owner] = self._owners.is_alive(owner)
                gone = not alive[owner]
            if gone and self._orphan(action_id, attempt, ActionKind(kind), now):
                lost.append(action_id)
        return lost

    def _orphan(self, action_id: int, attempt: int, kind: ActionKind, now: datetime) -> bool:
        why = "the process that sent it ended before it could write down the outcome"
        is_alert = kind is ActionKind.ALERT  # doubt means send again
        values = {
            "state": str(State.PLANNED if is_alert else State.DOUBT),
            "unknown_at": None if is_alert else now,
            "due_at": now,
            "looks": 0,
            "error": why,
        }
        with self._database.write() as connection:
            statement = sa.update(actions).where(
                actions.c.id == action_id, actions.c.state == str(State.SENDING), actions.c.attempt == attempt
            )
            if connection.execute(statement.values(values)).rowcount != 1:
                return False
            add_audit(connection, now, "triage", f"{kind}: {values['state']}", action_id=action_id, detail=why)
        return True

    def claim_look(self, action_id: int, now: datetime, seconds: float) -> tuple[Work, RowMapping] | None:
        """Take a doubt that is due for a look; nobody else looks for `seconds`."""
        with self._database.write() as connection:
            due = sa.and_(actions.c.id == action_id, actions.c.state == str(State.DOUBT), actions.c.due_at <= now)
            via, kind = connection.execute(sa.select(actions.c.via, actions.c.kind).where(due)).first() or ("", "")
            leave = self._accounts.leave_in(connection, via, Purpose.LOOK, now)
            if not leave.go:
                self._accounts.wait_in(connection, action_id, via, kind, leave)
                return None
            if connection.execute(sa.update(actions).where(due).values(due_at=now + timedelta(seconds=seconds))).rowcount != 1:
                return None
            row = connection.execute(sa.select(actions).where(actions.c.id == action_id)).mappings().one()
            return self._work(connection, row, marker_of(row, self._place.stand_in(connection, now))), row

    def postpone(self, action_id: int, state: State, due_at: datetime, *, look: tuple[int, int] | None = None) -> None:
        """It could not be worked on (or looked at) now, through no fault of its own.

        `look` is the attempt and the number of looks before the one that failed: who comes back late must not hasten a later look.
        """
        with self._database.write() as connection:
            statement = sa.update(actions).where(actions.c.id == action_id, actions.c.state == str(state))
            if look is not None:
                statement = statement.where(actions.c.attempt == look[0], actions.c.looks == look[1])
            connection.execute(statement.values(due_at=due_at))

    def row(self, action_id: int) -> RowMapping:
        """One action, whole; `UserError` when there is none."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(actions).where(actions.c.id == action_id)).mappings().first()
        if row is None:
            raise UserError(f"there is no action {action_id}; triage queue and triage show list them")
        return row


def looks_first(kind: str, attempt: int, stand: Stand) -> bool:
    """Whether the far side is asked before it is sent: a reply that was tried before; whatever a restored store may have forgotten.

    So is each boost: somebody may have made it from the same account, and not every server drops a second one.
    """
    return kind in ONCE and (stand.until is not None or kind == ActionKind.BOOST or (kind == ActionKind.REPLY and attempt > 0))


def _mention_id(work: Work) -> int | None:
    return work.payload.get("mention_id")
