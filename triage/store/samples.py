"""The blind audit's samples, and which rules have earned their autonomy by them.

Whether a rule may act alone is read within the transaction that records what it decides, with its row locked; who takes its
autonomy away locks the row alone, before any mention. So what was decided with the old state is either committed, and held then
with the rest, or decided with the new one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage import trust
from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, Label, Mention, State
from triage.rules import Decision
from triage.store import batch, rows
from triage.store.alerts import Alerts
from triage.store.board import Judged
from triage.store.database import Database, insert
from triage.store.moves import add_audit, cancel, withdraw_ticket
from triage.store.schema import OPEN, actions, autonomy, mentions, meta, samples, verdicts

EACH = 20  # samples of a rule at a time: one that is drawn often must not hide the others


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says of a sample that was shown without its label."""

    sample: int
    label: Label
    by: str


@dataclass(frozen=True, slots=True)
class Question:
    """A sample that waits for a person: the post, and nothing of what was made of it."""

    id: int
    mention_id: int
    mention: Mention


@dataclass(frozen=True, slots=True)
class Tally:
    """Samples of a rule with one label and one chance. `said` counts the answers by label, `drawn` those and what waits."""

    rule: str
    label: str
    share: float
    alone: bool
    drawn: int
    said: dict[str, int]


@dataclass(frozen=True, slots=True)
class Record:
    """How a rule stands that earns its autonomy: whether it acts alone now, since when and why, and its audits, oldest first."""

    earned: bool
    since: datetime | None
    why: str
    answers: tuple[bool, ...]


