"""The API of the list: its filters and search, how much there is, lists that people saved, and the same deed to many items."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal
from urllib.parse import parse_qsl

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from triage.person import Role
from triage.store.queue import Page
from triage.web import queue
from triage.web.access import Id, Parts, Routes, Who
from triage.web.api import FAULTS
from triage.web.api_shapes import Line, Lines, Said, Shape

routes = Routes(prefix="/api", responses=FAULTS)

Words = Annotated[str, Query(max_length=400)]


class Counts(BaseModel):
    """How many items each state has, 10,000 at most are counted; the sources and languages of the newest mentions."""

    open: int
    mine: int
    approval: int
    snoozed: int
    waiting: int
    sources: list[str]
    languages: list[str]


class Bulk(Shape):
    """A deed and the items for it: `label` with `label`, `assign` with `to` (a name, or nobody), `snooze` with `until`, or `close`."""

    do: Literal["label", "close", "assign", "snooze"]
    ids: Annotated[list[Annotated[int, Field(ge=1, le=2**62)]], Field(min_length=1, max_length=queue.MOST_AT_ONCE)]
    label: Literal["", "bug_report", "support_question", "praise", "noise"] = ""
    to: Annotated[str, Field(max_length=100)] = ""
    until: Literal["", "3h", "tomorrow", "monday", "reply"] = ""


class NotDone(BaseModel):
    """An item to which it could not be done, and why."""

    id: int
    why: str


class Many(BaseModel):
    """To how many it was done, and what; the others with the reason."""

    done: int
    told: str
    failed: list[NotDone]


class SavedShape(BaseModel):
    """A list that somebody saved; `query` is what stands in the page's address."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    query: str


class Saving(Shape):
    """A list to save: `query` such as `state=open&label=bug_report`, empty for what is open."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    query: Annotated[str, Field(max_length=4000)] = ""


# The list


@routes.get("/mentions", Role.VIEWER)
def show_list(
    app: Parts,
    who: Who,
    state: Words = "open",
    label: Words = "",
    source: Words = "",
    language: Words = "",
    assigned: Words = "",
    q: Words = "",
    private: bool = False,
    angry: bool = False,
    unsure: bool = False,
    after: Words = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Lines:
    """The list, by the filters and the search of the page. `state` is open, mine, approval, snoozed, waiting, answered or all."""
    asked = {"state": state, "label": label, "source": source, "language": language, "assigned": assigned, "q": q}
    flags = {name: "1" for name, on in (("private", private), ("angry", angry), ("unsure", unsure)) if on}
    approvals = queue.asked(queue.waiting(app, who))
    filters = queue.filters_of(asked | flags)
    return _lines(app.store.queue.page(filters, who.name, app.clock.now(), after[:100], limit, approvals=approvals))


def _lines(page: Page) -> Lines:
    rows, near = ([Line.model_validate(asdict(row)) for row in found] for found in (page.rows, page.near))
    return Lines(rows=rows, near=near, after=page.after)


@routes.get("/counts", Role.VIEWER)
def show_counts(app: Parts, who: Who) -> Counts:
    """How many items each state has, as the tabs show it; and by which sources and languages the list can be narrowed."""
    sources, languages = app.store.queue.choices()
    counts = queue.counts(app, who)
    return Counts(**counts, sources=sources, languages=languages)


@routes.post("/bulk", Role.TRIAGER)
def bulk(asked: Bulk, app: Parts, who: Who) -> Many:
    """Do the same to each of these items; what could not be done is told for each, and the others are done."""
    done, told, failed = queue.each(app, who, asked.ids, asked.do, label=asked.label, to=asked.to, until=asked.until)
    return Many(done=done, told=told, failed=[NotDone(id=id_, why=why) for id_, why in failed])


@routes.get("/saved", Role.VIEWER)
def show_saved(app: Parts, who: Who) -> list[SavedShape]:
    """The lists that this person saved, by name."""
    return [SavedShape.model_validate(one) for one in app.store.saved.of(who.name)]


@routes.post("/saved", Role.VIEWER)
def save(asked: Saving, app: Parts, who: Who) -> Said:
    """Save a list under a name; one of that name is replaced."""
    filters = queue.address(queue.filters_of(dict(parse_qsl(asked.query))))
    app.store.saved.save(who.name, asked.name, filters, app.clock.now())
    return Said(said=f"saved as {' '.join(asked.name.split())[:60]}")


@routes.post("/saved/{saved}/forget", Role.VIEWER)
def forget(saved: Id, app: Parts, who: Who) -> Said:
    """Delete a saved list of one's own."""
    app.store.saved.forget(who.name, saved)
    return Said(said="the list is deleted")
