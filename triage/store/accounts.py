"""The accounts that we talk to (sources, trackers, notifiers): how they are, when they rest, and what the people on call are told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.delivery import pause_seconds
from triage.mention import HUMAN, ActionKind, State
from triage.store import rows
from triage.store.database import Database, insert
from triage.store.moves import add_audit, close_alert, open_alerts
from triage.store.schema import OPEN, accounts, actions, alerts, mentions, meta

WELL = {"failures": 0, "refusals": 0, "paused_until": None, "paused_why": ""}
TOLD = timedelta(hours=1)  # an alert about something that is over when it is found stands for so long


class Accounts:
    """Health and rest of every account, and the service's own alerts. What ends in `_in` works within the caller's transaction."""

    def __init__(self, database: Database, *, site: str, notifiers: Sequence[str], observe: bool) -> None:
        self._database = database
        self._site = site
        self._notifiers = tuple(notifiers)
        self._observe = observe

    def failed(self, role: str, name: str, why: str, now: datetime, *, pause: bool, after: float | None = None) -> int:
        """A call to an account failed; returns its failures in a row. `pause` leaves it alone for a while, `after` for so many seconds."""
        with self._database.write() as connection:
            connection.execute(insert(connection, accounts).values(name=name, role=role).on_conflict_do_nothing())
            this = sa.and_(accounts.c.name == name, accounts.c.role == role)
            connection.execute(sa.update(accounts).where(this).values(failures=accounts.c.failures + 1, last_error=rows.clean(why)))
            if pause:
                self.pause_in(connection, name, why, now)
            elif after is not None:
                connection.execute(
                    sa.update(accounts).where(this).values(paused_until=now + timedelta(seconds=after), paused_why=rows.clean(why))
                )
            return int(connection.scalar(sa.select(accounts.c.failures).where(this)) or 0)

    def succeeded(self, role: str, name: str, now: datetime) -> bool:
        """A call to an account worked: whatever kept it is over. True when it had been failing."""
        with self._database.write() as connection:
            connection.execute(insert(connection, accounts).values(name=name, role=role).on_conflict_do_nothing())
            this = sa.and_(accounts.c.name == name, accounts.c.role == role)
            was_failing = bool(connection.scalar(sa.select(accounts.c.failures).where(this)))
            connection.execute(sa.update(accounts).where(this).values(last_success_at=now, last_error="", **WELL))
            self.clear_in(connection, now, "AccountPaused", name)
            self.clear_in(connection, now, "SourceFailing", name)
        return was_failing

    def pause_in(self, connection: Connection, name: str, why: str, now: datetime) -> None:
        """It refuses us: let it rest, longer each time, and tell the people on call."""
        this = accounts.c.name == name
        connection.execute(sa.update(accounts).where(this).values(refusals=accounts.c.refusals + 1))
        refusals = connection.scalar(sa.select(sa.func.max(accounts.c.refusals)).where(this)) or 1
        until = now + timedelta(seconds=pause_seconds(refusals))
        statement = sa.update(accounts).where(this)
        connection.execute(statement.values(paused_until=until, paused_why=rows.clean(why), last_error=rows.clean(why)))
        summary = f"{name} refuses us and rests until {until:%H:%M} UTC: {why}. Renew its token, then: triage doctor"
        self.raise_in(connection, now, "AccountPaused", name, "critical", summary, {"account": name})

    def know(self, role: str, names: Sequence[str]) -> None:
        """Make sure that trackers and notifiers have their rows, on which pauses are written."""
        if names:
            with self._database.write() as connection:
                connection.execute(insert(connection, accounts).on_conflict_do_nothing(), [{"name": name, "role": role} for name in names])

    def unpause(self, now: datetime) -> None:
        """Forget all pauses, as a restart with a new token wants it."""
        with self._database.write() as connection:
            connection.execute(sa.update(accounts).where(accounts.c.paused_until.is_not(None)).values(**WELL))
            freed = sa.update(actions).where(
                actions.c.state == str(State.PLANNED),
                actions.c.via != HUMAN,
                actions.c.due_at > now,
                actions.c.kind != str(ActionKind.ALERT),
            )
            connection.execute(freed.values(due_at=now))

    def raise_alert(self, now: datetime, name: str, subject: str, severity: str, summary: str) -> None:
        """Tell the people on call, once while it lasts."""
        with self._database.write() as connection:
            self.raise_in(connection, now, name, subject, severity, summary, {})

    def end_alerts(self, now: datetime) -> int:
        """Close alerts whose cause is over: a brake that holds nothing any more, late mentions that were told an hour ago."""
        open_ = sa.select(alerts).where(alerts.c.name.in_(["Brake", "LateMentions"]), alerts.c.closed_at.is_(None))
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
                else:
                    over = now - alert["opened_at"] > TOLD
                if over:
                    close_alert(connection, now, alert["id"])
                    ended += 1
        return ended

    def clear_alert(self, now: datetime, name: str, subject: str) -> None:
        """It is over."""
        with self._database.write() as connection:
            self.clear_in(connection, now, name, subject)

    def raise_in(
        self, connection: Connection, now: datetime, name: str, subject: str, severity: str, summary: str, labels: dict[str, str]
    ) -> None:
        """Tell the people on call, once while it lasts."""
        known = connection.scalar(
            sa.select(alerts.c.id).where(alerts.c.name == name, alerts.c.subject == subject, alerts.c.closed_at.is_(None))
        )
        if known is not None:
            return
        wanted = {(name, subject): {"severity": severity, "summary": summary, "labels": labels}}
        alert_id = open_alerts(connection, now, wanted)[name, subject]
        add_audit(connection, now, "triage", f"alert {name}", detail=summary)
        for notifier in self._notifiers:
            row = {
                "key": f"{self._site}/alert/{alert_id}/{notifier}",
                "kind": str(ActionKind.ALERT),
                "via": notifier,
                "state": str(State.OBSERVED if self._observe else State.PLANNED),
                "alert_id": alert_id,
                "reason": rows.clean(summary),
                "rule": "",
                "payload": {},
                "due_at": None if self._observe else now,
                "created_at": now,
            }
            connection.execute(insert(connection, actions).on_conflict_do_nothing(), [row])

    def clear_in(self, connection: Connection, now: datetime, name: str, subject: str) -> None:
        """It is over."""
        open_ = sa.select(alerts.c.id).where(alerts.c.name == name, alerts.c.subject == subject, alerts.c.closed_at.is_(None))
        for (alert_id,) in connection.execute(open_).all():
            close_alert(connection, now, alert_id)

    def turn(self, name: str, now: datetime, every: timedelta) -> tuple[bool, datetime | None]:
        """Whether it is time for something periodic, and when it was done last. Of several processes one gets the turn."""
        with self._database.write() as connection:
            old = connection.scalar(sa.select(meta.c.value).where(meta.c.name == name).with_for_update())
            last = datetime.fromisoformat(old) if old else None
            if last is not None and now - last < every:
                return False, last
            if old is None:
                statement = insert(connection, meta).values(name=name, value=now.isoformat()).on_conflict_do_nothing()
            else:
                statement = sa.update(meta).where(meta.c.name == name, meta.c.value == old).values(value=now.isoformat())
            mine = connection.execute(statement.returning(meta.c.name)).first() is not None
        return mine, last

    def unturn(self, name: str, last: datetime | None) -> None:
        """It was our turn and it failed: what was last done well stands."""
        with self._database.write() as connection:
            if last is None:
                connection.execute(sa.delete(meta).where(meta.c.name == name))
            else:
                connection.execute(sa.update(meta).where(meta.c.name == name).values(value=last.isoformat()))

    def paused_until_in(self, connection: Connection, via: str, now: datetime) -> datetime | None:
        """Until when an account rests; None when it does not."""
        statement = sa.select(sa.func.max(accounts.c.paused_until)).where(accounts.c.name == via, accounts.c.paused_until > now)
        until: datetime | None = connection.scalar(statement)
        return until
