"""The people who use the queue: who they are, and what each role may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase

_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)


def account(handle: str) -> str:
    """A handle as handles are held against each other: without the leading @, its Latin letters small.

    No other letter is changed, since the index of authors in either database changes no other.
    """
    return handle.strip().removeprefix("@").translate(_SMALL)


class Role(StrEnum):
    """What a person may do; each role may also do what those before it may."""

    VIEWER = "viewer"  # look
    TRAINEE = "trainee"  # and write drafts and notes
    TRIAGER = "triager"  # and label, file, answer, assign
    APPROVER = "approver"  # and let answers go that need a second person
    ADMIN = "admin"  # and people, tokens of sources, privacy

    def may(self, wanted: Role) -> bool:
        """Whether this role may do what `wanted` may."""
        order = list(Role)
        return order.index(self) >= order.index(wanted)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a log-in.

    `name` is what they log in with and what every trail holds. `handles` are their own accounts on platforms, `name@host`.
    `zone` is a time zone's IANA name. `away` is set while they are signed off: nothing comes back to them.
    """

    id: int
    name: str
    role: Role
    shown: str = ""
    zone: str = "UTC"
    handles: Sequence[str] = ()
    away: bool = False
    disabled_at: datetime | None = None
    seen_at: datetime | None = None

    @property
    def called(self) -> str:
        """What pages call them."""
        return self.shown or self.name
