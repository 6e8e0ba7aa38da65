"""A boost all the way to a server: its ledger shows one, whatever became of the answers, also where a second one would be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Service, service
from triage.pipeline import boosting
from triage.platforms.mastodon import MastodonOptions, MastodonPlatform
from triage.sandbox.mastodon import MastodonServer

MORE = """
web: {hold: 0s}
boosts: {allies: ["*@tilde.example"]}
"""


@pytest.fixture(params=["4.4.2", "gotosocial 0.19"])
def app(request: pytest.FixtureRequest, tmp_path: Path, mastodon_server: MastodonServer) -> Iterator[Service]:
    mastodon_server.knobs.change(version=request.param)
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", rules=MORE, started=False)
    options = MastodonOptions.model_validate({"url": mastodon_server.url, "token": mastodon_server.token})
    made._made["platforms", "acme"] = MastodonPlatform("acme", options)
    made.pass_()
    yield made
    made.close()


def praised(app: Service, server: MastodonServer) -> tuple[int, str]:
    post = server.post("mira@tilde.example", "I love it")
    app.pass_()
    return app.store.desk.mention_id(post["uri"]), str(post["id"])


@pytest.mark.parametrize("fault", ["", "reset_after", "status:503", "empty", "html", "429:30"])
def test_one_boost_whatever_the_answer_was(app: Service, mastodon_server: MastodonServer, fault: str) -> None:
    """Accepted, accepted with the answer lost or unreadable, or told to wait."""
    mention, post = praised(app, mastodon_server)
    if fault:
        mastodon_server.faults.add(kind=fault, path="/reblog")
    boosting.ask(app, mention, "ana")
    for _ in range(8):
        app.pass_(seconds=60)
    assert [(one["by"], one["id"]) for one in mastodon_server.boosts] == [(mastodon_server.product, post)]
    (row,) = app.actions("boost")
    assert (row["state"], row["remote_id"], row["url"]) == ("done", post, app.store.desk.take(mention)[0].mention.url)


def test_what_was_not_made_is_tried_again_where_that_is_safe(app: Service, mastodon_server: MastodonServer) -> None:
    """The server failed before it did anything: it is looked for, then asked once more, or a person is, where a second would be another."""
    mention, _ = praised(app, mastodon_server)
    mastodon_server.faults.add(kind="status_before:503", path="/reblog")
    boosting.ask(app, mention, "ana")
    for _ in range(15):
        app.pass_(seconds=60)
    (row,) = app.actions("boost")
    safe = app.platform("acme").repeatable()
    assert (row["state"], len(mastodon_server.boosts)) == (("done", 1) if safe else ("parked", 0))


def test_what_the_team_boosted_at_the_server_is_not_boosted_again(app: Service, mastodon_server: MastodonServer) -> None:
    """From the same account, before the key was pressed."""
    mention, post = praised(app, mastodon_server)
    mastodon_server.react("reblog", mastodon_server.product, post)
    boosting.ask(app, mention, "ana")
    app.pass_()
    assert len(mastodon_server.boosts) == 1
    (row,) = app.actions("boost")
    assert (row["state"], row["attempt"]) == ("done", 0)
    assert not [one for one in mastodon_server.requests if one["path"].endswith("/reblog")]
