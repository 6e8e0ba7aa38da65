"""What every platform must do. A platform's own test is a subclass that says how its far side is made to post.

class TestMine(PlatformContract):
    @pytest.fixture
    def far(self, ...) -> Far: ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any, Protocol

import pytest

from triage.contracts import Boosts, Change, Page, Platform
from triage.errors import Gone, Refused
from triage.mention import ActionKind, Mention, Receipt, Visibility, Work
from triage.person import account
from triage.text import counted_length

MANY = 130  # more than one page on any platform


@dataclass(frozen=True, slots=True)
class Posted:
    """A reply as it stands on the far side."""

    text: str
    in_reply_to: str
    visibility: str
    warning: str


class Far(Protocol):
    """The far side of a platform, scripted by the test."""

    author: str
    us: str
    limit: int

    def platform(self) -> Platform:
        """A new client, as after a restart."""

    def post(self, text: str, *, reply_to: str | None = None, visibility: str = "public", warning: str = "", no_bots: bool = False) -> str:
        """Somebody posts to us; the post's remote id."""

    def announce(self, text: str) -> str:
        """We post something that answers nobody; its remote id."""

    def edit(self, remote_id: str, text: str) -> None:
        """The author edits a post."""

    def delete(self, remote_id: str) -> None:
        """The author deletes a post."""

    def replies(self) -> Sequence[Posted]:
        """What we posted in answer, oldest first."""

    def boosts(self) -> Sequence[str]:
        """The posts that our account boosted, by their ids, one for each boost."""


def mentions(pages: Iterable[Page]) -> list[Mention]:
    """The mentions of these pages, in order."""
    return [item.mention for page in pages for item in page.items if item.mention is not None]


def start(platform: Platform) -> str:
    """The cursor of a first poll."""
    [page] = platform.fetch(None)
    assert page.items == ()
    assert page.cursor
    return page.cursor


def fetched(platform: Platform, cursor: str) -> tuple[list[Mention], str]:
    """All that is new, and the cursor behind it."""
    pages = list(platform.fetch(cursor))
    return mentions(pages), pages[-1].cursor if pages else cursor


def work(mention: Mention, text: str, **changes: Any) -> Work:
    """A claimed reply."""
    now = datetime.now(UTC)
    payload: Mapping[str, Any] = {"text": text, "by_person": True, **changes.pop("payload", {})}
    made = Work(
        action_id=1,
        key=f"site/{mention.uri}/reply/1",
        marker="m",
        kind=ActionKind.REPLY,
        via=mention.source,
        attempt=1,
        intent_at=now,
        first_intent_at=now,
        reason="a test",
        mention=mention,
        payload=payload,
    )
    return replace(made, **changes)


