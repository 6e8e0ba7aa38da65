"""What a person does with a task."""

from __future__ import annotations

from triage.errors import UserError
from triage.pipeline.parts import Parts


def answer(parts: Parts, task_id: int, text: str, by: str) -> list[int]:
    """Close a task with an answer, split into as many posts as the server's limit needs. Returns the ids of the actions to deliver.

    Where the source can't be answered by us, the answer becomes a task to post it by hand.
    """
    if not text.strip():
        raise UserError("the answer is empty; nothing was sent")
    task = parts.store.desk.task(task_id)
    if task["mention_id"] is None:
        raise UserError(f"task {task_id} belongs to no post; close it: triage close {task_id}")
    claimed, _, _ = parts.store.desk.take(task["mention_id"])
    mention = claimed.mention
    platform = parts.platform(mention.source) if mention.source in parts.sources else None
    if platform is None or not platform.manifest.replies:
        return parts.store.desk.answer(task_id, [text], by, parts.clock.now(), via=None)
    if parts.config.mode == "observe":
        raise UserError("the service only observes; nothing is sent. Set `mode: act` in the config, then answer again")
    return parts.store.desk.answer(task_id, platform.compose(mention, text), by, parts.clock.now(), via=mention.source)
