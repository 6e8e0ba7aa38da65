"""The classifier is loaded before the first `w` asks for it, by what `w` itself calls."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from tests.web.site import Site
from triage.cli import cli
from triage.errors import ModelError
from triage.person import Role
from triage.web import warm


def looks(site: Site, loader: Thread | None) -> None:
    """Somebody logs in, looks at the list and twice at an item."""
    site.web.state.loader = loader
    site.app.acme.post("mira@x.example", "how do I sync?")
    site.app.pass_()
    ana = site.visitor(Role.VIEWER, "ana")
    for path in ("/", "/sources"):
        assert ana.get(path).status_code == 200
    assert loader is None or loader.ident is None
    for part in (False, True):
        assert ana.get("/mentions/1", part=part).status_code == 200


def test_the_first_look_at_an_item_loads_the_classifier_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing does so unasked: neither the list nor a process that keeps no loader."""
    asked: list[bool] = []
    monkeypatch.setattr(site.app, "classifier", lambda: asked.append(True))
    looks(site, None)
    assert asked == []
    loader = warm.loader(site.app)
    looks(site, loader)
    loader.join(20)
    assert asked == [True]


def test_a_model_that_cant_be_loaded_is_said_once_and_ends_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages go on."""

    def refuse() -> None:
        raise ModelError("no such file")

    monkeypatch.setattr(site.app, "classifier", refuse)
    loader = warm.loader(site.app)
    with capture_logs() as said:
        looks(site, loader)
        loader.join(20)
    assert [(one["log_level"], one["why"]) for one in said if "classifier" in one["event"]] == [("error", "no such file")]


def test_triage_web_keeps_a_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has not begun when it starts."""
    (tmp_path / "config.yaml").write_text(f"state: {tmp_path}/state\nstore: sqlite:///{tmp_path}/triage.db\n")
    served: list[Any] = []
    monkeypatch.setattr("triage.cli.service.check_port", lambda host, port: None)
    monkeypatch.setattr("uvicorn.Server.run", lambda server: served.append(server.config.app))
    monkeypatch.setenv("TRIAGE_CONFIG", str(tmp_path / "config.yaml"))
    done = CliRunner().invoke(cli, ["web"], catch_exceptions=False)
    assert done.exit_code == 0
    assert served[0].state.loader.ident is None
