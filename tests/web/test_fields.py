"""Every field of every form and address, with what a database does not take: NUL, and numbers that are too large for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fastapi.routing import APIRoute, iter_route_contexts

from tests.service import service
from tests.web.site import Site
from triage.person import Role
from triage.web.queue import FLAGS

LISTS = ("state", "label", "source", "language", "assigned", "q", "after", *FLAGS)
"""What a list reads from its address by itself."""

FINE = {"text": "hello", "handle": "noor@x.example", "do": "close", "ids": "1", "action": "1", "until": "at", "name": "question"}


def cases(site: Site, bad: tuple[str, str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    for place in iter_route_contexts(site.web.routes):
        route, path = place.original_route, place.path or ""
        if not isinstance(route, APIRoute) or path.startswith("/api/") or path in ("/logout", "/live"):
            continue
        (method,) = route.methods or ("GET",)
        known = {param.alias for param in (*route.dependant.body_params, *route.dependant.query_params)}
        fine = {name: value for name, value in FINE.items() if name in known} | ({"seen": "1.1"} if "seen" in known else {})
        for name in known | set(LISTS if path in ("/", "/rows", "/mentions/{mention_id}") and method == "GET" else ()):
            yield method, path, {**fine, name: bad[0]}
        for parameter in re.findall(r"\{[^}]*\}", path):
            yield method, path.replace(parameter, bad[1]), fine


def test_no_field_breaks_a_page(tmp_path: Path, store_url: str) -> None:
    """Whatever is not understood is refused: PostgreSQL takes no NUL, SQLite no number so large."""
    app = service(tmp_path, store_url)
    site = Site(app)
    app.acme.post("noor@x.example", "how do I sync maybe?")
    app.pass_()
    bad = ("9" * 30, "9" * 30) if store_url.startswith("sqlite") else ("a\0b", "a%00b")
    tried = 0
    for method, path, fields in cases(site, bad):
        to = path.replace("{mention_id}", "1").replace("{verb}", "close")
        to = re.sub(r"\{[^}]*\}", "1", to)
        admin = site.visitor(Role.ADMIN)  # some of these end a session
        answer = admin.get(to, params=fields) if method == "GET" else admin.post(to, fields)
        assert answer.status_code < 500, (method, to, fields)
        tried += 1
    assert tried > 100
    app.close()
