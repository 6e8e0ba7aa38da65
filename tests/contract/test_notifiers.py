"""Every notifier keeps the contract of `tests.contract.notifiers`."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from tests.contract.notifiers import RAISED, NotifierSuite, RemoteNotifierSuite, Shown, an_alert, over
from triage.app import manifest, names
from triage.contracts import Notifier
from triage.notifiers import alertmanager, memory, webhook
from triage.remote import redact
from triage.sandbox.http import Request, digest
from triage.sandbox.receiver import Receiver

SECRET = "a secret of the tests, long enough"


class TestMemory(NotifierSuite):
    """The notifier that keeps its alerts in memory."""

    @pytest.fixture
    def notifier(self) -> memory.Memory:
        return memory.Memory("oncall", memory.Options())

    def shown(self, notifier: Any) -> dict[str, Shown]:
        return {key: Shown(kept.name, kept.severity, kept.summary, dict(kept.labels), kept.open) for key, kept in notifier.alerts.items()}

    def everything(self, notifier: Any) -> str:
        return repr(notifier.alerts)

    def test_it_counts_how_often_an_alert_was_sent(self) -> None:
        """For a test that wants to know whether an open alert was repeated."""
        notifier, work = memory.Memory("oncall", memory.Options()), an_alert()
        notifier.send(work)
        notifier.send(work)
        assert notifier.alerts[work.key].times == 2


class Hasty(Receiver):
    """An Alertmanager that calls an alert resolved soon."""

    def _status(self, request: Request) -> Any:
        return super()._status(request) | {"config": {"original": 'global:\n  resolve_timeout: "1m30s"\n'}}


class TestAlertmanager(RemoteNotifierSuite):
    """Alertmanager's API, as a stand-in speaks it."""

    there: Receiver

    @pytest.fixture
    def server(self, receiver: Receiver) -> Receiver:
        self.there = receiver
        return receiver

    @pytest.fixture
    def notifier(self, server: Receiver) -> Notifier:
        return self.elsewhere(server.url)

    def elsewhere(self, url: str, **options: Any) -> alertmanager.Alertmanager:
        return alertmanager.Alertmanager("oncall", alertmanager.Options(url=url, **options))

    def shown(self, notifier: Notifier) -> dict[str, Shown]:
        return {
            told["labels"]["key"]: Shown(
                told["labels"]["alertname"], told["labels"]["severity"], told["annotations"]["summary"], told["labels"], told["open"]
            )
            for told in self.there.alerts
        }

    def everything(self, notifier: Notifier) -> str:
        return json.dumps(self.there.ledger.entries("alert"), ensure_ascii=False)

    def test_an_open_alert_has_no_end_and_one_that_is_over_has(self, server: Receiver) -> None:
        """Without `endsAt` Alertmanager itself decides by its resolve_timeout, whatever our clock says."""
        notifier, work = self.elsewhere(server.url), an_alert()
        notifier.send(work)
        notifier.send(over(work))
        first, second = (entry["alert"] for entry in server.ledger.entries("alert"))
        assert "endsAt" not in first
        assert datetime.fromisoformat(first["startsAt"]) == datetime.fromisoformat(second["startsAt"]) == RAISED
        assert datetime.fromisoformat(second["endsAt"]) > RAISED
        assert first["labels"] == second["labels"]

    def test_an_end_before_the_beginning_is_not_sent(self, server: Receiver) -> None:
        """Alertmanager refuses such an alert, and clocks are set back."""
        notifier, work = self.elsewhere(server.url), over(an_alert())
        notifier.send(replace(work, payload=dict(work.payload) | {"closed_at": RAISED.replace(year=2020)}))
        told = server.ledger.entries("alert")[0]["alert"]
        assert told["endsAt"] == told["startsAt"]

    def test_labels_from_the_config_are_on_it_and_give_way_to_its_own(self, server: Receiver) -> None:
        """A team's label goes onto each alert; one of the alert's own wins."""
        work = an_alert()
        self.elsewhere(server.url, labels={"team": "quay", "source": "config"}).send(work)
        labels = self.shown(self.elsewhere(server.url))[work.key].labels
        assert (labels["team"], labels["source"]) == ("quay", "quay")

    def test_a_label_name_that_alertmanager_refuses_is_mended(self, server: Receiver) -> None:
        """One wrong name must not cost the whole alert."""
        work = an_alert(labels={"1st-label": "a"})
        self.elsewhere(server.url).send(work)
        assert self.shown(self.elsewhere(server.url))[work.key].labels["_1st_label"] == "a"

    @pytest.mark.parametrize(("url", "sent"), [("https://tilde.example/@mira/77", True), ("javascript:alert(1)", False), ("", False)])
    def test_only_a_web_address_becomes_the_link(self, server: Receiver, url: str, sent: bool) -> None:
        """The link in Alertmanager's pages leads to the post, or is left out."""
        self.elsewhere(server.url).send(an_alert(url=url))
        told = server.ledger.entries("alert")[0]["alert"]
        assert told.get("generatorURL") == (url if sent else None)

    def test_the_receipt_leads_to_the_alert(self, server: Receiver) -> None:
        """The link filters Alertmanager's page by the key."""
        work = an_alert(key='acme/"odd"/alert')
        receipt = self.elsewhere(server.url).send(work)
        assert unquote(receipt.url) == server.url + '/#/alerts?filter={key="acme/\\"odd\\"/alert"}'

    @pytest.mark.parametrize(
        ("options", "secret", "header"),
        [
            ({"token": SecretStr("token-of-the-tests")}, "token-of-the-tests", "Bearer token-of-the-tests"),
            ({"user": "mira", "password": SecretStr("pass-of-the-tests")}, "pass-of-the-tests", "Basic bWlyYTpwYXNzLW9mLXRoZS10ZXN0cw=="),
        ],
    )
    def test_credentials_are_sent_and_shown_to_nobody(self, server: Receiver, options: dict[str, Any], secret: str, header: str) -> None:
        """They go into the header, and neither into `repr` nor into errors."""
        notifier = self.elsewhere(server.url, **options)
        notifier.send(an_alert())
        assert server.requests[-1]["headers"]["authorization"] == digest(header)
        assert "of-the-tests" not in repr(notifier.options)
        assert "of-the-tests" not in redact(f"something said {secret} and {header}")

    @pytest.mark.parametrize("address", ["/", "/api/v2", "/api/v2/alerts", "/api/v2/alerts/"])
    def test_the_address_may_be_that_of_the_api(self, server: Receiver, address: str) -> None:
        """Whatever of it was copied into the config, the alert arrives."""
        work = an_alert()
        notifier = self.elsewhere(server.url + address)
        notifier.send(work)
        assert work.key in self.shown(notifier)

    def test_a_page_in_place_of_the_api_fails_the_check(self, server: Receiver) -> None:
        """The address of something else that answers 200 is found out before the first alert."""
        server.faults.add(kind="html", method="GET")
        findings = list(self.elsewhere(server.url).check())
        assert [finding.level for finding in findings] == ["fail"]
        assert "oncall" in findings[0].what
        assert "notifiers.oncall.url" in findings[0].next_step

    def test_a_refused_token_fails_the_check(self, server: Receiver) -> None:
        """The next step names the key of the token."""
        server.faults.add(kind="401", method="GET")
        findings = list(self.elsewhere(server.url).check())
        assert [finding.level for finding in findings] == ["fail"]
        assert "notifiers.oncall.token" in findings[0].next_step

    def test_a_short_resolve_timeout_is_warned_about(self, tmp_path: Path) -> None:
        """Where an open alert would be called resolved between two posts, the check says so."""
        with Hasty(tmp_path) as server:
            findings = list(self.elsewhere(server.url).check())
        assert [finding.level for finding in findings] == ["ok", "warn"]
        assert "90 s" in findings[1].what

    @pytest.mark.parametrize(
        ("config", "seconds"),
        [("global:\n  resolve_timeout: 5m\n", 300.0), ("global:\n  resolve_timeout: 1m30s", 90.0), ("route: {}", None), ("", None)],
    )
    def test_the_resolve_timeout_is_read_from_its_config(self, config: str, seconds: float | None) -> None:
        """Go's way to write a time, in seconds."""
        assert alertmanager.resolve_timeout(config) == seconds


