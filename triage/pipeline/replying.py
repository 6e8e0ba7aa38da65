"""What a person sees before they answer: may they, how it would look, what could be said."""

from __future__ import annotations

from dataclasses import dataclass, replace

from triage.errors import RemoteError, UserError
from triage.pipeline.parts import Parts
from triage.pipeline.people import answering, approval
from triage.replies import (
    VISIBLE,
    Answerable,
    Canned,
    Given,
    Hit,
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


def desk(parts: Parts, mention_id: int) -> Desk:
    """What to know before answering a mention. Asks no server."""
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
        approval(config, more["rule"]) if situation.replies else "",
        tuple(ready),
        found,
        VISIBLE[mention.visibility],
    )


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
