"""What follows from what happened to an action: pure decisions, drawn in docs/delivery.md.

planned ──claim──▶ sending ──▶ done
   ▲                  │├─────▶ rejected     not accepted, and never will be as it is
   └──────────────────┘└─────▶ doubt ──▶ done (found) │ planned (settled, clean, once) │ parked
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from triage.errors import NotAccepted, OutcomeUnknown, RateLimited, Refused, RemoteError, Unauthorized
from triage.mention import ActionKind, Receipt, State

TRACKER_LOOKS = (1.0, 3.0, 10.0)  # in settle times after the outcome became unknown; a minute each by default
BLANK_LOOKS = (1.0,)  # read by its id, which lags behind nothing, and harmless to repeat
PLATFORM_LOOKS = (0.5, 2.0, 10.0)
PAUSE_SECONDS = (300.0, 900.0, 3600.0)  # after the first, second and every later refusal of our token in a row
TWICE = "found more than one"
"""How an action is parked of which a look found several: no receipt for one of them settles that."""
IDEMPOTENCY_SECONDS = 50 * 60  # Mastodon keeps an Idempotency-Key for at most an hour


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of delivery, from the config. All in seconds but `attempts`: after that many an action is parked."""

    settle: float = 60.0
    retry_first: float = 5.0
    retry_longest: float = 900.0
    attempts: int = 40


@dataclass(frozen=True, slots=True)
class Move:
    """Where an action goes next, and why.

    `pause` tells to leave the account alone, since its token was refused; `rest` for so many seconds, as it asked (0: it did
    not say how long); `down` until it answers again, since it seems to be away.
    `alert` is for the people on call.
    """

    state: State
    why: str
    due_at: datetime | None = None
    receipt: Receipt | None = None
    pause: bool = False
    alert: str = ""
    rest: float | None = None
    down: bool = False
    looked: bool = False
    retried: bool = False


def looks(kind: ActionKind) -> tuple[float, ...]:
    """When to look after a doubt, in settle times: platforms show a post sooner than a tracker's index shows a ticket."""
    if kind is ActionKind.BLANK:
        return BLANK_LOOKS
    return PLATFORM_LOOKS if kind.is_post else TRACKER_LOOKS


def backoff(attempt: int, pace: Pace) -> float:
    """Seconds before attempt number `attempt` + 1: doubling, up to the longest."""
    return min(pace.retry_first * 2.0 ** min(max(attempt - 1, 0), 30), pace.retry_longest)


def after_error(kind: ActionKind, attempt: int, error: RemoteError, now: datetime, pace: Pace) -> Move:
    """The call failed: what now?"""
    why = str(error)
    if isinstance(error, Unauthorized) and error.status == 403 and kind.is_post:
        # This author or this post does not want it. The token may be fine, and the source goes on being polled.
        return Move(State.REJECTED, why)
    if isinstance(error, Refused):
        return Move(State.REJECTED, why, alert=why if kind is ActionKind.ALERT else "")
    if isinstance(error, OutcomeUnknown) and kind is not ActionKind.ALERT:
        return Move(State.DOUBT, why, due_at=now + timedelta(seconds=pace.settle * looks(kind)[0]), down=error.down)
    wait = backoff(attempt, pace)
    if isinstance(error, NotAccepted) and error.after is not None and not (isinstance(error, RateLimited) and error.limit):
        wait = max(wait, error.after) if kind is not ActionKind.ALERT else error.after
    if kind is ActionKind.ALERT:  # rather twice than never: an alert is neither parked nor in doubt
        return Move(State.PLANNED, why, due_at=now + timedelta(seconds=min(wait, 60.0)), down=error.down)
    pause = isinstance(error, Unauthorized)
    # A spent limit on posts keeps replies alone waiting; their account has noted it.
    rest = (error.after or 0.0) if isinstance(error, RateLimited) and not error.limit else None
    away = error.down and error.status is None  # says nothing about this action, so it may not use up its attempts
    if attempt >= pace.attempts and not pause and not away:
        return Move(State.PARKED, f"given up after {attempt} attempts: {why}", alert=why, rest=rest, down=error.down)
    return Move(State.PLANNED, why, due_at=now + timedelta(seconds=wait), pause=pause, rest=rest, down=error.down)


