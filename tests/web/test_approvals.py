"""The tab of answers that wait for an approval: whose matter it is, for whom they wait, how many there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Service, service
from tests.web.site import Site, Visitor
from triage.errors import UserError
from triage.person import Role
from triage.pipeline import judge, people

MORE = """
groups: {legal: [lex]}
web: {hold: 0s, deputy: 4h}
rules:
  - {name: thanks, when: {label: praise}, then: task, reason: a person answers}
  - {name: law, when: {words: [lawyer]}, then: task, approve: legal, reason: two look}
  - {name: boss, when: {words: [contract]}, then: task, approve: admin, reason: two look}
  - {name: rest, then: task, reason: a person answers}
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Service]:
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", rules=MORE)
    yield made
    made.close()


@pytest.fixture
def site(app: Service) -> Site:
    return Site(app)


def asked(app: Service, text: str, by: str) -> int:
    """A question whose answer, written by that person, waits."""
    post = app.acme.post("noor@x.example", text)
    app.pass_()
    mention = app.store.desk.mention_id(post.uri)
    people.answer_mention(app, mention, "Like this.", by)
    return mention


def listed(visitor: Visitor) -> list[int]:
    return [int(id_) for id_ in re.findall(r'id="row-(\d+)"', visitor.get("/?state=approval").text)]


def tab(visitor: Visitor) -> str | None:
    """What the tab says on the list of all that is open; None where it is not shown."""
    found = re.search(r'<a href="/\?state=approval"[^>]*>Approvals(?: <span class="n">(\d+)</span>)?', visitor.get("/").text)
    return (found[1] or "") if found else None


def test_each_sees_what_is_theirs_to_wait_for_or_to_decide(app: Service, site: Site) -> None:
    """Approvers and admins all of it, the writer theirs, a member of the group what waits for the group; others no such tab."""
    ana, bo, lex = (site.visitor(Role.TRIAGER, name) for name in ("ana", "bo", "lex"))
    approver, admin, viewer = (site.visitor(role) for role in (Role.APPROVER, Role.ADMIN, Role.VIEWER))
    assert (tab(ana), tab(approver), listed(approver)) == (None, None, [])
    assert "Nothing waits for an approval" in approver.get("/?state=approval").text
    law, boss = asked(app, "my lawyer asks how", "ana"), asked(app, "how is the contract?", "bo")
    assert [(tab(one), listed(one)) for one in (ana, bo, lex, approver, admin, viewer)] == [
        ("1", [law]),
        ("1", [boss]),
        ("1", [law]),
        ("2", [law, boss]),
        ("2", [law, boss]),
        (None, []),
    ]


def test_a_row_says_for_whom_it_waits_and_from_when_a_deputy_may(app: Service, site: Site) -> None:
    """Who may let it go is told so."""
    ana, lex, approver = site.visitor(Role.TRIAGER, "ana"), site.visitor(Role.TRIAGER, "lex"), site.visitor(Role.APPROVER)
    asked(app, "my lawyer asks how", "ana")
    later = app.clock.now().replace(microsecond=0)
    app.clock.move(hours=1)
    page = approver.get("/rows?state=approval").text
    assert re.search(r"waits for approval by legal; any approver from \w{3} \d\d:\d\d", page)
    assert "waits for approval by legal; any approver from" in ana.get("/rows?state=approval").text
    assert "yours to approve, by ana" in lex.get("/rows?state=approval").text
    app.clock.moment = later
    app.clock.move(hours=4)
    assert "yours to approve, by ana" in approver.get("/rows?state=approval").text
    assert "waits for approval by legal; any approver may" in ana.get("/rows?state=approval").text


def test_what_is_decided_is_gone_from_it(app: Service, site: Site) -> None:
    """The count, too; the longest wait comes first; filters and programs narrow it like any other list."""
    admin = site.visitor(Role.ADMIN)
    mentions = [asked(app, f"how is contract {number}?", "ana") for number in range(3)]
    assert listed(admin) == mentions
    assert re.findall(r'id="row-(\d+)"', admin.get("/?state=approval&label=bug_report").text) == []
    program = site.program(Role.ADMIN, "admin")
    assert [row["mention"] for row in program.get("/api/mentions", params={"state": "approval"}).json()["rows"]] == mentions
    first = app.store.approvals.open()[0]
    assert admin.person is not None
    people.approve(app, first.action_id, admin.person)
    assert (tab(admin), listed(admin)) == ("2", mentions[1:])


def test_a_label_frees_nobody_from_the_approval_that_their_own_answer_needs(app: Service, site: Site) -> None:
    """What waits goes on waiting; what is sent afterwards needs what it needed before, unless somebody else said what the post is."""
    ana, lex = site.visitor(Role.TRIAGER, "ana"), site.person(Role.TRIAGER, "lex")
    mention = asked(app, "it is broken, says my lawyer", "ana")
    judge.relabel(app, mention, "praise", "bo")
    app.pass_()
    assert app.acme.replies == []
    [waiting] = app.store.approvals.open()
    people.refuse(app, waiting.action_id, lex, "not like this")
    judge.relabel(app, mention, "bug_report", "bo")
    judge.relabel(app, mention, "praise", "ana")
    assert "Send for approval by legal" in ana.get(f"/mentions/{mention}/reply").text
    people.answer_mention(app, mention, "Like this.", "ana")
    with pytest.raises(UserError, match="asks for approval by legal"):
        people.answer_mention(app, mention, "By hand.", "ana", by_hand=True)
    app.pass_()
    assert (app.acme.replies, [one.role for one in app.store.approvals.open()]) == ([], ["legal"])
    judge.relabel(app, mention, "praise", "bo")
    people.answer_mention(app, mention, "Or like this.", "ana")
    app.pass_()
    assert len(app.acme.replies) == 1
