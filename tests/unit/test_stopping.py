"""The event that a process waits for until a signal asks it to end."""

from __future__ import annotations

import os
import signal

import pytest

from triage.sandbox.stopping import stop_when_asked


@pytest.mark.timeout(30)
def test_a_signal_within_the_wait_is_heard() -> None:
    """The main thread holds the event's own lock at the worst moment: a handler that sets the event would wait for itself."""
    before = signal.getsignal(signal.SIGUSR2)
    try:
        stop = stop_when_asked(signal.SIGUSR2)
        assert not stop.is_set()
        with stop._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.wait(20.0)
        os.kill(os.getpid(), signal.SIGUSR2)  # again, to somebody who is ending
    finally:
        signal.signal(signal.SIGUSR2, before)
