"""Mastodon, and what speaks its API: GoToSocial, Pleroma, snac and others.

A poll reads our own newest posts, the notifications, each hashtag, and what changed in the threads of our posts. Quiet,
that is two requests and one a hashtag; beside them each minute one for our announcements and one for each word, every five
minutes the notification policy, and at most one thread a poll that was not read for ten minutes. At the default 20 seconds
that is 430 to 610 requests an hour: at most 52 of the 300 that a server allows in five minutes.

Where servers differ the narrower way is taken: an unknown visibility counts as direct, and an answer to a post for
followers goes to its author alone, because our followers are not theirs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from triage import remote
from triage.budget import POSTS
from triage.contracts import Change, Finding, Item, Manifest, Page, Shown
from triage.errors import Gone, NotAccepted, OutcomeUnknown, Refused, Unauthorized
from triage.mention import Mention, Receipt, Work
from triage.platforms.mastodon_doctor import examine
from triage.platforms.mastodon_feeds import PAGE, Entry, Read, back_to, forward, newest_keys
from triage.platforms.mastodon_server import Server
from triage.platforms.mastodon_stream import changes
from triage.platforms.mastodon_threads import OwnPost, OwnPosts, below, first_of_thread
from triage.platforms.mastodon_wire import WANTED, OwnText, Us, item_of_notification, item_of_status, notifications_of_groups
from triage.text import (
    counted_length,
    from_html,
    is_web_address,
    neutralise,
    normalised,
    one_line,
    split_post,
    without_names_at_start,
)

BULK = 20  # posts read in one call; GoToSocial and Mastodon allow at least that many
WORD_SECONDS = 60.0  # between two searches: a search is dear to the server
HELD_SECONDS = 300.0  # between two looks at the notification policy
LOOK_BACK = timedelta(hours=1)  # how far before the first attempt we look for a post of ours: clocks differ
LOOK_PAGES = 5


def _address(value: str) -> str:
    url = (value if "://" in value else f"https://{value}").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        raise ValueError("must be the address of the instance alone, such as https://mastodon.example")
    return url


class MastodonOptions(BaseModel):
    """The keys of a Mastodon source."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, AfterValidator(_address)] = Field(description="The instance's address, such as https://mastodon.example.")
    token: SecretStr | None = Field(default=None, description="The account's access token. Without one only public hashtags are read.")
    hashtags: list[str] = Field(default_factory=list, description="Hashtags to watch, with or without #.")
    words: list[str] = Field(default_factory=list, description="Words or phrases to search for, where the server's search finds posts.")
    roster: list[str] = Field(default_factory=list, description="Colleagues' accounts, name@host: what they post is left alone.")
    own_posts: bool = Field(default=True, description="Read the threads of our own recent posts for answers that dropped our @name.")


class Cursor(BaseModel):
    """Where we stand: the first poll's time, the newest keys of each list, and how many answers our own posts had."""

    version: Literal[1] = 1
    start: datetime
    seen: dict[str, list[str]] = {}
    answers: dict[str, int] = {}

    @classmethod
    def load(cls, stored: str, source: str) -> Cursor:
        """From the store; Refused for one that is not ours."""
        try:
            return cls.model_validate_json(stored)
        except ValidationError:
            raise Refused(
                f"{source}: the stored cursor is not one of Mastodon's; was the source another platform? Give it a new name"
            ) from None


