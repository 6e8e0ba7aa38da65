"""Mentions, verdicts and rules for the tests of routing, single ones and any."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from triage import config
from triage.config import Rule
from triage.mention import Author, Label, Mention, Problem, Ticket, Verdict, Visibility
from triage.rules import Decision, Facts, route
from triage.signals import SIGNALS

URI = "https://social.example/@kim/1"
TICKET = Ticket(id="10001", key="HELP-7", url="https://jira.example/browse/HELP-7")
FACTS = Facts(site="shop", tracker="jira", notifiers=("oncall", "chat"), new_author=False, mention_id=12)
DEFAULTS = config.parse("mode: act\n", Path("config.yaml"), {}).rules


def a_mention(text: str = "The export is empty", **changes: Any) -> Mention:
    author = Author(
        handle=changes.pop("handle", "kim@social.example"), name=changes.pop("name", "Kim"), followers=changes.pop("followers", 10)
    )
    fields: dict[str, Any] = {
        "uri": URI,
        "platform": "mastodon",
        "source": "acme",
        "remote_id": "1",
        "author": author,
        "text": text,
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
        "url": URI,
        **changes,
    }
    return Mention(**fields)


def a_verdict(label: str = "bug_report", confidence: float = 0.93, *, sure: bool = True, signals: str = "", **changes: Any) -> Verdict:
    rest = (1 - confidence) / 3
    scores = {str(one): confidence if one == label else rest for one in Label}
    fields = {"by": "model-1", "signals": frozenset(signals.split()), **changes}
    return Verdict(label=Label(label), confidence=confidence, scores=scores, sure=sure, **fields)


def a_rule(then: Any = "task", **keys: Any) -> Rule:
    return Rule.model_validate({"name": "one", "reason": "why", "then": then, **keys})


def decide(*rules: Rule, mention: Mention | None = None, verdict: Verdict | None = None, **changes: Any) -> Decision:
    problem = changes.pop("problem", Problem(id=5, thread=URI))
    facts = changes.pop("facts", FACTS)
    return route(mention or a_mention(**changes), verdict or a_verdict(), problem, rules, facts)


def kinds(decision: Decision) -> list[str]:
    return [str(plan.kind) for plan in decision.plans]


def matches(when: dict[str, Any], mention: Mention | None = None, verdict: Verdict | None = None, facts: Facts = FACTS) -> bool:
    return decide(a_rule(when=when), mention=mention, verdict=verdict, facts=facts).rule == "one"


TEXTS = st.text(max_size=40)
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "label": st.lists(st.sampled_from(Label), min_size=1),
        "sure": st.booleans(),
        "confidence": st.fixed_dictionaries({}, optional={"min": st.floats(0, 1), "max": st.floats(0, 1)}),
        "source": st.lists(st.sampled_from(["acme", "other"]), min_size=1),
        "visibility": st.lists(st.sampled_from(Visibility), min_size=1),
        "language": st.lists(st.sampled_from(["en", "pt", "pt-BR"]), min_size=1),
        "words": st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=3),
        "author": st.lists(st.sampled_from(["*", "kim@*", "[", "*@social.example"]), min_size=1),
        "new_author": st.booleans(),
        "followers": st.fixed_dictionaries({}, optional={"min": st.integers(0, 50), "max": st.integers(0, 50)}),
        "signal": st.lists(st.sampled_from(SIGNALS), min_size=1),
    },
)
RULES = st.builds(
    Rule,
    name=st.sampled_from(["a", "b", "c"]),
    when=CONDITIONS.map(config.When.model_validate),
    then=st.lists(st.sampled_from(["ticket", "task", "draft", "alert", "archive"]), min_size=1, unique=True).map(tuple),
    mode=st.sampled_from(["auto", "suggest"]),
    reason=st.text(min_size=1, max_size=10),
    urgent=st.booleans(),
    draft=st.none() | st.sampled_from(["Hello {{ author }}", "{{ 1 / 0 }}", "{{"]),
)
MENTIONS = st.builds(
    a_mention,
    text=TEXTS,
    handle=TEXTS,
    name=TEXTS,
    followers=st.none() | st.integers(0, 100),
    visibility=st.sampled_from(Visibility),
    language=st.none() | st.sampled_from(["en", "pt-BR", "xx"]),
    warning=TEXTS,
    url=TEXTS,
)
VERDICTS = st.builds(
    Verdict,
    label=st.sampled_from(Label),
    confidence=st.floats(0, 1),
    scores=st.dictionaries(st.sampled_from([str(label) for label in Label]), st.floats(0, 1)),
    sure=st.booleans(),
    by=TEXTS,
    by_person=st.booleans(),
    language=st.none() | TEXTS,
    signals=st.frozensets(st.sampled_from(SIGNALS)),
)
PROBLEMS = st.builds(Problem, id=st.integers(1, 9), thread=TEXTS, ticket=st.none() | st.just(TICKET), ticket_planned=st.booleans())
FACTS_OF_ANY = st.builds(
    Facts,
    site=st.just("shop"),
    tracker=st.none() | st.just("jira"),
    notifiers=st.lists(st.sampled_from(["oncall", "chat"]), max_size=3).map(tuple),
    new_author=st.booleans(),
    mention_id=st.integers(1, 9),
)
