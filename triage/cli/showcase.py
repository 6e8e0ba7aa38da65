"""The demo: the sandbox and the whole service on this machine, and a narrator who says in plain words what happens."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Any

import click

from triage.errors import UserError

READY_SECONDS = 30.0
QUIET_SECONDS = 6.0
MARK = "this folder is made by triage demo and emptied at its start\n"

CONFIG = """\
# Written by triage demo: the sandbox in place of the real servers. Compare it with the commented config.yaml that triage init writes.
site: demo
mode: act
state: {folder}
store: sqlite:///{folder}/triage.db
sources:
  quayside:
    platform: mastodon
    url: {mastodon}
    token: {{file: {folder}/mastodon.token}}
    hashtags: [quayside]
    roster: [{roster}]
    every: 5s
    brake: 200
trackers:
  tickets:
    tracker: jira
    url: {jira}
    deployment: cloud
    user: {email}
    token: {{file: {folder}/jira.token}}
    project: {project}
notifiers:
  oncall:
    notifier: alertmanager
    url: {alertmanager}
web:
  port: {port}
log:
  level: warning
"""


def show(folder: Path, seconds: float, *, exit_when_done: bool) -> int:
    """Run the demo until Ctrl-C (or until it has told everything); the exit code."""
    from triage import broker, logs
    from triage.cli.service import children
    from triage.guard import Guard
    from triage.supervisor import Supervisor, lock

    folder = folder.resolve()
    logs.setup("warning", name="demo")
    _empty(folder)
    with lock(folder), Guard() as guard:
        click.echo("Starting a sandbox Mastodon and Jira, then triage itself: nothing leaves this machine.")
        sandbox = guard.start(
            [sys.executable, "-m", "triage.sandbox", "--folder", str(folder / "sandbox"), "--ready", str(folder / "sandbox.json")]
        )
        world = _await_sandbox(folder / "sandbox.json", sandbox)
        for name in ("mastodon", "jira"):  # files, so that the commands that the demo proposes need no environment
            with os.fdopen(os.open(folder / f"{name}.token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(world[name]["token"])
        os.environ["TRIAGE_CONFIG"] = str(_write_config(folder, world))
        from triage.cli.common import load_config

        config = load_config()
        served = broker.command(config.folder)
        supervisor = Supervisor(children(config, served), hang_seconds=config.delivery.hang)
        stop = Event()
        narrator = Thread(target=_narrate, args=(supervisor, world, config, seconds, stop, exit_when_done), daemon=True)
        narrator.start()
        try:
            code = supervisor.run()
        finally:
            stop.set()
            narrator.join(5.0)
            if served is not None:
                broker.clean(served)
            guard.stop(sandbox)
        click.echo("\nAll stopped. The demo's store stays in " + str(folder) + " until the next start.")
    return code


def _empty(folder: Path) -> None:
    """Take away an earlier demo's folder, and nothing else."""
    if folder.exists():
        from triage.supervisor import lock

        if any(folder.iterdir()) and not (folder / "DEMO").exists():
            raise UserError(f"{folder} holds something that is not a demo's; name another folder: triage demo --folder NAME")
        with lock(folder):
            for path in folder.iterdir():
                if path.name not in ("triage.lock", "DEMO"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "DEMO").write_text(MARK)


def _await_sandbox(ready: Path, process: Any) -> dict[str, Any]:
    deadline = time.monotonic() + READY_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise UserError("the sandbox did not start; run it by itself to see why: python -m triage.sandbox --folder /tmp/sandbox")
        time.sleep(0.05)
    found: dict[str, Any] = json.loads(ready.read_text())
    return found


def _write_config(folder: Path, world: Mapping[str, Any]) -> Path:
    roster = ", ".join(f"{name}@{world['mastodon']['domain']}" for name in ("ana_quayside", "lee_quayside"))
    path = folder / "config.yaml"
    path.write_text(
        CONFIG.format(
            folder=folder,
            mastodon=world["mastodon"]["url"],
            jira=world["jira"]["url"],
            email=world["jira"]["email"],
            project=world["jira"]["project"],
            alertmanager=world["receiver"]["alertmanager"],
            roster=roster,
            port=_free_port(8321),
        )
    )
    return path


