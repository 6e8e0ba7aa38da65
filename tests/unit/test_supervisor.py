"""The supervisor and the guard, with real processes: started in order, restarted, ended when they hang, none left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures_services import eventually, gone
from triage.errors import UserError
from triage.guard import Guard
from triage.supervisor import Child, Do, Seen, Supervisor, backoff, decide, lock

# Runs a supervisor over what its one argument names; each child may have a file that tells that it is ready.
DRIVER = """
import json, logging, sys
from pathlib import Path
from triage import supervisor
logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.INFO)
told = json.loads(sys.argv[1])
supervisor.BACK_SECONDS = 0.3
supervisor.FIRST_SIGN_SECONDS = 1.0
def child(name, code, heartbeat=None, ready=None):
    argv = [sys.executable, "-c", code, name]
    return supervisor.Child(name, argv, heartbeat=heartbeat and Path(heartbeat), ready=ready and Path(ready).exists)
sys.exit(supervisor.Supervisor([child(**c) for c in told["children"]], **told["settings"]).run())
"""

# What the children of these tests are made of. Each writes `name pid` to the journal first.
BEGIN = "import os, signal, subprocess, sys, time\ndef say(*words):\n    with open('journal', 'a') as f: print(*words, file=f)\n"
HERE = BEGIN + "say(sys.argv[1], os.getpid())\n"
STAY = "time.sleep(600)\n"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
SAY_END = "signal.signal(signal.SIGTERM, lambda *_: (say('end', sys.argv[1]), sys.exit(0)))\n"
WITH_GRANDCHILD = "say('grandchild', subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)\n"


class Running:
    """A supervisor in a process of its own, its journal and its log."""

    def __init__(self, folder: Path, children: list[dict[str, Any]], settings: dict[str, float]) -> None:
        self.journal_file = folder / "journal"
        self.log_file = folder / "log"
        told = json.dumps({"children": children, "settings": settings})
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-c", DRIVER, told], cwd=folder, stdout=log, stderr=log)

    def journal(self) -> list[list[str]]:
        return [line.split() for line in self.journal_file.read_text().splitlines()] if self.journal_file.exists() else []

    def pids(self, name: str) -> list[int]:
        return [int(line[1]) for line in self.journal() if line[0] == name]

    def log(self) -> list[str]:
        return self.log_file.read_text().splitlines()

    def has_started(self, name: str, times: int = 1) -> bool:
        return eventually(lambda: len(self.pids(name)) >= times)

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Call it with the children (dicts for the driver) and settings to start a supervisor that ends with the test."""
    running: list[Running] = []

    def new(*children: dict[str, Any], **settings: float) -> Running:
        running.append(Running(tmp_path, list(children), settings))
        return running[-1]

    yield new
    for each in running:
        each.process.kill()
        each.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_children_and_grandchildren(start: Start, number: int) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end everything, with exit code 0."""
    running = start({"name": "worker", "code": HERE + WITH_GRANDCHILD + STAY}, {"name": "web", "code": HERE + STAY})
    assert running.has_started("grandchild")
    assert running.has_started("web")
    assert running.end(number) == 0
    assert all(gone(int(line[1])) for line in running.journal())
    assert running.log() == ["ending web, worker; Ctrl-C again ends them at once"]


def test_children_end_in_reverse_order(start: Start) -> None:
    """What was started last is asked first, and the broker outlives those who use it."""
    names = ["broker", "worker", "web"]
    running = start(*({"name": name, "code": BEGIN + SAY_END + "say(sys.argv[1], os.getpid())\n" + STAY} for name in names))
    assert all(running.has_started(name) for name in names)
    assert running.end() == 0
    assert [line[1] for line in running.journal() if line[0] == "end"] == ["web", "worker", "broker"]


def test_a_child_waits_for_the_one_before_it(start: Start, tmp_path: Path) -> None:
    """The second child starts once the first one says that it is ready."""
    first = {"name": "broker", "code": HERE + STAY, "ready": str(tmp_path / "ready")}
    running = start(first, {"name": "worker", "code": HERE + "say('saw', os.path.exists('ready'))\n" + STAY})
    assert running.has_started("broker")
    (tmp_path / "ready").touch()
    assert running.has_started("worker")
    assert eventually(lambda: ["saw", "True"] in running.journal())
    assert running.end() == 0


def test_what_exits_is_started_again_and_the_outage_is_said_once(start: Start, tmp_path: Path) -> None:
    """Two exits in a row make one line about the outage and one about the recovery; the neighbour is left alone."""
    flaky = HERE + "if sum(line.startswith('worker') for line in open('journal')) < 3: sys.exit(7)\nopen('ready', 'w').close()\n" + STAY
    running = start({"name": "web", "code": HERE + STAY}, {"name": "worker", "code": flaky, "ready": str(tmp_path / "ready")})
    assert running.has_started("worker", 3)
    assert eventually(lambda: "worker is back" in running.log())
    assert running.end() == 0
    lines = ["worker exited with code 7; starting it again", "worker is back", "ending worker, web; Ctrl-C again ends them at once"]
    assert running.log() == lines
    assert len(running.pids("web")) == 1


def test_what_a_crashed_child_leaves_behind_is_ended_too(start: Start) -> None:
    """A killed worker's own children don't go on working beside the next worker's."""
    running = start({"name": "worker", "code": HERE + WITH_GRANDCHILD + STAY})
    assert running.has_started("grandchild")
    os.kill(running.pids("worker")[0], signal.SIGKILL)
    assert eventually(lambda: gone(running.pids("grandchild")[0]))
    assert running.has_started("worker", 2)
    assert running.end() == 0
    assert running.log()[0] == "worker was ended by SIGKILL; starting it again"


