"""Mastodon's JSON becomes a `Mention` here and is seen nowhere else.

Each item is parsed alone, from raw JSON, by models that hold only what we use: a field of a wrong type spoils its own
item. Null counts as missing. Older servers and other software leave out most fields; identity, author and date must be there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from rapidfuzz import fuzz

from triage import text
from triage.contracts import Item
from triage.mention import Attachment, Author, Mention, Visibility

PLATFORM = "mastodon"
WANTED = ("mention", "quote")  # the notifications that are about us; an answer comes as a mention
COPY_LETTERS = 40  # shorter texts are alike by chance
COPY_PERCENT = 92.0
FIELD_CHARACTERS = 2_000  # of names, warnings, alt texts and poll options
ATTACHMENTS = 16
NO_ID = "?"  # begins the name of what has none

_ACCT = r"^[\w.-]+(?:@[\w.:-]+)?$"
_NO_BOTS = re.compile(r"(?i)#no_?bots?\b")
_LANGUAGE = re.compile(r"(?i)[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*")

Id = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value), Field(min_length=1, max_length=300)]


class Wire(BaseModel):
    """Something of the server's making: unknown fields are ignored and null counts as missing."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class WireField(Wire):
    """A row of a profile's table."""

    name: str = ""
    value: str = ""


class WireAccount(Wire):
    """Who wrote a post. `acct` has no host on accounts of the instance itself."""

    id: Id
    acct: str = Field(pattern=_ACCT, max_length=400)
    display_name: str = ""
    url: str = ""
    note: str = ""
    fields: tuple[WireField, ...] = ()
    bot: bool = False
    followers_count: int | None = None
    created_at: datetime | None = None


class WireMedia(Wire):
    """An attachment. `url` is missing while the server still fetches it."""

    type: str = "unknown"
    url: str = ""
    remote_url: str = ""
    description: str = ""


class WireOption(Wire):
    """One answer of a poll."""

    title: str = ""


class WirePoll(Wire):
    """A poll."""

    options: tuple[WireOption, ...] = ()


class WireStatus(Wire):
    """A post, as far as we read it."""

    id: Id
    uri: str = Field(min_length=1, max_length=2_000)
    account: WireAccount
    content: str
    created_at: datetime
    url: str = ""
    visibility: str = ""
    spoiler_text: str = ""
    language: str = ""
    in_reply_to_id: Id | None = None
    edited_at: datetime | None = None
    media_attachments: tuple[WireMedia, ...] = ()
    poll: WirePoll | None = None
    quote: Any = None
    reblog: Any = None


@dataclass(frozen=True, slots=True)
class OwnText:
    """What we posted ourselves lately: its words without links and names, and its links."""

    words: str
    links: frozenset[str]

    @classmethod
    def of(cls, plain: str) -> OwnText:
        """From a post's plain text."""
        return cls(_words(plain), frozenset(text.links(plain)))


@dataclass(frozen=True, slots=True)
class Us:
    """Who is looking: our source's name, the instance's host name, our account and colleagues, what we posted lately."""

    source: str
    host: str
    account_id: str = ""
    handle: str = ""
    roster: frozenset[str] = frozenset()
    own_texts: tuple[OwnText, ...] = ()

    def whole(self, acct: str) -> str:
        """`name@host`, also for accounts of our own instance."""
        return acct if "@" in acct else f"{acct}@{self.host}"

    def is_us(self, account: WireAccount) -> bool:
        """True for the account that we read and answer with."""
        return account.id == self.account_id or (bool(self.handle) and self.whole(account.acct).casefold() == self.handle.casefold())


def item_of_notification(payload: Any, us: Us) -> Item:
    """A notification of the plain API, or a group of the grouped one with its post put into `status`."""
    raw = raw_of(payload)
    if not isinstance(payload, dict):
        return Item(digest(raw), raw, broken="the notification is no object")
    envelope = f"notification {payload.get('id')}"[:200]
    kind = payload.get("type")
    if kind not in WANTED:
        return Item(envelope, raw, set_aside=f"a notification of type {text.one_line(str(kind))[:40]}, no mention")
    if payload.get("status") is None:
        if payload.get("status_id") is not None:
            return Item(envelope, raw, broken=f"the post {text.one_line(str(payload['status_id']))[:60]} is missing from the answer")
        return Item(envelope, raw, set_aside="its post was gone before we read it")
    return item_of_status(payload["status"], us, via="mention", raw=raw, envelope=envelope)


def item_of_status(payload: Any, us: Us, *, via: str, raw: bytes | None = None, envelope: str = "") -> Item:
    """A post: a mention, or the reason why it is none. `via` tells how we came to see it."""
    raw = raw_of(payload) if raw is None else raw
    given = payload.get("id") if isinstance(payload, dict) else None
    remote_id = given if isinstance(given, str) and given else envelope or digest(raw)
    try:
        status = WireStatus.model_validate(payload)
        aside = why_not_ours(status, us)
        if aside:
            handle = us.whole(status.account.acct)
            if status.reblog is None and status.in_reply_to_id and handle.casefold() in us.roster and not us.is_us(status.account):
                return Item(status.id, raw, set_aside=aside, answers=status.in_reply_to_id, colleague=handle)
            return Item(status.id, raw, set_aside=aside)
        return Item(status.id, raw, mention=mention_of(status, us, via))
    except ValidationError as error:
        return Item(remote_id[:300], raw, broken=_reasons(error))
    except (ValueError, OverflowError) as error:
        return Item(remote_id[:300], raw, broken=str(error)[:300])


