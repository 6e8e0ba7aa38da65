"""The API of people: who has a log-in, and a person's own page.

What would let somebody in stays with the pages: a token that was found must not make itself a way in that outlives it. So no
invitation, no role, no password, nobody enabled and no other token is to be had here; what takes something away is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from triage.person import Person, Role
from triage.web.access import Id, Parts, Routes, Who
from triage.web.api import FAULTS
from triage.web.api_shapes import Said, Shape

routes = Routes(prefix="/api", responses=FAULTS)

Name = Annotated[str, Path(max_length=40)]


class PersonShape(BaseModel):
    """Somebody with a log-in; `disabled_at` is null while they may come in."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    shown: str
    role: Role
    handles: list[str]
    away: bool
    disabled_at: datetime | None
    seen_at: datetime | None


class Me(BaseModel):
    """Whose token it is."""

    name: str
    shown: str
    role: Role
    zone: str
    handles: list[str]
    away: bool


class Mine(Shape):
    """What to change of oneself; null stays as it is. `handles` are one's own accounts on platforms, `name@host`."""

    shown: Annotated[str | None, Field(max_length=80)] = None
    zone: Annotated[str | None, Field(max_length=100)] = None
    handles: Annotated[list[Annotated[str, Field(max_length=500)]] | None, Field(max_length=50)] = None


class SessionShape(BaseModel):
    """A log-in. `digest` names it, and lets nobody in."""

    digest: str
    made_at: datetime
    seen_at: datetime
    address: str
    agent: str


class Ending(Shape):
    """The session to end, by its digest."""

    session: Annotated[str, Field(min_length=1, max_length=200)]


class TokenShape(BaseModel):
    """A personal token, by its name."""

    id: int
    name: str
    made_at: datetime
    used_at: datetime | None


# Everybody


@routes.get("/people", Role.VIEWER)
def show_people(app: Parts) -> list[PersonShape]:
    """Everybody, by name."""
    return [PersonShape.model_validate(one) for one in app.store.people.all()]


@routes.post("/people/{name}/disable", Role.ADMIN)
def disable(name: Name, app: Parts, who: Who) -> Said:
    """No log-in any more; sessions and tokens end at once."""
    person = app.store.people.change(name, who.name, app.clock.now(), disabled=True)
    return Said(said=f"{person.called} can't log in any more")


@routes.post("/people/{name}/logout", Role.ADMIN)
def end_sessions(name: Name, app: Parts, who: Who) -> Said:
    """End their sessions; their tokens stay."""
    ended = app.store.sessions.end_all(app.store.people.named(name), app.clock.now(), who.name)
    return Said(said=f"{ended} sessions of {name} ended")


# One's own


@routes.get("/me", Role.VIEWER)
def show_me(who: Who) -> Me:
    """Whose token this is."""
    return _me(who)


@routes.post("/me", Role.VIEWER)
def change_me(asked: Mine, app: Parts, who: Who) -> Me:
    """Change how they are called, their time zone, or their own accounts on platforms; what is left out stays as it is."""
    shown = None if asked.shown is None else asked.shown.strip()
    zone = None if asked.zone is None else asked.zone.strip()
    return _me(app.store.people.change(who.name, who.name, app.clock.now(), shown=shown, zone=zone, handles=asked.handles))


@routes.post("/me/away", Role.VIEWER)
def sign_off(app: Parts, who: Who) -> Me:
    """Away: what they are answering goes back to the queue, and nothing new comes to them."""
    return _me(app.store.people.change(who.name, who.name, app.clock.now(), away=True))


@routes.post("/me/back", Role.VIEWER)
def come_back(app: Parts, who: Who) -> Me:
    """On shift again."""
    return _me(app.store.people.change(who.name, who.name, app.clock.now(), away=False))


@routes.get("/me/sessions", Role.VIEWER)
def show_sessions(app: Parts, who: Who) -> list[SessionShape]:
    """Where they are logged in, the last used first."""
    return [SessionShape.model_validate(one) for one in app.store.sessions.mine(who)]


@routes.post("/me/sessions/end", Role.VIEWER)
def end_session(asked: Ending, app: Parts, who: Who) -> Said:
    """End one of them, on a lost phone, say."""
    app.store.sessions.end_one(who, asked.session, app.clock.now())
    return Said(said="the session is ended")


@routes.get("/me/tokens", Role.VIEWER)
def show_tokens(app: Parts, who: Who) -> list[TokenShape]:
    """Their tokens that hold. What a token is was shown once, when it was made on the page."""
    return [TokenShape.model_validate(one) for one in app.store.sessions.tokens(who)]


@routes.post("/me/tokens/{token}/end", Role.VIEWER)
def end_token(token: Id, app: Parts, who: Who) -> Said:
    """A token of theirs is worth nothing from now on, be it this very one."""
    app.store.sessions.end_token(who, token, app.clock.now())
    return Said(said="the token is ended")


def _me(person: Person) -> Me:
    return Me(name=person.name, shown=person.called, role=person.role, zone=person.zone, handles=list(person.handles), away=person.away)
