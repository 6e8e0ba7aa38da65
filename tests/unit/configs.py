"""Configs for the tests: read as `config.yaml` of this folder, in an environment of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage import config
from triage.errors import ConfigError

CANARY = "canary-31415926"
STEP = "Mend that in config.yaml and run `triage doctor`; docs/configuration.md explains every key."
HERE = Path("config.yaml")


def parse(text: str, env: dict[str, str] | None = None) -> config.Config:
    return config.parse(text, HERE, env or {})


def refusal(text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, env)
    return str(caught.value)


def outcome(text: str) -> str:
    """The mode that a text sets, or what it is refused with."""
    try:
        return parse(text).mode
    except ConfigError as error:
        return str(error).strip()