def _free_port(wanted: int) -> int:
    """The wanted port, or any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError("no port is free on this machine")


def _narrate(supervisor: Any, world: Mapping[str, Any], config: Any, seconds: float, stop: Event, exit_when_done: bool) -> None:
    """What happens, in plain words; in a thread of its own beside the supervisor."""
    try:
        _tell(supervisor, world, config, seconds, stop)
    except Exception as error:  # noqa: BLE001 - the narrator must not take the show down
        if not stop.is_set():
            click.echo(f"(the narrator stopped: {error})", err=True)
    if exit_when_done and not stop.is_set():
        supervisor.stop()


def _tell(supervisor: Any, world: Mapping[str, Any], config: Any, seconds: float, stop: Event) -> None:
    import requests

    from triage.app import App

    app = App(config)
    try:
        while not supervisor.up.wait(0.2):
            if stop.is_set():
                return
        while not any(account["last_success"] for account in _look(app)["accounts"] if account["role"] == "source"):
            if stop.wait(0.3):
                return
        click.echo(
            f"\nThe sandbox plays four days of an invented product, Quayside, in {seconds:.0f} seconds: watch {world['mastodon']['url']}\n"
        )
        requests.post(world["mastodon"]["url"] + "/_sandbox/world", json={"seconds": seconds}, timeout=10).raise_for_status()
        _progress(app, seconds, stop)
        if not stop.is_set():
            _summary(app, world, config)
    finally:
        app.close()


def _look(app: Any) -> dict[str, Any]:
    found: dict[str, Any] = app.store.views.status(app.clock.now())
    return found


def _progress(app: Any, seconds: float, stop: Event) -> None:
    """A line every few seconds, until the world has ended and everything that came of it is settled."""
    started = time.monotonic()
    before: Any = None
    quiet_since = time.monotonic()
    while not stop.wait(2.5):
        now = _look(app)
        counts = now["actions"]
        seen = (now["mentions"]["stored"], json.dumps(counts, sort_keys=True))
        if seen != before:
            before, quiet_since = seen, time.monotonic()
            tickets, comments = counts.get("ticket", {}).get("done", 0), counts.get("comment", {}).get("done", 0)
            raised = len(now["alerts"])
            click.echo(
                f"  {time.monotonic() - started:3.0f} s  {now['mentions']['stored']:3} posts fetched, {tickets} tickets, "
                f"{comments} comments on them, {now['open_tasks']} tasks for people, "
                f"{counts.get('archive', {}).get('done', 0)} archived, {raised} alert{'s' if raised != 1 else ''}"
            )
        settled = not any(
            states.get(state)
            for kind, states in counts.items()
            if kind not in ("task", "alert")
            for state in ("planned", "sending", "doubt")
        )
        over = time.monotonic() - started > seconds
        if over and settled and now["mentions"]["waiting"] == 0 and time.monotonic() - quiet_since > QUIET_SECONDS:
            return
        if time.monotonic() - started > seconds + 120:
            return


def _summary(app: Any, world: Mapping[str, Any], config: Any) -> None:
    now = _look(app)
    counts = now["actions"]
    queue = app.store.views.queue(1000)
    tickets = counts.get("ticket", {}).get("done", 0)
    click.echo("\n" + _bold("What happened"))
    labels = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(now["mentions"]["labels"].items()))
    click.echo(f"  {now['mentions']['stored']} posts were fetched and judged: {labels}.")
    click.echo(
        f"  Every thread with a sure bug report has one ticket: {tickets} tickets. "
        f"Sure later reports in a thread became comments on it: {counts.get('comment', {}).get('done', 0)}."
    )
    click.echo(
        f"  {now['open_tasks']} items wait for a person; whatever was unsure, private or angry is among them. "
        "The rest is archived, reviewable."
    )
    for alert in now["alerts"]:
        words = " ".join(alert["summary"].split())
        click.echo(f"  Alert {alert['name']}: {words if len(words) <= 150 else words[:149] + '…'}")
    answerable = next((row for row in queue if row["what"] == "answer"), None)
    filed = next((row for row in queue if row["ticket"]), None)
    program = f"{_short(Path(sys.executable))} -m triage" if sys.argv[0].endswith("__main__.py") else _short(Path(sys.argv[0]))
    click.echo("\n" + _bold("Where to look"))
    click.echo(f"  {_queue_address(app, config)}   the queue: where people answer{_first(app)}")
    click.echo(f"  {world['mastodon']['url']}   the posts, their threads, our replies")
    click.echo(f"  {world['jira']['url']}   the tickets")
    click.echo(f"  {world['receiver']['url']}   the alerts")
    click.echo(f"  http://{config.web.host}:{config.web.port}/metrics and /healthz")
    click.echo("\n" + _bold("What to try, in another terminal in this folder"))
    click.echo(f"  export TRIAGE_CONFIG={_short(config.folder / 'config.yaml')}")
    click.echo(f"  {program} queue")
    if filed:
        click.echo(f"  {program} show {filed['mention']}")
    if answerable:
        click.echo(f'  {program} answer {answerable["id"]} "Thanks for asking: ..." --now     (then look at the thread)')
    click.echo("\n" + _bold("With your own account"))
    click.echo(f"  {program} init      writes a commented config.yaml; it begins in observe mode, which sends nothing")
    click.echo(f"  {program} doctor    checks it against your servers and says what to do next")
    click.echo(f"  {program} up        runs it")
    click.echo("\nCtrl-C ends the demo.")


def _queue_address(app: Any, config: Any) -> str:
    """Where the queue is; while nobody has a log-in, the link that makes the first admin."""
    from triage.person import Role

    address = f"http://{config.web.host}:{config.web.port}"
    return (
        address if app.store.people.any() else f"{address}/welcome?token={app.store.people.invite(Role.ADMIN, 'triage', app.clock.now())}"
    )


def _first(app: Any) -> str:
    return "" if app.store.people.any() else " (the link works once: choose a name and a password)"


def _bold(text: str) -> str:
    return click.style(text, bold=True)


def _short(path: Path) -> str:
    """A path as one would type it here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
