"""Nothing that the service does often walks through a whole table: every statement that it sends is explained by the database itself.

The store holds 20,000 mentions, PostgreSQL has its statistics, and SQLite is asked without any, as it runs, and with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.bench.fill import fill, link_of
from tests.service import Service, service
from triage.errors import NotAccepted, OutcomeUnknown, UserError
from triage.person import Role
from triage.pipeline import items as verbs
from triage.pipeline import judge, people, replying, trust, upkeep
from triage.store import Store, totals
from triage.store.filters import Filters
from triage.store.insights import Period
from triage.store.tabs import STATES
from triage.web.health import take_snapshot

Explain = Callable[[sa.Connection, str, Any], Iterator[str]]

COUNT = 20_000
LARGE = frozenset({"mentions", "problems", "actions", "verdicts", "revisions", "audit", "attempts", "sightings"})
FEW = COUNT // 10  # rows: what reads more of a large table than this grows with it
SMALL_INDEXES = frozenset(
    {
        "ix_mentions_due_at", "ix_mentions_quarantined", "ix_actions_due", "ix_actions_open", "ix_actions_sending", "ix_actions_alert_id",
        "ix_verdicts_by_person",
    }
)  # fmt: skip  # each holds only what is open, due or sick, or what people said

ALLOWED = {
    "export": "writes every mention",
    "count": "counts a large store every 15 minutes, so that nobody else has to",
}

# Each kind of action comes about, whatever the rules that ship say.
RULES = """
audit: {share: 1.0}
autonomy: {target: 0.5, confidence: 0.5, least: 1}
rules:
  - {name: alarm, when: {words: [data]}, then: [alert, task], urgent: true, reason: it is urgent}
  - {name: maybe, when: {words: [maybe]}, then: ticket, mode: suggest, reason: a person decides}
  - {name: earned, when: {words: [another]}, then: ticket, mode: earn, reason: it has shown that it may}
  - {name: bug, when: {words: [broken]}, then: [ticket, task], reason: a bug}
  - {name: praise, when: {words: [love]}, then: archive, reason: praise}
  - {name: question, when: {words: [how]}, then: task, reason: a question}
  - {name: rest, then: archive, reason: the rest}
