"""The only wiring: a `Config` becomes an `App` that holds the store, the classifier and the connectors."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from triage import config as configuration
from triage import remote
from triage.clock import Clock, SystemClock
from triage.config import Config, Connector, Secret
from triage.contracts import Manifest, Notifier, Platform, Tracker
from triage.delivery import Pace
from triage.errors import ConfigError, UserError
from triage.mention import Label, Mention, Verdict
from triage.pipeline.registry import Registry
from triage.store import Store
from triage.targets import targets
from triage.text import classifier_input
from triage.trust import policy

if TYPE_CHECKING:
    from triage.classifier import Classifier

IMPORTED = "import"
"""The source of posts that came by `triage import`; it is always there and nobody polls it."""


def manifest(kind: str, name: str) -> Manifest:
    """The manifest of a connector: of a file in `triage/<kind>/`, or of an entry point in the group `triage.<kind>`.

    `ConfigError` when there is none of that name.
    """
    package = importlib.import_module(f"triage.{kind}")
    folder = Path(next(iter(package.__path__)))
    found = sorted(path.stem for path in folder.glob("*.py"))
    module = {"import": "imported"}.get(name, name)
    if name.isidentifier() and module in found:
        known = getattr(importlib.import_module(f"triage.{kind}.{module}"), "MANIFEST", None)
        if isinstance(known, Manifest):
            return known
    for point in entry_points(group=f"triage.{kind}"):
        if point.name == name:
            loaded = point.load()
            if isinstance(loaded, Manifest):
                return loaded
    raise ConfigError(f"there is no {kind.removesuffix('s')} named {name!r}; known: {', '.join(names(kind))}")


def names(kind: str) -> list[str]:
    """The connectors of a kind (platforms, trackers, notifiers) that can be named in the config."""
    package = importlib.import_module(f"triage.{kind}")
    folder = Path(next(iter(package.__path__)))
    own = []
    for path in sorted(folder.glob("*.py")):
        known = getattr(importlib.import_module(f"triage.{kind}.{path.stem}"), "MANIFEST", None) if path.stem != "__init__" else None
        if isinstance(known, Manifest):
            own.append(known.name)
    return sorted({*own, *(point.name for point in entry_points(group=f"triage.{kind}"))})


class App:
    """What the verbs work with. Connectors and the classifier are made at their first use.

    `role` names this process in the list of workers. Raises the `UserError`s of config, store and connectors.
    """

    def __init__(self, config: Config, *, role: str = "cli", clock: Clock | None = None) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        for secret in configuration.secrets(config):
            remote.keep_secret(secret)
        self._check_names()
        delivery = config.delivery
        self.store = Store(
            config.store,
            site=config.site,
            observe=config.mode == "observe",
            notifiers=self.notifiers,
            brake={name: source.brake for name, source in config.sources.items() if source.brake is not None}
            | {"": config.delivery.brake_per_hour},
            role=role,
            folder=config.folder,
            pace=Pace(delivery.settle, delivery.retry_first, delivery.retry_longest, delivery.attempts_before_parking),
            drain=delivery.drain,
            policy=policy(config),
            claim=config.web.claim,
            targets=targets(config),
        )
        self._made: dict[tuple[str, str], Any] = {}
        self.registry = Registry(config, self.store, self.clock)
        self._guard = Lock()

    def _check_names(self) -> None:
        """Accounts are known by their names alone, so no two may share one."""
        seen: set[str] = {IMPORTED, "human", "archive"}
        for name in (*self.config.sources, *self.config.trackers, *self.config.notifiers):
            if name in seen:
                raise ConfigError(f"the name {name!r} is taken; give each source, tracker and notifier a name of its own")
            seen.add(name)

    def verify(self) -> None:
        """Make every connector, so that what the config gets wrong is said before anything runs. Looking at the store needs no tokens."""
        for kind, connectors in (
            ("platforms", self.config.sources),
            ("trackers", self.config.trackers),
            ("notifiers", self.config.notifiers),
        ):
            for name in connectors:
                self._connector(kind, name, connectors)

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources that are polled."""
        return tuple(self.config.sources)

    @property
    def trackers(self) -> Sequence[str]:
        """The names of the trackers; the first one gets the tickets."""
        return tuple(self.config.trackers)

    @property
    def notifiers(self) -> Sequence[str]:
        """The names of the notifiers; each gets every alert."""
        return tuple(self.config.notifiers)

    def platform(self, source: str) -> Platform:
        """The platform of a source."""
        made: Platform = self._connector("platforms", source, self.config.sources)
        return made

    def tracker(self, name: str) -> Tracker:
        """A tracker by its name."""
        made: Tracker = self._connector("trackers", name, self.config.trackers)
        return made

    def notifier(self, name: str) -> Notifier:
        """A notifier by its name."""
        made: Notifier = self._connector("notifiers", name, self.config.notifiers)
        return made

    def candidate(self, name: str, token: str) -> Platform | Tracker | Notifier:
        """The connector of that name as it would be with another token, to be checked; the one in use stays."""
        sections = {"platforms": self.config.sources, "trackers": self.config.trackers, "notifiers": self.config.notifiers}
        for kind, known in sections.items():
            if name in known:
                remote.keep_secret(token)
                changed = replace(known[name], options={**known[name].options, "token": Secret(token, {})})
                found = manifest(kind, changed.type)
                made: Platform | Tracker | Notifier = found.build(name, configuration.validate_options(changed, found.options, self.config))
                return made
        raise UserError(f"the config has no source, tracker or notifier {name!r} (any more)")

    def _connector(self, kind: str, name: str, known: dict[str, Connector]) -> Any:
        with self._guard:
            if name in known and (fresh := configuration.renewed(known[name], self.config)) is not None:
                known[name] = fresh  # its secret file holds another one: a new token is used at the next call, without a restart
                for secret in configuration.secrets(self.config):
                    remote.keep_secret(secret)
                self._made.pop((kind, name), None)
            if (kind, name) not in self._made:
                if name not in known:
                    raise UserError(
                        f"the config has no {kind.removesuffix('s')} {name!r} (any more); put it back, or park what waits for it"
                    )
                try:
                    found = manifest(kind, known[name].type)
                except ConfigError:
                    raise configuration.no_such_type(known[name], names(kind), self.config) from None
                options = configuration.validate_options(known[name], found.options, self.config)
                self._made[kind, name] = found.build(name, options)
            return self._made[kind, name]

    def classify(self, mentions: Sequence[Mention]) -> list[Verdict]:
        """A verdict for each mention, in order. Loads the model at the first call; `ModelError` when it can't be used."""
        model = self.classifier()
        return model.classify([classifier_input(mention) for mention in mentions], [mention.language for mention in mentions])

    def explain(self, mention: Mention, label: Label) -> tuple[str, ...]:
        """The words that speak for the label, strongest first: worked out when asked, since it costs thirty verdicts."""
        return self.classifier().explain(classifier_input(mention), label)

    def classifier(self) -> Classifier:
        """The model that acts now: a promotion or a rollback is noticed within some seconds."""
        return self.registry.acting()
