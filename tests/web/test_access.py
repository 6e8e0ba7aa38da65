"""Who gets in, and who may do what: every route with every role, and the ways around them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import APIRouter, Response
from fastapi.testclient import TestClient

from tests.service import service
from tests.web.site import Site, Visitor
from triage import passwords
from triage.errors import UserError
from triage.person import Role
from triage.store.schema import metadata
from triage.web import access
from triage.web.access import OPEN, csrf
from triage.web.headers import HEADERS

# Every route and the least role that may use it. A new route is added here, by hand: that is the moment to think about it.
ROUTES: dict[tuple[str, str], str] = {
    ("GET", "/metrics"): OPEN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/login"): OPEN,
    ("POST", "/login"): OPEN,
    ("POST", "/logout"): Role.VIEWER,
    ("GET", "/welcome"): OPEN,
    ("POST", "/welcome"): OPEN,
    ("GET", "/api/openapi.json"): Role.VIEWER,
    ("GET", "/api/me"): Role.VIEWER,
    ("POST", "/api/mentions"): OPEN,
    ("GET", "/api/mentions/{mention}"): Role.VIEWER,
    ("POST", "/api/mentions/{mention}/label"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/ticket"): Role.TRIAGER,
    ("GET", "/api/queue"): Role.VIEWER,
    ("POST", "/api/tasks/{task}/answer"): Role.TRIAGER,
    ("POST", "/api/tasks/{task}/accept"): Role.TRIAGER,
    ("POST", "/api/tasks/{task}/close"): Role.TRIAGER,
    ("POST", "/api/actions/{action}/retry"): Role.TRIAGER,
    ("POST", "/api/actions/{action}/park"): Role.TRIAGER,
    ("POST", "/api/actions/{action}/found"): Role.TRIAGER,
    ("POST", "/api/actions/{action}/drop"): Role.TRIAGER,
    ("GET", "/api/status"): Role.VIEWER,
    ("GET", "/api/mentions"): Role.VIEWER,
    ("GET", "/api/mentions/{mention}/why"): Role.VIEWER,
    ("POST", "/api/mentions/{mention}/accept"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/close"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/assign"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/snooze"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/wake"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/note"): Role.TRAINEE,
    ("POST", "/api/mentions/{mention}/same"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/undo"): Role.TRAINEE,
    ("POST", "/api/mentions/{mention}/claim"): Role.TRAINEE,
    ("POST", "/api/mentions/{mention}/release"): Role.TRAINEE,
    ("GET", "/api/mentions/{mention}/reply"): Role.VIEWER,
    ("PUT", "/api/mentions/{mention}/draft"): Role.TRAINEE,
    ("POST", "/api/mentions/{mention}/reply"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/reply/undo"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/boost"): Role.TRIAGER,
    ("POST", "/api/actions/{action}/approve"): Role.TRIAGER,
    ("POST", "/api/actions/{action}/refuse"): Role.TRIAGER,
    ("GET", "/api/mentions/{mention}/context"): Role.VIEWER,
    ("GET", "/api/mentions/{mention}/same"): Role.TRIAGER,
    ("POST", "/api/mentions/{mention}/reply/preview"): Role.TRAINEE,
    ("POST", "/api/mentions/{mention}/reply/posted"): Role.TRIAGER,
    ("GET", "/api/counts"): Role.VIEWER,
    ("POST", "/api/bulk"): Role.TRIAGER,
    ("GET", "/api/saved"): Role.VIEWER,
    ("POST", "/api/saved"): Role.VIEWER,
    ("POST", "/api/saved/{saved}/forget"): Role.VIEWER,
    ("GET", "/api/people"): Role.VIEWER,
    ("POST", "/api/people/{name}/disable"): Role.ADMIN,
    ("POST", "/api/people/{name}/logout"): Role.ADMIN,
    ("POST", "/api/me"): Role.VIEWER,
    ("POST", "/api/me/away"): Role.VIEWER,
    ("POST", "/api/me/back"): Role.VIEWER,
    ("GET", "/api/me/sessions"): Role.VIEWER,
    ("POST", "/api/me/sessions/end"): Role.VIEWER,
    ("GET", "/api/me/tokens"): Role.VIEWER,
    ("POST", "/api/me/tokens/{token}/end"): Role.VIEWER,
    ("GET", "/api/sources"): Role.VIEWER,
    ("POST", "/api/sources/{name}/poll"): Role.TRIAGER,
    ("POST", "/api/sources/{name}/let-in"): Role.TRIAGER,
    ("POST", "/api/sources/{name}/stop"): Role.ADMIN,
    ("POST", "/api/sources/{name}/resume"): Role.ADMIN,
    ("POST", "/api/sources/{name}/token"): Role.ADMIN,
    ("GET", "/api/insights"): Role.VIEWER,
    ("GET", "/api/privacy"): Role.ADMIN,
    ("POST", "/api/privacy/export"): Role.ADMIN,
    ("POST", "/api/privacy/erase"): Role.ADMIN,
    ("GET", "/sources"): Role.VIEWER,
    ("POST", "/sources/{name}/poll"): Role.TRIAGER,
    ("POST", "/sources/{name}/let-in"): Role.TRIAGER,
    ("POST", "/sources/{name}/stop"): Role.ADMIN,
    ("POST", "/sources/{name}/resume"): Role.ADMIN,
    ("POST", "/sources/{name}/token"): Role.ADMIN,
    ("GET", "/insights"): Role.VIEWER,
    ("GET", "/insights.csv"): Role.VIEWER,
    ("GET", "/people"): Role.VIEWER,
    ("POST", "/people"): Role.ADMIN,
    ("POST", "/people/{name}/role"): Role.ADMIN,
    ("POST", "/people/{name}/handles"): Role.ADMIN,
    ("POST", "/people/{name}/disable"): Role.ADMIN,
    ("POST", "/people/{name}/enable"): Role.ADMIN,
    ("POST", "/people/{name}/password"): Role.ADMIN,
    ("POST", "/people/{name}/logout"): Role.ADMIN,
    ("GET", "/me"): Role.VIEWER,
    ("POST", "/me"): Role.VIEWER,
    ("POST", "/me/away"): Role.VIEWER,
    ("POST", "/me/back"): Role.VIEWER,
    ("POST", "/me/sessions/end"): Role.VIEWER,
    ("POST", "/me/tokens"): Role.VIEWER,
    ("POST", "/me/tokens/{token_id}/end"): Role.VIEWER,
    ("POST", "/me/password"): Role.VIEWER,
    ("GET", "/privacy"): Role.ADMIN,
    ("POST", "/privacy/export"): Role.ADMIN,
    ("POST", "/privacy/erase"): Role.ADMIN,
    ("GET", "/mentions/{mention_id}"): Role.VIEWER,
    ("GET", "/mentions/{mention_id}/why"): Role.VIEWER,
    ("GET", "/mentions/{mention_id}/same"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/label"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/ticket"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/accept"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/close"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/snooze"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/wake"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/assign"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/note"): Role.TRAINEE,
    ("POST", "/mentions/{mention_id}/same"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/retry"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/drop"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/found"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/undo"): Role.TRAINEE,
    ("GET", "/live"): Role.VIEWER,
    ("GET", "/mentions/{mention_id}/presence"): Role.VIEWER,
    ("POST", "/mentions/{mention_id}/presence"): Role.VIEWER,
    ("POST", "/mentions/{mention_id}/claim"): Role.TRAINEE,
    ("POST", "/mentions/{mention_id}/release"): Role.TRAINEE,
    ("GET", "/mentions/{mention_id}/reply"): Role.VIEWER,
    ("POST", "/mentions/{mention_id}/reply/preview"): Role.TRAINEE,
    ("POST", "/mentions/{mention_id}/draft"): Role.TRAINEE,
    ("POST", "/mentions/{mention_id}/reply"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/reply/undo"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/boost"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/reply/posted"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/reply/approve"): Role.TRIAGER,
    ("POST", "/mentions/{mention_id}/reply/refuse"): Role.TRIAGER,
    ("GET", "/"): Role.VIEWER,
    ("GET", "/rows"): Role.VIEWER,
    ("POST", "/bulk"): Role.TRIAGER,
    ("POST", "/saved"): Role.VIEWER,
    ("POST", "/saved/{saved_id}/forget"): Role.VIEWER,
    ("POST", "/tasks/{task_id}/{verb}"): Role.TRIAGER,
}

NEEDS_A_LOG_IN = {
    "/logout",
    "/me/tokens",
    "/me/password",
    "/people/{name}/enable",
    "/people/{name}/handles",
    "/people/{name}/password",
}
"""What a personal token can't do although its person can."""

