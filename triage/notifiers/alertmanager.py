"""Alerts to Prometheus' Alertmanager (API v2), which groups, silences and routes them to people.

Alertmanager knows an alert by its labels and takes it for resolved when nobody posts it again within its
`resolve_timeout` (5 minutes by default); so an open alert is posted again every minute. Our key is one of the labels:
two brakes on two sources are two alerts, and one may end while the other lasts.
Source: Alertmanager's `api/v2/openapi.yaml`, and its documentation of `resolve_timeout`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from triage import remote
from triage.contracts import Finding, Manifest
from triage.errors import RemoteError, Unauthorized
from triage.mention import Receipt, Work

REPEATS_SECONDS = 60.0
OURS = frozenset({"alertname", "severity", "key"})
LABEL_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # of Go's durations, as in 1m30s


class Options(BaseModel):
    """The keys of an Alertmanager in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="Alertmanager's address, with the path that it is served under if there is one.")
    token: SecretStr | None = Field(default=None, description="A bearer token, where a proxy before it asks for one.")
    user: str | None = Field(default=None, description="The user for basic authentication; with `password`.")
    password: SecretStr | None = Field(default=None, description="The password for basic authentication; with `user`.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels on every alert, such as the team that it goes to.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("must be an address like http://localhost:9093, without a user, a query or an anchor")
        return url.rstrip("/").removesuffix("/api/v2/alerts").removesuffix("/api/v2")

    @field_validator("labels")
    @classmethod
    def _names(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if name in OURS:
                raise ValueError(f"{name} is set on every alert already")
            if not re.fullmatch(LABEL_NAME, name):
                raise ValueError(f"{name!r} is no label's name: letters, digits and underscores, not a digit first")
        return labels

    @model_validator(mode="after")
    def _one_way_in(self) -> Options:
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` go together")
        if self.token is not None and self.user is not None:
            raise ValueError("either `token` or `user` and `password`, not both")
        return self


class Alertmanager:
    """The notifier."""

    def __init__(self, name: str, options: Options) -> None:
        self.manifest = MANIFEST
        self.account = name
        self.options = options
        for secret in (options.token, options.password):
            if secret is not None:
                remote.keep_secret(secret.get_secret_value())
        self._session = remote.session(name)
        self._session.auth = self._authorize

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Ours or none: without it requests would take what a .netrc file holds."""
        token, user, password = self.options.token, self.options.user, self.options.password
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        elif user is not None and password is not None:
            requests.auth.HTTPBasicAuth(user.encode(), password.get_secret_value().encode())(request)
        return request

    def send(self, work: Work) -> Receipt:
        """Post the alert; with `endsAt` when it is over."""
        with remote.talking(self.account):
            self._session.post(f"{self.options.url}/api/v2/alerts", json=[alert(work, self.options.labels)])
        wanted = quote(f'{{key="{_quoted(work.key)}"}}', safe="")
        return Receipt(work.key, url=f"{self.options.url}/#/alerts?filter={wanted}")

    def check(self) -> Iterator[Finding]:
        """That it answers, and that it waits long enough for the next post of an open alert."""
        try:
            with remote.talking(self.account):
                answer: Any = self._session.get(f"{self.options.url}/api/v2/status").json()
                version, config = str(answer["versionInfo"]["version"]), str(answer["config"]["original"])
        except Unauthorized as error:
            yield Finding("fail", str(error), f"set notifiers.{self.account}.token, or user and password, to what it accepts")
            return
        except RemoteError as error:
            step = f"start Alertmanager, or set notifiers.{self.account}.url to the address of its web page"
            yield Finding("fail", str(error), step)
            return
        yield Finding("ok", f"{self.account}: Alertmanager {version} answers at {self.options.url}")
        timeout = resolve_timeout(config)
        if timeout is not None and timeout < 2 * REPEATS_SECONDS:
            what = f"{self.account}: its resolve_timeout is {timeout:g} s, so one late post makes it call an open alert resolved"
            yield Finding(
                "warn", what, f"set global.resolve_timeout in alertmanager.yml to {2 * REPEATS_SECONDS:g}s or more (5m is the default)"
            )


def alert(work: Work, labels: Mapping[str, str]) -> dict[str, Any]:
    """The alert as Alertmanager's API takes it. Nothing but the payload goes into it: whoever made it knew what may be told."""
    payload = work.payload
    starts: datetime = payload.get("opened_at") or work.first_intent_at
    made: dict[str, Any] = {
        "labels": {
            **labels,
            **{re.sub(r"^(?=\d)|\W", "_", name, flags=re.ASCII): str(value) for name, value in payload.get("labels", {}).items()},
            "alertname": payload["name"],
            "severity": payload["severity"],
            "key": work.key,
        },
        "annotations": {"summary": payload["summary"]},
        "startsAt": _time(starts),
    }
    if not payload["open"]:
        made["endsAt"] = _time(max(payload.get("closed_at") or work.intent_at, starts))
    if payload.get("url", "").startswith(("https://", "http://")):
        made["generatorURL"] = payload["url"]
    return made


def resolve_timeout(config: str) -> float | None:
    """The seconds of `resolve_timeout` in an alertmanager.yml; None where it is not set."""
    found = re.search(r"^\s*resolve_timeout:\s*[\"']?((?:[\d.]+(?:ms|[smhd]))+)", config, flags=re.MULTILINE)
    if found is None:
        return None
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|[smhd])", found[1]))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


MANIFEST = Manifest(name="alertmanager", options=Options, build=Alertmanager, repeats=REPEATS_SECONDS)
