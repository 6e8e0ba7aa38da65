"""From the far side into the store: polls, rescans, re-reading, import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from threading import Event

import structlog

from triage.budget import Purpose
from triage.contracts import Item, Page
from triage.errors import RateLimited
from triage.failpoint import hit
from triage.pipeline.colleagues import accounts, left_alone
from triage.pipeline.parts import Parts
from triage.pipeline.spending import failed, go_on, spending, talk

log = structlog.get_logger()

RESCAN_BACK = timedelta(days=2)
REREAD_BATCH = 40


def poll(parts: Parts, names: Sequence[str]) -> list[int]:
    """Fetch what is new from these sources, page by page, each page and its cursor in one transaction. Returns ids of mentions to judge."""
    found: list[int] = []
    for name in names:
        now = parts.clock.now()
        platform = parts.platform(name)
        interval = parts.config.sources[name].interval or platform.manifest.interval
        if not parts.store.inbox.claim_source(name, now, now + timedelta(seconds=interval)):
            continue
        leave = parts.store.accounts.leave(name, Purpose.POLL, now)
        if not leave.go:
            assert leave.until is not None
            parts.store.inbox.postpone_source(name, leave.until)
            log.info("the poll waits", source=name, until=leave.until.isoformat(), why=leave.why)
            continue
        with talk(parts, "source", name) as note:
            found += catch_up(parts, name, note)
    return found


def catch_up(parts: Parts, name: str, note: Callable[[], None]) -> list[int]:
    """Fetch from the cursor to now, or as far as the budget goes, whether it is time or not. Raises `RemoteError`."""
    found: list[int] = []
    began = parts.clock.now()
    cursor = parts.store.inbox.source(name).cursor
    for page in _read(parts, parts.platform(name).fetch(cursor)):
        hit("before_ingest")
        added = parts.store.inbox.add_page(name, page, expect=cursor, now=parts.clock.now(), began=began)
        hit("after_ingest")
        cursor = page.cursor or cursor
        found += [*added.new, *added.changed]
        _tell(name, page, added.quarantined)
        note()
        leave = go_on(parts, name, Purpose.POLL)
        if not leave.go:
            assert leave.until is not None
            parts.store.inbox.postpone_source(name, leave.until)  # the cursor stands at what is stored; it goes on from there
            log.info("the poll goes on later", source=name, until=leave.until.isoformat(), why=leave.why)
            break
    return found


def rescan(parts: Parts, names: Sequence[str]) -> list[int]:
    """Read the last two days again: what is new in them was missed, is counted, and is told to the people on call."""
    found: list[int] = []
    for name in names:
        now = parts.clock.now()
        if not parts.store.inbox.claim_source(name, now, now + timedelta(seconds=parts.config.delivery.rescan), rescan=True):
            continue
        leave = parts.store.accounts.leave(name, Purpose.RESCAN, now)
        since = max(parts.store.inbox.source(name).started_at, now - RESCAN_BACK)
        if not leave.go:
            assert leave.until is not None
            parts.store.inbox.postpone_source(name, leave.until, rescan=True)
            continue
        with talk(parts, "source", name) as note:
            found += catch_up(parts, name, note)  # what the next poll would have brought is not late
            late: list[int] = []
            for page in _read(parts, parts.platform(name).history(since)):
                added = parts.store.inbox.add_page(name, page, expect=None, now=parts.clock.now(), late=True)
                late += added.new
                found += [*added.new, *added.changed]
                note()
                leave = go_on(parts, name, Purpose.RESCAN)
                if not leave.go:
                    assert leave.until is not None
                    parts.store.inbox.postpone_source(name, leave.until, rescan=True)
                    log.info("the rescan begins again later", source=name, until=leave.until.isoformat(), why=leave.why)
                    break
            if late:
                summary = f"the rescan of {name} found {len(late)} mentions that the polls had missed. The first: triage show {late[0]}"
                parts.store.alerts.open(parts.clock.now(), "LateMentions", f"{name}/{late[0]}", "warning", summary)
    return found


def backfill(
    parts: Parts, name: str, since: datetime, *, act: bool, progress: Callable[[int], None], wait: Callable[[datetime, str], None]
) -> list[int]:
    """Store what a source still shows from `since` on; only observed unless `act`. `progress` is told how many were read.

    It can't go on where it was cut, so in place of that it waits: `wait` is called with the time when the budget is whole
    again and the reason, and returns then. Raises `RemoteError`.
    """
    parts.store.inbox.add_source(name, parts.clock.now(), parts.clock.now() + timedelta(seconds=parts.config.delivery.rescan))
    found: list[int] = []
    with spending(parts) as note:
        _wait(parts, name, Purpose.RESCAN, wait)
        catch_up(parts, name, note)  # else what was posted since the last poll would count as history, and be observed only
        for page in _read(parts, parts.platform(name).history(since)):
            added = parts.store.inbox.add_page(name, page, expect=None, now=parts.clock.now(), observe=not act)
            found += added.new
            progress(len(page.items))
            note()
            _wait(parts, name, Purpose.RESCAN, wait)
    parts.store.coverage.filled(name, since, parts.clock.now())
    return found


def _wait(parts: Parts, name: str, purpose: Purpose, wait: Callable[[datetime, str], None]) -> None:
    leave = go_on(parts, name, purpose)
    if not leave.go:
        assert leave.until is not None
        wait(leave.until, leave.why)


def take_in(
    parts: Parts, source: str, items: Iterable[Item], *, progress: Callable[[int], None], batch: int = 200
) -> tuple[list[int], int]:
    """Store items from elsewhere (an import), but for a colleague's. Returns the ids of new mentions, and how many could not be read."""
    never = parts.clock.now() + timedelta(days=36500)
    parts.store.inbox.add_source(source, parts.clock.now(), never, due_at=never)
    found: list[int] = []
    broken = 0
    for page in left_alone((Page(tuple(chunk), "") for chunk in _chunks(items, batch)), accounts(parts)):
        added = parts.store.inbox.add_page(source, page, expect=None, now=parts.clock.now())
        found += [*added.new, *added.changed]
        broken += added.quarantined
        _tell(source, page, 0)
        progress(len(page.items))
    return found, broken


