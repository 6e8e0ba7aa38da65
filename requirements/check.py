"""The part of `make lint` that looks at what we depend on: locks without drift, every file by its hash, licences that we may ship with.

It needs no network: it reads the locks, pyproject.toml, requirements/licences.toml and the metadata of what is installed.
Known vulnerabilities need a service, so `make audit` (requirements/audit.py) is a command of its own.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, ExpressionParseError, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements.lock import HERE, Pin, read

US = "triage-inbox"
RENEW = "run `sh requirements/lock.sh`"
SPDX = get_spdx_licensing()

# What packages write who don't use SPDX's words; the first word found in a text counts, so that "LGPL" is not taken for "GPL".
FAMILIES = {
    "affero": "AGPL",
    "agpl": "AGPL",
    "lesser": "LGPL",
    "lgpl": "LGPL",
    "general public": "GPL",
    "gpl": "GPL",
    "apache": "Apache",
    "bsd": "BSD",
    "isc": "ISC",
    "mozilla": "MPL",
    "mpl": "MPL",
    "mit": "MIT",
    "psf": "PSF",
    "python software foundation": "PSF",
    "proprietary": "Proprietary",
}


@dataclass(frozen=True, slots=True)
class Licences:
    """requirements/licences.toml: the SPDX ids that any package may have, those that one package may have, and each package's own."""

    allowed: frozenset[str]
    exceptions: Mapping[str, Mapping[str, str]]
    packages: Mapping[str, str]