class TestWebhook(RemoteNotifierSuite):
    """A signed POST, as a stand-in receives it."""

    there: Receiver

    @pytest.fixture
    def server(self, receiver: Receiver) -> Receiver:
        self.there = receiver
        # A receiver's own way to say that it is there; a webhook need not know anything but POST.
        receiver.route("OPTIONS", "/webhook", lambda request: {})
        return receiver

    @pytest.fixture
    def notifier(self, server: Receiver) -> Notifier:
        return self.elsewhere(server.url)

    def elsewhere(self, url: str, **options: Any) -> webhook.Webhook:
        return webhook.Webhook("oncall", webhook.Options(url=f"{url}/webhook", secret=SecretStr(SECRET), **options))

    def shown(self, notifier: Notifier) -> dict[str, Shown]:
        told = (json.loads(entry["body"]) for entry in self.there.webhooks)
        return {each["key"]: Shown(each["name"], each["severity"], each["summary"], each["labels"], each["open"]) for each in told}

    def everything(self, notifier: Notifier) -> str:
        return json.dumps(self.there.webhooks, ensure_ascii=False)

    def test_the_signature_covers_time_and_body(self, server: Receiver) -> None:
        """A receiver that knows the secret and follows the description arrives at the same signature."""
        self.elsewhere(server.url).send(an_alert(summary="naïve ☃"))
        call = server.webhooks[0]
        timestamp = call["headers"]["x-triage-timestamp"]
        expected = hmac.new(SECRET.encode(), f"{timestamp}.{call['body']}".encode(), hashlib.sha256).hexdigest()
        assert call["headers"]["x-triage-signature"] == f"sha256={expected}"
        assert 0 <= time.time() - int(timestamp) < 300
        assert call["headers"]["content-type"] == "application/json"

    def test_the_event_is_the_same_each_time_and_fit_for_a_header(self, server: Receiver) -> None:
        """A receiver drops repetitions by it, whatever a post's address holds."""
        notifier, work = self.elsewhere(server.url), an_alert(key="acme/https://tilde.example/ü\r\nX-Injected: yes/alert")
        notifier.send(work)
        notifier.send(over(work))
        first, second = (call["headers"]["x-triage-event"] for call in server.webhooks)
        assert first == second
        assert unquote(first) == work.key
        assert "x-injected" not in server.webhooks[0]["headers"]

    def test_a_plain_key_is_the_event_as_it_is(self, server: Receiver) -> None:
        """Only what no header may hold is encoded."""
        work = an_alert(key="acme/https://tilde.example/users/mira/statuses/77/alert/oncall")
        self.elsewhere(server.url).send(work)
        assert server.webhooks[0]["headers"]["x-triage-event"] == work.key

    def test_its_times_tell_when_it_was_raised_and_when_it_was_over(self, server: Receiver) -> None:
        """An open alert has no end."""
        notifier, work = self.elsewhere(server.url), an_alert()
        notifier.send(work)
        notifier.send(over(work))
        first, second = (json.loads(call["body"]) for call in server.webhooks)
        assert datetime.fromisoformat(first["opened_at"]) == datetime.fromisoformat(second["opened_at"]) == RAISED
        assert first["closed_at"] is None
        assert datetime.fromisoformat(second["closed_at"]) > RAISED

    def test_headers_from_the_config_are_sent(self, server: Receiver) -> None:
        """A gateway's own key goes along, and is not shown."""
        notifier = self.elsewhere(server.url, headers={"X-Gateway-Key": "canary-in-a-header"})
        notifier.send(an_alert())
        assert server.webhooks[0]["headers"]["x-gateway-key"] == "canary-in-a-header"
        assert "canary-in-a-header" not in repr(notifier.options)
        assert SECRET not in repr(notifier.options)
        assert SECRET not in redact(f"the secret is {SECRET}")

    @pytest.mark.parametrize(("fault", "level"), [("status:405", "ok"), ("401", "ok"), ("status:404", "fail"), ("status:502", "fail")])
    def test_any_answer_but_not_there_passes_the_check(self, server: Receiver, fault: str, level: str) -> None:
        """A receiver may know nothing but POST; one that is not there, or whose gateway says so, fails."""
        server.faults.add(kind=fault, method="OPTIONS")
        assert [finding.level for finding in self.elsewhere(server.url).check()] == [level]
        assert server.webhooks == []

    def test_an_unencrypted_way_to_another_machine_is_warned_about(self) -> None:
        """The signature hides nothing."""
        assert webhook._on_this_machine("http://127.0.0.1:80/x")
        assert webhook._on_this_machine("http://localhost/x")
        assert webhook._on_this_machine("http://[::1]/x")
        assert not webhook._on_this_machine("http://hooks.example/x")


