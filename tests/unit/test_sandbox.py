"""The stand-in servers' own floor: ledger, faults, the receiver, the world, the pages and the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from triage.sandbox.faults import Faults
from triage.sandbox.jira import JiraServer
from triage.sandbox.ledger import Ledger, read
from triage.sandbox.mastodon import MastodonServer
from triage.sandbox.receiver import Receiver
from triage.sandbox.world import World

ALERT = {
    "labels": {"alertname": "DataLoss", "severity": "critical"},
    "annotations": {"summary": "<b>gone</b>"},
    "generatorURL": "http://127.0.0.1/1",
}


def say(server: MastodonServer, text: str = "@mira thank you", timeout: float = 5.0) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.token}"}
    return requests.post(f"{server.url}/api/v1/statuses", data={"status": text}, headers=headers, timeout=timeout)


def outcome(server: MastodonServer, kind: str) -> str:
    """What the client saw of its post: a status, `cut`, or `unreadable`."""
    try:
        answer = say(server, timeout=0.3 if kind.startswith("timeout") else 5)
        return str(answer.status_code) if "error" in answer.json() or "id" in answer.json() else "empty"
    except requests.exceptions.JSONDecodeError:
        return "unreadable"
    except requests.RequestException:
        return "cut"


def eventually(what: Any) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "it did not happen within 20 s"
        time.sleep(0.02)


def test_ledger_reads_back_what_it_wrote_and_leaves_out_a_line_that_was_cut(tmp_path: Path) -> None:
    """A kill in the middle of a write loses that line and no other, and the next line stands alone."""
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    first.append("status", text="héllo \ud800 world")
    first.append("reply", text="two")
    first.close()
    with path.open("ab") as file:
        file.write(b'{"n": 3, "kind": "re')
    second = Ledger(path)
    second.append("status", text="three")
    second.close()
    assert [(entry["kind"], entry["text"]) for entry in read(path)] == [
        ("status", "héllo \ud800 world"),
        ("reply", "two"),
        ("status", "three"),
    ]
    assert [entry["text"] for entry in second.entries("status")] == ["héllo \ud800 world", "three"]


def test_a_fault_strikes_as_often_as_it_was_told_and_only_where_it_was_told() -> None:
    """Method, path and count all hold."""
    faults = Faults()
    fault = faults.add(method="POST", path=r"/statuses$", kind="reset_after", times=2)
    seen = [faults.take(method, path) for method, path in [("GET", "/statuses"), ("POST", "/x"), *[("POST", "/api/v1/statuses")] * 3]]
    assert [one is fault for one in seen] == [False, False, True, True, False]
    assert fault.hits == 2


def test_a_fault_with_a_seed_strikes_the_same_requests_again() -> None:
    """Chance is repeatable, and is neither always nor never."""
    runs = []
    for _ in range(2):
        faults = Faults()
        faults.add(kind="reset_after", times=None, probability=0.5, seed=7)
        runs.append([faults.take("GET", "/") is not None for _ in range(50)])
    assert runs[0] == runs[1]
    assert 0 < sum(runs[0]) < 50


def test_an_unknown_fault_is_refused_with_the_list_of_those_that_exist() -> None:
    """A typing mistake in a test must not make a fault that never strikes."""
    with pytest.raises(ValueError, match="reset_after"):
        Faults().add(kind="reset_afterwards")


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("reset_after", "cut"),
        ("timeout_after", "cut"),
        ("status:503", "503"),
        ("empty", "unreadable"),
        ("html", "unreadable"),
        ("cut", "cut"),
    ],
)
def test_after_an_accepted_fault_the_post_exists(mastodon_server: MastodonServer, kind: str, seen: str) -> None:
    """The client sees a failure, and the ledger holds the post."""
    mastodon_server.faults.add(method="POST", path=r"/api/v1/statuses$", kind=kind)
    assert outcome(mastodon_server, kind) == seen
    assert len(mastodon_server.replies) == 1
    assert say(mastodon_server).ok


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("reset_before", "cut"),
        ("timeout_before", "cut"),
        ("status_before:502", "502"),
        ("429:120", "429"),
        ("429:date", "429"),
        ("429:junk", "429"),
        ("401", "401"),
    ],
)
def test_after_a_refusing_fault_nothing_exists(mastodon_server: MastodonServer, kind: str, seen: str) -> None:
    """The client sees a failure, and the ledger is empty."""
    mastodon_server.faults.add(kind=kind)
    assert outcome(mastodon_server, kind) == seen
    assert mastodon_server.replies == []
    assert [entry["fault"] for entry in mastodon_server.requests] == [kind]


@pytest.mark.parametrize(("kind", "begins"), [("429:120", "120"), ("429:date", ""), ("429:junk", "soon")])
def test_too_many_requests_says_when_to_come_back(mastodon_server: MastodonServer, kind: str, begins: str) -> None:
    """In seconds, as a date, or in words that no client understands."""
    mastodon_server.faults.add(kind=kind)
    when = say(mastodon_server).headers["Retry-After"]
    assert when.startswith(begins)
    assert when.endswith("GMT") == (kind == "429:date")


def test_a_reset_is_a_reset_and_not_an_end(mastodon_server: MastodonServer) -> None:
    """The client's kernel sees RST: what a crashed server or a firewall makes."""
    mastodon_server.faults.add(kind="reset_after")
    with socket.create_connection(("127.0.0.1", mastodon_server.port)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(100)


def test_a_late_commit_happens_after_the_client_gave_up(mastodon_server: MastodonServer) -> None:
    """First the reset, then the post, once."""
    mastodon_server.faults.add(method="POST", kind="late:0.3")
    with pytest.raises(requests.RequestException):
        say(mastodon_server)
    assert mastodon_server.replies == []
    eventually(lambda: len(mastodon_server.replies) == 1)


def test_a_dripping_body_arrives_whole_but_never_within_the_deadline(mastodon_server: MastodonServer) -> None:
    """No single read is slow, the whole is: what a read time-out alone does not catch."""
    mastodon_server.faults.add(kind="drip:0.05")
    with requests.get(f"{mastodon_server.url}/api/v2/instance", stream=True, timeout=1) as answer:
        first = [next(answer.iter_content(1)) for _ in range(3)]
    assert b"".join(first) == b'{"d'


def test_a_stopped_server_refuses_and_a_started_one_goes_on_at_the_same_address(mastodon_server: MastodonServer) -> None:
    """An outage keeps the address and the state."""
    say(mastodon_server)
    mastodon_server.stop()
    with pytest.raises(requests.ConnectionError):
        say(mastodon_server)
    mastodon_server.start()
    assert say(mastodon_server).ok
    assert len(mastodon_server.replies) == 2


def test_requests_are_recorded_without_the_secrets(mastodon_server: MastodonServer) -> None:
    """Two tokens can be told apart, neither can be read."""
    say(mastodon_server)
    requests.get(f"{mastodon_server.url}/api/v1/notifications", params={"access_token": mastodon_server.token}, timeout=5)
    first, second = mastodon_server.requests
    assert (first["method"], first["path"], first["status"]) == ("POST", "/api/v1/statuses", 200)
    assert first["headers"]["authorization"].startswith("sha256:")
    assert (second["status"], mastodon_server.token in json.dumps(mastodon_server.requests)) == (200, False)


def test_another_process_steers_the_server_over_http(mastodon_server: MastodonServer) -> None:
    """Post, edit, delete, knobs, faults and the ledger are all reachable, and a mistake is told."""
    url = f"{mastodon_server.url}/_sandbox"
    post = requests.post(f"{url}/post", json={"author": "mira@tilde.example", "text": "it hangs"}, timeout=5).json()
    requests.post(f"{url}/edit", json={"id": post["id"], "text": "it hangs on 4.2"}, timeout=5).raise_for_status()
    requests.post(f"{url}/knobs", json={"max_characters": 99}, timeout=5).raise_for_status()
    requests.post(f"{url}/fault", json={"method": "POST", "path": "/api/", "kind": "401"}, timeout=5).raise_for_status()
    assert requests.post(f"{url}/fault", json={"kind": "nonsense"}, timeout=5).status_code == 400
    assert requests.post(f"{url}/knobs", json={"nonsense": 1}, timeout=5).status_code == 400
    assert say(mastodon_server).status_code == 401
    requests.post(f"{url}/fault", json={"kind": "401", "times": None}, timeout=5).raise_for_status()
    requests.post(f"{url}/clear", timeout=5).raise_for_status()
    assert say(mastodon_server).ok
    requests.post(f"{url}/delete", json={"id": post["id"]}, timeout=5).raise_for_status()
    kinds = [entry["kind"] for entry in requests.get(f"{url}/ledger", timeout=5).json()]
    assert kinds == ["account", "status", "edit", "reply", "delete"]
    assert len(requests.get(f"{url}/requests", timeout=5).json()) == 2


def test_alertmanager_keeps_one_alert_a_set_of_labels_and_forgets_resolved_ones(receiver: Receiver) -> None:
    """A second post renews, an end in the past resolves."""
    url = f"{receiver.url}/api/v2/alerts"
    for _ in range(2):
        assert requests.post(url, json=[ALERT], timeout=5).status_code == 200
    shown = requests.get(url, params={"filter": 'alertname="DataLoss"'}, timeout=5).json()
    assert [alert["labels"]["severity"] for alert in shown] == ["critical"]
    assert requests.get(url, params={"filter": "alertname=Other"}, timeout=5).json() == []
    requests.post(url, json=[{**ALERT, "endsAt": "2020-01-01T00:00:00Z"}], timeout=5)
    assert requests.get(url, timeout=5).json() == []
    assert [alert["open"] for alert in receiver.alerts] == [False]
    assert len(receiver.ledger.entries("alert")) == 3


@pytest.mark.parametrize(
    "body",
    [
        {},
        [1],
        [{"labels": {"severity": "x"}}],
        [{**ALERT, "labels": {"alertname": 1}}],
        [{**ALERT, "labels": {"alertname": "x", "bad-name": "y"}}],
        [{**ALERT, "startsAt": "yesterday"}],
        [{**ALERT, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"}],
        [{**ALERT, "annotations": {"n": 1}}],
        [{**ALERT, "surprise": 1}],
    ],
)
def test_alertmanager_refuses_what_the_real_one_refuses(receiver: Receiver, body: Any) -> None:
    """One bad alert refuses the whole list, and nothing is kept."""
    assert requests.post(f"{receiver.url}/api/v2/alerts", json=body, timeout=5).status_code == 400
    assert receiver.alerts == []


def test_the_webhook_keeps_headers_and_bytes(receiver: Receiver) -> None:
    """A signature can be checked against exactly what was sent."""
    body = '{"é": 1}'.encode()
    requests.post(f"{receiver.url}/webhook", data=body, headers={"X-Signature": "abc", "Authorization": "Bearer s3cret"}, timeout=5)
    (call,) = receiver.webhooks
    assert (call["body"].encode(), call["headers"]["x-signature"]) == (body, "abc")
    assert "s3cret" not in json.dumps(call)


def test_a_restarted_receiver_still_knows_its_alerts(tmp_path: Path) -> None:
    """The ledger is read back."""
    with Receiver(tmp_path) as first:
        requests.post(f"{first.url}/api/v2/alerts", json=[ALERT], timeout=5)
    with Receiver(tmp_path) as second:
        assert len(requests.get(f"{second.url}/api/v2/alerts", timeout=5).json()) == 1


def test_the_world_plays_itself_and_ends_now(mastodon_server: MastodonServer) -> None:
    """All posts, edits and deletions happen, in order, dated so that the last minute is now."""
    world = World.load()
    now = time.time()
    played = world.play(mastodon_server, now=now)
    assert played.posts == len(world.posts) >= 320
    assert played.edits == len(mastodon_server.ledger.entries("edit")) == sum(1 for post in world.posts if post["edit"])
    assert played.deletions == len(mastodon_server.ledger.entries("delete")) > 0
    assert len(mastodon_server.instance.statuses) == played.posts - played.deletions
    told = [entry for entry in mastodon_server.ledger.entries("status") if entry["notified"]]
    assert len(told) == played.mentions == sum(1 for post in world.posts if post["mentions_us"])
    newest = max(status.created for status in mastodon_server.instance.statuses.values())
    assert now - 3600 < newest <= now
    threads = [post for post in world.posts if post["reply_to"] and not post["delete_t"]]
    some = mastodon_server.instance.statuses[played.ids[threads[0]["key"]]]
    assert some.in_reply_to == played.ids[threads[0]["reply_to"]]


def test_the_world_played_live_is_dated_when_it_is_posted_and_can_be_cut_short(mastodon_server: MastodonServer) -> None:
    """Live posts look like posts of now."""
    before = time.time()
    played = World.load().play(mastodon_server, seconds=0.2, until_t=1000)
    assert 0 < played.posts < 320
    assert all(status.created >= before - 1 for status in mastodon_server.instance.statuses.values())


def test_pages_show_the_world_and_let_no_markup_through(mastodon_server: MastodonServer, receiver: Receiver) -> None:
    """What people posted is readable and harmless."""
    evil = "<script>alert(1)</script>"
    root = mastodon_server.post("mira@tilde.example", f"it hangs {evil}", cw=evil, media=[{"type": "image", "description": evil}])
    mastodon_server.add_author("mira@tilde.example", display_name=evil)
    answer = say(mastodon_server, "@mira@tilde.example we look").json()
    mastodon_server.post("noor@tilde.example", "same here", reply_to=root["id"], mention=False)
    home = requests.get(mastodon_server.url, timeout=5)
    assert "it hangs" in home.text
    assert "our answer" in home.text
    assert 'http-equiv="refresh"' in home.text
    one = requests.get(root["url"], timeout=5)
    assert "same here" in one.text
    requests.post(f"{receiver.url}/api/v2/alerts", json=[{**ALERT, "annotations": {"summary": evil}}], timeout=5)
    requests.post(f"{receiver.url}/webhook", data=evil, timeout=5)
    alerts = requests.get(receiver.url, timeout=5)
    assert "DataLoss" in alerts.text
    for shown in (home, one, alerts):
        assert "<script" not in shown.text
        assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert requests.get(answer["url"], timeout=5).status_code == 200
    assert requests.get(f"{mastodon_server.url}/@mira/123", timeout=5).status_code == 404
    profile = requests.get(root["account"]["url"], timeout=5)
    assert "it hangs" in profile.text
    assert "<script" not in profile.text
    picture = requests.get(root["media_attachments"][0]["url"], timeout=5)
    assert (picture.headers["Content-Type"], picture.content[:4]) == ("image/png", b"\x89PNG")


def test_pages_of_jira_list_tickets_and_show_one(jira_cloud: JiraServer) -> None:
    """Summary, labels, status, description and comments, all escaped."""
    evil = "<img src=x onerror=alert(1)>"
    ticket = jira_cloud.add_ticket("QUAY", f"Export is empty {evil}", labels=["triage-1"], description=f"line one\n{evil}")
    jira_cloud.add_comment(ticket.key, f"same {evil}")
    jira_cloud.resolve(ticket.key, "Fixed", ["4.2.1"])
    home = requests.get(jira_cloud.url, timeout=5).text
    shown = requests.get(f"{jira_cloud.url}/browse/{ticket.key}", timeout=5).text
    assert all(word in home for word in ("QUAY-1", "Export is empty", "triage-1", "Done"))
    assert all(word in shown for word in ("line one", "same", "4.2.1", "Fixed"))
    assert "<img" not in home + shown
    assert requests.get(f"{jira_cloud.url}/browse/QUAY-99", timeout=5).status_code == 404


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "triage.sandbox", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_command_runs_all_three_until_it_is_told_to_stop_and_starts_again(tmp_path: Path) -> None:
    """The ready file names addresses and tokens that work; a second run still has the first one's world."""
    ready, folder = tmp_path / "ready.json", tmp_path / "folder"
    tokens = []
    for run in range(2):
        world = ["--world", "0"] if run == 0 else []
        with command("--folder", str(folder), "--ready", str(ready), *world) as process:
            eventually(ready.exists)
            assert ready.stat().st_mode & 0o077 == 0
            said = json.loads(ready.read_text())
            bearer = {"Authorization": f"Bearer {said['mastodon']['token']}"}
            url = f"{said['mastodon']['url']}/api/v1/notifications?limit=3"
            eventually(lambda url=url, bearer=bearer: len(requests.get(url, headers=bearer, timeout=5).json()) == 3)
            basic = (said["jira"]["email"], said["jira"]["token"])
            assert requests.get(f"{said['jira']['url']}/rest/api/3/myself", auth=basic, timeout=5).ok
            assert requests.get(f"{said['receiver']['alertmanager']}/api/v2/status", timeout=5).ok
            tokens.append(said["mastodon"]["token"])
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert not ready.exists()
    assert tokens[0] == tokens[1]


def test_the_command_can_be_stopped_while_the_world_goes_on(tmp_path: Path) -> None:
    """The world starts when it is asked for, and an end in the middle of it is quiet."""
    ready = tmp_path / "ready.json"
    with command("--folder", str(tmp_path / "folder"), "--ready", str(ready)) as process:
        eventually(ready.exists)
        url = json.loads(ready.read_text())["mastodon"]["url"]
        assert requests.get(f"{url}/_sandbox/ledger?kind=status", timeout=5).json() == []
        assert requests.post(f"{url}/_sandbox/world", json={"seconds": 60}, timeout=5).status_code == 202
        eventually(lambda: len(requests.get(f"{url}/_sandbox/ledger?kind=status", timeout=5).json()) > 2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (0, "")


def test_the_command_names_the_port_that_is_taken(tmp_path: Path, receiver: Receiver) -> None:
    """No traceback, an exit code of 2, and the option that helps."""
    with command("--folder", str(tmp_path / "f"), "--jira-port", str(receiver.port)) as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert str(receiver.port) in error
    assert "--jira-port" in error
    assert "Traceback" not in error
