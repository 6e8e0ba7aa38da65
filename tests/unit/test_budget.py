"""Who may spend what is left of a server's limit, and who tries an account that rested."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage import budget, remote
from triage.budget import KEPT, Budget, Purpose, Standing, Use

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("purpose", "least"), [(Purpose.SEND, 1), (Purpose.LOOK, 16), (Purpose.POLL, 61), (Purpose.REREAD, 121), (Purpose.RESCAN, 181)]
)
def test_what_can_wait_longer_leaves_more(purpose: Purpose, least: int) -> None:
    """Of Mastodon's 300 requests in five minutes an answer may take the last, a rescan leaves 180."""
    assert budget.may(purpose, Budget(300, least, LATER), NOW).go
    refused = budget.may(purpose, Budget(300, least - 1, LATER), NOW)
    assert (refused.go, refused.until, refused.held) == (False, LATER, True)
    assert f"{least - 1} of 300 requests are left" in refused.why


@given(st.integers(1, 10_000), st.integers(0, 10_000), st.sampled_from(list(Purpose)))
def test_nobody_waits_for_ever_and_none_overtakes_a_more_urgent_one(limit: int, left: int, purpose: Purpose) -> None:
    """Whatever is left: who waits has a time; where one may go, so may all that are more urgent; after the reset all may."""
    known = Budget(limit, min(left, limit), LATER)
    found = budget.may(purpose, known, NOW)
    assert found.go or found.until == LATER
    more_urgent = [other for other in Purpose if KEPT[other] <= KEPT[purpose]]
    assert not found.go or all(budget.may(other, known, NOW).go for other in more_urgent)
    assert all(budget.may(other, known, LATER).go for other in Purpose)


def test_nothing_known_is_no_reason_to_wait() -> None:
    """A server that says nothing, before we counted."""
    assert all(budget.may(purpose, Budget(), NOW).go for purpose in Purpose)
    assert budget.may_post(Budget(), NOW).go


def test_one_tries_what_rested_and_its_budget_counts() -> None:
    """While it rests nobody; after that one; of one that is well nobody is told to try."""
    assert not budget.leave(Standing(paused_until=LATER, paused_why="429"), Purpose.SEND, NOW).go
    assert budget.leave(Standing(paused_until=LATER, paused_why="429"), Purpose.SEND, NOW).why == "429"
    assert not budget.leave(Standing(probe_at=LATER), Purpose.SEND, NOW).go
    assert budget.leave(Standing(probe_at=NOW), Purpose.SEND, NOW) == budget.Leave(True, probe=True)
    assert budget.leave(Standing(), Purpose.SEND, NOW) == budget.Leave(True)
    spent = Standing(probe_at=NOW, requests=Budget(300, 0, LATER))
    assert not budget.leave(spent, Purpose.SEND, NOW).go


def test_a_spent_limit_on_posts_keeps_posts_alone() -> None:
    """Polls and tickets go on."""
    standing = Standing(posts=Budget(300, 0, LATER))
    assert budget.leave(standing, Purpose.SEND, NOW).go
    held = budget.leave(standing, Purpose.SEND, NOW, post=True)
    assert (held.go, held.until, held.held) == (False, LATER, True)
    assert held.why == "the 300 posts that the server takes are spent until 00:05 UTC"


def test_the_servers_word_comes_before_our_own_count() -> None:
    """Where it says nothing we count against the usual limit, in windows of our own."""
    said = budget.spent(Budget(300, 5, LATER), Use(asked=3, limit=300, left=250, reset_in=60.0), NOW, (300, 300.0))
    assert said == Budget(300, 250, NOW + timedelta(seconds=60))
    first = budget.spent(Budget(), Use(asked=3), NOW, (300, 300.0))
    assert first == Budget(300, 297, LATER)
    assert budget.spent(first, Use(asked=7), NOW + timedelta(seconds=9), (300, 300.0)) == Budget(300, 290, LATER)
    assert budget.spent(first, Use(asked=7), LATER, (300, 300.0)) == Budget(300, 293, LATER + timedelta(minutes=5))
    assert budget.spent(Budget(), Use(asked=7), NOW, None) == Budget()


def test_a_429_leaves_nothing_whatever_the_headers_say() -> None:
    """Until the time that it names, else for a twelfth of the window."""
    assert budget.spent(Budget(), Use(1, 300, 17, 60.0, limited=60.0), NOW, None).left == 0
    assert budget.spent(Budget(), Use(1, limited=90.0), NOW, (300, 10800.0)) == Budget(300, 0, NOW + timedelta(seconds=90))
    assert budget.spent(Budget(), Use(1, limited=0.0), NOW, (300, 10800.0)) == Budget(300, 0, NOW + timedelta(minutes=15))


def test_a_backlog_drains_steadily() -> None:
    """Twenty at once, then one a second, in their order."""
    times = budget.drain(500, 1.0)
    assert times[:20] == [0.0] * 20
    assert times[20:23] == [1.0, 2.0, 3.0]
    assert times == sorted(times)
    assert times[-1] == 480.0


def test_the_hint_comes_when_more_answers_wait_than_are_taken() -> None:
    """One public post answers them all."""
    assert budget.hint(300, Budget(300, 300, None), NOW) == ""
    assert "one public post" in budget.hint(301, Budget(300, 300, None), NOW)
    assert "the server takes 10 more posts until 00:05 UTC" in budget.hint(11, Budget(300, 10, LATER), NOW)
    assert budget.hint(10_000, Budget(), NOW) == ""


DATE = {"Date": "Sun, 01 Mar 2026 00:00:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (
            {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "299", "X-RateLimit-Reset": "2026-03-01T00:05:00.000000Z"},
            (300, 299, 300.0),
        ),
        ({"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772323500"}, (300, 0, 300.0)),  # GoToSocial
        ({"X-RateLimit-Limit": "30", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "17"}, (30, 3, 17.0)),
        (
            {"X-RateLimit-Limit": "350", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2026-03-01T00:01Z"},
            (350, 0, 60.0),
        ),  # Jira Cloud
        (
            {  # Jira Data Center
                "X-RateLimit-Limit": "60",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-FillRate": "2",
                "X-RateLimit-Interval-Seconds": "10",
            },
            (60, 0, 300.0),
        ),
        ({"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "299"}, None),
        ({"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": "299", "X-RateLimit-Reset": "17"}, None),
        ({"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "17"}, None),
        ({"X-RateLimit-Limit": "0", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "17"}, None),
        ({"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "soon"}, None),
        ({}, None),
    ],
)
def test_what_an_answer_says_of_the_limit(headers: dict[str, str], found: tuple[int, int, float] | None) -> None:
    """Each server in its own way; what can't be read says nothing."""
    assert remote.limit_of(DATE | headers) == found


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30, 60"}, 60.0),
        ({"Retry-After": "Sun, 01 Mar 2026 00:01:00 GMT, Sun, 01 Mar 2026 00:02:00 GMT"}, 120.0),
        ({"Retry-After": "Sat, 28 Feb 2026 00:01:00 GMT"}, 1.0),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "2026-03-01T00:05:00Z"}, 300.0),
        ({"X-RateLimit-Reset": "1772323500"}, 300.0),
        ({"Retry-After": "99999999999999999999"}, None),
        ({"Retry-After": "Sun, 01 Mar 99999 00:01:00 GMT"}, None),
    ],
)
def test_a_429_is_read_against_the_servers_own_clock(headers: dict[str, str], seconds: float | None) -> None:
    """Our clock may differ from its by hours."""
    assert remote.wait_seconds(DATE | headers) == seconds