class MastodonPlatform:
    """One account on one instance. Raises the RemoteErrors of `triage.errors` alone."""

    manifest: Manifest

    def __init__(self, name: str, options: MastodonOptions) -> None:
        self.name = name
        self.options = options
        self._server = Server(name, options.url, options.token.get_secret_value() if options.token else None)
        self._hashtags = [tag.strip().lstrip("#") for tag in options.hashtags if tag.strip().lstrip("#")]
        self._words = [one_line(word) for word in options.words if one_line(word)]
        self._own = OwnPosts(self._server)
        self._grouped: bool | None = None  # whether the server has grouped notifications; None: not asked yet
        self._bulk = True
        self._searched = -WORD_SECONDS
        self._held: tuple[float, int | None] = (-HELD_SECONDS, None)

    # What comes in

    def fetch(self, cursor: str | None) -> Iterator[Page]:
        """What is new: notifications, hashtags, words, then the threads of our own posts. Each page's cursor covers what went before it."""
        us = self._us()
        own = self._own.newest()
        start = self._server.time if self._server.token else None
        us = replace(us, own_texts=tuple(OwnText.of(post.text) for post in own))
        if cursor is None:
            yield Page((), self._now(own, start or datetime.now(UTC)).model_dump_json(), self._held_back(), complete=True)
            return
        at = Cursor.load(cursor, self.name)
        for feed, (read, item_of) in self._feeds(us).items():
            if feed not in at.seen:  # a hashtag that the config got since: it starts now
                at.seen[feed] = newest_keys([], read())
            gaps: list[str] = []
            for entries in forward(read, at.seen[feed], partial(gaps.append, f"the server's list of {feed} no longer reached back to it")):
                at.seen[feed] = newest_keys(at.seen[feed], entries)
                items = tuple(item_of(entry.payload) for entry in entries if _about_us(entry))
                yield Page(items, at.model_dump_json(), gap=gaps.pop() if gaps else "")
        yield from self._found_by_words(us, at)
        if self.options.own_posts:
            for items, answers in self._own.answered(own, at.answers, us, at.start):
                at.answers = answers
                if items:
                    yield Page(items, at.model_dump_json())
        yield Page((), at.model_dump_json(), self._held_back(), complete=True)

    def history(self, since: datetime) -> Iterator[Page]:
        """The same lists backwards: all that the server still shows, whole threads of our posts included."""
        us = self._us()
        own = self._own.since(since)
        us = replace(us, own_texts=tuple(OwnText.of(post.text) for post in own))
        for read, item_of in self._feeds(us).values():
            for entries in back_to(read, since):
                yield Page(tuple(item_of(entry.payload) for entry in entries if _about_us(entry)), "")
        for word in self._words if self._server.token else ():
            found = [entry for entry in self._search(word) if entry.created_at is None or entry.created_at >= since]
            yield Page(tuple(item_of_status(entry.payload, us, via="word") for entry in found), "")
        if self.options.own_posts:
            for post in own:
                if post.answers:
                    yield Page(below(self._server, post.id, us, since), "")

    def reread(self, remote_ids: Sequence[str]) -> Mapping[str, Item | None]:
        """In bulk where the server can (Mastodon 4.3 and later), else one by one.

        What is missing from a bulk answer is asked for alone: only a 404 or 410 in JSON means gone. A page in its place
        may be a proxy's, so such a post is left out, as one that could not be read; snac answers so for all that is gone,
        and gives an edited post a new id, which comes by notification.
        """
        us = self._us()
        found: dict[str, Item | None] = {}
        wanted = list(dict.fromkeys(remote_ids))
        if self._bulk and len(wanted) > 1:
            for start in range(0, len(wanted), BULK):
                found |= self._bulk_read(wanted[start : start + BULK], us)
        for remote_id in wanted:
            if remote_id in found:
                continue
            try:
                found[remote_id] = self._as_it_is(self._status(remote_id), us)
            except Gone as error:
                if error.proven:
                    found[remote_id] = None
            except NotAccepted:
                if not found:
                    raise
                break  # the rest could not be read this time
        return found

    def _bulk_read(self, ids: list[str], us: Us) -> dict[str, Item | None]:
        if not self._bulk:
            return {}
        try:
            posts = self._server.read_list(lambda client: client.statuses(ids))
        except Refused:
            self._bulk = False
            return {}
        return {str(post["id"]): self._as_it_is(post, us) for post in posts if isinstance(post, dict) and str(post.get("id")) in ids}

    def _status(self, remote_id: str) -> Any:
        return self._server.read(lambda client: client.status(remote_id))

    def _as_it_is(self, post: Any, us: Us) -> Item:
        """A post that we know: whoever wrote it, it was ingested once."""
        return item_of_status(post, replace(us, roster=frozenset(), own_texts=()), via="mention")

    def thread(self, remote_id: str, colleagues: Collection[str] = frozenset()) -> str:
        """The uri of the highest post that is still there and neither ours nor a colleague's.

        Our announcement ends the climb, our answers don't.
        """
        us = self._us()
        return first_of_thread(self._server, remote_id, replace(us, roster=us.roster | {one.casefold() for one in colleagues}))

    def stream(self, stop: Event) -> Iterator[Change]:
        """Edits and deletions from the account's home stream. Ends at once where the server streams only over WebSocket, or not at all."""
        if self._server.token is not None:
            yield from changes(self._server, lambda post: self._as_it_is(post, self._us()), stop)

    def let_in(self) -> int:
        """Accept every notification request (Mastodon 4.3 and later): the server then shows them, and later ones too."""
        accepted: set[str] = set()
        while True:
            asked = self._server.read_list(lambda client: client.notification_requests(limit=PAGE))
            ids = [str(one["id"]) for one in asked if isinstance(one, dict) and "id" in one and str(one["id"]) not in accepted]
            if not ids:
                self._held = (-HELD_SECONDS, None)  # the next poll asks how many are held back now
                return len(accepted)
            # Not reads, but they may be repeated: what is accepted stays so. One by one: for many at once mastodon.py spells the list
            # of ids `id[][]`, which no server reads.
            for one in ids:
                self._server.answer(partial(_accept, one))
            accepted |= set(ids)

    def at_rest(self, interval: float) -> tuple[int, int]:
        """By what stands at the head of this file: the most is one thread a poll that was not read for ten minutes."""
        polls = 3600 / interval
        if self._server.token is None:
            return round(polls * len(self._hashtags)), round(polls * len(self._hashtags))
        own = 60 if self.options.own_posts else 0
        least = polls * (2 + len(self._hashtags)) + own + 60 * len(self._words) + 3600 / HELD_SECONDS
        return round(least), round(least + (polls if self.options.own_posts else 0))

    def check(self) -> Iterator[Finding]:
        """What `triage doctor` prints. To learn whether we may post it posts an empty text, which every server refuses."""
        return examine(self._server, self._hashtags, self._words)

    # What goes out

    def compose(self, mention: Mention, text: str) -> Sequence[str]:
        """The answer in posts that fit the instance's limit with @name and content warning; `reply` puts the @name in front."""
        facts = self._server.facts()
        room = facts.max_characters - counted_length(f"{self._name_of(mention)} {mention.warning}".strip(), facts.url_length) - 1
        try:
            return split_post(text, room, facts.url_length)
        except ValueError as error:
            raise Refused(f"{self.name}: {error}") from None

    def show(self, mention: Mention, part: str) -> Shown:
        """With the @name in front, counted as Mastodon does, the content warning, too: a link as the instance says, names without hosts."""
        facts = self._server.facts()
        text = self._with_name(mention, part)
        length = counted_length(text, facts.url_length) + counted_length(mention.warning, facts.url_length)
        return Shown(text, length, facts.max_characters)

    def reply(self, work: Work) -> Receipt:
        """Answer in the thread, naming only the author, with the parent's content warning."""
        mention = _mention_of(work)
        if mention.author.no_bots and not work.payload.get("by_person"):
            raise Refused(f"{mention.author.handle} asks for no bots; a person has to answer")
        return self._posted(
            lambda client: client.status_post(
                self._whole_text(work),
                in_reply_to_id=_parent_of(work),
                visibility=str(mention.visibility.of_answer),
                spoiler_text=mention.warning or None,
                language=work.payload.get("language") or mention.language,
                idempotency_key=idempotency_key(work),
            )
        )

    def boost(self, work: Work) -> Receipt:
        """Boost it. Mastodon answers a second time with the boost that is there; GoToSocial would make another one.

        Without a visibility the account's default would decide, which may be wider than the post. The receipt names the post, since a
        look (`boosted`) shows no id of the boost.
        """
        mention = _mention_of(work)
        account = self._server.account()
        if mention.visibility.is_private:
            raise Refused(f"{self.name}: a private post is never boosted")
        if account is not None and self._us().handle.casefold() == mention.author.handle.casefold():
            raise Refused(f"{self.name}: that is our own post")
        self._posted(lambda client: client.status_reblog(mention.remote_id, visibility=str(mention.visibility)))
        return _boost_of(mention)

    def boosted(self, work: Work) -> Sequence[Receipt]:
        """The post says itself whether our account has boosted it."""
        mention = _mention_of(work)
        try:
            post = self._status(mention.remote_id)
        except Gone:
            return []
        return [_boost_of(mention)] if isinstance(post, dict) and post.get("reblogged") is True else []

    def _posted(self, call: Callable[[Any], object]) -> Receipt:
        """The receipt of what `call` makes the client post."""
        with remote.raw() as answers:
            try:
                with remote.talking(self.name), remote.counted_as(POSTS):  # the answer tells of that limit, not of the one on requests
                    call(self._server.client)
            except OutcomeUnknown:
                if not answers:  # otherwise the post was accepted, and the client stumbled over the answer
                    raise
        if not answers:
            raise OutcomeUnknown(f"{self.name}: the client made no request")
        return self._receipt(answers[-1].body)

    def _receipt(self, body: bytes) -> Receipt:
        try:
            receipt = _receipt_of(json.loads(body))
        except (ValueError, RecursionError):
            receipt = None
        if receipt is None:
            raise OutcomeUnknown(f"{self.name}: the server accepted the post, but its answer does not hold it")
        return receipt

    def find(self, work: Work) -> Sequence[Receipt]:
        """Our posts below the parent, and our newest ones since an hour before the first attempt; parent and text must match."""
        wanted = _comparable(self._whole_text(work))
        found = [_receipt_of(post) for post in self._answers(work) if self._says(post, wanted)]
        return [receipt for receipt in found if receipt is not None]

    def answers(self, work: Work) -> Sequence[Receipt]:
        """The same posts, whatever they say."""
        found = map(_receipt_of, self._answers(work))
        return [receipt for receipt in found if receipt is not None]

    def _answers(self, work: Work) -> list[Mapping[str, Any]]:
        parent = _parent_of(work)
        posts: dict[str, Mapping[str, Any]] = {}
        for post in [*self._own.below(parent), *self._own.after(work.first_intent_at - LOOK_BACK, LOOK_PAGES)]:
            if str(post.get("in_reply_to_id")) == parent:
                posts.setdefault(str(post.get("id")), post)
        return list(posts.values())

    def _says(self, post: Mapping[str, Any], wanted: str) -> bool:
        """Whether the post's text is that one: as shown, else as typed."""
        if _comparable(from_html(str(post.get("content") or ""))) == wanted:
            return True
        try:
            source = self._server.read(lambda client: client.status_source(str(post.get("id"))))
        except Refused:
            return False
        return isinstance(source, dict) and _comparable(str(source.get("text") or "")) == wanted

    def repeatable(self) -> bool:
        """True for Mastodon and its forks: the same Idempotency-Key within an hour posts nothing new."""
        return self._server.facts().is_mastodon

    def _whole_text(self, work: Work) -> str:
        return self._with_name(_mention_of(work), str(work.payload["text"]))

    def _with_name(self, mention: Mention, part: str) -> str:
        """The text with the author's @name in front, unless it is there already."""
        answer = neutralise(part).strip()
        names = {self._name_of(mention), f"@{mention.author.handle}"}
        first = answer.split(maxsplit=1)[0].rstrip(",:").casefold() if answer else ""
        return answer if first in {name.casefold() for name in names} else f"{self._name_of(mention)} {answer}"

    def _name_of(self, mention: Mention) -> str:
        name, _, host = mention.author.handle.partition("@")
        return f"@{name}" if host.casefold() == self._server.facts().host.casefold() else f"@{mention.author.handle}"

    # The lists

    def _us(self) -> Us:
        facts, account = self._server.facts(), self._server.account()
        us = Us(self.name, facts.host, roster=frozenset(handle.strip().lstrip("@").casefold() for handle in self.options.roster))
        if account is None:
            return us
        return replace(us, account_id=account.id, handle=us.whole(account.acct))

    def _feeds(self, us: Us) -> dict[str, tuple[Read, Callable[[Any], Item]]]:
        """The lists that can be walked by id."""
        feeds: dict[str, tuple[Read, Callable[[Any], Item]]] = {}
        if self._server.token is not None:
            feeds["notifications"] = (self._notifications, lambda payload: item_of_notification(payload, us))
        for tag in self._hashtags:
            feeds[f"#{tag}"] = (self._timeline(tag), lambda payload: item_of_status(payload, us, via="hashtag"))
        return feeds

    def _notifications(self, *, min_id: str | None = None, max_id: str | None = None) -> list[Entry]:
        """A page of notifications about us; with those that the policy holds back where there is a grouped API (Mastodon 4.3 and later)."""
        where = {"min_id": min_id, "max_id": max_id, "limit": PAGE, "types": list(WANTED)}
        if self._grouped is not False:
            try:
                return _oldest_first(self._groups(where))
            except (Refused, NotAccepted) as error:
                missing = isinstance(error, Refused) or error.status == 200  # 200: a front page in place of a 404
                if self._grouped or not missing:
                    raise
        page = self._server.read_list(lambda client: client.notifications(**where))
        self._grouped = False
        return _oldest_first(page)

    def _groups(self, where: Mapping[str, Any]) -> list[Any]:
        found = self._server.read(lambda client: client.grouped_notifications(include_filtered=True, **where))
        try:
            page = notifications_of_groups(found)
        except ValueError as error:
            raise NotAccepted(f"{self.name}: {error}", status=200) from None
        self._grouped = True
        return page

    def _timeline(self, tag: str) -> Read:
        def read(*, min_id: str | None = None, max_id: str | None = None) -> list[Entry]:
            where = {"min_id": min_id, "max_id": max_id, "limit": PAGE // 2}
            return _oldest_first(self._server.read_list(lambda client: client.timeline_hashtag(tag, **where)))

        return read

    def _search(self, word: str) -> list[Entry]:
        """The newest posts that a search for the words finds; none where the server does not let us search."""
        phrase = word.replace('"', " ")
        how = {"resolve": False, "result_type": "statuses", "exclude_unreviewed": False, "limit": PAGE // 2}
        try:
            found = self._server.read(lambda client: client.search_v2(f'"{phrase}"', **how))
        except (Refused, Unauthorized):  # no search, or not for this token; `check` says so
            return []
        posts = found.get("statuses") if isinstance(found, dict) else None
        return _oldest_first(posts if isinstance(posts, list) else [])

    def _found_by_words(self, us: Us, at: Cursor) -> Iterator[Page]:
        if self._server.token is None or remote.boot_seconds() - self._searched < WORD_SECONDS:
            return
        for word in self._words:
            found = self._search(word)
            known = set(at.seen.get(f'"{word}', ()))
            fresh = [e for e in found if e.key not in known and (e.created_at is None or e.created_at >= at.start)]
            at.seen[f'"{word}'] = [entry.key for entry in found]
            if fresh:
                yield Page(tuple(item_of_status(entry.payload, us, via="word") for entry in fresh), at.model_dump_json())
        self._searched = remote.boot_seconds()

    def _now(self, own: Sequence[OwnPost], start: datetime) -> Cursor:
        """The cursor of a first poll."""
        seen = {feed: newest_keys([], read()) for feed, (read, _) in self._feeds(self._us()).items()}
        return Cursor(start=start, seen=seen, answers={post.id: post.answers for post in own})

    def _held_back(self) -> int | None:
        """How many notifications the account's policy holds back; None where the server has no such thing."""
        asked, held = self._held
        if self._server.token is None or remote.boot_seconds() - asked < HELD_SECONDS:
            return held
        try:
            found = self._server.read(lambda client: client.notifications_policy())
            summary = found.get("summary") if isinstance(found, dict) else None
            count = summary.get("pending_notifications_count") if isinstance(summary, dict) else None
            held = count if isinstance(count, int) else None
        except (Refused, Unauthorized):
            held = None
        self._held = (remote.boot_seconds(), held)
        return held


def _accept(request_id: str, client: Any) -> None:
    client.accept_notification_request(request_id)


def idempotency_key(work: Work) -> str:
    """The same for every attempt of one action, another for the next action."""
    return hashlib.sha256(f"{work.key} {work.first_intent_at.isoformat()}".encode()).hexdigest()[:40]


def _mention_of(work: Work) -> Mention:
    if work.mention is None:
        raise Refused(f"action {work.action_id} answers no post")
    return work.mention


def _parent_of(work: Work) -> str:
    return work.previous.remote_id if work.previous is not None else _mention_of(work).remote_id


def _comparable(answer: str) -> str:
    return normalised(without_names_at_start(answer))


def _receipt_of(post: Any) -> Receipt | None:
    given = post.get("id") if isinstance(post, dict) else None
    if not isinstance(given, str | int) or isinstance(given, bool) or not str(given):
        return None
    url = post.get("url") or post.get("uri") or ""
    return Receipt(str(given), key=str(given), url=url if isinstance(url, str) and is_web_address(url) else "")


def _boost_of(mention: Mention) -> Receipt:
    return Receipt(mention.remote_id, key=mention.remote_id, url=mention.url if is_web_address(mention.url) else "")


def _oldest_first(page: Sequence[Any]) -> list[Entry]:
    return [Entry.of(payload) for payload in reversed(page)]


def _about_us(entry: Entry) -> bool:
    """False for notifications of other kinds, from servers that ignore `types`."""
    kind = entry.payload.get("type") if isinstance(entry.payload, dict) and "status" in entry.payload else None
    return not isinstance(kind, str) or kind in WANTED


MANIFEST = Manifest(
    name="mastodon",
    options=MastodonOptions,
    build=MastodonPlatform,
    interval=20.0,
    replies=True,
    streams=True,
    requests=(300, 300.0),
    posts=(300, 3 * 3600.0),
)
MastodonPlatform.manifest = MANIFEST
