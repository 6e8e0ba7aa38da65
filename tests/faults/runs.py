"""Runs of cases: what is to be done, doing one, and the file that remembers what was done."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import platform
import re
import shutil
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.case import Case, Ground
from tests.faults.cases import ALL
from tests.fixtures_services import new_database
from triage import logs
from triage.guard import Guard

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".faults"
SIMULATOR, SEARCH = "simulator", "search"
SEEDS_A_JOB = 250
SIMULATED = 5_000
DEPTH = 12
PROMISES = {"I1": "lost", "I2": "duplicates", "I3": "limbo", "I4": "unaccounted", "I5": "leaks"}


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a case on a database with a seed. For the simulator the seed is the first of `SEEDS_A_JOB`."""

    case: str
    store: str
    seed: int

    @property
    def again(self) -> str:
        """The command that repeats it."""
        store = f" --store {self.store}" if self.store else ""
        return f".venv/bin/python -m tests.faults --only {self.case}{store} --seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a job. `broken` counts broken promises by name, `other` what failed for another reason."""

    case: str
    store: str
    seed: int
    version: str
    ok: bool
    seconds: float
    at: str
    notes: dict[str, int] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    why: str = ""

    @property
    def job(self) -> Job:
        """What was to be done."""
        return Job(self.case, self.store, self.seed)


def version() -> str:
    """A digest of the program's code: figures of one version say nothing about the next."""
    whole = hashlib.sha256()
    for path in sorted((ROOT / "triage").rglob("*.py")):
        whole.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return whole.hexdigest()[:12]


def revision() -> str:
    """The commit, for people; empty where there is no git."""
    try:
        said = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.strip()


def machine() -> str:
    """What it ran on."""
    import os

    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


# What is to be done


def jobs(cases: Sequence[Case], stores: Sequence[str], seed: int | None) -> list[Job]:
    """The runs at length, first seeds first, so that a run that was cut short has seen every case."""
    found = [
        (number, Job(case.name, store, number))
        for case in cases
        for store in case.stores
        if store in stores
        for number in (range(case.long) if seed is None else [seed])
    ]
    return [job for _, job in sorted(found, key=lambda one: one[0])]


def machine_jobs(seed: int | None) -> list[Job]:
    """The simulator's and the search's, as far as they are there."""
    found = []
    if has(SIMULATOR):
        found += [Job(SIMULATOR, "", start) for start in ([seed] if seed is not None else range(0, SIMULATED, SEEDS_A_JOB))]
    if has(SEARCH):
        found += [Job(f"{SEARCH} {kind}", "", DEPTH) for kind in module(SEARCH).KINDS]
    return found


def has(name: str) -> bool:
    """Whether the simulator or the search is there."""
    return importlib.util.find_spec(f"tests.faults.{_MODULES[name]}") is not None


def module(name: str) -> Any:
    """The simulator's or the search's module."""
    return importlib.import_module(f"tests.faults.{_MODULES[name]}")


_MODULES = {SIMULATOR: "sim", SEARCH: "search"}


# Doing one

_guard: Guard | None = None


def begin() -> None:
    """In each process of a pool, before the first run: a guard, which ends what is left however the pool ends."""
    global _guard
    logs.setup("error")
    _guard = Guard()


def one(job: Job, postgres: str) -> Run:
    """Run it in a process of a pool."""
    assert _guard is not None, "begin() was not called"
    return carry_out(job, _guard, postgres, HOME / "runs" / f"{job.case}-{job.store}-{job.seed}".replace(" ", "-"))


def carry_out(job: Job, guard: Guard, postgres: str, folder: Path) -> Run:
    """Run it in this process. A failure is part of the result; its folder is kept."""
    started = time.monotonic()
    notes: Counter[str] = Counter()
    why = ""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        if job.store:
            run_case(next(case for case in ALL if case.name == job.case), job.store, job.seed, guard, postgres, folder, notes)
        else:
            notes.update(_simulate(job) if job.case == SIMULATOR else _explore(job))
    except Exception as error:
        why = str(error) if isinstance(error, AssertionError) and str(error) else traceback.format_exc()
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return Run(
        **asdict(job),
        version=version(),
        ok=not why,
        seconds=round(time.monotonic() - started, 1),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=dict(notes),
        broken=broken(why),
        why=why[:4000],
    )


def run_case(case: Case, store: str, seed: int, guard: Guard, postgres: str, folder: Path, notes: Counter[str]) -> None:
    """One run of a case on a new database. AssertionError with the broken promises."""
    if store == "sqlite":
        case.run(Ground(folder, f"sqlite:///{folder}/triage.db", guard, seed, notes=notes))
        return
    with new_database(postgres) as url:
        case.run(Ground(folder, url, guard, seed, notes=notes))


def _simulate(job: Job) -> dict[str, int]:
    said = module(SIMULATOR).run_seeds(job.seed, SEEDS_A_JOB)
    wrong = {"I1": said.lost, "I2": said.duplicates, "I3": said.limbo}
    lines = [f"{name}: {PROMISES[name]}" for name, count in wrong.items() for _ in range(count)]
    if lines or said.failing:
        raise AssertionError("\n".join([*lines, f"failing seeds: {list(said.failing)}", str(said)]))
    return {"runs": int(said.runs)}


def _explore(job: Job) -> dict[str, int]:
    said = module(SEARCH).explore(job.case.removeprefix(f"{SEARCH} "), job.seed)
    assert not said.violations, "\n".join(f"I2: {one}" for one in said.violations)
    return {"states": int(said.states), "steps": int(said.transitions)}


def broken(why: str) -> dict[str, int]:
    """How often which promise was broken, from the words of a failure."""
    if not why:
        return {}
    found = Counter(PROMISES[name] for name in re.findall(r"^(I[1-5]): ", why, flags=re.MULTILINE))
    return dict(found) or {"other": 1}


# Remembering


class Log:
    """`.faults/runs.jsonl`: a line for each run, only ever appended."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, run: Run) -> None:
        """Write one down."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(run)) + "\n")

    def runs(self, version: str) -> list[Run]:
        """Those of one version. A job that ever failed counts as failed, whatever a repetition said."""
        worst: dict[Job, Run] = {}
        for run in self._all():
            if run.version == version and (run.job not in worst or worst[run.job].ok):
                worst[run.job] = run
        return list(worst.values())

    def others(self, version: str) -> int:
        """How many runs of other versions there are."""
        return sum(run.version != version for run in self._all())

    def _all(self) -> Iterator[Run]:
        if not self.path.exists():
            return
        for line in self.path.read_text().splitlines():
            try:
                yield Run(**json.loads(line))
            except (ValueError, TypeError):  # cut short by a kill, or of another make
                continue
