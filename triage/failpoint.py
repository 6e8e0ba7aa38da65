"""Named places at which a test may make the process die, stop, sleep or fail.

`TRIAGE_FAILPOINTS="after_send=kill@0.5,after_intent=sleep:3"` sets two of them.
`kill` is SIGKILL, `stop` is SIGSTOP (to the whole process), `sleep:SECONDS` waits, `raise` raises. `@P` is the
probability, drawn anew at each passing. Nothing happens where the variable is not set.
"""

from __future__ import annotations

import os
import random
import signal
import time
from functools import cache


class FailpointError(RuntimeError):
    """Raised by a failpoint set to `raise`."""


@cache
def _orders(setting: str) -> dict[str, tuple[str, float]]:
    orders = {}
    for part in filter(None, setting.split(",")):
        name, _, rest = part.partition("=")
        what, _, chance = rest.partition("@")
        orders[name.strip()] = (what, float(chance or 1))
    return orders


def hit(name: str) -> None:
    """Pass the named place."""
    setting = os.environ.get("TRIAGE_FAILPOINTS")
    if not setting:
        return
    what, chance = _orders(setting).get(name, ("", 0.0))
    if not what or random.random() >= chance:
        return
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what.startswith("sleep:"):
        time.sleep(float(what.partition(":")[2]))
    elif what == "raise":
        raise FailpointError(f"failpoint {name}")
