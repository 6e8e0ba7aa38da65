"""The API: its document, the signed way in for channels of your own, mentions, tasks and actions. Its other rooms are `api_*.py`."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from starlette.concurrency import run_in_threadpool

from triage import __version__
from triage.app import IMPORTED, App
from triage.errors import ConfigError, UserError
from triage.person import Role
from triage.pipeline import intake, judge, replying
from triage.platforms.imported import item_of
from triage.platforms.push import PushPlatform
from triage.store.seen import Seen
from triage.web.access import OPEN, Denied, Id, Parts, Routes, Who, identify
from triage.web.api_shapes import (
    MENTIONS_AT_ONCE,
    Answered,
    Broken,
    Closed,
    Decided,
    Fault,
    Key,
    Labelled,
    Planned,
    QueueItem,
    Sent,
    Shown,
    StatusShape,
    Taken,
)

FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": words}
    for status, words in {
        400: "Not UTF-8, or cut off",
        401: "No token, or one that holds no more",
        403: "Not with this role",
        404: "There is none",
        409: "Refused, with the next step",
        413: "Larger than a megabyte",
        422: "Not understood",
        502: "Another server, which had to be asked, did not do it",
        503: "The database can't be used now",
    }.items()
}
routes = Routes(prefix="/api", responses=FAULTS)


@routes.get("/openapi.json", Role.VIEWER, include_in_schema=False)
def show_document(request: Request) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    return document(request.app)


def document(web: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application's API."""
    found = [route for route in iter_route_contexts(web.routes) if (route.path or "").startswith("/api/")]
    made = get_openapi(title="triage", version=__version__, routes=found, description="Send a personal token: Authorization: Bearer …")
    made.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"token": []}]
    return made


# Mentions


@routes.post("/mentions", OPEN)
async def take_in(request: Request, sent: Annotated[Sent | list[Sent], Body()]) -> Taken:
    """Take posts in: one, or a list of 500 at most. Signed by a source with `platform: push`, or by the token of a triager.

    Nothing is ever taken in twice: the link is a post's identity, and without one its author, date and text.
    """
    posts = sent if isinstance(sent, list) else [sent]
    if len(posts) > MENTIONS_AT_ONCE:
        raise UserError(f"{len(posts)} posts at once are too many; send {MENTIONS_AT_ONCE} at most")
    body = await request.body()
    return await run_in_threadpool(_take_in, request, posts, body)


def _take_in(request: Request, posts: list[Sent], body: bytes) -> Taken:
    app: App = request.app.state.parts
    now = app.clock.now()
    platform = _signed(request, app, body)
    rows = [post.model_dump(exclude_defaults=True) for post in posts]
    if platform is not None:
        source, items = platform.name, [platform.item(row, now) for row in rows]
    else:
        source, items = IMPORTED, [item_of(row, source=IMPORTED, now=now) for row in rows]
    broken = [Broken(index=index, why=item.broken) for index, item in enumerate(items) if item.broken]
    good = [item for item in items if item.mention is not None]
    new, changed, ours = intake.push(app, source, good)
    known = len({item.remote_id for item in good}) - len(new) - len(changed) - ours
    return Taken(new=new, changed=changed, known=known, ours=ours, broken=broken)


def _signed(request: Request, app: App, body: bytes) -> PushPlatform | None:
    """The source that signed the request; None where a triager's token came instead. Else it is refused."""
    if "authorization" in request.headers:
        person = identify(request)
        if person is None:
            raise Denied(401, "this token holds no more, or never did")
        if not person.role.may(Role.TRIAGER):
            raise Denied(403, f"this needs the role {Role.TRIAGER}; yours is {person.role}. An admin can change it")
        return None
    name = request.headers.get("x-triage-source", "")
    try:
        platform = app.platform(name) if name in app.sources else None
    except ConfigError:
        platform = None
    if not isinstance(platform, PushPlatform):
        raise Denied(401, "sign the request as a source with `platform: push` (X-Triage-Source), or send a triager's token")
    given = (request.headers.get("x-triage-timestamp", ""), request.headers.get("x-triage-signature", ""))
    if why := platform.refusal(*given, body, app.clock.now()):
        raise Denied(401, why)
    return platform


@routes.get("/mentions/{mention}", Role.VIEWER)
def show_mention(mention: Id, app: Parts) -> Shown:
    """Everything that happened to a mention, and why."""
    return Shown(**plain(app.store.views.show(app.store.desk.mention_id(str(mention)))))


