"""May it be boosted: each obstacle, each question, and which is told first."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from triage.boosts import Boost, May, Situation, check, is_ally
from triage.mention import Author, Label, Mention, State, Visibility

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
POST = Mention("https://tilde.example/1", "memory", "acme", "1", Author("mira@tilde.example"), "I love it", NOW)
FINE = Situation(POST, Label.PRAISE, allies=("mira@tilde.example",))


def test_praise_by_an_ally_goes_by_one_key() -> None:
    assert check(FINE).may is May.YES


@pytest.mark.parametrize(
    ("allies", "fits"),
    [
        ((), False),
        (("MIRA@Tilde.Example",), True),
        (("@mira@tilde.example",), True),
        (("*@tilde.example",), True),
        (("mira",), False),
        (("*@other.example", "bo@tilde.example"), False),
    ],
)
def test_allies_are_whole_handles_or_patterns(allies: tuple[str, ...], fits: bool) -> None:
    assert is_ally("Mira@tilde.example", allies) is fits
    assert (check(replace(FINE, allies=allies)).may is May.YES) is fits


def test_what_is_kept_out_of_public_lists_is_asked_about() -> None:
    found = check(replace(FINE, mention=replace(POST, visibility=Visibility.UNLISTED)))
    assert (found.may, "out of public lists" in found.reason) == (May.ASK, True)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"can": False}, "can't boost"),
        ({"mention": replace(POST, visibility=Visibility.PRIVATE)}, "never boosted"),
        ({"mention": replace(POST, visibility=Visibility.DIRECT)}, "never boosted"),
        ({"deleted_at": NOW}, "deleted"),
        ({"label": Label.NOISE}, "only praise"),
        ({"label": None}, "only praise"),
        ({"boost": Boost(1, "ana", State.DONE, NOW)}, "ana boosted it already, at 12:00 UTC on 2026-05-01"),
        ({"boost": Boost(1, "ana", State.PLANNED, NOW)}, "on its way"),
        ({"boost": Boost(1, "ana", State.PARKED, NOW)}, "parked; decide on that one"),
        ({"observes": True}, "only observes"),
        ({"copied": True}, "copy of another"),
        ({"refused_token": "401"}, r"was refused \(401\)"),
        ({"used": 5}, "others still wait"),
        ({"used": 5, "next_at": NOW}, "room again at 12:00 UTC on 2026-05-01"),
        ({"daily": 0}, "`boosts.daily` is 0"),
    ],
)
def test_each_obstacle_says_why(changes: dict[str, Any], why: str) -> None:
    found = check(replace(FINE, **changes))
    assert found.may is May.NO
    assert re.search(why, found.reason)


def test_private_is_told_before_anything_that_might_change() -> None:
    private = replace(POST, visibility=Visibility.DIRECT)
    found = check(Situation(private, Label.NOISE, deleted_at=NOW, observes=True, daily=0))
    assert "never boosted" in found.reason
