"""The API of an item: what stands around it, what is done with it, and its answer, by the verbs that the page calls."""

from __future__ import annotations

from triage.person import Role
from triage.pipeline import boosting, people, replying
from triage.pipeline import items as verbs
from triage.web.access import Id, Parts, Routes, Who
from triage.web.api import FAULTS, state_of
from triage.web.api_shapes import (
    Asleep,
    Assigned,
    Candidate,
    CannedShape,
    Claiming,
    Closed,
    Context,
    Decided,
    DeskShape,
    Drafted,
    DraftShape,
    EarlierShape,
    Explained,
    GivenShape,
    HitShape,
    LookerShape,
    Noted,
    NoteShape,
    Other,
    Planned,
    Posted,
    PostShape,
    PreviewShape,
    Reply,
    Said,
    ShownPost,
    SuggestionShape,
    Sure,
    Why,
)

routes = Routes(prefix="/api", responses=FAULTS)

# One item


@routes.get("/mentions/{mention}/why", Role.VIEWER)
def why(mention: Id, app: Parts) -> Explained:
    """What spoke for the verdict and against it, worked out now."""
    from triage.pipeline.why import why as explain

    return Explained(**explain(app, app.store.items.look(mention).id))


@routes.get("/mentions/{mention}/context", Role.VIEWER)
def show_context(mention: Id, app: Parts) -> Context:
    """What the page shows around it: the thread, what else its author wrote, notes, whose it is, and who looks at it now."""
    found, now = app.store.items.look(mention), app.clock.now()
    stand = app.store.claims.stand(mention, now)
    return Context(
        seen=str(found.seen),
        above=[PostShape.model_validate(one) for one in found.above],
        below=[PostShape.model_validate(one) for one in found.below],
        posts=found.posts,
        first_at=found.first_at,
        earlier=[EarlierShape.model_validate(one) for one in found.earlier],
        notes=[NoteShape.model_validate(one) for one in found.notes],
        assignee=stand.assignee or None,
        away=stand.assignee_away,
        claimed_by=stand.claim.by if stand.claim else None,
        snoozed_until=None if found.item["until_reply"] else found.item["snoozed_until"],
        until_reply=bool(found.item["until_reply"]),
        looking=[LookerShape.model_validate(one) for one in app.store.presence.others(mention, now)],
    )


@routes.get("/mentions/{mention}/same", Role.TRIAGER)
def show_candidates(mention: Id, app: Parts) -> list[Candidate]:
    """The newest problems with a ticket, to pick from for `POST …/same`."""
    return [Candidate.model_validate(one) for one in app.store.items.newest_problems(mention)]


@routes.post("/mentions/{mention}/accept", Role.TRIAGER)
def accept(mention: Id, app: Parts, who: Who, asked: Decided | None = None) -> Planned:
    """Carry out what a rule suggests."""
    return Planned(actions=verbs.accept(app, mention, who.name, seen=state_of(asked)))


@routes.post("/mentions/{mention}/close", Role.TRIAGER)
def close(mention: Id, asked: Closed, app: Parts, who: Who) -> Planned:
    """Archive it: its tasks are done, without an answer of ours."""
    app.store.items.close(mention, who.name, app.clock.now(), asked.why, seen=asked.state)
    return Planned(actions=[])


@routes.post("/mentions/{mention}/assign", Role.TRIAGER)
def assign(mention: Id, asked: Assigned, app: Parts, who: Who) -> Said:
    """Give it to somebody, or to nobody."""
    app.store.items.assign(mention, asked.to, who.name, app.clock.now(), was=asked.was, seen=asked.state)
    return Said(said=f"{asked.to or 'nobody'} has it now")


@routes.post("/mentions/{mention}/snooze", Role.TRIAGER)
def snooze(mention: Id, asked: Asleep, app: Parts, who: Who) -> Said:
    """Let it sleep until a time, or until its author writes again."""
    app.store.items.snooze(mention, asked.until, who.name, app.clock.now(), seen=asked.state)
    return Said(said=f"it sleeps until {asked.until.isoformat() if asked.until else 'they write again'}")


@routes.post("/mentions/{mention}/wake", Role.TRIAGER)
def wake(mention: Id, app: Parts, who: Who) -> Said:
    """Wake it."""
    app.store.items.wake(mention, who.name, app.clock.now())
    return Said(said="it is awake")


@routes.post("/mentions/{mention}/note", Role.TRAINEE)
def note(mention: Id, asked: Noted, app: Parts, who: Who) -> Said:
    """Keep a note that only colleagues see."""
    named = app.store.items.note(mention, asked.text, who.name, app.clock.now())
    return Said(said=f"noted{' for ' + ', '.join(named) if named else ''}")


@routes.post("/mentions/{mention}/same", Role.TRIAGER)
def same(mention: Id, asked: Other, app: Parts, who: Who) -> Planned:
    """It is the same problem as another."""
    return Planned(actions=verbs.same(app, mention, asked.other, who.name, seen=asked.state)[1])


