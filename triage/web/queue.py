"""The list of the queue: what to look at next, its filters and tabs, search, saved lists, and deeds on many items at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from fastapi import Form, Request
from fastapi.responses import Response
from pydantic import Field

from triage.app import App
from triage.errors import UserError
from triage.mention import Label
from triage.person import Person, Role
from triage.pipeline import items as verbs
from triage.replies import concerns, why_not_approve
from triage.store.approvals import Waiting
from triage.store.filters import Filters
from triage.store.tabs import MOST_OPEN, STATES
from triage.web.access import Id, Parts, Routes, Who
from triage.web.render import LABELS, done, is_part, render

routes = Routes()

MORNING = time(9)
TABS = {
    "open": "Open",
    "mine": "Mine",
    "approval": "Approvals",
    "snoozed": "Snoozed",
    "waiting": "Waiting",
    "answered": "Answered",
    "all": "All",
}
SNOOZES = {
    "3h": "for 3 hours",
    "tomorrow": "until tomorrow, 9:00",
    "monday": "until Monday, 9:00",
    "reply": "until they answer",
}
STUCK = {"doubt": "in doubt: did it happen?", "parked": "failed: parked", "rejected": "failed: refused"}
FLAGS = ("private", "angry", "unsure")
ROWS = 50
MOST_AT_ONCE = 200
LONGEST = 400  # letters of a filter


@routes.get("/", Role.VIEWER, name="queue")
def queue(request: Request, who: Who, app: Parts) -> Response:
    """Both panes; nothing is chosen yet."""
    return render(request, "queue.html", **panes(request, app, who))


@routes.get("/rows", Role.VIEWER)
def rows(request: Request, who: Who, app: Parts) -> Response:
    """The list's rows alone; `after` goes on where an earlier answer ended."""
    return render(request, "_rows.html", **listed(request, app, who))


@routes.post("/bulk", Role.TRIAGER)
def bulk(
    request: Request,
    who: Who,
    app: Parts,
    do: Annotated[str, Form()],
    ids: Annotated[list[Annotated[int, Field(ge=0, le=2**62)]] | None, Form()] = None,
    label: Annotated[str, Form()] = "",
    to: Annotated[str, Form()] = "",
    until: Annotated[str, Form()] = "",
    back: Annotated[str, Form()] = "",
) -> Response:
    """Do the same to each chosen item, by the same verbs as one at a time; what could not be done is told for each."""
    count, told, failed = each(app, who, ids or (), do, label=label, to=to, until=until)
    place = f"/?{query}" if (query := address(filters_of(dict(parse_qsl(back))))) else "/"
    said = f"{count} {'item' if count == 1 else 'items'} {told}"
    if not failed:
        return done(request, said, place)
    said = f"{said}; not done: {'; '.join(f'item {id_}: {why}' for id_, why in failed)}"
    if is_part(request):
        return Response(status_code=204, headers={"HX-Trigger": json.dumps({"done": {"to": place}, "refused": said})})
    return done(request, said[:1_000], place)


@routes.post("/saved", Role.VIEWER)
def save(request: Request, who: Who, app: Parts, name: Annotated[str, Form()], query: Annotated[str, Form()] = "") -> Response:
    """Save a list under a name."""
    filters = address(filters_of(dict(parse_qsl(query))))
    app.store.saved.save(who.name, name, filters, app.clock.now())
    return done(request, f"saved as {' '.join(name.split())[:60]}", f"/?{filters}")


@routes.post("/saved/{saved_id}/forget", Role.VIEWER)
def forget(request: Request, who: Who, app: Parts, saved_id: Id) -> Response:
    """Delete a saved list of one's own."""
    app.store.saved.forget(who.name, saved_id)
    return done(request, "the list is deleted", "/")


