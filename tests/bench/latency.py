"""From a post to its task or ticket: `triage up` as a user runs it, beside stand-ins for Mastodon and Jira.

Posts come at random moments. The clock runs from the post until its task is in the queue and its ticket, if it gets one, has
been filed. The requests are counted at the servers, for a while before the first post and while they come.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.bench.report import Row
from tests.bench.stage import START_SECONDS, environment, posts, tell, wait
from triage import config as configuration
from triage.app import App
from triage.guard import Guard
from triage.mention import ActionKind
from triage.sandbox.http import Server
from triage.sandbox.jira import JiraServer
from triage.sandbox.mastodon import MastodonServer
from triage.store.schema import actions, mentions

BAR_SECONDS = 30.0
PATIENCE_SECONDS = 120.0
ALLOWED_AN_HOUR = 3_600.0  # Mastodon lets an account ask 300 times in 5 minutes
REPORTS = 1 / 3  # of the posts; fewer than the brake allows within an hour

CONFIG = """\
mode: act
state: {folder}
sources:
  acme:
    platform: mastodon
    url: {mastodon}
    token: {{env: BENCH_MASTODON_TOKEN}}{every}
trackers:
  tickets:
    tracker: jira
    url: {jira}
    deployment: cloud
    user: {email}
    token: {{env: BENCH_JIRA_TOKEN}}
    project: {project}
web:
  port: 0
log:
  level: error
"""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the servers' clock, in seconds since the epoch."""

    start: float
    end: float

    def an_hour(self, server: Server) -> float:
        """Requests an hour that the server was asked in it."""
        asked = sum(self.start <= entry["at"] < self.end and not entry["path"].startswith("/_sandbox/") for entry in server.requests)
        return float(asked) * 3600.0 / (self.end - self.start)


def latency(folder: Path, *, count: int, seconds: float, rest: float, every: float | None) -> Iterator[Row]:
    """`count` posts within `seconds`, after `rest` seconds of quiet. `every` replaces the default time between polls in a short run."""
    with MastodonServer(folder / "mastodon") as mastodon, JiraServer(folder / "jira", flavour="cloud") as jira, Guard() as guard:
        env = environment(BENCH_MASTODON_TOKEN=mastodon.token, BENCH_JIRA_TOKEN=jira.token)
        config = folder / "config.yaml"
        config.write_text(
            CONFIG.format(
                folder=folder,
                mastodon=mastodon.url,
                jira=jira.url,
                email=jira.email,
                project=jira.knobs.projects[0],
                every=f"\n    every: {every:g}s" if every else "",
            )
        )
        service = guard.start([sys.executable, "-m", "triage", "--config", str(config), "up"], env=env, stdout=subprocess.DEVNULL)
        app = App(configuration.load(config, env), role="bench")
        try:
            wait(lambda: _has_polled(app), START_SECONDS, "triage up to poll", service)
            quiet = _for(rest)
            began = time.time()
            posted = _post(mastodon, count, seconds)
            busy = Window(began, time.time())
            wait(lambda: len(_settled(app)) >= count, PATIENCE_SECONDS, "every post to be settled", service, every=0.5)
            settled = _settled(app)
        finally:
            app.close()
            guard.stop(service, grace=20.0)
    times = sorted(settled[uri] - at for uri, at in posted.items() if settled[uri])
    filed = len(jira.tickets)
    middle, longest = times[len(times) // 2], times[-1]
    tell(f"  {len(times)} of {count} posts became a task or a ticket ({filed} tickets); median {middle:.1f} s, longest {longest:.1f} s")
    worst = times[max(0, -(-len(times) * 95 // 100) - 1)]
    name = "post to task or ticket, 95th percentile"
    yield Row(name, worst, "s", every or 20.0, "between two polls", f"at most {BAR_SECONDS:g} s", worst <= BAR_SECONDS)
    yield Row("requests to Mastodon an hour, at rest", quiet.an_hour(mastodon), "/h", ALLOWED_AN_HOUR, "that it allows")
    yield Row("requests to Mastodon an hour, while posts come", busy.an_hour(mastodon), "/h", ALLOWED_AN_HOUR, "that it allows")
    yield Row("requests to Jira an hour, at rest", quiet.an_hour(jira), "/h")
    yield Row("requests to Jira an hour, while posts come", busy.an_hour(jira), "/h")


def _has_polled(app: App) -> bool:
    accounts = app.store.views.status(app.clock.now())["accounts"]
    return any(account["last_success"] for account in accounts if account["role"] == "source")


def _for(seconds: float) -> Window:
    start = time.time()
    time.sleep(seconds)
    return Window(start, time.time())


def _post(server: MastodonServer, count: int, seconds: float) -> Mapping[str, float]:
    """Let people post at random moments; each post's uri and when it was there."""
    draw = random.Random(7)
    reports = [post for post in posts() if post.label == "bug_report"]
    questions = [post for post in posts() if post.label == "support_question"]
    moments = sorted(draw.uniform(0, seconds) for _ in range(count))
    began, posted = time.monotonic(), {}
    for number, moment in enumerate(moments):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        pool: Sequence[Any] = reports if draw.random() < REPORTS else questions
        post = pool[number % len(pool)]
        shown = server.post(f"writer{number}@bench.example", post.text, lang=post.language or None)
        posted[shown["uri"]] = time.time()
    return posted


def _settled(app: App) -> Mapping[str, float]:
    """When each post had its task and its ticket, by uri; 0 for one that was put away instead. One that still waits is missing."""
    columns = (mentions.c.uri, actions.c.kind, actions.c.created_at, actions.c.closed_at)
    statement = sa.select(*columns).join(actions, actions.c.mention_id == mentions.c.id)
    moments: dict[str, list[datetime | None]] = {}
    with app.store.database.read() as connection:
        for uri, kind, created_at, closed_at in connection.execute(statement):
            wanted = created_at if kind == ActionKind.TASK else closed_at if kind == ActionKind.TICKET else datetime.fromtimestamp(0, UTC)
            moments.setdefault(uri, []).append(wanted)
    return {uri: max(at.timestamp() for at in found if at) for uri, found in moments.items() if None not in found}
