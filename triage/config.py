"""One YAML file and the environment become one frozen `Config`; an error names file, line, key and the nearest valid key.

What stands later wins: the defaults below, the file, `DATABASE_URL` and `REDIS_URL`, then `TRIAGE_<KEY>__<KEY>`. Secrets
stand in neither: an option that is one is written `{env: NAME}` or `{file: PATH}`. What a platform's, tracker's or
notifier's own options may be is told by its manifest, so they are checked by `validate_options` when it is built.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import date, time
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PrivateAttr, TypeAdapter, ValidationError, model_validator

from triage import config_lines, config_secrets
from triage.config_errors import explain, is_model, item_type, key_of, nearest, plain_types, refuse, unknown
from triage.config_lines import Key, Places
from triage.config_rules import (
    Answer,
    Confidence,
    Count,
    Flag,
    Followers,
    Rule,
    Section,
    Share,
    Step,
    Style,
    Target,
    Text,
    When,
    Words,
    check,
    check_answers,
    check_approvers,
    check_style,
    listed,
)
from triage.config_secrets import Secret, absolute, fetch, for_model, passwords_in, pointer_in, resolved, values_in
from triage.errors import ConfigError
from triage.mention import HUMAN, Label

__all__ = [
    "Answer",
    "Audit",
    "Autonomy",
    "Boosts",
    "Confidence",
    "Config",
    "Connector",
    "Delivery",
    "Followers",
    "Log",
    "Rule",
    "Secret",
    "Step",
    "Style",
    "Web",
    "When",
    "load",
    "no_such_type",
    "parse",
    "renewed",
    "sample",
    "seconds",
    "secrets",
    "validate_options",
]

LARGEST_FILE_BYTES = 1024 * 1024
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
ROLES = {"sources": "platform", "trackers": "tracker", "notifiers": "notifier"}
RULES = TypeAdapter(tuple[Rule, ...])
IMPORTED = "import"  # the source of posts that came from a file
RESERVED = (IMPORTED, HUMAN, "archive")


def seconds(value: Any) -> Any:
    """`20s`, `5m`, `2h`, `7d`, `500ms` or a number of seconds, as seconds. Anything else is a `ValueError`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a time such as 20s, 5m, 2h or 7d")
    return float(match[1]) * UNITS[match[2]]


def _site(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}", value):
        raise ValueError("must be letters, digits and dashes, 32 at most, and begin with a letter or a digit")
    return value


def _origin(value: str) -> str:
    """An address without a path, as browsers write an origin. Passwords don't travel in the clear but to this machine itself."""
    try:
        parts = urlsplit(value.strip().lower().rstrip("/"))
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        raise ValueError("must be an address without a path, such as https://triage.example.com")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "[::1]"):
        raise ValueError("must begin with https://, or passwords travel in the clear; put a proxy with a certificate in front")
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, {"http": 80, "https": 443}[parts.scheme]) else "")


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            raise ValueError(f'"{value}" is no address or network; write it like 127.0.0.1 or 10.0.0.0/8') from None
    return values


def _clock(value: Any) -> Any:
    """`9:00` to `24:00`, which is midnight."""
    match = re.fullmatch(r"(\d{1,2}):(\d\d)", value) if isinstance(value, str) else None
    hour, minute = (int(match[1]), int(match[2])) if match else (99, 0)
    if (hour, minute) == (24, 0):
        return time(0)
    if hour > 23 or minute > 59:
        raise ValueError("must be a time of day such as 09:00 or 17:30")
    return time(hour, minute)


def _day(value: Any) -> Any:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("must be a day such as 2026-12-25") from None


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is no time zone that this machine knows; write one such as Europe/Berlin") from None
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=10 * 365 * 86400, allow_inf_nan=False)]
Hold = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=600, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=1)]


