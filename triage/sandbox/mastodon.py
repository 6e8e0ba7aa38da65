"""A stand-in for a Mastodon server, with knobs for what servers differ in."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from triage.sandbox import pages
from triage.sandbox.http import Rejected, Reply, Request, Server, page
from triage.sandbox.mastodon_api import Api
from triage.sandbox.mastodon_knobs import Knobs, knobs_for
from triage.sandbox.mastodon_shapes import Shapes
from triage.sandbox.mastodon_state import HASHTAG, Account, Instance, Notification, Status, seconds_of, stamp
from triage.sandbox.mastodon_streams import Streams

IDEMPOTENCY_SECONDS = 3600.0
RATE_WINDOW_SECONDS = 300.0
SHOWN_RATE_LIMIT = 300
POSTS_WINDOW_SECONDS = 3 * 3600.0


class MastodonServer(Server):
    """The server. `accounts` are the local ones that have a token; the first is the product's, and `mention=True` means it.

    Ledger kinds: `account`, `status` (a post by anyone; `mentions` and `notified` tell whom it reached), `edit`,
    `delete`, `reply` (a post through the API), `favourite`, `reblog`, `notification` (raw or a reaction to us).
    """

    name = "mastodon"

    def __init__(self, folder: Path, *, port: int = 0, version: str = "4.4.2", accounts: Sequence[str] = ("quayside",)) -> None:
        super().__init__(folder, port=port)
        self.knobs: Knobs = knobs_for(version)
        self.instance = Instance()
        self.shapes = Shapes(self.instance)
        self.streams = Streams()
        self.tokens: dict[str, str] = {}
        self._asked: dict[str, list[float]] = {}
        self._replay()
        for acct in accounts:
            if acct not in self.tokens:
                self._accept("account", id=self.instance.account(acct).id, acct=acct, token=f"mastodon-{secrets.token_hex(16)}")
        self.product = accounts[0]
        Api(self)
        self.route("GET", "/", lambda request: pages.mastodon_home(self))
        self.route("GET", "/media/[^/]+", lambda request: pages.picture())
        self.route("GET", "/@(?P<acct>[^/]+)", lambda request: pages.mastodon_profile(self, request.groups["acct"]))
        self.route("GET", "/@(?P<acct>[^/]+)/(?P<id>[^/]+)", lambda request: pages.mastodon_post(self, request.groups["id"]))
        for verb in ("post", "edit", "delete", "knobs"):
            self.route("POST", f"/_sandbox/{verb}", self._steer)

    @property
    def token(self) -> str:
        """The product account's token."""
        return self.tokens[self.product]

    def renew_token(self) -> str:
        """The product's account gets another token; the old one is refused from now on."""
        with self.lock:
            self._accept("account", id=self.account(self.product).id, acct=self.product, token=f"mastodon-{secrets.token_hex(16)}")
        return self.token

    @property
    def replies(self) -> list[dict[str, Any]]:
        """The ledger's entries of posts that came in through the API, deleted ones too."""
        return self.ledger.entries("reply")

    @property
    def boosts(self) -> list[dict[str, Any]]:
        """The ledger's entries of boosts: `by` whom, and the `id` of the post."""
        return self.ledger.entries("reblog")

    def account(self, acct: str) -> Account:
        """The account of that name, made if need be. Change it by `add_author`."""
        return self.instance.account(acct)

    def add_author(
        self, acct: str, *, display_name: str = "", bio: str = "", followers: int = 0, bot: bool = False, created: str = "2023-01-01"
    ) -> Account:
        """Say who somebody is."""
        with self.lock:
            account = self.instance.account(acct)
            self._accept(
                "account",
                id=account.id,
                acct=account.acct,
                display_name=display_name,
                bio=bio,
                followers=followers,
                bot=bot,
                created=created,
                token=account.token,
            )
            return account

    def post(
        self,
        author: str,
        text: str,
        *,
        visibility: str = "public",
        cw: str = "",
        reply_to: str | None = None,
        mention: bool | str | Sequence[str] = True,
        tags: Sequence[str] = (),
        media: Sequence[Mapping[str, Any]] = (),
        poll: Sequence[str] | None = None,
        lang: str | None = "en",
        created_at: datetime | str | float | None = None,
        quote_of: str | None = None,
        late: int = 0,
    ) -> dict[str, Any]:
        """Somebody posts; the post as JSON.

        `mention` tells whether the product's account is named (or which accounts are); a missing @name is put in front.
        False names nobody, whatever the text holds. Hashtags are read from the text and added to `tags`. `late` gives the
        notification an id below that many newer ones (True: below the newest). `created_at` sets the post's age and id.
        """
        with self.lock:
            created = seconds_of(created_at, self.now())
            author = self.instance.account(author).acct
            named = [self.product] if mention is True else [] if not mention else [mention] if isinstance(mention, str) else list(mention)
            missing = [acct for acct in named if acct not in self.instance.mentions_in(text)]
            text = " ".join([*(f"@{acct}" for acct in missing), text]).strip() if missing else text
            mentions = self.instance.mentions_in(text) if mention else []
            status_id = self.instance.status_id(created, ulid=self.knobs.ulids)
            notified = self._notification_ids(mentions, author, created, int(late))
            self._accept(
                "status",
                id=status_id,
                uri=f"{self.instance.account(author).uri}/statuses/{status_id}",
                author=author,
                text=text,
                created_at=stamp(created),
                visibility=visibility,
                spoiler=cw,
                in_reply_to=reply_to,
                mentions=mentions,
                tags=self._tags(text, tags),
                media=[dict(one) for one in media],
                poll=list(poll or ()),
                language=lang,
                quote_of=quote_of,
                notified=notified,
                visible_from=self.now() + self.knobs.delay if self.knobs.delay else 0.0,
            )
            return self._announce(status_id, notified)

    def edit(self, status_id: str, text: str, *, at: datetime | str | float | None = None) -> dict[str, Any]:
        """The author edits a post; the post as JSON (its id is a new one where the server does that). Who is newly named is notified."""
        with self.lock:
            status = self.instance.statuses[status_id]
            edited = seconds_of(at, self.now())
            new_id = self.instance.status_id(self.now(), ulid=self.knobs.ulids) if self.knobs.edit_changes_id else status_id
            known = {*status.mentions, *self.instance.mentions_in(status.text)}
            added = [acct for acct in self.instance.mentions_in(text) if acct not in known]
            notified = self._notification_ids(added, status.author, edited)
            change = {"text": text, "edited_at": stamp(edited), "mentions": [*status.mentions, *added], "notified": notified}
            self._accept("edit", id=status_id, new_id=new_id, uri=status.uri, **change)
            for acct, notification_id in notified.items():
                self._tell(acct, notification_id)
            for acct in {*status.mentions, status.author}:
                if acct in self.tokens and acct not in notified:
                    self.streams.publish(acct, "status.update", self.shapes.status(status, self.url, acct))
            return self.shapes.status(status, self.url)

    def delete(self, status_id: str) -> None:
        """A post goes, and with it what told of it."""
        with self.lock:
            status = self.instance.statuses[status_id]
            self._accept("delete", id=status_id, uri=status.uri, kept=self.knobs.keep_deleted)
            for acct in {*status.mentions, status.author}:
                if acct in self.tokens:
                    self.streams.publish(acct, "delete", status_id)

    def react(self, verb: str, acct: str, status_id: str) -> None:
        """Somebody likes (`favourite`) or boosts (`reblog`) a post; a local author is notified."""
        with self.lock:
            self._accept(verb, by=self.instance.account(acct).acct, id=status_id)
            author = self.instance.statuses[status_id].author
            if author in self.tokens and author != acct:
                self.notify(verb, acct, status_id, owner=author)

    def notify(self, type_: str, acct: str, status_id: str | None = None, *, owner: str | None = None) -> str:
        """A notification of another kind (follow, poll, …) reaches `owner` (the product's account); its id."""
        return self._notify(owner or self.product, type=type_, account=self.instance.account(acct).acct, status=status_id)

    def inject_raw_notification(self, payload: Any, *, owner: str | None = None) -> str:
        """Show arbitrary JSON in place of a notification; the id at which it stands in the order."""
        type_ = payload.get("type") if isinstance(payload, dict) else "mention"
        return self._notify(owner or self.product, type=str(type_), account="", status=None, raw=payload, is_raw=True)

    def _notify(self, owner: str, **data: Any) -> str:
        with self.lock:
            now = self.now()
            found = self.instance.notification_id(ulid=self.knobs.ulids, created=now, late=0, owner=owner)
            self._accept("notification", id=found, owner=owner, created_at=stamp(now), **data)
            self._tell(owner, found)
            return found

    def cut_streams(self) -> None:
        """End every open stream."""
        self.streams.cut()

    def reply_made(
        self, author: str, text: str, visibility: str, spoiler: str, in_reply_to: str | None, language: str, idempotency_key: str | None
    ) -> Status:
        """A post came in through the API."""
        created = self.now()
        status_id = self.instance.status_id(created, ulid=self.knobs.ulids)
        mentions = self.instance.mentions_in(text)
        notified = self._notification_ids(mentions, author, created)
        self._accept(
            "reply",
            id=status_id,
            uri=f"{self.instance.account(author).uri}/statuses/{status_id}",
            author=author,
            text=text,
            created_at=stamp(created),
            visibility=visibility,
            spoiler=spoiler,
            in_reply_to=in_reply_to,
            mentions=mentions,
            tags=self._tags(text),
            language=language,
            idempotency_key=idempotency_key,
            notified=notified,
        )
        self._announce(status_id, notified)
        return self.instance.statuses[status_id]

    def posted_before(self, author: str, idempotency_key: str | None) -> Status | None:
        """The post that this key made within the last hour."""
        if idempotency_key is None or not self.knobs.idempotency:
            return None
        status_id, at = self.instance.sent.get((author, idempotency_key), ("", 0.0))
        return self.instance.statuses.get(status_id) if self.now() - at < IDEMPOTENCY_SECONDS else None

    def now(self) -> float:
        """The server's clock."""
        return super().now() + self.knobs.skew

    def before(self, request: Request) -> None:
        """The rules that hold for every request."""
        if self.knobs.needs_user_agent and not request.headers.get("user-agent"):
            raise Rejected(418, {"error": "I'm a teapot: no user-agent sent"})
        if self.knobs.rate_limit is not None and self._left(request) < 0:
            raise Rejected(429, {"error": "Too many requests"})

    def headers_for(self, request: Request) -> dict[str, str]:
        """The rate-limit headers."""
        if not self.knobs.rate_headers or not request.path.startswith("/api/"):
            return {}
        posts = request.path == "/api/v1/statuses" or request.path.endswith("/reblog")  # a boost counts as a post
        if self.knobs.posts_limit is not None and request.method == "POST" and posts:
            return {
                "X-RateLimit-Limit": str(self.knobs.posts_limit),
                "X-RateLimit-Remaining": str(max(0, self.posts_left())),
                "X-RateLimit-Reset": stamp(self.now() + POSTS_WINDOW_SECONDS),
            }
        limit = self.knobs.rate_limit or SHOWN_RATE_LIMIT
        left = limit - 1 if self.knobs.rate_limit is None else max(0, self._left(request, count=False))
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": stamp(self.now() + RATE_WINDOW_SECONDS),
        }

    def posts_left(self) -> int:
        """How many more posts the product's account may send in these three hours."""
        since = stamp(self.now() - POSTS_WINDOW_SECONDS)
        boosts = [entry for entry in self.boosts if entry["by"] == self.product]
        sent = [*(entry["created_at"] for entry in self.replies), *(entry["at"] for entry in boosts)]
        return (self.knobs.posts_limit or 0) - sum(1 for at in sent if at > since)

    def _left(self, request: Request, *, count: bool = True) -> int:
        asked = self._asked.setdefault(request.headers.get("authorization", request.client), [])
        asked[:] = [at for at in asked if at > self.now() - RATE_WINDOW_SECONDS]
        if count:
            asked.append(self.now())
        return (self.knobs.rate_limit or 0) - len(asked)

    def not_found(self, request: Request) -> Reply:
        """What is not there."""
        if self.knobs.html_errors:
            return page("<h1>404 Not Found</h1>", 404)
        return Reply({"error": "Record not found"}, 404)

    def unauthorized(self) -> Reply:
        """A bad token."""
        return Reply("" if self.knobs.html_errors else {"error": "The access token is invalid"}, 401)

    def _notification_ids(self, mentions: Sequence[str], author: str, created: float, late: int = 0) -> dict[str, str]:
        """Who is told of a post, and under which id."""
        told = [acct for acct in mentions if acct in self.tokens and acct != author]
        ulid = self.knobs.ulids
        return {acct: self.instance.notification_id(owner=acct, ulid=ulid, created=created, late=late) for acct in told}

    def _announce(self, status_id: str, notified: Mapping[str, str]) -> dict[str, Any]:
        """Tell the streams of a new post; the post as JSON."""
        status = self.instance.statuses[status_id]
        if status.author in self.tokens:
            self.streams.publish(status.author, "update", self.shapes.status(status, self.url, status.author))
        for acct, notification_id in notified.items():
            self._tell(acct, notification_id)
        return self.shapes.status(status, self.url)

    def _tell(self, owner: str, notification_id: str) -> None:
        notification = self.instance.notifications[owner][notification_id]
        if notification.account not in self.knobs.filtered and notification.visible_from <= self.now():
            self.streams.publish(owner, "notification", self.shapes.notification(notification, self.url, owner))

    def _tags(self, text: str, more: Sequence[str] = ()) -> list[str]:
        return list(dict.fromkeys([*(tag.lower() for tag in HASHTAG.findall(text)), *(tag.lower() for tag in more)]))

    def _steer(self, request: Request) -> Any:
        """Post, edit, delete and turn knobs from another process."""
        verb, body = request.path.rpartition("/")[2], request.json()
        try:
            if verb == "post":
                return self.post(body.pop("author"), body.pop("text"), **body)
            if verb == "edit":
                return self.edit(body["id"], body["text"])
            if verb == "delete":
                self.delete(body["id"])
            else:
                self.knobs.change(**body)
        except (KeyError, TypeError, ValueError) as error:
            raise Rejected(400, {"error": f"{type(error).__name__}: {error}"}) from None
        return {}

    def _accept(self, kind: str, **data: Any) -> None:
        self._apply(self.ledger.append(kind, **data))

    def _replay(self) -> None:
        for entry in self.ledger.entries():
            self._apply(entry)

    def _apply(self, entry: Mapping[str, Any]) -> None:
        """What an entry of the ledger means for the state; the only way in which the state changes."""
        instance, kind = self.instance, entry["kind"]
        if kind == "account":
            account = instance.account(entry["acct"])
            for name in ("id", "display_name", "bio", "followers", "bot", "created", "token"):
                if name in entry:
                    setattr(account, name, entry[name])
            if account.token:
                self.tokens[account.acct] = account.token
            self.shapes.forget(*instance.statuses)
        elif kind in ("status", "reply"):
            status = _status(entry, by_token=kind == "reply")
            instance.add(status)
            self.shapes.forget(status.in_reply_to)
            self._tell_of(status, entry)
        elif kind == "edit":
            status = instance.statuses[entry["id"]]
            status.text, status.edited = entry["text"], seconds_of(entry["edited_at"], 0.0)
            status.mentions = tuple(entry["mentions"])
            instance.retag(status, self._tags(status.text))
            self._tell_of(status, entry)
            if entry["new_id"] != entry["id"]:
                instance.rename(entry["id"], entry["new_id"])
            self.shapes.forget(entry["id"], entry["new_id"], *instance.children.get(entry["new_id"], []))
        elif kind == "delete":
            parent = instance.statuses[entry["id"]].in_reply_to
            instance.remove(entry["id"], keep_notifications=entry["kept"])
            self.shapes.forget(entry["id"], parent)
        elif kind in ("favourite", "reblog"):
            status = instance.statuses[entry["id"]]
            (status.favourited_by if kind == "favourite" else status.reblogged_by).add(entry["by"])
            self.shapes.forget(status.id)
        elif kind == "notification":
            at = seconds_of(entry["created_at"], 0.0)
            raw = entry.get("raw")
            told = Notification(
                entry["id"], entry["type"], entry["account"], entry["status"], at, raw=raw, is_raw=entry.get("is_raw", False)
            )
            instance.notify(entry["owner"], told)

    def _tell_of(self, status: Status, entry: Mapping[str, Any]) -> None:
        """Put a mention into the lists of those whom an entry names."""
        at = seconds_of(entry.get("edited_at") or entry["created_at"], 0.0)
        for owner, notification_id in entry["notified"].items():
            from_when = float(entry.get("visible_from") or 0.0)
            self.instance.notify(owner, Notification(notification_id, "mention", status.author, status.id, at, from_when))


def _status(entry: Mapping[str, Any], *, by_token: bool) -> Status:
    return Status(
        id=entry["id"],
        uri=entry["uri"],
        author=entry["author"],
        text=entry["text"],
        created=seconds_of(entry["created_at"], 0.0),
        visibility=entry["visibility"],
        spoiler=entry["spoiler"],
        in_reply_to=entry["in_reply_to"],
        mentions=tuple(entry["mentions"]),
        tags=tuple(entry["tags"]),
        media=tuple(entry.get("media", ())),
        poll=tuple(entry.get("poll", ())),
        language=entry["language"],
        quote_of=entry.get("quote_of"),
        by_token=by_token,
        idempotency_key=entry.get("idempotency_key"),
    )
