"""The Mastodon platform against a stand-in server with the habits and the faults of real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import pytest

from tests.contract.platforms import fetched, mentions, start, work
from triage import remote
from triage.contracts import LetsIn, Page
from triage.errors import Gone, NotAccepted, OutcomeUnknown, RateLimited, Refused, RemoteError, Unauthorized
from triage.mention import Mention, Visibility
from triage.platforms import mastodon_threads
from triage.platforms.mastodon import MastodonOptions, MastodonPlatform
from triage.sandbox.mastodon import MastodonServer

MIRA = "mira@tilde.example"


def client(server: MastodonServer, **options: Any) -> MastodonPlatform:
    """A platform on the server; options as in the config."""
    return MastodonPlatform("acme", MastodonOptions.model_validate({"url": server.url, "token": server.token, **options}))


def says(server: MastodonServer, text: str = "it crashes", author: str = MIRA, **how: Any) -> str:
    """Somebody posts; the post's id."""
    return str(server.post(author, text, **how)["id"])


def mentioned(server: MastodonServer, text: str = "it crashes", **how: Any) -> Mention:
    """A post as a mention."""
    platform = client(server)
    [item] = platform.reread([says(server, text, **how)]).values()
    assert item is not None
    assert item.mention is not None
    return item.mention


def ids(found: list[Mention]) -> list[str]:
    """Their remote ids."""
    return [mention.remote_id for mention in found]


@pytest.fixture(params=["4.4.2", "4.2.10", "gotosocial 0.19"])
def any_server(mastodon_server: MastodonServer, request: pytest.FixtureRequest) -> MastodonServer:
    """Servers with grouped notifications, without, and with ULIDs."""
    mastodon_server.knobs.change(version=request.param)
    return mastodon_server


