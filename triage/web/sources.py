"""The sources page: how each source, tracker and notifier is, what it costs, what we have of it, and the few things to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Form, Request
from fastapi.responses import Response

from triage.app import App
from triage.budget import Budget
from triage.config import Connector
from triage.contracts import LetsIn, Manifest, Platform, Priced
from triage.errors import RemoteError, UserError
from triage.person import Role
from triage.pipeline import sources
from triage.store.accounts import Account
from triage.store.coverage import HOLE, POLLS, Stretch
from triage.web.access import Parts, Routes, Who
from triage.web.render import done, is_part, moment, render

routes = Routes()

STRIP = timedelta(days=30)  # what the strip of a source's ledger shows
WIDE = 1000  # its width, in its own units
THIN = 6  # the least that can be seen
BEHIND = 3  # polls that may fail before a source counts as behind


@dataclass(frozen=True, slots=True)
class State:
    """How an account is: `level` is good, warn or bad, `word` says it in a word, `words` why and until when."""

    level: str
    word: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of the strip: from `x`, `wide`, and which kind it is."""

    x: int
    wide: int
    kind: str


@dataclass(frozen=True, slots=True)
class Card:
    """What the page shows of one account. `account` is None before it was ever used."""

    name: str
    role: str
    kind: str
    configured: bool
    state: State
    account: Account | None
    cost: str = ""
    holds_back: bool = False
    token: sources.TokenPlace | None = None
    ledger: tuple[Stretch, ...] = ()
    behind: str = ""
    strip: tuple[Bar, ...] = ()
    strip_from: datetime | None = None


@routes.get("/sources", Role.VIEWER)
def show(request: Request, app: Parts, who: Who) -> Response:
    """The page."""
    return _page(request, app, who.zone)


@routes.post("/sources/{name}/poll", Role.TRIAGER)
def poll(request: Request, app: Parts, who: Who, name: str) -> Response:
    """Poll a source now: a worker does it within a second or two."""
    return _done(request, app, who.zone, name, lambda: poll_now(app, name, who.name))


@routes.post("/sources/{name}/let-in", Role.TRIAGER)
def let_in(request: Request, app: Parts, who: Who, name: str) -> Response:
    """Let in what the server holds back."""
    return _done(request, app, who.zone, name, lambda: let_all_in(app, name, who.name))


@routes.post("/sources/{name}/stop", Role.ADMIN)
def stop(request: Request, app: Parts, who: Who, name: str, why: Annotated[str, Form(max_length=500)] = "") -> Response:
    """Leave it alone until somebody lets it go on."""
    return _done(request, app, who.zone, name, lambda: stopped(app, name, who.name, why))


@routes.post("/sources/{name}/resume", Role.ADMIN)
def resume(request: Request, app: Parts, who: Who, name: str) -> Response:
    """Let it go on."""
    return _done(request, app, who.zone, name, lambda: resumed(app, name, who.name))


@routes.post("/sources/{name}/token", Role.ADMIN)
def token(request: Request, app: Parts, who: Who, name: str, token: Annotated[str, Form()] = "") -> Response:
    """Replace its token, if the server takes the new one."""
    return _done(request, app, who.zone, name, lambda: sources.renew_token(app, name, token, who.name))


def _done(request: Request, app: App, zone: str, name: str, do: Callable[[], str]) -> Response:
    try:
        return done(request, do(), f"/sources#{name}")
    except (UserError, RemoteError) as error:
        if is_part(request):
            raise
        return _page(request, app, zone, 409, name=name, refused=str(error))


def _page(request: Request, app: App, zone: str, status: int = 200, *, name: str = "", refused: str = "") -> Response:
    cards = cards_of(app, zone)
    here = any(card.name == name for card in cards)
    elsewhere = refused if not here else ""
    values: dict[str, Any] = {"name": name, "refused": refused, "elsewhere": elsewhere, "wide": WIDE, "budget": budget_words, "role": Role}
    return render(request, "sources.html", status, cards=cards, **values)


# What is done, and what is said of it: to the page and to programs alike


def poll_now(app: App, name: str, by: str) -> str:
    """Ask for a poll."""
    _known(app, name)
    app.store.accounts.poll_now(name, by, app.clock.now())
    return f"{name} is polled now"


def let_all_in(app: App, name: str, by: str) -> str:
    """Let in what its server holds back. Raises `UserError` and `RemoteError`."""
    count = sources.let_in(app, name, by)
    return f"{name}: {count} {'author is' if count == 1 else 'authors are'} let in; their mentions come with the next poll"


def stopped(app: App, name: str, by: str, why: str) -> str:
    """Stop it."""
    _known(app, name)
    app.store.accounts.stop(name, by, " ".join(why.split()), app.clock.now())
    return f"{name} is stopped: nothing is read from it or sent to it"


def resumed(app: App, name: str, by: str) -> str:
    """Let it go on; also one that the config no longer names."""
    app.store.accounts.resume(name, by, app.clock.now())
    return f"{name} goes on"


def _known(app: App, name: str) -> None:
    if all(name not in section for section in (app.config.sources, app.config.trackers, app.config.notifiers)):
        raise UserError(f"the config has no source, tracker or notifier {name!r} (any more)")


