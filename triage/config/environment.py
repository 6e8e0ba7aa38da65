"""What the environment says: it overrides the file, and `store` and `broker` may point into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triage.config import lines
from triage.config.errors import is_model, item_type, key_of, plain_types, unknown
from triage.config.lines import Key, Places
from triage.config.secret import absolute, fetch, passwords_in, pointer_in
from triage.config.sections import Config
from triage.mention import Label


def point(data: dict[str, Any], base: Path, env: Mapping[str, str], found: list[tuple[Key, str]]) -> None:
    """`store` and `broker` may point at their value, too; written out they must hold no password."""
    for key, variable in (("store", "DATABASE_URL"), ("broker", "REDIS_URL")):
        if env.get(variable) or env.get(f"TRIAGE_{key.upper()}"):
            data.pop(key, None)  # what the file says doesn't count
        elif (pointer := pointer_in(data.get(key))) is not None:
            secret = fetch(pointer, base, env)
            if secret.problem:
                found.append(((key,), secret.problem))
            data[key] = secret.get_secret_value() or None
        elif passwords_in(data.get(key)):
            found.append(((key,), f"holds a password; put the address into {variable}, or write {{env: NAME}} or {{file: PATH}}"))
            data[key] = None


def override(data: dict[str, Any], places: Places, env: Mapping[str, str], found: list[tuple[Key, str]]) -> None:
    """What the environment sets. An empty variable counts as none."""
    for variable, name in (("DATABASE_URL", "store"), ("REDIS_URL", "broker")):
        if env.get(variable):
            data[name], places[(name,)] = env[variable], variable
    sections = [key_of(name, field) for name, field in Config.model_fields.items()]
    for variable in sorted(env):
        if not variable.startswith("TRIAGE_") or not env[variable]:
            continue
        section, *inner = variable.removeprefix("TRIAGE_").lower().split("__")
        key: Key = (section, *inner)
        if section not in sections:
            if inner:  # two underscores are ours; other names that begin so may be somebody else's
                places[key] = variable
                found.append((key, unknown(section, sections)))
            continue
        places[key] = variable
        scalars = _scalars(section)
        if not inner and scalars == []:
            data[section] = lines.scalar(env[variable])
        elif len(inner) != 1 or not scalars:
            found.append((key, "can't be set by the environment; write it into the file"))
        elif inner[0] not in scalars:
            found.append((key, unknown(inner[0], scalars)))
        elif isinstance(data.setdefault(section, {}), dict):
            data[section][inner[0]] = lines.scalar(env[variable])


def _scalars(section: str) -> list[str] | None:
    """The keys of a section that the environment may set: none in a plain value, None in what it can't set at all."""
    if section in ("thresholds", "retention"):
        return list(Label)
    kinds = [plain_types(field.annotation)[0] for name, field in Config.model_fields.items() if key_of(name, field) == section]
    if is_model(kinds[0]):
        return [key_of(name, field) for name, field in kinds[0].model_fields.items()]
    return [] if item_type(kinds[0]) is None else None


def store_address(value: Any, folder: Any, base: Path, found: list[tuple[Key, str]]) -> str:
    """The address as SQLAlchemy wants it."""
    if value is None:
        return f"sqlite:///{folder / 'triage.db'}" if isinstance(folder, Path) else ""
    scheme, _, rest = value.partition("://") if isinstance(value, str) else ("", "", "")
    if scheme == "sqlite" and re.match(r"/[^?:]", rest):  # `sqlite:///:memory:` would forget everything
        return f"sqlite:///{absolute(rest[1:], base)}"
    if scheme in ("postgres", "postgresql", "postgresql+psycopg") and rest:
        return f"postgresql+psycopg://{rest}"
    found.append((("store",), "must begin with sqlite:/// and name a file, or with postgresql://"))
    return ""


def broker_address(value: Any, found: list[tuple[Key, str]]) -> str | None:
    """The address as the client of Redis wants it; None where an embedded server is meant."""
    if value is None or (isinstance(value, str) and re.match(r"(rediss?://[^/]|redis\+socket:///.)", value)):
        return value
    found.append((("broker",), "must begin with redis://, rediss:// or redis+socket:///"))
    return None