class TestPolling:
    """Notifications forward, without a hole."""

    @pytest.mark.parametrize("habit", ["inclusive_min_id", "ignore_min_id"])
    @pytest.mark.parametrize("known", [0, 1, 60])
    def test_servers_with_their_own_idea_of_min_id(self, any_server: MastodonServer, habit: str, known: int) -> None:
        """They neither hide anything of a burst nor make us loop, and what is old stays out."""
        any_server.knobs.change(**{habit: True})
        for number in range(known):
            says(any_server, f"old {number}")
        platform = client(any_server)
        cursor = start(platform)
        posted = [says(any_server, f"new {number}") for number in range(130)]
        found, cursor = fetched(platform, cursor)
        assert ids(found) == posted
        assert fetched(platform, cursor)[0] == []
        after = [says(any_server, f"after {number}") for number in range(3)]
        assert ids(fetched(platform, cursor)[0]) == after

    @pytest.mark.parametrize("inclusive", [False, True])
    @pytest.mark.parametrize("limit", [20, 21, 39, 80])
    def test_servers_with_small_pages(self, mastodon_server: MastodonServer, limit: int, inclusive: bool) -> None:
        """The page size is the server's business."""
        mastodon_server.knobs.page_limit = limit
        for number in range(2):
            says(mastodon_server, f"old {number}")
        mastodon_server.knobs.inclusive_min_id = inclusive
        platform = client(mastodon_server)
        cursor = start(platform)
        for count in (1, 0, 18, 1, 0, 1, 45, 0, 1, 0, 2):
            posted = [says(mastodon_server, f"new {number}") for number in range(count)]
            found, cursor = fetched(platform, cursor)
            assert ids(found) == posted

    def test_five_thousand_mentions_between_two_polls(self, mastodon_server: MastodonServer) -> None:
        """Every one, in order."""
        platform = client(mastodon_server)
        says(mastodon_server)
        cursor = start(platform)
        posted = [says(mastodon_server, f"number {number}") for number in range(5_000)]
        assert ids(fetched(platform, cursor)[0]) == posted

    def test_an_id_that_appears_late_is_found(self, any_server: MastodonServer) -> None:
        """A notification below fifteen that we have already: the overlap shows it, once."""
        platform = client(any_server)
        cursor = start(platform)
        for number in range(50):
            says(any_server, f"number {number}")
        _, cursor = fetched(platform, cursor)
        late = says(any_server, "late", late=15)
        found, cursor = fetched(platform, cursor)
        assert ids(found) == [late]
        assert fetched(platform, cursor)[0] == []

    def test_an_id_that_appears_later_still_is_found_by_the_rescan(self, mastodon_server: MastodonServer) -> None:
        """Beyond the overlap history finds it."""
        platform = client(mastodon_server)
        cursor = start(platform)
        for number in range(90):
            says(mastodon_server, f"number {number}")
        _, cursor = fetched(platform, cursor)
        late = says(mastodon_server, "late", late=80)
        assert late not in ids(fetched(platform, cursor)[0])
        assert late in ids(mentions(platform.history(datetime.now(UTC) - timedelta(hours=1))))

    def test_what_we_remember_may_be_gone(self, any_server: MastodonServer) -> None:
        """All posts that the cursor names are deleted; the next ones still come, and only they."""
        for number in range(50):
            says(any_server, f"older {number}")
        platform = client(any_server)
        cursor = start(platform)
        posted = [says(any_server, f"gone {number}") for number in range(45)]
        _, cursor = fetched(platform, cursor)
        for remote_id in posted:
            any_server.delete(remote_id)
        new = [says(any_server, f"new {number}") for number in range(60)]
        found, cursor = fetched(platform, cursor)
        assert ids(found) == new
        assert fetched(platform, cursor)[0] == []

    def test_an_edit_of_a_recent_post_comes_with_the_next_poll(self, any_server: MastodonServer) -> None:
        """The overlap shows it again, once, also where nothing streams."""
        platform = client(any_server)
        says(any_server, "long ago")
        cursor = start(platform)
        edited = says(any_server, "before")
        says(any_server, "another")
        _, cursor = fetched(platform, cursor)
        any_server.edit(edited, "after")
        found, cursor = fetched(platform, cursor)
        assert [(mention.remote_id, mention.text) for mention in found] == [(edited, "after")]
        assert fetched(platform, cursor)[0] == []

    def test_mentions_that_the_policy_holds_back_are_read(self, mastodon_server: MastodonServer) -> None:
        """And counted; on a server without grouped notifications they stay hidden, which nobody can mend."""
        mastodon_server.knobs.filtered = {MIRA}
        platform = client(mastodon_server)
        cursor = start(platform)
        held = says(mastodon_server)
        pages = list(client(mastodon_server).fetch(cursor))
        assert ids(mentions(pages)) == [held]
        assert pages[-1].held_back == 1
        mastodon_server.knobs.grouped = False
        assert ids(fetched(client(mastodon_server), cursor)[0]) == []

    def test_what_is_held_back_can_be_let_in(self, mastodon_server: MastodonServer) -> None:
        """Every request is accepted, more than a page of them; then nothing is held back, and it may be done again."""
        authors = [f"writer{number}@tilde.example" for number in range(85)]
        mastodon_server.knobs.filtered = set(authors)
        for author in authors:
            says(mastodon_server, author=author)
        platform = client(mastodon_server)
        assert next(iter(platform.fetch(None))).held_back == 85
        assert isinstance(platform, LetsIn)
        assert platform.let_in() == 85
        assert mastodon_server.knobs.filtered == set()
        assert next(iter(platform.fetch(None))).held_back == 0
        assert platform.let_in() == 0

    def test_a_server_without_requests_lets_nothing_in(self, mastodon_server: MastodonServer) -> None:
        """And a token without the right is told."""
        mastodon_server.knobs.filtered = {MIRA}
        says(mastodon_server)
        mastodon_server.knobs.scopes = {"read"}
        with pytest.raises(Unauthorized):
            client(mastodon_server).let_in()
        mastodon_server.knobs.policy = False
        with pytest.raises(Refused):
            client(mastodon_server).let_in()

    def test_a_server_that_forgets_leaves_a_gap(self, mastodon_server: MastodonServer) -> None:
        """snac keeps its newest 64 notifications: after a long outage the first page tells that something may be missing."""
        mastodon_server.knobs.newest_only = 64
        for number in range(25):
            says(mastodon_server, f"older {number}")
        platform = client(mastodon_server)
        cursor = start(platform)
        for number in range(100):
            says(mastodon_server, f"new {number}")
        pages = list(platform.fetch(cursor))
        assert len(mentions(pages)) == 64
        assert [bool(page.gap) for page in pages if page.items] == [True, *[False] * (len([page for page in pages if page.items]) - 1)]

    def test_other_notifications_are_passed_over(self, any_server: MastodonServer) -> None:
        """Favourites, boosts and follows are no mentions, and keep nothing up."""
        platform = client(any_server)
        ours = says(any_server, "we are here", author="quayside", mention=False)
        cursor = start(platform)
        any_server.react("favourite", MIRA, ours)
        any_server.notify("follow", MIRA)
        remote_id = says(any_server)
        any_server.react("reblog", MIRA, ours)
        found, cursor = fetched(platform, cursor)
        assert ids(found) == [remote_id]

    @pytest.mark.parametrize("grouped", [True, False])
    def test_one_broken_notification_among_good_ones(self, mastodon_server: MastodonServer, grouped: bool) -> None:
        """Wrong types, no status, no object at all: each is told, with its raw bytes, and the others go on."""
        mastodon_server.knobs.grouped = grouped
        platform = client(mastodon_server)
        cursor = start(platform)
        good = [says(mastodon_server, "before")]
        shown = mastodon_server.shapes.status(mastodon_server.instance.statuses[good[0]], mastodon_server.url)
        wrong = {**shown, "id": "77", "content": ["it", "crashes"]}
        mastodon_server.inject_raw_notification({"id": "901", "type": "mention", "status": wrong, "account": shown["account"]})
        mastodon_server.inject_raw_notification({"id": "902", "type": "mention", "status": None})
        mastodon_server.inject_raw_notification("garbage")
        good.append(says(mastodon_server, "after"))
        pages = list(platform.fetch(cursor))
        items = [item for page in pages for item in page.items]
        assert ids(mentions(pages)) == good
        broken = [item for item in items if item.broken]
        assert [item.broken.partition(":")[0] for item in broken] == ["content", "the notification is no object"]
        assert b'["it","crashes"]' in broken[0].raw
        assert Counter(bool(item.set_aside) for item in items)[True] == 1
        for page in platform.fetch(pages[-1].cursor):
            assert mentions([page]) == []

    def test_a_deleted_mention_leaves_a_notification_without_a_post(self, any_server: MastodonServer) -> None:
        """It is set aside with its reason."""
        any_server.knobs.keep_deleted = True
        platform = client(any_server)
        cursor = start(platform)
        any_server.delete(says(any_server))
        [item] = [item for page in platform.fetch(cursor) for item in page.items]
        assert item.set_aside == "its post was gone before we read it"

    def test_the_roster_and_copies_of_our_text_are_set_aside(self, mastodon_server: MastodonServer) -> None:
        """Colleagues are not customers, and spam that wears our words is not a report."""
        ours = "Version 2 of the harbour planner is out: faster tides, better maps and an export."
        platform = client(mastodon_server, roster=["@Ada@Crew.example"])
        cursor = start(platform)
        says(mastodon_server, ours, author="quayside", mention=False)
        says(mastodon_server, "look at this", author="ada@crew.example")
        says(mastodon_server, f"{ours} https://cheap.example/buy")
        kept = says(mastodon_server, "great news!")
        pages = list(platform.fetch(cursor))
        assert ids(mentions(pages)) == [kept]
        reasons = sorted(item.set_aside for page in pages for item in page.items if item.set_aside)
        assert reasons == ["a copy of our own text with a link added", "by a colleague, ada@crew.example"]

    def test_one_post_seen_by_two_accounts_is_one_post(self, mastodon_server: MastodonServer) -> None:
        """Both show it under the same uri."""
        says(mastodon_server)
        both = [mentions(client(mastodon_server).history(datetime.now(UTC) - timedelta(hours=1))) for _ in range(2)]
        assert both[0][0].uri == both[1][0].uri

    def test_a_quiet_poll_costs_little(self, mastodon_server: MastodonServer) -> None:
        """Two requests and one a hashtag; never by since_id, always with a name."""
        platform = client(mastodon_server, hashtags=["quayside"])
        cursor = start(platform)
        for number in range(30):
            says(mastodon_server, f"number {number} #quayside")
        _, cursor = fetched(platform, cursor)
        before = len(mastodon_server.requests)
        for _ in range(10):
            _, cursor = fetched(platform, cursor)
        assert len(mastodon_server.requests) - before == 30
        assert all("since_id" not in asked["query"] for asked in mastodon_server.requests)
        assert {asked["headers"]["user-agent"] for asked in mastodon_server.requests} == {remote.AGENT}

    def test_a_cursor_of_another_platform_is_refused(self, mastodon_server: MastodonServer) -> None:
        """It is an error, not a first poll that would skip everything."""
        with pytest.raises(Refused, match="cursor"):
            list(client(mastodon_server).fetch("42"))


