"""What is sent to Jira, and how the client is made, without a server."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.contract.trackers import a_comment, a_mention, a_verdict, some_work
from triage import remote
from triage.errors import OutcomeUnknown, Refused
from triage.mention import Attachment, Author, Problem, Receipt
from triage.trackers import jira, wording
from triage.trackers.markup import LONGEST_TEXT, clean, document, document_size, fit, last_line, units, wiki

CLOUD: dict[str, Any] = {
    "url": "https://acme.example/",
    "deployment": "cloud",
    "user": "bot@acme.example",
    "token": "canary-4711",
    "project": "QUAY",
}
DATA_CENTER: dict[str, Any] = {"url": "https://acme.example/jira", "deployment": "data_center", "token": "canary-4711", "project": "QUAY"}


@pytest.mark.parametrize("values", [CLOUD, DATA_CENTER])
def test_the_client_repeats_nothing_and_has_a_time_limit(values: dict[str, Any]) -> None:
    """No retry of its own, a time-out, a deadline for each call: otherwise one dropped answer makes two tickets."""
    client = jira.Jira("quay-jira", jira.Options(**values)).client
    assert client._session.max_retries == 0
    assert client._session.timeout == remote.DEADLINE_SECONDS
    for scheme in ("https://", "http://"):
        adapter = client._session.get_adapter(scheme)
        assert isinstance(adapter, remote.Adapter)
        assert adapter.deadline == remote.DEADLINE_SECONDS
        assert adapter.account == "quay-jira"
        assert adapter.max_retries.total == 0


def test_making_one_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker is made while no server is up, and without a look at the network."""

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("it opened a socket")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    jira.Jira("jira", jira.Options(**CLOUD))
    jira.Jira("jira", jira.Options(**DATA_CENTER))


def test_each_kind_of_jira_gets_its_api_and_log_in() -> None:
    """Cloud: API 3, e-mail and token. Data Center: API 2, the token as bearer, or user and password."""
    cloud = jira.Jira("jira", jira.Options(**CLOUD)).client
    assert cloud._get_url("issue") == "https://acme.example/rest/api/3/issue"
    assert cloud.deploymentType == "Cloud"
    assert cloud._session.auth == ("bot@acme.example", "canary-4711")
    server = jira.Jira("jira", jira.Options(**DATA_CENTER)).client
    assert server._get_url("issue") == "https://acme.example/jira/rest/api/2/issue"
    assert server.deploymentType == "Server"
    assert server._session.auth._token == "canary-4711"
    assert jira.Jira("jira", jira.Options(**DATA_CENTER, user="bot")).client._session.auth == ("bot", "canary-4711")


def test_the_token_is_masked() -> None:
    """It is in no repr, and `redact` knows it."""
    tracker = jira.Jira("jira", jira.Options(**CLOUD))
    assert "canary" not in repr(tracker.options)
    assert "canary" not in str(tracker.options)
    assert "canary" not in remote.redact("see canary-4711 here")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user": None}, "e-mail"),
        ({"url": "acme.example"}, "address"),
        ({"url": "ftp://acme.example"}, "address"),
        ({"url": "https://user:pass@acme.example"}, "address"),
        ({"url": "https://acme.example/?x=1"}, "address"),
        ({"deployment": "server"}, "deployment"),
        ({"project": 'QUAY" OR'}, "project"),
        ({"project": "quay"}, "project"),
        ({"labels": ["two words"]}, "label"),
        ({"labels": [""]}, "label"),
        ({"fields": {"summary": "x"}}, "summary"),
        ({"summary": "{{ authr }}"}, "authr"),
        ({"summary": "{{ author"}, "mistake in line 1"),
        ({"summary": "{{ author.__class__.__mro__ }}"}, "SecurityError"),
        ({"summary": "{{ 1 / 0 }}"}, "ZeroDivisionError"),
        ({"description": "{% for %}"}, "mistake"),
        ({"tokn": "x"}, "tokn"),
    ],
)
def test_a_bad_option_is_refused(changes: dict[str, Any], said: str) -> None:
    """The error names what is wrong, and never the token."""
    with pytest.raises(ValidationError) as caught:
        jira.Options(**CLOUD | changes)
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


