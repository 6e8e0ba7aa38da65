"""The whole thing as a person runs it: the real commands as processes, against stand-in servers whose ledgers tell what they accepted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

import requests
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from tests.faults.zygote import Forked, zygote_of
from tests.fixtures_services import eventually
from tests.ledger_check import Checker, leaks, reading
from triage.guard import Guard
from triage.sandbox.jira import JiraServer
from triage.sandbox.mastodon import MastodonServer
from triage.sandbox.receiver import Receiver
from triage.store.schema import accounts

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0  # a worker imports scikit-learn, on a machine that does other things too
STOP_SECONDS = 30.0
CALL_SECONDS = 90.0
PROGRAM = (sys.executable, "-m", "triage")
STAYING = ("demo", "up", "worker", "beat", "web")  # commands that keep running, or become another program: never forked
KEPT = ("PATH", "TMPDIR", "LANG", "LC_ALL", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# What a rule does hangs on a word of the post alone, so that these tests say nothing about the classifier's taste.
RULES = """
rules:
  - {name: private, when: {visibility: [private, direct]}, then: task, reason: a private post goes to a person}
  - {name: alarm, when: {words: [alarm]}, then: [alert, task], urgent: true, reason: it is urgent}
  - {name: bug, when: {words: [broken]}, then: [ticket, task], reason: a bug is filed and acknowledged}
  - {name: maybe, when: {words: [perhaps]}, then: ticket, mode: suggest, reason: a person decides whether it is filed}
  - {name: praise, when: {words: [lovely]}, then: archive, reason: praise is kept}
  - {name: question, then: draft, reason: a question wants an answer, draft: "Hello {{ author }}, thanks for asking."}
"""

CONFIG = """
site: acceptance
mode: act
state: state
sources:
  quayside:
    platform: mastodon
    url: {mastodon}
    token: {{env: SANDBOX_MASTODON}}
    hashtags: [quayside]
    roster: [colleague@quayside.social]
    every: 500ms
    brake: 1000
trackers:
  tickets:
    tracker: jira
    url: {jira}
    deployment: {flavour}
    {user}
    token: {{env: SANDBOX_JIRA}}
    project: {project}
notifiers:
  oncall: {{notifier: alertmanager, url: "{receiver}"}}
delivery: {{settle: {settle}, retry_first: 200ms, retry_longest: 2s, sweep: {sweep}}}
web: {{port: {port}}}
log: {{level: info}}
{rules}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended. Indexing and such go to `json`."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def all(self) -> str:
        """Both outputs."""
        return self.out + self.err


