"""What is held of one person: previewed, exported, erased everywhere in the store; and what is old enough goes by itself."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.service import Service, service
from tests.web.site import Site
from tests.web.test_access import in_together
from triage.contracts import Item, Page
from triage.errors import NotAccepted, OutcomeUnknown, UserError
from triage.person import Role
from triage.pipeline.privacy import erase
from triage.store.replies import Written
from triage.store.schema import drafts, mentions, meta, metadata, notes

ANA, BO = "ana@example.social", "bo@example.org"
RULES = """
rules:
  - {name: bugs, when: {label: bug_report}, then: ticket, reason: bugs are filed}
  - {name: security, when: {signal: anger}, then: [task, alert], reason: somebody is angry}
  - {name: praise, when: {label: praise}, then: archive, reason: praise}
  - {name: rest, then: task, reason: a person looks}
"""


@pytest.fixture
def filled(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """Ana wrote four posts: filed and edited, answered, praise, asked; Bo wrote one in Ana's thread."""
    app = service(tmp_path, store_url, rules=RULES)
    acme = app.acme
    first = acme.post(ANA, "the xyzzy is broken")
    acme.post(ANA, "how do I xyzzy?")
    acme.post(ANA, "love the xyzzy")
    acme.post(BO, "it is broken for me too", reply_to=first.remote_id)
    app.pass_()
    acme.edit(first.remote_id, "the xyzzy is broken, and plugh too")
    app.pass_(hours=2)
    (task,) = [row for row in app.actions("task") if row["state"] == "planned"]
    app.store.replies.answer(
        task["mention_id"], Written("look at the xyzzy page", ["look at the xyzzy page"], "acme"), "cleo", app.clock.now()
    )
    app.pass_()
    acme.post(ANA, "how do I xyzzy again?")
    app.pass_()
    with app.store.database.write() as connection:
        row = {"mention_id": 1, "at": app.clock.now(), "text": "xyzzy again"}
        connection.execute(sa.insert(notes).values(row | {"by": "cleo", "to": []}))
        connection.execute(sa.insert(drafts).values(row | {"person": "cleo"}))
    yield app
    app.close()


def cells(app: Service) -> Iterator[tuple[str, str]]:
    """Every cell of every table as text, those that are packed unpacked."""
    with app.store.database.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(sa.select(table)).mappings():
                for name, value in row.items():
                    packed = isinstance(value, bytes | memoryview)
                    yield f"{table.name}.{name}", zlib.decompress(bytes(value)).decode() if packed else repr(value)


def traces(app: Service) -> set[str]:
    """Where something of Ana's, or of what was said to her, still stands."""
    return {place for place, text in cells(app) if re.search(r"(?i)\bana\b|example\.social|xyzzy|plugh", text)}


def author(app: Service, handle: str) -> list[dict[str, Any]]:
    with app.store.database.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(mentions).where(mentions.c.author == handle)).mappings()]


def test_erasing_a_person_leaves_no_trace_of_them(filled: Service) -> None:
    """No cell of any table holds their name, their address or their words; others' rows stay."""
    assert {"mentions.text", "revisions.raw", "actions.key", "problems.thread", "notes.text", "drafts.text"} <= traces(filled)
    held = filled.store.privacy.preview(f"@{ANA}")
    receipt = erase(filled, ANA, "admin")
    assert traces(filled) == set()
    assert (receipt.left, receipt.counts["mentions"], held.counts["mentions"]) == (0, 4, 4)
    for name in ("revisions", "notes", "drafts", "verdicts", "actions", "sightings"):
        assert receipt.counts[name] == held.counts[name] > 0, name
    assert len(author(filled, BO)) == 1
    assert filled.store.views.count() == 5, "rows stay for the counts"
    assert [key for key, _ in receipt.tickets] == [key for key, _ in held.tickets] == [filled.tickets.tickets[0].key]
    assert any(receipt.number in text for place, text in cells(filled) if place == "audit.detail")
    assert [row["state"] for row in filled.actions("blank")] == ["planned", "planned"], "the ticket, and the comment that tells of the edit"
    filled.pass_()
    assert [row["state"] for row in filled.actions("blank")] == ["done", "done"]
    assert traces(filled) == set()
    assert "prints" not in repr([row["payload"] for row in filled.actions("blank")])
    told = " ".join(
        [filled.tickets.tickets[0].summary, filled.tickets.tickets[0].text, *(c.text for c in filled.tickets.tickets[0].comments)]
    )
    assert "it is broken for me too" in told, "Bo's report stays"
    assert not re.search(r"(?i)\bana\b|example\.social|xyzzy|plugh", told), told
    assert [row for row in filled.actions("task") if row["state"] == "planned"] == []
    for mention_id in range(1, 6):
        filled.store.views.show(mention_id)
    assert list(filled.store.views.export())
    filled.store.views.queue()
    with pytest.raises(UserError, match="nothing is held"):
        filled.store.privacy.preview(ANA)


