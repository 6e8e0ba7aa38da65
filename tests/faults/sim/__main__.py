"""`python -m tests.faults.sim`: run seeds and print what they showed."""

from __future__ import annotations

import argparse
import sys
import time

from tests.faults.sim import run_seed, run_seeds, simulated


def main(arguments: list[str] | None = None) -> int:
    """Exit 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sim")
    parser.add_argument("--seeds", default="0:300", metavar="FROM:TO", help="the seeds FROM up to but not with TO")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: a line for each step")
    parser.add_argument("--coverage", action="store_true", help="how often everything occurred")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        with simulated():
            broken, _ = run_seed(options.seed, trace=print if options.trace else None)
        print("\n".join(broken) or f"seed {options.seed}: every promise was kept")
        return 1 if broken else 0
    first, _, last = options.seeds.partition(":")
    began = time.perf_counter()

    def each(seed: int, broken: list[str]) -> None:
        for one in broken:
            print(f"seed {seed}: {one}", flush=True)

    summary = run_seeds(int(first), int(last) - int(first), each=each)
    seconds = time.perf_counter() - began
    if options.coverage:
        for name, count in sorted(summary.coverage.items()):
            print(f"{count:9} {name}")
    print(
        f"{summary.runs} runs in {seconds:.1f} s ({summary.runs / seconds:.1f} a second): lost {summary.lost}, "
        f"duplicates {summary.duplicates}, limbo {summary.limbo}, unaccounted {summary.unaccounted}"
    )
    if summary.failing:
        print(f"failing seeds: {' '.join(map(str, summary.failing))}; repeat one: python -m tests.faults.sim --seed N --trace")
        return 1
    print(f"a run that breaks a promise has a chance below {summary.bound:.2e} (95 %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
