"""The blind audit, and how rules stand that earn their autonomy by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from triage import trust
from triage.errors import UserError
from triage.mention import Label
from triage.pipeline import judge
from triage.pipeline.parts import Parts
from triage.store.samples import Answer, Tally


def answer(parts: Parts, sample_id: int, label: str, by: str) -> list[int]:
    """A person says what a post is that was shown without its label. Returns the ids of actions to deliver.

    Another label than the post has corrects it as a relabelling does. The same one becomes the person's, and nothing else changes:
    what was planned or sent stands, and a suggestion still waits to be accepted.
    """
    question = parts.store.samples.question(sample_id)
    claimed, _, last = parts.store.desk.take(question.mention_id)
    if last is None:
        raise UserError(f"mention {claimed.id} is being judged; try again in a moment")
    said = Label(label)
    if last.label is not said:
        return judge.relabel(parts, claimed.id, label, by, sample=sample_id)
    scores = {str(name): float(name is said) for name in Label}
    confirmed = replace(last, by=by, by_person=True, sure=True, confidence=1.0, scores=scores, evidence=())
    parts.store.inbox.confirm(claimed, None if last.by_person else confirmed, Answer(sample_id, said, by), parts.clock.now())
    return []


def review(parts: Parts) -> int:
    """Hold the rules' autonomy against the config as it is now. Returns how many rules gained or lost it."""
    return parts.store.samples.review(parts.clock.now())


def report(parts: Parts) -> dict[str, Any]:
    """What the audit has shown: of what a machine handled alone, in all and by label; and by rule, suggestions included."""
    tallies = parts.store.samples.tallies()
    alone = [tally for tally in tallies if tally.alone]
    return {
        "confidence": 0.95,
        "waiting": sum(tally.drawn - sum(tally.said.values()) for tally in tallies),
        "alone": _row(alone),
        "labels": [{"label": str(label)} | _row(tally for tally in alone if tally.label == label) for label in Label],
        "rules": [
            {"rule": rule} | _row(tally for tally in tallies if tally.rule == rule)
            for rule in dict.fromkeys(tally.rule for tally in tallies)
        ],
    }


def standings(parts: Parts) -> list[dict[str, Any]]:
    """How each rule stands today that earns its autonomy: one dict a rule, in the config's order. `since` is when its state changed."""
    found = []
    policy = trust.policy(parts.config)
    for name, record in parts.store.samples.records().items():
        terms = policy.terms[name]
        now = trust.standing(record.answers, terms)
        found.append(
            {
                "rule": name,
                "state": "acts alone" if record.earned else "suggests",
                "n": now.n,
                "right": now.right,
                "bound": now.bound,
                "target": terms.target,
                "confidence": terms.confidence,
                "needed": 0 if record.earned else trust.needed(record.answers, terms),
                "since": record.since,
                "why": now.why if record.since is not None else record.why,  # what was said when it changed is in the trail
            }
        )
    return found


def _row(tallies: Iterable[Tally]) -> dict[str, Any]:
    """Samples together: counts, the weighted error rate with its interval, and what the wrong ones really were."""
    strata: dict[tuple[str, float], trust.Stratum] = {}
    really: dict[str, int] = {}
    right = 0
    for tally in tallies:
        so_far = strata.get((tally.rule, tally.share), trust.Stratum(tally.share, 0, 0, 0))
        answered, well = sum(tally.said.values()), tally.said.get(tally.label, 0)
        right += well
        for label, count in tally.said.items():
            if label != tally.label:
                really[label] = really.get(label, 0) + count
        strata[tally.rule, tally.share] = trust.Stratum(
            tally.share, so_far.drawn + tally.drawn, so_far.answered + answered, so_far.wrong + answered - well
        )
    audited = sum(stratum.answered for stratum in strata.values())
    waiting = sum(stratum.drawn for stratum in strata.values()) - audited
    errors = asdict(trust.rate(list(strata.values())))
    return {"audited": audited, "right": right, "waiting": waiting, "error": errors, "really": dict(sorted(really.items()))}
