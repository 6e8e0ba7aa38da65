"""Erasing one person: the store forgets, and the trackers are told how to know again what it has forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from triage.contracts import Blanks
from triage.errors import TriageError
from triage.mention import Work
from triage.pipeline.parts import Parts
from triage.store.privacy import Receipt

log = structlog.get_logger()


def erase(parts: Parts, handle: str, by: str) -> Receipt:
    """Erase what is held of this person; actions that are planned with it take their words out of tickets. `UserError` for nothing."""
    trackers = _blanking(parts)

    def prints(work: Work, texts: Sequence[str]) -> Mapping[str, Any] | None:
        try:
            return trackers[work.via].prints(work, texts) if work.via in trackers else None
        except TriageError as error:  # the person is erased all the same, and a person takes the words out
            log.warning("its words can't be known again", via=work.via, action=work.action_id, why=str(error))
            return None

    return parts.store.privacy.erase(handle, by, parts.clock.now(), prints)


def _blanking(parts: Parts) -> dict[str, Blanks]:
    """The trackers that can change what they hold, made before the transaction."""
    found: dict[str, Blanks] = {}
    for name in parts.trackers:
        try:
            tracker = parts.tracker(name)
        except TriageError as error:
            log.warning("a tracker can't be used", via=name, why=str(error))
            continue
        if isinstance(tracker, Blanks):
            found[name] = tracker
    return found
