"""The API of the queue: the list, one item, its answer, the sources and the insights, by the verbs that the pages call."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query

from triage.person import Role
from triage.pipeline import boosting, people, replying
from triage.pipeline import items as verbs
from triage.store.queue import Page
from triage.web import insights, queue, sources
from triage.web.access import Id, Parts, Routes, Who
from triage.web.api import FAULTS
from triage.web.api_shapes import (
    Asleep,
    Assigned,
    DeskShape,
    Drafted,
    DraftShape,
    GivenShape,
    Line,
    Lines,
    Noted,
    Other,
    Planned,
    Reply,
    Said,
    SourceShape,
    Sure,
    TableShape,
    Why,
)

routes = Routes(prefix="/api", responses=FAULTS)

Words = Annotated[str, Query(max_length=400)]


# The list


@routes.get("/mentions", Role.VIEWER)
def show_list(
    app: Parts,
    who: Who,
    state: Words = "open",
    label: Words = "",
    source: Words = "",
    language: Words = "",
    assigned: Words = "",
    q: Words = "",
    private: bool = False,
    angry: bool = False,
    unsure: bool = False,
    after: Words = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Lines:
    """The list, by the filters and the search of the page. `state` is open, mine, approval, snoozed, waiting, answered or all."""
    asked = {"state": state, "label": label, "source": source, "language": language, "assigned": assigned, "q": q}
    flags = {name: "1" for name, on in (("private", private), ("angry", angry), ("unsure", unsure)) if on}
    approvals = queue.asked(queue.waiting(app, who))
    filters = queue.filters_of(asked | flags)
    return _lines(app.store.queue.page(filters, who.name, app.clock.now(), after[:100], limit, approvals=approvals))


def _lines(page: Page) -> Lines:
    rows, near = ([Line.model_validate(asdict(row)) for row in found] for found in (page.rows, page.near))
    return Lines(rows=rows, near=near, after=page.after)


# One item


@routes.get("/mentions/{mention}/why", Role.VIEWER)
def why(mention: Id, app: Parts) -> dict[str, Any]:
    """What spoke for the verdict and against it, worked out now."""
    from triage.pipeline.why import why as explain

    return explain(app, app.store.items.look(mention).id)


@routes.post("/mentions/{mention}/accept", Role.TRIAGER)
def accept(mention: Id, app: Parts, who: Who) -> Planned:
    """Carry out what a rule suggests."""
    return Planned(actions=verbs.accept(app, mention, who.name))


@routes.post("/mentions/{mention}/close", Role.TRIAGER)
def close(mention: Id, asked: Why, app: Parts, who: Who) -> Planned:
    """Archive it: its tasks are done, without an answer of ours."""
    app.store.items.close(mention, who.name, app.clock.now(), asked.why)
    return Planned(actions=[])


@routes.post("/mentions/{mention}/assign", Role.TRIAGER)
def assign(mention: Id, asked: Assigned, app: Parts, who: Who) -> Said:
    """Give it to somebody, or to nobody."""
    app.store.items.assign(mention, asked.to, who.name, app.clock.now(), was=asked.was)
    return Said(said=f"{asked.to or 'nobody'} has it now")


@routes.post("/mentions/{mention}/snooze", Role.TRIAGER)
def snooze(mention: Id, asked: Asleep, app: Parts, who: Who) -> Said:
    """Let it sleep until a time, or until its author writes again."""
    app.store.items.snooze(mention, asked.until, who.name, app.clock.now())
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
    return Planned(actions=verbs.same(app, mention, asked.other, who.name)[1])


@routes.post("/mentions/{mention}/undo", Role.TRAINEE)
def undo(mention: Id, app: Parts, who: Who) -> Said:
    """Take back the last thing that this person did to it."""
    return Said(said=verbs.undo(app, mention, who.name))


@routes.post("/mentions/{mention}/claim", Role.TRAINEE)
def claim(mention: Id, app: Parts, who: Who) -> Said:
    """This person answers it now; refused while somebody else does."""
    app.store.claims.claim(mention, who.name, app.clock.now())
    return Said(said="you are answering this; others see it")


@routes.post("/mentions/{mention}/release", Role.TRAINEE)
def release(mention: Id, app: Parts, who: Who) -> Said:
    """This person no longer answers it."""
    app.store.claims.release(mention, who.name, app.clock.now())
    return Said(said="it is back in the queue")


# Its answer


@routes.get("/mentions/{mention}/reply", Role.VIEWER)
def show_desk(mention: Id, app: Parts) -> DeskShape:
    """What to know before answering, our answers, and everybody's drafts."""
    desk = replying.desk(app, mention)
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


@routes.post("/mentions/{mention}/boost", Role.TRIAGER)
def boost(mention: Id, asked: Sure, app: Parts, who: Who) -> Planned:
    """Boost praise, held for `web.hold`, in which `undo` takes it back; `sure` where its author is no ally."""
    return Planned(actions=[boosting.ask(app, mention, who.name, sure=asked.sure)])


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


# Sources and insights


@routes.get("/sources", Role.VIEWER)
def show_sources(app: Parts, who: Who) -> list[SourceShape]:
    """How each source, tracker and notifier is, and from when to when we have everything."""
    return [
        SourceShape(
            name=card.name,
            role=card.role,
            kind=card.kind,
            configured=card.configured,
            level=card.state.level,
            state=card.state.word,
            words=card.state.words,
            cost=card.cost,
            held_back=card.account.held_back if card.account else None,
            last_success_at=card.account.last_success_at if card.account else None,
            behind=card.behind,
            ledger=[asdict(stretch) for stretch in card.ledger],
        )
        for card in sources.cards_of(app, who.zone)
    ]


@routes.get("/insights", Role.VIEWER)
def show_insights(
    app: Parts,
    who: Who,
    days: Words = "",
    first: Annotated[str, Query(alias="from", max_length=40)] = "",
    last: Annotated[str, Query(alias="to", max_length=40)] = "",
) -> list[TableShape]:
    """The tables of the insights page; answers by person for approvers alone."""
    report = app.store.insights.report(insights.asked(app, days, first, last), app.clock.now())
    return [
        TableShape(name=one.name, title=one.title, head=list(one.head), rows=[list(row) for row in one.rows])
        for one in insights.tables_of(report, who)
    ]
