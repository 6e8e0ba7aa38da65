"""What the API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from triage.mention import Label
from triage.store.seen import Seen

MENTIONS_AT_ONCE = 500
Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Number = Annotated[int, Field(ge=1, le=2**62)]


class Shape(BaseModel):
    """Unknown keys of a request are an error: a misspelt one would be passed over in silence."""

    model_config = ConfigDict(extra="forbid")


class Decided(Shape):
    """A decision about a post. `seen` is its state as it was read: where that has changed since, nothing is done and the refusal says what.

    Without it the decision holds for whatever the post says and is labelled by now.
    """

    seen: Annotated[str | None, Field(pattern=r"^[0-9]{1,18}\.[0-9]{1,18}$")] = None

    @property
    def state(self) -> Seen | None:
        """That state."""
        return Seen.read(self.seen) if self.seen else None


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
    """What became of the posts: the ids of new ones and of changed ones; how many were known as they are, and how many are ours."""

    new: list[int]
    changed: list[int]
    known: int
    ours: int
    broken: list[Broken]


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
    """Everything about a mention: verdict, actions, ticket, and the trail in the order of time. `seen` names this state of it."""

    model_config = ConfigDict(extra="allow")

    id: int
    seen: str
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


class Labelled(Decided):
    """What the mention is."""

    label: Label


class Answered(Shape):
    """The answer. Sent again it is refused, since the task is closed by then. `again` answers what was answered already."""

    text: Text
    again: bool = False


class Why(Shape):
    """A word for the trail."""

    why: Annotated[str, Field(max_length=2000)] = ""


class Closed(Decided):
    """A word for the trail."""

    why: Annotated[str, Field(max_length=2000)] = ""


class Key(Decided):
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


class Assigned(Decided):
    """Whom it is given to, null for nobody; `was` is who had it, so that of two who assign at once one wins."""

    to: Annotated[str | None, Field(max_length=100)] = None
    was: Annotated[str | None, Field(max_length=100)] = None


class Asleep(Decided):
    """Until when it sleeps; null until its author writes again."""

    until: AwareDatetime | None = None


class Claiming(Shape):
    """`over` takes it from whoever answers it; with `holder` only from that one."""

    over: bool = False
    holder: Annotated[str, Field(max_length=100)] = ""


class Noted(Shape):
    """A note for colleagues."""

    text: Annotated[str, Field(min_length=1, max_length=10_000)]


class Other(Decided):
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


class Sure(Decided):
    """Whether a question was answered: yes, it is all right."""

    sure: bool = False


class GivenShape(BaseModel):
    """An answer of ours. `elsewhere` is who has answered on the platform itself, where this one is not sent."""

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
    elsewhere: str
    elsewhere_at: datetime | None


class DraftShape(BaseModel):
    """What somebody has written so far."""

    model_config = ConfigDict(from_attributes=True)

    person: str
    text: str
    at: datetime


class CannedShape(BaseModel):
    """A prepared answer, filled in for this post. `kind` is answer, thanks or another; `why_not` is empty where it may be used."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    text: str
    kind: str
    why_not: str


class SuggestionShape(BaseModel):
    """What was answered to a like question, by whom and when; `mention` is that question, `likeness` of 100."""

    text: str
    mention: int
    question: str
    by: str
    at: datetime
    likeness: float


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
    canned: list[CannedShape]
    suggestion: SuggestionShape | None


class ShownPost(BaseModel):
    """A post as it would go out, with its length as its server counts; `limit` is null where there is none."""

    model_config = ConfigDict(from_attributes=True)

    text: str
    length: int
    limit: int | None


class HitShape(BaseModel):
    """Words that the team's guide advises against, what to say instead, and where the guide says so."""

    model_config = ConfigDict(from_attributes=True)

    found: str
    say: str
    line: str
    guide: str


class PreviewShape(BaseModel):
    """An answer before it is sent. `visible` tells who could read it; without posts it is given by hand."""

    visible: str
    posts: list[ShownPost]
    hits: list[HitShape]


class Posted(Shape):
    """The answer that a person has posted."""

    action: Number


class PostShape(BaseModel):
    """A post of the thread. `who` is author (of the item), us, colleague or other; `elsewhere` tells that it came from another thread."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    author: str
    who: str
    text: str
    warning: str
    url: str
    mention_id: int | None
    by: str
    state: str
    deleted: bool
    elsewhere: bool


class EarlierShape(BaseModel):
    """Another post by the item's author."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    text: str
    label: str | None
    ticket: str


class NoteShape(BaseModel):
    """A note that only colleagues see; `to` are those that it names."""

    id: int
    at: datetime
    by: str
    text: str
    to: list[str]


class LookerShape(BaseModel):
    """Somebody who has the item open; `drafts` while a draft of theirs is kept."""

    model_config = ConfigDict(from_attributes=True)

    person: str
    called: str
    typing: bool
    drafts: bool


class Context(BaseModel):
    """What stands around an item; `seen` names its state. `above` and `below` are its thread, oldest first; `posts` counts its author's."""

    seen: str
    above: list[PostShape]
    below: list[PostShape]
    posts: int
    first_at: datetime | None
    earlier: list[EarlierShape]
    notes: list[NoteShape]
    assignee: str | None
    away: bool
    claimed_by: str | None
    snoozed_until: datetime | None
    until_reply: bool
    looking: list[LookerShape]


class Explained(BaseModel):
    """Why a mention was judged so: the verdict that stands, what the model says now and what speaks for and against it,
    like posts that people corrected, the rule that applies, and what was read out of the text."""

    mention: int
    url: str
    visibility: str
    deleted: bool
    verdict: dict[str, Any]
    model: dict[str, Any]
    evidence: dict[str, Any]
    nearest: dict[str, list[dict[str, Any]]]
    rule: dict[str, Any]
    signals: list[dict[str, Any]]
    details: dict[str, list[Any]]


class StatusShape(BaseModel):
    """The service at a glance: how many mentions and actions there are by state, accounts, open alerts, workers of the last 2 minutes."""

    mentions: dict[str, Any]
    actions: dict[str, dict[str, int]]
    open_tasks: int
    in_doubt: int
    parked: int
    oldest_open_seconds: int | None
    accounts: list[dict[str, Any]]
    alerts: list[dict[str, Any]]
    workers: list[dict[str, Any]]


class Candidate(BaseModel):
    """A problem with a ticket: `mention` is the post that the ticket was made of."""

    mention: int
    ticket: str
    status: str
    author: str
    text: str
