"""The HTTP server beneath the stand-ins: a table of routes, keep-alive, and faults that reach down to the socket."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import socket
import socketserver
import struct
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.client import responses
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Lock, RLock, Thread, Timer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from triage.sandbox.faults import NOT_ACCEPTED, Fault, Faults
from triage.sandbox.ledger import Ledger

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
KEPT_REQUESTS = 100_000
BROKEN_PAGE = "<!DOCTYPE html><html><head><title>Sorry</title></head><body><h1>The gateway is having a moment</h1></body></html>"


@dataclass(slots=True)
class Request:
    """What a client asked. Header names are lower case; `groups` are the named parts of the route's pattern."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    client: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The parsed body; `Rejected` with 400 when it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Rejected(400, {"error": "The body is not JSON", "errorMessages": ["The body is not JSON"]}) from None

    def fields(self) -> dict[str, Any]:
        """Form or JSON fields of the body on top of those of the query; names lose a trailing `[]`, such values are lists."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip()
        values: dict[str, Any] = {}
        for name, found in self.query.items():
            values[name.removesuffix("[]")] = found if name.endswith("[]") else found[-1]
        if kind == "application/json":
            body = self.json()
            values.update(body if isinstance(body, dict) else {})
        elif kind == "application/x-www-form-urlencoded":
            for name, found in parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True).items():
                values[name.removesuffix("[]")] = found if name.endswith("[]") else found[-1]
        return values

    def one(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self.query.get(name, [default])[-1]

    def many(self, name: str) -> list[str]:
        """A repeated query parameter, `name[]` or `name`."""
        return [*self.query.get(f"{name}[]", []), *self.query.get(name, [])]

    def number(self, name: str, default: int, largest: int) -> int:
        """A query parameter as a number between 1 and `largest`; junk is the default."""
        text = self.one(name)
        return max(1, min(int(text), largest)) if text.isdigit() else min(default, largest)


@dataclass(slots=True)
class Reply:
    """An answer. `body` is text or bytes, or anything else to be sent as JSON. `stream` takes the socket over instead."""

    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON
    stream: Callable[[Connection], None] | None = None

    def encoded(self) -> bytes:
        """The bytes of the body."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode("utf-8", "surrogatepass")
        return json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


class Rejected(Exception):
    """Raised by a handler: answer this and do nothing."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(status))
        self.reply = Reply(body, status)

    @classmethod
    def by(cls, reply: Reply) -> Self:
        """With an answer that is ready."""
        rejected = cls(reply.status, reply.body)
        rejected.reply = reply
        return rejected


Handler = Callable[[Request], Any]


def page(html: str, status: int = 200) -> Reply:
    """A page for people; it runs no script and loads nothing."""
    return Reply(html, status, {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}, HTML)


def phrase(status: int) -> str:
    """A status in words."""
    return responses.get(status, "Unassigned")


def digest(secret: str) -> str:
    """A short name for a secret, so that a ledger can tell two apart without holding them."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()[:16]


