"""The blind audit and earned autonomy on both databases, with far sides in memory and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tests.service import CONFIG, Service, service
from triage.cli import cli
from triage.errors import NotAccepted, UserError
from triage.mention import Visibility
from triage.pipeline import intake, judge, trust
from triage.pipeline.deliver import deliver
from triage.store.samples import Samples
from triage.store.schema import audit, mentions, meta, samples, verdicts
from triage.web.health import take_snapshot

# 11 right audits in a row earn it: 0.8 ** 11 < 0.1.
RULES = """
audit: {share: 0.0}
autonomy: {target: 0.8, confidence: 0.9, window: 40, least: 5, keeping: 1.0}
rules:
  - {name: bugs, when: {label: bug_report}, then: [ticket, task], mode: earn, reason: a bug}
  - {name: praise, when: {label: praise}, then: archive, reason: praise}
  - {name: rest, then: task, reason: the rest}
"""
ENOUGH = 11
ALL = RULES.replace("share: 0.0", "share: 1.0")


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Iterator[Service]:
    made = service(tmp_path, store_url, rules=RULES)
    yield made
    made.close()


@pytest.fixture
def audited(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """All that is handled alone is drawn."""
    made = service(tmp_path, store_url, rules=ALL)
    yield made
    made.close()


def drawn(app: Service) -> list[dict[str, Any]]:
    with app.store.database.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(samples).order_by(samples.c.id)).mappings()]


def post(app: Service, count: int, text: str = "it is broken", source: str = "acme") -> None:
    """So many posts, polled and judged; nothing is delivered."""
    platform: Any = app.platform(source)
    for number in range(count):
        platform.post(f"writer{number}@{source}.example", f"{text} {number}")
    app.clock.move(seconds=11)
    intake.poll(app, [source])
    judge.process(app)


def say(app: Service, *labels: str, by: str = "ana") -> list[int]:
    """Answer what waits, newest first, with these labels; the last one for all the rest."""
    ready: list[int] = []
    for number, question in enumerate(sorted(app.store.samples.waiting(by), key=lambda one: -one.id)):
        ready += trust.answer(app, question.id, labels[min(number, len(labels) - 1)], by)
    return ready


def earn(app: Service) -> None:
    """Make the rule act alone."""
    post(app, ENOUGH)
    say(app, "bug_report")
    assert app.store.samples.acting() == {"bugs": True}


def trail(app: Service, word: str) -> list[str]:
    with app.store.database.read() as connection:
        return list(connection.execute(sa.select(audit.c.what).where(audit.c.what.contains(word)).order_by(audit.c.id)).scalars())


def alerts(app: Service) -> list[str]:
    return [alert["name"] for alert in app.store.views.status(app.clock.now())["alerts"]]


def both(app: Service, tmp_path: Path, store_url: str, rules: str = RULES) -> Service:
    """A second worker on the same store, which reads the same server."""
    made = service(tmp_path, store_url, rules=rules, clock=app.clock, started=False)
    made._made["platforms", "acme"] = app.acme
    return made


# The audit


def test_what_is_handled_alone_is_drawn_and_what_people_get_is_not(audited: Service) -> None:
    """An archive is; a question's task is not, and neither is what a person labelled."""
    post(audited, 2, "love it")
    post(audited, 2, "how do I do it")
    assert [(row["rule"], row["label"], row["alone"], row["share"]) for row in drawn(audited)] == [("praise", "praise", True, 1.0)] * 2
    mention = drawn(audited)[0]["mention_id"]
    judge.relabel(audited, mention, "praise", "ana")
    assert len(drawn(audited)) == 2


