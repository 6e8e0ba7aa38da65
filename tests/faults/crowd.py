"""Many processes of the service at once: `python -m tests.faults.crowd worker*8 sweeper*3 poller*2 beat*2`.

The slow imports are made once; then each process is forked, and is from there on what the command line would start. SIGTERM ends
them all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback

from triage import config as configuration
from triage import tasks
from triage.app import App
from triage.classifier import Classifier, model_folder
from triage.errors import UserError
from triage.sandbox.stopping import stop_when_asked


def _worker(number: int) -> None:
    options = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING", "-n", f"worker{number}@%h"]
    tasks.app.worker_main(["--quiet", "worker", *options])


def _beat(number: int) -> None:
    tasks.app.Beat(quiet=True, loglevel="WARNING").run()


def _sweeper(number: int) -> None:
    stop = stop_when_asked(signal.SIGTERM)
    sweeping = threading.Thread(target=tasks.run_sweep, args=(tasks.ready(), stop))
    sweeping.start()
    while not stop.wait(0.2):
        assert sweeping.is_alive()
    sweeping.join()


def _poller(number: int) -> None:
    """Polls all the time, whether it is its turn or not: what two hosts do whose clocks differ."""
    stop = stop_when_asked(signal.SIGTERM)
    parts = App(configuration.load(), role="worker")
    tasks.know_sources(parts)
    while not stop.wait(0.05):
        for name in parts.sources:
            with contextlib.suppress(UserError):
                cursor = parts.store.inbox.source(name).cursor
                for page in parts.platform(name).fetch(cursor):
                    parts.store.inbox.add_page(name, page, expect=cursor, now=parts.clock.now())
                    cursor = page.cursor or cursor


ROLES = {"worker": _worker, "sweeper": _sweeper, "poller": _poller, "beat": _beat}


def main(wanted: list[str]) -> int:
    """Start them; 1 if one of them ends before it is asked to."""
    loaded = Classifier.load(model_folder(), {})
    children: dict[int, str] = {}
    for word in wanted:
        role, _, count = word.partition("*")
        for number in range(int(count or 1)):
            child = os.fork()
            if not child:
                _be(role, number, loaded)
            children[child] = f"{role} {number}"
    over = stop_when_asked(signal.SIGTERM)
    while not over.is_set():
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            print(f"{children.pop(child)} ended with {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)
            return 1
        time.sleep(0.1)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    codes = {name: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, name in children.items()}
    wrong = {name: code for name, code in codes.items() if code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM)}
    print(f"ended: {wrong or 'all well'}", file=sys.stderr, flush=True)
    return 1 if wrong else 0


def _be(role: str, number: int, loaded: Classifier) -> None:
    code = 1
    try:
        if role in ("worker", "sweeper"):
            tasks.current().registry.share(loaded)  # it never changes, so it is shared instead of read eleven times
        ROLES[role](number)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
