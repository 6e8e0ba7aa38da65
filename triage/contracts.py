"""What the author of a platform, a tracker or a notifier must read; docs/adding-a-platform.md walks through one.

One platform is one file in `triage/platforms/` with one class named in its `MANIFEST`. A file in the folder, or an entry point in
the group `triage.platforms` (`triage.trackers`, `triage.notifiers`), is found by its name in the config. The pipeline
knows these protocols alone. Methods raise the `RemoteError`s of `triage.errors` and nothing else: `triage.remote`
turns a client's answers into them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from triage.mention import Mention, Receipt, Ticket, Work


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a connector is and what its far side can do.

    `options` is the pydantic model of its keys in the config (secrets are `SecretStr`). `build(name, options)` makes
    one; `name` is the source's, tracker's or notifier's name in the config. `interval` is the number of seconds
    between polls by default. `replies` is False where answers must be given by hand. `streams` tells that `stream`
    yields edits and deletions. `repeats` is the number of seconds after which a notifier wants an open alert again
    (None: once is enough). `requests` and `posts` are the limits, (how many, in how many seconds), against which we count
    where the far side does not say what is left; None where it has none that we know of.
    """

    name: str
    options: type[BaseModel]
    build: Callable[[str, Any], Any]
    interval: float = 20.0
    replies: bool = False
    streams: bool = False
    repeats: float | None = None
    requests: tuple[int, float] | None = None
    posts: tuple[int, float] | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a platform showed us: a mention, or the reason why it is none.

    `raw` is the bytes as they came. Exactly one of `mention`, `set_aside` (it is well-formed and not for us: our own
    post, a colleague's, a copy of our text, a boost; the reason in words) and `broken` (it can't be read: quarantine)
    is set. `remote_id` is the id of the post, or of the envelope where there is no post. Of a post of a colleague's that answers
    another one, which is set aside, `answers` is that one's id and `colleague` their handle.
    """

    remote_id: str
    raw: bytes
    mention: Mention | None = None
    set_aside: str = ""
    broken: str = ""
    answers: str = ""
    colleague: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A batch of items, oldest first, and the cursor that covers them; the store saves both in one transaction.

    `held_back` is the number of mentions that the server keeps from us by its own policy, None where it does not say.
    `complete`: with this page everything is in that was there when the walk began. `gap` tells why there may be something
    before these items that we never saw: the far side no longer shows what follows the cursor. Both go into the ledger of
    what we have (`triage.store.coverage`).
    """

    items: tuple[Item, ...]
    cursor: str
    held_back: int | None = None
    complete: bool = False
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A post was edited (`item` holds what it is now) or deleted (`item` is None)."""

    remote_id: str
    item: Item | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A post as it would go out: its whole text, its length as its server counts, and the server's limit (None: it has none)."""

    text: str
    length: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `triage doctor`: `level` is ok, warn or fail; a warn or fail ends with `next_step`."""

    level: str
    what: str
    next_step: str = ""


class Platform(Protocol):
    """Where mentions come from and replies go."""

    manifest: Manifest

    def fetch(self, cursor: str | None) -> Iterator[Page]:
        """What is new since `cursor`, oldest first, until nothing is left.

        `cursor` is opaque and this platform's own. None is a first poll: it yields one page without items whose cursor
        stands at now. Each page's cursor covers all pages before it, so a crash between two loses nothing. The last page is
        `complete`, and no other.
        """

    def history(self, since: datetime) -> Iterator[Page]:
        """Everything that the far side still shows from `since` on (the daily rescan, and backfill). Its cursors are empty strings."""

    def reread(self, remote_ids: Sequence[str]) -> Mapping[str, Item | None]:
        """What these posts are now; None for one that is gone. An id that is missing from the answer could not be read this time."""

    def thread(self, remote_id: str, colleagues: Collection[str] = frozenset()) -> str:
        """The uri of the first post of the thread, for grouping. Our own announcement does not count: each answer to it begins a thread.

        Nor does one by an account among `colleagues`, which are written as `triage.person.account` writes them.
        """

    def compose(self, mention: Mention, text: str) -> Sequence[str]:
        """The posts that an answer of this length needs, in order.

        Each is within the server's limit, to which the @name and the content warning count.
        """

    def show(self, mention: Mention, part: str) -> Shown:
        """One of `compose`'s posts as `reply` would post it."""

    def reply(self, work: Work) -> Receipt:
        """Post `work.payload["text"]` (one of `compose`'s posts) in answer to `work.mention`, never more public than it.

        `work.previous` is the receipt of the part before, to be answered instead. `payload["by_person"]` tells whether a
        person wrote it: what no person wrote does not go to authors who want no bots.
        """

    def find(self, work: Work) -> Sequence[Receipt]:
        """The posts of ours that `work` may have made, by looking; parent and text must match."""

    def answers(self, work: Work) -> Sequence[Receipt]:
        """All posts of ours that answer the post that `work` would answer, whatever they say: asked by a store that was restored."""

    def repeatable(self) -> bool:
        """Whether the server itself drops a reply that is sent again with the same key (Mastodon does, GoToSocial and snac don't)."""

    def stream(self, stop: Event) -> Iterator[Change]:
        """Edits and deletions as they happen, until `stop` is set or the connection ends."""

    def check(self) -> Iterator[Finding]:
        """What `triage doctor` prints for this source. Changes nothing on the far side."""