GUARDED = {route: Role(role) for route, role in ROUTES.items() if role != OPEN}


def filled(path: str) -> str:
    """A route's path with something in place of its parameters that is not there."""
    return re.sub(r"\{[^}]*\}", "99999", path)


def in_together(jobs: list[Callable[[], Any]]) -> list[Any]:
    """What these return or raise when they start at the same moment."""
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait(20)
        try:
            return job()
        except UserError as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


# Routes and roles


def test_the_table_above_is_complete(site: Site) -> None:
    """A new route fails here until somebody has written down who may use it."""
    assert access.table(site.web) == ROUTES


def test_a_route_without_a_role_is_refused(site: Site) -> None:
    """Deny by default: neither a forgotten decorator nor another kind of route gets in."""
    router = APIRouter()
    router.add_api_route("/open", lambda: "", methods=["GET"])
    site.web.include_router(router)
    with pytest.raises(RuntimeError, match="/open names no role"):
        access.table(site.web)
    site.web.router.routes.pop()
    assert access.table(site.web) == ROUTES
    site.web.add_route("/plain", lambda _: Response())
    with pytest.raises(RuntimeError, match="/plain names no role"):
        access.table(site.web)


def test_nobody_gets_in_without_a_log_in(site: Site) -> None:
    """A browser is sent to the log-in, htmx too, a program gets 401."""
    nobody = site.visitor()
    for method, path in GUARDED:
        answer = nobody.call(method, filled(path))
        if path.startswith("/api/"):
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
            continue
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/login"), path
        part = nobody.call(method, filled(path), headers={"HX-Request": "true"})
        assert (part.status_code, part.headers["hx-redirect"].split("?")[0]) == (401, "/login"), path
        assert nobody.call(method, filled(path), headers={"Authorization": "Bearer triage_x"}).status_code == 401, path
        assert nobody.call(method, filled(path), headers={"Authorization": "Basic dHJpYWdlOg=="}).status_code == 401, path


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_the_table_says(site: Site, role: Role) -> None:
    """Each route with each role: 403 exactly where the role is too small, by cookie and by token alike."""
    program = site.program(role)
    site.web.state.ending = lambda: True  # the stream ends at once
    for (method, path), least in GUARDED.items():
        allowed = role.may(least)
        by_cookie = site.visitor(role).call(method, filled(path)).status_code
        by_token = program.request(method, filled(path)).status_code
        if allowed:
            assert by_cookie in (200, 303, 404, 409, 422), (path, by_cookie)
            assert by_token in (200, 303, 403, 404, 409, 422), (path, by_token)
            assert (by_token == 403) == (path in NEEDS_A_LOG_IN - {"/logout"}), (path, by_token)
        else:
            assert (by_cookie, by_token) == (403, 403), path


