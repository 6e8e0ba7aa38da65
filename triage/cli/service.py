"""up, run, worker, beat, web, demo: what keeps running."""

from __future__ import annotations

import gc
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.cli.common import load_config, opened

if TYPE_CHECKING:
    from triage.app import App
    from triage.config import Config
    from triage.supervisor import Child


@click.command()
@click.option("--restored", is_flag=True, help="The store was put back from a backup: ask before everything that is sent, for 48 hours.")
def up(restored: bool) -> None:
    """Run everything on this machine, supervised: broker (unless REDIS_URL names one), worker, beat, web. Ctrl-C ends it."""
    from triage import broker, logs
    from triage.app import App
    from triage.supervisor import Supervisor, lock

    config = load_config()
    logs.setup(config.log.level, as_json=config.log.format == "json", name="up")
    with lock(config.folder):
        check_port(config.web.host, config.web.port)
        app = App(config)  # a config, a connector or a store that can't be used is said here, once
        app.verify()
        if restored:
            app.store.place.begin_restore(app.clock.now(), "triage up --restored")
        app.close()
        check_model(config)
        served = None if config.broker else broker.command(config.folder)
        try:
            code = Supervisor(children(config, served), hang_seconds=config.delivery.hang).run()
        finally:
            if served is not None:
                broker.clean(served)
    sys.exit(code)


def children(config: Config, served: object | None) -> list[Child]:
    """The processes of one machine. `served` is the embedded broker, None where REDIS_URL names another."""
    from triage.broker import Broker
    from triage.heartbeat import HEARTBEAT
    from triage.supervisor import Child

    config.folder.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ)
    found: list[Child] = []
    if isinstance(served, Broker):
        found.append(Child("broker", served.argv, answers=served.answers, ready=served.answers))
        env["REDIS_URL"] = served.url
    elif config.broker:
        env.setdefault("REDIS_URL", config.broker)
    for name in ("worker", "beat", "web"):
        beat = config.folder / f"{name}.heartbeat"
        beat.unlink(missing_ok=True)
        ours = env | {HEARTBEAT: str(beat), "TRIAGE_PROCESS": name}
        ready = beat.exists if name == "worker" else None
        found.append(Child(name, [sys.executable, "-m", "triage", name], env=ours, heartbeat=beat, ready=ready))
    return found


def check_port(host: str, port: int) -> None:
    """A port in use is said before anything starts."""
    from triage.errors import UserError

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"{host}:{port} can't be listened at ({error.strerror}); stop what listens there, or set web.port in the config"
            ) from None


def check_model(config: Config) -> None:
    """A model that is missing or does not match its card is said before anything starts."""
    from triage.classifier import checked_card, model_folder

    checked_card(config.model or model_folder())


@click.command()
@click.option("--once", is_flag=True, required=True, help="One full pass: poll, judge, deliver, look after doubts.")
def run(once: bool) -> None:
    """Do everything that is due once, in this process, with no broker; for cron, or to see what happens."""
    from triage import tasks
    from triage.pipeline import sweep

    with opened() as app:
        app.verify()
        check_model(app.config)
        tasks.know_sources(app)
        did = sweep.once(app)
        app.store.place.beat(app.clock.now())
        failing = [account for account in app.store.views.status(app.clock.now())["accounts"] if account["state"] != "ok"]
    words = [f"{lane}: {count}" for lane, count in sorted(did.items()) if count]
    click.echo(", ".join(words) or "nothing was due")
    for account in failing:
        click.echo(f"{account['role']} {account['name']} is {account['state']}: {account['why']}", err=True)
    sys.exit(1 if failing else 0)


@click.command()
def worker() -> None:
    """A Celery worker that also sweeps by itself. More options: celery -A worker worker --help."""
    from triage.tasks import app, ready

    ready()  # what is wrong is said by us and ends with our exit code, before Celery begins
    app.worker_main(["--quiet", "worker", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"])


@click.command()
def beat() -> None:
    """Celery's beat: rings the workers for what is due, sooner than they would look."""
    from triage.tasks import app

    app.Beat(quiet=True, loglevel="WARNING").run()


@click.command()
@click.option("--host", default=None, help="Else web.host of the config.")
@click.option("--port", type=int, default=None, help="Else web.port of the config.")
def web(host: str | None, port: int | None) -> None:
    """Serve the human queue, /metrics and /healthz."""
    import uvicorn

    from triage.heartbeat import beat
    from triage.web import create
    from triage.web.warm import loader

    async def alive() -> None:
        beat()

    with opened("web") as app:
        host, port = host or app.config.web.host, app.config.web.port if port is None else port
        check_port(host, port)
        beat()
        _tell_who_gets_in(app, host)
        _welcome_first(app, host, port)
        pages = create(app)
        pages.state.loader = loader(app)
        serving = uvicorn.Config(
            pages,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            callback_notify=alive,
            timeout_notify=1,
            proxy_headers=bool(app.config.web.proxies),
            forwarded_allow_ips=",".join(app.config.web.proxies),
        )
        server = uvicorn.Server(serving)
        pages.state.ending = lambda: server.should_exit  # open streams end then; uvicorn would wait for them
        gc.collect()
        gc.freeze()  # what lives as long as the server: a long list made it be looked through, and everybody waited for 0.1 s
        with suppress(KeyboardInterrupt):  # Ctrl-C, which uvicorn raises again once it has shut down
            server.run()


def _tell_who_gets_in(app: App, host: str) -> None:
    """Listening to others without `web.url` is for /metrics and /healthz: say so, since nobody could log in from elsewhere."""
    if app.config.web.url is None and host not in ("localhost", "127.0.0.1", "::1"):
        click.echo(
            f"the pages listen at {host}, and people can log in from this machine alone: put a proxy with a certificate in front and "
            "name its address in the config, web.url: https://…",
            err=True,
        )


def _welcome_first(app: App, host: str, port: int) -> None:
    """Where nobody has a log-in yet, print the link that makes the first admin. It works once, for three days."""
    from triage.person import Role

    if app.store.people.any():
        return
    address = (app.config.web.url or f"http://{host}:{port}").rstrip("/")
    token = app.store.people.invite(Role.ADMIN, "triage", app.clock.now())
    click.echo(f"nobody has a log-in yet; the first admin begins here, once: {address}/welcome?token={token}")


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path(".demo"),
    show_default=True,
    help="Where the demo lives; emptied at the start.",
)
@click.option("--seconds", default=40.0, show_default=True, help="In how many seconds the demo's four days happen.")
@click.option("--exit-when-done", is_flag=True, help="End after the summary instead of staying up.")
def demo(folder: Path, seconds: float, exit_when_done: bool) -> None:
    """Start everything embedded, with a sandbox Mastodon and Jira, and show what it does."""
    from triage.cli.showcase import show

    sys.exit(show(folder, seconds, exit_when_done=exit_when_done))