def licences(path: Path = HERE / "licences.toml") -> Licences:
    """The file, read."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Licences(frozenset(data["allowed"]), data["exceptions"], data["packages"])


# Locks


def pins(name: str, found: list[Pin]) -> Iterator[str]:
    """What is wrong with single lines of a lock."""
    for pin in found:
        where = f"requirements/{name}:{pin.line}: {pin.name}"
        if pin.url:
            yield f"{where} comes from an address ({pin.url}), not from an index; name a released version and {RENEW}"
        elif not pin.version:
            yield f"{where} is not pinned to one version with ==; {RENEW}"
        elif not pin.hashes:
            yield f"{where} has no SHA-256, so a changed file would not be noticed; {RENEW}"


def drift(name: str, found: list[Pin], wanted: Iterable[str]) -> Iterator[str]:
    """Where a lock is no longer what pyproject.toml asks for: `wanted` holds its requirements."""
    direct = {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, wanted)}
    locked = {pin.name for pin in found}
    for key, requirement in direct.items():
        versions = [pin.version for pin in found if pin.name == key]
        if not versions:
            yield f"requirements/{name}: {key} is in pyproject.toml and not in the lock; {RENEW}"
        for version in versions:
            if version and not requirement.specifier.contains(version, prereleases=True):
                yield f"requirements/{name}: {key} is locked at {version}, and pyproject.toml asks for {requirement.specifier}; {RENEW}"
    for pin in found:
        via = set(pin.via)
        if pin.name not in direct and not via & (locked - {pin.name}):
            yield f"requirements/{name}:{pin.line}: nothing asks for {pin.name} any more; {RENEW}"


def differing(run: list[Pin], dev: list[Pin], name: str = "run.txt") -> Iterator[str]:
    """What is tested must be what is shipped."""
    tested = {(pin.name, pin.version) for pin in dev}
    for pin in run:
        if (pin.name, pin.version) not in tested:
            yield f"requirements/{name}:{pin.line}: {pin.name} {pin.version} is shipped, but dev.txt tests another version; {RENEW}"


# Licences


def told(name: str, version: str) -> tuple[str, frozenset[str]]:
    """What the installed package says of its licence: an SPDX expression or nothing, else families. Nothing of another version counts."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return "", frozenset()
    if metadata["Version"] != version:
        return "", frozenset()
    text = "".join(metadata.get_all("License") or ())
    expression = "".join(metadata.get_all("License-Expression") or ()) or (text if _is_spdx(text) else "")
    if expression:
        return expression, frozenset()
    words = [text] if 0 < len(text) < 60 and _family(text) else []  # some put the licence's whole text there
    words = words or [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
    return "", frozenset(family for word in words if (family := _family(word)))


def _is_spdx(text: str) -> bool:
    try:
        return bool(text) and len(text) < 60 and SPDX.parse(text, validate=True) is not None
    except (ExpressionError, ExpressionParseError):
        return False


def _family(text: str) -> str:
    return next((family for word, family in FAMILIES.items() if re.search(rf"\b{word}|{word}\b", text.lower())), "")


def licence(pin: Pin, known: Licences, said: str, families: frozenset[str]) -> str:
    """What is wrong with a package's licence, with the next step; empty where all is well. `said` and `families` are from `told`."""
    where = f"requirements/run.txt:{pin.line}: {pin.name} {pin.version}"
    row = known.packages.get(pin.name, "")
    if not row:
        hint = f" (it says {said or ' and '.join(sorted(families)) or 'nothing of it'})"
        return f"{where}: its licence is unknown{hint}; read it, and add it under [packages] in requirements/licences.toml"
    try:
        parsed = SPDX.parse(row, validate=True)
    except (ExpressionError, ExpressionParseError) as error:
        return f"{where}: {row!r} in requirements/licences.toml is no SPDX expression ({error}); correct it"
    if said and SPDX.parse(said) != parsed:
        return f"{where}: it says {said}, and requirements/licences.toml says {row}; read what changed, then correct the file"
    ids = {str(id_) for id_ in parsed.symbols}
    strange = sorted(family for family in families if not any(id_.startswith(family) for id_ in ids))
    if strange:
        return f"{where}: it says {' and '.join(strange)}, and requirements/licences.toml says {row}; read which, then correct it"
    if not _permitted(parsed, known.allowed | set(known.exceptions.get(pin.name, {}))):
        return (
            f"{where}: the licence {row} is not one that we ship with; use another package, or let it in with a reason: "
            f"[exceptions.{pin.name}] in requirements/licences.toml"
        )
    return ""


def _permitted(parsed: Any, allowed: Iterable[str]) -> bool:
    """Of alternatives one will do; of what holds together every part must be allowed."""
    if getattr(parsed, "operator", "").strip() == "OR":
        return any(_permitted(part, allowed) for part in parsed.args)
    if getattr(parsed, "operator", "").strip() == "AND":
        return all(_permitted(part, allowed) for part in parsed.args)
    return str(parsed) in allowed


def unused(known: Licences, run: list[Pin]) -> Iterator[str]:
    """Rows for packages that are gone."""
    names = {pin.name for pin in run}
    for name in sorted({*known.packages, *known.exceptions} - names):
        yield f"requirements/licences.toml: {name} is not in run.txt any more; take its lines out"


def problems() -> list[str]:
    """Everything that is wrong, one line each."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    shipped = [*project["project"]["dependencies"], *extras["postgres"]]
    try:
        locks = {name: read(HERE / name) for name in ("run.txt", "encoder.txt", "dev.txt", "build.txt")}
    except ValueError as error:
        return [f"requirements/{error}"]
    wanted = {
        "run.txt": shipped,
        "encoder.txt": extras["encoder"],
        "dev.txt": [*shipped, *extras["encoder"], *project["dependency-groups"]["dev"]],
        "build.txt": project["build-system"]["requires"],
    }
    known = licences()
    found: list[str] = []
    for name, lock in locks.items():
        found += [*pins(name, lock), *drift(name, lock, wanted[name])]
    both = [*locks["run.txt"], *locks["encoder.txt"]]
    found += [*differing(locks["run.txt"], locks["dev.txt"]), *differing(locks["encoder.txt"], locks["dev.txt"], "encoder.txt")]
    found += [problem for pin in both if (problem := licence(pin, known, *told(pin.name, pin.version)))]
    return [*found, *unused(known, both)]


def main() -> int:
    """Print what is wrong; the exit code."""
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    run = read(HERE / "run.txt") if not found else []
    print(f"Dependencies: {len({pin.name for pin in run})} packages, locked and licensed." if run else f"Found {len(found)} problems.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
