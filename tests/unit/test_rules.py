"""Rules: which one takes a mention, what follows, what no rule can override, and which rules can't work."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage import config
from triage.config import Rule
from triage.mention import ActionKind, Author, Label, Mention, Plan, Problem, Ticket, Verdict, Visibility
from triage.rules import Decision, Facts, accepted, check, greeting, render, reply_key, route
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


# The default rules


@pytest.mark.parametrize(
    ("verdict", "mention", "rule", "actions", "what"),
    [
        (a_verdict(), a_mention(visibility=Visibility.DIRECT), "private", ["task"], "acknowledge"),
        (a_verdict("praise"), a_mention(visibility=Visibility.PRIVATE), "private", ["task"], "thank"),
        (a_verdict("noise", signals="security"), a_mention(visibility=Visibility.PRIVATE), "private", ["task"], "read"),
        (a_verdict(signals="security"), a_mention(), "critical", ["alert", "alert", "task"], "acknowledge"),
        (a_verdict("support_question", signals="payment anger"), a_mention(), "critical", ["alert", "alert", "task"], "answer"),
        (a_verdict("noise", 0.4, sure=False, signals="data_loss"), a_mention(), "critical, unsure", ["alert", "alert", "task"], "judge"),
        (a_verdict("praise", signals="security"), a_mention(), "praise", ["archive"], None),
        (a_verdict("noise", signals="payment"), a_mention(), "noise", ["archive"], None),
        (a_verdict(sure=False), a_mention(), "unsure", ["task"], "judge"),
        (a_verdict("noise", sure=False), a_mention(), "unsure", ["task"], "judge"),
        (a_verdict(), a_mention(), "bug", ["ticket", "task"], "acknowledge"),
        (a_verdict(signals="anger outage"), a_mention(), "bug", ["ticket", "task"], "acknowledge"),
        (a_verdict("noise", signals="anger"), a_mention(), "angry", ["task"], "read"),
        (a_verdict("support_question", signals="anger"), a_mention(), "angry", ["task"], "answer"),
        (a_verdict("support_question"), a_mention(), "question", ["task"], "answer"),
        (a_verdict("praise"), a_mention(followers=1000), "praise, wide audience", ["archive", "task"], "thank"),
        (a_verdict("praise"), a_mention(followers=999), "praise", ["archive"], None),
        (a_verdict("praise"), a_mention(followers=None), "praise", ["archive"], None),
        (a_verdict("noise"), a_mention(followers=10**6), "noise", ["archive"], None),
    ],
)
def test_the_default_rules(verdict: Verdict, mention: Mention, rule: str, actions: list[str], what: str | None) -> None:
    """Who gets what when nobody has written rules of their own."""
    decision = decide(*DEFAULTS, mention=mention, verdict=verdict)
    assert (decision.rule, kinds(decision)) == (rule, actions)
    assert next((plan.payload["what"] for plan in decision.plans if plan.kind is ActionKind.TASK), None) == what


def test_praise_by_a_new_author_is_worth_a_thank_you() -> None:
    """The archive keeps it, and a person is asked."""
    facts = Facts("shop", "jira", (), new_author=True, mention_id=1)
    decision = decide(*DEFAULTS, verdict=a_verdict("praise"), facts=facts)
    assert (decision.rule, kinds(decision)) == ("praise, new author", ["archive", "task"])


def test_the_default_rules_leave_nothing_over() -> None:
    """Every label, sure or not, public or private, is taken by one of them."""
    for label in Label:
        for sure in (True, False):
            for visibility in Visibility:
                decision = decide(*DEFAULTS, mention=a_mention(visibility=visibility), verdict=a_verdict(label, sure=sure))
                assert decision.rule != "no rule matches"


def test_no_critical_post_becomes_a_ticket() -> None:
    """Others can read tickets."""
    for label in ("bug_report", "support_question"):
        for sure in (True, False):
            for signal in ("security", "data_loss", "payment"):
                decision = decide(*DEFAULTS, verdict=a_verdict(label, sure=sure, signals=signal))
                assert kinds(decision) == ["alert", "alert", "task"]
                assert decision.plans[-1].payload["urgent"] is True


# Which rule


def test_the_first_rule_that_matches_decides() -> None:
    """Later ones do not count, even if they say more."""
    decision = decide(a_rule(when={"label": "praise"}), a_rule("archive", name="two"), a_rule("ticket", name="three"))
    assert (decision.rule, kinds(decision)) == ("two", ["archive"])


def test_what_no_rule_matches_goes_to_a_person() -> None:
    """Nothing is dropped for want of a rule."""
    decision = decide(a_rule(when={"label": "praise"}))
    assert decision == Decision(
        "no rule matches",
        "no rule matches: bug report at 0.93, sure",
        (
            Plan(
                f"shop/{URI}/task",
                ActionKind.TASK,
                "human",
                "no rule matches: bug report at 0.93, sure",
                "no rule matches",
                payload={"what": "acknowledge", "urgent": False},
            ),
        ),
        (),
    )


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ({"label": ["praise", "bug_report"]}, a_verdict(), a_verdict("noise")),
        ({"sure": False}, a_verdict(sure=False), a_verdict()),
        ({"confidence": {"min": 0.9}}, a_verdict(confidence=0.9), a_verdict(confidence=0.89)),
        ({"confidence": {"max": 0.5}}, a_verdict(confidence=0.5), a_verdict(confidence=0.51)),
        ({"signal": ["anger", "outage"]}, a_verdict(signals="outage"), a_verdict(signals="security")),
        ({"language": "pt"}, a_verdict(language="pt-BR"), a_verdict(language="es")),
        ({"language": "pt-BR"}, a_verdict(language="pt_br"), a_verdict(language="pt")),
    ],
)
def test_conditions_on_the_verdict(when: dict[str, Any], yes: Verdict, no: Verdict) -> None:
    """Each holds for the one and not for the other."""
    assert matches(when, verdict=yes)
    assert not matches(when, verdict=no)


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ({"source": ["acme", "other"]}, a_mention(), a_mention(source="third")),
        ({"visibility": "unlisted"}, a_mention(visibility=Visibility.UNLISTED), a_mention()),
        ({"author": "@KIM@social.example"}, a_mention(), a_mention(handle="kim@other.example")),
        ({"author": ["*@social.example"]}, a_mention(), a_mention(handle="kim@social.example.evil.example")),
        ({"followers": {"min": 10}}, a_mention(followers=10), a_mention(followers=9)),
        ({"followers": {"max": 10}}, a_mention(followers=10), a_mention(followers=11)),
        ({"followers": {}}, a_mention(followers=0), a_mention(followers=None)),
        ({"language": "de"}, a_mention(language="de"), a_mention(language=None)),
        ({"words": "export"}, a_mention("EXPORT!"), a_mention("exporter")),
        ({"words": "refund*"}, a_mention("Refunded?"), a_mention("unrefunded")),
        ({"words": "money back"}, a_mention("my money\n  back"), a_mention("money is back")),
        ({"words": "straße"}, a_mention("STRASSE"), a_mention("strasse2")),
        ({"words": "full width"}, a_mention("ｆｕｌｌ　ｗｉｄｔｈ"), a_mention("fullwidth")),
        ({"words": "c++"}, a_mention("I use C++17"), a_mention("I use C")),
        ({"words": "返金"}, a_mention("すぐに返金してください"), a_mention("ありがとう")),
        ({"words": "500"}, a_mention("a 500 again"), a_mention("5000")),
        ({"words": "spoiler"}, a_mention(warning="Spoiler"), a_mention()),
        ({"words": ".*"}, a_mention("a . b"), a_mention("anything")),
    ],
)
def test_conditions_on_the_mention(when: dict[str, Any], yes: Mention, no: Mention) -> None:
    """Each holds for the one and not for the other."""
    assert matches(when, mention=yes)
    assert not matches(when, mention=no)


def test_a_new_author_is_told_by_the_facts() -> None:
    """The mention alone can't know."""
    new = Facts("shop", None, (), new_author=True, mention_id=1)
    assert matches({"new_author": True}, facts=new)
    assert not matches({"new_author": True})
    assert matches({"new_author": False})