@pytest.mark.parametrize(
    ("options", "wrong", "words"),
    [
        (alertmanager.Options, {"url": "alertmanager:9093"}, "must be an address"),
        (alertmanager.Options, {"url": "http://user:pass@am.example"}, "without a user"),
        (alertmanager.Options, {"url": "http://am.example", "user": "mira"}, "go together"),
        (alertmanager.Options, {"url": "http://am.example", "user": "mira", "password": "p", "token": "t"}, "not both"),
        (alertmanager.Options, {"url": "http://am.example", "labels": {"severity": "page"}}, "severity is set"),
        (alertmanager.Options, {"url": "http://am.example", "labels": {"no-dash": "x"}}, "is no label's name"),
        (alertmanager.Options, {"url": "http://am.example", "lables": {}}, "lables"),
        (webhook.Options, {"url": "hooks.example", "secret": SECRET}, "must be an address"),
        (webhook.Options, {"url": "https://hooks.example", "secret": "short"}, "16 characters or more"),
        (webhook.Options, {"url": "https://hooks.example"}, "secret"),
        (webhook.Options, {"url": "https://hooks.example", "secret": SECRET, "headers": {"Host": "x"}}, "Host is set"),
        (webhook.Options, {"url": "https://hooks.example", "secret": SECRET, "headers": {"X Y": "x"}}, "is no header's name"),
        (webhook.Options, {"url": "https://hooks.example", "secret": SECRET, "headers": {"X-Y": "a\nb"}}, "on one line"),
        (memory.Options, {"size": 3}, "size"),
    ],
)
def test_options_that_can_not_work_are_refused(options: type[BaseModel], wrong: dict[str, Any], words: str) -> None:
    """The refusal says what is wrong and never repeats a secret."""
    with pytest.raises(ValidationError, match=words) as raised:
        options.model_validate(wrong)
    assert not any(secret in error["msg"] for error in raised.value.errors() for secret in (SECRET, "user:pass"))


@pytest.mark.parametrize("name", ["alertmanager", "memory", "webhook"])
def test_each_is_found_by_its_name_in_the_config(name: str) -> None:
    """The core knows notifiers by their manifests alone."""
    assert name in names("notifiers")
    assert manifest("notifiers", name).name == name


def test_an_alertmanager_gets_open_alerts_again_and_a_webhook_does_not() -> None:
    """Alertmanager forgets what is not repeated; a webhook was told once."""
    assert alertmanager.MANIFEST.repeats == 60.0
    assert webhook.MANIFEST.repeats is None
