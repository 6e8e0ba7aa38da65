"""One YAML file and the environment become one frozen `Config`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from triage.config import lines
from triage.config.connectors import IMPORTED, RESERVED, ROLES, connectors
from triage.config.environment import broker_address, override, point, store_address
from triage.config.errors import explain, key_of, nearest, refuse
from triage.config.lines import Key
from triage.config.rules import Rule, check, check_answers, check_approvers, check_style
from triage.config.secret import absolute
from triage.config.sections import Config
from triage.errors import ConfigError

LARGEST_FILE_BYTES = 1024 * 1024
RULES = TypeAdapter(tuple[Rule, ...])


def load(path: Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Read the config file, `config.yaml` in the current folder for None. Raises `ConfigError` with all that is wrong with it."""
    file = Path("config.yaml") if path is None else path
    try:
        with file.open("rb") as stream:
            raw = stream.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        if path is None:
            raise ConfigError("no config.yaml here; run `triage init` to write one, or name another with --config") from None
        raise ConfigError(f"{file}: no such file; run `triage init` to write one") from None
    except IsADirectoryError:
        raise ConfigError(f"{file}: is a folder; name the file in it, {file / 'config.yaml'}") from None
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({error.strerror}); check who may read it") from None
    if len(raw) > LARGEST_FILE_BYTES:
        raise ConfigError(f"{file}: is larger than 1 MiB, so it is no config file; name the right one with --config")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: is not UTF-8 text; save it as UTF-8, or name the right file with --config") from None
    return parse(text, file, env)


def parse(text: str, path: Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """What `load` makes of a file's text. Relative paths in it start at `path`'s folder."""
    env = os.environ if env is None else env
    name = str(path) if path is not None else "config.yaml"
    base = (path.parent if path is not None else Path()).absolute()
    data, places = lines.read(text, name)
    ours = [key_of(field, info) for field, info in Config.model_fields.items()]
    data = {key: value for key, value in data.items() if value is not None or key not in ours}  # all lines below `sources:` are comments
    found: list[tuple[Key, str]] = []
    if "rules" not in data:
        data["rules"] = _default_rules()
    point(data, base, env, found)
    override(data, places, env, found)
    for key in ("state", "model"):
        if isinstance(data.get(key, ".state"), str) and (key in data or key == "state"):
            data[key] = absolute(data.get(key, ".state"), base)
    data["store"] = store_address(data.get("store"), data["state"], base, found)
    data["broker"] = broker_address(data.get("broker"), found)
    sources = list(data["sources"]) if isinstance(data.get("sources"), dict) else []
    taken = set(RESERVED)
    for section in ROLES:
        data[section] = connectors(section, data.get(section), taken, base, env, found)
    try:
        rules = RULES.validate_python(data["rules"])
    except ValidationError:
        rules = ()  # the whole config's validation says what is wrong with them
    found += [(("rules", index), text) for index, text in check(rules)]
    found += _unknown_names(rules, "source", [*sources, IMPORTED])
    components = data["components"] if isinstance(data.get("components"), dict) else {}
    found += _unknown_names(rules, "component", list(components))
    found += _wordless(components)
    try:
        config = Config.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        raise refuse(name, places, [*found, *explain(error, Config)]) from None
    found += _never_earned(config)
    found += [(("rules", index), text) for index, text in check_approvers(config.rules, list(config.groups))]
    found += [(("answers", index), text) for index, text in check_answers(config.answers, config.product)]
    found += [(("style", index), text) for index, text in check_style(config.style)]
    found += _aimless(config, [*sources, IMPORTED])
    if found:
        raise refuse(name, places, found)
    config._path, config._places = path, places
    return config


def sample() -> str:
    """The text of the complete, commented config: the template of `triage init` and the home of the default rules."""
    packaged = Path(__file__).parents[1] / "_config.yaml"  # in a wheel; a checkout has it at the top
    return (packaged if packaged.exists() else Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _default_rules() -> Any:
    return lines.read(sample(), "the sample config")[0]["rules"]


def _unknown_names(rules: Sequence[Rule], condition: str, names: Sequence[str]) -> Iterator[tuple[Key, str]]:
    """Names in a condition of a rule that the config gives to nothing."""
    for index, rule in enumerate(rules):
        for position, name in enumerate(getattr(rule.when, condition) or ()):
            if name not in names:
                yield ("rules", index, "when", condition, position), f'"{name}" is no {condition}{nearest(name, names)}'


def _wordless(components: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Components that no post can speak of."""
    for name, words in components.items():
        listed = words if isinstance(words, list) else [words]
        if not listed or any(isinstance(word, str) and not word.strip().strip("*").strip() for word in listed):
            yield ("components", name), "needs words with letters in them, such as [editor, canvas*]"


def _never_earned(config: Config) -> Iterator[tuple[Key, str]]:
    """Targets that even a window of nothing but right answers does not show."""
    rest = config.autonomy
    targets = {rule.target or rest.target for rule in config.rules if rule.mode == "earn"}
    if targets and rest.least > rest.window:
        yield ("autonomy", "least"), f"is above window ({rest.window}), so no rule can ever act alone"
    # Of n right answers out of n the lower bound is the n-th root of what is left to chance.
    wanted = max((math.ceil(math.log(1 - rest.confidence) / math.log(target)) for target in targets), default=0)
    if wanted > rest.window:
        text = f"{rest.window} audits can't show a precision of {max(targets):g}, even if all are right; it takes {wanted}"
        yield ("autonomy", "window"), text


def _aimless(config: Config, sources: Sequence[str]) -> Iterator[tuple[Key, str]]:
    """Targets that name no time, or sources that the config gives to nothing."""
    for index, target in enumerate(config.targets):
        if target.first_response is None and target.resolution is None:
            yield ("targets", index), "names no time; write first_response or resolution, such as 4h"
        for position, name in enumerate(target.source or ()):
            if name not in sources:
                yield ("targets", index, "source", position), f'"{name}" is no source{nearest(name, sources)}'