def test_all_conditions_must_hold() -> None:
    """One that doesn't is enough to pass the rule by."""
    when = {"label": "bug_report", "words": "export", "author": "kim@*"}
    assert matches(when)
    for changed in (a_mention("import"), a_mention(handle="lee@social.example")):
        assert not matches(when, mention=changed)
    assert not matches(when, verdict=a_verdict("praise"))


def test_the_reason_tells_the_rule_the_confidence_and_what_matched() -> None:
    """It is stored with the action and shown to people."""
    decision = decide(a_rule(reason="refunds are urgent.", when={"label": "bug_report", "words": ["export"], "signal": "payment"}),
                      verdict=a_verdict(signals="payment"))  # fmt: skip
    assert decision.matched == ("label bug_report", "signal payment", 'the word "export"')
    assert decision.reason == 'refunds are urgent: bug report at 0.93, sure; signal payment; the word "export"'
    person = decide(a_rule(), verdict=a_verdict(by="lee", by_person=True))
    assert person.reason == "why: bug report at 0.93, sure, says lee"


# Plans


def test_a_ticket_is_filed_once_and_later_reports_become_comments() -> None:
    """The comment waits for the ticket's action, whether it is done or only planned."""
    [first] = decide(a_rule("ticket")).plans
    assert (first.key, first.kind, first.via, first.after, dict(first.payload)) == ("shop/5/ticket", ActionKind.TICKET, "jira", None, {})
    for problem in (Problem(5, URI, ticket=TICKET), Problem(5, URI, ticket_planned=True)):
        [later] = decide(a_rule("ticket"), problem=problem).plans
        assert (later.key, later.kind, later.via, later.after) == (f"shop/{URI}/comment", ActionKind.COMMENT, "jira", "shop/5/ticket")
        assert later.payload == {"what": "report"}


