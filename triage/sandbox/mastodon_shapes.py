"""The JSON that Mastodon makes of its state, and the HTML that it makes of a text."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import regex  # type: ignore[import-untyped]

from triage.sandbox.mastodon_state import DOMAIN, HASHTAG, MENTION, Account, Instance, Notification, Status, stamp

URL = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)\]']")
SHORTCODE = re.compile(r":([a-z0-9_]{2,}):")
TOKENS = re.compile(f"(?P<url>{URL.pattern})|(?P<mention>{MENTION.pattern})|(?P<tag>{HASHTAG.pattern})")
CHARACTERS_OF_A_URL = 23


def length(text: str) -> int:
    """How many characters Mastodon counts: a link is 23, the host of a mention nothing, and what people see as one letter is one."""
    text = URL.sub("x" * CHARACTERS_OF_A_URL, text)
    text = MENTION.sub(lambda match: f"@{match[1]}", text)
    return len(regex.findall(r"\X", text))


def content(text: str, instance: Instance, base: str, quoted: str | None = None) -> str:
    """A text as HTML: paragraphs, line breaks, mentions, hashtags and shortened links."""

    def replace(match: re.Match[str]) -> str:
        whole = match[0]
        if match["url"]:
            return link(whole)
        if match["mention"]:
            found = MENTION.match(whole)
            acct = instance.known(found[1], found[2]) if found else None
            return mention(instance.accounts[acct], base) if acct else escape(whole)
        name = whole[1:]
        return f'<a href="{base}/tags/{escape(name.lower())}" class="mention hashtag" rel="tag">#<span>{escape(name)}</span></a>'

    paragraphs = [f'<p class="quote-inline">RE: {link(quoted)}</p>'] if quoted else []
    for paragraph in re.split(r"\n{2,}", text.strip("\n")):
        parts, at = [], 0
        for match in TOKENS.finditer(paragraph):
            parts += [escape(paragraph[at : match.start()]), replace(match)]
            at = match.end()
        parts.append(escape(paragraph[at:]))
        paragraphs.append("<p>" + "".join(parts).replace("\n", "<br />") + "</p>")
    return "".join(paragraphs) if text or quoted else ""


def mention(account: Account, base: str) -> str:
    """A @name with its link."""
    anchor = f'<a href="{base}/@{escape(account.acct)}" class="u-url mention">@<span>{escape(account.username)}</span></a>'
    return f'<span class="h-card" translate="no">{anchor}</span>'


def link(url: str) -> str:
    """A link whose beginning and end are hidden from the eye."""
    head = re.match(r"https?://(?:www\.)?", url)
    start = head[0] if head else ""
    shown, rest = url[len(start) : len(start) + 30], url[len(start) + 30 :]
    kind = "ellipsis" if rest else ""
    return (
        f'<a href="{escape(url)}" target="_blank" rel="nofollow noopener" translate="no"><span class="invisible">{escape(start)}</span>'
        f'<span class="{kind}">{escape(shown)}</span><span class="invisible">{escape(rest)}</span></a>'
    )


class Shapes:
    """Makes the JSON. `base` is the server's address, in which links for people begin."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}

    def forget(self, *status_ids: str | None) -> None:
        """These posts changed."""
        for status_id in status_ids:
            self._known.pop(status_id or "", None)

    def account(self, account: Account, base: str) -> dict[str, Any]:
        """An account as others see it."""
        url = f"{base}/@{account.acct}"
        picture = f"{base}/avatars/original/missing.png"
        names = dict.fromkeys(SHORTCODE.findall(account.display_name))
        return {
            "id": account.id,
            "username": account.username,
            "acct": account.acct,
            "display_name": account.display_name,
            "locked": False,
            "bot": account.bot,
            "discoverable": True,
            "indexable": True,
            "group": False,
            "created_at": f"{account.created}T00:00:00.000Z",
            "note": content(account.bio, self.instance, base),
            "url": url,
            "uri": account.uri,
            "avatar": picture,
            "avatar_static": picture,
            "header": picture,
            "header_static": picture,
            "followers_count": account.followers,
            "following_count": 0,
            "statuses_count": len(self.instance.by_author.get(account.acct, [])),
            "last_status_at": None,
            "hide_collections": None,
            "noindex": False,
            "emojis": [
                {"shortcode": name, "url": f"{base}/emoji/{name}.png", "static_url": f"{base}/emoji/{name}.png", "visible_in_picker": True}
                for name in names
            ],
            "roles": [],
            "fields": [],
        }

    def own_account(self, account: Account, base: str) -> dict[str, Any]:
        """An account as its owner sees it."""
        source = {"privacy": "public", "sensitive": False, "language": None, "note": account.bio, "fields": [], "follow_requests_count": 0}
        return {**self.account(account, base), "source": source, "role": {"id": "-99", "name": "", "permissions": "65536", "color": ""}}

    def status(self, status: Status, base: str, viewer: str | None = None) -> dict[str, Any]:
        """A post as `viewer` sees it."""
        known = self._known.get(status.id)
        if known is None or known[0] != base:
            known = (base, self._status(status, base))
            if status.quote_of is None:
                self._known[status.id] = known
        if viewer is None:
            return dict(known[1])
        mine = {"favourited": viewer in status.favourited_by, "reblogged": viewer in status.reblogged_by}
        return {**known[1], **mine, "muted": False, "bookmarked": False, "filtered": []}

    def _status(self, status: Status, base: str) -> dict[str, Any]:
        instance = self.instance
        author = instance.accounts[status.author]
        parent = instance.statuses.get(status.in_reply_to or "")
        quoted = instance.statuses.get(status.quote_of or "")
        mentioned = [instance.accounts[acct] for acct in status.mentions if acct in instance.accounts]
        return {
            "id": status.id,
            "created_at": stamp(status.created),
            "in_reply_to_id": status.in_reply_to,
            "in_reply_to_account_id": instance.accounts[parent.author].id if parent else None,
            "sensitive": bool(status.spoiler),
            "spoiler_text": status.spoiler,
            "visibility": status.visibility,
            "language": status.language,
            "uri": status.uri,
            "url": f"{base}/@{status.author}/{status.id}",
            "replies_count": len(instance.children.get(status.id, [])),
            "reblogs_count": len(status.reblogged_by),
            "favourites_count": len(status.favourited_by),
            "edited_at": None if status.edited is None else stamp(status.edited),
            "content": content(status.text, instance, base, f"{base}/@{quoted.author}/{quoted.id}" if quoted else None),
            "reblog": None,
            "application": {"name": "Sandbox", "website": None} if status.by_token else None,
            "account": self.account(author, base),
            "media_attachments": [self._media(status, n, dict(media), base) for n, media in enumerate(status.media)],
            "mentions": [{"id": a.id, "username": a.username, "url": f"{base}/@{a.acct}", "acct": a.acct} for a in mentioned],
            "tags": [{"name": tag, "url": f"{base}/tags/{tag}"} for tag in status.tags],
            "emojis": [],
            "card": None,
            "quote": {"state": "accepted", "quoted_status": self.status(quoted, base)} if quoted else None,
            "poll": self._poll(status) if status.poll else None,
        }

    def _media(self, status: Status, number: int, media: dict[str, Any], base: str) -> dict[str, Any]:
        url = media.get("url") or f"{base}/media/{status.id}-{number}.png"
        return {
            "id": f"{status.id}{number}",
            "type": media.get("type", "image"),
            "url": url,
            "preview_url": url,
            "remote_url": None,
            "preview_remote_url": None,
            "text_url": None,
            "meta": {"original": {"width": 640, "height": 400, "size": "640x400", "aspect": 1.6}},
            "description": media.get("description") or None,
            "blurhash": None,
        }

    def _poll(self, status: Status) -> dict[str, Any]:
        return {
            "id": status.id[-9:],
            "expires_at": stamp(status.created + 86400),
            "expired": False,
            "multiple": False,
            "votes_count": 0,
            "voters_count": 0,
            "options": [{"title": option, "votes_count": 0} for option in status.poll],
            "emojis": [],
        }

    def notification(self, notification: Notification, base: str, viewer: str) -> Any:
        """A notification as the plain list shows it."""
        if notification.is_raw:
            return notification.raw
        status = self.instance.statuses.get(notification.status or "")
        return {
            "id": notification.id,
            "type": notification.type,
            "created_at": stamp(notification.created),
            "group_key": group_key(notification),
            "account": self.account(self.instance.account(notification.account), base),
            "status": self.status(status, base, viewer) if status else None,
        }


