"""The answer: its panel below the post, drafts, the preview, sending, taking back, approvals."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Form, Request
from fastapi.responses import JSONResponse, Response

from triage.app import App
from triage.errors import RemoteError, UserError
from triage.mention import HUMAN, Label, State
from triage.person import Person, Role
from triage.pipeline import people, replying
from triage.replies import Canned, Given, May, may_approve, why_not_approve
from triage.web import boost
from triage.web.access import FormId, Id, Parts, Routes, Who
from triage.web.render import done, is_part, render

routes = Routes()

Text = Annotated[str, Form()]
Number = Annotated[int, Form(ge=0, le=2**62)]
Flag = Annotated[bool, Form()]

LOUD = {
    State.DOUBT: "Not known whether it was posted",
    State.PARKED: "Stopped: somebody has to decide",
    State.REJECTED: "Refused: it was not posted",
}
"""States of an answer that must not be overlooked."""


def panel(app: App, mention_id: int, person: Person, **more: Any) -> dict[str, Any]:
    """What `_reply.html` shows of a mention, under the name `reply`; `text` is what was typed, the person's draft without it."""
    desk = replying.desk(app, mention_id, person.name)
    drafts = app.store.drafts.of(mention_id)
    mine = next((draft for draft in drafts if draft.person == person.name), None)
    prepared = "" if desk.given else app.store.replies.prepared(mention_id)
    text = more.pop("text", None)
    hold = app.config.web.hold
    return {
        "id": mention_id,
        "post": desk.situation.mention,
        "desk": desk,
        "visible": desk.visible,
        "may": str(desk.answerable.may),
        "given": [_shown(app, one, person) for one in desk.given],
        "text": text if text is not None else mine.text if mine else prepared,
        "saved": mine.at if mine else None,
        "others": [draft for draft in drafts if draft.person != person.name],
        "once": uuid.uuid4().hex,
        "writes": person.role.may(Role.TRAINEE),
        "sends": person.role.may(Role.TRIAGER),
        "by_hand": desk.answerable.may is May.BY_HAND and (not desk.approve or may_approve(desk.approve, person, app.config.groups)),
        "send": f"Send for approval by {desk.approve}" if desk.approve else f"Send, held for {hold:g} s" if hold else "Send",
        "canned": [one for one in desk.canned if one.kind == "answer" or desk.label == Label.PRAISE],
        "thanks": _thanks(desk),
        "boost": boost.shown(app, mention_id),
        "suggestion": desk.suggestion,
        "preview": None,
        "hits": (),
        "refused": "",
    } | more


def _shown(app: App, given: Given, person: Person) -> dict[str, Any]:
    """One of our answers with its state in words, and what can be done about it."""
    now, why_not = app.clock.now(), ""
    if given.waits_for:
        asked = app.store.approvals.of(given.action_id)
        config = app.config
        why_not = why_not_approve(asked.role, asked.asked_by, asked.asked_at, person, config.groups, now, config.web.deputy)
    left = max((given.due_at - now).total_seconds(), 0.0) if given.due_at else 0.0
    return {
        "one": given,
        "words": _words(given, left),
        "loud": given.state in LOUD,
        "left": round(left) if given.can_be_taken_back and not given.waits_for and not given.via_human else None,
        "undo": ("Undo" if given.by == person.name else f"Take back {given.by}'s answer") if given.can_be_taken_back else "",
        "approves": bool(given.waits_for) and not why_not,
        "why_not": why_not,
        "by_hand": given.via_human and given.state is State.PLANNED and not given.waits_for,
        "approve": "Approve" if given.via_human else "Approve and send",
    }


def _words(given: Given, left: float) -> str:
    if given.state in LOUD:
        return LOUD[given.state]
    if given.state is State.DONE:
        return "Answered by hand" if given.via_human else "Sent"
    if given.waits_for:
        return f"Waits for approval by {given.waits_for}"
    if given.state is State.PLANNED and given.via_human:
        return "To be posted by hand"
    if given.state is State.PLANNED and given.attempted:
        return f"Not sent yet, tried again in {left:.0f} s"
    return {State.PLANNED: "Waits to be sent", State.SENDING: "Being sent", State.OBSERVED: "Only observed: it was not sent"}.get(
        given.state, str(given.state)
    )


def _thanks(desk: replying.Desk) -> Canned | None:
    """The thank-you that one key sends: for praise that nobody has answered."""
    if desk.label != Label.PRAISE or desk.answerable.may is not May.YES or desk.answerable.warnings:
        return None
    return next((one for one in desk.canned if one.kind == "thanks" and not one.why_not), None)


def _page(request: Request, app: App, mention_id: int, person: Person, status: int = 200, **more: Any) -> Response:
    shown = panel(app, mention_id, person, **more)
    return render(request, "_reply.html" if is_part(request) else "reply.html", status, reply=shown, whole=not is_part(request))


@routes.get("/mentions/{mention_id}/reply", Role.VIEWER)
def show(request: Request, app: Parts, who: Who, mention_id: Id) -> Response:
    """The panel; without script a page of its own."""
    return _page(request, app, mention_id, who)


@routes.post("/mentions/{mention_id}/reply/preview", Role.TRAINEE)
def preview(request: Request, app: Parts, who: Who, mention_id: Id, text: Text = "", use: Text = "") -> Response:
    """The answer as it would go out. `use` adds a prepared answer, the suggestion, or a colleague's draft to the text first."""
    return _previewed(request, app, who, mention_id, text, use)


