"""Log-in, log-out, and the page to which an invitation leads."""

from __future__ import annotations

import math
from ipaddress import ip_address, ip_network
from typing import Annotated

from fastapi import Form, Request
from fastapi.responses import RedirectResponse, Response

from triage import passwords
from triage.app import App
from triage.errors import UserError
from triage.person import Person, Role
from triage.web.access import OPEN, Denied, Parts, Routes, Who, cookie_name, from_here, identify, is_tls
from triage.web.render import render

routes = Routes()


@routes.get("/login", OPEN)
def show_login(request: Request, app: Parts, next: str = "/") -> Response:
    """The form; whoever is logged in already goes on."""
    if identify(request) is not None:
        return RedirectResponse(_inside(next), 303)
    return render(request, "login.html", next=_inside(next), name="", refused="", first=not app.store.people.any())


@routes.post("/login", OPEN)
def log_in(
    request: Request,
    app: Parts,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """A session, where name and password fit together and nobody guessed too often before. The answer never tells which was wrong."""
    _from_here(request)
    name, now = name.strip().lower(), app.clock.now()
    subjects = (f"account {name[:100]}", f"address {network(request)}")
    wait = app.store.sessions.wait(subjects, now)
    found = app.store.people.by_name(name) if not wait else None
    fits = not wait and passwords.matches(password, found[1] if found else "")
    if found is None or not fits or found[0].disabled_at is not None:
        why = f"too many tries; wait {math.ceil(wait)} s" if wait else "name and password don't fit together"
        return render(request, "login.html", 429 if wait else 401, next=_inside(next), name=name, refused=why, first=False)
    app.store.sessions.fitted(*subjects)
    return begin(request, app, found[0], _inside(next), password=found[1])


@routes.post("/logout", Role.VIEWER)
def log_out(request: Request, app: Parts, who: Who) -> Response:
    """End this session."""
    if not request.state.by_cookie:
        raise UserError("a token has no session to end; end the token itself on your page")
    app.store.sessions.end(request.state.session, app.clock.now(), who.name)
    app.store.presence.gone(who.name)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(cookie_name(app.config.web), path="/", secure=is_tls(app.config.web), httponly=True, samesite="lax")
    return response


@routes.get("/welcome", OPEN)
def show_welcome(request: Request, app: Parts, token: str = "") -> Response:
    """Where an invitation leads."""
    found = app.store.people.invitation(token, app.clock.now())
    if found is None:
        raise UserError("this invitation was used or is too old; ask an admin for a new one (triage people invite)")
    return render(request, "welcome.html", token=token, role=found[0], name=found[1], shown="", known=bool(found[1]), refused="")


@routes.post("/welcome", OPEN)
def come(
    request: Request,
    app: Parts,
    token: Annotated[str, Form()],
    password: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    shown: Annotated[str, Form()] = "",
) -> Response:
    """Make the person, or give them their new password, and log them in."""
    _from_here(request)
    now, name = app.clock.now(), name.strip().lower()
    found = app.store.people.invitation(token, now)
    try:
        if found is None:
            raise UserError("this invitation was used or is too old; ask an admin for a new one (triage people invite)")
        person = app.store.people.come(token, name, shown.strip()[:80], passwords.hashed(password, name, shown, found[1]), now)
    except UserError as error:
        if found is None:
            raise
        known = bool(found[1])
        name = found[1] or name
        return render(request, "welcome.html", 409, token=token, refused=str(error), role=found[0], name=name, shown=shown, known=known)
    return begin(request, app, person, "/")


def address(request: Request) -> str:
    """The caller's address; uvicorn has put the one in that a trusted proxy told (`web.proxies`)."""
    return request.client.host if request.client else "unknown"


def network(request: Request) -> str:
    """What tries are counted by: the address, or of version 6 its /64, which one customer has for themselves."""
    try:
        found = ip_address(address(request))
    except ValueError:
        return address(request)
    return str(found) if found.version == 4 else str(ip_network((found, 64), strict=False))


def begin(request: Request, app: App, person: Person, to: str, *, password: str | None = None) -> Response:
    """Log the person in, with a new session in place of the one that the browser may have, and go to `to`."""
    web = app.config.web
    agent, before = request.headers.get("user-agent", ""), request.cookies.get(cookie_name(web), "")
    token = app.store.sessions.start(person, app.clock.now(), address=address(request), agent=agent, password=password, before=before)
    response = RedirectResponse(to, 303)
    response.set_cookie(cookie_name(web), token, max_age=int(web.longest), path="/", secure=is_tls(web), httponly=True, samesite="lax")
    return response


def _from_here(request: Request) -> None:
    if not from_here(request):
        raise Denied(403, "this did not come from a page of ours; open the page at its own address and try again (web.url)")


def _inside(to: str) -> str:
    """Where to go after the log-in: a path of ours, never another site, and not the log-in again."""
    fine = to.startswith("/") and not to.startswith(("//", "/login")) and "\\" not in to and to.isprintable()
    return to if fine else "/"
