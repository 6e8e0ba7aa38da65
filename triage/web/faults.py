"""What a person sees when something is refused or goes wrong: a clear message in place, and never a traceback."""

from __future__ import annotations

import json
import uuid
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triage.errors import Missing, RemoteError, StoreError, UserError
from triage.web.access import Denied, is_tls
from triage.web.headers import headers_of
from triage.web.render import is_part, render

log = structlog.get_logger()
TOO_LARGE = "this is too large; a megabyte at most can be sent"
TITLES = {403: "Not allowed", 404: "Not found", 409: "Not done", 413: "Too large"}
"""What a page that tells of a refusal is called; the number is in the answer's status."""


def handle(web: FastAPI) -> None:
    """Teach an application to answer errors: JSON under /api, a message in place for a part of a page, else a page."""
    web.add_exception_handler(Denied, _denied)
    web.add_exception_handler(UserError, _refused)
    web.add_exception_handler(RemoteError, _remote)
    web.add_exception_handler(HTTPException, _http)
    web.add_exception_handler(RequestValidationError, _unreadable)
    web.add_exception_handler(Exception, _broken)


class Sizes:
    """Refuses a body that is too large, as soon as that is known. FastAPI's own limit lies outside of what adds our headers."""

    def __init__(self, app: ASGIApp, *, largest: int) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is small enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._largest:
            await answer(Request(scope, receive), 413, TOO_LARGE)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._largest:
                raise HTTPException(413, TOO_LARGE)
            return message

        await self._app(scope, counted, send)


def answer(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Say `message`, in the form that the caller reads."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": message}, status, headers)
    if is_part(request):
        # htmx leaves the page as it is on an error; live.js shows what `refused` says, so that nothing typed is lost.
        said = json.dumps({"refused": message})
        return Response(status_code=status, headers={"HX-Trigger": said, "HX-Reswap": "none"} | (headers or {}))
    return render(request, "fault.html", status, headers, title=TITLES.get(status, "Something went wrong"), message=message)


def _denied(request: Request, error: Exception) -> Response:
    assert isinstance(error, Denied)
    if error.status != 401 or request.url.path.startswith("/api/") or "authorization" in request.headers:
        return answer(request, error.status, str(error), {"WWW-Authenticate": "Bearer"} if error.status == 401 else None)
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    to = "/login" if back == "/" or request.method != "GET" else f"/login?next={quote(back)}"
    if is_part(request):
        return Response(status_code=401, headers={"HX-Redirect": to})
    return RedirectResponse(to, 303)


def _refused(request: Request, error: Exception) -> Response:
    status = 503 if isinstance(error, StoreError) else 404 if isinstance(error, Missing) else 409
    return answer(request, status, str(error))


def _remote(request: Request, error: Exception) -> Response:
    return answer(request, 502, f"the other server did not do it: {error}")


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        400: "this can't be read: it is not UTF-8, or was cut off",
        404: "there is no such page",
        405: "that can't be done here",
        413: TOO_LARGE,
    }
    return answer(request, error.status_code, words.get(error.status_code, str(error.detail)), dict(error.headers or {}))


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return answer(request, 422, f"{where}: {first['msg'].lower()}")


def _broken(request: Request, error: Exception) -> Response:
    number = uuid.uuid4().hex[:8]
    log.error("a page failed", path=request.url.path, number=number, exc_info=error)
    more = headers_of(tls=is_tls(request.app.state.parts.config.web))  # Starlette answers this outside of all middleware
    return answer(
        request,
        500,
        f"this went wrong on our side and is in the log as {number}; nothing was lost, try again",
        more | {"cache-control": "no-store"},
    )
