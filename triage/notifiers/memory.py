"""A notifier that keeps its alerts in memory: complete, for trying things out and for tests. What it holds ends with the process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

from pydantic import BaseModel, ConfigDict

from triage.contracts import Finding, Manifest
from triage.mention import Receipt, Work


class Options(BaseModel):
    """An in-memory notifier has no keys in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it was last sent, and how often."""

    key: str
    name: str
    severity: str
    summary: str
    labels: tuple[tuple[str, str], ...]
    open: bool
    times: int


class Memory:
    """The notifier. `alerts` holds every alert by its key, in the order in which they were first sent."""

    def __init__(self, name: str, options: Options) -> None:
        self.manifest = MANIFEST
        self.account = name
        self.options = options
        self.alerts: dict[str, Alert] = {}
        self._lock = Lock()

    def send(self, work: Work) -> Receipt:
        """Keep the alert, in place of what was sent with the same key."""
        payload = work.payload
        labels = tuple(sorted(payload.get("labels", {}).items()))
        with self._lock:
            times = self.alerts[work.key].times + 1 if work.key in self.alerts else 1
            self.alerts[work.key] = Alert(
                work.key, payload["name"], payload["severity"], payload["summary"], labels, bool(payload["open"]), times
            )
        return Receipt(work.key)

    def check(self) -> Iterator[Finding]:
        """It works, and tells nobody."""
        open_ones = sum(alert.open for alert in self.alerts.values())
        yield Finding("ok", f"{self.account}: {open_ones} open alerts in memory, which nobody is told of and which end with this process")


MANIFEST = Manifest(name="memory", options=Options, build=Memory)