def test_a_share_is_drawn_by_the_installs_secret(tmp_path: Path, store_url: str) -> None:
    """A post is drawn when its lot is below the share, and no other is."""
    from triage.trust import lot

    app = service(tmp_path, store_url, rules=RULES.replace("share: 0.0", "share: 0.3"))
    post(app, 60, "love it")
    with app.store.database.read() as connection:
        secret = bytes.fromhex(connection.scalar(sa.select(meta.c.value).where(meta.c.name == "install_secret")) or "")
        known = connection.execute(sa.select(mentions.c.id, mentions.c.uri)).all()
    below = {id_ for id_, uri in known if lot(secret, app.config.site, uri, 1) < 0.3}
    assert {row["mention_id"] for row in drawn(app)} == below
    assert 0 < len(below) < 60
    app.close()


def test_a_post_that_is_judged_anew_is_not_drawn_twice(audited: Service) -> None:
    """Unless its text is another one."""
    first = audited.acme.post("mira@x.example", "love it")
    audited.pass_()
    with audited.store.database.write() as connection:
        connection.execute(sa.update(mentions).values(due_at=audited.clock.now()))
    audited.pass_()
    assert len(drawn(audited)) == 1
    audited.acme.edit(first.remote_id, "love it so much")
    audited.pass_(hours=2)
    audited.pass_()
    assert len(drawn(audited)) == 2
    assert [question.mention.text for question in audited.store.samples.waiting("ana")] == ["love it so much"]


def test_a_deleted_post_is_neither_asked_nor_counted(audited: Service) -> None:
    """Its sample waits for nobody."""
    first = audited.acme.post("mira@x.example", "love it")
    audited.pass_()
    sample = drawn(audited)[0]["id"]
    audited.acme.delete(first.remote_id)
    audited.pass_(hours=2)
    assert audited.store.samples.waiting("ana") == []
    assert trust.report(audited)["waiting"] == 0
    with pytest.raises(UserError, match="edited or deleted"):
        trust.answer(audited, sample, "praise", "ana")


def test_a_backfill_that_only_looks_is_not_drawn(tmp_path: Path, store_url: str) -> None:
    """Nothing was done about it."""
    app = service(tmp_path, store_url, rules=ALL, started=False)
    app.acme.post("mira@x.example", "love it")
    app.pass_()
    since = app.clock.now() - timedelta(days=1)
    intake.backfill(app, "acme", since, act=False, progress=lambda *_: None, wait=lambda *_: None)
    judge.process(app)
    assert [row["state"] for row in app.actions("archive")] == ["done"]
    assert drawn(app) == []
    app.close()


def test_a_right_answer_confirms_and_changes_nothing_else(app: Service) -> None:
    """The label becomes the person's, so it is training data; nothing is filed again."""
    earn(app)
    post(app, 1)
    app.pass_()
    before = app.actions()
    filed = len(app.tickets.tickets)
    (question,) = app.store.samples.waiting("ana")
    assert trust.answer(app, question.id, "bug_report", "ana") == []
    app.pass_()
    assert app.actions() == before
    assert len(app.tickets.tickets) == filed == 1
    assert (question.mention.text, "bug_report") in app.store.views.corrections()
    shown = app.store.views.show(question.mention_id)
    assert (shown["verdict"]["label"], shown["verdict"]["by"], shown["verdict"]["by_person"]) == ("bug_report", "ana", True)


def test_a_wrong_answer_corrects_as_a_relabelling_does(audited: Service) -> None:
    """A report that was archived as praise gets its task, and is training data."""
    post(audited, 1, "love it")
    (question,) = audited.store.samples.waiting("ana")
    trust.answer(audited, question.id, "support_question", "ana")
    assert [(row["what"], row["label"]) for row in audited.queue()] == [("answer", "support_question")]
    assert audited.store.views.corrections() == [(question.mention.text, "support_question")]
    assert trail(audited, "relabelled") == ["relabelled"]


def test_a_wrong_answer_tells_the_ticket(app: Service) -> None:
    """What was filed by mistake says so."""
    earn(app)
    post(app, 1)
    app.pass_()
    (question,) = app.store.samples.waiting("ana")
    deliver(app, trust.answer(app, question.id, "noise", "ana"))
    assert [row["payload"]["what"] for row in app.actions("comment") if row["state"] == "done"] == ["relabelled"]


