"""Logs that a stranger's text can't forge: one event a line, nothing that moves a cursor or hides."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from triage import logs

FORGED = "09:15:00 [error    ] the store is gone"
HOSTILE = [
    f"hello\n{FORGED}",
    f"hello\r\n{FORGED}",
    f"hello\r{FORGED}",
    f"hello\u2028{FORGED}",
    f"hello\u2029{FORGED}",
    f"hello\x85{FORGED}",
    f"hello\v{FORGED}",
    f"hello\x1c{FORGED}",
    "\x1b[2J\x1b[1;1Hgone",
    "\x1b]0;title\x07",
    "\x9b31mred",
    "back\b\b\b\b",
    "\u202eold",
    "zero\u200bwidth\ufeff",
    "\0null",
    "\ud800half",
    '"} {"event": "forged", "level": "error"}',
]


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    yield
    logs.setup("warning")


def written(capsys: pytest.CaptureFixture[str], text: str, *, as_json: bool) -> str:
    """What our log and a library's say of the text: as a field, as the event, as an argument, and in an error with its traceback."""
    logs.setup("debug", as_json=as_json)
    structlog.get_logger().warning("a post", text=text, parts=[text, {text: text}])
    structlog.get_logger().warning(text)
    logging.getLogger("somebody.else").warning("it said %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger().exception("failed", why=text)
        logging.getLogger("somebody.else").exception("failed with %s", text)
    return capsys.readouterr().err


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_forges_a_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is an event of ours, or a marked line of a traceback, and can be printed."""
    lines = written(capsys, text, as_json=False).split("\n")
    assert lines.pop() == ""
    events = [line for line in lines if not line.startswith("  | ")]
    assert len(events) == 5
    for line in lines:
        assert re.match(r"\d\d:\d\d:\d\d \[|  \| ", line), line
        assert line.isprintable(), ascii(line)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_breaks_out_of_json(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with the event that we gave it."""
    events = [json.loads(line) for line in written(capsys, text, as_json=True).splitlines()]
    assert len(events) == 5
    assert events[0]["event"] == "a post"
    assert [event["level"] for event in events] == ["warning"] * 3 + ["error"] * 2


@given(st.text(st.characters(codec=None), max_size=60))
def test_whatever_it_is(text: str) -> None:
    """The cleaning itself, for any text."""
    event = logs._harmless(None, "", {"event": text, "x": [text], "exception": f"Traceback\n  {text}"})
    assert event["event"].isprintable()
    assert all(line.startswith("  | ") and line.isprintable() for line in event["exception"].split("\n"))
