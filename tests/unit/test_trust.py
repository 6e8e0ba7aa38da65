"""The lot, the bounds, and when a rule may act alone: without a store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing import a_rule, a_verdict, decide, kinds
from tests.unit.test_docs import page
from triage import config, trust
from triage.errors import ConfigError
from triage.mention import ActionKind, Plan, Visibility
from triage.rules import Facts
from triage.trust import Policy, Stratum, Terms, chance, lot, lower, needed, rate, standing, upper

TERMS = Terms("", target=0.95, confidence=0.95, window=300, least=20)
ANSWERS = st.lists(st.sampled_from([True, True, True, True, True, True, True, False]), max_size=200)


def configured(text: str) -> config.Config:
    return config.parse(f"mode: act\n{text}", Path("config.yaml"), {})


# The lot


def test_a_lot_is_the_same_each_time_and_needs_the_secret() -> None:
    """A retry draws what was drawn; who does not know the secret can't tell it; another text has another one."""
    first = lot(b"secret", "shop", "https://x.example/1", 1)
    assert lot(b"secret", "shop", "https://x.example/1", 1) == first
    others = {lot(b"other", "shop", "https://x.example/1", 1), lot(b"secret", "shop", "https://x.example/1", 2)}
    assert len({first, *others}) == 3


def test_lots_are_spread_evenly() -> None:
    """Of 20,000 posts as many are below each share as the share says."""
    drawn = np.array([lot(b"secret", "shop", f"https://x.example/{number}", 1) for number in range(20_000)])
    for share in (0.01, 0.05, 0.2, 0.5, 0.9):
        assert abs((drawn < share).mean() - share) < 0.01


@pytest.mark.parametrize(
    ("rule", "alone", "earned", "expected"),
    [
        ("auto", True, False, 0.05),
        ("auto", False, False, 0.0),
        ("earns", False, False, 1.0),
        ("earns", True, True, 0.2),
        ("earns", False, True, 0.2),
    ],
)
def test_the_chance_follows_the_rule(rule: str, alone: bool, earned: bool, expected: float) -> None:
    """What a person sees anyway is not drawn, unless the rule earns its autonomy by it."""
    assert chance(Policy(0.05, 1.0, 0.2, {"earns": TERMS}), rule, alone=alone, earned=earned) == expected


def test_a_rule_that_acts_alone_is_drawn_at_least_as_often_as_all_others() -> None:
    """A small `keeping` does not go below the audit's share."""
    assert chance(Policy(0.5, 1.0, 0.2, {"earns": TERMS}), "earns", alone=True, earned=True) == 0.5


def test_alone_is_what_no_person_is_asked_to_judge() -> None:
    """A task to acknowledge a filed ticket is no judgement; a task by itself is no machine's act."""

    def plan(kind: ActionKind, what: str = "") -> Plan:
        return Plan(str(kind), kind, "x", "why", "rule", payload={"what": what})

    archive, ticket, alert = plan(ActionKind.ARCHIVE), plan(ActionKind.TICKET), plan(ActionKind.ALERT)
    assert trust.acts_alone([archive])
    assert trust.acts_alone([ticket, plan(ActionKind.TASK, "acknowledge")])
    assert not trust.acts_alone([alert, plan(ActionKind.TASK, "judge")])
    assert not trust.acts_alone([plan(ActionKind.TASK, "answer")])


# Bounds


@pytest.mark.parametrize(("right", "n"), [(0, 10), (7, 10), (10, 10), (59, 60), (285, 300)])
def test_the_bounds_are_exact(right: int, n: int) -> None:
    """At the lower bound so many right ones or more come about 5 times in 100, at the upper one so many or fewer: added up term by term."""

    def chances(counts: range, truth: float) -> float:
        return sum(math.comb(n, count) * truth**count * (1 - truth) ** (n - count) for count in counts)

    low, high = lower(right, n, 0.95), upper(right, n, 0.95)
    assert (low, high) == (0.0 if right == 0 else low, 1.0 if right == n else high)
    assert right == 0 or chances(range(right, n + 1), low) == pytest.approx(0.05)
    assert right == n or chances(range(right + 1), high) == pytest.approx(0.05)


