"""An exhaustive small search of an action's life: two workers, one sweeper, every crash point, on the real code.

Breadth first over states. A state is the action's rows with times counted from now, what each worker holds in its hands, what
the far side has accepted and what still travels to it. A step is one turn of one actor: it does one or more atomic things
(a transaction, an outward call) and stops, dies or is done after any of them. In every state: one ticket a marker, one post a
key (I2), no edge that docs/delivery.md does not draw, at most one retry without a person's word, nothing called done that is
not there; and from every state, once nothing fails any more and time passes, the action ends (I3).

What is merged, and why nothing is lost by it:

- The two workers are the same program: states that differ by who is who are one.
- A dead worker's place is filled at once. A new worker that does nothing is as good as none.
- Reads are merged with the transaction after them (`pending` with `claim`): the claim reads the row again under its own lock.
- A look's call to the far side and its death: a looker that dies after its call leaves what one leaves that dies before it.
- A request that is lost on the way is one that still travels and never arrives.
- A 429 is a token that was refused: the account rests, for another time. A 5xx is a cut connection, a 404 a request that is refused.
- How often an account failed is forgotten when it does not rest: its next rest begins with the shortest.
- A glance and its death: nothing is written before it, and what is written after it names the attempt.
- Where the store stands (`Place.check`) is asked once: no step changes the files and the rows that it reads.
- The re-read before acting is the stream's own transaction, so an edit or a deletion comes as a step of its own. Where it
  works it also tells that the account is well; here the claim has to try that out, as for a post that was read just now.
- The comments that tell a ticket of an edit are actions of their own, and nothing about this action asks for them.
- The words call the workers A and B by their places at that step; since the two are one, they may have changed places before.
- Times that no decision reads are forgotten; an age beyond the longest that a decision tells apart is that longest age.

What the far side may do: carry a request out until ten settle times after its connection was cut (or its sender died). Later
than that, or after a person said that it is not there, is the documented exception: then the audit has to see it.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

from tests.faults.search_rows import HOUR, SETTLED, Rows, changed, column, later
from tests.faults.search_turns import LOCKED, Answer, Hands, Stage, aged
from triage.contracts import Item
from triage.mention import ActionKind, State
from triage.pipeline import judge

EDGES = {
    ("claim", "planned", "sending"): "a",
    ("claim", "planned", "parked"): "j",
    ("claim", "planned", "observed"): "k",
    ("claim", "planned", "cancelled"): "l",
    ("finish", "sending", "done"): "b",
    ("settle", "planned", "done"): "b",
    ("finish", "sending", "rejected"): "c",
    ("finish", "sending", "planned"): "d",
    ("finish", "sending", "parked"): "e",
    ("settle", "planned", "parked"): "e",
    ("finish", "sending", "doubt"): "f",
    ("orphans", "sending", "doubt"): "f",
    ("finish", "doubt", "done"): "g",
    ("look", "doubt", "done"): "g",
    ("finish", "parked", "done"): "q",
    ("finish", "planned", "done"): "q",
    ("look", "doubt", "planned"): "h",
    ("look", "doubt", "parked"): "i",
    ("post", "planned", "cancelled"): "l",
    ("retry", "parked", "planned"): "m",
    ("retry", "rejected", "planned"): "m",
    ("retry", "observed", "planned"): "m",
    ("found", "parked", "done"): "n",
    ("found", "rejected", "done"): "n",
    ("found", "doubt", "done"): "n",
    ("park", "planned", "parked"): "o",
    ("park", "doubt", "parked"): "o",
    ("drop", "planned", "cancelled"): "p",
    ("drop", "parked", "cancelled"): "p",
    ("drop", "rejected", "cancelled"): "p",
    ("drop", "observed", "cancelled"): "p",
    ("judge", "planned", "cancelled"): "l",
    ("judge", "cancelled", "planned"): "",  # a later verdict asks for it again; no letter in the diagram
    ("judge", "cancelled", "doubt"): "",  # the same, where nobody knew whether it is there
}
"""Who, from where, to where: the letters of docs/delivery.md."""

TOLD = frozenset("eij")  # edges on which the people on call are told
ENDS = frozenset({State.DONE, State.PARKED, State.REJECTED, State.CANCELLED, State.OBSERVED})
NOBODY = -1
TROUBLES = 1  # a crash, a lost lock, a failed call, a store that is locked, a person's word, an edit: what a way may hold of these


@dataclass(frozen=True)
class Kind:
    """What is searched. `repeatable`: may the far side be asked once more; a platform then drops the second post itself, for an hour."""

    kind: ActionKind
    repeatable: bool = True
    observe: bool = False
    brake: int = 30


KINDS = {
    "ticket": Kind(ActionKind.TICKET),
    "ticket, not repeatable": Kind(ActionKind.TICKET, repeatable=False),
    "reply": Kind(ActionKind.REPLY),
    "reply, not repeatable": Kind(ActionKind.REPLY, repeatable=False),
    "ticket, observed": Kind(ActionKind.TICKET, observe=True),
    "ticket, braked": Kind(ActionKind.TICKET, brake=0),
}


@dataclass(frozen=True)
class Violation:
    """A broken promise, with the shortest way to it in words."""

    what: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        steps = "\n".join(f"  {number:2}. {step}" for number, step in enumerate(self.path, 1))
        return f"{self.what}\n{steps}"


@dataclass(frozen=True)
class SearchSummary:
    """What a search came by. `complete` tells that no state was left to go on from before `depth`."""

    kind: str
    depth: int
    states: int
    transitions: int
    calls: int
    edges: frozenset[str]
    violations: tuple[Violation, ...]
    late_duplicates: int
    complete: bool
    seconds: float

    def __str__(self) -> str:
        all_ = ", all there are" if self.complete else ""
        return (
            f"{self.kind}: {self.states} states{all_}, {self.transitions} steps between them, {self.depth} deep, {self.calls} calls of the "
            f"store, edges {''.join(sorted(self.edges))}, {self.late_duplicates} duplicates by a server that was late beyond the promise "
            f"(seen by the audit), {len(self.violations)} violations, {self.seconds:.1f} s of CPU"
        )


@dataclass(frozen=True, slots=True)
class At:
    """A state. Rows and hands are numbers of the search's tables.

    `travelling` holds (worker in whose call it is or NOBODY, seconds within which it may arrive by the promise). `age` is that of the
    first thing that was accepted, `alone` counts retries without a person's word, `late` tells that something arrived beyond the promise.
    """

    rows: int
    hands: tuple[int, int]
    made: int = 0
    age: int = 0
    travelling: tuple[tuple[int, int], ...] = ()
    alone: int = 0
    late: bool = False


@dataclass(slots=True)
class Draft:
    """A state in the making, and what happened on the way."""

    at: At
    words: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    troubles: int = 0

    def then(self, words: str, *, trouble: bool = False, **change: Any) -> Draft:
        """The same, and then that."""
        words_ = [*self.words, *([words] if words else [])]
        return Draft(replace(self.at, **change), words_, list(self.problems), self.troubles + trouble)


class Numbers:
    """Values and their numbers."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


