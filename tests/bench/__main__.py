"""Measure, and print the table. The exit code is 0 whatever the figures are, 1 when something could not be measured."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.bench import browser, classifying, fetching, hosts, latency, process, routing, scale, web
from tests.bench.report import Failed, Row, machine, table
from tests.bench.stage import tell
from triage.errors import TriageError

Measure = Callable[[Path], Iterator[Row]]


def measures(*, quick: bool, mentions: int = 1_000_000, stores: Path | None = None) -> dict[str, Measure]:
    """What is measured, by name, with so many `mentions` in a large store. A quick run shows that each works; its figures mean nothing.

    In the folder `stores` the page's filled stores are kept.
    """
    if quick:
        return {
            "embedded": partial(routing.embedded, count=300, messages=100, rounds=1),
            "celery": partial(routing.celery, count=300, messages=100, rounds=1),
            "classifier": partial(classifying.classifier, count=512, rounds=1),
            "fetch": partial(fetching.fetch, count=100, typed=80),
            "latency": partial(latency.latency, count=4, seconds=2.0, rest=2.0, every=2.0),
            "scale": partial(scale.scale, few=100, many=400, rounds=1, batch=60, due=20),
            "web": partial(web.web, few=100, many=400, people=3, seconds=1.0, pause=0.05, stores=stores),
            "browser": partial(browser.browser, steps=3),
            "hosts": partial(hosts.hosts, count=2, workers=1, bugs=10, slow=0.2),
            "memory": partial(process.memory, count=100),
            "help": partial(process.help_, runs=1),
        }
    return {
        "embedded": partial(routing.embedded, count=5_000, messages=3_000, rounds=5),
        "celery": partial(routing.celery, count=5_000, messages=3_000, rounds=5),
        "classifier": partial(classifying.classifier, count=10_240, rounds=5),
        "fetch": partial(fetching.fetch, count=5_000, typed=800),
        "latency": partial(latency.latency, count=60, seconds=120.0, rest=120.0, every=None),
        "scale": partial(scale.scale, few=10_000, many=mentions, rounds=5),
        "web": partial(web.web, few=10_000, many=mentions, people=20, seconds=60.0, pause=1.0, stores=stores),
        "browser": partial(browser.browser, steps=20),
        "hosts": partial(hosts.hosts, count=3, workers=2, bugs=300, slow=0.5),
        "memory": partial(process.memory, count=5_000),
        "help": partial(process.help_, runs=10),
    }


def main() -> int:
    """Run what was asked for, one after the other."""
    names = list(measures(quick=True))
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the service on this machine.")
    parser.add_argument("--quick", action="store_true", help="a short run that shows that everything can be measured")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}; may be repeated")
    parser.add_argument("--mentions", type=int, default=1_000_000, metavar="N", help="how many a large store holds (1000000)")
    parser.add_argument("--stores", type=Path, metavar="FOLDER", help="keep the filled stores of `web` here, and take them from here again")
    options = parser.parse_args()
    rows: list[Row | Failed] = []
    tell(machine())
    for name, measure in measures(quick=options.quick, mentions=options.mentions, stores=options.stores).items():
        if options.only and name not in options.only:
            continue
        tell(f"{name} ...")
        with tempfile.TemporaryDirectory(prefix="triage-bench-") as folder:
            try:
                rows += measure(Path(folder))
            except (OSError, RuntimeError, AssertionError, TriageError, subprocess.SubprocessError) as error:
                rows.append(Failed(name, f"{type(error).__name__}: {error}"))
    print(f"{machine()}\n\n{table(rows)}")
    return 1 if any(isinstance(row, Failed) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
