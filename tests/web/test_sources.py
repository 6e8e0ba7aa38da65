"""The sources page: what it says of every state, the ledger of what we have, and each thing that can be done there."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from tests.service import Service, service
from triage.errors import NotAccepted, RateLimited, Unauthorized
from triage.person import Role
from triage.platforms.mastodon import MastodonOptions, MastodonPlatform
from triage.sandbox.mastodon import MastodonServer
from triage.store.accounts import STOPPED
from triage.store.schema import accounts, actions, audit
from triage.web import create
from triage.web.access import csrf

ORIGIN = "http://127.0.0.1:8321"


class Site:
    """Somebody who is logged in."""

    def __init__(self, app: Service, role: Role, name: str) -> None:
        now = app.clock.now()
        token = app.store.people.invite(role, "triage", now)
        person = app.store.people.come(token, name, name.title(), "", now)
        session = app.store.sessions.start(person, now, address="", agent="")
        self.browser = TestClient(create(app), base_url=ORIGIN, follow_redirects=False)
        self.browser.cookies.set("triage", session)
        self.token = csrf(session)

    def page(self) -> str:
        """The page, as plain words."""
        answer = self.browser.get("/sources")
        assert answer.status_code == 200
        return words(answer.text)

    def post(self, path: str, **fields: str) -> Any:
        """A plain form."""
        return self.browser.post(f"/sources/{path}", data={"csrf": self.token, **fields}, headers={"Origin": ORIGIN})


def words(page: str) -> str:
    """What is read, without tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Service]:
    """The service in memory."""
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    yield made
    made.close()


