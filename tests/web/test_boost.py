"""Praise that is boosted: by one key for those who agreed, after a question for others, once, within a day's limit, never private."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.service import Service, service
from tests.web.site import Site
from triage.cli import cli
from triage.errors import NotAccepted, OutcomeUnknown, Refused, Unauthorized, UserError
from triage.mention import State, Visibility
from triage.person import Role
from triage.pipeline import boosting, items, judge, people
from triage.web.access import csrf

MORE = """
web: {hold: 15s}
boosts: {allies: ["*@tilde.example", bo@other.example], daily: 2}
rules:
  - {name: love, when: {label: praise}, then: [archive, task], reason: praise}
  - {name: rest, then: task, reason: a person answers}
"""
ALLY, STRANGER = "mira@tilde.example", "noor@x.example"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Service]:
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", rules=MORE)
    yield made
    made.close()


@pytest.fixture
def site(app: Service) -> Site:
    return Site(app)


def praised(app: Service, handle: str = ALLY, text: str = "I love it", visibility: Visibility = Visibility.PUBLIC) -> tuple[int, str]:
    """A post of praise: the mention's number, and the post's id."""
    post = app.acme.post(handle, text, visibility=visibility)
    app.pass_()
    return app.store.desk.mention_id(post.uri), post.remote_id


def boost_of(app: Service) -> str:
    (row,) = app.actions("boost")
    return str(row["state"])


def tasks_of(app: Service, mention: int) -> list[str]:
    return [row["state"] for row in app.actions("task") if row["mention_id"] == mention]


def fields_of(page: str) -> dict[str, str]:
    """The hidden fields of the boost's form."""
    form = re.search(r'<form method="post" action="/mentions/\d+/boost".*?</form>', page, re.DOTALL)
    assert form, page
    return {name: value for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form[0]) if name != "csrf"}


@pytest.mark.parametrize("part", [False, True])
def test_an_ally_is_boosted_by_one_key_once_after_the_hold(app: Service, site: Site, part: bool) -> None:
    """The page's own form does it, with and without script; its task is done, and the receipt is kept."""
    mention, post = praised(app)
    ana = site.visitor(Role.TRIAGER, "ana")
    page = ana.get(f"/mentions/{mention}/reply", part=part).text
    assert re.search(r'<button[^>]*data-key="b">Boost it to those who follow us', page)
    answer = ana.post(f"/mentions/{mention}/boost", {"csrf": csrf(ana.session), **fields_of(page)}, part=part)
    assert answer.status_code == (204 if part else 303)
    assert tasks_of(app, mention) == ["done"]
    app.pass_(seconds=14)
    assert app.acme.boosts == []
    assert "ana&#39;s boost waits to be sent" in ana.get(f"/mentions/{mention}/reply", part=part).text
    app.pass_(seconds=1)
    assert app.acme.boosts == [post]
    (row,) = app.actions("boost")
    assert (row["state"], row["remote_id"], row["attempt"]) == ("done", post, 1)
    shown = ana.get(f"/mentions/{mention}/reply", part=part).text
    assert "Boosted by ana" in shown
    assert 'data-key="b"' not in shown
    trail = [(line["who"], line["what"]) for line in app.store.items.look(mention).trail]
    assert ("ana", f"boosted (action {row['id']})") in trail
    assert ("triage", f"boost: done (action {row['id']})") in trail