@pytest.mark.parametrize("truth", [0.0, 0.01, 0.05, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("n", [5, 40, 300])
def test_the_95_percent_interval_covers_the_truth(truth: float, n: int) -> None:
    """In at least 930 of 1,000 audits of one share."""
    wrong = np.random.default_rng(n).binomial(n, truth, 1000)
    found = {int(count): rate([Stratum(0.05, n, n, int(count))]) for count in set(wrong)}
    assert sum(found[int(count)].low <= truth <= found[int(count)].high for count in wrong) >= 930


@pytest.mark.parametrize(
    "parts",
    [
        # verdicts, their error rate, the share drawn, the share of those answered
        [(2000, 0.03, 0.05, 1.0), (300, 0.10, 1.0, 1.0)],
        [(400, 0.20, 0.05, 0.7), (400, 0.01, 0.2, 0.9), (100, 0.05, 1.0, 0.5)],
        [(1000, 0.0, 0.05, 1.0), (1000, 0.5, 0.2, 1.0)],
    ],
)
def test_the_95_percent_interval_covers_the_truth_across_shares(parts: list[tuple[int, float, float, float]]) -> None:
    """In at least 930 of 1,000 audits that draw each part with a chance of its own, however much of it was answered."""
    truth = sum(n * wrong for n, wrong, _, _ in parts) / sum(n for n, _, _, _ in parts)
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(1000):
        strata = []
        for n, wrong, share, answered in parts:
            drawn = int(random.binomial(n, share))
            said = int(random.binomial(drawn, answered))
            strata.append(Stratum(share, drawn, said, int(random.binomial(said, wrong))))
        found = rate(strata)
        covered += found.low <= truth <= found.high
    assert covered >= 930


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 50, 0.0, 0.071), (50, 50, 0.929, 1.0), (30, 100, 0.212, 0.400), (8, 10, 0.444, 0.975)],
)
def test_a_share_has_the_exact_interval(count: int, of: int, low: float, high: float) -> None:
    """Clopper and Pearson's, from tables; a rate of one stratum is the same."""
    found = trust.share(count, of)
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)
    assert found.rate == (count / of if of else None)
    assert rate([Stratum(1.0, of, of, count)]) == found


def test_a_rate_weighs_each_sample_by_what_it_stands_for() -> None:
    """10 drawn of 200 count twenty times as much as 10 drawn of 10."""
    found = rate([Stratum(0.05, 10, 10, 0), Stratum(1.0, 10, 10, 10)])
    assert found.rate == pytest.approx(10 / 210)
    assert found.low <= 10 / 210 <= found.high


def test_what_nobody_answered_may_be_all_wrong() -> None:
    """A part without an answer widens the interval by what it stands for; without any answer nothing is known."""
    sure = rate([Stratum(1.0, 100, 100, 0), Stratum(1.0, 1, 1, 0)])
    unsure = rate([Stratum(1.0, 100, 100, 0), Stratum(1.0, 100, 0, 0)])
    assert unsure.rate == 0.0
    assert unsure.high > 0.5 > sure.high
    assert rate([]) == rate([Stratum(0.05, 4, 0, 0)]) == trust.Rate(None, 0.0, 1.0)


# Earned or not


def test_enough_right_audits_earn_it_and_not_one_less() -> None:
    """59 of 59 right have a lower bound of 0.95 at 95 %."""
    assert not standing([True] * 58, TERMS).earned
    assert standing([True] * 59, TERMS).earned
    assert needed([True] * 50, TERMS) == 9


def test_one_wrong_audit_too_many_takes_it_away() -> None:
    """At once: the bound of 59 out of 60 is below the target."""
    assert not standing([*[True] * 59, False], TERMS).earned
    assert "below the target" in standing([*[True] * 59, False], TERMS).why


def test_fewer_audits_than_the_least_earn_nothing() -> None:
    """However easy the target is."""
    easy = Terms("", target=0.5, confidence=0.9, window=50, least=20)
    assert not standing([True] * 19, easy).earned
    assert standing([True] * 20, easy).earned
    assert needed([], easy) == 20


def test_only_the_window_counts() -> None:
    """What is older is forgotten, good or bad."""
    assert standing([*[False] * 50, *[True] * 300], TERMS).earned
    assert standing([*[False] * 50, *[True] * 300], TERMS).n == 300


def test_a_good_past_does_not_hide_a_bad_present() -> None:
    """Four wrong ones among the last twenty prove a change, though the bound over the whole window still holds; the past is void then."""
    answers = [*[True] * 280, *[False, True, True, True, True] * 4]
    assert lower(sum(answers), len(answers), 0.95) >= TERMS.target
    found = standing(answers, TERMS)
    assert (found.earned, found.n, found.right) == (False, 20, 16)
    assert "only 16 of the last 20" in found.why
    assert not standing([*answers, *[True] * 100], TERMS).earned
    after = needed(answers, TERMS)
    assert after is not None
    assert standing([*answers, *[True] * after], TERMS).earned


@given(ANSWERS)
def test_what_is_needed_is_what_it_takes(answers: list[bool]) -> None:
    """So many right answers earn it, and one less does not."""
    terms = Terms("", target=0.8, confidence=0.9, window=60, least=5)
    more = needed(answers, terms)
    assert more is not None
    assert standing([*answers, *[True] * more], terms).earned
    assert more == 0 or not standing([*answers, *[True] * (more - 1)], terms).earned


