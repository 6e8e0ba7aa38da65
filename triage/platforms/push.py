"""A channel of your own: a program of yours sends posts to `POST /api/mentions`, signed, and people answer there by hand.

The headers are those of our own webhook, the other way round:

- `X-Triage-Source`: the source's name in the config.
- `X-Triage-Timestamp`: when it was sent, in seconds since 1970; refused when it is more than five minutes off.
- `X-Triage-Signature`: `sha256=` and HMAC-SHA256 in hex of the timestamp, a full stop and the body's bytes, by the secret.

A post is what a line of `triage import` is. Its link is its identity: sent again it is known, with another text it is an edit.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from triage.contracts import Finding, Item, Manifest
from triage.platforms.imported import ImportedPlatform, item_of

SHORTEST_SECRET = 16
PATIENCE = 300
"""In seconds: how far the sender's clock may be off, and how long a request that somebody overheard can be sent again."""


class Options(BaseModel):
    """The keys of a channel in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret: SecretStr = Field(description="What the sender signs with: 16 characters or more.")

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"must have {SHORTEST_SECRET} characters or more; make one: openssl rand -hex 32")
        return secret


class PushPlatform(ImportedPlatform):
    """The platform: nothing is fetched, for the posts come by themselves."""

    def __init__(self, name: str, options: Options) -> None:
        super().__init__(name)
        self.manifest = MANIFEST
        self._secret = options.secret

    def refusal(self, timestamp: str, signature: str, body: bytes, now: datetime) -> str:
        """Why a request is not taken; empty where it is."""
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            return "X-Triage-Timestamp must be seconds since 1970"
        if abs(now.timestamp() - int(timestamp)) > PATIENCE:
            return f"X-Triage-Timestamp is more than {PATIENCE} s off; set the sender's clock, and sign each request anew"
        made = hmac.new(self._secret.get_secret_value().encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"sha256={made}".encode(), signature.encode(errors="replace")):
            return "X-Triage-Signature does not fit; sign timestamp, full stop and the body's very bytes by the source's secret"
        return ""

    def item(self, row: Mapping[str, Any], now: datetime) -> Item:
        """A post as it was sent."""
        made = item_of(row, source=self.name, now=now)
        return made if made.mention is None else replace(made, mention=replace(made.mention, platform=MANIFEST.name, via="push"))

    def check(self) -> Iterator[Finding]:
        """Always well: the sender is the one who can fail."""
        yield Finding("ok", f"{self.name}: posts come by POST /api/mentions; they are answered by hand")


MANIFEST = Manifest(name="push", options=Options, build=PushPlatform, interval=3600.0, replies=False, streams=False)