def test_of_others_it_is_asked_first(app: Service, site: Site) -> None:
    """Without the answer nothing is planned; a post outside public lists is asked about, whoever wrote it."""
    stranger, post = praised(app, STRANGER)
    quiet, _ = praised(app, visibility=Visibility.UNLISTED)
    ana = site.visitor(Role.TRIAGER, "ana")
    for mention, why in ((stranger, f"{STRANGER} is not on the list"), (quiet, "out of public lists")):
        page = ana.get(f"/mentions/{mention}/reply").text
        assert why in page
        assert '<summary data-key="b">' in page
        fields = fields_of(page)
        assert fields.pop("sure") == "true"
        refused = ana.post(f"/mentions/{mention}/boost", fields, part=True)
        assert refused.status_code == 409
        assert "say that you are sure" in refused.headers["hx-trigger"]
    assert app.actions("boost") == []
    ana.post(f"/mentions/{stranger}/boost", fields_of(ana.get(f"/mentions/{stranger}/reply").text), part=True)
    app.pass_(seconds=15)
    assert app.acme.boosts == [post]


@pytest.mark.parametrize("visibility", [Visibility.PRIVATE, Visibility.DIRECT])
def test_a_private_post_is_never_boosted(app: Service, site: Site, visibility: Visibility) -> None:
    """The page offers nothing, a form of one's own is refused, sure or not."""
    mention, _ = praised(app, visibility=visibility)
    ana = site.visitor(Role.TRIAGER, "ana")
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "a private post is never boosted" in page
    assert "/boost" not in page
    refused = ana.post(f"/mentions/{mention}/boost", {"seen": str(app.store.items.look(mention).seen), "sure": "true"}, part=True)
    assert refused.status_code == 409
    assert app.actions("boost") == []


def test_a_post_that_becomes_private_while_it_is_held_is_not_boosted(app: Service) -> None:
    """Whatever became of it since: not by a worker, and not by a person who says try again."""
    import sqlalchemy as sa

    from triage.store.schema import mentions

    mention, _ = praised(app)
    action = boosting.ask(app, mention, "ana")
    with app.store.database.write() as connection:
        connection.execute(sa.update(mentions).values(visibility="direct"))
    app.pass_(seconds=15)
    assert app.acme.boosts == []
    assert app.store.outbox.row(action)["error"] == "a private post is never boosted"
    with app.store.database.write() as connection:
        from triage.store.schema import actions

        connection.execute(sa.update(actions).where(actions.c.id == action).values(state="parked"))
    app.store.desk.retry(action, "ana", app.clock.now())
    app.pass_()
    assert (app.acme.boosts, app.store.outbox.row(action)["state"]) == ([], "cancelled")


def test_only_praise_is_boosted(app: Service, site: Site) -> None:
    """A question shows no such key; label it praise, and it does."""
    mention, _ = praised(app, text="how do I sync?")
    ana = site.visitor(Role.TRIAGER, "ana")
    assert "Boost it" not in ana.get(f"/mentions/{mention}/reply").text
    with pytest.raises(UserError, match="only praise is boosted"):
        boosting.ask(app, mention, "ana")
    items.label(app, mention, "praise", "ana")
    assert 'data-key="b"' in ana.get(f"/mentions/{mention}/reply").text


def test_what_is_no_praise_any_more_is_not_boosted(app: Service) -> None:
    """Somebody relabels the post while the boost is held: its task is open again."""
    mention, _ = praised(app)
    boosting.ask(app, mention, "ana")
    judge.relabel(app, mention, "bug_report", "bo")
    app.pass_(hours=1)
    assert app.acme.boosts == []
    (row,) = app.actions("boost")
    assert (row["state"], row["error"]) == ("cancelled", "it is not praise any more")


def test_what_waits_for_a_server_counts_however_long(app: Service) -> None:
    """The day's limit holds over an outage of more than a day: all of it would go out when the server is back."""
    first, second, third = (praised(app, text=f"I love part {number}")[0] for number in range(3))
    for mention in (first, second):
        app.acme.fail("boost", NotAccepted("busy"))
        boosting.ask(app, mention, "ana")
    app.pass_(seconds=15)
    assert [(row["state"], row["attempt"]) for row in app.actions("boost")] == [("planned", 1)] * 2
    app.clock.move(hours=26)
    with pytest.raises(UserError, match="has its 2"):
        boosting.ask(app, third, "ana")
    app.pass_(seconds=15)
    assert len(app.acme.boosts) == 2
    with pytest.raises(UserError, match="has its 2"):
        boosting.ask(app, third, "ana")


