"""What `triage doctor` says of the database server and of the broker: settings under which the promise would not hold."""

from __future__ import annotations

import socket
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa
from redis import Redis
from sqlalchemy.exc import OperationalError

from tests.fixtures_services import start_redis
from triage import broker
from triage.guard import Guard
from triage.store import settings
from triage.store.database import Database

GOOD = {"fsync": "on", "synchronous_commit": "on", "idle_session_timeout": "0", "server_version_num": "170005"}


def test_sqlite_has_nothing_to_say(tmp_path: Path) -> None:
    """Its settings are ours."""
    assert list(settings.check(Database(f"sqlite:///{tmp_path}/triage.db"))) == []


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({"fsync": "off"}, "fail", "fsync is off"),
        ({"synchronous_commit": "off"}, "fail", "synchronous_commit is off"),
        ({"idle_session_timeout": "600000"}, "fail", "idle_session_timeout is 600000"),
        ({"server_version_num": "130011"}, "warn", "older than 14"),
    ],
)
def test_a_setting_that_bites_is_named_with_the_next_step(changed: dict[str, str], level: str, words: str) -> None:
    """And a server that is well set says nothing."""
    assert list(settings.settings(GOOD)) == []
    assert list(settings.settings(GOOD | {"synchronous_commit": "remote_apply"})) == []
    [finding] = settings.settings(GOOD | changed)
    assert finding.level == level
    assert words in finding.what
    assert finding.next_step


def test_the_settings_of_a_real_database_are_read(database: str) -> None:
    """Those of our own session's database, as ALTER DATABASE left them; connected directly, no pooler is seen."""
    opened = Database(database)
    before = {finding.what.split()[0] for finding in settings.check(opened)}
    with opened.write() as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
        connection.execute(sa.text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    opened.close()
    after = {finding.what.split()[0] for finding in settings.check(Database(database))}
    assert before <= {"fsync"}  # the tests' own server does not wait for the disk
    assert after == before | {"synchronous_commit"}


def test_a_pooler_in_transaction_mode_is_seen(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gives each transaction a server connection of its own: here SQLAlchemy itself, which opens one for each `begin`."""
    opened = Database(database)
    assert not settings.through_pooler(opened)
    real = sa.create_engine

    class Pooled:
        """A connection as a pooler's client sees it."""

        def __init__(self, engine: sa.Engine) -> None:
            self.engine = engine
            self.inner: sa.Connection | None = None

        def __enter__(self) -> Pooled:
            return self

        def __exit__(self, *_: object) -> None:
            self.release()

        def release(self) -> None:
            if self.inner is not None:
                self.inner.close()
                self.inner = None

        def begin(self) -> Pooled:
            self.inner = self.engine.connect()
            return Pooled.Transaction(self)  # type: ignore[return-value]

        def scalar(self, statement: sa.TextClause) -> object:
            assert self.inner is not None
            return self.inner.scalar(statement)

        class Transaction:
            """Gives the server connection back at its end."""

            def __init__(self, owner: Pooled) -> None:
                self.owner = owner

            def __enter__(self) -> None:
                """It has begun."""

            def __exit__(self, *_: object) -> None:
                self.owner.release()

    class Pooler:
        """Two server connections, the one that was given back last first."""

        def __init__(self, url: sa.URL, **_: object) -> None:
            self.engine = real(url, pool_size=2, pool_use_lifo=True)

        def connect(self) -> Pooled:
            return Pooled(self.engine)

    monkeypatch.setattr(sa, "create_engine", Pooler)
    assert settings.through_pooler(opened)


def test_a_server_that_has_no_second_connection_for_us_is_a_warning(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its findings are told all the same."""

    def refused(_: Database) -> bool:
        raise OperationalError("SELECT", {}, Exception("too many connections for role triage"))

    monkeypatch.setattr(settings, "through_pooler", refused)
    *_, finding = settings.check(Database(database))
    assert (finding.level, "too many connections" in finding.what) == ("warn", True)


# The broker


@pytest.fixture
def server(guard: Guard) -> str:
    """A server of this test's own."""
    return start_redis(guard)


def test_a_broker_that_answers_is_well_and_one_that_evicts_is_not(server: str) -> None:
    """The policy counts only where there is a limit."""
    assert [finding.level for finding in broker.check(server)] == ["ok"]
    Redis.from_url(server).config_set("maxmemory-policy", "allkeys-lru")
    [finding] = broker.check(server)
    assert finding.level == "warn"
    assert "allkeys-lru" in finding.what
    assert "noeviction" in finding.next_step
    Redis.from_url(server).config_set("maxmemory", "0")
    assert [finding.level for finding in broker.check(server)] == ["ok"]


def test_a_broker_that_is_away_or_refuses_us_is_a_warning(server: str) -> None:
    """Never a failure, for workers do without; and no password is repeated."""
    Redis.from_url(server).execute_command("ACL", "SETUSER", "poor", "on", ">let-me-in", "+ping")  # type: ignore[no-untyped-call]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for url in (f"redis://:let-me-in@127.0.0.1:{nobody.getsockname()[1]}/0", server.replace("redis://", "redis://poor:let-me-in@")):
            [finding] = broker.check(url)
            assert finding.level == "warn"
            assert "let-me-in" not in finding.what
            assert finding.next_step


def test_a_broker_that_never_answers_is_given_up() -> None:
    """A port that takes us in and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        Thread(target=mute.accept, daemon=True).start()
        [finding] = broker.check(f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
    assert finding.level == "warn"
