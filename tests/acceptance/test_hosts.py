"""Several hosts: the work is shared, each mention counts once, and a host whose cable is pulled in mid-work costs nothing but time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.fixtures_services import eventually
from tests.hosts import Hosts, HostsRig, why_not
from triage.guard import Guard
from triage.store.schema import actions, attempts, owners

WHY_NOT = why_not()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT), pytest.mark.timeout(600)]
BUGS = 40


@pytest.fixture
def rig(tmp_path: Path, guard: Guard) -> Iterator[HostsRig]:
    """Two hosts and a hub."""
    with Hosts(2) as hosts, HostsRig(tmp_path, guard, hosts) as rig:
        yield rig


def rows(rig: HostsRig, statement: sa.Select[Any]) -> list[Any]:
    engine = sa.create_engine(rig.store)
    try:
        with engine.connect() as connection:
            return list(connection.execute(statement).all())
    finally:
        engine.dispose()


def sending(rig: HostsRig, pids: set[int]) -> list[int]:
    """What these processes are sending now."""
    mine = sa.select(actions.c.id).join(owners, owners.c.id == actions.c.owner)
    return [id_ for (id_,) in rows(rig, mine.where(actions.c.state == "sending", owners.c.pid.in_(pids)))]


def test_a_host_is_cut_off_in_mid_work(rig: HostsRig) -> None:
    """The other one takes over what it was sending, once the server has noticed; when the cable is back, nothing is sent twice."""
    with rig.process(0) as cut, rig.process(1) as other:
        rig.await_work(cut, other)
        assert eventually(lambda: len(rig.triage("status", "--json").json["workers"]) >= 2, 120.0)
        rig.jira.faults.add(kind="slow:0.4", method="POST", path="/issue$", times=None)
        for number in range(BUGS):
            rig.mastodon.post(f"author{number % 7}@else.example", f"Thing number {number} is broken")
        assert eventually(lambda: bool(sending(rig, {cut.process.pid})), 120.0), cut.said[-3000:] + other.said[-3000:]
        rig.hosts.pull(0)
        held = sending(rig, {cut.process.pid})
        rig.settle(180.0)
        before = len(rig.jira.tickets)
        by_host = Counter(pid for (pid,) in rows(rig, sa.select(owners.c.pid).join(attempts, attempts.c.owner == owners.c.id)))
        assert by_host[cut.process.pid], "the host that was cut off had done its share"
        assert by_host[other.process.pid], "so had the other one"
        rig.hosts.plug(0)
        rig.mastodon.post("late@else.example", "This is broken since the cable is back")
        mine = sa.select(sa.func.count()).select_from(owners).where(owners.c.pid == cut.process.pid)
        assert eventually(lambda: rows(rig, mine)[0][0] > 1, 120.0), f"it did not take a new lock:\n{cut.said[-3000:]}"
        rig.settle(120.0)
    assert before == BUGS, held
    assert len(rig.jira.tickets) == BUGS + 1
