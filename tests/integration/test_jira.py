"""The Jira tracker against the stand-in server: what goes over the wire, and what happens when it goes wrong."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.contract.test_trackers import options
from tests.contract.trackers import a_blank, a_comment, a_mention, some_work
from tests.shared import shared
from triage import remote
from triage.errors import Gone, NotAccepted, OutcomeUnknown, RateLimited, Refused, TooLate, Unauthorized
from triage.mention import Author, Receipt, Visibility, Work
from triage.sandbox import jira_documents as documents
from triage.sandbox.http import Reply
from triage.sandbox.jira import JiraServer
from triage.trackers import jira
from triage.trackers.markup import last_line

CREATE = r"/rest/api/[23]/issue$"


@pytest.fixture(params=["cloud", "data_center"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JiraServer]:
    """Both kinds of Jira."""
    with JiraServer(tmp_path, flavour=request.param) as running:
        yield running


@pytest.fixture
def tracker(server: JiraServer) -> jira.Jira:
    """A tracker whose first ticket was made and read back, so that what follows is the ordinary course."""
    made = jira.Jira("quay-jira", options(server))
    made.file(some_work())
    return made


def asked(server: JiraServer, since: int = 0) -> list[str]:
    """The requests from that one on, as method and path below the API's root."""
    return [f"{one['method']} {re.sub(r'^/rest/api/[^/]+/', '', one['path'])}" for one in server.requests[since:]]


# ---- how often


def test_a_ticket_is_one_request(server: JiraServer, tracker: jira.Jira) -> None:
    """Nothing is read before or after a create: a reload could fail although the ticket exists."""
    before = len(server.requests)
    tracker.file(some_work())
    assert asked(server, before) == ["POST issue"]


def test_only_the_first_ticket_is_read_back(server: JiraServer) -> None:
    """By its id, once a process."""
    tracker = jira.Jira("jira", options(server))
    first = tracker.file(some_work())
    tracker.file(some_work())
    assert asked(server) == ["POST issue", f"GET issue/{first.remote_id}", "POST issue"]


@pytest.mark.parametrize("kind", ["reset_after", "status:500", "status:502", "status:503", "status:504", "empty", "html", "cut"])
def test_an_unclear_answer_is_doubt_and_asked_once(server: JiraServer, tracker: jira.Jira, kind: str) -> None:
    """Accepted, and the answer lost: one ticket, an unknown outcome, no word of the post in the error, and the look finds it."""
    server.faults.add(method="POST", path=CREATE, kind=kind, times=None)
    before, work = len(server.tickets), some_work()
    with pytest.raises(OutcomeUnknown) as caught:
        tracker.file(work)
    assert "quay-jira" in str(caught.value)
    assert "export" not in str(caught.value)
    assert len(server.tickets) == before + 1
    server.faults.clear()
    assert [found.remote_id for found in tracker.find(work)] == [server.tickets[-1].id]


@pytest.mark.parametrize("kind", ["reset_after", "status:503", "empty", "html", "cut"])
def test_an_unclear_answer_to_a_comment_is_doubt(server: JiraServer, tracker: jira.Jira, kind: str) -> None:
    """One comment, found by its marker afterwards."""
    ticket = tracker.file(some_work())
    server.faults.add(method="POST", path="/comment$", kind=kind, times=None)
    work = a_comment(ticket)
    with pytest.raises(OutcomeUnknown):
        tracker.update(work)
    server.faults.clear()
    (comment,) = server.ticket(ticket.key).comments
    assert [found.remote_id for found in tracker.find(work)] == [comment.id]


def test_no_answer_at_all_is_doubt(server: JiraServer) -> None:
    """The deadline ends the wait; the ticket is there."""
    tracker = jira.Jira("jira", options(server), deadline=0.5)
    server.faults.add(method="POST", path=CREATE, kind="timeout_after", times=None)
    with pytest.raises(OutcomeUnknown, match=r"0\.5 s"):
        tracker.file(some_work())
    assert len(server.tickets) == 1


def test_a_dropped_request_is_not_found(server: JiraServer, tracker: jira.Jira) -> None:
    """Never accepted, which the client can't know: doubt, and the look is clean."""
    server.faults.add(method="POST", path=CREATE, kind="reset_before")
    work = some_work()
    with pytest.raises(OutcomeUnknown):
        tracker.file(work)
    assert list(tracker.find(work)) == []


