"""From a stored mention to its actions: which thread, what it is, and what the rules ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import structlog

from triage.config import Config
from triage.errors import Gone, ModelError, RemoteError, StoreError, UserError
from triage.failpoint import hit
from triage.mention import ActionKind, Label, Plan, Problem, Verdict
from triage.pipeline.colleagues import accounts
from triage.pipeline.learning import shadow
from triage.pipeline.parts import Parts
from triage.problems import thread_of
from triage.rules import Decision, Facts, accepted, comment_key, route, ticket_key
from triage.signals import FEATURE_REQUEST, beside, signals
from triage.store.board import Claimed, Judged
from triage.store.samples import Answer
from triage.store.seen import Seen
from triage.text import classifier_input

log = structlog.get_logger()

RETRY = timedelta(seconds=20)  # for what kept us from judging and was no fault of the post's
THREAD_PATIENCE = timedelta(minutes=10)  # a thread that can't be read for so long counts as the post alone


def process(parts: Parts, ids: Sequence[int] | None = None) -> list[int]:
    """Judge mentions that are due, in batches, and store what follows. Returns the ids of actions to deliver.

    What was begun before and not finished comes alone and last: it may be what killed its worker.
    """
    ready: list[int] = []
    while batch := _claim(parts, ids, suspect=False):
        ready += _judge(parts, batch)
    while batch := _claim(parts, ids, suspect=True):
        ready += _judge(parts, batch)
    return ready


def _claim(parts: Parts, ids: Sequence[int] | None, *, suspect: bool) -> list[Claimed]:
    delivery = parts.config.delivery
    return parts.store.inbox.claim(
        parts.clock.now(), seconds=delivery.claim_seconds, limit=delivery.batch, poison=delivery.poison_attempts, suspect=suspect, ids=ids
    )


def _judge(parts: Parts, batch: list[Claimed]) -> list[int]:
    hit("before_classify")
    threads = _threads(parts, batch)
    batch = [one for one in batch if one.id in threads]
    if not batch:
        return []
    try:
        verdicts = parts.classify([one.mention for one in batch])
        hit("after_classify")
        judged = [_judged(parts, one, verdict, *threads[one.id]) for one, verdict in zip(batch, verdicts, strict=True)]
        hit("before_record")
        ready = parts.store.inbox.record(judged, parts.clock.now())
        hit("after_record")
    except (ModelError, StoreError):
        parts.store.inbox.release(batch, parts.clock.now() + RETRY)  # it's not the posts' fault: they must not end in quarantine
        raise
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
        # One of them can't be judged. Alone it goes to quarantine; in a batch they are tried one at a time.
        if len(batch) > 1:
            return [action for one in batch for action in _judge(parts, [one])]
        log.exception("a mention could not be judged", mention=batch[0].id)
        parts.store.inbox.quarantine(batch[0], f"it could not be judged: {type(error).__name__}: {error}", parts.clock.now())
        return []
    shadow(parts, [one for one in judged if one.claimed.revision == 1])
    return ready


def _judged(parts: Parts, one: Claimed, verdict: Verdict, thread: str, thread_why: str) -> Judged:
    if one.by_person is not None:  # a person's label stands through an edit; what the new text signals counts all the same
        verdict = replace(one.by_person, signals=_signals(one, one.by_person.label, verdict.signals))
    return Judged(one, verdict, thread, thread_why, partial(decide, parts, one, verdict))


def decide(parts: Parts, one: Claimed, verdict: Verdict, problem: Problem, earned: frozenset[str]) -> Decision:
    """Ask the rules, with the facts that are not in the mention."""
    return route(one.mention, verdict, problem, parts.config.rules, facts_of(parts.config, one, earned))


def facts_of(config: Config, one: Claimed, earned: frozenset[str]) -> Facts:
    """What the rules of a config must know of a mention beside what is in it; `earned` may act alone now."""
    return Facts(
        site=config.site,
        tracker=next(iter(config.trackers), None),
        notifiers=tuple(config.notifiers),
        new_author=one.new_author,
        mention_id=one.id,
        earned=earned,
        components=config.components,
    )


def _threads(parts: Parts, batch: list[Claimed]) -> dict[int, tuple[str, str]]:
    """The thread of each mention and why; those whose thread can't be read now are given back for a later try."""
    found: dict[int, tuple[str, str]] = {}
    by_source: dict[str, list[Claimed]] = {}
    for one in batch:
        by_source.setdefault(one.mention.source, []).append(one)
    for source, group in by_source.items():
        parents = [one.mention.parent_id for one in group if one.mention.parent_id and not one.mention.thread]
        known = parts.store.inbox.threads(source, parents)
        later: list[Claimed] = []
        silent = False  # a server that does not answer is not asked for each post of the batch
        for one in group:  # oldest first, so that a parent in the same batch is known before its answer
            thread, why = thread_of(one.mention, known)
            if thread is None and not silent:
                thread, why = _look_up(parts, one)
                silent = thread is None
            if thread is None:
                later.append(one)
                continue
            known[one.mention.remote_id] = thread
            found[one.id] = (thread, why)
        if later:
            parts.store.inbox.release(later, parts.clock.now() + RETRY)
    return found


