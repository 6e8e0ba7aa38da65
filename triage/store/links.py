"""What the last looks at the links of prepared answers showed; one row of `meta` holds them all."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa

from triage.links import Look
from triage.store.database import Database
from triage.store.place import put
from triage.store.rows import clean
from triage.store.schema import meta

NAME = "answer_links"


class Links:
    """The looks, by link."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self) -> dict[str, Look]:
        """What is known of each link that was looked at."""
        with self._database.read() as connection:
            return _read(connection.scalar(sa.select(meta.c.value).where(meta.c.name == NAME)))

    def note(self, found: Mapping[str, Look], wanted: Collection[str]) -> None:
        """Keep what was found; what is known of links that nobody wants any more is forgotten."""
        with self._database.write() as connection:
            old = _read(connection.scalar(sa.select(meta.c.value).where(meta.c.name == NAME).with_for_update()))
            kept = {link: look for link, look in {**old, **found}.items() if link in wanted}
            held = {link: {"at": look.at.isoformat(), "gone": look.gone, "problem": clean(look.problem)} for link, look in kept.items()}
            put(connection, NAME, json.dumps(held))


def _read(value: str | None) -> dict[str, Look]:
    held = json.loads(value) if value else {}
    return {link: Look(datetime.fromisoformat(one["at"]), one["gone"], one["problem"]) for link, one in held.items()}
