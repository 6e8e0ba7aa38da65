"""Real worker processes at the price of a fork.

To import scikit-learn and the clients costs three CPU seconds, which is too much for hundreds of kills. So one process, the
zygote, imports everything, reads the model, and starts no thread and opens no connection. On request it forks a child with
a process group, an environment, a folder and a log of its own, which runs the product's worker (`triage.tasks.ready` and
`run_sweep`), a command of `triage`, Celery's worker or beat, or answers tasks as a person would whose computer dies before the
answer is sent. Locks and connections are made after the fork, as everywhere; `triage.tasks`, which finds its broker when it is
imported, is imported by the child. The acceptance tests run their short commands here, too: `run`.

When whoever asked goes away, the zygote kills all its children and ends.
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from triage.guard import Guard
from triage.pipeline.registry import Registry

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0
DEADLINE_SECONDS = 2.0  # of one call, in place of 30: scaled down like the times of the config
LOADED = (
    "alembic.command",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "celery.worker.components",
    "jira",
    "mastodon",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "triage.app",
    "triage.cli.data",
    "triage.cli.look",
    "triage.cli.people",
    "triage.cli.service",
    "triage.doorbell",
    "triage.notifiers.alertmanager",
    "triage.pipeline.sweep",
    "triage.platforms.mastodon",
    "triage.trackers.jira",
)
"""What the children would import; not triage.tasks, see above."""
LOOK_SECONDS = 3.0  # how long a look is its worker's alone, in place of 120


class Forked:
    """A child of the zygote."""

    def __init__(self, zygote: Zygote, pid: int, log: Path) -> None:
        self._zygote = zygote
        self.pid = pid
        self.log = log
        self.code: int | None = None
        self.is_stopped = False

    @property
    def returncode(self) -> int | None:
        """Its exit code as it was last heard of."""
        return self.code

    def poll(self) -> int | None:
        """Its exit code, minus the signal's number where one ended it; None while it runs."""
        self._zygote.pump()
        return self.code

    def ended(self, seconds: float) -> bool:
        """Wait for its end; False when it still runs."""
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._zygote.pump(left)
        return True

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended. TimeoutExpired when it has not by then."""
        if not self.ended(seconds):
            raise subprocess.TimeoutExpired(str(self.log), seconds)
        assert self.code is not None
        return self.code

    def stopped(self, seconds: float) -> bool:
        """Wait until it is stopped by a signal; False when it is not, or has ended."""
        deadline = time.monotonic() + seconds
        while not self.is_stopped:
            left = deadline - time.monotonic()
            if self.poll() is not None or left <= 0:
                return self.is_stopped
            self._zygote.pump(left)
        return True

    def send_signal(self, number: int) -> None:
        """Signal it, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)
            if number == signal.SIGCONT:
                self.is_stopped = False

    def end(self, seconds: float = 40.0) -> int:
        """Ask it to end and wait; its exit code. AssertionError when it does not end."""
        self.send_signal(signal.SIGTERM)
        if not self.ended(seconds):
            self.send_signal(signal.SIGUSR1)  # it tells where each of its threads is
            time.sleep(1.0)
            self.send_signal(signal.SIGKILL)
            self.ended(5.0)
            raise AssertionError(f"process {self.pid} did not end within {seconds:g} s:\n{self.said[-3000:]}")
        assert self.code is not None
        return self.code

    @property
    def said(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""  # it has not begun yet


class Zygote:
    """Asks a zygote process for children. Not for use by two threads at a time."""

    def __init__(self, guard: Guard) -> None:
        folder = guard.folder("triage-zygote-")
        self.log = folder / "log"
        with socket.socket(socket.AF_UNIX) as listener, self.log.open("wb") as said:
            listener.bind(str(folder / "socket"))
            listener.listen(1)
            listener.settimeout(START_SECONDS)
            env = {name: value for name, value in os.environ.items() if not name.startswith(("TRIAGE_", "DATABASE_", "REDIS_"))}
            # A fork must not find the threads of a library that it did not copy.
            env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            env["REDIS_URL"] = "redis://127.0.0.1:1/0"  # a child has no broker: nobody else's may hear it
            argv = [sys.executable, "-m", "tests.faults.zygote", str(folder / "socket")]
            self.process = guard.start(argv, env=env, cwd=CHECKOUT, stdout=said, stderr=said)
            try:
                self._there, _ = listener.accept()
            except TimeoutError:
                raise AssertionError(f"the zygote did not start:\n{self.log.read_text()}") from None
        self._children: dict[int, Forked] = {}
        self._rest = b""
        self._forked: list[Forked] = []
        self._asked = folder / "log"  # the log of the child that is asked for

    def fork(self, job: Sequence[str], env: Mapping[str, str], log: Path) -> Forked:
        """Start a child. `job` is `["sweep"]`, `["triage", ARGUMENTS…]` or `["answer", TEXT, TASKS…]`, all with shorter times than the
        product's own; or, with the product's times, `["worker"]`, a sweep, or `["celery", ROLE]`, Celery's command where the checkout is.
        """
        folder = CHECKOUT if job[0] == "celery" else env["HOME"]
        return self._ask({"job": list(job), "env": dict(env), "log": str(log), "cwd": str(folder)}, log)

    def run(self, arguments: Sequence[str], env: Mapping[str, str], *, cwd: Path, text: str, seconds: float) -> tuple[int, str, str]:
        """`triage ARGUMENTS` to its end, with `text` as its standard input: exit code, standard output, standard error."""
        with tempfile.TemporaryDirectory(prefix="triage-command-") as folder:
            given, out, err = (Path(folder) / name for name in ("in", "out", "err"))
            given.write_text(text)
            order = {"job": ["command", *arguments], "env": dict(env), "log": str(err), "out": str(out), "in": str(given), "cwd": str(cwd)}
            child = self._ask(order, err)
            if not child.ended(seconds):
                child.send_signal(signal.SIGKILL)
                raise AssertionError(f"triage {' '.join(arguments)} did not end within {seconds:g} s:\n{child.said[-3000:]}")
            assert child.code is not None
            return child.code, out.read_text(), err.read_text()

    def _ask(self, order: Mapping[str, Any], log: Path) -> Forked:
        self._asked = log
        self._there.sendall(json.dumps(order).encode() + b"\n")
        while not self._forked:
            self.pump(START_SECONDS)
        return self._forked.pop()

    def pump(self, seconds: float = 0.0) -> None:
        """Take in what the zygote says, waiting that long for it."""
        readable, _, _ = select.select([self._there], [], [], seconds)
        if not readable:
            return
        heard = self._there.recv(65536)
        if not heard:
            raise AssertionError(f"the zygote is gone:\n{self.log.read_text()[-3000:]}")
        *lines, self._rest = (self._rest + heard).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "forked" in said:  # the next line may tell of its end already
                child = self._children[said["forked"]] = Forked(self, said["forked"], self._asked)
                self._forked.append(child)
            elif said["pid"] in self._children:
                child = self._children[said["pid"]]
                child.is_stopped = said["stopped"]
                child.code = said["code"]


_zygotes: WeakKeyDictionary[Guard, Zygote] = WeakKeyDictionary()


def zygote_of(guard: Guard) -> Zygote:
    """The zygote of this guard, started at the first call; a new one if somebody killed it."""
    if guard not in _zygotes or _zygotes[guard].process.poll() is not None:
        _zygotes[guard] = Zygote(guard)
    return _zygotes[guard]


# The zygote's own side


def _serve(path: str) -> None:
    there = socket.socket(socket.AF_UNIX)
    there.connect(path)
    awake, wake = socket.socketpair()
    for one in (awake, wake):
        one.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    children: set[int] = set()
    rest = b""
    try:
        while True:
            readable, _, _ = select.select([there, awake], [], [], 1.0)
            if awake in readable:
                with suppress(BlockingIOError):
                    awake.recv(4096)
            for said in _reaped(children):
                there.sendall(json.dumps(said).encode() + b"\n")
            if there not in readable:
                continue
            heard = there.recv(65536)
            if not heard:
                return
            *lines, rest = (rest + heard).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    for one in (there, awake, wake):
                        one.close()
                    _become(json.loads(line))
                children.add(pid)
                there.sendall(json.dumps({"forked": pid}).encode() + b"\n")
    finally:
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _reaped(children: set[int]) -> list[dict[str, Any]]:
    """What became of children since the last look: ended, stopped or going on."""
    found = []
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        except ChildProcessError:
            break
        if not pid:
            break
        ended = os.WIFEXITED(status) or os.WIFSIGNALED(status)
        if ended:
            children.discard(pid)
        found.append({"pid": pid, "code": os.waitstatus_to_exitcode(status) if ended else None, "stopped": os.WIFSTOPPED(status)})
    return found


def _become(order: Mapping[str, Any]) -> None:
    """Turn this fresh child into what was asked for; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        for stream, name in ((1, order.get("out", order["log"])), (2, order["log"])):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
        faulthandler.register(signal.SIGUSR1, file=2)
        if "in" in order:
            os.dup2(os.open(order["in"], os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["cwd"])
        what, *arguments = order["job"]
        if what in ("sweep", "triage", "answer"):
            _scale()
        jobs: dict[str, Callable[..., int]] = {
            "sweep": _sweep,
            "triage": _command,
            "answer": _answer,
            "worker": _sweep,
            "command": _command,
            "celery": _celery,
        }
        code = jobs[what](*arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            if order["job"][0] in ("command", "celery"):  # as any program: it waits for its threads, and does what was left for the end
                threading._shutdown()  # type: ignore[attr-defined]
                atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _scale() -> None:
    """Two times that no config sets, scaled down like those that it does."""
    from triage import remote
    from triage.pipeline import deliver
    from triage.platforms import mastodon_server
    from triage.trackers.jira import Jira

    deliver.LOOK_SECONDS = LOOK_SECONDS
    remote.DEADLINE_SECONDS = DEADLINE_SECONDS
    for made in (remote.Adapter.__init__, remote.session, remote.mount, Jira.__init__, mastodon_server.Server.__init__):
        defaults: dict[str, Any] = getattr(made, "__kwdefaults__", None) or {}
        if "deadline" in defaults:
            defaults["deadline"] = DEADLINE_SECONDS


def _sweep() -> int:
    """The product's worker without a broker: what `celeryd_after_setup` starts."""
    from triage import logs, tasks
    from triage.sandbox.stopping import stop_when_asked

    stop = stop_when_asked(signal.SIGTERM)
    logs.setup("info")
    tasks.run_sweep(tasks.ready(), stop)
    return 0


def _command(*arguments: str) -> int:
    from triage import cli

    sys.argv = ["triage", *arguments]
    cli.main()
    return 0


def _celery(role: str) -> int:
    from celery.__main__ import main

    sys.argv = ["celery", "-A", "worker", role]
    main()
    return 0


def _answer(text: str, *tasks: str) -> int:
    """What `triage answer --now` does up to its commit: the rest is the workers'."""
    from triage.cli.common import opened
    from triage.pipeline import people

    with opened() as app:
        for task in tasks:
            people.answer(app, int(task), text, "robin")
    return 0


def _import_everything() -> None:
    """All that a worker loads, so that a child need not. The model is read once: it neither threads nor connects."""
    import gc

    for name in LOADED:
        import_module(name)
    from triage.classifier import Classifier, model_folder

    load = Classifier.load
    ready = load(model_folder())
    ready.classify(["warm"], ["en"])
    ready.explain("it is broken", "bug_report")

    @cache
    def kept(folder: Path) -> Classifier:
        return ready if folder == model_folder() else load(folder)

    def again(folder: Path, thresholds: Mapping[str, float] | None = None) -> Classifier:
        return load(folder, thresholds) if thresholds else kept(folder)

    Classifier.load = again  # type: ignore[method-assign]
    Registry._settle = _leave  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()


def _leave(self: Registry) -> None:
    """What a worker does for its model's objects is done once, here: in a child it would copy every page that it shares."""


if __name__ == "__main__":
    _import_everything()
    _serve(sys.argv[1])
