"""What the far side carries for an action: made of the action's key with the install's secret, so that no poster can plant one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from triage.errors import StoreError
from triage.mention import ActionKind
from triage.store import batch
from triage.store.database import Database
from triage.store.moves import add_audit
from triage.store.place import Place, Stand, put
from triage.store.schema import actions, meta

MARKED = (ActionKind.TICKET, ActionKind.COMMENT)


def marker(secret: bytes, key: str) -> str:
    """The marker of a key: nobody without the install's secret can make one up."""
    return hmac.new(secret, key.encode(), hashlib.sha256).hexdigest()[:20]


def marker_of(row: Mapping[Any, Any], stand: Stand) -> str:
    """What the far side carries for this action: what it carried when it was first sent, whatever the secret is now."""
    return row["marker"] or marker(stand.secret, row["key"])


class Markers:
    """The install's secret and what was made with it."""

    def __init__(self, database: Database, place: Place) -> None:
        self._database = database
        self._place = place

    def rotate(self, now: datetime, by: str) -> int:
        """Make a new install secret. What was sent keeps its marker; returns for how many it had to be written down.

        The old secret stays in the store, as `install_secret/<number>`. `StoreError` in restore mode: what was sent and
        forgotten can only be found with the secret of that time.
        """
        with self._database.write() as connection:
            stand = self._place.stand_in(connection, now)
            if stand.until is not None:
                raise StoreError(
                    f"restore mode is on until {stand.until:%Y-%m-%d %H:%M} UTC and looks for the old markers; rotate after that"
                )
            sent = sa.select(actions.c.id, actions.c.key).where(
                actions.c.kind.in_(MARKED), actions.c.first_intent_at.is_not(None), actions.c.marker.is_(None)
            )
            bare = [{"id": row.id, "marker": marker(stand.secret, row.key)} for row in connection.execute(sent.with_for_update())]
            batch.change(connection, actions, bare)
            old = connection.scalar(sa.select(sa.func.count()).where(meta.c.name.like("install_secret/%"))) or 0
            put(connection, f"install_secret/{old + 1}", stand.secret.hex())
            put(connection, "install_secret", secrets.token_hex(32))
            add_audit(connection, now, by, "rotated the install secret", detail=f"{len(bare)} markers written down")
        return len(bare)
