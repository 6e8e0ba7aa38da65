"""What the API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

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


class Standing(BaseModel):
    """Why an item is in the list: a person's task, or an action that waits or is stuck."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: str
    state: str
    what: str
    reason: str
    via: str
    urgent: bool
    since: datetime


class Line(BaseModel):
    """A line of the list. `mention` is null for a task that belongs to no post."""

    model_config = ConfigDict(from_attributes=True)

    mention: int | None
    open: list[Standing]
    author: str
    source: str
    visibility: str
    language: str | None
    text: str
    warning: str
    label: Label | None
    confidence: float | None
    sure: bool
    by_person: bool
    created_at: datetime | None
    signals: list[str]
    posts: int
    ticket: TicketShape | None
    assignee: str | None
    claimed_by: str | None
    snoozed_until: datetime | None
    until_reply: bool
    answered_by: str
    answered_at: datetime | None
    notes: int
    deleted_at: datetime | None
    quarantined: str | None


class Lines(BaseModel):
    """A piece of the list. `after` asks for the next one, and is empty at the end; `near` came by forgiving typos."""

    rows: list[Line]
    near: list[Line]
    after: str


class Said(BaseModel):
    """What is so now."""

    said: str


class Assigned(Shape):
    """Whom it is given to, null for nobody; `was` is who had it, so that of two who assign at once one wins."""

    to: Annotated[str | None, Field(max_length=100)] = None
    was: Annotated[str | None, Field(max_length=100)] = None


class Asleep(Shape):
    """Until when it sleeps; null until its author writes again."""

    until: AwareDatetime | None = None


class Noted(Shape):
    """A note for colleagues."""

    text: Annotated[str, Field(min_length=1, max_length=10_000)]


class Other(Shape):
    """A mention's number or a ticket's key."""

    other: Annotated[str, Field(min_length=1, max_length=200)]


class Drafted(Shape):
    """A draft; an empty text throws it away."""

    text: Annotated[str, Field(max_length=20_000)] = ""


class Reply(Shape):
    """An answer to a mention. `once` names this very request: sent again it is carried out once. `known` is `newest` as it was read.

    `again` answers what was answered already, `by_hand` tells that it was posted already.
    """

    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    once: Annotated[str, Field(max_length=200)] = ""
    known: Annotated[int, Field(ge=0, le=2**62)] = 0
    again: bool = False
    by_hand: bool = False


class Sure(Shape):
    """Whether a question was answered: yes, it is all right."""

    sure: bool = False


class GivenShape(BaseModel):
    """An answer of ours."""

    model_config = ConfigDict(from_attributes=True)

    action_id: int
    by: str
    text: str
    state: str
    at: datetime
    url: str
    error: str
    waits_for: str
    can_be_taken_back: bool


class DraftShape(BaseModel):
    """What somebody has written so far."""

    model_config = ConfigDict(from_attributes=True)

    person: str
    text: str
    at: datetime


class DeskShape(BaseModel):
    """What to know before answering: `may` is yes, again, by hand or no; `approve` who must let the answer go."""

    may: str
    reason: str
    next_step: str
    warnings: list[str]
    visible: str
    approve: str
    newest: int
    given: list[GivenShape]
    drafts: list[DraftShape]


class SourceShape(BaseModel):
    """A source, tracker or notifier. A piece of `ledger` tells from when until when we have everything, or a hole."""

    name: str
    role: str
    kind: str
    configured: bool
    level: str
    state: str
    words: str
    cost: str
    held_back: int | None
    last_success_at: datetime | None
    behind: str
    ledger: list[dict[str, Any]]


class TableShape(BaseModel):
    """A table of the insights, the cells as the page shows them."""

    name: str
    title: str
    head: list[str]
    rows: list[list[str]]