def group_key(notification: Notification) -> str:
    """What belongs together in the grouped list: favourites and boosts of one post, follows; a mention stands alone."""
    hour = int(notification.created // 3600)
    if notification.type in ("favourite", "reblog") and notification.status:
        return f"{notification.type}-{notification.status}-{hour}"
    return f"follow-{hour}" if notification.type == "follow" else f"ungrouped-{notification.id}"


def grouped(shapes: Shapes, notifications: list[Notification], types: set[str], base: str, viewer: str) -> dict[str, Any]:
    """A page of notifications, newest first, as the grouped list shows it: groups that name accounts and posts kept beside them."""
    accounts: dict[str, Any] = {}
    statuses: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    for notification in notifications:
        if notification.is_raw:
            _group_raw(notification, groups, statuses)
            continue
        who = shapes.instance.account(notification.account)
        accounts.setdefault(who.id, shapes.account(who, base))
        status = shapes.instance.statuses.get(notification.status or "")
        if status is not None:
            statuses.setdefault(status.id, shapes.status(status, base, viewer))
        name = group_key(notification) if notification.type in types else f"ungrouped-{notification.id}"
        group = groups.setdefault(
            name,
            {
                "group_key": name,
                "notifications_count": 0,
                "type": notification.type,
                "most_recent_notification_id": int(notification.id) if notification.id.isdigit() else notification.id,
                "page_max_id": notification.id,
                "latest_page_notification_at": stamp(notification.created),
                "sample_account_ids": [],
                "status_id": status.id if status else None,
            },
        )
        group["notifications_count"] += 1
        group["page_min_id"] = notification.id
        group["sample_account_ids"].append(who.id)
    return {"accounts": list(accounts.values()), "statuses": list(statuses.values()), "notification_groups": list(groups.values())}


def _group_raw(notification: Notification, groups: dict[str, Any], statuses: dict[str, Any]) -> None:
    raw = notification.raw
    if not isinstance(raw, dict) or "group_key" in raw:
        groups[f"raw-{notification.id}"] = raw
        return
    status = raw.get("status")
    if isinstance(status, dict):
        statuses[f"raw-{notification.id}"] = status
    account = raw.get("account")
    groups[f"raw-{notification.id}"] = {
        "group_key": f"ungrouped-{notification.id}",
        "notifications_count": 1,
        "type": raw.get("type"),
        "most_recent_notification_id": notification.id,
        "page_min_id": notification.id,
        "page_max_id": notification.id,
        "latest_page_notification_at": raw.get("created_at"),
        "sample_account_ids": [account.get("id")] if isinstance(account, dict) else [],
        "status_id": status.get("id") if isinstance(status, dict) else status,
    }


def instance_v2(base: str, version: str, characters: int, *, api_version: int | None) -> dict[str, Any]:
    """What the server says about itself."""
    configuration = {
        "urls": {"streaming": base.replace("http", "ws", 1), "status": None},
        "vapid": {"public_key": ""},
        "accounts": {"max_featured_tags": 10, "max_pinned_statuses": 5},
        "statuses": {"max_characters": characters, "max_media_attachments": 4, "characters_reserved_per_url": CHARACTERS_OF_A_URL},
        "media_attachments": {"supported_mime_types": ["image/png"], "image_size_limit": 16777216, "description_limit": 1500},
        "polls": {"max_options": 4, "max_characters_per_option": 50, "min_expiration": 300, "max_expiration": 2629746},
        "translation": {"enabled": False},
    }
    return {
        "domain": DOMAIN,
        "title": "Quayside Social",
        "version": version,
        "source_url": "",
        "description": "A stand-in",
        "usage": {"users": {"active_month": 93}},
        "thumbnail": {"url": f"{base}/thumbnail.png", "blurhash": None, "versions": {}},
        "icon": [],
        "languages": ["en"],
        "configuration": configuration,
        "registrations": {"enabled": False, "approval_required": False, "message": None},
        **({} if api_version is None else {"api_versions": {"mastodon": api_version}}),
        "contact": {"email": "", "account": None},
        "rules": [],
    }


def instance_v1(base: str, version: str, characters: int) -> dict[str, Any]:
    """The same for older clients."""
    newer = instance_v2(base, version, characters, api_version=None)
    return {
        "uri": DOMAIN,
        "title": newer["title"],
        "short_description": "",
        "description": "",
        "email": "",
        "version": version,
        "urls": {"streaming_api": newer["configuration"]["urls"]["streaming"]},
        "stats": {"user_count": 93, "status_count": 393, "domain_count": 12},
        "thumbnail": None,
        "max_toot_chars": characters,
        "languages": ["en"],
        "registrations": False,
        "approval_required": False,
        "invites_enabled": False,
        "configuration": {name: newer["configuration"][name] for name in ("accounts", "statuses", "media_attachments", "polls")},
        "contact_account": None,
        "rules": [],
    }
