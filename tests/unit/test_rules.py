"""Rules: which one takes a mention, what follows, and what no rule can override."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing import (
    DEFAULTS,
    FACTS_OF_ANY,
    MENTIONS,
    PROBLEMS,
    RULES,
    TICKET,
    URI,
    VERDICTS,
    a_mention,
    a_rule,
    a_verdict,
    decide,
    kinds,
    matches,
)
from triage.config import Rule
from triage.mention import ActionKind, Author, Label, Mention, Plan, Problem, Verdict, Visibility
from triage.rules import Decision, Facts, accepted, greeting, render, reply_key, route

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
    key = f"shop/{URI}/ticket"
    [first] = decide(a_rule("ticket")).plans
    assert (first.key, first.kind, first.via, first.after, dict(first.payload)) == (key, ActionKind.TICKET, "jira", None, {})
    for problem in (Problem(5, URI, ticket=TICKET), Problem(5, URI, ticket_planned=True)):
        [later] = decide(a_rule("ticket"), problem=problem).plans
        assert (later.key, later.kind, later.via, later.after) == (f"shop/{URI}/comment", ActionKind.COMMENT, "jira", key)
        assert later.payload == {"what": "report"}


def test_a_ticket_that_is_there_keeps_its_key() -> None:
    """Earlier versions made it of the problem's number; what waits for it names it so."""
    [later] = decide(a_rule("ticket"), problem=Problem(5, URI, ticket_planned=True, ticket_key="shop/5/ticket")).plans
    assert later.after == "shop/5/ticket"


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


@given(MENTIONS, VERDICTS, PROBLEMS, st.lists(RULES, max_size=4), FACTS_OF_ANY)
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


# Suggestions


def test_a_suggestion_is_one_task_that_carries_the_plans() -> None:
    """They come out of the database as they went in."""
    auto = decide(a_rule(["ticket", "alert", "task"], urgent=True))
    [task] = decide(a_rule(["ticket", "alert", "task"], urgent=True, mode="suggest")).plans
    assert (task.kind, task.payload["urgent"], task.payload["what"]) == (ActionKind.TASK, True, "acknowledge")
    stored = json.loads(json.dumps(dict(task.payload)))
    assert accepted(stored) == auto.plans[:3]


def test_a_suggestion_needs_no_task_of_its_own() -> None:
    """`then: ticket` suggested is a task all the same."""
    [task] = decide(a_rule("ticket", mode="suggest")).plans
    assert (task.kind, [str(plan.kind) for plan in accepted(task.payload)]) == (ActionKind.TASK, ["ticket"])


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
