"""Who has a log-in: everybody sees the list, admins change it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request
from fastapi.responses import Response

from triage.errors import UserError
from triage.person import Role
from triage.store.people import INVITATION_LASTS
from triage.web.access import Parts, Routes, Who, logged_in, own_origin
from triage.web.render import done, render

routes = Routes()


@routes.get("/people", Role.VIEWER)
def show_people(request: Request, app: Parts, who: Who) -> Response:
    """Everybody, by name."""
    return _page(request, app, who)


@routes.post("/people", Role.ADMIN)
def invite(request: Request, app: Parts, who: Who, role: Annotated[str, Form()]) -> Response:
    """A link for somebody new, which is shown once."""
    logged_in(request)
    token = app.store.people.invite(_role(role), who.name, app.clock.now())
    return _page(request, app, who, token=token, token_for=f"somebody new, as {role}")


@routes.post("/people/{name}/role", Role.ADMIN)
def change_role(request: Request, app: Parts, who: Who, name: str, role: Annotated[str, Form()]) -> Response:
    """Another role, from their next request on."""
    logged_in(request)
    person = app.store.people.change(name, who.name, app.clock.now(), role=_role(role))
    return done(request, f"{person.called} is {person.role} now", "/people")


@routes.post("/people/{name}/handles", Role.ADMIN)
def change_handles(request: Request, app: Parts, who: Who, name: str, handles: Annotated[str, Form()] = "") -> Response:
    """Their own accounts on platforms, one a line, also such by which posts are in the inbox."""
    logged_in(request)
    lines = handles.splitlines()[:50]
    person = app.store.people.change(name, who.name, app.clock.now(), handles=lines, with_posts=True)
    return done(request, f"saved: {person.called}'s own accounts", "/people")


@routes.post("/people/{name}/disable", Role.ADMIN)
def disable(request: Request, app: Parts, who: Who, name: str) -> Response:
    """No log-in any more; sessions and tokens end at once."""
    person = app.store.people.change(name, who.name, app.clock.now(), disabled=True)
    return done(request, f"{person.called} can't log in any more", "/people")


@routes.post("/people/{name}/enable", Role.ADMIN)
def enable(request: Request, app: Parts, who: Who, name: str) -> Response:
    """They may log in again."""
    logged_in(request)
    person = app.store.people.change(name, who.name, app.clock.now(), disabled=False)
    return done(request, f"{person.called} can log in again", "/people")


@routes.post("/people/{name}/password", Role.ADMIN)
def new_password(request: Request, app: Parts, who: Who, name: str) -> Response:
    """A link by which they choose a new password, which is shown once."""
    logged_in(request)
    token = app.store.people.invite(app.store.people.named(name).role, who.name, app.clock.now(), name=name)
    return _page(request, app, who, token=token, token_for=f"{name}, for a new password")


@routes.post("/people/{name}/logout", Role.ADMIN)
def end_sessions(request: Request, app: Parts, who: Who, name: str) -> Response:
    """End their sessions; their tokens stay."""
    ended = app.store.sessions.end_all(app.store.people.named(name), app.clock.now(), who.name)
    return done(request, f"{ended} sessions of {name} ended", "/people")


def _page(request: Request, app: Parts, who: Who, *, token: str = "", token_for: str = "") -> Response:
    link = f"{own_origin(request) or ''}/welcome?token={token}" if token else ""
    return render(
        request,
        "people.html",
        people=app.store.people.all(),
        roles=list(Role),
        manages=who.role.may(Role.ADMIN),
        link=link,
        link_for=token_for,
        days=INVITATION_LASTS.days,
    )


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError:
        raise UserError(f"{name!r} is no role; take one of {', '.join(Role)}") from None