def test_a_child_that_hangs_is_ended_and_started_again(start: Start, tmp_path: Path) -> None:
    """Without a heartbeat, and deaf to SIGTERM, it is killed; one whose clock is wrong but beats is left alone."""
    beats = "for i in range(6000):\n    open('beat', 'a').close(); os.utime('beat', (i, i)); time.sleep(0.05)\n"
    running = start(
        {"name": "hung", "code": HERE + DEAF + STAY, "heartbeat": str(tmp_path / "never")},
        {"name": "alive", "code": HERE + beats, "heartbeat": str(tmp_path / "beat")},
        hang_seconds=4.0,
        grace=0.5,
    )
    assert running.has_started("hung", 2)
    assert gone(running.pids("hung")[0])
    assert running.log()[0] == "hung: no sign of life for 4 s; ending it"
    assert len(running.pids("alive")) == 1
    running.end()
    assert all(gone(pid) for pid in running.pids("hung") + running.pids("alive"))


def test_a_second_ctrl_c_kills_at_once(start: Start) -> None:
    """The first leaves a long grace to a deaf child, the second none."""
    running = start({"name": "deaf", "code": BEGIN + DEAF + "say(sys.argv[1], os.getpid())\n" + STAY}, grace=600.0)
    assert running.has_started("deaf")
    running.process.send_signal(signal.SIGINT)
    assert eventually(lambda: running.log() == ["ending deaf; Ctrl-C again ends them at once"])
    assert not gone(running.pids("deaf")[0])
    assert running.end() == 130
    assert gone(running.pids("deaf")[0])


def test_a_deaf_child_does_not_use_up_the_grace_of_the_others(start: Start) -> None:
    """After its share the next one is asked, so the others end in order and only the deaf one is killed."""
    running = start(
        {"name": "broker", "code": BEGIN + SAY_END + "say(sys.argv[1], os.getpid())\n" + STAY},
        {"name": "deaf", "code": BEGIN + DEAF + "say(sys.argv[1], os.getpid())\n" + STAY},
        grace=1.0,
    )
    assert running.has_started("broker")
    assert running.has_started("deaf")
    assert running.end() == 0
    assert ["end", "broker"] in running.journal()
    assert running.log()[1:] == ["deaf did not end within 1 s; killing it"]


def test_kill_9_of_the_supervisor_leaves_no_process(start: Start) -> None:
    """The guard ends children and grandchildren when the supervisor has no chance to."""
    running = start({"name": "worker", "code": HERE + WITH_GRANDCHILD + STAY}, {"name": "web", "code": HERE + STAY})
    assert running.has_started("grandchild")
    assert running.has_started("web")
    running.process.kill()
    running.process.wait()
    assert eventually(lambda: all(gone(int(line[1])) for line in running.journal()))


