"""May a post be answered, how would it look, what could be said: pure decisions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.configs import parse, refusal
from triage.config.rules import Answer, Style
from triage.contracts import Shown
from triage.mention import Author, Mention, State, Visibility
from triage.person import Person, Role
from triage.replies import (
    Answered,
    Given,
    May,
    Post,
    Preview,
    Situation,
    canned,
    check,
    community,
    style_hits,
    suggest,
    why_not_approve,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MENTION = Mention(
    uri="https://x.example/1",
    platform="memory",
    source="acme",
    remote_id="1",
    author=Author("noor@x.example", "Noor"),
    text="how do I sync?",
    created_at=NOW,
    language="en",
)
GIVEN = Given(action_id=3, mention_id=7, by="bo", text="so", state=State.DONE, at=NOW)


def situation(**more: Any) -> Situation:
    return replace(Situation(MENTION, mention_id=7), **more)


@pytest.mark.parametrize(
    ("more", "may", "reason"),
    [
        ({}, May.YES, ""),
        ({"deleted_at": NOW}, May.NO, "the author deleted the post at 2026-05-01 12:00 UTC"),
        ({"observes": True}, May.NO, "the service only observes"),
        ({"copied": True}, May.NO, "a copy"),
        ({"refused_token": "401"}, May.NO, "the account's token was refused: 401"),
        ({"refused_token": "401", "replies": False}, May.BY_HAND, "this platform takes no answers from us"),
        ({"configured": False}, May.BY_HAND, "its source is not in the config"),
        ({"given": [GIVEN]}, May.AGAIN, "bo answered at 2026-05-01 12:00 UTC"),
        ({"given": [replace(GIVEN, mention_id=8)]}, May.AGAIN, "(to post 8 of the thread)"),
        ({"given": [replace(GIVEN, state=State.PLANNED)]}, May.AGAIN, "bo's answer is on its way"),
        ({"given": [replace(GIVEN, state=State.DOUBT)]}, May.AGAIN, "it is not known whether bo's answer was posted"),
        ({"given": [replace(GIVEN, state=State.PARKED)]}, May.AGAIN, "bo's answer is stuck"),
        ({"given": [replace(GIVEN, state=State.REJECTED)]}, May.YES, ""),
        ({"colleague": "kim", "colleague_at": NOW}, May.AGAIN, "kim answered from their own account"),
        ({"blocked": GIVEN}, May.AGAIN, "they may have blocked us"),
    ],
)
def test_each_obstacle_is_told_with_the_next_step(more: dict[str, Any], may: May, reason: str) -> None:
    """Before anybody types; a yes needs no reason."""
    found = check(situation(**more))
    assert found.may is may
    assert reason in found.reason
    assert bool(found.next_step) is (may is not May.YES)


def test_what_must_be_heeded_is_said_beside_a_yes() -> None:
    """It warns and refuses nothing."""
    mention = replace(MENTION, visibility=Visibility.DIRECT, author=replace(MENTION.author, no_bots=True))
    found = check(situation(mention=mention, signals=frozenset({"anger"}), paused_until=NOW, restored=True))
    assert found.may is May.YES
    assert [warning.split(":")[0] for warning in found.warnings] == [
        "the post is angry",
        "the post is private",
        "the author asks for no bots (#nobot)",
        "the account rests until 2026-05-01 12",
        "the store was restored",
    ]


def said(author: str, text: str, minutes: float, parent: str | None = "1") -> Post:
    return Post(author, text, NOW + timedelta(minutes=minutes), parent)


@pytest.mark.parametrize(
    ("posts", "who"),
    [
        ([said("kim@y.example", "press Sync", 1), said("noor@x.example", "thanks, that worked", 2)], "kim@y.example"),
        ([said("kim@y.example", "press Sync", 1), said("NOOR@x.example", "Merci !", 2)], "kim@y.example"),
        ([said("kim@y.example", "press Sync", 1), said("noor@x.example", "thanks, but it still fails", 2)], ""),
        ([said("kim@y.example", "press Sync", 1), said("noor@x.example", "I will try", 2)], ""),
        ([said("kim@y.example", "press Sync", 1)], ""),
        ([said("noor@x.example", "thanks", 1), said("kim@y.example", "press Sync", 2)], ""),
        ([said("kim@y.example", "me too", 1, "99"), said("noor@x.example", "thanks", 2)], ""),
        ([said("kim@y.example", "press Sync", -2), said("noor@x.example", "thanks", -1)], ""),
    ],
)
def test_the_community_answered_only_where_the_author_thanked(posts: list[Post], who: str) -> None:
    """Everything else is unknown, and unknown is no."""
    found = community(MENTION, posts)
    assert (found.author if found else "") == who


def test_a_preview_counts_in_words() -> None:
    """One post and several."""
    post = Shown("@noor so", 8, 500)
    assert Preview((), "").words == "nothing to send yet"
    assert Preview((post,), "").words == "8 of 500 characters"
    assert Preview((post, replace(post, limit=None)), "").words == "2 posts: 8 of 500, 8 characters"


def test_style_hits_show_what_stands_there_and_the_line() -> None:
    """The first place of each entry; as it is written, not as it is listed."""
    style = [
        Style(words=("simpl*", "just"), say="leave it out", line="No.", guide="https://g.example"),
        Style(pattern=r"calm\s+down", line="Nobody."),
    ]
    hits = style_hits(style, "It is JUST one key. CALM  down, just wait.")
    assert [(hit.found, hit.say, hit.line) for hit in hits] == [("JUST", "leave it out", "No."), ("CALM  down", "", "Nobody.")]
    assert style_hits(style, "justice") == []


def ready(text: str, *, signals: frozenset[str] = frozenset(), ticket: str = "", solved: dict[str, str] | None = None, **more: Any) -> Any:
    answer = Answer(name="one", text=text, **more)
    [found] = canned([answer], MENTION, signals, greeting="Noor", ticket=ticket, product="Acme", solved=solved)
    return found


def test_a_prepared_answer_is_filled_in() -> None:
    """With what the config may name."""
    assert (
        ready("Hello {{ author }} ({{ handle }}), {{ product }}: {{ ticket }}", ticket="A-1").text
        == "Hello Noor (noor@x.example), Acme: A-1"
    )


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (lambda: ready("so", problem="A-1", solved={"A-1": "Fixed"}), "A-1 is solved (Fixed)"),
        (lambda: ready("so", problem="A-1", solved={"A-2": "Fixed"}), ""),
        (lambda: ready("ha", playful=True, signals=frozenset({"anger"})), "an angry post"),
        (lambda: ready("ha", playful=True, signals=frozenset({"outage"})), "an outage"),
        (lambda: ready("ha", playful=True, signals=frozenset({"data_loss"})), "lost data"),
        (lambda: ready("ha", playful=True), ""),
        (lambda: ready("see {{ ticket }}"), "there is none"),
        (lambda: ready("{% if ticket %}see {{ ticket }}{% endif %}"), ""),
        (lambda: ready("so", language="de"), "it is in de"),
        (lambda: ready("so", language="en"), ""),
        (lambda: ready("{{ 1 / 0 }}"), "can't be filled in (ZeroDivisionError)"),
    ],
)
def test_a_prepared_answer_that_does_not_fit_says_why(found: Any, why: str) -> None:
    """Empty where it does."""
    assert (why in found().why_not) if why else found().why_not == ""


def test_a_template_can_not_reach_out() -> None:
    """It is the sandbox's: attributes of Python are not there."""
    assert "can't be filled in" in ready("{{ author.__class__.__mro__ }}").why_not


