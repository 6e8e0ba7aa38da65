"""A wheel built from the checkout works where there is no checkout: model, migrations, sample config and sandbox world travel with it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.rig import CHECKOUT, Rig

# Put into the new environment: it writes down whatever is opened below the checkout, the packages that we borrow aside.
WATCH = """
import os, sys

def _watch(event, args, checkout={checkout!r} + os.sep, borrowed={borrowed!r} + os.sep, log={log!r}):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], str):
        if args[0].startswith(checkout) and not args[0].startswith(borrowed):
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
                file.write(args[0] + "\\n")

sys.addaudithook(_watch)
"""


def quietly(*argv: object, cwd: Path) -> str:
    """Run something to its end; standard output."""
    done = subprocess.run([str(word) for word in argv], cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{argv}:\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel. hatchling comes from the environment where it is installed, else from the package index, as in `make`."""
    here = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    quietly(sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", *here, "--wheel-dir", folder, CHECKOUT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, log: Path) -> Path:
    """A new environment that holds the wheel and sees the packages that are installed here, though not our editable self; its `bin`."""
    borrowed = sysconfig.get_path("purelib")
    quietly(sys.executable, "-m", "venv", "--without-pip", folder, cwd=wheel.parent)
    python = folder / "bin" / "python"
    quietly(sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=wheel.parent)
    site = Path(quietly(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (site / "borrowed.pth").write_text(f"{borrowed}\n")
    (site / "sitecustomize.py").write_text(WATCH.format(checkout=str(CHECKOUT), borrowed=sys.prefix, log=str(log)))
    return folder / "bin"


def test_an_installed_wheel_needs_no_checkout(new_rig: Callable[..., Rig], tmp_path: Path) -> None:
    """From an empty folder: version, classify, init, a whole pass against the sandbox, and the demo's world."""
    built = tmp_path / "built"
    built.mkdir()
    wheel = build(built)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {
        "triage/_config.yaml",
        "triage/_models/default/model.skops",
        "triage/_models/default/card.json",
        "triage/store/migrations/versions/v0001_first.py",
        "triage/store/migrations/versions/v0002_restore.py",
        "triage/store/migrations/versions/v0003_judgement.py",
        "triage/sandbox/world/posts.jsonl",
        "triage/ops/alerts.yml",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/")) or "__pycache__" in name]

    log, empty = tmp_path / "opened.txt", tmp_path / "empty"
    programs = install(wheel, tmp_path / "installed", log)
    empty.mkdir()
    rig = new_rig(program=[str(programs / "triage")])
    away = {"TRIAGE_CONFIG": ""}
    assert rig.triage("--version", cwd=empty, env=away).out.startswith("triage, version ")
    said = rig.triage("classify", "--format", "jsonl", cwd=empty, env=away, text='{"text": "It crashes when I open it"}\n')
    assert set(json.loads(said.out)) == {"label", "confidence", "scores", "sure", "language", "model"}
    rig.triage("init", "--yes", cwd=empty, env=away)
    assert "mode: observe" in (empty / "config.yaml").read_text()

    rig.triage("run", "--once", cwd=empty)
    rig.seen_before = len(rig.mastodon.ledger.entries())
    rig.mastodon.post("ann@else.example", "It is broken far from the checkout")
    rig.triage("run", "--once", cwd=empty)
    assert rig.checker().violations() == []
    assert len(rig.jira.tickets) == 1

    world = "from triage.sandbox.world import World; import triage; print(len(World.load().posts), triage.__file__)"
    count, _, where = quietly(programs / "python", "-c", world, cwd=empty).partition(" ")
    assert int(count) > 100
    assert where.startswith(str(tmp_path / "installed"))
    assert os.listdir(empty) == ["config.yaml"]
    assert not log.exists(), log.read_text()
    quietly(programs / "python", "-c", f"open({str(CHECKOUT / 'pyproject.toml')!r})", cwd=empty)
    assert "pyproject.toml" in log.read_text()  # so the watch does watch
