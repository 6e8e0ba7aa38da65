"""Celery's two ends of the bell, against a real Redis-protocol server. What happens to a whole worker is in tests/faults."""

from __future__ import annotations

import logging
import uuid

import pytest
import redis
from celery import Celery
from kombu import Connection

from tests.fixtures_services import eventually
from triage import doorbell, tasks


@pytest.mark.parametrize("rubbish", ["not json", "", "5", "[1]", "null", '{"body": "x", "properties": null}'])
def test_what_is_no_message_is_dropped(redis_url: str, rubbish: str) -> None:
    """Whatever stands in the list before it, the ring that comes after is heard."""
    name = f"test-{uuid.uuid4().hex}"
    with Connection(redis_url, transport=doorbell.Transport) as connection:
        queue = connection.SimpleQueue(name)
        redis.Redis.from_url(redis_url).lpush(name, rubbish)
        queue.put({"ids": [1]})
        assert queue.get(timeout=20).payload == {"ids": [1]}
        queue.close()
    redis.Redis.from_url(redis_url).delete(name)


def test_the_beat_holds_back_when_nobody_hears(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It rings while there are few rings that nobody has heard, and no more after that."""
    name = f"test-{uuid.uuid4().hex}"
    monkeypatch.setattr(doorbell, "MOST_WAITING", 3)
    bell = Celery("test", broker=redis_url)
    bell.conf.update(
        task_default_queue=name, beat_schedule={"tick": {"task": "triage.tick", "schedule": 0.0, "args": [[]], "options": {"retry": False}}}
    )
    ringer = doorbell.Ringer(bell)
    for _ in range(10):
        ringer.tick()
    client = redis.Redis.from_url(redis_url)
    assert eventually(lambda: client.llen(name) == 3)
    client.delete(name)


def test_an_outage_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A beat that rings nobody says so once, never raises, and says once that it is over."""
    ringer = doorbell.Ringer(Celery("test", broker="memory://"))
    entry = ringer.Entry(name="tick", task="triage.tick", schedule=1.0, app=ringer.app)

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("nobody there")

    with caplog.at_level(logging.WARNING):
        with monkeypatch.context() as broken:
            broken.setattr(ringer, "apply_async", refuse)
            for _ in range(3):
                ringer.apply_entry(entry)
        monkeypatch.setattr(ringer, "apply_async", lambda *_, **__: None)
        for _ in range(2):
            ringer.apply_entry(entry)
    said = [str(record.msg) for record in caplog.records]
    assert sum("can't be rung" in line for line in said) == 1
    assert sum("are rung again" in line for line in said) == 1


def test_a_kind_of_warning_passes_once_a_minute() -> None:
    """Whatever it is about; what is no warning always passes, and no traceback does."""
    seldom = doorbell.Seldom()

    def record(level: int, words: str) -> logging.LogRecord:
        return logging.LogRecord("celery", level, "", 0, words, ("x",), (ValueError, ValueError(), None))

    first = record(logging.ERROR, "cannot connect to %s")
    assert seldom.filter(first)
    assert first.exc_info is None
    assert not seldom.filter(record(logging.ERROR, "cannot connect to %s"))
    assert seldom.filter(record(logging.ERROR, "something else: %s"))
    assert all(seldom.filter(record(logging.INFO, "received %s")) for _ in range(3))


def test_nothing_of_ours_is_shared_with_other_programs_in_one_redis() -> None:
    """Each site has a queue of its own, and keeps what was not acknowledged under names of its own: kombu's are the same for everybody."""
    options = tasks.app.conf.broker_transport_options
    assert tasks.app.conf.task_default_queue.startswith("triage")
    for name in ("unacked", "unacked_index", "unacked_mutex"):
        assert options[f"{name}_key"].startswith(tasks.QUEUE)


def test_a_worker_never_gives_up_on_the_broker() -> None:
    """Celery's default is to end after a hundred tries, about an hour; and an error in place of an answer would end it at once."""
    assert tasks.app.conf.broker_connection_max_retries is None
    assert tasks.app.conf.broker_channel_error_retry
    assert tasks.app.conf.worker_consumer == "triage.doorbell:Listener"
