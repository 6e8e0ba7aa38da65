"""Sources, trackers and notifiers as the config names them, and their options, which each one's manifest tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from triage.config.errors import explain, nearest
from triage.config.lines import Key
from triage.config.secret import resolved
from triage.config.values import Count, Duration, Section, Text
from triage.mention import HUMAN

ROLES = {"sources": "platform", "trackers": "tracker", "notifiers": "notifier"}
"""The key that tells the type, of an entry of each of these sections."""
IMPORTED = "import"
"""The source of posts that came from a file."""
RESERVED = (IMPORTED, HUMAN, "archive")
"""Names that no account may have."""


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
    options: Mapping[str, Any] = field(default_factory=dict)
    interval: float | None = None
    brake: int | None = None
    section: str = "sources"


def connectors(
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
