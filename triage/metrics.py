"""Every Prometheus series, in one file. All are read from the database when they are asked for; no process counts by itself.

So a worker that dies takes no numbers with it, any process can serve them, and they say the same as `triage status`. The
values of every label come from closed sets (the config's names, our own enums) and are there from the start, at 0: an
alert on a series that does not exist yet would never fire. docs/operations.md lists them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from triage import __version__
from triage.mention import ActionKind, Label, State

CONTENT_TYPE = CONTENT_TYPE_LATEST
JUDGES = ("model", "person")
MODES = ("observe", "act")
NO_LABEL = "none"  # of a task about no post of anybody's, such as one to merge two tickets
NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is. `last_success_age_seconds` is None before the first success, `held_back` where the server does not say.

    `up` tells that the last poll worked, `paused` that it rests. `late_found` counts mentions that only a rescan found.
    """

    last_success_age_seconds: float | None
    up: bool
    paused: bool
    held_back: int | None = None
    late_found: int = 0


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """How a tracker or a notifier is: whether the last call worked, and whether it rests."""

    up: bool
    paused: bool


@dataclass(frozen=True, slots=True)
class BudgetHealth:
    """A limit of an account, what is left of it, and in how many seconds it is whole again (0: it is)."""

    limit: int
    left: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The service at one moment, as the store sees it. Ages are in seconds.

    `sources` by name; `accounts` holds trackers and notifiers by (role, name), the role being tracker or notifier.
    `oldest_open_item_seconds` is the age of the oldest open task, `oldest_doubt_seconds` the time since the outcome of
    the oldest action in doubt became unknown; None where there is none. `open_tasks` is by label, or `none`; `actions`
    counts by kind and state; `verdicts` by label and model or person. `due_behind_seconds` tells how long the oldest
    due work is overdue. `brake_engaged` counts sources whose tickets are parked by the brake, `duplicates_found` the
    problems that the audit found twice. `workers_alive` counts workers that gave a sign of life within the last two
    minutes, `last_sweep_age_seconds` is None if none ever did. `copied` tells why the store is a copy that sends nothing,
    `restore_mode_until` is None while restore mode is off. What is missing from a mapping is shown as 0.
    `budgets` is by role, account, and requests or posts, as far as they are known. `earn_rules` tells of each rule that earns
    its autonomy whether it acts alone.
    """

    sources: Mapping[str, SourceHealth] = field(default_factory=lambda: NOTHING)
    accounts: Mapping[tuple[str, str], AccountHealth] = field(default_factory=lambda: NOTHING)
    oldest_open_item_seconds: float | None = None
    oldest_doubt_seconds: float | None = None
    open_tasks: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    actions: Mapping[tuple[ActionKind, State], int] = field(default_factory=lambda: NOTHING)
    quarantined: int = 0
    due_behind_seconds: float = 0.0
    verdicts: Mapping[tuple[Label, str], int] = field(default_factory=lambda: NOTHING)
    mentions: int = 0
    brake_engaged: int = 0
    duplicates_found: int = 0
    mode: str = "observe"
    workers_alive: int = 0
    last_sweep_age_seconds: float | None = None
    schema_version: str = ""
    copied: str = ""
    restore_mode_until: datetime | None = None
    budgets: Mapping[tuple[str, str, str], BudgetHealth] = field(default_factory=lambda: NOTHING)
    audits_waiting: int = 0
    earn_rules: Mapping[str, bool] = field(default_factory=lambda: NOTHING)

    def in_state(self, state: State) -> int:
        """How many actions of any kind are in it."""
        return sum(count for (_, its), count in self.actions.items() if its == state)


Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Series:
    """One series: what it says, the names of its labels, and how it is read from a snapshot."""

    help: str
    labels: tuple[str, ...]
    read: Callable[[Snapshot], Iterable[Sample]]
    kind: Literal["gauge", "counter"] = "gauge"


def _age(seconds: float | None) -> float:
    """Never is longer ago than anything, so that an alert on the age fires for it too."""
    return math.inf if seconds is None else max(seconds, 0.0)


def _of_sources(read: Callable[[SourceHealth], float | None]) -> Callable[[Snapshot], Iterable[Sample]]:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for name, health in snapshot.sources.items():
            value = read(health)
            if value is not None:
                yield (name,), value

    return samples


def _of_accounts(read: Callable[[AccountHealth], bool]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [((role, name), float(read(health))) for (role, name), health in snapshot.accounts.items()]


def _of_budgets(read: Callable[[BudgetHealth], float]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [(names, read(health)) for names, health in snapshot.budgets.items()]


def _one(read: Callable[[Snapshot], float]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [((), read(snapshot))]


SERIES: Mapping[str, Series] = {
    "triage_info": Series(
        "Always 1; the labels tell the program's version and the database's schema.",
        ("version", "schema"),
        lambda snapshot: [((__version__, snapshot.schema_version), 1.0)],
    ),
    "triage_mode": Series(
        "1 for the mode that the service runs in: observe sends nothing.",
        ("mode",),
        lambda snapshot: [((mode,), float(mode == snapshot.mode)) for mode in MODES],
    ),
    "triage_source_up": Series("1 if the last poll of this source worked.", ("source",), _of_sources(lambda health: float(health.up))),
    "triage_source_paused": Series(
        "1 while this source rests: its token was refused, or it asked us to wait.",
        ("source",),
        _of_sources(lambda health: float(health.paused)),
    ),
    "triage_source_last_success_age_seconds": Series(
        "Seconds since this source was last read to its end; +Inf before the first time.",
        ("source",),
        _of_sources(lambda health: _age(health.last_success_age_seconds)),
    ),
    "triage_source_held_back_mentions": Series(
        "Mentions that the server keeps from us by its notification policy; absent where it does not say.",
        ("source",),
        _of_sources(lambda health: health.held_back),
    ),
    "triage_source_late_found_total": Series(
        "Mentions that only a rescan found: their ids were lower than the cursor.",
        ("source",),
        _of_sources(lambda health: health.late_found),
        "counter",
    ),
    "triage_account_up": Series(
        "1 if the last call to this tracker or notifier worked.", ("role", "account"), _of_accounts(lambda health: health.up)
    ),
    "triage_account_paused": Series(
        "1 while this tracker or notifier rests.", ("role", "account"), _of_accounts(lambda health: health.paused)
    ),
    "triage_budget_limit": Series(
        "What the account's server allows in its window: requests, or posts. Absent where it is not known.",
        ("role", "account", "what"),
        _of_budgets(lambda health: health.limit),
    ),
    "triage_budget_left": Series(
        "What is left of it until its reset.", ("role", "account", "what"), _of_budgets(lambda health: health.left)
    ),
    "triage_budget_reset_seconds": Series(
        "Seconds until it is whole again; 0 if it is.", ("role", "account", "what"), _of_budgets(lambda health: health.reset_seconds)
    ),
    "triage_mentions_total": Series("Mentions stored.", (), _one(lambda snapshot: snapshot.mentions), "counter"),
    "triage_verdicts_total": Series(
        "Verdicts, by label and by whether a model or a person gave them.",
        ("label", "by"),
        lambda snapshot: [((label, by), snapshot.verdicts.get((label, by), 0)) for label in Label for by in JUDGES],
        "counter",
    ),
    "triage_actions": Series(
        "Actions, by kind and state: tickets filed are kind=ticket, state=done.",
        ("kind", "state"),
        lambda snapshot: [((kind, state), snapshot.actions.get((kind, state), 0)) for kind in ActionKind for state in State],
    ),
    "triage_open_tasks": Series(
        "Tasks that wait for a person, by the label of their post.",
        ("label",),
        lambda snapshot: [((label,), snapshot.open_tasks.get(label, 0)) for label in (*Label, NO_LABEL)],
    ),
    "triage_oldest_open_item_age_seconds": Series(
        "Age of the oldest open task; 0 if there is none.", (), _one(lambda snapshot: snapshot.oldest_open_item_seconds or 0.0)
    ),
    "triage_oldest_doubt_age_seconds": Series(
        "Time since the oldest action in doubt became doubtful; 0 if there is none.",
        (),
        _one(lambda snapshot: snapshot.oldest_doubt_seconds or 0.0),
    ),
    "triage_quarantined_mentions": Series(
        "Posts set aside because they can't be read or processed.", (), _one(lambda snapshot: snapshot.quarantined)
    ),
    "triage_due_behind_seconds": Series(
        "How long the oldest due work is overdue.", (), _one(lambda snapshot: max(snapshot.due_behind_seconds, 0.0))
    ),
    "triage_brake_engaged": Series(
        "Sources whose further tickets are parked by the brake.", (), _one(lambda snapshot: snapshot.brake_engaged)
    ),
    "triage_duplicate_tickets": Series(
        "Problems for which the audit found more than one ticket.", (), _one(lambda snapshot: snapshot.duplicates_found)
    ),
    "triage_audits_waiting": Series(
        "Posts drawn for the blind audit that wait for an answer.", (), _one(lambda snapshot: snapshot.audits_waiting)
    ),
    "triage_rule_acts_alone": Series(
        "Of a rule that earns its autonomy: 1 while it acts alone, 0 while it suggests.",
        ("rule",),
        lambda snapshot: [((name,), float(alone)) for name, alone in snapshot.earn_rules.items()],
    ),
    "triage_workers_alive": Series(
        "Workers that gave a sign of life within the last two minutes.", (), _one(lambda snapshot: snapshot.workers_alive)
    ),
    "triage_last_sweep_age_seconds": Series(
        "Seconds since a worker last noted that it sweeps; +Inf if none ever did.",
        (),
        _one(lambda snapshot: _age(snapshot.last_sweep_age_seconds)),
    ),
}
"""Every series by its name: the only place where one is made."""


class Gauges(Collector):
    """Reads a snapshot at each scrape."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Any]:
        """Nothing, so that registering it asks the database nothing."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """All series, from one snapshot."""
        snapshot = self._snapshot()
        for name, series in SERIES.items():
            family = (CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily)(name, series.help, labels=series.labels)
            for labels, value in series.read(snapshot):
                family.add_metric(labels, value)
            yield family


def render(snapshot: Snapshot) -> bytes:
    """The body of /metrics, in Prometheus' text format (send it as `CONTENT_TYPE`)."""
    registry = CollectorRegistry()
    registry.register(Gauges(lambda: snapshot))
    return generate_latest(registry)


