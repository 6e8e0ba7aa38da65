"""The files for operators: alert rules, their tests, the dashboard, and the page that explains them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from tests.contract.notifiers import an_alert
from tests.shared import ROOT
from triage.cli import COMMANDS
from triage.metrics import SERIES, Limits, Reason
from triage.notifiers.webhook import Options, Webhook
from triage.sandbox.receiver import Receiver

OPS = ROOT / "triage" / "ops"
PAGE = ROOT / "docs" / "operations.md"
SERIES_NAME = re.compile(r"\btriage_[a-z0-9_]+\b")


def rules() -> list[dict[str, Any]]:
    """Every alert rule that ships."""
    return [rule for group in yaml.safe_load((OPS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    """Every query of the dashboard."""
    dashboard = json.loads((OPS / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    yield from (note["expr"] for note in dashboard["annotations"]["list"])


def rows(heading: str) -> dict[str, list[str]]:
    """The table under a heading of the page, by what stands in its first column."""
    part = PAGE.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in cells}


def promtool(*words: str, cwd: Path = OPS) -> subprocess.CompletedProcess[str]:
    """Run it; the test is skipped, and says so, on a machine that doesn't have it."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus), so the alert rules were not tried out")
    return subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["alerts.yml", "alerts_test.yml", "dashboard.json"])
def test_every_series_named_there_exists(name: str) -> None:
    """A rule or a panel over a series that nobody makes is silent for ever."""
    text = re.sub(r"^\s*#.*$", "", (OPS / name).read_text(), flags=re.MULTILINE)
    named = set(SERIES_NAME.findall(text))
    assert named
    assert named <= set(SERIES)


def test_every_series_is_shown_or_alerted_on() -> None:
    """What nobody looks at is not worth asking the database for."""
    named = {name for text in (*expressions(), *(rule["expr"] for rule in rules())) for name in SERIES_NAME.findall(text)}
    assert named == set(SERIES)


def test_label_values_in_queries_are_ones_that_exist() -> None:
    """A misspelt state would match nothing and say that all is well."""
    known: dict[str, set[str]] = {
        "kind": {"ticket", "comment", "task", "reply", "alert", "archive"},
        "state": {"planned", "sending", "doubt", "done", "rejected", "parked", "cancelled", "observed"},
        "by": {"model", "person"},
    }
    asked = 0
    for text in (*expressions(), *(rule["expr"] for rule in rules())):
        for label, values in re.findall(r"\b(kind|state|by)[!=]~?\"([^\"]*)\"", text):
            asked += 1
            assert set(values.split("|")) <= known[label], text
    assert asked > 3


def test_every_rule_tells_what_is_wrong_and_what_to_do() -> None:
    """A summary, a next step with a command that exists, and a severity that somebody is woken by or not."""
    for rule in rules():
        assert rule["alert"].startswith("Triage")
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "next_step", "runbook"}
        commands = re.findall(r"`triage ([a-z]+)", rule["annotations"]["next_step"])
        assert commands, rule["alert"]
        assert set(commands) <= set(COMMANDS), rule["alert"]


def test_every_rule_has_the_reason_for_its_shape_above_it() -> None:
    """The next one to change a number must know why it is what it is."""
    lines = (OPS / "alerts.yml").read_text().splitlines()
    begins = [number for number, line in enumerate(lines) if line.strip().startswith("- alert:")]
    assert len(begins) == len(rules())
    for number in begins:
        assert lines[number - 1].strip().startswith("# "), lines[number]


def test_limits_are_the_same_in_health_and_alerts() -> None:
    """Whoever looks at /healthz and whoever is called by Prometheus see the same fault."""
    limits = Limits()
    expected = {
        "TriageSourceSilent": limits.source_silent,
        "TriageSweepStalled": limits.sweep_stalled,
        "TriageWorkBehind": limits.work_behind,
        "TriageDoubtStuck": limits.doubt_stuck,
    }
    by_name = {rule["alert"]: rule["expr"] for rule in rules()}
    for name, seconds in expected.items():
        found = re.search(r"> (\d+)\b", by_name[name])
        assert found is not None
        assert float(found[1]) == seconds


def test_every_alert_is_seen_to_fire_in_the_rules_own_tests() -> None:
    """A rule without a test that makes it fire may never fire."""
    tests = yaml.safe_load((OPS / "alerts_test.yml").read_text())["tests"]
    fired = {
        name
        for test in tests
        for query in test["promql_expr_test"]
        for sample in query["exp_samples"]
        for name in re.findall(r"alertname=\"(\w+)\"", sample["labels"])
    }
    assert fired == {rule["alert"] for rule in rules()}


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    """Prometheus' own tool reads the rules and plays the cases."""
    done = promtool("check", "rules", "alerts.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    done = promtool("test", "rules", "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_a_rule_that_does_not_fire(tmp_path: Path) -> None:
    """The rules' tests can fail: with one rule changed, they do."""
    shutil.copy(OPS / "alerts_test.yml", tmp_path)
    changed = (OPS / "alerts.yml").read_text().replace("triage_brake_engaged > 0", "triage_brake_engaged > 1")
    (tmp_path / "alerts.yml").write_text(changed)
    done = promtool("test", "rules", "alerts_test.yml", cwd=tmp_path)
    assert done.returncode != 0
    assert "TriageBrakeEngaged" in done.stdout + done.stderr


def test_promtool_accepts_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """A panel whose query can't be parsed shows nothing but an error."""
    records = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    done = promtool("check", "rules", "panels.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_whole() -> None:
    """Panels have ids of their own, don't lie upon each other, and take their data from the chosen Prometheus."""
    panels = json.loads((OPS / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_the_page_lists_every_series_as_it_is() -> None:
    """Name, labels and meaning are those of the code."""
    listed = rows("Metrics")
    assert set(listed) == set(SERIES)
    for name, series in SERIES.items():
        labels, meaning = listed[name]
        assert re.findall(r"`(\w+)`", labels) == list(series.labels)
        assert meaning == series.help


def test_the_page_lists_every_alert_and_every_reason() -> None:
    """With the severity that it has."""
    assert {name: row[0] for name, row in rows("Alert rules").items()} == {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    assert set(rows("Health")) == set(Reason)


def test_the_pages_example_checks_a_real_call(receiver: Receiver) -> None:
    """What a receiver's author copies accepts our call, and neither a changed body nor a wrong secret nor an old call."""
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    made: dict[str, Any] = {}
    exec(block[1], made)  # the page's own example
    is_ours: Callable[[bytes, dict[str, str], bytes], bool] = made["is_ours"]
    secret = "a secret of the tests, long enough"
    Webhook("hook", Options(url=f"{receiver.url}/webhook", secret=SecretStr(secret))).send(an_alert())
    call = receiver.webhooks[0]
    headers = {name.title(): value for name, value in call["headers"].items()}
    sent = call["body"].encode()
    assert is_ours(secret.encode(), headers, sent)
    assert not is_ours(secret.encode(), headers, sent.replace(b"critical", b"warning "))
    assert not is_ours(b"another secret of the tests", headers, sent)
    assert not is_ours(secret.encode(), headers | {"X-Triage-Timestamp": str(int(time.time()) - 900)}, sent)