def answered(question: str, answer: str = "so") -> Answered:
    return Answered(1, question, answer, "bo", NOW)


def test_only_a_like_question_suggests_its_answer() -> None:
    """In other words and another order; a short one is like anything, and so is like nothing."""
    earlier = [answered("where are invoices kept for last year?", "there"), answered("How do I sync my notes between two phones", "log in")]
    found = suggest("@us hello, how do I sync notes between my two phones? https://x.example/a", earlier)
    assert found is not None
    assert found.source.answer == "log in"
    assert suggest("can the colour of the window be changed to blue", earlier) is None
    assert suggest("sync", earlier) is None
    assert suggest("how do I sync my notes between two phones", [answered("sync")]) is None
    assert suggest("how do I sync my notes between two phones", []) is None


def person(name: str, role: Role) -> Person:
    return Person(1, name, role)


@pytest.mark.parametrize(
    ("role", "who", "hours", "may"),
    [
        ("approver", person("bo", Role.APPROVER), 0, True),
        ("approver", person("bo", Role.ADMIN), 0, True),
        ("approver", person("bo", Role.TRIAGER), 9, False),
        ("approver", person("ana", Role.ADMIN), 9, False),
        ("admin", person("bo", Role.APPROVER), 3, False),
        ("admin", person("bo", Role.APPROVER), 4, True),
        ("legal", person("lex", Role.TRIAGER), 0, True),
        ("legal", person("bo", Role.ADMIN), 3, False),
        ("legal", person("bo", Role.APPROVER), 4, True),
        ("gone", person("bo", Role.ADMIN), 0, False),
    ],
)
def test_who_may_let_an_answer_go(role: str, who: Person, hours: float, may: bool) -> None:
    """Never the writer `ana`; after four hours any approver."""
    why = why_not_approve(role, "ana", NOW, who, {"legal": ["lex"]}, NOW + timedelta(hours=hours), 4 * 3600.0)
    assert (why == "") is may


def test_an_answer_is_as_public_as_the_post_or_less() -> None:
    """Followers' posts are answered to their author alone."""
    assert [one.of_answer for one in Visibility] == [Visibility.PUBLIC, Visibility.UNLISTED, Visibility.DIRECT, Visibility.DIRECT]


# The config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("answers: [{name: a, text: b}, {name: a, text: c}]\n", 'the name "a" is given twice'),
        ("answers: [{name: a, text: '{{ autor }}'}]\n", 'text uses "autor", which nothing fills'),
        ("answers: [{name: a, text: '{% if %}'}]\n", "text is no valid template"),
        ("answers: [{name: a, text: '{{ product }}'}]\n", "the config names none"),
        ("style: [{line: a}]\n", "looks for nothing"),
        ("style: [{line: a, words: ['*']}]\n", "without letters"),
        ("style: [{line: a, pattern: '('}]\n", "no regular expression"),
        ("rules: [{name: a, then: task, reason: b, approve: legl}]\ngroups: {legal: [ana]}\n", 'approve: "legl" is no role'),
        ("web: {hold: 11m}\n", "web.hold"),
    ],
)
def test_a_mistake_in_the_config_is_named(text: str, said: str) -> None:
    """With its line."""
    assert said in refusal(text)


def test_a_hold_of_nothing_is_allowed() -> None:
    """Who wants no hold says so."""
    assert parse("web: {hold: 0s}\n").web.hold == 0
