"""From the far side into the store: polls, rescans, re-reading, import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event

import structlog

from triage.contracts import Item, Page
from triage.errors import NotAccepted, RateLimited, RemoteError, Unauthorized
from triage.failpoint import hit
from triage.pipeline.parts import Parts

log = structlog.get_logger()

RESCAN_BACK = timedelta(days=2)
REREAD_BATCH = 40
SILENT_FAILURES = 3  # so many failures in a row are somebody's restart; more are an outage, said once


def poll(parts: Parts, names: Sequence[str]) -> list[int]:
    """Fetch what is new from these sources, page by page, each page and its cursor in one transaction. Returns ids of mentions to judge."""
    found: list[int] = []
    for name in names:
        now = parts.clock.now()
        platform = parts.platform(name)
        interval = parts.config.sources[name].interval or platform.manifest.interval
        if not parts.store.inbox.claim_source(name, now, now + timedelta(seconds=interval)):
            continue
        with _account(parts, name):
            found += catch_up(parts, name)
    return found


def catch_up(parts: Parts, name: str) -> list[int]:
    """Fetch from the cursor to now, whether it is time or not. Raises `RemoteError`."""
    found: list[int] = []
    cursor = parts.store.inbox.source(name).cursor
    for page in parts.platform(name).fetch(cursor):
        hit("before_ingest")
        added = parts.store.inbox.add_page(name, page, expect=cursor, now=parts.clock.now())
        hit("after_ingest")
        cursor = page.cursor or cursor
        found += [*added.new, *added.changed]
        _tell(name, page, added.quarantined)
    return found


def rescan(parts: Parts, names: Sequence[str]) -> list[int]:
    """Read the last two days again: what is new in them was missed, is counted, and is told to the people on call."""
    found: list[int] = []
    for name in names:
        now = parts.clock.now()
        if not parts.store.inbox.claim_source(name, now, now + timedelta(seconds=parts.config.delivery.rescan), rescan=True):
            continue
        since = max(parts.store.inbox.source(name).started_at, now - RESCAN_BACK)
        with _account(parts, name):
            found += catch_up(parts, name)  # what the next poll would have brought is not late
            late: list[int] = []
            for page in parts.platform(name).history(since):
                added = parts.store.inbox.add_page(name, page, expect=None, now=parts.clock.now(), late=True)
                late += added.new
                found += [*added.new, *added.changed]
            if late:
                summary = f"the rescan of {name} found {len(late)} mentions that the polls had missed. The first: triage show {late[0]}"
                parts.store.accounts.raise_alert(parts.clock.now(), "LateMentions", f"{name}/{late[0]}", "warning", summary)
    return found


def backfill(parts: Parts, name: str, since: datetime, *, act: bool, progress: Callable[[int], None]) -> list[int]:
    """Store what a source still shows from `since` on; only observed unless `act`. `progress` is told how many were read."""
    parts.store.inbox.add_source(name, parts.clock.now(), parts.clock.now() + timedelta(seconds=parts.config.delivery.rescan))
    catch_up(parts, name)  # else what was posted since the last poll would count as history, and be observed only
    found: list[int] = []
    for page in parts.platform(name).history(since):
        added = parts.store.inbox.add_page(name, page, expect=None, now=parts.clock.now(), observe=not act)
        found += added.new
        progress(len(page.items))
    return found


def take_in(
    parts: Parts, source: str, items: Iterable[Item], *, progress: Callable[[int], None], batch: int = 200
) -> tuple[list[int], int]:
    """Store items from elsewhere (an import). Returns the ids of new mentions, and how many could not be read."""
    never = parts.clock.now() + timedelta(days=36500)
    parts.store.inbox.add_source(source, parts.clock.now(), never, due_at=never)
    found: list[int] = []
    broken = 0
    for chunk in _chunks(items, batch):
        added = parts.store.inbox.add_page(source, Page(tuple(chunk), ""), expect=None, now=parts.clock.now())
        found += [*added.new, *added.changed]
        broken += added.quarantined
        progress(len(chunk))
    return found, broken


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
            chunk = entries[start : start + REREAD_BATCH]
            parts.store.inbox.postpone_reread([id_ for id_, _ in chunk], now + timedelta(minutes=10))  # ours until then
            with _account(parts, name):
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


def follow(parts: Parts, name: str, stop: Event, changed: Callable[[list[int]], None]) -> None:
    """Take in edits and deletions of a source as they happen, until `stop` is set or the stream ends."""
    for change in parts.platform(name).stream(stop):
        ids = look_at(parts, name, {change.remote_id: change.item})
        if ids:
            changed(ids)


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


@contextmanager
def _account(parts: Parts, name: str) -> Iterator[None]:
    """Note down how a call to a source went; its failure is the source's, not the caller's."""
    try:
        yield
    except RemoteError as error:
        now = parts.clock.now()
        pause = isinstance(error, Unauthorized)
        after = error.after if isinstance(error, RateLimited | NotAccepted) else None
        failures = parts.store.accounts.failed("source", name, str(error), now, pause=pause, after=after)
        if failures == SILENT_FAILURES and not pause:
            summary = f"{name} has failed {failures} times in a row: {error}. It is tried again by itself; look: triage doctor"
            parts.store.accounts.raise_alert(now, "SourceFailing", name, "warning", summary)
            log.warning("source is failing", source=name, why=str(error))
        elif failures == 1 and pause:
            log.warning("source is paused", source=name, why=str(error))
    else:
        if parts.store.accounts.succeeded("source", name, parts.clock.now()):
            log.info("source is back", source=name)