def test_a_late_ticket_is_found_by_a_later_look(server: JiraServer, tracker: jira.Jira) -> None:
    """The server carries the request out after we gave up."""
    server.faults.add(method="POST", path=CREATE, kind="late:0.3")
    work, before = some_work(), len(server.tickets)
    with pytest.raises(OutcomeUnknown):
        tracker.file(work)
    assert list(tracker.find(work)) == []
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while len(server.tickets) == before and datetime.now(UTC) < deadline:
        threading.Event().wait(0.02)
    assert [found.remote_id for found in tracker.find(work)] == [server.tickets[-1].id]


def test_a_server_that_is_away_has_accepted_nothing(server: JiraServer, tracker: jira.Jira) -> None:
    """A refused connection is proof."""
    server.stop()
    with pytest.raises(NotAccepted) as caught:
        tracker.file(some_work())
    assert not isinstance(caught.value, Unauthorized | RateLimited)


def test_what_comes_too_late_is_not_sent(server: JiraServer, tracker: jira.Jira) -> None:
    """More than two seconds after the intent was written down nothing leaves."""
    before = len(server.requests)
    with pytest.raises(TooLate), remote.sending(remote.boot_seconds() - 3):
        tracker.file(some_work())
    assert len(server.requests) == before


@pytest.mark.parametrize(("value", "least", "most"), [("120", 120, 120), ("0", 1, 1), ("86400", 3600, 3600), ("date", 100, 120)])
def test_too_many_requests_is_not_repeated(server: JiraServer, tracker: jira.Jira, value: str, least: float, most: float) -> None:
    """The server's own time to wait comes out, in whatever form it was given, and nothing was sent twice."""
    server.faults.add(method="POST", path=CREATE, kind=f"429:{value}", times=None)
    before = len(server.requests)
    with pytest.raises(RateLimited) as caught:
        tracker.file(some_work())
    assert caught.value.after is not None
    assert least <= caught.value.after <= most
    assert asked(server, before) == ["POST issue"]


def test_junk_in_retry_after_is_no_time(server: JiraServer, tracker: jira.Jira) -> None:
    """Then nobody said how long."""
    server.faults.add(method="POST", path=CREATE, kind="429:junk")
    with pytest.raises(RateLimited) as caught:
        tracker.file(some_work())
    assert caught.value.after is None


def test_a_revoked_token_and_a_missing_right_are_told_apart_from_bad_fields(server: JiraServer, tracker: jira.Jira) -> None:
    """401 and 403 pause the account; what Jira says about a field reaches the person."""
    server.faults.add(method="POST", path=CREATE, kind="401")
    with pytest.raises(Unauthorized):
        tracker.file(some_work())
    server.knobs.permissions.discard("CREATE_ISSUES")
    with pytest.raises(Unauthorized, match="CREATE_ISSUES"):
        tracker.file(some_work())
    server.knobs.change(labels_on_screen=False, permissions=["BROWSE_PROJECTS", "CREATE_ISSUES"])
    with pytest.raises(Refused, match="Field 'labels' cannot be set") as caught:
        tracker.file(some_work())
    assert caught.value.status == 400


# ---- what


def test_everything_of_the_config_is_set(server: JiraServer) -> None:
    """Issue type, labels, components, priority and custom fields arrive as they were asked for."""
    made = options(
        server,
        issue_type="Task",
        labels=["from-the-web"],
        components=["CLI"],
        priority="High",
        fields={"customfield_10010": "social"},
        summary="[{{ platform }}] {{ first_line }}",
        description="Seen by {{ source }}.",
    )
    receipt = jira.Jira("jira", made).file(work := some_work())
    ticket = server.ticket(receipt.remote_id)
    assert ticket.issue_type == "Task"
    assert ticket.labels == ("triage", f"triage-{work.marker}", "from-the-web")
    assert (ticket.components, ticket.priority) == (("CLI",), "High")
    assert ticket.fields == {"customfield_10010": "social"}
    assert ticket.summary == "[mastodon] the export is empty since 3.2"
    assert "Seen by quay." in json.dumps(ticket.description)
    assert last_line(ticket.description) == f"triage:{work.marker}"


