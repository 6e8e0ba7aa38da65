"""Who may come in, and what they may do: deny by default.

Every route is made by `Routes`, and so names the least role that may use it, or says that it is `OPEN`; `table` refuses an
application that has any other. A page's reader is known by a session cookie, a program by a personal token. A write by cookie
must also carry the session's token against forgery and come from our own origin (OWASP's cross-site request forgery cheat sheet,
"Synchronizer token" and "Verifying origin").
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Form, Path, Request
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.concurrency import run_in_threadpool
from starlette.routing import Mount

from triage.app import App
from triage.config import Web
from triage.person import Person, Role

OPEN = "open"
"""In place of a role: everybody may use the route, logged in or not."""

PREFIX = "Bearer "
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
_ROLE = "x-triage-role"


class Denied(Exception):
    """The request is refused. `status` is 401 (log in first), 403 (not with this role, or not from here)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Routes:
    """A group of routes; each names the least role that may use it.

    Handlers are plain functions, which run in threads, since the store waits. `@routes.get("/sources", Role.VIEWER)`.
    """

    def __init__(self, *, prefix: str = "", **more: Any) -> None:
        self.router = APIRouter(prefix=prefix, **more)

    def get(self, path: str, role: Role | str, **more: Any) -> Callable[[Any], Any]:
        """A page or an answer; it changes nothing."""
        return self._add("GET", path, role, more)

    def post(self, path: str, role: Role | str, **more: Any) -> Callable[[Any], Any]:
        """Something that changes."""
        return self._add("POST", path, role, more)

    def put(self, path: str, role: Role | str, **more: Any) -> Callable[[Any], Any]:
        """Something that is set to what is given."""
        return self._add("PUT", path, role, more)

    def delete(self, path: str, role: Role | str, **more: Any) -> Callable[[Any], Any]:
        """Something that goes."""
        return self._add("DELETE", path, role, more)

    def _add(self, method: str, path: str, role: Role | str, more: dict[str, Any]) -> Callable[[Any], Any]:
        guards = [] if role == OPEN else [Depends(_guard(Role(role)))]
        extra = {**more.pop("openapi_extra", {}), _ROLE: str(role)}

        def add(endpoint: Any) -> Any:
            self.router.add_api_route(path, endpoint, methods=[method], dependencies=guards, openapi_extra=extra, **more)
            return endpoint

        return add


def table(web: FastAPI) -> dict[tuple[str, str], str]:
    """Every route of an application and the least role that may use it; `RuntimeError` when one has none."""
    found: dict[tuple[str, str], str] = {}
    for place in iter_route_contexts(web.routes):  # an included router's routes don't stand in `web.routes` themselves
        route, path = place.original_route, place.path or ""
        if isinstance(route, Mount) and path.startswith("/assets/"):
            continue  # files of ours, which are the same for everybody
        role = (route.openapi_extra or {}).get(_ROLE) if isinstance(route, APIRoute) else None
        if role is None or not isinstance(route, APIRoute):
            raise RuntimeError(f"{path or route} names no role; make it with triage.web.access.Routes")
        for method in route.methods or ():
            found[method, path] = role
    return found


def _guard(role: Role) -> Callable[[Request], Any]:
    async def guard(request: Request) -> None:
        person = await run_in_threadpool(identify, request)
        if person is None:
            raise Denied(401, "log in first")
        if request.method != "GET" and request.state.by_cookie:
            await _not_forged(request)
        if not person.role.may(role):
            raise Denied(403, f"this needs the role {role}; yours is {person.role}. An admin can change it")
        request.state.person = person

    return guard


def identify(request: Request) -> Person | None:
    """Who is asking: by a personal token, else by the session's cookie; None when neither holds."""
    app: App = request.app.state.parts
    now = app.clock.now()
    given = request.headers.get("authorization", "")
    if given:
        request.state.by_cookie = False
        return app.store.sessions.bearer(given.removeprefix(PREFIX), now) if given.startswith(PREFIX) else None
    request.state.by_cookie = True
    token = request.cookies.get(cookie_name(app.config.web), "")
    if not token:
        return None
    request.state.session = token
    # What a page asks by itself (live.js) is no use of a session: else one that nobody sits at would never be over.
    used = request.headers.get("x-unasked") is None and request.url.path != "/live"
    return app.store.sessions.person(token, now, idle=app.config.web.idle, longest=app.config.web.longest, used=used)


def is_tls(web: Web) -> bool:
    """Whether browsers reach us over TLS: `web.url` says so."""
    return bool(web.url) and urlsplit(web.url or "").scheme == "https"


def cookie_name(web: Web) -> str:
    """`__Host-` binds a cookie to this very host and to TLS; on plain loopback http browsers would not send such a one back."""
    return "__Host-triage" if is_tls(web) else "triage"


def csrf(session: str) -> str:
    """The token against forgery that belongs to a session."""
    return hmac.new(session.encode(), b"csrf", hashlib.sha256).hexdigest()


def own_origin(request: Request) -> str | None:
    """The origin that our pages have: of `web.url`, else of the Host header, which must then name this machine."""
    web: Web = request.app.state.parts.config.web
    if web.url:
        return web.url.rstrip("/")
    host = request.headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return f"http://{host}" if name in LOOPBACK | {web.host} else None


def from_here(request: Request) -> bool:
    """Whether a write comes from a page of ours, by its Origin, else by what the browser says of the site."""
    ours, origin = own_origin(request), request.headers.get("origin")
    if ours is None:
        return False  # another name was made to point at this machine; to the browser its pages are of the same site
    return origin == ours if origin is not None else request.headers.get("sec-fetch-site") == "same-origin"


async def _not_forged(request: Request) -> None:
    if not from_here(request):
        raise Denied(403, "this did not come from a page of ours; open the page at its own address and try again (web.url)")
    given = request.headers.get("x-csrf-token", "")
    if not given and request.headers.get("content-type", "").startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        field = (await request.form()).get("csrf", "")
        given = field if isinstance(field, str) else ""
    if not hmac.compare_digest(given.encode(), csrf(request.state.session).encode()):
        raise Denied(403, "this page is from an earlier session; reload it, your draft is kept")


def logged_in(request: Request) -> None:
    """Whoever found a token must not be able to make more of it: `Denied` unless a person is logged in."""
    if not request.state.by_cookie:
        raise Denied(403, "this needs a log-in; a token can't do it")


def _who(request: Request) -> Person:
    person: Person = request.state.person
    return person


def _parts(request: Request) -> App:
    parts: App = request.app.state.parts
    return parts


Id = Annotated[int, Path(ge=1, le=2**62)]
"""A handler's parameter: a number in the address by which the store knows something. Larger ones no database takes."""

FormId = Annotated[int, Form(ge=1, le=2**62)]
"""The same in a form."""

Who = Annotated[Person, Depends(_who)]
"""A handler's parameter: the person who asks."""

Parts = Annotated[App, Depends(_parts)]
"""A handler's parameter: what the verbs work with."""
