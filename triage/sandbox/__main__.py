"""`python -m triage.sandbox`: all stand-in servers in one process, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

from triage.sandbox.http import Reply, Request, Server
from triage.sandbox.jira import JiraServer
from triage.sandbox.mastodon import MastodonServer
from triage.sandbox.mastodon_state import DOMAIN
from triage.sandbox.receiver import Receiver
from triage.sandbox.stopping import stop_when_asked
from triage.sandbox.world import World


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 2 when a port is taken."""
    parser = argparse.ArgumentParser(
        prog="python -m triage.sandbox", description="Stand-in servers: a Mastodon, a Jira, a receiver of alerts."
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the ledgers live; a restart goes on with them")
    for name in ("mastodon", "jira", "receiver"):
        parser.add_argument(f"--{name}-port", type=int, default=0, metavar="N", help="0 (the default) takes a free one")
    parser.add_argument("--mastodon-version", default="4.4.2", metavar="V", help='such as 4.2.10, "gotosocial 0.19", "snac 2.80"')
    parser.add_argument("--jira-flavour", choices=("cloud", "data_center"), default="cloud")
    parser.add_argument(
        "--world", type=float, metavar="SECONDS", help="play the demo's world live over so many seconds; 0: all at once, as the past"
    )
    parser.add_argument("--ready", type=Path, metavar="FILE", help="write addresses and tokens into this file (JSON) once all listen")
    options = parser.parse_args(arguments)

    over = stop_when_asked(signal.SIGTERM, signal.SIGINT)
    mastodon = MastodonServer(options.folder, port=options.mastodon_port, version=options.mastodon_version)
    jira = JiraServer(options.folder, port=options.jira_port, flavour=options.jira_flavour)
    receiver = Receiver(options.folder, port=options.receiver_port)
    servers: tuple[Server, ...] = (mastodon, jira, receiver)
    with ExitStack() as stack:
        for server in servers:
            try:
                stack.enter_context(server)
            except OSError as error:
                print(f"The sandbox can't use port {server.port} for {server.name}: {error.strerror or error}.", file=sys.stderr)
                print(f"Stop what listens there, or choose another port with --{server.name}-port.", file=sys.stderr)
                return 2

        players: list[Thread] = []

        def end_play() -> None:
            for player in players:
                player.join(5)

        stack.callback(end_play)

        def play(seconds: float) -> None:
            players.append(Thread(target=World.load().play, args=(mastodon,), kwargs={"seconds": seconds, "stop": over}, daemon=True))
            players[-1].start()

        def start_world(request: Request) -> Reply:
            play(float(request.json()["seconds"]))
            return Reply({}, 202)

        mastodon.route("POST", "/_sandbox/world", start_world)
        if options.ready:
            stack.callback(options.ready.unlink, missing_ok=True)
            write_ready(options.ready, mastodon, jira, receiver)
        if options.world is not None:
            play(options.world)
        print(f"Mastodon {mastodon.url}   Jira {jira.url}   alerts {receiver.url}", flush=True)
        over.wait()
    return 0


def write_ready(path: Path, mastodon: MastodonServer, jira: JiraServer, receiver: Receiver) -> None:
    """Addresses and tokens for other processes; the file appears whole and is readable by its owner alone."""
    ready: dict[str, Any] = {
        "pid": os.getpid(),
        "mastodon": {"url": mastodon.url, "token": mastodon.token, "account": mastodon.product, "domain": DOMAIN},
        "jira": {
            "url": jira.url,
            "email": jira.email,
            "token": jira.token,
            "project": jira.knobs.projects[0],
            "flavour": "cloud" if jira.is_cloud else "data_center",
        },
        "receiver": {"url": receiver.url, "alertmanager": receiver.url, "webhook": f"{receiver.url}/webhook"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".new")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(ready, file, indent=2)
    half.replace(path)


if __name__ == "__main__":
    sys.exit(main())
