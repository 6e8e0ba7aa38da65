"""What the verbs work with; `triage.app` is the one place that puts it together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from triage.classifier import Classifier
from triage.clock import Clock
from triage.config import Config
from triage.contracts import Notifier, Platform, Tracker
from triage.mention import Label, Mention, Verdict
from triage.pipeline.registry import Registry
from triage.store import Store


class Parts(Protocol):
    """The collaborators of every verb."""

    config: Config
    store: Store
    registry: Registry

    @property
    def clock(self) -> Clock:
        """What tells the time."""

    def classify(self, mentions: Sequence[Mention]) -> list[Verdict]:
        """A verdict for each mention, in order."""

    def explain(self, mention: Mention, label: Label) -> tuple[str, ...]:
        """The words that speak for the label, strongest first."""

    def classifier(self) -> Classifier:
        """The classifier, loaded once; `ModelError` when it can't be used."""

    def platform(self, source: str) -> Platform:
        """The platform of a source, by the source's name; `UserError` when the config has none of that name."""

    def tracker(self, name: str) -> Tracker:
        """A tracker by its name."""

    def notifier(self, name: str) -> Notifier:
        """A notifier by its name."""

    def candidate(self, name: str, token: str) -> Platform | Tracker | Notifier:
        """A connector as it would be with another token, to be checked."""

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources that are polled."""

    @property
    def trackers(self) -> Sequence[str]:
        """The names of the trackers; the first one gets the tickets."""

    @property
    def notifiers(self) -> Sequence[str]:
        """The names of the notifiers; each gets every alert."""
