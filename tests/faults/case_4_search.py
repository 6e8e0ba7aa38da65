"""A search that lags behind what was written, and a server that drops the label which carries the marker."""

from __future__ import annotations

from tests.faults.case import Case, Ground
from tests.faults.scene import SETTLE, post_bugs, post_second_reports, scene
from tests.ledger_check import marker_of

LAGS: tuple[float | str, ...] = (0.0, SETTLE, 5 * SETTLE, "never")


def _lag(ground: Ground) -> None:
    """Tickets that were accepted without a word are found whatever the search shows; those that were not are sent once more."""
    lags = list(LAGS)
    ground.random.shuffle(lags)
    with scene(ground, flavour=ground.random.choice(["cloud", "data_center"])) as on:
        worker = on.worker()
        on.watching()
        for number, lag in enumerate(lags):
            on.rig.jira.knobs.change(search_lag=lag)
            faults = [on.rig.jira.faults.add(kind=kind, method="POST", path="/issue$") for kind in ("reset_after", "cut", "reset_before")]
            post_bugs(on.rig, 2, first=10 * number)
            on.until(lambda: faults[1].hits > 0, "two tickets in doubt")  # noqa: B023 - asked within this turn
            worker.send_signal(9)
            worker.ended(5.0)
            on.count_kill(worker)
            post_bugs(on.rig, 2, first=10 * number + 5)
            worker = on.worker()
            on.kept()
            assert all(fault.hits == 1 for fault in faults)
            ground.notes["faults"] += len(faults)
            ground.notes[f"lag {lag if isinstance(lag, str) else f'{lag / SETTLE:g} settles'}"] += 1
        on.given_up_only_if_caught_twice()
        assert len(on.rig.jira.tickets) == 4 * len(LAGS)
        on.sums()


def _label(ground: Ground) -> None:
    """The first ticket shows that Jira drops labels; no more are filed, people are told, and what was filed is not filed again."""
    with scene(ground, flavour=ground.random.choice(["cloud", "data_center"])) as on:
        rig = on.rig
        rig.jira.knobs.change(drop_labels=True)
        first = ground.random.choice(["reset_after", "cut", "status:502"])
        fault = rig.jira.faults.add(kind=first, method="POST", path="/issue$")
        worker = on.worker()
        on.watching()
        bugs = post_bugs(rig, 6)
        on.until(lambda: any("dropped the labels" in alert["annotations"]["summary"] for alert in rig.receiver.alerts), "the word about it")
        on.kept(ignore=lambda one: one.endswith("is still doubt"))  # a tracker that rests is not looked into
        made = len(rig.jira.tickets)
        assert 1 <= made <= 2, f"{made} tickets without a label"
        assert [row for row in on.actions("planned") if row["kind"] == "ticket"]
        worker.end()
        rig.jira.knobs.change(drop_labels=False)
        worker = on.worker()
        post_second_reports(rig, bugs)
        on.until(lambda: not [row for row in on.actions("planned") if row["kind"] == "ticket"], "the rest of the tickets")
        on.kept()
        ground.notes["faults"] += fault.hits
        assert len(rig.jira.tickets) == len(bugs)
        assert len({marker_of(entry) for entry in rig.checker().tickets}) == len(bugs)
        assert not on.actions("parked")
        on.sums()


CASES = (
    Case("search-lag", 4, "a search index that is 0, 1 and 5 settle times behind, and one that never shows anything", _lag, long=10),
    Case("label-dropped", 4, "a Jira that drops the marker's label", _label, long=10),
)
