"""Looking at the links of prepared answers, a few a minute, each once a day. Only hosts that the config's own answers name are asked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from urllib.parse import urljoin, urlsplit

import structlog

from triage import remote
from triage.errors import Gone, RemoteError
from triage.links import Look, due, links_of, moved
from triage.pipeline.parts import Parts

log = structlog.get_logger()

LOOK_EVERY = timedelta(minutes=1)
AT_ONCE = 3  # links; they are looked at one after the other, and other upkeep waits
DEADLINE = 5.0  # seconds
HOPS = 5


def look_at_links(parts: Parts) -> int:
    """Look at the links that are due. Returns how many."""
    links = [link for answer in parts.config.answers for link in links_of(answer.text)] if parts.config.check_links else []
    if not links:
        return 0
    now = parts.clock.now()
    known = parts.store.links.known()
    todo = due(links, known, now)[:AT_ONCE]
    if not todo or not parts.store.turns.take("links_looked", now, LOOK_EVERY)[0]:
        return 0
    hosts = {_host(link) for link in links}
    found = {}
    for link in todo:
        gone, problem = look(link, hosts)
        found[link] = Look(parts.clock.now(), gone, problem)
        if problem and (link not in known or known[link].problem != problem):
            log.warning("a prepared answer's link", link=link, gone=gone, why=problem)
    parts.store.links.note(found, set(links))
    return len(found)


def look(link: str, hosts: Collection[str]) -> tuple[bool, str]:
    """Whether a page is gone, and what is wrong with it, empty where it is there.

    It is asked for and not read. A redirect is followed within `hosts`; where it leads elsewhere the page counts as there, unless it has
    moved there for good, or to the front page: then it counts as gone, and where it is now is told.
    """
    session = remote.session(_host(link), deadline=DEADLINE)
    for_good = True
    try:
        with remote.talking(_host(link)):
            for _ in range(HOPS):
                with session.get(link, stream=True, allow_redirects=False) as answer:
                    to = urljoin(link, answer.headers["Location"]) if answer.is_redirect else ""
                    for_good = for_good and answer.is_permanent_redirect
                if for_good and _host(to) and moved(link, to):
                    return True, f"moved for good to {remote.redact(to)[:200]}"
                if not to or _host(to) not in hosts:
                    return False, ""
                link = to
        return False, f"it leads on and on, more than {HOPS} times"
    except Gone as error:
        return True, f"the server answered {error.status}"
    except RemoteError as error:
        return False, remote.redact(str(error))[:200]
    finally:
        session.close()


def _host(link: str) -> str:
    """Host and port; empty for what is no address on the web."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    return parts.netloc.rpartition("@")[2].casefold() if parts.scheme in ("http", "https") else ""