@routes.post("/mentions/{mention}/undo", Role.TRAINEE)
def undo(mention: Id, app: Parts, who: Who) -> Said:
    """Take back the last thing that this person did to it."""
    return Said(said=verbs.undo(app, mention, who.name))


@routes.post("/mentions/{mention}/claim", Role.TRAINEE)
def claim(mention: Id, app: Parts, who: Who, asked: Claiming | None = None) -> Said:
    """This person answers it now; refused while somebody else does, unless it is taken `over`."""
    asked = asked or Claiming()
    app.store.claims.claim(mention, who.name, app.clock.now(), over=asked.over, holder=asked.holder)
    return Said(said="you are answering this; others see it")


@routes.post("/mentions/{mention}/release", Role.TRAINEE)
def release(mention: Id, app: Parts, who: Who) -> Said:
    """This person no longer answers it."""
    app.store.claims.release(mention, who.name, app.clock.now())
    return Said(said="it is back in the queue")


# Its answer


@routes.get("/mentions/{mention}/reply", Role.VIEWER)
def show_desk(mention: Id, app: Parts, who: Who) -> DeskShape:
    """What to know before answering, our answers, and everybody's drafts."""
    desk = replying.desk(app, mention, who.name)
    return DeskShape(
        may=desk.answerable.may,
        reason=desk.answerable.reason,
        next_step=desk.answerable.next_step,
        warnings=list(desk.answerable.warnings),
        visible=desk.visible,
        approve=desk.approve,
        newest=desk.newest,
        given=[GivenShape.model_validate(one) for one in desk.given],
        drafts=[DraftShape.model_validate(one) for one in app.store.drafts.of(mention)],
        canned=[CannedShape.model_validate(one) for one in desk.canned],
        suggestion=_suggested(desk),
    )


def _suggested(desk: replying.Desk) -> SuggestionShape | None:
    if desk.suggestion is None:
        return None
    like, source = desk.suggestion.likeness, desk.suggestion.source
    return SuggestionShape(
        text=source.answer, mention=source.mention_id, question=source.question, by=source.by, at=source.at, likeness=like
    )


@routes.post("/mentions/{mention}/reply/preview", Role.TRAINEE)
def preview(mention: Id, asked: Drafted, app: Parts) -> PreviewShape:
    """A text as it would go out, post by post, and what the style list says of it. Nothing is kept or sent."""
    shown, hits = replying.preview(app, mention, asked.text)
    return PreviewShape(
        visible=shown.visible,
        posts=[ShownPost.model_validate(one) for one in shown.posts],
        hits=[HitShape.model_validate(one) for one in hits],
    )


@routes.put("/mentions/{mention}/draft", Role.TRAINEE)
def save(mention: Id, asked: Drafted, app: Parts, who: Who) -> Said:
    """Keep a draft of this person's."""
    app.store.drafts.save(mention, who.name, asked.text, app.clock.now())
    return Said(said="draft saved")


@routes.post("/mentions/{mention}/reply", Role.TRIAGER)
def send(mention: Id, asked: Reply, app: Parts, who: Who) -> Planned:
    """Answer it, no more public than the post; held for `web.hold`, in which it can be taken back."""
    more = asked.model_dump(include={"once", "known", "again", "by_hand"})
    return Planned(actions=replying.send(app, mention, asked.text, who.name, **more))


@routes.post("/mentions/{mention}/reply/undo", Role.TRIAGER)
def unsend(mention: Id, app: Parts, who: Who) -> Said:
    """Take back this person's newest answer that is still held: its text is a draft again."""
    people.unsend(app, mention, who.name)
    return Said(said="taken back: the text is a draft again")


@routes.post("/mentions/{mention}/reply/posted", Role.TRIAGER)
def posted(mention: Id, asked: Posted, app: Parts, who: Who) -> Said:
    """An answer that waited for somebody to post it by hand was posted."""
    app.store.replies.posted(mention, asked.action, who.name, app.clock.now())
    return Said(said="noted: answered by hand")


@routes.post("/mentions/{mention}/boost", Role.TRIAGER)
def boost(mention: Id, asked: Sure, app: Parts, who: Who) -> Planned:
    """Boost praise, held for `web.hold`, in which `undo` takes it back; `sure` where its author is no ally."""
    return Planned(actions=[boosting.ask(app, mention, who.name, sure=asked.sure, seen=asked.state)])


@routes.post("/actions/{action}/approve", Role.TRIAGER)
def approve(action: Id, app: Parts, who: Who) -> Planned:
    """Let somebody else's answer go."""
    people.approve(app, action, who)
    return Planned(actions=[action])


@routes.post("/actions/{action}/refuse", Role.TRIAGER)
def refuse(action: Id, asked: Why, app: Parts, who: Who) -> Planned:
    """Don't let somebody else's answer go: it is their draft again."""
    people.refuse(app, action, who, asked.why.strip())
    return Planned(actions=[])
