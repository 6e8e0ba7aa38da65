"""A far side that does what it is asked and does not say so; or says it much later than anybody waits."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import sqlalchemy as sa

from tests.faults.case import Case, Ground
from tests.faults.scene import SETTLE, Scene, post_bugs, post_questions, post_second_reports, scene
from tests.ledger_check import MARK, marker_of
from triage.sandbox.faults import NOT_ACCEPTED, Fault
from triage.sandbox.http import Server
from triage.store.schema import actions, mentions, meta

FAULTS = (
    "reset_after",
    "timeout_after",
    "status:502",
    "status:503",
    "status:504",
    "empty",
    "html",
    "cut",
    "reset_before",
    "timeout_before",
)
SOON, MUCH_LATER = 0.4 * SETTLE, 40 * SETTLE
WRITES, STATUSES = "/(issue|comment)$", "/api/v1/statuses$"


def _answers(flavour: str, version: str) -> Callable[[Ground], None]:
    """Each ticket, each comment and each reply meets another fault."""

    def run(ground: Ground) -> None:
        with scene(ground, flavour=flavour) as on:
            on.rig.mastodon.knobs.change(version=version)
            on.worker()
            on.watching()
            bugs = post_bugs(on.rig, len(FAULTS))
            on.kept()
            faults = [*_one_each(ground, on.rig.jira, WRITES), *_one_each(ground, on.rig.mastodon, STATUSES)]
            post_bugs(on.rig, 5, first=20)
            post_second_reports(on.rig, bugs[:5])
            post_questions(on.rig, len(FAULTS))
            on.answer_until(lambda: all(fault.hits for fault in faults), "every fault to strike")
            on.kept()
            ground.notes["faults"] += sum(fault.hits for fault in faults)
            asked = _asked(on)
            # A server that does not know Idempotency-Key can't be asked twice.
            tries = {row["id"]: 2 if row["kind"] != "reply" or version.startswith("4") else 1 for row in on.actions()}
            too_often = {id_: met for id_, met in asked.items() if len(met) > tries[id_]}
            assert not too_often, f"asked too often: {too_often}"
            parked, lost = {row["id"] for row in on.actions("parked")}, given_up(asked, tries)
            assert parked == lost, f"parked {sorted(parked)}, lost at each try {sorted(lost)}; the faults that each one met: {asked}"
            on.sums()

    return run


def _asked(on: Scene) -> dict[int, list[str]]:
    """What each request for an action met, oldest first: a fault's name, or "". The servers tell, not the service."""
    by_marker = on.rig.checker().by_marker
    answered = sa.select(mentions.c.remote_id, actions.c.id).join_from(actions, mentions).where(actions.c.kind == "reply")
    by_parent = {row["remote_id"]: row["id"] for row in on.rows(answered)}
    asked: dict[int, list[str]] = {}
    for server in _both(on):
        for request in server.requests:
            if request["method"] != "POST" or not re.search(f"{WRITES}|{STATUSES}", request["path"]):
                continue
            if server is on.rig.jira:
                id_ = by_marker[MARK.findall(request["body"])[-1]]["id"]
            else:
                id_ = by_parent[parse_qs(request["body"])["in_reply_to_id"][0]]
            asked.setdefault(id_, []).append((request["fault"] or "").partition(":")[0])
    return asked


def given_up(asked: Mapping[int, Sequence[str]], tries: Mapping[int, int]) -> set[int]:
    """The actions that may be parked, and have to be: none of their tries was accepted, and there is none left.

    A second fault may well strike the one retry: which action meets which fault is up to the order of the requests.
    """
    return {id_ for id_, met in asked.items() if len(met) >= tries[id_] and NOT_ACCEPTED.issuperset(met)}


def _one_each(ground: Ground, server: Server, path: str) -> list[Fault]:
    kinds = list(FAULTS)
    ground.random.shuffle(kinds)
    return sorted((server.faults.add(kind=kind, method="POST", path=path) for kind in kinds), key=lambda fault: fault.kind)