class TestOtherFeeds:
    """Hashtags, words, and the threads of our own posts."""

    def test_a_hashtag_is_watched(self, any_server: MastodonServer) -> None:
        """From now on, over more than a page; private posts are not in it."""
        says(any_server, "old #Quay", mention=False)
        platform = client(any_server, hashtags=["#Quay"])
        cursor = start(platform)
        posted = [says(any_server, f"number {number} #quay", mention=False) for number in range(70)]
        found, cursor = fetched(platform, cursor)
        assert ids(found) == posted
        assert {mention.via for mention in found} == {"hashtag"}
        assert fetched(platform, cursor)[0] == []

    def test_a_hashtag_that_the_config_got_later_starts_then(self, mastodon_server: MastodonServer) -> None:
        """What was posted under it before is left alone."""
        cursor = start(client(mastodon_server))
        says(mastodon_server, "old #quay", mention=False)
        platform = client(mastodon_server, hashtags=["quay"])
        found, cursor = fetched(platform, cursor)
        assert found == []
        new = says(mastodon_server, "new #quay", mention=False)
        assert ids(fetched(platform, cursor)[0]) == [new]

    def test_a_public_hashtag_needs_no_account(self, mastodon_server: MastodonServer) -> None:
        """Without a token nothing else is asked for."""
        platform = client(mastodon_server, token=None, hashtags=["quay"])
        cursor = start(platform)
        new = says(mastodon_server, "new #quay")
        assert ids(fetched(platform, cursor)[0]) == [new]
        assert ids(mentions(platform.history(datetime.now(UTC) - timedelta(hours=1)))) == [new]
        assert all("authorization" not in asked["headers"] for asked in mastodon_server.requests)
        assert [finding.level for finding in platform.check()] == ["ok", "ok", "warn", "ok"]

    def test_words_are_searched_where_the_server_can(self, mastodon_server: MastodonServer) -> None:
        """From now on; each post once; a server without search finds nothing and breaks nothing."""
        says(mastodon_server, "the Harbour Planner of old", mention=False)
        cursor = start(client(mastodon_server, words=["harbour planner"]))
        new = says(mastodon_server, "is the Harbour Planner down?", mention=False)
        found, cursor = fetched(client(mastodon_server, words=["harbour planner"]), cursor)
        assert new in ids(found)
        assert {mention.via for mention in found} == {"word"}
        assert fetched(client(mastodon_server, words=["harbour planner"]), cursor)[0] == []
        mastodon_server.knobs.scopes = {"read:accounts", "read:notifications", "read:statuses"}
        mentioning = says(mastodon_server, "the Harbour Planner crashes")
        assert ids(fetched(client(mastodon_server, words=["harbour planner"]), cursor)[0]) == [mentioning]

    def test_answers_that_dropped_our_name_are_found(self, any_server: MastodonServer) -> None:
        """Below our announcement and below our answer; those from before the first poll stay out."""
        ours = says(any_server, "version 2 is out", author="quayside", mention=False)
        says(any_server, "old answer", reply_to=ours, mention=False, created_at=datetime.now(UTC) - timedelta(hours=2))
        platform = client(any_server)
        cursor = start(platform)
        found, cursor = fetched(platform, cursor)
        below = says(any_server, "crashes here", reply_to=ours, mention=False)
        found, cursor = fetched(platform, cursor)
        assert ids(found) == [below]
        assert found[0].via == "thread"
        receipt = platform.reply(work(found[0], "which version?"))
        deeper = says(any_server, "version 2", reply_to=receipt.remote_id, mention=False)
        found, cursor = fetched(platform, cursor)
        assert deeper in ids(found)
        assert fetched(platform, cursor)[0] == []
        assert client(any_server, own_posts=False).thread(deeper) == platform.thread(below)

    def test_an_answer_to_an_answer_is_found_a_little_later(self, mastodon_server: MastodonServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """It does not change the count at our post; the thread is read again by and by."""
        ours = says(mastodon_server, "version 2 is out", author="quayside", mention=False)
        platform = client(mastodon_server)
        cursor = start(platform)
        below = says(mastodon_server, "crashes here", reply_to=ours, mention=False)
        _, cursor = fetched(platform, cursor)
        deeper = says(mastodon_server, "here too", author="bo@b.example", reply_to=below, mention=False)
        assert fetched(platform, cursor)[0] == []
        monkeypatch.setattr(mastodon_threads, "AGAIN_SECONDS", 0.0)
        assert deeper in ids(fetched(platform, cursor)[0])

    def test_a_busy_day_of_answers_does_not_hide_an_announcement(self, mastodon_server: MastodonServer) -> None:
        """The announcement is watched though fifty answers of ours are newer."""
        ours = says(mastodon_server, "version 2 is out", author="quayside", mention=False)
        top = says(mastodon_server)
        for number in range(50):
            says(mastodon_server, f"answer {number}", author="quayside", mention=False, reply_to=top)
        cursor = start(client(mastodon_server))
        below = says(mastodon_server, "crashes here", reply_to=ours, mention=False)
        assert ids(fetched(client(mastodon_server), cursor)[0]) == [below]

    def test_history_reads_every_feed(self, mastodon_server: MastodonServer) -> None:
        """Mentions, hashtags, words and threads since a moment, and not from before it."""
        long_ago = datetime.now(UTC) - timedelta(days=9)
        says(mastodon_server, "ancient", created_at=long_ago)
        ours = says(mastodon_server, "version 2 is out", author="quayside", mention=False)
        wanted = {
            says(mastodon_server, "mention"),
            says(mastodon_server, "tagged #quay", mention=False),
            says(mastodon_server, "harbour", mention=False),
            says(mastodon_server, "below", reply_to=ours, mention=False),
        }
        platform = client(mastodon_server, hashtags=["quay"], words=["harbour"])
        pages = list(platform.history(datetime.now(UTC) - timedelta(days=1)))
        assert {mention.remote_id for mention in mentions(pages)} == wanted
        assert {page.cursor for page in pages} == {""}


class TestTrouble:
    """What servers answer when they do not answer."""

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("429:120", RateLimited),
            ("429:junk", RateLimited),
            ("401", Unauthorized),
            ("status:503", NotAccepted),
            ("status:500", NotAccepted),
            ("html", NotAccepted),
            ("empty", NotAccepted),
            ("cut", NotAccepted),
            ("reset_before", NotAccepted),
            ("status:404", Refused),
        ],
    )
    def test_a_read_that_fails_is_sorted(self, mastodon_server: MastodonServer, fault: str, error: type[RemoteError]) -> None:
        """By what the caller must do; never in doubt, never with the token in the words, and the next poll works."""
        platform = client(mastodon_server)
        cursor = start(platform)
        remote_id = says(mastodon_server)
        mastodon_server.faults.add(kind=fault, method="GET", path="/notifications$", times=None)
        with pytest.raises(error) as caught:
            list(platform.fetch(cursor))
        assert mastodon_server.token not in str(caught.value)
        mastodon_server.faults.clear()
        assert ids(fetched(platform, cursor)[0]) == [remote_id]

    def test_how_long_to_wait_is_told(self, mastodon_server: MastodonServer) -> None:
        """From the server's own header."""
        mastodon_server.faults.add(kind="429:120", method="GET", path="/instance")
        with pytest.raises(RateLimited) as caught:
            list(client(mastodon_server).fetch(None))
        assert caught.value.after == 120

    def test_headers_that_mean_nothing_do_no_harm(self, mastodon_server: MastodonServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """A client that stumbles over a rate-limit header has read the answer all the same; a reply stays one reply."""
        monkeypatch.setattr(
            mastodon_server, "headers_for", lambda request: {"X-RateLimit-Reset": "the day after", "X-RateLimit-Remaining": "many"}
        )
        platform = client(mastodon_server)
        cursor = start(platform)
        remote_id = says(mastodon_server)
        found, _ = fetched(platform, cursor)
        assert ids(found) == [remote_id]
        assert platform.reply(work(found[0], "hello")).remote_id == mastodon_server.replies[0]["id"]

    def test_what_could_not_be_read_this_time_is_left_out(self, mastodon_server: MastodonServer) -> None:
        """Re-reading one by one, the third of five fails: the first two are told, nobody is called gone."""
        mastodon_server.knobs.bulk_statuses = False
        platform = client(mastodon_server)
        posted = [says(mastodon_server, f"number {number}") for number in range(5)]
        mastodon_server.faults.add(kind="status:503", method="GET", path=f"/statuses/{posted[2]}$")
        found = platform.reread(posted)
        assert list(found) == posted[:2]
        assert all(item is not None for item in found.values())

    def test_forty_posts_are_read_again_in_two_requests(self, mastodon_server: MastodonServer) -> None:
        """In bulk; a post that the bulk answer lacks is asked for alone."""
        platform = client(mastodon_server)
        posted = [says(mastodon_server, f"number {number}") for number in range(40)]
        platform.reread(posted[:1])
        before = len(mastodon_server.requests)
        assert all(item is not None for item in platform.reread(posted).values())
        assert len(mastodon_server.requests) - before == 2
        mastodon_server.delete(posted[7])
        assert [remote_id for remote_id, item in platform.reread(posted).items() if item is None] == [posted[7]]
        assert len(mastodon_server.requests) - before == 5

    def test_a_thread_that_answers_nonsense(self, mastodon_server: MastodonServer) -> None:
        """It is tried again later."""
        top = says(mastodon_server)
        below = says(mastodon_server, reply_to=top)
        mastodon_server.faults.add(kind="html", method="GET", path="/context$")
        with pytest.raises(NotAccepted):
            client(mastodon_server).thread(below)

    def test_snac_changes_the_id_of_an_edited_post(self, mastodon_server: MastodonServer) -> None:
        """The old id answers with an HTML page, which may be anybody's and proves nothing; the rest works as everywhere."""
        mastodon_server.knobs.change(version="snac 2.80")
        platform = client(mastodon_server)
        cursor = start(platform)
        first, second = says(mastodon_server, "one"), says(mastodon_server, "two")
        found, cursor = fetched(platform, cursor)
        assert ids(found) == [first, second]
        mastodon_server.edit(first, "one!")
        assert list(platform.reread([first, second])) == [second]
        platform.reply(work(found[1], "hello"))
        assert not platform.repeatable()
        assert list(platform.stream(Event())) == []


class TestReplying:
    """One post each, whatever happens on the way."""

    @pytest.mark.parametrize("fault", ["reset_after", "status:502", "status:504", "empty", "html", "cut"])
    def test_an_unknown_outcome_is_found_by_looking(self, any_server: MastodonServer, fault: str) -> None:
        """The server has it; we did not hear of it. The look finds it."""
        mention = mentioned(any_server)
        mine = work(mention, "Sorry! Does 2.1 help? https://quay.example/download")
        any_server.faults.add(kind=fault, method="POST", path="/statuses$")
        with pytest.raises(OutcomeUnknown):
            client(any_server).reply(mine)
        assert len(any_server.replies) == 1
        [receipt] = client(any_server).find(mine)
        assert receipt.remote_id == any_server.replies[0]["id"]
        assert len(any_server.replies) == 1

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("429:60", RateLimited),
            ("401", Unauthorized),
            ("status_before:422", Refused),
            ("status_before:400", Refused),
            ("status_before:404", Gone),
        ],
    )
    def test_what_was_not_accepted_is_no_doubt(self, mastodon_server: MastodonServer, fault: str, error: type[RemoteError]) -> None:
        """And nothing was posted."""
        mention = mentioned(mastodon_server)
        mastodon_server.faults.add(kind=fault, method="POST", path="/statuses$")
        with pytest.raises(error):
            client(mastodon_server).reply(work(mention, "hello"))
        assert mastodon_server.replies == []

    def test_a_reset_before_the_first_answer_is_doubt(self, mastodon_server: MastodonServer) -> None:
        """The bytes went out; nobody can tell. Looking finds nothing."""
        mine = work(mentioned(mastodon_server), "hello")
        mastodon_server.faults.add(kind="reset_before", method="POST", path="/statuses$")
        platform = client(mastodon_server)
        with pytest.raises(OutcomeUnknown):
            platform.reply(mine)
        assert list(platform.find(mine)) == []

    def test_a_server_that_is_not_there_got_nothing(self, mastodon_server: MastodonServer) -> None:
        """A refused connection is proof."""
        mine = work(mentioned(mastodon_server), "hello")
        platform = client(mastodon_server)
        platform.compose(mine.mention or mentioned(mastodon_server), "hello")
        mastodon_server.stop()
        with pytest.raises(NotAccepted):
            platform.reply(mine)
        mastodon_server.start()
        assert mastodon_server.replies == []

    def test_the_same_key_within_the_hour_posts_once(self, mastodon_server: MastodonServer) -> None:
        """Where the server keeps it: two first attempts of one action are one post. Another action is another."""
        mention = mentioned(mastodon_server)
        mine = work(mention, "hello")
        assert client(mastodon_server).repeatable()
        first, second = client(mastodon_server).reply(mine), client(mastodon_server).reply(mine)
        assert first == second
        client(mastodon_server).reply(replace(mine, key="site/other/reply/2"))
        assert len(mastodon_server.replies) == 2

    @pytest.mark.parametrize(("version", "honours"), [("4.4.2", True), ("4.2.10", True), ("gotosocial 0.19", False), ("snac 2.80", False)])
    def test_who_keeps_an_idempotency_key(self, mastodon_server: MastodonServer, version: str, honours: bool) -> None:
        """Mastodon does; others don't, and then a second try is never blind."""
        mastodon_server.knobs.change(version=version)
        assert client(mastodon_server).repeatable() is honours

    def test_what_is_sent(self, mastodon_server: MastodonServer) -> None:
        """The author's name once, the warning, the language, the parent; nobody else's name."""
        mention = mentioned(mastodon_server, "@eve@else.example look, it crashes", cw="angry", lang="de", visibility="unlisted")
        receipt = client(mastodon_server).reply(work(mention, "Entschuldigung!"))
        [sent] = mastodon_server.replies
        assert sent["text"] == "@mira@tilde.example Entschuldigung!"
        assert (sent["spoiler"], sent["language"], sent["visibility"], sent["in_reply_to"]) == (
            "angry",
            "de",
            "unlisted",
            mention.remote_id,
        )
        assert receipt.url.endswith(sent["id"])

    def test_a_neighbour_is_named_without_a_host(self, mastodon_server: MastodonServer) -> None:
        """And a text that begins with the name already gets no second one."""
        mention = mentioned(mastodon_server, author="bob")
        platform = client(mastodon_server)
        platform.reply(work(mention, "hello"))
        platform.reply(work(mention, "@bob, hello again", key="another"))
        assert [sent["text"] for sent in mastodon_server.replies] == ["@bob hello", "@bob, hello again"]

    def test_an_answer_to_a_post_for_followers_goes_to_its_author_alone(self, mastodon_server: MastodonServer) -> None:
        """Our followers are not theirs."""
        client(mastodon_server).reply(work(mentioned(mastodon_server, visibility="private"), "hello"))
        assert mastodon_server.replies[0]["visibility"] == Visibility.DIRECT

    def test_the_servers_own_limit_is_kept(self, mastodon_server: MastodonServer) -> None:
        """5,000 characters there, 500 here; a warning that leaves no room is refused."""
        answer = "One of many sentences. " * 60
        mention = mentioned(mastodon_server)
        assert len(client(mastodon_server).compose(mention, answer)) == 3
        with pytest.raises(Refused, match="no room"):
            client(mastodon_server).compose(replace(mention, warning="w" * 490), answer)
        mastodon_server.knobs.change(version="gotosocial 0.19")
        assert len(client(mastodon_server).compose(mention, answer)) == 1

    def test_a_token_that_may_not_write(self, mastodon_server: MastodonServer) -> None:
        """It is the account's trouble, not the post's."""
        mention = mentioned(mastodon_server)
        mastodon_server.knobs.scopes = {"read"}
        with pytest.raises(Unauthorized):
            client(mastodon_server).reply(work(mention, "hello"))

    def test_nothing_of_a_post_goes_into_a_query(self, mastodon_server: MastodonServer) -> None:
        """Whatever the text holds, it travels in the body of our answer or not at all."""
        platform = client(mastodon_server, words=["harbour"])
        cursor = start(platform)
        says(mastodon_server, "crowbar42 harbour #crowbar42")
        found, cursor = fetched(platform, cursor)
        platform.thread(found[0].remote_id)
        platform.reply(work(found[0], "hello"))
        platform.find(work(found[0], "hello"))
        fetched(platform, cursor)
        assert all("crowbar42" not in f"{asked['path']} {asked['query']}" for asked in mastodon_server.requests)


