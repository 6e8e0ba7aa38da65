"""A seeded simulator: the product's own verbs and store under one scheduler, with a fake clock, network and crash points.

`run_seeds` runs a range of seeds; `python -m tests.faults.sim --seed N --trace` shows one. The same seed is the same run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.sim import check
from tests.faults.sim.patches import simulated
from tests.faults.sim.scheduler import Scheduler
from tests.faults.sim.world import Plan, World, template


@dataclass
class SimSummary:
    """What a range of seeds showed. `failing` are seeds with their broken promises; `coverage` counts what occurred."""

    runs: int = 0
    lost: int = 0
    duplicates: int = 0
    limbo: int = 0
    unaccounted: int = 0
    failing: dict[int, list[str]] = field(default_factory=dict)
    coverage: Counter[str] = field(default_factory=Counter)

    def add(self, seed: int, broken: list[str], seen: Counter[str]) -> None:
        """One more run."""
        self.runs += 1
        self.lost += sum(one.startswith("I1") for one in broken)
        self.duplicates += sum(one.startswith("I2") for one in broken)
        self.limbo += sum(one.startswith("I3") for one in broken)
        self.unaccounted += sum(one.startswith("I4") for one in broken)
        if broken:
            self.failing[seed] = broken
        self.coverage += seen

    @property
    def bound(self) -> float:
        """With nothing found: the chance of a broken promise in a run is below this, at 95 %."""
        return 1 - 0.05 ** (1 / self.runs) if self.runs else 1.0


def run_seed(
    seed: int, *, trace: Callable[[str], None] | None = None, change: Callable[[Plan], Plan] | None = None
) -> tuple[list[str], Counter[str]]:
    """One run: its broken promises in words, and what occurred in it. Within `simulated()` alone; `change` alters what was drawn."""
    template()
    scheduler = Scheduler(seed, trace=trace)
    world = World(scheduler, change)
    world.run()
    scheduler.seen.update(f"edge {edge}" for edge in check.edges(world))
    return check.violations(world), scheduler.seen


def run_seeds(start: int, count: int, *, each: Callable[[int, list[str]], None] | None = None) -> SimSummary:
    """The runs of `count` seeds from `start` on. `each` is called after every run."""
    summary = SimSummary()
    with simulated():
        for seed in range(start, start + count):
            broken, seen = run_seed(seed)
            summary.add(seed, broken, seen)
            if each is not None:
                each(seed, broken)
    return summary


__all__ = ["Plan", "SimSummary", "run_seed", "run_seeds", "simulated"]
