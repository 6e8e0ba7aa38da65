"""The dependency check of `make lint`, the list of parts, and `make audit`: what each finds, and what it says then."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from requirements import audit, check, sbom
from requirements.lock import HERE, Pin, read

HASH = "0" * 64


def a_pin(name: str = "thing", version: str = "1.0", *, via: tuple[str, ...] = (check.US,), url: str = "", hashed: bool = True) -> Pin:
    """A line of a lock."""
    return Pin(name=name, version=version, marker="", url=url, hashes=(HASH,) if hashed else (), via=via, line=7)


# The locks


def test_what_is_locked_now_is_in_order() -> None:
    """The checkout itself passes its own check."""
    assert check.problems() == []


def test_a_lock_is_read_with_hashes_markers_and_users(tmp_path: Path) -> None:
    """As uv writes it: hashes on their own lines, one user on a line, several below each other."""
    path = tmp_path / "run.txt"
    path.write_text(
        f"one==1.0 ; python_full_version < '3.12' \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{HASH}\n"
        "    # via triage-inbox (pyproject.toml)\n"
        f"Two[extra]==2.0 \\\n    --hash=sha256:{HASH}\n    # via\n    #   one\n    #   triage-inbox (pyproject.toml:dev)\n"
    )
    one, two = read(path)
    assert (one.name, one.version, one.marker, one.hashes, one.via) == (
        "one",
        "1.0",
        'python_full_version < "3.12"',
        (HASH, HASH),
        ("triage-inbox",),
    )
    assert (two.name, two.version, two.via, two.line) == ("two", "2.0", ("one", "triage-inbox"), 5)


@pytest.mark.parametrize("line", ["--index-url https://else.example/simple", "-e ../else", "./else.whl"])
def test_a_lock_that_leads_elsewhere_is_refused(tmp_path: Path, line: str) -> None:
    """Another index or a local folder is no pin."""
    path = tmp_path / "run.txt"
    path.write_text(f"one==1.0 \\\n    --hash=sha256:{HASH}\n{line}\n")
    with pytest.raises(ValueError, match=r"run\.txt:3: .* is no pin"):
        read(path)


@pytest.mark.parametrize(
    ("pin", "said"),
    [
        (a_pin(url="https://else.example/thing.whl"), "comes from an address"),
        (a_pin(version=""), "is not pinned to one version"),
        (a_pin(hashed=False), "has no SHA-256"),
    ],
)
def test_a_line_that_vouches_for_nothing_is_named(pin: Pin, said: str) -> None:
    """With its place and the next step."""
    [problem] = check.pins("run.txt", [pin])
    assert problem.startswith("requirements/run.txt:7: thing ")
    assert said in problem
    assert "requirements/lock.sh" in problem


@pytest.mark.parametrize(
    ("pins", "wanted", "said"),
    [
        ([], ["thing>=1"], "thing is in pyproject.toml and not in the lock"),
        ([a_pin()], ["thing>=2"], "locked at 1.0, and pyproject.toml asks for >=2"),
        ([a_pin()], [], "nothing asks for thing any more"),
        ([a_pin(via=("gone",))], [], "nothing asks for thing any more"),
        ([a_pin(via=("thing",))], [], "nothing asks for thing any more"),
        ([a_pin(), a_pin("inner", via=("thing",))], ["Thing[fast]>=1; python_version > '3'"], ""),
    ],
)
def test_drift_between_lock_and_project_is_named(pins: list[Pin], wanted: list[str], said: str) -> None:
    """In both directions; a package that another one wants is no drift."""
    found = list(check.drift("run.txt", pins, wanted))
    assert len(found) == bool(said)
    assert said in "".join(found)


def test_what_is_tested_is_what_is_shipped() -> None:
    """A version that only the users get is named."""
    assert list(check.differing([a_pin()], [a_pin(), a_pin("other")])) == []
    [problem] = check.differing([a_pin()], [a_pin(version="1.1")])
    assert "thing 1.0 is shipped, but dev.txt tests another version" in problem


# Licences

KNOWN = check.Licences(
    allowed=frozenset({"MIT", "Apache-2.0"}),
    exceptions={"driver": {"LGPL-3.0-only": "a reason"}},
    packages={
        "thing": "MIT",
        "choice": "GPL-3.0-only OR MIT",
        "both": "MIT AND GPL-3.0-only",
        "copyleft": "GPL-3.0-only",
        "driver": "LGPL-3.0-only",
        "typo": "MITT",
    },
)


@pytest.mark.parametrize(
    ("name", "said", "families", "problem"),
    [
        ("thing", "MIT", (), ""),
        ("thing", "", ("MIT",), ""),
        ("thing", "", (), ""),
        ("choice", "MIT OR GPL-3.0-only", (), ""),
        ("driver", "LGPL-3.0-only", (), ""),
        ("new", "MIT", (), "its licence is unknown (it says MIT); read it"),
        ("new", "", (), "its licence is unknown (it says nothing of it)"),
        ("thing", "Apache-2.0", (), "it says Apache-2.0, and requirements/licences.toml says MIT"),
        ("thing", "", ("GPL",), "it says GPL, and requirements/licences.toml says MIT"),
        ("both", "", (), "the licence MIT AND GPL-3.0-only is not one that we ship with"),
        ("copyleft", "GPL-3.0-only", (), "[exceptions.copyleft] in requirements/licences.toml"),
        ("typo", "", (), "is no SPDX expression"),
    ],
)
def test_a_licence_is_known_and_allowed_or_named(name: str, said: str, families: tuple[str, ...], problem: str) -> None:
    """Package, licence and next step."""
    found = check.licence(a_pin(name), KNOWN, said, frozenset(families))
    assert problem in found
    assert bool(found) == bool(problem)
    assert not found or found.startswith(f"requirements/run.txt:7: {name} 1.0: ")


def test_each_exception_has_its_reason() -> None:
    """And what is allowed for all is permissive, or asks only for its own files' source."""
    known = check.licences()
    assert all(len(reason) > 20 for reasons in known.exceptions.values() for reason in reasons.values())
    assert not [one for one in known.allowed if one.startswith(("GPL", "AGPL", "LGPL", "SSPL", "BUSL"))]