class Delivery(Section):
    """How actions are carried out, retried and doubted. The defaults suit real servers; tests scale them down."""

    settle: Duration = Field(
        default=60.0,
        description="How long the far side may take to show what it accepted. Doubts are looked into at 1, 3 and 10 times this for "
        "tracker tickets, at 0.5, 2 and 10 times for posts.",
    )
    retry_first: Duration = Field(default=5.0, description="The wait after the first attempt that was not accepted. It doubles each time.")
    retry_longest: Duration = Field(default=900.0, description="The longest wait between two attempts.")
    attempts_before_parking: Whole = Field(default=40, description="After so many attempts an action is parked for a person.")
    brake_per_hour: Whole = Field(default=30, description="More tickets an hour than this for one source are parked, with an alert.")
    sweep: Duration = Field(default=1.0, description="How often a worker looks for work that is due and that nobody rang for.")
    rescan: Duration = Field(default=86400.0, description="How often a source is read again from further back, for what came late.")
    reread_open: Duration = Field(
        default=3600.0, description="How often posts that are open or younger than a week are read again, for edits and deletions."
    )
    reread_old: Duration = Field(default=86400.0, description="How often older posts are read again.")
    poison_attempts: Whole = Field(default=2, description="A post whose worker died so many times while it was processed is quarantined.")
    claim_seconds: Duration = Field(default=120.0, description="How long a worker may hold a claim before others ask whether it is alive.")
    batch: Whole = Field(default=500, description="How many mentions are processed together, at most.")
    threads: Whole = Field(default=8, description="How many far sides a worker talks to at once, each in a lane of its own.")
    hang: Duration = Field(
        default=120.0,
        description="A process of `triage up` that gives no sign of life for so long is replaced. Make it longer than any call (30s).",
    )
    drain: Duration = Field(
        default=1.0, description="The time between two of the actions that a long outage kept waiting, when their account is back."
    )


class Audit(Section):
    """How much of what a machine handled alone people are shown blind."""

    share: Share = Field(
        default=0.05, description="The share of what is handled without a person, drawn by lot, that `triage audit` shows; 0 shows nothing."
    )


class Autonomy(Section):
    """What a rule with `mode: earn` must show before it acts alone, and how many of its posts are drawn for that."""

    target: Target = Field(default=0.95, description="The precision that must be shown. A rule may have its own `target`.")
    confidence: Target = Field(default=0.95, description="How sure the one-sided lower bound of the precision is.")
    window: Whole = Field(default=300, description="How many of a rule's last audits count.")
    least: Whole = Field(default=20, description="With fewer audits than this no rule acts alone.")
    earning: Share = Field(default=1.0, description="The share of a rule's posts that is drawn for the audit while it suggests.")
    keeping: Share = Field(default=0.2, description="The same while it acts alone; at least `audit.share`.")


class Web(Section):
    """Where the pages are served."""

    host: Text = Field(default="127.0.0.1", description="The address to listen at.")
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = Field(default=8321, description="The port to listen at; 0 is any free one.")
    url: Annotated[Text, AfterValidator(_origin)] | None = Field(
        default=None,
        description="The address under which people reach the pages, behind a proxy. https:// makes the cookies secure. Without it "
        "the pages work on this machine alone.",
    )
    proxies: Annotated[Words, AfterValidator(_networks)] = Field(
        default=(), description="Addresses of proxies in front, whose word on a caller's address is taken."
    )
    idle: Duration = Field(default=43200.0, description="A session that nobody used for so long is over.")
    longest: Duration = Field(default=1209600.0, description="A session is over after so long, however much it is used.")
    claim: Duration = Field(default=600.0, description="Who answers an item and does not have it open for so long no longer holds it.")
    hold: Hold = Field(
        default=15.0, description="How long an answer waits before it is sent, so that it can be taken back; 0s sends at once."
    )
    deputy: Duration = Field(
        default=14400.0, description="An answer that waited so long for its approval may be let go by any approver or admin but its writer."
    )


class Boosts(Section):
    """Whose praise is shown to those who follow our account, and how often."""

    allies: Words = Field(
        default=(),
        description="Whole handles (`name@host`, `*` stands for anything) of those who agreed to be boosted: theirs go with one key. "
        "Of all others it is asked first.",
    )
    daily: Count = Field(default=5, description="The most boosts by one source within 24 hours; 0 boosts nothing.")


class TargetTimes(Section):
    """How soon mentions of a label and source should be answered and done. Times count working time alone."""

    label: Annotated[tuple[Label, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="One label or a list. Left out: any."
    )
    source: Annotated[tuple[Text, ...] | None, BeforeValidator(listed)] = Field(
        default=None, description="One of the `sources` or a list. Left out: any."
    )
    first_response: Duration | None = Field(default=None, description="The time until the first answer. Without it there is no target.")
    resolution: Duration | None = Field(
        default=None, description="The time until nothing about it is open any more. Without it there is no target."
    )


class Hours(Section):
    """When people work, which is the time that targets count."""

    days: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(min_length=1)] = Field(
        default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), description="The working days, mon to sun."
    )
    begins: Annotated[time, BeforeValidator(_clock)] = Field(default=time(0), alias="from", description="When work begins, such as 09:00.")
    ends: Annotated[time, BeforeValidator(_clock)] = Field(
        default=time(0), alias="to", description="When it ends, such as 17:30; 24:00 is midnight."
    )
    zone: Annotated[str, AfterValidator(_zone)] = Field(default="UTC", description="The time zone of these times, such as Europe/Berlin.")
    holidays: Annotated[tuple[Annotated[date, BeforeValidator(_day)], ...], BeforeValidator(listed)] = Field(
        default=(), description="Days off, such as 2026-12-25."
    )

    @model_validator(mode="after")
    def _forwards(self) -> Hours:
        if self.ends != time(0) and self.ends <= self.begins:
            raise ValueError("`to` must be later than `from`; a day's work ends at 24:00 at the latest")
        return self