def test_nothing_of_a_post_is_in_a_query(server: JiraServer, tracker: jira.Jira) -> None:
    """Every query is made of our own labels, a project key and times."""
    mention = a_mention(text='" OR project = OPS OR text ~ "', language='"')
    work = some_work(mention=mention)
    tracker.file(work)
    jira.Jira("jira", tracker.options).find(work)
    list(tracker.changed(datetime.now(UTC)))
    tracker.duplicates(datetime.now(UTC))
    queries = [one["query"]["jql"][0] for one in server.requests if "jql" in one["query"]]
    assert len(queries) >= 4
    shape = (
        r'(labels = "triage(-[0-9a-f]+)?"|project = "QUAY"|(created|updated) (<=|>=) "-\d+m"| AND | ORDER BY (created|updated) (ASC|DESC))+'
    )
    for query in queries:
        assert re.fullmatch(shape, query)


# ---- labels that Jira drops


def test_dropped_labels_stop_creating(server: JiraServer) -> None:
    """The first ticket stands; then nothing more is created, and the check says why and what to do."""
    server.knobs.change(drop_labels=True)
    tracker = jira.Jira("jira", options(server))
    work = some_work()
    receipt = tracker.file(work)
    assert receipt.key == "QUAY-1"
    for _ in range(2):
        with pytest.raises(NotAccepted, match="stop creating, labels not on the create screen") as caught:
            tracker.file(some_work())
        assert caught.value.after == 3600
    assert len(server.tickets) == 1
    assert "QUAY-1" in tracker.unmarked
    finding = next(iter(tracker.check()))
    assert (finding.level, finding.what) == ("fail", tracker.unmarked)
    assert [found.key for found in tracker.find(work)] == ["QUAY-1"]


def test_many_threads_make_one_unmarked_ticket(server: JiraServer) -> None:
    """Until the first ticket was read back, the others wait for it."""
    server.knobs.change(drop_labels=True)
    tracker = jira.Jira("jira", options(server))
    stopped: list[NotAccepted] = []

    def file() -> None:
        try:
            tracker.file(some_work())
        except NotAccepted as error:
            stopped.append(error)

    threads = [threading.Thread(target=file) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.tickets) == 1
    assert len(stopped) == 3


@pytest.mark.parametrize("kind", ["status_before:500", "html", "401", "status_before:404"])
def test_a_failed_reading_back_loses_no_ticket(server: JiraServer, kind: str) -> None:
    """The receipt is returned, and the next ticket is read back instead."""
    tracker = jira.Jira("jira", options(server))
    server.faults.add(method="GET", path="/issue/", kind=kind)
    first = tracker.file(some_work())
    second = tracker.file(some_work())
    assert [first.key, second.key] == ["QUAY-1", "QUAY-2"]
    assert asked(server)[-1] == f"GET issue/{second.remote_id}"
    assert tracker.unmarked == ""


# ---- looking


def in_doubt(server: JiraServer, tracker: jira.Jira, work: Work | None = None) -> Work:
    """A ticket that was made, and of which the tracker does not know."""
    server.faults.add(method="POST", path=CREATE, kind="reset_after")
    work = work or some_work()
    with pytest.raises(OutcomeUnknown):
        tracker.file(work)
    return work


def test_a_search_that_never_catches_up_does_not_blind_the_look(server: JiraServer, tracker: jira.Jira) -> None:
    """Reads by key find it, also after others have filed more than a walk would reach from the newest number."""
    server.knobs.change(search_lag="never")
    work = in_doubt(server, tracker)
    wanted = server.tickets[-1]
    for _ in range(60):
        server.add_ticket("QUAY", "something else")
    tracker.file(some_work())
    assert [found.key for found in tracker.find(work)] == [wanted.key]


def test_a_second_attempt_does_not_forget_where_the_first_began(server: JiraServer, tracker: jira.Jira) -> None:
    """The first attempt's ticket came late, the second's is in doubt again: the look begins below both."""
    server.knobs.change(search_lag="never")
    work = in_doubt(server, tracker)
    for _ in range(30):
        server.add_ticket("QUAY", "something else")
    tracker.file(some_work())
    in_doubt(server, tracker, work)
    made = [ticket.key for ticket in server.tickets if f"triage-{work.marker}" in ticket.labels]
    assert len(made) == 2
    assert [found.key for found in tracker.find(work)] == made


