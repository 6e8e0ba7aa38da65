"""What the commands share: the app of this call, who the person is, and how things are printed."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from triage.app import App
    from triage.config import Config

as_json = click.option("--json", "as_json", is_flag=True, help="For machines.")
by = click.option("--by", default=None, help="Your name in the trail; else TRIAGE_USER, else the name you are logged in with.")


def load_config() -> Config:
    """The config that this call uses."""
    from triage import config

    path = os.environ.get("TRIAGE_CONFIG")
    return config.load(Path(path) if path else None)


@contextmanager
def opened(role: str = "cli") -> Iterator[App]:
    """The app for the length of a command."""
    from triage import logs
    from triage.app import App

    config = load_config()
    logs.setup("warning" if role == "cli" else config.log.level, as_json=config.log.format == "json")
    app = App(config, role=role)
    try:
        yield app
    finally:
        app.close()


def person(name: str | None) -> str:
    """Who does this."""
    if name or os.environ.get("TRIAGE_USER"):
        return name or os.environ["TRIAGE_USER"]
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def print_json(value: Any) -> None:
    """One document, times in ISO 8601."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def ago(moment: datetime | None) -> str:
    """How long ago, short."""
    if moment is None:
        return "never"
    return span((datetime.now(UTC) - moment).total_seconds())


def span(seconds: float) -> str:
    """A length of time, short."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def safe(text: str | None) -> str:
    """Text of other people's making, harmless to a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text or "")