def test_z_takes_it_back_while_it_is_held(app: Service, site: Site) -> None:
    """Then the task is open again, nothing is sent, and it can be boosted after all; once sent it stays."""
    mention, post = praised(app)
    ana = site.visitor(Role.TRIAGER, "ana")
    boosting.ask(app, mention, "ana")
    assert ana.post(f"/mentions/{mention}/undo", part=True).status_code == 204
    app.pass_(seconds=60)
    assert (app.acme.boosts, boost_of(app), tasks_of(app, mention)) == ([], "cancelled", ["planned"])
    boosting.ask(app, mention, "bo")
    with pytest.raises(UserError, match="within the last five minutes"):
        items.undo(app, mention, "ana")
    app.pass_(seconds=15)
    assert (app.acme.boosts, boost_of(app)) == ([post], "done")
    with pytest.raises(UserError, match=r"it can't be taken back: bo boosted it already, at .* undo it at the platform"):
        items.undo(app, mention, "bo")


def test_taking_a_boost_back_leaves_an_answered_task_closed(app: Service) -> None:
    """Somebody thanked meanwhile: there is nothing to do again."""
    mention, _ = praised(app)
    boosting.ask(app, mention, "ana")
    people.answer_mention(app, mention, "Thank you!", "bo", hold=15)
    items.undo(app, mention, "ana")
    assert tasks_of(app, mention) == ["done"]
    app.pass_(seconds=15)
    assert (len(app.acme.replies), app.acme.boosts) == (1, [])


def test_an_edit_voids_a_boost_that_is_held_and_a_deletion_too(app: Service) -> None:
    """Nobody has boosted what it says now; its task is open again."""
    mention, post = praised(app)
    boosting.ask(app, mention, "ana")
    app.acme.edit(post, "I love your competitor")
    app.clock.move(seconds=40)
    app.pass_()
    assert (app.acme.boosts, boost_of(app)) == ([], "cancelled")
    assert "planned" in tasks_of(app, mention)
    boosting.ask(app, mention, "ana")
    app.acme.delete(post)
    app.clock.move(seconds=40)
    app.pass_()
    assert (app.acme.boosts, boost_of(app)) == ([], "cancelled")
    with pytest.raises(UserError, match="deleted the post"):
        boosting.ask(app, mention, "ana")


def test_never_twice_and_who_was_first_is_told(app: Service, site: Site) -> None:
    """A form sent twice acts once; a colleague, also later, is told who it was; a boost that somebody made at the platform counts."""
    mention, post = praised(app)
    first = boosting.ask(app, mention, "ana")
    assert boosting.ask(app, mention, "ana") == first
    with pytest.raises(UserError, match=r"ana asked for its boost at .*; it is on its way; nothing was done"):
        boosting.ask(app, mention, "bo")
    app.pass_(seconds=15)
    with pytest.raises(UserError, match="ana boosted it already"):
        boosting.ask(app, mention, "ana")
    other, by_hand = praised(app, text="I love this, too")
    app.acme.boosts.append(by_hand)
    second = boosting.ask(app, other, "ana")
    app.pass_(seconds=15)
    assert app.acme.boosts == [post, by_hand]
    row = app.store.outbox.row(second)
    assert (row["state"], row["attempt"], row["remote_id"]) == ("done", 0, by_hand)