def test_a_found_token_lets_nobody_in_for_good(site: Site) -> None:
    """Not even an admin's: it makes no token, no person, no admin and no new password."""
    program = site.program(Role.ADMIN)
    site.person(Role.VIEWER, "bo")
    before = dump(site)
    writes = {
        "/me/tokens": {"name": "more"},
        "/me/password": {"old": "", "new": "a long enough password"},
        "/people": {"role": "admin"},
        "/people/bo/role": {"role": "admin"},
        "/people/bo/enable": {},
        "/people/bo/password": {},
    }
    for path, data in writes.items():
        assert program.post(path, data=data).status_code == 403, path
    assert dump(site) == before


def test_a_role_counts_from_the_next_request_on(site: Site) -> None:
    """The role is read with each request, not kept in the session."""
    ana = site.visitor(Role.ADMIN, "ana")
    site.visitor(Role.ADMIN, "bo")
    assert ana.post("/people", {"role": "viewer"}).status_code == 200
    site.app.store.people.change("ana", "bo", site.app.clock.now(), role=Role.VIEWER)
    assert ana.post("/people", {"role": "viewer"}).status_code == 403


def dump(site: Site) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the tables, but for when somebody was last seen."""
    passing = {("sessions", "seen_at"), ("people", "seen_at"), ("tokens", "used_at")}
    with site.app.store.database.read() as connection:
        return {
            table.name: sorted(
                map(tuple, connection.execute(sa.select(*(c for c in table.c if (table.name, c.name) not in passing))).all()), key=repr
            )
            for table in metadata.sorted_tables
        }


def test_no_get_changes_anything(site: Site) -> None:
    """All of them, with a session that is due to be noted as used."""
    site.app.acme.post("ana@example.social", "it is broken")
    site.app.pass_()
    admin, token = site.visitor(Role.ADMIN), site.app.store.people.invite(Role.VIEWER, "triage", site.app.clock.now())
    site.app.clock.move(minutes=5)
    before = dump(site)
    site.web.state.ending = lambda: True  # the stream ends at once
    for method, path in ROUTES:
        if method == "GET":
            path = path.replace("{mention_id}", "1").replace("{id}", "1")
            assert admin.get(filled(path), params={"token": token} if path == "/welcome" else {}).status_code != 500
            admin.get(filled(path), part=True)
            site.visitor().get(filled(path))
    assert dump(site) == before


# Sessions and tokens


def in_as(visitor: Visitor) -> bool:
    return visitor.get("/me").status_code == 200


def test_a_session_ends_on_the_server(both: Site) -> None:
    """Log-out, too long unused, too old, disabled, ended by an admin: the cookie is worth nothing."""
    web, clock = both.app.config.web, both.app.clock
    out = both.visitor(Role.VIEWER)
    assert in_as(out)
    assert out.post("/logout").headers["location"] == "/login"
    assert not in_as(out)
    assert not in_as(Visitor(both, session=out.session))
    idle = both.visitor(Role.VIEWER)
    clock.move(seconds=web.idle - 1)
    assert in_as(idle)
    clock.move(seconds=web.idle + 1)
    assert not in_as(idle)
    old = both.visitor(Role.VIEWER)
    for _ in range(int(web.longest / (web.idle - 60))):
        clock.move(seconds=web.idle - 60)
        assert in_as(old)
    clock.move(seconds=web.idle - 60)
    assert not in_as(old)
    admin = both.visitor(Role.ADMIN)
    ended = both.visitor(Role.VIEWER)
    assert admin.post("/people/viewer/logout").status_code == 303
    assert not in_as(ended)
    gone, program = both.visitor(Role.VIEWER), both.program(Role.VIEWER)
    assert admin.post("/people/viewer/disable").status_code == 303
    assert not in_as(gone)
    assert program.get("/me").status_code == 401
    assert admin.post("/people/viewer/enable").status_code == 303
    assert not in_as(gone), "what was ended stays so"
    assert program.get("/me").status_code == 401


def test_the_tables_of_sessions_and_tokens_let_nobody_in(site: Site) -> None:
    """What a thief of the database reads is no cookie and no token."""
    site.visitor(Role.ADMIN)
    site.program(Role.ADMIN)
    found = dump(site)
    for digest in [row[0] for row in found["sessions"]]:
        assert not in_as(Visitor(site, session=digest))
    for row in found["tokens"]:
        for cell in map(str, row):
            assert site.visitor().get("/me", headers={"Authorization": f"Bearer {cell}"}).status_code == 401


def test_old_sessions_are_forgotten(site: Site) -> None:
    """Upkeep takes away what is over, and nothing else."""
    site.visitor(Role.VIEWER)
    site.app.clock.move(seconds=site.app.config.web.idle + 1)
    kept = site.visitor(Role.VIEWER)
    site.app.pass_(hours=1)
    assert len(dump(site)["sessions"]) == 1
    assert in_as(kept)


def test_a_person_ends_their_own_sessions_and_tokens_alone(site: Site) -> None:
    """By the page's own forms; somebody else's are out of reach."""
    ana, phone, bo = (site.visitor(Role.VIEWER, name) for name in ("ana", "ana", "bo"))
    shown = ana.get("/me").text
    digests = set(re.findall(r'name="session" value="(\w+)"', shown))
    assert len(digests) == 1, "its own one can't be ended there"
    assert bo.post("/me/sessions/end", {"session": digests.copy().pop()}).status_code == 409
    assert ana.post("/me/sessions/end", {"session": digests.pop()}).status_code == 303
    assert in_as(ana)
    assert not in_as(phone)
    made = re.search(r'value="(triage_[\w-]+)"', ana.post("/me/tokens", {"name": "a script"}).text)
    assert made is not None
    assert made[1] not in ana.get("/me").text
    program = {"Authorization": f"Bearer {made[1]}"}
    assert site.visitor().get("/me", headers=program).status_code == 200
    number = re.search(r"/me/tokens/(\d+)/end", ana.get("/me").text)
    assert number is not None
    assert bo.post(number[0]).status_code == 409
    assert ana.post(number[0]).status_code == 303
    assert site.visitor().get("/me", headers=program).status_code == 401
    assert ana.post("/me/tokens", {"name": " "}).status_code == 409


# Log-in


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Passwords that are kept as they are; the list tells what was checked."""
    checked: list[str] = []

    def matches(password: str, kept: str) -> bool:
        checked.append(kept)
        return bool(kept) and password == kept

    monkeypatch.setattr(passwords, "matches", matches)
    monkeypatch.setattr(passwords, "hashed", lambda password, *_: password)
    return checked