def test_of_two_people_one_answers(audited: Service) -> None:
    """The other is told; the mention has the first one's label."""
    post(audited, 1, "love it")
    (question,) = audited.store.samples.waiting("ana")
    trust.answer(audited, question.id, "praise", "ana")
    with pytest.raises(UserError, match="does not wait any more"):
        trust.answer(audited, question.id, "noise", "lee")
    assert [row["answered_by"] for row in drawn(audited)] == ["ana"]


def test_who_saw_the_label_is_not_asked(app: Service) -> None:
    """Accepting a suggestion is no blind answer: it counts for nothing, and another person is asked."""
    post(app, 1)
    judge.accept(app, app.queue()[0]["id"], "ana")
    assert [row["answer"] for row in drawn(app)] == [None]
    assert app.store.samples.waiting("ana") == []
    assert len(app.store.samples.waiting("lee")) == 1
    say(app, "bug_report", by="lee")
    assert [row["answer"] for row in drawn(app)] == ["bug_report"]
    with app.store.database.read() as connection:
        people = connection.execute(sa.select(verdicts.c.by).where(verdicts.c.by_person)).scalars().all()
    assert people == ["ana"]


def test_a_rule_that_is_drawn_often_does_not_hide_the_others(audited: Service) -> None:
    """Of each rule the newest come first."""
    post(audited, 1, "love it")
    post(audited, 30)
    rules = {row["mention_id"]: row["rule"] for row in drawn(audited)}
    asked = [rules[question.mention_id] for question in audited.store.samples.waiting("ana")]
    assert sorted(asked) == ["bugs"] * 20 + ["praise"]


def test_the_report_weighs_and_counts(audited: Service) -> None:
    """Per label, what a machine did alone; per rule, suggestions too."""
    post(audited, 4, "love it")
    post(audited, 2)
    assert trust.report(audited)["waiting"] == 6
    say(audited, "bug_report", "noise", "praise")  # two bugs, of which one is noise, then praise
    found = trust.report(audited)
    praise = next(row for row in found["labels"] if row["label"] == "praise")
    assert (praise["audited"], praise["right"], praise["really"]) == (4, 4, {})
    assert (praise["error"]["rate"], praise["error"]["low"]) == (0.0, 0.0)
    assert praise["error"]["high"] == pytest.approx(1 - 0.025**0.25)
    assert next(row for row in found["labels"] if row["label"] == "bug_report")["audited"] == 0
    bugs = next(row for row in found["rules"] if row["rule"] == "bugs")
    assert (bugs["audited"], bugs["right"], bugs["really"], found["waiting"]) == (2, 1, {"noise": 1}, 0)
    post(audited, 1, "love it, too")
    assert (trust.report(audited)["alone"]["audited"], trust.report(audited)["waiting"]) == (4, 1)


# Autonomy


def test_enough_right_audits_and_a_rule_acts_alone(app: Service) -> None:
    """Before the last one it suggests; what it suggested before still waits for a person."""
    post(app, ENOUGH - 1)
    say(app, "bug_report")
    assert app.store.samples.acting() == {"bugs": False}
    assert trust.standings(app)[0]["needed"] == 1
    post(app, 1)
    assert app.actions("ticket") == []
    say(app, "bug_report")
    assert app.store.samples.acting() == {"bugs": True}
    post(app, 1)
    app.pass_()
    assert [row["state"] for row in app.actions("ticket")] == ["done"]
    assert len(app.tickets.tickets) == 1
    assert sum(bool(row["suggest"]) for row in app.queue()) == ENOUGH
    assert trail(app, "acts alone") == ["rule bugs acts alone"]
    assert drawn(app)[-1]["alone"]