def test_without_a_tracker_a_ticket_becomes_a_task() -> None:
    """The reason says why a person has it."""
    decision = decide(a_rule("ticket"), facts=Facts("shop", None, (), new_author=False, mention_id=1))
    assert kinds(decision) == ["task"]
    assert decision.plans[0].reason.endswith("; no tracker is configured to file a ticket with")


def test_without_a_notifier_an_alert_becomes_an_urgent_task() -> None:
    """Somebody must hear of it."""
    decision = decide(a_rule("alert"), facts=Facts("shop", "jira", (), new_author=False, mention_id=1))
    assert kinds(decision) == ["task"]
    assert decision.plans[0].payload["urgent"] is True
    assert decision.plans[0].reason.endswith("; no notifier is configured to raise an alert with")


def test_an_alert_goes_to_every_notifier_once() -> None:
    """With all that a notifier's payload must hold."""
    facts = Facts("shop", "jira", ("oncall", "chat", "oncall"), new_author=False, mention_id=12)
    plans = decide(a_rule("alert", urgent=True), verdict=a_verdict(signals="payment outage"), facts=facts).plans
    assert [(plan.key, plan.via) for plan in plans] == [(f"shop/{URI}/alert/oncall", "oncall"), (f"shop/{URI}/alert/chat", "chat")]
    assert plans[0].payload == {
        "name": "UrgentPost",
        "severity": "critical",
        "summary": "bug report on acme (outage, payment) by kim@social.example: The export is empty",
        "labels": {
            "site": "shop",
            "source": "acme",
            "platform": "mastodon",
            "label": "bug_report",
            "signals": "outage,payment",
            "mention": "12",
        },
        "url": URI,
        "open": True,
    }
    assert decide(a_rule("alert")).plans[0].payload["severity"] == "warning"


def test_an_alerts_summary_is_one_short_line() -> None:
    """However long the post is."""
    summary = decide(a_rule("alert"), text="word\n" * 500).plans[0].payload["summary"]
    assert "\n" not in summary
    assert len(summary) < 200
    assert summary.endswith("…")


def test_an_archive_has_a_key_of_its_own() -> None:
    """A mention is put away once."""
    [plan] = decide(a_rule("archive")).plans
    assert (plan.key, plan.kind, plan.via) == (f"shop/{URI}/archive", ActionKind.ARCHIVE, "archive")


