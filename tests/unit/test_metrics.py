"""The series of /metrics and the answer of /healthz, from snapshots."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from triage import __version__, metrics
from triage.mention import ActionKind, Label, State
from triage.metrics import AccountHealth, Limits, Reason, Snapshot, SourceHealth, health, render

WELL = Snapshot(
    sources={"acme": SourceHealth(12.0, up=True, paused=False, held_back=3, late_found=1)},
    accounts={("tracker", "jira"): AccountHealth(up=True, paused=False)},
    oldest_open_item_seconds=90.0,
    open_tasks={"bug_report": 2, "none": 1},
    actions={(ActionKind.TICKET, State.DONE): 5, (ActionKind.REPLY, State.PARKED): 2, (ActionKind.TICKET, State.DOUBT): 1},
    verdicts={(Label.NOISE, "person"): 4},
    mentions=17,
    mode="act",
    workers_alive=1,
    last_sweep_age_seconds=3.0,
    schema_version="0001",
)


def values(snapshot: Snapshot) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample as a Prometheus server reads it: name and labels, and the value."""
    families = text_string_to_metric_families(render(snapshot).decode())
    return {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}


def value(snapshot: Snapshot, name: str, **labels: str) -> float:
    return values(snapshot)[name, frozenset(labels.items())]


def test_what_is_in_the_snapshot_is_in_the_page() -> None:
    """Each number is found under its name and labels."""
    assert value(WELL, "triage_mentions_total") == 17
    assert value(WELL, "triage_verdicts_total", label="noise", by="person") == 4
    assert value(WELL, "triage_actions", kind="ticket", state="done") == 5
    assert value(WELL, "triage_open_tasks", label="none") == 1
    assert value(WELL, "triage_source_held_back_mentions", source="acme") == 3
    assert value(WELL, "triage_source_late_found_total", source="acme") == 1
    assert value(WELL, "triage_account_up", role="tracker", account="jira") == 1
    assert value(WELL, "triage_mode", mode="act") == 1
    assert value(WELL, "triage_mode", mode="observe") == 0
    assert value(WELL, "triage_info", version=__version__, schema="0001") == 1


def test_every_label_value_is_there_from_the_start_at_0() -> None:
    """An alert on a series that is not there yet would never fire."""
    empty = values(Snapshot())
    assert {key for key in empty if key[0] == "triage_actions"} == {
        ("triage_actions", frozenset({("kind", str(kind)), ("state", str(state))})) for kind in ActionKind for state in State
    }
    assert {key for key in empty if key[0] == "triage_verdicts_total"} == {
        ("triage_verdicts_total", frozenset({("label", str(label)), ("by", by)})) for label in Label for by in ("model", "person")
    }
    assert {dict(labels)["label"] for name, labels in empty if name == "triage_open_tasks"} == {*map(str, Label), "none"}
    counted = {value for (name, _), value in empty.items() if name in ("triage_actions", "triage_verdicts_total", "triage_open_tasks")}
    assert counted == {0.0}


def test_no_series_depends_on_what_happened() -> None:
    """A busy service shows the same series as one that just began, so nothing that a post brings becomes a label."""
    bare = replace(Snapshot(), sources=WELL.sources, accounts=WELL.accounts, schema_version="0001")
    assert values(WELL).keys() == values(bare).keys()


def test_what_never_happened_is_longer_ago_than_anything() -> None:
    """The age is +Inf, so that an alert on it fires for a source that was never read."""
    never = replace(WELL, sources={"acme": SourceHealth(None, up=False, paused=False)}, last_sweep_age_seconds=None)
    assert value(never, "triage_source_last_success_age_seconds", source="acme") == math.inf
    assert value(never, "triage_last_sweep_age_seconds") == math.inf


def test_what_the_server_does_not_tell_is_left_out() -> None:
    """No number of held-back mentions is not none of them."""
    silent = replace(WELL, sources={"acme": SourceHealth(1.0, up=True, paused=False, held_back=None)})
    assert ("triage_source_held_back_mentions", frozenset({("source", "acme")})) not in values(silent)


