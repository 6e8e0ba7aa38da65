"""Named places at which a test may make the process die, stop, sleep or fail.

`TRIAGE_FAILPOINTS="after_send=kill@0.5,after_intent=sleep:3"` sets two of them.
`kill` is SIGKILL, `stop` is SIGSTOP (to the whole process), `sleep:SECONDS` waits, `raise` raises. `@P` is the
probability, drawn anew at each passing; TRIAGE_FAILPOINT_SEED makes the draws repeat. `kill#3` strikes at the third
passing of this process, and at no other. Nothing happens where the variable is not set.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from threading import Lock


class FailpointError(RuntimeError):
    """Raised by a failpoint set to `raise`."""


@dataclass(frozen=True, slots=True)
class _Order:
    what: str
    at: int | None  # the one passing at which it strikes; None: at any
    chance: float


@cache
def _orders(setting: str) -> dict[str, _Order]:
    orders = {}
    for part in filter(None, setting.split(",")):
        name, _, rest = part.partition("=")
        rest, _, chance = rest.partition("@")
        what, _, at = rest.partition("#")
        orders[name.strip()] = _Order(what, int(at) if at else None, float(chance or 1))
    return orders


@cache
def _draws(seed: str | None) -> random.Random:
    return random.Random(seed)


_guard = Lock()
_passed: Counter[str] = Counter()


def _strikes(name: str, order: _Order) -> bool:
    with _guard:
        _passed[name] += 1
        at_this = order.at is None or _passed[name] == order.at
        return at_this and _draws(os.environ.get("TRIAGE_FAILPOINT_SEED")).random() < order.chance


def hit(name: str) -> None:
    """Pass the named place."""
    setting = os.environ.get("TRIAGE_FAILPOINTS")
    if not setting:
        return
    order = _orders(setting).get(name)
    if order is None or not _strikes(name, order):
        return
    what = order.what
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what.startswith("sleep:"):
        time.sleep(float(what.partition(":")[2]))
    elif what == "raise":
        raise FailpointError(f"failpoint {name}")