def test_what_was_erased_does_not_come_back_and_nothing_happens_twice(filled: Service) -> None:
    """A rescan brings all posts again, one is edited, and Bo goes on in the thread: no new row, ticket or answer of what was."""
    first = author(filled, ANA)[0]["remote_id"]
    erase(filled, ANA, "admin")
    sent = (len(filled.tickets.tickets), len(filled.acme.replies))
    comments = len(filled.actions("comment"))
    filled.acme.edit(first, "the xyzzy is broken, still")
    filled.pass_(days=1, seconds=11)
    filled.pass_(days=1, seconds=11)
    assert traces(filled) == set()
    assert (len(filled.tickets.tickets), len(filled.acme.replies)) == sent
    assert filled.store.views.count() == 5
    filled.acme.post(BO, "it is broken again", reply_to=first)
    filled.pass_()
    assert len(filled.tickets.tickets) == sent[0], "the thread still has its one ticket"
    assert len(filled.actions("comment")) == comments + 1
    assert filled.store.markers.rotate(filled.clock.now(), "admin") >= 0
    filled.pass_(days=1, seconds=11)
    assert traces(filled) == set(), "a new install secret changes nothing"
    fresh = filled.acme.post(ANA, "how about xyzzy?")
    filled.pass_()
    assert [row["uri"] for row in author(filled, ANA)] == [fresh.uri], "what they write after it is new"


def test_what_is_under_way_is_left_and_told(filled: Service) -> None:
    """A ticket in doubt keeps its text until it is known what became of it; the next run takes the rest."""
    filled.tickets.fail("file", OutcomeUnknown("cut"), after=True)
    filled.acme.post(ANA, "saving is broken, xyzzy")
    filled.pass_()
    assert filled.store.privacy.preview(ANA).busy == 1
    receipt = erase(filled, ANA, "admin")
    assert (receipt.left, receipt.counts["mentions"]) == (1, 4)
    for _ in range(5):
        filled.pass_(minutes=10)
    later = erase(filled, ANA, "admin")
    assert (later.left, later.counts["mentions"], later.number) == (0, 1, receipt.number)
    assert len(filled.tickets.tickets) == 2
    assert traces(filled) == set()


def test_an_open_alert_keeps_its_post(filled: Service) -> None:
    """Whoever is on call must still see what it is about; once it is over the post goes."""
    filled.acme.post(ANA, "furious: xyzzy, hello")
    filled.pass_()
    assert erase(filled, ANA, "admin").left == 1
    (task,) = [row for row in filled.actions("task") if row["state"] == "planned" and row["mention_id"] is not None]
    filled.store.desk.close(task["id"], "cleo", filled.clock.now(), "xyzzy")
    filled.pass_()
    assert erase(filled, ANA, "admin").left == 0
    assert traces(filled) == set()


def test_a_page_that_comes_during_the_erasure_does_not_bring_it_back(tmp_path: Path, store_url: str) -> None:
    """Whichever of the two is first."""
    app = service(tmp_path, store_url, rules=RULES)
    try:
        for number in range(10):
            post = app.acme.post(ANA, f"hello xyzzy {number}")
            page = Page((Item(post.remote_id, b"xyzzy", post),), "")
            app.pass_()

            def add(page: Page = page) -> None:
                app.store.inbox.add_page("acme", page, expect=None, now=app.clock.now())

            in_together([lambda: erase(app, ANA, "admin"), add, add, add])
            assert traces(app) == set()
        assert app.store.views.count() == 10
    finally:
        app.close()


def test_the_export_holds_all_of_it(filled: Service) -> None:
    """As JSON, each post with its texts, verdicts, actions and notes; the trail notes it without the person's name."""
    document = json.loads(json.dumps(filled.store.privacy.export(ANA, "admin", filled.clock.now()), default=str))
    assert [one["text"] for one in document["mentions"]] == [
        "the xyzzy is broken, and plugh too",
        "how do I xyzzy?",
        "love the xyzzy",
        "how do I xyzzy again?",
    ]
    first, second = document["mentions"][:2]
    assert [one["text"] for one in first["revisions"]] == ["the xyzzy is broken", "the xyzzy is broken, and plugh too"]
    assert (first["notes"][0]["text"], first["drafts"][0]["text"], first["verdicts"][0]["label"]) == (
        "xyzzy again",
        "xyzzy again",
        "bug_report",
    )
    assert "look at the xyzzy page" in [one["payload"].get("text") for one in second["actions"]]
    assert document["tickets"][0]["key"] == filled.tickets.tickets[0].key
    assert BO not in json.dumps(document)
    trail = [text for place, text in cells(filled) if place == "audit.detail" and "receipt" in text]
    assert len(trail) == 1
    assert "ana" not in trail[0]


# Retention


