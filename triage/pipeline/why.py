"""Why a mention was judged and routed as it was: worked out when somebody asks, from the text, the model and the rules of today."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from triage.classifier import Classifier, Labelled, corpus_folder, read_corpus
from triage.config import IMPORTED, Config
from triage.details import details
from triage.errors import ModelError, UserError
from triage.mention import Author, Label, Mention, Problem, Verdict
from triage.pipeline.judge import facts_of
from triage.pipeline.parts import Parts
from triage.rules import NO_RULE, route, unmet
from triage.signals import raised_by
from triage.store.board import Claimed
from triage.store.history import Corrected, Past
from triage.text import classifier_input, neutralise

if TYPE_CHECKING:
    from triage.classifier.reasons import Neighbours

MOST_REASONS = 6  # on either side
LEAST_SHARE = 0.01  # of what is told; less is not worth a line
MOST_NEAR = 3  # posts for the label, and as many for others
NEAR = 0.2  # a cosine from which a post of another label is worth a look

_reading = Lock()


def why(parts: Parts, mention_id: int) -> dict[str, Any]:
    """The verdict on a stored mention with its reasons, as plain data. `UserError` for one that could never be read."""
    past = parts.store.history.past(mention_id)
    mention = past.claimed.mention
    if not mention.platform:
        raise UserError(f"mention {mention_id} could not be read, so there is no text to explain; look at it: triage show {mention_id}")
    corrections = [one for one in parts.store.history.corrections() if one.mention_id != mention_id]
    earned = frozenset(rule for rule, alone in parts.store.samples.acting().items() if alone)
    return {
        "mention": mention_id,
        "url": mention.url or mention.uri,
        "visibility": str(mention.visibility),
        "deleted": past.deleted,
        **_explained(parts.classifier(), parts.config, past, corrections, earned),
    }


def why_text(classifier: Classifier, config: Config, text: str, corrections: Iterable[Corrected] = ()) -> dict[str, Any]:
    """The same for a text that is not stored, as if a public post by an unknown author had it."""
    now = datetime.now(UTC)
    mention = Mention("text", IMPORTED, IMPORTED, "text", Author(""), neutralise(text), now)
    claimed = Claimed(0, 0, 1, mention, True, True, now)
    past = Past(claimed, deleted=False, thread="text", problem_id=None, verdict=None, at=None, rule="", reason="")
    return {"mention": None, **_explained(classifier, config, past, corrections, frozenset())}


def _explained(
    classifier: Classifier, config: Config, past: Past, corrections: Iterable[Corrected], earned: frozenset[str]
) -> dict[str, Any]:
    mention = past.claimed.mention
    text = classifier_input(mention)
    [now] = classifier.classify([text], [mention.language])
    recorded = past.verdict
    return {
        "verdict": _verdict(recorded or now, past.at),
        "model": {
            **_verdict(now, None),
            "threshold": classifier.thresholds[now.label],
            "doubts": classifier.doubts(text, now, mention.language),
        },
        "evidence": _evidence(classifier, text, now.label),
        "nearest": _nearest(classifier, text, now.label, corrections),
        "rule": _rule(config, past, recorded or now, earned),
        "signals": [{"signal": signal, "words": words} for signal, words in raised_by(text).items() if signal in (recorded or now).signals],
        "details": _details(config, text),
    }


def _verdict(verdict: Verdict, at: datetime | None) -> dict[str, Any]:
    return {
        "label": str(verdict.label),
        "confidence": verdict.confidence,
        "sure": verdict.sure,
        "scores": dict(verdict.scores),
        "language": verdict.language,
        "by": verdict.by,
        "by_person": verdict.by_person,
        "at": at,
    }


def _evidence(classifier: Classifier, text: str, label: Label) -> dict[str, Any]:
    weighed = classifier.weigh(text, label)
    sides = {"for": weighed.speaks_for, "against": weighed.against}
    return {
        "label": str(weighed.label),
        "other": str(weighed.other),
        "log_odds": weighed.log_odds,
        **{
            side: [
                {"kind": one.kind, "what": one.what, "log_odds": one.log_odds, "share": one.share}
                for one in reasons[:MOST_REASONS]
                if one.share >= LEAST_SHARE
            ]
            for side, reasons in sides.items()
        },
    }


def _nearest(classifier: Classifier, text: str, label: Label, corrections: Iterable[Corrected]) -> dict[str, list[dict[str, Any]]]:
    """The labelled posts most like the text: of its label, and of others where some are near."""
    with _reading:  # several may ask at once: one reads, the others wait
        shipped = _shipped(classifier, corpus_folder())
    corrected = classifier.neighbours([*_corrected(corrections)])
    found = sorted([*shipped.near(text), *corrected.near(text)], key=lambda one: -one.alike)
    shown: dict[str, list[dict[str, Any]]] = {"label": [], "others": []}
    for one in found:
        side = shown["label" if one.post.label == label else "others"]
        if len(side) < MOST_NEAR and (one.post.label == label or one.alike >= NEAR):
            side.append({"label": str(one.post.label), "alike": one.alike, "where": one.post.where, "text": one.post.text})
    return shown


@lru_cache(maxsize=1)
def _shipped(classifier: Classifier, folder: Path) -> Neighbours:
    """The labelled posts that ship, as this model sees them; none where they are not installed. Kept: to read them takes a second."""
    try:
        posts = read_corpus(folder).posts
    except ModelError:
        posts = ()
    return classifier.neighbours([Labelled(post.text, post.label, post.id) for post in posts])


def _corrected(corrections: Iterable[Corrected]) -> Iterator[Labelled]:
    for one in corrections:
        yield Labelled(classifier_input(one.mention), Label(one.label), f"mention {one.mention_id}")


def _rule(config: Config, past: Past, verdict: Verdict, earned: frozenset[str]) -> dict[str, Any]:
    """The rule that takes the mention by the config of today, and why those before it don't."""
    mention, facts = past.claimed.mention, facts_of(config, past.claimed, earned)
    decision = route(mention, verdict, Problem(past.problem_id or 0, past.thread), config.rules, facts)
    skipped = []
    taken = None
    for rule in config.rules:
        because = unmet(rule.when, mention, verdict, facts)
        if because is None:
            taken = rule
            break
        skipped.append({"rule": rule.name, "because": because})
    return {
        "name": decision.rule,
        "reason": decision.reason,
        "matched": list(decision.matched),
        "then": list(taken.then) if taken is not None else ["task"],
        "mode": taken.mode if taken is not None else "auto",
        "skipped": skipped,
        "recorded": past.rule or (NO_RULE if past.verdict is not None else None),
    }


def _details(config: Config, text: str) -> dict[str, list[dict[str, Any]]]:
    found = details(text, config.components)
    kinds = {"versions": found.versions, "systems": found.systems, "errors": found.errors, "components": found.components}
    return {
        kind: [{"value": one.value, "words": text[one.start : one.end], "start": one.start, "end": one.end} for one in some]
        for kind, some in kinds.items()
    }
