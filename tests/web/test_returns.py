"""What becomes of an author's next reply, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.service import Service, service
from tests.web.site import Site
from triage.errors import OutcomeUnknown, UserError
from triage.mention import Mention
from triage.person import Role
from triage.pipeline import deliver, intake, people, replying
from triage.platforms.imported import item_of
from triage.replies import May
from triage.store.schema import actions, audit, items, mentions

BOTH = pytest.mark.parametrize("made", ["sqlite", "postgresql"], indirect=True)
APPROVED = """
rules:
  - {name: law, when: {words: [lawyer]}, then: task, approve: approver, reason: two look}
  - {name: rest, then: task, reason: a person answers}
"""


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service with a question that Ana, who has a log-in, has answered."""
    sqlite = getattr(request, "param", "sqlite") == "sqlite"
    options = ", roster: [lee@x.example, kim@x.example]"
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db" if sqlite else request.getfixturevalue("database"), source=options)
    app.store.people.come(app.store.people.invite(Role.TRIAGER, "triage", app.clock.now()), "ana", "Ana", "", app.clock.now())
    asked(app)
    yield app
    app.close()


@pytest.fixture
def approving(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """A service where an answer that names a lawyer needs an approval."""
    app = service(tmp_path, store_url, source=", roster: [lee@x.example]", rules=APPROVED)
    yield app
    app.close()


def asked(app: Service, by: str = "ana") -> Mention:
    """Mira asks, and is answered."""
    post = app.acme.post("mira@x.example", "how do I sync?")
    app.pass_()
    task = next(row["id"] for row in app.queue() if row["mention"] == newest(app))
    people.answer(app, task, "Press Sync.", by)
    app.pass_()
    return post


def newest(app: Service) -> int:
    with app.store.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.max(mentions.c.id))).scalar_one())


def reply(app: Service, to: Mention, author: str = "mira@x.example") -> tuple[str | None, list[str]]:
    """What becomes of a reply: whom it is assigned to, and what the trail says of that."""
    app.clock.move(minutes=5)
    app.acme.post(author, "how, still?", reply_to=to.remote_id)
    app.pass_()
    with app.store.database.read() as connection:
        assignee = connection.scalar(sa.select(items.c.assignee).where(items.c.mention_id == newest(app)))
        came = sa.select(audit.c.detail).where(audit.c.mention_id == newest(app), audit.c.what == "came back").order_by(audit.c.id)
        return assignee, list(connection.execute(came).scalars())


@BOTH
def test_the_authors_next_reply_comes_back_to_who_answered(made: Service) -> None:
    """And the one after that; the trail tells why."""
    post = asked(made)
    assert reply(made, post) == ("ana", ["to ana, whom its author answers"])
    assert reply(made, post)[0] == "ana"


def test_what_others_write_is_for_whoever_comes_first(made: Service) -> None:
    """In the same thread; and what the same author writes elsewhere."""
    post = asked(made)
    assert reply(made, post, "noor@x.example") == (None, [])
    other = made.acme.post("mira@x.example", "how do I export?")
    made.pass_()
    assert reply(made, other) == (None, [])


@pytest.mark.parametrize("how", ["away", "disabled"])
def test_nothing_comes_back_to_somebody_who_is_not_there(made: Service, how: str) -> None:
    """It is for the queue, and the trail says why."""
    post = asked(made)
    made.store.people.change("ana", "ana", made.clock.now(), away=how == "away" or None, disabled=how == "disabled" or None)
    assert reply(made, post) == (None, ["its author answers ana, who is away; it is for whoever comes first"])


def test_who_answers_from_the_command_line_without_a_log_in_gets_nothing(made: Service) -> None:
    """Nobody of that name could see it."""
    post = asked(made, "robin")
    assert reply(made, post)[0] is None


@BOTH
def test_who_answered_last_gets_it(made: Service) -> None:
    """Of two colleagues in one thread."""
    made.store.people.come(made.store.people.invite(Role.TRIAGER, "triage", made.clock.now()), "ben", "", "", made.clock.now())
    post = asked(made)
    reply(made, post)
    task = next(row["id"] for row in made.queue() if row["mention"] == newest(made))
    people.answer(made, task, "Twice.", "ben")
    assert reply(made, post)[0] == "ben"


# A colleague's own answer on the platform


