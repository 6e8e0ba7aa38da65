"""Pages from templates: everything is escaped, and what comes from outside is shown as text that can't leave its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from triage.web.access import csrf, is_tls
from triage.web.keys import KEYS

HERE = Path(__file__).parent
FILES = {"static": HERE / "static", "vendor": HERE / "vendor"}
SAID = "triage-said"

LABELS = {"bug_report": "bug", "support_question": "question", "praise": "praise", "noise": "noise"}
MARKS = {"bug_report": "B", "support_question": "?", "praise": "♥", "noise": "·"}
"""A label is told by its word and its mark, never by its colour alone."""

MOST_SHOWN = 20_000
"""In characters: a longer post is cut on its page, which a browser could hardly show otherwise."""


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"ago": ago, "moment": moment, "label": label, "mark": mark, "web": web_link, "percent": percent}
    made.globals |= {"asset": asset, "KEYS": KEYS, "MOST_SHOWN": MOST_SHOWN}
    return made


@cache
def asset(path: str) -> str:
    """The address of a file in `static/` or `vendor/`; it holds the file's digest, so that a browser may keep it for ever."""
    folder, _, name = path.partition("/")
    content = (FILES[folder] / name).read_bytes()
    return f"/assets/{folder}/{name}?{hashlib.sha256(content).hexdigest()[:12]}"


def ago(when: datetime | None, now: datetime) -> str:
    """How long ago in one unit: `4 min`, `3 h`, `12 d`; `in 4 min` for the future, a dash for never."""
    if when is None:
        return "–"
    seconds = (now - when).total_seconds()
    words = f"{abs(seconds):.0f} s"
    for unit, size in (("min", 60), ("h", 3600), ("d", 86400)):
        if abs(seconds) >= size:
            words = f"{abs(seconds) // size:.0f} {unit}"
    return words if seconds >= 0 else f"in {words}"


def moment(when: datetime | None, zone: str = "UTC") -> str:
    """A time in a person's zone, with the zone's name."""
    if when is None:
        return "–"
    try:
        local = when.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError):  # no such zone on this machine (any more)
        local = when.astimezone(UTC)
    return local.strftime("%Y-%m-%d %H:%M %Z")


def label(name: str | None) -> str:
    """A label in a word."""
    return LABELS.get(name or "", name or "not judged")


def mark(name: str | None) -> str:
    """A label in one sign."""
    return MARKS.get(name or "", "–")


def percent(share: float | None) -> str:
    """0.954 is `95 %`; a dash where there is none."""
    return "–" if share is None else f"{share:.0%}".replace("%", " %")


def web_link(url: str | None) -> str:
    """A link from outside, where it is one to the web; else nothing, so that no `javascript:` becomes one."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    return url or "" if parts.scheme in ("http", "https") and parts.netloc else ""


def render(request: Request, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any) -> HTMLResponse:
    """A page, or a part of one. Templates know `person`, `csrf`, `now`, `said` and `path` beside what is given."""
    person = getattr(request.state, "person", None)
    session = getattr(request.state, "session", "")
    told = unquote(request.cookies.get(SAID, ""))
    known = {
        "person": person,
        "zone": person.zone if person else "UTC",
        "csrf": csrf(session) if session else "",
        "now": request.app.state.parts.clock.now(),
        "mode": request.app.state.parts.config.mode,
        "said": told,
        "path": request.url.path,
    }
    response = HTMLResponse(_environment().get_template(template).render(known | values), status, dict(headers or {}))
    if told:
        response.delete_cookie(SAID, path="/")
    return response


def is_part(request: Request) -> bool:
    """Whether htmx asks for a part of a page; without script a whole page is wanted."""
    wanted = {"hx-request": "true", "hx-boosted": "", "hx-history-restore-request": ""}
    return all(request.headers.get(name, "") == value for name, value in wanted.items())


def done(request: Request, said: str, to: str) -> Response:
    """After a write: say what happened, at the page `to`. With htmx that page's part is asked for by the event `done`.

    Pages that are live are told at once.
    """
    if hub := getattr(request.app.state, "hub", None):
        hub.soon()
    if is_part(request):
        return Response(status_code=204, headers={"HX-Trigger": json.dumps({"said": said, "done": {"to": to}})})
    response = RedirectResponse(to, 303)
    secure = is_tls(request.app.state.parts.config.web)
    response.set_cookie(SAID, quote(said), max_age=60, path="/", httponly=True, samesite="strict", secure=secure)
    return response
