"""What a case of the fault suite is, and what it gets to work with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.rig import Rig
from triage.guard import Guard


@dataclass
class Ground:
    """What one run of a case gets: an empty folder, an empty database at the URL `store`, and a seed.

    `notes` counts what really happened (`notes["kills"] += 1`): it is summed over the runs and shown in the table.
    """

    folder: Path
    store: str
    guard: Guard
    seed: int
    random: random.Random = field(init=False)
    notes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def rig(self, **more: Any) -> Rig:
        """A rig in the folder, on the database. A context manager; call it once."""
        return Rig(self.folder, self.guard, store=self.store, **more)


@dataclass(frozen=True)
class Case:
    """One attack. `run` raises AssertionError with the broken promises.

    `number` is the group in the table of docs/delivery.md, `what` its line there. `short` and `long` are the numbers of
    runs, each with a seed of its own, on each of the databases in `stores`; `short_stores` are those of the short run (None: all of them).
    """

    name: str
    number: int
    what: str
    run: Callable[[Ground], None]
    short: int = 1
    short_stores: tuple[str, ...] | None = None
    long: int = 20
    stores: tuple[str, ...] = ("sqlite", "postgresql")