class Log(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least level that is written.")
    format: Literal["text", "json"] = Field(default="text", description="text for people, json (one object a line) for machines.")


class SourceKeys(Section, extra="allow"):
    """The keys that every source has beside the options of its platform."""

    platform: Text = Field(description="The platform's name, such as mastodon.")
    every: Duration | None = Field(default=None, description="The time between two polls. Without it the platform's own default.")
    brake: Count | None = Field(default=None, description="The most tickets an hour for this source. Without it `delivery.brake_per_hour`.")


class TrackerKeys(Section, extra="allow"):
    """The key that every tracker has beside its own options."""

    tracker: Text = Field(description="The tracker's name, such as jira.")


class NotifierKeys(Section, extra="allow"):
    """The key that every notifier has beside its own options."""

    notifier: Text = Field(description="The notifier's name, such as alertmanager or webhook.")


KEYS: dict[str, type[Section]] = {"sources": SourceKeys, "trackers": TrackerKeys, "notifiers": NotifierKeys}
"""The keys of one entry of each of these sections."""


@dataclass(frozen=True, slots=True)
class Connector:
    """A source, tracker or notifier as the config names it.

    `type` is the name of its platform, tracker or notifier; `options` are its other keys as they stand in the file, with
    each `{env: …}` and `{file: …}` turned into a `Secret`. `interval` is in seconds and `brake` in tickets an hour, both
    for sources alone. `section` is sources, trackers or notifiers.
    """

    name: str
    type: str
    options: Mapping[str, Any] = dataclass_field(default_factory=dict)
    interval: float | None = None
    brake: int | None = None
    section: str = "sources"


class Config(Section):
    """Everything that can be set. Paths are absolute, times are in seconds."""

    site: Annotated[str, AfterValidator(_site)] = Field(
        default="triage",
        description="The name of this installation: letters, digits and dashes, 32 at most. It is part of every key, so set it once.",
    )
    mode: Literal["observe", "act"] = Field(
        default="observe", description="observe shows what would be done and sends nothing; act does it."
    )
    folder: Path = Field(
        default=Path(".state"),
        alias="state",
        description="The folder for the database, locks and sockets. A relative path starts at the config file's folder.",
    )
    store: str = Field(
        default="",
        repr=False,
        description="The database: `sqlite:///file` or `postgresql://…`. Without it `triage.db` in the state folder. "
        "`DATABASE_URL` overrides it.",
    )
    broker: str | None = Field(
        default=None,
        repr=False,
        description="The Redis-protocol server: `redis://…`, `rediss://…` or `redis+socket:///path`. Without it an embedded one. "
        "`REDIS_URL` overrides it.",
    )
    model: Path | None = Field(
        default=None,
        description="The folder of a classifier, which then acts whatever was promoted. "
        "Without it the promoted one, else the one that ships.",
    )
    thresholds: dict[Label, Share] = Field(
        default_factory=dict,
        description="The confidence from which a label counts as sure, by label, 0 to 1. Without it those on the classifier's card.",
    )
    components: dict[str, Words] = Field(
        default_factory=dict,
        description="The parts of the product, each with the words that speak of it: whole words, whatever their case; a `*` at the end "
        "takes every word that begins so. Rules ask for them by `component`.",
    )
    sources: dict[str, Connector] = Field(default_factory=dict, description="Where mentions come from.")
    trackers: dict[str, Connector] = Field(default_factory=dict, description="Where tickets go. The first one gets the tickets.")
    notifiers: dict[str, Connector] = Field(default_factory=dict, description="Where alerts go. Each one gets every alert.")
    rules: tuple[Rule, ...] = Field(default=(), description="What to do with what; the first match wins. Without it those of the sample.")
    groups: dict[str, Words] = Field(
        default_factory=dict, description="Groups of people, by the names that they log in with, for `rules[].approve`: `legal: [ana, bo]`."
    )
    product: str = Field(default="", description="What you call what you make, for prepared answers.")
    answers: tuple[Answer, ...] = Field(default=(), description="Answers that were written beforehand.")
    check_links: Flag = Field(
        default=True, description="Whether the links of prepared answers are looked at once a day, so that none is sent that is gone."
    )
    style: tuple[Style, ...] = Field(default=(), description="What the team's guide to writing advises against.")
    boosts: Boosts = Field(default=Boosts(), description="Praise that is boosted.")
    audit: Audit = Field(default=Audit(), description="The blind audit.")
    autonomy: Autonomy = Field(default=Autonomy(), description="When a rule with `mode: earn` acts alone.")
    retention: dict[Label, Duration] = Field(
        default_factory=dict,
        description="How long what was posted is kept, by label: later the text, the author and all that was written about it are erased, "
        "unless something of it is open. Without it everything is kept.",
    )
    delivery: Delivery = Field(default=Delivery(), description="How actions are carried out.")
    targets: tuple[TargetTimes, ...] = Field(default=(), description="How soon people should answer what; the first one that fits counts.")
    hours: Hours = Field(default=Hours(), description="When people work. Without it all time counts.")
    web: Web = Field(default=Web(), description="Where the pages are served.")
    log: Log = Field(default=Log(), description="What is logged.")

    _path: Path | None = PrivateAttr(None)
    _places: Places = PrivateAttr(default_factory=dict)

    @property
    def path(self) -> Path | None:
        """The file that this was read from; None where there was none."""
        return self._path


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
    data, places = config_lines.read(text, name)
    ours = [key_of(field, info) for field, info in Config.model_fields.items()]
    data = {key: value for key, value in data.items() if value is not None or key not in ours}  # all lines below `sources:` are comments
    found: list[tuple[Key, str]] = []
    if "rules" not in data:
        data["rules"] = _default_rules()
    _point(data, base, env, found)
    _override(data, places, env, found)
    for key in ("state", "model"):
        if isinstance(data.get(key, ".state"), str) and (key in data or key == "state"):
            data[key] = absolute(data.get(key, ".state"), base)
    data["store"] = _store(data.get("store"), data["state"], base, found)
    data["broker"] = _broker(data.get("broker"), found)
    sources = list(data["sources"]) if isinstance(data.get("sources"), dict) else []
    taken = set(RESERVED)
    for section in ROLES:
        data[section] = _connectors(section, data.get(section), taken, base, env, found)
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
    packaged = Path(__file__).with_name("_config.yaml")  # in a wheel; a checkout has it at the top
    return (packaged if packaged.exists() else Path(__file__).parents[1] / "config.yaml").read_text(encoding="utf-8")


def secrets(config: Config) -> list[str]:
    """Every secret value that the config holds, for `remote.keep_secret`: those pointed at, and the passwords in addresses."""
    connectors = [*config.sources.values(), *config.trackers.values(), *config.notifiers.values()]
    found = [value for connector in connectors for value in values_in(connector.options)]
    found += [*passwords_in(config.store), *passwords_in(config.broker)]
    return [value for value in dict.fromkeys(found) if value]


def renewed(connector: Connector, config: Config) -> Connector | None:
    """The connector with what its secret files hold now; None where that is what it has."""
    if not any(isinstance(value, Secret | dict | list) for value in connector.options.values()):
        return None
    base = (config.path.parent if config.path is not None else Path()).absolute()
    options = config_secrets.renewed(dict(connector.options), base)
    return None if list(values_in(options)) == list(values_in(connector.options)) else replace(connector, options=options)


def no_such_type(connector: Connector, known: Sequence[str], config: Config) -> ConfigError:
    """The error for a connector of a type that does not exist, with file, line and the nearest that does."""
    role = ROLES[connector.section]
    found = [((connector.section, connector.name, role), f'"{connector.type}" is no {role}{nearest(connector.type, known)}')]
    return refuse(str(config.path or "config.yaml"), config._places, found)


def validate_options(connector: Connector, options: type[BaseModel], config: Config) -> BaseModel:
    """The options of a connector as its manifest's model, secrets as `SecretStr`.

    Raises `ConfigError` with file, line and nearest key: for unknown keys, wrong values, a secret that stands in the
    file itself, and one that is not where the file points.
    """
    prefix: Key = (connector.section, connector.name)
    found: list[tuple[Key, str]] = []
    values = for_model(connector.options, options, prefix, found)
    ours = list(KEYS[connector.section].model_fields)
    fields = {key for name, field in options.model_fields.items() for key in (name, key_of(name, field))}
    if options.model_config.get("extra", "ignore") == "ignore":
        valid = [key_of(name, field) for name, field in options.model_fields.items()] + ours
        found += [((*prefix, key), unknown(key, valid)) for key in values if key not in fields]
    checked = None
    try:
        checked = options.model_validate(values)
    except ValidationError as error:
        said = {key for key, _ in found}
        found += [(key, text) for key, text in explain(error, options, prefix, ours) if key not in said]
    if found or checked is None:
        raise refuse(str(config.path or "config.yaml"), config._places, found)
    return checked


# Rules


@lru_cache(maxsize=1)
def _default_rules() -> Any:
    return config_lines.read(sample(), "the sample config")[0]["rules"]


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


# The environment


def _point(data: dict[str, Any], base: Path, env: Mapping[str, str], found: list[tuple[Key, str]]) -> None:
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


def _override(data: dict[str, Any], places: Places, env: Mapping[str, str], found: list[tuple[Key, str]]) -> None:
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
            data[section] = config_lines.scalar(env[variable])
        elif len(inner) != 1 or not scalars:
            found.append((key, "can't be set by the environment; write it into the file"))
        elif inner[0] not in scalars:
            found.append((key, unknown(inner[0], scalars)))
        elif isinstance(data.setdefault(section, {}), dict):
            data[section][inner[0]] = config_lines.scalar(env[variable])


def _scalars(section: str) -> list[str] | None:
    """The keys of a section that the environment may set: none in a plain value, None in what it can't set at all."""
    if section in ("thresholds", "retention"):
        return list(Label)
    kinds = [plain_types(field.annotation)[0] for name, field in Config.model_fields.items() if key_of(name, field) == section]
    if is_model(kinds[0]):
        return [key_of(name, field) for name, field in kinds[0].model_fields.items()]
    return [] if item_type(kinds[0]) is None else None


# Addresses and paths


def _store(value: Any, folder: Any, base: Path, found: list[tuple[Key, str]]) -> str:
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


def _broker(value: Any, found: list[tuple[Key, str]]) -> str | None:
    if value is None or (isinstance(value, str) and re.match(r"(rediss?://[^/]|redis\+socket:///.)", value)):
        return value
    found.append((("broker",), "must begin with redis://, rediss:// or redis+socket:///"))
    return None


# Sources, trackers, notifiers


def _connectors(
    section: str, raw: Any, taken: set[str], base: Path, env: Mapping[str, str], found: list[tuple[Key, str]]
) -> dict[str, Connector]:
    """The entries of a section. Accounts are known by their names alone, so that no two may share one: `taken` holds those before."""
    shape = f"must hold indented lines: a name, and below it `{ROLES[section]}: …` and its options"
    if raw is not None and not isinstance(raw, dict):
        found.append(((section,), shape))
    made = {}
    for name, keys in raw.items() if isinstance(raw, dict) else ():
        key: Key = (section, name)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", name):
            found.append((key, "a name must be letters, digits, dashes, dots and underscores, 40 at most"))
        elif name in taken:
            found.append((key, "this name is taken; give each source, tracker and notifier one of its own"))
        elif not isinstance(keys, dict):
            found.append((key, shape))
        elif (connector := _connector(section, name, keys, base, env, found)) is not None:
            made[name] = connector
        taken.add(name)
    return made


def _connector(
    section: str, name: str, raw: dict[str, Any], base: Path, env: Mapping[str, str], found: list[tuple[Key, str]]
) -> Connector | None:
    model, role = KEYS[section], ROLES[section]
    try:
        keys = model.model_validate(raw)
    except ValidationError as error:
        for key, text in explain(error, model, (section, name)):
            found.append((key, text + _meant(role, raw) if key[-1] == role and text == "is missing" else text))
        return None
    options = {key: resolved(value, base, env) for key, value in raw.items() if key not in model.model_fields}
    return Connector(
        name=name,
        type=getattr(keys, role),
        options=options,
        interval=getattr(keys, "every", None),
        brake=getattr(keys, "brake", None),
        section=section,
    )


def _meant(role: str, keys: Mapping[str, Any]) -> str:
    """Which of the keys was perhaps meant to be this one."""
    if any(key.startswith(f"{role}:") for key in keys):
        return "; write a space after the colon"
    near = next((key for key in keys if nearest(key, [role], others=False)), None)
    return f'; is "{near.split(":")[0]}" meant to be it?' if near else ""