@given(ANSWERS)
def test_a_rule_that_acts_alone_has_shown_it(answers: list[bool]) -> None:
    """Its bound is at the target or above, over the window or the part of it that counts."""
    found = standing(answers, TERMS)
    assert found.right <= found.n <= min(len(answers), TERMS.window)
    if found.earned:
        assert found.bound >= TERMS.target
        assert found.n >= TERMS.least


@pytest.mark.parametrize(("precision", "most"), [(0.93, 0.05), (0.90, 0.01), (0.80, 0.001)])
def test_looking_after_each_audit_seldom_promotes_a_poor_rule(precision: float, most: float) -> None:
    """Of 2,000 rules just below the target so few act alone at any time within 300 audits: docs/operations.md tells the figures."""
    enough = np.array([next((k for k in range(n + 1) if lower(k, n, 0.95) >= 0.95), n + 1) for n in range(1, 301)])
    right = (np.random.default_rng(1).random((2000, 300)) < precision).cumsum(axis=1)
    assert (right >= enough).any(axis=1).mean() <= most


def test_the_figures_of_the_operations_page_are_those_of_the_code() -> None:
    """How many audits it takes with how many wrong ones, and how few of the last twenty are too few."""
    text = " ".join(page("docs/operations.md").split())
    takes = [next(n for n in range(1, 301) if lower(n - wrong, n, 0.95) >= 0.95) for wrong in range(4)]
    assert "after {} right audits without a wrong one, {} with one, {} with two, {} with three".format(*takes) in text
    poor = max(right for right in range(21) if upper(right, 20, 0.95) < 0.95)
    assert f"({poor} or fewer for 0.95)" in text


# Rules and config


def test_a_rule_that_earns_suggests_until_it_is_among_the_earned() -> None:
    """As `suggest` does; then it acts as `auto` does. A private post files nothing either way."""
    rule = a_rule(["ticket", "task"], mode="earn")
    earned = Facts("shop", "jira", (), new_author=False, mention_id=1, earned=frozenset({"one"}))
    other = Facts("shop", "jira", (), new_author=False, mention_id=1, earned=frozenset({"another"}))
    assert kinds(decide(rule, facts=earned)) == ["ticket", "task"]
    assert kinds(decide(rule, facts=other)) == ["task"]
    assert decide(rule, facts=other) == decide(a_rule(["ticket", "task"], mode="suggest"), facts=other)
    assert kinds(decide(rule, facts=earned, visibility=Visibility.DIRECT)) == ["task"]
    assert kinds(decide(a_rule("ticket", mode="suggest"), verdict=a_verdict(), facts=earned)) == ["task"]


RULE = "rules:\n  - {name: bugs, when: {label: bug_report}, then: ticket, mode: earn, reason: a bug%s}\n"


def test_the_wording_is_what_a_rule_asks_and_does() -> None:
    """Another condition, act or target is another wording; another reason is not."""

    def digest(text: str) -> str:
        return trust.policy(configured(text)).terms["bugs"].digest

    first = digest(RULE % "")
    same = RULE.replace("a bug", "it is a bug") % ""
    others = [RULE % ", target: 0.9", "autonomy: {target: 0.9}\n" + RULE % "", RULE.replace("then: ticket", "then: [ticket, task]") % ""]
    others += [RULE.replace("label: bug_report", "label: bug_report, sure: true") % ""]
    assert digest(same) == first
    assert digest(RULE % ", target: 0.95") == first
    assert digest(others[0]) == digest(others[1])
    assert first not in {digest(text) for text in others}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            RULE % ", target: 0.99999",
            "autonomy.window: 300 audits can't show a precision of 0.99999, even if all are right; it takes 299572",
        ),
        ("autonomy: {window: 58}\n" + RULE % "", "58 audits can't show a precision of 0.95, even if all are right; it takes 59"),
        ("autonomy: {window: 100, least: 101}\n" + RULE % "", "autonomy.least: is above window (100)"),
        (RULE % ", target: 1.0", "must be less than 1"),
        (RULE.replace("earn", "auto") % ", target: 0.9", "target is what mode earn must show, and this is mode auto"),
        (RULE.replace("then: ticket", "then: task") % "", "mode earn has nothing to suggest"),
        ("audit: {share: 1.5}\n", "audit.share: must be less than or equal to 1"),
    ],
)
def test_what_can_never_be_earned_is_refused(text: str, told: str) -> None:
    """With the number that would do."""
    with pytest.raises(ConfigError) as refused:
        configured(text)
    assert told in str(refused.value)


def test_a_window_that_just_suffices_is_taken() -> None:
    """59 right audits show 0.95."""
    made: Any = configured("autonomy: {window: 59}\n" + RULE % "")
    assert trust.policy(made).terms["bugs"].window == 59