@routes.post("/tasks/{task_id}/{verb}", Role.TRIAGER)
def task(request: Request, who: Who, app: Parts, task_id: Id, verb: str) -> Response:
    """What belongs to no post has no page of its own: it is closed, tried again or dropped in the list."""
    desk, now = app.store.desk, app.clock.now()
    if verb == "close":
        desk.close(task_id, who.name, now, "")
    elif verb == "retry":
        desk.retry(task_id, who.name, now)
    elif verb == "drop":
        desk.drop(task_id, who.name, now)
    else:
        raise UserError(f"a task can't be {verb!r}; it can be closed, tried again or dropped")
    return done(request, {"close": "closed", "retry": "it is tried again", "drop": "dropped"}[verb], "/")


def filters_of(params: Mapping[str, str]) -> Filters:
    """The filters that an address holds; what means nothing is left out."""
    text = {name: params.get(name, "").strip()[:LONGEST] for name in ("source", "language", "assigned", "q")}
    state, label = params.get("state", "open"), params.get("label", "")
    return Filters(
        state=state if state in STATES else "open",
        label=label if label in LABELS else "",
        private=params.get("private", "") not in ("", "0"),
        angry=params.get("angry", "") not in ("", "0"),
        unsure=params.get("unsure", "") not in ("", "0"),
        **text,
    )


def address(filters: Filters) -> str:
    """The filters as an address holds them; empty for the open items."""
    plain = Filters()
    names = ("state", "label", "source", "language", "assigned", *FLAGS, "q")
    held = {name: getattr(filters, name) for name in names if getattr(filters, name) != getattr(plain, name)}
    return urlencode({name: "1" if value is True else value for name, value in held.items()}, errors="replace")


def panes(request: Request, app: App, who: Person) -> dict[str, Any]:
    """What `queue.html` must know. A page that shows an item beside the list adds `item` and what `_item.html` must know."""
    numbers = counts(app, who)
    values = listed(request, app, who)
    filters: Filters = values["filters"]
    sources, languages = app.store.queue.choices()
    return values | {
        "item": None,
        "tabs": [
            (name, shown, address(replace(filters, state=name)), _at_most(numbers.get(name)))
            for name, shown in TABS.items()
            if name != "approval" or numbers[name] or filters.state == name
        ],
        "saved": app.store.saved.of(who.name),
        "sources": sorted({*sources, *app.sources}),
        "languages": languages,
        "people": [person for person in app.store.people.all() if person.disabled_at is None],
        "labels": LABELS,
        "snoozes": SNOOZES,
        "may": who.role.may(Role.TRIAGER),
    }


def listed(request: Request, app: App, who: Person) -> dict[str, Any]:
    """What `_rows.html` must know."""
    filters = filters_of(request.query_params)
    now = app.clock.now()
    mine = waiting(app, who)
    page = app.store.queue.page(filters, who.name, now, request.query_params.get("after", "")[:100], ROWS, approvals=asked(mine))
    empty = not page.rows and not page.near
    return {
        "filters": filters,
        "query": address(filters),
        "page": page,
        "sleeping": app.store.queue.counts(who.name, now)["snoozed"] if empty else 0,
        "first": not request.query_params.get("after"),
        "stuck": STUCK,
        "approvals": {one.mention_id: _for_whom(app, one, who) for one in reversed(mine)},
        "may": who.role.may(Role.TRIAGER),
        "empty": _empty(app, filters, more=bool(page.after)) if empty else "",
        "shown": request.path_params.get("mention_id"),
    }


def counts(app: App, who: Person) -> dict[str, int]:
    """How many items each tab has, 10,000 at most are counted."""
    return app.store.queue.counts(who.name, app.clock.now()) | {"approval": len(asked(waiting(app, who)))}


def waiting(app: App, who: Person) -> list[Waiting]:
    """The answers that wait for an approval and are this person's matter: approvers see all, others theirs and their group's."""
    return [one for one in app.store.approvals.open() if concerns(one.role, one.asked_by, who, app.config.groups)]


def asked(found: Sequence[Waiting]) -> set[tuple[datetime, int]]:
    """Their mentions, each once, with when it was asked for."""
    return {(at, id_) for id_, at in {one.mention_id: one.asked_at for one in reversed(found)}.items()}