def push(parts: Parts, source: str, items: Sequence[Item]) -> tuple[list[int], list[int], int]:
    """Store posts that somebody sent us, at once and in one transaction.

    Returns the ids of new mentions, and of changed ones, and how many posts are a colleague's, which are left alone.
    """
    now = parts.clock.now()
    never = now + timedelta(days=36500)
    parts.store.inbox.add_source(source, now, never, due_at=None if source in parts.sources else never)
    [page] = left_alone([Page(tuple(items), "")], accounts(parts))
    _tell(source, page, 0)
    added = parts.store.inbox.add_page(source, page, expect=None, now=now)
    return list(added.new), list(added.changed), len({item.remote_id for item in page.items if item.set_aside})


def reread(parts: Parts, limit: int = 400) -> list[int]:
    """Look again at posts whose turn it is, in bulk: edits and deletions. Returns ids of mentions to judge anew."""
    now = parts.clock.now()
    delivery = parts.config.delivery
    changed: list[int] = []
    for name, entries in parts.store.inbox.reread_due(now, limit).items():
        if name not in parts.sources:
            parts.store.inbox.postpone_reread([id_ for id_, _ in entries], now + timedelta(seconds=delivery.reread_old))
            continue
        for start in range(0, len(entries), REREAD_BATCH):
            leave = parts.store.accounts.leave(name, Purpose.REREAD, now)
            if not leave.go:
                assert leave.until is not None
                parts.store.inbox.postpone_reread([id_ for id_, _ in entries[start:]], leave.until)
                break
            chunk = entries[start : start + REREAD_BATCH]
            parts.store.inbox.postpone_reread([id_ for id_, _ in chunk], now + timedelta(minutes=10))  # ours until then
            with talk(parts, "source", name):
                found = parts.platform(name).reread([remote_id for _, remote_id in chunk])
                changed += look_at(parts, name, found)
    return changed


def look_at(parts: Parts, name: str, found: Mapping[str, Item | None]) -> list[int]:
    """Take in what posts are now: None for one that is gone."""
    delivery = parts.config.delivery
    return parts.store.inbox.reread(
        name,
        found,
        parts.clock.now(),
        last=timedelta(seconds=delivery.reread_open),
        old=timedelta(seconds=delivery.reread_old),
    )


def look_again(parts: Parts, name: str, remote_id: str, purpose: Purpose) -> Mapping[str, Item | None]:
    """What a post is now, before we act on it; nothing where it can't be read at the moment, or its source rests."""
    if not parts.store.accounts.leave(name, purpose, parts.clock.now()).go:
        return {}
    found: dict[str, Item | None] = {}
    with talk(parts, "source", name):
        found |= parts.platform(name).reread([remote_id])
    return found


def follow(parts: Parts, name: str, stop: Event, changed: Callable[[list[int]], None]) -> None:
    """Take in edits and deletions of a source as they happen, until `stop` is set or the stream ends. Not while the source rests."""
    if parts.store.accounts.rests(name, parts.clock.now()):
        return
    try:
        with spending(parts):
            for change in parts.platform(name).stream(stop):
                ids = look_at(parts, name, {change.remote_id: change.item})
                if ids:
                    changed(ids)
    except RateLimited as error:
        failed(parts, "source", name, error)


def _read(parts: Parts, pages: Iterable[Page]) -> Iterator[Page]:
    """What a platform shows, without what the people of the queue posted from accounts of their own."""
    return left_alone(pages, parts.store.people.handles())


def _tell(name: str, page: Page, quarantined: int) -> None:
    if quarantined:
        log.warning("quarantined", source=name, count=quarantined, next="triage queue --quarantined")
    for item in page.items:
        if item.set_aside:
            log.debug("set aside", source=name, post=item.remote_id, why=item.set_aside)


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
