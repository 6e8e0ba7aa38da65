"""What a person sees before they answer: may they, how it would look, what could be said."""

from __future__ import annotations

from dataclasses import dataclass, replace

from triage.errors import RemoteError, UserError
from triage.pipeline.parts import Parts
from triage.pipeline.people import answer, answer_mention, answering, mention_of, needed
from triage.replies import (
    VISIBLE,
    Answerable,
    Canned,
    Given,
    Hit,
    May,
    Preview,
    Situation,
    Suggestion,
    canned,
    check,
    style_hits,
    suggest,
)
from triage.rules import greeting


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything beside the text: `approve` names who must let the answer go, `newest` is the newest answer of ours to the post."""

    situation: Situation
    answerable: Answerable
    given: tuple[Given, ...]
    newest: int
    label: str | None
    approve: str
    canned: tuple[Canned, ...]
    suggestion: Suggestion | None
    visible: str


def desk(parts: Parts, mention_id: int, by: str = "") -> Desk:
    """What to know before the person `by` answers a mention. Asks no server."""
    situation, more = parts.store.replies.situation(mention_id)
    mention = situation.mention
    stand = parts.store.place.check(parts.clock.now())
    situation = replace(
        situation,
        configured=mention.source in parts.sources,
        replies=answering(parts, mention) is not None,
        observes=parts.config.mode == "observe",
        copied=bool(stand.copied),
        restored=stand.until is not None,
    )
    config = parts.config
    solved = parts.store.replies.solved([one.problem for one in config.answers if one.problem])
    ready = canned(
        config.answers,
        mention,
        situation.signals,
        greeting=greeting(mention.author),
        ticket=more["ticket"],
        product=config.product,
        solved=solved,
        looks=parts.store.links.known() if config.check_links and config.answers else {},
    )
    found = None
    if more["label"] is not None:
        earlier = [one for one in parts.store.replies.answered(more["label"], more["language"]) if one.mention_id != mention_id]
        found = suggest(mention.text, earlier)
    return Desk(
        situation,
        check(situation),
        tuple(one for one in situation.given if one.mention_id == mention_id),
        more["newest"],
        more["label"],
        needed(parts, mention_id, more["rule"], by) or "",
        tuple(ready),
        found,
        VISIBLE[mention.visibility],
    )


def send(
    parts: Parts,
    mention_id: int,
    text: str,
    by: str,
    *,
    once: str = "",
    known: int | None = None,
    again: bool = False,
    by_hand: bool = False,
) -> list[int]:
    """Answer a mention where it may be answered; `again` where it was answered already. The ids of the actions.

    It is held for `web.hold`. What the others mean, and when this is refused besides, `people.answer_mention` tells. A form that was
    carried out is not asked again.
    """
    if not (once and parts.store.replies.carried_out(once)):
        _refuse_unless(parts, mention_id, again)
    return answer_mention(parts, mention_id, text, by, hold=parts.config.web.hold, known=known, once=once, by_hand=by_hand)


def send_task(parts: Parts, task_id: int, text: str, by: str, *, again: bool = False, hold: float | None = None) -> list[int]:
    """The same for the mention of a task, which must be open: of two people who answer a task one wins, the other is told who.

    It is held for `hold` seconds, for None as long as `web.hold` says.
    """
    _refuse_unless(parts, mention_of(parts, task_id), again)
    return answer(parts, task_id, text, by, hold=parts.config.web.hold if hold is None else hold)


def _refuse_unless(parts: Parts, mention_id: int, again: bool) -> None:
    """`UserError` where a mention may not be answered, or was, and it is not meant to be answered `again`."""
    answerable = desk(parts, mention_id).answerable
    if answerable.may is May.NO or (answerable.may is May.AGAIN and not again):
        raise UserError(f"{answerable.reason}; nothing was sent. Next: {answerable.next_step}")


def preview(parts: Parts, mention_id: int, text: str) -> tuple[Preview, list[Hit]]:
    """An answer as it would go out, and what the style list says of it. `UserError` where it can't be made into posts."""
    mention = parts.store.desk.take(mention_id)[0].mention
    hits = style_hits(parts.config.style, text)
    platform = answering(parts, mention)
    visible = VISIBLE[mention.visibility]
    if not text.strip() or platform is None:
        return Preview((), visible), hits
    try:
        posts = tuple(platform.show(mention, part) for part in platform.compose(mention, text))
    except RemoteError as error:
        raise UserError(f"the server can't be asked how long a post may be ({error}); your draft is kept, try again later") from None
    return Preview(posts, visible), hits
