"""What is wrong with a configuration, in words: file, line, key and the nearest valid one.

    config.yaml:14: sources.acme.tokn: unknown key; did you mean "token"?

No value of a secret, and none of a key that we don't know, is ever repeated.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from triage.config.lines import Key, Places, spell
from triage.errors import ConfigError

NEAR = 65.0  # rapidfuzz's ratio from which a key is near enough to be meant
WORDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must hold indented `key: value` lines",
    "model_type": "must hold indented `key: value` lines",
    "model_attributes_type": "must hold indented `key: value` lines",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "missing": "is missing",
    "string_too_short": "must not be empty",
    "path_type": "must be a path",
}


def refuse(name: str, places: Places, found: Iterable[tuple[Key, str]]) -> ConfigError:
    """One error for all that was found: a line for each, in the order of the file, then the next step."""
    lines: dict[str, tuple[int, str]] = {}
    for key, text in found:
        if key and isinstance(key[-1], int) and key not in places:
            key = key[:-1]  # `label: praise` was made a list of one by us
        place = where(places, key)
        line = f"{name}:{place}: {spell(key)}: {text}" if isinstance(place, int) else f"{place}: {spell(key)}: {text}"
        lines.setdefault(line, (place if isinstance(place, int) else 0, line))
    step = f"Mend that in {name} and run `triage doctor`; docs/configuration.md explains every key."
    return ConfigError("\n".join([line for _, line in sorted(lines.values(), key=lambda pair: pair[0])] + [step]))


def where(places: Places, key: Key) -> int | str:
    """The line (or the environment variable) where `key` was set, or the nearest thing above it."""
    for length in range(len(key), -1, -1):
        if key[:length] in places:
            return places[key[:length]]
    return 1


def explain(error: ValidationError, model: type[BaseModel], prefix: Key = (), also: Sequence[str] = ()) -> list[tuple[Key, str]]:
    """Pydantic's findings as keys and words. `also` are keys that are valid at the top beside the model's own."""
    found = []
    for detail in error.errors(include_url=False, include_context=True):
        loc: Key = tuple(detail["loc"])
        valid = keys_at(model, loc[:-1]) + (list(also) if len(loc) == 1 else [])
        kind = detail["type"]
        if kind == "extra_forbidden":
            text = unknown(str(loc[-1]), valid)
        elif kind in ("literal_error", "enum"):
            text = one_of(detail["input"], options(str(detail.get("ctx", {}).get("expected", ""))))
        elif kind == "value_error":
            text = str(detail.get("ctx", {}).get("error", "is not valid"))
        else:
            message = detail["msg"]
            text = WORDS.get(kind) or re.sub(r"^\w+ should ", "must ", message)
        found.append(((*prefix, *loc), text))
    return found


def options(expected: str) -> list[str]:
    """The values that pydantic says it expected."""
    return re.findall(r"'([^']*)'", expected)


def unknown(key: str, valid: Sequence[str]) -> str:
    """What to say of a key that nobody knows."""
    if ":" in key:
        return "unknown key; write a space after the colon"
    return f"unknown key{nearest(key, valid)}"


def one_of(value: object, valid: Sequence[str]) -> str:
    """What to say of a value that is none of the possible ones."""
    if isinstance(value, str) and re.fullmatch(r"[\w.@-]{1,24}", value):
        return f'"{value}" is not one of {", ".join(valid)}{nearest(value, valid, others=False)}'
    return f"must be one of {', '.join(valid)}"


def nearest(word: str, valid: Sequence[str], *, others: bool = True) -> str:
    """`; did you mean "token"?`, else the list of what is possible (with `others`), else nothing."""
    from rapidfuzz import fuzz, process  # only a mistake pays for it

    hit = process.extractOne(word.lower(), list(valid), scorer=fuzz.ratio, score_cutoff=NEAR) if valid else None
    if hit is not None:
        return f'; did you mean "{hit[0]}"?'
    return f"; possible here: {', '.join(valid)}" if others and valid else ""


def key_of(name: str, field: FieldInfo) -> str:
    """The key of a model's field in the file."""
    return field.alias or name


def keys_at(model: type[BaseModel], loc: Key) -> list[str]:
    """The valid keys at a place inside a model; none where the place holds no model."""
    kinds: list[Any] = [model]
    for part in loc:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    return [key_of(name, field) for kind in kinds if is_model(kind) for name, field in kind.model_fields.items()]


def plain_types(annotation: Any) -> list[Any]:
    """An annotation without `Annotated`, its unions taken apart: `SecretStr | None` gives `[SecretStr, NoneType]`."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return plain_types(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in plain_types(part)]
    return [annotation]


def is_model(kind: Any) -> bool:
    """Is it a pydantic model?"""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def item_type(kind: Any) -> Any:
    """What a list or a mapping type holds; None for anything else."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return arguments[1]
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        return arguments[0]
    return None


def _inside(kind: Any, part: str | int) -> list[Any]:
    if is_model(kind):
        for name, field in kind.model_fields.items():
            if part in (name, key_of(name, field)):
                return plain_types(field.annotation)
        return []
    inner = item_type(kind)
    return plain_types(inner) if inner is not None else []
