"""I5: no secret comes out. Every credential is a canary, everything logs at DEBUG, and servers throw our own headers back at us."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
import requests
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests.acceptance.rig import RULES, Rig, read_only
from tests.fixtures_services import eventually, start_redis
from tests.ledger_check import leaks
from triage.guard import Guard
from triage.store.schema import meta

CONFIG = """
site: canaries
mode: act
state: state
sources:
  quayside: {{platform: mastodon, url: "{mastodon}", token: {{env: C_MASTODON}}, every: 500ms}}
  parrot: {{platform: mastodon, url: "{parrot}", token: {{file: parrot.token}}, every: 500ms}}
trackers:
  tickets: {{tracker: jira, url: "{jira}", deployment: cloud, user: "{email}", token: {{env: C_JIRA}}, project: QUAY}}
  mirror: {{tracker: jira, url: "{parrot}", deployment: cloud, user: "{email}", token: {{env: C_MIRROR}}, project: QUAY}}
notifiers:
  oncall: {{notifier: alertmanager, url: "{receiver}"}}
  hook: {{notifier: webhook, url: "{receiver}/webhook", secret: {{env: C_SECRET}}, headers: {{X-Gateway: {{env: C_GATEWAY}}}}}}
  echo: {{notifier: webhook, url: "{parrot}/hook", secret: {{env: C_SECRET}}, headers: {{X-Gateway: {{env: C_GATEWAY}}}}}}
delivery: {{settle: 300ms, retry_first: 200ms, retry_longest: 1s, sweep: 200ms}}
web: {{port: {port}}}
log: {{level: debug, format: json}}
{rules}
"""

# Loggers that ours keep quiet speak as well, and nobody can make them stop.
LOUD = """
import logging
for name in ("", "urllib3", "requests", "jira", "mastodon", "celery", "kombu", "redis", "alembic"):
    logging.getLogger(name).setLevel(logging.DEBUG)
for name in ("sqlalchemy.engine", "sqlalchemy.pool"):  # at DEBUG it prints rows, and those are what the database is for
    logging.getLogger(name).setLevel(logging.INFO)
logging.Logger.setLevel = lambda self, level: None
"""


class _Parrot(BaseHTTPRequestHandler):
    """Refuses each caller in all ways in turn, and repeats what it was sent. A refused token comes last: it makes callers rest."""

    statuses = (500, 404, 302, 503, 422, 400, 403, 401)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        said = self.rfile.read(length).decode("utf-8", "replace")
        sent = dict(self.headers.items())
        words = "; ".join(f"{name}: {value}" for name, value in sent.items())
        given = self.server.given  # type: ignore[attr-defined]
        status = self.statuses[len(given[sent.get("Authorization", "")]) % len(self.statuses)]
        given[sent.get("Authorization", "")].append(status)
        body = json.dumps({"error": f"no to {words}", "errorMessages": [words, sent.get("Authorization", "")], "said": said}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:9/?access_token={quote(sent.get('Authorization', ''))}")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        """Silent."""


@contextmanager
def parrot() -> Iterator[ThreadingHTTPServer]:
    """The server that throws back what it is sent."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Parrot)
    server.given = defaultdict(list)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Canaries:
    """Every credential of a rig, and where none of them may be seen."""

    def __init__(self, rig: Rig, redis_password: str, database_password: str) -> None:
        self.env = {
            "C_MASTODON": rig.mastodon.token,
            "C_JIRA": rig.jira.token,
            "C_MIRROR": secrets.token_urlsafe(24),
            "C_SECRET": secrets.token_hex(16),
            "C_GATEWAY": secrets.token_hex(16),
        }
        self.parrot = secrets.token_urlsafe(24)
        known = [*self.env.values(), self.parrot, redis_password, database_password]
        basic = [base64.b64encode(f"{rig.jira.email}:{self.env[name]}".encode()).decode() for name in ("C_JIRA", "C_MIRROR")]
        self.all = [*known, *(quote(word, safe="") for word in known), *basic]

    def seen_in(self, text: str) -> list[str]:
        """Those that stand in it."""
        return [word for word in self.all if word in text]


def _answers(rig: Rig) -> bool:
    """Whether the page is served already: it may start after the first ticket."""
    try:
        return bool(rig.page("/healthz").text)
    except requests.ConnectionError:
        return False


