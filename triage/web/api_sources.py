"""The API of the sources page and of the insights."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, Field, SecretStr

from triage.person import Role
from triage.pipeline import sources as verbs
from triage.web import insights, sources
from triage.web.access import Parts, Routes, Who
from triage.web.api import FAULTS
from triage.web.api_shapes import Said, Shape, Why

routes = Routes(prefix="/api", responses=FAULTS)

Account = Annotated[str, Path(max_length=200)]
Words = Annotated[str, Query(max_length=40)]


class SourceShape(BaseModel):
    """A source, tracker or notifier. A piece of `ledger` tells from when until when we have everything, or a hole."""

    name: str
    role: str
    kind: str
    configured: bool
    level: str
    state: str
    words: str
    cost: str
    held_back: int | None
    last_success_at: datetime | None
    behind: str
    ledger: list[dict[str, Any]]


class Token(Shape):
    """A new token, as its server gave it."""

    token: Annotated[SecretStr, Field(min_length=1, max_length=verbs.LONGEST_TOKEN)]


class TableShape(BaseModel):
    """A table of the insights, the cells as the page shows them; `note` says what is counted."""

    name: str
    title: str
    head: list[str]
    rows: list[list[str]]
    note: str


@routes.get("/sources", Role.VIEWER)
def show_sources(app: Parts, who: Who) -> list[SourceShape]:
    """How each source, tracker and notifier is, and from when to when we have everything."""
    return [
        SourceShape(
            name=card.name,
            role=card.role,
            kind=card.kind,
            configured=card.configured,
            level=card.state.level,
            state=card.state.word,
            words=card.state.words,
            cost=card.cost,
            held_back=card.account.held_back if card.account else None,
            last_success_at=card.account.last_success_at if card.account else None,
            behind=card.behind,
            ledger=[asdict(stretch) for stretch in card.ledger],
        )
        for card in sources.cards_of(app, who.zone)
    ]


@routes.post("/sources/{name}/poll", Role.TRIAGER)
def poll(name: Account, app: Parts, who: Who) -> Said:
    """Poll a source now: a worker does it within a second or two."""
    return Said(said=sources.poll_now(app, name, who.name))


@routes.post("/sources/{name}/let-in", Role.TRIAGER)
def let_in(name: Account, app: Parts, who: Who) -> Said:
    """Let in what the server holds back."""
    return Said(said=sources.let_all_in(app, name, who.name))


@routes.post("/sources/{name}/stop", Role.ADMIN)
def stop(name: Account, asked: Why, app: Parts, who: Who) -> Said:
    """Leave a source, tracker or notifier alone until somebody lets it go on."""
    return Said(said=sources.stopped(app, name, who.name, asked.why))


@routes.post("/sources/{name}/resume", Role.ADMIN)
def resume(name: Account, app: Parts, who: Who) -> Said:
    """Let it go on."""
    return Said(said=sources.resumed(app, name, who.name))


@routes.post("/sources/{name}/token", Role.ADMIN)
def renew(name: Account, asked: Token, app: Parts, who: Who) -> Said:
    """Replace its token, if its server takes the new one. The answer and the log never show it."""
    return Said(said=verbs.renew_token(app, name, asked.token.get_secret_value(), who.name))


@routes.get("/insights", Role.VIEWER)
def show_insights(
    app: Parts,
    who: Who,
    days: Words = "",
    first: Annotated[str, Query(alias="from", max_length=40)] = "",
    last: Annotated[str, Query(alias="to", max_length=40)] = "",
) -> list[TableShape]:
    """The tables of the insights page; answers by person for approvers alone."""
    report = app.store.insights.report(insights.asked(app, days, first, last), app.clock.now())
    return [
        TableShape(name=one.name, title=one.title, head=list(one.head), rows=[list(row) for row in one.rows], note=one.note)
        for one in insights.tables_of(report, who)
    ]
