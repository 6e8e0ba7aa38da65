"""What the API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from triage.mention import Label
from triage.person import Role

MENTIONS_AT_ONCE = 500
Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class Shape(BaseModel):
    """Unknown keys of a request are an error: a misspelt one would be passed over in silence."""

    model_config = ConfigDict(extra="forbid")


class Fault(BaseModel):
    """What every refusal says."""

    error: str


class Sent(Shape):
    """A post from a channel of yours. `link` is its identity."""

    model_config = ConfigDict(extra="ignore")

    text: Annotated[str, Field(max_length=1_000_000)]
    link: str = ""
    author: str = ""
    date: str = ""
    language: str = ""
    title: str = ""
    visibility: Literal["", "public", "unlisted", "private", "direct"] = ""


class Broken(BaseModel):
    """A post that was not taken, and why. `index` counts from 0 in the order of the request."""

    index: int
    why: str


class Taken(BaseModel):
    """What became of the posts: the ids of new ones and of changed ones; how many were known as they are."""

    new: list[int]
    changed: list[int]
    known: int
    broken: list[Broken]


class Me(BaseModel):
    """Whose token it is."""

    name: str
    shown: str
    role: Role


class TicketShape(BaseModel):
    """A ticket as the tracker last showed it."""

    key: str
    url: str
    status: str
    resolution: str
    fix_versions: list[str]


class QueueItem(BaseModel):
    """An open task, or an action that waits for a person."""

    id: int
    kind: str
    state: str
    what: str
    urgent: bool
    reason: str
    rule: str
    since: datetime
    mention: int | None
    author: str | None
    text: str | None
    warning: str
    url: str
    visibility: str | None
    language: str | None
    source: str | None
    label: Label | None
    confidence: float | None
    sure: bool | None
    draft: str
    suggest: list[str | None]
    ticket: TicketShape | None


class Shown(BaseModel):
    """Everything about a mention: verdict, actions, ticket, and the trail in the order of time."""

    model_config = ConfigDict(extra="allow")

    id: int
    uri: str
    url: str
    author: str
    text: str
    visibility: str
    status: str
    verdict: dict[str, Any] | None
    actions: list[dict[str, Any]]
    events: list[dict[str, Any]]
    ticket: TicketShape | None


class Planned(BaseModel):
    """The actions that a call planned; the workers carry them out within seconds."""

    actions: list[int]


class Labelled(Shape):
    """What the mention is."""

    label: Label


class Answered(Shape):
    """The answer. Sent again it is refused, since the task is closed by then."""

    text: Text


class Why(Shape):
    """A word for the trail."""

    why: Annotated[str, Field(max_length=2000)] = ""


class Key(Shape):
    """The ticket's key or the post's link."""

    key: Annotated[str, Field(min_length=1, max_length=2000)]
