"""The way out, once for everyone: time-outs, a total deadline, status to error, redaction.

Clients that use requests (mastodon.py, jira, our notifiers) get an `Adapter` mounted on their session. It raises the
`RemoteError`s of `triage.errors` in place of the client's own, and `talking()` takes them out again where a client
wraps them. A write counts as sent from its first byte on: before that a failure is `NotAccepted`, after it
`OutcomeUnknown`.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Timer
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from triage import __version__
from triage.budget import Use
from triage.errors import (
    Gone,
    NotAccepted,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RemoteError,
    TooLate,
    Unauthorized,
)

AGENT = f"triage/{__version__}"  # GoToSocial answers 418 to a request without one
CONNECT_SECONDS = 10.0
DEADLINE_SECONDS = 30.0
FIRST_BYTE_SECONDS = 2.0  # later than this after the intent was written down nothing is sent (docs/delivery.md)
LONGEST_RESET_SECONDS = 86400.0
LONGEST_WAIT_SECONDS = 3600.0  # a Retry-After of a day may be junk; one request an hour finds out
LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
READS = frozenset({"GET", "HEAD", "OPTIONS"})


def boot_seconds() -> float:
    """Seconds since boot, counting the time that the machine slept: what `time.monotonic` leaves out on Linux."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(slots=True)
class _Call:
    """One request under way, as the connection and the watchdog see it."""

    method: str
    intent: float | None
    sent: bool = False
    expired: bool = False
    connection: HTTPConnection | None = None

    @property
    def is_read(self) -> bool:
        return self.method in READS

    def before_bytes(self, connection: HTTPConnection) -> None:
        self.connection = connection
        if self.sent or self.is_read:
            return
        if self.intent is not None and boot_seconds() - self.intent > FIRST_BYTE_SECONDS:
            raise TooLate(f"more than {FIRST_BYTE_SECONDS:g} s lay between the intent and the first byte; nothing was sent")
        self.sent = True

    def expire(self) -> None:
        self.expired = True
        sock = self.connection.sock if self.connection is not None else None
        if sock is not None:
            try:
                sock.shutdown(2)
            except OSError:
                return  # it was closed already, which is all that we want


_call: ContextVar[_Call | None] = ContextVar("triage_call", default=None)
_intent: ContextVar[float | None] = ContextVar("triage_intent", default=None)
_answers: ContextVar[list[Answer] | None] = ContextVar("triage_answers", default=None)
_meter: ContextVar[Meter | None] = ContextVar("triage_meter", default=None)
_limit: ContextVar[str] = ContextVar("triage_limit", default="")


class _Watched:
    sock: Any

    def send(self, data: Any) -> None:
        call = _call.get()
        if call is not None:
            if self.sock is None:  # http.client connects in here, and a refused connection is no sent byte
                self.connect()  # type: ignore[attr-defined]
            call.before_bytes(self)  # type: ignore[arg-type]
        super().send(data)  # type: ignore[misc]


class _HTTPConnection(_Watched, HTTPConnection):
    pass