def test_a_task_that_asks_for_a_judgement_names_the_two_likeliest_labels() -> None:
    """The likelier first."""
    scores = {"bug_report": 0.3, "support_question": 0.1, "praise": 0.2, "noise": 0.4}
    verdict = Verdict(Label.NOISE, 0.4, scores, sure=False, by="model-1")
    [plan] = decide(a_rule(), verdict=verdict).plans
    assert plan.payload == {"what": "judge", "urgent": False, "likely": ["noise", "bug_report"]}
    bare = Verdict(Label.PRAISE, 0.4, {}, sure=False, by="model-1")
    assert decide(a_rule(), verdict=bare).plans[0].payload["likely"][0] == "praise"


def test_replies_are_counted_by_their_task() -> None:
    """A second answer is a reply of its own."""
    assert reply_key(f"shop/{URI}/task", 2) == f"shop/{URI}/task/reply/2"


# Nets that no rule can take away


@pytest.mark.parametrize("visibility", [Visibility.PRIVATE, Visibility.DIRECT])
@pytest.mark.parametrize("mode", ["auto", "suggest"])
def test_a_private_post_files_nothing_and_alerts_nobody(visibility: Visibility, mode: str) -> None:
    """Whatever the rule says, a person gets it, with the reasons."""
    rule = a_rule(["ticket", "alert"], mode=mode)
    for problem in (Problem(5, URI), Problem(5, URI, ticket=TICKET)):
        decision = decide(rule, mention=a_mention("my password is hunter2", visibility=visibility), problem=problem)
        [plan] = decision.plans
        assert (plan.kind, plan.via, plan.payload["urgent"]) == (ActionKind.TASK, "human", True)
        assert "suggest" not in plan.payload
        assert plan.reason.endswith(f"; a {visibility} post files no ticket by itself; a {visibility} post raises no alert by itself")
        assert "hunter2" not in repr(decision)


