"""What arrives without a reload: a stream that names the mentions that changed, who else looks at an item, and claims.

The stream tells ids alone, and the page asks for what it shows by the same routes as ever, so there is one place that decides who may
see what. One watcher a process asks the store once a second, while somebody listens.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import structlog
from fastapi import Form, Header, Query, Request
from fastapi.exceptions import HTTPException
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from triage.app import App
from triage.errors import StoreError
from triage.person import Person, Role
from triage.store.presence import Changed, Mark
from triage.web.access import Denied, FormId, Id, Parts, Routes, Who, identify
from triage.web.render import done, is_part, render

routes = Routes()
log = structlog.get_logger()

EVERY_SECONDS = 1.0
AGAIN_SECONDS = 5.0  # after the store could not be asked
KEEP_ALIVE_SECONDS = 15.0  # proxies cut a connection on which nothing moves, often after a minute
SESSION_SECONDS = 60.0
MOST_STREAMS = 500
MOST_OF_A_PERSON = 20
WAITING = 32
"""So many events may wait for a slow reader; then the stream ends, and the page comes back and asks what it missed."""

Everywhere = Mapping[int, frozenset[tuple[str, bool, datetime | None]]]


class Stream:
    """One page that listens. None in its queue is the end."""

    def __init__(self, person: str) -> None:
        self.person = person
        self.events: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)

    def tell(self, event: bytes) -> None:
        """Hand an event on; a reader that is too slow for it is let go."""
        try:
            self.events.put_nowait(event)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        """No more events."""
        while not self.events.empty():
            self.events.get_nowait()
        self.events.put_nowait(None)


class Hub:
    """The streams of this process and the one task that watches the store for them. All but `soon` runs in the event loop's thread."""

    def __init__(self, app: App, ending: Callable[[], bool]) -> None:
        self._app = app
        self._ending = ending
        self._streams: set[Stream] = set()
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._soon = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._mark: Mark | None = None
        self._everywhere: Everywhere = {}

    def full(self, person: str) -> bool:
        """Whether this person may open no further stream here."""
        by_person = Counter(stream.person for stream in self._streams)
        return len(self._streams) >= MOST_STREAMS or by_person[person] >= MOST_OF_A_PERSON

    async def join(self, stream: Stream) -> Mark | None:
        """Let a stream have every event from here on; the mark from which on that is, None when we are shutting down."""
        self._streams.add(stream)
        if self._task is None:
            self._mark = None
            self._ready.clear()
            self._task = asyncio.create_task(self._watch())
        await self._ready.wait()
        return self._mark

    def leave(self, stream: Stream) -> None:
        """It listens no more."""
        self._streams.discard(stream)

    def soon(self) -> None:
        """Something was written here: look at once. May be called from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._soon.set)

    async def _watch(self) -> None:
        try:
            while self._streams:
                pause = EVERY_SECONDS
                try:
                    await self._look()
                except StoreError as error:
                    pause = AGAIN_SECONDS
                    log.warning("pages are not live for now", why=str(error))
                if self._ending():
                    break
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._soon.wait(), pause)
                self._soon.clear()
        finally:
            self._task = None
            for stream in list(self._streams):  # shut down, or failed: pages come back, or to another process
                stream.end()
            self._ready.set()

    async def _look(self) -> None:
        now = self._app.clock.now()
        if self._mark is None:
            self._mark = await asyncio.to_thread(self._app.store.presence.mark, now)
            self._everywhere = await asyncio.to_thread(self._app.store.presence.everywhere, now)
            self._ready.set()
            return
        changed, mark = await asyncio.to_thread(self._app.store.presence.changes, self._mark, now)
        self._mark = mark
        if changed:
            self._tell(event_of(changed, mark))
        before, self._everywhere = self._everywhere, await asyncio.to_thread(self._app.store.presence.everywhere, now)
        moved = sorted(id_ for id_ in {*before, *self._everywhere} if before.get(id_) != self._everywhere.get(id_))
        if moved:
            self._tell(_event("looking", {"mentions": moved}))

    def _tell(self, event: bytes) -> None:
        for stream in list(self._streams):
            stream.tell(event)


def event_of(changed: Changed, mark: Mark) -> bytes:
    """The event `changed`; its id is what to come back with."""
    data = {"all": True} if changed.all else {"mentions": sorted(changed.mentions)}
    return _event("changed", data, str(mark))


def _event(name: str, data: Mapping[str, object], id_: str | None = None) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(data), id=id_)


def hub_of(request: Request) -> Hub:
    """The one hub of this process."""
    state = request.app.state
    if getattr(state, "hub", None) is None:
        state.hub = Hub(state.parts, getattr(state, "ending", lambda: False))
    hub: Hub = state.hub
    return hub


# `async`, unlike other handlers: it waits for nothing, and the hub belongs to the event loop.
@routes.get("/live", Role.VIEWER, response_class=StreamingResponse)
async def stream(
    request: Request,
    who: Who,
    since: Annotated[str, Query(max_length=200)] = "",
    last_event_id: Annotated[str, Header(max_length=200)] = "",
) -> Response:
    """Server-sent events: `hello`, then `changed` (mentions, or all), `looking` (who looks at these mentions changed), and `over`.

    `Last-Event-ID` or `since` is the id of the last event that was read: what was missed since then is told first.
    """
    hub = hub_of(request)
    if hub.full(who.name):
        raise HTTPException(503, "too many pages are live already; this one still works, it only has to be reloaded", {"Retry-After": "60"})
    told = _told(request, hub, who, last_event_id or since)
    return StreamingResponse(told, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _told(request: Request, hub: Hub, who: Person, since: str) -> AsyncIterator[bytes]:
    app: App = request.app.state.parts
    mine = Stream(who.name)
    loop = asyncio.get_running_loop()
    try:
        yield KEEPALIVE_COMMENT  # the headers go out at once, whatever the store does
        mark = await hub.join(mine)
        if mark is None:
            return
        yield _event("hello", {}, str(mark))
        if since and (missed := await asyncio.to_thread(_missed, app, since)):
            yield event_of(missed, mark)
        checked = loop.time()
        while True:
            try:
                event = await asyncio.wait_for(mine.events.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                event = KEEPALIVE_COMMENT
            if event is None:
                return
            if loop.time() - checked > SESSION_SECONDS:
                checked = loop.time()
                if await asyncio.to_thread(identify, request) is None:
                    yield _event("over", {})
                    return
            yield event
    except StoreError as error:
        log.warning("a page is not live", why=str(error))
    finally:
        hub.leave(mine)


def _missed(app: App, since: str) -> Changed:
    mark = Mark.parse(since)
    return app.store.presence.changes(mark, app.clock.now())[0] if mark is not None else Changed(all=True)


# Who looks, and who answers


@routes.get("/mentions/{mention_id}/presence", Role.VIEWER)
def show_presence(request: Request, app: Parts, who: Who, mention_id: Id) -> HTMLResponse:
    """Who else looks at an item or types, and who answers it: a part of the item's page."""
    return _part(request, app, who, mention_id)


