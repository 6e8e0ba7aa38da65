"""The pages of a service, in this process: visitors who are logged in without a password, since hashing one is slow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

from tests.service import Service
from triage.person import Person, Role
from triage.web import create
from triage.web.access import cookie_name, csrf


class Visitor:
    """A browser. Its writes carry what our own pages' carry: the origin, and the session's token against forgery.

    `client` is the bare one. Redirects are not followed.
    """

    def __init__(self, site: Site, person: Person | None = None, session: str = "") -> None:
        self.site = site
        self.person = person
        self.session = session
        self.client = TestClient(site.web, base_url=site.url, follow_redirects=False, raise_server_exceptions=False)
        if session:
            self.client.cookies.set(cookie_name(site.app.config.web), session)

    @property
    def headers(self) -> dict[str, str]:
        """What a write of this visitor's needs."""
        return {"Origin": self.site.url} | ({"X-CSRF-Token": csrf(self.session)} if self.session else {})

    def get(self, path: str, *, part: bool = False, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
        """Ask for a page; with `part` as htmx does."""
        return self.client.get(path, headers={**_part(part), **(headers or {})}, **more)

    def post(
        self, path: str, data: Mapping[str, Any] | None = None, *, part: bool = False, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Response:
        """Send a form; with `part` as htmx does."""
        return self.client.post(path, data=data, headers={**self.headers, **_part(part), **(headers or {})}, **more)

    def call(self, method: str, path: str, **more: Any) -> Response:
        """Any other request, with the headers of a write."""
        return self.client.request(method, path, headers={**self.headers, **more.pop("headers", {})}, **more)


class Site:
    """The pages of `app`, and those who look at them."""

    def __init__(self, app: Service) -> None:
        self.app = app
        self.web = create(app)
        self.url = (app.config.web.url or "http://127.0.0.1:8321").rstrip("/")

    def person(self, role: Role, name: str = "", *, password: str = "") -> Person:
        """Somebody with this role, named like it unless told otherwise; `password` is a hash. Known names are only looked up."""
        name = name or str(role)
        known = self.app.store.people.by_name(name)
        if known is not None:
            return known[0]
        now = self.app.clock.now()
        return self.app.store.people.come(self.app.store.people.invite(role, "triage", now), name, name.title(), password, now)

    def visitor(self, role: Role | None = None, name: str = "") -> Visitor:
        """Somebody who is logged in with this role; nobody for None."""
        if role is None:
            return Visitor(self)
        person = self.person(role, name)
        return Visitor(self, person, self.app.store.sessions.start(person, self.app.clock.now(), address="192.0.2.1", agent="test"))

    def program(self, role: Role, name: str = "") -> TestClient:
        """A program that brings a personal token of such a person's."""
        token = self.app.store.sessions.make_token(self.person(role, name), "test", self.app.clock.now())
        return TestClient(
            self.web,
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            follow_redirects=False,
            raise_server_exceptions=False,
        )


def _part(wanted: bool) -> dict[str, str]:
    return {"HX-Request": "true"} if wanted else {}