def test_audits_that_turn_wrong_hold_what_is_planned(app: Service) -> None:
    """No outward call follows: what was planned becomes suggestions, what was sent stands, and the people are told."""
    earn(app)
    post(app, 1)
    app.pass_()
    app.tickets.fail("file", NotAccepted("down", after=600), times=9)
    post(app, 3)
    app.pass_()
    calls = list(app.tickets.tickets)
    ids = [row["id"] for row in app.actions("ticket") if row["state"] == "planned"]
    assert len(ids) == 3
    assert len(calls) == 1
    app.tickets.heal()
    sent = min(app.store.samples.waiting("ana"), key=lambda question: question.id)
    trust.answer(app, sent.id, "noise", "ana")
    assert app.store.samples.acting() == {"bugs": False}
    assert alerts(app) == ["RuleDemoted"]
    held = {row["id"]: row["state"] for row in app.actions("ticket")}
    assert [held[id_] for id_ in ids] == ["cancelled"] * 3
    assert deliver(app, ids) == []
    for _ in range(5):
        app.pass_(minutes=15)
    assert app.tickets.tickets == calls
    assert sum(bool(row["suggest"]) for row in app.queue()) == ENOUGH + 3
    assert trail(app, "no longer acts alone") == ["rule bugs no longer acts alone"]


def test_a_report_that_a_person_confirmed_is_not_held(app: Service) -> None:
    """Blind or not, somebody has said that it is one."""
    earn(app)
    post(app, 2)
    first, second = sorted(app.store.samples.waiting("ana"), key=lambda question: question.id)
    trust.answer(app, first.id, "bug_report", "ana")
    demote(app)
    assert {row["mention_id"]: row["state"] for row in app.actions("ticket")} == {
        first.mention_id: "planned",
        second.mention_id: "cancelled",
    }


def test_what_was_held_is_sent_when_a_person_accepts_it(app: Service) -> None:
    """Once, with the same key."""
    earn(app)
    post(app, 1)
    (ticket,) = app.actions("ticket")
    demote(app)
    app.pass_()
    task = next(row["id"] for row in app.queue() if row["mention"] == ticket["mention_id"])
    judge.accept(app, task, "lee")
    app.pass_()
    assert [(row["id"], row["state"]) for row in app.actions("ticket")] == [(ticket["id"], "done")]
    assert len(app.tickets.tickets) == 1


def test_a_closed_task_comes_back_with_what_was_held(app: Service) -> None:
    """Else the report would be neither filed nor asked about."""
    earn(app)
    post(app, 1)
    (ticket,) = app.actions("ticket")
    app.store.desk.close(next(row["id"] for row in app.queue() if row["mention"] == ticket["mention_id"]), "lee", app.clock.now(), "")
    demote(app)
    app.pass_()
    assert [row["suggest"] for row in app.queue() if row["mention"] == ticket["mention_id"]] == [["ticket"]]


def test_what_a_person_accepted_or_released_is_not_held(app: Service) -> None:
    """The demotion is about what the rule did by itself."""
    earn(app)
    task = next(row for row in app.queue() if row["suggest"])
    judge.accept(app, task["id"], "lee")
    post(app, 1)
    released = app.actions("ticket")[-1]
    app.store.desk.park(released["id"], "lee", app.clock.now())
    app.store.desk.retry(released["id"], "lee", app.clock.now())
    demote(app)
    assert [row["state"] for row in app.actions("ticket")] == ["planned", "planned"]
    app.pass_()
    assert len(app.tickets.tickets) == 2


