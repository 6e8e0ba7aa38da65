"""A Celery worker with one empty task and the service's own Celery settings: what the routing is measured beside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from celery import Celery

from tests.bench.stage import START_SECONDS, WORK_SECONDS, environment, stopped, wait
from triage.guard import Guard

SETTINGS = "NOOP_SETTINGS"

app = Celery("noop")
app.conf.update(json.loads(os.environ.get(SETTINGS, "{}")))


@app.task(name="noop")  # type: ignore[untyped-decorator]
def noop(ids: list[int]) -> None:
    """Nothing."""


class NoopWorker:
    """The worker as a process, at the broker at `url`."""

    def __init__(self, guard: Guard, url: str) -> None:
        import redis

        from triage import tasks

        tasks.app.conf.worker_pool  # noqa: B018  the settings are filled in when the first one is read
        plain = (str, int, float, list, dict)
        ours = {name: value for name, value in tasks.app.conf.changes.items() if isinstance(value, plain) and name != "beat_schedule"}
        settings = ours | {"broker_url": url, "imports": []}
        app.conf.update(settings)
        self._queue = str(ours["task_default_queue"])
        self._url = url
        self._redis: Any = redis.Redis.from_url(url.replace("redis+socket://", "unix://"))
        argv = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.bench.noop",
            "worker",
            "--without-gossip",
            "--without-mingle",
            "--loglevel",
            "ERROR",
        ]
        env = environment(**{SETTINGS: json.dumps(settings)}) | {"PYTHONPATH": os.getcwd(), "PYTHONWARNINGS": "ignore"}
        self._process: subprocess.Popen[bytes] = guard.start(argv, env=env)
        self._publish(1)
        wait(self._idle, START_SECONDS, "the worker with the empty task to start", self._process)

    def rate(self, messages: int) -> float:
        """Messages a second, from when they all lie ready until none is left."""
        with stopped(self._process):
            self._publish(messages)
        started = time.perf_counter()
        wait(self._idle, WORK_SECONDS, "the empty tasks", self._process, every=0.005)
        return messages / (time.perf_counter() - started)

    def _publish(self, messages: int) -> None:
        with app.connection_for_write(self._url) as connection:
            for number in range(messages):
                noop.apply_async(args=[[number]], connection=connection, retry=False)

    def _idle(self) -> bool:
        return not self._redis.llen(self._queue) and not self._redis.hlen("unacked")
