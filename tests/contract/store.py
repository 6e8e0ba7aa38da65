"""What a store must do, whatever the database: the suite that SQLite and PostgreSQL both pass."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from triage.contracts import Item, Page
from triage.delivery import Move
from triage.errors import NotAccepted, StoreError
from triage.mention import ActionKind, Author, Label, Mention, Plan, Problem, Receipt, State, Verdict, Work
from triage.rules import Decision, task_key, ticket_key
from triage.store import Store, health, schema
from triage.store.board import Judged
from triage.store.database import HEAD, MIGRATIONS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VERDICT = Verdict(Label.BUG_REPORT, 0.9, {str(x): 0.25 for x in Label}, True, "test")


def item(number: int, text: str = "broken", **changes: object) -> Item:
    """A mention as a platform would show it."""
    uri = f"https://x.example/{number}"
    mention = Mention(uri, "memory", "acme", str(number), Author("mira@x.example"), text, NOW, thread=uri)
    return Item(str(number), text.encode(errors="surrogatepass"), replace(mention, **changes))  # type: ignore[arg-type]


def files_ticket(uri: str) -> Callable[[Problem, frozenset[str]], Decision]:
    """A rule that files and asks for an acknowledgement."""

    def decide(problem: Problem, _earned: frozenset[str]) -> Decision:
        plans = (
            Plan(ticket_key("triage", problem), ActionKind.TICKET, "tickets", "a bug", "bug"),
            Plan(task_key("triage", uri), ActionKind.TASK, "human", "a bug", "bug"),
        )
        return Decision("bug", "a bug", plans, ())

    return decide


def fill(store: Store, count: int = 1, text: str = "broken") -> list[int]:
    """Store, claim and judge so many bug reports; the ids of their ticket actions."""
    store.inbox.add_source("acme", NOW, NOW + timedelta(days=1))
    store.accounts.know("tracker", ["tickets"])
    store.inbox.add_page("acme", Page(tuple(item(n, text) for n in range(count)), "c"), expect=None, now=NOW)
    claimed = store.inbox.claim(NOW, seconds=60, limit=1000, poison=2)
    judged = [Judged(one, VERDICT, one.mention.uri, "own", files_ticket(one.mention.uri)) for one in claimed]
    return store.inbox.record(judged, NOW)


def in_doubt(store: Store, action: int) -> Work:
    """What a sender holds who was taken for dead while it was in its call."""
    work = store.outbox.claim(action, NOW)
    assert work is not None
    store.outbox.finish(work, Move(State.DOUBT, "its sender is gone", due_at=NOW), NOW)
    return work


class StoreSuite:
    """Subclasses give `url`."""

    @pytest.fixture
    def url(self) -> str:
        raise AssertionError("a subclass gives the address")

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        made = Store(url)
        yield made
        made.close()

    def test_a_page_is_stored_once(self, store: Store) -> None:
        """The same page again adds nothing; its cursor stands."""
        store.inbox.add_source("acme", NOW, NOW)
        page = Page((item(1), item(2)), "c1")
        assert len(store.inbox.add_page("acme", page, expect=None, now=NOW).new) == 2
        assert store.inbox.add_page("acme", page, expect="c1", now=NOW).new == ()
        assert store.inbox.source("acme").cursor == "c1"
        assert store.views.count() == 2

    def test_a_page_with_one_broken_item_keeps_all(self, store: Store) -> None:
        """The broken one is quarantined with its raw bytes; a second sight of it adds nothing."""
        store.inbox.add_source("acme", NOW, NOW)
        page = Page((item(1), Item("9", b'{"id": []}', broken="id is no string")), "c")
        assert store.inbox.add_page("acme", page, expect=None, now=NOW).quarantined == 1
        assert store.inbox.add_page("acme", page, expect="c", now=NOW).quarantined == 0
        (row,) = store.views.quarantined()
        assert store.views.show(row["id"])["raw"] == '{"id": []}'

    @pytest.mark.parametrize("text", ["nul \x00 in it", "lone \ud800 surrogate", "🏳️‍🌈 and 漢字", "x" * 200_000, ""])
    def test_any_text_can_be_stored(self, store: Store, text: str) -> None:
        """What a database refuses is replaced, not lost."""
        assert len(fill(store, text=text)) == 1
        assert len(store.views.show(1)["text"]) >= len(text) - 1

    def test_mentions_are_claimed_by_one(self, store: Store, url: str) -> None:
        """Eight workers that claim at once share the mentions out."""
        store.inbox.add_source("acme", NOW, NOW)
        store.inbox.add_page("acme", Page(tuple(item(n) for n in range(80)), "c"), expect=None, now=NOW)
        with ThreadPoolExecutor(8) as pool:
            taken = pool.map(lambda _: [one.id for one in store.inbox.claim(NOW, seconds=60, limit=10, poison=2)], range(16))
        counts = Counter(id_ for ids in taken for id_ in ids)
        assert len(counts) == 80
        assert set(counts.values()) == {1}

    def test_an_action_is_claimed_by_one(self, store: Store, url: str) -> None:
        """Of eight workers in two processes' clothes one gets it, and the attempt is counted once."""
        (action,) = fill(store)
        other = Store(url)
        with ThreadPoolExecutor(8) as pool:
            works = list(pool.map(lambda n: (store, other)[n % 2].outbox.claim(action, NOW), range(8)))
        assert [work.attempt for work in works if work] == [1]
        other.close()

    def test_a_stale_outcome_changes_nothing(self, store: Store) -> None:
        """An outcome counts for its own attempt alone."""
        (action,) = fill(store)
        work = store.outbox.claim(action, NOW)
        assert work is not None
        assert store.outbox.finish(work, Move(State.PLANNED, "refused", due_at=NOW), NOW)
        again = store.outbox.claim(action, NOW)
        assert again is not None
        assert not store.outbox.finish(work, Move(State.REJECTED, "an old word"), NOW)
        assert store.outbox.finish(again, Move(State.DONE, "made", receipt=Receipt("1", "MEM-1")), NOW)
        assert not store.outbox.finish(again, Move(State.DOUBT, "too late", due_at=NOW), NOW)
        assert store.outbox.row(action)["state"] == State.DONE

    @pytest.mark.parametrize("then", [State.PARKED, State.PLANNED])
    def test_a_receipt_counts_for_what_was_parked_or_planned_again_meanwhile(self, store: Store, then: State) -> None:
        """Its sender was taken for dead and a person said something: it is there all the same, and is not sent a second time."""
        (action,) = fill(store)
        work = in_doubt(store, action)
        store.desk.park(action, "ana", NOW)
        if then is State.PLANNED:
            store.desk.retry(action, "ana", NOW)
        assert not store.outbox.finish(work, Move(State.REJECTED, "an old word"), NOW)
        assert store.outbox.row(action)["state"] == then
        assert store.outbox.finish(work, Move(State.DONE, "made", receipt=Receipt("1", "MEM-1", "https://jira.example/MEM-1")), NOW)
        row = store.outbox.row(action)
        assert (row["state"], row["remote_key"], row["closed_by"], row["due_at"]) == (State.DONE, "MEM-1", "triage", None)
        assert store.outbox.claim(action, NOW + timedelta(hours=1)) is None
        assert store.views.show(row["mention_id"])["ticket"]["key"] == "MEM-1"

    def test_a_receipt_that_comes_too_late_stays_in_the_trail(self, store: Store) -> None:
        """For what was dropped, begun anew, or found more than once; what was found by a person is that very one."""
        made = Move(State.DONE, "made", receipt=Receipt("1", "MEM-1", "https://jira.example/MEM-1"))
        action, other = fill(store, 2)
        first, found = in_doubt(store, action), in_doubt(store, other)
        store.desk.found(other, "https://jira.example/MEM-1", "ana", NOW)
        assert not store.outbox.finish(found, made, NOW)
        store.outbox.finish(first, Move(State.PARKED, "found more than one: MEM-1, MEM-2", looked=True), NOW, looks=0)
        assert not store.outbox.finish(first, made, NOW)
        assert store.outbox.row(action)["state"] == State.PARKED
        store.desk.retry(action, "ana", NOW)
        second = store.outbox.claim(action, NOW)
        assert second is not None
        assert not store.outbox.finish(first, made, NOW)
        store.outbox.finish(second, Move(State.DOUBT, "cut", due_at=NOW), NOW)
        store.desk.park(action, "ana", NOW)
        store.desk.drop(action, "ana", NOW)
        assert not store.outbox.finish(second, made, NOW)
        assert store.outbox.row(action)["state"] == State.CANCELLED

        def told(action: int) -> list[tuple[str, str]]:
            lines = store.items.look(store.outbox.row(action)["mention_id"]).trail
            return sorted((line["what"].partition(" (")[0], line["detail"]) for line in lines if "a receipt" in line["what"])

        it = "has made MEM-1 https://jira.example/MEM-1"
        assert told(action) == [
            ("ticket: a receipt for what is cancelled", f"attempt 2 {it}"),
            ("ticket: a receipt for what is parked", f"attempt 1 {it}"),
            ("ticket: a receipt for what is sending", f"attempt 1 {it}"),
        ]
        assert told(other) == []

    def test_the_settle_time_counts_from_the_doubt(self, store: Store) -> None:
        """Not from the intent: a process may have been stopped in between."""
        (action,) = fill(store)
        work = store.outbox.claim(action, NOW)
        assert work is not None
        later = NOW + timedelta(hours=1)
        store.outbox.finish(work, Move(State.DOUBT, "cut", due_at=later + timedelta(minutes=1)), later)
        assert store.outbox.row(action)["unknown_at"] == later

    def test_a_killed_process_is_dead_and_a_stopped_one_is_not(self, store: Store, url: str) -> None:
        """Asked of the kernel or the server, not of a lease."""
        import signal

        code = (
            "import sys, time; from datetime import UTC, datetime; from triage.store import Store; "
            f"s = Store({url!r}); print(s.owners.me(datetime.now(UTC)), flush=True); time.sleep(600)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            owner = process.stdout.readline().strip()
            try:
                assert store.owners.is_alive(owner)
                process.send_signal(signal.SIGSTOP)
                assert store.owners.is_alive(owner)
            finally:
                process.kill()
            process.wait()
            deadline = datetime.now(UTC) + timedelta(seconds=20)
            while store.owners.is_alive(owner) and datetime.now(UTC) < deadline:
                pass
            assert not store.owners.is_alive(owner)

    def test_many_processes_write_at_once(self, store: Store, url: str) -> None:
        """Six processes with fifty transactions each: none fails."""
        code = (
            "import sys; from datetime import UTC, datetime; from triage.store import Store; s = Store(sys.argv[1]); "
            "[s.accounts.failed('source', 'acme', 'x', datetime.now(UTC), pause=False) for _ in range(50)]"
        )
        running = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True) for _ in range(6)]
        errors = [process.communicate()[1] for process in running]
        assert [process.returncode for process in running] == [0] * 6, errors
        with store.database.read() as connection:
            assert connection.scalar(sa.select(schema.accounts.c.failures)) == 300

    def test_a_mark_is_had_by_one(self, store: Store) -> None:
        """Of several processes one gets the turn at what is done now and then."""
        with ThreadPoolExecutor(8) as pool:
            turns = list(pool.map(lambda _: store.turns.take("audited/x", NOW, timedelta(hours=1))[0], range(8)))
        assert turns.count(True) == 1
        assert store.turns.take("audited/x", NOW + timedelta(hours=2), timedelta(hours=1)) == (True, NOW)

    def test_the_secret_is_made_once(self, store: Store, url: str) -> None:
        """Every process derives the same markers."""
        other = Store(url)
        assert store.place.stand(NOW).secret == other.place.stand(NOW).secret != b""
        other.close()

    def test_an_alert_is_open_once(self, store: Store) -> None:
        """Until it is over; then it may be raised again."""
        store.alerts.open(NOW, "Brake", "acme", "critical", "too many")
        store.alerts.open(NOW, "Brake", "acme", "critical", "too many")
        assert len(store.views.status(NOW)["alerts"]) == 1
        store.alerts.clear(NOW, "Brake", "acme")
        assert store.views.status(NOW)["alerts"] == []
        store.alerts.open(NOW, "Brake", "acme", "critical", "again")
        assert [row["summary"] for row in store.views.status(NOW)["alerts"]] == ["again"]

    def test_the_snapshot_counts_what_the_store_holds(self, store: Store) -> None:
        """Metrics and health read the same rows as the queue."""
        actions = fill(store, 3)
        work = store.outbox.claim(actions[0], NOW)
        assert work is not None
        store.outbox.finish(work, Move(State.DOUBT, "cut", due_at=NOW), NOW)
        seen = health.snapshot(
            store.database, NOW + timedelta(minutes=5), mode="act", sources=["acme", "new"], others=[("tracker", "tickets")]
        )
        assert (seen.mentions, seen.actions[ActionKind.TICKET, State.DOUBT], seen.actions[ActionKind.TICKET, State.PLANNED]) == (3, 1, 2)
        assert (seen.oldest_doubt_seconds, seen.due_behind_seconds, seen.open_tasks) == (300.0, 300.0, {"bug_report": 3})
        assert seen.sources["new"].last_success_age_seconds is None

    def test_migrations_make_the_schema(self, store: Store) -> None:
        """What the migrations make is what the code describes, and the newest one is the one that the code knows."""
        with store.database.read() as connection:
            context = MigrationContext.configure(connection, opts={"include_name": schema.is_described})
            assert compare_metadata(context, schema.metadata) == []
        assert max(path.name[1:5] for path in (MIGRATIONS / "versions").glob("v*.py")) == HEAD == store.database.version()

    def test_a_newer_store_is_refused(self, store: Store, url: str) -> None:
        """With the next step, and nothing changed."""
        with store.database.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(StoreError, match="schema 9999, which this version of triage does not know; install the newer triage"):
            Store(url)

    def test_a_paused_account_keeps_its_actions(self, store: Store) -> None:
        """They wait until the pause is over, unsent and uncounted."""
        first, second = fill(store, 2)
        work = store.outbox.claim(first, NOW)
        assert work is not None
        store.outbox.finish(work, Move(State.PLANNED, "401", due_at=NOW, pause=True), NOW)
        assert store.outbox.claim(second, NOW) is None
        row = store.outbox.row(second)
        assert (row["attempt"], row["due_at"]) == (0, NOW + timedelta(minutes=5))
        store.accounts.unpause(NOW)
        assert store.outbox.claim(second, NOW) is not None

    def test_errors_of_the_store_are_told(self, store: Store) -> None:
        """An account's failures are counted, its success ends them."""
        assert store.accounts.failed("source", "acme", str(NotAccepted("refused")), NOW, pause=False) == 1
        assert store.accounts.failed("source", "acme", "refused", NOW, pause=False) == 2
        assert store.accounts.succeeded("source", "acme", NOW)
        assert not store.accounts.succeeded("source", "acme", NOW)
