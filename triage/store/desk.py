"""What people do: answer, close, put right, and decide what became of an action that nobody could tell."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import Missing, UserError
from triage.mention import HUMAN, ActionKind, State, Verdict
from triage.store import rows
from triage.store.board import Claimed
from triage.store.changes import withdraw, withdraw_boost
from triage.store.database import Database, insert
from triage.store.moves import add_audit, cancel, close_alert, close_task, locked, open_task, refuse_undecided
from triage.store.schema import Link, actions, alerts, approvals, mentions, problems, verdicts


class Desk:
    """The human queue's writes. `by` is the person's name everywhere; a refusal is a `UserError` that says who was first."""

    def __init__(self, database: Database, *, site: str) -> None:
        self._database = database
        self._site = site

    def task(self, task_id: int) -> RowMapping:
        """An open task; `UserError` when it is none, or no longer open."""
        with self._database.read() as connection:
            return open_task(connection, task_id)

    def close(self, task_id: int, by: str, now: datetime, why: str) -> None:
        """Close a task without an answer of ours."""
        with self._database.write() as connection:
            task = close_task(connection, task_id, by, now)
            add_audit(connection, now, by, "closed the task", mention_id=task["mention_id"], action_id=task_id, detail=why)

    # A mention by a person's word

    def mention_id(self, name: str) -> int:
        """The mention that a person means: its number, its address, or its uri."""
        with self._database.read() as connection:
            if name.isdecimal() and len(name) < 18:
                found = connection.scalar(sa.select(mentions.c.id).where(mentions.c.id == int(name)))
            else:
                found = connection.scalar(sa.select(mentions.c.id).where(mentions.c.uri == name))
                if found is None and "://" in name:
                    link = Link()
                    found = connection.scalar(sa.select(mentions.c.id).where(link == name).limit(1))
        if found is None:
            raise UserError(f"there is no mention {name!r}; give its number or its link as triage queue and triage export show them")
        return int(found)

    def take(self, mention_id: int) -> tuple[Claimed, str | None, Verdict | None]:
        """A mention as it stands, its thread, and its last verdict, for a person to judge it."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(mentions).where(mentions.c.id == mention_id)).mappings().first()
            if row is None:
                raise Missing(f"there is no mention {mention_id}")
            if not row["platform"]:
                raise UserError(f"mention {mention_id} could not be read ({row['quarantined']}); there is nothing to label")
            last = (
                connection.execute(sa.select(verdicts).where(verdicts.c.mention_id == mention_id).order_by(verdicts.c.id.desc()).limit(1))
                .mappings()
                .first()
            )
            earlier = connection.scalar(sa.select(sa.func.min(mentions.c.id)).where(mentions.c.author == row["author"]))
        mention = rows.to_mention(row)
        claimed = Claimed(row["id"], row["attempt"], row["revision"], mention, row["observe"], earlier == row["id"], row["stored_at"])
        return claimed, row["thread"], rows.to_verdict(last) if last else None

    def relabelled(self, mention_id: int, old: str, new: str, by: str, now: datetime) -> list[int]:
        """Write it into the trail; when the post was filed, its ticket is told. Returns ids of actions that are due."""
        with self._database.write() as connection:
            add_audit(connection, now, by, "relabelled", mention_id=mention_id, detail=f"{old} → {new}")
            kinds = [str(ActionKind.TICKET), str(ActionKind.COMMENT)]
            filed = (
                sa.select(actions, problems.c.tracker)
                .join(problems, problems.c.id == actions.c.problem_id)
                .where(
                    actions.c.mention_id == mention_id,
                    actions.c.kind.in_(kinds),
                    actions.c.state == str(State.DONE),
                    problems.c.ticket_id.is_not(None),
                )
                .order_by(actions.c.id)
            )
            row = connection.execute(filed).mappings().first()
            if row is None:
                return []
            number = connection.scalar(sa.select(sa.func.count()).select_from(verdicts).where(verdicts.c.mention_id == mention_id))
            uri = connection.scalar(sa.select(mentions.c.uri).where(mentions.c.id == mention_id))
            ticket = sa.select(actions.c.id).where(actions.c.problem_id == row["problem_id"], actions.c.kind == str(ActionKind.TICKET))
            comment = {
                "key": f"{self._site}/{uri}/relabelled/{number}",
                "kind": str(ActionKind.COMMENT),
                "via": row["tracker"],
                "state": str(State.PLANNED),
                "mention_id": mention_id,
                "problem_id": row["problem_id"],
                "after_id": connection.scalar(ticket),
                "reason": f"{by} relabelled the post after it was filed",
                "rule": "",
                "payload": {"what": "relabelled", "text": f"{by} relabelled this post from {old} to {new}."},
                "due_at": now,
                "created_at": now,
            }
            add = insert(connection, actions).on_conflict_do_nothing().returning(actions.c.id)
            return [int(id_) for (id_,) in connection.execute(add, [comment])]

    # What became of an action

    def retry(self, action_id: int, by: str, now: datetime) -> None:
        """It is not there: send it (again). Parked, rejected and observed actions go back to planned."""
        self._settle(action_id, by, now, (State.PARKED, State.REJECTED, State.OBSERVED), State.PLANNED, "to be sent (again)")

    def park(self, action_id: int, by: str, now: datetime) -> None:
        """Leave it alone until a person decides."""
        self._settle(action_id, by, now, (State.PLANNED, State.DOUBT), State.PARKED, "parked by hand")

    def found(self, action_id: int, key: str, by: str, now: datetime) -> None:
        """It exists: `key` is the ticket's key or the post's link."""
        self._settle(action_id, by, now, (State.PARKED, State.REJECTED, State.DOUBT), State.DONE, f"it exists: {key}", key=key)

    def drop(self, action_id: int, by: str, now: datetime) -> None:
        """It is not wanted any more. What a person wrote is their draft again, and what it had closed is open."""
        with self._database.write() as connection:
            row = self._known(locked(connection, action_id), action_id)
            unsent = row["state"] in (State.PLANNED, State.PARKED, State.REJECTED, State.OBSERVED)
            if unsent and row["kind"] == ActionKind.REPLY and row["payload"].get("by_person"):
                withdraw(connection, self._unsent(connection, row), "not wanted", by, now)
            elif unsent and row["kind"] == ActionKind.BOOST:
                withdraw_boost(connection, row, "not wanted", by, now)
            elif not cancel(connection, action_id, now, "not wanted", by):
                raise UserError(f"action {action_id} is {row['state']}; only planned, parked, rejected and observed ones can be dropped")

    def _unsent(self, connection: Connection, row: RowMapping) -> list[RowMapping]:
        """This part of an answer and those that come after it."""
        first = row["payload"].get("first", row["id"])
        parts = sa.select(actions).where(actions.c.mention_id == row["mention_id"], actions.c.kind == str(ActionKind.REPLY))
        found = connection.execute(parts.where(actions.c.id >= row["id"]).order_by(actions.c.id).with_for_update()).mappings()
        return [part for part in found if part["payload"].get("first", part["id"]) == first]

    def _action(self, connection: Connection, action_id: int) -> RowMapping:
        return self._known(connection.execute(sa.select(actions).where(actions.c.id == action_id)).mappings().first(), action_id)

    def _known(self, row: RowMapping | None, action_id: int) -> RowMapping:
        if row is None:
            raise UserError(f"there is no action {action_id}; triage queue and triage show list them")
        return row

    def _settle(self, action_id: int, by: str, now: datetime, allowed: tuple[State, ...], to: State, detail: str, key: str = "") -> None:
        with self._database.write() as connection:
            row = self._action(connection, action_id)
            if to is not State.PLANNED:
                refuse_undecided(connection, row)
            if row["state"] not in allowed or (row["via"] == HUMAN and row["state"] != State.OBSERVED):
                words = ", ".join(str(state) for state in allowed)
                hint = "close it with triage close" if row["via"] == HUMAN else "see triage show"
                raise UserError(f"action {action_id} is {row['state']}; this works on {words} ones; {hint}")
            if to is State.PLANNED and row["kind"] == ActionKind.REPLY:
                self._approved_still(connection, row)
            values = {
                "state": str(to),
                "due_at": now if to is State.PLANNED and row["via"] != HUMAN else None,
                "error": "" if to is State.DONE else row["error"],
            }
            if to is State.PLANNED:
                values |= {"retried": False, "looks": 0, "unknown_at": None, "payload": dict(row["payload"]) | {"released": True}}
            if to is State.DONE:
                name = key.rstrip("/").rsplit("/", 1)[-1]  # of a link, its last part: the ticket's key or the post's id
                values |= {"remote_id": name, "remote_key": name, "url": key if "://" in key else "", "closed_at": now, "closed_by": by}
            statement = sa.update(actions).where(
                actions.c.id == action_id, actions.c.state == row["state"], actions.c.attempt == row["attempt"]
            )
            if connection.execute(statement.values(values)).rowcount != 1:
                raise UserError(f"action {action_id} has just changed; look again: triage show")
            if to is State.DONE and row["kind"] == ActionKind.TICKET:
                ticket = {"key": name, "url": values["url"]}
                connection.execute(
                    sa.update(problems).where(problems.c.id == row["problem_id"]).values(tracker=row["via"], ticket_id=name, ticket=ticket)
                )
            if to is State.DONE:
                waiting = sa.update(actions).where(
                    actions.c.after_id == action_id, actions.c.state == str(State.PLANNED), actions.c.via != HUMAN
                )
                connection.execute(waiting.values(due_at=now))
            for (alert_id,) in connection.execute(
                sa.select(alerts.c.id).where(alerts.c.subject == row["key"], alerts.c.closed_at.is_(None))
            ).all():
                close_alert(connection, now, alert_id)
            add_audit(connection, now, by, f"{row['kind']}: {to}", mention_id=row["mention_id"], action_id=action_id, detail=detail)

    def _approved_still(self, connection: Connection, row: RowMapping) -> None:
        """`UserError` where an answer was approved for a post that says something else by now."""
        asked = (
            sa.select(approvals.c.revision, mentions.c.revision)
            .join(mentions, mentions.c.id == row["mention_id"])
            .where(approvals.c.action_id == row["payload"].get("first", row["id"]))
        )
        found = connection.execute(asked).first()
        if found is not None and found[0] != found[1]:
            raise UserError("the post was edited after the answer was approved; drop it, then it is a draft again")

    def merge_task(self, key: str, reason: str, now: datetime) -> None:
        """Ask a person to look at something that belongs to no post; once per key."""
        row = {
            "key": key,
            "kind": str(ActionKind.TASK),
            "via": HUMAN,
            "state": str(State.PLANNED),
            "reason": rows.clean(reason),
            "rule": "",
            "payload": {"what": "merge"},
            "created_at": now,
        }
        with self._database.write() as connection:
            connection.execute(insert(connection, actions).on_conflict_do_nothing(), [row])

    def dismiss(self, mention_id: int, by: str, now: datetime) -> None:
        """A quarantined mention was looked at, and nothing is to be done."""
        with self._database.write() as connection:
            statement = sa.update(mentions).where(mentions.c.id == mention_id, mentions.c.quarantined.is_not(None))
            if connection.execute(statement.values(quarantined=None, due_at=None)).rowcount != 1:
                raise UserError(f"mention {mention_id} is not quarantined; triage queue --quarantined lists those that are")
            add_audit(connection, now, by, "dismissed", mention_id=mention_id)
