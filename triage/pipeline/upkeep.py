"""What is done every now and then: tickets read back, the audit for duplicates, a large store counted, old forms forgotten."""

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
FORMS_EVERY = timedelta(hours=1)
COUNT_EVERY = timedelta(minutes=15)  # 1,000,000 mentions take some seconds


def read_tickets(parts: Parts) -> int:
    """Read statuses, resolutions and fix versions of our tickets back. Returns how many changed."""
    changed = 0
    for name in parts.trackers:
        now = parts.clock.now()
        turn, last = parts.store.accounts.turn(f"tickets_read/{name}", now, TICKETS_EVERY)
        if not turn:
            continue
        well = False
        if parts.store.accounts.leave(name, Purpose.REREAD, now).go:
            with talk(parts, "tracker", name):
                changed += parts.store.tickets.changed(name, list(parts.tracker(name).changed(last)), now)
                well = True
        if not well:
            parts.store.accounts.unturn(f"tickets_read/{name}", last)  # so that the next reading goes as far back
    return changed


def audit(parts: Parts) -> int:
    """Look for tickets of ours that share a marker: a server that carried out a request long after we gave up. Nothing is deleted."""
    found = 0
    for name in parts.trackers:
        now = parts.clock.now()
        turn, _ = parts.store.accounts.turn(f"audited/{name}", now, AUDIT_EVERY)
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
            parts.store.accounts.raise_alert(
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


def count(parts: Parts) -> int:
    """Count a large store, so that nobody who looks at it has to."""
    now = parts.clock.now()
    turn, _ = parts.store.accounts.turn("counted", now, COUNT_EVERY)
    return int(parts.store.count(now)) if turn else 0


def forget_forms(parts: Parts) -> int:
    """Forms that were carried out are known for a day, so that one sent twice acts once."""
    now = parts.clock.now()
    turn, _ = parts.store.accounts.turn("forms", now, FORMS_EVERY)
    return parts.store.replies.forget_forms(now) if turn else 0