def test_nothing_open_has_no_age() -> None:
    """0 and not nothing: the alert's series stays there."""
    assert value(Snapshot(), "triage_oldest_open_item_age_seconds") == 0
    assert value(Snapshot(), "triage_oldest_doubt_age_seconds") == 0


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_whatever_a_source_is_called_the_page_can_be_read(name: str) -> None:
    """Quotes, line breaks and backslashes in a name are escaped."""
    snapshot = replace(WELL, sources={name: SourceHealth(1.0, up=True, paused=False)})
    assert value(snapshot, "triage_source_up", source=name) == 1


def test_every_declared_series_is_in_the_page_and_no_other() -> None:
    """`SERIES` is the whole list, with a help text and a kind each."""
    families = {family.name: family for family in text_string_to_metric_families(render(WELL).decode())}
    assert {name.removesuffix("_total") for name in metrics.SERIES} == set(families)
    for name, series in metrics.SERIES.items():
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (series.kind, series.help)
        assert series.help.endswith(".")
        assert all(set(sample.labels) == set(series.labels) for sample in family.samples)
        assert (series.kind == "counter") == name.endswith("_total")


def test_the_snapshot_is_taken_at_the_scrape_and_once() -> None:
    """Registering asks nothing; each scrape asks once, so that all its numbers are of one moment."""
    asked: list[int] = []

    def snapshot() -> Snapshot:
        asked.append(1)
        return WELL

    registry = CollectorRegistry()
    registry.register(metrics.Gauges(snapshot))
    assert asked == []
    assert list(registry.collect())
    assert len(asked) == 1


def test_a_healthy_service_is_ok() -> None:
    """What waits for a person is told and is no ill health."""
    fine, told = health(replace(WELL, quarantined=3, oldest_open_item_seconds=10 * 86400.0))
    assert fine
    assert (told["status"], told["reasons"]) == ("ok", [])
    assert (told["doubt"], told["parked"], told["quarantined"], told["open_tasks"]) == (1, 2, 3, 3)
    assert told["sources"]["acme"]["last_success_age_seconds"] == 12.0


@pytest.mark.parametrize(
    ("changes", "reason", "subject"),
    [
        ({"workers_alive": 0}, Reason.NO_WORKER, ""),
        ({"last_sweep_age_seconds": 61.0}, Reason.SWEEP_STALLED, ""),
        ({"last_sweep_age_seconds": None}, Reason.SWEEP_STALLED, ""),
        ({"due_behind_seconds": 301.0}, Reason.WORK_BEHIND, ""),
        ({"sources": {"acme": SourceHealth(601.0, up=True, paused=False)}}, Reason.SOURCE_SILENT, "acme"),
        ({"sources": {"acme": SourceHealth(601.0, up=False, paused=False)}}, Reason.SOURCE_FAILING, "acme"),
        ({"sources": {"acme": SourceHealth(601.0, up=False, paused=True)}}, Reason.SOURCE_PAUSED, "acme"),
        ({"accounts": {("tracker", "jira"): AccountHealth(up=False, paused=True)}}, Reason.ACCOUNT_PAUSED, "jira"),
        ({"oldest_doubt_seconds": 901.0}, Reason.DOUBT_STUCK, ""),
        ({"duplicates_found": 1}, Reason.DUPLICATES, ""),
        ({"brake_engaged": 1}, Reason.BRAKE, ""),
    ],
)
def test_each_trouble_has_its_name(changes: dict[str, Any], reason: Reason, subject: str) -> None:
    """One thing wrong is one reason with its subject, and no other."""
    fine, told = health(replace(WELL, **changes))
    assert not fine
    assert told["status"] == "degraded"
    assert told["reasons"] == [{"reason": reason, "subject": subject}]


@pytest.mark.parametrize(
    "changes",
    [
        {"last_sweep_age_seconds": 60.0},
        {"due_behind_seconds": 300.0},
        {"sources": {"acme": SourceHealth(600.0, up=True, paused=False)}},
        {"oldest_doubt_seconds": 900.0},
    ],
)
def test_at_the_limit_all_is_well(changes: dict[str, Any]) -> None:
    """A limit is the last value that is allowed."""
    assert health(replace(WELL, **changes))[0]


def test_limits_can_be_given() -> None:
    """A test with a scaled clock has limits of its own."""
    assert not health(WELL, Limits(source_silent=1.0))[0]