@BOTH
def test_a_colleagues_own_answer_closes_the_question(made: Service) -> None:
    """By the name of whoever has that account, and once: a person may open it again."""
    made.store.people.change("ana", "ana", made.clock.now(), handles=["@Lee@x.example"])
    post = made.acme.post("noor@x.example", "how do I print?")
    made.pass_()
    assert [row["what"] for row in made.queue()] == ["answer"]
    made.acme.post("lee@x.example", "Press Print.", reply_to=post.remote_id)
    made.pass_()
    assert made.queue() == []
    task = next(row for row in made.actions("task") if row["mention_id"] == newest(made))
    assert (task["state"], task["closed_by"]) == ("done", "ana")
    with made.store.database.write() as connection:
        said = sa.select(audit.c.who, audit.c.what, audit.c.detail).where(audit.c.action_id == task["id"])
        assert connection.execute(said).all() == [("ana", "closed the task", "answered by ana")]
        connection.execute(sa.update(actions).where(actions.c.id == task["id"]).values(state="planned"))
    made.pass_(hours=25)  # a rescan shows it again
    assert [row["id"] for row in made.queue()] == [task["id"]]
    assert reply(made, post, "noor@x.example")[0] == "ana"


def test_a_colleague_may_be_quicker_than_we(made: Service) -> None:
    """Post and answer come on one page: nobody is asked."""
    post = made.acme.post("noor@x.example", "how do I print?")
    made.acme.post("kim@x.example", "Press Print.", reply_to=post.remote_id)
    made.pass_()
    assert made.queue() == []
    assert [row["closed_by"] for row in made.actions("task")][-1] == "kim@x.example"


def test_what_a_colleague_writes_to_nobody_answers_nothing(made: Service) -> None:
    """Nor does an answer to a post that we don't know, and a bug stays to be acknowledged."""
    post = made.acme.post("noor@x.example", "it is broken")
    made.acme.post("lee@x.example", "hello")
    made.acme.post("lee@x.example", "We look into it.", reply_to=post.remote_id)
    made.acme.post("lee@x.example", "yes", reply_to="12345")
    made.pass_()
    assert [row["what"] for row in made.queue()] == ["acknowledge"]


@BOTH
def test_a_person_is_known_by_the_accounts_on_their_page(made: Service) -> None:
    """As by the roster: what they post is left alone, and their answer closes the question. No server is asked for it."""
    made.store.people.change("ana", "ana", made.clock.now(), handles=["@Ana@Home.example", "ana@work.example"])
    before = newest(made)
    post = made.acme.post("noor@x.example", "how do I print?")
    made.pass_()
    assert [row["what"] for row in made.queue()] == ["answer"]
    made.acme.post("ana@home.example", "Press Print.", reply_to=post.remote_id)
    made.acme.post("ana@work.example", "how do I like it!")
    made.pass_()
    assert made.queue() == []
    assert newest(made) == before + 1, "of hers nothing is stored"
    task = next(row for row in made.actions("task") if row["mention_id"] == newest(made))
    assert (task["state"], task["closed_by"]) == ("done", "ana")
    made.pass_(hours=25)
    assert newest(made) == before + 1, "nor by a rescan"


@pytest.mark.parametrize("who", ["viewer", "trainee", "disabled"])
def test_who_may_not_answer_here_closes_nothing_by_naming_an_account(made: Service, who: str) -> None:
    """Else a customer's posts would be gone for everybody by a line on somebody's page."""
    now = made.clock.now()
    made.store.people.come(made.store.people.invite(Role.TRIAGER, "triage", now), "vi", "", "", now)
    made.store.people.change("vi", "vi", now, handles=["noor@x.example"])
    made.store.people.change("vi", "ana", now, role=None if who == "disabled" else Role(who), disabled=who == "disabled" or None)
    post = made.acme.post("noor@x.example", "how do I print?")
    made.acme.post("noor@x.example", "how, please?", reply_to=post.remote_id)
    made.pass_()
    assert [row["what"] for row in made.queue()] == ["answer", "answer"]


