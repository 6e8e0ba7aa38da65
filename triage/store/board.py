"""What a batch of verdicts is decided against: its problems with their tickets, and the actions that are already there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.mention import HUMAN, ActionKind, Mention, Plan, Problem, State, Verdict
from triage.rules import Decision
from triage.store import batch, rows
from triage.store.moves import add_audit, cancel, open_alerts, withdraw_ticket
from triage.store.schema import actions, problems, revisions

LIVE = frozenset({State.PLANNED, State.SENDING, State.DOUBT, State.DONE, State.PARKED, State.REJECTED})
OUTWARD = frozenset({ActionKind.TICKET, ActionKind.COMMENT, ActionKind.REPLY, ActionKind.ALERT})
_STANDING = (
    actions.c.id,
    actions.c.key,
    actions.c.kind,
    actions.c.via,
    actions.c.state,
    actions.c.rule,
    actions.c.mention_id,
    actions.c.problem_id,
    actions.c.closed_at,
    actions.c.unknown_at,
    actions.c.payload,
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A mention that this process judges now. `by_person` is the verdict of a person, if one gave it: it stands through edits."""

    id: int
    attempt: int
    revision: int
    mention: Mention
    observe: bool
    new_author: bool
    stored_at: datetime
    by_person: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A claimed mention with its verdict, its thread, and the rule's decision.

    It is made once the problem is known, and which rules may act alone.
    """

    claimed: Claimed
    verdict: Verdict
    thread: str
    thread_why: str
    decide: Callable[[Problem, frozenset[str]], Decision]


class Board:
    """The board of one batch. `observe` tells that the whole service only observes; `earned` names the rules that may act alone."""

    def __init__(self, site: str, now: datetime, *, observe: bool, earned: frozenset[str]) -> None:
        self.site = site
        self.now = now
        self.observe = observe
        self.earned = earned
        self.revised: dict[int, datetime] = {}
        self.uris: dict[int, str] = {}
        self.problems: dict[str, RowMapping] = {}
        self.tickets: dict[int, RowMapping] = {}
        self.planned: set[int] = set()
        self.actions: dict[int, list[RowMapping]] = {}

    @classmethod
    def load(
        cls, connection: Connection, judged: Sequence[Judged], site: str, now: datetime, *, observe: bool, earned: frozenset[str]
    ) -> Board:
        """Read it, with the problems' rows locked; problems that are new are made."""
        board = cls(site, now, observe=observe, earned=earned)
        board.uris = {one.claimed.id: one.claimed.mention.uri for one in judged}
        threads = sorted({one.thread for one in judged})
        batch.add(connection, problems, [{"thread": thread, "created_at": now} for thread in threads])
        columns = (problems.c.id, problems.c.thread, problems.c.tracker, problems.c.ticket_id, problems.c.ticket)
        locked = sa.select(*columns).where(batch.among(connection, problems.c.thread, threads)).order_by(problems.c.id).with_for_update()
        for row in connection.execute(locked).mappings().all():
            board.problems[row["thread"]] = row
        ids = [row["id"] for row in board.problems.values()]
        of_problems = sa.and_(batch.among(connection, actions.c.problem_id, ids), actions.c.kind == ActionKind.TICKET)
        for action in connection.execute(sa.select(*_STANDING).where(of_problems)).mappings().all():
            board.tickets[action["problem_id"]] = action
            if action["state"] in LIVE or (observe and action["state"] == State.OBSERVED):
                board.planned.add(action["problem_id"])
        of_mentions = batch.among(connection, actions.c.mention_id, board.uris)
        for action in connection.execute(sa.select(*_STANDING).where(of_mentions)).mappings().all():
            board.actions.setdefault(action["mention_id"], []).append(action)
        edited = [one.claimed.id for one in judged if one.claimed.revision > 1]
        if edited:
            last = sa.select(revisions.c.mention_id, sa.func.max(revisions.c.seen_at)).where(revisions.c.mention_id.in_(edited))
            board.revised = {row[0]: row[1] for row in connection.execute(last.group_by(revisions.c.mention_id))}
        return board

    def decide(self, one: Judged) -> Decision:
        """Ask the rules, with the problem as it is now: a ticket that the batch has already planned counts."""
        row = self.problems[one.thread]
        ticket = self.tickets.get(row["id"])
        planned = row["id"] in self.planned or (ticket is not None and one.claimed.observe and ticket["state"] == State.OBSERVED)
        tracker = row["tracker"] or (ticket["via"] if ticket is not None and row["id"] in self.planned else None)
        key = ticket["key"] if ticket is not None else ""
        problem = Problem(row["id"], row["thread"], rows.to_ticket(row["ticket_id"], row["ticket"]), planned, tracker, key)
        if ticket is not None and ticket["mention_id"] == one.claimed.id:
            problem = replace(problem, ticket=None, ticket_planned=False)  # judged anew: it is still the report that the ticket is made of
        decision = one.decide(problem, self.earned)
        if any(plan.kind is ActionKind.TICKET for plan in decision.plans):
            self.planned.add(row["id"])
        return decision

    def withdraw_stale(self, connection: Connection, one: Judged, decision: Decision) -> None:
        """Take back what an earlier verdict asked for and this one does not; reopen a task whose text changed."""
        wanted = {plan.key for plan in decision.plans}
        for action in self.actions.get(one.claimed.id, ()):
            if not action["rule"] or action["kind"] == ActionKind.REPLY:
                continue
            if action["key"] not in wanted:
                if action["state"] != State.PLANNED:
                    continue
                if action["kind"] == ActionKind.TICKET:
                    withdraw_ticket(connection, action["id"], self.now, "the post was judged anew")
                else:
                    cancel(connection, action["id"], self.now, "the post was judged anew")
            elif action["via"] == HUMAN and action["state"] == State.PLANNED:
                plan = next(plan for plan in decision.plans if plan.key == action["key"])
                values = {"reason": rows.clean(plan.reason), "rule": plan.rule, "payload": rows.clean_json(plan.payload)}
                connection.execute(sa.update(actions).where(actions.c.id == action["id"]).values(values))

    def revive(self, connection: Connection, one: Judged, plan: Plan) -> bool:
        """A cancelled action that is asked for again, by a later report of the problem or a later verdict on the same post."""
        if plan.kind is ActionKind.TICKET:
            old = self.tickets.get(self.problems[one.thread]["id"])
            if old is not None and old["key"] != plan.key:
                old = None
        else:
            old = next((action for action in self.actions.get(one.claimed.id, ()) if action["key"] == plan.key), None)
        if old is None or not self._comes_back(one, plan, old):
            return False
        values: dict[str, Any] = {
            "state": str(State.PLANNED),
            "mention_id": one.claimed.id,
            "due_at": None if plan.via == HUMAN else self.now,
            "reason": rows.clean(plan.reason),
            "rule": plan.rule,
            "payload": rows.clean_json(plan.payload),
            "error": "",
            "closed_at": None,
            "closed_by": "",
        }
        if old["unknown_at"] is not None:  # it was dropped before anybody knew whether it is there: look first
            values |= {"state": str(State.DOUBT), "unknown_at": self.now, "looks": 0}
        if plan.kind is ActionKind.ALERT:
            name, uri = plan.payload["name"], one.claimed.mention.uri
            values["alert_id"] = open_alerts(connection, self.now, {(name, uri): plan.payload})[name, uri]
        statement = sa.update(actions).where(actions.c.id == old["id"], actions.c.state == old["state"])
        connection.execute(statement.values(values))
        add_audit(connection, self.now, "triage", "planned again", mention_id=one.claimed.id, action_id=old["id"], detail=plan.reason)
        return True

    def observes(self, one: Judged, kind: ActionKind) -> bool:
        """Whether an action of this mention is only observed."""
        return one.claimed.observe or (self.observe and kind in OUTWARD)

    def _comes_back(self, one: Judged, plan: Plan, old: RowMapping) -> bool:
        """What was cancelled, or only observed, or closed by a person before the post was edited or relabelled."""
        if plan.kind is ActionKind.ARCHIVE:
            return False
        if old["state"] == State.CANCELLED:
            return not self.observes(one, plan.kind)
        if old["state"] == State.OBSERVED:
            return not self.observes(one, plan.kind)
        if old["state"] != State.DONE or plan.via != HUMAN:
            return False
        edited = self.revised.get(one.claimed.id)
        asks_something_else = one.verdict.by_person and plan.payload.get("what") != old["payload"].get("what")
        return asks_something_else or (edited is not None and old["closed_at"] is not None and edited > old["closed_at"])