class Samples:
    """What is drawn, asked and answered. What takes a connection works in the caller's transaction."""

    def __init__(self, database: Database, alerts: Alerts, *, site: str, policy: trust.Policy) -> None:
        self._database = database
        self._alerts = alerts
        self._site = site
        self._policy = policy

    # While verdicts are recorded

    def earned(self, connection: Connection) -> frozenset[str]:
        """The rules that may act alone, as they are worded here. It stays so until the transaction ends."""
        if not self._policy.terms:
            return frozenset()
        held = sa.select(autonomy.c.rule, autonomy.c.digest).where(autonomy.c.earned).order_by(autonomy.c.rule)
        found = connection.execute(held.with_for_update(read=True)).all()
        return frozenset(rule for rule, digest in found if rule in self._policy.terms and self._policy.terms[rule].digest == digest)

    def draw(self, connection: Connection, recorded: Sequence[tuple[Judged, Decision]], earned: frozenset[str], now: datetime) -> None:
        """Draw the lot for verdicts that were just written. A post is drawn once for each of its texts."""
        chances = {
            one.claimed.id: (trust.chance(self._policy, decision.rule, alone=alone, earned=decision.rule in earned), alone)
            for one, decision in recorded
            if not one.verdict.by_person and not one.claimed.observe
            for alone in (trust.acts_alone(decision.plans),)
        }
        if not any(share for share, _ in chances.values()):
            return
        secret = bytes.fromhex(connection.scalar(sa.select(meta.c.value).where(meta.c.name == "install_secret")) or "")
        drawn = {
            one.claimed.id: (one, decision)
            for one, decision in recorded
            if one.claimed.id in chances
            and trust.lot(secret, self._site, one.claimed.mention.uri, one.claimed.revision) < chances[one.claimed.id][0]
        }
        if not drawn:
            return
        ours = batch.among(connection, verdicts.c.mention_id, drawn)
        newest = connection.execute(
            sa.select(verdicts.c.mention_id, sa.func.max(verdicts.c.id)).where(ours).group_by(verdicts.c.mention_id)
        )
        before = (
            sa.select(samples.c.mention_id, verdicts.c.revision)
            .join(verdicts, verdicts.c.id == samples.c.verdict_id)
            .where(batch.among(connection, samples.c.mention_id, drawn))
        )
        known = {(mention_id, revision) for mention_id, revision in connection.execute(before)}
        batch.add(
            connection,
            samples,
            [
                {
                    "mention_id": mention_id,
                    "verdict_id": verdict_id,
                    "rule": decision.rule,
                    "digest": self._policy.terms[decision.rule].digest if decision.rule in self._policy.terms else "",
                    "label": str(one.verdict.label),
                    "model": one.verdict.by,
                    "alone": chances[mention_id][1],
                    "share": chances[mention_id][0],
                    "drawn_at": now,
                }
                for mention_id, verdict_id in newest.all()
                for one, decision in (drawn[mention_id],)
                if (mention_id, one.claimed.revision) not in known
            ],
        )

    # Asking

    def waiting(self, by: str, passed: Collection[int] = ()) -> list[Question]:
        """The newest samples of each rule that wait for an answer, without those that this person has labelled already or passed over."""
        said = verdicts.alias("said")
        mine = sa.exists().where(said.c.mention_id == samples.c.mention_id, said.c.by_person, said.c.by == by)
        number = sa.func.row_number().over(partition_by=samples.c.rule, order_by=samples.c.id.desc()).label("number")
        ranked = _open(sa.select(samples.c.id.label("sample_id"), samples.c.mention_id, number)).where(~mine, samples.c.id.not_in(passed))
        first = ranked.subquery()
        statement = sa.select(first.c.sample_id, mentions).join(first, first.c.mention_id == mentions.c.id).where(first.c.number <= EACH)
        with self._database.read() as connection:
            found = connection.execute(statement).mappings().all()
        return [Question(row["sample_id"], row["id"], rows.to_mention(row)) for row in found]

    def question(self, sample_id: int) -> Question:
        """One that waits; `UserError` when it no longer does."""
        statement = _open(sa.select(samples.c.id.label("sample_id"), mentions)).where(samples.c.id == sample_id)
        with self._database.read() as connection:
            row = connection.execute(statement).mappings().first()
        if row is None:
            raise UserError(f"audit {sample_id} does not wait any more: it was answered, or its post was edited or deleted")
        return Question(row["sample_id"], row["id"], rows.to_mention(row))

    def count(self) -> int:
        """How many wait for an answer."""
        with self._database.read() as connection:
            return int(connection.scalar(_open(sa.select(sa.func.count()))) or 0)

    # Answering

    def lock(self, connection: Connection, now: datetime) -> None:
        """Let nobody record by the present state of the rules until the transaction ends. Before any mention is locked."""
        new = [
            {"rule": name, "digest": terms.digest, "earned": False, "changed_at": now, "why": "it has to show it first"}
            for name, terms in sorted(self._policy.terms.items())
        ]
        if new:
            connection.execute(insert(connection, autonomy).on_conflict_do_nothing(), new)
            connection.execute(sa.select(autonomy.c.rule).order_by(autonomy.c.rule).with_for_update()).all()

    def answer(self, connection: Connection, answer: Answer, now: datetime) -> RowMapping:
        """Write the answer down; of two people one wins, the other gets a `UserError`. Returns the sample as it was."""
        row = connection.execute(sa.select(samples).where(samples.c.id == answer.sample)).mappings().one()
        still = _open(sa.select(samples.c.id)).where(samples.c.id == answer.sample)
        statement = sa.update(samples).where(samples.c.id.in_(still), samples.c.answer.is_(None))
        if connection.execute(statement.values(answer=str(answer.label), answered_by=rows.clean(answer.by), answered_at=now)).rowcount != 1:
            raise UserError(f"somebody else has just answered audit {answer.sample}, or its post was edited or deleted")
        add_audit(connection, now, answer.by, "audited blind", mention_id=row["mention_id"], detail=str(answer.label))
        return row

    def settle(self, connection: Connection, rule: str, now: datetime, *, besides: int | None = None) -> None:
        """Give a rule its autonomy or take it away, as its audits say. `besides` is a mention that the caller judges himself."""
        terms = self._policy.terms.get(rule)
        if terms is None:
            return
        row = connection.execute(sa.select(autonomy).where(autonomy.c.rule == rule)).mappings().one()
        found = trust.standing(self._answers(connection, rule, terms), terms)
        same = row["digest"] == terms.digest
        if same and row["earned"] == found.earned:
            return
        values = {"digest": terms.digest, "earned": found.earned, "changed_at": now, "why": found.why}
        connection.execute(sa.update(autonomy).where(autonomy.c.rule == rule).values(values))
        if found.earned:
            add_audit(connection, now, "triage", f"rule {rule} acts alone", detail=found.why)
            self._alerts.clear_in(connection, now, ["RuleDemoted"], rule)
        elif same:
            held = self._hold(connection, rule, f"the rule {rule} does not act alone any more: {found.why}", now, besides)
            add_audit(connection, now, "triage", f"rule {rule} no longer acts alone", detail=f"{found.why}; {held} actions held")
            summary = f"the rule {rule} suggests again: {found.why}; {held} planned actions became suggestions. Look: triage autonomy"
            self._alerts.raise_in(connection, now, "RuleDemoted", rule, "warning", summary, {"rule": rule})
        else:
            add_audit(connection, now, "triage", f"rule {rule} begins anew", detail="it is worded in another way")

    def review(self, now: datetime) -> int:
        """Settle every rule, as a changed config may want it. Returns how many changed."""
        if not self._policy.terms:
            return 0
        with self._database.read() as connection:
            before = self._records(connection)
        changed = [
            name
            for name, terms in self._policy.terms.items()
            if (record := before[name]).since is not None and trust.standing(record.answers, terms).earned != record.earned
        ]
        if changed:
            with self._database.write() as connection:
                self.lock(connection, now)
                for name in changed:
                    self.settle(connection, name, now)
        return len(changed)

    def _answers(self, connection: Connection, rule: str, terms: trust.Terms) -> list[bool]:
        last = (
            sa.select(samples.c.answer, samples.c.label)
            .where(samples.c.rule == rule, samples.c.digest == terms.digest, samples.c.answered_at.is_not(None))
            .order_by(samples.c.answered_at.desc(), samples.c.id.desc())
            .limit(terms.window)
        )
        return [answer == label for answer, label in connection.execute(last)][::-1]

    def _hold(self, connection: Connection, rule: str, why: str, now: datetime, besides: int | None) -> int:
        """Take back what the rule planned by itself and nobody has sent, and have its posts judged anew. Returns how many actions."""
        person = (
            sa.select(verdicts.c.by_person).where(verdicts.c.mention_id == actions.c.mention_id).order_by(verdicts.c.id.desc()).limit(1)
        )
        unsent = sa.or_(actions.c.attempt == 0, actions.c.kind != str(ActionKind.ALERT))  # an alert that was told waits to be repeated
        planned = sa.and_(
            OPEN, actions.c.state == str(State.PLANNED), actions.c.via != HUMAN, actions.c.rule == rule, actions.c.mention_id.is_not(None)
        )
        found = sa.select(actions.c.mention_id, actions.c.payload).where(planned, unsent, person.scalar_subquery().is_(sa.false()))
        ids = {id_ for id_, payload in connection.execute(found).all() if id_ != besides and not payload.get("released")}
        if not ids:
            return 0
        # The mentions first, as everywhere; then the actions, of which a worker may just have begun one.
        connection.execute(sa.select(mentions.c.id).where(mentions.c.id.in_(ids)).order_by(mentions.c.id).with_for_update()).all()
        theirs = sa.select(actions.c.id, actions.c.kind).where(planned, unsent, actions.c.mention_id.in_(ids))
        held = connection.execute(theirs.order_by(actions.c.id).with_for_update()).all()
        for action_id, kind in sorted(held, key=lambda action: action.kind == ActionKind.TICKET):  # a report of this rule's is no heir
            if kind == ActionKind.TICKET:
                withdraw_ticket(connection, action_id, now, why)
            else:
                cancel(connection, action_id, now, why)
        task = sa.and_(actions.c.mention_id.in_(ids), actions.c.kind == str(ActionKind.TASK), actions.c.rule != "")
        closed = sa.update(actions).where(task, actions.c.state == str(State.DONE))  # else the suggestion would have no place
        connection.execute(closed.values(state=str(State.PLANNED), closed_at=None, closed_by="", error=why))
        again = sa.update(mentions).where(mentions.c.id.in_(ids), mentions.c.deleted_at.is_(None), mentions.c.quarantined.is_(None))
        connection.execute(again.values(due_at=now, attempt=0))
        return len(held)

    # What came of it

    def acting(self, policy: trust.Policy | None = None) -> dict[str, bool]:
        """Whether each rule acts alone that earns its autonomy, by name in the config's order; by another config's `policy` if given."""
        with self._database.read() as connection:
            earned = {row.rule: row.digest for row in connection.execute(sa.select(autonomy).where(autonomy.c.earned))}
        return {name: earned.get(name) == terms.digest for name, terms in (policy or self._policy).terms.items()}

    def records(self) -> dict[str, Record]:
        """How each rule stands that earns its autonomy, by name in the config's order."""
        with self._database.read() as connection:
            return self._records(connection)

    def _records(self, connection: Connection) -> dict[str, Record]:
        known = {row["rule"]: row for row in connection.execute(sa.select(autonomy)).mappings()}
        found: dict[str, Record] = {}
        for name, terms in self._policy.terms.items():
            row = known.get(name)
            answers = tuple(self._answers(connection, name, terms))
            if row is None or row["digest"] != terms.digest:
                found[name] = Record(False, None, "it is worded in another way than before" if row else "nothing was audited yet", answers)
            else:
                found[name] = Record(row["earned"], row["changed_at"], row["why"], answers)
        return found

    def tallies(self) -> list[Tally]:
        """What was drawn and answered. What waits and can't be asked any more counts for nothing."""
        parts = (samples.c.rule, samples.c.label, samples.c.share, samples.c.alone)
        answered = sa.select(*parts, samples.c.answer, sa.func.count()).where(samples.c.answer.is_not(None))
        waits = _open(sa.select(*parts, sa.null(), sa.func.count()))
        tallied: dict[tuple[Any, ...], dict[str | None, int]] = {}
        with self._database.read() as connection:
            for statement in (answered.group_by(*parts, samples.c.answer), waits.group_by(*parts)):
                for *part, answer, count in connection.execute(statement):
                    tallied.setdefault(tuple(part), {})[answer] = count
        return [
            Tally(rule, label, share, alone, sum(said.values()), dict(sorted((answer, n) for answer, n in said.items() if answer)))
            for (rule, label, share, alone), said in sorted(tallied.items())
        ]


def _open(statement: sa.Select[Any]) -> sa.Select[Any]:
    """Only what can be asked: not answered, its post still there and as it was judged."""
    joined = samples.join(verdicts, verdicts.c.id == samples.c.verdict_id).join(mentions, mentions.c.id == samples.c.mention_id)
    same = verdicts.c.revision == mentions.c.revision
    return statement.select_from(joined).where(samples.c.answer.is_(None), mentions.c.deleted_at.is_(None), same)
