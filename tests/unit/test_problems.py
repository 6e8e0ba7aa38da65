"""Which thread a mention belongs to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from triage.mention import Author, Mention
from triage.problems import thread_of

POST = Mention("uri:2", "mastodon", "acme", "2", Author("kim@social.example"), "text", datetime(2026, 1, 2, tzinfo=UTC))


def test_a_post_that_answers_nothing_begins_a_thread() -> None:
    """Its own uri names it."""
    assert thread_of(POST, {}) == ("uri:2", "it answers nothing, so it begins a thread")


def test_an_answer_belongs_to_the_thread_of_its_parent() -> None:
    """Where the parent is known, nobody needs to be asked."""
    assert thread_of(replace(POST, parent_id="1"), {"1": "uri:0"}) == ("uri:0", "it answers a post of this thread")


def test_an_answer_to_an_unknown_post_must_be_looked_up() -> None:
    """Even where posts of other threads are known."""
    assert thread_of(replace(POST, parent_id="1"), {"3": "uri:3"}) == (None, "it answers a post that we don't know")


def test_a_thread_that_the_platform_told_is_believed() -> None:
    """It knows more than the parent alone."""
    assert thread_of(replace(POST, parent_id="1", thread="uri:9"), {"1": "uri:0"}) == ("uri:9", "its platform told the thread")


def test_a_post_that_is_said_to_answer_itself_begins_a_thread() -> None:
    """A broken server must not send us looking for ever."""
    assert thread_of(replace(POST, parent_id="2"), {})[0] == "uri:2"
