"""What a person does with a task: answer it, take the answer back, let somebody else's go."""

from __future__ import annotations

from triage.config import Config
from triage.contracts import Platform
from triage.errors import UserError
from triage.mention import Mention
from triage.person import Person
from triage.pipeline.parts import Parts
from triage.replies import LONGEST_TEXT, why_not_approve
from triage.store.replies import Written


def answer(parts: Parts, task_id: int, text: str, by: str, *, hold: float = 0.0) -> list[int]:
    """Close a task with an answer, split into as many posts as the server's limit needs. Returns the ids of the actions to deliver.

    It can be taken back for `hold` seconds. Where the source can't be answered by us, the answer becomes a task to post it by hand.
    """
    _check(text)
    task = parts.store.desk.task(task_id)
    if task["mention_id"] is None:
        raise UserError(f"task {task_id} belongs to no post; close it: triage close {task_id}")
    written = _written(parts, task["mention_id"], text, hold)
    return parts.store.replies.answer(task_id, written, by, parts.clock.now())


def answer_mention(
    parts: Parts, mention_id: int, text: str, by: str, *, hold: float = 0.0, known: int | None = None, once: str = "", by_hand: bool = False
) -> list[int]:
    """The same for a mention, whether it has an open task or not.

    `known` is the id of the newest answer that the person had seen: a newer one refuses this. The form `once` is carried out once.
    `by_hand` tells that the person has posted it already.
    """
    _check(text)
    written = _written(parts, mention_id, text, hold, known=known, once=once, by_hand=by_hand)
    return parts.store.replies.answer_mention(mention_id, written, by, parts.clock.now())


def _check(text: str) -> None:
    if not text.strip():
        raise UserError("the answer is empty; nothing was sent")
    if len(text) > LONGEST_TEXT:
        raise UserError(f"an answer may have {LONGEST_TEXT:,} characters, and this has {len(text):,}; nothing was sent, shorten it")


def _written(
    parts: Parts, mention_id: int, text: str, hold: float, *, known: int | None = None, once: str = "", by_hand: bool = False
) -> Written:
    claimed, _, _ = parts.store.desk.take(mention_id)
    mention = claimed.mention
    platform = answering(parts, mention)
    if platform is None or by_hand:
        return Written(text, [text], None, once=once, known=known, by_hand=by_hand)
    if parts.config.mode == "observe":
        raise UserError("the service only observes; nothing is sent. Set `mode: act` in the config, then answer again")
    posts = platform.compose(mention, text)
    approve = approval(parts.config, parts.store.replies.rule(mention_id))
    return Written(text, posts, mention.source, hold, approve=approve, once=once, known=known)


def answering(parts: Parts, mention: Mention) -> Platform | None:
    """The platform that posts an answer to a mention; None where a person has to."""
    platform = parts.platform(mention.source) if mention.source in parts.sources else None
    return platform if platform is not None and platform.manifest.replies else None


def approval(config: Config, rule: str) -> str:
    """Who must let an answer go by the rule that took the post, empty where nobody must."""
    return next((one.approve or "" for one in config.rules if one.name == rule), "")


def unsend(parts: Parts, mention_id: int, by: str, *, answer: int | None = None) -> str:
    """Take back an answer that is still held: its task is open again, its text the writer's draft. Returns the text.

    `answer` is the id of its first action, for None that of their own newest. `UserError` says what became of it when it is too late.
    """
    return parts.store.replies.unsend(mention_id, by, parts.clock.now(), answer=answer)


def approve(parts: Parts, action_id: int, person: Person) -> int:
    """Let somebody else's answer go. `UserError` for who may not. Returns the mention's id."""
    _may_decide(parts, action_id, person)
    return parts.store.approvals.approve(action_id, person.name, parts.clock.now())


def refuse(parts: Parts, action_id: int, person: Person, why: str) -> int:
    """Don't let somebody else's answer go: it is their draft again. Returns the mention's id."""
    _may_decide(parts, action_id, person)
    return parts.store.replies.refuse(action_id, person.name, parts.clock.now(), why)


def _may_decide(parts: Parts, action_id: int, person: Person) -> None:
    waiting = parts.store.approvals.of(action_id)
    config, now = parts.config, parts.clock.now()
    why_not = why_not_approve(waiting.role, waiting.asked_by, waiting.asked_at, person, config.groups, now, config.web.deputy)
    if why_not:
        raise UserError(f"{why_not}; nothing was changed")
