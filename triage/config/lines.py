"""YAML with its line numbers: every key of a file knows where it stands, so that an error can say so.

The dialect is YAML's core schema. `no` is text (a language), `1:30` and `2024-01-01` are text, and only `true` and
`false` are truth values. `007` is text, too: it may be an id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from triage.errors import ConfigError

Key = tuple[str | int, ...]
"""A path into the file: names of keys and positions in lists."""

Places = dict[Key, int | str]
"""Where a key was set: a line of the file, or the name of an environment variable."""

MOST_VALUES = 20_000  # aliases of aliases can make a small file describe billions


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own shape


def _number(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value, 0) if node.value[:2] in ("0x", "0o") else int(node.value)


for _tag, _pattern, _first in (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"(?:[-+]?(?:0|[1-9][0-9]{0,30})|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+)$", "-+0123456789."),
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _number)


def read(text: str, name: str) -> tuple[dict[str, Any], Places]:
    """The file's mapping as plain data, and the line of every key in it (from 1). `name` is what errors call the file.

    Raises `ConfigError` for what is no YAML, a key given twice, and a file that holds no mapping. Its message never
    repeats a value of the file.
    """
    node = _compose(text, name)
    if node is None:
        raise ConfigError(f"{name} is empty; run `triage init` to write a complete one")
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{name}:{_line(node)}: the file must hold lines like `mode: observe`; docs/configuration.md shows each key")
    places: Places = {}
    data = _Plain(name, places).value(node, ())
    return data, places


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _compose(text: str, name: str) -> yaml.Node | None:
    loader: Any = None
    try:
        loader = _Loader(text)
        return loader.get_single_node()  # type: ignore[no-any-return]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{name}:{line}: holds a character that no text file has; write the file anew as plain text (UTF-8)") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{name}:{line}: {_syntax(error)}; mend that line and run the command again") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"{name}: is nested too deeply; docs/configuration.md shows the shape of the file") from None
    finally:
        if loader is not None:
            loader.dispose()


def _syntax(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's reason in our words. What it quotes may be a password that begins with `*` or `&`, so quotes are cut."""
    problem = error.problem or "can't be read"
    if r"'\t'" in problem:
        return "a tab indents this line; YAML wants spaces"
    if "expected a single document" in (error.context or ""):
        return "a second document begins here (`---`); keep one"
    if "could not find expected ':'" in problem or "mapping values are not allowed" in problem:
        return "this is no valid YAML (a colon without a space after it, one too many, or a missing one, here or in the line above)"
    if "alias" in problem:
        return "an alias (`*name`) points at nothing; put quotes around a value that begins with `*`"
    plain = re.sub(r"'([^']*)'", lambda quote: quote[0] if len(quote[1]) < 2 or quote[1][0] == "<" else "…", problem)
    return f"this is no valid YAML ({plain})"


class _Plain:
    """Turns nodes into plain data and writes down where each key stood."""

    def __init__(self, name: str, places: Places) -> None:
        self.name = name
        self.places = places
        self.count = 0
        self.above: list[yaml.Node] = []
        self.scalars = _Loader("")

    def value(self, node: yaml.Node, key: Key) -> Any:
        self.count += 1
        if self.count > MOST_VALUES or any(node is one for one in self.above):
            raise ConfigError(f"{self.name}:{_line(node)}: aliases (`*name`) multiply without end here; write the values out")
        self.places.setdefault(key, _line(node))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        self.above.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*key, position)) for position, item in enumerate(node.value)]
            return dict(self.pairs(node, key))
        finally:
            self.above.pop()

    def pairs(self, node: yaml.Node, key: Key) -> Iterator[tuple[str, Any]]:
        first: dict[str, int] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigError(f"{self.name}:{_line(name)}: a key must be a plain word; mend that line and run the command again")
            if name.value in first:
                raise ConfigError(
                    f"{self.name}:{_line(name)}: {spell((*key, name.value))}: is given twice, first in line {first[name.value]}; keep one"
                )
            first[name.value] = _line(name)
            self.places[(*key, name.value)] = _line(name)
            yield name.value, self.value(value, (*key, name.value))

    def scalar(self, node: yaml.ScalarNode) -> Any:
        if not node.tag.startswith("tag:yaml.org,2002:"):
            raise ConfigError(f"{self.name}:{_line(node)}: a value can't begin with `!`; put quotes around it")
        try:
            return self.scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            raise ConfigError(f"{self.name}:{_line(node)}: the value can't be read; put quotes around it") from None


def scalar(text: str) -> Any:
    """What a value written on one line would be in the file: a number, a truth value, or the text as it is."""
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], []):
        if pattern.match(text) and not tag.endswith("null"):
            return _Loader("").construct_object(yaml.ScalarNode(tag, text))
    return text


def spell(key: Key) -> str:
    """A key as people write it: `sources.acme.token`, `rules[2].when`. What stands behind a colon is cut: it may be a secret."""
    words = ""
    for part in key:
        if isinstance(part, int):
            words += f"[{part}]"
        elif part != "[key]":  # pydantic's mark for "the key itself, not its value"
            words += ("." if words else "") + part.split(":")[0]
    return words