class TestStreaming:
    """Edits and deletions as they happen."""

    @pytest.fixture
    def listening(self, mastodon_server: MastodonServer) -> Iterator[tuple[Thread, Event, list[Any]]]:
        """A reader with its stop event and what it has seen, once the server knows of it."""
        stop, seen = Event(), list[Any]()
        platform = client(mastodon_server)
        reader = Thread(target=lambda: seen.extend(platform.stream(stop)), daemon=True)
        reader.start()
        until(lambda: mastodon_server.streams.listeners == 1)
        yield reader, stop, seen
        stop.set()
        reader.join(10)

    def test_it_ends_when_it_is_told_to(self, listening: tuple[Thread, Event, list[Any]]) -> None:
        """Though no byte arrives."""
        reader, stop, _ = listening
        stop.set()
        reader.join(10)
        assert not reader.is_alive()

    def test_it_ends_when_the_server_ends_it(self, listening: tuple[Thread, Event, list[Any]], mastodon_server: MastodonServer) -> None:
        """The caller opens the next one."""
        reader, _, _ = listening
        mastodon_server.cut_streams()
        reader.join(10)
        assert not reader.is_alive()

    def test_our_own_edits_are_no_news(self, listening: tuple[Thread, Event, list[Any]], mastodon_server: MastodonServer) -> None:
        """Only other people's posts change mentions."""
        reader, _, seen = listening
        ours, theirs = says(mastodon_server, "we", author="quayside", mention=False), says(mastodon_server)
        mastodon_server.edit(ours, "we!")
        mastodon_server.edit(theirs, "@quayside it crashes a lot")
        mastodon_server.delete(theirs)
        mastodon_server.cut_streams()
        reader.join(10)
        assert [(change.remote_id, change.item is None) for change in seen] == [(theirs, False), (theirs, True)]

    def test_a_bad_token_is_told(self, mastodon_server: MastodonServer) -> None:
        """The caller must know why there is no stream."""
        platform = client(mastodon_server)
        mastodon_server.faults.add(kind="401", path="/streaming/user")
        with pytest.raises(Unauthorized):
            list(platform.stream(Event()))


