"""What the service itself tells the people on call: once while it lasts, and again when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.mention import ActionKind, State
from triage.store import rows
from triage.store.database import Database, insert
from triage.store.moves import add_audit, close_alert, open_alerts
from triage.store.schema import actions, alerts


class Alerts:
    """The service's own alerts; those that a rule asks for are plans of the inbox. What ends in `_in` works in the caller's transaction."""

    def __init__(self, database: Database, *, site: str, notifiers: Sequence[str], observe: bool) -> None:
        self._database = database
        self._site = site
        self._notifiers = tuple(notifiers)
        self._observe = observe

    def open(self, now: datetime, name: str, subject: str, severity: str, summary: str) -> None:
        """Tell the people on call, once while it lasts."""
        with self._database.write() as connection:
            self.raise_in(connection, now, name, subject, severity, summary, {})

    def clear(self, now: datetime, name: str, subject: str) -> None:
        """It is over."""
        with self._database.write() as connection:
            self.clear_in(connection, now, [name], subject)

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

    def clear_in(self, connection: Connection, now: datetime, names: Sequence[str], subject: str) -> None:
        """These are over."""
        open_ = sa.select(alerts.c.id).where(alerts.c.name.in_(names), alerts.c.subject == subject, alerts.c.closed_at.is_(None))
        for (alert_id,) in connection.execute(open_).all():
            close_alert(connection, now, alert_id)
