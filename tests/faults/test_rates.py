"""Refused tokens and outages with real processes: how many requests the other side really sees."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from tests.acceptance.rig import Rig
from tests.fixtures_services import eventually
from triage.guard import Guard

BUGS = 40


def _filed(rig: Rig) -> int:
    return len(rig.jira.tickets)


def test_three_workers_and_a_refused_token_pause_it_at_once_and_a_restart_ends_it(tmp_path: Path, guard: Guard) -> None:
    """40 tickets wait: one line, one alert, and no call that begins after the first refusal; with a new token and a restart all are filed.

    A tracker that is well takes calls of several workers at the same time, so when its token is revoked each worker may have one under
    way: a worker delivers to a tracker one ticket after the other, so it is one each at most (there is no broker here, whose messages
    bring deliveries of their own). The first refusal that is written ends it: a claim reads the account within its own transaction.
    """
    with Rig(tmp_path, guard) as rig, ExitStack() as stack:
        workers = [stack.enter_context(rig.forked("worker")) for _ in range(3)]
        rig.await_work(*workers)
        fault = rig.jira.faults.add(kind="401", method="POST", path="/issue", times=None)
        for number in range(BUGS):
            rig.mastodon.post(f"author{number}@x.example", f"it is broken, number {number}")
        assert eventually(lambda: fault.hits >= 1, 60.0)
        assert eventually(lambda: sum(row["kind"] == "ticket" for row in rig.checker().database["actions"]) == BUGS, 60.0)
        time.sleep(5.0)  # some 25 sweeps of each worker
        assert 1 <= fault.hits <= len(workers)
        assert [alert["name"] for alert in rig.triage("status", "--json").json["alerts"]] == ["AccountPaused"]
        assert sum("401" in line and "warning" in line for run in workers for line in run.said.splitlines()) == 1
        rig.jira.faults.clear()
        workers[0].stop()
        stack.enter_context(rig.forked("worker"))
        assert eventually(lambda: _filed(rig) == BUGS, 90.0)
        rig.settle(30.0)


def test_a_tracker_that_comes_back_is_not_overrun(tmp_path: Path, guard: Guard) -> None:
    """40 tickets wait while it is away: a few tries; then all are filed, once each."""
    with Rig(tmp_path, guard) as rig, ExitStack() as stack:
        workers = [stack.enter_context(rig.forked("worker")) for _ in range(2)]
        rig.await_work(*workers)
        fault = rig.jira.faults.add(kind="status_before:503", times=None)
        for number in range(BUGS):
            rig.mastodon.post(f"author{number}@x.example", f"it is broken, number {number}")
        assert eventually(lambda: sum(row["kind"] == "ticket" for row in rig.checker().database["actions"]) == BUGS, 60.0)
        before, began = fault.hits, time.monotonic()
        time.sleep(10.0)
        tries, seconds = fault.hits - before, time.monotonic() - began
        # `retry_longest` is 2 s here, so one try in two seconds; 40 tickets that each try for themselves would make 20 a second.
        assert tries <= seconds / 2.0 * 3 + 5
        rig.jira.faults.clear()
        assert eventually(lambda: _filed(rig) == BUGS, 120.0)
        rig.settle(30.0)
