"""The part of Mastodon's REST API that clients of an inbox use, route by route."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from triage.sandbox import mastodon_shapes as shapes
from triage.sandbox.http import Rejected, Reply, Request
from triage.sandbox.mastodon_state import Account, Key, Notification, Status, key, stamp, window

if TYPE_CHECKING:
    from triage.sandbox.mastodon import MastodonServer

GROUPABLE = {"favourite", "follow", "reblog"}
ID = r"(?P<id>[^/]+)"


class Api:
    """The handlers. Each runs under the server's lock."""

    def __init__(self, server: MastodonServer) -> None:
        self.server = server
        self.instance = server.instance
        self.shapes = server.shapes
        routes: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("GET", "/api/v1/instance", self.instance_v1),
            ("GET", "/api/v2/instance", self.instance_v2),
            ("GET", "/api/v1/apps/verify_credentials", self.app),
            ("GET", "/api/v1/accounts/verify_credentials", self.me),
            ("GET", "/api/v1/accounts/lookup", self.lookup),
            ("GET", f"/api/v1/accounts/{ID}", self.account),
            ("GET", f"/api/v1/accounts/{ID}/statuses", self.account_statuses),
            ("GET", "/api/v1/notifications", self.notifications),
            ("GET", "/api/v2/notifications", self.grouped_notifications),
            ("GET", "/api/(?P<v>v[12])/notifications/policy", self.policy),
            ("GET", "/api/v1/notifications/requests", self.requests),
            ("POST", f"/api/v1/notifications/requests/{ID}/accept", self.accept),
            ("GET", "/api/v1/statuses", self.bulk_statuses),
            ("POST", "/api/v1/statuses", self.create),
            ("GET", f"/api/v1/statuses/{ID}", self.status),
            ("DELETE", f"/api/v1/statuses/{ID}", self.delete),
            ("GET", f"/api/v1/statuses/{ID}/context", self.context),
            ("GET", f"/api/v1/statuses/{ID}/source", self.source),
            ("POST", f"/api/v1/statuses/{ID}/(?P<verb>favourite|reblog)", self.react),
            ("GET", "/api/v1/timelines/tag/(?P<tag>[^/]+)", self.tag),
            ("GET", "/api/v1/timelines/public", self.public),
            ("GET", "/api/v2/search", self.search),
            ("GET", "/api/v1/streaming/health", lambda request: Reply("OK", content_type="text/plain")),
            ("GET", "/api/v1/streaming/user", self.stream),
            ("GET", "/health", lambda request: Reply("OK", content_type="text/plain")),
        ]
        for method, pattern, handler in routes:
            server.route(method, pattern, handler)

    def viewer(self, request: Request) -> str | None:
        """The acct that the token belongs to, None without a token; `Rejected` for a bad one."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ").strip() or request.one("access_token")
        if not token:
            return None
        for acct, good in self.server.tokens.items():
            if token == good and not self.server.knobs.revoked:
                return acct
        raise Rejected.by(self.server.unauthorized())

    def owner(self, request: Request, scope: str) -> str:
        """The acct that the token belongs to; `Rejected` without one, or where it may not do that."""
        acct = self.viewer(request)
        if acct is None:
            raise Rejected.by(self.server.unauthorized())
        scopes = self.server.knobs.scopes
        if scope not in scopes and scope.partition(":")[0] not in scopes:
            raise Rejected(403, {"error": "This action is outside the authorized scopes"})
        return acct

    def found(self, request: Request, viewer: str | None) -> Status:
        """The post that the path names; `Rejected` with 404 when it is gone or none of the viewer's business."""
        status = self.instance.statuses.get(request.groups["id"])
        if status is None or not self.instance.visible(status, viewer):
            raise Rejected.by(self.server.not_found(request))
        return status

    def shown(self, status: Status, viewer: str | None) -> dict[str, Any]:
        """A post as JSON."""
        return self.shapes.status(status, self.server.url, viewer)

    def instance_v1(self, request: Request) -> Any:
        """What the server says about itself, for older clients."""
        return shapes.instance_v1(self.server.url, self.server.knobs.version, self.server.knobs.max_characters)

    def instance_v2(self, request: Request) -> Any:
        """What the server says about itself."""
        knobs = self.server.knobs
        return shapes.instance_v2(self.server.url, knobs.version, knobs.max_characters, api_version=knobs.api_version)

    def app(self, request: Request) -> Any:
        """The application that the token was made for."""
        self.owner(request, "read")
        return {
            "id": "1",
            "name": "Sandbox",
            "website": None,
            "scopes": sorted(self.server.knobs.scopes),
            "redirect_uris": ["urn:ietf:wg:oauth:2.0:oob"],
            "redirect_uri": "urn:ietf:wg:oauth:2.0:oob",
            "vapid_key": "",
        }

    def me(self, request: Request) -> Any:
        """The account of the token."""
        return self.shapes.own_account(self.instance.accounts[self.owner(request, "read:accounts")], self.server.url)

    def lookup(self, request: Request) -> Any:
        """An account by its name."""
        name, _, host = request.one("acct").removeprefix("@").partition("@")
        acct = self.instance.known(name, host or None)
        if acct is None:
            return self.server.not_found(request)
        return self.shapes.account(self.instance.accounts[acct], self.server.url)

    def _account(self, request: Request) -> Account:
        found = next((account for account in self.instance.accounts.values() if account.id == request.groups["id"]), None)
        if found is None:
            raise Rejected.by(self.server.not_found(request))
        return found

    def account(self, request: Request) -> Any:
        """An account by its id."""
        return self.shapes.account(self._account(request), self.server.url)

    def account_statuses(self, request: Request) -> Any:
        """What an account posted, newest first."""
        viewer, account = self.viewer(request), self._account(request)
        no_replies = request.one("exclude_replies") in ("1", "true")
        return self.statuses_page(
            request, self.instance.by_author[account.acct], viewer, lambda status: not (no_replies and status.in_reply_to), 20
        )

    def statuses_page(self, request: Request, keys: list[Key], viewer: str | None, wanted: Callable[[Status], bool], default: int) -> Reply:
        """A page of posts that the viewer may see."""

        def shows(status_id: str) -> bool:
            status = self.instance.statuses[status_id]
            return self.instance.visible(status, viewer) and wanted(status)

        limit = request.number("limit", default, self.server.knobs.page_limit)
        found = self.window(request, keys, shows, limit)
        body = [self.shown(self.instance.statuses[status_id], viewer) for status_id in found]
        return Reply(body, headers=self.links(request, found, limit))

    def window(self, request: Request, keys: list[Key], wanted: Callable[[str], bool], limit: int) -> list[str]:
        """One page of ids with this server's habits."""
        knobs = self.server.knobs
        return window(
            keys,
            wanted,
            limit=limit,
            min_id="" if knobs.ignore_min_id else request.one("min_id"),
            since_id="" if knobs.ignore_since_id else request.one("since_id"),
            max_id=request.one("max_id"),
            inclusive=knobs.inclusive_min_id,
        )

    def links(self, request: Request, found: Sequence[str], limit: int) -> dict[str, str]:
        """The Link header of a page."""
        if not found or not self.server.knobs.link_headers:
            return {}
        rest = [(name, value) for name, values in request.query.items() for value in values]
        rest = [(name, value) for name, value in rest if name not in ("min_id", "max_id", "since_id", "access_token")]

        def to(**more: str) -> str:
            return f"<{self.server.url}{request.path}?{urlencode([*rest, *more.items()])}>"

        older = [f'{to(max_id=found[-1])}; rel="next"'] if len(found) == limit else []
        return {"Link": ", ".join([*older, f'{to(min_id=found[0])}; rel="prev"'])}

    def notification_page(self, request: Request, owner: str, *, default: int, largest: int) -> tuple[list[str], int]:
        """A page of notification ids, and its limit."""
        knobs, now = self.server.knobs, self.server.now()
        mine = self.instance.notifications.get(owner, {})
        keys = self.instance.notification_keys.get(owner, [])
        types, without = set(request.many("types")), set(request.many("exclude_types"))
        account_id, all_of_them = request.one("account_id"), request.one("include_filtered") in ("1", "true")

        def wanted(notification_id: str) -> bool:
            one = mine[notification_id]
            return (
                (not types or one.type in types)
                and one.type not in without
                and one.visible_from <= now
                and (all_of_them or one.account not in knobs.filtered)
                and (not account_id or self.instance.account(one.account).id == account_id)
            )

        limit = request.number("limit", default, largest)
        if knobs.newest_only is not None:
            keys = keys[-knobs.newest_only :]
        return self.window(request, keys, wanted, limit), limit

    def notifications(self, request: Request) -> Any:
        """The plain list, newest first."""
        owner = self.owner(request, "read:notifications")
        found, limit = self.notification_page(request, owner, default=40, largest=self.server.knobs.page_limit)
        mine = self.instance.notifications.get(owner, {})
        body = [self.shapes.notification(mine[one], self.server.url, owner) for one in found]
        return Reply(body, headers=self.links(request, found, limit))

    def grouped_notifications(self, request: Request) -> Any:
        """The grouped list, newest first."""
        if not self.server.knobs.grouped:
            return self.server.not_found(request)
        owner = self.owner(request, "read:notifications")
        found, limit = self.notification_page(request, owner, default=40, largest=self.server.knobs.page_limit)
        mine = self.instance.notifications.get(owner, {})
        types = set(request.many("grouped_types")) & GROUPABLE if request.many("grouped_types") else GROUPABLE
        body = shapes.grouped(self.shapes, [mine[one] for one in found], types, self.server.url, owner)
        return Reply(body, headers=self.links(request, found, limit))

    def policy(self, request: Request) -> Any:
        """What is held back by the account's policy, and how much of it there is."""
        if not self.server.knobs.policy:
            return self.server.not_found(request)
        owner = self.owner(request, "read:notifications")
        filtered = self.server.knobs.filtered
        held = self._held(owner)
        summary = {"pending_requests_count": len({one.account for one in held}), "pending_notifications_count": len(held)}
        names = ("not_following", "not_followers", "new_accounts", "private_mentions")
        if request.groups["v"] == "v1":
            return {**{f"filter_{name}": name == "not_following" and bool(filtered) for name in names}, "summary": summary}
        modes = {f"for_{name}": "filter" if name == "not_following" and filtered else "accept" for name in (*names, "limited_accounts")}
        return {**modes, "summary": summary}

    def requests(self, request: Request) -> Any:
        """Whose notifications are held back: one request an account."""
        if not self.server.knobs.policy:
            return self.server.not_found(request)
        owner = self.owner(request, "read:notifications")
        held = self._held(owner)
        names = sorted({one.account for one in held})[: request.number("limit", 40, 80)]
        return [
            {
                "id": self.instance.account(name).id,
                "created_at": stamp(min(one.created for one in held if one.account == name)),
                "updated_at": stamp(max(one.created for one in held if one.account == name)),
                "notifications_count": str(sum(one.account == name for one in held)),
                "account": self.shapes.account(self.instance.account(name), self.server.url),
                "last_status": None,
            }
            for name in names
        ]

    def accept(self, request: Request) -> Any:
        """Hold this account's notifications back no more."""
        if not self.server.knobs.policy:
            return self.server.not_found(request)
        owner = self.owner(request, "write:notifications")
        found = {one.account for one in self._held(owner) if self.instance.account(one.account).id == request.groups["id"]}
        if not found:
            return self.server.not_found(request)
        self.server.knobs.filtered -= found
        return {}

    def _held(self, owner: str) -> list[Notification]:
        return [one for one in self.instance.notifications.get(owner, {}).values() if one.account in self.server.knobs.filtered]

    def bulk_statuses(self, request: Request) -> Any:
        """Several posts at once; those that are gone are left out."""
        if not self.server.knobs.bulk_statuses:
            return self.server.not_found(request)
        viewer = self.viewer(request)
        wanted = [self.instance.statuses.get(status_id) for status_id in request.many("id")[: self.server.knobs.page_limit]]
        return [self.shown(status, viewer) for status in wanted if status and self.instance.visible(status, viewer)]

    def status(self, request: Request) -> Any:
        """One post."""
        viewer = self.viewer(request)
        return self.shown(self.found(request, viewer), viewer)

    def context(self, request: Request) -> Any:
        """What stands above and below a post."""
        viewer = self.viewer(request)
        status = self.found(request, viewer)
        above, below = self.instance.ancestors(status), self.instance.descendants(status)
        return {
            "ancestors": [self.shown(one, viewer) for one in above if self.instance.visible(one, viewer)],
            "descendants": [self.shown(one, viewer) for one in below if self.instance.visible(one, viewer)],
        }

    def source(self, request: Request) -> Any:
        """What was typed, for the author alone."""
        owner = self.owner(request, "read:statuses")
        status = self.found(request, owner)
        if status.author != owner:
            return self.server.not_found(request)
        return {"id": status.id, "text": status.text, "spoiler_text": status.spoiler}

    def create(self, request: Request) -> Any:
        """Post."""
        owner = self.owner(request, "write:statuses")
        fields = request.fields()
        idempotency_key = request.headers.get("idempotency-key")
        earlier = self.server.posted_before(owner, idempotency_key)
        if earlier is not None:
            return self.shown(earlier, owner)
        if self.server.knobs.posts_limit is not None and self.server.posts_left() <= 0:
            raise Rejected(429, {"error": "Too many requests"})
        text, spoiler = str(fields.get("status") or ""), str(fields.get("spoiler_text") or "")
        visibility = str(fields.get("visibility") or "public")
        parent_id = str(fields.get("in_reply_to_id") or "") or None
        limit = self.server.knobs.max_characters
        if not text.strip():
            self.invalid("Text is empty")
        if shapes.length(text) + shapes.length(spoiler) > limit:
            self.invalid(f"Text is longer than {limit} characters")
        if visibility not in ("public", "unlisted", "private", "direct"):
            self.invalid("Visibility is not one of the four")
        parent = self.instance.statuses.get(parent_id or "")
        if parent_id and (parent is None or not self.instance.visible(parent, owner)):
            raise Rejected(404, {"error": "The post to be answered does not exist"})
        language = str(fields.get("language") or "en")
        return self.shown(self.server.reply_made(owner, text, visibility, spoiler, parent_id, language, idempotency_key), owner)

    def invalid(self, why: str) -> None:
        """Refuse a post."""
        raise Rejected(self.server.knobs.invalid_status, {"error": f"Validation failed: {why}"})

    def delete(self, request: Request) -> Any:
        """Delete a post of one's own."""
        owner = self.owner(request, "write:statuses")
        status = self.found(request, owner)
        if status.author != owner:
            return self.server.not_found(request)
        body = {**self.shown(status, owner), "text": status.text}
        self.server.delete(status.id)
        return body

    def react(self, request: Request) -> Any:
        """Favourite or boost."""
        owner = self.owner(request, "write:favourites" if request.groups["verb"] == "favourite" else "write:statuses")
        status = self.found(request, owner)
        hidden = status.visibility == "direct" or (status.visibility == "private" and status.author != owner)
        if request.groups["verb"] == "reblog" and hidden:
            raise Rejected(403, {"error": "This action is not allowed"})
        if request.groups["verb"] == "reblog" and self.server.knobs.posts_limit is not None and self.server.posts_left() <= 0:
            raise Rejected(429, {"error": "Too many requests"})
        done = status.favourited_by if request.groups["verb"] == "favourite" else status.reblogged_by
        if owner not in done or not self.server.knobs.idempotency:  # GoToSocial boosts a second time
            self.server.react(request.groups["verb"], owner, status.id)
        shown = self.shown(status, owner)
        if request.groups["verb"] == "favourite":
            return shown
        boost = {"id": self.instance.status_id(self.server.now(), ulid=self.server.knobs.ulids), "created_at": stamp(self.server.now())}
        return {**shown, **boost, "account": self.shapes.account(self.instance.accounts[owner], self.server.url), "reblog": shown}

    def tag(self, request: Request) -> Any:
        """Public posts with a hashtag; nobody needs to log in."""
        keys = self.instance.by_tag.get(request.groups["tag"].lower(), [])
        return self.statuses_page(request, keys, self.viewer(request), lambda status: True, 20)

    def public(self, request: Request) -> Any:
        """Public posts that answer nobody else."""
        return self.statuses_page(request, self.instance.public, self.viewer(request), self._opens, 20)

    def _opens(self, status: Status) -> bool:
        parent = self.instance.statuses.get(status.in_reply_to or "")
        return status.in_reply_to is None or (parent is not None and parent.author == status.author)

    def search(self, request: Request) -> Any:
        """Posts that hold all the words, newest first; phrases stand in quotes."""
        owner = self.owner(request, "read:search")
        answer: dict[str, list[Any]] = {"accounts": [], "statuses": [], "hashtags": []}
        if not self.server.knobs.search or request.one("type", "statuses") != "statuses":
            return answer
        words = [quoted or bare for quoted, bare in re.findall(r'"([^"]+)"|(\S+)', request.one("q").lower())]
        keys = sorted({key(status_id) for status_id in self.instance.statuses})

        def wanted(status_id: str) -> bool:
            status = self.instance.statuses[status_id]
            return self.instance.visible(status, owner) and all(word in status.text.lower() for word in words)

        limit = request.number("limit", 20, 40)
        offset = int(request.one("offset")) if request.one("offset").isdigit() else 0
        found = window(keys, wanted, limit=offset + limit, min_id=request.one("min_id"), max_id=request.one("max_id"))
        answer["statuses"] = [self.shown(self.instance.statuses[one], owner) for one in found[offset:]] if words else []
        return answer

    def stream(self, request: Request) -> Any:
        """Events of the account's home, as they happen."""
        if not self.server.knobs.streaming:
            return self.server.not_found(request)
        return self.server.streams.serve(self.owner(request, "read"), request)
