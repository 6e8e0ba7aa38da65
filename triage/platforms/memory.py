"""A whole platform in memory: what the others are measured by, and what tests script.

platform.post("mira@tilde.example", "it crashes")     somebody posts
platform.announce("version 2 is out")                 we post
platform.edit(id, "it crashes on start")              and platform.delete(id)
platform.fail("reply", OutcomeUnknown("cut"), after=True)
                                                      the next reply is made, and then the call fails
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Condition, Event

from pydantic import BaseModel, ConfigDict, Field

from triage.contracts import Change, Finding, Item, Manifest, Page, Shown
from triage.errors import Gone, Refused, RemoteError
from triage.mention import Author, Mention, Receipt, Visibility, Work
from triage.person import account
from triage.text import counted_length, normalised, split_post

PAGE = 40
HOST = "memory.example"


class MemoryOptions(BaseModel):
    """The keys of a source in memory."""

    model_config = ConfigDict(extra="forbid")

    max_characters: int = Field(default=500, ge=100, description="How long a post may be.")
    handle: str = Field(default=f"us@{HOST}", description="Our own account.")
    roster: list[str] = Field(default_factory=list, description="Colleagues' accounts: what they post is left alone.")


@dataclass(frozen=True, slots=True)
class Sent:
    """A reply that reached the far side: what was posted, below what, and by which action."""

    mention: Mention
    key: str


@dataclass(slots=True)
class _Failure:
    error: RemoteError
    after: bool


@dataclass(slots=True)
class _World:
    posts: dict[str, Mention] = field(default_factory=dict)
    shown: list[Item] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    next_id: int = 1000


class MemoryPlatform:
    """One account on a server that is this object. `replies` lists what we posted in answer; every method may be told to fail."""

    manifest: Manifest

    def __init__(self, name: str, options: MemoryOptions | None = None) -> None:
        self.name = name
        self.options = options or MemoryOptions()
        self.replies: list[Sent] = []
        self.boosts: list[str] = []  # the posts that our account boosted, by their ids
        self._world = _World()
        self._failures: dict[str, list[_Failure]] = {}
        self._changed = Condition()
        self._held: list[Item] | None = None
        self._gap = ""

    # The far side, scripted

    def post(
        self,
        handle: str,
        text: str,
        *,
        reply_to: str | None = None,
        visibility: Visibility = Visibility.PUBLIC,
        warning: str = "",
        language: str | None = "en",
        no_bots: bool = False,
        created_at: datetime | None = None,
    ) -> Mention:
        """Somebody posts to us."""
        with self._changed:
            world = self._world
            remote_id = str(world.next_id)
            world.next_id += 1
            uri = f"https://{handle.partition('@')[2]}/posts/{remote_id}"
            post = Mention(
                uri=uri,
                platform=MANIFEST.name,
                source=self.name,
                remote_id=remote_id,
                author=Author(handle, no_bots=no_bots),
                text=text,
                created_at=created_at or datetime.now(UTC),
                url=uri,
                parent_id=reply_to,
                thread=uri if reply_to is None else None,
                visibility=visibility,
                language=language,
                warning=warning,
            )
            world.posts[remote_id] = post
            world.shown.append(self._item(post))
            return post

    def announce(self, text: str) -> Mention:
        """We post something that answers nobody."""
        return self.post(self.options.handle, text)

    def show_broken(self, raw: bytes, why: str) -> None:
        """The far side shows something that can't be read."""
        with self._changed:
            self._world.shown.append(Item(f"?{len(self._world.shown)}", raw, broken=why))

    def edit(self, remote_id: str, text: str) -> Mention:
        """The author edits a post."""
        with self._changed:
            post = replace(self._world.posts[remote_id], text=text, edited_at=datetime.now(UTC))
            self._world.posts[remote_id] = post
            self._world.changes.append(Change(remote_id, self._item(post)))
            self._changed.notify_all()
            return post

    def delete(self, remote_id: str) -> None:
        """The author deletes a post."""
        with self._changed:
            del self._world.posts[remote_id]
            self._world.changes.append(Change(remote_id, None))
            self._changed.notify_all()

    def hold_back(self, handle: str, text: str) -> None:
        """Somebody posts to us, and the server's policy keeps it from us until it is let in."""
        post = self.post(handle, text)
        with self._changed:
            self._held = [*(self._held or []), self._world.shown.pop()]
            del self._world.posts[post.remote_id]

    def lose(self, why: str) -> None:
        """The next page with posts comes after some that were never shown."""
        self._gap = why

    def fail(self, method: str, error: RemoteError, *, times: int = 1, after: bool = False) -> None:
        """The next calls of `method` raise `error`; with `after`, a reply is posted all the same."""
        self._failures.setdefault(method, []).extend(_Failure(error, after) for _ in range(times))

    # The contract

    def fetch(self, cursor: str | None) -> Iterator[Page]:
        """The posts since the cursor, which counts what was shown."""
        self._may_fail("fetch")
        shown = self._world.shown
        if cursor is None:
            yield Page((), str(len(shown)), self._held_back(), complete=True)
            return
        start = int(cursor)
        while start < len(shown):
            items = tuple(shown[start : start + PAGE])
            start += len(items)
            gap, self._gap = self._gap, ""
            yield Page(tuple(self._now(item) for item in items), str(start), gap=gap)
        yield Page((), str(start), self._held_back(), complete=True)

    def history(self, since: datetime) -> Iterator[Page]:
        """What is still there and as young as that."""
        self._may_fail("history")
        posts = [self._item(post) for post in self._world.posts.values() if post.created_at >= since]
        for start in range(0, len(posts), PAGE):
            yield Page(tuple(posts[start : start + PAGE]), "")

    def reread(self, remote_ids: Sequence[str]) -> Mapping[str, Item | None]:
        """What these are now."""
        self._may_fail("reread")
        posts = self._world.posts
        return {one: self._item(posts[one]) if one in posts else None for one in remote_ids}

    def thread(self, remote_id: str, colleagues: Collection[str] = frozenset()) -> str:
        """The uri of the highest post that is not ours or a colleague's; our announcement ends the climb, our answers don't."""
        self._may_fail("thread")
        posts = self._world.posts
        if remote_id not in posts:
            raise Gone(f"{self.name}: there is no post {remote_id}", status=404)
        ours = {account(self.options.handle), *map(account, self.options.roster), *colleagues}
        post = first = posts[remote_id]
        while post.parent_id is not None and post.parent_id in posts:
            post = posts[post.parent_id]
            if account(post.author.handle) not in ours:
                first = post
        return first.uri

    def compose(self, mention: Mention, text: str) -> Sequence[str]:
        """The text in posts that fit, @name and content warning counted."""
        room = self.options.max_characters - counted_length(f"@{mention.author.handle} {mention.warning}") - 1
        try:
            return split_post(text, room)
        except ValueError as error:
            raise Refused(f"{self.name}: {error}") from None

    def show(self, mention: Mention, part: str) -> Shown:
        """With the @name in front; the content warning counts, too."""
        text = f"@{mention.author.handle} {part}"
        return Shown(text, counted_length(text) + counted_length(mention.warning), self.options.max_characters)

    def reply(self, work: Work) -> Receipt:
        """Post it; the same action never posts twice."""
        mention = work.mention
        if mention is None:
            raise Refused(f"action {work.action_id} answers no post")
        if mention.author.no_bots and not work.payload.get("by_person"):
            raise Refused(f"{mention.author.handle} asks for no bots; a person has to answer")
        failure = self._failure("reply")
        if failure is not None and not failure.after:
            raise failure.error
        parent = work.previous.remote_id if work.previous is not None else mention.remote_id
        if parent not in self._world.posts:
            raise Gone(f"{self.name}: there is no post {parent}", status=404)
        with self._changed:
            sent = next((one for one in self.replies if one.key == work.key), None)
            if sent is None:
                text = f"@{mention.author.handle} {work.payload['text']}"
                post = self.post(
                    self.options.handle, text, reply_to=parent, visibility=mention.visibility.of_answer, warning=mention.warning
                )
                sent = Sent(post, work.key)
                self.replies.append(sent)
        if failure is not None:
            raise failure.error
        return _receipt(sent.mention)

    def find(self, work: Work) -> Sequence[Receipt]:
        """Our posts with that parent and text."""
        self._may_fail("find")
        if work.mention is None:
            return []
        parent = work.previous.remote_id if work.previous is not None else work.mention.remote_id
        wanted = normalised(f"@{work.mention.author.handle} {work.payload['text']}")
        ours = [post for post in self._world.posts.values() if post.author.handle == self.options.handle]
        return [_receipt(post) for post in ours if post.parent_id == parent and normalised(post.text) == wanted]

    def answers(self, work: Work) -> Sequence[Receipt]:
        """Our posts with that parent."""
        self._may_fail("answers")
        if work.mention is None:
            return []
        parent = work.previous.remote_id if work.previous is not None else work.mention.remote_id
        ours = [post for post in self._world.posts.values() if post.author.handle == self.options.handle]
        return [_receipt(post) for post in ours if post.parent_id == parent]

    def boost(self, work: Work) -> Receipt:
        """Boost it; what is boosted already stays so."""
        mention = work.mention
        if mention is None or mention.visibility.is_private:
            raise Refused(f"action {work.action_id} boosts no public post")
        if mention.author.handle == self.options.handle:
            raise Refused(f"{self.name}: that is our own post")
        failure = self._failure("boost")
        if failure is not None and not failure.after:
            raise failure.error
        with self._changed:
            if mention.remote_id not in self._world.posts:
                raise Gone(f"{self.name}: there is no post {mention.remote_id}", status=404)
            if mention.remote_id not in self.boosts:
                self.boosts.append(mention.remote_id)
        if failure is not None:
            raise failure.error
        return _receipt(mention)

    def boosted(self, work: Work) -> Sequence[Receipt]:
        """The post, where it is among our boosts."""
        self._may_fail("boosted")
        mention = work.mention
        return [_receipt(mention)] if mention is not None and mention.remote_id in self.boosts else []

    def repeatable(self) -> bool:
        """True: the same key posts once."""
        return True

    def stream(self, stop: Event) -> Iterator[Change]:
        """Edits and deletions from now on."""
        at = len(self._world.changes)
        while not stop.is_set():
            with self._changed:
                if at == len(self._world.changes):
                    self._changed.wait(0.1)
                new = self._world.changes[at:]
            at += len(new)
            yield from new

    def let_in(self) -> int:
        """What was held back is shown."""
        self._may_fail("let_in")
        with self._changed:
            held, self._held = self._held or [], None if self._held is None else []
            self._world.shown += held
            self._world.posts |= {item.remote_id: item.mention for item in held if item.mention is not None}
        return len({item.mention.author.handle for item in held if item.mention is not None})

    def _held_back(self) -> int | None:
        return None if self._held is None else len(self._held)

    def check(self) -> Iterator[Finding]:
        """Always well."""
        yield Finding("ok", f"{self.name} lives in memory: it forgets everything when the process ends")

    def _item(self, post: Mention) -> Item:
        raw = f"{post.author.handle}: {post.text}".encode(errors="backslashreplace")
        if post.author.handle == self.options.handle:
            return Item(post.remote_id, raw, set_aside="our own post")
        if post.author.handle in self.options.roster:
            handle = post.author.handle
            return Item(post.remote_id, raw, set_aside=f"by a colleague, {handle}", answers=post.parent_id or "", colleague=handle)
        return Item(post.remote_id, raw, mention=post)

    def _now(self, item: Item) -> Item:
        """A shown post as it is when it is fetched; one that is gone is set aside."""
        if item.mention is None:
            return item
        post = self._world.posts.get(item.remote_id)
        return self._item(post) if post is not None else replace(item, mention=None, set_aside="its post was gone before we read it")

    def _failure(self, method: str) -> _Failure | None:
        waiting = self._failures.get(method)
        return waiting.pop(0) if waiting else None

    def _may_fail(self, method: str) -> None:
        failure = self._failure(method)
        if failure is not None:
            raise failure.error


def _receipt(post: Mention) -> Receipt:
    return Receipt(post.remote_id, key=post.remote_id, url=post.url)


MANIFEST = Manifest(name="memory", options=MemoryOptions, build=MemoryPlatform, interval=5.0, replies=True, streams=True)
MemoryPlatform.manifest = MANIFEST