class PlatformContract:
    """The suite. Subclasses give the fixture `far`."""

    @pytest.fixture
    def far(self) -> Far:
        """The far side."""
        raise NotImplementedError

    def one(self, far: Far, text: str = "it crashes at start", **how: Any) -> Mention:
        """A mention as the platform shows it."""
        platform = far.platform()
        cursor = start(platform)
        remote_id = far.post(text, **how)
        [mention] = [one for one in fetched(platform, cursor)[0] if one.remote_id == remote_id]
        return mention

    def test_the_manifest_makes_it(self, far: Far) -> None:
        """The class carries the manifest by which it is found."""
        platform = far.platform()
        assert platform.manifest.build is type(platform)
        assert platform.manifest.interval > 0

    def test_a_first_poll_starts_at_now(self, far: Far) -> None:
        """What was posted before is not ingested, what comes after is."""
        far.post("long ago")
        platform = far.platform()
        cursor = start(platform)
        remote_id = far.post("just now")
        found, _ = fetched(platform, cursor)
        assert [mention.remote_id for mention in found] == [remote_id]

    def test_each_post_comes_once_and_in_order(self, far: Far) -> None:
        """Oldest first, over several polls, and then nothing more."""
        platform = far.platform()
        cursor = start(platform)
        first = [far.post(f"number {number}") for number in range(3)]
        found, cursor = fetched(platform, cursor)
        assert [mention.remote_id for mention in found] == first
        second = [far.post(f"again {number}") for number in range(2)]
        found, cursor = fetched(platform, cursor)
        assert [mention.remote_id for mention in found] == second
        assert fetched(platform, cursor)[0] == []

    def test_the_last_page_is_complete_and_no_other(self, far: Far) -> None:
        """By it the ledger knows that everything is in; nothing was cut, so there is no gap."""
        platform = far.platform()
        [first] = platform.fetch(None)
        assert first.complete
        for number in range(MANY):
            far.post(f"number {number}")
        pages = list(platform.fetch(first.cursor))
        assert len(pages) > 2
        assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]
        assert not any(page.gap for page in pages)

    def test_a_burst_leaves_no_hole(self, far: Far) -> None:
        """More posts than a page holds, between two polls."""
        platform = far.platform()
        far.post("before")
        cursor = start(platform)
        posted = [far.post(f"number {number}") for number in range(MANY)]
        found, cursor = fetched(platform, cursor)
        assert [mention.remote_id for mention in found] == posted
        assert fetched(platform, cursor)[0] == []

    def test_a_crash_between_two_pages_loses_nothing(self, far: Far) -> None:
        """A new client goes on from the cursor of any page."""
        cursor = start(far.platform())
        posted = [far.post(f"number {number}") for number in range(MANY)]
        seen: set[str] = set()
        for _ in range(MANY):
            page = next(iter(far.platform().fetch(cursor)))
            seen |= {mention.remote_id for mention in mentions([page])}
            cursor = page.cursor
            if len(seen) == MANY:
                break
        assert seen == set(posted)

    def test_a_mention_is_whole(self, far: Far) -> None:
        """Identity, author, text, date, thread."""
        mention = self.one(far)
        assert mention.uri.startswith("https://")
        assert mention.author.handle == far.author
        assert "it crashes at start" in mention.text
        assert abs(mention.created_at - datetime.now(UTC)) < timedelta(minutes=5)
        assert mention.thread == mention.uri
        assert mention.source == far.platform().thread.__self__.name  # type: ignore[attr-defined]

    def test_our_own_posts_are_not_ingested(self, far: Far) -> None:
        """Neither announcements nor answers."""
        platform = far.platform()
        cursor = start(platform)
        far.announce("version 2 is out")
        remote_id = far.post("thanks")
        found, cursor = fetched(platform, cursor)
        assert [mention.remote_id for mention in found] == [remote_id]
        platform.reply(work(found[0], "you are welcome"))
        assert fetched(platform, cursor)[0] == []

    def test_posts_are_read_again(self, far: Far) -> None:
        """As they were, edited, gone, never there."""
        platform = far.platform()
        same, edited, gone = far.post("same"), far.post("before"), far.post("gone")
        far.edit(edited, "after")
        far.delete(gone)
        found = platform.reread([same, edited, gone, "9"])
        as_same, as_edited = found[same], found[edited]
        assert as_same is not None
        assert as_same.mention is not None
        assert "same" in as_same.mention.text
        assert as_edited is not None
        assert as_edited.mention is not None
        assert "after" in as_edited.mention.text
        assert as_edited.mention.edited_at is not None
        assert found[gone] is None
        assert found["9"] is None

    def test_one_post_is_read_again(self, far: Far) -> None:
        """A single one, as before each action; and none."""
        platform = far.platform()
        there, gone = far.post("there"), far.post("gone")
        far.delete(gone)
        item = platform.reread([there])[there]
        assert item is not None
        assert item.mention is not None
        assert platform.reread([gone]) == {gone: None}
        assert platform.reread([]) == {}

    def test_a_thread_is_named_by_its_first_post(self, far: Far) -> None:
        """Answers to answers belong to the first post; so do answers to our answer."""
        platform = far.platform()
        cursor = start(platform)
        top = far.post("it crashes")
        found, _ = fetched(platform, cursor)
        receipt = platform.reply(work(found[0], "which version?"))
        middle = far.post("here too", reply_to=top)
        after_ours = far.post("version 2", reply_to=receipt.remote_id)
        assert [platform.thread(one) for one in (top, middle, after_ours)] == [found[0].uri] * 3

    def test_answers_to_an_announcement_are_threads_of_their_own(self, far: Far) -> None:
        """Our post is not what they have in common."""
        platform = far.platform()
        ours = far.announce("version 2 is out")
        one, other = far.post("crashes", reply_to=ours), far.post("how do I get it?", reply_to=ours)
        below = far.post("same here", reply_to=one)
        threads = [platform.thread(remote_id) for remote_id in (one, other, below)]
        assert threads[0] == threads[2] != threads[1]

    def test_a_colleagues_post_begins_no_thread(self, far: Far) -> None:
        """Each answer to it begins one, as below our own."""
        platform = far.platform()
        top = far.post("version 2 is out")
        below = far.post("it crashes", reply_to=top)
        assert platform.thread(below, {account(far.author)}) != platform.thread(below) == platform.thread(top)

    def test_a_thread_whose_beginning_is_gone(self, far: Far) -> None:
        """The highest post that is still there stands for it."""
        platform = far.platform()
        top = far.post("first")
        second = far.post("second", reply_to=top)
        third = far.post("third", reply_to=second)
        whole = platform.thread(third)
        far.delete(top)
        assert platform.thread(third) == platform.thread(second) != whole

    def test_the_thread_of_a_post_that_is_gone(self, far: Far) -> None:
        """It says so."""
        gone = far.post("gone")
        far.delete(gone)
        with pytest.raises(Gone):
            far.platform().thread(gone)

    def test_a_reply_goes_into_the_thread_and_names_only_the_author(self, far: Far) -> None:
        """Below the post, with its content warning, with one @name."""
        mention = self.one(far, "it crashes, ask @somebody@else.example", warning="angry")
        receipt = far.platform().reply(work(mention, "Sorry! Which version?"))
        [posted] = far.replies()
        assert posted.in_reply_to == mention.remote_id
        assert posted.warning == "angry"
        assert posted.text.count("@" + far.author.partition("@")[0]) == 1
        assert "somebody" not in posted.text
        assert "Sorry! Which version?" in posted.text
        assert receipt.remote_id

    @pytest.mark.parametrize("visibility", list(Visibility))
    def test_a_reply_is_never_wider_than_its_parent(self, far: Far, visibility: Visibility) -> None:
        """And the mention tells how public it is."""
        mention = self.one(far, visibility=str(visibility))
        assert mention.visibility is visibility
        far.platform().reply(work(mention, "hello"))
        [posted] = far.replies()
        assert Visibility(posted.visibility).narrowest(visibility) is Visibility(posted.visibility)
        assert visibility.is_private == Visibility(posted.visibility).is_private

    def test_a_long_answer_becomes_a_chain_of_posts(self, far: Far) -> None:
        """Each within the limit with its @name, each below the one before."""
        mention = self.one(far, warning="long")
        platform = far.platform()
        parts = platform.compose(mention, "This sentence is one of many. " * 60)
        assert len(parts) > 1
        shown = [platform.show(mention, part) for part in parts]
        assert all(one.limit == far.limit and one.length <= far.limit for one in shown)
        previous: Receipt | None = None
        for number, part in enumerate(parts):
            previous = platform.reply(work(mention, part, key=f"reply/{number}", previous=previous))
        replies = far.replies()
        assert len(replies) == len(parts)
        assert all(counted_length(posted.text) + len(posted.warning) <= far.limit for posted in replies)
        assert [(one.text, one.length) for one in shown] == [
            (posted.text, counted_length(posted.text) + len(posted.warning)) for posted in replies
        ]
        assert replies[0].in_reply_to == mention.remote_id
        assert len({posted.in_reply_to for posted in replies}) == len(replies)
        assert list(platform.compose(mention, "Short.")) == ["Short."]

    def test_looking_finds_what_was_posted_and_nothing_else(self, far: Far) -> None:
        """Parent and text must match."""
        platform = far.platform()
        mention = self.one(far)
        mine = work(mention, "Sorry, fixed in 2.1: https://quay.example/changes?v=2.1 – @mira please try & tell “us”")
        assert list(platform.find(mine)) == []
        receipt = platform.reply(mine)
        assert [found.remote_id for found in platform.find(mine)] == [receipt.remote_id]
        assert list(platform.find(work(mention, "Sorry, fixed in 2.2"))) == []
        other = self.one(far, "another one")
        assert list(platform.find(replace(mine, mention=other))) == []

    def test_a_second_attempt_posts_nothing_where_the_server_says_so(self, far: Far) -> None:
        """A platform that calls itself repeatable returns the receipt of what is there already, even from a new client."""
        mention = self.one(far)
        mine = work(mention, "Which version?")
        receipt = far.platform().reply(mine)
        if far.platform().repeatable():
            again = far.platform().reply(replace(mine, attempt=2, intent_at=datetime.now(UTC)))
            assert again.remote_id == receipt.remote_id
        assert len(far.replies()) == 1

    def test_all_our_answers_to_a_post_are_shown(self, far: Far) -> None:
        """Whatever they say; not those to other posts, and not what others answered."""
        platform = far.platform()
        mention, other = self.one(far), self.one(far, "another one")
        assert list(platform.answers(work(mention, "anything"))) == []
        receipts = [platform.reply(work(mention, text, key=f"a/{text}")) for text in ("Which version?", "And on which machine?")]
        platform.reply(work(other, "Thank you!"))
        shown = platform.answers(work(mention, "something else"))
        assert sorted(one.remote_id for one in shown) == sorted(one.remote_id for one in receipts)

    def test_a_second_attempt_posts_what_is_not_there(self, far: Far) -> None:
        """The first one never arrived."""
        mention = self.one(far)
        far.platform().reply(work(mention, "Which version?", attempt=2))
        assert len(far.replies()) == 1

    def test_who_wants_no_bots_gets_none(self, far: Far) -> None:
        """Only a person's words go there."""
        mention = self.one(far, no_bots=True)
        assert mention.author.no_bots
        with pytest.raises(Refused, match="no bots"):
            far.platform().reply(work(mention, "beep", payload={"by_person": False}))
        assert len(far.replies()) == 0
        far.platform().reply(work(mention, "A person says hello"))
        assert len(far.replies()) == 1

    def test_a_reply_to_a_post_that_is_gone_is_refused(self, far: Far) -> None:
        """And nothing is posted."""
        mention = self.one(far)
        far.delete(mention.remote_id)
        with pytest.raises(Refused):
            far.platform().reply(work(mention, "hello"))
        assert len(far.replies()) == 0

    def booster(self, far: Far) -> Boosts:
        """The platform, where it can boost."""
        platform = far.platform()
        if not isinstance(platform, Boosts):
            pytest.skip("this platform knows no boosts")
        return platform

    @pytest.mark.parametrize("visibility", [Visibility.PUBLIC, Visibility.UNLISTED])
    def test_a_boost_is_made_and_found(self, far: Far, visibility: Visibility) -> None:
        """The receipt names the post, and looking finds it; another post is not boosted by it."""
        platform, mention, other = self.booster(far), self.one(far, visibility=str(visibility)), self.one(far, "another one")
        mine = work(mention, "", kind=ActionKind.BOOST)
        assert list(platform.boosted(mine)) == []
        receipt = platform.boost(mine)
        assert (receipt.remote_id, receipt.url) == (mention.remote_id, mention.url)
        assert list(platform.boosted(mine)) == [receipt]
        assert list(platform.boosted(work(other, "", kind=ActionKind.BOOST))) == []
        assert list(far.boosts()) == [mention.remote_id]

    def test_a_second_boost_makes_nothing_where_the_server_says_so(self, far: Far) -> None:
        """Elsewhere it is looked for first, so that nobody asks twice."""
        platform, mention = self.booster(far), self.one(far)
        mine = work(mention, "", kind=ActionKind.BOOST)
        receipt = platform.boost(mine)
        if far.platform().repeatable():
            assert self.booster(far).boost(replace(mine, attempt=2)) == receipt
        assert list(far.boosts()) == [mention.remote_id]

    @pytest.mark.parametrize("visibility", [Visibility.PRIVATE, Visibility.DIRECT])
    def test_a_private_post_is_never_boosted(self, far: Far, visibility: Visibility) -> None:
        """Nobody is asked."""
        platform, mention = self.booster(far), self.one(far, visibility=str(visibility))
        with pytest.raises(Refused):
            platform.boost(work(mention, "", kind=ActionKind.BOOST))
        assert list(far.boosts()) == []

    def test_neither_our_own_post_nor_one_that_is_gone_is_boosted(self, far: Far) -> None:
        """Gone is no answer to "is it boosted?" either."""
        platform, mention = self.booster(far), self.one(far)
        answer = far.platform().reply(work(mention, "Thank you!"))
        us = replace(mention, remote_id=answer.remote_id, author=replace(mention.author, handle=far.us))
        with pytest.raises(Refused, match="own post"):
            platform.boost(work(us, "", kind=ActionKind.BOOST))
        far.delete(mention.remote_id)
        mine = work(mention, "", kind=ActionKind.BOOST)
        assert list(platform.boosted(mine)) == []
        with pytest.raises(Refused):
            platform.boost(mine)
        assert list(far.boosts()) == []

    def test_history_shows_what_is_there(self, far: Far) -> None:
        """All since a moment, from before the first poll too; its cursors are empty."""
        posted = [far.post(f"number {number}") for number in range(MANY)]
        far.delete(posted.pop())
        platform = far.platform()
        pages = list(platform.history(datetime.now(UTC) - timedelta(hours=1)))
        assert {page.cursor for page in pages} == {""}
        assert {mention.remote_id for mention in mentions(pages)} == set(posted)
        assert mentions(platform.history(datetime.now(UTC) + timedelta(hours=1))) == []

    def test_edits_and_deletions_come_by_stream(self, far: Far) -> None:
        """As they happen, until somebody says stop."""
        platform = far.platform()
        if not platform.manifest.streams:
            pytest.skip("this platform has no stream")
        edited, gone = far.post("before"), far.post("gone")
        stop, changes = Event(), Queue[Change]()

        def read() -> None:
            for change in platform.stream(stop):
                changes.put(change)

        reader = Thread(target=read, daemon=True)
        reader.start()
        seen: dict[str, Change] = {}
        number = 0
        while edited not in seen:  # the stream opens when it opens: edit until it tells of one
            far.edit(edited, f"after {(number := number + 1)}")
            try:
                change = changes.get(timeout=0.2)
            except Empty:
                continue
            seen[change.remote_id] = change
        far.delete(gone)
        while gone not in seen:
            change = changes.get(timeout=10)
            seen[change.remote_id] = change
        item = seen[edited].item
        assert item is not None
        assert item.mention is not None
        assert "after" in item.mention.text
        assert seen[gone].item is None
        stop.set()
        reader.join(timeout=10)
        assert not reader.is_alive()

    def test_every_complaint_names_the_next_step(self, far: Far) -> None:
        """`triage doctor` is of use, and a healthy account has nothing that fails."""
        findings = list(far.platform().check())
        assert findings
        assert all(finding.next_step for finding in findings if finding.level != "ok")
        assert all(finding.level in ("ok", "warn") for finding in findings)
