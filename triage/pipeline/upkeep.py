"""What is done every now and then: tickets read back, the audit for duplicates, sleepers woken, a store counted, what is over forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from triage.budget import Purpose
from triage.mention import Receipt
from triage.pipeline.parts import Parts
from triage.pipeline.spending import talk

TICKETS_EVERY = timedelta(minutes=5)
AUDIT_EVERY = timedelta(hours=1)
AUDIT_BACK = timedelta(days=2)
EXPIRE_EVERY = timedelta(seconds=50)  # each upkeep, of one worker
DELETED_KEPT = timedelta(days=1)  # so that a server which wrongly told of deletions can be found out
TIDY_EVERY = timedelta(hours=1)
COUNT_EVERY = timedelta(minutes=15)  # 1,000,000 mentions take some seconds


def read_tickets(parts: Parts) -> int:
    """Read statuses, resolutions and fix versions of our tickets back. Returns how many changed."""
    changed = 0
    for name in parts.trackers:
        now = parts.clock.now()
        turn, last = parts.store.turns.take(f"tickets_read/{name}", now, TICKETS_EVERY)
        if not turn:
            continue
        well = False
        if parts.store.accounts.leave(name, Purpose.REREAD, now).go:
            with talk(parts, "tracker", name):
                changed += parts.store.tickets.changed(name, list(parts.tracker(name).changed(last)), now)
                well = True
        if not well:
            parts.store.turns.give_back(f"tickets_read/{name}", last)  # so that the next reading goes as far back
    return changed


def audit(parts: Parts) -> int:
    """Look for tickets of ours that share a marker: a server that carried out a request long after we gave up. Nothing is deleted."""
    found = 0
    for name in parts.trackers:
        now = parts.clock.now()
        turn, _ = parts.store.turns.take(f"audited/{name}", now, AUDIT_EVERY)
        if not turn:
            continue
        twice: Mapping[str, Sequence[Receipt]] = {}
        if parts.store.accounts.leave(name, Purpose.REREAD, now).go:
            with talk(parts, "tracker", name):
                twice = parts.tracker(name).duplicates(now - AUDIT_BACK)
        for marker, receipts in twice.items():
            found += 1
            names = ", ".join(sorted(receipt.key for receipt in receipts))
            task = f"{parts.config.site}/duplicates/{marker}"  # closing it closes the alert
            parts.store.alerts.open(
                now, "DuplicateTickets", task, "warning", f"{name} holds {names} for one problem; keep one, close the others"
            )
            parts.store.desk.merge_task(task, f"{names} are one problem: keep one, close the others", now)
    return found


def many_answers(parts: Parts) -> int:
    """Tell the people when more answers wait than a server takes; nothing is counted as done."""
    for name in parts.sources:
        if parts.platform(name).manifest.replies:
            parts.store.accounts.many_answers(name, parts.clock.now())
    return 0


def tidy(parts: Parts) -> int:
    """Forget log-ins that are over."""
    now = parts.clock.now()
    turn, _ = parts.store.turns.take("tidied", now, TIDY_EVERY)
    if turn:
        parts.store.sessions.sweep(now, idle=parts.config.web.idle, longest=parts.config.web.longest)
    return 0


def expire(parts: Parts) -> int:
    """Erase what its author deleted a day ago, and what is older than `retention` keeps it, some at a time. Returns how many."""
    now = parts.clock.now()
    if not parts.store.turns.take("retention", now, EXPIRE_EVERY)[0]:
        return 0
    before = {str(label): now - timedelta(seconds=age) for label, age in parts.config.retention.items()}
    return parts.store.privacy.forget(now - DELETED_KEPT, now) + parts.store.privacy.expire(before, now)


def wake(parts: Parts) -> int:
    """Put back into the queue what slept until now."""
    return len(parts.store.items.wake_due(parts.clock.now()))


def count(parts: Parts) -> int:
    """Count a large store, so that nobody who looks at it has to."""
    now = parts.clock.now()
    turn, _ = parts.store.turns.take("counted", now, COUNT_EVERY)
    return int(parts.store.count(now)) if turn else 0


def let_go(parts: Parts) -> int:
    """Put back what people were answering who are no longer there, and forget who looked at what. Returns how many items."""
    now = parts.clock.now()
    parts.store.presence.sweep(now, kept=parts.store.claims.lapse)
    return parts.store.claims.sweep(now)
