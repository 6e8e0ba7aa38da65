"""What came in: sources and their cursors, mentions, verdicts, problems, and the actions that a verdict asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.contracts import Item, Page
from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, Plan, State, Verdict, Visibility
from triage.rules import Decision
from triage.store import batch, erased, rows
from triage.store.board import Board, Claimed, Judged
from triage.store.changes import delete, differs, revise
from triage.store.coverage import keep_ledger
from triage.store.database import Database, insert
from triage.store.items import wake_by_reply
from triage.store.moves import add_audit, close_task, open_alerts
from triage.store.returns import answered_elsewhere, close_answered, hand_back
from triage.store.samples import Answer, Samples
from triage.store.schema import Utc, accounts, actions, mentions, revisions, sightings, verdicts
from triage.store.seen import Seen, hold

REREAD = timedelta(hours=1)
_CLAIMED = tuple(column for column in mentions.c if column.name not in ("read_at", "deleted_at", "reread_at", "due_at"))


@dataclass(frozen=True, slots=True)
class Added:
    """What a page brought: ids of new mentions, ids of those whose text changed, how many were quarantined."""

    new: tuple[int, ...]
    changed: tuple[int, ...] = ()
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class SourceState:
    """Where we stand with a source."""

    started_at: datetime
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to do now: source names, mention ids and action ids."""

    polls: tuple[str, ...] = ()
    rescans: tuple[str, ...] = ()
    mentions: tuple[int, ...] = ()
    actions: tuple[tuple[int, str], ...] = ()  # with the far side that each goes to
    doubts: tuple[tuple[int, str], ...] = ()
    rereads: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return any((self.polls, self.rescans, self.mentions, self.actions, self.doubts, self.rereads))


