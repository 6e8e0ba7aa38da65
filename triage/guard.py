"""Processes that can't outlive us: what we start is ended even when we are killed without a chance to do it ourselves.

A *guard* is a small process of its own that reads from a pipe which only we hold. Each line that we write is the whole
of what it has to look after, as JSON. When the pipe ends it ends those process groups, removes those folders, and
exits. The kernel closes the pipe however we die, so this needs no signal, and it works on Linux and macOS alike.
PR_SET_PDEATHSIG was not taken: it is Linux only, it fires when the *thread* that forked ends, and grandchildren don't
inherit it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

GRACE_SECONDS = 5.0
TICK_SECONDS = 0.05

# The child waits for a word before it becomes the program, so that there is no moment at which it runs unguarded: if we
# die before the guard knows of it, `read` meets the end of the pipe and the program never starts.
_WAIT_THEN_BECOME = 'read -r go && exec "$@" </dev/null'


class Guard:
    """Starts processes in groups of their own, and sees to it that none is left.

        with Guard() as guard:
            process = guard.start(["some-server"])
            ...
            guard.stop(process)

    Leaving the block ends what still runs. Not for use by two threads at a time.
    """

    def __init__(self) -> None:
        self._groups: dict[int, tuple[subprocess.Popen[bytes], int]] = {}
        self._folders: list[Path] = []
        self._process = _start_guard()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stop_signal: int = signal.SIGTERM,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        group: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session and process group of its own, with nothing to read on its standard input.

        `stop_signal` asks it to end; whatever is left of its group a grace later is killed. `user` and `group` (ids)
        give up root's rights. Raises OSError where the program can't be started; one that does not exist exits with 127.
        """
        process = subprocess.Popen(  # noqa: S603 - what to start is the caller's, never from outside
            ["/bin/sh", "-c", _WAIT_THEN_BECOME, "sh", *argv],
            env=env,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            user=user,
            group=group,
            bufsize=0,
            extra_groups=[] if user is not None else None,
        )
        self._groups[process.pid] = (process, stop_signal)
        self._tell()
        assert process.stdin is not None
        with process.stdin as word, suppress(BrokenPipeError):  # broken: it was killed already, as its exit code tells
            word.write(b"go\n")
        return process

    def folder(self, prefix: str) -> Path:
        """A new folder with a short path that only we can read; it is removed when the guard closes."""
        path = Path(tempfile.mkdtemp(prefix=prefix))
        self._folders.append(path)
        self._tell()
        return path

    def ask(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a process and all of its group to end."""
        if process.pid in self._groups:
            _kill_group(process.pid, self._groups[process.pid][1])

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and all of its group."""
        if process.pid in self._groups:
            _kill_group(process.pid, signal.SIGKILL)

    def stop(self, process: subprocess.Popen[bytes], *, grace: float = GRACE_SECONDS) -> int:
        """Ask it to end, kill what is left after `grace` seconds, and return its exit code."""
        self.ask(process)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill(process)
            process.wait()
        return self.forget(process)

    def forget(self, process: subprocess.Popen[bytes]) -> int:
        """Take a process that has exited off the list, kill what it left behind in its group, and return its exit code."""
        self.kill(process)
        code = process.wait()
        if self._groups.pop(process.pid, None) is not None:
            self._tell()
        return code

    def close(self) -> None:
        """End everything that still runs and remove the folders."""
        running = [process for process, _ in self._groups.values()]
        for process in running:
            self.ask(process)
        deadline = time.monotonic() + GRACE_SECONDS
        for process in running:
            self.stop(process, grace=max(0.0, deadline - time.monotonic()))
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self) -> None:
        """Write down the whole of what the guard has to look after; if somebody killed the guard, start another."""
        groups = {pid: number for pid, (_, number) in self._groups.items()}
        line = json.dumps({"groups": groups, "folders": [str(folder) for folder in self._folders]}).encode() + b"\n"
        for last_try in (False, True):
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
                return
            except BrokenPipeError:
                if last_try:
                    raise
                self._process.wait()
                self._process = _start_guard()


def _start_guard() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-I", "-S", __file__],  # the standard library is all that it needs: it starts in 10 ms
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        bufsize=0,
    )


def _kill_group(leader: int, number: int) -> bool:
    """Signal a group (0 only looks). False when nothing of it is left; macOS says EPERM when only zombies are."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _look_after(lines: IO[bytes]) -> None:
    """The guard's whole life: remember the last full line, and at the end of the pipe end what it names."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a service manager asks all of us at once: the guard goes last
    last = b'{"groups": {}, "folders": []}'
    for line in lines:
        if line.endswith(b"\n"):
            last = line
    charge = json.loads(last)
    groups = {int(leader): number for leader, number in charge["groups"].items()}
    for leader, number in groups.items():
        _kill_group(leader, number)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(_kill_group(leader, 0) for leader in groups) and time.monotonic() < deadline:
        time.sleep(TICK_SECONDS)
    for leader in groups:
        _kill_group(leader, signal.SIGKILL)
    for folder in charge["folders"]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _look_after(sys.stdin.buffer)
