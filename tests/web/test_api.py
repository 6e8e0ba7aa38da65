"""The API: what a program may ask, what it gets, and that nothing it sends breaks anything."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from tests.service import service
from triage.person import Person, Role
from triage.pipeline import items
from triage.web import create

SECRET = "a secret of sixteen characters"
BASE = "http://127.0.0.1:8321"


class Site:
    """A service with its API, and a token for each role."""

    def __init__(self, folder: Path, store: str) -> None:
        (folder / "forum.secret").write_text(SECRET)
        self.app = service(folder, store, source="}\n  forum: {platform: push, secret: {file: forum.secret}")
        self.client = TestClient(create(self.app), base_url=BASE, follow_redirects=False)
        self.tokens = {role: self._token(role) for role in Role}

    def _token(self, role: Role) -> str:
        return self.app.store.sessions.make_token(self.person(role), "test", self.app.clock.now())

    def person(self, role: Role) -> Person:
        now = self.app.clock.now()
        found = self.app.store.people.by_name(str(role))
        return found[0] if found else self.app.store.people.come(self.app.store.people.invite(role, "triage", now), str(role), "", "", now)

    def ask(self, method: str, path: str, role: Role | None = Role.TRIAGER, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return self.client.request(method, f"/api{path}", headers=headers, **more)

    def push(self, posts: Any, *, secret: str = SECRET, source: str = "forum", late: int = 0) -> Any:
        body = json.dumps(posts).encode()
        stamp = str(int(self.app.clock.now().timestamp()) - late)
        made = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"X-Triage-Source": source, "X-Triage-Timestamp": stamp, "X-Triage-Signature": f"sha256={made}"}
        return self.client.post("/api/mentions", content=body, headers=headers | {"Content-Type": "application/json"})


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Iterator[Site]:
    made = Site(tmp_path, store_url)
    yield made
    made.app.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    """On SQLite alone, where the database makes no difference."""
    made = Site(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    yield made
    made.app.close()


def test_a_bug_goes_from_the_queue_to_a_ticket_and_an_answer(site: Site) -> None:
    """All that the queue's page does, as a program does it."""
    site.app.acme.post("mira@x.example", "how do I export?")
    site.app.pass_()
    [item] = site.ask("GET", "/queue").json()
    assert (item["label"], item["author"], item["state"]) == ("support_question", "mira@x.example", "open")
    assert site.ask("POST", f"/mentions/{item['mention']}/label", json={"label": "bug_report"}).json()["actions"]
    site.app.pass_()
    shown = site.ask("GET", f"/mentions/{item['mention']}").json()
    assert (shown["ticket"]["key"], shown["verdict"]["by"]) == ("MEM-1", "triager")
    [task] = site.ask("GET", "/queue").json()
    answered = site.ask("POST", f"/tasks/{task['id']}/answer", json={"text": "Thank you, it is filed."})
    assert answered.status_code == 200
    site.app.pass_()
    assert site.app.acme.replies == []  # held, as from the page
    site.app.pass_(seconds=15)
    assert [sent.mention.text for sent in site.app.acme.replies] == ["@mira@x.example Thank you, it is filed."]
    again = site.ask("POST", f"/tasks/{task['id']}/answer", json={"text": "Thank you, it is filed."})
    assert again.status_code == 409
    assert "is done by triager" in again.json()["error"]
    assert len(site.app.acme.replies) == 1


def test_a_signed_channel_sends_posts_which_are_judged_and_never_taken_in_twice(site: Site) -> None:
    """Its link is a post's identity: the same is known, another text is an edit; and it is answered by hand."""
    posts = [
        {"text": "the export is broken", "link": "https://forum.example/1", "author": "lee", "date": "2026-05-01T12:00:00Z"},
        {"text": "how do I sync?", "link": "https://forum.example/2"},
        {"text": "", "link": "https://forum.example/3"},
        {"text": "no link of the web", "link": "javascript:alert(1)"},
    ]
    first = site.push(posts)
    assert first.status_code == 200
    taken = first.json()
    assert (len(taken["new"]), taken["known"]) == (2, 0)
    assert [one["index"] for one in taken["broken"]] == [2, 3]
    assert site.push(posts).json()["new"] == []
    site.app.pass_()
    assert {row["source"] for row in site.app.queue()} == {"forum"}
    edited = site.push(
        {"text": "the export is broken, furious!", "link": "https://forum.example/1", "author": "lee", "date": "2026-05-01T12:00:00Z"}
    )
    assert edited.json()["changed"] == taken["new"][:1]
    site.app.pass_()
    task = next(row for row in site.app.queue() if row["text"] == "how do I sync?")
    assert site.ask("POST", f"/tasks/{task['id']}/answer", json={"text": "Like this."}).status_code == 200
    assert [row["kind"] for row in site.app.queue() if row["mention"] == task["mention"]] == ["post by hand"]