def test_a_guard_that_was_killed_is_replaced() -> None:
    """The next process is guarded by a new guard, and so is the one from before."""
    with Guard() as guard:
        first = guard.start(["sleep", "600"])
        killed = guard._process
        killed.kill()
        killed.wait()
        second = guard.start(["sleep", "600"])
        assert guard._process is not killed
        assert guard._process.poll() is None
        assert first.poll() is None
    assert first.returncode == second.returncode == -signal.SIGTERM


def test_a_guarded_folder_is_removed() -> None:
    """A folder made by the guard is private, and gone after the block with all that is in it."""
    with Guard() as guard:
        folder = guard.folder("triage-test-")
        (folder / "inner").mkdir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_program_that_does_not_exist_exits_with_127() -> None:
    """It looks like any other exit, so the supervisor waits and tries again."""
    with Guard() as guard:
        process = guard.start(["/nonexistent/program"], stderr=subprocess.DEVNULL)
        process.wait(30)
        assert guard.forget(process) == 127


def test_stop_ends_it_from_a_thread(tmp_path: Path) -> None:
    """A program that supervises and does something else beside it can ask for the end once all is up."""
    code = (
        "import sys, threading\nfrom triage.supervisor import Child, Supervisor\n"
        "running = Supervisor([Child('a', ['sleep', '600'])])\n"
        "threading.Thread(target=lambda: (running.up.wait(), running.stop())).start()\n"
        "sys.exit(running.run())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("seen", "do"),
    [
        (Seen(start_in=0.5), Do.NOTHING),
        (Seen(start_in=0.0), Do.START),
        (Seen(), Do.NOTHING),
        (Seen(silent=119.0), Do.NOTHING),
        (Seen(silent=121.0), Do.ASK),
        (Seen(silent=121.0, starting=True), Do.ASK),
        (Seen(silent=200.0, asked=9.0), Do.NOTHING),
        (Seen(silent=200.0, asked=11.0), Do.KILL),
    ],
)
def test_what_to_do_follows_from_what_was_seen(seen: Seen, do: Do) -> None:
    """Each decision comes with its reason in words."""
    assert decide(seen, grace=10.0, hang=120.0)[0] is do
    assert decide(seen, grace=10.0, hang=120.0)[1]


def test_a_child_that_starts_has_time_for_its_first_sign() -> None:
    """However soon a hang is to be noticed, a worker that still loads its model is left alone."""
    assert decide(Seen(silent=60.0, starting=True), grace=10.0, hang=2.0)[0] is Do.NOTHING
    assert decide(Seen(silent=60.0), grace=10.0, hang=2.0)[0] is Do.ASK


@given(st.integers(min_value=0, max_value=10_000))
def test_the_wait_before_a_restart_doubles_up_to_its_limit(failures: int) -> None:
    """Never below a second, never above thirty, never shorter after one failure more."""
    assert 1.0 <= backoff(failures) <= backoff(failures + 1) <= 30.0
    assert [backoff(n) for n in (1, 2, 3, 4, 5, 6)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]


def test_a_second_start_on_one_store_is_refused(tmp_path: Path) -> None:
    """The refusal names the other's process and what to do; after kill -9 of the other the store is free at once."""
    program = (
        "import sys, time, pathlib; from triage.supervisor import lock\n"
        "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"process {other.pid}\); stop that one first: kill {other.pid}$"), lock(tmp_path):
            pass
        other.kill()
        other.wait()
    with lock(tmp_path):
        assert (tmp_path / "triage.lock").read_text() == f"{os.getpid()}\n"
    with lock(tmp_path):
        pass


def test_children_are_given_their_environment(tmp_path: Path) -> None:
    """`env` is the whole of it, and nothing waits on standard input."""
    child = Child("a", ["sh", "-c", "echo $WORD $OTHER; cat"], env={"WORD": "hello", "PATH": os.environ["PATH"]})
    with Guard() as guard, (tmp_path / "out").open("wb") as out:
        process = guard.start(child.argv, env=child.env, stdout=out)
        process.wait(30)
    assert (tmp_path / "out").read_text() == "hello\n"
    assert Supervisor([child]).up.is_set() is False
