"""The demo: the first thing that a newcomer sees."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import requests

from tests.acceptance.rig import Rig, read_only
from tests.fixtures_services import eventually
from tests.ledger_check import Checker


def answerable(queue: list[dict[str, Any]]) -> list[str]:
    """The numbers of the tasks that want an answer."""
    return [str(row["id"]) for row in queue if row["what"] == "answer"]


def test_the_demo_shows_the_whole_way_and_can_be_left_at_any_time(rig: Rig) -> None:
    """It plays its world, tells what came of it and where to look, and leaves nothing running; again, and Ctrl-C in the middle ends it."""
    with rig.command("demo", "--folder", "T", "--seconds", "8", "--exit-when-done") as demo:
        assert demo.ended(150.0) == 0, demo.said
    said = demo.said
    assert "nothing leaves this machine" in said
    assert re.search(r"has one ticket: [1-9]\d* tickets", said)
    assert re.search(r"[1-9]\d* items wait for a person", said)
    assert "Alert UrgentPost: " in said
    assert re.search(r"http://127\.0\.0\.1:\d+/welcome\?token=\S+   the queue", said)
    for word in ("the tickets", "/metrics", "queue", "show ", "answer ", "init ", "doctor ", "up ", "Ctrl-C ends the demo."):
        assert word in said
    assert "Traceback" not in said
    assert eventually(lambda: not rig.left(), 5.0), rig.left()
    folder = rig.folder / "T"
    ledgers = folder / "sandbox"
    checker = Checker(
        store=read_only(f"sqlite:///{folder}/triage.db"),
        mastodon=(ledgers / "mastodon.jsonl",),
        jira=ledgers / "jira.jsonl",
        receiver=ledgers / "receiver.jsonl",
        roster=frozenset({"ana_quayside@quayside.social", "lee_quayside@quayside.social"}),
        hashtags=frozenset({"quayside"}),
    )
    assert checker.violations() == []
    with rig.command("demo", "--folder", "T", "--seconds", "8") as demo:
        assert eventually(lambda: re.search(r" [1-9]\d* posts fetched", demo.said) is not None, 90.0), demo.said
        world = json.loads((folder / "sandbox.json").read_text())
        assert requests.get(world["jira"]["url"], timeout=10).status_code == 200
        terminal = {"TRIAGE_CONFIG": str(folder / "config.yaml")}  # all that the demo says to export
        assert eventually(lambda: bool(answerable(rig.triage("queue", "--json", env=terminal).json)), 60.0)
        (task, *_) = answerable(rig.triage("queue", "--json", env=terminal).json)
        assert "held until" in rig.triage("answer", task, "It does.", env=terminal).all
        demo.ask(signal.SIGINT)
        assert demo.ended(15.0) == 0, demo.said
    assert "All stopped." in demo.said
    assert "Traceback" not in demo.said
    assert eventually(lambda: not rig.left(), 5.0), rig.left()


def test_the_demo_touches_no_folder_that_is_not_its_own(rig: Rig) -> None:
    """A folder with something in it is refused, with the next step; what is in it stays."""
    mine = rig.folder / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all my work")
    assert "name another folder: triage demo --folder NAME" in rig.triage("demo", "--folder", "mine", code=2).err
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
