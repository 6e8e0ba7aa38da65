"""Several hosts on one machine: network namespaces that only know each other, with cables that can be pulled.

The hub holds PostgreSQL, Redis and the stand-in servers; each host holds workers. Needs root and `ip`; see `why_not`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Self

from sqlalchemy.engine import make_url

from tests.acceptance.rig import CHECKOUT, Rig, Running
from tests.fixtures_services import start_postgres
from triage import broker
from triage.guard import Guard

HUB = "10.86.0.1"
_CLONE_NEWNET = 0x40000000
# Tighter than the service's own, so that a test need not wait half a minute for the server to notice.
NOTICE = (
    "keepalives_idle=1&keepalives_interval=1&keepalives_count=2&tcp_user_timeout=3000&connect_timeout=3&options="
    "-c%20tcp_keepalives_idle%3D1%20-c%20tcp_keepalives_interval%3D1%20-c%20tcp_keepalives_count%3D2%20-c%20tcp_user_timeout%3D3000"
)


def why_not() -> str:
    """Why no hosts can be made here; empty where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not sys.platform.startswith("linux") or shutil.which("ip") is None or shutil.which("setpriv") is None:
        return "there is no `ip` or no `setpriv` (Linux, the packages iproute2 and util-linux)"
    name = f"tgtry{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"this machine makes no network namespaces: {tried.stderr.strip()}"
    bridged = subprocess.run(["ip", "-n", name, "link", "add", "br0", "type", "bridge"], capture_output=True, text=True, check=False)
    _ip("netns", "del", name)
    return "" if bridged.returncode == 0 else f"this machine makes no bridges: {bridged.stderr.strip()}"


class Hosts:
    """A hub and `count` hosts on one bridge, for the length of a block."""

    def __init__(self, count: int) -> None:
        self._tag = f"tg{os.getpid()}"
        self.names = [f"{self._tag}h{number}" for number in range(count)]
        self.hub = f"{self._tag}hub"

    def __enter__(self) -> Self:
        _ip("netns", "add", self.hub)
        try:
            _ip("-n", self.hub, "link", "set", "lo", "up")
            _ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
            _ip("-n", self.hub, "addr", "add", f"{HUB}/24", "dev", "br0")
            _ip("-n", self.hub, "link", "set", "br0", "up")
            for number, name in enumerate(self.names):
                _ip("netns", "add", name)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("link", "add", f"port{number}", "netns", self.hub, "type", "veth", "peer", "name", "eth0", "netns", name)
                _ip("-n", name, "addr", "add", f"10.86.0.{10 + number}/24", "dev", "eth0")
                _ip("-n", name, "link", "set", "eth0", "up")
                _ip("-n", self.hub, "link", "set", f"port{number}", "master", "br0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.hub, *self.names):  # what is in them goes with them
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def on(self, number: int) -> list[str]:
        """The beginning of a command line that runs on that host."""
        return ["ip", "netns", "exec", self.names[number]]

    @property
    def on_hub(self) -> list[str]:
        """The same for the hub."""
        return ["ip", "netns", "exec", self.hub]

    def pull(self, number: int) -> None:
        """Pull that host's cable: nobody hears of it."""
        _ip("-n", self.hub, "link", "set", f"port{number}", "down")

    def plug(self, number: int) -> None:
        """Put it back."""
        _ip("-n", self.hub, "link", "set", f"port{number}", "up")

    def within_hub(self, call: Callable[[], object]) -> None:
        """Call it in a thread that has moved into the hub: what it listens at, and the threads that it starts, are there."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                with Path(f"/run/netns/{self.hub}").open() as space:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(space.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                call()
            except BaseException as error:
                failed.append(error)

        thread = Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]


class HostsRig(Rig):
    """A rig whose far sides, PostgreSQL and Redis are on the hub, and whose workers run on the hosts."""

    def __init__(self, folder: Path, guard: Guard, hosts: Hosts, *, sweep: str = "500ms") -> None:
        self.hosts = hosts
        store = start_postgres(guard, within=hosts.on_hub, address=HUB)
        super().__init__(folder, guard, store=store, sweep=sweep)
        there = make_url(store).set(host=HUB, port=5432, query={})
        self._there = {"DATABASE_URL": f"{there.render_as_string(hide_password=False)}?{NOTICE}", "REDIS_URL": f"redis://{HUB}:6379/0"}
        redis = [str(broker.binary()), *broker.arguments(guard.folder("triage-redis-")), "--bind", HUB, "--port", "6379"]
        guard.start([*hosts.on_hub, *redis, "--protected-mode", "no"], stdout=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        for server in (self.mastodon, self.jira, self.receiver):
            server.host = HUB
            self.hosts.within_hub(server.start)
            self._stack.callback(server.stop)
        self.write_config()
        return self

    @contextmanager
    def process(self, number: int, role: str = "worker", name: str = "") -> Iterator[Running]:
        """`celery -A worker ROLE` on host `number`."""
        argv: Sequence[str] = [*self.hosts.on(number), sys.executable, "-m", "celery", "-A", "worker", role]
        env = self._there | {"TRIAGE_PROCESS": name or f"{role}{number}"}
        with self.running(f"{role}{number}", argv, env=env, cwd=CHECKOUT) as run:
            yield run


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
