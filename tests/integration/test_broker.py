"""The embedded broker and the services of the tests: real servers that leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis
from kombu import Connection
from sqlalchemy import create_engine, text

from tests.fixtures_services import eventually, gone, start_postgres
from triage import broker
from triage.errors import UserError
from triage.guard import Guard

WITHOUT_URL = {"PATH": os.environ["PATH"]}


def pid_of(url: str) -> int:
    """The process behind a broker's URL."""
    return int(client(url).info("server")["process_id"])


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url.replace("redis+socket://", "unix://"))


def test_a_message_goes_through_the_embedded_broker(tmp_path: Path) -> None:
    """Celery's transport publishes to and reads from the embedded broker by its URL."""
    with broker.embedded(tmp_path, WITHOUT_URL) as url, Connection(url) as connection:
        queue = connection.SimpleQueue("ring")
        queue.put({"ids": [1, 2]})
        assert queue.get(timeout=5).payload == {"ids": [1, 2]}
        queue.close()


def test_the_embedded_broker_leaves_nothing_behind(tmp_path: Path) -> None:
    """After the block its process, its socket and its files are gone."""
    with broker.embedded(tmp_path, WITHOUT_URL) as url:
        pid = pid_of(url)
        assert not gone(pid)
        assert {path.name for path in tmp_path.iterdir()} <= {"broker.sock", "broker.log"}
    assert gone(pid)
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_reaches_it_and_nothing_is_written_to_disk(tmp_path: Path) -> None:
    """The socket is closed to others, no port is open, nothing is saved, and a full memory refuses rather than forgets."""
    with broker.embedded(tmp_path, WITHOUT_URL) as url:
        config = client(url).config_get("*")
        assert stat.S_IMODE((tmp_path / "broker.sock").stat().st_mode) == 0o700
    assert (config["port"], config["save"], config["appendonly"]) == ("0", "", "no")
    assert (config["maxmemory"], config["maxmemory-policy"]) == (str(64 * 1024 * 1024), "noeviction")


def test_a_deep_folder_gets_a_short_socket(tmp_path: Path) -> None:
    """Where the path is too long for a socket a short private folder is taken, the same one each time, and removed."""
    deep = tmp_path / ("deep" * 30)
    with broker.embedded(deep, WITHOUT_URL) as url:
        short = Path(url.removeprefix("redis+socket://"))
        assert len(os.fsencode(short)) <= broker.LONGEST_SOCKET_PATH
        assert stat.S_IMODE(short.parent.stat().st_mode) == 0o700
        again = broker.command(deep, WITHOUT_URL)
        assert again is not None
        assert again.url == url
        assert client(url).ping()
    assert not short.parent.exists()


def test_a_short_folder_that_others_can_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone who made the short folder first, open to all, gets no broker put into it."""
    deep = tmp_path / ("deep" * 30)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(broker, "LONGEST_SOCKET_PATH", 0)
    made = broker.command(deep, WITHOUT_URL)
    assert made is not None
    made.socket.parent.chmod(0o777)
    with pytest.raises(UserError, match="not ours alone"):
        broker.command(deep, WITHOUT_URL)


def test_a_folder_with_a_space_gives_a_url_that_celery_reads(tmp_path: Path) -> None:
    """The path is quoted in the URL and found again by the transport."""
    with broker.embedded(tmp_path / "my store", WITHOUT_URL) as url, Connection(url) as connection:
        connection.ensure_connection(max_retries=1)
        assert connection.connected


def test_redis_url_wins_and_nothing_is_started(tmp_path: Path, redis_url: str) -> None:
    """With REDIS_URL set its value is used as it is, and no server is started."""
    environ = {**WITHOUT_URL, "REDIS_URL": redis_url}
    assert broker.command(tmp_path, environ) is None
    with broker.embedded(tmp_path, environ) as url:
        assert url == redis_url
    assert list(tmp_path.iterdir()) == []


def test_a_server_on_the_path_wins_over_the_package(tmp_path: Path) -> None:
    """redis-server, then valkey-server, then the package."""
    assert broker.binary({"PATH": str(tmp_path)}).name == "valkey-server"
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert broker.binary({"PATH": str(tmp_path)}) == tmp_path / name


def test_a_server_that_ends_at_once_is_told_with_its_words(tmp_path: Path) -> None:
    """The error carries what the server said and the next step."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "redis-server").write_text("#!/bin/sh\necho no room for me\nexit 3\n")
    (programs / "redis-server").chmod(0o755)
    with (
        pytest.raises(UserError, match=r"ended with code 3 \(no room for me\); set REDIS_URL"),
        broker.embedded(tmp_path, {"PATH": str(programs)}),
    ):
        pass


