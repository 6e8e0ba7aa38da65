"""What the pages do a program can do, too: each route of a page has its twin in the API, or a reason why not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import service
from tests.web.site import Site
from triage.person import Role
from triage.web import access, api

ELSEWHERE = {
    ("GET", "/"): ("GET", "/api/mentions"),
    ("GET", "/rows"): ("GET", "/api/mentions"),
    ("GET", "/mentions/{mention_id}/presence"): ("GET", "/api/mentions/{mention}/context"),
    ("POST", "/mentions/{mention_id}/draft"): ("PUT", "/api/mentions/{mention}/draft"),
    ("POST", "/mentions/{mention_id}/retry"): ("POST", "/api/actions/{action}/retry"),
    ("POST", "/mentions/{mention_id}/drop"): ("POST", "/api/actions/{action}/drop"),
    ("POST", "/mentions/{mention_id}/found"): ("POST", "/api/actions/{action}/found"),
    ("POST", "/mentions/{mention_id}/reply/approve"): ("POST", "/api/actions/{action}/approve"),
    ("POST", "/mentions/{mention_id}/reply/refuse"): ("POST", "/api/actions/{action}/refuse"),
    ("POST", "/tasks/{task_id}/{verb}"): ("POST", "/api/tasks/{task}/close"),  # retry and drop are those of actions
    ("GET", "/insights.csv"): ("GET", "/api/insights"),
}
"""Twins whose address is not the page's with `/api` before it."""