class Search:
    """One kind's search. `run` does it."""

    def __init__(self, name: str, stage: Stage, *, people: bool = True, only: Collection[str] | None = None) -> None:
        self.name = name
        self.stage = stage
        self.people = people
        self._only = only
        self._left = 0  # how much more may go wrong on the way from here
        self.rows = Numbers()
        self.hands = Numbers()
        self.edges: set[str] = set()
        self.late_duplicates: set[At] = set()
        self._known: dict[Any, Any] = {}
        self._ends: set[At] = set()
        self._idle = self.hands.of(None)

    # Real code, each call made once

    def _once(self, key: Any, do: Callable[[], Any]) -> Any:
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = do()
        return found

    def _may(self, draft: Draft, trouble: str) -> bool:
        """Whether this may go wrong now: what may not is not carried out either."""
        return draft.troubles < self._left and (self._only is None or trouble in self._only)

    def _rows(self, at: At) -> Rows:
        rows: Rows = self.rows.values[at.rows]
        return rows

    def _see(self, at: At, name: str) -> Any:
        return self._once(("see", at.rows, name), lambda: (self.stage.see(self._rows(at), name),))[0]

    def _held(self, at: At, slot: int) -> Hands | None:
        hands: Hands | None = self.hands.values[at.hands[slot]]
        return hands

    def _edge(self, by: str, before: Rows, after: Rows, told: bool) -> tuple[str, str]:
        """The letter of a change of state, and what is wrong with it."""
        old, new = str(self.stage.see(before, "state")), str(self.stage.see(after, "state"))
        if old == new:
            return "", ""
        letter = EDGES.get((by, old, new))
        if letter is None:
            return "?", f"no edge of the diagram: {old} became {new} by {by}"
        if letter in TOLD and not told:
            return letter, f"{old} became {new} (edge {letter}) and nobody was told"
        return letter, ""

    def _micro(self, draft: Draft, slot: int, verb: str, words: str, answer: Answer = ()) -> Draft:
        """The next atomic thing of a worker."""
        at = draft.at
        if answer:  # the store has no part in it
            hands, did = self._once(("outward", at.hands[slot], answer), lambda: self._outward(at.hands[slot], verb, answer))
            rows, letter, wrong = at.rows, "", ""
        else:
            key = ("turn", at.rows, slot if verb == "deliver" else 0, at.hands[slot], verb)  # whose look it is matters to nobody
            rows, hands, did, letter, wrong = self._once(key, lambda: self._turn(at, slot, verb))
        trouble = answer[:1] in (("error",), (LOCKED,))
        after = draft.then(words, trouble=trouble, rows=rows, hands=_put(at.hands, slot, hands))
        self._note(after, letter, wrong)
        if did == "finish" and verb == "deliver":
            after.at = replace(after.at, travelling=_released(after.at.travelling, slot))
        return after

    def _fails(self, draft: Draft, slot: int, verb: str, words: str, answer: Answer) -> Iterator[Draft]:
        """The same, where it fails."""
        if self._may(draft, answer[-1]):
            yield self._micro(draft, slot, verb, words, answer)

    def _outward(self, number: int, verb: str, answer: Answer) -> tuple[int, str]:
        hands, did = self.stage.outward(verb, self.hands.values[number], answer)
        return self.hands.of(hands), did

    def _turn(self, at: At, slot: int, verb: str) -> tuple[int, int, str, str, str]:
        before = self._rows(at)
        rows, hands, did, told = self.stage.turn(before, f"w{slot}", verb, self._held(at, slot), ())
        by = {"claim": "claim", "finish": "finish" if verb == "deliver" else "look"}.get(did, did)
        return self.rows.of(rows), self.hands.of(hands), did, *self._edge(by, before, rows, told)

    def _note(self, draft: Draft, letter: str, wrong: str) -> None:
        if wrong:
            draft.problems.append(wrong)
        if letter:
            self.edges.add(letter)
        if letter == "h":
            draft.at = replace(draft.at, alone=draft.at.alone + 1)
            if draft.at.alone > 1:
                draft.problems.append("tried once more a second time, without a person's word")

    def _act(self, draft: Draft, by: str, who: str, words: str, do: Callable[..., Any], *, in_flight: bool = False) -> Draft | None:
        """Something that is done in one go; None when it changes nothing."""
        at = draft.at
        rows, letter, wrong = self._once((by, words, at.rows, who, in_flight), lambda: self._acted(at, by, who, do, in_flight))
        if rows == at.rows:
            return None
        after = draft.then(words, trouble=by not in ("orphans", "judge"), rows=rows)
        self._note(after, letter, wrong)
        return after

    def _acted(self, at: At, by: str, who: str, do: Callable[..., Any], in_flight: bool) -> tuple[int, str, str]:
        before = self._rows(at)
        after, _, told = self.stage.act(before, who, in_flight, do)
        return self.rows.of(after), *self._edge(by, before, after, told)

    def _aside(self, at: At, what: str, change: Callable[[Rows], Rows]) -> int:
        """Other rows, not by the service: time has passed, or an owner's name means nothing any more."""
        return int(self._once((what, at.rows), lambda: self.rows.of(change(self._rows(at)))))

    # Steps

    def steps(self, at: At) -> Iterator[Draft]:
        """All that can happen next."""
        yield from self._workers(at)
        yield from self._far_side(at)
        if self.people:
            yield from self._people(at)
            yield from self._post(at)
        passed = self._time(at)
        if passed is not None:
            yield passed

    def _workers(self, at: At) -> Iterator[Draft]:
        start = Draft(at)
        swept = self._orphans(start, "the sweeper", "sweeper")
        if swept is not None:
            yield swept
        for slot in (0, 1):
            name = "AB"[slot]
            if at.hands[slot] != self._idle:
                yield from _some(self._orphans(start, name, f"w{slot}"))  # its process sweeps while it sends
                yield from self._go_on(start, slot)
                yield from self._dies(start, slot)
                yield from self._lose_lock(start, slot)
                continue
            if slot == 1 and at.hands[0] == self._idle and self._see(at, "owner") not in ("w0", "w1"):
                continue  # the two are the same
            own = self._orphans(start, name, f"w{slot}")
            if own is not None:
                yield own
            for base in (start, swept or own):
                if base is not None:
                    yield from self._begin(base, slot)

    def _begin(self, draft: Draft, slot: int) -> Iterator[Draft]:
        state, due = self._see(draft.at, "state"), self._see(draft.at, "due_at")
        if due is None or due > 0 or state not in (State.PLANNED, State.DOUBT):
            return
        name = "AB"[slot]
        if state == State.DOUBT:
            after = self._micro(draft, slot, "reconcile", f"{name} claims a look")
        elif self.stage.kind is ActionKind.REPLY and self._see(draft.at, "attempt"):
            after = self._micro(draft, slot, "deliver", f"{name} is about to look whether it is there")
        else:
            after = self._micro(draft, slot, "deliver", f"{name} claims")
        if after.at == draft.at:
            return
        yield after
        if after.at.hands[slot] != self._idle:
            yield from self._dies(after, slot)
            yield from self._go_on(after, slot)

    def _go_on(self, draft: Draft, slot: int) -> Iterator[Draft]:
        """A worker that holds something goes on, for one atomic thing or for more."""
        hands = self._held(draft.at, slot)
        assert hands is not None
        name = "AB"[slot]
        after: list[Draft] = []
        if hands.next == "send":
            after = list(self._sends(draft, slot, hands))
            for one in after:
                yield from self._dies(one, slot)
        elif hands.next == "find":
            found = ("found", *(str(number + 1) for number in range(draft.at.made)))
            after = [
                self._micro(draft, slot, hands.verb, f"{name} looks and sees {draft.at.made or 'nothing'}", found),
                *self._fails(draft, slot, hands.verb, f"{name}'s look fails, the server is away", ("error", "away")),
                *self._fails(draft, slot, hands.verb, f"{name}'s look fails", ("error", "odd")),
            ]
        else:
            after = [
                self._micro(draft, slot, hands.verb, f"{name} writes the outcome" if hands.next == "finish" else f"{name}: {hands.next}")
            ]
            if hands.verb == "deliver":
                after += self._fails(draft, slot, hands.verb, f"{name} can't write it down ({LOCKED})", (LOCKED,))
        for one in after:
            yield one
            if one.at.hands[slot] != self._idle:
                yield from self._go_on(one, slot)

    def _sends(self, draft: Draft, slot: int, hands: Hands) -> Iterator[Draft]:
        name = "AB"[slot]
        fails = partial(self._fails, draft, slot, hands.verb)
        yield from fails(f"{name}'s connection is refused", ("error", "refused"))
        yield from fails(f"{name} sends nothing, it is too late", ("error", "late"))
        work = hands.work
        assert work is not None
        at = draft.at
        ours = self._see(at, "state") == State.SENDING and self._see(at, "attempt") == work.attempt and self._see(at, "owner") == f"w{slot}"
        if not ours and self._claimed_before(hands):
            return  # its lock was lost and time has passed: the two seconds are over
        yield from fails(f"{name} sends, it is refused as it is", ("error", "rejected"))
        yield from fails(f"{name} sends, its token is refused", ("error", "unauthorized"))
        accepted, number = self._accept(draft)
        answered = self._micro(accepted, slot, hands.verb, f"{name} sends, accepted and answered", ("receipt", str(number)))
        yield answered
        yield from self._fails(accepted, slot, hands.verb, f"{name} sends, accepted, the answer is lost", ("error", "cut"))
        yield from self._fails(accepted, slot, hands.verb, f"{name} sends, accepted, the answer can't be read", ("error", "unreadable"))
        mine = (slot if ours else NOBODY, SETTLED)  # the clock of what is taken for dead runs already
        for on_the_way in fails(f"{name} sends, the connection is cut, the request still travels", ("error", "cut")):
            on_the_way.at = replace(on_the_way.at, travelling=tuple(sorted([*on_the_way.at.travelling, mine])))
            yield on_the_way

    def _claimed_before(self, hands: Hands) -> bool:
        """Whether time has passed since the claim."""
        names = [name for name, _ in hands.answers]
        read = next(answer for name, answer in reversed(hands.answers[: names.index("claim")]) if name == "now")
        return bool(read.seconds < 0)

    def _accept(self, draft: Draft) -> tuple[Draft, int]:
        """The far side carries a request out. Returns the number of the thing that it stands for."""
        at = draft.at
        after = draft.then("")
        if self.stage.kind is ActionKind.REPLY and self.stage.repeatable and at.made and at.age < HOUR:
            return after, 1  # the same Idempotency-Key
        after.at = replace(at, made=at.made + 1, age=at.age if at.made else 0)
        if after.at.made > 1 and not at.late:
            after.problems.append(f"{after.at.made} {self.stage.kind}s for one action")
        return after, after.at.made

    def _dies(self, draft: Draft, slot: int) -> Iterator[Draft]:
        if self._may(draft, "death"):
            yield self._die(draft, slot)

    def _die(self, draft: Draft, slot: int) -> Draft:
        rows = self._aside(draft.at, f"w{slot} is gone", partial(_without, owner=f"w{slot}"))
        travelling = _released(draft.at.travelling, slot)
        return draft.then(
            f"{'AB'[slot]} dies", trouble=True, rows=rows, hands=_put(draft.at.hands, slot, self._idle), travelling=travelling
        )

    def _lose_lock(self, draft: Draft, slot: int) -> Iterator[Draft]:
        if not self._may(draft, "lock"):
            return
        rows = self._aside(draft.at, f"w{slot} is gone", partial(_without, owner=f"w{slot}"))
        if rows != draft.at.rows:
            words = f"the server drops the connection that holds {'AB'[slot]}'s lock"
            yield draft.then(words, trouble=True, rows=rows, travelling=_released(draft.at.travelling, slot))

    def _orphans(self, draft: Draft, name: str, who: str) -> Draft | None:
        at = draft.at
        if self._see(at, "state") != State.SENDING:
            return None
        held = self._held(at, int(who[1])) if who[1].isdigit() else None
        in_flight = held is not None and held.in_flight
        words = f"{name} sweeps and finds the sender gone"
        do = lambda app: app.store.outbox.orphans(app.clock.now())  # noqa: E731
        return self._act(draft, "orphans", who, words, do, in_flight=in_flight)

    def _far_side(self, at: At) -> Iterator[Draft]:
        for one in sorted(set(at.travelling)):
            rest = list(at.travelling)
            rest.remove(one)
            beyond = one[1] == 0
            words = "a request that travelled arrives" + (", later than the promise reaches" if beyond else "")
            draft = Draft(replace(at, travelling=tuple(rest), late=at.late or beyond), [words])
            yield self._accept(draft)[0]

    def _people(self, at: At) -> Iterator[Draft]:
        state, start, action = self._see(at, "state"), Draft(at), self.stage.action
        if not self._may(start, "person"):
            return
        words: list[tuple[str, Callable[..., Any]]] = []
        if state in (State.PARKED, State.REJECTED, State.OBSERVED) and at.made == 0:
            words.append(("retry", lambda app: app.store.desk.retry(action, "ana", app.clock.now())))
        if state in (State.PARKED, State.REJECTED, State.DOUBT) and at.made:
            words.append(("found", lambda app: app.store.desk.found(action, "MEM-1", "ana", app.clock.now())))
        if state in (State.PLANNED, State.DOUBT):
            words.append(("park", lambda app: app.store.desk.park(action, "ana", app.clock.now())))
        if state in (State.PLANNED, State.PARKED, State.REJECTED, State.OBSERVED):
            words.append(("drop", lambda app: app.store.desk.drop(action, "ana", app.clock.now())))
        for word, do in words:
            said = self._act(start, word, "ana", f"a person looks, and says {word}", do)
            if said is None:
                continue
            if word == "retry":  # what arrives after the person has looked is beyond the promise
                said.at = replace(said.at, alone=0, travelling=tuple(sorted((slot, 0) for slot, _ in at.travelling)))
            yield said

    def _post(self, at: At) -> Iterator[Draft]:
        start, rows = Draft(at), self._rows(at)
        if column(rows, "mentions", 0, "deleted_at") is not None:
            return
        yield from _some(self._judge(start))
        if not self._may(start, "post"):
            return
        remote_id = self.stage.remote_id
        if column(rows, "mentions", 0, "revision") == 1:
            for text in ("it is broken, how? I add a word", "love it"):
                yield from _some(
                    self._act(start, "post", "post", f"the post is edited: {text}", partial(_edit, remote_id=remote_id, text=text))
                )
        yield from _some(
            self._act(
                start,
                "post",
                "post",
                "the post is deleted",
                lambda app: app.store.inbox.reread("acme", {remote_id: None}, app.clock.now(), **_AGAIN),
            )
        )

    def _judge(self, draft: Draft) -> Draft | None:
        if column(self._rows(draft.at), "mentions", 0, "due_at") != 0:
            return None
        return self._act(draft, "judge", "w0", "the edited post is judged anew", lambda app: judge.process(app))

    def _time(self, at: At) -> Draft | None:
        """Time passes, up to the next moment at which something becomes due."""
        rows = self._rows(at)
        moments = [self._see(at, "due_at"), column(rows, "mentions", 0, "due_at")]
        moments += [left for slot, left in at.travelling if slot == NOBODY]
        if self.stage.kind is ActionKind.REPLY:
            first = self._see(at, "first_intent_at")
            moments += [HOUR - at.age if at.made else 0, 3000 + first if first is not None else 0]
        ahead = [moment for moment in moments if moment is not None and moment > 0]
        if not ahead and any(hands != self._idle for hands in at.hands):
            ahead = [SETTLED]  # somebody is stopped in the middle of it
        return self._pass(at, min(ahead)) if ahead else None

    def _pass(self, at: At, seconds: int) -> Draft:
        travelling = tuple(sorted((slot, left if slot != NOBODY else max(0, left - seconds)) for slot, left in at.travelling))
        return Draft(
            replace(
                at,
                rows=self._aside(at, f"later {seconds}", partial(later, seconds=seconds)),
                hands=(self._older(at.hands[0], seconds), self._older(at.hands[1], seconds)),
                travelling=travelling,
                age=min(HOUR, at.age + seconds) if at.made and self.stage.kind is ActionKind.REPLY else 0,
            ),
            [f"{seconds} s pass"],
        )

    def _older(self, hands: int, seconds: int) -> int:
        def older() -> int:
            held: Hands | None = self.hands.values[hands]
            return hands if held is None else self.hands.of(replace(held, answers=aged(held.answers, seconds)))

        return int(self._once(("older", hands, seconds), older))

    # The search

    def form(self, at: At) -> At:
        """The one form of a state and of its twin, in which A and B have changed places."""
        if at.hands[0] == at.hands[1] == self._idle and self._see(at, "owner") not in ("w0", "w1") and not at.travelling:
            return at
        rows = self._aside(at, "twin", _swapped)
        travelling = tuple(sorted((slot if slot == NOBODY else 1 - slot, left) for slot, left in at.travelling))
        twin = replace(at, rows=rows, hands=(at.hands[1], at.hands[0]), travelling=travelling)
        return min(at, twin, key=lambda one: (one.hands, one.rows, one.travelling))

    def start(self) -> At:
        """The action is planned and due, and nobody has touched it."""
        return At(self.rows.of(self.stage.first), (self._idle, self._idle))

    def check(self, at: At) -> str:
        """What is wrong with a state; empty when nothing is."""
        if self._see(at, "state") == State.DONE and not at.made:
            return "it is called done and is not there"
        if at.made > 1 and at.late and self.stage.kind is ActionKind.TICKET and at not in self.late_duplicates:
            self.late_duplicates.add(at)
            if not self._once(("audit", at.made), lambda: (self.stage.duplicates_told(self.stage.first, at.made),))[0]:
                return "a duplicate by a late server, and the audit does not see it"
        return ""

    def run(self, depth: int, *, troubles: int, most: int = 1) -> SearchSummary:
        """Search `depth` steps deep, along all ways on which at most so many things go wrong. Stops after `most` violations."""
        began = time.process_time()
        start = self.form(self.start())
        came: dict[At, tuple[At | None, str]] = {start: (None, "")}
        left: dict[At, int] = {start: troubles}
        frontier = deque([(start, 0, troubles)])
        transitions = 0
        violations: list[Violation] = []
        complete = True
        while frontier and len(violations) < most:
            at, far, may = frontier.popleft()
            if left[at] > may:
                continue  # come by again, with more that may go wrong
            self._left = 0
            stuck = self._heal(at)
            self._left = may
            if stuck:
                violations.append(Violation(stuck[0], (*_path(came, at), *stuck[1])))
                continue
            if far == depth:
                complete = False
                continue
            for draft in self.steps(at):
                transitions += 1
                words = ", ".join(draft.words)
                new = self.form(draft.at)
                wrong = draft.problems[:1] or [what for what in (self.check(new),) if what]
                if wrong:
                    violations.append(Violation(wrong[0], (*_path(came, at), words)))
                    break
                came.setdefault(new, (at, words))
                rest = may - draft.troubles
                if left.get(new, -1) < rest and new.made < 2:  # a duplicate by a late server: the audit has seen it, people decide
                    left[new] = rest
                    frontier.append((new, far + 1, rest))
        return SearchSummary(
            self.name,
            depth,
            len(came),
            transitions,
            self.stage.calls,
            frozenset(self.edges - {"?"}),
            tuple(violations),
            len(self.late_duplicates),
            complete and not violations,
            time.process_time() - began,
        )

    def _heal(self, at: At) -> tuple[str, list[str]] | None:
        """Nothing fails any more and time passes. None when the action ends then; else what is wrong, and the way there."""
        way: list[At] = []
        words: list[str] = []
        while at not in self._ends and self._see(at, "state") not in ENDS:
            if at in way:
                return "the action never ends", words
            way.append(at)
            draft = self._well(at)
            if draft is None:
                return f"the action stays {self._see(at, 'state')} for ever", words
            words.append("(nothing fails any more) " + ", ".join(draft.words))
            if draft.problems:
                return draft.problems[0], words
            at = draft.at
        self._ends.update(way)
        return None

    def _well(self, at: At) -> Draft | None:
        """The next thing that happens when all is well."""
        draft = Draft(at)
        for slot in (0, 1):
            if at.hands[slot] != self._idle:
                return self._die(draft, slot)  # whoever was stopped is started anew; that it goes on is a step of the search
        for name, who in (("the sweeper", "sweeper"), ("A", "w0"), ("B", "w1")):
            swept = self._orphans(draft, name, who)
            if swept is not None:
                return swept
        judged = self._judge(draft)
        if judged is not None:
            return judged
        if self._see(at, "due_at") == 0:
            done = next((one for one in self._begin(draft, 0) if one.at.hands[0] == self._idle and not one.troubles), None)
            if done is not None:
                return done
        # A sender that is gone is found at once. Should it take time, then time there is.
        return self._time(at) or (self._pass(at, SETTLED) if self._see(at, "state") == State.SENDING else None)