@pytest.fixture
def both(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """The same on each database."""
    made = service(tmp_path, store_url)
    yield made
    made.close()


def row(app: Service, name: str = "acme") -> Any:
    with app.store.database.read() as connection:
        return connection.execute(sa.select(accounts).where(accounts.c.name == name)).mappings().one()


def trail(app: Service) -> list[tuple[str, str, str]]:
    with app.store.database.read() as connection:
        found = connection.execute(sa.select(audit).where(audit.c.who != "triage").order_by(audit.c.id)).mappings()
        return [(line["who"], line["what"], line["detail"]) for line in found]


def ledger(app: Service) -> list[tuple[str, datetime, datetime]]:
    return [(one.how, one.from_at, one.until_at) for one in app.store.coverage.of("acme")]


# The ledger


def test_the_ledger_grows_with_each_whole_poll(both: Service) -> None:
    """One row is extended, not one a poll; an outage of ours leaves no hole."""
    start = both.clock.now()
    assert ledger(both) == [("polls", start, start)]
    both.pass_(seconds=11)
    both.pass_(seconds=11)
    assert ledger(both) == [("polls", start, start + timedelta(seconds=22))]
    both.acme.post("mira@x.example", "sync is broken")
    both.pass_(days=3)
    assert ledger(both) == [("polls", start, both.clock.now())]


def test_a_poll_that_does_not_reach_the_end_extends_nothing(both: Service) -> None:
    """A failed poll claims nothing."""
    start = both.clock.now()
    both.acme.fail("fetch", NotAccepted("away"))
    both.pass_(seconds=11)
    assert ledger(both) == [("polls", start, start)]


def test_what_the_server_no_longer_shows_is_a_hole(both: Service) -> None:
    """From the last whole poll to the first post that was still there; then it goes on."""
    start = both.clock.now()
    both.acme.lose("the server's list no longer reached back to it")
    seen = start + timedelta(hours=5)
    both.acme.post("mira@x.example", "sync is broken", created_at=seen)
    both.pass_(hours=6)
    end = both.clock.now()
    assert ledger(both) == [("polls", start, start), ("hole", start, seen), ("polls", seen, end)]
    both.pass_(seconds=11)
    assert ledger(both)[-1] == ("polls", seen, both.clock.now())
    assert "Hole from" in Site(both, Role.VIEWER, "vera").page()


def test_a_hole_is_written_by_the_poller_whose_cursor_counts(both: Service) -> None:
    """Of two that read the same page one moves the cursor, and one writes the hole."""
    both.acme.lose("gone")
    both.acme.post("mira@x.example", "sync is broken", created_at=both.clock.now())
    both.clock.move(hours=1)
    now = both.clock.now()
    cursor = both.store.inbox.source("acme").cursor
    for page in list(both.acme.fetch(cursor)):
        for _ in range(2):
            both.store.inbox.add_page("acme", page, expect=cursor, now=now, began=now)
        cursor = page.cursor
    assert [how for how, _, _ in ledger(both)].count("hole") == 1


def test_a_backfill_is_told_apart(app: Service) -> None:
    """It reads what the server still shows, which need not be everything."""
    start = app.clock.now()
    app.store.coverage.filled("acme", start - timedelta(days=9), start)
    assert ledger(app)[0] == ("backfill", start - timedelta(days=9), start)
    app.pass_(seconds=11)
    assert ledger(app)[-1] == ("polls", start, app.clock.now())
    assert "Read by hand from" in Site(app, Role.VIEWER, "vera").page()


# States


def test_every_state_is_told_in_words(app: Service) -> None:
    """Well, failing, paused, resting, and behind."""
    site = Site(app, Role.VIEWER, "vera")
    assert "✓ ok" in site.page()
    app.acme.fail("fetch", NotAccepted("the harbour is closed"))
    app.pass_(seconds=11)
    assert "failing" in site.page()
    assert "it failed once: the harbour is closed" in site.page()
    app.acme.fail("fetch", Unauthorized("401 the token was revoked"))
    app.pass_(minutes=10)
    assert "it refuses us, and is left alone until" in site.page()
    assert "Behind : nothing since" in site.page()
    app.store.accounts.unpause(app.clock.now())
    app.acme.fail("fetch", RateLimited("429", after=900.0))
    app.pass_(minutes=10)
    assert "resting" in site.page()


def test_who_may_only_look_finds_no_button(app: Service) -> None:
    """And is refused all the same."""
    site = Site(app, Role.VIEWER, "vera")
    page = site.browser.get("/sources").text
    assert "/sources/acme/" not in page
    for path in ("acme/poll", "acme/let-in", "acme/stop", "acme/resume", "acme/token"):
        assert site.post(path).status_code == 403
    triager = Site(app, Role.TRIAGER, "tom")
    assert triager.post("acme/stop").status_code == 403
    assert triager.post("acme/token", token="x").status_code == 403


def test_what_the_config_has_no_more_is_said(app: Service) -> None:
    """With nothing to be done about it."""
    app.store.inbox.add_source("import", app.clock.now(), app.clock.now())
    app.store.inbox.add_source("old", app.clock.now(), app.clock.now())
    page = Site(app, Role.ADMIN, "ana").page()
    assert "it is not in the config any more" in page
    assert "posts that triage import brought in" in page


# What can be done


def test_poll_now(both: Service) -> None:
    """It is due at once, and in the trail."""
    site = Site(both, Role.TRIAGER, "tom")
    both.acme.post("mira@x.example", "sync is broken")
    answer = site.post("acme/poll")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sources#acme")
    assert row(both)["due_at"] == both.clock.now()
    assert trail(both)[-1] == ("tom", "asked for a poll", "acme")
    both.pass_(seconds=0)
    assert both.store.views.count() == 1


def test_a_poll_wakes_a_refused_account_and_not_one_whose_server_wants_rest(app: Service) -> None:
    """A token may have been renewed meanwhile; a 429 is a 429."""
    site = Site(app, Role.TRIAGER, "tom")
    app.acme.fail("fetch", Unauthorized("401"))
    app.pass_(seconds=11)
    assert site.post("acme/poll").status_code == 303
    app.pass_(seconds=1)
    assert row(app)["failures"] == 0
    app.acme.fail("fetch", RateLimited("429", after=900.0))
    app.pass_(seconds=11)
    refused = site.post("acme/poll")
    assert refused.status_code == 409
    assert "as its server asked; it can&#39;t be polled before that" in refused.text


def test_a_stopped_account_stays_so_until_somebody_lets_it_go_on(both: Service) -> None:
    """Neither polls nor a call under way nor a restart end it; what went there waits and goes out afterwards."""
    site = Site(both, Role.ADMIN, "ana")
    assert site.post("acme/stop", why="the account is in strange hands").status_code == 303
    assert "stopped by ana: the account is in strange hands" in site.page()
    both.acme.post("mira@x.example", "sync is broken")
    both.store.accounts.succeeded("source", "acme", both.clock.now())
    both.store.accounts.failed("source", "acme", "401", both.clock.now(), pause=True)
    both.store.accounts.failed("source", "acme", "429", both.clock.now(), pause=False, after=5.0)
    both.store.accounts.failed("source", "acme", "away", both.clock.now(), pause=False, down=True)
    both.store.accounts.unpause(both.clock.now())
    both.pass_(hours=1)  # longer than any rest of its own
    assert both.store.views.count() == 0
    assert row(both)["paused_until"] == STOPPED
    assert site.post("acme/stop").status_code == 409
    assert site.post("acme/poll").status_code == 409
    assert site.post("acme/resume").status_code == 303
    both.pass_(seconds=11)
    assert both.store.views.count() == 1
    assert site.post("acme/resume").status_code == 409
    assert [what for _, what, _ in trail(both)][-2:] == ["stopped an account", "let an account go on"]


def test_what_waits_for_a_stopped_tracker_goes_out_when_it_goes_on(both: Service) -> None:
    """Planned tickets wait, and are sent once."""
    site = Site(both, Role.ADMIN, "ana")
    both.pass_(seconds=11)
    both.store.accounts.know("tracker", ["tickets"])
    assert site.post("tickets/stop").status_code == 303
    both.acme.post("mira@x.example", "sync is broken")
    both.pass_(seconds=11)
    both.pass_(hours=5)
    assert both.tickets.tickets == []
    with both.store.database.read() as connection:
        assert connection.scalar(sa.select(actions.c.due_at).where(actions.c.via == "tickets")) == STOPPED
    assert site.post("tickets/resume").status_code == 303
    both.pass_(seconds=11)
    assert len(both.tickets.tickets) == 1


def test_what_the_server_holds_back_is_let_in(both: Service) -> None:
    """It is read soon, however old it is."""
    site = Site(both, Role.TRIAGER, "tom")
    both.acme.hold_back("mira@x.example", "sync is broken")
    both.acme.hold_back("mira@x.example", "it is still broken")
    both.pass_(seconds=11)
    assert "Held back by the server 2 mentions" in site.page()
    assert both.store.views.count() == 0
    assert site.post("acme/let-in").status_code == 303
    both.pass_(seconds=1)
    assert both.store.views.count() == 2
    assert "Held back by the server 0 mentions" in site.page()
    assert trail(both)[-1] == ("tom", "let held back mentions in", "acme: 1 authors")


def test_a_server_that_does_not_let_them_in_is_told_in_place(app: Service) -> None:
    """What it lacks, and nothing is changed."""
    site = Site(app, Role.TRIAGER, "tom")
    app.acme.fail("let_in", Unauthorized("403"))
    refused = site.post("acme/let-in")
    assert refused.status_code == 409
    assert "write:notifications" in refused.text
    assert trail(app) == [line for line in trail(app) if line[1] != "let held back mentions in"]
    assert site.post("tickets/let-in").status_code == 409


def test_htmx_gets_parts(app: Service) -> None:
    """What happened, where to look; a refusal changes nothing on the page."""
    site = Site(app, Role.TRIAGER, "tom")
    headers = {"Origin": ORIGIN, "X-CSRF-Token": site.token, "HX-Request": "true"}
    answer = site.browser.post("/sources/acme/poll", headers=headers)
    assert answer.status_code == 204
    assert "acme is polled now" in answer.headers["hx-trigger"]
    refused = site.browser.post("/sources/nobody/poll", headers=headers)
    assert refused.status_code == 409
    assert "no source, tracker or notifier" in refused.headers["hx-trigger"]


# A new token


MASTODON = """
mode: act
state: {folder}
store: "sqlite:///{folder}/triage.db"
sources:
  quay: {{platform: mastodon, url: "{url}", token: {pointer}}}
audit: {{share: 0.0}}
"""


def against(server: MastodonServer, folder: Path, pointer: str, env: dict[str, str] | None = None) -> Service:
    """The service with a Mastodon source whose token is `pointer`."""
    from tests.service import HandClock
    from triage import config as configuration
    from triage import tasks

    text = MASTODON.format(folder=folder, url=server.url, pointer=pointer)
    made = Service(configuration.parse(text, folder / "config.yaml", env or {}), clock=HandClock())
    tasks.know_sources(made)
    return made


def test_a_new_token_is_tried_before_it_takes_the_old_ones_place(mastodon_server: MastodonServer, tmp_path: Path) -> None:
    """A wrong one changes nothing; a right one is used at once, stands in the file alone, and is shown nowhere."""
    path = tmp_path / "token"
    path.write_text("old-and-dead-token\n")
    path.chmod(0o644)
    made = against(mastodon_server, tmp_path, "{file: token}")
    site = Site(made, Role.ADMIN, "ana")
    made.pass_(seconds=11)
    assert row(made, "quay")["refusals"] == 1
    refused = site.post("quay/token", token="another-wrong-token")
    assert refused.status_code == 409
    assert "the token does not work" in refused.text
    assert "another-wrong-token" not in refused.text
    assert path.read_text() == "old-and-dead-token\n"
    answer = site.post("quay/token", token=f"  {mastodon_server.token}\n")
    assert answer.status_code == 303
    assert path.read_text() == f"{mastodon_server.token}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir() if "token" in entry.name) == ["token"]
    made.pass_(seconds=11)
    assert row(made, "quay")["last_success_at"] == made.clock.now()
    assert mastodon_server.token not in site.browser.get("/sources").text
    assert mastodon_server.token not in str(trail(made))
    assert trail(made)[-1] == ("ana", "renewed a token", "quay")
    made.close()


@pytest.mark.parametrize("given", ["", "two words", "a\x00b", "ü", "x" * 5000])
def test_what_is_no_token_is_refused_without_asking(mastodon_server: MastodonServer, tmp_path: Path, given: str) -> None:
    """The server never hears of it."""
    (tmp_path / "token").write_text("old")
    made = against(mastodon_server, tmp_path, "{file: token}")
    before = len(mastodon_server.requests)
    assert Site(made, Role.ADMIN, "ana").post("quay/token", token=given).status_code == 409
    assert len(mastodon_server.requests) == before
    assert (tmp_path / "token").read_text() == "old"
    made.close()


def test_a_link_to_a_secret_stays_one(mastodon_server: MastodonServer, tmp_path: Path) -> None:
    """What it leads to is replaced."""
    (tmp_path / "secrets").mkdir()
    real, link = tmp_path / "secrets" / "real", tmp_path / "token"
    real.write_text("old")
    link.symlink_to(real)
    made = against(mastodon_server, tmp_path, "{file: token}")
    assert Site(made, Role.ADMIN, "ana").post("quay/token", token=mastodon_server.token).status_code == 303
    assert link.is_symlink()
    assert real.read_text().strip() == mastodon_server.token
    made.close()


def test_a_token_of_the_environment_is_changed_by_hand(mastodon_server: MastodonServer, tmp_path: Path) -> None:
    """The page says which variable, and takes none."""
    made = against(mastodon_server, tmp_path, "{env: QUAY_TOKEN}", {"QUAY_TOKEN": mastodon_server.token})
    site = Site(made, Role.ADMIN, "ana")
    made.pass_(seconds=11)
    assert "the environment variable QUAY_TOKEN" in site.page()
    assert 'name="token"' not in site.browser.get("/sources").text
    assert site.post("quay/token", token=mastodon_server.token).status_code == 409
    made.close()


def test_the_cost_is_what_the_platform_says_of_itself() -> None:
    """At the default, the figures at the head of the platform's file."""
    options = MastodonOptions.model_validate({"url": "https://a.example", "token": "abcd"})
    assert MastodonPlatform("quay", options).at_rest(20.0) == (432, 612)
    options = MastodonOptions.model_validate({"url": "https://a.example", "hashtags": ["#a", "b"]})
    assert MastodonPlatform("quay", options).at_rest(60.0) == (120, 120)