def test_old_posts_are_erased_by_label(filled: Service) -> None:
    """Praise after its days, nothing before, nothing that is open, nothing of a label without a time."""
    now = filled.clock.now()
    assert filled.store.privacy.expire({}, now) == 0
    assert filled.store.privacy.expire({"praise": now - timedelta(days=1)}, now) == 0
    later = now + timedelta(days=2)
    assert filled.store.privacy.expire({"praise": now, "support_question": now}, later) == 2, "the open question stays"
    assert {row["text"] for row in author(filled, ANA)} == {"the xyzzy is broken, and plugh too", "how do I xyzzy again?"}
    assert filled.store.privacy.expire({"praise": now, "support_question": now}, later) == 0


def test_retention_goes_on_where_it_stopped(filled: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look passes some posts; the next one goes on, and after the last it begins anew: what was open then is found later."""
    monkeypatch.setattr("triage.store.privacy.SCAN", 2)
    now = filled.clock.now() + timedelta(days=1)
    before = {"bug_report": now, "support_question": now, "praise": now}
    found = [filled.store.privacy.expire(before, now) for _ in range(4)]
    assert sum(found) == 4, found
    assert max(found) <= 2
    (task,) = [row for row in filled.actions("task") if row["state"] == "planned"]
    filled.store.desk.close(task["id"], "cleo", now, "")
    assert sum(filled.store.privacy.expire(before, now) for _ in range(4)) == 1
    assert traces(filled) == set()


def test_upkeep_keeps_to_the_config(tmp_path: Path) -> None:
    """`retention` in days by label; counted in the trail."""
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", rules=RULES + "retention: {praise: 30d}\n")
    try:
        app.acme.post(ANA, "love it")
        app.pass_()
        app.pass_(days=29)
        assert len(author(app, ANA)) == 1
        app.pass_(days=2)
        assert author(app, ANA) == []
        assert ("audit.detail", repr("1 mentions")) in cells(app)
    finally:
        app.close()


def test_what_its_author_deleted_goes_a_day_later(filled: Service) -> None:
    """Without any `retention`, from every table, when its words have been taken out of the ticket; others' posts stay."""
    for row in author(filled, ANA):
        filled.acme.delete(row["remote_id"])
    filled.pass_(hours=2)
    assert [row["state"] for row in filled.actions("blank")] == ["done", "done"]
    filled.pass_(hours=20)
    assert len(author(filled, ANA)) == 4, "a day it stays"
    filled.pass_(hours=5)
    assert traces(filled) == set()
    assert len(author(filled, BO)) == 1
    assert ("audit.detail", repr("4 mentions")) in cells(filled)
    assert filled.store.privacy.forget(filled.clock.now(), filled.clock.now()) == 0


def test_what_was_deleted_waits_for_its_ticket(filled: Service) -> None:
    """The words are needed to find them in the ticket: as long as the tracker is away they stay."""
    filled.tickets.fail("blank", NotAccepted("away"), times=1000)
    for row in author(filled, ANA):
        filled.acme.delete(row["remote_id"])
    filled.pass_(hours=2)
    filled.pass_(hours=30)
    assert [row["text"] for row in author(filled, ANA)] == ["the xyzzy is broken, and plugh too"]


def test_the_key_of_what_was_erased_is_made_once(filled: Service) -> None:
    """Without any erasure there is none, and a page costs no more than a look-up."""

    def kept() -> str | None:
        with filled.store.database.read() as connection:
            found: str | None = connection.scalar(sa.select(meta.c.value).where(meta.c.name == "erased_key"))
            return found

    assert kept() is None
    erase(filled, BO, "admin")
    key = kept()
    erase(filled, ANA, "admin")
    assert key is not None
    assert kept() == key


# The page


def test_the_page_shows_asks_twice_and_gives_a_receipt(site: Site) -> None:
    """Look, export, type the handle again, erase."""
    site.app.acme.post(ANA, "hello <b>xyzzy</b>")
    site.app.pass_()
    admin = site.visitor(Role.ADMIN)
    assert "One person" in admin.get("/privacy").text
    assert "nothing is held of &#39;&lt;x&gt;@y&#39;" in admin.get("/privacy", params={"handle": "<x>@y"}).text
    shown = admin.get("/privacy", params={"handle": ANA}).text
    assert "revisions" in shown
    assert "Erase for ever" in shown
    taken = admin.post("/privacy/export", {"handle": ANA})
    assert taken.json()["mentions"][0]["text"] == "hello <b>xyzzy</b>"
    assert taken.headers["content-disposition"].startswith("attachment")
    assert admin.post("/privacy/erase", {"handle": ANA, "again": BO}).status_code == 409
    assert len(author(site.app, ANA)) == 1
    receipt = admin.post("/privacy/erase", {"handle": ANA, "again": ANA})
    assert "Erased: receipt" in receipt.text
    assert ANA not in receipt.text
    assert author(site.app, ANA) == []