def why_not_ours(status: WireStatus, us: Us) -> str:
    """Why a well-formed post is not to be ingested, "" for one that is."""
    handle = us.whole(status.account.acct)
    if status.reblog is not None:
        return f"a boost by {handle}"
    if us.is_us(status.account):
        return "our own post"
    if handle.casefold() in us.roster:
        return f"by a colleague, {handle}"
    if us.own_texts and "http" in status.content and _is_copy(text.from_html(status.content), us.own_texts):
        return "a copy of our own text with a link added"
    return ""


def _is_copy(plain: str, own_texts: Sequence[OwnText]) -> bool:
    links = text.links(plain)
    words = _words(plain)
    if not links or len(words) < COPY_LETTERS:
        return False
    return any(
        len(own.words) >= COPY_LETTERS
        and any(link not in own.links for link in links)
        and fuzz.ratio(words, own.words, score_cutoff=COPY_PERCENT) > 0
        for own in own_texts
    )


def _words(plain: str) -> str:
    return text.normalised(text.without_links(text.without_names_at_start(plain)))


def mention_of(status: WireStatus, us: Us, via: str) -> Mention:
    """The mention that a post is. Raises ValueError for an address that can't be kept."""
    if text.one_line(status.uri) != status.uri:
        raise ValueError("uri: holds blanks or characters that can't be seen")
    account = status.account
    return Mention(
        uri=status.uri,
        platform=PLATFORM,
        source=us.source,
        remote_id=status.id,
        author=Author(
            handle=us.whole(account.acct),
            name=text.shorten(text.one_line(account.display_name[:FIELD_CHARACTERS]), 200),
            url=_web(account.url),
            followers=account.followers_count if (account.followers_count or 0) >= 0 else None,
            bot=account.bot,
            no_bots=wants_no_bots(account),
            created_at=_utc(account.created_at) if account.created_at else None,
        ),
        text=text.from_html(status.content),
        created_at=_utc(status.created_at),
        url=_web(status.url) or _web(status.uri),
        parent_id=status.in_reply_to_id,
        thread=status.uri if status.in_reply_to_id is None else None,
        via=via,
        visibility=visibility_of(status.visibility),
        language=status.language.lower() if _LANGUAGE.fullmatch(status.language) else None,
        warning=_plain(status.spoiler_text),
        edited_at=_utc(status.edited_at) if status.edited_at else None,
        attachments=tuple(_attachments(status.media_attachments[:ATTACHMENTS])),
        poll=tuple(_plain(option.title) for option in (status.poll.options if status.poll else ())[:ATTACHMENTS]),
        quote=_quoted(status.quote),
    )


def visibility_of(word: str) -> Visibility:
    """Ours for theirs. Other software has more (`local`, `list`, `mutuals_only`): what we don't know is for nobody else's eyes."""
    try:
        return Visibility(word)
    except ValueError:
        return Visibility.DIRECT


def wants_no_bots(account: WireAccount) -> bool:
    """Whether the profile asks automatic accounts to stay away."""
    lines = [account.note, *(f"{field.name} {field.value}" for field in account.fields)]
    return any(_NO_BOTS.search(text.from_html(line)) for line in lines if "#" in line)


def _attachments(media: Iterable[WireMedia]) -> Iterable[Attachment]:
    for one in media:
        url = _web(one.url) or _web(one.remote_url)
        if url or one.description:
            yield Attachment(kind=text.one_line(one.type)[:20], url=url, description=_plain(one.description))


def _quoted(quote: Any) -> str:
    """The address of the quoted post; Mastodon wraps it together with the quote's state, others give the post itself."""
    if not isinstance(quote, dict):
        return ""
    post = quote.get("quoted_status", quote)
    if not isinstance(post, dict):
        return ""
    return next((_web(value) for value in (post.get("url"), post.get("uri")) if isinstance(value, str) and _web(value)), "")


def _plain(value: str) -> str:
    return text.shorten(text.one_line(value[:FIELD_CHARACTERS]), FIELD_CHARACTERS)


def _web(address: str) -> str:
    return address if text.is_web_address(address) and text.one_line(address) == address else ""


def _utc(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _reasons(error: ValidationError) -> str:
    """What is wrong, by field; never what stands in it."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    said = "; ".join(f"{'.'.join(str(part) for part in one['loc']) or 'the post'}: {one['msg']}" for one in found[:3])
    return f"{said}; and {len(found) - 3} more" if len(found) > 3 else said


def raw_of(payload: Any) -> bytes:
    """An item's own bytes out of a page's: the same JSON, without blanks."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def digest(raw: bytes) -> str:
    """A name for what has no id of its own."""
    return f"{NO_ID}{hashlib.sha256(raw).hexdigest()[:24]}"


def notifications_of_groups(answer: Any) -> list[Any]:
    """The grouped answer as single notifications, in its order: each group with its post, as far as the answer holds it.

    Raises ValueError for an answer that is no such thing.
    """
    if not isinstance(answer, Mapping) or not isinstance(answer.get("notification_groups"), list):
        raise ValueError("the server's answer is no page of notification groups")
    listed = answer.get("statuses")
    posts = {str(post["id"]): post for post in listed if isinstance(post, dict) and "id" in post} if isinstance(listed, list) else {}
    found: list[Any] = []
    for group in answer["notification_groups"]:
        if isinstance(group, dict):
            notification_id = group.get("most_recent_notification_id", group.get("page_max_id"))
            found.append({"id": notification_id, **group, "status": posts.get(str(group.get("status_id")))})
        else:
            found.append(group)
    return found
