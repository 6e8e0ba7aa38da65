"""The accounts that we talk to (sources, trackers, notifiers): how they are, when they rest, and what the people on call are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.budget import LONG_OUTAGE, POSTS, Budget, Leave, Purpose, Standing, Use, drain, hint, leave, matters, may, spent
from triage.delivery import Move, Pace, backoff, pause_seconds
from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, State
from triage.store import batch, rows
from triage.store.alerts import Alerts
from triage.store.database import Database, insert
from triage.store.moves import add_audit, close_alert
from triage.store.schema import OPEN, accounts, actions, alerts, mentions

WELL = {"failures": 0, "refusals": 0, "paused_until": None, "paused_why": "", "probe_at": None}
SILENT_FAILURES = 3  # so many failures in a row are somebody's restart; more are an outage, said once
LONGEST_PROBE = 300.0  # seconds between two tries of an account that is away: it is back within five minutes
LONGEST_ALERT_WAIT = 60.0  # the same for notifiers
LEASE = 60.0  # seconds that one who tries an account has for it, before another may
HELD = "held: "  # what the reason of an action begins with that waits for its account's budget
FIRST = {str(ActionKind.ALERT): 0, str(ActionKind.REPLY): 1}  # a person waits for a reply
TOLD = timedelta(hours=1)  # an alert about something that is over when it is found stands for so long
TOLD_LONG = timedelta(days=1)  # the same for what nobody has to be woken for
STOPPED = datetime(9000, 1, 1, tzinfo=UTC)  # until then rests what a person stopped: until somebody lets it go on


@dataclass(frozen=True, slots=True)
class Account:
    """How an account is, as a person looks at it. `held_back` is None where the server does not say."""

    name: str
    role: str
    started_at: datetime | None
    due_at: datetime | None
    paused_until: datetime | None
    paused_why: str
    probe_at: datetime | None
    failures: int
    refusals: int
    last_success_at: datetime | None
    last_error: str
    held_back: int | None
    late_found: int
    requests: Budget
    posts: Budget

    @property
    def stopped(self) -> bool:
        """Whether a person stopped it."""
        return self.paused_until is not None and self.paused_until >= STOPPED


class Accounts:
    """Health, rest and budget of every account. What ends in `_in` works in the caller's transaction.

    `drain` is the number of seconds between two of the actions that a long outage kept waiting.
    """

    def __init__(self, database: Database, alerts_: Alerts, *, pace: Pace | None = None, drain: float = 1.0) -> None:
        self._database = database
        self._alerts = alerts_
        self._pace = pace or Pace()
        self._drain = drain
        self._unwritten: dict[tuple[str, str], Use] = {}
        self._limited: dict[str, datetime] = {}
        self._guard = Lock()

    # To look at, and what a person does

    def each(self, now: datetime) -> list[Account]:
        """Every account that we ever talked to, by role and name; budgets as they are now."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(accounts).order_by(accounts.c.role, accounts.c.name)).mappings().all()
        plain = [field for field in Account.__dataclass_fields__ if field not in ("requests", "posts")]
        return [
            Account(
                **{name: row[name] for name in plain},
                requests=Budget(row["budget_limit"], row["budget_left"], row["budget_reset_at"]).at(now),
                posts=Budget(row["posts_limit"], row["posts_left"], row["posts_reset_at"]).at(now),
            )
            for row in found
        ]

    def stop(self, name: str, by: str, why: str, now: datetime) -> None:
        """Leave an account alone until somebody lets it go on; what would go there waits. `UserError` when somebody was first."""
        reason = f"stopped by {by}" + (f": {why}" if why else "")
        values = {"paused_until": STOPPED, "paused_why": rows.clean(reason), "refusals": 0, "probe_at": None}
        with self._database.write() as connection:
            if connection.execute(sa.update(accounts).where(accounts.c.name == name, _not_stopped()).values(values)).rowcount != 1:
                raise UserError(f"{name} is stopped already, or was never used; look at it again")
            self._put_off_in(connection, name, STOPPED)
            add_audit(connection, now, by, "stopped an account", detail=f"{name}: {why}" if why else name)

    def resume(self, name: str, by: str, now: datetime) -> None:
        """Let an account go on that a person stopped. `UserError` when it is not stopped."""
        with self._database.write() as connection:
            wanted = sa.select(accounts).where(accounts.c.name == rows.clean(name), accounts.c.paused_until >= STOPPED)
            row = connection.execute(wanted.with_for_update()).mappings().first()
            if row is None:
                raise UserError(f"{name} is not stopped (any more); look at it again")
            self._try_again_in(connection, row, now)
            add_audit(connection, now, by, "let an account go on", detail=name)

    def poll_now(self, name: str, by: str, now: datetime) -> None:
        """A source's next poll is due; a pause for a refused token is over. `UserError` when it is stopped or its server wants rest."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(accounts).where(_source(name))).mappings().first()
        if row is None:
            raise UserError(f"{name} was never polled; is a worker running? triage up")
        if row["paused_until"] is not None and row["paused_until"] > now and not row["refusals"]:
            stopped = row["paused_until"] >= STOPPED
            when = "until somebody lets it go on" if stopped else f"until {row['paused_until']:%H:%M:%S} UTC, as its server asked"
            raise UserError(f"{name} rests {when}; it can't be polled before that")
        self.unpause(now, name)
        with self._database.write() as connection:
            connection.execute(sa.update(accounts).where(_source(name)).values(due_at=now))
            add_audit(connection, now, by, "asked for a poll", detail=name)

    def was_let_in(self, name: str, by: str, count: int, now: datetime) -> None:
        """The server hands over what it held back: read it soon, with the last two days, since it may be older than the cursor."""
        with self._database.write() as connection:
            connection.execute(sa.update(accounts).where(_source(name)).values(due_at=now, rescan_at=now, held_back=0))
            add_audit(connection, now, by, "let held back mentions in", detail=f"{name}: {count} authors")

    def has_new_token(self, name: str, by: str, now: datetime) -> None:
        """It is tried at once, unless a person stopped it."""
        self.unpause(now, name)
        with self._database.write() as connection:
            connection.execute(sa.update(accounts).where(_source(name)).values(due_at=now))
            add_audit(connection, now, by, "renewed a token", detail=name)

    # Whether to go

    def leave(self, name: str, purpose: Purpose, now: datetime) -> Leave:
        """Whether to ask something of an account now. Of several that ask for one that rested, one may try it."""
        with self._database.read() as connection:
            found = leave(self._standing(connection, name), purpose, now)
        if not found.probe:
            return found
        with self._database.write() as connection:
            return self.leave_in(connection, name, purpose, now)

    def rests_in(self, connection: Connection, name: str, now: datetime, *, post: bool = False) -> Leave:
        """Whether an action could go to an account now; nobody's turn to try it is used up."""
        return leave(self._standing(connection, name), Purpose.SEND, now, post=post)

    def leave_in(self, connection: Connection, name: str, purpose: Purpose, now: datetime, *, post: bool = False) -> Leave:
        """The same within a transaction; `post` counts to the limit on posts, too. A `probe` that comes back is the caller's own."""
        standing = self._standing(connection, name)
        found = leave(standing, purpose, now, post=post)
        if not found.probe:
            return found
        until = now + timedelta(seconds=min(LEASE, self._pace.settle))
        if purpose is Purpose.SEND and standing.failures >= SILENT_FAILURES:
            look_at = connection.scalar(
                sa.select(sa.func.min(actions.c.due_at)).where(actions.c.via == name, actions.c.state == str(State.DOUBT))
            )
            if look_at is not None:  # it is an outage: each write that is cut leaves another doubt, a look does not
                return Leave(False, max(look_at, until), "a look tries first whether it is back", look_first=True)
        same = accounts.c.probe_at.is_(None) if standing.probe_at is None else accounts.c.probe_at == standing.probe_at
        mine = connection.execute(sa.update(accounts).where(accounts.c.name == name, same).values(probe_at=until)).rowcount
        return found if mine else Leave(False, until, "somebody else tries it now")

    def enough(self, name: str, kept: float, now: datetime) -> Leave:
        """Whether a job that has begun may go on: this share of the requests must be left."""
        with self._database.read() as connection:
            return may(Purpose.RESCAN, self._standing(connection, name).requests, now, kept=kept)

    def rests(self, name: str, now: datetime) -> bool:
        """Whether it is left alone at this moment."""
        with self._database.read() as connection:
            return self._standing(connection, name).rests_until(now) is not None

    def ails(self, name: str) -> bool:
        """Whether the last that we know of it is a failure that made it rest."""
        with self._database.read() as connection:
            return self._standing(connection, name).ails

    def put_off(self, name: str, now: datetime) -> bool:
        """Whether it rests; then all that goes there is due when the rest is over."""
        if not self.rests(name, now):
            return False
        with self._database.write() as connection:
            until = self._standing(connection, name).rests_until(now)
            if until is not None:
                self._put_off_in(connection, name, until)
        return until is not None

    def is_news_in(self, connection: Connection, name: str) -> bool:
        """Whether a failure that this transaction counted is not just another one of an outage that was told."""
        return (connection.scalar(sa.select(sa.func.max(accounts.c.failures)).where(accounts.c.name == name)) or 0) <= 1

    def posts(self, name: str, now: datetime) -> Budget:
        """What is left of its limit on posts."""
        with self._database.read() as connection:
            return self._standing(connection, name).posts.at(now)

    def _standing(self, connection: Connection, name: str) -> Standing:
        row = connection.execute(sa.select(accounts).where(accounts.c.name == name).order_by(accounts.c.role)).mappings().first()
        if row is None:
            return Standing()
        requests = Budget(row["budget_limit"], row["budget_left"], row["budget_reset_at"])
        posts = Budget(row["posts_limit"], row["posts_left"], row["posts_reset_at"])
        return Standing(row["paused_until"], row["paused_why"], row["probe_at"], requests, posts, row["failures"])

    def wait_in(self, connection: Connection, action_id: int, via: str, kind: str, found: Leave) -> None:
        """An action may not go out now: it is due when it may. Where its account rests, so is all that goes there."""
        assert found.until is not None
        values = {"due_at": found.until}
        if found.held and kind == ActionKind.REPLY:
            values["error"] = f"{HELD}{found.why}"  # type: ignore[assignment]
        connection.execute(sa.update(actions).where(actions.c.id == action_id).values(values))
        if not found.held:
            self._put_off_in(connection, via, found.until, (State.PLANNED,) if found.look_first else (State.PLANNED, State.DOUBT))

    def _put_off_in(
        self, connection: Connection, via: str, until: datetime, states: Sequence[State] = (State.PLANNED, State.DOUBT)
    ) -> None:
        others = sa.select(actions.c.id).where(
            actions.c.via == via, actions.c.state.in_([str(state) for state in states]), actions.c.due_at < until
        )
        # What another worker holds it works on: to wait for it here, two could wait for each other.
        ids = list(connection.execute(others.order_by(actions.c.id).with_for_update(skip_locked=True)).scalars())
        if ids:
            connection.execute(sa.update(actions).where(batch.among(connection, actions.c.id, ids)).values(due_at=until))

    # What was asked

    def spent(
        self, role: str, name: str, limit: str, use: Use, now: datetime, usual: tuple[int, float] | None, *, at_once: bool = False
    ) -> None:
        """Note down what a job asked of an account. What changes nobody's mind is kept in this process until it is ten requests."""
        with self._guard:
            earlier = self._unwritten.pop((name, limit), None)
            if earlier is not None:
                use.asked += earlier.asked
                if use.limit is None:
                    use.limit, use.left, use.reset_in = earlier.limit, earlier.left, earlier.reset_in
            if not matters(use) and not at_once:
                self._unwritten[name, limit] = use
                return
        prefix = POSTS if limit == POSTS else "budget"
        with self._database.write() as connection:
            this = sa.and_(accounts.c.name == name, accounts.c.role == role)
            row = connection.execute(sa.select(accounts).where(this).with_for_update()).mappings().first()
            if row is None:
                return
            known = Budget(row[f"{prefix}_limit"], row[f"{prefix}_left"], row[f"{prefix}_reset_at"])
            after = spent(known, use, now, usual)
            values = {f"{prefix}_limit": after.limit, f"{prefix}_left": after.left, f"{prefix}_reset_at": after.reset_at}
            connection.execute(sa.update(accounts).where(this).values(values))
            if use.limited is not None and limit != POSTS:
                # A connector may have gone on without what was refused; then nobody else tells that the account wants rest.
                self._rest_in(connection, name, "too many requests (429)", now, use.limited, row["failures"])
                self._limited[name] = now

    # What came of it

    def failed(self, role: str, name: str, why: str, now: datetime, *, pause: bool, after: float | None = None, down: bool = False) -> int:
        """A call to an account failed; returns its failures in a row.

        `pause`: it refused our token, and rests. `after`: it asked for so many seconds (0: without saying how many). `down`: it seems
        to be away, and is tried by one at a time.
        """
        with self._database.write() as connection:
            connection.execute(insert(connection, accounts).values(name=name, role=role).on_conflict_do_nothing())
            return self._failed_in(connection, name, why, now, pause=pause, after=after, down=down)

    def after_move_in(self, connection: Connection, name: str, move: Move, now: datetime) -> None:
        """What an action's outcome says of its account."""
        if move.receipt is not None or move.looked:
            self.well_in(connection, name, now, sent=move.receipt is not None)
        elif move.pause or move.rest is not None or move.down:
            self._failed_in(connection, name, move.why, now, pause=move.pause, after=move.rest, down=move.down)

    def _failed_in(
        self, connection: Connection, name: str, why: str, now: datetime, *, pause: bool, after: float | None, down: bool
    ) -> int:
        this = accounts.c.name == name
        counted = sa.update(accounts).where(this).values(failures=accounts.c.failures + 1, last_error=rows.clean(why))
        count, role = connection.execute(counted.returning(accounts.c.failures, accounts.c.role)).first() or (0, "")
        if pause:
            self.pause_in(connection, name, why, now)
        elif after is not None:
            self._rest_in(connection, name, why, now, after, count)
        elif down:
            longest = LONGEST_ALERT_WAIT if role == "notifier" else LONGEST_PROBE
            until = now + timedelta(seconds=min(backoff(count, self._pace), longest))
            connection.execute(sa.update(accounts).where(this, _not_stopped()).values(probe_at=until))
        if count == SILENT_FAILURES and not pause and role in ("source", "tracker"):
            alert = "SourceFailing" if role == "source" else "TrackerFailing"
            summary = f"{name} has failed {count} times in a row: {why}. It is tried again by itself; look: triage doctor"
            self._alerts.raise_in(connection, now, alert, name, "warning", summary, {})
        return int(count)

    def _rest_in(self, connection: Connection, name: str, why: str, now: datetime, after: float, failures: int) -> None:
        """It asked for rest: for as long as it says, and longer each time that it was not enough."""
        wait = max(after, min(backoff(failures, self._pace), LONGEST_PROBE))
        values = {"paused_until": now + timedelta(seconds=wait), "paused_why": rows.clean(why), "refusals": 0, "probe_at": None}
        connection.execute(sa.update(accounts).where(accounts.c.name == name, _not_stopped()).values(values))

    def well_in(self, connection: Connection, name: str, now: datetime, *, sent: bool = True) -> bool:
        """A call to it worked: whatever kept it is over, and what waited for it goes out. True when it had been failing."""
        this = accounts.c.name == name
        row = connection.execute(sa.select(accounts).where(this).with_for_update()).mappings().first()
        if row is None or not (sent or row["failures"] or row["paused_until"] or row["probe_at"]):
            return False
        values = WELL | {"last_success_at": now, "last_error": ""}
        with self._guard:
            limited = self._limited.pop(name, None) == now
        stopped = row["paused_until"] is not None and row["paused_until"] >= STOPPED
        if limited or stopped:  # the server asked for rest at another call of the same job, or a person stopped the account meanwhile
            values |= {"paused_until": row["paused_until"], "paused_why": row["paused_why"]}
        connection.execute(sa.update(accounts).where(this).values(values))
        self._alerts.clear_in(connection, now, ("AccountPaused", "SourceFailing", "TrackerFailing"), name)
        if not limited and not stopped:
            self._release_in(connection, row, now)
        return bool(row["failures"])

    def _release_in(self, connection: Connection, row: sa.RowMapping, now: datetime) -> None:
        """What waited for an account goes out: after a long outage not all at once; alerts and replies first, then by age."""
        until = max((moment for moment in (row["paused_until"], row["probe_at"]) if moment is not None), default=None)
        if until is None:
            return
        # What tried it waits longer each time for its own next attempt, what was put off for a look waits for that: this is over, too.
        tried = sa.and_(actions.c.state == str(State.PLANNED), actions.c.due_at.is_not(None), actions.c.error.not_like(f"{HELD}%"))
        put_off = sa.and_(actions.c.state.in_([str(State.PLANNED), str(State.DOUBT)]), actions.c.due_at <= until)
        waiting = sa.select(actions.c.id, actions.c.kind).where(actions.c.via == row["name"], sa.or_(put_off, tried))
        found = connection.execute(waiting.order_by(actions.c.id).with_for_update(skip_locked=True)).all()
        long = row["failures"] >= LONG_OUTAGE or row["refusals"] > 1
        after = drain(len(found), self._drain if long else 0.0)
        ordered = sorted(found, key=lambda action: (FIRST.get(action.kind, 2), action.id))
        batch.change(
            connection,
            actions,
            [{"id": action.id, "due_at": now + timedelta(seconds=wait)} for action, wait in zip(ordered, after, strict=True)],
        )

    def succeeded(self, role: str, name: str, now: datetime) -> bool:
        """A call to an account worked: whatever kept it is over. True when it had been failing."""
        with self._database.write() as connection:
            connection.execute(insert(connection, accounts).values(name=name, role=role).on_conflict_do_nothing())
            return self.well_in(connection, name, now)

    def pause_in(self, connection: Connection, name: str, why: str, now: datetime) -> None:
        """It refuses us: let it rest, longer each time, and tell the people on call.

        While it rests no call begins, so another refusal is of a call that was under way already: it says nothing new.
        """
        this = sa.and_(accounts.c.name == name, _not_stopped())
        rests = sa.select(accounts.c.name).where(this, accounts.c.refusals > 0, accounts.c.paused_until > now)
        if connection.execute(rests.limit(1)).first() is not None:
            return
        connection.execute(sa.update(accounts).where(this).values(refusals=accounts.c.refusals + 1))
        refusals = connection.scalar(sa.select(sa.func.max(accounts.c.refusals)).where(this)) or 1
        until = now + timedelta(seconds=pause_seconds(refusals))
        statement = sa.update(accounts).where(this)
        connection.execute(statement.values(paused_until=until, paused_why=rows.clean(why), last_error=rows.clean(why), probe_at=None))
        summary = f"{name} refuses us and rests until {until:%H:%M} UTC: {why}. Renew its token, then: triage doctor"
        self._alerts.raise_in(connection, now, "AccountPaused", name, "critical", summary, {"account": name})

    def know(self, role: str, names: Sequence[str]) -> None:
        """Make sure that trackers and notifiers have their rows, on which pauses are written."""
        if names:
            with self._database.write() as connection:
                connection.execute(insert(connection, accounts).on_conflict_do_nothing(), [{"name": name, "role": role} for name in names])

    def unpause(self, now: datetime, name: str | None = None) -> None:
        """Forget the pauses of refused tokens, as a restart with a new one wants it, or of one account. One action or poll tries each.

        A server that asked us to wait (429) is still waited for: it knows nothing of our restart. One that was away is tried at once.
        """
        refused = sa.and_(accounts.c.refusals > 0, _not_stopped())
        with self._database.write() as connection:
            where = sa.or_(refused, sa.and_(accounts.c.probe_at.is_not(None), accounts.c.paused_until.is_(None)))
            if name is not None:
                where = sa.and_(refused, accounts.c.name == name)
            for row in connection.execute(sa.select(accounts).where(where).order_by(accounts.c.name)).mappings().all():
                self._try_again_in(connection, row, now)

    def _try_again_in(self, connection: Connection, row: sa.RowMapping, now: datetime) -> None:
        # It stays ailing, so that one tries it and the others wait for the result.
        values = {"paused_until": None, "paused_why": "", "refusals": 0, "probe_at": now}
        connection.execute(sa.update(accounts).where(accounts.c.name == row["name"]).values(values))
        until = max((moment for moment in (row["paused_until"], row["probe_at"]) if moment is not None), default=now)
        planned = sa.and_(actions.c.state == str(State.PLANNED), actions.c.due_at <= until)
        # A look that the pause put off. One that waits for its own time keeps it: an early look proves nothing.
        put_off = actions.c.due_at.in_([moment for moment in (row["paused_until"], row["probe_at"]) if moment is not None])
        looks = sa.and_(actions.c.state == str(State.DOUBT), put_off)
        waiting = sa.select(actions.c.id).where(actions.c.via == row["name"], sa.or_(planned, looks)).order_by(actions.c.id)
        # What a worker holds it works on: to wait for it here, two could wait for each other.
        ids = list(connection.execute(waiting.with_for_update(skip_locked=True)).scalars())
        if ids:
            connection.execute(sa.update(actions).where(batch.among(connection, actions.c.id, ids)).values(due_at=now))

    def end_alerts(self, now: datetime) -> int:
        """Close alerts whose cause is over: a brake that holds nothing any more, late mentions that were told an hour ago."""
        names = ["Brake", "LateMentions", "ManyAnswers", "RuleDemoted"]
        open_ = sa.select(alerts).where(alerts.c.name.in_(names), alerts.c.closed_at.is_(None))
        ended = 0
        with self._database.write() as connection:
            for alert in connection.execute(open_).mappings().all():
                if alert["name"] == "Brake":
                    held = (
                        sa.select(actions.c.id)
                        .join(mentions, mentions.c.id == actions.c.mention_id)
                        .where(
                            OPEN,
                            actions.c.state == str(State.PARKED),
                            actions.c.error.like("the brake:%"),
                            mentions.c.source == alert["subject"],
                        )
                    )
                    over = connection.execute(held.limit(1)).first() is None
                elif alert["name"] == "ManyAnswers":
                    over = not self._hint_in(connection, alert["subject"], now)
                else:
                    over = now - alert["opened_at"] > (TOLD_LONG if alert["name"] == "RuleDemoted" else TOLD)
                if over:
                    close_alert(connection, now, alert["id"])
                    ended += 1
        return ended

    def many_answers(self, name: str, now: datetime) -> None:
        """Tell the people when more answers wait than a source's server takes."""
        with self._database.write() as connection:
            found = self._hint_in(connection, name, now)
            if found:
                self._alerts.raise_in(connection, now, "ManyAnswers", name, "warning", f"{name}: {found}", {})

    def _hint_in(self, connection: Connection, name: str, now: datetime) -> str:
        posts = self._standing(connection, name).posts
        if posts.limit is None:
            return ""
        replies = sa.and_(actions.c.via == name, actions.c.kind == str(ActionKind.REPLY))
        tasks = sa.and_(actions.c.via == HUMAN, actions.c.kind == str(ActionKind.TASK), mentions.c.source == name)
        waiting = (
            sa.select(sa.func.count())
            .select_from(actions.outerjoin(mentions, mentions.c.id == actions.c.mention_id))
            .where(actions.c.state == str(State.PLANNED), sa.or_(replies, tasks))
        )
        return hint(int(connection.scalar(waiting) or 0), posts, now)


def _source(name: str) -> sa.ColumnElement[bool]:
    return sa.and_(accounts.c.name == name, accounts.c.role == "source")


def _not_stopped() -> sa.ColumnElement[bool]:
    """What rests by a person's word does so until a person says otherwise, whatever a call that was under way tells."""
    return sa.or_(accounts.c.paused_until.is_(None), accounts.c.paused_until < STOPPED)
