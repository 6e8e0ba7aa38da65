"""Secrets and the options of connectors: where they may stand, and that they are shown nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from tests.unit.configs import CANARY, STEP, parse
from triage import config
from triage.config import Connector
from triage.errors import ConfigError


class Options(BaseModel):
    """What a connector of any kind may ask for."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(pattern="^https?://")
    token: SecretStr | None = None
    hashtags: list[str] = []
    labels: dict[str, str] = {}
    headers: dict[str, SecretStr] = {}
    user: str | None = None

    @model_validator(mode="after")
    def _pair(self) -> Options:
        if self.user == "alone":
            raise ValueError("user needs a token")
        return self


def options_of(text: str, env: dict[str, str] | None = None) -> Any:
    """The options of the source `acme` whose lines are `text`."""
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    read = parse(f"sources:\n  acme:\n    platform: any\n{lines}", env)
    return config.validate_options(read.sources["acme"], Options, read)


def options_refusal(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        options_of(text, env)
    *lines, step = str(caught.value).splitlines()
    assert step == STEP
    return lines


# Secrets


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """Both pointers work, at the top of the options and inside them; a file's path starts at the config."""
    (tmp_path / "token").write_text(f"{CANARY}\n")
    text = "sources:\n  acme:\n    platform: x\n    url: https://a\n    token: {file: token}\n    headers: {X-Key: {env: KEY}}\n"
    read = config.parse(text, tmp_path / "config.yaml", {"KEY": "open sesame"})
    options = config.validate_options(read.sources["acme"], Options, read)
    assert isinstance(options, Options)
    assert options.token is not None
    assert options.token.get_secret_value() == CANARY
    assert options.headers["X-Key"].get_secret_value() == "open sesame"
    assert config.secrets(read) == [CANARY, "open sesame"]


def test_a_secret_in_the_file_itself_is_refused_and_not_repeated() -> None:
    """The advice names both pointers, the message does not hold the value."""
    for value in (CANARY, "[1]", f"{{enw: {CANARY}}}"):
        assert options_refusal(f"url: https://a\ntoken: {value}") == [
            "config.yaml:5: sources.acme.token: is a secret and has no place in this file; write {env: NAME} or {file: PATH}"
        ]
    assert options_refusal(f"url: https://a\nheaders:\n  X-Key: {CANARY}") == [
        "config.yaml:6: sources.acme.headers.X-Key: is a secret and has no place in this file; write {env: NAME} or {file: PATH}"
    ]


def test_a_pointer_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    """The variable or the file, and what to do."""
    assert options_refusal("url: https://a\ntoken: {env: ACME_TOKEN}") == [
        "config.yaml:5: sources.acme.token: the environment variable ACME_TOKEN is not set; export it"
    ]
    (tmp_path / "empty").touch()
    (tmp_path / "picture").write_bytes(b"\xff\xfe\xff")
    for name, why in (
        ("none", "can't be read (No such file or directory); put the secret there"),
        ("empty", "is empty; put the secret there"),
        ("picture", "is no text; put the secret there, and nothing else"),
    ):
        path = tmp_path / name
        assert options_refusal(f"url: https://a\ntoken: {{file: {path}}}") == [f"config.yaml:5: sources.acme.token: the file {path} {why}"]


def test_a_token_that_was_pasted_as_a_variable_is_not_repeated() -> None:
    """`{env: the token itself}` is an easy mistake."""
    assert options_refusal(f"url: https://a\ntoken: {{env: {CANARY}}}") == [
        "config.yaml:5: sources.acme.token: what stands after env: names no variable that is set; write a name such as ACME_TOKEN"
    ]


def test_a_missing_secret_does_not_keep_the_file_from_loading() -> None:
    """`triage queue` needs no token; what needs it says so when it is built."""
    read = parse("sources: {acme: {platform: x, token: {env: NOT_SET}}}\n")
    assert config.secrets(read) == []


def test_a_pointer_serves_plain_options_and_mappings_stay_mappings() -> None:
    """An address may come from the environment, and a label may be called env."""
    options = options_of("url: {env: ADDRESS}\nlabels: {env: prod}", {"ADDRESS": "https://b", "prod": "never"})
    assert (options.url, options.labels) == ("https://b", {"env": "prod"})


def test_no_secret_shows_in_the_config_or_in_its_errors() -> None:
    """`repr`, and an error about another key of the same connector."""
    text = f"url: {CANARY}\nhashtag: [x]\ntoken: {{env: T}}"
    told = "\n".join(options_refusal(text, {"T": "secret-27182818"}))
    assert "secret-27182818" not in told
    assert CANARY not in told
    read = parse("sources: {acme: {platform: x, token: {env: T}}}\n", {"T": CANARY, "DATABASE_URL": f"postgresql://me:{CANARY}@host/db"})
    assert CANARY not in repr(read)
    assert CANARY not in str(read.sources)
    assert config.secrets(read) == [CANARY]


def test_passwords_in_addresses_count_as_secrets() -> None:
    """As they are written and decoded, wherever the address came from."""
    read = parse("broker: {env: BELL}\n", {"BELL": "redis://:p%40ss@host:6379/0", "DATABASE_URL": "postgresql://h/db?password=hidden1"})
    assert config.secrets(read) == ["hidden1", "p%40ss", "p@ss"]


# Options of connectors


def test_an_option_that_nobody_knows_is_told_with_the_nearest() -> None:
    """The connector's own keys and ours are both possible."""
    assert options_refusal("url: https://a\ntokn: {env: T}\nevry: 5s\nhashtags: acme") == [
        'config.yaml:5: sources.acme.tokn: unknown key; did you mean "token"?',
        'config.yaml:6: sources.acme.evry: unknown key; did you mean "every"?',
        "config.yaml:7: sources.acme.hashtags: must be a list",
    ]


def test_options_that_do_not_fit_together_are_told_at_the_connector() -> None:
    """A model's own check has no key of its own."""
    assert options_refusal("url: https://a\nuser: alone") == ["config.yaml:2: sources.acme: user needs a token"]


def test_a_model_that_ignores_unknown_keys_still_gets_none() -> None:
    """An author of a connector may forget `extra="forbid"`."""

    class Lax(BaseModel):
        url: str

    read = parse("sources: {acme: {platform: x, url: a, urll: b}}\n")
    with pytest.raises(ConfigError, match=re.escape('sources.acme.urll: unknown key; did you mean "url"?')):
        config.validate_options(read.sources["acme"], Lax, read)


def test_a_connector_carries_its_type_interval_and_brake() -> None:
    """Durations become seconds, the other keys are its options."""
    read = parse("sources: {acme: {platform: mastodon, every: 2m, brake: 5, url: u}}\ntrackers: {jira: {tracker: jira, project: P}}\n")
    assert read.sources["acme"] == Connector("acme", "mastodon", {"url": "u"}, 120.0, 5, "sources")
    assert read.trackers["jira"] == Connector("jira", "jira", {"project": "P"}, None, None, "trackers")