def log_in(site: Site, name: str, password: str, *, client: str = "192.0.2.1", **more: str) -> Any:
    visitor = site.visitor()
    visitor.client = TestClient(site.web, base_url=site.url, follow_redirects=False, client=(client, 1))
    return visitor.post("/login", {"name": name, "password": password, **more})


def test_the_password_is_really_checked(site: Site) -> None:
    """argon2id, with a salt; somebody without a password can't log in, not even with an empty one."""
    kept = passwords.hashed("a sentence to remember", "ana")
    site.person(Role.VIEWER, "ana", password=kept)
    site.person(Role.VIEWER, "bo")
    assert kept.startswith("$argon2id$")
    assert kept != passwords.hashed("a sentence to remember", "ana")
    assert log_in(site, "Ana ", "a sentence to remember").status_code == 303
    assert log_in(site, "ana", "a sentence to Remember").status_code == 401
    assert log_in(site, "bo", "").status_code == 401


def test_a_log_in_makes_a_new_session_and_ends_the_one_before(site: Site, cheap: list[str]) -> None:
    """Nobody can plant a session, and the old cookie is worth nothing."""
    site.person(Role.VIEWER, "ana", password="secret")
    before = site.visitor(Role.VIEWER, "ana")
    answer = before.post("/login", {"name": "ana", "password": "secret"})
    after = answer.cookies["triage"]
    assert answer.status_code == 303
    assert after != before.session
    assert not in_as(Visitor(site, session=before.session))
    assert in_as(Visitor(site, session=after))
    planted = Visitor(site, session="planted")
    assert planted.post("/login", {"name": "ana", "password": "secret"}).cookies["triage"] != "planted"
    assert not in_as(Visitor(site, session="planted"))


