"""The contract that every notifier keeps. A notifier's test subclasses `NotifierSuite` and fills in the hooks."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from triage.contracts import Notifier
from triage.errors import NotAccepted, OutcomeUnknown, RateLimited, Refused, Unauthorized
from triage.mention import ActionKind, Author, Mention, Visibility, Work

RAISED = datetime(2026, 3, 4, 9, 5, tzinfo=UTC)
CANARY = "canary-of-a-private-post"
NUMBERS = count(1)


def an_alert(key: str | None = None, **payload: Any) -> Work:
    """An alert to be sent, about a direct message; each has a key of its own unless told otherwise."""
    number = next(NUMBERS)
    mention = Mention(
        uri=f"https://tilde.example/users/mira/statuses/{number}",
        platform="mastodon",
        source="quay",
        remote_id=str(number),
        author=Author("mira@tilde.example"),
        text=f"@quayside my card was charged twice {CANARY}",
        created_at=RAISED,
        visibility=Visibility.DIRECT,
    )
    told = {
        "name": "UrgentPost",
        "severity": "critical",
        "summary": "bug report on quay (payment): a direct post",
        "labels": {"site": "acme", "source": "quay"},
        "url": "https://tilde.example/@mira/77",
        "open": True,
        "opened_at": RAISED,
        "closed_at": None,
    }
    return Work(
        action_id=number,
        key=key or f"acme/alert/{number}/oncall",
        marker=f"{number:020x}",
        kind=ActionKind.ALERT,
        via="oncall",
        attempt=1,
        intent_at=datetime.now(UTC),
        first_intent_at=RAISED,
        reason=f"the word {CANARY}",
        mention=mention,
        payload=told | payload,
    )


def over(work: Work) -> Work:
    """The same alert, over."""
    return replace(work, attempt=work.attempt + 1, payload=dict(work.payload) | {"open": False, "closed_at": datetime.now(UTC)})


@dataclass(frozen=True)
class Shown:
    """An alert as those see it who were notified."""

    name: str
    severity: str
    summary: str
    labels: dict[str, str]
    open: bool


class NotifierSuite:
    """What is promised of `send` and `check`."""

    def shown(self, notifier: Notifier) -> dict[str, Shown]:
        """Every alert that arrived, by its key, as it was last told."""
        raise NotImplementedError

    def everything(self, notifier: Notifier) -> str:
        """All that the far side was sent, as text."""
        raise NotImplementedError

    def test_an_alert_arrives(self, notifier: Notifier) -> None:
        """Name, severity, summary and labels are those of the payload, and it is open."""
        work = an_alert()
        receipt = notifier.send(work)
        shown = self.shown(notifier)[work.key]
        assert (shown.name, shown.severity, shown.open) == ("UrgentPost", "critical", True)
        assert shown.summary == "bug report on quay (payment): a direct post"
        assert shown.labels.items() >= {"site": "acme", "source": "quay"}.items()
        assert receipt.remote_id

    def test_sent_again_it_is_the_same_alert(self, notifier: Notifier) -> None:
        """The key makes one alert of however many posts."""
        work = an_alert()
        first = notifier.send(work)
        again = notifier.send(replace(work, attempt=2, intent_at=datetime.now(UTC)))
        assert list(self.shown(notifier)) == [work.key]
        assert self.shown(notifier)[work.key].open
        assert first == again

    def test_it_is_over_when_the_payload_says_so(self, notifier: Notifier) -> None:
        """The same key with `open` False ends it, and with `open` True it is back."""
        work = an_alert()
        notifier.send(work)
        notifier.send(over(work))
        assert not self.shown(notifier)[work.key].open
        notifier.send(work)
        assert self.shown(notifier)[work.key].open

    def test_two_keys_are_two_alerts(self, notifier: Notifier) -> None:
        """One may end while another that looks the same lasts."""
        one, other = an_alert(), an_alert()
        notifier.send(one)
        notifier.send(other)
        notifier.send(over(one))
        shown = self.shown(notifier)
        assert set(shown) == {one.key, other.key}
        assert not shown[one.key].open
        assert shown[other.key].open

    def test_nothing_of_a_private_post_is_told(self, notifier: Notifier) -> None:
        """Only the payload goes out: neither the post's text nor the reason, which may quote it."""
        notifier.send(an_alert())
        assert "a direct post" in self.everything(notifier)
        assert CANARY not in self.everything(notifier)

    @pytest.mark.parametrize(
        "hostile",
        [
            'a "quoted" \\ word',
            "{{ template }} {macro} <b>bold</b>",
            "line\nbreak\r\nX-Injected: yes",
            "naïve ☃ \u202egnp.exe",
            "x" * 20_000,
        ],
    )
    def test_hostile_text_arrives_as_text(self, notifier: Notifier, hostile: str) -> None:
        """Whatever a post smuggled into a summary, a label or a key is only data."""
        work = an_alert(summary=hostile, labels={"source": hostile}, key=f"acme/{hostile[:40]}/alert/{next(NUMBERS)}")
        notifier.send(work)
        shown = self.shown(notifier)[work.key]
        assert shown.summary == hostile
        assert shown.labels["source"] == hostile

    def test_the_payload_may_be_the_least_that_is_promised(self, notifier: Notifier) -> None:
        """An alert without labels, link and times arrives, and ends."""
        work = an_alert()
        bare = replace(
            work, mention=None, payload={"name": "Bare", "severity": "warning", "summary": "s", "labels": {}, "url": "", "open": True}
        )
        notifier.send(bare)
        assert self.shown(notifier)[work.key].open
        notifier.send(replace(bare, payload=dict(bare.payload) | {"open": False}))
        assert not self.shown(notifier)[work.key].open

    def test_a_check_finds_it_well_and_alarms_nobody(self, notifier: Notifier) -> None:
        """`triage doctor` may be run at any time of the night."""
        findings = list(notifier.check())
        assert findings
        assert [finding for finding in findings if finding.level != "ok"] == []
        assert self.shown(notifier) == {}

    def test_its_manifest_is_complete(self, notifier: Notifier) -> None:
        """What it wants repeated, it wants repeated before anybody could take it for over."""
        assert notifier.manifest.name
        assert notifier.manifest.options.model_config.get("extra") == "forbid"
        assert notifier.manifest.repeats is None or 0 < notifier.manifest.repeats <= 120