class _HTTPSConnection(_Watched, HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


@dataclass(frozen=True, slots=True)
class Answer:
    """A raw answer, kept aside by `raw()`."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The parsed body; `NotAccepted` when it is no JSON. Only for answers to reads."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("Content-Type", "no content type")
            raise NotAccepted(f"the server answered {self.status} with something that is no JSON ({kind})", status=self.status) from None


class Adapter(HTTPAdapter):
    """Mounted on a requests session. `account` names the far side in errors; `deadline` bounds one whole call in seconds."""

    def __init__(self, account: str, *, deadline: float = DEADLINE_SECONDS) -> None:
        self.account = account
        self.deadline = deadline
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As in requests, with our watched connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send it and read the whole answer within the deadline, or raise a `RemoteError`."""
        call = _Call((request.method or "GET").upper(), _intent.get())
        streaming = bool(kwargs.get("stream"))
        kwargs.update(stream=True, timeout=(min(CONNECT_SECONDS, self.deadline), self.deadline + 1.0))  # the watchdog comes first
        token = _call.set(call)
        watchdog = Timer(self.deadline, call.expire)
        watchdog.daemon = True
        watchdog.start()
        try:
            response = super().send(request, **kwargs)
            if streaming and response.is_redirect:
                _leave(response)
            elif not (streaming and response.ok):
                _read(response)
            if call.expired:  # http.client takes the end that we made for the end of the headers
                raise OSError("the deadline passed")
        except RemoteError:
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._cut(call, error) from None
        finally:
            watchdog.cancel()
            _call.reset(token)
        refusal = error_of(response, self.account, is_read=call.is_read)
        meter = _meter.get()
        if meter is not None:
            meter.count(self.account, _limit.get(), response.headers, refusal)
        if refusal is not None:
            if isinstance(refusal, RateLimited):
                refusal.limit = _limit.get()
            raise refusal
        answers = _answers.get()
        if answers is not None and not streaming:
            answers.append(Answer(response.status_code, response.headers, response.content))
            response._content = b"[]" if response.content.lstrip()[:1] == b"[" else b"{}"
        return response

    def _cut(self, call: _Call, error: Exception) -> RemoteError:
        """The connection failed: was it before the first byte of a write?"""
        why = f"no answer within {self.deadline:g} s" if call.expired else redact(_root(error))
        cut: RemoteError = NotAccepted(f"{self.account}: {why}")
        if call.sent and not call.is_read:
            cut = OutcomeUnknown(f"{self.account}: {why}, after the request was sent")
        cut.down = True
        return cut


def _root(error: BaseException) -> str:
    """The innermost reason in words, without the object addresses of the outer ones."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    if isinstance(seen, ssl.SSLError):
        return f"TLS failed: {seen.reason or seen}"
    return f"{type(seen).__name__}: {seen}".strip(": ")


def _read(response: requests.Response) -> None:
    """Read the body, up to a limit: what is larger is cut, and then is no JSON."""
    parts, size = [], 0
    for part in response.iter_content(65536):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER_BYTES:
            response.close()
            break
    response._content = b"".join(parts)
    response._content_consumed = True  # type: ignore[attr-defined]


def _leave(response: requests.Response) -> None:
    """Don't read the body: requests reads a redirect's to its end, however long that takes, even where nobody follows it."""
    response.close()
    response._content = b""
    response._content_consumed = True  # type: ignore[attr-defined]


def error_of(response: requests.Response, account: str, *, is_read: bool) -> RemoteError | None:
    """The error that an answer's status means, None for success: the one place where a status becomes a decision."""
    status = response.status_code
    if 200 <= status < 300 or (is_read and response.is_redirect):
        return None
    said = _said(response)
    text = f"{account}: the server answered {status}{said}"
    if response.is_redirect:
        return Refused(
            f"{text}: it moved to {redact(response.headers.get('Location', ''))}; put that address into the config", status=status
        )
    if status in (401, 403):
        return Unauthorized(text, status=status)
    if status == 429:
        return RateLimited(text, status=status, after=wait_seconds(response.headers))
    if status >= 500 or status == 408:
        error: RemoteError = OutcomeUnknown(text, status=status)
        if is_read:
            error = NotAccepted(text, status=status, after=wait_seconds(response.headers))
        error.down = True
        return error
    if status in (404, 410):
        # A proxy's or a maintenance page says nothing about one post.
        return Gone(text, status=status, proven=not response.content.strip() or _is_json(response))
    return Refused(text, status=status)


def _is_json(response: requests.Response) -> bool:
    try:
        json.loads(response.content[:65536])
    except (ValueError, RecursionError):
        return False
    return True


def _said(response: requests.Response) -> str:
    """What the server gave as a reason, shortened and redacted; HTML says nothing."""
    try:
        body = json.loads(response.content[:65536])
    except (ValueError, RecursionError):
        return ""
    words: list[str] = []
    if isinstance(body, dict):
        for key in ("error_description", "error", "errorMessages", "errors", "message"):
            value = body.get(key)
            if isinstance(value, dict):
                words += [f"{k}: {v}" for k, v in value.items()]
            elif isinstance(value, list):
                words += [str(v) for v in value]
            elif value:
                words.append(str(value))
    joined = " ".join("; ".join(words).split())
    return f" ({redact(joined)[:300]})" if joined else ""


def wait_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How long a 429 or 503 asks us to wait: `Retry-After` in seconds or as a date, else `X-RateLimit-Reset`.

    Between 1 and `LONGEST_WAIT_SECONDS`, the longest where a header came several times; None where there is none that can be
    read. A date is on the server's clock, so it counts from the answer's own Date.
    """
    now = now or _time_of(headers.get("Date") or "") or datetime.now(UTC)
    for name in ("Retry-After", "X-RateLimit-Reset"):
        seconds = _seconds((headers.get(name) or "").strip(), now)
        if seconds is not None:
            return min(max(seconds, 1.0), LONGEST_WAIT_SECONDS)
    return None


def _seconds(value: str, now: datetime) -> float | None:
    """A number of seconds, an epoch or a date as seconds from `now`; of several (requests joins them by commas) the longest."""
    if re.fullmatch(r"\d{1,12}(\.\d+)?(\s*,\s*\d{1,12}(\.\d+)?)*", value):
        number = max(float(part) for part in value.split(","))
        return number - now.timestamp() if number > 1e9 else number
    dates = re.findall(r"[A-Za-z]{3}, \d\d? [A-Za-z]{3} \d{4} [\d:]{8} \w+", value) or [value]
    moments = [moment for moment in map(_time_of, dates) if moment is not None]
    return (max(moments) - now).total_seconds() if moments else None


def _time_of(value: str) -> datetime | None:
    """A moment in ISO form or as HTTP writes it; None for anything else."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def limit_of(headers: Mapping[str, str]) -> tuple[int, int, float] | None:
    """What an answer says of our limit: how many requests, how many are left, and in how many seconds it is whole again.

    Mastodon, GoToSocial and Jira Cloud tell when; Jira Data Center tells how fast it fills. None where one of the three is missing
    or can't be read.
    """
    limit, left = (_count_of(headers.get(f"X-RateLimit-{name}")) for name in ("Limit", "Remaining"))
    if limit is None or left is None or limit < 1:
        return None
    now = _time_of(headers.get("Date") or "") or datetime.now(UTC)
    reset = _seconds((headers.get("X-RateLimit-Reset") or "").strip(), now)
    filled, every = (_count_of(headers.get(f"X-RateLimit-{name}")) for name in ("FillRate", "Interval-Seconds"))
    if reset is None and filled and every:
        reset = math.ceil(max(limit - left, 0) / filled) * every
    return None if reset is None else (limit, left, min(max(reset, 1.0), LONGEST_RESET_SECONDS))


def _count_of(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(r"\s*\d{1,9}\s*", value) else None


class Meter:
    """What was asked of each account since the last look, by the account's name and the limit that it counts to."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, str], Use] = {}

    def count(self, account: str, limit: str, headers: Mapping[str, str], refusal: RemoteError | None) -> None:
        """Count one answer."""
        use = self._uses.setdefault((account, limit), Use())
        use.asked += 1
        said = limit_of(headers)
        if said is not None:
            use.limit, use.left, use.reset_in = said
        if isinstance(refusal, RateLimited):
            use.limited = refusal.after or 0.0

    def take(self) -> dict[tuple[str, str], Use]:
        """What was counted; from now on it counts from nothing."""
        uses, self._uses = self._uses, {}
        return uses


@contextmanager
def metered() -> Iterator[Meter]:
    """Around a job: what it asks of whom is counted, so that it can be noted down once for all of its requests."""
    meter = Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


@contextmanager
def counted_as(limit: str) -> Iterator[None]:
    """Around requests that the server counts to another limit than the usual one, and whose answers tell of that one."""
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)


@contextmanager
def talking(account: str) -> Iterator[None]:
    """Around every use of a client: lets a `RemoteError` out of the client's own wrapping, and calls anything else by its name."""
    try:
        yield
    except RemoteError:
        raise
    except Exception as error:
        inner: BaseException | None = error
        seen: set[int] = set()
        while inner is not None and id(inner) not in seen:
            if isinstance(inner, RemoteError):
                raise inner from None
            seen.add(id(inner))
            inner = inner.__cause__ or inner.__context__
        raise OutcomeUnknown(f"{account}: the answer could not be understood ({redact(_root(error))[:300]})") from error


@contextmanager
def sending(intent: float) -> Iterator[None]:
    """Around an outward action: `intent` is `boot_seconds()` at the moment when the intent was committed."""
    token = _intent.set(intent)
    try:
        yield
    finally:
        _intent.reset(token)


@contextmanager
def raw() -> Iterator[list[Answer]]:
    """Around a read by a client whose own parsing we don't want: the answers land in the list, the client sees an empty document.

    Mastodon.py's typed parsing is 80 times slower than JSON and one wrong-typed field can spoil a page.
    """
    answers: list[Answer] = []
    token = _answers.set(answers)
    try:
        yield answers
    finally:
        _answers.reset(token)


def session(account: str, *, deadline: float = DEADLINE_SECONDS) -> requests.Session:
    """A requests session with our adapter and user agent. It reads no .netrc; proxies from the environment are kept."""
    new = requests.Session()
    new.headers["User-Agent"] = AGENT
    new.auth = _as_it_is
    mount(new, account, deadline=deadline)
    return new


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No log-in of our own: without an `auth`, requests would look for one in .netrc."""
    return request


def mount(client: requests.Session, account: str, *, deadline: float = DEADLINE_SECONDS) -> None:
    """Put our adapter onto a client's own session."""
    for scheme in ("http://", "https://"):
        client.mount(scheme, Adapter(account, deadline=deadline))


_secrets: set[str] = set()
_SHAPES = re.compile(r"(?i)(bearer\s+|basic\s+|token[=:\"'\s]+|password[=:\"'\s]+|://[^/\s:@]*:(?=[^\s/]*@))[^\s\"'&@,;]+")


def keep_secret(value: str) -> None:
    """Register a secret: `redact` masks it from now on in whatever is logged, stored or shown."""
    if len(value) >= 4:
        _secrets.add(value)


def redact(text: str) -> str:
    """`text` without registered secrets and without what looks like one, on one line."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return " ".join(_SHAPES.sub(r"\1***", text).split())
