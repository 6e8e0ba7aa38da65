"""What changed rules, other thresholds or another model would have done with the past. Reads the store, and nothing else: no call goes out.

Both sides are decided by the same rules of routing with the facts as of then: the posts come oldest first, so that the first report of
a problem is a ticket and a later one a comment, and an author is new once. Before: this config and the verdicts as they were recorded.
After: the changed config and the same verdicts, but for those of another model where there is one; a person's label stands. What
changed beside rules, thresholds, components, model and the names of trackers and notifiers makes no difference here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from triage.classifier import Classifier
from triage.config import Config
from triage.mention import ActionKind, Label, Problem, Verdict
from triage.pipeline.judge import facts_of
from triage.pipeline.learning import version_of
from triage.pipeline.parts import Parts
from triage.rules import Decision, route
from triage.store.history import PAGE, Past
from triage.text import classifier_input
from triage.trust import policy


class Act(NamedTuple):
    """One thing that a decision asks for. `suggested` waits for a person's key; `urgent` goes to the top of the queue, or is critical."""

    kind: str
    via: str
    suggested: bool = False
    urgent: bool = False

    @property
    def name(self) -> str:
        """What totals are counted by."""
        return f"{self.kind}, suggested" if self.suggested else self.kind


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one side decided."""

    verdict: Verdict
    rule: str
    acts: Counter[Act]


@dataclass(frozen=True, slots=True)
class Difference:
    """A mention that would have been labelled or handled in another way."""

    past: Past
    before: Outcome
    after: Outcome

    @property
    def gained(self) -> list[Act]:
        """What would have been done beside."""
        return sorted((self.after.acts - self.before.acts).elements())

    @property
    def lost(self) -> list[Act]:
        """What would not have been done."""
        return sorted((self.before.acts - self.after.acts).elements())


@dataclass(slots=True)
class Tally:
    """The totals, complete when all differences were read. Acts are counted by their names; `labels` are (before, after)."""

    read: int = 0
    differ: int = 0
    unjudged: int = 0
    deleted: int = 0
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    gained: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    labels: Counter[tuple[Label, Label]] = field(default_factory=Counter)


class _Side:
    """One way to decide: a config, and which problems it has filed so far."""

    def __init__(self, parts: Parts, config: Config) -> None:
        self._config = config
        self._earned = frozenset(rule for rule, alone in parts.store.samples.acting(policy(config)).items() if alone)
        self._filed: set[int] = set()

    def decide(self, past: Past, verdict: Verdict, tracker: str | None, *, again: bool) -> Outcome:
        """Ask the rules. `tracker` has the problem's ticket from before it all, if there is one; `again`: others report it, too."""
        number = past.problem_id or 0
        planned = tracker is not None or number in self._filed
        problem = Problem(number, past.thread, ticket_planned=planned, tracker=tracker)
        facts = facts_of(self._config, past.claimed, self._earned)
        decision = route(past.claimed.mention, verdict, problem, self._config.rules, facts)
        if again and any(plan.kind is ActionKind.TICKET for plan in decision.plans):
            self._filed.add(number)
        return Outcome(verdict, decision.rule, _acts(decision))


class Judge:
    """The verdicts of the changed side: another model's, or those that were recorded with thresholds as they would be."""

    def __init__(self, parts: Parts, changed: Config, other: Classifier | None) -> None:
        self._other = other
        self._parts = parts
        self._moved: dict[Label, float] = {}  # labels whose threshold changes, with the new one
        if other is None and changed.thresholds != parts.config.thresholds:
            mine = parts.classifier()
            wanted = {**mine.card.thresholds, **changed.thresholds}
            self._moved = {label: threshold for label, threshold in wanted.items() if threshold != mine.thresholds[label]}

    def verdicts(self, page: list[Past]) -> list[Verdict | None]:
        """One for each mention, None where nobody has judged it."""
        given = [past.verdict for past in page]
        if self._other is None:
            return [self._moved_verdict(past) if past.verdict is not None else None for past in page]
        theirs = [at for at, verdict in enumerate(given) if verdict is not None and not verdict.by_person]
        found = self._other.classify(
            [classifier_input(page[at].claimed.mention) for at in theirs], [page[at].claimed.mention.language for at in theirs]
        )
        for at, verdict in zip(theirs, found, strict=True):
            given[at] = verdict
        return given

    def _moved_verdict(self, past: Past) -> Verdict:
        """The recorded verdict; sure by its label's new threshold, where that is another one.

        What was sure had known words in a language that the model reads; of what was not, the model is asked.
        """
        verdict = past.verdict
        assert verdict is not None
        if verdict.by_person or verdict.label not in self._moved:
            return verdict
        enough = verdict.confidence >= self._moved[verdict.label]
        mention = past.claimed.mention
        sure = enough and (verdict.sure or self._parts.classifier().knows(classifier_input(mention), mention.language))
        return replace(verdict, sure=sure)


