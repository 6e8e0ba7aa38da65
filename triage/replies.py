"""What a person must know before they answer: may this be answered, how it would look, and what could be said (pure).

Everything that is decided here is decided again where it counts: the store when an answer is planned, the outbox when it goes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from triage.config.rules import Answer, Style, same_language
from triage.contracts import Shown
from triage.links import Look, doubtful, gone
from triage.mention import Author, Mention, State, Visibility
from triage.person import Person, Role
from triage.signals import ANGER, DATA_LOSS, OUTAGE
from triage.text import normalised, without_links, without_names_at_start
from triage.words import place_of, word_in

LONGEST_TEXT = 20_000
"""Characters of an answer or a draft."""

SENT = frozenset({State.DONE})
UNDER_WAY = frozenset({State.PLANNED, State.SENDING})
LIKE = 80.0  # of 100: how like a question must be to one that was answered
LEAST_WORDS = 4  # in a question; fewer are like anything
LONGEST_ASKED = 4_000  # characters of a question that are compared

# What an author writes whom somebody has helped. Whole words, a `*` takes every ending.
_THANKS = (
    "thank*",
    "thx",
    "solved",
    "that worked",
    "that did it",
    "works now",
    "working now",
    "that fixed it",
    "danke",
    "gelöst",
    "geht jetzt",
    "funktioniert jetzt",
    "hat geklappt",
    "merci",
    "résolu",
    "ça marche",
    "gracias",
    "resuelto",
    "ya funciona",
    "obrigad*",
    "grazie",
)
_STILL = (
    *("no", "not", "still", "but", "doesn't", "didn't", "nicht", "aber", "immer noch"),
    *("toujours", "pas", "mais", "todavía", "pero", "sigue"),
)


class May(StrEnum):
    """Whether a post may be answered."""

    YES = "yes"
    AGAIN = "again"  # it was answered: only on purpose
    BY_HAND = "by hand"  # we can't post it, a person can
    NO = "no"


@dataclass(frozen=True, slots=True)
class Given:
    """An answer of ours, whole, as its first post tells. `by` is the person's name, `error` what went wrong."""

    action_id: int
    mention_id: int
    by: str
    text: str
    state: State
    at: datetime
    url: str = ""
    error: str = ""
    via_human: bool = False
    waits_for: str = ""  # the role or group that must let it go
    refused: bool = False  # the platform answered 403
    attempted: bool = False
    stuck_id: int = 0  # the action that decides its state
    due_at: datetime | None = None
    elsewhere: str = ""  # who of us has answered the post on the platform itself, while this is not sent
    elsewhere_at: datetime | None = None

    @property
    def can_be_taken_back(self) -> bool:
        """Whether no worker has touched any of it."""
        return self.state is State.PLANNED and not self.attempted


