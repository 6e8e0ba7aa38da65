"""The right pane: one item, and what a person does with it. Every write says which state of the item it was shown with."""

from __future__ import annotations

import zlib
from typing import Annotated, Any

from fastapi import Form, Request
from fastapi.responses import Response

from triage.app import App
from triage.details import details
from triage.mention import HUMAN, ActionKind, Label, State, Verdict
from triage.person import Role
from triage.pipeline import items as verbs
from triage.rules import accepted
from triage.store.dossier import Dossier
from triage.store.items import FOREVER
from triage.store.seen import Seen
from triage.web import queue, warm
from triage.web.access import FormId, Id, Parts, Routes, Who
from triage.web.render import done, is_part, label, render

routes = Routes()

Field = Annotated[str, Form()]

BACK = "z takes it back"
VISIBLE = {
    "public": "public: everybody can read it",
    "unlisted": "unlisted: everybody can read it, but no public list shows it",
    "private": "private: only the author's followers can read it",
    "direct": "direct: only those whom it names can read it",
}
STEPS = {
    ActionKind.TICKET: "file a ticket",
    ActionKind.COMMENT: "tell the ticket",
    ActionKind.BLANK: "take its words out of the ticket",
    ActionKind.REPLY: "post the answer",
    ActionKind.BOOST: "boost the post",
    ActionKind.ALERT: "alert those on call",
    ActionKind.ARCHIVE: "archive it",
    ActionKind.TASK: "ask a person",
}
STATES = {
    State.PLANNED: "is on its way",
    State.SENDING: "is being sent",
    State.DOUBT: "may have happened: the server did not tell, triage looks",
    State.DONE: "is done",
    State.REJECTED: "was refused",
    State.PARKED: "is parked: somebody has to decide",
    State.CANCELLED: "was cancelled",
    State.OBSERVED: "was only observed, not done",
}
LOUD = (State.DOUBT, State.PARKED, State.REJECTED)


# Looking


@routes.get("/mentions/{mention_id}", Role.VIEWER)
def show(request: Request, app: Parts, who: Who, mention_id: Id) -> Response:
    """The item: as a part when htmx asks, else as a page."""
    values = shown(app, app.store.items.look(mention_id))
    warm.begin(request)
    if is_part(request):
        return render(request, "_item.html", **values)
    return render(request, "queue.html", **queue.panes(request, app, who) | values)


@routes.get("/mentions/{mention_id}/why", Role.VIEWER)
def why(request: Request, app: Parts, mention_id: Id) -> Response:
    """What spoke for the verdict and against it, worked out now."""
    from triage.pipeline.why import why as explain

    found = explain(app, app.store.items.look(mention_id).id)
    return render(request, "_why.html" if is_part(request) else "why.html", why=found, mention_id=mention_id)


@routes.get("/mentions/{mention_id}/same", Role.TRIAGER)
def candidates(request: Request, app: Parts, mention_id: Id) -> Response:
    """The newest problems with a ticket, to pick from."""
    item = app.store.items.look(mention_id)
    found = app.store.items.newest_problems(mention_id)
    return render(request, "_same.html" if is_part(request) else "same.html", candidates=found, item=item)


def shown(app: App, item: Dossier) -> dict[str, Any]:
    """What the templates of an item know: the item, and in words what its fields mean."""
    open_tasks = [row for row in item.actions if row["via"] == HUMAN and row["state"] == State.PLANNED]
    suggested = next((accepted(row["payload"]) for row in open_tasks if accepted(row["payload"])), ())
    return {
        "item": item,
        "seen": str(item.seen),
        "told": told(item),
        "label_names": list(Label),
        "likeliest": likeliest(item.verdict),
        "certainty": certainty(item.verdict),
        "visible": VISIBLE.get(str(item.mention.visibility), str(item.mention.visibility)) if item.mention else "",
        "facts": details(item.mention.text, app.config.components).facts() if item.mention else [],
        "tasks": open_tasks,
        "suggests": [STEPS[plan.kind] for plan in suggested],
        "loud": [row for row in item.actions if row["state"] in LOUD],
        "states": STATES,
        "steps": STEPS,
        "asleep": item.item["snoozed_until"] is not None,
        "forever": FOREVER,
        "snoozes": queue.SNOOZES,
        "tracker": bool(app.config.trackers),
    }


def told(item: Dossier) -> str:
    """A sign of what the page tells of an item; it stays when somebody only begins to answer it, which is shown elsewhere."""
    trail = [(line["what"], line["at"]) for line in item.trail if line["what"] not in ("claimed", "released")]
    states = [(row["id"], row["state"]) for row in item.actions]
    posts = [(post.mention_id, post.at) for post in (*item.above, *item.below)]
    told = (str(item.seen), states, trail, posts, item.item["assignee"], item.item["snoozed_until"], len(item.notes), item.ticket)
    return f"{zlib.crc32(repr(told).encode(errors='replace')):08x}"


def likeliest(verdict: Verdict | None) -> list[tuple[str, float]]:
    """The two labels with the highest scores, where the verdict is not sure; else nothing."""
    if verdict is None or verdict.sure:
        return []
    return sorted(verdict.scores.items(), key=lambda pair: -pair[1])[:2]


def certainty(verdict: Verdict | None) -> str:
    """A verdict's confidence in words."""
    if verdict is None:
        return "not judged yet"
    if verdict.by_person:
        return f"labelled by {verdict.by}"
    least = ((0.97, "almost certain"), (0.85, "very likely"), (0.6, "likely"), (0.4, "maybe"), (0.0, "a guess"))
    words = next(words for share, words in least if verdict.confidence >= share)
    return words if verdict.sure else f"{words}, not sure"


# Doing


