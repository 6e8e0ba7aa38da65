"""What the commands share: the app of this call, who the person is, and how things are printed."""

from __future__ import annotations

import functools
import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triage.mention import Label

if TYPE_CHECKING:
    from triage.app import App
    from triage.classifier import Classifier
    from triage.config import Config

KEYS = {str(number): str(label) for number, label in enumerate(Label, 1)}
"""The keys with which people label."""
MEANINGS = """\
  1 bug report        something of ours does not do what it should
  2 support question  the writer wants something from us: help, an answer, a feature
  3 praise            it speaks well of us or of the product
  4 noise             none of these"""
by = click.option("--by", default=None, help="Your name in the trail; else TRIAGE_USER, else the name you are logged in with.")


def as_json(command: Callable[..., None]) -> Callable[..., None]:
    """The option `--json`, which every command has that prints for machines too; `--format json` says the same."""

    @click.option("--json", "as_json", is_flag=True, help="For machines.")
    @click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", hidden=True)
    @functools.wraps(command)
    def either(*arguments: Any, as_json: bool, form: str, **rest: Any) -> None:
        command(*arguments, as_json=as_json or form == "json", **rest)

    return either


def load_config() -> Config:
    """The config that this call uses."""
    from triage import config

    path = os.environ.get("TRIAGE_CONFIG")
    return config.load(Path(path) if path else None)


def config_if_any() -> Config | None:
    """The config where there is one: some commands work without."""
    return load_config() if os.environ.get("TRIAGE_CONFIG") or Path("config.yaml").exists() else None


def config_or_sample() -> Config:
    """The config, or the rules that ship."""
    from triage import config

    return config_if_any() or config.parse(config.sample())


def acting_model(folder: Path | None = None) -> Classifier:
    """The model in `folder`, else the one that acts here; which one it is is said on standard error. Writes nothing."""
    from triage.pipeline import learning

    found, acts = learning.in_use(config_if_any(), folder)
    if acts.fault:
        click.echo(safe(acts.fault), err=True)
    click.echo(f"model: {acts.version}, {safe(acts.origin)}", err=True)
    return found


def moment(text: str) -> datetime:
    """A moment from `7d`, `2h` or a date."""
    from triage.errors import UserError

    match = re.fullmatch(r"(\d{1,5})([smhdw])", text.strip())
    try:
        if match:
            unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[match[2]]
            return datetime.now(UTC) - timedelta(**{unit: int(match[1])})
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UserError(f"{text!r} is no time; write it like 7d, 12h or 2026-03-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


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


def label_words(label: str) -> str:
    """A label as people read it."""
    return label.replace("_", " ")


def key_of(keys: Collection[str], prompt: str, manual: str) -> str:
    """The next key that is one of `keys`: `?` shows the manual, and of another one it is said that it is no answer."""
    while (key := _pressed()) not in keys:
        click.echo(manual if key == "?" else f"{safe(key)!r} is no answer; {prompt}")
    return key


def _pressed() -> str:
    """One key, in small letters; from a pipe one character, blanks and line ends left out. Escape, and the end of the pipe, are `q`."""
    if sys.stdin.isatty():
        key: str = click.getchar()
        return "q" if key == "\x1b" else key.lower()
    while key := sys.stdin.read(1):
        if not key.isspace():
            return key.lower()
    return "q"
