"""What the stand-in Mastodon knows: accounts, posts and notifications, kept in memory and rebuilt from the ledger."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

DOMAIN = "quayside.social"
WIDE_OPEN = ("public", "unlisted")
MENTION = re.compile(r"(?<![\w/@])@([A-Za-z0-9_.-]*[A-Za-z0-9_])(?:@([A-Za-z0-9.-]*[A-Za-z0-9]))?")
HASHTAG = re.compile(r"(?<![\w/&])#(\w*[^\W\d]\w*)")
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

Key = tuple[int, str]


def key(remote_id: str) -> Key:
    """Sorts digit strings by their number and ULIDs by their letters."""
    return (len(remote_id), remote_id)


def stamp(seconds: float) -> str:
    """A moment as Mastodon writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(moment: datetime | str | float | None, otherwise: float) -> float:
    """A moment as seconds since the epoch; texts are ISO 8601."""
    if moment is None:
        return otherwise
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(moment)


@dataclass(slots=True)
class Account:
    """Somebody. `acct` is `name` here and `name@host` elsewhere; local accounts with a token are notified."""

    id: str
    acct: str
    display_name: str = ""
    bio: str = ""
    followers: int = 0
    bot: bool = False
    created: str = "2023-01-01"
    token: str | None = None

    @property
    def username(self) -> str:
        """The part before the @."""
        return self.acct.partition("@")[0]

    @property
    def host(self) -> str:
        """The server that the account lives on."""
        return self.acct.partition("@")[2] or DOMAIN

    @property
    def uri(self) -> str:
        """Its identity on the whole network."""
        return f"https://{self.host}/users/{self.username}"


@dataclass(slots=True)
class Status:
    """A post. `text` is what was typed; `mentions` are accts, `by_token` tells that it came in through the API."""

    id: str
    uri: str
    author: str
    text: str
    created: float
    visibility: str = "public"
    spoiler: str = ""
    in_reply_to: str | None = None
    mentions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    media: tuple[Mapping[str, Any], ...] = ()
    poll: tuple[str, ...] = ()
    language: str | None = None
    quote_of: str | None = None
    edited: float | None = None
    by_token: bool = False
    idempotency_key: str | None = None
    favourited_by: set[str] = field(default_factory=set)
    reblogged_by: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Notification:
    """That something happened. `raw` is arbitrary JSON to be shown in its place; `status` may be gone."""

    id: str
    type: str
    account: str
    status: str | None
    created: float
    visible_from: float = 0.0
    raw: Any = None
    is_raw: bool = False