def test_the_list_and_what_is_done_with_an_item(site: Site) -> None:
    """Found by filters and words, given, put to sleep, noted on, taken back and closed."""
    post = site.app.acme.post("mira@x.example", "how do I export?")
    site.app.acme.post("noor@x.example", "I love it")
    site.app.pass_()
    item = site.app.store.desk.mention_id(post.uri)

    def listed(**query: Any) -> list[int]:
        answer = site.ask("GET", "/mentions", params=query)
        assert answer.status_code == 200, answer.text
        return [row["mention"] for row in answer.json()["rows"]]

    assert listed(label="support_question") == [item]
    assert len(listed(state="all", limit=1)) == 1
    assert listed(state="all", label="praise") != [item]
    assert listed(state="all", q="export") == [item]
    assert site.ask("POST", f"/mentions/{item}/assign", json={"to": "nobody-here"}).status_code == 409
    assert site.ask("POST", f"/mentions/{item}/assign", json={"to": "triager"}).json() == {"said": "triager has it now"}
    assert site.ask("POST", f"/mentions/{item}/assign", json={"to": None}).status_code == 409, "somebody has it"
    assert listed(state="mine") == [item]
    assert site.ask("POST", f"/mentions/{item}/snooze", json={}).status_code == 200
    assert listed(state="snoozed") == [item]
    assert site.ask("POST", f"/mentions/{item}/wake").status_code == 200
    for when in ("9999-12-31T23:59:00-12:00", "2001-01-01T00:00:00Z", "2030-01-01T00:00:00"):
        assert site.ask("POST", f"/mentions/{item}/snooze", json={"until": when}).status_code in (409, 422)
    assert site.ask("POST", f"/mentions/{item}/note", json={"text": "ask @triager"}).json() == {"said": "noted for triager"}
    assert site.ask("POST", f"/mentions/{item}/undo").json() == {"said": "the note is gone"}
    assert site.ask("POST", f"/mentions/{item}/claim").status_code == 200
    assert site.ask("POST", f"/mentions/{item}/release").status_code == 200
    assert site.ask("POST", f"/mentions/{item}/close", json={"why": "seen"}).status_code == 200
    assert listed(label="support_question") == []
    assert site.ask("POST", f"/mentions/{item}/close", json={}).status_code == 409
    names = {one["name"]: one["state"] for one in site.ask("GET", "/sources").json()}
    assert names["acme"] == "ok"
    assert "answered" in {one["name"] for one in site.ask("GET", "/insights", params={"days": 7}).json()}


def test_an_answer_by_the_api_is_held_and_goes_once(site: Site) -> None:
    """As from the page: checked first, taken back in time, refused when somebody was quicker, carried out once when sent twice."""
    post = site.app.acme.post("mira@x.example", "how do I export?")
    site.app.pass_()
    item = site.app.store.desk.mention_id(post.uri)
    assert site.ask("PUT", f"/mentions/{item}/draft", Role.TRAINEE, json={"text": "Press"}).status_code == 200
    desk = site.ask("GET", f"/mentions/{item}/reply").json()
    assert (desk["may"], desk["newest"], [one["text"] for one in desk["drafts"]]) == ("yes", 0, ["Press"])
    sent = {"text": "Press Export.", "once": "a", "known": desk["newest"]}
    first = site.ask("POST", f"/mentions/{item}/reply", json=sent)
    assert first.status_code == 200
    assert site.ask("POST", f"/mentions/{item}/reply", json=sent).json() == first.json()
    assert site.ask("POST", f"/mentions/{item}/reply", json=sent | {"once": "b"}).status_code == 409, "it was answered"
    assert site.ask("POST", f"/mentions/{item}/reply", json=sent | {"once": "b", "again": True}).status_code == 409, "seen before that"
    site.app.pass_(seconds=5)
    assert site.app.acme.replies == []
    assert site.ask("POST", f"/mentions/{item}/reply/undo").status_code == 200
    assert site.ask("POST", f"/mentions/{item}/reply", json=sent | {"once": "c"}).status_code == 200
    site.app.pass_(seconds=20)
    assert len(site.app.acme.replies) == 1
    assert site.ask("POST", f"/mentions/{item}/reply/undo").status_code == 409


