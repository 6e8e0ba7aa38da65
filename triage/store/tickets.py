"""Tickets as their tracker shows them: status, resolution and fix versions, read back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from triage.mention import ActionKind, Ticket
from triage.store import rows
from triage.store.database import Database
from triage.store.moves import add_audit
from triage.store.schema import actions, problems


class Tickets:
    """What became of the tickets that we filed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changed(self, tracker: str, shown: Iterable[Ticket], now: datetime) -> int:
        """Read statuses, resolutions and fix versions back; returns how many differ from what we knew."""
        count = 0
        with self._database.write() as connection:
            for ticket in sorted(shown, key=lambda ticket: ticket.id):  # every transaction takes rows in one order
                # A person who said "it exists" gave its key; from now on we know its id too.
                same = problems.c.ticket_id.in_([ticket.id, ticket.key])
                known = connection.execute(sa.select(problems.c.id, problems.c.ticket).where(problems.c.tracker == tracker, same)).first()
                data = rows.of_ticket(ticket)
                if known is None or known.ticket == data:
                    continue
                connection.execute(sa.update(problems).where(problems.c.id == known.id).values(ticket_id=ticket.id, ticket=data))
                filed = sa.select(actions.c.id, actions.c.mention_id).where(
                    actions.c.problem_id == known.id, actions.c.kind == str(ActionKind.TICKET)
                )
                for action_id, mention_id in connection.execute(filed).all():
                    words = f"{ticket.key} is {ticket.status or 'changed'}" + (f", {ticket.resolution}" if ticket.resolution else "")
                    add_audit(connection, now, tracker, "ticket changed", mention_id=mention_id, action_id=action_id, detail=words)
                count += 1
        return count