# What is shown


def cards_of(app: App, zone: str) -> list[Card]:
    """Every configured account in the config's order, then those that the store still knows."""
    now = app.clock.now()
    known = {(one.role, one.name): one for one in app.store.accounts.each(now)}
    config = app.config
    made = [_source(app, one, known.pop(("source", one.name), None), now, zone) for one in config.sources.values()]
    for role, section in (("tracker", config.trackers), ("notifier", config.notifiers)):
        for one in section.values():
            account = known.pop((role, one.name), None)
            made.append(
                Card(one.name, role, one.type, True, state_of(account, now, zone), account, token=sources.token_place(app, one.name))
            )
    for (role, name), account in known.items():
        words = "posts that triage import brought in; nobody polls it" if name == "import" else "it is not in the config any more"
        made.append(Card(name, role, "", False, State("", "not polled", words), account))
    return made


def _source(app: App, connector: Connector, account: Account | None, now: datetime, zone: str) -> Card:
    name = connector.name
    ledger = app.store.coverage.of(name)
    state, cost, holds_back = state_of(account, now, zone), "", False
    every = connector.interval or 60.0
    try:
        platform = app.platform(name)
    except UserError as error:
        state = State("bad", "can't be used", str(error))
    else:
        every = connector.interval or platform.manifest.interval
        cost, holds_back = cost_of(platform, every), isinstance(platform, LetsIn)
    strip_from = max(now - STRIP, min((one.from_at for one in ledger), default=now))
    return Card(
        name,
        "source",
        connector.type,
        True,
        state,
        account,
        cost,
        holds_back,
        sources.token_place(app, name),
        tuple(ledger),
        behind_of(ledger, state, every, now, zone),
        strip_of(ledger, strip_from, now, every),
        strip_from,
    )


def state_of(account: Account | None, now: datetime, zone: str) -> State:
    """How an account is, in words: what a person needs to know before what a program calls it."""
    if account is None or (account.last_success_at is None and not account.failures and account.paused_until is None):
        return State("warn", "not used yet", "nothing was asked of it so far; is a worker running?" if account is None else "")
    if account.stopped:
        return State("warn", "stopped", account.paused_why)
    if account.paused_until is not None and account.paused_until > now:
        until = f"until {moment(account.paused_until, zone)}"
        if account.refusals:
            return State("bad", "paused", f"it refuses us, and is left alone {until}: {account.paused_why}")
        return State("warn", "resting", f"{until}: {account.paused_why}")
    if account.failures:
        tried = f"; tried again at {moment(account.probe_at, zone)}" if account.probe_at and account.probe_at > now else ""
        times = "once" if account.failures == 1 else f"{account.failures} times in a row"
        return State("bad", "failing", f"it failed {times}: {account.last_error}{tried}")
    return State("good", "ok")


def cost_of(platform: Platform, every: float) -> str:
    """What a source asks of its server while nothing happens, in words."""
    allowed = _allowed(platform.manifest)
    polls = f"a poll every {every:g} s"
    if not isinstance(platform, Priced):
        return f"{3600 / every:.0f} polls an hour ({polls})"
    least, most = platform.at_rest(every)
    figure = f"{least}" if least == most else f"{least} to {most}"
    share = f": {most / allowed:.0%} at most of the {allowed:.0f} that such a server usually allows".replace("%", " %") if allowed else ""
    return f"{figure} requests an hour at rest ({polls}){share}"


def _allowed(manifest: Manifest) -> float | None:
    return None if manifest.requests is None else manifest.requests[0] * 3600 / manifest.requests[1]


def behind_of(ledger: Sequence[Stretch], state: State, every: float, now: datetime, zone: str) -> str:
    """What to say of the time since the last whole poll; empty while polls come as they should."""
    last = max((one.until_at for one in ledger if one.how == POLLS), default=None)
    if last is None or (now - last).total_seconds() <= max(BEHIND * every, 60.0):
        return ""
    return f"nothing since {moment(last, zone)} yet ({state.word}); the next poll goes on from there, so nothing is lost by waiting"


def strip_of(ledger: Sequence[Stretch], start: datetime, now: datetime, every: float) -> tuple[Bar, ...]:
    """The ledger as a strip from `start` to now; holes over everything else, and wide enough to be seen."""
    span = (now - start).total_seconds()
    if span <= 0:
        return ()

    def at(when: datetime) -> int:
        return round(WIDE * min(max((when - start).total_seconds() / span, 0.0), 1.0))

    bars = [Bar(at(one.from_at), at(one.until_at) - at(one.from_at), one.how) for one in ledger if one.how != HOLE and one.until_at > start]
    for one in ledger:
        if one.how == HOLE and one.until_at >= start:
            x = min(at(one.from_at), WIDE - THIN)
            bars.append(Bar(x, max(at(one.until_at) - x, THIN), HOLE))
    return tuple(bars)


def budget_words(budget: Budget, zone: str) -> str:
    """What is left of a limit, in words; empty where nobody knows."""
    if budget.limit is None or budget.left is None:
        return ""
    whole = f", whole again at {moment(budget.reset_at, zone)}" if budget.reset_at is not None else ""
    return f"{budget.left} of {budget.limit}{whole}"
