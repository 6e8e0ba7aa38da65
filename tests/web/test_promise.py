"""Answers to which several things happen at once: none is lost, and none is told of that was not given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service, service
from tests.web.site import Site, Visitor
from triage.budget import Purpose
from triage.errors import Refused
from triage.mention import Mention, State
from triage.person import Role
from triage.pipeline import intake, replying
from triage.replies import May
from triage.store.filters import Filters
from triage.store.insights import Period

RULES = """
web: {hold: 15s}
rules:
  - {name: law, when: {words: [lawyer]}, then: task, approve: approver, reason: two look}
  - {name: rest, then: task, reason: a person answers}
"""


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Iterator[Site]:
    app = service(tmp_path, store_url, rules=RULES)
    yield Site(app)
    app.close()


def asked(app: Service, text: str = "how do I sync my notes?") -> tuple[int, Mention]:
    post = app.acme.post("noor@x.example", text)
    app.pass_()
    return app.store.desk.mention_id(post.uri), post


def edited(app: Service, post: Mention, text: str) -> None:
    """Its author edits the post, and the service has read that and judged it anew."""
    app.acme.edit(post.remote_id, text)
    app.clock.move(seconds=1)
    assert intake.look_at(app, "acme", intake.look_again(app, "acme", post.remote_id, Purpose.SEND))
    app.pass_(seconds=1)


def answer(who: Visitor, mention: int, text: str, **fields: Any) -> None:
    assert who.post(f"/mentions/{mention}/reply", {"text": text, **fields}).status_code == 303


def do(who: Visitor, mention: int, verb: str, **fields: Any) -> Any:
    return who.post(f"/mentions/{mention}/{verb}", {"seen": str(who.site.app.store.items.look(mention).seen), **fields})


def is_open(app: Service, mention: int) -> bool:
    return mention in {row["mention"] for row in app.queue()}


def listed(app: Service, state: str) -> list[int | None]:
    return [row.mention for row in app.store.queue.page(Filters(state=state), "ana", app.clock.now()).rows]


def drafts(app: Service, mention: int) -> list[str]:
    return [draft.text for draft in app.store.drafts.of(mention)]


def test_an_answer_that_an_edit_has_voided_is_no_answer(site: Site) -> None:
    """The post is open, may be answered, and nobody is said to have answered it."""
    app, ana = site.app, site.visitor(Role.TRIAGER, "ana")
    mention, post = asked(app)
    answer(ana, mention, "Press Sync.")
    assert listed(app, "answered") == [mention]
    edited(app, post, "how do I sync my notes? (it is on my phone)")
    assert is_open(app, mention)
    checked = replying.desk(app, mention).answerable
    assert checked.may is May.YES, checked.reason
    assert listed(app, "answered") == []
    assert drafts(app, mention) == ["Press Sync."]


def test_two_answers_of_one_person_that_an_edit_has_voided_are_both_kept(site: Site) -> None:
    """The first is long and makes two posts; the second is no part of it."""
    app, ana = site.app, site.visitor(Role.TRIAGER, "ana")
    mention, post = asked(app)
    long = "\n\n".join(["Press Sync, then wait for it. " * 10] * 3)
    answer(ana, mention, long)
    answer(ana, mention, "Or pull down.", again=True, known=2**40)
    assert len(app.actions("reply")) > 2
    edited(app, post, "how do I sync my notes? (it is on my phone)")
    [draft] = drafts(app, mention)
    assert long.strip() in draft
    assert "Or pull down." in draft


def test_what_a_person_takes_back_is_their_own_answer(site: Site) -> None:
    """`z` of who answered first leaves the newer answer of a colleague alone."""
    app, ana, bo = site.app, site.visitor(Role.TRIAGER, "ana"), site.visitor(Role.TRIAGER, "bo")
    mention, _ = asked(app)
    answer(ana, mention, "Press Sync.")
    answer(bo, mention, "Or pull down.", again=True, known=2**40)
    assert ana.post(f"/mentions/{mention}/undo").status_code == 303
    app.pass_(seconds=20)
    app.pass_(seconds=20)
    assert [sent.mention.text for sent in app.acme.replies] == ["@noor@x.example Or pull down."]
    assert ana.post(f"/mentions/{mention}/reply/undo").status_code == 409


def test_an_answer_that_is_dropped_is_a_draft_again_and_the_question_open(site: Site) -> None:
    """The platform refused it; who does not want it sent has not closed the question, nor thrown away what was written."""
    app, ana = site.app, site.visitor(Role.TRIAGER, "ana")
    mention, _ = asked(app)
    answer(ana, mention, "Press Sync.")
    app.acme.fail("reply", Refused("422 no"))
    app.pass_(seconds=20)
    [reply] = app.actions("reply")
    assert reply["state"] == State.REJECTED
    assert do(ana, mention, "drop", action=reply["id"]).status_code == 303
    assert drafts(app, mention) == ["Press Sync."]
    assert is_open(app, mention)
    assert listed(app, "answered") == []
    assert do(ana, mention, "drop", action=reply["id"]).status_code == 409
    assert drafts(app, mention) == ["Press Sync."]


def test_of_a_dropped_part_the_rest_is_a_draft_and_what_was_sent_stays(site: Site) -> None:
    """The first post is there, the second was refused: the post is answered, and what is missing is kept."""
    app, ana = site.app, site.visitor(Role.TRIAGER, "ana")
    mention, _ = asked(app)
    answer(ana, mention, "\n\n".join(f"{word} " * 55 for word in ("first", "second", "third")))
    app.acme.fail("reply", Refused("422 no"))
    app.pass_(seconds=20)
    first, second, *_ = app.actions("reply")
    app.acme.fail("reply", Refused("422 no"))
    assert do(ana, mention, "found", action=first["id"], key="https://acme.example/1").status_code == 303
    app.pass_(seconds=20)
    assert app.actions("reply")[1]["state"] == State.REJECTED
    assert do(ana, mention, "drop", action=second["id"]).status_code == 303
    [draft] = drafts(app, mention)
    assert "third" in draft
    assert "first" not in draft
    assert not is_open(app, mention)
    assert listed(app, "answered") == [mention]
    app.pass_(seconds=20)
    assert app.acme.replies == []


def test_an_approval_does_not_outlive_an_edit(site: Site) -> None:
    """It was approved, the platform refused it, the post says something else now: sending it again needs another approval."""
    app, ana, ada = site.app, site.visitor(Role.TRIAGER, "ana"), site.visitor(Role.APPROVER, "ada")
    mention, post = asked(app, "how do I reach your lawyer?")
    answer(ana, mention, "By mail.")
    [reply] = app.actions("reply")
    assert ada.post(f"/mentions/{mention}/reply/approve", {"action": reply["id"]}).status_code == 303
    app.acme.fail("reply", Refused("422 no"))
    app.pass_(seconds=20)
    assert app.actions("reply")[0]["state"] == State.REJECTED
    edited(app, post, "how do I reach your lawyer? I sue you")
    refused = do(ana, mention, "retry", action=reply["id"])
    assert refused.status_code == 409
    assert "edited after the answer was approved" in refused.text
    app.pass_(seconds=60)
    assert app.acme.replies == []
    assert do(ana, mention, "drop", action=reply["id"]).status_code == 303
    assert drafts(app, mention) == ["By mail."]


def test_insights_count_what_was_posted(site: Site) -> None:
    """An answer that is held, waits for approval or was refused is no response yet."""
    app, ana = site.app, site.visitor(Role.TRIAGER, "ana")
    mention, _ = asked(app)
    answer(ana, mention, "Press Sync.")

    def responses() -> tuple[int, int]:
        now = app.clock.now()
        found = app.store.insights.report(Period((now - timedelta(days=2)).date(), now.date()), now)
        return found.answered, found.reporters

    assert responses() == (0, 1)
    app.pass_(seconds=20)
    assert len(app.acme.replies) == 1
    app.clock.move(minutes=10)  # a report is kept for five
    assert responses() == (1, 1)


def test_an_answer_that_waits_for_approval_is_in_the_queue(site: Site) -> None:
    """Nobody would find it otherwise: its task is done. It is neither answered nor waited for until it was sent."""
    app, ana, ada = site.app, site.visitor(Role.TRIAGER, "ana"), site.visitor(Role.APPROVER, "ada")
    mention, _ = asked(app, "how do I reach your lawyer?")
    answer(ana, mention, "By mail.")
    assert listed(app, "open") == [mention]
    assert listed(app, "waiting") == []
    page = ada.get("/").text
    assert re.search(r">(waits for approval by|yours to approve, by) \w+", page)
    assert "answered by ana" not in page.replace("answered by ana; waits", "")
    [row] = [row for row in app.queue() if row["mention"] == mention]
    assert (row["kind"], row["state"]) == ("reply", "held")
    [reply] = app.actions("reply")
    assert ada.post(f"/mentions/{mention}/reply/approve", {"action": reply["id"]}).status_code == 303
    app.pass_(seconds=20)
    assert len(app.acme.replies) == 1
    assert listed(app, "open") == []
    assert listed(app, "waiting") == [mention]


def test_a_colleagues_draft_can_be_used(site: Site) -> None:
    """By the same way as a prepared answer: it is added to what was typed, and nothing is sent."""
    app, bo = site.app, site.visitor(Role.TRIAGER, "bo")
    mention, _ = asked(app)
    app.store.drafts.save(mention, "ana", "Press Sync.", app.clock.now())
    page = bo.get(f"/mentions/{mention}/reply").text
    assert 'value="draft:ana"' in page
    used = bo.post(f"/mentions/{mention}/reply", {"text": "Hello!", "use": "draft:ana"}).text
    assert "Hello!\n\nPress Sync." in used
    assert app.actions("reply") == []