@runtime_checkable
class LetsIn(Protocol):
    """A platform whose server can be told to hand over what its policy holds back."""

    def let_in(self) -> int:
        """Let in all that is held back now, and what the same authors write later. Returns how many authors; may be repeated."""


@runtime_checkable
class Boosts(Protocol):
    """A platform on which our account can show somebody's post to those who follow it."""

    def boost(self, work: Work) -> Receipt:
        """Boost `work.mention`, no more public than it; a private post and one of our own are `Refused`. The receipt names the post."""

    def boosted(self, work: Work) -> Sequence[Receipt]:
        """That receipt where our account has boosted the post, whoever did it; nothing where it has not."""


@runtime_checkable
class Priced(Protocol):
    """A platform that knows what it asks while nothing happens."""

    def at_rest(self, interval: float) -> tuple[int, int]:
        """The least and the most requests an hour when it is polled every `interval` seconds."""


class Tracker(Protocol):
    """Where tickets go."""

    manifest: Manifest

    def file(self, work: Work) -> Receipt:
        """Create the ticket of `work.problem`; the marker goes onto it. `Receipt.remote_id` is the id that never changes."""

    def update(self, work: Work) -> Receipt:
        """Add `work` to the ticket `work.problem.ticket` as a comment."""

    def find(self, work: Work) -> Sequence[Receipt]:
        """Tickets (or comments) on the far side that carry `work.marker` and were made by us. Not blinded by a search index that lags."""

    def changed(self, since: datetime | None) -> Iterator[Ticket]:
        """Our tickets that changed since then, oldest first; all of ours for None."""

    def duplicates(self, since: datetime) -> Mapping[str, Sequence[Receipt]]:
        """Our own tickets made since then, by marker, where a marker has more than one: the hourly audit."""

    def check(self) -> Iterator[Finding]:
        """What `triage doctor` prints for this tracker. Changes nothing on the far side."""


@runtime_checkable
class Blanks(Protocol):
    """A tracker that can take a post's words out of what it was told about it."""

    def prints(self, work: Work, texts: Sequence[str]) -> Mapping[str, Any]:
        """By what `blank` knows the words of `work.mention` again when the store has forgotten them, as JSON takes it.

        `texts` are all that the post ever said. Nothing of the post can be read from it. Asks the far side nothing.
        """

    def blank(self, work: Work) -> Receipt:
        """Take the post's words out of `work.previous`, a ticket or comment of ours, and leave what people added. May be repeated.

        `payload["of"]` is what it is: ticket, report, edited, deleted, relabelled. `payload["what"]` is why: the post was deleted (its
        words go), or its author erased (name and links, too); `payload["at"]` is the day. `payload` holds `prints`, or `texts`.
        `Refused` where the words can't be told from a person's any more, where it is not ours (any more), and where we may not.
        `Tracker.find` gives the receipt once nothing of them is left.
        """


class Notifier(Protocol):
    """Where alerts go. Rather twice than never: `send` may be repeated at will with the same `work.key`."""

    manifest: Manifest

    def send(self, work: Work) -> Receipt:
        """Raise the alert, or resolve it when `work.payload["open"]` is False.

        `payload` holds `name`, `severity` (critical, warning), `summary`, `labels` (mapping), `url` and `open`.
        """

    def check(self) -> Iterator[Finding]:
        """What `triage doctor` prints for this notifier."""
