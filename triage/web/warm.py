"""The classifier is loaded in the background once somebody looks at an item, so that their first `w` need not wait for it.

Not at the start: a process that serves /metrics alone, or is stopped at once, needs none.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Thread

import structlog
from fastapi import Request

from triage.app import App

log = structlog.get_logger()


def loader(app: App) -> Thread:
    """What loads it, not started yet. A `w` that comes meanwhile waits for it, and loads nothing a second time."""
    return Thread(target=_load, args=(app,), name="classifier")


def begin(request: Request) -> None:
    """Start what `triage web` keeps for that, once; nothing where it keeps nothing."""
    thread: Thread | None = getattr(request.app.state, "loader", None)
    if thread is not None and thread.ident is None:
        with suppress(RuntimeError):  # another request was first
            thread.start()


def _load(app: App) -> None:
    try:
        app.classifier()
    except Exception as error:  # noqa: BLE001 - whatever it is, pages are served without it, and `w` says it
        log.error("the classifier can't be loaded; `w` will say so", why=str(error))