def _previewed(request: Request, app: App, who: Person, mention_id: int, text: str, use: str) -> Response:
    if use:
        shown = panel(app, mention_id, who)
        text = "\n\n".join(part for part in (text.strip(), _used(shown, use)) if part)
    try:
        seen, hits = replying.preview(app, mention_id, text)
    except UserError as error:
        if is_part(request):
            return render(request, "_preview.html", preview=None, hits=(), refused=str(error))
        return _page(request, app, mention_id, who, text=text, refused=str(error))
    if is_part(request):
        return render(request, "_preview.html", preview=seen, hits=hits, refused="")
    return _page(request, app, mention_id, who, text=text, preview=seen, hits=hits)


def _used(shown: dict[str, Any], use: str) -> str:
    kind, _, name = use.partition(":")
    if kind == "canned":
        found = next((one for one in shown["canned"] if one.name == name), None)
        if found is None or found.why_not:
            raise UserError(f"the answer {name!r} can't be used" + (f": {found.why_not}" if found else "; reload the page"))
        return str(found.text)
    if kind == "suggestion" and shown["suggestion"] is not None:
        return str(shown["suggestion"].source.answer)
    return next((draft.text for draft in shown["others"] if kind == "draft" and draft.person == name), "")


@routes.post("/mentions/{mention_id}/draft", Role.TRAINEE)
def save(request: Request, app: Parts, who: Who, mention_id: Id, text: Text = "", once: Text = "", page: Flag = False) -> Response:
    """Keep what was typed. A program is told whether it was kept; a form (`page`) comes back to the panel."""
    return _saved(request, app, who, mention_id, text, once, page)


def _saved(request: Request, app: App, who: Person, mention_id: int, text: str, once: str, page: bool) -> Response:
    saved = app.store.drafts.save(mention_id, who.name, text, app.clock.now(), once=once)
    if saved and text.strip():
        with suppress(UserError):  # somebody else has it: the panel shows who, and both drafts are kept
            app.store.claims.claim(mention_id, who.name, app.clock.now())
    if page:
        return done(request, "draft saved" if saved else "that answer was sent already", f"/mentions/{mention_id}")
    return JSONResponse({"saved": saved})


@routes.post("/mentions/{mention_id}/reply", Role.TRIAGER)
def send(
    request: Request,
    app: Parts,
    who: Who,
    mention_id: Id,
    text: Text = "",
    once: Text = "",
    known: Number = 0,
    again: Flag = False,
    by_hand: Flag = False,
    use: Text = "",
    page: Flag = False,
) -> Response:
    """Send the answer, held for a while; or, `by_hand`, note that the person has posted it. What is refused stays as a draft.

    Another button of the same form says `use` or `page`: wherever a browser sends it, that never sends the answer.
    """
    if use:
        return _previewed(request, app, who, mention_id, text, use)
    if page:
        return _saved(request, app, who, mention_id, text, once, page)
    try:
        said = _sent(app, who, mention_id, text, once=once, known=known, again=again, by_hand=by_hand)
    except (UserError, RemoteError) as error:
        if text.strip() and app.store.drafts.save(mention_id, who.name, text, app.clock.now(), once=once) and not is_part(request):
            return _page(request, app, mention_id, who, 409, text=text, refused=str(error))
        raise
    with suppress(UserError):
        app.store.claims.release(mention_id, who.name, app.clock.now())
    return done(request, said, f"/mentions/{mention_id}")


def _sent(app: App, who: Person, mention_id: int, text: str, *, once: str, known: int, again: bool, by_hand: bool) -> str:
    ids = replying.send(app, mention_id, text, who.name, once=once, known=known, again=again, by_hand=by_hand)
    row = app.store.outbox.row(ids[0])
    return _told(row["state"], row["via"], row["reason"], row["attempt"], app.config.web.hold)


def _told(state: str, via: str, reason: str, attempt: int, hold: float) -> str:
    """What became of an answer, in a line: also when its form came a second time."""
    if via == HUMAN:
        return "noted: answered by hand" if state == State.DONE else reason
    if state == State.PLANNED and "waits for approval" in reason:
        return reason
    if state == State.PLANNED and not attempt:
        return f"held for {hold:g} s, then sent; z takes it back" if hold else "on its way"
    return {State.DONE: "it was sent", State.CANCELLED: "it was taken back"}.get(State(state), f"the answer is {state}")


@routes.post("/mentions/{mention_id}/reply/undo", Role.TRIAGER)
def undo(request: Request, app: Parts, who: Who, mention_id: Id, answer: Number = 0) -> Response:
    """Take an answer back that is still held."""
    people.unsend(app, mention_id, who.name, answer=answer or None)
    return done(request, "taken back: the text is a draft again", f"/mentions/{mention_id}")


@routes.post("/mentions/{mention_id}/reply/posted", Role.TRIAGER)
def posted(request: Request, app: Parts, who: Who, mention_id: Id, action: FormId) -> Response:
    """An answer that waited for somebody to post it by hand was posted."""
    app.store.replies.posted(mention_id, action, who.name, app.clock.now())
    return done(request, "noted: answered by hand", f"/mentions/{mention_id}")


@routes.post("/mentions/{mention_id}/reply/approve", Role.TRIAGER)
def approve(request: Request, app: Parts, who: Who, mention_id: Id, action: FormId) -> Response:
    """Let somebody else's answer go. Who may is the rule's to say: a role, or a group of whatever role."""
    people.approve(app, action, who)
    by_hand = app.store.outbox.row(action)["via"] == HUMAN
    return done(request, "approved: post it by hand now" if by_hand else "approved: it is sent now", f"/mentions/{mention_id}")


@routes.post("/mentions/{mention_id}/reply/refuse", Role.TRIAGER)
def refuse(request: Request, app: Parts, who: Who, mention_id: Id, action: FormId, why: Text = "") -> Response:
    """Don't let it go: it is its writer's draft again."""
    people.refuse(app, action, who, why.strip())
    return done(request, "not approved: it is a draft again", f"/mentions/{mention_id}")