@routes.post("/mentions/{mention_id}/presence", Role.VIEWER)
def be_there(
    request: Request,
    app: Parts,
    who: Who,
    mention_id: Id,
    typing: Annotated[bool, Form()] = False,
    left: FormId | None = None,
) -> HTMLResponse:
    """This person looks at the item now, and may be typing; `left` is the item that they looked at before."""
    app.store.presence.beat(mention_id, who.name, typing, app.clock.now(), left=left)
    return _part(request, app, who, mention_id)


@routes.post("/mentions/{mention_id}/claim", Role.TRAINEE)
def claim(
    request: Request,
    app: Parts,
    who: Who,
    mention_id: Id,
    over: Annotated[bool, Form()] = False,
    holder: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """This person answers it now. `over` takes it from whoever does, which takes a triager; with `holder` only from that one."""
    if over and not who.role.may(Role.TRIAGER):
        raise Denied(403, f"taking it from somebody needs the role {Role.TRIAGER}; yours is {who.role}. What is free you may claim")
    app.store.claims.claim(mention_id, who.name, app.clock.now(), over=over, holder=holder)
    return _after(request, app, who, mention_id, "you are answering this; others see it")


@routes.post("/mentions/{mention_id}/release", Role.TRAINEE)
def release(request: Request, app: Parts, who: Who, mention_id: Id) -> Response:
    """This person no longer answers it."""
    app.store.claims.release(mention_id, who.name, app.clock.now())
    return _after(request, app, who, mention_id, "it is back in the queue")


def _after(request: Request, app: App, who: Person, mention_id: int, said: str) -> Response:
    if not is_part(request):
        return done(request, said, f"/mentions/{mention_id}")
    part = _part(request, app, who, mention_id)  # only this part: what somebody types in the item stays
    part.headers["HX-Trigger"] = json.dumps({"said": said})
    return part


def _part(request: Request, app: App, who: Person, mention_id: int) -> HTMLResponse:
    now = app.clock.now()
    others = app.store.presence.others(mention_id, now, but=who.name)
    stand = app.store.claims.stand(mention_id, now)
    return render(request, "_presence.html", mention=mention_id, others=others, stand=stand, may=who.role.may(Role.TRIAGER))