def test_a_day_has_a_limit(app: Service, site: Site) -> None:
    """What waits counts, what was taken back does not; a day after the first there is room again."""
    mentions = [praised(app, text=f"I love part {number}")[0] for number in range(4)]
    boosting.ask(app, mentions[0], "ana")
    app.pass_(seconds=15)
    began = app.clock.now()
    boosting.ask(app, mentions[1], "ana")
    with pytest.raises(UserError, match=r"acme boosts 2 posts within 24 hours .*, and has its 2; there is room again at"):
        boosting.ask(app, mentions[2], "ana")
    assert tasks_of(app, mentions[2]) == ["planned"]
    assert "has its 2" in site.visitor(Role.TRIAGER, "bo").get(f"/mentions/{mentions[2]}/reply").text
    items.undo(app, mentions[1], "ana")
    boosting.ask(app, mentions[2], "ana")
    app.pass_(seconds=15)
    app.clock.moment = began
    app.clock.move(hours=24)
    boosting.ask(app, mentions[3], "ana")
    app.pass_(seconds=15)
    assert len(app.acme.boosts) == 3


def test_a_boost_that_is_dropped_opens_its_task_again(tmp_path: Path, store_url: str) -> None:
    """While it waits and after it was refused; not where the post is answered or gone by now. The trail says so."""
    app = service(tmp_path, store_url, rules=MORE.replace("daily: 2", "daily: 9"))
    mentions = {text: praised(app, text=f"I love {text}") for text in ("one", "two", "three", "four")}
    (held, _), (refused, _), (answered, _), (gone, post) = mentions.values()
    action = boosting.ask(app, held, "ana")
    app.store.desk.drop(action, "bo", app.clock.now())
    assert tasks_of(app, held) == ["planned"]
    trail = [(line["who"], line["what"], line["detail"]) for line in app.store.items.look(held).trail]
    (task,) = (row["id"] for row in app.actions("task") if row["mention_id"] == held)
    assert ("bo", f"cancelled (action {action})", "not wanted") in trail
    assert ("bo", f"reopened the task (action {task})", "not wanted") in trail
    boosted = {mention: boosting.ask(app, mention, "ana") for mention in (refused, answered, gone)}
    app.acme.fail("boost", Refused("no"), times=3)
    app.pass_(seconds=15)
    people.answer_mention(app, answered, "Thank you!", "bo", hold=15)
    app.acme.delete(post)
    app.pass_(hours=25)
    assert app.store.items.look(gone).deleted_at is not None
    for mention, action in boosted.items():
        app.store.desk.drop(action, "bo", app.clock.now())
        with pytest.raises(UserError, match="only planned, parked, rejected and observed ones can be dropped"):
            app.store.desk.drop(action, "bo", app.clock.now())
        assert tasks_of(app, mention) == ["planned" if mention == refused else "done"]
    assert app.acme.boosts == []
    app.close()


@pytest.mark.parametrize("made", [False, True])
def test_a_doubt_is_looked_into_and_boosts_once(app: Service, made: bool) -> None:
    """The answer was lost: the post itself tells whether it is boosted."""
    mention, post = praised(app)
    app.acme.fail("boost", OutcomeUnknown("cut"), after=made)
    boosting.ask(app, mention, "ana")
    app.pass_(seconds=15)
    assert boost_of(app) == "doubt"
    for _ in range(20):
        app.pass_(seconds=60)
    assert (app.acme.boosts, boost_of(app)) == ([post], "done")


def test_what_fails_is_tried_again_refused_or_told(app: Service, site: Site) -> None:
    """A server that is busy is asked again; one that refuses puts the item back into the list, loudly."""
    mention, post = praised(app)
    app.acme.fail("boost", NotAccepted("busy"))
    app.acme.fail("boosted", NotAccepted("busy"))
    boosting.ask(app, mention, "ana")
    for _ in range(6):
        app.pass_(seconds=15)
    assert (app.acme.boosts, boost_of(app)) == ([post], "done")
    for text, error in (("I love that", Refused("no")), ("I love those", Unauthorized("not allowed", status=403))):
        other, _ = praised(app, text=text)
        app.acme.fail("boost", error)
        app.clock.move(hours=25)
        action = boosting.ask(app, other, "ana")
        app.pass_(seconds=15)
        assert app.store.outbox.row(action)["state"] == State.REJECTED
        ana = site.visitor(Role.TRIAGER, "ana")
        assert f'id="row-{other}"' in ana.get("/").text
        assert f"The boost to acme was refused.</b> {error}" in ana.get(f"/mentions/{other}").text
    assert len(app.acme.boosts) == 1


