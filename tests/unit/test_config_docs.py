"""The sample and docs/configuration.md hold every key, and nothing that is not true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from tests.unit.configs import parse
from triage import app, config
from triage.config import lines
from triage.config.connectors import KEYS, ROLES
from triage.mention import Label

# The sample


def uncommented(text: str) -> str:
    """The sample with every setting switched on: a `#` that a letter or an indented line follows."""
    return re.sub(r"(?m)^(\s*)#(?! \S|$)", r"\1", text)


def test_the_sample_loads_and_sends_nothing() -> None:
    """It is what `triage init` writes."""
    read = parse(config.sample(), {"MASTODON_TOKEN": "t", "JIRA_TOKEN": "t"})
    assert (read.mode, list(read.sources), list(read.trackers)) == ("observe", ["acme"], ["jira"])


def test_the_sample_shows_every_key_and_its_comments_tell_the_defaults() -> None:
    """With every comment switched on it still loads, and holds each key that there is."""
    data, places = lines.read(uncommented(config.sample()), "sample")
    shown = {".".join("*" if isinstance(part, int) else part for part in key) for key in places}
    shown = {re.sub(r"^(sources|trackers|notifiers|components|groups)\.\w+", r"\1.*", key) for key in shown}
    for key, _ in keys_of(config.Config):
        key = key.replace("[]", ".*").replace("<name>", "*").replace("<label>", "praise")
        assert key in shown, f"{key} is missing from the sample"
    full = parse(uncommented(config.sample()))
    plain = parse(config.sample())
    web = full.web.model_copy(update={"url": None, "proxies": ()})  # examples: they have no default
    assert (full.delivery, web, full.log, full.site, full.store) == (plain.delivery, plain.web, plain.log, plain.site, plain.store)
    assert data["state"] == ".state"


@pytest.mark.parametrize("text", [config.sample(), uncommented(config.sample())], ids=["as it is", "with every setting"])
def test_the_samples_options_are_those_of_the_real_connectors(text: str) -> None:
    """A person who fills in the two tokens has nothing to mend."""
    read = parse(text, {"MASTODON_TOKEN": "t", "JIRA_TOKEN": "t"})
    for kind, connectors in (("platforms", read.sources), ("trackers", read.trackers), ("notifiers", read.notifiers)):
        for connector in connectors.values():
            assert config.validate_options(connector, app.manifest(kind, connector.type).options, read)


# The documentation

DOCS = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def keys_of(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str]]:
    """Every key of a model and of the models in it, in order, with its description."""
    from triage.config.errors import is_model, item_type, key_of, plain_types

    rows = []
    for name, field in model.model_fields.items():
        key = prefix + key_of(name, field)
        kind = next(kind for kind in plain_types(field.annotation) if kind is not type(None))
        assert field.description, f"{key} has no description"
        rows.append((key, field.description))
        inner = item_type(kind)
        if key in KEYS:
            rows += keys_of(KEYS[key], f"{key}.<name>.")
        elif is_model(kind):
            rows += keys_of(kind, f"{key}.")
        elif is_model(inner):
            rows += keys_of(inner, f"{key}[].")
        elif kind is not inner and getattr(kind, "__origin__", None) is dict:
            rows.append((f"{key}.<{'label' if Label in get_args(kind) else 'name'}>", field.description))
    return rows


def documented() -> list[tuple[str, str, str]]:
    """The rows of the tables in docs/configuration.md: key, default, meaning."""
    return re.findall(r"(?m)^\| `([^`]+)` \| (.*?) *\| (.*) \|$", DOCS.read_text(encoding="utf-8"))


def test_every_key_is_documented_and_nothing_else() -> None:
    """The tables hold each key, in order, with the words of the model."""
    wanted = [(key, text) for key, text in keys_of(config.Config) if not key.endswith(("<label>", "<name>"))]
    assert [(key, text) for key, _, text in documented() if ": " not in key] == wanted


def test_the_documented_defaults_are_the_real_ones() -> None:
    """Writing each of them into a file changes nothing."""
    written = [(key, value.strip("`")) for key, value, _ in documented() if value.startswith("`") and re.fullmatch(r"\w+(\.\w+)?", key)]
    assert len(written) > 15
    lines: dict[str, list[str]] = {}
    for key, value in written:
        section, _, inner = key.rpartition(".")
        lines.setdefault(section, []).append(f"{inner}: {value}\n")
    text = "".join(lines.pop("")) + "".join(f"{section}:\n" + "".join(f"  {line}" for line in rows) for section, rows in lines.items())
    assert parse(text).model_dump() == parse("log: {level: info}\n").model_dump()


def test_every_option_of_every_connector_is_documented() -> None:
    """The tables of docs/configuration.md hold each option, with the words of its manifest's model; a new connector adds its rows."""
    rows = {(key, text) for key, _, text in documented() if ": " in key}
    wanted = {
        (f"{ROLES[section]} {name}: {key}", field.description)
        for section, kind in (("sources", "platforms"), ("trackers", "trackers"), ("notifiers", "notifiers"))
        for name in app.names(kind)
        for key, field in app.manifest(kind, name).options.model_fields.items()
    }
    missing = "\n".join(sorted(f"| `{key}` | | {text} |" for key, text in wanted - rows))
    assert not wanted - rows, f"add these rows:\n{missing}"
    assert not rows - wanted, "these rows belong to no option"


def test_every_signal_can_be_asked_for_by_a_rule() -> None:
    """The rules know the words that the signals' module finds, and no others."""
    from triage.config.rules import Signal
    from triage.signals import SIGNALS

    assert get_args(Signal) == SIGNALS