_texts = st.text(max_size=40)
_conditions = st.fixed_dictionaries(
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
_rules = st.builds(
    Rule,
    name=st.sampled_from(["a", "b", "c"]),
    when=_conditions.map(config.When.model_validate),
    then=st.lists(st.sampled_from(["ticket", "task", "draft", "alert", "archive"]), min_size=1, unique=True).map(tuple),
    mode=st.sampled_from(["auto", "suggest"]),
    reason=st.text(min_size=1, max_size=10),
    urgent=st.booleans(),
    draft=st.none() | st.sampled_from(["Hello {{ author }}", "{{ 1 / 0 }}", "{{"]),
)
_mentions = st.builds(
    a_mention,
    text=_texts,
    handle=_texts,
    name=_texts,
    followers=st.none() | st.integers(0, 100),
    visibility=st.sampled_from(Visibility),
    language=st.none() | st.sampled_from(["en", "pt-BR", "xx"]),
    warning=_texts,
    url=_texts,
)
_verdicts = st.builds(
    Verdict,
    label=st.sampled_from(Label),
    confidence=st.floats(0, 1),
    scores=st.dictionaries(st.sampled_from([str(label) for label in Label]), st.floats(0, 1)),
    sure=st.booleans(),
    by=_texts,
    by_person=st.booleans(),
    language=st.none() | _texts,
    signals=st.frozensets(st.sampled_from(SIGNALS)),
)
_problems = st.builds(Problem, id=st.integers(1, 9), thread=_texts, ticket=st.none() | st.just(TICKET), ticket_planned=st.booleans())
_facts = st.builds(
    Facts,
    site=st.just("shop"),
    tracker=st.none() | st.just("jira"),
    notifiers=st.lists(st.sampled_from(["oncall", "chat"]), max_size=3).map(tuple),
    new_author=st.booleans(),
    mention_id=st.integers(1, 9),
)


@given(_mentions, _verdicts, _problems, st.lists(_rules, max_size=4), _facts)
def test_any_mention_under_any_rules_is_planned_for(
    mention: Mention, verdict: Verdict, problem: Problem, rules: list[Rule], facts: Facts
) -> None:
    """It never raises; at least one plan, reasons, unique keys, JSON; private posts and missing servers go to people."""
    decision = route(mention, verdict, problem, rules, facts)
    assert decision.plans
    assert decision.reason
    assert all(plan.reason and plan.rule == decision.rule for plan in decision.plans)
    suggested = [plan for task in decision.plans for plan in accepted(task.payload)]
    every = [*decision.plans, *suggested]
    assert len({plan.key for plan in every}) == len(every)
    for plan in every:
        json.dumps(dict(plan.payload), allow_nan=False)
    planned = {plan.kind for plan in every}
    if mention.visibility.is_private:
        assert not planned & {ActionKind.TICKET, ActionKind.COMMENT, ActionKind.ALERT, ActionKind.REPLY}
    if facts.tracker is None:
        assert not planned & {ActionKind.TICKET, ActionKind.COMMENT}
    if problem.ticket or problem.ticket_planned:
        assert ActionKind.TICKET not in planned


@given(st.lists(_rules, max_size=5), _mentions, _verdicts, _facts)
def test_a_rule_that_is_said_never_to_match_never_matches(rules: list[Rule], mention: Mention, verdict: Verdict, facts: Facts) -> None:
    """The check may miss a dead rule; it must not call a live one dead."""
    named = [rule.model_copy(update={"name": str(index)}) for index, rule in enumerate(rules)]
    dead = {str(index) for index, text in check(named) if "never match" in text}
    assert route(mention, verdict, Problem(1, URI), named, facts).rule not in dead


# Suggestions


def test_a_suggestion_is_one_task_that_carries_the_plans() -> None:
    """They come out of the database as they went in."""
    auto = decide(a_rule(["ticket", "alert", "task"], urgent=True))
    [task] = decide(a_rule(["ticket", "alert", "task"], urgent=True, mode="suggest")).plans
    assert (task.kind, task.payload["urgent"], task.payload["what"]) == (ActionKind.TASK, True, "acknowledge")
    stored = json.loads(json.dumps(dict(task.payload)))
    assert accepted(stored) == auto.plans[:3]


def test_a_task_that_suggests_nothing_accepts_nothing() -> None:
    """There is nothing to carry out."""
    [task] = decide(a_rule("task", mode="suggest")).plans
    assert accepted(task.payload) == ()


# Drafts


def test_a_draft_is_a_task_with_an_answer_ready() -> None:
    """Nothing of the post goes into it but the author's name, handle and address."""
    rule = a_rule("draft", draft="Hello {{ author }} ({{ handle }}), this {{ label }} is {{ ticket or 'new' }}: {{ url }}\n")
    [task] = decide(rule, problem=Problem(5, URI, ticket=TICKET)).plans
    assert task.payload["draft"] == f"Hello Kim (kim@social.example), this bug report is HELP-7: {URI}"
    [task] = decide(rule).plans
    assert task.payload["draft"] == f"Hello Kim (kim@social.example), this bug report is new: {URI}"


def test_a_draft_whose_template_fails_is_left_to_the_person() -> None:
    """The task is there all the same."""
    [task] = decide(a_rule("draft", draft="{{ 1 // 0 }}")).plans
    assert "draft" not in task.payload


def test_a_name_is_never_taken_for_a_template_and_a_template_reaches_no_internals() -> None:
    """Authors choose their names; a template is sandboxed."""
    mention = a_mention(name="{{ 7*7 }}", handle="{{7*7}}@x")
    assert render("{{ author }} {{ handle }}", mention, a_verdict(), Problem(5, URI)) == "there 77@x"
    assert render("{{ author.__class__.__mro__ }}", mention, a_verdict(), Problem(5, URI)) == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Kim", "Kim"),
        ("  Zoë  van Dijk ", "Zoë van Dijk"),
        ("Kim :blobcat: 🦊", "Kim"),
        ("O’Neill-Smith Jr.", "O’Neill-Smith Jr"),
        ("木村 花子", "木村 花子"),
        ("Ｋｉｍ", "Kim"),
        ("Kim\n\u202etxt\u200b", "Kim txt"),
        ("", "there"),
        ("🦊🦊", "there"),
        ("1234", "there"),
        ("visit spam.example now", "there"),
        ("https://x", "there"),
        ("@everyone", "there"),
        ("#cheap", "there"),
        ("<b>Kim</b>", "there"),
        ("your account is closed today", "there"),
        ("K" * 31, "there"),
    ],
)
def test_a_greeting_is_a_name_or_neutral(name: str, shown: str) -> None:
    """An empty or hostile display name is not repeated in our voice."""
    assert greeting(Author(handle="a@b", name=name)) == shown


# Rules that can't work


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