@BOTH
@pytest.mark.parametrize("typed", ["noor@x.example", "@NOOR@X.example", " Noor@x.EXAMPLE "])
def test_nobody_hides_a_customers_posts_by_naming_their_account(made: Service, typed: str) -> None:
    """However it is spelt; only an admin may, and the trail says how many posts there are. What one has stays one's own."""
    people_, now = made.store.people, made.clock.now()
    made.acme.post("Noor@X.example", "how do I print?")
    made.pass_()
    made.store.people.come(people_.invite(Role.ADMIN, "triage", now), "boss", "", "", now)
    for role in (Role.TRIAGER, Role.VIEWER, Role.ADMIN):
        people_.change("ana", "boss", now, role=role)
        with pytest.raises(UserError, match=r"posts by \S+ are in the inbox \(1\)"):
            people_.change("ana", "ana", now, handles=["ana@work.example", typed])
    assert people_.handles() == frozenset()
    people_.change("ana", "boss", now, handles=["ana@work.example", typed], with_posts=True)
    people_.change("ana", "ana", now, handles=[typed.strip().upper()])
    assert people_.handles() == {"noor@x.example"}
    with made.store.database.read() as connection:
        told = connection.execute(sa.select(audit.c.who, audit.c.detail).where(audit.c.what == "vouched for an account")).all()
    detail = f"ana: {typed.strip().removeprefix('@')}, by which 1 posts are stored; what it posts from now on is left alone"
    assert told == [("boss", detail)]


def test_what_came_in_before_an_account_was_named_stays(made: Service) -> None:
    """And the rescan finds the answer in it."""
    post = made.acme.post("noor@x.example", "how do I print?")
    made.acme.post("ana@x.example", "how about Press Print?", reply_to=post.remote_id)
    made.pass_()
    assert len(made.queue()) == 2
    made.store.people.change("ana", "boss", made.clock.now(), handles=["ana@x.example"], with_posts=True)
    made.pass_(hours=25)
    [left] = made.queue()
    assert left["author"] == "ana@x.example"


# While an answer of ours is not sent yet


def written(app: Service, text: str = "Press Print.", words: str = "how do I print?", by: str = "ana") -> tuple[int, Mention]:
    """A question whose answer is held for 15 seconds, or waits for an approval."""
    post = app.acme.post("noor@x.example", words)
    app.pass_()
    mention = newest(app)
    people.answer_mention(app, mention, text, by, hold=15)
    return mention, post


def replies(app: Service, mention: int) -> list[str]:
    return [row["state"] for row in app.actions("reply") if row["mention_id"] == mention]


def trail(app: Service, mention: int, what: str) -> list[str]:
    with app.store.database.read() as connection:
        said = sa.select(audit.c.detail).where(audit.c.mention_id == mention, audit.c.what == what).order_by(audit.c.id)
        return list(connection.execute(said).scalars())


def drafts(app: Service, mention: int) -> list[tuple[str, str]]:
    return [(one.person, one.text) for one in app.store.drafts.of(mention)]


@BOTH
def test_a_colleagues_own_answer_stops_ours_that_is_held(made: Service) -> None:
    """Long or short: it is its writer's draft, nobody is asked again, and the item says why; sent on purpose it goes."""
    long = "\n\n".join(["Press Print, then wait for it. " * 10] * 3)
    sent = len(made.acme.replies)
    mention, post = written(made, long)
    made.acme.post("lee@x.example", "It can't.", reply_to=post.remote_id)
    made.pass_()
    made.pass_(seconds=60)
    assert len(made.acme.replies) == sent
    assert set(replies(made, mention)) == {"cancelled"}
    assert drafts(made, mention) == [("ana", long)]
    assert made.queue() == []
    assert set(trail(made, mention, "cancelled")) == {"answered by lee@x.example on the platform"}
    assert made.store.items.look(mention).item["answered_by"] == "lee@x.example"
    checked = replying.desk(made, mention).answerable
    assert checked.may is May.AGAIN
    assert re.match(r"lee@x.example answered .*; the answer by ana was not sent, its text went back to the drafts$", checked.reason)
    replying.send(made, mention, "It can: press Print.", "ana", again=True)
    made.pass_(hours=25)  # the rescan shows the colleague's answer again
    assert len(made.acme.replies) == sent + 1
    assert "done" in replies(made, mention)


