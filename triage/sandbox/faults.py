"""What can go wrong on the way, told to a stand-in server one rule at a time."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from threading import Lock

KINDS = {
    "reset_before": "cut the connection; nothing happened",
    "reset_after": "accept, then cut the connection",
    "timeout_before": "never answer; nothing happened",
    "timeout_after": "accept, then never answer",
    "status": "accept, then answer with this status (status:503)",
    "status_before": "answer with this status; nothing happened (status_before:503)",
    "empty": "accept, then answer with an empty body",
    "html": "accept, then answer with a page",
    "cut": "accept, then send half of the body and close",
    "late": "cut the connection and accept this many seconds later (late:2.5)",
    "429": "too many requests; nothing happened. Retry-After is the seconds (429:120), `date`, `past`, `junk`, `empty`, `twice` "
    "(30 and 60), or there is none: `none`, `iso` and `epoch` (X-RateLimit-Reset in 120 s)",
    "401": "the token is not good; nothing happened",
    "slow": "wait this many seconds, then work as ever (slow:0.5)",
    "drip": "accept, then send the body byte by byte, this many seconds apart (drip:0.1)",
}
NOT_ACCEPTED = frozenset({"reset_before", "timeout_before", "status_before", "429", "401"})


@dataclass(slots=True)
class Fault:
    """One rule: requests of `method` (None: any) whose path matches `path` suffer `kind`, `times` times (None: always)."""

    kind: str
    method: str | None = None
    path: str = ""
    times: int | None = 1
    probability: float = 1.0
    seed: int = 0
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise ValueError(f"there is no fault {self.kind!r}; there are: {', '.join(KINDS)}")
        re.compile(self.path)
        if self.name in ("status", "status_before"):
            int(self.value)
        self._random = random.Random(self.seed)

    @property
    def name(self) -> str:
        """The kind without its value."""
        return self.kind.partition(":")[0]

    @property
    def value(self) -> str:
        """What stands after the colon, or nothing."""
        return self.kind.partition(":")[2]

    def seconds(self, default: float) -> float:
        """The value as seconds."""
        return float(self.value) if self.value else default

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is hit; counts it."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.method not in (None, method) or not re.search(self.path, path):
            return False
        if self._random.random() >= self.probability:
            return False
        self.hits += 1
        return True


class Faults:
    """The rules of one server, tried in the order in which they were added; the first that strikes wins."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.rules: list[Fault] = []

    def add(
        self, *, kind: str, method: str | None = None, path: str = "", times: int | None = 1, probability: float = 1.0, seed: int = 0
    ) -> Fault:
        """Add a rule; the returned object's `hits` tells how often it struck. `ValueError` for a kind that does not exist."""
        fault = Fault(kind, method, path, times, probability, seed)
        with self._lock:
            self.rules.append(fault)
        return fault

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self.rules.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The rule that this request suffers from."""
        with self._lock:
            return next((fault for fault in self.rules if fault.strikes(method, path)), None)