def test_who_may_not_answer_may_not_boost(app: Service, site: Site) -> None:
    """The page shows a trainee no such button."""
    mention, _ = praised(app)
    trainee = site.visitor(Role.TRAINEE)
    assert "/boost" not in trainee.get(f"/mentions/{mention}/reply").text
    assert trainee.post(f"/mentions/{mention}/boost", {"seen": "1.1"}).status_code == 403


def test_a_page_that_is_stale_boosts_nothing(app: Service, site: Site) -> None:
    """Its author has edited the post since it was shown."""
    mention, post = praised(app)
    ana = site.visitor(Role.TRIAGER, "ana")
    fields = fields_of(ana.get(f"/mentions/{mention}/reply").text)
    app.acme.edit(post, "I love it, says my lawyer")
    app.clock.move(hours=2)
    app.pass_()
    refused = ana.post(f"/mentions/{mention}/boost", fields, part=True)
    assert "edited the post meanwhile" in refused.headers["hx-trigger"]
    assert app.actions("boost") == []


def test_programs_boost_too(app: Service, site: Site) -> None:
    """By the API, with the question answered where there is one."""
    mention, _ = praised(app, STRANGER)
    program = site.program(Role.TRIAGER, "ana")
    assert "not on the list" in program.post(f"/api/mentions/{mention}/boost", json={}).json()["error"]
    (action,) = program.post(f"/api/mentions/{mention}/boost", json={"sure": True}).json()["actions"]
    assert app.store.outbox.row(action)["kind"] == "boost"
    assert program.post(f"/api/mentions/{mention}/undo").json()["said"] == "it is not boosted"


def test_a_command_boosts_too(app: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same verb: held, taken back, asked first of those who are on no list."""
    monkeypatch.setattr("triage.cli.people.opened", lambda: nullcontext(app))
    (ally, _), (stranger, post) = praised(app), praised(app, STRANGER)

    def run(*words: object) -> str:
        done = CliRunner().invoke(cli, ["boost", *map(str, words), "--by", "sam"])
        return str(done.exception) if isinstance(done.exception, UserError) else done.output

    held = app.clock.now() + timedelta(seconds=15)
    told = f"held until {held:%H:%M:%S} UTC, then a worker sends it; take it back: triage boost {ally} --undo\n"
    assert run(ally).endswith(told)
    assert tasks_of(app, ally) == ["done"]
    assert run(ally, "--undo") == f"mention {ally} is not boosted\n"
    assert tasks_of(app, ally) == ["planned"]
    assert "there is no boost to take back" in run(ally, "--undo")
    assert "not on the list" in run(stranger)
    assert "held until" in run(stranger, "--sure")
    app.pass_(seconds=15)
    assert app.acme.boosts == [post]
    assert "sam boosted it already" in run(stranger, "--undo")


def test_a_service_that_observes_boosts_nothing(tmp_path: Path) -> None:
    """Nor does one that may boost none."""
    made = service(tmp_path, f"sqlite:///{tmp_path}/o.db", mode="observe", rules=MORE)
    mention, _ = praised(made)
    with pytest.raises(UserError, match="only observes"):
        boosting.ask(made, mention, "ana")
    made.close()
    never = service(tmp_path, f"sqlite:///{tmp_path}/n.db", rules=MORE.replace("daily: 2", "daily: 0"))
    mention, _ = praised(never)
    with pytest.raises(UserError, match=r"`boosts.daily` is 0"):
        boosting.ask(never, mention, "ana")
    never.close()
