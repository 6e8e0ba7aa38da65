"""Praise that is boosted: may it be, and what a person does about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from triage import boosts
from triage.boosts import Boost, Boostable, May, Situation
from triage.contracts import Boosts
from triage.errors import UserError
from triage.pipeline.parts import Parts
from triage.store.boosts import BOOSTED
from triage.store.seen import Seen

__all__ = ["BOOSTED", "Desk", "ask", "desk", "take_back"]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a page shows of a post's boost. `label` is the post's, `seen` its state, `boost` the boost that there is."""

    boostable: Boostable
    label: str | None
    seen: Seen
    can: bool
    boost: Boost | None


def desk(parts: Parts, mention_id: int) -> Desk:
    """What to know before boosting. Asks no server."""
    situation, seen = _situation(parts, mention_id)
    return Desk(boosts.check(situation), situation.label, seen, situation.can, situation.boost)


def ask(parts: Parts, mention_id: int, by: str, *, sure: bool = False, seen: Seen | None = None) -> int:
    """Boost a post, held for `web.hold`, and close its tasks; the action's id. `sure`: it is all right with an author who is no ally.

    `UserError` where it may not be boosted, with the reason.
    """
    situation, _ = _situation(parts, mention_id)
    found = boosts.check(replace(situation, boost=None, used=0, daily=max(situation.daily, 1)))  # those the store decides, in one breath
    if found.may is May.NO:
        raise UserError(f"{found.reason}; nothing was boosted")
    if found.may is May.ASK and not sure:
        raise UserError(f"{found.reason} Nothing was boosted; say that you are sure, then it is")
    config = parts.config
    now = parts.clock.now()
    return parts.store.boosts.ask(mention_id, by, now, hold_for=config.web.hold, daily=config.boosts.daily, seen=seen)


def take_back(parts: Parts, mention_id: int, by: str) -> None:
    """Take back a boost that is still held. `UserError` when it is too late."""
    parts.store.boosts.take_back(mention_id, by, parts.clock.now())


def _situation(parts: Parts, mention_id: int) -> tuple[Situation, Seen]:
    known = parts.store.boosts.standing(mention_id, parts.clock.now())
    source, config = known.mention.source, parts.config
    situation = Situation(
        mention=known.mention,
        label=known.label,
        deleted_at=known.deleted_at,
        can=source in parts.sources and isinstance(parts.platform(source), Boosts),
        observes=config.mode == "observe",
        copied=bool(parts.store.place.check(parts.clock.now()).copied),
        refused_token=known.refused_token,
        boost=known.boost,
        used=known.used,
        daily=config.boosts.daily,
        next_at=known.next_at,
        allies=config.boosts.allies,
    )
    return situation, known.seen