def test_a_held_ticket_passes_to_a_report_of_another_rule(tmp_path: Path, store_url: str) -> None:
    """The second report of the thread came by a rule that acts alone anyway: the ticket becomes its own."""
    other = "  - {name: loud, when: {words: [furious]}, then: [ticket, task], reason: loud}\n  - {name: bugs,"
    app = service(tmp_path, store_url, rules=RULES.replace("  - {name: bugs,", other))
    earn(app)
    first = app.acme.post("mira@x.example", "it is broken")
    app.acme.post("bob@x.example", "broken here, too", reply_to=first.remote_id)
    app.acme.post("noor@x.example", "broken and I am furious", reply_to=first.remote_id)
    app.clock.move(seconds=11)
    intake.poll(app, ["acme"])
    judge.process(app)
    demote(app)
    app.pass_()
    (ticket,) = app.tickets.tickets
    assert "furious" in ticket.text
    assert [(row["rule"], row["state"]) for row in app.actions("ticket")] == [("loud", "done")]
    assert [row["suggest"] for row in app.queue() if row["author"] in ("mira@x.example", "bob@x.example")] == [["comment"], ["comment"]]
    app.close()


def demote(app: Service) -> None:
    """Audits of older suggestions turn out wrong. Nothing of what is planned is among them."""
    with app.store.database.write() as connection:
        last = sa.select(samples.c.id).where(samples.c.answer == "bug_report").order_by(samples.c.id.desc()).limit(9)
        ids = connection.execute(last).scalars().all()
        connection.execute(sa.update(samples).where(samples.c.id.in_(ids)).values(answer="noise"))
    assert app.store.samples.review(app.clock.now()) == 1
    assert app.store.samples.acting() == {"bugs": False}


def test_the_alert_is_over_when_the_rule_acts_alone_again_or_after_a_day(app: Service) -> None:
    """It tells of something that is safe."""
    earn(app)
    demote(app)
    assert alerts(app) == ["RuleDemoted"]
    post(app, 40)
    for _ in range(2):
        say(app, "bug_report")
    assert app.store.samples.acting() == {"bugs": True}
    assert alerts(app) == []
    demote(app)
    app.pass_(hours=23)
    assert alerts(app) == ["RuleDemoted"]
    app.pass_(hours=2)
    assert alerts(app) == []


def test_sources_are_pooled(tmp_path: Path, store_url: str) -> None:
    """Six audits here and five there are eleven."""
    two = "}\n  beta: {platform: memory, every: 10s, handle: beta@memory.example"
    app = service(tmp_path, store_url, rules=RULES, source=two)
    post(app, 6)
    say(app, "bug_report")
    assert app.store.samples.acting() == {"bugs": False}
    post(app, 5, source="beta")
    say(app, "bug_report")
    assert app.store.samples.acting() == {"bugs": True}
    app.close()


def test_another_wording_starts_anew_and_a_restart_does_not(tmp_path: Path, store_url: str) -> None:
    """A worker with the new wording suggests at once; one with the old wording goes on. A changed reason is no other wording."""
    first = service(tmp_path, store_url, rules=RULES)
    earn(first)
    same = both(first, tmp_path, store_url, RULES.replace("reason: a bug", "reason: it is a bug"))
    assert same.store.samples.acting() == {"bugs": True}
    post(same, 1)
    assert len(same.actions("ticket")) == 1
    other = both(first, tmp_path, store_url, RULES.replace("{label: bug_report}", "{label: bug_report, sure: true}"))
    assert other.store.samples.acting() == {"bugs": False}
    post(other, 1)
    assert len(other.actions("ticket")) == 1
    assert trust.standings(other)[0]["n"] == 0
    say(other, "bug_report", by="lee")
    assert other.store.samples.acting() == {"bugs": False}
    assert alerts(other) == []
    for made in (first, same, other):
        made.close()


def test_a_stricter_config_takes_it_away_at_the_next_review(tmp_path: Path, store_url: str) -> None:
    """Without an answer; a looser one does not give it before it was audited so."""
    first = service(tmp_path, store_url, rules=RULES)
    earn(first)
    strict = both(first, tmp_path, store_url, RULES.replace("least: 5", "least: 30"))
    strict.pass_()
    assert strict.store.samples.acting() == {"bugs": False}
    first.close()
    strict.close()


# Two workers