def test_the_answer_does_not_tell_which_names_exist(site: Site, cheap: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Same status, same page, and a hash is checked for each: unknown, disabled, without a password, impossible."""
    site.person(Role.VIEWER, "ana", password="secret")
    site.person(Role.VIEWER, "bo", password="secret")
    site.visitor(Role.ADMIN).post("/people/bo/disable")
    seen = set()
    for name, password in (("ana", "wrong"), ("bo", "secret"), ("nobody", "wrong"), ("a\x00b", "wrong"), ("x" * 500, "wrong")):
        answer = log_in(site, name, password, client=f"192.0.2.{len(name) % 250}")
        seen.add((answer.status_code, answer.text.replace(f'value="{name}"', "")))
    assert len({(status, re.sub(r'value="[^"]*"', "", text)) for status, text in seen}) == 1
    assert len(cheap) == 5
    monkeypatch.undo()
    verified = []
    monkeypatch.setattr(passwords, "_hasher", lambda: type("Hasher", (), {"verify": lambda _, *a: verified.append(a), "hash": str}))
    passwords._nobody.cache_clear()
    for kept in ("kept", ""):
        passwords.matches("guess", kept)
    passwords._nobody.cache_clear()
    assert len(verified) == 2


def test_who_guesses_waits(both: Site, cheap: list[str], tmp_path: Path) -> None:
    """Five tries an account, twenty an address, then each doubles the wait; a second process knows, and time heals."""
    both.person(Role.VIEWER, "ana", password="secret")
    both.person(Role.VIEWER, "bo", password="secret")
    second = service(tmp_path, both.app.store.database.url.render_as_string(hide_password=False), clock=both.app.clock, started=False)
    other = Site(second)
    try:
        for number in range(5):
            assert log_in(both, "ana", "wrong", client=f"192.0.2.{number}").status_code == 401
        waits = log_in(other, "ana", "secret", client="192.0.2.99")
        assert waits.status_code == 429
        assert "wait 1 s" in waits.text
        assert log_in(other, "bo", "secret", client="192.0.2.99").status_code == 303, "another account is free"
        both.app.clock.move(seconds=1)
        assert log_in(both, "ana", "wrong", client="192.0.2.50").status_code == 401
        assert "wait 2 s" in log_in(other, "ana", "secret", client="192.0.2.51").text
        for _ in range(20):
            both.app.clock.move(minutes=15)
            assert log_in(both, "ana", "wrong", client="192.0.2.50").status_code == 401
        assert "wait 900 s" in log_in(both, "ana", "secret", client="192.0.2.51").text
        both.app.clock.move(minutes=15)
        assert log_in(both, "ana", "secret", client="192.0.2.51").status_code == 303
        assert log_in(both, "ana", "wrong", client="192.0.2.51").status_code == 401, "the account's count is forgotten"
    finally:
        second.close()


def test_a_right_password_does_not_free_its_address(site: Site, cheap: list[str]) -> None:
    """Somebody with an account of their own can't go on guessing others' by logging in between; nor with many addresses of one /64."""
    site.person(Role.VIEWER, "ana", password="secret")
    for number in range(20):
        assert log_in(site, f"name{number}", "wrong", client=f"2001:db8::{number + 1:x}").status_code == 401
        if number < 19:
            assert log_in(site, "ana", "secret", client="2001:db8::1").status_code == 303
        log_in(site, "ana", "secret", client="192.0.2.7")
    assert log_in(site, "name20", "wrong", client="2001:db8::ffff").status_code == 429
    assert log_in(site, "ana", "secret", client="2001:db8::ffff").status_code == 429
    assert log_in(site, "ana", "secret", client="2001:db8:0:1::1").status_code == 303


def test_tries_at_once_don_t_slip_through(both: Site, cheap: list[str]) -> None:
    """A try counts before its password is checked: of sixteen at the same moment five are looked at."""
    both.person(Role.VIEWER, "ana", password="secret")
    found = in_together([lambda: log_in(both, "ana", "wrong").status_code] * 16)
    assert sorted(found) == [401] * 5 + [429] * 11
    assert len(cheap) == 5


def test_where_to_go_after_the_log_in(site: Site, cheap: list[str]) -> None:
    """To a path of ours, whatever `next` says."""
    site.person(Role.VIEWER, "ana", password="secret")
    assert log_in(site, "ana", "secret", next="/mentions/12?label=praise").headers["location"] == "/mentions/12?label=praise"
    for hostile in (
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "//[",
        "/a\\..\\b",
        "/login?next=/login",
        "",
    ):
        assert log_in(site, "ana", "secret", next=hostile).headers["location"] == "/", hostile
        assert site.visitor(Role.VIEWER, "ana").get("/login", params={"next": hostile}).headers["location"] == "/", hostile
    asked = site.visitor().get("/me?a=b&c=d")
    assert asked.headers["location"] == "/login?next=/me%3Fa%3Db%26c%3Dd"
    assert site.visitor().post("/me/away").headers["location"] == "/login"


# Forgery


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"X-CSRF-Token": ""}, 403),
        ({"X-CSRF-Token": "0" * 64}, 403),
        ({"X-CSRF-Token": "\xe9"}, 403),
        ({"X-CSRF-Token": csrf("another session")}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "https://127.0.0.1:8321"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Host": "evil.example:8321", "Origin": "http://evil.example:8321"}, 403),
        ({"Host": "127.0.0.1.evil.example:8321", "Origin": "http://127.0.0.1.evil.example:8321"}, 403),
        ({"Host": "localhost:8321", "Origin": "http://localhost:8321"}, 303),
    ],
)
def test_a_write_from_elsewhere_is_refused(site: Site, headers: dict[str, str], status: int) -> None:
    """The token against forgery and the origin must both be right, also where another name was made to point at this machine."""
    ana = site.visitor(Role.VIEWER, "ana")
    sent = {name.encode(): value.encode("latin-1") for name, value in (ana.headers | headers).items()}
    answer = ana.client.post("/me/away", headers=sent)
    assert answer.status_code == status
    assert site.app.store.people.named("ana").away is (status == 303)


def test_a_write_without_an_origin_needs_the_browsers_word(site: Site) -> None:
    """Old browsers leave `Origin` out; then `Sec-Fetch-Site` must say that it is ours, and the Host must be."""
    ana = site.visitor(Role.VIEWER, "ana")
    token = {"X-CSRF-Token": csrf(ana.session)}
    for more, status in (
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Host": "evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
    ):
        assert ana.client.post("/me/away", headers=token | more).status_code == status, more


def test_the_token_may_come_in_the_form(site: Site) -> None:
    """Without script a form carries it; that of another person's session is none."""
    ana, bo = site.visitor(Role.VIEWER, "ana"), site.visitor(Role.VIEWER, "bo")
    for given, status in ((csrf(ana.session), 303), (csrf(bo.session), 403), ("", 403)):
        assert ana.client.post("/me/away", data={"csrf": given}, headers={"Origin": site.url}).status_code == status
    page = ana.get("/me").text
    assert set(re.findall(r'name="csrf" value="(\w+)"', page)) == {csrf(ana.session)}
    assert page.count('method="post"') == page.count('name="csrf"')


@pytest.mark.parametrize("path", ["/login", "/welcome"])
def test_log_in_and_welcome_are_guarded_against_forgery_too(site: Site, path: str) -> None:
    """Otherwise somebody could be logged in as another person without noticing."""
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}):
        assert site.visitor().post(path, {"token": "x", "name": "ana", "password": "x"}, headers=headers).status_code == 403


