"""The stream, presence and claims as pages ask for them."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.fixtures_services import eventually
from tests.service import Service, service
from triage.person import Role
from triage.web import access, create, live

HOME = "http://127.0.0.1:8321"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Service]:
    """A service with a mention."""
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    app.acme.post("mira@x.example", "how do I sync?")
    app.pass_()
    yield app
    app.close()


def session(app: Service, name: str, role: Role = Role.TRIAGER) -> str:
    """Somebody who is logged in."""
    now = app.clock.now()
    token = app.store.people.invite(role, "triage", now)
    return app.store.sessions.start(app.store.people.come(token, name, name.title(), "", now), now, address="", agent="")


def browser(app: Service, name: str, role: Role = Role.TRIAGER) -> TestClient:
    """Their browser, with htmx."""
    mine = session(app, name, role)
    headers = {"Origin": HOME, "X-CSRF-Token": access.csrf(mine), "HX-Request": "true"}
    return TestClient(create(app), base_url=HOME, cookies={"triage": mine}, headers=headers, follow_redirects=False)


# Presence and claims


def test_two_people_see_each_other(made: Service) -> None:
    """Looking, typing, and not oneself."""
    ana, ben = browser(made, "ana"), browser(made, "ben", Role.VIEWER)
    assert "Ana" not in ana.post("/mentions/1/presence", data={"typing": "1"}).text
    assert "Ana is typing" in ben.post("/mentions/1/presence").text
    made.clock.move(seconds=9)
    assert "Ana is looking" in ben.get("/mentions/1/presence").text
    assert "Ben is looking" in ana.get("/mentions/1/presence").text
    ana.post("/mentions/999/presence", data={"left": "1"})  # which is refused, and leaves nothing half done
    assert "Ana is looking" in ben.get("/mentions/1/presence").text


def test_who_logs_out_is_seen_no_more(made: Service) -> None:
    """At once."""
    ana, ben = browser(made, "ana"), browser(made, "ben")
    ana.post("/mentions/1/presence")
    ana.post("/logout")
    assert "Ana" not in ben.get("/mentions/1/presence").text


def test_a_claim_is_seen_refused_taken_over_and_let_go(made: Service) -> None:
    """Ben reads who has it, and asks a second time."""
    ana, ben = browser(made, "ana"), browser(made, "ben")
    assert "you are answering" in ana.post("/mentions/1/claim").text
    refused = ben.post("/mentions/1/claim")
    assert refused.status_code == 409
    assert "Ana has been answering this since" in json.loads(refused.headers["HX-Trigger"])["refused"]
    assert "Take it from Ana" in ben.get("/mentions/1/presence").text
    taken = ben.post("/mentions/1/claim", data={"over": "1", "holder": "ana"})
    assert "you are answering" in taken.text
    assert "said" in taken.headers["HX-Trigger"]
    assert ana.post("/mentions/1/release").status_code == 409
    assert "answering" not in ben.post("/mentions/1/release").text


def test_without_script_a_claim_leads_back_to_the_item(made: Service) -> None:
    """A plain form."""
    ana = browser(made, "ana")
    csrf = ana.headers["X-CSRF-Token"]
    del ana.headers["HX-Request"], ana.headers["X-CSRF-Token"]
    answer = ana.post("/mentions/1/claim", data={"csrf": csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/mentions/1")


def test_a_viewer_looks_and_claims_nothing(made: Service) -> None:
    """The role says so; the part shows no button."""
    ana, vera = browser(made, "ana"), browser(made, "vera", Role.VIEWER)
    assert vera.post("/mentions/1/claim").status_code == 403
    ana.post("/mentions/1/claim")
    part = vera.get("/mentions/1/presence").text
    assert "Ana is answering" in part
    assert "Take it" not in part


@pytest.mark.parametrize("path", ["/mentions/0/claim", "/mentions/-1/presence", f"/mentions/{2**63}/presence", "/mentions/x/release"])
def test_what_is_no_number_of_a_mention_is_refused(made: Service, path: str) -> None:
    """Before the store sees it."""
    assert browser(made, "ana").post(path).status_code == 422


def test_a_name_is_shown_as_text(made: Service) -> None:
    """Whatever it holds."""
    ana, ben = browser(made, "ana"), browser(made, "ben")
    made.store.people.change("ana", "ana", made.clock.now(), shown="<script>alert(1)</script>")
    ana.post("/mentions/1/presence")
    ana.post("/mentions/1/claim")
    assert "<script" not in ben.get("/mentions/1/presence").text


def test_what_a_page_asks_by_itself_keeps_no_session_alive(made: Service) -> None:
    """Else a session that nobody uses would never be over."""
    ana = browser(made, "ana")
    for _ in range(2):
        made.clock.move(hours=7)
        asked = ana.get("/mentions/1/presence", headers={"X-Unasked": "1"})
    assert asked.status_code == 401


# The stream


class Reader:
    """One page that listens."""

    def __init__(self, port: int, session: str, since: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.connection.request("GET", "/live", headers={"Cookie": f"triage={session}", "Last-Event-ID": since, "Connection": "close"})
        self.answer = self.connection.getresponse()
        self.last = since

    def event(self) -> tuple[str, Any]:
        """The next event; ("", None) at the end."""
        name = ""
        while line := self.answer.readline().decode():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = json.loads(value)
            elif field == "id":
                self.last = value
            elif line == "\n" and name:
                return name, data
        return "", None

    def close(self) -> None:
        """The tab was closed."""
        self.answer.close()
        self.connection.close()


@contextmanager
def serving(web: FastAPI) -> Iterator[int]:
    """A server on a free port, as `triage web` makes it; it must end although streams are open."""
    server = uvicorn.Server(uvicorn.Config(web, port=0, log_config=None, timeout_graceful_shutdown=3))
    web.state.ending = lambda: server.should_exit
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert eventually(lambda: server.started)
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is asked often."""
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.02)


