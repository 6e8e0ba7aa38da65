"""Hypothesis drives the service through faults in any order; after every step the promise holds."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tests.service import HandClock, Service, service
from triage.errors import NotAccepted, OutcomeUnknown, RateLimited, Refused, UserError
from triage.mention import State
from triage.pipeline import deliver, intake, judge, people
from triage.pipeline.deliver import reconcile
from triage.store import Store

ERRORS = {
    "refused": (NotAccepted("connection refused"), False),
    "busy": (RateLimited("429", after=30), False),
    "rejected": (Refused("400"), False),
    "cut before": (OutcomeUnknown("cut"), False),
    "accepted then cut": (OutcomeUnknown("cut"), True),
}
SETTLED = {State.DONE, State.CANCELLED, State.OBSERVED}
TEXTS = ("it is broken", "how do I do it", "hello", "maybe broken", "broken: all my data is gone")


class ActionMachine(RuleBasedStateMachine):
    """One service and, for a crash, a second process on the same store."""

    posts = Bundle("posts")
    template: Path | None = None

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.clock = HandClock()
        if ActionMachine.template is None:  # migrated once; each run begins with a copy
            ActionMachine.template = Path(tempfile.mkdtemp()) / "empty.db"
            Store(f"sqlite:///{ActionMachine.template}").close()
        shutil.copy(ActionMachine.template, self.folder / "triage.db")
        self.app: Service = service(self.folder, f"sqlite:///{self.folder}/triage.db", clock=self.clock)
        self.late = False

    def teardown(self) -> None:
        if hasattr(self, "app"):
            self._settle()
            self.app.close()
            shutil.rmtree(self.folder)

    @rule(target=posts, text=st.sampled_from(TEXTS), parent=st.none() | posts)
    def post(self, text: str, parent: str | None) -> str:
        return self.app.acme.post("mira@x.example", text, reply_to=parent).remote_id

    @rule(post=posts, text=st.sampled_from(TEXTS))
    def edit(self, post: str, text: str) -> None:
        if post in self.app.acme._world.posts:
            self.app.acme.edit(post, text)

    @rule(post=posts)
    def delete(self, post: str) -> None:
        if post in self.app.acme._world.posts:
            self.app.acme.delete(post)

    @rule(error=st.sampled_from(sorted(ERRORS)), method=st.sampled_from(["file", "update", "reply"]))
    def break_(self, error: str, method: str) -> None:
        what, after = ERRORS[error]
        (self.app.acme if method == "reply" else self.app.tickets).fail(method, what, after=after)

    @rule(settles=st.floats(0.1, 9.0))
    def commit_late(self, settles: float) -> None:
        """Within the time in which we look: later than that a duplicate can't be ruled out, and the audit finds it."""
        self.app.tickets.late(self.clock, settles * self.app.config.delivery.settle)

    @rule(seconds=st.sampled_from([1, 11, 40, 70, 200, 700, 4000]))
    def pass_time(self, seconds: int) -> None:
        self.app.pass_(seconds=seconds)

    @rule()
    def duplicate_messages(self) -> None:
        """Every message five times, in reverse order."""
        ids = [row["id"] for row in self.app.actions()]
        for _ in range(5):
            intake.poll(self.app, ["acme"])
            judge.process(self.app, list(range(1, 50)))
            deliver.deliver(self.app, ids[::-1])
            reconcile(self.app, ids[::-1])

    @rule()
    def crash_in_mid_send(self) -> None:
        """Another process claims what is due and dies before its call, or after the far side has accepted it."""
        other = service(self.folder, f"sqlite:///{self.folder}/triage.db", clock=self.clock, started=False)
        other._made.update(self.app._made)
        for number, row in enumerate(self.app.actions()):
            work = (
                other.store.outbox.claim(row["id"], self.clock.now()) if row["state"] == State.PLANNED and row["via"] != "human" else None
            )
            if work is not None and number % 2:
                try:
                    deliver.carry_out(other, work)
                except (NotAccepted, Refused, OutcomeUnknown):
                    continue
        other.close()

    @rule()
    def answer(self) -> None:
        for task in self.app.queue()[:1]:
            if task["state"] == "open" and task["kind"] == "task":
                people.answer(self.app, task["id"], "like this", "ana")

    @rule(label=st.sampled_from(["bug_report", "noise"]))
    def relabel(self, label: str) -> None:
        if self.app.store.views.count():
            with suppress(UserError):  # its post was deleted
                judge.relabel(self.app, 1, label, "ana")

    @invariant()
    def nothing_is_made_twice(self) -> None:
        if not hasattr(self, "app"):
            return
        markers = Counter(kept.marker for kept in self.app.tickets.tickets)
        markers += Counter(comment.marker for kept in self.app.tickets.tickets for comment in kept.comments)
        assert all(count == 1 for count in markers.values()), markers
        replies = Counter(sent.key for sent in self.app.acme.replies)
        assert all(count == 1 for count in replies.values()), replies

    @invariant()
    def a_problem_has_one_ticket(self) -> None:
        if hasattr(self, "app"):
            problems = Counter(row["problem_id"] for row in self.app.actions("ticket"))
            assert all(count == 1 for count in problems.values())

    def _settle(self) -> None:
        """With nothing broken any more, everything ends somewhere within a few hours, and the ledger and the store agree."""
        self.app.tickets.heal()
        self.app.acme._failures.clear()
        for _ in range(12):
            self.app.pass_(seconds=1800)
        self.nothing_is_made_twice()
        for row in self.app.actions():
            waits = (
                row["via"] == "human"
                or row["state"] in (State.PARKED, State.REJECTED)
                or row["after_id"] is not None
                or row["kind"] == "alert"
            )
            assert row["state"] in SETTLED or waits, row
        filed = {row["remote_id"] for row in self.app.actions("ticket") if row["state"] == State.DONE}
        held = {row["state"] for row in self.app.actions("ticket")} & {State.PARKED, State.REJECTED}
        assert filed <= {kept.id for kept in self.app.tickets.tickets}
        assert held or filed == {kept.id for kept in self.app.tickets.tickets}
        there = {post for post, mention in self.app.acme._world.posts.items() if mention.author.handle == "mira@x.example"}
        assert there <= {row["remote_id"] for row in self._mentions()}
        assert all(row["due_at"] is None for row in self._mentions())

    def _mentions(self) -> list[dict[str, object]]:
        import sqlalchemy as sa

        from triage.store.schema import mentions

        with self.app.store.database.read() as connection:
            return [dict(row) for row in connection.execute(sa.select(mentions)).mappings()]


TestActionMachine = ActionMachine.TestCase
TestActionMachine.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck)
)
