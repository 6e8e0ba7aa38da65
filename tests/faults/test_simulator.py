"""The simulator: that the promise holds in some hundreds of runs, and that a run can be repeated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest

from tests.faults.sim import SimSummary, run_seed, run_seeds, simulated
from triage import failpoint
from triage.pipeline import deliver
from triage.store.database import Database

RUNS = 200
CHUNK = 50  # so that none comes near the time limit of a test
MACHINES = "abcdefghijkl"  # the edges of docs/delivery.md that no person is needed for


@cache
def chunk(start: int) -> SimSummary:
    return run_seeds(start, CHUNK)


@pytest.mark.parametrize("start", range(0, RUNS, CHUNK))
def test_no_promise_is_broken(start: int) -> None:
    """Whatever the seeds draw, nothing is lost, made twice, left in limbo, or unaccounted for."""
    summary = chunk(start)
    told = [f"python -m tests.faults.sim --seed {seed} --trace: {broken}" for seed, broken in summary.failing.items()]
    assert summary.runs == CHUNK
    assert not told, "\n".join(told)


def test_everything_occurs_in_these_runs() -> None:
    """A simulator that no longer gets anywhere would find nothing, and say that all is well."""
    seen = sum((chunk(start).coverage for start in range(0, RUNS, CHUNK)), Counter[str]())
    # Rare are a write that is refused as often as it may be, and one that is lost twice: some runs are made for each.
    refused: dict[str, Any] = {"attempts": 2, "writes": ("429",), "rates": (0.95,), "bugs": True, "length": 3600.0}
    lost: dict[str, Any] = {"writes": ("reset", "no answer", "503 before"), "rates": (0.95,), "bugs": True, "length": 1400.0}
    with simulated():
        for hard, runs in ((refused, 8), (lost, 6)):
            for seed in range(runs):
                broken, more = run_seed(seed, change=partial(replace, **hard))
                assert not broken
                seen += more
    assert [edge for edge in MACHINES if not seen[f"edge {edge}"]] == []
    assert [name for name in seen if name.startswith("edge none")] == []
    passed = {name.removeprefix("failpoint ") for name in seen if name.startswith("failpoint ")}
    assert passed >= {"after_intent", "after_send", "before_look", "before_ingest", "after_ingest", "after_classify", "before_record"}
    for wanted in ("kill", "stop", "bell: 5 copies", "bell: forged", "tickets write: accepted late", "tickets write: answer cut"):
        assert any(name.startswith(wanted) for name in seen), wanted


def test_a_seed_repeats_itself_in_another_process() -> None:
    """The same seed gives the same trace, line for line, whatever the hash seed and whatever ran before."""
    alone = "run_seed(11, trace=print)"
    traces = []
    for hash_seed, runs in (("1", alone), ("2", f"run_seed(3), {alone}")):
        code = f"from tests.faults.sim import run_seed, simulated\nwith simulated(): {runs}"
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        traces.append(done.stdout.splitlines())
    assert len(traces[0]) > 100
    assert traces[0] == traces[1]


def test_the_product_is_itself_again_afterwards() -> None:
    """What the simulator puts into the product's place it takes out again."""

    def places() -> tuple[object, ...]:
        return getattr(deliver, "hit"), Database.read, Database.write  # noqa: B009  the module does not export it

    before = places()
    with simulated():
        assert all(one is not other for one, other in zip(places(), before, strict=True))
        run_seed(1)
    assert places() == before
    assert before[0] is failpoint.hit


def test_the_bound_is_the_one_that_zero_in_so_many_runs_allows() -> None:
    """Nothing in 200 runs shows less than 1.5 %, at 95 %."""
    assert 0.0148 < SimSummary(runs=200).bound < 0.015
    broken = SimSummary()
    broken.add(7, ["I2: twice", "I3: limbo"], Counter())
    assert (broken.duplicates, broken.limbo, list(broken.failing)) == (1, 1, [7])
