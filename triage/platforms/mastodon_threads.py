"""Threads: those below our own posts, in which people answer without our @name, and the way up to a thread's first post."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from triage import remote
from triage.contracts import Item
from triage.errors import Gone, NotAccepted
from triage.platforms.mastodon_feeds import Entry, back_to, backward, moment_of
from triage.platforms.mastodon_server import Server
from triage.platforms.mastodon_wire import Us, WireStatus, item_of_status
from triage.text import from_html

NEWEST = 40
THREADS_A_POLL = 10  # the others wait for the next poll: an outage must not use up the rate limit
AGAIN_SECONDS = 600.0  # after that a thread is read again, one a poll: an answer to an answer does not change our post's count
ANNOUNCEMENTS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class OwnPost:
    """A post of ours: its text, and how many answers the server has counted."""

    id: str
    text: str
    answers: int

    @classmethod
    def of(cls, payload: Any) -> OwnPost | None:
        """From the server's JSON; None for what is too odd to be watched."""
        entry = Entry.of(payload)
        if not entry.has_id:
            return None
        count, content = payload.get("replies_count"), payload.get("content")
        is_count = isinstance(count, int) and not isinstance(count, bool)
        return cls(entry.id, from_html(content) if isinstance(content, str) else "", count if is_count else 0)


class OwnPosts:
    """What our account posted, and what stands below it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._announcements: tuple[float, list[OwnPost]] = (-ANNOUNCEMENTS_SECONDS, [])
        self._read_at: dict[str, float] = {}

    def newest(self) -> list[OwnPost]:
        """The newest ones, and the newest that answer nobody: a busy day of answers must not push an announcement out of sight."""
        if self._server.account() is None:
            return []
        found = self._page()
        at, announcements = self._announcements
        if remote.boot_seconds() - at >= ANNOUNCEMENTS_SECONDS:
            announcements = _own(self._page(exclude_replies=True, limit=NEWEST // 2))
            self._announcements = (remote.boot_seconds(), announcements)
        return list({post.id: post for post in [*announcements, *_own(found)]}.values())

    def since(self, start: datetime) -> list[OwnPost]:
        """All since then."""
        if self._server.account() is None:
            return []
        return _own([entry.payload for page in back_to(self._read, start) for entry in page])

    def after(self, start: datetime, pages: int) -> list[Mapping[str, Any]]:
        """Our posts since then as the server shows them, from at most so many pages."""
        found: list[Mapping[str, Any]] = []
        for number, page in enumerate(backward(self._read), 1):
            found += [entry.payload for entry in page if isinstance(entry.payload, dict)]
            dates = [entry.created_at for entry in page if entry.created_at is not None]
            if number == pages or (dates and min(dates) < start):
                break
        return [post for post in found if (moment_of(post.get("created_at")) or start) >= start]

    def below(self, remote_id: str) -> list[Mapping[str, Any]]:
        """Our posts in the thread below that one, as the server shows them; none when it is gone."""
        account = self._server.account()
        try:
            descendants = _context(self._server, remote_id)["descendants"]
        except Gone:
            return []
        return [post for post in descendants if account is not None and _author_id(post) == account.id]

    def answered(
        self, own: Sequence[OwnPost], known: Mapping[str, int], us: Us, start: datetime
    ) -> Iterator[tuple[tuple[Item, ...], dict[str, int]]]:
        """What was posted since `start` below those whose count of answers is not the `known` one, with the counts to remember."""
        now = remote.boot_seconds()
        counts = {post.id: known.get(post.id, 0) if post.answers else 0 for post in own}
        todo = [post for post in own if post.answers != counts[post.id]][:THREADS_A_POLL]
        for post in own:
            self._read_at.setdefault(post.id, now)
        stale = [post for post in own if post.answers and post not in todo and now - self._read_at[post.id] >= AGAIN_SECONDS]
        todo += sorted(stale, key=lambda post: self._read_at[post.id])[:1]
        self._read_at = {post.id: self._read_at[post.id] for post in own}
        for post in todo:
            items = below(self._server, post.id, us, start)
            self._read_at[post.id] = now
            counts[post.id] = post.answers
            yield items, dict(counts)
        if not todo:
            yield (), counts

    def _read(self, *, min_id: str | None = None, max_id: str | None = None) -> list[Entry]:
        return [Entry.of(payload) for payload in reversed(self._page(min_id=min_id, max_id=max_id))]

    def _page(self, **how: Any) -> list[Any]:
        account = self._server.account()
        if account is None:
            return []
        query = {"exclude_reblogs": True, "limit": NEWEST, **how}
        return self._server.read_list(lambda client: client.account_statuses(account.id, **query))


def below(server: Server, remote_id: str, us: Us, start: datetime) -> tuple[Item, ...]:
    """What others posted since `start` in the thread below a post of ours, colleagues' answers too; nothing when it is gone."""
    try:
        descendants = _context(server, remote_id)["descendants"]
    except Gone:
        return ()
    recent = [post for post in descendants if (moment_of(post.get("created_at") if isinstance(post, dict) else None) or start) >= start]
    items = (item_of_status(post, us, via="thread") for post in recent)
    return tuple(item for item in items if not item.set_aside or item.answers)


def first_of_thread(server: Server, remote_id: str, us: Us) -> str:
    """The uri of the highest post above (or of the post itself) that is neither ours nor a colleague's.

    Our posts that answer somebody are climbed over; our announcement, which answers nobody, ends the climb, and so does
    a post that is gone.
    """
    post = _post(server.read(lambda client: client.status(remote_id)))
    if post is None:
        raise NotAccepted(f"{server.source}: the server's answer is no post")
    first = post
    if post.in_reply_to_id is not None:
        above = {one.id: one for one in map(_post, _context(server, remote_id)["ancestors"]) if one is not None}
        while post.in_reply_to_id in above:
            post = above.pop(post.in_reply_to_id)
            is_ours = us.is_us(post.account) or us.whole(post.account.acct).casefold() in us.roster
            if not is_ours:
                first = post
    return first.uri


def _context(server: Server, remote_id: str) -> dict[str, list[Any]]:
    """What stands above and below a post."""
    found = server.read(lambda client: client.status_context(remote_id))
    lists = {name: found.get(name) if isinstance(found, dict) else None for name in ("ancestors", "descendants")}
    if not all(isinstance(one, list) for one in lists.values()):
        raise NotAccepted(f"{server.source}: the server's answer is no thread")
    return {name: one or [] for name, one in lists.items()}


def _post(payload: Any) -> WireStatus | None:
    try:
        return WireStatus.model_validate(payload)
    except ValidationError:
        return None


def _author_id(post: Any) -> str:
    account = post.get("account") if isinstance(post, dict) else None
    return str(account.get("id")) if isinstance(account, dict) else ""


def _own(payloads: Sequence[Any]) -> list[OwnPost]:
    return [post for post in map(OwnPost.of, payloads) if post is not None]