def test_rows_of_packages_that_are_gone_are_named() -> None:
    """So that the table stays one of what is shipped."""
    assert len(list(check.unused(KNOWN, [a_pin()]))) == 5


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL"),
        ("GNU Affero General Public License v3", "AGPL"),
        ("GNU General Public License v3 (GPLv3)", "GPL"),
        ("License :: OSI Approved :: BSD License", "BSD"),
        ("New BSD", "BSD"),
        ("Apache 2.0", "Apache"),
        ("OSI Approved", ""),
    ],
)
def test_words_for_licences_are_understood(text: str, family: str) -> None:
    """The strictest word of a text counts."""
    assert check._family(text) == family


def test_a_package_that_is_not_allowed_ends_lint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command, where one licence is not allowed any more and one row is missing."""
    known = check.licences()
    packages = {name: row for name, row in known.packages.items() if name != "click"}
    changed = check.Licences(known.allowed - {"ISC"}, known.exceptions, packages)
    monkeypatch.setattr(check, "licences", lambda: changed)
    assert check.main() == 1
    said = capsys.readouterr()
    assert said.out == "Found 2 problems.\n"
    assert [re.sub(r":\d+", "", line).partition(";")[0] for line in said.err.splitlines()] == [
        f"requirements/run.txt: click {version('click')}: its licence is unknown (it says BSD-3-Clause)",
        f"requirements/run.txt: requests-oauthlib {version('requests-oauthlib')}: the licence ISC is not one that we ship with",
    ]


# The list of parts


def test_the_list_of_parts_is_valid_and_whole() -> None:
    """Valid by CycloneDX's own schema; each pin with its hashes, licence and users."""
    pins = read(HERE / "run.txt")
    text = sbom.made(pins, "1.2.3")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["component"]["version"] == "1.2.3"
    parts = {part["bom-ref"]: part for part in document["components"]}
    assert set(parts) == {f"{pin.name}=={pin.version}" for pin in pins}
    for pin in pins:
        part = parts[f"{pin.name}=={pin.version}"]
        assert {one["content"] for one in part["hashes"]} == set(pin.hashes)
        assert part["licenses"][0]["expression"]
        assert part["purl"] == f"pkg:pypi/{pin.name}@{pin.version}"
    needs = {row["ref"]: set(row.get("dependsOn", ())) for row in document["dependencies"]}
    reached, new = set[str](), {"triage-inbox==1.2.3"}
    while new:
        reached |= new
        new = {inner for ref in new for inner in needs[ref]} - reached
    assert reached == {*parts, "triage-inbox==1.2.3"}


def test_the_list_of_parts_is_the_same_each_time_and_another_for_another_lock() -> None:
    """No time and no chance in it, in another process either."""
    made = [
        subprocess.check_output([sys.executable, "-m", "requirements.sbom"], cwd=HERE.parent, env={"PYTHONHASHSEED": seed}) for seed in "12"
    ]
    assert made[0] == made[1]
    pins = read(HERE / "run.txt")
    assert json.loads(sbom.made(pins, "1"))["serialNumber"] != json.loads(sbom.made(pins[1:], "1"))["serialNumber"]


def test_the_list_of_parts_is_written_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into a file, whose folder is made; else to standard output."""
    assert sbom.main([str(tmp_path / "dist" / "parts.json")]) == 0
    assert "parts" in capsys.readouterr().out
    assert sbom.main([]) == 0
    assert capsys.readouterr().out == (tmp_path / "dist" / "parts.json").read_text()


# Known vulnerabilities

CLEAN = {"name": "thing", "version": "1.0", "vulns": []}
HOLED = {"name": "holed", "version": "2.0", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}]}
SKIPPED = {"name": "other", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ([CLEAN], 0, "1 packages looked up, no known vulnerability"),
        ([CLEAN, HOLED], 1, "holed 2.0: PYSEC-1, CVE-1, mended in 2.1"),
        ([SKIPPED, HOLED], 1, "1 of 2 packages could not be looked up"),
        ([CLEAN, SKIPPED], 2, "1 of 2 packages could not be looked up (other, …)"),
        ([], 2, "0 of 0 packages could not be looked up"),
    ],
)
def test_the_audit_passes_only_what_was_looked_up(answer: list[object], code: int, words: str) -> None:
    """A database that knows none of the packages is no pass, though pip-audit calls it one."""
    found, lines = audit.verdict(0, json.dumps({"dependencies": answer, "fixes": []}), "No known vulnerabilities found")
    assert found == code
    assert words in "\n".join(lines)


def test_the_audit_says_that_it_could_not_ask() -> None:
    """With the last thing that pip-audit said, and no traceback."""
    code, lines = audit.verdict(1, "", "Traceback …\nConnectionError: Failed to resolve 'index.example'\n")
    assert code == 2
    assert lines[0] == "the vulnerability database could not be asked: ConnectionError: Failed to resolve 'index.example'"
    assert "make audit" in lines[1]