def after_look(
    kind: ActionKind,
    found: Sequence[Receipt],
    *,
    looked: int,
    retried: bool,
    repeatable: bool,
    unknown_at: datetime,
    first_intent_at: datetime,
    now: datetime,
    pace: Pace,
) -> Move:
    """We looked for the outcome and found this. `looked` counts the looks before this one since the outcome became unknown.

    `repeatable` tells whether the far side may be asked once more: a tracker always (after the settle time), a platform
    only where it drops a repetition by itself.
    """
    if len(found) == 1:
        return Move(State.DONE, "found by its marker", receipt=found[0], looked=True)
    if len(found) > 1:
        names = ", ".join(receipt.key or receipt.remote_id for receipt in found)
        return Move(State.PARKED, f"{TWICE}: {names}; keep one and close the others", alert=f"made twice: {names}", looked=True)
    schedule = looks(kind)
    if looked + 1 < len(schedule):
        due = unknown_at + timedelta(seconds=pace.settle * schedule[looked + 1])
        return Move(State.DOUBT, f"not found by look {looked + 1} of {len(schedule)}", due_at=max(due, now), looked=True)
    in_time = kind is not ActionKind.REPLY or (now - first_intent_at).total_seconds() < IDEMPOTENCY_SECONDS
    if not retried and repeatable and in_time:
        return Move(State.PLANNED, "not found by any look; trying once more", due_at=now, looked=True, retried=True)
    reason = "tried again and still not found" if retried else "not found, and the server can't be asked twice safely"
    return Move(State.PARKED, f"{reason}: somebody has to look", alert=reason, looked=True)


def after_glance(found: Sequence[Receipt], strangers: Sequence[Receipt] = ()) -> Move | None:
    """We looked before sending and found this: where the action goes; None where nothing is there, so that it may be sent.

    `strangers` are answers of our account to the same post that the store knows nothing of.
    """
    if len(found) == 1:
        return Move(State.DONE, "it was there already", receipt=found[0])
    if found:
        names = ", ".join(receipt.key or receipt.remote_id for receipt in found)
        return Move(State.PARKED, f"{TWICE}: {names}; keep one and remove the others", alert=f"made twice: {names}")
    if strangers:
        where = ", ".join(receipt.url or receipt.remote_id for receipt in strangers)
        why = f"our account has answered this post already, which this store has forgotten: {where}. Is that the answer?"
        return Move(State.PARKED, why, alert=why)
    return None


def after_blind_glance(failures: int, error: RemoteError, now: datetime, pace: Pace) -> Move:
    """We could not look before sending, for the `failures`th time in a row: nothing is sent, and we look again later."""
    why = f"nothing was sent, since we could not look whether it is there already: {error}"
    away = error.down and error.status is None  # says nothing about this action, as in `after_error`
    if failures >= pace.attempts and not isinstance(error, Unauthorized) and not away:
        return Move(State.PARKED, why, alert=why, down=error.down)
    asked = error.after if isinstance(error, NotAccepted) else None
    due = now + timedelta(seconds=max(backoff(failures, pace), asked or 0.0))
    rest = asked if isinstance(error, RateLimited) else None
    return Move(State.PLANNED, why, due_at=due, pause=isinstance(error, Unauthorized), rest=rest, down=error.down)


def pause_seconds(failures: int) -> float:
    """How long an account rests after its token was refused `failures` times in a row."""
    return PAUSE_SECONDS[min(max(failures, 1), len(PAUSE_SECONDS)) - 1]