class Instance:
    """The state of one Mastodon server. Nothing here locks or writes: the server does both."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.statuses: dict[str, Status] = {}
        self.children: dict[str, list[str]] = {}
        self.by_author: dict[str, list[Key]] = {}
        self.by_tag: dict[str, list[Key]] = {}
        self.public: list[Key] = []
        self.notifications: dict[str, dict[str, Notification]] = {}
        self.notification_keys: dict[str, list[Key]] = {}
        self.sent: dict[tuple[str, str], tuple[str, float]] = {}
        self._last_notification = 90
        self._last_account = 109_000_000_000_000_000

    def status_id(self, created: float, *, ulid: bool) -> str:
        """A free id for that moment: like Mastodon's, which hold the time, or a ULID."""
        number = int(created * 1000) << 16
        while True:
            found = ulid_of(number) if ulid else str(number)
            if found not in self.statuses:
                return found
            number += 1

    def notification_id(self, *, ulid: bool, created: float, late: int, owner: str) -> str:
        """A free id: numbers with gaps, as a database's sequence makes them. `late` puts it below that many newer ones."""
        keys = self.notification_keys.get(owner, [])
        taken = self.notifications.get(owner, {})
        if late and keys:
            newest = keys[max(0, len(keys) - late)][1]
            found = before(newest)
            while found in taken:
                found = before(found)
            return found
        self._last_notification += 10
        return ulid_of((int(created * 1000) << 16) + self._last_notification) if ulid else str(self._last_notification)

    def account(self, acct: str) -> Account:
        """The account of that name; it comes to be when it is first named."""
        acct = acct.removeprefix("@").removesuffix(f"@{DOMAIN}")
        found = self.accounts.get(acct)
        if found is None:
            self._last_account += 1_000_003
            found = self.accounts[acct] = Account(str(self._last_account), acct)
            self.by_author[acct] = []
        return found

    def known(self, name: str, host: str | None) -> str | None:
        """The acct that a @name in a text stands for, None where nobody bears it."""
        acct = name if host in (None, DOMAIN) else f"{name}@{host}"
        return acct if acct in self.accounts else None

    def mentions_in(self, text: str) -> list[str]:
        """Whom a text names, in order, each once."""
        found = [self.known(match[1], match[2]) for match in MENTION.finditer(text)]
        return list(dict.fromkeys(acct for acct in found if acct))

    def add(self, status: Status) -> None:
        """Take a post in."""
        self.account(status.author)
        self.statuses[status.id] = status
        bisect.insort(self.by_author[status.author], key(status.id))
        if status.in_reply_to:
            self.children.setdefault(status.in_reply_to, []).append(status.id)
        if status.visibility == "public":
            bisect.insort(self.public, key(status.id))
            for tag in status.tags:
                bisect.insort(self.by_tag.setdefault(tag, []), key(status.id))
        if status.by_token and status.idempotency_key:
            self.sent[(status.author, status.idempotency_key)] = (status.id, status.created)

    def retag(self, status: Status, tags: Iterable[str]) -> None:
        """Give an edited post its new hashtags."""
        for tag in status.tags:
            drop(self.by_tag.get(tag, []), key(status.id))
        status.tags = tuple(tags)
        if status.visibility == "public":
            for tag in status.tags:
                bisect.insort(self.by_tag.setdefault(tag, []), key(status.id))

    def remove(self, status_id: str, *, keep_notifications: bool) -> None:
        """Delete a post; answers to it stay, its notifications go or lose their status."""
        status = self.statuses.pop(status_id)
        drop(self.by_author[status.author], key(status_id))
        drop(self.public, key(status_id))
        for tag in status.tags:
            drop(self.by_tag.get(tag, []), key(status_id))
        if status.in_reply_to in self.children:
            self.children[status.in_reply_to].remove(status_id)
        for owner, notifications in self.notifications.items():
            for notification in [n for n in notifications.values() if n.status == status_id]:
                if keep_notifications:
                    notification.status = None
                else:
                    del notifications[notification.id]
                    drop(self.notification_keys[owner], key(notification.id))

    def rename(self, old: str, new: str) -> None:
        """Give a post a new id, as servers do that treat an edit as a new post."""
        status = self.statuses.pop(old)
        for keys in (self.by_author[status.author], self.public, *(self.by_tag.get(tag, []) for tag in status.tags)):
            if drop(keys, key(old)):
                bisect.insort(keys, key(new))
        self.children[new] = self.children.pop(old, [])
        for child in self.children[new]:
            self.statuses[child].in_reply_to = new
        if status.in_reply_to in self.children:
            siblings = self.children[status.in_reply_to]
            siblings[siblings.index(old)] = new
        for notifications in self.notifications.values():
            for notification in notifications.values():
                if notification.status == old:
                    notification.status = new
        status.id = new
        self.statuses[new] = status

    def notify(self, owner: str, notification: Notification) -> None:
        """Put a notification into an account's list."""
        self.notifications.setdefault(owner, {})[notification.id] = notification
        bisect.insort(self.notification_keys.setdefault(owner, []), key(notification.id))
        if notification.id.isdigit():
            self._last_notification = max(self._last_notification, int(notification.id))

    def visible(self, status: Status, viewer: str | None) -> bool:
        """Whether the account may see the post (None: nobody is logged in)."""
        return status.visibility in WIDE_OPEN or viewer == status.author or viewer in status.mentions

    def ancestors(self, status: Status) -> list[Status]:
        """The posts above, oldest first; the chain ends at one that is gone."""
        found: list[Status] = []
        at = self.statuses.get(status.in_reply_to or "")
        while at is not None:
            found.insert(0, at)
            at = self.statuses.get(at.in_reply_to or "")
        return found

    def descendants(self, status: Status) -> list[Status]:
        """The posts below, each followed by the answers to it."""
        found: list[Status] = []
        stack = sorted(self.children.get(status.id, []), key=key, reverse=True)
        while stack:
            child = self.statuses[stack.pop()]
            found.append(child)
            stack += sorted(self.children.get(child.id, []), key=key, reverse=True)
        return found


def drop(keys: list[Key], gone: Key) -> bool:
    """Take a key out of a sorted list; whether it was there."""
    at = bisect.bisect_left(keys, gone)
    found = at < len(keys) and keys[at] == gone
    if found:
        del keys[at]
    return found


def ulid_of(number: int) -> str:
    """A 26-letter ULID whose time part is the number's upper bits; `number` is milliseconds shifted by 16."""
    number = (number >> 16 << 80) | ((number & 0xFFFF) << 64) | 0x5EED
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def before(remote_id: str) -> str:
    """The id just below."""
    if remote_id.isdigit():
        return str(int(remote_id) - 1)
    number = 0
    for letter in remote_id:
        number = number << 5 | CROCKFORD.index(letter)
    number -= 1
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def window(
    keys: list[Key],
    wanted: Callable[[str], bool],
    *,
    limit: int,
    min_id: str = "",
    since_id: str = "",
    max_id: str = "",
    inclusive: bool = False,
) -> list[str]:
    """One page of ids, newest first. `min_id` asks for those that follow it directly, `since_id` for the newest above it."""
    start, end = 0, len(keys)
    if since_id:
        start = bisect.bisect_right(keys, key(since_id))
    if min_id:
        at = (bisect.bisect_left if inclusive else bisect.bisect_right)(keys, key(min_id))
        start = max(start, at)
    if max_id:
        end = bisect.bisect_left(keys, key(max_id))
    found: list[str] = []
    for position in range(start, end) if min_id else range(end - 1, start - 1, -1):
        if wanted(keys[position][1]):
            found.append(keys[position][1])
            if len(found) == limit:
                break
    return found[::-1] if min_id else found
