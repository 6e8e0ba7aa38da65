"""A stand-in for what hears alerts: an Alertmanager (API v2) and a webhook."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from triage.sandbox import pages
from triage.sandbox.http import Rejected, Reply, Request, Server, digest

RESOLVE_SECONDS = 300.0
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
FILTER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"?([^"]*)"?\s*')
NEVER = "0001-01-01T00:00:00Z"


class Receiver(Server):
    """The server. Ledger kinds: `alert` (each as it was posted), `webhook` (headers and body)."""

    name = "receiver"

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder, port=port)
        self._alerts: dict[str, dict[str, Any]] = {}
        for entry in self.ledger.entries("alert"):
            self._keep(entry["alert"], datetime.fromisoformat(entry["at"]).timestamp())
        self.route("POST", "/api/v2/alerts", self._post_alerts)
        self.route("GET", "/api/v2/alerts", self._get_alerts)
        self.route("GET", "/api/v2/status", self._status)
        self.route("POST", "/webhook", self._webhook)
        self.route("GET", "/", lambda request: pages.alerts(self))

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that was ever raised, as it stands: labels, annotations, startsAt, endsAt, fingerprint, open."""
        now = self.now()
        with self.lock:
            return [{**alert, "open": _seconds(alert["endsAt"]) > now} for alert in self._alerts.values()]

    @property
    def webhooks(self) -> list[dict[str, Any]]:
        """The ledger's entries of calls of the webhook: `headers` (lower case), `body` (text) or `body_base64`."""
        return self.ledger.entries("webhook")

    def _post_alerts(self, request: Request) -> Any:
        body = request.json()
        if not isinstance(body, list):
            raise Rejected(400, {"code": 400, "message": "the body must be a list of alerts"})
        for number, alert in enumerate(body):
            wrong = problem(alert)
            if wrong:
                raise Rejected(400, {"code": 400, "message": f"alert {number}: {wrong}"})
        for alert in body:
            self.ledger.append("alert", alert=alert)
            self._keep(alert, self.now())
        return Reply("", 200)

    def _keep(self, alert: dict[str, Any], now: float) -> None:
        labels = {name: value for name, value in alert["labels"].items() if value}
        fingerprint = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]
        before = self._alerts.get(fingerprint, {})
        starts, ends = alert.get("startsAt"), alert.get("endsAt")
        self._alerts[fingerprint] = {
            "labels": labels,
            "annotations": alert.get("annotations", {}),
            "startsAt": starts if starts and starts != NEVER else before.get("startsAt") or _iso(now),
            "endsAt": ends if ends and ends != NEVER else _iso(now + RESOLVE_SECONDS),
            "updatedAt": _iso(now),
            "generatorURL": alert.get("generatorURL", ""),
            "fingerprint": fingerprint,
            "receivers": [{"name": "default"}],
            "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
        }

    def _get_alerts(self, request: Request) -> Any:
        wanted = []
        for text in request.many("filter"):
            match = FILTER.fullmatch(text)
            if match is None:
                raise Rejected(400, {"code": 400, "message": f"bad matcher format: {text}"})
            wanted.append((match[1], match[2]))
        shown = [alert for alert in self.alerts if alert.pop("open")]
        return [alert for alert in shown if all(alert["labels"].get(name, "") == value for name, value in wanted)]

    def _status(self, request: Request) -> Any:
        version = {"version": "0.28.1", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}
        return {"cluster": {"status": "ready", "peers": []}, "config": {"original": ""}, "uptime": _iso(self.now()), "versionInfo": version}

    def _webhook(self, request: Request) -> Any:
        headers = dict(request.headers)
        if "authorization" in headers:
            headers["authorization"] = digest(headers["authorization"])
        try:
            body = {"body": request.body.decode()}
        except UnicodeDecodeError:
            body = {"body_base64": base64.b64encode(request.body).decode()}
        self.ledger.append("webhook", headers=headers, **body)
        return {}


def problem(alert: Any) -> str | None:
    """Why Alertmanager would not take it, None for a good one."""
    if not isinstance(alert, dict):
        return "it must be an object"
    labels, annotations = alert.get("labels"), alert.get("annotations", {})
    for name, values in (("labels", labels), ("annotations", annotations)):
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            return f"{name} must be an object of texts"
    assert isinstance(labels, dict)
    if not labels.get("alertname"):
        return "labels need an alertname"
    for name in [*labels, *annotations]:
        if not LABEL_NAME.fullmatch(name):
            return f"{name!r} is not a valid label name"
    if not isinstance(alert.get("generatorURL", ""), str):
        return "generatorURL must be a text"
    try:
        starts, ends = (_seconds(alert[name]) if alert.get(name) not in (None, NEVER) else None for name in ("startsAt", "endsAt"))
    except (ValueError, TypeError):
        return "startsAt and endsAt must be times like 2026-01-31T12:00:00Z"
    if starts is not None and ends is not None and ends < starts:
        return "start time must be before end time"
    unknown = set(alert) - {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
    return f"unknown keys: {', '.join(sorted(unknown))}" if unknown else None


def _seconds(text: str) -> float:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time needs a zone")
    return at.timestamp()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