@routes.post("/mentions/{mention}/label", Role.TRIAGER)
def label(mention: Id, asked: Labelled, app: Parts, who: Who) -> Planned:
    """Say what a mention is: ticket and tasks follow, and the classifier learns from it."""
    return Planned(actions=judge.relabel(app, app.store.desk.mention_id(str(mention)), asked.label, who.name, seen=asked.state))


@routes.post("/mentions/{mention}/ticket", Role.TRIAGER)
def file(mention: Id, app: Parts, who: Who, asked: Decided | None = None) -> Planned:
    """File a mention as a bug by hand."""
    return Planned(actions=judge.file(app, app.store.desk.mention_id(str(mention)), who.name, seen=state_of(asked)))


# The queue


@routes.get("/queue", Role.VIEWER)
def show_queue(app: Parts) -> list[QueueItem]:
    """Open tasks, urgent ones first, then oldest first; and actions that wait for a decision."""
    return [QueueItem(**plain(row)) for row in app.store.views.queue()]


@routes.post("/tasks/{task}/answer", Role.TRIAGER)
def answer(task: Id, asked: Answered, app: Parts, who: Who) -> Planned:
    """Answer a task as the page does: no more public than the post, held for `web.hold`. Of two answers one wins, the other is refused."""
    return Planned(actions=replying.send_task(app, task, asked.text, who.name, again=asked.again))


@routes.post("/tasks/{task}/accept", Role.TRIAGER)
def accept(task: Id, app: Parts, who: Who, asked: Decided | None = None) -> Planned:
    """Carry out what a rule suggested."""
    return Planned(actions=judge.accept(app, task, who.name, seen=state_of(asked)))


@routes.post("/tasks/{task}/close", Role.TRIAGER)
def close(task: Id, asked: Closed, app: Parts, who: Who) -> Planned:
    """Close a task without an answer."""
    _as_seen(app, task, asked)
    app.store.desk.close(task, who.name, app.clock.now(), asked.why)
    return Planned(actions=[])


# Actions that wait for a decision


@routes.post("/actions/{action}/retry", Role.TRIAGER)
def retry(action: Id, app: Parts, who: Who, asked: Decided | None = None) -> Planned:
    """It is not there: send it (again)."""
    _as_seen(app, action, asked)
    app.store.desk.retry(action, who.name, app.clock.now())
    return Planned(actions=[action])


@routes.post("/actions/{action}/park", Role.TRIAGER)
def park(action: Id, app: Parts, who: Who, asked: Decided | None = None) -> Planned:
    """Leave a planned or doubtful action alone until somebody decides."""
    _as_seen(app, action, asked)
    app.store.desk.park(action, who.name, app.clock.now())
    return Planned(actions=[])


@routes.post("/actions/{action}/found", Role.TRIAGER)
def found(action: Id, asked: Key, app: Parts, who: Who) -> Planned:
    """It exists: settle it with its key or link."""
    _as_seen(app, action, asked)
    app.store.desk.found(action, asked.key, who.name, app.clock.now())
    return Planned(actions=[])


@routes.post("/actions/{action}/drop", Role.TRIAGER)
def drop(action: Id, app: Parts, who: Who, asked: Decided | None = None) -> Planned:
    """It is not wanted any more."""
    _as_seen(app, action, asked)
    app.store.desk.drop(action, who.name, app.clock.now())
    return Planned(actions=[])


def state_of(asked: Decided | None) -> Seen | None:
    """The state that a decision is about; None for one that says nothing of it."""
    return asked.state if asked is not None else None


def _as_seen(app: App, action: int, asked: Decided | None) -> None:
    """`UserError` where the post of an action or a task has changed since it was seen. What belongs to no post has not."""
    seen = state_of(asked)
    if seen is not None and (mention := app.store.outbox.row(action)["mention_id"]) is not None:
        app.store.items.belongs(mention, action, seen=seen)


@routes.get("/status", Role.VIEWER)
def show_status(app: Parts) -> StatusShape:
    """The service at a glance, with the state of every source, tracker and notifier."""
    return StatusShape(**plain(app.store.views.status(app.clock.now())))


def plain(value: Any) -> Any:
    """Plain data for JSON: times as ISO 8601."""
    return json.loads(json.dumps(value, default=lambda one: one.isoformat()))
