"""`python -m tests.faults`: every case at length, two at a time, resumable, and the table of what that shows."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from datetime import UTC, datetime

from tests.faults.cases import ALL
from tests.faults.runs import HOME, ROOT, SEARCH, SIMULATOR, Job, Log, Run, begin, jobs, machine, machine_jobs, one, revision, version
from tests.faults.table import table, write
from tests.fixtures_services import start_postgres
from triage.guard import Guard

AT_ONCE = 2
STORES = ("sqlite", "postgresql")
DOCUMENT = ROOT / "docs" / "delivery.md"


def main(argv: Sequence[str] | None = None) -> int:
    """0 when no promise was broken, 1 when one was, 130 after Ctrl-C."""
    asked = _parser().parse_args(argv)
    log, code = Log(HOME / "runs.jsonl"), version()
    if asked.fresh:
        log.path.unlink(missing_ok=True)
    chosen = [case for case in ALL if asked.only in (None, case.name) and asked.case in (None, case.number)]
    todo = jobs(chosen, [asked.store] if asked.store else STORES, asked.seed)
    if asked.store is None and asked.case is None and asked.only in (None, SIMULATOR, SEARCH):
        todo += [job for job in machine_jobs(asked.seed) if asked.only is None or job.case.startswith(asked.only)]
    if not todo:
        print(f"no such case; there are: {', '.join([*(case.name for case in ALL), SIMULATOR, SEARCH])}", file=sys.stderr)
        return 2
    known = {run.job for run in log.runs(code)}
    if not known and (others := log.others(code)):
        print(f"the code is another one than in the {others} runs that are written down: starting anew")
    elif known:
        print(f"going on: {sum(job in known for job in todo)} of {len(todo)} runs of this version are done")
    if asked.seed is None:
        todo = [job for job in todo if job not in known]
    stopped = _run_all(todo, log, asked.minutes)
    return _tell(log.runs(code), stopped=stopped, to_document=asked.write)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help=f"one case by its name, or {SIMULATOR}, or {SEARCH}")
    parser.add_argument("--case", type=int, metavar="N", help="the cases of one number")
    parser.add_argument("--store", choices=STORES, help="on one database")
    parser.add_argument("--seed", type=int, help="one seed, whether it was run before or not")
    parser.add_argument("--minutes", type=float, help="begin nothing after so many minutes")
    parser.add_argument("--fresh", action="store_true", help="forget what was run before")
    parser.add_argument("--write", action="store_true", help="put the table into docs/delivery.md")
    return parser


def _run_all(todo: Sequence[Job], log: Log, minutes: float | None) -> bool:
    """Run them, and write each down as it ends. True after Ctrl-C."""
    if not todo:
        return False
    until = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    waiting, under_way = list(reversed(todo)), set[Future[Run]]()
    with Guard() as guard:
        postgres = start_postgres(guard) if any(job.store == "postgresql" for job in todo) else ""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(AT_ONCE, context, initializer=begin) as pool:
            try:
                while under_way or (waiting and time.monotonic() < until):
                    while waiting and len(under_way) < AT_ONCE and time.monotonic() < until:
                        under_way.add(pool.submit(one, waiting.pop(), postgres))
                    ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in ended:
                        run = future.result()
                        log.add(run)
                        _say(run, len(todo) - len(waiting) - len(under_way), len(todo))
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                print("\nstopped; the same command goes on from here", file=sys.stderr)
                pool.shutdown(wait=True, cancel_futures=True)
                return True
    return False


def _say(run: Run, number: int, count: int) -> None:
    notes = ", ".join(f"{count} {name}" for name, count in run.notes.items())
    print(
        f"{number}/{count} {run.case} {run.store} seed {run.seed}: {'ok' if run.ok else 'FAILED'} in {run.seconds:g} s ({notes})",
        flush=True,
    )
    if not run.ok:
        print(f"{run.why}\nits folder is kept below {HOME / 'runs'}; again: {run.job.again}", flush=True)


def _tell(runs: Sequence[Run], *, stopped: bool, to_document: bool) -> int:
    lines = table(ALL, runs)
    print("\n" + "\n".join(lines))
    failed = [run for run in runs if not run.ok]
    for run in failed:
        print(f"failed: {run.why.splitlines()[0]}\n  again: {run.job.again}")
    if to_document:
        head = f"{datetime.now(UTC):%Y-%m-%d}, version {revision() or version()}, {machine()}."
        write(DOCUMENT, [head, "", *lines])
        print(f"written into {DOCUMENT.relative_to(ROOT)}")
    return 130 if stopped else int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