class Inbox:
    """Mentions from the page to the plan. `site` goes into every key; `observe` keeps outward actions from being sent."""

    def __init__(self, database: Database, samples: Samples, *, site: str, observe: bool) -> None:
        self._database = database
        self._samples = samples
        self._site = site
        self._observe = observe

    # Sources

    def add_source(self, name: str, now: datetime, rescan_at: datetime, *, due_at: datetime | None = None) -> None:
        """Make sure that a source has its row; a new one is due at once (or at `due_at`), its first rescan at `rescan_at`."""
        with self._database.write() as connection:
            row = {"name": name, "role": "source", "started_at": now, "due_at": due_at or now, "rescan_at": rescan_at}
            connection.execute(insert(connection, accounts).values(row).on_conflict_do_nothing())

    def source(self, name: str) -> SourceState:
        """Where we stand with it."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(accounts).where(accounts.c.name == name, accounts.c.role == "source")).mappings().one()
        return SourceState(row["started_at"], row["cursor"])

    def claim_source(self, name: str, now: datetime, until: datetime, *, rescan: bool = False) -> bool:
        """Take the next poll (or rescan) of a source; False when somebody else has it. It is due again at `until` whatever happens."""
        column = accounts.c.rescan_at if rescan else accounts.c.due_at
        statement = (
            sa.update(accounts)
            .where(accounts.c.name == name, accounts.c.role == "source", column <= now, _free(now))
            .values({column.name: until})
        )
        with self._database.write() as connection:
            return connection.execute(statement).rowcount == 1

    def postpone_source(self, name: str, until: datetime, *, rescan: bool = False) -> None:
        """Its next poll (or rescan) waits: its budget is spent, or somebody else tries whether it is back."""
        column = accounts.c.rescan_at if rescan else accounts.c.due_at
        with self._database.write() as connection:
            this = sa.and_(accounts.c.name == name, accounts.c.role == "source")
            connection.execute(sa.update(accounts).where(this).values({column.name: until}))

    def add_page(
        self,
        source: str,
        page: Page,
        *,
        expect: str | None,
        now: datetime,
        observe: bool = False,
        late: bool = False,
        began: datetime | None = None,
    ) -> Added:
        """Store a page's mentions and its cursor in one transaction.

        The cursor moves only from `expect`, so that of two pollers none sets it back. `late` marks a rescan: what it
        finds new was missed by the polls, and is counted. An empty cursor leaves it where it is. `began` is when the walk did
        that the page belongs to: a poll's walk goes into the ledger of what we have.
        """
        with self._database.write() as connection:
            added = self._add_items(connection, source, page.items, now=now, observe=observe)
            answered_elsewhere(connection, source, page.items, now)
            values: dict[str, Any] = {"last_success_at": now}
            if page.held_back is not None:
                values["held_back"] = page.held_back
            if late and added.new:
                values["late_found"] = accounts.c.late_found + len(added.new)
            this = sa.and_(accounts.c.name == source, accounts.c.role == "source")
            connection.execute(sa.update(accounts).where(this).values(values))
            if page.cursor:
                same = accounts.c.cursor.is_(None) if expect is None else accounts.c.cursor == expect
                moved = connection.execute(sa.update(accounts).where(this, same).values(cursor=page.cursor)).rowcount == 1
                if began is not None:
                    keep_ledger(connection, source, page, began, moved=moved)
        return added

    def _add_items(self, connection: Connection, source: str, items: Sequence[Item], *, now: datetime, observe: bool) -> Added:
        found: dict[str, Item] = {}
        for item in items:
            if item.mention is not None:
                found[rows.clean(item.mention.uri)] = item
            elif item.broken:
                found[f"unread:{source}:{hashlib.sha256(item.raw).hexdigest()[:32]}"] = item
        if not found:
            return Added(())
        values = [self._new_row(uri, source, item, now=now, observe=observe) for uri, item in found.items()]
        statement = insert(connection, mentions).on_conflict_do_nothing().returning(mentions.c.id, mentions.c.uri)
        new = {uri: id_ for id_, uri in connection.execute(statement, values)}
        # Asked after the insert, which has waited for an erasure that was under way: what was erased does not come back.
        for uri in erased.gone(connection, new):
            connection.execute(sa.delete(mentions).where(mentions.c.id == new.pop(uri)))
            del found[uri]
        changed: list[int] = []
        known = dict(new)
        rest = [uri for uri in found if uri not in new]
        if rest:
            columns = (mentions.c.id, mentions.c.uri, mentions.c.text, mentions.c.data)
            for row in connection.execute(sa.select(*columns).where(mentions.c.uri.in_(rest))).mappings():
                known[row["uri"]] = row["id"]
                item = found[row["uri"]]
                if item.mention is not None and item.mention.platform != "import" and differs(row, item.mention):
                    revise(connection, row["id"], item, now=now, site=self._site)
                    changed.append(row["id"])
        seen = [
            {"source": source, "remote_id": rows.clean(item.remote_id), "mention_id": known[uri], "seen_at": now}
            for uri, item in found.items()
            if uri in known and item.mention is not None
        ]
        if seen:
            connection.execute(insert(connection, sightings).on_conflict_do_nothing(), seen)
        if new:
            connection.execute(
                sa.insert(revisions),
                [
                    {"mention_id": id_, "number": 1, "raw": rows.pack(found[uri].raw), "text": _text(found[uri]), "seen_at": now}
                    for uri, id_ in new.items()
                ],
            )
        broken = sum(1 for uri in new if found[uri].mention is None)
        return Added(tuple(id_ for uri, id_ in new.items() if found[uri].mention is not None), tuple(changed), broken)

    def _new_row(self, uri: str, source: str, item: Item, *, now: datetime, observe: bool) -> dict[str, Any]:
        base = {"stored_at": now, "read_at": now, "observe": observe}
        if item.mention is not None:
            return rows.of_mention(item.mention) | base | {"due_at": now, "quarantined": None}
        return base | {
            "uri": uri,
            "platform": "",
            "source": source,
            "remote_id": rows.clean(item.remote_id),
            "parent_id": None,
            "thread": None,
            "author": "",
            "visibility": str(Visibility.DIRECT),  # nobody knows how public it was: the safe way
            "language": None,
            "text": "",
            "data": {},
            "created_at": now,
            "due_at": None,
            "quarantined": rows.clean(item.broken),
        }

    # Mentions that wait to be judged

    def claim(
        self, now: datetime, *, seconds: float, limit: int, poison: int, suspect: bool = False, ids: Sequence[int] | None = None
    ) -> list[Claimed]:
        """Take mentions that are due, oldest first, and count the attempt before the work.

        Those that were begun before and not finished may have killed their worker: they come one at a time (`suspect`),
        and after `poison` attempts go to quarantine where a person sees them.
        """
        due = sa.and_(mentions.c.due_at <= now, mentions.c.quarantined.is_(None))
        begun = mentions.c.attempt >= 1 if suspect else mentions.c.attempt == 0
        others = mentions.alias("others")
        first = sa.select(sa.func.min(others.c.id)).where(others.c.author == mentions.c.author).scalar_subquery()
        chosen = sa.select(mentions.c.id, first).where(due, begun).order_by(mentions.c.due_at, mentions.c.id).limit(1 if suspect else limit)
        chosen = chosen.with_for_update(skip_locked=True)  # of several workers each takes its own; SQLite has one writer anyway
        with self._database.write() as connection:
            if ids is not None:
                chosen = chosen.where(batch.among(connection, mentions.c.id, ids))
            first_by_author = {row[0]: row[1] for row in connection.execute(chosen).all()}
            if not first_by_author:
                return []
            wanted = list(first_by_author)
            if suspect:
                poisoned = sa.update(mentions).where(mentions.c.id.in_(wanted), due, mentions.c.attempt >= poison)
                why = f"its worker stopped {poison} times while it was being judged"
                if connection.execute(poisoned.values(quarantined=why, due_at=None)).rowcount:
                    add_audit(connection, now, "triage", "quarantined", mention_id=wanted[0], detail=why)
                    return []
            take = (
                sa.update(mentions)
                .where(batch.among(connection, mentions.c.id, wanted), due, begun)
                .values(attempt=mentions.c.attempt + 1, due_at=now + timedelta(seconds=seconds))
                .returning(*_CLAIMED)
            )
            taken = sorted(connection.execute(take).mappings().all(), key=lambda row: (row["created_at"], row["id"]))
            people = self._by_people(connection, [row["id"] for row in taken if row["revision"] > 1])
        return [
            Claimed(
                row["id"],
                row["attempt"],
                row["revision"],
                rows.to_mention(row),
                row["observe"],
                first_by_author[row["id"]] == row["id"],
                row["stored_at"],
                people.get(row["id"]),
            )
            for row in taken
        ]

    def _by_people(self, connection: Connection, ids: Sequence[int]) -> dict[int, Verdict]:
        if not ids:
            return {}
        statement = sa.select(verdicts).where(verdicts.c.mention_id.in_(ids), verdicts.c.by_person).order_by(verdicts.c.id)
        return {row["mention_id"]: rows.to_verdict(row) for row in connection.execute(statement).mappings()}

    def release(self, claimed: Iterable[Claimed], due_at: datetime) -> None:
        """Give mentions back unjudged, through no fault of theirs: the attempt does not count."""
        with self._database.write() as connection:
            for one in claimed:
                statement = sa.update(mentions).where(mentions.c.id == one.id, mentions.c.attempt == one.attempt)
                connection.execute(statement.values(attempt=mentions.c.attempt - 1, due_at=due_at))

    def quarantine(self, claimed: Claimed, why: str, now: datetime) -> None:
        """Set a mention aside that can't be judged; `triage show` tells why, `triage relabel` takes it back."""
        with self._database.write() as connection:
            statement = sa.update(mentions).where(mentions.c.id == claimed.id, mentions.c.attempt == claimed.attempt)
            connection.execute(statement.values(quarantined=rows.clean(why), due_at=None))
            add_audit(connection, now, "triage", "quarantined", mention_id=claimed.id, detail=why)

    def threads(self, source: str, remote_ids: Sequence[str]) -> dict[str, str]:
        """The threads of posts that we know: mentions by any sighting of this source, and our own replies."""
        if not remote_ids:
            return {}
        seen = (
            sa.select(sightings.c.remote_id, mentions.c.thread)
            .join(mentions, mentions.c.id == sightings.c.mention_id)
            .where(sightings.c.source == source, sightings.c.remote_id.in_(remote_ids), mentions.c.thread.is_not(None))
        )
        ours = (
            sa.select(actions.c.remote_id, mentions.c.thread)
            .join(mentions, mentions.c.id == actions.c.mention_id)
            .where(
                actions.c.via == source,
                actions.c.remote_id.in_(remote_ids),
                actions.c.kind == ActionKind.REPLY,
                mentions.c.thread.is_not(None),
            )
        )
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(sa.union_all(seen, ours))}

    # The verdict and what follows

    def record(self, judged: Sequence[Judged], now: datetime) -> list[int]:
        """Store verdicts, problems and actions of a batch in one transaction: the outbox. Returns the ids of actions that are due.

        A mention that somebody else judged in the meantime, or that was edited or deleted, is left out.
        """
        if not judged:
            return []
        with self._database.write() as connection:
            earned = self._samples.earned(connection)  # before any mention is locked, as where autonomy is taken away
            held = self._held(connection, judged)
            judged = self._in_known_threads(connection, [one for one in judged if one.claimed.id in held])
            if not judged:
                return []
            board = Board.load(connection, judged, self._site, now, observe=self._observe, earned=earned)
            outcomes = [(one, board.decide(one)) for one in judged]
            batch.add(connection, verdicts, [_verdict_row(one, decision, now) for one, decision in outcomes])
            ready = self._write_plans(connection, board, outcomes, now)
            self._samples.draw(connection, outcomes, earned, now)
            batch.change(connection, mentions, [self._judged_row(board, one, now) for one in judged])
            replies = [one for one in judged if one.claimed.revision == 1 and one.thread != one.claimed.mention.uri]
            wake_by_reply(connection, [(one.claimed.id, board.problems[one.thread]["id"], _author(one)) for one in replies], now)
            hand_back(connection, board, judged, now)
            close_answered(connection, judged, now)
        return ready

    def record_by_person(
        self,
        one: Judged,
        now: datetime,
        *,
        closing: tuple[int, str] | None = None,
        answer: Answer | None = None,
        seen: Seen | None = None,
    ) -> list[int]:
        """The same for a person's verdict.

        `closing` is a task that it closes, and by whom, `answer` a sample of the blind audit that it answers, in the same transaction.
        `seen` is what the person saw of the mention: of two who label it at once one wins.

        `UserError` when a worker judges the mention at this moment, when its post is gone, when the task is closed already, or when
        it is no longer as it was seen.
        An edit that nobody has judged yet stays due.
        """
        with self._database.write() as connection:
            if answer is not None:
                self._samples.lock(connection, now)
            earned = self._samples.earned(connection)
            if seen is not None:
                hold(connection, one.claimed.id, seen)
            if not self._held(connection, [one]):
                raise UserError(f"mention {one.claimed.id} has just changed or was deleted; look at it again: triage show {one.claimed.id}")
            if closing is not None:
                close_task(connection, closing[0], closing[1], now)
            if answer is not None:
                self._samples.settle(connection, self._samples.answer(connection, answer, now)["rule"], now, besides=one.claimed.id)
                earned = self._samples.earned(connection)
            [one] = self._in_known_threads(connection, [one])
            board = Board.load(connection, [one], self._site, now, observe=self._observe, earned=earned)
            outcomes = [(one, board.decide(one))]
            batch.add(connection, verdicts, [_verdict_row(*outcomes[0], now)])
            ready = self._write_plans(connection, board, outcomes, now)
            row = self._judged_row(board, one, now)
            if one.claimed.revision > 1 and connection.scalar(sa.select(mentions.c.due_at).where(mentions.c.id == one.claimed.id)):
                row["due_at"] = now
            batch.change(connection, mentions, [row])
        return ready

    def confirm(self, one: Claimed, verdict: Verdict | None, answer: Answer, now: datetime) -> None:
        """A sample's answer is the label that its post has. A model's becomes the person's (`verdict`); nothing else follows."""
        with self._database.write() as connection:
            self._samples.lock(connection, now)
            there = sa.select(mentions.c.revision).where(mentions.c.id == one.id).with_for_update()
            if connection.scalar(there) != one.revision:
                raise UserError(f"mention {one.id} has just changed; look at it again: triage show {one.id}")
            sample = self._samples.answer(connection, answer, now)
            if verdict is not None:
                row = rows.of_verdict(verdict)
                row["data"] |= {"thread_why": "as before", "rule": sample["rule"], "reason": "a person said the same, without seeing it"}
                connection.execute(sa.insert(verdicts).values(row | {"mention_id": one.id, "revision": one.revision, "at": now}))
            self._samples.settle(connection, sample["rule"], now)

    def _held(self, connection: Connection, judged: Sequence[Judged]) -> set[int]:
        wanted = {one.claimed.id: (one.claimed.attempt, one.claimed.revision) for one in judged}
        these = batch.among(connection, mentions.c.id, wanted)
        columns = (mentions.c.id, mentions.c.attempt, mentions.c.revision)
        there = sa.select(*columns).where(these, mentions.c.deleted_at.is_(None)).order_by(mentions.c.id).with_for_update()
        return {id_ for id_, attempt, revision in connection.execute(there).all() if wanted[id_] == (attempt, revision)}

    def _in_known_threads(self, connection: Connection, judged: Sequence[Judged]) -> list[Judged]:
        """A thread whose first post was erased goes on under the name that stands in its place: one problem, one ticket."""
        names = erased.gone(connection, {one.thread for one in judged})
        return [replace(one, thread=names[one.thread]) if one.thread in names else one for one in judged]

    def _judged_row(self, board: Board, one: Judged, now: datetime) -> dict[str, Any]:
        return {
            "id": one.claimed.id,
            "thread": one.thread,
            "problem_id": board.problems[one.thread]["id"],
            "due_at": None,
            "attempt": 0,
            "quarantined": None,
            "reread_at": now + REREAD,
        }

    def _write_plans(self, connection: Connection, board: Board, outcomes: Sequence[tuple[Judged, Decision]], now: datetime) -> list[int]:
        first: list[dict[str, Any]] = []
        waiting: list[tuple[dict[str, Any], str]] = []
        alerting: list[tuple[dict[str, Any], Plan]] = []
        for one, decision in outcomes:
            board.withdraw_stale(connection, one, decision)
            for plan in decision.plans:
                if board.revive(connection, one, plan):
                    continue
                row = self._action_row(board, one, plan, now)
                new = all(plan.key != action["key"] for action in board.actions.get(one.claimed.id, ()))
                if new and row["due_at"] is not None and plan.kind is ActionKind.ALERT:
                    alerting.append((row, plan))
                if plan.after is None:
                    first.append(row)
                else:
                    waiting.append((row, plan.after))
        self._open_alerts(connection, board, alerting, now)
        batch.add(connection, actions, first)
        if waiting:
            named = batch.among(connection, actions.c.key, {after for _, after in waiting})
            before = connection.execute(sa.select(actions.c.key, actions.c.id, actions.c.state).where(named)).all()
            known = {key: (id_, state) for key, id_, state in before}
            for row, after in waiting:
                row["after_id"], state = known.get(after, (None, State.DONE))
                if row["due_at"] is not None and state != State.DONE:
                    row["due_at"] = None  # the one before it wakes it
            batch.add(connection, actions, [row for row, _ in waiting])
        due = [row["key"] for row in (*first, *(row for row, _ in waiting)) if row["due_at"] is not None]
        if not due:
            return []
        ours = sa.and_(batch.among(connection, actions.c.key, due), actions.c.due_at.is_not(None), actions.c.state == str(State.PLANNED))
        return list(connection.execute(sa.select(actions.c.id).where(ours).order_by(actions.c.id)).scalars())

    def _open_alerts(self, connection: Connection, board: Board, alerting: Sequence[tuple[dict[str, Any], Plan]], now: datetime) -> None:
        """Give each of these actions its alert. A mention's alert is one, however many notifiers tell it."""
        wanted = {(plan.payload["name"], board.uris[row["mention_id"]]): plan.payload for row, plan in alerting}
        opened = open_alerts(connection, now, wanted)
        for row, plan in alerting:
            row["alert_id"] = opened[plan.payload["name"], board.uris[row["mention_id"]]]

    def _action_row(self, board: Board, one: Judged, plan: Plan, now: datetime) -> dict[str, Any]:
        observe = board.observes(one, plan.kind)
        state, due, closed = State.PLANNED, None, None
        if plan.kind is ActionKind.ARCHIVE:
            state, closed = State.DONE, now
        elif observe:
            state = State.OBSERVED
        elif plan.via != HUMAN:
            due = now
        return {
            "key": plan.key,
            "kind": str(plan.kind),
            "via": plan.via,
            "state": str(state),
            "mention_id": one.claimed.id,
            "problem_id": board.problems[one.thread]["id"],
            "alert_id": None,
            "after_id": None,
            "reason": rows.clean(plan.reason),
            "rule": plan.rule,
            "payload": rows.clean_json(plan.payload),
            "due_at": due,
            "created_at": now,
            "closed_at": closed,
        }

    # What the post did later

    def due(self, now: datetime, *, limit: int, only: Sequence[str] | None = None) -> Due:
        """What there is to do now, ids only; with `only`, no sends but by these."""
        given = {"now": now, "most": limit} | ({"only": list(only)} if only is not None else {})
        found: dict[str, Any] = {}
        with self._database.read() as connection:
            for name, statement in _due_statements(only is not None).items():
                found[name] = tuple(row[0] if len(row) == 1 else tuple(row) for row in connection.execute(statement, given))
        return Due(**found)

    def reread_due(self, now: datetime, limit: int) -> dict[str, list[tuple[int, str]]]:
        """Mentions whose posts should be looked at again, as (id, remote id) by source."""
        statement = (
            sa.select(mentions.c.id, mentions.c.source, mentions.c.remote_id)
            .where(mentions.c.reread_at <= now, mentions.c.deleted_at.is_(None))
            .order_by(mentions.c.reread_at)
            .limit(limit)
        )
        by_source: dict[str, list[tuple[int, str]]] = {}
        with self._database.read() as connection:
            for id_, source, remote_id in connection.execute(statement):
                by_source.setdefault(source, []).append((id_, remote_id))
        return by_source

    def reread(self, source: str, found: Mapping[str, Item | None], now: datetime, *, last: timedelta, old: timedelta) -> list[int]:
        """What a re-reading (or the stream) showed: edits and deletions. Returns ids of mentions that must be judged anew.

        Open and week-old posts are looked at again after `last`, older ones after `old`.
        """
        changed: list[int] = []
        if not found:
            return changed
        with self._database.write() as connection:
            statement = (
                sa.select(mentions, sightings.c.remote_id.label("seen_as"))
                .join(sightings, sightings.c.mention_id == mentions.c.id)
                .where(sightings.c.source == source, sightings.c.remote_id.in_(found))
                .order_by(mentions.c.id)
            )
            for row in connection.execute(statement).mappings().all():
                item = found[row["seen_as"]]
                if item is None:
                    if row["deleted_at"] is None:
                        delete(connection, row, now=now, site=self._site)
                    continue
                again = now + (last if now - row["created_at"] < timedelta(days=7) or self._is_open(connection, row["id"]) else old)
                connection.execute(sa.update(mentions).where(mentions.c.id == row["id"]).values(read_at=now, reread_at=again))
                if item.mention is not None and differs(row, item.mention):
                    revise(connection, row["id"], item, now=now, site=self._site)
                    changed.append(row["id"])
        return changed

    def postpone_reread(self, ids: Sequence[int], due_at: datetime) -> None:
        """These could not be read this time."""
        if ids:
            with self._database.write() as connection:
                connection.execute(sa.update(mentions).where(mentions.c.id.in_(ids)).values(reread_at=due_at))

    def _is_open(self, connection: Connection, mention_id: int) -> bool:
        live = actions.c.state.in_([str(s) for s in (State.PLANNED, State.SENDING, State.DOUBT, State.PARKED, State.REJECTED)])
        return connection.execute(sa.select(actions.c.id).where(actions.c.mention_id == mention_id, live).limit(1)).first() is not None


