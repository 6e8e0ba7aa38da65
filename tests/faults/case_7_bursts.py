"""Many at once, late ones, strange ids, pages full of rubbish: every post that the server ever shows has its row, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.acceptance.rig import Rig
from tests.faults.case import Case, Ground
from tests.faults.inside import Inside, inside, settle

WORDS = ("{} is lovely", "{} is lovely", "{} is lovely", "How do I use {}?", "{} is broken")
NOT_POSTS: tuple[Any, ...] = (None, 5, "text", [], {}, {"id": None}, {"id": "1", "type": "mention", "status": None})


def burst(ground: Ground, rig: Rig, count: int, **more: Any) -> None:
    """So many posts between two polls."""
    for number in range(count):
        words = ground.random.choice(WORDS) if number % 50 == 0 else WORDS[0]
        rig.mastodon.post(f"author{number % 97}@else.example", words.format(f"thing {ground.notes['posts']}"), **more)
        ground.notes["posts"] += 1


def rubbish(ground: Ground, rig: Rig) -> None:
    """Notifications that are none, or whose fields have other types than they should."""
    shown = rig.mastodon.post("mallory@else.example", "This is lovely")
    ground.notes["posts"] += 1
    account = {"id": "7", "acct": "mallory@else.example", "username": "mallory"}
    whole = {"id": "1", "type": "mention", "created_at": "2026-01-01T00:00:00.000Z", "account": account, "status": shown}
    odd: tuple[Any, ...] = (None, 5, [], {"a": "b"}, "\x00\ud800")
    wrong = [{**whole, name: value} for name in whole for value in odd]
    wrong += [{**whole, "status": {**shown, name: value}} for name in ("id", "uri", "content", "account", "mentions") for value in odd]
    for payload in ground.random.sample([*NOT_POSTS, *wrong], 25):
        rig.mastodon.inject_raw_notification(payload)
        ground.notes["rubbish"] += 1


def check(rig: Rig, app: Inside) -> None:
    """Every promise is kept. What was forged in a notification was never posted, so the checker does not know its uri."""
    settle(rig, app, passes=20, seconds=10)


def five_thousand(ground: Ground) -> None:
    """5,000 mentions between two polls."""
    _burst(ground, 5000)


def a_thousand(ground: Ground) -> None:
    """1,000 mentions between two polls."""
    _burst(ground, 1000)


def _burst(ground: Ground, count: int) -> None:
    with ground.rig() as rig, inside(rig) as app:
        burst(ground, rig, count)
        check(rig, app)
        assert len(rig.checker().database["mentions"]) == count


def late(ground: Ground) -> None:
    """Ids that appear below ones that were read already: the overlap finds those of the last 20, the daily reading the others."""
    with ground.rig() as rig, inside(rig) as app:
        burst(ground, rig, 60)
        app.pass_()
        for below in (1, 3, 8, 15):
            burst(ground, rig, 1, late=below)
            app.pass_()
        assert len(rig.checker().database["mentions"]) == 64, "a late one within the overlap waits for the daily reading"
        burst(ground, rig, 5, late=ground.random.randint(40, 55))
        ground.notes["late"] += 9
        app.pass_()
        app.pass_(hours=25)
        check(rig, app)
        alerts = [alert["labels"]["alertname"] for alert in rig.receiver.alerts]
        assert "LateMentions" in alerts, alerts


def server(ground: Ground, knobs: dict[str, Any]) -> None:
    """A server with these habits, with bursts, late ids and rubbish. Its clock is moved on with ours: what it shows when is no race."""
    with ground.rig() as rig:
        rig.mastodon.knobs.change(**knobs)
        with inside(rig) as app:

            def pass_(**by: float) -> None:
                rig.mastodon.knobs.change(skew=rig.mastodon.knobs.skew + timedelta(**by).total_seconds())
                app.pass_(**by)

            for _ in range(3):
                burst(ground, rig, ground.random.randint(30, 60))
                pass_(seconds=2)
            burst(ground, rig, 5, late=ground.random.randint(1, 10))
            ground.notes["late"] += 5
            pass_(seconds=2)
            rubbish(ground, rig)
            burst(ground, rig, 45)
            pass_(seconds=2)
            if not rig.mastodon.knobs.delay:
                check(rig, app)  # the polls alone find all of it
            pass_(hours=25)
            check(rig, app)


HABITS: dict[str, dict[str, Any]] = {
    "mastodon-4.4": {"version": "4.4.2"},
    "mastodon-4.2": {"version": "4.2.10"},
    "ulids": {"version": "gotosocial 0.19"},
    "inclusive": {"inclusive_min_id": True},
    "no-links": {"link_headers": False, "inclusive_min_id": True},
    "delayed": {"delay": 60.0},  # rubbish shows at once, above all that is still kept back: the daily reading has to find it
}


def habits(ground: Ground) -> None:
    """One server after the other would need a store each; each run takes one, by its seed."""
    name = list(HABITS)[ground.seed % len(HABITS)]
    server(ground, HABITS[name])
    ground.notes[name] += 1


def filtered(ground: Ground) -> None:
    """What the account's policy holds back is read too, where the server shows it."""
    with ground.rig() as rig:
        rig.mastodon.knobs.change(filtered={f"author{number}@else.example" for number in range(0, 97, 2)})
        with inside(rig) as app:
            burst(ground, rig, 100)
            check(rig, app)
            assert len(rig.checker().database["mentions"]) == 100


def broken_pages(ground: Ground) -> None:
    """Pages that are cut, empty, or HTML, again and again within a burst: each is read once more, and nothing is skipped."""
    with ground.rig() as rig, inside(rig) as app:
        for round_ in range(6):
            kind = ground.random.choice(["cut", "empty", "html", "reset_after", "reset_before", "status:503", "status:200"])
            rig.mastodon.faults.add(kind=kind, method="GET", path="notifications", times=None, probability=0.5, seed=ground.seed + round_)
            ground.notes[f"pages {kind}"] += 1
            burst(ground, rig, 90)
            for _ in range(4):
                app.pass_(seconds=2)
            rig.mastodon.faults.clear()
        app.pass_(hours=2)
        check(rig, app)


CASES = (
    Case("burst-1000", 7, "A burst of 1,000 mentions between two polls", a_thousand, stores=("sqlite",), long=1),
    Case("burst-5000", 7, "A burst of 5,000 mentions between two polls", five_thousand, short=0, long=3),
    Case("late-ids", 7, "Low ids that appear late", late),
    Case("server-habits", 7, "Old and new Mastodon, ULIDs, an inclusive `min_id`, late ids, wrong-typed fields", habits, short=3, long=24),
    Case("filtered", 7, "Notifications that the account's policy holds back", filtered, long=5),
    Case("broken-pages", 7, "Pages that are cut, empty or HTML within a burst", broken_pages),
)