def _look_up(parts: Parts, one: Claimed) -> tuple[str | None, str]:
    mention = one.mention
    if mention.source not in parts.sources:
        return mention.uri, "its source is not in the config, so its thread can't be read: it stands alone"
    try:
        return parts.platform(mention.source).thread(mention.remote_id, accounts(parts)), "read from the server"
    except Gone:
        return mention.uri, "its thread is gone: it stands alone"
    except RemoteError as error:
        if parts.clock.now() - one.stored_at > THREAD_PATIENCE:
            return mention.uri, f"its thread could not be read ({error}): it stands alone"
        return None, str(error)


def relabel(parts: Parts, mention_id: int, label: str, by: str, *, sample: int | None = None, seen: Seen | None = None) -> list[int]:
    """A person says what a mention is: training data, and ticket and tasks follow. Returns the ids of actions to deliver.

    `sample` is the blind audit's that this answers, in the same transaction; `seen` is what the person saw of the mention.
    """
    claimed, thread, last = parts.store.desk.take(mention_id)
    chosen = Label(label)
    verdict = _by_person(claimed, chosen, by, last)
    judged = Judged(claimed, verdict, thread or claimed.mention.uri, "labelled by a person", partial(decide, parts, claimed, verdict))
    ready = parts.store.inbox.record_by_person(judged, parts.clock.now(), answer=Answer(sample, chosen, by) if sample else None, seen=seen)
    if last is None or last.label != chosen:
        ready += parts.store.desk.relabelled(mention_id, str(last.label) if last else "unlabelled", label, by, parts.clock.now())
    return ready


def file(parts: Parts, mention_id: int, by: str, *, seen: Seen | None = None) -> list[int]:
    """A person files a post as a bug, whatever the rules say of it. Returns the ids of actions to deliver.

    The ticket of a private post holds nothing but our number of the mention.
    """
    tracker = next(iter(parts.trackers), None)
    if tracker is None:
        raise UserError("the config names no tracker, so nothing can be filed; add one under `trackers`")
    claimed, thread, last = parts.store.desk.take(mention_id)
    verdict = _by_person(claimed, Label.BUG_REPORT, by, last)

    def decision(problem: Problem, earned: frozenset[str]) -> Decision:
        asked = decide(parts, claimed, verdict, problem, earned)
        if any(plan.kind in (ActionKind.TICKET, ActionKind.COMMENT) for plan in asked.plans):
            return asked
        payload = {"what": "report", "lifted": claimed.mention.visibility.is_private}
        reason, first = f"{by} filed it", ticket_key(parts.config.site, problem)
        if problem.ticket or problem.ticket_planned:
            key = comment_key(parts.config.site, claimed.mention.uri)
            plan = Plan(key, ActionKind.COMMENT, problem.tracker or tracker, reason, asked.rule, first, payload)
        else:
            plan = Plan(first, ActionKind.TICKET, tracker, reason, asked.rule, None, payload)
        return replace(asked, plans=(*asked.plans, plan))

    judged = Judged(claimed, verdict, thread or claimed.mention.uri, "filed by a person", decision)
    return parts.store.inbox.record_by_person(judged, parts.clock.now(), seen=seen)


def _by_person(claimed: Claimed, label: Label, by: str, last: Verdict | None) -> Verdict:
    scores = {str(name): float(name is label) for name in Label}
    found = _signals(claimed, label, last.signals if last else frozenset())
    return Verdict(label, 1.0, scores, True, by, by_person=True, language=last.language if last else None, signals=found)


def _signals(claimed: Claimed, label: Label, found: frozenset[str]) -> frozenset[str]:
    """What a model found beside its own label, as it goes with a person's: a wish for a feature counts on a question alone."""
    wished = {FEATURE_REQUEST} & signals(classifier_input(claimed.mention))
    return beside(label, found | wished)


def accept(parts: Parts, task_id: int, by: str, *, seen: Seen | None = None) -> list[int]:
    """Carry out what a rule suggested: the label is confirmed by a person, the task is done. Returns the ids of actions to deliver."""
    if parts.config.mode == "observe":
        raise UserError("the service only observes; nothing is sent. Set `mode: act` in the config, then accept again")
    task = parts.store.desk.task(task_id)
    plans = accepted(task["payload"])
    if not plans:
        raise UserError(f"task {task_id} suggests nothing; answer it (triage answer {task_id} TEXT) or close it (triage close {task_id})")
    claimed, thread, last = parts.store.desk.take(task["mention_id"])
    if last is None:
        raise UserError(f"mention {claimed.id} has not been judged yet; try again in a moment")
    verdict = replace(last, by=by, by_person=True, sure=True, confidence=1.0, scores={str(k): float(k == last.label) for k in last.scores})

    def decision(problem: Problem, _earned: frozenset[str]) -> Decision:
        """The plans as they were suggested, but for a ticket that another report of the problem has got since."""
        fit = tuple(_as_comment(parts, claimed, plan, problem) for plan in plans)
        return Decision(rule=task["rule"], reason=f"{by} accepted what the rule suggested", plans=fit, matched=())

    judged = Judged(claimed, verdict, thread or claimed.mention.uri, "as before", decision)
    return parts.store.inbox.record_by_person(judged, parts.clock.now(), closing=(task_id, by), seen=seen)


def _as_comment(parts: Parts, claimed: Claimed, plan: Plan, problem: Problem) -> Plan:
    if plan.kind is not ActionKind.TICKET or (problem.ticket is None and not problem.ticket_planned):
        return plan
    key, first = comment_key(parts.config.site, claimed.mention.uri), ticket_key(parts.config.site, problem)
    return replace(plan, key=key, kind=ActionKind.COMMENT, via=problem.tracker or plan.via, after=first, payload={"what": "report"})