def test_a_walk_ends_after_twenty_misses(server: JiraServer, tracker: jira.Jira) -> None:
    """Deleted issues leave holes; twenty in a row are the end."""
    server.knobs.change(search_lag="never")
    work = in_doubt(server, tracker)
    for _ in range(19):
        server.delete(server.add_ticket("QUAY", "spam").key)
    server.add_ticket("QUAY", "after the hole")
    before = len(server.requests)
    assert len(tracker.find(work)) == 1
    reads = [line for line in asked(server, before) if line.startswith("GET issue/")]
    assert len(reads) == 1 + 19 + 1 + 20


def test_a_walk_ends_after_two_hundred_reads(server: JiraServer, tracker: jira.Jira) -> None:
    """A busy project is not read to its end."""
    server.knobs.change(search_lag="never")
    work = in_doubt(server, tracker)
    for _ in range(220):
        server.add_ticket("QUAY", "busy")
    before = len(server.requests)
    assert len(tracker.find(work)) == 1
    assert len([line for line in asked(server, before) if line.startswith("GET issue/")]) == 200


def test_a_restarted_process_begins_at_what_the_caller_knows(server: JiraServer, tracker: jira.Jira) -> None:
    """With a search that shows nothing, an older issue's key is where the walk begins."""
    server.knobs.change(search_lag="never")
    for _ in range(230):
        server.add_ticket("QUAY", "old")
    work = in_doubt(server, tracker)
    restarted = jira.Jira("jira", tracker.options)
    known = some_work(marker=work.marker, payload={"known_key": "QUAY-231"})
    before = len(server.requests)
    assert [found.key for found in restarted.find(known)] == ["QUAY-232"]
    assert next(line for line in asked(server, before) if "GET issue" in line) == "GET issue/QUAY-232"