def test_pages_are_told_what_changed_and_miss_nothing_when_they_come_back(made: Service) -> None:
    """What another process did, who looks, and what happened while a page was away."""
    ana, it = session(made, "ana"), 1
    with serving(create(made)) as port:
        first, second = Reader(port, ana), Reader(port, ana)
        assert first.answer.headers["content-type"].startswith("text/event-stream")
        assert first.answer.headers["cache-control"] == "no-store"
        assert first.event() == second.event() == ("hello", {})
        made.store.claims.claim(it, "ana", made.clock.now())
        assert first.event() == second.event() == ("changed", {"mentions": [it]})
        made.store.presence.beat(it, "ana", True, made.clock.now())
        assert first.event() == second.event() == ("looking", {"mentions": [it]})
        second.close()
        made.store.claims.release(it, "ana", made.clock.now())
        assert first.event() == ("changed", {"mentions": [it]})
        back = Reader(port, ana, second.last)
        assert (back.event(), back.event()) == (("hello", {}), ("changed", {"mentions": [it]}))
        lost = Reader(port, ana, "nonsense")
        assert (lost.event(), lost.event()) == (("hello", {}), ("changed", {"all": True}))
        current = Reader(port, ana, first.last)
        assert current.event() == ("hello", {})
    assert first.event() == back.event() == current.event() == ("", None)  # each was ended, none cut


def test_a_stream_ends_with_its_session(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, that the page need not try again."""
    monkeypatch.setattr(live, "SESSION_SECONDS", 0.0)
    monkeypatch.setattr(live, "KEEP_ALIVE_SECONDS", 0.05)
    ana = session(made, "ana")
    with serving(create(made)) as port:
        reader = Reader(port, ana)
        assert reader.event() == ("hello", {})
        made.store.sessions.end(ana, made.clock.now(), "ana")
        assert reader.event() == ("over", {})
        assert reader.event() == ("", None)
        assert Reader(port, ana).answer.status == 303  # to the log-in


def test_nobody_has_more_streams_than_are_good_for_them(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's cap, the process's cap, and that a page that leaves makes room."""
    monkeypatch.setattr(live, "MOST_OF_A_PERSON", 2)
    monkeypatch.setattr(live, "MOST_STREAMS", 3)
    ana, ben = session(made, "ana"), session(made, "ben")
    with serving(create(made)) as port:
        readers = [Reader(port, ana), Reader(port, ana)]
        assert [reader.event()[0] for reader in readers] == ["hello", "hello"]
        refused = Reader(port, ana)
        assert (refused.answer.status, refused.answer.headers["retry-after"]) == (503, "60")
        readers.append(Reader(port, ben))
        assert readers[2].event()[0] == "hello"
        assert Reader(port, ben).answer.status == 503
        readers[0].close()

        def again() -> bool:
            readers[0] = Reader(port, ben)
            return readers[0].answer.status == 200

        assert eventually(again)


def test_a_slow_reader_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded; it comes back and asks what it missed."""
    monkeypatch.setattr(live, "WAITING", 3)

    async def slow() -> list[bytes | None]:
        stream = live.Stream("ana")
        for number in range(5):
            stream.tell(str(number).encode())
        return [stream.events.get_nowait() for _ in range(stream.events.qsize())]

    assert None in asyncio.run(slow())


def test_a_client_that_waits_for_the_end_gets_it_from_an_app_that_ends(made: Service) -> None:
    """So a walk over all routes can ask this one, too."""
    ana = browser(made, "ana")
    assert isinstance(ana.app, FastAPI)
    ana.app.state.ending = lambda: True
    assert "event: hello" in ana.get("/live").text
    del ana.cookies["triage"]
    assert ana.get("/live").status_code == 401
