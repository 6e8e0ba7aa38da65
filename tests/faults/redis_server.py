"""A Redis-protocol server that a case kills, fills, stops and starts again at the same address; and things that only look like one."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from tests.acceptance.rig import Running, free_port
from tests.fixtures_services import eventually
from triage import broker
from triage.guard import Guard

QUEUE = "triage.acceptance"  # the rigs' site
HEARD = "Task triage.tick["  # what Celery logs when a worker was rung
MEMORY = 64 * 2**20


class RedisServer:
    """The server. It listens from `start` on, always at the same port."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder, self._guard = folder, guard
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        argv = [str(broker.binary()), *broker.arguments(self._folder), "--bind", "127.0.0.1", "--port", str(self.port)]
        self._process = self._guard.start([*argv, "--enable-debug-command", "local"], stdout=subprocess.DEVNULL)
        assert eventually(self.answers, 30.0), "no Redis"

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._guard.kill(self._process)
        self._guard.forget(self._process)

    def signal(self, number: int) -> None:
        """SIGSTOP it, SIGCONT it."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    @property
    def client(self) -> redis.Redis:
        """A client of the test's own."""
        return redis.Redis(port=self.port, socket_timeout=5)

    @property
    def reader(self) -> redis.Redis:
        """A client that gives text."""
        return redis.Redis(port=self.port, socket_timeout=5, decode_responses=True)

    def answers(self) -> bool:
        """True when it does its work."""
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def calls(self, command: str) -> int:
        """How often it was asked to carry out a command."""
        return int(self.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


@contextlib.contextmanager
def silent(port: int) -> Iterator[None]:
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", port)):
        yield


class SlowWire:
    """A proxy before a Redis that keeps back each answer for `delay` seconds."""

    def __init__(self, to: int) -> None:
        self.delay = 0.0
        self._to = to
        self._over = threading.Event()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])

    def __enter__(self) -> SlowWire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._door.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._door.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, contextlib.suppress(OSError):
            while not self._over.is_set():
                for ready in select.select([near, far], [], [], 0.5)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is far and self.delay:
                        self._over.wait(self.delay)
                    (far if ready is near else near).sendall(data)


def heard_after(worker: Running, offset: int, seconds: float = 90.0) -> bool:
    """Whether a ring reached the worker after its log was `offset` characters long."""

    def heard() -> bool:
        assert worker.process.poll() is None, f"the worker ended with {worker.process.returncode}:\n{worker.said[-3000:]}"
        return HEARD in worker.said[offset:]

    return eventually(heard, seconds)


def message(task: Any, arguments: Any, *, content_type: str = "application/json", body: bytes | None = None, **headers: Any) -> str:
    """A message as Celery puts it into Redis. `body` replaces the encoded arguments, `headers` are added."""
    tag = str(uuid.uuid4())
    raw = (
        json.dumps([arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode() if body is None else body
    )
    known = {"lang": "py", "task": task, "id": tag, "root_id": tag, "parent_id": None, "group": None, "retries": 0, "ignore_result": True}
    return json.dumps(
        {
            "body": base64.b64encode(raw).decode(),
            "content-encoding": "utf-8" if "json" in content_type or "yaml" in content_type else "binary",
            "content-type": content_type,
            "headers": known | {"timelimit": [None, None], "argsrepr": "", "kwargsrepr": "{}", "origin": "somebody"} | headers,
            "properties": {
                "correlation_id": tag,
                "reply_to": tag,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": tag,
            },
        }
    )


def memory_of(pid: int) -> int:
    """The resident memory of a process and its children, in bytes."""
    group = [path.parent for path in Path("/proc").glob("[0-9]*/stat") if _belongs(path, pid)]
    pages = 0
    for folder in group:
        with contextlib.suppress(OSError):
            pages += int((folder / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _belongs(stat: Path, leader: int) -> bool:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[2]) == leader
    except OSError:
        return False


CONTINUE, STOP = signal.SIGCONT, signal.SIGSTOP
