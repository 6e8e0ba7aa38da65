"""The simulator: that the promise holds in some hundreds of runs, and that a run can be repeated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.sim import SimSummary, run_seed, run_seeds, simulated
from triage import failpoint
from triage.pipeline import deliver
from triage.store.database import Database

RUNS = 150
MACHINES = "abcdefghijkl"  # the edges of docs/delivery.md that no person is needed for


@pytest.fixture(scope="module")
def summary() -> SimSummary:
    return run_seeds(0, RUNS)


def test_no_promise_is_broken(summary: SimSummary) -> None:
    """Whatever the seeds draw, nothing is lost, made twice, left in limbo, or unaccounted for."""
    told = [f"python -m tests.faults.sim --seed {seed} --trace: {broken}" for seed, broken in summary.failing.items()]
    assert summary.runs == RUNS
    assert not told, "\n".join(told)


def test_everything_occurs_in_these_runs(summary: SimSummary) -> None:
    """A simulator that no longer gets anywhere would find nothing, and say that all is well."""
    seen = summary.coverage
    assert [edge for edge in MACHINES if not seen[f"edge {edge}"]] == []
    assert [name for name in seen if name.startswith("edge none")] == []
    passed = {name.removeprefix("failpoint ") for name in seen if name.startswith("failpoint ")}
    assert passed >= {"after_intent", "after_send", "before_look", "before_ingest", "after_ingest", "after_classify", "before_record"}
    for wanted in ("kill", "stop", "bell: 5 copies", "bell: forged", "tickets write: accepted late", "tickets write: answer cut"):
        assert any(name.startswith(wanted) for name in seen), wanted


def test_a_seed_repeats_itself_in_another_process() -> None:
    """The same seed gives the same trace, line for line, whatever the hash seed and whatever ran before."""
    traces = []
    for hash_seed, first in (("1", []), ("2", ["--seed", "3"])):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = [sys.executable, "-m", "tests.faults.sim", "--seed", "11", "--trace", *first]
        if first:  # another run before it in the same process must not matter
            code = "from tests.faults.sim import *\nwith simulated():\n run_seed(3)\n print('\\n'.join(run_seed(11, trace=print)[0]) or 'kept')"
            run = [sys.executable, "-c", code]
        done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.stdout, done.stderr
        traces.append([line for line in done.stdout.splitlines() if line[:10].strip().replace(".", "").isdigit()])
    assert len(traces[0]) > 100
    assert traces[0] == traces[1]


def test_the_product_is_itself_again_afterwards() -> None:
    """What the simulator puts into the product's place it takes out again."""
    before = (deliver.hit, Database.read, Database.write)
    with simulated():
        assert deliver.hit is not failpoint.hit
        run_seed(1)
    assert (deliver.hit, Database.read, Database.write) == before
    assert deliver.hit is failpoint.hit


def test_the_bound_is_the_one_that_zero_in_so_many_runs_allows() -> None:
    """Nothing in 200 runs shows less than 1.5 %, at 95 %."""
    assert 0.0148 < SimSummary(runs=200).bound < 0.015
    broken = SimSummary()
    broken.add(7, ["I2: twice", "I3: limbo"], Counter())
    assert (broken.duplicates, broken.limbo, list(broken.failing)) == (1, 1, [7])