@routes.post("/mentions/{mention_id}/label", Role.TRIAGER)
def set_label(request: Request, app: Parts, who: Who, mention_id: Id, name: Field, seen: Field) -> Response:
    """Say what it is."""
    verbs.label(app, mention_id, name, who.name, seen=Seen.read(seen))
    return _done(request, mention_id, f"it is {_a(label(name))} now; {BACK}")


@routes.post("/mentions/{mention_id}/ticket", Role.TRIAGER)
def file(request: Request, app: Parts, who: Who, mention_id: Id, seen: Field) -> Response:
    """File it as a bug."""
    ids = verbs.ticket(app, mention_id, who.name, seen=Seen.read(seen))
    told = f"the ticket is on its way; until it is sent {BACK}" if ids else "it is a bug; there was nothing new to file"
    return _done(request, mention_id, told)


@routes.post("/mentions/{mention_id}/accept", Role.TRIAGER)
def accept(request: Request, app: Parts, who: Who, mention_id: Id, seen: Field) -> Response:
    """Carry out what a rule suggests."""
    verbs.accept(app, mention_id, who.name, seen=Seen.read(seen))
    return _done(request, mention_id, f"accepted; until it is sent {BACK}")


@routes.post("/mentions/{mention_id}/close", Role.TRIAGER)
def close(request: Request, app: Parts, who: Who, mention_id: Id, seen: Field, why: Field = "") -> Response:
    """Archive it: its tasks are done, without an answer of ours."""
    app.store.items.close(mention_id, who.name, app.clock.now(), why, seen=Seen.read(seen))
    return _done(request, mention_id, f"archived; {BACK}")


@routes.post("/mentions/{mention_id}/snooze", Role.TRIAGER)
def snooze(request: Request, app: Parts, who: Who, mention_id: Id, seen: Field, until: Field, at: Field = "") -> Response:
    """Let it sleep until a time, or until its author writes again."""
    when = queue.wakes(until, at, who, app.clock.now())
    app.store.items.snooze(mention_id, when, who.name, app.clock.now(), seen=Seen.read(seen))
    told = f"until {when.astimezone(queue.zone_of(who)):%a %d %b, %H:%M}" if when else "until they write again"
    return _done(request, mention_id, f"it sleeps {told}; {BACK}")


@routes.post("/mentions/{mention_id}/wake", Role.TRIAGER)
def wake(request: Request, app: Parts, who: Who, mention_id: Id) -> Response:
    """Wake it."""
    app.store.items.wake(mention_id, who.name, app.clock.now())
    return _done(request, mention_id, "it is awake")


@routes.post("/mentions/{mention_id}/assign", Role.TRIAGER)
def assign(request: Request, app: Parts, who: Who, mention_id: Id, seen: Field, to: Field = "", was: Field = "") -> Response:
    """Give it to somebody, or to nobody."""
    app.store.items.assign(mention_id, to or None, who.name, app.clock.now(), was=was or None, seen=Seen.read(seen))
    whose = "nobody has it" if not to else "you have it" if to == who.name else f"{to} has it"
    return _done(request, mention_id, f"{whose} now; {BACK}")


@routes.post("/mentions/{mention_id}/note", Role.TRAINEE)
def note(request: Request, app: Parts, who: Who, mention_id: Id, text: Field = "") -> Response:
    """Keep a note that only colleagues see."""
    named = app.store.items.note(mention_id, text, who.name, app.clock.now())
    return _done(request, mention_id, f"noted{' for ' + ', '.join(named) if named else ''}; {BACK}")


@routes.post("/mentions/{mention_id}/same", Role.TRIAGER)
def same(request: Request, app: Parts, who: Who, mention_id: Id, seen: Field, other: Field = "") -> Response:
    """It is the same problem as another."""
    found, ids = verbs.same(app, mention_id, other, who.name, seen=Seen.read(seen))
    told = "; its ticket is told" if ids else ""
    return _done(request, mention_id, f"it belongs to the problem of mention {found} now{told}")


@routes.post("/mentions/{mention_id}/retry", Role.TRIAGER)
def retry(request: Request, app: Parts, who: Who, mention_id: Id, action: FormId, seen: Field) -> Response:
    """An action is not there: send it (again)."""
    verbs.decide(app, mention_id, action, "retry", who.name, seen=Seen.read(seen))
    return _done(request, mention_id, "it is sent again")


@routes.post("/mentions/{mention_id}/drop", Role.TRIAGER)
def drop(request: Request, app: Parts, who: Who, mention_id: Id, action: FormId, seen: Field) -> Response:
    """An action is not wanted any more."""
    verbs.decide(app, mention_id, action, "drop", who.name, seen=Seen.read(seen))
    return _done(request, mention_id, "dropped: it is not sent")


@routes.post("/mentions/{mention_id}/found", Role.TRIAGER)
def found(request: Request, app: Parts, who: Who, mention_id: Id, action: FormId, seen: Field, key: Field = "") -> Response:
    """An action happened: `key` is the ticket's key, or the post's link."""
    verbs.decide(app, mention_id, action, "found", who.name, key, seen=Seen.read(seen))
    return _done(request, mention_id, f"noted: {key.strip()} is there")


@routes.post("/mentions/{mention_id}/undo", Role.TRAINEE)
def undo(request: Request, app: Parts, who: Who, mention_id: Id) -> Response:
    """Take back the last thing that this person did to the item."""
    return _done(request, mention_id, f"taken back: {verbs.undo(app, mention_id, who.name)}")


def _done(request: Request, mention_id: int, said: str) -> Response:
    return done(request, said, f"/mentions/{mention_id}")


def _a(word: str) -> str:
    return word if word in ("praise", "noise") else f"a {word}"