class Reason(StrEnum):
    """Why the service is not healthy."""

    NO_WORKER = "no_worker"
    SWEEP_STALLED = "sweep_stalled"
    WORK_BEHIND = "work_behind"
    SOURCE_SILENT = "source_silent"
    SOURCE_FAILING = "source_failing"
    SOURCE_PAUSED = "source_paused"
    ACCOUNT_PAUSED = "account_paused"
    DOUBT_STUCK = "doubt_stuck"
    DUPLICATES = "duplicates"
    BRAKE = "brake"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on something is wrong, in seconds. triage/ops/alerts.yml uses the same numbers."""

    source_silent: float = 600.0
    sweep_stalled: float = 60.0
    work_behind: float = 300.0
    doubt_stuck: float = 900.0

    @classmethod
    def for_sweep(cls, every: float) -> Limits:
        """For workers that look for due work every so many seconds: one that looks seldom has not stalled."""
        usual = cls()
        return cls(sweep_stalled=max(usual.sweep_stalled, every * 3), work_behind=max(usual.work_behind, every * 3))


def health(snapshot: Snapshot, limits: Limits = Limits()) -> tuple[bool, dict[str, Any]]:
    """The body of /healthz: whether all is well, and what is not, each as a reason and its subject.

    What merely waits for a person (open tasks, parked, quarantined) is counted and is not ill health: a restart by
    whoever probes us would not help it.
    """
    wrong = [{"reason": str(reason), "subject": subject} for reason, subject in _wrong(snapshot, limits)]
    sources = {
        name: {
            "up": each.up,
            "paused": each.paused,
            "last_success_age_seconds": each.last_success_age_seconds,
            "held_back": each.held_back,
        }
        for name, each in snapshot.sources.items()
    }
    return not wrong, {
        "status": "degraded" if wrong else "ok",
        "reasons": wrong,
        "mode": snapshot.mode,
        "version": __version__,
        "schema": snapshot.schema_version,
        "restore_mode_until": snapshot.restore_mode_until.isoformat() if snapshot.restore_mode_until else None,
        "workers": snapshot.workers_alive,
        "last_sweep_age_seconds": snapshot.last_sweep_age_seconds,
        "due_behind_seconds": snapshot.due_behind_seconds,
        "oldest_open_item_seconds": snapshot.oldest_open_item_seconds,
        "open_tasks": sum(snapshot.open_tasks.values()),
        "doubt": snapshot.in_state(State.DOUBT),
        "parked": snapshot.in_state(State.PARKED),
        "quarantined": snapshot.quarantined,
        "sources": sources,
    }


def _wrong(snapshot: Snapshot, limits: Limits) -> Iterator[tuple[Reason, str]]:
    if snapshot.workers_alive == 0:
        yield Reason.NO_WORKER, ""
    if _age(snapshot.last_sweep_age_seconds) > limits.sweep_stalled:
        yield Reason.SWEEP_STALLED, ""
    if snapshot.due_behind_seconds > limits.work_behind:
        yield Reason.WORK_BEHIND, ""
    for name, source in snapshot.sources.items():
        if source.paused:
            yield Reason.SOURCE_PAUSED, name
        elif not source.up:
            yield Reason.SOURCE_FAILING, name
        elif _age(source.last_success_age_seconds) > limits.source_silent:
            yield Reason.SOURCE_SILENT, name
    for (_, name), account in snapshot.accounts.items():
        if account.paused:
            yield Reason.ACCOUNT_PAUSED, name
    if (snapshot.oldest_doubt_seconds or 0.0) > limits.doubt_stuck:
        yield Reason.DOUBT_STUCK, ""
    if snapshot.duplicates_found:
        yield Reason.DUPLICATES, ""
    if snapshot.brake_engaged:
        yield Reason.BRAKE, ""
    if snapshot.copied:
        yield Reason.COPY, snapshot.copied