# Cookies and headers


@contextmanager
def over_tls(folder: Path) -> Iterator[Site]:
    app = service(folder, f"sqlite:///{folder}/triage.db", rules='web: {url: "https://Triage.Example:443/", proxies: 127.0.0.1}\n')
    yield Site(app)
    app.close()


def test_cookies(site: Site, tmp_path: Path, cheap: list[str]) -> None:
    """A plain name on this machine; over TLS the prefix that binds it to the host."""
    site.person(Role.VIEWER, "ana", password="secret")
    plain = log_in(site, "ana", "secret").headers["set-cookie"].lower()
    assert plain.startswith("triage=")
    assert "httponly" in plain
    assert "samesite=lax" in plain
    assert "; secure" not in plain
    (tmp_path / "tls").mkdir()
    with over_tls(tmp_path / "tls") as tls:
        tls.person(Role.VIEWER, "ana", password="secret")
        strict = log_in(tls, "ana", "secret").headers["set-cookie"].lower()
        assert tls.url == "https://triage.example"
        for wanted in ("__host-triage=", "httponly", "samesite=lax", "; secure", "path=/"):
            assert wanted in strict, wanted
        assert "domain" not in strict
        ana = tls.visitor(Role.VIEWER, "ana")
        assert ana.post("/me/away").status_code == 303
        assert ana.post("/me/back", headers={"Origin": "http://triage.example"}).status_code == 403
        assert ana.post("/me/back", headers={"Host": "127.0.0.1:8321", "Origin": "http://127.0.0.1:8321"}).status_code == 403


