"""Logging: one line an event, secrets masked, nothing of a post able to forge a line or move the cursor."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from triage.remote import redact


def _plain(value: Any) -> Any:
    """Strings are put on one line, redacted, and freed of control characters."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else " " for c in redact(value))
    if isinstance(value, int | float | bool) or value is None:
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {_plain(str(k)): _plain(v) for k, v in value.items()}
    return _plain(str(value))


def _quoted(line: str) -> str:
    """A line of a traceback, marked as one: an error's text can hold line ends, and must not look like an event of its own."""
    return f"  | {' ' * (len(line) - len(line.lstrip()))}{_plain(line)}"


def _harmless(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that cleans every field. A traceback keeps its lines."""
    for key, value in event.items():
        if key == "exception":
            event[key] = "\n".join(map(_quoted, str(value).splitlines()))
        else:
            event[key] = _plain(value)
    return event


def setup(level: str = "info", *, as_json: bool = False, name: str = "") -> None:
    """Send our own and the libraries' logs to standard error in one shape. `name` tells the process apart."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if not as_json else "iso", utc=as_json),
        structlog.processors.format_exc_info,
    ]
    render: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _named(name), _harmless, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("urllib3", "amqp", "kombu", "alembic", "celery.redirected", "httpx", "jira"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _named(name: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if name:
            event["process"] = name
        return event

    return add
