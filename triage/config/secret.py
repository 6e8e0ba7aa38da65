"""Values that the config file only points at, `{env: NAME}` and `{file: PATH}`, and passwords inside addresses."""

from __future__ import annotations

import os
import re
import tempfile
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr

from triage.config.errors import is_model, item_type, key_of, plain_types
from triage.config.lines import Key

LARGEST_SECRET_BYTES = 64 * 1024


class Secret(SecretStr):
    """A value that the file only points at.

    `pointer` is what the file says; `problem` tells why there is no value, else it is empty.
    """

    def __init__(self, value: str, pointer: Mapping[str, str], problem: str = "") -> None:
        super().__init__(value)
        self.pointer = dict(pointer)
        self.problem = problem


def absolute(value: str, base: Path) -> Path:
    """A path of the file: `~` is the home, a relative one starts at `base`."""
    return base / os.path.expanduser(value)


def pointer_in(value: Any) -> dict[str, str] | None:
    """`{env: NAME}` or `{file: PATH}`, else None."""
    if isinstance(value, dict) and len(value) == 1:
        [(key, target)] = value.items()
        if key in ("env", "file") and isinstance(target, str) and target:
            return value
    return None


def fetch(pointer: Mapping[str, str], base: Path, env: Mapping[str, str]) -> Secret:
    """What the pointer points at; where there is nothing, a `Secret` that tells the problem."""
    if "env" in pointer:
        name = pointer["env"]
        if value := env.get(name, "").strip():
            return Secret(value, pointer)
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):  # it may be the secret itself, so it is not repeated
            return Secret("", pointer, "what stands after env: names no variable that is set; write a name such as ACME_TOKEN")
        return Secret("", pointer, f"the environment variable {name} is not set; export it")
    path = absolute(pointer["file"], base)
    try:
        with path.open("rb") as stream:
            value = stream.read(LARGEST_SECRET_BYTES).decode("utf-8-sig").strip()
    except OSError as error:
        return Secret("", pointer, f"the file {path} can't be read ({error.strerror}); put the secret there")
    except ValueError:
        return Secret("", pointer, f"the file {path} is no text; put the secret there, and nothing else")
    return Secret(value, pointer, "" if value else f"the file {path} is empty; put the secret there")


def put(path: Path, value: str) -> None:
    """Replace a secret's file whole, readable by its owner alone: who reads it meanwhile gets the old secret or the new one.

    Raises `OSError`. A link stays one: what it leads to is replaced.
    """
    target = path.resolve()
    with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=f".{target.name}.", delete=False) as stream:  # mode 600
        try:
            stream.write(value + "\n")
            stream.flush()
            os.fsync(stream.fileno())
            os.replace(stream.name, target)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise


def resolved(value: Any, base: Path, env: Mapping[str, str]) -> Any:
    """`value` with every pointer in it replaced by a `Secret`."""
    if (pointer := pointer_in(value)) is not None:
        return fetch(pointer, base, env)
    if isinstance(value, dict):
        return {key: resolved(inner, base, env) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, base, env) for inner in value]
    return value


def renewed(value: Any, base: Path) -> Any:
    """`value` with what its secret files hold now. A file that can't be read at this moment, or is empty, changes nothing."""
    if isinstance(value, Secret) and "file" in value.pointer:
        now = fetch(value.pointer, base, {})
        return value if now.problem or now.get_secret_value() == value.get_secret_value() else now
    if isinstance(value, dict):
        return {key: renewed(inner, base) for key, inner in value.items()}
    if isinstance(value, list):
        return [renewed(inner, base) for inner in value]
    return value


def values_in(value: Any) -> Iterator[str]:
    """Every secret value inside."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from values_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from values_in(inner)


def passwords_in(url: Any) -> list[str]:
    """The passwords in an address, as they are written there and decoded."""
    if not isinstance(url, str):
        return []
    found = re.findall(r"^[\w+.-]+://[^:/@]*:(.+)@", url) + re.findall(r"[?&]password=([^&#]+)", url)
    return [word for password in found for word in (password, unquote(password))]


def for_model(raw: Mapping[str, Any], model: type[BaseModel], prefix: Key, found: list[tuple[Key, str]]) -> dict[str, Any]:
    """`raw` as the model wants it: `SecretStr` where it asks for one, plain values elsewhere. What can't be is added to `found`."""
    fields = {key: field for name, field in model.model_fields.items() for key in (name, key_of(name, field))}
    return {key: _for_type(value, fields[key].annotation, (*prefix, key), found) if key in fields else value for key, value in raw.items()}


def _for_type(value: Any, annotation: Any, key: Key, found: list[tuple[Key, str]]) -> Any:
    kinds = plain_types(annotation)
    wants_secret = any(isinstance(kind, type) and issubclass(kind, SecretStr) for kind in kinds)
    model = next((kind for kind in kinds if is_model(kind)), None)
    items = next((kind for kind in kinds if item_type(kind) is not None), None)
    if isinstance(value, SecretStr):
        if isinstance(value, Secret) and not wants_secret and any(_takes_mapping(kind) for kind in kinds):
            return value.pointer  # `labels: {env: prod}` points at nothing: it is a mapping
        if isinstance(value, Secret) and value.problem:
            found.append((key, value.problem))
        return SecretStr(value.get_secret_value()) if wants_secret else value.get_secret_value()
    if wants_secret and value is not None and model is None and items is None:
        found.append((key, "is a secret and has no place in this file; write {env: NAME} or {file: PATH}"))
        return SecretStr("")
    if isinstance(value, dict) and model is not None:
        return for_model(value, model, key, found)
    if isinstance(value, dict) and items is not None:
        return {name: _for_type(inner, item_type(items), (*key, name), found) for name, inner in value.items()}
    if isinstance(value, list) and items is not None:
        return [_for_type(inner, item_type(items), (*key, position), found) for position, inner in enumerate(value)]
    return value


def _takes_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return is_model(kind) or (isinstance(origin, type) and issubclass(origin, Mapping))
