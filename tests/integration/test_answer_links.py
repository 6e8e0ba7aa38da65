"""The links of prepared answers are looked at, and what is gone is refused: a real server, the clock moved by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from tests.service import Service, service
from triage.links import moved
from triage.pipeline.linking import look, look_at_links
from triage.pipeline.replying import desk
from triage.replies import Canned
from triage.sandbox.http import Connection, Reply, Server, page


@pytest.fixture
def docs(tmp_path: Path) -> Iterator[Server]:
    """A site: two pages that are there, one that is gone by one of two words, one that is ill, and redirects."""
    with Server(tmp_path / "docs") as server:
        server.route("GET", "/(there|moved-here)", lambda request: page("<p>Here</p>"))
        server.route("GET", "/gone", lambda request: page("<p>No</p>", 410))
        server.route("GET", "/ill", lambda request: page("<p>Ill</p>", 503))
        server.route("GET", "/moved", lambda request: Reply("", 301, {"Location": "/moved-here"}))
        server.route("GET", "/moved-away", lambda request: Reply("", 302, {"Location": "http://elsewhere.invalid/gone"}))
        server.route("GET", "/moved-away-for-good", lambda request: Reply("", 301, {"Location": "http://elsewhere.invalid/new"}))
        server.route("GET", "/moved-nowhere", lambda request: Reply("", 301, {"Location": "http://[nowhere"}))
        server.route("GET", "/moved-home", lambda request: Reply("", 308, {"Location": "/"}))
        server.route("GET", "/moved-home-today", lambda request: Reply("", 302, {"Location": "/"}))
        server.route("GET", "/moved-today", lambda request: Reply("", 307, {"Location": "/moved-away-for-good"}))
        server.route("GET", "/", lambda request: page("<p>Home</p>"))
        server.route("GET", "/moved-to-nothing", lambda request: Reply("", 301, {"Location": "/missing"}))
        server.route("GET", "/round", lambda request: Reply("", 301, {"Location": "/round"}))
        yield server


def made(folder: Path, docs: Server, text: str, more: str = "") -> Service:
    return service(folder, f"sqlite:///{folder}/triage.db", rules=f'answers:\n  - {{name: help, text: "{text}"}}\n{more}', started=False)


def prepared(app: Service) -> Canned:
    """The one prepared answer as it is offered on a question."""
    post = app.acme.post("noor@x.example", "how do I sync?")
    app.pass_()
    (one,) = desk(app, app.store.desk.mention_id(post.uri)).canned
    return one


def asked(docs: Server) -> list[str]:
    return [one["path"] for one in docs.requests]


@pytest.mark.parametrize(
    ("path", "gone", "problem"),
    [
        ("/there", False, ""),
        ("/gone", True, "the server answered 410"),
        ("/missing", True, "the server answered 404"),
        ("/moved", False, ""),
        ("/moved-away", False, ""),
        ("/moved-away-for-good", True, "moved for good to http://elsewhere.invalid/new"),
        ("/moved-nowhere", False, "the answer could not be understood"),
        ("/moved-home", True, "moved for good to http://127.0.0.1:"),
        ("/moved-home-today", False, ""),
        ("/moved-today", False, ""),
        ("/moved-to-nothing", True, "the server answered 404"),
        ("/round", False, "it leads on and on"),
        ("/ill", False, "the server answered 503"),
    ],
)
def test_what_a_look_shows(docs: Server, path: str, gone: bool, problem: str) -> None:
    """Gone is 404, 410 or a move for good. A redirect is followed on hosts that answers name; others are not asked."""
    found = look(f"{docs.url}{path}", {docs.url.removeprefix("http://")})
    assert found[0] is gone
    assert (problem in found[1]) if problem else found[1] == ""


@pytest.mark.parametrize(
    ("link", "to", "is_moved"),
    [
        ("http://a.example/x", "https://a.example/x", False),
        ("https://a.example/x", "https://www.A.example/y", False),
        ("https://www.a.example/x", "https://a.example/x", False),
        ("https://a.example/x", "https://b.example/x", True),
        ("https://a.example/x", "https://a.example", True),
        ("https://a.example/?page=1", "https://a.example/", True),
        ("https://a.example/x", "https://a.example/?page=1", False),
        ("http://a.example", "https://a.example/", False),
    ],
)
def test_what_counts_as_moved(link: str, to: str, is_moved: bool) -> None:
    """Another host, or the front page in place of another."""
    assert moved(link, to) is is_moved


def test_a_redirects_body_is_not_read(docs: Server) -> None:
    """It may never end, and nobody needs it."""
    read = Event()

    def endless(connection: Connection) -> None:
        connection.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.invalid/\r\nConnection: close\r\n\r\nlook there")
        connection.wfile.flush()
        read.wait(10)
        read.set()

    docs.route("GET", "/endless", lambda request: Reply(stream=endless))
    assert look(f"{docs.url}/endless", set()) == (False, "")
    assert not read.is_set()
    read.set()


def test_a_link_that_has_moved_is_refused_with_its_new_address(tmp_path: Path, docs: Server) -> None:
    """So that whoever mends it need not look for it."""
    app = made(tmp_path, docs, f"See {docs.url}/moved-away-for-good")
    app.pass_()
    assert "is gone (moved for good to http://elsewhere.invalid/new, looked at" in prepared(app).why_not
    app.close()


def test_nobody_there_is_a_doubt_and_no_reason_to_refuse(docs: Server) -> None:
    """The connection is refused."""
    url = docs.url
    docs.stop()
    gone, problem = look(f"{url}/there", set())
    assert (gone, bool(problem)) == (False, True)


def test_a_gone_link_refuses_the_answer_until_it_is_mended(tmp_path: Path, docs: Server) -> None:
    """A link that is there is looked at once a day, a gone one once an hour, and none while somebody types."""
    app = made(tmp_path, docs, f"See {docs.url}/page, {{{{ author }}}}.")
    app.pass_()
    assert asked(docs) == ["/page"]
    one = prepared(app)
    assert f"its link {docs.url}/page is gone (the server answered 404, looked at" in one.why_not
    app.pass_(minutes=30)
    prepared(app)
    assert asked(docs) == ["/page"]
    docs.route("GET", "/page", lambda request: page("<p>Here</p>"))
    app.pass_(minutes=31)
    assert asked(docs) == ["/page"] * 2
    one = prepared(app)
    assert (one.why_not, one.warning) == ("", "")
    app.pass_(hours=23)
    assert asked(docs) == ["/page"] * 2
    app.pass_(hours=1, minutes=1)
    assert asked(docs) == ["/page"] * 3
    app.close()


def test_a_link_that_cant_be_looked_at_is_told_beside_the_answer(tmp_path: Path, docs: Server) -> None:
    """It may be used."""
    app = made(tmp_path, docs, f"See {docs.url}/ill.")
    app.pass_()
    one = prepared(app)
    assert one.why_not == ""
    assert f"its link {docs.url}/ill could not be looked at" in one.warning
    app.close()


def test_few_at_once_and_only_what_stands_whole(tmp_path: Path, docs: Server) -> None:
    """Three a minute; an address that is filled in later is nobody's yet."""
    links = " ".join(f"{docs.url}/there?{number}" for number in range(4))
    app = made(tmp_path, docs, f"{links} {docs.url}/{{{{ ticket }}}} {{{{ url }}}}")
    assert look_at_links(app) == 3
    assert look_at_links(app) == 0
    app.clock.move(minutes=1)
    assert look_at_links(app) == 1
    app.clock.move(minutes=1)
    assert look_at_links(app) == 0
    assert set(asked(docs)) == {"/there"}
    assert len(asked(docs)) == 4
    app.close()


def test_who_wants_no_looks_gets_none(tmp_path: Path, docs: Server) -> None:
    """And what was known before is not held against an answer; what nobody names any more is forgotten."""
    app = made(tmp_path, docs, f"See {docs.url}/gone.")
    app.pass_()
    assert set(app.store.links.known()) == {f"{docs.url}/gone"}
    app.close()
    off = made(tmp_path, docs, f"See {docs.url}/gone.", "check_links: false\n")
    off.pass_(hours=2)
    assert (prepared(off).why_not, len(asked(docs))) == ("", 1)
    off.close()
    other = made(tmp_path, docs, f"See {docs.url}/there.")
    other.pass_(hours=2)
    assert set(other.store.links.known()) == {f"{docs.url}/there"}
    other.close()