def test_a_server_that_can_not_listen_is_told_with_its_log(tmp_path: Path) -> None:
    """What it logged before it ended is in the error too, and the log is removed."""
    (tmp_path / "broker.sock").mkdir()
    with pytest.raises(UserError, match=r"ended with code 1 \(.*bind.*\); set REDIS_URL"), broker.embedded(tmp_path, WITHOUT_URL):
        pass
    assert not (tmp_path / "broker.log").exists()


def test_a_second_broker_in_one_folder_is_refused(tmp_path: Path) -> None:
    """The second would take the socket away from the first."""
    with broker.embedded(tmp_path, WITHOUT_URL) as url:
        with pytest.raises(UserError, match="answers at"), broker.embedded(tmp_path, WITHOUT_URL):
            pass
        assert client(url).ping()


def test_a_broker_that_was_killed_comes_back_at_the_same_address(tmp_path: Path, guard: Guard) -> None:
    """A supervised broker is started again by the same command over the socket file that kill -9 left."""
    made = broker.command(tmp_path, WITHOUT_URL)
    assert made is not None
    for _ in range(2):
        process = guard.start(made.argv, stdout=subprocess.DEVNULL)
        assert eventually(made.answers)
        guard.kill(process)
        guard.forget(process)
        assert not made.answers()
        assert made.socket.exists()
    broker.clean(made)
    assert list(tmp_path.iterdir()) == []


def test_the_broker_ends_with_its_parent_even_on_kill_9(tmp_path: Path) -> None:
    """A parent that is killed without a chance to clean up leaves no server behind."""
    program = (
        "import sys, time, pathlib; from triage import broker\n"
        "with broker.embedded(pathlib.Path(sys.argv[1])) as url:\n"
        "    print(url, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=WITHOUT_URL)
    with parent:
        assert parent.stdout is not None
        pid = pid_of(parent.stdout.readline().strip())
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: gone(pid))


def test_a_fresh_database_is_empty_and_speaks_utf8(new_postgres_database: Callable[[], str]) -> None:
    """Each call makes another database on a real PostgreSQL, and SQLAlchemy reads its URL."""
    first, second = new_postgres_database(), new_postgres_database()
    assert first != second
    for url in (first, second):
        engine = create_engine(url)
        with engine.begin() as connection:
            assert connection.execute(text("SHOW server_encoding")).scalar_one() == "UTF8"
            connection.execute(text("CREATE TABLE only_here (word text)"))  # fails where the other one's is seen
        engine.dispose()


def test_postgres_ends_with_its_guard(tmp_path: Path) -> None:
    """The server that the tests start ends, and its data is removed, when the guard closes with a client connected."""
    with Guard() as own:
        url = start_postgres(own)
        folder = Path(url.partition("host=")[2])
        connection = psycopg.connect(url.replace("+psycopg", ""))
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        assert not gone(pid)
    connection.close()
    assert gone(pid)
    assert not folder.exists()


def test_a_silent_server_does_not_answer(tmp_path: Path) -> None:
    """A socket that accepts and says nothing is no broker."""
    path = tmp_path / "broker.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.bind(str(path))
        there.listen()
        closer = threading.Thread(target=lambda: there.accept()[0].close())
        closer.start()
        assert not broker.Broker((), "", path).answers()
        closer.join()
