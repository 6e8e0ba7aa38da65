"""What a list is narrowed to, and how that is asked of mentions, their last verdicts and their items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from triage.store.schema import items, mentions, verdicts


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to, as the address holds it. `assigned` is a person's name, or `nobody`."""

    state: str = "open"
    label: str = ""
    source: str = ""
    language: str = ""
    assigned: str = ""
    private: bool = False
    angry: bool = False
    unsure: bool = False
    q: str = ""

    @property
    def narrowed(self) -> bool:
        """Whether something beside the state leaves rows out."""
        return replace(self, state="open", q="") != Filters()


def last_verdict() -> Any:
    """The id of a mention's last verdict."""
    inner = verdicts.alias("newest")
    return sa.select(sa.func.max(inner.c.id)).where(inner.c.mention_id == mentions.c.id).correlate(mentions).scalar_subquery()


def narrowing(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """The filters, on mentions, their last verdict and their items."""
    found: list[sa.ColumnElement[bool]] = []
    if filters.label:
        found.append(verdicts.c.label == filters.label)
    if filters.source:
        found.append(mentions.c.source == filters.source)
    if filters.language:
        found.append(mentions.c.language == filters.language)
    if filters.private:
        found.append(mentions.c.visibility.in_(["private", "direct"]))
    if filters.unsure:
        found.append(verdicts.c.sure.is_(False))
    if filters.angry:
        found.append(sa.cast(verdicts.c.data["signals"], sa.Text).like('%"anger"%'))
    if filters.assigned:
        found.append(items.c.assignee.is_(None) if filters.assigned == "nobody" else items.c.assignee == filters.assigned)
    return found


ORDERING = (
    mentions.c.id,
    mentions.c.source,
    mentions.c.created_at,
    verdicts.c.label,
    items.c.answered_at.is_not(None).label("answered"),
)


def mention_columns(filters: Filters) -> sa.Select[Any]:
    """What the order of an item depends on, of the mentions that the filters let through."""
    return (
        sa.select(*ORDERING)
        .select_from(mentions.outerjoin(verdicts, verdicts.c.id == last_verdict()).outerjoin(items, items.c.mention_id == mentions.c.id))
        .where(*narrowing(filters))
    )
