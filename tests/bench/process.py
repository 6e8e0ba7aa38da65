"""How large a worker is, and how soon the command line answers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.bench.report import Row
from tests.bench.stage import START_SECONDS, WORK_SECONDS, Stage, environment, rss_megabytes, wait
from triage import broker
from triage.guard import Guard

MORE_MEGABYTES = 90.0
HELP_SECONDS = 0.3

# What a linear classifier of texts needs: `import sklearn` alone loads next to nothing of it.
IMPORTS = "import sklearn.calibration, sklearn.feature_extraction.text, sklearn.linear_model, sklearn.pipeline"


def memory(folder: Path, *, count: int) -> Iterator[Row]:
    """A worker on SQLite that has judged `count` mentions, beside a process that has imported scikit-learn and waits."""
    with Guard() as guard, broker.embedded(folder, {}) as url, Stage(folder, f"sqlite:///{folder}/triage.db") as stage:
        worker = stage.worker(guard, url)
        stage.store(count)
        wait(lambda: stage.waiting() == 0, WORK_SECONDS, "the worker to route", worker, every=0.2)
        ours = rss_megabytes(worker.pid)
        ready = folder / "imported"
        code = f"import pathlib, time; {IMPORTS}; pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
        bare = guard.start([sys.executable, "-c", code], env=environment())
        wait(ready.exists, START_SECONDS, "scikit-learn to be imported", bare)
        theirs = rss_megabytes(bare.pid)
    bar = f"at most {MORE_MEGABYTES:g} MB more"
    yield Row("memory of a warm worker", ours, "MB", theirs, "scikit-learn imported", bar, ours - theirs <= MORE_MEGABYTES)


def help_(folder: Path, *, runs: int) -> Iterator[Row]:
    """The wall time of `triage --help`, the median of some runs after one that fills the cache of compiled modules."""
    script = Path(sys.executable).with_name("triage")
    ours = [str(script), "--help"] if script.exists() else [sys.executable, "-m", "triage", "--help"]
    with tempfile.TemporaryDirectory() as cache:
        env = environment(PYTHONPYCACHEPREFIX=cache)
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        figure, beside = _seconds(ours, env, runs), _seconds([sys.executable, "-c", "pass"], env, runs)
    yield Row("triage --help", figure, "s", beside, "python -c pass", f"below {HELP_SECONDS:g} s", figure < HELP_SECONDS)


def _seconds(argv: Sequence[str], env: dict[str, str], runs: int) -> float:
    times = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return median(times[1:])
