"""The far sides: a server of posts, a tracker and a pager, each with a ledger of its own, and our connectors to them.

A server is what is true; a connector, one a process, is how we see it through the network. They keep to what
`triage.platforms.mastodon` and `triage.trackers.jira` know of the real ones: a walk by `min_id` with an overlap, keys that
count upwards, a search index that lags.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event
from typing import Any

from pydantic import BaseModel

from tests.faults.sim.network import Network
from triage import remote
from triage.contracts import Change, Finding, Item, Manifest, Page
from triage.errors import Gone, Refused
from triage.mention import ActionKind, Author, Mention, Receipt, Ticket, Visibility, Work
from triage.platforms.mastodon_feeds import Entry, forward, newest_keys

HOST = "quayside.social"
US = "quayside"
BOT = "triage-bot"
IDEMPOTENT_FOR = timedelta(hours=1)
MISSES_IN_A_ROW = 20


class Nothing(BaseModel):
    """A connector of the simulator has no keys."""


# The server of posts


@dataclass(slots=True)
class Post:
    """A post, and since when the server shows it."""

    mention: Mention
    number: int
    shown_at: datetime
    gone: bool = False
    edits: int = 0


class PostServer:
    """Posts of others and of ours. `repeatable` tells whether it drops a second post with the same Idempotency-Key."""

    def __init__(self, network: Network, *, repeatable: bool, page: int) -> None:
        self.network = network
        self.repeatable = repeatable
        self.page = page
        self.posts: dict[str, Post] = {}
        self.ledger: list[dict[str, Any]] = []
        self.late: set[str] = set()  # uris of posts that were shown after others with a higher number
        self.unseen: set[str] = set()  # keys of replies for which a look was blind
        self._keys: dict[str, tuple[datetime, str]] = {}
        self._number = 100

    @property
    def now(self) -> datetime:
        return self.network.scheduler.clock()

    def post(self, text: str, *, parent: str | None = None, visibility: Visibility = Visibility.PUBLIC, late: float = 0.0) -> Post:
        """Somebody writes to us; `late` is how many seconds after its number was given out the post is shown."""
        self._number += 1
        number = self._number
        uri = f"https://tilde.example/posts/{number}"
        mention = Mention(
            uri=uri,
            platform="mastodon",
            source="acme",
            remote_id=str(number),
            author=Author("mira@tilde.example"),
            text=text,
            created_at=self.now,
            url=uri,
            parent_id=parent,
            thread=uri if parent is None else None,
            visibility=visibility,
            language="en",
        )
        made = Post(mention, number, self.now + timedelta(seconds=late))
        self.posts[mention.remote_id] = made
        if late:
            self.late.add(uri)
        self._write("status", mention)
        self.network.scheduler.tell(f"post {number}: {text}" + (f" (shown {late:.0f} s late)" if late else ""))
        return made

    def edit(self, post: Post, text: str) -> None:
        post.mention = replace(post.mention, text=text, edited_at=self.now)
        post.edits += 1
        self._write("edit", post.mention)
        self.network.scheduler.tell(f"edit {post.number}: {text}")

    def delete(self, post: Post) -> None:
        post.gone = True
        self._write("delete", post.mention)
        self.network.scheduler.tell(f"delete {post.number}")

    def answer(self, key: str, text: str, parent: str) -> Receipt:
        """We post; what is posted again with the same key within the hour is the same post, where the server honours it."""
        known = self._keys.get(key)
        if known is not None and self.repeatable and self.now - known[0] < IDEMPOTENT_FOR:
            return self.receipt(self.posts[known[1]])
        if parent not in self.posts or self.posts[parent].gone:
            raise Gone(f"acme: there is no post {parent}", status=404)
        self._number += 1
        uri = f"https://{HOST}/@{US}/{self._number}"
        mention = Mention(
            uri=uri,
            platform="mastodon",
            source="acme",
            remote_id=str(self._number),
            author=Author(f"{US}@{HOST}"),
            text=text,
            created_at=self.now,
            url=uri,
            parent_id=parent,
        )
        made = self.posts[mention.remote_id] = Post(mention, self._number, self.now)
        self._keys[key] = (self.now, mention.remote_id)
        self._write("reply", mention, idempotency_key=key)
        return self.receipt(made)

    def receipt(self, post: Post) -> Receipt:
        return Receipt(post.mention.remote_id, key=post.mention.remote_id, url=post.mention.url)

    def shown(self) -> list[Post]:
        """The posts that the list of notifications shows now, in the order of their numbers."""
        now = self.now
        return [p for p in self.posts.values() if not p.gone and p.shown_at <= now and p.mention.author.handle != f"{US}@{HOST}"]

    def root(self, remote_id: str) -> str:
        if remote_id not in self.posts or self.posts[remote_id].gone:
            raise Gone(f"acme: there is no post {remote_id}", status=404)
        post = first = self.posts[remote_id].mention
        while post.parent_id in self.posts and not self.posts[post.parent_id].gone:
            post = self.posts[post.parent_id].mention
            if post.author.handle != f"{US}@{HOST}":
                first = post
        return first.uri

    def _write(self, kind: str, mention: Mention, **more: Any) -> None:
        name, _, host = mention.author.handle.partition("@")
        author = name if host == HOST else mention.author.handle
        told = [] if author == US else [US]
        entry = {
            "kind": kind,
            "n": len(self.ledger) + 1,
            "id": mention.remote_id,
            "uri": mention.uri,
            "author": author,
            "text": mention.text,
        }
        self.ledger.append(entry | {"notified": told, "visibility": str(mention.visibility), "tags": [], "at": self.now} | more)


class SimPlatform:
    """Our connector to the server of posts."""

    manifest: Manifest

    def __init__(self, server: PostServer, *, doubled: float, blind: float) -> None:
        self._server = server
        self._network = server.network
        self._doubled = doubled
        self._blind = blind

    def fetch(self, cursor: str | None) -> Iterator[Page]:
        rng = self._network.scheduler.rng
        seen: list[str] = json.loads(cursor) if cursor is not None else newest_keys([], self._read())
        if cursor is not None:
            for entries in forward(self._read, seen):
                seen = newest_keys(seen, entries)
                page = Page(tuple(entry.payload for entry in entries), json.dumps(seen))
                yield page
                if rng.random() < self._doubled:
                    self._network.scheduler.seen["acme read: shown twice"] += 1
                    yield page
        yield Page((), json.dumps(seen))

    def _read(self, *, min_id: str | None = None, max_id: str | None = None) -> Sequence[Entry]:
        def page() -> list[Entry]:
            size = self._server.page
            shown = self._server.shown()
            if min_id is not None:
                found = [post for post in shown if post.number > int(min_id)][:size]
            elif max_id is not None:
                found = [post for post in shown if post.number < int(max_id)][-size:]
            else:
                found = shown[-size:]
            return [_entry(post) for post in found]

        return self._network.read("acme", "list", page)

    def history(self, since: datetime) -> Iterator[Page]:
        found = self._network.read(
            "acme", "history", lambda: [_entry(p).payload for p in self._server.shown() if p.mention.created_at >= since]
        )
        for start in range(0, len(found), self._server.page):
            yield Page(tuple(found[start : start + self._server.page]), "")

    def reread(self, remote_ids: Sequence[str]) -> Mapping[str, Item | None]:
        def now() -> dict[str, Item | None]:
            return {name: None if self._server.posts[name].gone else _item(self._server.posts[name].mention) for name in remote_ids}

        return self._network.read("acme", "reread", now)

    def thread(self, remote_id: str, colleagues: Collection[str] = frozenset()) -> str:
        return self._network.read("acme", "thread", lambda: self._server.root(remote_id))

    def compose(self, mention: Mention, text: str) -> Sequence[str]:
        return text.split("|")

    def reply(self, work: Work) -> Receipt:
        if work.attempt > 1 and (found := self.find(work)):
            return found[0]
        assert work.mention is not None
        parent = work.previous.remote_id if work.previous is not None else work.mention.remote_id
        text = work.payload["text"]
        return self._network.write("acme", f"reply {work.action_id}", work.key, lambda: self._server.answer(work.key, text, parent))

    def find(self, work: Work) -> Sequence[Receipt]:
        assert work.mention is not None
        parent = work.previous.remote_id if work.previous is not None else work.mention.remote_id
        text = work.payload["text"]
        scheduler = self._network.scheduler
        if self._server.repeatable and scheduler.rng.random() < self._blind:
            scheduler.seen["acme read: look is blind"] += 1
            self._server.unseen.add(work.key)
            return self._network.read("acme", "look", list)

        def look() -> list[Receipt]:
            mine = [p for p in self._server.posts.values() if not p.gone and p.mention.author.handle == f"{US}@{HOST}"]
            return [self._server.receipt(p) for p in mine if p.mention.parent_id == parent and p.mention.text == text]

        return self._network.read("acme", "look", look)

    def repeatable(self) -> bool:
        return self._server.repeatable

    def stream(self, stop: Event) -> Iterator[Change]:
        """Every post as it is now, as if all of them had just changed; then the connection ends."""
        for post in list(self._server.posts.values()):
            if post.mention.author.handle != f"{US}@{HOST}" and (post.edits or post.gone):
                self._network.scheduler.point("stream")
                yield Change(post.mention.remote_id, None if post.gone else _item(post.mention))

    def check(self) -> Iterator[Finding]:
        yield Finding("ok", "simulated")


SimPlatform.manifest = Manifest(name="sim", options=Nothing, build=lambda name, options: None, replies=True)


def _item(mention: Mention) -> Item:
    return Item(mention.remote_id, mention.text.encode(), mention=mention)


def _entry(post: Post) -> Entry:
    id_ = post.mention.remote_id
    return Entry(id_, f"{id_} {post.edits}" if post.edits else id_, _item(post.mention), post.mention.created_at)


# The tracker


@dataclass(slots=True)
class Issue:
    """A ticket: ours has a marker, other people's have none. The search shows it from `indexed_at` on."""

    number: int
    marker: str
    created_at: datetime
    indexed_at: datetime
    status: str = "Open"
    gone: bool = False
    comments: list[tuple[str, str]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(20000 + self.number)

    @property
    def key(self) -> str:
        return f"ACME-{self.number}"


class TicketServer:
    """A tracker whose keys count upwards, with tickets of other people between ours, and a search index that lags by `lag` seconds."""

    def __init__(self, network: Network, *, lag: float) -> None:
        self.network = network
        self.lag = lag
        self.issues: list[Issue] = []
        self.ledger: list[dict[str, Any]] = []
        self.blank: set[str] = set()
        self._comment = 500

    @property
    def now(self) -> datetime:
        return self.network.scheduler.clock()

    def take_out(self, made: Receipt) -> Receipt:
        """The words of a post go out of a ticket or a comment."""
        self.blank.add(made.remote_id)
        self.ledger.append({"kind": "edit", "id": made.remote_id, "at": self.now})
        return made

    def create(self, marker: str) -> Receipt:
        issue = Issue(len(self.issues) + 1, marker, self.now, self.now + timedelta(seconds=self.lag))
        self.issues.append(issue)
        creator, labels = (BOT, ["triage", f"triage-{marker}"]) if marker else ("somebody", [])
        entry = {
            "kind": "ticket",
            "id": issue.id,
            "key": issue.key,
            "creator": creator,
            "labels": labels,
            "description": f"triage:{marker}",
        }
        self.ledger.append(entry | {"at": self.now})
        return self.receipt(issue)

    def comment(self, ticket: str, marker: str) -> Receipt:
        issue = next((one for one in self.issues if ticket in (one.id, one.key) and not one.gone), None)
        if issue is None:
            raise Gone("tickets: the ticket does not exist any more", status=404)
        self._comment += 1
        issue.comments.append((str(self._comment), marker))
        entry = {"kind": "comment", "id": str(self._comment), "key": issue.key, "author": BOT, "body": f"triage:{marker}"}
        self.ledger.append(entry | {"at": self.now})
        return Receipt(str(self._comment), issue.key, f"https://jira.example/browse/{issue.key}?focusedCommentId={self._comment}")

    def receipt(self, issue: Issue) -> Receipt:
        return Receipt(issue.id, issue.key, f"https://jira.example/browse/{issue.key}")

    def searched(self) -> list[Issue]:
        """What the index shows by now."""
        return [issue for issue in self.issues if issue.indexed_at <= self.now and not issue.gone]

    def exists(self, marker: str) -> str | None:
        """The key of a ticket, or the link of a comment, with this marker: what a person sees who looks."""
        for issue in self.issues:
            if issue.marker == marker:
                return issue.key
            for id_, mark in issue.comments:
                if mark == marker:
                    return id_
        return None


class SimTracker:
    """Our connector to the tracker: by key upwards from what is known to be older, then by search."""

    manifest = Manifest(name="sim", options=Nothing, build=lambda name, options: None)

    def __init__(self, server: TicketServer) -> None:
        self._server = server
        self._network = server.network
        self._largest: int | None = None
        self._before: dict[str, int] = {}

    def file(self, work: Work) -> Receipt:
        if self._largest is not None:
            self._before.setdefault(work.marker, self._largest)
        made = self._network.write("tickets", f"file {work.action_id}", work.marker, lambda: self._server.create(work.marker))
        self._saw(made.key)
        self._before.pop(work.marker, None)
        return made

    def update(self, work: Work) -> Receipt:
        ticket = self._ticket_of(work)
        what = f"comment {work.action_id}"
        return self._network.write("tickets", what, work.marker, lambda: self._server.comment(ticket, work.marker))

    def prints(self, work: Work, texts: Sequence[str]) -> Mapping[str, Any]:
        return {}

    def blank(self, work: Work) -> Receipt:
        assert work.previous is not None
        made = work.previous
        if not self._network.read("tickets", f"look {work.action_id}", lambda: made.remote_id in self._server.blank):
            with remote.sending(remote.boot_seconds()):
                self._network.write("tickets", f"blank {work.action_id}", work.marker, lambda: self._server.take_out(made))
        return made

    def find(self, work: Work) -> Sequence[Receipt]:
        if work.kind is ActionKind.BLANK:
            made = work.previous
            assert made is not None
            there = self._network.read("tickets", f"look {work.action_id}", lambda: made.remote_id in self._server.blank)
            return [made] if there else []
        if work.kind is ActionKind.COMMENT:
            ticket = self._ticket_of(work)

            def comments() -> list[Receipt]:
                mine = [one for one in self._server.issues if ticket in (one.id, one.key) and not one.gone]
                return [Receipt(id_, one.key) for one in mine for id_, marker in one.comments if marker == work.marker]

            return self._network.read("tickets", f"look {work.action_id}", comments)
        known = int(str(work.payload.get("known_key") or "-0").rpartition("-")[2])

        def tickets() -> list[Receipt]:
            misses, found = 0, {}
            long_before = work.first_intent_at - timedelta(minutes=10)
            hint = max((one.number for one in self._server.searched() if one.created_at <= long_before), default=0) - 30
            number = max(known, self._before.get(work.marker, 0), hint)
            while misses < MISSES_IN_A_ROW:
                number += 1
                issue = self._server.issues[number - 1] if 0 < number <= len(self._server.issues) else None
                misses = misses + 1 if issue is None or issue.gone else 0
                if issue is not None and issue.marker == work.marker and not issue.gone:
                    found[issue.id] = self._server.receipt(issue)
            for issue in self._server.searched():
                if issue.marker == work.marker:
                    found[issue.id] = self._server.receipt(issue)
            return list(found.values())

        found = self._network.read("tickets", f"look {work.action_id}", tickets)
        for receipt in found:
            self._saw(receipt.key)
        return found

    def changed(self, since: datetime | None) -> Iterator[Ticket]:
        def ours() -> list[Ticket]:
            return [Ticket(one.id, one.key, self._server.receipt(one).url, one.status) for one in self._server.searched() if one.marker]

        yield from self._network.read("tickets", "changed", ours)

    def duplicates(self, since: datetime) -> Mapping[str, Sequence[Receipt]]:
        def twice() -> dict[str, list[Receipt]]:
            by_marker: dict[str, list[Receipt]] = {}
            for issue in self._server.searched():
                if issue.marker and issue.created_at >= since:
                    by_marker.setdefault(issue.marker, []).append(self._server.receipt(issue))
            return {marker: found for marker, found in by_marker.items() if len(found) > 1}

        return self._network.read("tickets", "audit", twice)

    def check(self) -> Iterator[Finding]:
        yield Finding("ok", "simulated")

    def _ticket_of(self, work: Work) -> str:
        if work.problem is not None and work.problem.ticket is not None:
            return work.problem.ticket.id
        if work.previous is not None:
            return work.previous.remote_id
        raise Refused("there is no ticket yet to comment on")

    def _saw(self, key: str) -> None:
        self._largest = max(int(key.rpartition("-")[2]), self._largest or 0)


# The pager


class Pager:
    """Who is told of alerts. `ledger` holds every message."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ledger: list[dict[str, Any]] = []

    def take(self, key: str, name: str, is_open: bool) -> Receipt:
        self.ledger.append({"kind": "alert", "key": key, "name": name, "open": is_open, "at": self.network.scheduler.clock()})
        return Receipt(key)


class SimNotifier:
    """Our connector to the pager."""

    def __init__(self, server: Pager, *, repeats: float | None) -> None:
        self._server = server
        self.manifest = Manifest(name="sim", options=Nothing, build=lambda name, options: None, repeats=repeats)

    def send(self, work: Work) -> Receipt:
        name, is_open = work.payload["name"], bool(work.payload["open"])
        what = f"alert {work.action_id} {'open' if is_open else 'over'}"
        return self._server.network.write("oncall", what, work.key, lambda: self._server.take(work.key, name, is_open))

    def check(self) -> Iterator[Finding]:
        yield Finding("ok", "simulated")
