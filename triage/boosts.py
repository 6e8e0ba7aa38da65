"""May praise be boosted: shown to those who follow our account (pure). The store decides again what two may race for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from triage.config.rules import handle_glob
from triage.mention import Label, Mention, State, Visibility


class May(StrEnum):
    """Whether a post may be boosted."""

    YES = "yes"
    ASK = "ask"  # not by one key: somebody says first that it is all right
    NO = "no"


@dataclass(frozen=True, slots=True)
class Boost:
    """A boost that was asked for. `untouched`: no worker has begun it, so that it can be taken back."""

    action_id: int
    by: str
    state: State
    at: datetime
    due_at: datetime | None = None
    error: str = ""
    untouched: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when somebody wants to boost `mention`.

    `label` is its last verdict's. `can` tells whether its source is in the config and can boost, `refused_token` why its token was refused.
    `boost` is the one that there is. `used` counts those of the source within 24 hours, `daily` is how many may be, `next_at` when there is
    room again. `allies` are handles and patterns of those who agreed.
    """

    mention: Mention
    label: str | None = None
    deleted_at: datetime | None = None
    can: bool = True
    observes: bool = False
    copied: bool = False
    refused_token: str = ""
    boost: Boost | None = None
    used: int = 0
    daily: int = 5
    next_at: datetime | None = None
    allies: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Boostable:
    """Yes, no, or a question, and why; a no ends with what to do next."""

    may: May
    reason: str = ""


def check(now: Situation) -> Boostable:
    """May this post be boosted? The first obstacle is told."""
    obstacle = _obstacle(now)
    if obstacle:
        return Boostable(May.NO, obstacle)
    question = _question(now)
    return Boostable(May.ASK, question) if question else Boostable(May.YES)


def _obstacle(now: Situation) -> str:
    if not now.can:
        return "its source can't boost; open the post and boost it there"
    if now.mention.visibility.is_private:
        return "the post is private, and a private post is never boosted"
    if now.deleted_at is not None:
        return "the author deleted the post; nothing is left to boost"
    if now.label != Label.PRAISE:
        return "only praise is boosted; label it praise first, if it is"
    if now.boost is not None:
        return taken(now.boost)
    if now.observes:
        return "the service only observes; set `mode: act` in the config"
    if now.copied:
        return "this store is a copy of another one, which may boost, too; say which is the real one: triage restored"
    if now.refused_token:
        return f"the account's token was refused ({now.refused_token}); renew it, Sources shows how"
    return full(now.mention.source, now.used, now.daily, now.next_at)


def _question(now: Situation) -> str:
    if now.mention.visibility is not Visibility.PUBLIC:
        return "the author keeps this post out of public lists; boosted, all who follow us see it. Is that all right with them?"
    if not is_ally(now.mention.author.handle, now.allies):
        return f"{now.mention.author.handle} is not on the list of those who agreed to be boosted. Is it all right with them?"
    return ""


def is_ally(handle: str, allies: Sequence[str]) -> bool:
    """Whether somebody agreed to be boosted, by the config's list of handles and patterns."""
    return any(fnmatchcase(handle.casefold(), handle_glob(ally)) for ally in allies)


def taken(boost: Boost) -> str:
    """Why a post that has a boost gets no other one."""
    when = f"{boost.at:%H:%M} UTC on {boost.at:%Y-%m-%d}"
    if boost.state is State.DONE:
        return f"{boost.by} boosted it already, at {when}"
    if boost.state is State.PLANNED:
        return f"{boost.by} asked for its boost at {when}; it is on its way"
    return f"{boost.by} asked for its boost at {when}, and it is {boost.state}; decide on that one, nothing is boosted twice"


def full(source: str, used: int, daily: int, next_at: datetime | None) -> str:
    """Why a source boosts no more for now; empty while there is room."""
    if used < daily:
        return ""
    if not daily:
        return "nothing is boosted here: `boosts.daily` is 0 in the config"
    room = f"there is room again at {next_at:%H:%M} UTC on {next_at:%Y-%m-%d}" if next_at else "others still wait to be sent"
    return f"{source} boosts {daily} posts within 24 hours (`boosts.daily`), and has its {used}; {room}"
