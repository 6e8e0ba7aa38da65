"""The service as it is run: on one machine by `triage up`, and by a team with PostgreSQL, a Redis server and Celery's own commands."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.acceptance.rig import Rig, Running
from tests.fixtures_services import eventually, new_database
from triage.guard import Guard
from triage.sandbox.jira_documents import plain


class Service:
    """A running service. `begin` and `end` may be called again and again; all its processes must be gone after `end`."""

    def __init__(self, rig: Rig, *, team: bool) -> None:
        self.rig = rig
        self._team = team
        self._running = ExitStack()
        self.runs: list[Running] = []

    def begin(self) -> None:
        """Start it, and wait until it works."""
        if self._team:
            self.runs = [
                self._running.enter_context(self.rig.celery("worker")),
                self._running.enter_context(self.rig.celery("beat")),
                self._running.enter_context(self.rig.command("web")),
            ]
            self.rig.await_work(*self.runs)
        else:
            self.runs = [self._running.enter_context(self.rig.up())]
        assert eventually(self._is_well, 30.0), self.rig.page("/healthz").text

    def end(self, how: int) -> None:
        """Ask every process to end, and see that each did so, by itself and whole."""
        for run in self.runs:
            run.ask(how)
        codes = {run.name: run.ended() for run in self.runs}
        # Celery's worker says 1 after a Ctrl-C; uvicorn ends by the signal that it was sent, once it has shut down.
        assert set(codes.values()) <= {0, 1 if how == signal.SIGINT else -how}, f"{codes}\n" + "\n".join(
            run.said[-1500:] for run in self.runs
        )
        self._running.pop_all()
        self.runs = []
        assert eventually(lambda: not self.rig.left(), 5.0), self.rig.left()

    def _is_well(self) -> bool:
        try:
            return self.rig.page("/healthz").status_code == 200
        except OSError:
            return False


@pytest.fixture(
    scope="module",
    params=["one machine", "a team"],
)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Iterator[Service]:
    """SQLite with the embedded broker; and PostgreSQL with a Redis server, whose worker sweeps so seldom that only the bell can wake it."""
    with ExitStack() as stack:
        team = request.param == "a team"
        options: dict[str, Any] = {}
        if team:
            store = stack.enter_context(new_database(request.getfixturevalue("postgres_url")))
            options = {"store": store, "redis": request.getfixturevalue("redis_url"), "flavour": "data_center", "sweep": "45s"}
        rig = stack.enter_context(Rig(tmp_path_factory.mktemp("service"), guard, **options))
        made = Service(rig, team=team)
        made.begin()
        yield made
        made.end(signal.SIGTERM)
        rig.settle()


def test_a_bug_becomes_one_ticket_and_a_task(service: Service) -> None:
    """The ticket holds the post and its marker, the task tells what to do, and both show what the other is."""
    rig = service.rig
    post = rig.mastodon.post("ann@else.example", "The harbour view is broken since Tuesday", lang="en")
    rig.settle()
    (ticket,) = [ticket for ticket in rig.jira.tickets if "harbour view" in plain(ticket.description)]
    assert "ann" in ticket.summary
    assert post["url"] in plain(ticket.description)
    assert [label for label in ticket.labels if label.startswith("triage-")]
    task = rig.task(post)
    assert (task["state"], task["ticket"]["key"]) == ("open", ticket.key)
    assert "a bug is filed and acknowledged" in task["reason"]
    assert rig.show(post)["ticket"]["key"] == ticket.key


def test_a_second_report_in_the_thread_becomes_a_comment(service: Service) -> None:
    """One thread is one problem: what somebody adds below a report goes to its ticket."""
    rig = service.rig
    first = rig.mastodon.post("bea@else.example", "Uploading is broken")
    rig.settle()
    rig.mastodon.post("cid", "It is broken for me too, with a PNG", reply_to=first["id"])
    rig.settle()
    (ticket,) = [ticket for ticket in rig.jira.tickets if "Uploading" in plain(ticket.description)]
    assert [comment for comment in ticket.comments if "with a PNG" in plain(comment.body)]


def test_an_answer_is_posted_in_the_thread_to_its_author_alone(service: Service) -> None:
    """No wider than the post, below its content warning, naming nobody but the author; and once."""
    rig = service.rig
    rig.mastodon.account("friend@else.example")
    post = rig.mastodon.post("dan@else.example", "How do I export? cc @friend@else.example", visibility="unlisted", cw="question")
    rig.settle()
    task = rig.task(post)
    assert task["draft"].startswith("Hello ")
    said = rig.triage("answer", str(task["id"]), "Under File, Export.", "--now")
    assert "done" in said.out
    rig.settle()
    (reply,) = [reply for reply in rig.mastodon.replies if reply["in_reply_to"] == post["id"]]
    assert (reply["visibility"], reply["spoiler"], reply["mentions"]) == ("unlisted", "question", ["dan@else.example"])
    assert "Under File, Export." in reply["text"]
    assert rig.queue(post) == []
    assert "nothing was sent" in rig.triage("answer", str(task["id"]), "Once more", code=2).err
    assert [reply["in_reply_to"] for reply in rig.mastodon.replies].count(post["id"]) == 1


def test_a_private_post_reaches_a_person_and_nobody_else(service: Service) -> None:
    """Whatever it says, it makes no ticket and no alert; its answer goes to its author alone."""
    rig = service.rig
    post = rig.mastodon.post("eve@else.example", "alarm, my secret garden is broken", visibility="direct")
    rig.settle()
    task = rig.task(post)
    assert task["visibility"] == "direct"
    rig.triage("answer", str(task["id"]), "We look into it", "--now")
    rig.settle()
    (reply,) = [reply for reply in rig.mastodon.replies if reply["in_reply_to"] == post["id"]]
    assert reply["visibility"] == "direct"
    assert "secret garden" not in str(rig.jira.ledger.entries()) + str(rig.receiver.ledger.entries())


def test_an_urgent_post_raises_an_alert_until_its_task_is_closed(service: Service) -> None:
    """The people on call are told, and told again when it is over."""
    rig = service.rig
    post = rig.mastodon.post("fay@else.example", "alarm! The dashboard shows the numbers of strangers")
    rig.settle()

    def mine() -> list[dict[str, Any]]:
        return [alert for alert in rig.receiver.alerts if "numbers of strangers" in alert["annotations"]["summary"]]

    (alert,) = mine()
    assert alert["open"]
    assert (alert["labels"]["alertname"], alert["labels"]["severity"]) == ("UrgentPost", "critical")
    task = rig.task(post)
    assert task["urgent"]
    rig.triage("close", str(task["id"]), "--why", "told the operators")
    assert eventually(lambda: not mine()[0]["open"], 20.0)


def test_praise_is_archived_and_a_suggestion_waits_for_a_person(service: Service) -> None:
    """What needs nobody makes no task; what a rule only suggests is done when somebody accepts it."""
    rig = service.rig
    praise = rig.mastodon.post("gil@else.example", "What a lovely release")
    maybe = rig.mastodon.post("hal@else.example", "Perhaps the zoom is off by one pixel")
    rig.settle()
    assert rig.show(praise)["status"] == "archived"
    assert rig.queue(praise) == []
    task = rig.task(maybe)
    assert task["suggest"] == ["ticket"]
    assert not [ticket for ticket in rig.jira.tickets if "off by one" in plain(ticket.description)]
    rig.triage("accept", str(task["id"]))
    rig.settle()
    assert len([ticket for ticket in rig.jira.tickets if "off by one" in plain(ticket.description)]) == 1


def test_edits_and_deletions_are_followed(service: Service) -> None:
    """An edit reaches the queue and the ticket; a deletion takes the task away and leaves what was filed."""
    rig = service.rig
    edited = rig.mastodon.post("ida@else.example", "Printing is broken on Linux")
    deleted = rig.mastodon.post("jon@else.example", "How do I print on both sides?")
    rig.settle()
    assert rig.queue(deleted)
    rig.mastodon.edit(edited["id"], "@quayside Printing is broken on Linux and on BSD")
    rig.mastodon.delete(deleted["id"])

    def told() -> bool:
        return any("BSD" in plain(comment.body) for ticket in rig.jira.tickets for comment in ticket.comments)

    assert eventually(told, 30.0)
    assert "BSD" in rig.task(edited)["text"]
    assert eventually(lambda: not rig.queue(deleted), 30.0)
    assert rig.show(deleted)["status"] == "deleted"


def test_what_is_not_for_us_is_left_alone(service: Service) -> None:
    """A colleague's post and our own are not taken in; a hashtag's post is."""
    rig = service.rig
    ours = rig.mastodon.post("quayside", "Version 3 is out #quayside", mention=False)
    colleague = rig.mastodon.post("colleague", "It is broken, I know")
    tagged = rig.mastodon.post("kim@else.example", "Anybody tried #quayside on a phone?", mention=False)
    rig.settle()
    assert rig.show(tagged)["id"]
    for post in (ours, colleague):
        assert "there is no mention" in rig.triage("show", post["url"], code=2).err


def test_metrics_and_health_are_served(service: Service) -> None:
    """A monitor learns that all is well, how much was done, and no secret."""
    rig = service.rig
    rig.mastodon.post("lea@else.example", "Is it broken or is it me?")
    rig.settle()
    health = rig.page("/healthz")
    assert health.status_code == 200
    assert (health.json()["status"], health.json()["mode"]) == ("ok", "act")
    assert health.json()["workers"] >= 1
    page = rig.page("/metrics")
    assert page.headers["Content-Type"].startswith("text/plain")
    series = dict(line.rsplit(" ", 1) for line in page.text.splitlines() if not line.startswith("#"))
    assert float(series['triage_source_up{source="quayside"}']) == 1
    assert float(series['triage_actions{kind="ticket",state="done"}']) >= 1
    assert rig.mastodon.token not in page.text + health.text
    assert rig.jira.token not in page.text + health.text


def test_a_second_start_goes_on_and_files_nothing_twice(service: Service) -> None:
    """Ctrl-C leaves no process; what was posted in between is found at the next start, and what was done is not done again."""
    rig = service.rig
    before = rig.mastodon.post("mia@else.example", "Search is broken before the restart")
    rig.settle()
    service.end(signal.SIGINT)
    tickets = len(rig.jira.tickets)
    between = rig.mastodon.post("ned@else.example", "Search is broken between two starts")
    service.begin()
    rig.settle()
    assert len(rig.jira.tickets) == tickets + 1
    assert rig.show(between)["ticket"]["key"] != rig.show(before)["ticket"]["key"]
