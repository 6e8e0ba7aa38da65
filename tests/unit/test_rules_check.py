"""Rules that can't do what they say are found before they are used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing import (
    DEFAULTS,
    FACTS_OF_ANY,
    MENTIONS,
    RULES,
    URI,
    VERDICTS,
    a_rule,
)
from triage.config import Rule
from triage.mention import Label, Mention, Problem, Verdict
from triage.rules import Facts, check, route


def told(*rules: Rule) -> list[tuple[int, str]]:
    return check([rule.model_copy(update={"name": chr(97 + index)}) for index, rule in enumerate(rules)])


DEAD = "can never match: {} above takes all that it could; move it up, narrow the other or drop it"


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({}, {"label": "praise"}),
        ({}, {}),
        ({"label": ["praise", "noise"]}, {"label": "noise"}),
        ({"sure": True}, {"sure": True, "label": "noise"}),
        ({"confidence": {"min": 0.5}}, {"confidence": {"min": 0.6, "max": 0.7}}),
        ({"confidence": {}}, {"label": "praise"}),
        ({"followers": {"min": 5}}, {"followers": {"min": 5, "max": 9}}),
        ({"visibility": ["private", "direct"]}, {"visibility": "direct"}),
        ({"source": ["acme", "other"]}, {"source": "acme"}),
        ({"language": "pt"}, {"language": "pt-BR"}),
        ({"words": ["refund*", "money"]}, {"words": ["Refunds", "money"]}),
        ({"author": "*@Spam.example"}, {"author": "@joe@spam.example"}),
        ({"signal": ["anger", "outage"]}, {"signal": "anger", "label": "noise"}),
        ({"new_author": True}, {"new_author": True, "followers": {"min": 5}}),
    ],
)
def test_a_rule_that_an_earlier_one_leaves_nothing_is_dead(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """And the other way round it lives, unless both say the same."""
    assert told(a_rule(when=earlier), a_rule(when=later)) == [(1, DEAD.format('"a"'))]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"label": "praise"}, {}),
        ({"label": "praise"}, {"label": ["praise", "noise"]}),
        ({"sure": True}, {"label": "praise"}),
        ({"confidence": {"min": 0.5}}, {"confidence": {"min": 0.4}}),
        ({"confidence": {"max": 0.9}}, {}),
        ({"followers": {}}, {}),
        ({"followers": {"max": 9}}, {"followers": {"min": 5}}),
        ({"language": "pt-BR"}, {"language": "pt"}),
        ({"words": "refund"}, {"words": "refund*"}),
        ({"words": "money back*"}, {"words": "money backwards"}),
        ({"author": "joe@spam.example"}, {"author": "*@spam.example"}),
        ({"author": "a*"}, {"author": "ab*"}),
        ({"signal": "anger"}, {"label": "noise"}),
        ({"source": "acme"}, {"source": ["acme", "other"]}),
    ],
)
def test_a_rule_that_something_is_left_for_lives(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """In doubt it is not refused."""
    assert told(a_rule(when=earlier), a_rule(when=later)) == []


def test_several_rules_together_can_leave_nothing() -> None:
    """Each takes a part; the message names them all."""
    rules = [a_rule(when={"sure": True, "label": "praise"}), a_rule(when={"sure": False}), a_rule(when={"label": "praise"})]
    assert told(*rules) == [(2, DEAD.format('"a" and "b"'))]
    assert told(*rules[:2], a_rule(when={"label": ["praise", "noise"]})) == []
    catch_all = [a_rule(when={"label": str(label)}) for label in Label]
    assert [index for index, _ in told(*catch_all, a_rule())] == [4]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (a_rule(when={"label": []}), "when.label is an empty list, which nothing matches; name something or drop it"),
        (a_rule(when={"confidence": {"min": 0.9, "max": 0.2}}), "when.confidence: min 0.9 is above max 0.2"),
        (a_rule(when={"followers": {"min": 9, "max": 2}}), "when.followers: min 9 is above max 2"),
        (a_rule(when={"words": ["*"]}), "when.words holds one without letters; a word, or its beginning and `*`"),
        (a_rule([]), "then is an empty list; `archive` is the least that can be done"),
        (a_rule(["task", "task"]), "then names task twice"),
        (a_rule(["archive", "alert"]), "then can't be archive and alert at once"),
        (a_rule(["ticket", "archive"]), "then can't be archive and ticket at once"),
        (a_rule(["ticket"], when={"visibility": "direct"}), "a private post never files a ticket by itself; make it a task"),
        (a_rule(["alert"], when={"visibility": ["private"]}), "a private post never raises an alert by itself; make it a task"),
        (a_rule("archive", urgent=True), "urgent says something of a task or an alert, and then names none"),
        (a_rule("task", mode="suggest"), "mode suggest has nothing to suggest: a task or a draft is a person's anyway"),
        (a_rule("draft"), "then names draft, but there is no text: add `draft: …`"),
        (a_rule("task", draft="x"), "has the text of a draft, but then does not name draft"),
        (a_rule("draft", draft="{{ autor }}"), 'draft uses "autor", which nothing fills; did you mean "author"?'),
        (
            a_rule("draft", draft="{{ text }}"),
            'draft uses "text", which nothing fills; possible here: author, handle, label, ticket, url',
        ),
        (a_rule("draft", draft="{% if %}"), "draft is no valid template: Expected an expression, got 'end of statement block'"),
    ],
)
def test_a_rule_that_contradicts_itself_is_told(rule: Rule, text: str) -> None:
    """Each with the way out."""
    assert told(rule) == [(0, text)]


def test_two_rules_of_one_name_are_told() -> None:
    """Metrics and reasons could not tell them apart."""
    rules = [a_rule(when={"label": "praise"}), a_rule()]
    assert check(rules) == [(1, 'the name "one" is given twice; rules need names of their own')]


def test_the_default_rules_can_all_match() -> None:
    """They pass the check that they are shipped with."""
    assert check(DEFAULTS) == []


@given(st.lists(RULES, max_size=5), MENTIONS, VERDICTS, FACTS_OF_ANY)
def test_a_rule_that_is_said_never_to_match_never_matches(rules: list[Rule], mention: Mention, verdict: Verdict, facts: Facts) -> None:
    """The check may miss a dead rule; it must not call a live one dead."""
    named = [rule.model_copy(update={"name": str(index)}) for index, rule in enumerate(rules)]
    dead = {str(index) for index, text in check(named) if "never match" in text}
    assert route(mention, verdict, Problem(1, URI), named, facts).rule not in dead
