"""`make bench` runs: every measurement works on a small scale and prints its rows. How fast anything is is not asked here."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.browser.conftest import CHROMIUM
from tests.conftest import NO_CHROMIUM
from tests.hosts import why_not

WHY_NOT = why_not()
ROOT = Path(__file__).parents[2]
SCALE = [
    "to count the whole store, every 15 minutes",
    "sweep, nothing due",
    "add a page of 40",
    "claim, rules and outbox of a batch of 60",
    "sweep, 20 mentions due",
    "sweep, 20 actions due",
    "claim and finish an action",
    "triage queue",
    "triage status",
    "metrics",
    "reread_due of 400",
    "tickets_changed of 50",
    "triage show by link",
    "relabel",
    "upkeep with the hourly audit",
    "disk a mention",
    "loading it in bulk",
]
ROWS = {
    "embedded": ["routed, embedded (SQLite)", "routed, embedded, beside the classifier"],
    "celery": ["routed, Celery (Redis, PostgreSQL)"],
    "classifier": [
        "classifier, batches of 256",
        "classifier, reading alone",
        "classifier, loading beyond scikit-learn, time",
        "classifier, loading beyond scikit-learn, memory",
    ],
    "fetch": ["fetched and parsed", "fetched and parsed, without the server's time"],
    "latency": [
        "post to task or ticket, 95th percentile",
        "requests to Mastodon an hour, at rest",
        "requests to Mastodon an hour, while posts come",
        "requests to Jira an hour, at rest",
        "requests to Jira an hour, while posts come",
    ],
    "scale": [f"{database}, 400 stored: {what}" for database in ("SQLite", "PostgreSQL") for what in SCALE],
    "web": [
        f"{database}, 400 stored, 3 people: {what}"
        for database in ("SQLite", "PostgreSQL")
        for what in (
            *(f"insights of {days} days" for days in (7, 30, 90)),
            *(
                f"{looked}, {share}"
                for looked in ("list", "item", "the answer panel of it", "exact search")
                for share in ("median", "95th percentile")
            ),
        )
    ],
    "browser": ["browser: first load of the queue, all files as served", "browser: key j to the next item, median of 3"],
    "hosts": [
        f"2 hosts with 1 workers each: {what}" for what in ("tickets", "idle while work was due", "longest so", "least done by a worker")
    ],
    "memory": ["memory of a warm worker"],
    "help": ["triage --help"],
}


@cache
def printed() -> list[tuple[str, str]]:
    """The rows of a quick run of all that can be measured here, with their figures: one process, since imports cost more than that."""
    left_out = {"hosts": WHY_NOT, "browser": CHROMIUM is None}
    chosen = [word for name in ROWS if not left_out.get(name) for word in ("--only", name)]
    command = [sys.executable, "-m", "tests.bench", "--quick", *chosen]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    head, _, *rows = ran.stdout.rstrip().rpartition("\n\n")[2].splitlines()
    assert head.split() == ["what", "figure", "beside", "ratio", "bar", "met"]
    return [(row.partition("  ")[0], row[head.index("figure") :].split()[0]) for row in rows]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ROWS)
def test_each_measurement_prints_its_rows(name: str) -> None:
    """A quick run of it ends well, and each of its rows holds a figure."""
    if name == "hosts" and WHY_NOT:
        pytest.skip(WHY_NOT)
    if name == "browser" and CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    mine = [(what, figure) for what, figure in printed() if what in ROWS[name]]
    assert [what for what, _ in mine] == ROWS[name]
    assert all(float(figure.replace(",", "")) >= 0 for _, figure in mine)


def test_every_measurement_is_tried_here() -> None:
    """A new one needs its rows in this file."""
    from tests.bench.__main__ import measures

    assert list(ROWS) == list(measures(quick=True)) == list(measures(quick=False))


def test_an_unknown_name_is_refused() -> None:
    """The message tells the names that there are."""
    ran = subprocess.run([sys.executable, "-m", "tests.bench", "--only", "speed"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "embedded" in ran.stderr
