"""Mentions a second from the server to the page: asked for, parsed, turned into plain text, each alone.

The stand-in Mastodon runs in a process of its own. Its own work, making the JSON, is part of the wall clock as the network
is in real life; the second row leaves it out. Beside both stands mastodon.py's typed parsing of the same notifications.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.bench.report import Row
from tests.bench.stage import START_SECONDS, environment, posts, wait
from triage.guard import Guard
from triage.platforms.mastodon import MastodonOptions, MastodonPlatform


def fetch(folder: Path, *, count: int, typed: int) -> Iterator[Row]:
    """One poll that finds `count` mentions; `typed` of them are parsed by mastodon.py as well."""
    with Guard() as guard:
        server = _sandbox(guard, folder)
        platform = MastodonPlatform("acme", MastodonOptions.model_validate({"url": server["url"], "token": server["token"]}))
        (first,) = platform.fetch(None)
        _fill(server["url"], count)
        wall, busy = time.perf_counter(), time.process_time()
        found = sum(item.mention is not None for page in platform.fetch(first.cursor) for item in page.items)
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        if found != count:
            raise RuntimeError(f"{count} mentions were posted, but {found} were fetched")
        plain_wall, plain_busy = _typed(server, typed)
    yield Row("fetched and parsed", count / wall, "/s", plain_wall, "mastodon.py's own typed parsing")
    yield Row("fetched and parsed, without the server's time", count / busy, "/s", plain_busy, "mastodon.py's own typed parsing")


def _sandbox(guard: Guard, folder: Path) -> dict[str, Any]:
    ready = folder / "ready.json"
    argv = [sys.executable, "-m", "triage.sandbox", "--folder", str(folder / "sandbox"), "--ready", str(ready)]
    process = guard.start(argv, env=environment(), stdout=subprocess.DEVNULL)
    wait(ready.exists, START_SECONDS, "the sandbox to start", process)
    found: dict[str, Any] = json.loads(ready.read_text())["mastodon"]
    return found


def _fill(url: str, count: int) -> None:
    """Let people post."""
    written = posts()
    with requests.Session() as session:
        for number in range(count):
            post = written[number % len(written)]
            body = {"author": f"writer{number % 500}@bench.example", "text": post.text, "lang": post.language or None}
            session.post(f"{url}/_sandbox/post", json=body, timeout=30).raise_for_status()


def _typed(server: dict[str, Any], count: int) -> tuple[float, float]:
    """Notifications a second through mastodon.py as it comes, by the wall clock and by the processor's."""
    from mastodon import Mastodon

    client = Mastodon(access_token=server["token"], api_base_url=server["url"], version_check_mode="none", ratelimit_method="throw")
    wall, busy = time.perf_counter(), time.process_time()
    page = client.notifications(types=["mention"], limit=80)
    found = len(page)
    while page and found < count:
        page = client.fetch_next(page)
        found += len(page or ())
    return found / (time.perf_counter() - wall), found / (time.process_time() - busy)
