"""The event that a process waits for until a signal asks it to end."""

from __future__ import annotations

import signal
from queue import SimpleQueue
from threading import Event, Thread


def stop_when_asked(*numbers: int) -> Event:
    """An event that is set once one of these signals has come. To be called in the main thread.

    A handler that sets the event itself hangs for ever when it interrupts the main thread within `Event.wait`, which holds the lock that
    `Event.set` wants. `SimpleQueue.put` may be called in a handler, whatever it interrupts (https://docs.python.org/3/library/queue.html);
    a thread takes it from there.
    """
    stop = Event()
    came: SimpleQueue[int] = SimpleQueue()

    def wait() -> None:
        came.get()
        stop.set()

    Thread(target=wait, name="asked to stop", daemon=True).start()
    for number in numbers:
        signal.signal(number, lambda which, _: came.put(which))
    return stop
