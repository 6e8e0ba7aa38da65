"""From a planned action to its receipt, and what to do when nobody tells us the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from triage import remote
from triage.budget import Purpose
from triage.contracts import Blanks, Boosts
from triage.delivery import Move, Pace, after_blind_glance, after_error, after_glance, after_look
from triage.errors import OutcomeUnknown, Refused, RemoteError
from triage.failpoint import hit
from triage.mention import ActionKind, Receipt, State, Work
from triage.pipeline.intake import look_again, look_at
from triage.pipeline.parts import Parts
from triage.pipeline.spending import failed, spends
from triage.store.outbox import Pending, looks_first

log = structlog.get_logger()

FRESH = timedelta(seconds=30)  # a post that was read this recently is not read again before a ticket or comment about it
JUDGE_FIRST = timedelta(seconds=3)
READ_AHEAD = 8  # actions; of what another worker has begun meanwhile each costs a claim in vain
LOOK_SECONDS = 120.0  # longer than any look takes; then somebody else may look


def pace(parts: Parts) -> Pace:
    """The times of delivery, from the config."""
    delivery = parts.config.delivery
    return Pace(delivery.settle, delivery.retry_first, delivery.retry_longest, delivery.attempts_before_parking)


def deliver(parts: Parts, ids: Sequence[int]) -> list[int]:
    """Carry out these actions as far as they are due and ours. Returns the ids of those that were sent."""
    sent: list[int] = []
    resting: set[str] = set()
    known = {*parts.sources, *parts.trackers, *parts.notifiers}
    stand = parts.store.place.check(parts.clock.now())
    if stand.newer:
        return sent
    for pending in _pending(parts, ids):
        if stand.copied and pending.kind is not ActionKind.ALERT:
            continue
        if pending.via not in known:
            parts.store.outbox.strand(pending.id, pending.via, parts.clock.now())
            continue
        if pending.via in resting or parts.store.accounts.put_off(pending.via, parts.clock.now()):
            resting.add(pending.via)  # else each of them would read its post again, only to wait then
            continue
        if not _still_stands(parts, pending):
            continue
        evidence = _evidence(parts, pending)  # before the claim: between the intent and the first byte there is no time for it
        work = _looked_for(parts, pending) if looks_first(pending.kind, pending.attempt, stand) else _claim(parts, pending)
        if work is None:
            if parts.store.accounts.ails(pending.via):
                resting.add(pending.via)  # somebody else tries it, or a look does; the claim has put off all that goes there
            continue
        intent = remote.boot_seconds()
        hit("after_intent")
        if work.verdict is not None and evidence:
            work = replace(work, verdict=replace(work.verdict, evidence=evidence))
        move = _send(parts, work, intent)
        repeats = parts.notifier(work.via).manifest.repeats if work.kind is ActionKind.ALERT else None
        finished = parts.store.outbox.finish(work, move, parts.clock.now(), repeats=repeats)
        if finished is not None and move.state is State.DONE:
            sent.append(work.action_id)
        elif move.state is not State.DONE:
            say = log.warning if finished is None or finished.news else log.debug  # of an outage each probe would say it again
            say("not delivered", action=work.action_id, kind=str(work.kind), state=str(move.state), why=move.why)
    return sent


def _pending(parts: Parts, ids: Sequence[int]) -> Iterator[Pending]:
    """These actions in order, read a few at a time: with several workers the others take some while we send."""
    for start in range(0, len(ids), READ_AHEAD):
        yield from parts.store.outbox.pending(ids[start : start + READ_AHEAD])


def _claim(parts: Parts, pending: Pending, looked: Work | None = None) -> Work | None:
    return parts.store.outbox.claim(pending.id, parts.clock.now(), looked=looked)


def _looked_for(parts: Parts, pending: Pending) -> Work | None:
    """Claim what may have been sent already, once the far side says that it is not there. What is there is done; no look, no send."""
    outbox, restored = parts.store.outbox, parts.store.place.check(parts.clock.now()).until is not None
    with outbox.glance(pending.id, parts.clock.now()) as glanced:
        if glanced is None:
            return _claim(parts, pending)  # which says why not
        work, failures = glanced
        hit("before_glance")
        strangers: list[Receipt] = []
        try:
            found = _find(parts, work)
            if restored and work.kind is ActionKind.REPLY and not found:
                strangers = outbox.strangers(work, parts.platform(work.via).answers(work))
            move = after_glance(found, strangers)
        except RemoteError as error:
            move = after_blind_glance(failures + 1, error, parts.clock.now(), pace(parts))
        except Exception as error:
            log.exception("a connector failed", action=work.action_id, via=work.via)
            unknown = OutcomeUnknown(f"{work.via}: {type(error).__name__}: {remote.redact(str(error))}")
            move = after_blind_glance(failures + 1, unknown, parts.clock.now(), pace(parts))
        if move is None:
            return _claim(parts, pending, looked=work)
        if outbox.settle(work, move, parts.clock.now(), looks=failures, seen=[receipt.remote_id for receipt in strangers]):
            log.info("looked before sending", action=work.action_id, kind=str(work.kind), state=str(move.state), why=move.why)
        return None


def _find(parts: Parts, work: Work) -> Sequence[Receipt]:
    match work.kind:
        case ActionKind.REPLY:
            return parts.platform(work.via).find(work)
        case ActionKind.BOOST:
            return _booster(parts, work).boosted(work)
        case ActionKind.BLANK if not isinstance(parts.tracker(work.via), Blanks):
            return []
        case _:
            return parts.tracker(work.via).find(work)


def _booster(parts: Parts, work: Work) -> Boosts:
    platform = parts.platform(work.via)
    if not isinstance(platform, Boosts):
        raise Refused(f"{work.via} can't boost posts")
    return platform


def _blanker(parts: Parts, work: Work) -> Blanks:
    tracker = parts.tracker(work.via)
    if not isinstance(tracker, Blanks):
        raise Refused(f"{work.via} can't change what it holds")
    return tracker


@spends
def _send(parts: Parts, work: Work, intent: float) -> Move:
    try:
        with remote.sending(intent):
            receipt = carry_out(parts, work)
        hit("after_send")
    except RemoteError as error:
        return after_error(work.kind, work.attempt, error, parts.clock.now(), pace(parts))
    except Exception as error:
        log.exception("a connector failed", action=work.action_id, via=work.via)
        unknown = OutcomeUnknown(f"{work.via}: {type(error).__name__}: {remote.redact(str(error))}")
        return after_error(work.kind, work.attempt, unknown, parts.clock.now(), pace(parts))
    return Move(State.DONE, f"{receipt.key or receipt.remote_id} {receipt.url}".strip(), receipt=receipt)


def _evidence(parts: Parts, pending: Pending) -> tuple[str, ...]:
    """The words that spoke for a model's verdict, for the ticket."""
    if pending.kind is not ActionKind.TICKET or pending.mention_id is None:
        return ()
    claimed, _, verdict = parts.store.desk.take(pending.mention_id)
    if verdict is None or verdict.by_person:
        return ()
    return parts.explain(claimed.mention, verdict.label)


