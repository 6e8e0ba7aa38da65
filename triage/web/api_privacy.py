"""The API of one person's data, whose posts came in: what is held, all of it as a document, erasure; and how long posts are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from triage.person import Role
from triage.pipeline import privacy as verbs
from triage.store.privacy import UNREACHED
from triage.web.access import Parts, Routes, Who
from triage.web.api import FAULTS, plain
from triage.web.api_shapes import Shape
from triage.web.privacy import kept_days, typed_twice

routes = Routes(prefix="/api/privacy", responses=FAULTS)

Handle = Annotated[str, Field(min_length=1, max_length=500)]


class TicketLink(BaseModel):
    """A ticket that holds words of theirs."""

    key: str
    url: str


class HeldShape(BaseModel):
    """What is held of one person: rows by table, their tickets, links of our answers. `busy` mentions can't be erased now."""

    handle: str
    counts: dict[str, int]
    tickets: list[TicketLink]
    answers: list[str]
    busy: int


class PrivacyShape(BaseModel):
    """How many days posts are kept, by label; what is held of the person who was asked about; what no erasure reaches."""

    retention: dict[str, int]
    unreached: list[str]
    held: HeldShape | None


class Whose(Shape):
    """A person by their handle, `name@host`."""

    handle: Handle


class Erasing(Shape):
    """A person by their handle, and the handle again: it can't be undone."""

    handle: Handle
    again: Handle


class ReceiptShape(BaseModel):
    """What an erasure did. `number` names it in the trail without the person; `left` mentions are under way and stay for now."""

    number: str
    counts: dict[str, int]
    left: int
    tickets: list[TicketLink]
    unreached: list[str]


@routes.get("", Role.ADMIN)
def show_privacy(app: Parts, handle: Annotated[str, Query(max_length=500)] = "") -> PrivacyShape:
    """What is held of `handle` (`name@host`), null without one; how many days posts are kept, and what an erasure can't reach."""
    held = app.store.privacy.preview(handle) if handle.strip() else None
    return PrivacyShape(
        retention=kept_days(app),
        unreached=list(UNREACHED),
        held=None
        if held is None
        else HeldShape(
            handle=held.handle, counts=dict(held.counts), tickets=_links(held.tickets), answers=list(held.answers), busy=held.busy
        ),
    )


@routes.post("/export", Role.ADMIN)
def export(asked: Whose, app: Parts, who: Who) -> dict[str, Any]:
    """All that is held of a person, as one document; the trail notes that it was taken out."""
    document: dict[str, Any] = plain(app.store.privacy.export(asked.handle, who.name, app.clock.now()))
    return document


@routes.post("/erase", Role.ADMIN)
def erase(asked: Erasing, app: Parts, who: Who) -> ReceiptShape:
    """Erase it; it can't be undone. `again` is the handle a second time, or nothing is erased."""
    typed_twice(asked.handle, asked.again)
    receipt = verbs.erase(app, asked.handle, who.name)
    return ReceiptShape(
        number=receipt.number,
        counts=dict(receipt.counts),
        left=receipt.left,
        tickets=_links(receipt.tickets),
        unreached=list(receipt.unreached),
    )


def _links(tickets: Sequence[tuple[str, str]]) -> list[TicketLink]:
    return [TicketLink(key=key, url=url) for key, url in tickets]
