"""Praise that is boosted by one key, or after a question."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Form, Request
from fastapi.responses import Response

from triage.app import App
from triage.boosts import Boost
from triage.mention import Label, State
from triage.person import Role
from triage.pipeline import boosting
from triage.store.seen import Seen
from triage.web.access import Id, Parts, Routes, Who
from triage.web.render import done

routes = Routes()


def shown(app: App, mention_id: int) -> dict[str, Any] | None:
    """What `_boost.html` shows of a mention; None where boosting is no matter: it is no praise, or its source can't."""
    desk = boosting.desk(app, mention_id)
    if desk.boost is None and not (desk.label == Label.PRAISE and desk.can):
        return None
    boost = desk.boost
    left = round(max((boost.due_at - app.clock.now()).total_seconds(), 0.0)) if boost and boost.untouched and boost.due_at else None
    return {
        "may": str(desk.boostable.may),
        "reason": desk.boostable.reason,
        "seen": str(desk.seen),
        "words": words(boost) if boost else "",
        "loud": boost is not None and boost.state in (State.DOUBT, State.PARKED, State.REJECTED),
        "left": left,
    }


def words(boost: Boost) -> str:
    """A boost's state in words."""
    match boost.state:
        case State.DONE:
            return f"Boosted by {boost.by}"
        case State.PLANNED:
            return f"{boost.by}'s boost waits to be sent"
        case State.SENDING:
            return f"{boost.by}'s boost is being sent"
        case State.DOUBT:
            return f"It is not known whether {boost.by}'s boost was made; triage looks"
    return f"{boost.by}'s boost is {boost.state}: {boost.error or 'somebody has to decide'}"


@routes.post("/mentions/{mention_id}/boost", Role.TRIAGER)
def ask(
    request: Request,
    app: Parts,
    who: Who,
    mention_id: Id,
    seen: Annotated[str, Form()],
    sure: Annotated[bool, Form()] = False,
) -> Response:
    """Boost it, held for a while; `sure` answers the question that is asked where the author is no ally."""
    boosting.ask(app, mention_id, who.name, sure=sure, seen=Seen.read(seen))
    hold = app.config.web.hold
    said = f"held for {hold:g} s, then boosted; z takes it back" if hold else "its boost is on its way"
    return done(request, said, f"/mentions/{mention_id}")