def test_a_colleagues_own_answer_ends_an_approval(approving: Service) -> None:
    """It is in nobody's list any more, and who decides all the same is told."""
    mention, post = written(approving, words="how do I reach a lawyer?")
    [waiting] = approving.store.approvals.open()
    approving.acme.post("lee@x.example", "By mail.", reply_to=post.remote_id)
    approving.pass_()
    assert approving.store.approvals.open() == []
    site = Site(approving)
    ada = site.visitor(Role.APPROVER, "ada")
    refused = ada.post(f"/mentions/{mention}/reply/approve", {"action": waiting.action_id}, part=True)
    assert refused.status_code == 409
    assert "answered by lee@x.example on the platform" in refused.headers["hx-trigger"]
    assert drafts(approving, mention) == [("ana", "Press Print.")]
    approving.pass_(seconds=60)
    assert approving.acme.replies == []


def test_who_approves_is_told_of_a_colleagues_own_answer(approving: Service) -> None:
    """Of one that came before ours was written, and of one that came meanwhile and could not stop it (an earlier version's)."""
    mention, post = written(approving, words="how do I reach a lawyer?")
    approving.acme.post("lee@x.example", "By mail.", reply_to=post.remote_id)
    approving.pass_()
    approving.clock.move(minutes=1)
    replying.send(approving, mention, "By mail to legal@acme.example.", "ana", again=True)
    site = Site(approving)
    ada, program = site.visitor(Role.APPROVER, "ada"), site.program(Role.APPROVER, "ada")
    assert "Answered by <span" in ada.get(f"/mentions/{mention}/reply").text
    assert [one["elsewhere"] for one in program.get(f"/api/mentions/{mention}/reply").json()["given"]] == ["lee@x.example"]
    with approving.store.database.write() as connection:
        connection.execute(sa.update(audit).where(audit.c.what == "answered on the platform").values(at=approving.clock.now()))
    page = ada.get(f"/mentions/{mention}/reply").text
    assert re.search(r"Answered meanwhile by <span[^>]*>lee@x.example", page)
    assert "Approve and send" in page


@BOTH
def test_what_may_be_there_already_is_left_alone(made: Service) -> None:
    """An answer in doubt, and one whose first post was sent; the trail says that it was too late."""
    doubtful, post = written(made)
    made.acme.fail("reply", OutcomeUnknown("cut"))
    made.pass_(seconds=15)
    torn, other = written(made, "\n\n".join(f"{word} " * 55 for word in ("first", "second", "third")))
    first, *_ = (row["id"] for row in made.actions("reply") if row["mention_id"] == torn)
    made.clock.move(seconds=15)
    deliver.deliver(made, [first])
    for one in (post, other):
        made.acme.post("lee@x.example", "It can't.", reply_to=one.remote_id)
    made.clock.move(seconds=11)
    intake.poll(made, ["acme"])
    assert replies(made, doubtful) == ["doubt"]
    assert replies(made, torn)[:2] == ["done", "planned"]
    why = "answered by lee@x.example on the platform; too late to stop ours, which is"
    assert trail(made, doubtful, "not stopped") == [f"{why} in doubt"]
    assert trail(made, torn, "not stopped") == [f"{why} sent in part"]
    assert drafts(made, doubtful) == drafts(made, torn) == []
    made.pass_(seconds=11)
    assert set(replies(made, torn)) == {"done"}


def test_a_colleagues_own_account_counts_in_every_way_in(made: Service) -> None:
    """By the roster and by their page: what is pushed or imported, and whose post begins a thread."""
    made.store.people.change("ana", "ana", made.clock.now(), handles=["@Ana@Home.example"])
    before, now = newest(made), made.clock.now()
    theirs = [
        {"text": f"how {number}?", "author": name} for number, name in enumerate(("ana@home.example", "Lee@x.example", "mira@x.example"))
    ]
    items_ = [item_of(row, source="import", now=now) for row in theirs]
    new, changed, ours = intake.push(made, "import", items_)
    assert (len(new), changed, ours) == (1, [], 2)
    assert intake.take_in(made, "import", items_, progress=lambda _: None) == ([], 0)
    top = made.acme.post("ana@home.example", "version 2 is out")
    for author in ("noor@x.example", "kay@x.example"):
        made.acme.post(author, "it is broken", reply_to=top.remote_id)
    made.pass_()
    assert newest(made) == before + 3
    assert len({row["problem_id"] for row in made.actions("ticket")}) == 2