def test_a_worker_that_has_the_id_sends_nothing_any_more(app: Service, tmp_path: Path, store_url: str) -> None:
    """It read what is due, the rule was demoted, and its claim comes to nothing."""
    earn(app)
    post(app, 2)
    other = both(app, tmp_path, store_url)
    ids = [row["id"] for row in app.actions("ticket")]
    assert len(other.store.outbox.pending(ids)) == 2
    demote(app)
    assert [other.store.outbox.claim(id_, app.clock.now()) for id_ in ids] == [None, None]
    assert other.tickets.tickets == []
    other.close()


def test_what_was_judged_with_the_old_state_is_held_too(
    app: Service, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has read that the rule acts alone and has not committed when the rule is demoted: its ticket is cancelled all the same."""
    earn(app)
    other = both(app, tmp_path, store_url)
    has_read, go_on = Event(), Event()
    draw = Samples.draw

    def slow(self: Samples, *arguments: Any) -> None:
        if self is other.store.samples:
            has_read.set()
            go_on.wait(20)
        draw(self, *arguments)

    monkeypatch.setattr(Samples, "draw", slow)
    app.acme.post("late@x.example", "it is broken, too")
    app.clock.move(seconds=11)
    intake.poll(app, ["acme"])
    with ThreadPoolExecutor(2) as pool:
        worker = pool.submit(judge.process, other)
        assert has_read.wait(20)
        demotion = pool.submit(demote, app)
        assert_waits(demotion)
        go_on.set()
        worker.result(20)
        demotion.result(20)
    assert [row["state"] for row in app.actions("ticket")] == ["cancelled"]
    app.pass_()
    assert app.tickets.tickets == []
    other.close()


def test_what_is_judged_after_a_demotion_began_is_a_suggestion(
    app: Service, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker waits for the demotion to be committed, and judges by what came of it."""
    earn(app)
    other = both(app, tmp_path, store_url)
    holds, go_on = Event(), Event()
    hold = Samples._hold

    def slow(self: Samples, *arguments: Any) -> int:
        holds.set()
        go_on.wait(20)
        return hold(self, *arguments)

    monkeypatch.setattr(Samples, "_hold", slow)
    app.acme.post("late@x.example", "it is broken, too")
    app.clock.move(seconds=11)
    intake.poll(app, ["acme"])
    claimed = other.store.inbox.claim(app.clock.now(), seconds=60, limit=10, poison=2)
    with ThreadPoolExecutor(2) as pool:
        demotion = pool.submit(demote, app)
        assert holds.wait(20)
        worker = pool.submit(judge._judge, other, claimed)
        assert_waits(worker)
        go_on.set()
        demotion.result(20)
        worker.result(20)
    assert app.actions("ticket") == []
    assert [row["suggest"] for row in app.queue() if row["author"] == "late@x.example"] == [["ticket"]]
    other.close()


def assert_waits(future: Future[Any]) -> None:
    """It is not done yet, because somebody else has the lock."""
    with pytest.raises(TimeoutError):
        future.result(0.3)


def test_two_answers_at_once_are_both_counted(app: Service, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one that comes to the rule's row waits for the first and sees it: together they are enough."""
    post(app, ENOUGH)
    one, two, *rest = (question.id for question in app.store.samples.waiting("ana"))
    for sample in rest:
        trust.answer(app, sample, "bug_report", "ana")
    other = both(app, tmp_path, store_url)
    settles, go_on = Event(), Event()
    settle = Samples.settle

    def slow(self: Samples, *arguments: Any, **named: Any) -> None:
        if self is app.store.samples:
            settles.set()
            go_on.wait(20)
        settle(self, *arguments, **named)

    monkeypatch.setattr(Samples, "settle", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(trust.answer, app, one, "bug_report", "ana")
        assert settles.wait(20)
        second = pool.submit(trust.answer, other, two, "bug_report", "lee")
        assert_waits(second)
        go_on.set()
        first.result(20)
        second.result(20)
    assert app.store.samples.acting() == {"bugs": True}
    other.close()


# What people see


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, CliRunner]]:
    """A service, and the command line on its config."""
    store = f"sqlite:///{tmp_path}/triage.db"
    made = service(tmp_path, store, rules=ALL)
    (tmp_path / "config.yaml").write_text(CONFIG.format(mode="act", folder=tmp_path, store=store, source="") + ALL)
    monkeypatch.setenv("TRIAGE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("TRIAGE_USER", "ana")
    yield made, CliRunner()
    made.close()


def test_the_audit_shows_the_post_and_nothing_of_the_verdict(shell: tuple[Service, CliRunner]) -> None:
    """A key a post; what is no key is told so; a skipped post waits for the next time."""
    app, runner = shell
    app.acme.post("mira@x.example", "love it", visibility=Visibility.DIRECT)
    post(app, 1)
    said = runner.invoke(cli, ["audit"], input="?\n7\n4\ns\n", catch_exceptions=False)
    assert said.exit_code == 0
    assert "Say what the post is" in said.output
    assert "'7' is no answer" in said.output
    assert "| it is broken 0" in said.output
    assert said.output.endswith("1 answered, 1 wait. What came of it: triage audit --report\n")
    shown = said.output.replace(PROMPT_OF_LABELS, "").lower()
    for hidden in ("0.95", "95 %", "bugs", "suggest", "ticket", "archive"):
        assert hidden not in shown
    answers = [row["answer"] for row in drawn(app)]
    assert sorted(answer or "" for answer in answers) == ["", "noise"]
    again = runner.invoke(cli, ["audit"], input="q\n", catch_exceptions=False)
    assert again.output.endswith("0 answered, 1 wait\n")


PROMPT_OF_LABELS = "1 bug report · 2 support question · 3 praise · 4 noise · s skip · q quit · ? help"


def test_report_and_autonomy_are_printed(shell: tuple[Service, CliRunner]) -> None:
    """For people and for machines."""
    app, runner = shell
    assert "not known yet" in runner.invoke(cli, ["audit", "--report"], catch_exceptions=False).output
    post(app, 2, "love it")
    post(app, ENOUGH)
    assert "0.800" not in runner.invoke(cli, ["autonomy"], catch_exceptions=False).output
    rules = {row["mention_id"]: row["rule"] for row in drawn(app)}
    for question in app.store.samples.waiting("ana"):
        trust.answer(app, question.id, "bug_report" if rules[question.mention_id] == "bugs" else "noise", "ana")
    text = runner.invoke(cli, ["audit", "--report"], catch_exceptions=False).output
    assert "praise" in text
    assert "really 2 noise" in text
    assert '"waiting": 0' in runner.invoke(cli, ["audit", "--json"], catch_exceptions=False).output
    told = runner.invoke(cli, ["autonomy"], catch_exceptions=False).output
    assert told.startswith("bugs: acts alone. 11 of 11 audits right, lower bound 0.811, target 0.8\n  since ")
    assert '"needed": 0' in runner.invoke(cli, ["autonomy", "--json"], catch_exceptions=False).output
    since = told.splitlines()[1].partition(" UTC")[0]
    app.clock.move(hours=3)
    post(app, 2)
    for question in app.store.samples.waiting("ana"):
        trust.answer(app, question.id, "bug_report", "ana")
    lines = runner.invoke(cli, ["autonomy"], catch_exceptions=False).output.splitlines()
    assert lines[0] == "bugs: acts alone. 13 of 13 audits right, lower bound 0.838, target 0.8"
    assert lines[1].startswith(since), "since when does not change"
    assert "today: 13 of 13 audits right" in lines[1], "but the figures are those of today"
    status = runner.invoke(cli, ["status"], catch_exceptions=False).output
    assert "trust     0 posts wait for the blind audit; act alone: bugs" in status
    snapshot = take_snapshot(app)
    assert (snapshot.audits_waiting, snapshot.earn_rules) == (0, {"bugs": True})
