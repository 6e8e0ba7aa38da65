"""The decisions of delivery: pure, so each rule of docs/delivery.md is a sentence here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.delivery import Move, Pace, after_blind_glance, after_error, after_glance, after_look, backoff, looks, pause_seconds
from triage.errors import Gone, NotAccepted, OutcomeUnknown, RateLimited, Refused, RemoteError, TooLate, Unauthorized
from triage.mention import ActionKind, Receipt, State

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PACE = Pace()
FAR = [ActionKind.TICKET, ActionKind.COMMENT, ActionKind.REPLY]
ERRORS: list[RemoteError] = [
    NotAccepted("x"),
    Unauthorized("x"),
    RateLimited("x", after=9),
    TooLate("x"),
    Refused("x"),
    Gone("x"),
    OutcomeUnknown("x"),
]


def look(
    found: list[Receipt],
    *,
    looked: int = 0,
    retried: bool = False,
    repeatable: bool = True,
    kind: ActionKind = ActionKind.TICKET,
    age: float = 700.0,
) -> Move:
    """A look `age` seconds after the first intent."""
    then = NOW - timedelta(seconds=age)
    return after_look(
        kind, found, looked=looked, retried=retried, repeatable=repeatable, unknown_at=then, first_intent_at=then, now=NOW, pace=PACE
    )


@pytest.mark.parametrize("kind", FAR)
def test_an_unknown_outcome_is_a_doubt_and_never_a_plain_retry(kind: ActionKind) -> None:
    """The first look comes a settle time (half of one for a post) after the outcome became unknown."""
    move = after_error(kind, 1, OutcomeUnknown("cut"), NOW, PACE)
    assert move.state is State.DOUBT
    assert move.due_at == NOW + timedelta(seconds=60 * looks(kind)[0])


@pytest.mark.parametrize("kind", FAR)
def test_what_was_refused_is_rejected(kind: ActionKind) -> None:
    """Repeating it as it is would not help."""
    assert after_error(kind, 1, Refused("400"), NOW, PACE).state is State.REJECTED


def test_what_was_not_accepted_is_tried_again_later_and_later() -> None:
    """Doubling, up to the longest wait; no sooner than the server asks."""
    waits = [backoff(attempt, PACE) for attempt in range(1, 12)]
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == PACE.retry_longest
    assert after_error(ActionKind.TICKET, 1, RateLimited("429", after=120), NOW, PACE).due_at == NOW + timedelta(seconds=120)


def test_it_is_not_tried_for_ever() -> None:
    """After the last attempt a person decides; a token that is wrong does not count, its account rests."""
    assert after_error(ActionKind.TICKET, PACE.attempts, NotAccepted("x"), NOW, PACE).state is State.PARKED
    refused = after_error(ActionKind.TICKET, PACE.attempts, Unauthorized("401"), NOW, PACE)
    assert (refused.state, refused.pause) == (State.PLANNED, True)


@given(st.sampled_from(ERRORS), st.integers(1, 100))
def test_alerts_are_sent_again_whatever_happens(error: RemoteError, attempt: int) -> None:
    """Rather twice than never: no doubt, no parking, and never more than a minute's wait of our own making."""
    move = after_error(ActionKind.ALERT, attempt, error, NOW, PACE)
    if isinstance(error, Refused):
        assert move.state is State.REJECTED
    else:
        assert move.state is State.PLANNED
        assert move.due_at is not None
        assert move.due_at <= NOW + timedelta(seconds=60)


def test_one_found_is_done_and_two_are_parked() -> None:
    """With the receipt; with both names and a word to the people on call."""
    one = look([Receipt("1", "A-1")])
    assert (one.state, one.receipt) == (State.DONE, Receipt("1", "A-1"))
    two = look([Receipt("1", "A-1"), Receipt("2", "A-2")])
    assert two.state is State.PARKED
    assert "A-1, A-2" in two.alert