_AGAIN: dict[str, Any] = {"last": timedelta(hours=1), "old": timedelta(days=1)}


def _edit(app: Any, *, remote_id: str, text: str) -> None:
    mention = replace(app.acme._world.posts[remote_id], text=text)
    item = Item(remote_id, text.encode(), mention=mention)
    app.store.inbox.reread("acme", {remote_id: item}, app.clock.now(), **_AGAIN)


def _some(draft: Draft | None) -> Iterator[Draft]:
    if draft is not None:
        yield draft


def _put(hands: tuple[int, int], slot: int, new: int) -> tuple[int, int]:
    return (new, hands[1]) if slot == 0 else (hands[0], new)


def _released(travelling: tuple[tuple[int, int], ...], slot: int) -> tuple[tuple[int, int], ...]:
    """The worker's calls are over: from now on the clock runs for what still travels."""
    return tuple(sorted((NOBODY if one == slot else one, left) for one, left in travelling))


def _without(rows: Rows, *, owner: str) -> Rows:
    def gone(table: str, row: dict[str, Any]) -> None:
        if table == "actions" and row["owner"] == owner:
            row["owner"] = "dead"

    return changed(rows, gone)


def _swapped(rows: Rows) -> Rows:
    def swap(table: str, row: dict[str, Any]) -> None:
        if table == "actions":
            row["owner"] = {"w0": "w1", "w1": "w0"}.get(row["owner"], row["owner"])

    return changed(rows, swap)