@dataclass(frozen=True, slots=True)
class Post:
    """A post of the same thread."""

    author: str
    text: str
    created_at: datetime
    parent_id: str | None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when somebody wants to answer `mention`.

    `configured` tells whether its source is in the config, `replies` whether its platform can post answers. `refused_token` holds why
    the account's token was refused, `paused_until` until when the account rests for another reason. `given` are our answers in the
    thread, newest first; `blocked` one that the author's server refused. `colleague` and `colleague_at` tell who of us answered from an
    account of their own, `stopped` whose answers were not sent for it. `posts` are the thread's, oldest first.
    """

    mention: Mention
    deleted_at: datetime | None = None
    configured: bool = True
    replies: bool = True
    observes: bool = False
    copied: bool = False
    restored: bool = False
    refused_token: str = ""
    paused_until: datetime | None = None
    given: Sequence[Given] = ()
    blocked: Given | None = None
    colleague: str = ""
    colleague_at: datetime | None = None
    stopped: Sequence[str] = ()
    posts: Sequence[Post] = ()
    signals: frozenset[str] = frozenset()
    mention_id: int = 0


@dataclass(frozen=True, slots=True)
class Answerable:
    """Yes or no, why, and what to do next; `warnings` are said beside a yes, too."""

    may: May
    reason: str = ""
    next_step: str = ""
    warnings: tuple[str, ...] = ()


def check(now: Situation) -> Answerable:
    """May this post be answered, and how? Asked before anybody types; the first obstacle is told."""
    warnings = tuple(_warnings(now))
    obstacle = _never(now) or _by_hand(now) or _again(now)
    if obstacle is None:
        return Answerable(May.YES, warnings=warnings)
    may, reason, step = obstacle
    return Answerable(may, reason, step, warnings)


def _never(now: Situation) -> tuple[May, str, str] | None:
    if now.deleted_at is not None:
        return May.NO, f"the author deleted the post at {_clock(now.deleted_at)}", "close the item; nothing is left to answer"
    if now.observes:
        return May.NO, "the service only observes: nothing is sent", "set `mode: act` in the config; drafts are kept"
    if now.copied:
        return May.NO, "this store is a copy of another one, which may answer, too", "say which is the real one: triage restored"
    if not (now.configured and now.replies):
        return None
    if now.refused_token:
        return May.NO, f"the account's token was refused: {now.refused_token}", "renew the token (Sources shows how), then send it"
    return None


def _by_hand(now: Situation) -> tuple[May, str, str] | None:
    step = "copy the text, open the post, answer there, then press “Answered by hand”"
    if not now.configured:
        return May.BY_HAND, "its source is not in the config, so we can't post there", step
    if not now.replies:
        return May.BY_HAND, "this platform takes no answers from us", step
    return None


def _again(now: Situation) -> tuple[May, str, str] | None:
    close = "close the item, or answer all the same"
    for answer in now.given:
        where = "" if answer.mention_id == now.mention_id else f" (to post {answer.mention_id} of the thread)"
        if answer.state in SENT:
            return May.AGAIN, f"{answer.by} answered at {_clock(answer.at)}{where}", "read that answer first; then close, or answer again"
        if answer.state is State.DOUBT:
            return May.AGAIN, f"it is not known whether {answer.by}'s answer was posted{where}", "wait until it is known, or look"
        if answer.state in UNDER_WAY:
            step = "wait for it, or take it back" if answer.can_be_taken_back else "wait for it: it can't be taken back any more"
            return May.AGAIN, f"{answer.by}'s answer is on its way{where}", step
        if answer.state is State.PARKED:
            return May.AGAIN, f"{answer.by}'s answer is stuck{where}", "decide on it first: it may still be sent"
    if now.colleague:
        at = f" at {_clock(now.colleague_at)}" if now.colleague_at else ""
        ours = f"; the answer by {' and '.join(now.stopped)} was not sent, its text went back to the drafts" if now.stopped else ""
        return May.AGAIN, f"{now.colleague} answered from their own account{at}{ours}", close
    if helped := community(now.mention, now.posts):
        return May.AGAIN, f"{helped.author} answered, and the author thanked them", close
    if now.blocked is not None:
        why = f"an answer to {now.mention.author.handle} was refused at {_clock(now.blocked.at)}: they may have blocked us"
        return May.AGAIN, why, "open the post and answer by hand, or try all the same"
    return None


def _warnings(now: Situation) -> Iterator[str]:
    if ANGER in now.signals:
        yield "the post is angry: no jokes, and say what happens next"
    if now.mention.visibility.is_private:
        yield "the post is private: quote nothing of it elsewhere"
    if now.mention.author.no_bots:
        yield "the author asks for no bots (#nobot): write it yourself, a prepared text will not do"
    if now.paused_until is not None:
        yield f"the account rests until {_clock(now.paused_until)}: the answer waits so long"
    if now.restored:
        yield "the store was restored: the server is asked first whether the answer is there already"


def community(mention: Mention, posts: Sequence[Post]) -> Post | None:
    """The answer of somebody else for which the author thanked, as far as the store shows it; None is no proof that there is none.

    `posts` are the thread's, oldest first.
    """
    mine = mention.author.handle.casefold()
    helper: Post | None = None
    for post in posts:
        if post.created_at <= mention.created_at:
            continue
        if post.author.casefold() != mine:
            if post.parent_id == mention.remote_id:
                helper = post
        elif helper is not None and word_in(_THANKS, post.text) and not word_in(_STILL, post.text):
            return helper
    return None


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def may_approve(role: str, person: Person, groups: Mapping[str, Sequence[str]]) -> bool:
    """Whether a person is whom a rule asks for approval: of that role or above, or of that group."""
    if role in groups:
        return person.name in groups[role]
    return role in list(Role) and person.role.may(Role(role))


def why_not_approve(
    role: str, asked_by: str, asked_at: datetime, person: Person, groups: Mapping[str, Sequence[str]], now: datetime, deputy: float
) -> str:
    """Why a person can't let an answer go that waits for `role`; empty where they can. `deputy` is in seconds."""
    if person.name == asked_by:
        return "somebody else has to approve it: you wrote it"
    who = f"the group {role} ({', '.join(groups[role])})" if role in groups else f"an {role}"
    if may_approve(role, person, groups) or (person.role.may(Role.APPROVER) and (now - asked_at).total_seconds() >= deputy):
        return ""
    return f"{who} has to approve it; any approver may from {_clock(asked_at + timedelta(seconds=deputy))}"


def concerns(role: str, asked_by: str, person: Person, groups: Mapping[str, Sequence[str]]) -> bool:
    """Whether an answer that waits for `role` is a person's matter: theirs, or theirs to let go, if only as a deputy."""
    return person.name == asked_by or person.name in groups.get(role, ()) or person.role.may(Role.APPROVER)


# How it would look


VISIBLE = {
    Visibility.PUBLIC: "public, like the post: everybody can read it",
    Visibility.UNLISTED: "unlisted, like the post: who opens the thread can read it, timelines and search don't show it",
    Visibility.PRIVATE: "to the author alone: the post is for its author's followers, and ours are not theirs",
    Visibility.DIRECT: "to the author alone, like the post",
}
"""Who can read an answer, by the visibility of the post that it answers."""