@cache
def _due_statements(only: bool) -> dict[str, sa.Select[Any]]:
    """What `due` asks, by the field of `Due`; made once, since to make them costs more than to ask them, and every sweep asks."""
    now, most = sa.bindparam("now", type_=Utc()), sa.bindparam("most", type_=sa.Integer())
    source = sa.select(accounts.c.name).where(accounts.c.role == "source", _free(now))
    machine = sa.select(actions.c.id, actions.c.via).where(actions.c.due_at <= now, actions.c.via != HUMAN)
    sends = machine.where(actions.c.state == str(State.PLANNED))
    if only:
        sends = sends.where(actions.c.via.in_(sa.bindparam("only", expanding=True)))
    there = sa.select(mentions.c.id).where(mentions.c.due_at <= now, mentions.c.quarantined.is_(None))
    old = sa.select(mentions.c.id).where(mentions.c.reread_at <= now, mentions.c.deleted_at.is_(None))
    wanted = {
        "polls": source.where(accounts.c.due_at <= now),
        "rescans": source.where(accounts.c.rescan_at <= now),
        "mentions": there.order_by(mentions.c.due_at),
        "actions": sends.order_by(actions.c.due_at, actions.c.id),
        "doubts": machine.where(actions.c.state == str(State.DOUBT)).order_by(actions.c.due_at, actions.c.id),
        "rereads": old.order_by(mentions.c.reread_at),
    }
    return {name: statement.limit(most) for name, statement in wanted.items()}


def _free(now: Any) -> Any:
    """Not an account that rests, or that somebody tries at this moment."""
    return sa.and_(*(sa.or_(column.is_(None), column <= now) for column in (accounts.c.paused_until, accounts.c.probe_at)))


def _author(one: Judged) -> str:
    return rows.clean(one.claimed.mention.author.handle)


def _text(item: Item) -> str:
    return rows.clean(item.mention.text) if item.mention is not None else ""


def _verdict_row(one: Judged, decision: Decision, now: datetime) -> dict[str, Any]:
    row = rows.of_verdict(one.verdict)
    row["data"] |= {"thread_why": one.thread_why, "rule": decision.rule, "reason": rows.clean(decision.reason)}
    return row | {"mention_id": one.claimed.id, "revision": one.claimed.revision, "at": now}
