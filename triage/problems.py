"""Which problem a mention belongs to, and why (pure). A problem is a thread."""

from __future__ import annotations

from collections.abc import Mapping

from triage.mention import Mention


def thread_of(mention: Mention, known: Mapping[str, str]) -> tuple[str | None, str]:
    """The uri of the mention's thread, and why in words; None where the server must be asked.

    `known` holds the thread of each post of the same source that we know, by its remote id.
    """
    if mention.thread is not None:
        return mention.thread, "its platform told the thread"
    if mention.parent_id is None:
        return mention.uri, "it answers nothing, so it begins a thread"
    if mention.parent_id == mention.remote_id:
        return mention.uri, "it is said to answer itself, so it begins a thread"
    if mention.parent_id in known:
        return known[mention.parent_id], "it answers a post of this thread"
    return None, "it answers a post that we don't know"
