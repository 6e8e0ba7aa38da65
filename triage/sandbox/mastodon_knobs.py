"""What kind of Mastodon the stand-in is. The facts about other servers were seen by running them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

SCOPES = frozenset({"read", "write"})


@dataclass(slots=True)
class Knobs:
    """How the server behaves; change them while it runs.

    `filtered` holds the accts whose notifications the account's policy holds back. `newest_only` lists no more than so
    many notifications; `delay` is the number of seconds before a mention shows. `keep_deleted` leaves a notification
    with a null status behind a deleted post. `rate_limit` is requests in 5 minutes, None: shown in the headers, never
    enforced; `posts_limit` is enforced, posts in 3 hours, and told by the answer to a post. With
    `revoked` every token is refused. `skew` is how many seconds the server's clock is ahead.
    """

    version: str = "4.4.2"
    grouped: bool = True
    bulk_statuses: bool = True
    policy: bool = True
    ulids: bool = False
    idempotency: bool = True
    inclusive_min_id: bool = False
    ignore_min_id: bool = False
    ignore_since_id: bool = False
    max_characters: int = 500
    filtered: set[str] = field(default_factory=set)
    streaming: bool = True
    search: bool = True
    link_headers: bool = True
    rate_headers: bool = True
    rate_limit: int | None = None
    posts_limit: int | None = None
    revoked: bool = False
    scopes: set[str] = field(default_factory=lambda: set(SCOPES))
    skew: float = 0.0
    page_limit: int = 40
    newest_only: int | None = None
    delay: float = 0.0
    keep_deleted: bool = False
    edit_changes_id: bool = False
    needs_user_agent: bool = False
    invalid_status: int = 422
    html_errors: bool = False

    @property
    def api_version(self) -> int | None:
        """What Mastodon's own servers announce since 4.3."""
        return {"4.3": 2, "4.4": 5, "4.5": 7}.get(self.version[:3])

    def change(self, **values: Any) -> None:
        """Set several by name; a `version` brings the habits of that server along. `ValueError` for an unknown name."""
        if "version" in values:
            preset = knobs_for(values["version"])
            for one in fields(self):
                setattr(self, one.name, getattr(preset, one.name))
        for name, value in values.items():
            if name not in {one.name for one in fields(self)}:
                raise ValueError(f"there is no knob {name!r}")
            if name != "version":
                setattr(self, name, set(value) if name in ("filtered", "scopes") else value)


def knobs_for(version: str) -> Knobs:
    """The habits of a server by what it calls itself: `4.4.2`, `4.2.10`, `gotosocial 0.19`, `snac 2.80`."""
    name, _, number = version.rpartition(" ")
    if name == "gotosocial":
        return Knobs(
            version=f"{number}.0 git-5eed",
            grouped=False,
            bulk_statuses=False,
            policy=False,
            ulids=True,
            idempotency=False,
            max_characters=5000,
            streaming=False,
            needs_user_agent=True,
            invalid_status=400,
        )
    if name == "snac":
        return Knobs(
            version=f"4.0.0 (not true; really snac/{number})",
            grouped=False,
            bulk_statuses=False,
            policy=False,
            idempotency=False,
            ignore_since_id=True,
            streaming=False,
            search=False,
            link_headers=False,
            rate_headers=False,
            newest_only=64,
            edit_changes_id=True,
            html_errors=True,
        )
    modern = tuple(int(part) for part in number.split(".")[:2]) >= (4, 3)
    return replace(Knobs(version=number), grouped=modern, bulk_statuses=modern, policy=modern)