def _for_whom(app: App, one: Waiting, who: Person) -> str:
    """For whom an answer waits, in the words of a row."""
    config, now = app.config, app.clock.now()
    if not why_not_approve(one.role, one.asked_by, one.asked_at, who, config.groups, now, config.web.deputy):
        return f"yours to approve, by {one.asked_by}"
    later = one.asked_at + timedelta(seconds=config.web.deputy)
    deputy = "any approver may" if later <= now else f"any approver from {later.astimezone(ZoneInfo(who.zone)):%a %H:%M}"
    return f"waits for approval by {one.role}; {deputy}"


def _empty(app: App, filters: Filters, *, more: bool) -> str:
    """Why a list is empty."""
    if filters.q or filters.narrowed:
        return "further" if more else "match"
    if filters.state != "open":
        return filters.state
    if not app.store.queue.any():
        return "unpolled" if app.sources else "sourceless"
    return "observing" if app.config.mode == "observe" else "done"


def _at_most(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count:,}+" if count >= MOST_OPEN else f"{count:,}"


def each(
    app: App, who: Person, ids: Sequence[int], do: str, *, label: str = "", to: str = "", until: str = ""
) -> tuple[int, str, list[tuple[int, str]]]:
    """Do the same to each of these items: to how many it was done, what, and to which it could not be done and why."""
    chosen = list(dict.fromkeys(ids))
    if not chosen:
        raise UserError("nothing is selected; select rows first (x)")
    if len(chosen) > MOST_AT_ONCE:
        raise UserError(f"{len(chosen)} items are selected; {MOST_AT_ONCE} at most can be done at once")
    verb, told = _verb(app, who, do, label, to, until)
    failed: list[tuple[int, str]] = []
    for id_ in chosen:
        try:
            verb(id_)
        except UserError as error:
            failed.append((id_, str(error)))
    return len(chosen) - len(failed), told, failed


def _verb(app: App, who: Person, do: str, label: str, to: str, until: str) -> tuple[Callable[[int], object], str]:
    """What a deed does to one item, and what is said of those that it was done to."""
    now = app.clock.now()
    items = app.store.items
    if do == "label":
        if label not in set(Label):
            raise UserError("choose a label first")
        return lambda id_: verbs.label(app, app.store.desk.mention_id(str(id_)), label, who.name), f"labelled {LABELS[label]}"
    if do == "close":
        return lambda id_: items.close(id_, who.name, now, "closed with others"), "archived"
    if do == "assign":
        if not to:
            raise UserError("choose a person first")
        return lambda id_: items.assign(id_, None if to == "nobody" else to, who.name, now), f"assigned to {to}"
    if do == "snooze":
        if until not in SNOOZES:
            raise UserError("choose until when first")
        wake = wakes(until, "", who, now)
        return lambda id_: items.snooze(id_, wake, who.name, now), f"snoozed {SNOOZES[until]}"
    raise UserError(f"{do!r} is nothing that can be done here; label, close, assign or snooze")


def zone_of(who: Person) -> ZoneInfo:
    """A person's zone; UTC where this machine knows none of that name."""
    try:
        return ZoneInfo(who.zone)
    except (KeyError, ValueError, OSError):  # no such zone on this machine (any more)
        return ZoneInfo("UTC")


def wakes(until: str, at: str, who: Person, now: datetime) -> datetime | None:
    """When an item wakes, in the person's zone, by one of `SNOOZES` or `at`; None until they answer. `UserError` for what is no time."""
    zone = zone_of(who)
    today = now.astimezone(zone)
    if until == "reply":
        return None
    if until == "3h":
        return now + timedelta(hours=3)
    if until in ("tomorrow", "monday"):
        days = 1 if until == "tomorrow" else 7 - today.weekday()
        return datetime.combine(today.date() + timedelta(days=days), MORNING, zone)
    if until != "at":
        raise UserError("choose until when first")
    try:
        return datetime.fromisoformat(at).replace(tzinfo=zone)
    except ValueError:
        raise UserError("choose a day and a time until which it sleeps") from None