class Running:
    """A process that a rig started, the leader of its own group."""

    def __init__(self, rig: Rig, name: str, process: subprocess.Popen[bytes] | Forked, log: Path) -> None:
        self.name = name
        self.log = log
        self._rig = rig
        self.process = process

    @property
    def said(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace")

    def ask(self, how: int = signal.SIGTERM) -> None:
        """Signal it as a service manager does, or (SIGINT) as a terminal's Ctrl-C does: the whole group."""
        if how == signal.SIGINT:
            os.killpg(self.process.pid, how)
        else:
            self.process.send_signal(how)

    def ended(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; the exit code. Nothing of its group may be left."""
        try:
            code = self.process.wait(seconds)
            left = [line for line in self._rig.left() if line.startswith(f"{self.process.pid} ")]
            assert eventually(lambda: group_is_gone(self.process.pid), 5.0), f"{self.name} left something of its group behind: {left}"
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds:g} s:\n{self.said[-3000:]}") from None
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """End whatever is left of it at once."""
        if isinstance(self.process, Forked):
            with suppress(ProcessLookupError, PermissionError):  # the second is what macOS says when only zombies are left
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self._rig.guard.forget(self.process)

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Ask it to end, and wait for it."""
        if self.process.poll() is None:
            self.ask(how)
        return self.ended()


class Rig:
    """A folder with a config, the stand-in servers, and ways to run the program on them. A context manager.

    `store` is a database URL (else SQLite in the folder), `redis` a broker's URL (else the embedded one, or none at all), and
    `program` is what starts triage. At the end every process must be gone, and no secret may stand in a log or in the database.
    """

    def __init__(
        self,
        folder: Path,
        guard: Guard,
        *,
        store: str = "",
        redis: str = "",
        flavour: str = "cloud",
        sweep: str = "200ms",
        settle: str = "1500ms",
        rules: str = RULES,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.folder = folder
        self.guard = guard
        self.mastodon = MastodonServer(folder / "ledgers")
        self.jira = JiraServer(folder / "ledgers", flavour="cloud" if flavour == "cloud" else "data_center")
        self.receiver = Receiver(folder / "ledgers")
        self.port = free_port()
        self.seen_before = 0
        self._flavour, self._sweep, self._settle, self._rules = flavour, sweep, settle, rules
        self._mark = f"ACCEPTANCE_RIG={uuid.uuid4().hex}"
        self._program = list(program)
        self._given = {"DATABASE_URL": store, "REDIS_URL": redis}
        self._stack = ExitStack()
        self._logs: list[Path] = []
        self.config = folder / "config.yaml"
        self.store = store or f"sqlite:///{folder}/state/triage.db"

    def __enter__(self) -> Self:
        for server in (self.mastodon, self.jira, self.receiver):
            self._stack.enter_context(server)
        self.write_config()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._stack.close()
        if kind is None:
            assert eventually(lambda: not self.left(), 10.0), f"still there: {self.left()}"
            assert self.leaks() == []

    def write_config(self, more: str = "", **values: str) -> None:
        """Write the config; `values` replace addresses and the like, `more` is put at its end."""
        given = {
            "mastodon": self.mastodon.url,
            "jira": self.jira.url,
            "flavour": self._flavour,
            "user": f"user: {self.jira.email}" if self._flavour == "cloud" else "",
            "receiver": self.receiver.url,
            "project": "QUAY",
            "sweep": self._sweep,
            "settle": self._settle,
            "port": str(self.port),
            "rules": self._rules,
        }
        self.config.write_text(CONFIG.format(**(given | values)) + more)

    @property
    def env(self) -> dict[str, str]:
        """What a process of ours sees: nothing of the developer's own settings."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        mark, _, value = self._mark.partition("=")
        ours = {
            "HOME": str(self.folder),
            "TRIAGE_CONFIG": str(self.config),
            "TRIAGE_USER": "robin",
            "SANDBOX_MASTODON": self.mastodon.token,
            "SANDBOX_JIRA": self.jira.token,
            mark: value,
        }
        return kept | ours | {name: given for name, given in self._given.items() if given}

    # Commands

    def triage(
        self,
        *arguments: str,
        code: int | None = 0,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Said:
        """Run one command to its end, in the rig's folder. `code` is what it must exit with (None: anything), `text` its standard input.

        A short one of this checkout is forked from a process that has imported everything: a second of imports is not what is tested.
        """
        given, folder = self.env | dict(env or {}), cwd or self.folder
        if self._program == [*PROGRAM] and "PYTHONPATH" not in given and not {*arguments[:1]} & {*STAYING}:
            run = zygote_of(self.guard).run(arguments, given, cwd=folder, text=text or "", seconds=CALL_SECONDS)
            said = Said(*run)
        else:
            said = self._started(arguments, given, folder, text)
        assert "Traceback" not in said.all, said.all
        assert code is None or said.code == code, f"triage {' '.join(arguments)} ended with {said.code}:\n{said.all}"
        return said

    def once(self, *, code: int | None = 0, env: Mapping[str, str] | None = None) -> Said:
        """`triage run --once`, when the polls are due: sooner it would have nothing to do."""

        def due() -> bool:
            now = datetime.now(UTC)
            return all(row["due_at"] <= now for row in self.checker().database["accounts"] if row["role"] == "source")

        if self._watching():
            eventually(due, 2.0)  # what rests is not due, and that may be what a test wants to see
        return self.triage("run", "--once", code=code, env=env)

    def _started(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, text: str | None) -> Said:
        """The same in a process that imports for itself."""
        done = subprocess.run(
            [*self._program, *arguments],
            input=text,
            capture_output=True,
            text=True,
            cwd=cwd,
            env=env,
            timeout=CALL_SECONDS,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def queue(self, post: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """`triage queue --json`, all of it or what belongs to one post."""
        found: list[dict[str, Any]] = self.triage("queue", "--json").json
        return found if post is None else [row for row in found if row["url"] == post["url"]]

    def task(self, post: Mapping[str, Any]) -> dict[str, Any]:
        """The one open task of a post."""
        (task,) = self.queue(post)
        return task

    def show(self, post: Mapping[str, Any]) -> dict[str, Any]:
        """`triage show LINK --json`."""
        shown: dict[str, Any] = self.triage("show", post["url"], "--json").json
        return shown

    # Processes

    @contextmanager
    def running(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Iterator[Running]:
        """A process for the length of the block; it is stopped by SIGTERM unless it has ended by itself."""
        log = self._log(name)
        with log.open("wb") as said:
            process = self._start(argv, said, env, cwd)
        with self._until_the_end(Running(self, name, process, log)) as run:
            yield run

    def _log(self, name: str) -> Path:
        self._logs.append(self.folder / f"{len(self._logs)}-{name}.log")
        return self._logs[-1]

    @contextmanager
    def _until_the_end(self, run: Running) -> Iterator[Running]:
        try:
            yield run
        except BaseException:
            if isinstance(run.process, Forked):
                run.kill()
            else:
                self.guard.stop(run.process)
            print(f"--- {run.name} said ---\n{run.said[-4000:]}", file=sys.stderr)
            raise
        if run.process.returncode is None:
            run.stop()

    def _start(self, argv: Sequence[str], said: IO[bytes], env: Mapping[str, str] | None, cwd: Path | None) -> subprocess.Popen[bytes]:
        return self.guard.start(argv, env=self.env | dict(env or {}), stdout=said, stderr=said, cwd=cwd or self.folder)

    @contextmanager
    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
        """`triage ARGUMENTS` as a process that keeps running."""
        with self.running(arguments[0], [*self._program, *arguments], env=env) as run:
            yield run

    @contextmanager
    def up(self) -> Iterator[Running]:
        """`triage up`, ready to work."""
        with self.command("up") as run:
            self.await_work(run)
            yield run

    @contextmanager
    def celery(self, role: str, *, env: Mapping[str, str] | None = None) -> Iterator[Running]:
        """`celery -A worker ROLE`, started where the checkout is."""
        with self.running(role, [sys.executable, "-m", "celery", "-A", "worker", role], env=env, cwd=CHECKOUT) as run:
            yield run

    @contextmanager
    def forked(self, role: str) -> Iterator[Running]:
        """The same, forked from a process that has imported everything: where its start is not what is attacked."""
        log = self._log(role)
        with self._until_the_end(Running(self, role, zygote_of(self.guard).fork(["celery", role], self.env, log), log)) as run:
            yield run

    def await_work(self, *runs: Running) -> None:
        """Until a worker has made the first poll: from then on nothing that is posted may be lost."""

        def ready() -> bool:
            for run in runs:
                assert run.process.poll() is None, f"{run.name} ended:\n{run.said[-3000:]}"
            return self._watching()

        assert eventually(ready, START_SECONDS), "no worker polled:\n" + "\n".join(run.said[-2000:] for run in runs)
        if not self.seen_before:
            self.seen_before = len(self.mastodon.ledger.entries())

    def _watching(self) -> bool:
        try:
            with reading(read_only(self.store)) as connection:
                return connection.scalar(sa.select(sa.exists().where(accounts.c.cursor != ""))) is True
        except SQLAlchemyError:  # there is no database yet, or no table in it
            return False

    def left(self) -> list[str]:
        """The processes that carry this rig's mark in their environment: ours and whatever they started."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self._mark.encode() in path.read_bytes():
                    found.append(f"{path.parent.name} " + path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found

    # What came of it

    def checker(self, **more: Any) -> Checker:
        """What compares this rig's ledgers with its database."""
        ledgers = self.folder / "ledgers"
        return Checker(
            store=read_only(self.store),
            mastodon=(ledgers / "mastodon.jsonl",),
            jira=ledgers / "jira.jsonl",
            receiver=ledgers / "receiver.jsonl",
            roster=frozenset({"colleague@quayside.social"}),
            hashtags=frozenset({"quayside"}),
            **({"seen_before": self.seen_before} | more),
        )

    def settle(self, seconds: float = 30.0, **more: Any) -> None:
        """Until every promise is kept: all that was posted is judged, and what came of it is carried out."""
        seen: list[list[str]] = [[]]

        def kept() -> bool:
            seen[0] = self.checker(**more).violations()
            return not seen[0]

        assert eventually(kept, seconds), "\n".join(seen[0])

    def leaks(self) -> list[str]:
        """Where one of the servers' tokens stands that should not."""
        if not self._watching():
            return []
        return leaks([self.mastodon.token, self.jira.token], store=read_only(self.store), files=self._logs)

    def page(self, path: str) -> requests.Response:
        """A page of `triage web`."""
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)


def read_only(store: str) -> str:
    """The same database, in a way that neither makes nor locks it."""
    return store.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true" if store.startswith("sqlite") else store


def free_port() -> int:
    """A loopback port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        return int(there.getsockname()[1])


def group_is_gone(leader: int) -> bool:
    """True when no process of the group is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # what macOS says when only zombies are left
        return True
    return False