class Server:
    """One stand-in. Use it as a context manager, or `start()` and `stop()`; a second `start()` takes the same port again.

    `requests` lists what was asked, `ledger` what was accepted, `faults` makes things go wrong. Handlers run under one
    lock, so they read and write the state freely. Routes under `/_sandbox/` steer the server from another process.
    """

    name = "sandbox"
    host = "127.0.0.1"

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.ledger = Ledger(folder / f"{self.name}.jsonl")
        self.faults = Faults()
        self.lock = RLock()
        self.stopping = Event()
        self._recording = Lock()
        self._requests: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self._listener: _Listener | None = None
        self._timers: list[Timer] = []
        self.route("GET", "/_sandbox/ledger", lambda request: Reply(self.ledger.entries(request.one("kind") or None)))
        self.route("GET", "/_sandbox/requests", lambda request: Reply(self.requests))
        self.route("POST", "/_sandbox/fault", self._add_fault)
        self.route("POST", "/_sandbox/clear", self._clear_faults)

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What was asked so far: method, path, query, headers, body (text), status (None while open), fault. Secrets are digests."""
        with self._recording:
            return list(self._requests)

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """Add a route; the whole path must match `pattern`."""
        self._routes.append((method, re.compile(pattern), handler))

    def start(self) -> Self:
        """Listen. `OSError` when the port is taken."""
        self.stopping.clear()
        self._listener = _Listener((self.host, self.port), self)
        self.port = self._listener.server_address[1]
        Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, name=f"sandbox-{self.name}", daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening and cut what is open, as a crash would. The state stays, `start()` goes on with it."""
        self.stopping.set()
        for timer in self._timers:
            timer.cancel()
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener.cut_all()
            self._listener = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self.ledger.close()

    def now(self) -> float:
        """This server's clock in seconds since the epoch."""
        return time.time()

    def headers_for(self, request: Request) -> dict[str, str]:
        """Headers that go with every answer."""
        return {}

    def before(self, request: Request) -> None:
        """Called before each route's handler; raises `Rejected` to refuse."""

    def not_found(self, request: Request) -> Reply:
        """The answer where no route matches."""
        return Reply({"error": "Not Found"}, 404)

    def too_many(self, fault: Fault) -> Reply:
        """A 429 as the fault wants it."""
        then = self.now() + 120
        headers = {
            "date": {"Retry-After": formatdate(then, usegmt=True)},
            "past": {"Retry-After": formatdate(self.now() - 3600, usegmt=True)},
            "junk": {"Retry-After": "soon, I hope"},
            "empty": {"Retry-After": ""},
            "twice": {"Retry-After": "30\r\nRetry-After: 60"},
            "none": {},
            "iso": {
                "X-RateLimit-Limit": "300",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": datetime.fromtimestamp(then, UTC).isoformat(),
            },
            "epoch": {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(then))},
        }.get(fault.value, {"Retry-After": fault.value or "120"})
        return Reply({"error": "Too many requests", "errorMessages": ["Too many requests"]}, 429, headers)

    def unauthorized(self) -> Reply:
        """A 401."""
        return Reply({"error": "The access token is invalid"}, 401)

    def handle(self, request: Request) -> Reply:
        """Find the route and run it."""
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match is None or method != request.method:
                continue
            request.groups = {name: value for name, value in match.groupdict().items() if value is not None}
            try:
                with self.lock:
                    if not request.path.startswith("/_sandbox/"):
                        self.before(request)
                    answer = handler(request)
            except Rejected as rejected:
                answer = rejected.reply
            except Exception:  # noqa: BLE001  # a mistake in the stand-in: show it and go on, as a real server would
                if not self.stopping.is_set():
                    traceback.print_exc()
                answer = Reply({"error": "Internal server error"}, 500)
            return answer if isinstance(answer, Reply) else Reply(answer)
        return self.not_found(request)

    def record(self, request: Request, fault: Fault | None) -> dict[str, Any]:
        """Write down that it was asked; the caller fills in the status."""
        query = {name: ["***"] if name == "access_token" else values for name, values in request.query.items()}
        headers = dict(request.headers)
        if "authorization" in headers:
            headers["authorization"] = digest(headers["authorization"])
        entry: dict[str, Any] = {
            "at": self.now(),
            "method": request.method,
            "path": request.path,
            "query": query,
            "headers": headers,
            "body": request.body.decode("utf-8", "replace"),
            "status": None,
            "fault": fault.kind if fault else None,
        }
        with self._recording:
            self._requests.append(entry)
        return entry

    def later(self, seconds: float, request: Request) -> None:
        """Carry a request out after a while, as a server does whose client gave up."""
        timer = Timer(seconds, self.handle, (request,))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _add_fault(self, request: Request) -> Reply:
        try:
            self.faults.add(**request.json())
        except (TypeError, ValueError, re.error) as error:
            raise Rejected(400, {"error": str(error)}) from None
        return Reply({}, 200)

    def _clear_faults(self, request: Request) -> Reply:
        self.faults.clear()
        return Reply({}, 200)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], server: Server) -> None:
        self.sandbox = server
        self.open: set[socket.socket] = set()
        super().__init__(address, Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a mistake in the stand-in and must be seen."""
        if not isinstance(sys.exc_info()[1], OSError | ValueError):
            super().handle_error(request, client_address)

    def cut_all(self) -> None:
        for request in list(self.open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class Connection(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing; `requests` tells."""

    def do_GET(self) -> None:
        """Serve any method."""
        sandbox = self.server.sandbox
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(parts.path).rstrip("/") or "/",
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            client=self.client_address[0],
        )
        if request.path.startswith("/_sandbox/"):
            self.answer(request, sandbox.handle(request))
            return
        fault = sandbox.faults.take(request.method, request.path)
        entry = sandbox.record(request, fault)
        if fault is None:
            reply = sandbox.handle(request)
            entry["status"] = reply.status
            self.answer(request, reply)
        else:
            entry["status"] = self.suffer(fault, request)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET

    def suffer(self, fault: Fault, request: Request) -> int | None:
        """Carry the fault out; the status that the client sees, None when it sees none."""
        sandbox = self.server.sandbox
        if fault.name == "late":
            sandbox.later(fault.seconds(2.5), request)
            self.reset()
            return None
        if fault.name == "slow":
            sandbox.stopping.wait(fault.seconds(0.5))
        reply = Reply() if fault.name in NOT_ACCEPTED else sandbox.handle(request)
        if fault.name in ("reset_before", "reset_after"):
            self.reset()
            return None
        if fault.name in ("timeout_before", "timeout_after"):
            self.hang()
            return None
        if fault.name in ("status", "status_before"):
            status = int(fault.value)
            reply = Reply({"error": phrase(status), "errorMessages": [phrase(status)]}, status)
        elif fault.name == "429":
            reply = sandbox.too_many(fault)
        elif fault.name == "401":
            reply = sandbox.unauthorized()
        elif fault.name == "empty":
            reply = Reply(b"", reply.status)
        elif fault.name == "html":
            reply = page(BROKEN_PAGE, reply.status)
        elif fault.name == "cut":
            self.write_slowly(request, reply, half=True)
            return reply.status
        elif fault.name == "drip":
            self.write_slowly(request, reply, pause=fault.seconds(0.1))
            return reply.status
        self.answer(request, reply)
        return reply.status

    def answer(self, request: Request, reply: Reply) -> None:
        """Send it whole."""
        if reply.stream is not None:
            reply.stream(self)
            self.close_connection = True
            return
        body = reply.encoded()
        head = self.head(request, reply, len(body))
        self.wfile.write(head if request.method == "HEAD" or reply.status == 204 else head + body)

    def head(self, request: Request, reply: Reply, length: int | None) -> bytes:
        """Status line and headers. Without a length the body is chunked."""
        sandbox = self.server.sandbox
        lines = [
            f"HTTP/1.1 {reply.status} {phrase(reply.status)}",
            f"Date: {formatdate(sandbox.now(), usegmt=True)}",
            f"Content-Type: {reply.content_type}",
            "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}",
        ]
        lines += [f"{name}: {value}" for name, value in {**sandbox.headers_for(request), **reply.headers}.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def write_slowly(self, request: Request, reply: Reply, *, half: bool = False, pause: float = 0.0) -> None:
        """Send half of the body and close, or all of it byte by byte."""
        body = reply.encoded()
        self.close_connection = True
        self.wfile.write(self.head(request, reply, len(body)))
        for at in range(len(body) // 2 if half else len(body)):
            if pause and self.server.sandbox.stopping.wait(pause):
                return
            self.wfile.write(body[at : at + 1])

    def reset(self) -> None:
        """Cut the connection so that the client sees a reset, not an end."""
        self.close_connection = True
        self.server.open.discard(self.connection)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def hang(self) -> None:
        """Say nothing until the client gives up."""
        self.close_connection = True
        while not self.server.sandbox.stopping.is_set() and not self.hung_up():
            self.server.sandbox.stopping.wait(0.05)

    def hung_up(self) -> bool:
        """Whether the client closed its side."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