@dataclass(frozen=True, slots=True)
class Preview:
    """An answer before it is sent: its posts as they would go out, and who could read them."""

    posts: tuple[Shown, ...]
    visible: str

    @property
    def words(self) -> str:
        """Its length in a line: `132 of 500`, or of each post."""
        if not self.posts:
            return "nothing to send yet"
        counts = ", ".join(f"{post.length} of {post.limit}" if post.limit else str(post.length) for post in self.posts)
        return f"{counts} characters" if len(self.posts) == 1 else f"{len(self.posts)} posts: {counts} characters"


@dataclass(frozen=True, slots=True)
class Hit:
    """Words that the guide advises against: what stands there, what to say instead, and the line with its link."""

    found: str
    say: str
    line: str
    guide: str


def style_hits(style: Sequence[Style], text: str) -> list[Hit]:
    """The first place of each entry of the style list that the text goes against."""
    hits = []
    for entry in style:
        place = place_of(entry.words, text)
        if place is None and entry.pattern is not None and (match := _pattern(entry.pattern).search(text[:LONGEST_TEXT])):
            place = match.span()
        if place is not None:
            hits.append(Hit(text[place[0] : place[1]], entry.say or "", entry.line, entry.guide or ""))
    return hits


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# What could be said


@dataclass(frozen=True, slots=True)
class Canned:
    """A prepared answer, filled in; `why_not` is empty where it may be used, `warning` is said all the same."""

    name: str
    text: str
    kind: str
    why_not: str = ""
    warning: str = ""


def canned(
    answers: Sequence[Answer],
    mention: Mention,
    signals: frozenset[str],
    *,
    greeting: str,
    ticket: str = "",
    product: str = "",
    solved: Mapping[str, str] | None = None,
    looks: Mapping[str, Look] | None = None,
) -> list[Canned]:
    """Each prepared answer with its text, usable or with the reason why not.

    `greeting` is what the author is called, `ticket` the key of the problem's ticket, `solved` the solution by the key of a ticket,
    `looks` what was seen of the answers' links.
    """
    values = {
        "author": greeting,
        "handle": plain_handle(mention.author),
        "ticket": ticket,
        "url": mention.url or mention.uri,
        "product": product,
    }
    made = []
    for answer in answers:
        text, why = _filled(answer.text, values)
        why = why or _stale(answer, mention, signals, solved or {}) or gone(answer.text, looks or {})
        if not why and not ticket and _uses(answer.text, "ticket"):
            why = "it names the ticket, and there is none"
        made.append(Canned(answer.name, text, answer.kind, why, doubtful(answer.text, looks or {})))
    return made


def plain_handle(author: Author) -> str:
    """A handle without anything that could be markup."""
    return re.sub(r"[^\w.@-]", "", author.handle)


def _stale(answer: Answer, mention: Mention, signals: frozenset[str], solved: Mapping[str, str]) -> str:
    if answer.problem is not None and answer.problem in solved:
        return f"{answer.problem} is solved ({solved[answer.problem]}): say that instead"
    if answer.playful:
        found = [words for signal, words in _SERIOUS.items() if signal in signals]
        if found:
            return f"it jokes, and this is {found[0]}"
    if answer.language and mention.language and not same_language(answer.language, mention.language):
        return f"it is in {answer.language}, and the post in {mention.language}"
    return ""


_SERIOUS = {ANGER: "an angry post", OUTAGE: "an outage", DATA_LOSS: "about lost data"}


def _filled(text: str, values: Mapping[str, str]) -> tuple[str, str]:
    try:
        return str(_template(text).render(values)).strip(), ""
    except Exception as error:  # noqa: BLE001  a template may divide by zero; the others are still there
        return "", f"its text can't be filled in ({type(error).__name__}); mend it in the config"


@lru_cache(maxsize=256)
def _template(text: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # slow to import, and most processes show no answers

    return ImmutableSandboxedEnvironment(autoescape=False).from_string(text)  # an answer is plain text, not HTML


@lru_cache(maxsize=256)
def _uses(text: str, name: str) -> bool:
    """Whether a template needs a name: it shows it, and does not ask first whether it is there."""
    return re.search(r"\{\{[^}]*\b" + name + r"\b", text) is not None and re.search(r"\{%[^%]*\bif\b[^%]*\b" + name + r"\b", text) is None


@dataclass(frozen=True, slots=True)
class Answered:
    """A question that we answered, public ones alone."""

    mention_id: int
    question: str
    answer: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What was answered to a like question; `likeness` of 100."""

    source: Answered
    likeness: float


def suggest(text: str, earlier: Sequence[Answered], *, least: float = LIKE) -> Suggestion | None:
    """The answer to the question that is most like this one, None where none is like it. It is offered, never sent by itself."""
    from rapidfuzz import fuzz, process

    asked = _bare(text)
    if len(asked.split()) < LEAST_WORDS:
        return None
    known = {index: bare for index, one in enumerate(earlier) if len((bare := _bare(one.question)).split()) >= LEAST_WORDS}
    best = process.extractOne(asked, known, scorer=fuzz.token_set_ratio, score_cutoff=least)
    return Suggestion(earlier[best[2]], best[1]) if best is not None else None


def _bare(text: str) -> str:
    return normalised(without_links(without_names_at_start(text[:LONGEST_ASKED])))
