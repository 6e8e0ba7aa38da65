"""What lies between us and a far side, and what it does to a request.

A write is on its way from its first byte on: then it no longer matters whether its sender is stopped or dead. The server
carries it out when it arrives, late, or never; the sender hears of it, or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.faults.sim.scheduler import Killed, Scheduler
from triage import remote
from triage.errors import Gone, NotAccepted, OutcomeUnknown, RateLimited, Refused, RemoteError, Unauthorized

SETTLE = 60.0
LAST_LOOK = 10 * SETTLE  # what docs/delivery.md promises: nobody has looked for the last time before that
LATENESS = (0.4, 1.0, 2.5, 5.0, 9.5, 11.0, 25.0, 40.0)  # in settles
DEADLINE = 30.0

REFUSED: dict[str, Callable[[str, float | None], RemoteError]] = {
    "unreachable": lambda side, _: NotAccepted(f"{side}: connection refused"),
    "429": lambda side, after: RateLimited(f"{side}: the server answered 429", status=429, after=after),
    "401": lambda side, _: Unauthorized(f"{side}: the server answered 401", status=401),
    "403": lambda side, _: Unauthorized(f"{side}: the server answered 403", status=403),
    "400": lambda side, _: Refused(f"{side}: the server answered 400", status=400),
    "404": lambda side, _: Gone(f"{side}: the server answered 404", status=404),
}
UNCLEAR = (
    *("reset", "no answer", "503 before", "answer cut", "502 after", "answer garbled"),
    *("accepted late", "answered late", "cut late", "slow", "429 late"),
)
READS = ("unreachable", "429", "401", "404", "503", "503 after", "no answer")

T = TypeVar("T")


@dataclass(eq=False)
class Request:
    """A write from its first byte on. `gave_up_at` is when its sender no longer waited for the answer."""

    marker: str
    committed_at: float | None = None
    gave_up_at: float | None = None
    arrived: bool = False
    result: Any = None
    error: RemoteError | None = None

    @property
    def beyond_the_promise(self) -> bool:
        """Carried out after every look that we promise: the one way to a duplicate."""
        return self.committed_at is not None and self.gave_up_at is not None and self.committed_at > self.gave_up_at + LAST_LOOK


class Network:
    """Draws what becomes of each call. `writes` and `reads` are the chances of each outcome by far side; without them all goes well."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.writes: dict[str, Mapping[str, float]] = {}
        self.reads: dict[str, Mapping[str, float]] = {}
        self.lateness: Sequence[float] = LATENESS
        self.requests: list[Request] = []

    def calm(self) -> None:
        """All is well from now on; what is on its way still arrives."""
        self.writes, self.reads = {}, {}

    def is_coming(self, marker: str) -> bool:
        """Whether a request with this marker is still on its way."""
        return any(request.marker == marker and not request.arrived for request in self.requests)

    def read(self, side: str, what: str, answer: Callable[[], T]) -> T:
        """One request that changes nothing. The answer is as old as its way back is long."""
        scheduler = self.scheduler
        scheduler.point(f"read {side} {what}")
        fate = self._draw(self.reads.get(side, {}))
        scheduler.seen[f"{side} read: {fate}"] += 1
        if fate in REFUSED:
            raise self._refusal(fate, side)
        if fate in ("no answer", "503 after"):
            scheduler.sleep(DEADLINE)
        if fate != "ok":
            raise NotAccepted(f"{side}: {fate}", status=503, after=30.0 if fate == "503 after" else None)
        scheduler.sleep(0.1)
        found = answer()
        scheduler.point(f"answer of {side} to {what}")
        return found

    def write(self, side: str, what: str, marker: str, commit: Callable[[], T]) -> T:
        """One request that changes something there; `commit` is what the server then does."""
        scheduler, rng = self.scheduler, self.scheduler.rng
        scheduler.point(f"connect {side} {what}")
        fate = self._draw(self.writes.get(side, {}))
        scheduler.seen[f"{side} write: {fate}"] += 1
        if fate == "unreachable":
            raise self._refusal(fate, side)
        remote._Call("POST", remote._intent.get()).before_bytes(None)  # type: ignore[arg-type]  # the product's own rule of two seconds
        scheduler.point(f"first byte {side} {what}")
        scheduler.tell(f"{side} {what}: {fate}")
        if fate in REFUSED:
            scheduler.sleep(0.2)
            raise self._refusal(fate, side)
        request = Request(marker)
        self.requests.append(request)

        def give_up() -> None:
            if request.gave_up_at is None:
                request.gave_up_at = scheduler.now

        process = scheduler.current.process if scheduler.current is not None else None
        if process is not None:
            process.on_kill.append(give_up)
        try:
            return self._send(request, side, fate, commit, rng.choice(self.lateness) * SETTLE, rng.choice(self.lateness) * SETTLE)
        except (Killed, RemoteError):
            give_up()
            raise

    def _send(self, request: Request, side: str, fate: str, commit: Callable[[], T], late: float, later: float) -> T:
        scheduler = self.scheduler
        unknown = OutcomeUnknown(f"{side}: {fate}", status=int(fate[:3]) if fate[:3].isdigit() else None)
        way = 0.1 + 0.4 * scheduler.rng.random()

        def arrive() -> None:
            scheduler.tell(f"{side} carries it out")
            request.arrived, request.committed_at = True, scheduler.now
            try:
                request.result = commit()
            except RemoteError as error:
                request.error, request.committed_at = error, None

        if fate in ("reset", "503 before", "no answer"):
            request.arrived = True
            scheduler.sleep(DEADLINE if fate == "no answer" else way)
            raise unknown
        if fate == "429 late":
            request.arrived = True
            scheduler.sleep(later)
            raise self._refusal("429", side)
        if fate == "cut late":  # it is carried out late, and then the connection breaks
            scheduler.later(late, arrive)
            scheduler.sleep(later)
            raise unknown
        scheduler.later(late if fate in ("accepted late", "slow") else way, arrive)
        if fate in ("answer cut", "502 after", "answer garbled", "accepted late"):
            scheduler.sleep(2 * way if scheduler.rng.random() < 0.5 else DEADLINE)
            raise unknown
        scheduler.sleep(later if fate == "answered late" else late + way if fate == "slow" else 2 * way)
        while not request.arrived:
            scheduler.sleep(0.05)
        if request.error is not None:
            raise request.error
        scheduler.point(f"answer of {side}")
        found: T = request.result
        return found

    def _refusal(self, fate: str, side: str) -> RemoteError:
        after = self.scheduler.rng.choice((None, 1.0, 30.0, 3600.0)) if fate == "429" else None
        return REFUSED[fate](side, after)

    def _draw(self, weather: Mapping[str, float]) -> str:
        draw = self.scheduler.rng.random()
        for fate, chance in weather.items():
            draw -= chance
            if draw < 0:
                return fate
        return "ok"