"""


@dataclass
class Recorder:
    """The statements that a store's connections were given, by what was done at the time."""

    doing: str = ""
    seen: dict[tuple[str, str], Any] = field(default_factory=dict)

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Note down what is sent within the block."""
        self.doing = what
        yield
        self.doing = ""

    def note(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        """An event of SQLAlchemy's."""
        if self.doing and statement.split(None, 1)[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
            self.seen.setdefault((self.doing, statement), parameters[0] if isinstance(parameters, list) else parameters)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/triage.db"
    given: str = request.getfixturevalue("database")
    return given


def test_nothing_that_is_done_often_reads_a_whole_table(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the poll to the reply, the sweep's questions, what people look at, and the metrics."""
    store = Store(url)
    made = service(tmp_path, url, source=", brake: 1000000", rules=RULES, started=False)
    fill(store.database, COUNT, made.clock.now())
    monkeypatch.setattr(totals, "SMALL", COUNT)
    monkeypatch.setattr(upkeep, "COUNT_EVERY", timedelta(days=1))  # it is done once, by itself
    store.turns.take("counted", made.clock.now(), upkeep.COUNT_EVERY)
    while store.privacy.forget(made.clock.now(), made.clock.now()):
        pass  # the filler's deleted posts; from now on there are none, as on most days
    recorder = Recorder()
    event.listen(made.store.database.engine, "before_cursor_execute", recorder.note)
    do_everything(made, recorder)
    event.remove(made.store.database.engine, "before_cursor_execute", recorder.note)
    walks = explained(store, on_sqlite if store.database.is_sqlite else on_postgresql, recorder)
    if store.database.is_sqlite:
        with store.database.write() as connection:
            connection.exec_driver_sql("ANALYZE")  # an operator may do so
        for doing, whys in explained(store, on_sqlite, recorder).items():
            walks.setdefault(doing, []).extend(whys)
    made.close()
    store.close()
    found = [f"{doing}: {why}" for doing, whys in walks.items() if doing not in ALLOWED for why in whys]
    assert not found, "\n\n".join(found)
    assert len(recorder.seen) > 150, "the statements were not seen"
    if not url.startswith("sqlite"):  # whose plan does not tell how much of an index is read
        assert set(walks) == set(ALLOWED), "what no longer reads a whole table needs no leave to do so"


def explained(store: Store, explain: Explain, recorder: Recorder) -> dict[str, list[str]]:
    """The walks through large tables, by what was done."""
    walks: dict[str, list[str]] = {}
    with store.database.read() as connection:
        for (doing, statement), parameters in recorder.seen.items():
            for why in explain(connection, statement, parameters):
                walks.setdefault(doing, []).append(f"{why}\n    {statement}\n    {parameters}")
    return walks


def do_everything(made: Service, recorder: Recorder) -> None:
    """What a worker, the people and the monitor do in a day."""
    store, acme = made.store, made.acme

    def passes(name: str, **by: float) -> None:
        with recorder.during(name):
            made.pass_(**(by or {"seconds": 11}))

    with recorder.during("count"):
        store.count(made.clock.now())
    passes("an idle sweep")
    bug = acme.post("mira@x.example", "sync is broken")
    question = acme.post("noor@x.example", "how do I sync?")
    acme.post("noor@x.example", "it is broken, too", reply_to=bug.remote_id)
    for number in range(60):
        acme.post(f"writer{number}@x.example", ("love it", "hello", "this is broken", "maybe broken", "all my data is broken")[number % 5])
    acme.show_broken(b"{}", "no id")
    passes("a busy sweep")
    with recorder.during("a person"):
        queue = store.views.queue()
        task = next(row["id"] for row in queue if row["text"].startswith(question.text) and row["kind"] == "task")
        people.answer(made, task, "Press Sync.", "robin")
        mention = store.desk.mention_id(link_of(COUNT // 2))
        store.views.show(mention)
        store.desk.mention_id(bug.uri)
        judge.relabel(made, mention, "bug_report", "robin")
        judge.relabel(made, store.desk.mention_id(bug.uri), "praise", "robin")
        suggested = next(row["id"] for row in queue if row["suggest"])
        judge.accept(made, suggested, "robin")
        parked = next(row["id"] for row in queue if row["state"] == "parked")
        store.desk.retry(parked, "robin", made.clock.now())
        store.desk.park(parked, "robin", made.clock.now())
        store.desk.found(parked, "QUAY-1", "robin", made.clock.now())
        store.desk.drop(next(row["id"] for row in queue if row["state"] == "rejected"), "robin", made.clock.now())
        store.desk.close(
            next(row["id"] for row in reversed(queue) if row["kind"] == "task" and row["id"] != task), "robin", made.clock.now(), ""
        )
        for which in (mention, store.desk.mention_id(bug.uri)):
            replying.desk(made, which)
            store.drafts.save(which, "robin", "half an answer", made.clock.now(), once="other")
        people.answer_mention(made, mention, "Taken back.", "robin", hold=15, known=10**9, once="form")
        store.approvals.approved(mention, "Taken back.")
        people.unsend(made, mention, "robin")
        store.replies.solved(["QUAY-1"])
        people_ = store.people
        people_.come(people_.invite(Role.TRIAGER, "triage", made.clock.now()), "namer", "", "", made.clock.now())
        with suppress(UserError):
            people_.change("namer", "namer", made.clock.now(), handles=["Noor@x.example"])
        quarantined = store.views.quarantined()
        store.desk.dismiss(quarantined[0]["id"], "robin", made.clock.now())
    with recorder.during("an item"):
        at_an_item(made, mention, store.desk.mention_id(bug.uri))
    with recorder.during("live pages"):
        now = made.clock.now()
        mark = store.presence.mark(now)
        store.presence.beat(mention, "robin", True, now, left=mention - 1)
        store.claims.claim(mention, "robin", now)
        store.claims.stand(mention, now)
        store.presence.others(mention, now)
        store.presence.everywhere(now)
        store.presence.changes(replace(mark, holes={"audit": {1: now}, "mentions": {1: now}}), now)
        store.claims.release(mention, "robin", now)
        store.claims.sweep(now)
    acme.post("dana@x.example", "another thing is broken")
    acme.post("elif@x.example", "another thing is broken, too")
    passes("suggestions of a rule that earns")
    with recorder.during("the blind audit"):
        audit(made, "bug_report")
        trust.report(made)
        trust.standings(made)
    assert made.store.samples.acting() == {"earned": True}
    acme.edit(bug.remote_id, "sync is broken, and so is search")
    acme.delete(question.remote_id)
    made.tickets.fail("file", OutcomeUnknown("cut"), times=2)
    made.tickets.fail("file", NotAccepted("refused"), times=2)
    for number in range(6):
        acme.post(f"late{number}@x.example", "another thing is broken")
    passes("edits, deletions and doubts")
    with recorder.during("a demotion"):
        audit(made, "noise")
    assert made.store.samples.acting() == {"earned": False}
    passes("looking", minutes=2)
    passes("reading again", hours=2)
    store.alerts.open(made.clock.now(), "Brake", "acme", "critical", "too many")
    passes("upkeep", hours=1)
    with recorder.during("count"):
        store.count(made.clock.now())
    with recorder.during("looking at it"):
        store.views.queue()
        store.views.status(made.clock.now())
        store.views.quarantined()
        take_snapshot(made)
        store.accounts.unpause(made.clock.now())
        store.owners.seen(made.clock.now())
    look_back(made, recorder)
    with recorder.during("the list"):
        look_through_lists(made, mention)
    with recorder.during("export"):
        for _ in zip(store.views.export(), range(3), strict=False):
            pass
    with recorder.during("corrections"):
        store.views.corrections()


def look_back(made: Service, recorder: Recorder) -> None:
    """What the sources page and the insights page ask."""
    today = made.clock.now().date()
    with recorder.during("sources page"):
        made.store.accounts.each(made.clock.now())
        made.store.coverage.of("acme")
        made.store.accounts.poll_now("acme", "robin", made.clock.now())
        made.store.accounts.stop("tickets", "robin", "", made.clock.now())
        made.store.accounts.resume("tickets", "robin", made.clock.now())
    with recorder.during("insights"):
        made.store.insights.report(Period(today - timedelta(days=6), today), made.clock.now())


def at_an_item(made: Service, mention: int, other: int) -> None:
    """What a person does at an item's page."""
    items, now = made.store.items, made.clock.now()
    found = items.look(mention)
    seen = found.seen
    items.assign(mention, None, "robin", now, was=found.item["assignee"], seen=seen)
    items.snooze(mention, None, "robin", now, seen=seen)
    items.note(mention, "how is that?", "robin", now)
    verbs.undo(made, mention, "robin")
    items.snooze(mention, now + timedelta(seconds=5), "robin", now)
    made.clock.move(seconds=6)
    assert items.wake_due(made.clock.now()) == [mention]
    made.store.boosts.ask(mention, "robin", made.clock.now(), hold_for=15, daily=5)
    assert made.store.boosts.standing(mention, made.clock.now()).boost is not None
    made.store.boosts.take_back(mention, "robin", made.clock.now())
    made.store.links.known()
    items.newest_problems(mention)
    items.named("quay-1")
    with suppress(UserError):
        verbs.same(made, mention, str(other), "robin")
    with suppress(UserError):
        verbs.same(made, other, str(COUNT // 3), "robin")
    verbs.ticket(made, other, "robin")
    verbs.undo(made, other, "robin")
    with suppress(UserError):
        items.close(other, "robin", made.clock.now())


def look_through_lists(made: Service, mention: int) -> None:
    """Every tab, every filter and every kind of search, as the page asks for them."""
    queue, now = made.store.queue, made.clock.now()
    for state in STATES:
        queue.page(Filters(state), "robin", now, approvals={(now, mention)})
        queue.page(Filters(state, label="praise", source="acme", language="en", private=True, angry=True, unsure=True), "robin", now)
        queue.page(Filters(state, assigned="robin", q="quay-7 sync -love label:bug"), "robin", now)
        queue.page(Filters(state, q="ticket:QUAY-70"), "robin", now)
    queue.page(Filters("all", q=f"author:{made.store.views.show(mention)['author']}"), "robin", now)
    queue.page(Filters("all", q="brokn uplaod"), "robin", now)
    queue.counts("robin", now)
    queue.choices()
    queue.any()
    made.store.saved.save("robin", "mine", "state=mine", now)
    made.store.saved.of("robin")


def audit(made: Service, label: str) -> None:
    """Say of every post that waits for the audit that it is this."""
    for question in made.store.samples.waiting("robin"):
        trust.answer(made, question.id, label, "robin")


def on_sqlite(connection: sa.Connection, statement: str, parameters: Any) -> Iterator[str]:
    """SQLite's plan: SCAN is a walk, unless it is one along a small index."""
    tables = {alias: table for table, alias in re.findall(r"(\w+) AS \"?(\w+)", statement)}
    for *_, detail in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
        scan = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", detail)
        if scan and tables.get(scan[1], scan[1]) in LARGE and scan[2] not in SMALL_INDEXES:
            yield detail


def on_postgresql(connection: sa.Connection, statement: str, parameters: Any) -> Iterator[str]:
    """PostgreSQL's plans, for these parameters and for any: no sequential scan of a large table, and no index that yields many rows."""
    ((mine,),) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).all()
    numbers: dict[str, str] = {}
    generic = re.sub(r"%\(([^)]+)\)s", lambda name: numbers.setdefault(name[1], f"${len(numbers) + 1}"), statement)
    connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    connection.exec_driver_sql(f"PREPARE asked AS {generic}")
    values = f"({', '.join(['NULL'] * len(numbers))})" if numbers else ""
    ((anyones,),) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE asked{values}").all()
    connection.exec_driver_sql("DEALLOCATE asked")
    connection.exec_driver_sql("SET LOCAL plan_cache_mode = auto")
    custom, plain = ((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"] for plan in (mine, anyones))
    yield from walks_in(custom, "for these parameters")
    if plain["Total Cost"] <= custom["Total Cost"] * 1.1:  # PostgreSQL takes the plan for any parameters only where it costs no more
        yield from walks_in(plain, "for any parameters")


def walks_in(plan: dict[str, Any], name: str, *, limited: bool = False) -> Iterator[str]:
    """The walks in a plan and its parts; a scan right below a limit ends early."""
    table, index, rows = plan.get("Relation Name"), plan.get("Index Name"), plan["Plan Rows"]
    many = rows > FEW and index not in SMALL_INDEXES and not limited
    if table in LARGE and (plan["Node Type"] == "Seq Scan" or many):
        yield f"{plan['Node Type']} of {table} {index or ''}, {rows} rows, {name}"
    for part in plan.get("Plans", ()):
        yield from walks_in(part, name, limited=plan["Node Type"] == "Limit")