def _soon(ground: Ground) -> None:
    """The connection is cut, and the request is carried out before the first look."""
    with scene(ground, flavour=ground.random.choice(["cloud", "data_center"])) as on:
        on.rig.mastodon.knobs.change(version=ground.random.choice(["4.4.2", "gotosocial 0.19"]))
        on.worker()
        on.watching()
        faults = [server.faults.add(kind=f"late:{SOON}", method="POST", path="/(issue|statuses)$", times=3) for server in _both(on)]
        post_bugs(on.rig, 4)
        post_questions(on.rig, 4)
        on.answer_until(lambda: all(fault.hits == 3 for fault in faults), "every fault to strike")
        on.kept()
        ground.notes["faults"] += sum(fault.hits for fault in faults)
        assert not on.actions("parked")
        assert all(row["attempt"] == 1 for row in on.actions("done") if row["kind"] in ("ticket", "reply")), "it was sent again"
        on.sums()


def _much_later(ground: Ground) -> None:
    """Carried out when we had long looked, and sent it once more: the one duplicate that is promised, and that the audit finds."""
    with scene(ground, flavour=ground.random.choice(["cloud", "data_center"])) as on:
        rig = on.rig
        version = ground.random.choice(["4.4.2", "gotosocial 0.19"])
        rig.mastodon.knobs.change(version=version)
        worker = on.worker()
        on.watching()
        faults = [server.faults.add(kind=f"late:{MUCH_LATER}", method="POST", path="/(issue|statuses)$", times=2) for server in _both(on)]
        post_bugs(rig, 3)
        post_questions(rig, 3)
        on.answer_until(lambda: all(fault.hits == 2 for fault in faults), "every fault to strike")
        struck = time.monotonic()
        on.kept()
        ground.notes["faults"] += sum(fault.hits for fault in faults)
        assert len(rig.jira.tickets) == 3, "the requests were carried out too early for this case"
        on.until(lambda: time.monotonic() > struck + MUCH_LATER + 0.5, "what comes late")
        assert len(rig.jira.tickets) == 5
        worker.end()
        _an_hour_passes(on)
        on.worker()
        on.until(lambda: len(_found_by_audit(on)) == 2, "the audit")
        known = _found_by_audit(on)
        late = {entry["id"] for entry in on.rig.checker().tickets if marker_of(entry) in known}
        on.kept(ignore=lambda one: any(marker in one for marker in known) or any(f"ticket {id_} " in one for id_ in late))
        ground.notes["late duplicates, found by the audit"] += len(known)
        told = [alert for alert in rig.receiver.alerts if alert["labels"]["alertname"] == "DuplicateTickets"]
        assert len(told) == 2, told
        # A Mastodon drops the second post with the same key. Elsewhere it was not asked twice: those wait for a person.
        parked = [row for row in on.actions("parked") if row["kind"] == "reply"]
        assert len(parked) == (0 if version.startswith("4") else 2)
        on.sums()


def _both(on: Scene) -> tuple[Server, Server]:
    return on.rig.jira, on.rig.mastodon


def _an_hour_passes(on: Scene) -> None:
    """The last audit was an hour ago."""
    engine = sa.create_engine(on.rig.store)
    try:
        with engine.begin() as connection:
            before = (datetime.now(UTC) - timedelta(hours=1, minutes=1)).isoformat()
            changed = connection.execute(sa.update(meta).where(meta.c.name.like("audited/%")).values(value=before))
            assert changed.rowcount == 1
    finally:
        engine.dispose()


def _found_by_audit(on: Scene) -> set[str]:
    """The markers of which the audit made a task."""
    tasks = (row["key"] for row in on.actions() if "/duplicates/" in row["key"] and row["kind"] == "task")
    return {key.rpartition("/")[2] for key in tasks}


_WHAT = "after accept: connection reset, no answer, 502, 503, 504, an empty, cut or HTML body"

CASES = (
    Case("answers-lost-cloud", 3, f"Jira Cloud and Mastodon, {_WHAT}", _answers("cloud", "4.4.2"), long=10),
    Case(
        "answers-lost-data-center",
        3,
        f"Jira Data Center and an older Mastodon, {_WHAT}",
        _answers("data_center", "4.2.10"),
        short=0,
        long=10,
    ),
    Case(
        "answers-lost-gotosocial",
        3,
        f"GoToSocial, which knows no Idempotency-Key, {_WHAT}",
        _answers("cloud", "gotosocial 0.19"),
        short=0,
        long=10,
    ),
    Case("commit-soon", 3, "carried out 0.4 settle times after the connection was cut", _soon, long=10),
    Case("commit-much-later", 3, "carried out 40 settle times after the connection was cut: the audit finds it", _much_later, long=10),
)