A_WAY_IN = "a token that was found must not make a way in that outlives it"
LOG_IN = "a program brings its token with each request and has no session"
PAGE_ONLY = {
    ("GET", "/login"): LOG_IN,
    ("POST", "/login"): LOG_IN,
    ("POST", "/logout"): LOG_IN,
    ("GET", "/welcome"): LOG_IN,
    ("POST", "/welcome"): LOG_IN,
    ("POST", "/people"): A_WAY_IN,
    ("POST", "/people/{name}/role"): A_WAY_IN,
    ("POST", "/people/{name}/enable"): A_WAY_IN,
    ("POST", "/people/{name}/handles"): "a token that was found must not hide what a customer writes",
    ("POST", "/people/{name}/password"): A_WAY_IN,
    ("POST", "/me/tokens"): A_WAY_IN,
    ("POST", "/me/password"): A_WAY_IN,
    ("POST", "/mentions/{mention_id}/presence"): "nobody sits before a program: colleagues would wait for somebody who is not there",
    ("GET", "/live"): "it is a stream of events, which a program reads as it is, by its token",
    ("GET", "/metrics"): "it is for programs as it is",
    ("GET", "/healthz"): "it is for programs as it is",
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    yield Site(app)
    app.close()


def shape(path: str) -> str:
    """A path without the names of its parameters."""
    return re.sub(r"\{\w+\}", "{}", path)


def test_every_route_of_the_pages_has_a_twin_for_the_same_role(site: Site) -> None:
    """Whoever adds a verb to a page adds it to the API, or writes here why not."""
    table = access.table(site.web)
    twins = {(method, shape(path)): role for (method, path), role in table.items() if path.startswith("/api/")}
    pages = {route: role for route, role in table.items() if not route[1].startswith("/api/")}
    assert (ELSEWHERE.keys() | PAGE_ONLY.keys()) <= pages.keys(), "what is gone needs no line above"
    missing = []
    for (method, path), role in pages.items():
        if (method, path) in PAGE_ONLY:
            assert (method, shape(f"/api{path}")) not in twins, f"{path} has a twin; take its line away"
            continue
        twin = ELSEWHERE.get((method, path), (method, f"/api{path}"))
        if twins.get((twin[0], shape(twin[1]))) != role:
            missing.append((method, path, role))
    assert missing == []


def test_the_document_tells_everything(site: Site) -> None:
    """Each operation has words, a shape for its answer and for its refusals; each shape has words, too."""
    made = api.document(site.web)
    for path, operations in made["paths"].items():
        for method, one in operations.items():
            where = f"{method} {path}"
            assert one["summary"], where
            assert one["description"], where
            answer = one["responses"]["200"]["content"]["application/json"]["schema"]
            assert answer.keys() & {"$ref", "items", "type"}, where
            for status in ("401", "403", "404", "409", "413", "422", "502", "503"):
                assert one["responses"][status]["content"]["application/json"]["schema"]["$ref"].endswith("/Fault"), (where, status)
            if method in ("post", "put") and "requestBody" in one:
                assert "$ref" in str(one["requestBody"]), where
    ours = {name: one for name, one in made["components"]["schemas"].items() if one.get("type") == "object"}
    assert [name for name, one in ours.items() if not one.get("description") and "Validation" not in name] == []


# What a program does by the newer ones


def say(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["said"])


def test_many_items_at_once_and_lists_that_are_saved(site: Site) -> None:
    """The same verbs as the page's; a failure is told for each, and what one saves is one's own."""
    ana, bo = site.program(Role.TRIAGER, "ana"), site.program(Role.TRIAGER, "bo")
    for text in ("how do I export?", "how do I sync?"):
        site.app.acme.post("mira@x.example", text)
    site.app.pass_()
    assert ana.get("/api/counts").json() | {"sources": [], "languages": []} == {
        "open": 2,
        "mine": 0,
        "approval": 0,
        "snoozed": 0,
        "waiting": 0,
        "sources": [],
        "languages": [],
    }
    done = ana.post("/api/bulk", json={"do": "assign", "ids": [1, 2, 2, 77], "to": "bo"}).json()
    assert (done["done"], done["told"], [one["id"] for one in done["failed"]]) == (2, "assigned to bo", [77])
    assert bo.get("/api/counts").json()["mine"] == 2
    assert ana.post("/api/bulk", json={"do": "snooze", "ids": [1]}).status_code == 409, "until when?"
    assert ana.post("/api/bulk", json={"do": "snooze", "ids": [1], "until": "reply"}).json()["done"] == 1
    assert ana.post("/api/bulk", json={"do": "close", "ids": []}).status_code == 422
    assert say(ana.post("/api/saved", json={"name": " my  list ", "query": "state=snoozed&nonsense=1"})) == "saved as my list"
    [kept] = ana.get("/api/saved").json()
    assert (kept["name"], kept["query"]) == ("my list", "state=snoozed")
    assert bo.get("/api/saved").json() == []
    assert bo.post(f"/api/saved/{kept['id']}/forget").status_code == 409
    say(ana.post(f"/api/saved/{kept['id']}/forget"))
    assert ana.get("/api/saved").json() == []


def test_what_stands_around_an_item_and_the_answer_before_it_is_sent(site: Site) -> None:
    """Thread, history, notes and lookers; the preview keeps nothing."""
    ana = site.program(Role.TRIAGER, "ana")
    site.app.acme.post("mira@x.example", "I love it")
    post = site.app.acme.post("mira@x.example", "how do I export?")
    site.app.pass_()
    item = site.app.store.desk.mention_id(post.uri)
    say(ana.post(f"/api/mentions/{item}/note", json={"text": "seen before"}))
    site.visitor(Role.TRIAGER, "bo").post(f"/mentions/{item}/presence")
    say(ana.post(f"/api/mentions/{item}/claim"))
    around = ana.get(f"/api/mentions/{item}/context").json()
    assert [one["text"] for one in around["earlier"]] == ["I love it"]
    assert [(one["by"], one["text"]) for one in around["notes"]] == [("ana", "seen before")]
    assert [one["person"] for one in around["looking"]] == ["bo"]
    assert (around["claimed_by"], around["posts"], around["snoozed_until"]) == ("ana", 2, None)
    bo = site.program(Role.TRIAGER, "bo")
    assert bo.post(f"/api/mentions/{item}/claim").status_code == 409
    assert bo.post(f"/api/mentions/{item}/claim", json={"over": True, "holder": "kim"}).status_code == 409
    say(bo.post(f"/api/mentions/{item}/claim", json={"over": True, "holder": "ana"}))
    seen = ana.post(f"/api/mentions/{item}/reply/preview", json={"text": "Press Export."}).json()
    assert [one["text"] for one in seen["posts"]] == ["@mira@x.example Press Export."]
    assert (seen["visible"] != "", seen["hits"]) == (True, [])
    desk = ana.get(f"/api/mentions/{item}/reply").json()
    assert (desk["drafts"], desk["given"], desk["suggestion"]) == ([], [], None)
    assert ana.get(f"/api/mentions/{item}/same").json() == []
    assert ana.get("/api/mentions/999/context").status_code == 404


def test_people_and_oneself(site: Site) -> None:
    """Somebody is sent away, one's own page is changed in part, and a token can end itself."""
    admin, ana = site.program(Role.ADMIN), site.program(Role.VIEWER, "ana")
    site.visitor(Role.VIEWER, "ana")
    changed = ana.post("/api/me", json={"zone": "Europe/Berlin", "handles": ["@ana@x.example"]}).json()
    assert changed == {
        "name": "ana",
        "shown": "Ana",
        "role": "viewer",
        "zone": "Europe/Berlin",
        "handles": ["ana@x.example"],
        "away": False,
    }
    assert ana.post("/api/me", json={"zone": "Nowhere"}).status_code == 409
    assert ana.post("/api/me/away").json()["away"] is True
    assert {one["name"]: one["away"] for one in admin.get("/api/people").json()} == {"admin": False, "ana": True}
    assert ana.post("/api/me/back").json() == changed
    site.app.acme.post("noor@x.example", "how do I print?")
    site.app.pass_()
    refused = ana.post("/api/me", json={"handles": ["ana@x.example", "Noor@x.example"]})
    assert (refused.status_code, ana.get("/api/me").json()) == (409, changed)
    assert "posts by Noor@x.example are in the inbox (1)" in refused.json()["error"]
    [session] = ana.get("/api/me/sessions").json()
    say(ana.post("/api/me/sessions/end", json={"session": session["digest"]}))
    assert ana.get("/api/me/sessions").json() == []
    site.visitor(Role.VIEWER, "ana")
    assert say(admin.post("/api/people/ana/logout")) == "1 sessions of ana ended"
    [token] = ana.get("/api/me/tokens").json()
    say(ana.post(f"/api/me/tokens/{token['id']}/end"))
    assert ana.get("/api/me").status_code == 401
    again = site.program(Role.VIEWER, "ana")
    say(admin.post("/api/people/ana/disable"))
    assert again.get("/api/me").status_code == 401
    assert admin.post("/api/people/admin/disable").status_code == 409, "the last admin"
    assert admin.post("/api/people/%00/disable").status_code == 409


def test_one_persons_data(site: Site) -> None:
    """Asked for, taken out, and erased when the handle comes twice; the trail tells who."""
    admin = site.program(Role.ADMIN)
    site.app.acme.post("mira@x.example", "how do I export?")
    site.app.pass_()
    assert admin.get("/api/privacy").json()["held"] is None
    assert admin.get("/api/privacy", params={"handle": "noor@x.example"}).status_code == 409
    held = admin.get("/api/privacy", params={"handle": "mira@x.example"}).json()["held"]
    assert (held["handle"], held["counts"]["mentions"]) == ("mira@x.example", 1)
    document = admin.post("/api/privacy/export", json={"handle": "@mira@x.example"}).json()
    assert [one["text"] for one in document["mentions"]] == ["how do I export?"]
    assert admin.post("/api/privacy/erase", json={"handle": "mira@x.example", "again": "mira"}).status_code == 409
    receipt = admin.post("/api/privacy/erase", json={"handle": "mira@x.example", "again": "@mira@x.example"}).json()
    assert (receipt["counts"]["mentions"], receipt["left"]) == (1, 0)
    assert admin.get("/api/privacy", params={"handle": "mira@x.example"}).status_code == 409


def test_a_source_is_looked_after(site: Site) -> None:
    """Stopped, let go on, polled, let in; what can't be is told."""
    admin = site.program(Role.ADMIN)
    site.app.pass_()
    assert say(admin.post("/api/sources/acme/poll")) == "acme is polled now"
    say(admin.post("/api/sources/acme/stop", json={"why": "a storm"}))
    assert next(one["state"] for one in admin.get("/api/sources").json() if one["name"] == "acme") == "stopped"
    assert admin.post("/api/sources/acme/poll").status_code == 409
    assert say(admin.post("/api/sources/acme/resume")) == "acme goes on"
    say(admin.post("/api/sources/acme/let-in"))
    assert "has no token" in admin.post("/api/sources/acme/token", json={"token": "x"}).json()["error"]
    for verb in ("poll", "let-in", "resume"):
        assert admin.post(f"/api/sources/%00/{verb}").status_code == 409, verb
