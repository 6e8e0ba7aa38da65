"""Celery's two ends of the bell, made fit for a Redis that fails or lies: what hears the rings, and what rings every two seconds.

Redis is only the doorbell. So nothing that happens to it, and nothing that somebody puts into it, may end a worker or fill a log.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from celery.worker.consumer import Consumer
from celery.worker.consumer.consumer import STOP_CONDITIONS
from kombu.transport import TRANSPORT_ALIASES, redis

from triage.heartbeat import beat

log = structlog.get_logger()

SELDOM_SECONDS = 60.0
AGAIN_SECONDS = 1.0
MOST_WAITING = 1000  # rings that nobody has heard yet; more would only fill a Redis that others may use, too


class Seldom(logging.Filter):
    """Lets a kind of message pass once a minute, and without its traceback: Celery says several a second while Redis refuses."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it may be said now."""
        if record.levelno < logging.WARNING:
            return True
        now = time.monotonic()
        if now - self._said.get(record.msg, -SELDOM_SECONDS) < SELDOM_SECONDS:
            return False
        self._said[record.msg] = now
        record.exc_info = None
        return True


class Channel(redis.Channel):  # type: ignore[misc]
    """Hears the rings. What is no message at all is dropped: kombu lets it end the worker."""

    do_restore = False  # to put back what was not acknowledged, when the connection is lost, can fail and end the worker
    _dropped_at = -SELDOM_SECONDS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (*self.connection_errors, redis.Empty):
            raise
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            if time.monotonic() - self._dropped_at > SELDOM_SECONDS:
                self._dropped_at = time.monotonic()
                log.warning("what came from the broker is no ring, and is dropped", why=f"{type(error).__name__}: {error}"[:200])
            return None


class Listener(Consumer):  # type: ignore[misc]
    """The worker's consumer. What breaks it, known or not, makes it begin again, and does not end the worker, whose sweep goes on."""

    def start(self) -> None:
        """Listen until the worker ends."""
        while True:
            try:
                super().start()
                return
            except Exception as error:
                if self.blueprint.state in STOP_CONDITIONS:
                    raise
                log.warning("the worker can't be rung for a moment", why=f"{type(error).__name__}: {error}"[:300])
                with suppress(Exception):
                    self.on_close()
                self.blueprint.restart(self)
                time.sleep(AGAIN_SECONDS)


class Transport(redis.Transport):  # type: ignore[misc]
    """Redis, with our channel."""

    Channel = Channel


def listen_well() -> None:
    """Make kombu use our transport for every Redis URL of this process, and Celery say an outage once a minute."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
    logging.getLogger("celery.worker.consumer.consumer").addFilter(Seldom())


class Ringer(Scheduler):  # type: ignore[misc]
    """Beat's scheduler. It says once that nobody can be rung, and once that it is over; each turn is a sign of life.

    The original waits for the broker within a turn, and writes a traceback every two seconds while it is away.
    """

    producer = None  # each ring takes a connection from the pool, so that a turn never waits for the broker to come back
    _down = False

    def tick(self, *args: Any, **more: Any) -> float:
        """One turn; the seconds until the next."""
        beat()
        return float(super().tick(*args, **more))

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Ring, unless nobody listens to the rings that wait already."""
        try:
            waiting = self._waiting()
            if waiting < MOST_WAITING:
                self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the workers find the work by themselves
            if not self._down:
                log.warning("the workers can't be rung; they find the work by themselves", why=str(error)[:300])
            self._down = True
            return
        if self._down:
            self._down = False
            log.warning("the workers are rung again")

    def _waiting(self) -> int:
        """How many rings nobody has heard yet."""
        with self.app.pool.acquire(block=True) as connection:
            return int(connection.default_channel.queue_declare(self.app.conf.task_default_queue).message_count)
