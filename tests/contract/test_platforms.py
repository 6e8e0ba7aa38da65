"""The platforms, each against the one suite; and imported posts, which have no far side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event

import pytest

from tests.contract.platforms import Far, PlatformContract, Posted, work
from triage.contracts import Platform
from triage.errors import NotAccepted, OutcomeUnknown, Refused
from triage.mention import Visibility
from triage.platforms import imported, mastodon, memory
from triage.sandbox.mastodon import MastodonServer
from triage.sandbox.mastodon_state import DOMAIN

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class InMemory:
    """A platform that is its own far side."""

    author = "mira@tilde.example"
    us = "us@memory.example"
    limit = 500

    def __init__(self) -> None:
        self.here = memory.MemoryPlatform("acme", memory.MemoryOptions(max_characters=self.limit))

    def platform(self) -> Platform:
        return self.here

    def post(self, text: str, *, reply_to: str | None = None, visibility: str = "public", warning: str = "", no_bots: bool = False) -> str:
        shown = Visibility(visibility)
        return self.here.post(self.author, text, reply_to=reply_to, visibility=shown, warning=warning, no_bots=no_bots).remote_id

    def announce(self, text: str) -> str:
        return self.here.announce(text).remote_id

    def edit(self, remote_id: str, text: str) -> None:
        self.here.edit(remote_id, text)

    def delete(self, remote_id: str) -> None:
        self.here.delete(remote_id)

    def replies(self) -> Sequence[Posted]:
        sent = [one.mention for one in self.here.replies]
        return [Posted(post.text, post.parent_id or "", str(post.visibility), post.warning) for post in sent]

    def boosts(self) -> Sequence[str]:
        return self.here.boosts


class TestMemory(PlatformContract):
    """The platform in memory."""

    @pytest.fixture
    def far(self) -> Far:
        return InMemory()

    def test_a_reply_can_fail_before_and_after_it_was_made(self) -> None:
        """The failures that tests script: refused, then made but cut, then found by looking."""
        far = InMemory()
        mention = far.here.post(far.author, "it crashes")
        mine = work(mention, "Which version?")
        far.here.fail("reply", NotAccepted("refused"))
        far.here.fail("reply", OutcomeUnknown("cut"), after=True)
        with pytest.raises(NotAccepted):
            far.here.reply(mine)
        assert far.replies() == []
        with pytest.raises(OutcomeUnknown):
            far.here.reply(mine)
        assert [found.remote_id for found in far.here.find(mine)] == [far.here.reply(mine).remote_id]
        assert len(far.replies()) == 1


class AgainstSandbox:
    """A Mastodon client and the stand-in server."""

    author = "mira@tilde.example"
    us = f"quayside@{DOMAIN}"

    def __init__(self, server: MastodonServer) -> None:
        self.server = server
        self.limit = server.knobs.max_characters

    def platform(self) -> Platform:
        options = mastodon.MastodonOptions.model_validate({"url": self.server.url, "token": self.server.token})
        return mastodon.MastodonPlatform("acme", options)

    def post(self, text: str, *, reply_to: str | None = None, visibility: str = "public", warning: str = "", no_bots: bool = False) -> str:
        if no_bots:
            self.server.add_author(self.author, bio="I build boats. #nobot")
        return str(self.server.post(self.author, text, reply_to=reply_to, visibility=visibility, cw=warning)["id"])

    def announce(self, text: str) -> str:
        return str(self.server.post(self.server.product, text, mention=False)["id"])

    def edit(self, remote_id: str, text: str) -> None:
        self.server.edit(remote_id, f"@quayside {text}")

    def delete(self, remote_id: str) -> None:
        self.server.delete(remote_id)

    def replies(self) -> Sequence[Posted]:
        return [Posted(one["text"], one["in_reply_to"], one["visibility"], one["spoiler"]) for one in self.server.replies]

    def boosts(self) -> Sequence[str]:
        return [one["id"] for one in self.server.boosts if one["by"] == self.server.product]


class TestMastodon(PlatformContract):
    """Mastodon 4.4."""

    @pytest.fixture
    def far(self, mastodon_server: MastodonServer) -> Far:
        return AgainstSandbox(mastodon_server)


class TestMastodonBeforeGroups(PlatformContract):
    """Mastodon 4.2: no grouped notifications, no policy, no reading in bulk."""

    @pytest.fixture
    def far(self, mastodon_server: MastodonServer) -> Far:
        mastodon_server.knobs.change(version="4.2.10")
        return AgainstSandbox(mastodon_server)


class TestGoToSocial(PlatformContract):
    """GoToSocial: ULIDs, 400 for 422, 5,000 characters, no event stream."""

    @pytest.fixture
    def far(self, mastodon_server: MastodonServer) -> Far:
        mastodon_server.knobs.change(version="gotosocial 0.19", max_characters=500)
        return AgainstSandbox(mastodon_server)

    def test_edits_and_deletions_come_by_stream(self, far: Far) -> None:
        """It streams only over WebSocket: the stream ends at once, and re-reading finds what changed."""
        assert list(far.platform().stream(Event())) == []


class TestImported:
    """Posts from files."""

    platform: Platform = imported.ImportedPlatform("import")

    def test_nothing_is_fetched_and_nothing_is_sent(self) -> None:
        """One empty page; an answer is given by hand."""
        [page] = self.platform.fetch(None)
        assert (page.items, page.cursor) == ((), "-")
        assert not self.platform.manifest.replies
        assert self.platform.reread(["1"]) == {}
        assert list(self.platform.history(NOW)) == []
        assert list(self.platform.stream(Event())) == []
        [item] = imported.items(['{"text": "it crashes"}'], form="jsonl", source="import", now=NOW)
        assert item.mention is not None
        assert list(self.platform.compose(item.mention, "hello " * 500)) == ["hello " * 500]
        assert list(self.platform.find(work(item.mention, "hello"))) == []
        with pytest.raises(Refused, match="by hand"):
            self.platform.reply(work(item.mention, "hello"))

    def test_lines_of_json_become_mentions(self) -> None:
        """With everything that a row can say; the link is the identity."""
        line = (
            '{"text": "It crashes\\u202e", "link": "https://forum.example/t/1", "author": "Mira K", '
            '"date": "2026-04-30T10:00:00+02:00", "lang": "EN", "title": "Help"}'
        )
        [item] = imported.items([line, "\n"], form="jsonl", source="import", now=NOW)
        mention = item.mention
        assert mention is not None
        assert mention.uri == mention.url == mention.thread == "https://forum.example/t/1"
        assert (mention.text, mention.warning, mention.language, mention.via) == ("It crashes", "Help", "en", "import")
        assert mention.author.handle == "Mira_K@forum.example"
        assert mention.created_at == datetime(2026, 4, 30, 8, tzinfo=UTC)

    def test_a_row_without_a_link_has_the_same_identity_each_time(self) -> None:
        """So that a second import adds nothing."""
        rows = ['{"text": "it crashes", "author": "mira"}', '{"text": "it crashes", "author": "bo"}']
        first = [item.remote_id for item in imported.items(rows, form="jsonl", source="import", now=NOW)]
        again = [item.remote_id for item in imported.items(rows, form="jsonl", source="import", now=datetime.now(UTC))]
        assert first == again
        assert len(set(first)) == 2

    def test_csv_becomes_mentions(self) -> None:
        """Quoted cells with line ends in them, too."""
        lines = ["url,content,user,visibility\n", 'https://a.example/1,"It\n', 'crashes",mira,private\n', "https://a.example/2,Hello,,\n"]
        found = [item.mention for item in imported.items(lines, form="csv", source="import", now=NOW)]
        assert [mention and mention.text for mention in found] == ["It\ncrashes", "Hello"]
        assert found[0] is not None
        assert found[0].visibility is Visibility.PRIVATE
        assert found[1] is not None
        assert found[1].author.handle == "somebody@a.example"

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("{", "one JSON object"),
            ("[1]", "one JSON object"),
            ("[" * 100_000, "one JSON object"),
            ('{"text": "  "}', "no text"),
            ('{"text": "x", "link": "javascript:alert(1)"}', "no web address"),
            ('{"text": "x", "date": "soon"}', "date"),
            ('{"text": "x", "date": "99999999999999999"}', "date"),
        ],
    )
    def test_a_row_that_cant_be_read_is_told(self, line: str, reason: str) -> None:
        """And the next row is read."""
        broken, good = imported.items([line, '{"text": "fine"}'], form="jsonl", source="import", now=NOW)
        assert reason in broken.broken
        assert good.mention is not None