def carry_out(parts: Parts, work: Work) -> Receipt:
    """The one outward call of an action."""
    match work.kind:
        case ActionKind.TICKET:
            return parts.tracker(work.via).file(work)
        case ActionKind.COMMENT:
            return parts.tracker(work.via).update(work)
        case ActionKind.BLANK:
            return _blanker(parts, work).blank(work)
        case ActionKind.REPLY:
            return parts.platform(work.via).reply(work)
        case ActionKind.BOOST:
            return _booster(parts, work).boost(work)
        case ActionKind.ALERT:
            return parts.notifier(work.via).send(work)
        case _:
            raise ValueError(f"nobody carries out a {work.kind}")


def _still_stands(parts: Parts, pending: Pending) -> bool:
    """Look at the post again before acting on it: it may have been edited or deleted since."""
    now = parts.clock.now()
    aside = pending.kind in (ActionKind.ALERT, ActionKind.BLANK)
    if aside or pending.source not in parts.sources or pending.remote_id is None:
        return True
    if pending.kind is ActionKind.COMMENT and pending.what != "report":
        return True  # it tells what became of a post, gone or not
    if pending.kind is not ActionKind.REPLY and pending.read_at is not None and now - pending.read_at < FRESH:
        return True  # people read an answer: what it answers is always asked for again
    assert pending.source is not None
    purpose = Purpose.SEND if pending.kind.is_post else Purpose.POLL  # a poll matters more than a ticket's second look
    found = look_again(parts, pending.source, pending.remote_id, purpose)  # nothing: a ticket must not wait for another server
    changed = look_at(parts, pending.source, found)
    if changed:
        parts.store.outbox.postpone(pending.id, State.PLANNED, now + JUDGE_FIRST)
    return not changed  # of a post that is gone the claim knows by now: it cancels, or heeds a person who wants it sent all the same


@spends
def reconcile(parts: Parts, ids: Sequence[int]) -> list[int]:
    """Look for what became of actions in doubt. Returns the ids of those that are settled."""
    settled: list[int] = []
    if parts.store.place.check(parts.clock.now()).newer:
        return settled
    for action_id in ids:
        now = parts.clock.now()
        claimed = parts.store.outbox.claim_look(action_id, now, LOOK_SECONDS)
        if claimed is None:
            continue
        work, row = claimed
        if work.via not in {*parts.sources, *parts.trackers}:
            parts.store.outbox.strand(action_id, work.via, now)
            continue
        hit("before_look")
        try:
            found = _find(parts, work)
            repeatable = parts.platform(work.via).repeatable() if work.kind.is_post else True
        except Exception as error:
            if not isinstance(error, RemoteError):
                log.exception("a connector failed", action=action_id, via=work.via)
                error = OutcomeUnknown(f"{work.via}: {type(error).__name__}: {remote.redact(str(error))}")
            failed(parts, "source" if work.kind.is_post else "tracker", work.via, error)
            again = now + timedelta(seconds=parts.config.delivery.settle)
            parts.store.outbox.postpone(action_id, State.DOUBT, again, look=(work.attempt, row["looks"]))
            continue
        move = after_look(
            work.kind,
            found,
            looked=row["looks"],
            retried=row["retried"],
            repeatable=repeatable,
            unknown_at=row["unknown_at"],
            first_intent_at=work.first_intent_at,
            now=parts.clock.now(),
            pace=pace(parts),
        )
        if parts.store.outbox.finish(work, move, parts.clock.now(), looks=row["looks"]) and move.state is not State.DOUBT:
            settled.append(action_id)
    return settled
