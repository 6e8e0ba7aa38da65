"""What an account's server still lets us ask, and who may spend it: pure decisions, each with its reason.

A server counts requests in a window (Mastodon: 300 in 5 minutes) and posts in a longer one (300 in 3 hours). What a person
waits for may take all of it; the rest leaves a share, the larger the longer it can wait. The same place decides who may
try an account that rested: one, and the others wait for its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

POSTS = "posts"  # the name of the limit on what we publish; requests have none
DRAIN_AT_ONCE = 20  # so many of what an account kept waiting go out when it is back, the others one after the other
LONG_OUTAGE = 5  # failures in a row: with the usual waits that is more than a minute


class Purpose(StrEnum):
    """What a request is for, the most urgent first."""

    SEND = "send"
    LOOK = "look"
    POLL = "poll"
    REREAD = "reread"
    RESCAN = "rescan"


KEPT = {
    # A person waits for an answer or a ticket, and it is what we are here for.
    Purpose.SEND: 0.0,
    # A look settles what was sent. It may read 200 keys, so a few requests stay for what was not sent yet.
    Purpose.LOOK: 0.05,
    # A reply is two requests, so a fifth of Mastodon's 300 is 30 replies in five minutes: more than people write.
    Purpose.POLL: 0.2,
    # An edit that is seen five minutes later does no harm; a mention that is seen later does.
    Purpose.REREAD: 0.4,
    # Reads what was read before, hundreds of pages at a time; nobody waits for it.
    Purpose.RESCAN: 0.6,
}
"""The share of the limit that each leaves for those before it."""

LEFT_WITHIN = {**KEPT, Purpose.RESCAN: KEPT[Purpose.POLL]}
"""The same in mid-work. A rescan can't go on where it was cut, so one that has begun may go as far as a poll."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit, what is left of it, and when it is whole again; None where nobody knows."""

    limit: int | None = None
    left: int | None = None
    reset_at: datetime | None = None

    def at(self, now: datetime) -> Budget:
        """The same at `now`: whole again after its reset."""
        return Budget(self.limit, self.limit) if self.reset_at is not None and self.reset_at <= now else self


@dataclass(slots=True)
class Use:
    """What one job asked of an account: how many requests, and what the server said of its limit at the last.

    `reset_in` is in seconds. `limited` is how long a 429 told us to wait, 0 where it did not say, None without a 429.
    """

    asked: int = 0
    limit: int | None = None
    left: int | None = None
    reset_in: float | None = None
    limited: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account is: until when it rests and why, and until when somebody tries it for everybody (or nobody does)."""

    paused_until: datetime | None = None
    paused_why: str = ""
    probe_at: datetime | None = None
    requests: Budget = Budget()
    posts: Budget = Budget()
    failures: int = 0

    def rests_until(self, now: datetime) -> datetime | None:
        """Until when nobody may call it; None where somebody may."""
        return max((moment for moment in (self.paused_until, self.probe_at) if moment is not None and moment > now), default=None)

    @property
    def ails(self) -> bool:
        """Whether the last that we know of it is a failure that made it rest."""
        return self.paused_until is not None or self.probe_at is not None


@dataclass(frozen=True, slots=True)
class Leave:
    """`go`, or wait until `until`, and why. `probe`: one tries, and the others wait for its result.

    `held`: its budget is spent. `look_first`: something is in doubt there, and a look tries it rather than a write.
    """

    go: bool
    until: datetime | None = None
    why: str = ""
    probe: bool = False
    held: bool = False
    look_first: bool = False


def may(purpose: Purpose, budget: Budget, now: datetime, *, kept: float | None = None) -> Leave:
    """Whether there is enough left for this purpose; `kept` is the share that stays for what is more urgent."""
    budget = budget.at(now)
    if budget.limit is None or budget.left is None or budget.reset_at is None:
        return Leave(True)
    share = KEPT[purpose] if kept is None else kept
    if budget.left > budget.limit * share:
        return Leave(True)
    what = f"{budget.left} of {budget.limit} requests are left until {budget.reset_at:%H:%M:%S} UTC"
    why = what if not share else f"{what}, and {share:.0%} are kept for what is more urgent than a {purpose}"
    return Leave(False, budget.reset_at, why, held=True)


def may_post(posts: Budget, now: datetime) -> Leave:
    """Whether the server takes another post of ours."""
    posts = posts.at(now)
    if posts.left is None or posts.left > 0 or posts.reset_at is None:
        return Leave(True)
    return Leave(
        False, posts.reset_at, f"the {posts.limit} posts that the server takes are spent until {posts.reset_at:%H:%M} UTC", held=True
    )


def leave(standing: Standing, purpose: Purpose, now: datetime, *, post: bool = False) -> Leave:
    """Whether to go. An account that rests is left alone; when its rest is over one tries; one that is well has its budget."""
    until = standing.rests_until(now)
    if until is not None:
        return Leave(False, until, standing.paused_why or "it did not answer, and is tried again by one at a time")
    asked = may(purpose, standing.requests, now)
    if asked.go and post:
        asked = may_post(standing.posts, now)
    return Leave(True, probe=True) if asked.go and standing.ails else asked


def spent(budget: Budget, use: Use, now: datetime, usual: tuple[int, float] | None) -> Budget:
    """What a budget is after `use`: the server's word where it gave one, else our own count against `usual` (limit, seconds)."""
    if use.limit is not None and use.left is not None and use.reset_in is not None:
        return Budget(use.limit, max(use.left, 0) if use.limited is None else 0, now + timedelta(seconds=use.reset_in))
    if usual is None:
        return budget
    limit, seconds = usual
    known = budget.at(now)
    if known.reset_at is None or known.left is None or known.limit is None:
        known = Budget(known.limit or limit, known.limit or limit, now + timedelta(seconds=seconds))
    assert known.left is not None
    left = 0 if use.limited is not None else max(known.left - use.asked, 0)
    return Budget(known.limit, left, known.reset_at if use.limited is None else now + timedelta(seconds=use.limited or seconds / 12))


def matters(use: Use) -> bool:
    """Whether others should know of it at once: ten requests, a quarter of the limit, or a 429."""
    return use.asked >= 10 or use.limited is not None or (use.limit is not None and use.left is not None and use.left <= 0.75 * use.limit)


def drain(count: int, gap: float) -> list[float]:
    """After how many seconds each of `count` waiting actions goes out, when its account is back: some at once, then one each `gap`."""
    return [max(0, position - DRAIN_AT_ONCE + 1) * gap for position in range(count)]


def hint(waiting: int, posts: Budget, now: datetime) -> str:
    """What to tell people when more answers wait than the server takes; empty when it takes them all."""
    posts = posts.at(now)
    if posts.left is None or waiting <= posts.left:
        return ""
    until = f" until {posts.reset_at:%H:%M} UTC" if posts.reset_at is not None else " in its time"
    return f"{waiting} answers wait and the server takes {posts.left} more posts{until}: one public post tells them all"
