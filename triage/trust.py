"""Which rule may act alone, which verdicts people are shown blind, and what their answers prove (pure).

A sample is a verdict that was drawn by lot and shown to a person without its label. A rule that earns its autonomy acts alone
while the one-sided lower bound of its precision, by such samples alone, is at its target or above. Bounds are exact: Clopper and
Pearson's for one share of the lot, melded ones (Fay, Proschan and Brittain 2015) where samples were drawn with several.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from triage.config import Config
from triage.config.rules import Rule
from triage.mention import ActionKind, Plan

RECENT = 20  # the last audits, which alone can end a rule's autonomy: a change for the worse must not hide behind a good past
DRAWS = 4000  # of a weighted rate's distribution: enough for three digits of its quantiles


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule must show: its precision's lower bound at `confidence` reaches `target`, over the last `window` audits, `least` at least.

    `digest` stands for the rule's wording. Another wording is another rule, which has shown nothing yet.
    """

    digest: str
    target: float = 0.95
    confidence: float = 0.95
    window: int = 300
    least: int = 20


@dataclass(frozen=True, slots=True)
class Policy:
    """The chances of the lot, and the terms of the rules that earn their autonomy, by name.

    `share` is for what a machine handled alone; `earning` for what a rule suggests that earns, `keeping` for what it does once it has.
    """

    share: float = 0.0
    earning: float = 1.0
    keeping: float = 0.2
    terms: Mapping[str, Terms] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a rule may act alone, by how many audits, and why. `bound` is its precision's lower bound, 0 without audits."""

    earned: bool
    n: int
    right: int
    bound: float
    why: str


@dataclass(frozen=True, slots=True)
class Stratum:
    """Samples of one rule that were drawn with the same chance `share`: how many were drawn, were answered, and turned out wrong."""

    share: float
    drawn: int
    answered: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its interval, each from 0 to 1. `rate` is None where nothing was counted."""

    rate: float | None
    low: float
    high: float


def policy(config: Config) -> Policy:
    """The config's."""
    terms = {rule.name: terms_of(rule, config) for rule in config.rules if rule.mode == "earn"}
    return Policy(config.audit.share, config.autonomy.earning, config.autonomy.keeping, terms)


def terms_of(rule: Rule, config: Config) -> Terms:
    """What this rule must show, by its own target or the config's."""
    rest = config.autonomy
    target = rest.target if rule.target is None else rule.target
    wording = {"when": rule.when.model_dump(mode="json", exclude_none=True), "then": rule.then, "target": target}
    digest = hashlib.sha256(json.dumps(wording, sort_keys=True).encode()).hexdigest()[:16]
    return Terms(digest, target, rest.confidence, rest.window, rest.least)


# The lot


def lot(secret: bytes, site: str, uri: str, revision: int) -> float:
    """A post's lot, 0 to 1: the same at each retry, and unknown to whoever does not hold the install's secret."""
    drawn = hmac.digest(secret, f"lot\0{site}\0{uri}\0{revision}".encode(), "sha256")
    return int.from_bytes(drawn[:8], "big") / 2**64


def acts_alone(plans: Sequence[Plan]) -> bool:
    """Whether a machine acts on the label, and no person is asked to judge it."""
    judges = any(plan.kind is ActionKind.TASK and plan.payload.get("what") == "judge" for plan in plans)
    return not judges and any(plan.kind not in (ActionKind.TASK, ActionKind.REPLY) for plan in plans)


def chance(ours: Policy, rule: str, *, alone: bool, earned: bool) -> float:
    """The chance with which a verdict is drawn that `rule` took."""
    if rule in ours.terms:
        return max(ours.share, ours.keeping) if earned else ours.earning
    return ours.share if alone else 0.0


# What the answers prove


def standing(answers: Sequence[bool], terms: Terms) -> Standing:
    """Whether a rule may act alone by its audits, oldest first, True where the person said what the rule had acted on.

    It depends on nothing but the answers: neither on what it was before, nor on how often somebody looked.
    """
    counted = _since_it_broke(answers[-terms.window :], terms)
    n, right = len(counted), sum(counted)
    bound = lower(right, n, terms.confidence)
    said = f"{right} of {n} audits right, lower bound {bound:.3f}"
    if _is_poor(counted[-RECENT:], terms):
        return Standing(False, n, right, bound, f"only {sum(counted[-RECENT:])} of the last {RECENT} audits right: {said}")
    if n < terms.least:
        return Standing(False, n, right, bound, f"{said}; it takes {terms.least} audits at least")
    if bound < terms.target:
        return Standing(False, n, right, bound, f"{said}, below the target {terms.target:g}")
    return Standing(True, n, right, bound, f"{said}, at the target {terms.target:g} or above")