def _path(came: dict[At, tuple[At | None, str]], at: At) -> tuple[str, ...]:
    words: list[str] = []
    step: At | None = at
    while step is not None:
        step, said = came[step]
        words.append(said)
    return tuple(reversed([one for one in words if one]))


def explore(
    kind: str, depth: int, *, troubles: int = TROUBLES, people: bool = True, only: Collection[str] | None = None, most: int = 1
) -> SearchSummary:
    """Search one of `KINDS` so many steps deep, with at most so many things that go wrong; stops after `most` violations.

    Without `people` the machine is alone: nobody says a word, and nobody edits or deletes the post. `only` names what may go wrong,
    where not everything may: death, lock, person, post, `LOCKED`, and the names of `ERRORS`.
    """
    what = KINDS[kind]
    with Stage(what.kind, repeatable=what.repeatable, observe=what.observe, brake=what.brake) as stage:
        return Search(kind, stage, people=people, only=only).run(depth, troubles=troubles, most=most)


def main() -> int:
    """Print what each kind's search finds. The arguments are the depth (12) and how many things may go wrong on a way (1)."""
    depth, troubles = (int(given) for given in [*sys.argv[1:3], *("12", str(TROUBLES))[len(sys.argv[1:3]) :]])
    wrong = 0
    for kind in KINDS:
        summary = explore(kind, depth, troubles=troubles)
        print(summary, flush=True)
        for violation in summary.violations:
            print(violation)
        wrong += len(summary.violations)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
