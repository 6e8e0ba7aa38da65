"""The tests are tested: each of these small mistakes in the program, made in a copy of it, must make a test fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORE, SHAPE, PLATFORMS = "tests/contract/test_store.py", "tests/unit/test_jira_shape.py", "tests/contract/test_platforms.py"


@dataclass(frozen=True)
class Patch:
    """In `file` replace the one place that reads `find`."""

    file: str
    find: str
    put: str


@dataclass(frozen=True)
class Mutant:
    """A mistake, and the test that notices it."""

    name: str
    patches: tuple[Patch, ...]
    killer: str


MUTANTS = (
    Mutant(
        "an outcome counts for any attempt",
        (Patch("triage/store/outbox.py", "actions.c.attempt == work.attempt, ", ""),),
        f"{STORE}::TestSQLite::test_a_stale_outcome_changes_nothing",
    ),
    Mutant(
        "the settle clock starts at the intent",
        (Patch("triage/store/outbox.py", '{"unknown_at": now, "looks": 0}', '{"unknown_at": work.intent_at, "looks": 0}'),),
        f"{STORE}::TestSQLite::test_the_settle_time_counts_from_the_doubt",
    ),
    Mutant(
        "the Jira client repeats a POST",
        (Patch("triage/trackers/jira.py", "max_retries=0,\n", "max_retries=3,\n"),),
        f"{SHAPE}::test_the_client_repeats_nothing_and_has_a_time_limit",
    ),
    Mutant(
        "the way out repeats a request",
        (Patch("triage/remote.py", "super().__init__(max_retries=0)", "super().__init__(max_retries=3)"),),
        f"{SHAPE}::test_the_client_repeats_nothing_and_has_a_time_limit",
    ),
    Mutant(
        "a poll asks by since_id, and trusts it",
        (
            Patch(
                "triage/platforms/mastodon.py",
                '{"min_id": min_id, "max_id": max_id, "limit": PAGE, ',
                '{"since_id": min_id, "max_id": max_id, "limit": PAGE, ',
            ),
            Patch("triage/platforms/mastodon_feeds.py", "if first is not None and not touches(page):", "if False:"),
        ),
        f"{PLATFORMS}::TestMastodon::test_a_burst_leaves_no_hole",
    ),
    Mutant(
        "a writing transaction begins with a plain BEGIN",
        (
            Patch(
                "triage/store/database.py",
                '"BEGIN IMMEDIATE" if connection.get_execution_options().get("triage_write") else "BEGIN"',
                '"BEGIN"',
            ),
        ),
        f"{STORE}::TestSQLite::test_writing_transactions_begin_immediately",
    ),
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program and its tests in another place, from which the tests import it."""
    folder = tmp_path_factory.mktemp("mutants")
    for name in ("triage", "tests"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("models", "pyproject.toml", "config.yaml"):
        (folder / name).symlink_to(ROOT / name)
    said = _python(folder, "-c", "import triage; print(triage.__file__)")
    assert said.stdout.strip() == str(folder / "triage" / "__init__.py"), said.stdout + said.stderr
    return folder


def test_the_unchanged_copy_passes(copy: Path) -> None:
    """Else a mutant's failure would say nothing."""
    said = _pytest(copy, list(dict.fromkeys(mutant.killer for mutant in MUTANTS)))
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_is_noticed(copy: Path, mutant: Mutant) -> None:
    """By a test that fails, not by one that can't be run."""
    try:
        for number, patch in enumerate(mutant.patches):
            text = (ROOT / patch.file).read_text()
            assert text.count(patch.find) == 1, (
                f"{patch.file} has {text.count(patch.find)} places that read {patch.find!r}; correct the mutant"
            )
            (copy / patch.file).write_text(text.replace(patch.find, patch.put))
            os.utime(copy / patch.file, (10**9 + number, 10**9 + number))  # Python knows a compiled file by this time and the size
        said = _pytest(copy, [mutant.killer])
        assert said.returncode == 1, f"nobody noticed that {mutant.name}:\n{said.stdout}"
        assert "FAILED" in said.stdout, said.stdout
    finally:
        for patch in mutant.patches:
            shutil.copy2(ROOT / patch.file, copy / patch.file)


def _pytest(folder: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return _python(folder, "-m", "pytest", "-q", "-x", "--no-header", *tests)


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Where Python is told to keep no compiled files, each run would compile all of them again.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH", "PYTHONDONTWRITE"))}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False)
