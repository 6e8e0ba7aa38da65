"""The nouns: frozen, without I/O. Every other module speaks these words.

A *mention* is what someone wrote to or about us. A *verdict* is what we think it is. A *problem* is what a ticket is
about. An *action* is what should be done. A *receipt* is proof that it happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[str, Any] = MappingProxyType({})


class Label(StrEnum):
    """What a mention is. The labelling guide (docs/labelling-guide.md) defines the four."""

    BUG_REPORT = "bug_report"
    SUPPORT_QUESTION = "support_question"
    PRAISE = "praise"
    NOISE = "noise"


class Visibility(StrEnum):
    """Who can read a post, widest first."""

    PUBLIC = "public"
    UNLISTED = "unlisted"
    PRIVATE = "private"
    DIRECT = "direct"

    @property
    def is_private(self) -> bool:
        """True for posts that only followers or the people named in them can read."""
        return self in (Visibility.PRIVATE, Visibility.DIRECT)

    @property
    def of_answer(self) -> Visibility:
        """As public as the post, but for followers' posts: those are answered to the author alone, because our followers are not theirs."""
        return Visibility.DIRECT if self.is_private else self

    def narrowest(self, other: Visibility) -> Visibility:
        """The less public of the two."""
        order = list(Visibility)
        return max(self, other, key=order.index)


class ActionKind(StrEnum):
    """What an action does."""

    TICKET = "ticket"  # file a problem with the tracker
    COMMENT = "comment"  # add a later report, an edit or a relabel to the problem's ticket
    BLANK = "blank"  # take a post's words out of a ticket or comment of ours
    TASK = "task"  # ask a person; the human queue is the open ones
    REPLY = "reply"  # post an answer in the thread
    BOOST = "boost"  # show the post to those who follow us
    ALERT = "alert"  # tell the people on call
    ARCHIVE = "archive"  # put away where people can review it

    @property
    def is_post(self) -> bool:
        """Whether a platform carries it out, which counts to its limit on posts."""
        return self in (ActionKind.REPLY, ActionKind.BOOST)


class State(StrEnum):
    """Where an action is in its life; docs/delivery.md draws it."""

    PLANNED = "planned"
    SENDING = "sending"
    DOUBT = "doubt"
    DONE = "done"
    REJECTED = "rejected"
    PARKED = "parked"
    CANCELLED = "cancelled"
    OBSERVED = "observed"  # what would have been done in `mode: observe`, or by a backfill that only looks


HUMAN = "human"
"""The `via` of an action that a person carries out."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a post.

    `handle` is `name@host`, whole even for accounts of our own instance. `no_bots` tells that the profile asks
    automatic accounts to stay away (`#nobot`).
    """

    handle: str
    name: str = ""
    url: str = ""
    followers: int | None = None
    bot: bool = False
    no_bots: bool = False
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that hangs on a post. It is linked, never fetched."""

    kind: str
    url: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Mention:
    """What someone wrote to or about us.

    `uri` is the post's identity on the whole network and unique in the store; `remote_id` is its opaque id on the
    instance that showed it to us. `parent_id` is the remote id of the post that it answers. `thread` is the uri of the
    thread's first post, or None while nobody has looked. `via` says how we came to see it: mention, hashtag, word,
    thread, import. `text` is plain text without the content warning, harmless to print. All times are aware and in UTC.
    """

    uri: str
    platform: str
    source: str
    remote_id: str
    author: Author
    text: str
    created_at: datetime
    url: str = ""
    parent_id: str | None = None
    thread: str | None = None
    via: str = "mention"
    visibility: Visibility = Visibility.PUBLIC
    language: str | None = None
    warning: str = ""
    edited_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    poll: tuple[str, ...] = ()
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What we think a mention is.

    `confidence` is the calibrated probability of `label`, 0 to 1; `scores` holds all four. `sure` tells whether the
    confidence reached the label's threshold. `by` is a model's version or a person's name, `by_person` tells which.
    `evidence` lists the words that spoke for the label, strongest first. `signals` are found beside the label:
    anger, security, data_loss, payment, outage, feature_request.
    """

    label: Label
    confidence: float
    scores: Mapping[str, float]
    sure: bool
    by: str
    by_person: bool = False
    language: str | None = None
    signals: frozenset[str] = frozenset()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ticket:
    """A problem's ticket as the tracker last showed it. `id` never changes, `key` does when an issue is moved."""

    id: str
    key: str
    url: str
    status: str = ""
    resolution: str = ""
    fix_versions: tuple[str, ...] = ()
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What a ticket is about: at first one thread. `tracker` is where its ticket is, or will be.

    `ticket_key` is the key of the ticket's action where there is one already, empty before.
    """

    id: int
    thread: str
    ticket: Ticket | None = None
    ticket_planned: bool = False
    tracker: str | None = None
    ticket_key: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """An action that a rule asks for, before it is stored. `key` is unique for ever; `after` names the key that must be done first."""

    key: str
    kind: ActionKind
    via: str
    reason: str
    rule: str
    after: str | None = None
    payload: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that an action happened: the far side's id, the name that people know it by, and where to look."""

    remote_id: str
    key: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """An action that was claimed and is to be carried out now.

    `marker` is derived from `key` with the install's secret; trackers store it on the far side and look for it.
    `attempt` counts from 1. `intent_at` is when this attempt was written down, `first_intent_at` when the first was.
    `previous` is the receipt of the action that this one waited for. `mention.remote_id` and `mention.source` are those
    of the source that carries it out.
    """

    action_id: int
    key: str
    marker: str
    kind: ActionKind
    via: str
    attempt: int
    intent_at: datetime
    first_intent_at: datetime
    reason: str
    mention: Mention | None = None
    verdict: Verdict | None = None
    problem: Problem | None = None
    previous: Receipt | None = None
    payload: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