def test_every_answer_carries_the_headers(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, files of ours, refusals, what is not there, and what went wrong."""
    monkeypatch.setattr(site.app.store.people, "all", lambda: 1 / 0)
    visitor = site.visitor(Role.VIEWER)
    asset = re.search(r"/assets/static/style\.css\?\w+", visitor.get("/me").text)
    assert asset is not None
    answers = {
        200: visitor.get("/me"),
        303: site.visitor().get("/me"),
        403: visitor.post("/people", {"role": "viewer"}),
        404: visitor.get("/nowhere"),
        405: visitor.call("DELETE", "/me"),
        500: visitor.get("/people"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert "Traceback" not in answer.text
        assert "ZeroDivision" not in answer.text
        assert HEADERS.items() <= dict(answer.headers).items(), status
        assert answer.headers["cache-control"] == "no-store", status
        assert "strict-transport-security" not in answer.headers
    kept, lost = visitor.get(asset[0]), visitor.get("/assets/static/nothing.css")
    assert (kept.status_code, lost.status_code) == (200, 404)
    assert HEADERS.items() <= dict(kept.headers).items()
    assert HEADERS.items() <= dict(lost.headers).items()
    assert "immutable" in kept.headers["cache-control"]
    assert lost.headers["cache-control"] == "no-store"
    (tmp_path / "tls").mkdir()
    with over_tls(tmp_path / "tls") as tls:
        assert tls.visitor().get("/login").headers["strict-transport-security"] == "max-age=31536000"


# Invitations and people


def test_an_invitation_works_once(both: Site, cheap: list[str]) -> None:
    """Also of two who use it at the same moment; not when it is too old."""
    now = both.app.clock.now()
    for number in range(10):
        token = both.app.store.people.invite(Role.TRIAGER, "triage", now)

        def use(name: str, token: str = token) -> int:
            return int(both.visitor().post("/welcome", {"token": token, "name": name, "password": "a sentence"}).status_code)

        found = in_together([lambda n=number: use(f"a{n}"), lambda n=number: use(f"b{n}")])  # type: ignore[misc]
        assert sorted(found) == [303, 409]
        assert both.visitor().get("/welcome", params={"token": token}).status_code == 409
    assert len(both.app.store.people.all()) == 10
    token = both.app.store.people.invite(Role.TRIAGER, "triage", now)
    assert both.visitor().get("/welcome", params={"token": token}).status_code == 200
    both.app.clock.move(days=3)
    assert both.visitor().post("/welcome", {"token": token, "name": "late", "password": "a sentence"}).status_code == 409
    assert both.visitor().get("/welcome").status_code == 409


def test_the_first_admin_voids_what_each_start_printed_for_one(both: Site, cheap: list[str]) -> None:
    """Every start prints a link while nobody has a log-in: none of them makes a second admin later. A person's own invitation stays."""
    people, now = both.app.store.people, both.app.clock.now()
    used, left, own = (people.invite(Role.ADMIN, by, now) for by in ("triage", "triage", "operator"))
    assert both.visitor().post("/welcome", {"token": used, "name": "ana", "password": "a sentence"}).status_code == 303
    assert [both.visitor().get("/welcome", params={"token": token}).status_code for token in (left, own)] == [409, 200]


def test_an_account_by_which_posts_are_there_is_for_an_admin_to_add(site: Site) -> None:
    """On the page of people: on their own page not even an admin, who may have mistyped it, nor by any token."""
    site.app.acme.post("noor@x.example", "how do I print?")
    site.app.pass_()
    ana, admin, form = site.visitor(Role.TRIAGER, "ana"), site.visitor(Role.ADMIN), {"handles": "ana@x.example\nNoor@x.example"}
    for visitor in (ana, admin):
        assert "posts by Noor@x.example are in the inbox (1)" in visitor.post("/me", form).text
    assert site.program(Role.ADMIN).post("/people/ana/handles", data=form).status_code == 403
    assert site.app.store.people.handles() == frozenset()
    assert admin.post("/people/ana/handles", form).status_code == 303
    assert site.app.store.people.handles() == {"ana@x.example", "noor@x.example"}
    assert "Noor@x.example</textarea>" in admin.get("/people").text
    assert ana.post("/me", form).status_code == 303
    assert "Accounts" not in ana.get("/people").text


def test_a_new_password_ends_what_was(site: Site, cheap: list[str]) -> None:
    """Sessions, earlier links, and the slow-down; a disabled person can't come back by an old link."""
    ana, admin = site.visitor(Role.VIEWER, "ana"), site.visitor(Role.ADMIN)
    first, link = (
        found[1] for _ in range(2) if (found := re.search(r"/welcome\?token=([\w-]+)", admin.post("/people/ana/password").text)) is not None
    )
    for _ in range(6):
        log_in(site, "ana", "wrong")
    assert log_in(site, "ana", "wrong").status_code == 429
    assert site.visitor().post("/welcome", {"token": first, "password": "a sentence"}).status_code == 409
    assert site.visitor().post("/welcome", {"token": link, "name": "mallory", "password": "a sentence"}).status_code == 303
    assert not in_as(ana)
    assert [one.name for one in site.app.store.people.all()] == ["admin", "ana"]
    assert log_in(site, "ana", "a sentence").status_code == 303
    again = re.search(r"/welcome\?token=([\w-]+)", admin.post("/people/ana/password").text)
    assert again is not None
    admin.post("/people/ana/disable")
    assert site.visitor().post("/welcome", {"token": again[1], "password": "a sentence"}).status_code == 409
    assert admin.post("/people/ana/password").status_code == 409


def test_a_person_changes_their_password(site: Site, cheap: list[str]) -> None:
    """It needs the old one, ends the other sessions, and this browser goes on with a new one."""
    site.person(Role.VIEWER, "ana", password="old one")
    ana, phone = site.visitor(Role.VIEWER, "ana"), site.visitor(Role.VIEWER, "ana")
    assert ana.post("/me/password", {"old": "wrong", "new": "new one"}).status_code == 409
    assert in_as(phone)
    answer = ana.post("/me/password", {"old": "old one", "new": "new one"})
    assert answer.status_code == 303
    assert not in_as(phone)
    assert in_as(Visitor(site, session=answer.cookies["triage"]))
    assert not in_as(Visitor(site, session=ana.session))
    assert log_in(site, "ana", "old one").status_code == 401
    assert log_in(site, "ana", "new one").status_code == 303


def test_one_admin_stays(both: Site) -> None:
    """The last one can't be demoted or disabled; of two who demote each other at the same moment one stays."""
    people, now = both.app.store.people, both.app.clock.now()
    ana, bo = both.visitor(Role.ADMIN, "ana"), both.visitor(Role.ADMIN, "bo")
    for number in range(20):
        change = {"disabled": True} if number % 2 else {"role": Role.VIEWER}
        found = in_together(
            [lambda c=change: people.change("bo", "ana", now, **c), lambda c=change: people.change("ana", "bo", now, **c)]  # type: ignore[misc]
        )
        assert sum(isinstance(one, UserError) for one in found) == 1, found
        assert "last admin" in str(next(one for one in found if isinstance(one, UserError)))
        assert len([one for one in people.all() if one.role is Role.ADMIN and one.disabled_at is None]) == 1
        for name in ("ana", "bo"):
            people.change(name, "triage", now, role=Role.ADMIN, disabled=False)
    ana, bo = both.visitor(Role.ADMIN, "ana"), both.visitor(Role.ADMIN, "bo")
    assert ana.post("/people/bo/role", {"role": "viewer"}).status_code == 303
    assert bo.post("/people/ana/role", {"role": "viewer"}).status_code == 403
    for path, data in (("/people/ana/role", {"role": "viewer"}), ("/people/ana/disable", {})):
        assert "last admin" in ana.post(path, data).text


def test_the_invitations_of_who_is_no_admin_any_more_are_void(site: Site) -> None:
    """Otherwise somebody who is sent away keeps a way back in their pocket."""
    ana, bo = site.visitor(Role.ADMIN, "ana"), site.visitor(Role.ADMIN, "bo")
    found = re.search(r"/welcome\?token=([\w-]+)", ana.post("/people", {"role": "admin"}).text)
    assert found is not None
    assert site.visitor().get(f"/welcome?token={found[1]}").status_code == 200
    bo.post("/people/ana/disable")
    assert site.visitor().get(f"/welcome?token={found[1]}").status_code == 409


def test_only_files_are_compressed(site: Site) -> None:
    """A page holds secrets beside what comes from outside: compressed, its length would tell of them."""
    visitor = site.visitor(Role.ADMIN)
    page = visitor.get("/", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in page.headers
    style = re.search(r'href="(/assets/static/style.css[^"]*)"', page.text)
    assert style is not None
    file = visitor.get(style[1], headers={"Accept-Encoding": "gzip"})
    assert file.headers["content-encoding"] == "gzip"
    assert "immutable" in file.headers["cache-control"]
