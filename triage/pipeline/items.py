"""What a person does with an item, where it takes more than one step in the store. Each verb returns ids of actions to deliver.

Nothing is sent here: a worker's sweep sends what is due, within a second. `seen` is the item as a page showed it; when it has
changed since, nothing is done and a `UserError` says what changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, Label, State
from triage.pipeline import boosting, judge, people
from triage.pipeline.parts import Parts
from triage.rules import accepted
from triage.store.dossier import Dossier
from triage.store.items import Deed
from triage.store.seen import Seen

FILED, ACCEPTED, CONFIRMED = "filed by hand", "accepted a suggestion", "confirmed the label"


def label(parts: Parts, mention_id: int, name: str, by: str, *, seen: Seen | None = None) -> list[int]:
    """A person says what the item is. `UserError` for what is no label."""
    if name not in set(Label):
        raise UserError(f"there is no label {name[:40]!r}; choose one of {', '.join(Label)}")
    _, _, last = parts.store.desk.take(mention_id)
    ids = judge.relabel(parts, mention_id, name, by, seen=seen)
    if last is not None and last.label == name:
        parts.store.items.tell(mention_id, by, CONFIRMED, parts.clock.now(), detail=name)
    return ids


def ticket(parts: Parts, mention_id: int, by: str, *, seen: Seen | None = None) -> list[int]:
    """File the item as a bug, whatever the rules say of it."""
    item = parts.store.items.look(mention_id)
    judge.file(parts, mention_id, by, seen=seen)
    ids = _planned_since(parts, item)
    was = f"was {item.verdict.label}; " if item.verdict else ""
    parts.store.items.tell(mention_id, by, FILED, parts.clock.now(), detail=f"{was}{_actions(ids)}")
    return ids


def accept(parts: Parts, mention_id: int, by: str, *, seen: Seen | None = None) -> list[int]:
    """Carry out what a rule suggested for the item."""
    item = parts.store.items.look(mention_id)
    open_tasks = [row for row in item.actions if row["via"] == HUMAN and row["state"] == State.PLANNED]
    suggesting = next((row["id"] for row in open_tasks if accepted(row["payload"])), None)
    if suggesting is None:
        raise UserError("no rule suggests anything here (any more); label it, file it, answer it or close it")
    judge.accept(parts, suggesting, by, seen=seen)
    ids = _planned_since(parts, item)
    parts.store.items.tell(mention_id, by, ACCEPTED, parts.clock.now(), detail=_actions(ids), action_id=suggesting)
    return ids


def same(parts: Parts, mention_id: int, other: str, by: str, *, seen: Seen | None = None) -> tuple[int, list[int]]:
    """The item is the same problem as another, named by a mention's number or a ticket's key; that mention and the ids."""
    if not other.strip():
        raise UserError("name the other: a mention's number, or a ticket's key such as ACME-12")
    found = parts.store.items.named(other)
    if found == mention_id:
        raise UserError("that is this very item; name another one")
    return found, parts.store.items.join(mention_id, found, by, parts.clock.now(), seen=seen)


def decide(parts: Parts, mention_id: int, action_id: int, verb: str, by: str, key: str = "", *, seen: Seen | None = None) -> None:
    """A person's word on an action that is parked, rejected or in doubt: retry, found (with its key or link) or drop."""
    parts.store.items.belongs(mention_id, action_id, seen=seen)
    now = parts.clock.now()
    if verb == "retry":
        parts.store.desk.retry(action_id, by, now)
    elif verb == "drop":
        parts.store.desk.drop(action_id, by, now)
    elif not key.strip():
        raise UserError("say what exists: the ticket's key, or the post's link")
    else:
        parts.store.desk.found(action_id, key.strip(), by, now)


def undo(parts: Parts, mention_id: int, by: str) -> str:
    """Take back the last thing that this person did to the item within five minutes; says what is so again.

    `UserError` where it can't be taken back: it was sent, or somebody has changed it since.
    """
    deed = parts.store.items.last_deed(mention_id, by, parts.clock.now())
    take_back = TAKEN_BACK.get(deed.what)
    if take_back is not None:
        return take_back(parts, mention_id, deed, by)
    return parts.store.items.take_back(mention_id, deed, by, parts.clock.now())


def _label_back(parts: Parts, mention_id: int, deed: Deed, by: str) -> str:
    before, _, after = (part.strip() for part in deed.detail.partition("→"))
    if before not in set(Label):
        raise UserError("it can't be taken back: the post had no label before; set the one that it is")
    item = parts.store.items.look(mention_id)
    _still_mine(item.verdict is not None and item.verdict.by == by and item.verdict.label == after, "the label")
    assert item.verdict_at is not None
    judge.relabel(parts, mention_id, before, by, seen=item.seen)
    parts.store.items.took_back_label(mention_id, deed, item.verdict_at, by, parts.clock.now())
    return f"the label is {before.replace('_', ' ')} again"


def _filing_back(parts: Parts, mention_id: int, deed: Deed, by: str) -> str:
    item = parts.store.items.look(mention_id)
    _still_mine(item.verdict is not None and item.verdict.by == by, "the label")
    assert item.verdict is not None
    assert item.verdict_at is not None
    ids = [int(number) for number in re.findall(r"\baction (\d+)", deed.detail)]
    parts.store.items.take_back_plans(mention_id, deed, ids, item.verdict_at, by, parts.clock.now())
    was = re.match(r"was (\w+);", deed.detail)
    if was and was[1] != item.verdict.label:
        judge.relabel(parts, mention_id, was[1], by, seen=item.seen)
        return f"nothing is filed, and the label is {was[1].replace('_', ' ')} again"
    return "nothing is filed, and the item is open again"


def _confirmation_back(_parts: Parts, _mention_id: int, deed: Deed, _by: str) -> str:
    raise UserError(f"you only confirmed that it is a {deed.detail.replace('_', ' ')}; set another label if it is none")


def _answer_back(parts: Parts, mention_id: int, deed: Deed, by: str) -> str:
    people.unsend(parts, mention_id, by)
    parts.store.items.took_back(mention_id, deed, by, parts.clock.now())
    return "the answer is a draft again; nothing was sent"


def _boost_back(parts: Parts, mention_id: int, deed: Deed, by: str) -> str:
    boosting.take_back(parts, mention_id, by)
    parts.store.items.took_back(mention_id, deed, by, parts.clock.now())
    return "it is not boosted"


def _planned_since(parts: Parts, before: Dossier) -> list[int]:
    """What is to be sent that was not before: also what had been cancelled, and is planned again."""
    was = {row["id"]: row["state"] for row in before.actions}
    now = parts.store.items.look(before.id).actions
    outward = [row for row in now if row["via"] != HUMAN and row["kind"] != ActionKind.ARCHIVE and row["state"] != State.CANCELLED]
    return [row["id"] for row in outward if was.get(row["id"], State.CANCELLED) in (State.CANCELLED, State.OBSERVED)]


def _still_mine(holds: bool, what: str) -> None:
    if not holds:
        raise UserError(f"it can't be taken back: {what} has changed since; set what it should be")


def _actions(ids: list[int]) -> str:
    return ", ".join(f"action {id_}" for id_ in ids) or "nothing to send"


TAKEN_BACK: dict[str, Callable[[Parts, int, Deed, str], str]] = {
    "answered": _answer_back,
    boosting.BOOSTED: _boost_back,
    "relabelled": _label_back,
    CONFIRMED: _confirmation_back,
    FILED: _filing_back,
    ACCEPTED: _filing_back,
}
"""How a deed that reaches into other rooms is taken back, by its line in the trail; all others are `Items.take_back`'s."""