@pytest.mark.parametrize("zone", ["Etc/UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_a_restarted_process_begins_below_the_newest_old_issue(server: JiraServer, zone: str) -> None:
    """The search is hours of issues deep and seconds behind, wherever the server stands: what it shows from before is enough."""
    server.knobs.change(time_zone=zone, search_lag=60.0, skew=-7200.0)
    for _ in range(300):
        server.add_ticket("QUAY", "old")
    server.knobs.change(skew=0.0)
    work = in_doubt(server, jira.Jira("jira", options(server)))
    for _ in range(40):
        server.add_ticket("QUAY", "newer")
    before = len(server.requests)
    assert [found.key for found in jira.Jira("jira", options(server)).find(work)] == ["QUAY-301"]
    reads = [line for line in asked(server, before) if line.startswith("GET issue/")]
    assert reads[0] == "GET issue/QUAY-271"
    assert len(reads) == 30 + 41 + 20


def test_what_a_process_saw_days_ago_is_no_handicap(server: JiraServer, tracker: jira.Jira) -> None:
    """Others filed hundreds since: the walk begins where the search has arrived, not at our own last ticket."""
    server.knobs.change(search_lag=60.0, skew=-7200.0)
    for _ in range(300):
        server.add_ticket("QUAY", "by others")
    server.knobs.change(skew=0.0)
    work = in_doubt(server, tracker)
    assert [found.key for found in tracker.find(work)] == ["QUAY-302"]


def test_a_moved_ticket_is_found_in_its_new_project(server: JiraServer, tracker: jira.Jira) -> None:
    """By its old key and by its label; once, with the new key and the old id."""
    work = in_doubt(server, tracker)
    wanted = server.tickets[-1]
    server.move(wanted.key, "OPS-5")
    assert tracker.find(work) == [Receipt(wanted.id, "OPS-5", f"{server.url}/browse/OPS-5")]


def test_the_label_search_alone_finds_what_is_out_of_reach(server: JiraServer, tracker: jira.Jira) -> None:
    """A ticket far above the walk is found by its label."""
    for _ in range(240):
        server.add_ticket("QUAY", "busy")
    work = in_doubt(server, tracker)
    restarted = jira.Jira("jira", tracker.options)
    assert len(restarted.find(some_work(marker=work.marker, payload={"known_key": "QUAY-1"}))) == 1


def test_a_planted_or_cloned_ticket_is_not_ours(server: JiraServer, tracker: jira.Jira) -> None:
    """The marker without our account as creator counts for nothing, neither in a look nor in the audit."""
    work = some_work()
    receipt = tracker.file(work)
    clone = server.add_ticket(
        "QUAY", "clone", labels=["triage", f"triage-{work.marker}"], description=server.ticket(receipt.key).description
    )
    server.add_comment(receipt.key, f"x\n\ntriage:{work.marker}")
    assert clone.key not in [found.key for found in tracker.find(work)]
    assert dict(tracker.duplicates(datetime.now(UTC) - timedelta(hours=1))) == {}
    assert list(tracker.find(a_comment(receipt, marker=work.marker))) == []


def test_a_teams_own_label_is_no_marker(server: JiraServer) -> None:
    """Two tickets that share `triage-web` are no duplicates."""
    tracker = jira.Jira("jira", options(server, labels=["triage-web", "triage-beef"]))
    tracker.file(some_work())
    tracker.file(some_work())
    assert dict(tracker.duplicates(datetime.now(UTC) - timedelta(hours=1))) == {}
    assert len(list(tracker.changed(None))) == 2


def test_a_comment_is_found_among_many(server: JiraServer, tracker: jira.Jira) -> None:
    """Page after page, whatever the server's page size."""
    ticket = tracker.file(some_work())
    work = a_comment(ticket)
    receipt = tracker.update(work)
    for number in range(25):
        server.add_comment(ticket.key, f"comment {number}")
    server.knobs.change(page_size=4)
    assert [found.remote_id for found in tracker.find(work)] == [receipt.remote_id]


@pytest.mark.parametrize("kind", ["html", "empty", "cut", "status_before:503", "reset_before"])
def test_a_look_that_fails_says_so(server: JiraServer, tracker: jira.Jira, kind: str) -> None:
    """It is neither "found nothing" nor doubt: the caller looks again."""
    work = in_doubt(server, tracker)
    server.faults.add(method="GET", kind=kind, times=None)
    with pytest.raises(NotAccepted):
        tracker.find(work)
    with pytest.raises(NotAccepted):
        list(tracker.changed(None))


# ---- reading back


def test_changes_come_page_by_page(server: JiraServer, tracker: jira.Jira) -> None:
    """All of them, each once, however small the pages."""
    made = [tracker.file(some_work()).remote_id for _ in range(10)]
    server.add_ticket("QUAY", "not ours", labels=["triage"])
    server.knobs.change(page_size=3)
    assert sorted(ticket.id for ticket in tracker.changed(None))[-10:] == sorted(made)
    assert len(list(tracker.changed(None))) == 11


def test_old_changes_are_left_out(server: JiraServer, tracker: jira.Jira) -> None:
    """What changed long before the last look is not read again, in any time zone."""
    server.knobs.change(time_zone="Pacific/Auckland", skew=-4 * 3600.0)
    old = tracker.file(some_work())
    server.knobs.change(skew=0.0)
    new = tracker.file(some_work())
    ids = [ticket.id for ticket in tracker.changed(datetime.now(UTC) - timedelta(minutes=5))]
    assert old.remote_id not in ids
    assert new.remote_id in ids


def test_a_deleted_ticket_is_told_by_a_comment_alone(server: JiraServer, tracker: jira.Jira) -> None:
    """Commenting on it is `Gone`; no new ticket appears."""
    receipt = tracker.file(some_work())
    server.delete(receipt.key)
    before = len(server.tickets)
    with pytest.raises(Gone):
        tracker.update(a_comment(receipt))
    assert len(server.tickets) == before


# ---- taking words out


def puts(server: JiraServer, since: int) -> list[tuple[str, str]]:
    """The writes from that request on, with what they say of those who watch."""
    return [
        (one["path"].rpartition("/")[2], str(one["query"].get("notifyUsers"))) for one in server.requests[since:] if one["method"] == "PUT"
    ]


def test_those_who_watch_are_told_only_where_silence_is_refused(server: JiraServer, tracker: jira.Jira) -> None:
    """The mail of a change holds the old text. Data Center refuses silence, Cloud ignores the request; an administrator has it."""
    ticket = tracker.file(some_work())
    before = len(server.requests)
    tracker.blank(a_blank(ticket))
    assert [told for _, told in puts(server, before)] == ["['false']", "None"]
    assert [entry["told"] for entry in server.ledger.entries("edit")] == [True]
    server.knobs.permissions.add("ADMINISTER_PROJECTS")
    ticket = tracker.file(some_work())
    before = len(server.requests)
    tracker.blank(a_blank(ticket))
    assert asked(server, before) == [f"GET issue/{ticket.remote_id}", f"PUT issue/{ticket.remote_id}", f"GET issue/{ticket.remote_id}"]
    assert [entry["told"] for entry in server.ledger.entries("edit")] == [True, False]


def test_a_missing_right_or_field_is_told_and_rests_no_account(server: JiraServer, tracker: jira.Jira) -> None:
    """A 403 to a change says nothing of the token, which has just been good for a read."""
    ticket = tracker.file(some_work())
    comment = tracker.update(a_comment(ticket))
    server.knobs.change(locked=["description"])
    with pytest.raises(Refused, match="Field 'description' cannot be set"):
        tracker.blank(a_blank(ticket))
    server.knobs.permissions -= {"EDIT_ISSUES", "EDIT_OWN_COMMENTS"}
    for work in (a_blank(ticket), a_blank(comment, "report")):
        if server.is_cloud and work.payload["of"] == "ticket":
            server.knobs.change(locked=[])
        with pytest.raises(Refused, match="permission"):
            tracker.blank(work)
    server.faults.add(method="PUT", kind="401")
    with pytest.raises(Unauthorized):
        tracker.blank(a_blank(ticket))
    assert server.ledger.entries("edit") == []


def test_what_is_not_ours_is_not_touched(server: JiraServer, tracker: jira.Jira) -> None:
    """A ticket that a person named, a comment that a person wrote, a ticket that was moved to another project."""
    theirs = server.add_ticket("QUAY", "Mira Lund: the export is empty since 3.2")
    note = server.add_comment(theirs.key, "the export is empty since 3.2")
    for work in (a_blank(Receipt(theirs.id, theirs.key)), a_blank(Receipt(note.id, theirs.key), "report")):
        with pytest.raises(Refused, match="not written by our account"):
            tracker.blank(work)
        assert tracker.find(work) == []
    ticket = tracker.file(some_work())
    server.move(ticket.key, "OPS-77")
    with pytest.raises(Refused, match="OPS-77 now, of another project than QUAY"):
        tracker.blank(a_blank(ticket))
    assert server.ledger.entries("edit") == []


@pytest.mark.parametrize("kind", ["reset_after", "status:502"])
def test_an_unclear_answer_to_a_change_is_read_back(server: JiraServer, tracker: jira.Jira, kind: str) -> None:
    """The next look finds that it is done, and a repetition writes nothing."""
    server.knobs.permissions.add("ADMINISTER_PROJECTS")
    ticket = tracker.file(some_work())
    server.faults.add(method="PUT", kind=kind)
    with pytest.raises(OutcomeUnknown):
        tracker.blank(a_blank(ticket))
    assert tracker.find(a_blank(ticket)) == [ticket]
    assert tracker.blank(a_blank(ticket)) == ticket
    assert len(server.ledger.entries("edit")) == 1


def test_nothing_is_written_over_what_somebody_writes_after_the_reading(
    server: JiraServer, tracker: jira.Jira, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow server may take its time to be read; between the reading and the change there are two seconds, and no more."""
    ticket = tracker.file(some_work())
    with remote.sending(remote.boot_seconds() - 60.0):
        assert tracker.blank(a_blank(ticket)) == ticket
    moments = iter(range(0, 1_000, 3))
    monkeypatch.setattr(remote, "boot_seconds", lambda: float(next(moments)))
    ticket = tracker.file(some_work())
    with pytest.raises(TooLate):
        tracker.blank(a_blank(ticket))


def test_what_the_templates_of_the_config_said_goes_too(server: JiraServer) -> None:
    """The title, and the paragraphs above the post that were made of it; what they say of every post stays."""
    opening = "Runbook: wiki/export\n\n{{ author }} says: {{ first_line }}"
    changes = {"summary": "[{{ label }}] {{ first_line }} ({{ reason }})", "description": opening}
    tracker = jira.Jira("jira", options(server, **changes))
    ticket = tracker.file(some_work())
    assert tracker.blank(a_blank(ticket)) == ticket
    kept = server.ticket(ticket.key)
    said = kept.summary + documents.plain(kept.description).replace("\\", "")
    assert "Runbook: wiki/export" in said
    assert "says:" not in said
    assert "export is empty" not in said


def test_a_quote_that_the_editor_of_cloud_wrote_anew_is_the_same(jira_cloud: JiraServer) -> None:
    """It gives nodes ids of their own, and makes links cards and signs emoji."""
    tracker = jira.Jira("jira", options(jira_cloud))
    text = "see https://tilde.example/x \N{CRAB} it is empty"
    ticket = tracker.file(some_work(mention=a_mention(text=text)))
    card = {"type": "inlineCard", "attrs": {"url": "https://tilde.example/x"}}
    crab = {"type": "emoji", "attrs": {"shortName": ":crab:", "id": "1f980", "text": "\N{CRAB}"}}
    words: list[Any] = [
        {"type": "text", "text": "see "},
        card,
        {"type": "text", "text": " "},
        crab,
        {"type": "text", "text": " it is empty"},
    ]
    body = dict(jira_cloud.ticket(ticket.key).description)
    quote = {"type": "blockquote", "content": [{"type": "paragraph", "attrs": {"localId": "1"}, "content": words}]}
    body["content"] = [quote if node["type"] == "blockquote" else node for node in body["content"]]
    jira_cloud.edit(ticket.key, description=body)
    assert tracker.blank(a_blank(ticket, payload={"texts": [text]})) == ticket
    assert "tilde.example/x" not in documents.plain(jira_cloud.ticket(ticket.key).description)


# ---- triage doctor


def failures(tracker: jira.Jira) -> list[tuple[str, str]]:
    """What the check finds wrong, with the next step; what is wrong always has one."""
    found = [finding for finding in tracker.check() if finding.level != "ok"]
    assert all(finding.next_step for finding in found)
    return [(finding.what, finding.next_step) for finding in found]


@pytest.mark.parametrize(
    ("knobs", "changes", "what", "next_step"),
    [
        ({}, {"token": "wrong-token"}, "401", "token"),
        ({}, {"project": "NOPE"}, "no project NOPE", "`project`"),
        ({"permissions": ["BROWSE_PROJECTS"]}, {}, "lacks Create Issues, Add Comments", "role"),
        ({"permissions": ["BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS"]}, {}, "lacks Edit Issues, Edit Own Comments", "role"),
        ({"issue_types": ["Story", "Task"]}, {}, "no issue type Bug", "Story, Task"),
        ({"issue_types": []}, {}, "no issue type Bug", "none that"),
        ({"labels_on_screen": False}, {}, "Labels is not on the create screen of Bug in QUAY", "Add the field Labels"),
        ({}, {"fields": {"customfield_99": 1}}, "customfield_99", "out of the config"),
        ({"skew": 300.0}, {}, "300 s ahead", "NTP"),
        ({"skew": -300.0}, {}, "300 s behind", "NTP"),
    ],
)
def test_the_check_names_what_is_wrong(server: JiraServer, knobs: Any, changes: Any, what: str, next_step: str) -> None:
    """One finding for one mistake, ending with what to do."""
    server.knobs.change(**knobs)
    ((said, advice),) = failures(jira.Jira("jira", options(server, **changes)))
    assert what in said.replace("299 s", "300 s").replace("301 s", "300 s")
    assert next_step in advice


def test_the_check_sees_the_wrong_kind_of_jira(server: JiraServer) -> None:
    """Cloud configured as Data Center, and the reverse."""
    other = {"deployment": "data_center", "user": "x"} if server.is_cloud else {"deployment": "cloud", "user": "x@acme.example"}
    ((_, advice),) = failures(jira.Jira("jira", options(server, **other)))
    assert f"deployment: {'cloud' if server.is_cloud else 'data_center'}" in advice


def test_the_check_sees_a_required_field(server: JiraServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that Jira requires and nobody sets would refuse every ticket."""
    from triage.sandbox import jira_shapes

    whole = jira_shapes.Shapes.create_fields
    monkeypatch.setattr(
        jira_shapes.Shapes,
        "create_fields",
        lambda self: [field | {"required": True} for field in whole(self) if field["key"] != "components"],
    )
    ((said, advice),) = failures(jira.Jira("jira", options(server)))
    assert "requires Custom 10010 (customfield_10010), Environment (environment)" in said
    assert "`fields`" in advice
    assert failures(jira.Jira("jira", options(server, fields={"customfield_10010": "x", "environment": "x"}))) == []


def test_the_check_sees_an_address_where_nobody_is(server: JiraServer) -> None:
    """Refused connections and pages of another program end with a next step."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ((_, advice),) = failures(jira.Jira("jira", options(server, url=f"http://127.0.0.1:{free.getsockname()[1]}")))
    assert "`url`" in advice
    server.faults.add(method="GET", kind="html", times=None)
    ((said, advice),) = failures(jira.Jira("jira", options(server)))
    assert "no JSON" in said
    assert "`url`" in advice


def test_the_check_warns_of_an_unencrypted_token(server: JiraServer) -> None:
    """http to another machine shows the token to everybody on the way."""
    tracker = jira.Jira("jira", options(server, url="http://jira.invalid"), deadline=1.0)
    assert "unencrypted" in failures(tracker)[0][0]


def test_the_check_reads_an_old_data_center(jira_dc: JiraServer) -> None:
    """Before 8.4 the create screen is told in one piece elsewhere."""
    jira_dc.faults.add(method="GET", path="/issuetypes", kind="status_before:404", times=None)
    fields = {name: {"required": False} for name in ("labels", "description")}
    body = {"projects": [{"issuetypes": [{"name": "Bug", "fields": fields}, {"name": "Task", "fields": {}}]}]}
    jira_dc._routes.insert(0, ("GET", re.compile("/rest/api/2/issue/createmeta"), lambda request: Reply(body)))
    assert failures(jira.Jira("jira", options(jira_dc))) == []
    ((said, advice),) = failures(jira.Jira("jira", options(jira_dc, issue_type="Story")))
    assert "no issue type Story" in said
    assert "Bug, Task" in advice


# ---- Atlassian's own documents


@cache
def specification() -> Any:
    """The OpenAPI document of Jira Cloud, version 3."""
    return json.loads(shared("specs/jira-cloud-v3.json").read_text())


def operation(method: str, path: str) -> Any:
    """The operation that a request is, which must exist."""
    for template, operations in specification()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path) and method.lower() in operations:
            return operations[method.lower()]
    raise AssertionError(f"Jira Cloud knows no {method} {path}")


@pytest.mark.shared
def test_every_request_is_one_that_jira_cloud_documents(jira_cloud: JiraServer) -> None:
    """Path, method, parameters and body of all that we send, and each text against the document schema."""
    components = specification()["components"]
    adf = jsonschema.Draft4Validator(json.loads(shared("specs/adf-schema.json").read_text()))
    tracker = jira.Jira("jira", options(jira_cloud, components=["CLI"], priority="High", fields={"customfield_10010": "x"}))
    assert [finding.level for finding in tracker.check()] == ["ok"] * 6
    hostile = a_mention(
        text="[~a]\n\n\n{b}\r\n\x00🦀", warning="x", poll=("a", "b"), quote="javascript:x", author=Author("a@b.example", "\n")
    )
    work = some_work(mention=hostile)
    receipt = tracker.file(work)
    tracker.file(some_work(mention=a_mention(text="", visibility=Visibility.DIRECT), payload={"lifted": True, "mention_id": 1}))
    for what in ("report", "edited", "deleted", "relabelled"):
        tracker.update(a_comment(receipt, what, text="ours"))
    tracker.find(work)
    tracker.find(a_comment(receipt))
    tracker.blank(a_blank(receipt, mention=hostile, payload={"texts": [hostile.text]}))
    comment = tracker.update(a_comment(receipt))
    tracker.blank(a_blank(comment, "report"))
    jira.Jira("jira", tracker.options).find(work)
    jira_cloud.knobs.change(page_size=1)
    list(tracker.changed(None))
    tracker.duplicates(datetime.now(UTC))
    kinds = set()
    for request in jira_cloud.requests:
        found = operation(request["method"], request["path"])
        kinds.add(found["operationId"])
        known = {parameter["name"] for parameter in found.get("parameters", []) if parameter["in"] == "query"}
        assert request["query"].keys() <= known, request["path"]
        if request["method"] == "GET":
            assert request["body"] == ""
            continue
        body = json.loads(request["body"])
        schema = found["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.Draft7Validator({**schema, "components": components}).validate(body)
        adf.validate(body["body"] if "/comment" in request["path"] else body["fields"]["description"])
    assert kinds == {
        "getServerInfo",
        "getCurrentUser",
        "getProject",
        "getMyPermissions",
        "getCreateIssueMetaIssueTypes",
        "getCreateIssueMetaIssueTypeId",
        "searchAndReconsileIssuesUsingJql",
        "createIssue",
        "getIssue",
        "addComment",
        "getComments",
        "getComment",
        "editIssue",
        "updateComment",
    }