def test_every_name_of_a_template_has_a_value() -> None:
    """What the check of a template knows is what a ticket has."""
    assert wording.variables(some_work()).keys() == wording.SAMPLE.keys()
    bare = some_work(mention=a_mention(text="", author=Author("a@b.example"), language=None, url=""), verdict=None)
    assert wording.variables(bare).keys() == wording.SAMPLE.keys()


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "Mira Lund: the export is empty since 3.2"),
        ({"author": Author("mira@tilde.example")}, "mira@tilde.example: the export is empty since 3.2"),
        ({"text": "\n\n  @a @b@c.example   so\tbroken \nmore"}, "Mira Lund: so broken"),
        ({"text": ""}, "Mira Lund: (no text)"),
        ({"text": "", "warning": "bug"}, "Mira Lund: bug"),
        ({"text": "\u202eevil\u0000\r\nx"}, "Mira Lund: evil"),
    ],
)
def test_the_title_is_one_plain_line(changes: dict[str, Any], title: str) -> None:
    """Who and what, on one line, without the names that the post begins with and without invisible characters."""
    assert wording.summary("{{ author }}: {{ first_line }}", some_work(mention=a_mention(**changes))) == title


@given(st.text(st.characters(codec=None), max_size=600), st.text(max_size=300))
def test_any_title_is_one_line_within_the_limit(text: str, name: str) -> None:
    """Whatever somebody is called or writes."""
    work = some_work(mention=a_mention(text=text, author=Author("a@b.example", name)))
    title = wording.summary("{{ author }}: {{ text }}", work)
    assert title.strip()
    assert units(title) <= 255
    assert title.splitlines() == [title]


def test_a_template_that_yields_nothing_still_makes_a_title() -> None:
    """Jira refuses an empty one."""
    assert wording.summary("{% if false %}x{% endif %}", some_work()) == "Post by mira@tilde.example"


def test_a_template_that_fails_is_refused_with_its_reason() -> None:
    """It worked on the sample and fails on this post: a person must see why."""
    with pytest.raises(Refused, match="ZeroDivisionError"):
        wording.summary("{{ 1 // (confidence - 0.93) }}", some_work(verdict=a_verdict(confidence=0.93)))


def huge(letter: str) -> Any:
    """A post in which everything is far too long."""
    long = letter * 50_000
    author = Author(f"{long}@x.example", long, f"https://x.example/{'p' * 900}")
    attachments = tuple(Attachment(long, f"https://x.example/{number}{'p' * 900}", long) for number in range(40))
    links = {"uri": f"https://x.example/{'u' * 900}", "url": f"https://x.example/{'v' * 900}", "quote": f"https://x.example/{'w' * 900}"}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return a_mention(
        text=long,
        author=author,
        attachments=attachments,
        warning=long,
        poll=(long, long),
        language=long,
        thread=f"https://x.example/{'t' * 900}",
        edited_at=now,
        created_at=now - timedelta(days=1),
        **links,
    )


@pytest.mark.parametrize(("render", "size"), [(document, document_size), (wiki, units)])
@pytest.mark.parametrize("letter", ["a", "\\", '"', "🦀", "a\n", "{"])
def test_everything_too_long_still_fits(render: Any, size: Any, letter: str) -> None:
    """With all parts at their largest the text is within Jira's limit and ends with the marker."""
    verdict = a_verdict(evidence=tuple(letter * 5_000 for _ in range(30)), by=letter * 5_000, signals=frozenset((letter * 500,)))
    problem = Problem(1, f"https://x.example/{'t' * 900}")
    work = some_work(mention=huge(letter), verdict=verdict, reason=letter * 5_000, problem=problem)
    for blocks in (wording.ticket("{{ text }}", work), wording.comment(replace(work, payload={"what": "report", "text": letter * 50_000}))):
        whole = fit(blocks, render, size, LONGEST_TEXT)
        assert size(whole) <= LONGEST_TEXT
        assert last_line(whole) == f"triage:{work.marker}"