class TestDoctor:
    """Each finding with the next step."""

    def findings(self, server: MastodonServer, **options: Any) -> dict[str, str]:
        """What is wrong, with the next step."""
        return {finding.what: finding.next_step for finding in client(server, **options).check() if finding.level != "ok"}

    def test_a_healthy_account(self, mastodon_server: MastodonServer) -> None:
        """Nothing to complain about, and nothing was posted."""
        mastodon_server.add_author("quayside", bot=True)
        assert self.findings(mastodon_server) == {}
        assert mastodon_server.replies == []

    @pytest.mark.parametrize(
        ("knobs", "options", "said", "step"),
        [
            ({}, {}, "is not marked as automated", "tick"),
            ({"scopes": {"read"}}, {}, "may not post", "new token"),
            ({"scopes": {"read:accounts", "read:statuses", "write"}}, {}, "mentions can't be read", "new token"),
            ({"scopes": {"read:notifications", "write"}}, {}, "the token does not work", "Development"),
            ({"skew": 600.0}, {}, "s ahead of ours", "NTP"),
            ({"skew": -600.0}, {}, "s behind ours", "NTP"),
            ({"version": "gotosocial 0.19"}, {}, "no event stream", "nothing to do"),
            ({"grouped": False, "filtered": {MIRA}}, {}, "holds back 1 mentions", "preferences"),
            ({"search": False}, {"words": ["harbour"]}, "many servers search no posts", "hashtags"),
            ({}, {"token": "wrong-token"}, "the token does not work", "Development"),
        ],
    )
    def test_each_thing_that_is_wrong_is_told(
        self, mastodon_server: MastodonServer, knobs: dict[str, Any], options: dict[str, Any], said: str, step: str
    ) -> None:
        """In words, with what to do about it."""
        mastodon_server.knobs.change(**knobs)
        says(mastodon_server)
        found = self.findings(mastodon_server, **options)
        assert [next_step for what, next_step in found.items() if said in what and step in next_step], found
        assert all(found.values())

    def test_a_server_that_is_not_there(self, mastodon_server: MastodonServer) -> None:
        """One failing line, no traceback."""
        platform = client(mastodon_server)
        mastodon_server.stop()
        [finding] = platform.check()
        assert finding.level == "fail"
        assert mastodon_server.url in finding.next_step
        mastodon_server.start()


@pytest.mark.parametrize("url", ["ftp://quay.example", "https://quay.example/path", "", "https://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """With an example of a good one."""
    with pytest.raises(ValueError, match="must be the address"):
        MastodonOptions.model_validate({"url": url})


def test_an_address_may_lack_its_scheme_and_the_token_is_hidden() -> None:
    """https is meant; the token shows in no repr."""
    options = MastodonOptions.model_validate({"url": "quay.example/", "token": "very-secret-token"})
    assert options.url == "https://quay.example"
    assert "very-secret" not in repr(options)
    MastodonPlatform("acme", options)
    assert "very-secret" not in remote.redact("Bearer very-secret-token and very-secret-token")


def until(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for it, with an end."""
    deadline = remote.boot_seconds() + seconds
    while not happened():
        assert remote.boot_seconds() < deadline
        Event().wait(0.02)


def test_every_page_is_a_page(mastodon_server: MastodonServer) -> None:
    """A poll that finds nothing still says where it stands, so that success is noted."""
    platform = client(mastodon_server)
    pages = list(platform.fetch(start(platform)))
    assert pages == [Page((), pages[0].cursor, held_back=0, complete=True)]