def test_what_has_changed_since_it_was_seen_is_not_decided_on(site: Site) -> None:
    """By each verb that a form of the page's says it to, in the same words; who says nothing of it decides all the same."""
    post = site.app.acme.post("mira@x.example", "how do I export?")
    site.app.pass_()
    item = site.app.store.desk.mention_id(post.uri)
    (task,) = (row["id"] for row in site.ask("GET", "/queue").json())
    seen = site.ask("GET", f"/mentions/{item}").json()["seen"]
    assert seen == site.ask("GET", f"/mentions/{item}/context").json()["seen"] == str(site.app.store.items.look(item).seen)
    verbs: dict[str, dict[str, Any]] = {
        f"/mentions/{item}/label": {"label": "noise"},
        f"/mentions/{item}/ticket": {},
        f"/mentions/{item}/close": {},
        f"/mentions/{item}/assign": {"to": "triager"},
        f"/mentions/{item}/snooze": {},
        f"/tasks/{task}/close": {"why": "seen"},
        **{f"/actions/{task}/{verb}": {} for verb in ("retry", "park", "drop")},
        f"/actions/{task}/found": {"key": "MEM-1"},
    }
    items.label(site.app, item, "praise", "ana")
    for path, body in verbs.items():
        refused = site.ask("POST", path, json=body | {"seen": seen})
        assert refused.status_code == 409, path
        assert refused.json()["error"] == "ana has labelled it praise meanwhile; nothing was done; look at it again", path
        assert site.ask("POST", path, json=body | {"seen": "yesterday"}).status_code == 422
    fresh = site.ask("GET", f"/mentions/{item}").json()["seen"]
    site.app.acme.edit(post.remote_id, "I love it, maybe")
    site.app.pass_(hours=2)
    edited: dict[str, dict[str, Any]] = {"same": {"other": str(_another(site))}, "boost": {"sure": True}, "snooze": {}}
    for verb, body in edited.items():
        refused = site.ask("POST", f"/mentions/{item}/{verb}", json=body | {"seen": fresh})
        assert (refused.status_code, "edited the post meanwhile" in refused.text) == (409, True), (verb, refused.text)
    assert site.ask("POST", f"/mentions/{item}/snooze", json={"seen": str(site.app.store.items.look(item).seen)}).status_code == 200
    assert site.ask("POST", f"/mentions/{item}/label", json={"label": "noise"}).status_code == 200


def _another(site: Site) -> int:
    post = site.app.acme.post("noor@x.example", "how do I sync?")
    site.app.pass_()
    return site.app.store.desk.mention_id(post.uri)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_name_that_was_given_to_another_answer_is_refused(site: Site, by_hand: bool) -> None:
    """It would be told as carried out, and nobody would answer. A draft that names it is kept."""
    mentions = []
    for text in ("how do I export?", "how do I sync?"):
        post = site.app.acme.post("mira@x.example", text)
        site.app.pass_()
        mentions.append(site.app.store.desk.mention_id(post.uri))
    first, second = mentions
    sent = {"text": "Press Export.", "once": "a", "by_hand": by_hand}
    assert site.ask("POST", f"/mentions/{first}/reply", json=sent).status_code == 200
    refused = site.ask("POST", f"/mentions/{second}/reply", json=sent)
    assert refused.status_code == 409
    assert "this form was sent for another post; nothing was sent" in refused.json()["error"]
    assert [row["mention"] for row in site.app.queue()] == [second]
    now = site.app.clock.now()
    assert site.app.store.drafts.save(second, "triager", "Press Export.", now, once="a")
    assert not site.app.store.drafts.save(first, "triager", "Press Export.", now, once="a")
    assert site.ask("POST", f"/mentions/{second}/reply", json=sent | {"once": "b"}).status_code == 200
    site.app.pass_(seconds=20)
    assert len(site.app.acme.replies) == (0 if by_hand else 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"secret": "another secret of ours"}, "X-Triage-Signature does not fit"),
        ({"late": 301}, "more than 300 s off"),
        ({"late": -301}, "more than 300 s off"),
        ({"source": "acme"}, "sign the request as a source with"),
        ({"source": "nobody"}, "sign the request as a source with"),
    ],
)
def test_what_is_not_signed_by_a_channel_is_refused(small: Site, wrong: dict[str, Any], said: str) -> None:
    """With the reason, and nothing is stored."""
    answer = small.push({"text": "hello"}, **wrong)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert said in answer.json()["error"]
    assert small.app.store.views.count() == 0