def replay(
    parts: Parts,
    changed: Config,
    since: datetime,
    until: datetime,
    tally: Tally,
    *,
    model: str | None = None,
    page: int = PAGE,
) -> Iterator[Difference]:
    """What would differ, oldest first; `tally` is filled as it goes. `model` is a folder, or the version of one that the store keeps.

    Raises UserError for a model that is nowhere, ModelError for one that can't be used.
    """
    judge = Judge(parts, changed, other_model(parts, changed, model))  # now, so that a mistake is said before anything is printed
    return _differences(parts, judge, (_Side(parts, parts.config), _Side(parts, changed)), since, until, tally, page)


def _differences(
    parts: Parts, judge: Judge, sides: tuple[_Side, _Side], since: datetime, until: datetime, tally: Tally, page: int
) -> Iterator[Difference]:
    for pasts in parts.store.history.pages(since, until, page):
        numbers = {past.problem_id for past in pasts if past.problem_id is not None}
        filed = parts.store.history.filed(numbers, since)
        again = parts.store.history.reported_again(numbers)
        for past, verdict in zip(pasts, judge.verdicts(pasts), strict=True):
            tally.read += 1
            if past.deleted:
                tally.deleted += 1
            elif past.verdict is None or verdict is None:
                tally.unjudged += 1
            else:
                number = past.problem_id or 0
                before, after = (
                    side.decide(past, said, filed.get(number), again=number in again)
                    for side, said in zip(sides, (past.verdict, verdict), strict=True)
                )
                found = Difference(past, before, after)
                if _count(tally, found):
                    yield found


def _count(tally: Tally, found: Difference) -> bool:
    """Add it to the totals; whether it is a difference at all."""
    for total, acts in ((tally.before, found.before.acts), (tally.after, found.after.acts)):
        for act, count in acts.items():
            total[act.name] += count
    relabelled = found.before.verdict.label != found.after.verdict.label
    if found.before.acts == found.after.acts and not relabelled:
        return False
    tally.differ += 1
    tally.gained.update(act.name for act in found.gained)
    tally.lost.update(act.name for act in found.lost)
    if relabelled:
        tally.labels[found.before.verdict.label, found.after.verdict.label] += 1
    return True


def _acts(decision: Decision) -> Counter[Act]:
    """What a decision asks for, and what it only suggests."""
    acts: Counter[Act] = Counter()
    for plan in decision.plans:
        acts[Act(str(plan.kind), plan.via, urgent=_urgent(plan.payload))] += 1
        for suggested in plan.payload.get("suggest", ()):
            acts[Act(suggested["kind"], suggested["via"], suggested=True, urgent=_urgent(suggested["payload"]))] += 1
    return acts


def _urgent(payload: Mapping[str, object]) -> bool:
    return bool(payload.get("urgent")) or payload.get("severity") == "critical"


# Which model


def other_model(parts: Parts, changed: Config, name: str | None) -> Classifier | None:
    """The classifier of the changed side; None where it is the one that acts today, whose verdicts are recorded."""
    thresholds = {str(label): threshold for label, threshold in changed.thresholds.items()}
    if name is None:
        if changed.model == parts.config.model:
            return None
        found = Classifier.load(changed.model, thresholds) if changed.model else _promoted(parts, thresholds)
        return None if found.card.version == parts.classifier().card.version else found
    if Path(name).is_dir():
        return Classifier.load(Path(name), thresholds)
    version = version_of(parts, name)
    return parts.registry.load(version, thresholds) if version else parts.registry.shipped(thresholds)


def _promoted(parts: Parts, thresholds: Mapping[str, float]) -> Classifier:
    """The classifier that acts where the config names none."""
    version = parts.store.models.standing().active
    return parts.registry.load(version, thresholds) if version else parts.registry.shipped(thresholds)
