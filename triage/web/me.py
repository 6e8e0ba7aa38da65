"""A person's own page: how they are called, their time zone and handles, sessions, tokens, password, and signing off."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request
from fastapi.responses import Response

from triage import passwords
from triage.errors import UserError
from triage.person import Role
from triage.store.people import digest, zones
from triage.web.access import Id, Parts, Routes, Who, logged_in
from triage.web.login import begin
from triage.web.render import done, render

routes = Routes()


@routes.get("/me", Role.VIEWER)
def show_me(request: Request, app: Parts, who: Who) -> Response:
    """Their own page."""
    return _page(request, app, who)


@routes.post("/me", Role.VIEWER)
def change(
    request: Request,
    app: Parts,
    who: Who,
    shown: Annotated[str, Form()] = "",
    zone: Annotated[str, Form()] = "UTC",
    handles: Annotated[str, Form()] = "",
) -> Response:
    """How they are called, their time zone, and their own accounts on platforms, one a line."""
    app.store.people.change(
        who.name, who.name, app.clock.now(), shown=shown.strip()[:80], zone=zone.strip(), handles=handles.splitlines()[:50]
    )
    return done(request, "saved", "/me")


@routes.post("/me/away", Role.VIEWER)
def sign_off(request: Request, app: Parts, who: Who) -> Response:
    """Away: what they are answering goes back to the queue, and nothing new comes to them."""
    app.store.people.change(who.name, who.name, app.clock.now(), away=True)
    return done(request, "you are signed off: what you were answering is back in the queue", "/me")


@routes.post("/me/back", Role.VIEWER)
def come_back(request: Request, app: Parts, who: Who) -> Response:
    """On shift again."""
    app.store.people.change(who.name, who.name, app.clock.now(), away=False)
    return done(request, "welcome back", "/me")


@routes.post("/me/sessions/end", Role.VIEWER)
def end_session(request: Request, app: Parts, who: Who, session: Annotated[str, Form()]) -> Response:
    """End one of their sessions, on a lost phone, say."""
    app.store.sessions.end_one(who, session, app.clock.now())
    return done(request, "the session is ended", "/me")


@routes.post("/me/tokens", Role.VIEWER)
def make_token(request: Request, app: Parts, who: Who, name: Annotated[str, Form()] = "") -> Response:
    """A personal token, which is shown once."""
    logged_in(request)
    return _page(request, app, who, token=app.store.sessions.make_token(who, name, app.clock.now()))


@routes.post("/me/tokens/{token_id}/end", Role.VIEWER)
def end_token(request: Request, app: Parts, who: Who, token_id: Id) -> Response:
    """A token of theirs is worth nothing from now on."""
    app.store.sessions.end_token(who, token_id, app.clock.now())
    return done(request, "the token is ended", "/me")


@routes.post("/me/password", Role.VIEWER)
def change_password(request: Request, app: Parts, who: Who, old: Annotated[str, Form()] = "", new: Annotated[str, Form()] = "") -> Response:
    """Another password. All sessions end, and this browser gets a new one."""
    logged_in(request)
    found = app.store.people.by_name(who.name)
    wait = app.store.sessions.wait((f"account {who.name}",), app.clock.now())
    if wait:
        raise UserError(f"too many tries; wait {wait:.0f} s")
    if found is None or not passwords.matches(old, found[1]):
        raise UserError("the old password does not fit; nothing was changed")
    app.store.people.set_password(who.name, found[1], passwords.hashed(new, who.name, who.shown), app.clock.now())
    return begin(request, app, who, "/me")


def _page(request: Request, app: Parts, who: Who, *, token: str = "") -> Response:
    session = getattr(request.state, "session", "")
    return render(
        request,
        "me.html",
        sessions=app.store.sessions.mine(who),
        this=digest(session) if session else "",
        tokens=app.store.sessions.tokens(who),
        token=token,
        zones=sorted(zones()),
    )
