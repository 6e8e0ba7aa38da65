"""`triage people` and `triage privacy`, in this process."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.service import service
from triage import cli
from triage.errors import UserError

Run = Callable[..., Result]
ANA = "ana@example.social"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls a command on a store in which Ana praised us."""
    config = tmp_path / "config.yaml"
    config.write_text(f"state: {tmp_path}/state\nstore: sqlite:///{tmp_path}/triage.db\n")
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    app.acme.post(ANA, "love \x1b[31mit")
    app.pass_()
    app.close()
    monkeypatch.setenv("TRIAGE_CONFIG", str(config))
    monkeypatch.setenv("TRIAGE_USER", "cleo")
    return lambda *words, **more: CliRunner().invoke(cli.cli, words, catch_exceptions=True, **more)


def test_people_from_the_command_line(run: Run, tmp_path: Path) -> None:
    """Invite, list, change, disable; a mistake says what to do next."""
    assert "nobody has a log-in yet" in run("people").output
    link = run("people", "invite", "admin").stdout.strip()
    assert link.startswith("http://127.0.0.1:8321/welcome?token=")
    from triage.clock import SystemClock
    from triage.store import Store

    store = Store(f"sqlite:///{tmp_path}/triage.db")
    store.people.come(link.partition("token=")[2], "ana", "Ana", "", SystemClock().now())
    store.close()
    assert isinstance(run("people", "role", "ana", "viewer").exception, UserError)
    assert isinstance(run("people", "disable", "nobody").exception, UserError)
    assert run("people", "role", "ana", "boss").exit_code == 2
    assert run("people", "logout", "ana").output == "0 sessions of ana ended\n"
    assert run("people", "password", "ana").stdout.startswith("http://127.0.0.1:8321/welcome?token=")
    (found,) = json.loads(run("people", "list", "--json").stdout)
    assert (found["name"], found["role"], found["disabled_at"]) == ("ana", "admin", None)
    assert run("people", "list").output.split()[:2] == ["ana", "admin"]


def test_privacy_from_the_command_line(run: Run, tmp_path: Path) -> None:
    """Preview, export into a file for its owner alone, erase after a question."""
    assert "1 mentions" in run("privacy", "preview", ANA).output
    assert json.loads(run("privacy", "preview", ANA, "--json").stdout)["counts"]["mentions"] == 1
    assert isinstance(run("privacy", "preview", "nobody@example.org").exception, UserError)
    out = tmp_path / "ana.json"
    assert run("privacy", "export", ANA, "--out", str(out)).exit_code == 0
    assert json.loads(out.read_text())["handle"] == ANA
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert isinstance(run("privacy", "export", ANA, "--out", str(out)).exception, UserError)
    assert json.loads(run("privacy", "export", ANA).stdout)["handle"] == ANA
    assert run("privacy", "erase", ANA, input="n\n").exit_code == 1
    assert "1 mentions" in run("privacy", "preview", ANA).output
    done = run("privacy", "erase", ANA, "--yes")
    assert done.exit_code == 0
    assert "receipt " in done.output
    assert "not reached:" in done.output
    assert isinstance(run("privacy", "preview", ANA).exception, UserError)