def test_a_body_that_was_changed_on_the_way_is_refused(small: Site) -> None:
    """The signature holds for the very bytes."""
    stamp = str(int(small.app.clock.now().timestamp()))
    made = hmac.new(SECRET.encode(), stamp.encode() + b'.{"text": "hello"}', hashlib.sha256).hexdigest()
    headers = {"X-Triage-Source": "forum", "X-Triage-Timestamp": stamp, "X-Triage-Signature": f"sha256={made}"}
    headers |= {"Content-Type": "application/json"}
    assert small.client.post("/api/mentions", content=b'{"text": "hallo"}', headers=headers).status_code == 401
    assert small.client.post("/api/mentions", content=b'{"text": "hello"}', headers=headers).status_code == 200


def test_posts_may_come_by_a_triagers_token_too(small: Site) -> None:
    """Then they are imported ones; a viewer may not send any."""
    assert small.ask("POST", "/mentions", json={"text": "hello"}).json()["new"] == [1]
    refused = small.ask("POST", "/mentions", Role.VIEWER, json={"text": "hello two"})
    assert (refused.status_code, small.app.store.views.count()) == (403, 1)
    assert small.ask("POST", "/mentions", json=[{"text": f"hello {n}"} for n in range(501)]).status_code == 409


def test_bad_requests_get_a_sentence(small: Site) -> None:
    """Which names the key, in JSON, with a status that says whose mistake it is."""
    for method, path, body, status, said in (
        ("POST", "/mentions/1/label", {"label": "bug"}, 422, "label: input should be"),
        ("POST", "/mentions/1/label", {"label": "praise", "lable": 1}, 422, "lable: extra inputs are not permitted"),
        ("POST", "/mentions/999/label", {"label": "praise"}, 409, "there is no mention '999'"),
        ("GET", "/mentions/0", None, 422, "greater than or equal to 1"),
        ("POST", "/tasks/77/close", {}, 409, "there is no task 77"),
        ("GET", "/nothing", None, 404, "there is no such page"),
        ("DELETE", "/queue", None, 405, "that can't be done here"),
    ):
        answer = small.ask(method, path, json=body)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
        assert said in answer.json()["error"]
    large = small.ask("POST", "/mentions", json={"text": "x" * 1_100_000})
    assert (large.status_code, "a megabyte at most" in large.text) == (413, True)
    unsized = small.ask("POST", "/mentions", content=(b"x" * 65_536 for _ in range(17)))
    assert (unsized.status_code, "a megabyte at most" in unsized.text) == (413, True)


# Every route, with whatever the document allows and what it does not


def test_no_request_breaks_it_and_none_is_open(small: Site) -> None:
    """By its document every route is sent requests that fit and requests that don't: no 5xx, no answer that the document does not tell of.

    Without a token each is refused.
    """
    import schemathesis  # it is slow, and each process of a test run imports this file
    from schemathesis import GenerationMode
    from schemathesis.core.result import Ok
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

    small.app.acme.post("mira@x.example", "how do I export?")
    small.app.pass_()
    token = {"Authorization": f"Bearer {small.tokens[Role.ADMIN]}"}
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", small.client.app, headers=token)
    asked = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(asked) >= 50
    for operation in asked:
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)

            @settings(max_examples=5, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
            @given(case=strategy)
            def each(case: Any) -> None:
                answer = case.call(headers=token, timeout=300)  # the first `why` loads the classifier
                assert answer.status_code < 500, answer.text
                case.validate_response(answer, checks=[status_code_conformance, response_schema_conformance, content_type_conformance])

            with suppress(Unsatisfiable):  # nothing about some routes can be wrong
                each()
        open_ = small.client.request(
            operation.method, operation.path.replace("{mention}", "1").replace("{task}", "1").replace("{action}", "1"), json={"text": "x"}
        )
        assert open_.status_code in (401, 422), operation.label
        assert "error" in open_.json()