def test_no_credential_comes_out(
    new_rig: Any, guard: Guard, new_postgres_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a log at DEBUG, a page, a table, a message in Redis, a command line or what a command prints, while everything fails."""
    database_password, redis_password = f"pg/{secrets.token_hex(8)}@x", f"re/{secrets.token_hex(8)}:y"
    store = make_url(new_postgres_database()).set(password=database_password).render_as_string(hide_password=False)
    bare = start_redis(guard)
    redis.Redis.from_url(bare).config_set("requirepass", redis_password)
    broker = bare.replace("redis://", f"redis://:{quote(redis_password, safe='')}@")
    rig: Rig = new_rig(store=store, redis=broker)
    canaries = Canaries(rig, redis_password, database_password)
    (rig.folder / "parrot.token").write_text(canaries.parrot)
    loud = tmp_path / "loud"
    loud.mkdir()
    (loud / "sitecustomize.py").write_text(LOUD)
    env = canaries.env | {"PYTHONPATH": str(loud)}

    with parrot() as server, heard(broker) as messages:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        rig.config.write_text(
            CONFIG.format(
                mastodon=rig.mastodon.url,
                parrot=address,
                jira=rig.jira.url,
                email=rig.jira.email,
                receiver=rig.receiver.url,
                port=rig.port,
                rules=RULES,
            )
        )
        with rig.command("up", env=env) as up:
            rig.await_work(up)
            for kind in ("status:500", "reset_after", "status_before:403", "html", "timeout_after"):
                rig.jira.faults.add(kind=kind, method="POST", path="/issue$")
            rig.mastodon.faults.add(kind="status:500", method="POST", path="/statuses$")
            for number in range(6):
                rig.mastodon.post("ann@else.example", f"Hello, number {number} is {'broken' if number % 2 else 'an alarm'}")
            assert eventually(lambda: len(rig.jira.tickets) >= 1 and len(rig.receiver.alerts) >= 1, 60.0), up.said[-3000:]
            polled = server.given[f"Bearer {canaries.parrot}"]  # type: ignore[attr-defined]
            assert eventually(lambda: {500, 404, 302, 503, 422, 400, 403} <= set(polled) and "parrot" in up.said, 60.0), polled
            assert eventually(lambda: _answers(rig), 60.0), up.said[-3000:]
            pages = [rig.page(path).text for path in ("/metrics", "/healthz")]
            lines = "\n".join(rig.left())
            said = [
                rig.triage(*words, env=env, code=None).all
                for words in (("status", "--json"), ("queue", "--json"), ("doctor",), ("show", "1", "--json"), ("beat", "--help"))
            ]
            queued = everything_in(broker)
        everything = {
            "logs": up.said,
            "pages": "\n".join(pages),
            "ps": lines,
            "commands": "\n".join(said),
            "redis": queued + "".join(messages),
        }
        unreachable = store.replace("host=", "host=/nowhere")
        for name, url, words in (("DATABASE_URL", unreachable, ("status",)), ("DATABASE_URL", unreachable, ("worker",))):
            everything[f"{name} {words}"] = rig.triage(*words, env=env | {name: url}, code=2).all
    install_secret = the_install_secret(store)
    for place, text in everything.items():
        assert canaries.seen_in(text) == [], place
        assert install_secret not in text, place
        assert text.strip(), f"nothing was looked at in {place}"
    assert '"level": "debug"' in up.said  # it was loud
    assert "***" in up.said  # and there was something to mask
    assert leaks(canaries.all, store=read_only(store), files=[]) == []


def the_install_secret(store: str) -> str:
    """From the database, where it belongs."""
    engine = sa.create_engine(store)
    try:
        with engine.connect() as connection:
            return str(connection.scalar(sa.select(meta.c.value).where(meta.c.name == "install_secret")))
    finally:
        engine.dispose()


@contextmanager
def heard(url: str) -> Iterator[list[str]]:
    """All commands that the Redis server is sent meanwhile, as MONITOR shows them (it hides AUTH's own words)."""
    client = redis.Redis.from_url(url)
    found: list[str] = []
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    found.append(str(monitor.next_command()))
                except (redis.RedisError, OSError, ValueError):
                    return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            client.ping()  # one more command, for the listener to wake up by
            thread.join(5.0)


def everything_in(url: str) -> str:
    """Every key and value of the Redis server."""
    client = redis.Redis.from_url(url, decode_responses=True)
    found = []
    for key in client.scan_iter():
        match client.type(key):
            case "list":
                found.append(f"{key} {client.lrange(key, 0, -1)}")
            case "hash":
                found.append(f"{key} {client.hgetall(key)}")
            case "set":
                found.append(f"{key} {client.smembers(key)}")
            case "zset":
                found.append(f"{key} {client.zrange(key, 0, -1)}")
            case _:
                found.append(f"{key} {client.get(key)!r}")
    return "\n".join(found)


@pytest.mark.parametrize("password", ["plain-canary-1", "with/slash-canary-2", "at@canary-3"])
def test_a_password_in_an_address_is_not_repeated(rig: Rig, password: str) -> None:
    """A server that can't be reached is named without it, however it is written."""
    for written in {password, quote(password, safe="")}:
        url = f"postgresql://someone:{written}@127.0.0.1:1/triage"
        said = rig.triage("status", env={"DATABASE_URL": url}, code=2)
        assert password not in said.all
        assert written not in said.all
        assert said.err.startswith("triage: ")


def test_a_bad_token_in_a_header_is_said_without_it(rig: Rig) -> None:
    """A token with a line end, as it comes out of a file that somebody edited by hand, is no header and is not shown."""
    token = f"canary\n{secrets.token_hex(8)}"
    said = subprocess.run(
        [sys.executable, "-m", "triage", "run", "--once"],
        env=rig.env | {"SANDBOX_MASTODON": token},
        cwd=rig.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in said.stderr
    assert token not in said.stdout + said.stderr
    assert token.partition("\n")[2] not in said.stdout + said.stderr
