"""Alerts to a web address of yours, signed, so that it can tell that they are ours and not an old one sent again.

The body is JSON: `key`, `name`, `severity`, `summary`, `labels`, `url`, `open`, `opened_at`, `closed_at`. The headers:

- `X-Triage-Event`: the key (percent-encoded), the same each time that this alert is sent. Keep it to drop repetitions.
- `X-Triage-Timestamp`: when it was sent, in seconds since 1970. Refuse what is older than a few minutes.
- `X-Triage-Signature`: `sha256=` and HMAC-SHA256 in hex of the timestamp, a full stop and the body's bytes, by the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from triage import remote
from triage.contracts import Finding, Manifest
from triage.errors import RemoteError
from triage.mention import Receipt, Work

SHORTEST_SECRET = 16
OURS = frozenset({"content-type", "content-length", "host", "x-triage-event", "x-triage-timestamp", "x-triage-signature"})


class Options(BaseModel):
    """The keys of a webhook in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="The address that is sent a POST for each alert, and again when the alert is over.")
    secret: SecretStr = Field(description="What the signature is made with: 16 characters or more, known to the receiver too.")
    headers: dict[str, str] = Field(default_factory=dict, repr=False, description="More headers, such as one that a gateway asks for.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or "@" in parts.netloc:
            raise ValueError("must be an address like https://hooks.example/triage, without a user and without an anchor")
        return url

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"must have {SHORTEST_SECRET} characters or more; make one: openssl rand -hex 32")
        return secret

    @field_validator("headers")
    @classmethod
    def _fit(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name.lower() in OURS:
                raise ValueError(f"{name} is set on every call already")
            if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
                raise ValueError(f"{name!r} is no header's name")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"the value of {name} must be printable ASCII on one line")
        return headers


class Webhook:
    """The notifier."""

    def __init__(self, name: str, options: Options) -> None:
        self.manifest = MANIFEST
        self.account = name
        self.options = options
        remote.keep_secret(options.secret.get_secret_value())
        self._session = remote.session(name)
        self._session.headers.update(options.headers)
        self._session.auth = _as_it_is

    def send(self, work: Work) -> Receipt:
        """Post the alert, or that it is over."""
        sent = body(work)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Triage-Event": quote(work.key, safe="/:@._-~?=&#+,"),
            "X-Triage-Timestamp": timestamp,
            "X-Triage-Signature": f"sha256={signature(self.options.secret, timestamp, sent)}",
        }
        with remote.talking(self.account):
            self._session.post(self.options.url, data=sent, headers=headers)
        return Receipt(work.key)

    def check(self) -> Iterator[Finding]:
        """That somebody answers there. It is asked for its OPTIONS, which raises no alarm; any answer but "not there" will do."""
        step = f"set notifiers.{self.account}.url to the receiver's address, and look whether it runs"
        try:
            with remote.talking(self.account):
                self._session.options(self.options.url)
        except RemoteError as error:
            if error.status is None or error.status >= 500 or error.status in (404, 410):
                yield Finding("fail", str(error), step)
                return
        yield Finding("ok", f"{self.account}: the receiver answers; whether it knows the secret shows with the first alert")
        if urlsplit(self.options.url).scheme == "http" and not _on_this_machine(self.options.url):
            what = f"{self.account}: alerts travel unencrypted; the signature keeps them from being forged, not from being read"
            yield Finding("warn", what, f"give notifiers.{self.account}.url an https address")


def body(work: Work) -> bytes:
    """What is sent. Nothing but the payload goes into it: whoever made it knew what may be told."""
    payload = work.payload
    told: dict[str, Any] = {name: payload[name] for name in ("name", "severity", "summary", "open")}
    told |= {"key": work.key, "labels": dict(payload.get("labels", {})), "url": payload.get("url", "")}
    told["opened_at"] = _time(payload.get("opened_at") or work.first_intent_at)
    told["closed_at"] = None if payload["open"] else _time(payload.get("closed_at") or work.intent_at)
    return json.dumps(told, separators=(",", ":"), sort_keys=True).encode()


def signature(secret: SecretStr, timestamp: str, sent: bytes) -> str:
    """HMAC-SHA256 of the timestamp, a full stop and the body, in hex."""
    return hmac.new(secret.get_secret_value().encode(), timestamp.encode() + b"." + sent, hashlib.sha256).hexdigest()


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No authorization of ours, and so none out of a .netrc file either."""
    return request


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


MANIFEST = Manifest(name="webhook", options=Options, build=Webhook)
