"""What a person does with a task: answer it, take the answer back, let somebody else's go."""

from __future__ import annotations

from dataclasses import replace

from triage.config import Config
from triage.contracts import Platform
from triage.errors import UserError
from triage.mention import Mention
from triage.person import Person
from triage.pipeline.parts import Parts
from triage.replies import LONGEST_TEXT, may_approve, why_not_approve
from triage.store.replies import Written


def answer(parts: Parts, task_id: int, text: str, by: str, *, hold: float = 0.0) -> list[int]:
    """Answer the mention of a task, which must be open. Returns the ids of the actions to deliver."""
    return answer_mention(parts, mention_of(parts, task_id), text, by, hold=hold, task=task_id)


def mention_of(parts: Parts, task_id: int) -> int:
    """The mention that an open task asks about; `UserError` where it is not open, or belongs to no post."""
    mention_id = parts.store.desk.task(task_id)["mention_id"]
    if mention_id is None:
        raise UserError(f"task {task_id} belongs to no post; close it: triage close {task_id}")
    return int(mention_id)


def answer_mention(
    parts: Parts,
    mention_id: int,
    text: str,
    by: str,
    *,
    hold: float = 0.0,
    known: int | None = None,
    once: str = "",
    by_hand: bool = False,
    task: int | None = None,
) -> list[int]:
    """Close a mention's tasks with an answer, split into as many posts as the server's limit needs. Returns the ids of the actions.

    It can be taken back for `hold` seconds. Where the source can't be answered by us, the answer becomes a task to post it by hand.
    `known` is the id of the newest answer that the person had seen: a newer one refuses this. The form `once` is carried out once.
    `by_hand` tells that the person has posted it already. `task` names a task that must still be open.
    """
    if not text.strip():
        raise UserError("the answer is empty; nothing was sent")
    if len(text) > LONGEST_TEXT:
        raise UserError(f"an answer may have {LONGEST_TEXT:,} characters, and this has {len(text):,}; nothing was sent, shorten it")
    written = _written(parts, mention_id, text, by, hold, by_hand=by_hand)
    return parts.store.replies.answer(mention_id, replace(written, known=known, once=once), by, parts.clock.now(), task=task)


def _written(parts: Parts, mention_id: int, text: str, by: str, hold: float, *, by_hand: bool) -> Written:
    mention = parts.store.desk.take(mention_id)[0].mention
    platform = answering(parts, mention)
    approve = needed(parts, mention_id, parts.store.replies.rule(mention_id), by)
    if approve is None:
        raise UserError("the post is not judged yet, and some rules want an approval; label it first, or try again in a moment")
    if by_hand:
        return Written(text, [text], None, by_hand=True, passed=_passed(parts, mention_id, text, by, approve))
    if platform is None:
        return Written(text, [text], None, approve=approve)
    if parts.config.mode == "observe":
        raise UserError("the service only observes; nothing is sent. Set `mode: act` in the config, then answer again")
    return Written(text, platform.compose(mention, text), mention.source, hold, approve=approve)


def _passed(parts: Parts, mention_id: int, text: str, by: str, approve: str) -> str:
    """Whose approval an answer that was posted by hand goes without, by right of who posted it; empty where it needs none, or has it."""
    if not approve or parts.store.approvals.approved(mention_id, text):
        return ""
    found = parts.store.people.by_name(by)
    if found is None or not may_approve(approve, found[0], parts.config.groups):
        raise UserError(
            f"the rule asks for approval by {approve} before it is posted; nothing was noted. Send it for approval, then post that text"
        )
    return approve


def answering(parts: Parts, mention: Mention) -> Platform | None:
    """The platform that posts an answer to a mention; None where a person has to."""
    platform = parts.platform(mention.source) if mention.source in parts.sources else None
    return platform if platform is not None and platform.manifest.replies else None


def approval(config: Config, rule: str | None) -> str | None:
    """Who must let an answer go by the rule that took the post, empty where nobody must; None where that is not known before it is judged.

    Of a rule that is not in the config any more nobody knows: then whoever the first rule that wants somebody names.
    """
    asked = [one.approve for one in config.rules if one.approve]
    if not asked:
        return ""
    if rule is None:
        return None
    known = next((one.approve or "" for one in config.rules if one.name == rule), None)
    return known if known is not None or not rule else asked[0]


def needed(parts: Parts, mention_id: int, rule: str | None, by: str) -> str | None:
    """Who must let this person's answer go, as `approval` tells it of the rule that took the post.

    Whoever labels a post so that its rule asks nobody does not free their own answer by it: theirs needs what it needed before.
    """
    now = approval(parts.config, rule)
    if now is None or now:
        return now
    return approval(parts.config, parts.store.replies.rule(mention_id, without=by)) or ""


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
