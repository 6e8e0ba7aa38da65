"""Plays the demo's world: what people posted about an invented product over four days."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from threading import Event
from typing import Any, Self

from triage.sandbox.mastodon import MastodonServer


@dataclass(slots=True)
class Played:
    """What was played. `ids` maps a post's key in the world to its id on the server."""

    posts: int = 0
    mentions: int = 0
    edits: int = 0
    deletions: int = 0
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class World:
    """The accounts and the posts, as `triage/sandbox/world/README.md` describes them."""

    authors: tuple[Mapping[str, Any], ...]
    posts: tuple[Mapping[str, Any], ...]

    @classmethod
    def load(cls) -> Self:
        """Read the files that travel with the package."""
        folder = files("triage.sandbox") / "world"

        def lines(name: str) -> tuple[Mapping[str, Any], ...]:
            return tuple(json.loads(line) for line in (folder / name).read_text("utf-8").splitlines() if line.strip())

        return cls(lines("authors.jsonl"), lines("posts.jsonl"))

    def events(self, until_t: float | None = None) -> list[tuple[int, str, Mapping[str, Any]]]:
        """Posts, edits and deletions in their order: minute, what, post. None later than the minute `until_t`."""
        found: list[tuple[int, str, Mapping[str, Any]]] = []
        for post in self.posts:
            found.append((post["t"], "post", post))
            if post["edit"]:
                found.append((post["edit"]["t"], "edit", post))
            if post["delete_t"] is not None:
                found.append((post["delete_t"], "delete", post))
        # A stable sort on the minute alone keeps a post before what happens to it in the same minute.
        return sorted((event for event in found if until_t is None or event[0] <= until_t), key=lambda event: event[0])

    def play(
        self,
        server: MastodonServer,
        *,
        seconds: float = 0.0,
        until_t: float | None = None,
        now: float | None = None,
        stop: Event | None = None,
    ) -> Played:
        """Let it happen on `server`.

        Without `seconds` all of it happens at once and is dated so that its last minute is `now` (seconds since the
        epoch). With `seconds` it happens live, evenly spread over that time and dated when it is posted. `stop` ends it
        early. What was posted on an earlier call is posted again.
        """
        for author in self.authors:
            server.add_author(
                author["acct"],
                display_name=author["display_name"],
                bio=author["bio"],
                followers=author["followers"],
                bot=author["bot"],
                created=author["created"],
            )
        events = self.events(until_t)
        end = (time.time() if now is None else now) - (0 if not events else 60.0 * events[-1][0])
        started, played, stop = time.monotonic(), Played(), stop or Event()
        for number, (minute, what, post) in enumerate(events):
            if seconds:
                stop.wait(max(0.0, started + seconds * number / len(events) - time.monotonic()))
            if stop.is_set():
                break
            _do(server, what, post, None if seconds else end + 60.0 * minute, played)
        return played


def _do(server: MastodonServer, what: str, post: Mapping[str, Any], at: float | None, played: Played) -> None:
    key = post["key"]
    if what == "edit":
        played.ids[key] = server.edit(played.ids[key], post["edit"]["text"], at=at)["id"]
        played.edits += 1
    elif what == "delete":
        server.delete(played.ids[key])
        played.deletions += 1
    else:
        shown = server.post(
            post["author"],
            post["text"],
            visibility=post["visibility"],
            cw=post["cw"],
            reply_to=played.ids.get(post["reply_to"] or ""),
            mention=post["mentions_us"],
            tags=post["tags"],
            media=post["media"],
            poll=post["poll"],
            lang=post["lang"],
            created_at=at,
            quote_of=played.ids.get(post["quote_of"] or ""),
        )
        played.ids[key] = shown["id"]
        played.posts += 1
        played.mentions += bool(post["mentions_us"])
