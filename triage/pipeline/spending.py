"""Around every job that talks to a far side: what it asked is noted down once, and how it went is told to the account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import structlog

from triage import remote
from triage.budget import LEFT_WITHIN, POSTS, Leave, Purpose
from triage.errors import NotAccepted, RateLimited, RemoteError, Unauthorized
from triage.pipeline.parts import Parts

log = structlog.get_logger()

NEWS = (1, 3)  # which failures in a row are worth a line: the first refusal, and the third of anything else


@contextmanager
def spending(parts: Parts) -> Iterator[Callable[[], None]]:
    """Count the requests within, and note them down at the end; the yielded function does it in mid-work, between two requests."""
    with remote.metered() as meter:

        def note() -> None:
            for (name, limit), use in meter.take().items():
                role, usual = _usual(parts, name, limit)
                parts.store.accounts.spent(role, name, limit, use, parts.clock.now(), usual)

        try:
            yield note
        finally:
            note()


P = ParamSpec("P")
T = TypeVar("T")


def spends(verb: Callable[Concatenate[Parts, P], T]) -> Callable[Concatenate[Parts, P], T]:
    """The same around a whole verb."""

    @wraps(verb)
    def spent(parts: Parts, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with spending(parts):
            return verb(parts, *args, **kwargs)

    return spent


@contextmanager
def talk(parts: Parts, role: str, name: str) -> Iterator[Callable[[], None]]:
    """Around the calls of a job to one account: its failure is the account's, not the caller's. Yields what `spending` yields."""
    error: RemoteError | None = None
    with spending(parts) as note:
        try:
            yield note
        except RemoteError as raised:
            error = raised
    if error is not None:
        failed(parts, role, name, error)
    elif parts.store.accounts.succeeded(role, name, parts.clock.now()):
        log.info(f"{role} is back", **{role: name})


def failed(parts: Parts, role: str, name: str, error: RemoteError) -> None:
    """Tell an account how a call to it failed; say it once."""
    pause = isinstance(error, Unauthorized)
    after = error.after if isinstance(error, NotAccepted) and not pause else None
    if isinstance(error, RateLimited) and after is None:
        after = 0.0
    failures = parts.store.accounts.failed(role, name, str(error), parts.clock.now(), pause=pause, after=after, down=error.down)
    if failures in NEWS and pause is (failures == 1):
        log.warning(f"{role} is {'paused' if pause else 'failing'}", **{role: name}, why=str(error))


def go_on(parts: Parts, name: str, purpose: Purpose) -> Leave:
    """Whether a job that has begun may ask for more."""
    return parts.store.accounts.enough(name, LEFT_WITHIN[purpose], parts.clock.now())


def _usual(parts: Parts, name: str, limit: str) -> tuple[str, tuple[int, float] | None]:
    """An account's role, and the limit against which we count where its server does not say."""
    if name in parts.sources:
        manifest = parts.platform(name).manifest
        return "source", manifest.posts if limit == POSTS else manifest.requests
    if name in parts.trackers:
        return "tracker", parts.tracker(name).manifest.requests
    return "notifier", parts.notifier(name).manifest.requests if name in parts.notifiers else None
