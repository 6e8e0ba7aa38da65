"""Server-sent events of an account's home stream: edits and deletions as they happen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import requests
import urllib3

from triage import remote
from triage.contracts import Change, Item
from triage.errors import Refused
from triage.platforms.mastodon_server import Server

LONGEST_EVENT_BYTES = 4 * 1024 * 1024
STOP_SECONDS = 0.25  # how often we look whether to stop


def changes(server: Server, item_of: Callable[[Any], Item], stop: Event) -> Iterator[Change]:
    """Each edit and deletion, until `stop` is set or the connection ends. Nothing where the server has no such stream.

    mastodon.py's own listener parses each event by type and can't be stopped from outside, so the stream is read here.
    """
    try:
        response = opened(server)
    except Refused:
        return
    with response, _ended_by(stop, response):
        for event, data in _events(response):
            if event == "delete":
                yield Change(data.strip().strip('"'), None)
            elif event == "status.update":
                change = _edit(data, item_of)
                if change is not None:
                    yield change


def opened(server: Server) -> requests.Response:
    """The stream, to be closed by the caller. Raises the RemoteErrors; Refused where there is none."""
    headers = {"Authorization": f"Bearer {server.token}", "Accept": "text/event-stream", "Accept-Encoding": "identity"}
    with remote.talking(server.source):
        return server.session.get(f"{server.facts().streaming}/api/v1/streaming/user", headers=headers, stream=True)


def _edit(data: str, item_of: Callable[[Any], Item]) -> Change | None:
    """The edited post; None for one that is not for us, such as our own."""
    try:
        item = item_of(json.loads(data))
    except (ValueError, RecursionError):
        return None  # half a line: re-reading finds the edit
    return None if item.set_aside else Change(item.remote_id, item)


def _events(response: requests.Response) -> Iterator[tuple[str, str]]:
    """Name and data of each event, until the connection ends."""
    event = ""
    data: list[str] = []
    for line in _lines(response):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if event:
                yield event, "\n".join(data)
            event, data = "", []
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)


def _lines(response: requests.Response) -> Iterator[str]:
    rest = b""
    while True:
        try:
            part = response.raw.read1(65536)
        except (OSError, urllib3.exceptions.HTTPError):
            return  # cut, silent for longer than a heartbeat, or shut down by us
        if not part:
            return
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > LONGEST_EVENT_BYTES:
            return
        for line in lines:
            yield line.rstrip(b"\r").decode(errors="replace")


@contextmanager
def _ended_by(stop: Event, response: requests.Response) -> Iterator[None]:
    """Shut the connection down when `stop` is set: a thread that waits for bytes does not look at events."""
    over = Event()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(STOP_SECONDS):
                response.raw.shutdown()
                return

    watcher = Thread(target=watch, name="stream-stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
