"""The way out, against real sockets that misbehave."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import requests
import structlog

from triage import logs, remote
from triage.errors import Gone, NotAccepted, OutcomeUnknown, RateLimited, Refused, RemoteError, TooLate, Unauthorized

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Handler(BaseHTTPRequestHandler):
    """Does what the path says."""

    protocol_version = "HTTP/1.1"
    stop: ClassVar[threading.Event]
    seen: ClassVar[list[tuple[str, str]]]

    def _answer(self) -> None:
        self.seen.append((self.command, self.path))
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        what = self.path.strip("/")
        if what.isdecimal():
            self._send(int(what), b'{"error": "because token=hunter2"}')
        elif what == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif what == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.stop.wait(0.05):
                try:
                    self.wfile.write(b"X-Drip: yes\r\n")
                except OSError:
                    return
        elif what == "html":
            self._send(200, b"<html>", "text/html")
        elif what == "moved":
            self.send_response(301)
            self.send_header("Location", "/200")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_GET = do_POST = _answer

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    Handler.stop, Handler.seen = threading.Event(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.stop.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def client() -> requests.Session:
    return remote.session("acme", deadline=1.0)


@pytest.mark.parametrize(
    ("status", "read", "write"),
    [
        (400, Refused, Refused),
        (401, Unauthorized, Unauthorized),
        (403, Unauthorized, Unauthorized),
        (404, Gone, Gone),
        (408, NotAccepted, OutcomeUnknown),
        (410, Gone, Gone),
        (413, Refused, Refused),
        (418, Refused, Refused),
        (422, Refused, Refused),
        (429, RateLimited, RateLimited),
        (500, NotAccepted, OutcomeUnknown),
        (502, NotAccepted, OutcomeUnknown),
        (503, NotAccepted, OutcomeUnknown),
    ],
)
def test_a_status_becomes_what_the_caller_must_do(
    url: str, client: requests.Session, status: int, read: type[RemoteError], write: type[RemoteError]
) -> None:
    """A 5xx after a write is a doubt, after a read a later try."""
    for verb, expected in ((client.get, read), (client.post, write)):
        with pytest.raises(RemoteError) as caught:
            verb(f"{url}/{status}")
        assert type(caught.value) is expected
        assert caught.value.status == status
        assert "hunter2" not in str(caught.value)


def test_a_refused_connection_was_not_accepted(client: requests.Session) -> None:
    """No byte was sent, so there is no doubt; nor for a name that nobody knows."""
    for address in ("http://127.0.0.1:1/x", "http://nobody.invalid/x"):
        with pytest.raises(NotAccepted):
            client.post(address, data="x")


def test_a_cut_write_is_unknown_and_sent_once(url: str, client: requests.Session) -> None:
    """The server may have done it. Nobody repeats it."""
    with pytest.raises(OutcomeUnknown):
        client.post(f"{url}/cut", data="x")
    assert Handler.seen == [("POST", "/cut")]


def test_the_deadline_is_for_the_whole_call(url: str, client: requests.Session) -> None:
    """A server that keeps sending a header every now and then does not hold us."""
    with pytest.raises(NotAccepted, match="no answer within 1 s"):
        client.get(f"{url}/drip")
    with pytest.raises(OutcomeUnknown, match="no answer within 1 s"):
        client.post(f"{url}/drip")


def test_nothing_is_sent_long_after_the_intent(url: str, client: requests.Session) -> None:
    """A process that was stopped in between does not send; reading is always allowed."""
    with remote.sending(remote.boot_seconds() - 3):
        with pytest.raises(TooLate):
            client.post(f"{url}/200")
        client.get(f"{url}/200")
    assert Handler.seen == [("GET", "/200")]


def test_a_write_is_not_redirected(url: str, client: requests.Session) -> None:
    """requests would turn it into a GET and call that a success."""
    with pytest.raises(Refused, match="put that address into the config"):
        client.post(f"{url}/moved")
    assert Handler.seen == [("POST", "/moved")]


def test_raw_answers_are_kept_from_the_client(url: str, client: requests.Session) -> None:
    """The client sees an empty document, we the bytes."""
    with remote.raw() as answers:
        seen = client.get(f"{url}/200")
    assert seen.json() == {}
    assert answers[0].json() == {"error": "because token=hunter2"}
    with remote.raw() as answers:
        client.get(f"{url}/html")
    with pytest.raises(NotAccepted, match="no JSON"):
        answers[0].json()


def test_an_error_comes_out_of_a_clients_wrapping() -> None:
    """Whatever a client makes of it; what is none of ours is unknown."""

    def call_a_client() -> None:
        try:
            raise RateLimited("429")
        except RateLimited as error:
            raise RuntimeError("the client's own") from error

    with pytest.raises(RateLimited), remote.talking("acme"):
        call_a_client()
    with pytest.raises(OutcomeUnknown, match="could not be understood"), remote.talking("acme"):
        raise KeyError("id")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "0"}, 1.0),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "86400"}, 3600.0),
        ({"Retry-After": "Sun, 01 Mar 2026 00:01:00 GMT"}, 60.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"X-RateLimit-Reset": "2026-03-01T00:05:00.000Z"}, 300.0),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_us_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Between a second and an hour: a day may be junk, and one request an hour finds out."""
    assert remote.wait_seconds(headers, NOW) == seconds


def test_netrc_is_not_read(url: str, client: requests.Session, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log-in for the same host in somebody's .netrc does not replace our token."""
    from pathlib import Path

    netrc = Path(str(tmp_path)) / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    sent = client.get(f"{url}/200", headers={"Authorization": "Bearer ours"}).request
    assert sent.headers["Authorization"] == "Bearer ours"


def test_secrets_are_masked_and_lines_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    """In what we log: registered secrets, what looks like one, and nothing that moves the cursor or forges a line."""
    remote.keep_secret("s3cr3t-value")
    logs.setup("debug")
    try:
        structlog.get_logger().warning("told", why="it was s3cr3t-value\n12:00 [error] forged\x1b[2J", where="https://me:pw12345@host/")
        logging.getLogger("library").error("Authorization: Bearer abcdef123456")
    finally:
        logs.setup("warning")
    told = capsys.readouterr().err
    assert "s3cr3t-value" not in told
    assert "pw12345" not in told
    assert "abcdef123456" not in told
    assert "\x1b[2J" not in told
    assert len([line for line in told.splitlines() if "told" in line or "forged" in line]) == 1


def test_an_answer_without_end_is_cut(client: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than the limit is no JSON any more; memory stays bounded."""
    monkeypatch.setattr(remote, "LARGEST_ANSWER_BYTES", 100_000)

    class Endless(Handler):
        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(10**9))
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b'{"a":' * 10_000)
            except OSError:
                self.close_connection = True

        do_GET: Callable[..., None] = _answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with remote.raw() as answers:
        client.get(f"http://127.0.0.1:{server.server_port}/")
    with pytest.raises(NotAccepted):
        answers[0].json()
    server.shutdown()
    server.server_close()
