"""The event streams of the stand-in Mastodon: server-sent events, one queue a listener."""

from __future__ import annotations

import json
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from triage.sandbox.http import Connection, Reply, Request

HEARTBEAT_SECONDS = 10.0


class Streams:
    """Who listens now. Events are those of the account's home stream."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[SimpleQueue[bytes | None], str] = {}

    def publish(self, acct: str, event: str, payload: Any) -> None:
        """Tell the listeners of that account; a payload that is no text is sent as JSON."""
        text = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
        with self._lock:
            for queue, owner in self._open.items():
                if owner == acct:
                    queue.put(f"event: {event}\ndata: {text}\n\n".encode())

    def cut(self) -> None:
        """End every stream, as a server does that restarts its streaming process."""
        with self._lock:
            for queue in self._open:
                queue.put(None)

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def serve(self, acct: str, request: Request) -> Reply:
        """The answer that stays open."""
        queue: SimpleQueue[bytes | None] = SimpleQueue()
        queue.put(b":)\n")
        with self._lock:
            self._open[queue] = acct  # before the headers go out, so that nothing said from now on is missed

        def run(connection: Connection) -> None:
            stopping = connection.server.sandbox.stopping
            quiet = 0.0
            try:
                connection.wfile.write(connection.head(request, Reply(content_type="text/event-stream"), None))
                while not stopping.is_set() and not connection.hung_up():
                    try:
                        event = queue.get(timeout=0.1)
                    except Empty:
                        quiet += 0.1
                        if quiet < HEARTBEAT_SECONDS:
                            continue
                        event = b":thump\n"
                    quiet = 0.0
                    if event is None:
                        break
                    connection.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                with suppress(OSError):
                    connection.wfile.write(b"0\r\n\r\n")
            finally:
                with self._lock:
                    self._open.pop(queue, None)

        return Reply(stream=run)