def needed(answers: Sequence[bool], terms: Terms) -> int | None:
    """How many more right answers in a row make it act alone, 0 where it may already; None where no number does."""
    more = list(answers[-terms.window :])
    for count in range(terms.window + 1):
        if standing(more, terms).earned:
            return count
        more = [*more, True][-terms.window :]
    return None


def _since_it_broke(answers: Sequence[bool], terms: Terms) -> Sequence[bool]:
    """What counts: where so many in a row were poor that the rule has changed, what was before no longer speaks for it."""
    most = _poor(RECENT, terms.target, terms.confidence)
    begin = 0
    for end in range(RECENT, len(answers) + 1):
        if sum(answers[end - RECENT : end]) <= most:
            begin = end - RECENT
    return answers[begin:]


def _is_poor(last: Sequence[bool], terms: Terms) -> bool:
    return len(last) == RECENT and sum(last) <= _poor(RECENT, terms.target, terms.confidence)


@lru_cache(maxsize=64)
def _poor(n: int, target: float, confidence: float) -> int:
    """The most right answers out of n that still prove a precision below the target; -1 where none do."""
    return max((right for right in range(n) if upper(right, n, confidence) < target), default=-1)


# Bounds


def lower(right: int, n: int, confidence: float) -> float:
    """The exact one-sided lower bound of a proportion (Clopper and Pearson): it is above the truth at most 1 - confidence of the time."""
    return _quantile(right, n - right + 1, 1 - confidence) if right else 0.0


def upper(right: int, n: int, confidence: float) -> float:
    """The exact one-sided upper bound."""
    return _quantile(right + 1, n - right, confidence) if right < n else 1.0


def _quantile(a: float, b: float, p: float) -> float:
    from scipy.special import betaincinv  # slow to import, and only audits need it

    return float(betaincinv(a, b, p))


def share(count: int, of: int, confidence: float = 0.95) -> Rate:
    """A share of what was all looked at, with its exact two-sided interval."""
    each = (1 + confidence) / 2
    return Rate(count / of, lower(count, of, each), upper(count, of, each)) if of else Rate(None, 0.0, 1.0)


def rate(strata: Sequence[Stratum], confidence: float = 0.95) -> Rate:
    """The error rate of all verdicts that could have been drawn, from what was, with its interval.

    Each stratum stands for drawn / share verdicts and weighs that much, however many of its samples were answered. One alone has
    Clopper and Pearson's interval. Several have the melded one: the quantiles of the weighted sum of each one's lower (upper)
    confidence distribution, which is a beta distribution. The weights are drawn with it, since how many verdicts a stratum stands
    for is only known from its share: a negative binomial distribution. It is simulated, with the same numbers each time. A stratum
    without an answer may be all right or all wrong.
    """
    strata = [stratum for stratum in strata if stratum.drawn]
    answered = [stratum for stratum in strata if stratum.answered]
    if not answered:
        return Rate(None, 0.0, 1.0)
    weights = [stratum.drawn / stratum.share for stratum in strata]
    known = sum(weight for weight, stratum in zip(weights, strata, strict=True) if stratum.answered)
    mean = sum(w * s.wrong / s.answered for w, s in zip(weights, strata, strict=True) if s.answered) / known
    if len(strata) == 1:
        return share(strata[0].wrong, strata[0].answered, confidence)
    low, high = _melded(strata, (1 + confidence) / 2)
    return Rate(mean, min(low, mean), max(high, mean))


def _melded(strata: Sequence[Stratum], confidence: float) -> tuple[float, float]:
    import numpy as np

    draws = np.random.default_rng(0)
    verdicts, low, high = np.zeros(DRAWS), np.zeros(DRAWS), np.zeros(DRAWS)
    for stratum in strata:
        n, wrong = stratum.answered, stratum.wrong
        stands_for = stratum.drawn + draws.negative_binomial(stratum.drawn, stratum.share, DRAWS)
        verdicts += stands_for
        low += stands_for * (draws.beta(wrong, n - wrong + 1, DRAWS) if wrong else 0.0)
        high += stands_for * (draws.beta(wrong + 1, n - wrong, DRAWS) if wrong < n else 1.0)
    return float(np.quantile(low / verdicts, 1 - confidence)), float(np.quantile(high / verdicts, confidence))