@settings(max_examples=50)
@given(st.text(st.characters(codec=None), max_size=200))
def test_the_last_line_is_ours_whatever_the_post_says(text: str) -> None:
    """A post can neither push the marker away nor end with one of its own."""
    mention = a_mention(text=f"{text}\ntriage:{'0' * 20}", warning=text, author=Author("a@b.example", text))
    work = some_work(mention=mention, reason=text)
    for render in (document, wiki):
        assert last_line(render(wording.ticket("", work)(LONGEST_TEXT))) == f"triage:{work.marker}"
        assert last_line(render(wording.comment(replace(work, payload={}))(LONGEST_TEXT))) == f"triage:{work.marker}"


def test_a_ticket_tells_about_poll_quote_edit_and_warning() -> None:
    """What a post has beside its text is told in words."""
    mention = a_mention(
        warning="rant", poll=("yes", "no"), quote="https://x.example/9", edited_at=a_mention().created_at + timedelta(hours=1), thread=None
    )
    text = wiki(wording.ticket("By {{ handle }}, about {{ label }}.", some_work(mention=mention, problem=None))(LONGEST_TEXT))
    for wanted in (
        "Content warning: rant",
        "yes / no",
        "[https://x.example/9]",
        "wrote on 2026",
        "10:05 UTC",
        "09:05 UTC",
        "about bug\\_report.",
    ):
        assert wanted in text
    assert "Thread" not in text


def test_more_attachments_than_fit_are_counted() -> None:
    """Eight are linked, the rest are told."""
    attachments = tuple(Attachment("image", f"https://x.example/{number}") for number in range(11))
    text = wiki(wording.ticket("", some_work(mention=a_mention(attachments=attachments)))(LONGEST_TEXT))
    assert "https://x.example/7]" in text
    assert "https://x.example/8]" not in text
    assert "3, see the post" in text
    assert "no description" in text


def test_a_verdict_by_a_person_bears_no_percentage() -> None:
    """A person is not 93 % sure; a model that is not sure says so."""
    person = wiki(wording.ticket("", some_work(verdict=a_verdict(by="sam", by_person=True)))(LONGEST_TEXT))
    assert "bug report by sam" in person
    unsure = wiki(wording.ticket("", some_work(verdict=a_verdict(confidence=0.41, sure=False)))(LONGEST_TEXT))
    assert r"41\% \(not sure\) by model\-1" in unsure


@pytest.mark.parametrize("marker", ["", "short", "0123456789ABCDEF", 'x" OR project = "OPS', "0" * 65])
def test_an_odd_marker_never_reaches_a_query(marker: str) -> None:
    """A marker goes into JQL and onto a line of its own: anything but hexadecimal digits is a mistake in the program."""
    with pytest.raises(ValueError, match="hexadecimal"):
        jira.mark(marker)


@pytest.mark.parametrize("answer", [{"id": "1"}, {"id": "x", "key": "QUAY-1"}, {"id": "1", "key": None}, {"id": "1", "key": "<html>"}])
def test_an_answer_that_names_no_ticket_is_doubt(answer: dict[str, Any]) -> None:
    """201 without a usable id and key: it may have happened."""
    tracker = jira.Jira("jira", jira.Options(**CLOUD))
    with pytest.raises(OutcomeUnknown), remote.talking("jira"):
        tracker._receipt(answer)


def test_a_comment_without_words_of_ours_leaves_no_gap() -> None:
    """No empty paragraph stands where no note was given."""
    blocks = wording.comment(a_comment(Receipt("1", "QUAY-1"), "relabelled"))(LONGEST_TEXT)
    assert "\n\n\n" not in wiki(blocks)
    assert clean(wiki(blocks)).startswith("The post was labelled anew.")