class RemoteNotifierSuite(NotifierSuite):
    """Besides, what is promised of a notifier with a server on the other side. `server` is a stand-in with faults."""

    def elsewhere(self, url: str) -> Notifier:
        """A notifier whose far side is at that address."""
        raise NotImplementedError

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("401", Unauthorized),
            ("429:120", RateLimited),
            ("status_before:400", Refused),
            ("status_before:503", OutcomeUnknown),
            ("reset_before", OutcomeUnknown),
            ("reset_after", OutcomeUnknown),
        ],
    )
    def test_a_failure_has_its_name_and_the_next_try_mends_it(
        self, notifier: Notifier, server: Any, fault: str, error: type[Exception]
    ) -> None:
        """Each answer becomes the one error that tells what to do; sent again, it is one alert."""
        work = an_alert()
        server.faults.add(kind=fault, method="POST")
        with pytest.raises(error) as raised:
            notifier.send(work)
        assert type(raised.value) is error
        assert str(raised.value).startswith("oncall: ")
        notifier.send(replace(work, attempt=2))
        assert list(self.shown(notifier)) == [work.key]

    def test_nobody_there_is_proved_not_accepted(self, server: Any) -> None:
        """A refused connection means that nothing was sent, and `triage doctor` says what to do."""
        with closed_port() as url:
            notifier = self.elsewhere(url)
            with pytest.raises(NotAccepted) as raised:
                notifier.send(an_alert())
            assert type(raised.value) is NotAccepted
            failed = [finding for finding in notifier.check() if finding.level == "fail"]
        assert len(failed) == 1
        assert "notifiers.oncall.url" in failed[0].next_step

    def test_a_netrc_file_is_not_read(self, notifier: Notifier, server: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A password that lies about for the same host is not sent along."""
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password stray\n")
        monkeypatch.setenv("NETRC", str(netrc))
        notifier.send(an_alert())
        assert [request["headers"].get("authorization") for request in server.requests] == [None]


@contextmanager
def closed_port() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))  # bound and not listening: taken, so that nobody else gets it, and refused
        yield f"http://127.0.0.1:{there.getsockname()[1]}"