def test_none_found_is_looked_for_three_times_before_the_one_retry() -> None:
    """At one, three and ten settle times from when the outcome became unknown."""
    first = look([], looked=0, age=60)
    assert (first.state, first.due_at) == (State.DOUBT, NOW + timedelta(seconds=120))
    second = look([], looked=1, age=180)
    assert (second.state, second.due_at) == (State.DOUBT, NOW + timedelta(seconds=420))
    third = look([], looked=2, age=600)
    assert (third.state, third.retried) == (State.PLANNED, True)
    assert look([], looked=2, retried=True).state is State.PARKED


def test_a_reply_is_repeated_only_where_the_server_drops_repetitions_and_in_time() -> None:
    """Mastodon keeps an Idempotency-Key for an hour at most; GoToSocial and snac ignore it."""
    assert look([], looked=2, kind=ActionKind.REPLY).state is State.PLANNED
    assert look([], looked=2, kind=ActionKind.REPLY, repeatable=False).state is State.PARKED
    assert look([], looked=2, kind=ActionKind.REPLY, age=3001).state is State.PARKED


@given(st.sampled_from(FAR), st.integers(0, 3), st.integers(0, 2), st.booleans(), st.booleans(), st.floats(0, 1e6))
def test_a_look_always_leads_somewhere(kind: ActionKind, found: int, looked: int, retried: bool, repeatable: bool, age: float) -> None:
    """Every look ends in done, one more look, the one retry, or with a person; and says why."""
    receipts = [Receipt(str(number)) for number in range(found)]
    move = look(receipts, looked=looked, retried=retried, repeatable=repeatable, kind=kind, age=age)
    assert move.why
    assert move.looked
    assert (move.due_at is not None) == (move.state in (State.DOUBT, State.PLANNED))
    assert not (retried and move.state is State.PLANNED)
    assert (move.receipt is not None) == (move.state is State.DONE)


def test_pauses_grow() -> None:
    """A token that stays wrong costs fewer and fewer calls."""
    assert [pause_seconds(n) for n in (0, 1, 2, 3, 99)] == [300, 300, 900, 3600, 3600]


def test_what_a_look_before_sending_finds_is_not_sent() -> None:
    """One is the receipt; several, or an answer that nobody knows, are a person's to decide; nothing may be sent."""
    one, other = Receipt("1", "Q-1"), Receipt("2", "Q-2", "https://x.example/2")
    found = after_glance([one])
    assert found is not None
    assert (found.state, found.receipt) == (State.DONE, one)
    twice = after_glance([one, other])
    assert twice is not None
    assert (twice.state, twice.receipt, "Q-1, Q-2" in twice.alert) == (State.PARKED, None, True)
    stranger = after_glance([], [other])
    assert stranger is not None
    assert (stranger.state, stranger.receipt, "https://x.example/2" in stranger.alert) == (State.PARKED, None, True)
    assert after_glance([]) is None


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("failures", [1, 7, 40, 99])
def test_a_look_before_sending_that_fails_never_sends(error: RemoteError, failures: int) -> None:
    """It waits longer each time; a refused token rests its account and never parks; in the end a person decides."""
    move = after_blind_glance(failures, error, NOW, PACE)
    parks = failures >= PACE.attempts and not isinstance(error, Unauthorized)
    assert move.state is (State.PARKED if parks else State.PLANNED)
    assert move.pause is (isinstance(error, Unauthorized) and not parks)
    assert bool(move.alert) is parks
    if not parks:
        assert move.due_at is not None
        assert move.due_at - NOW >= timedelta(seconds=backoff(failures, PACE))


def test_a_look_before_sending_at_a_server_that_is_away_rests_its_account() -> None:
    """One tries it for all that wait, and no number of failures parks them: it says nothing about them."""
    away = OutcomeUnknown("no answer")
    away.down = True
    move = after_blind_glance(99, away, NOW, PACE)
    assert (move.state, move.down, move.alert) == (State.PLANNED, True, "")
    broken = OutcomeUnknown("502", status=502)
    broken.down = True
    move = after_blind_glance(99, broken, NOW, PACE)
    assert (move.state, move.down) == (State.PARKED, True)
