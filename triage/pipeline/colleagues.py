"""Who of us posts from an account of their own: what they post is left alone, and what they answer is answered.

A source's `roster` names such accounts in the config, and its platform sets their posts aside. The people of the queue name their own
on their page (`/me`): what a platform took for a mention of somebody's is looked at here, before it is stored. No server is asked.
What comes in by itself (`triage import`, `POST /api/mentions`) is held against all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from triage.contracts import Item, Page
from triage.person import account
from triage.pipeline.parts import Parts


def accounts(parts: Parts) -> frozenset[str]:
    """The accounts of everybody of us: of the rosters of all sources, and of the people of the queue (`triage.person.account`)."""
    rosters = [source.options.get("roster") for source in parts.config.sources.values()]
    named = (handle for roster in rosters if isinstance(roster, list) for handle in roster if isinstance(handle, str))
    return parts.store.people.handles() | {account(handle) for handle in named}


def left_alone(pages: Iterable[Page], handles: Collection[str]) -> Iterator[Page]:
    """The pages, with the posts by these accounts set aside. `handles` are in the form of `triage.person.account`."""
    for page in pages:
        yield replace(page, items=tuple(_aside(item, handles) for item in page.items)) if handles else page


def _aside(item: Item, handles: Collection[str]) -> Item:
    mention = item.mention
    if mention is None or account(mention.author.handle) not in handles:
        return item
    handle = mention.author.handle
    return Item(item.remote_id, item.raw, set_aside=f"by a colleague, {handle}", answers=mention.parent_id or "", colleague=handle)
