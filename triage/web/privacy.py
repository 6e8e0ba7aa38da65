"""What is held of one person whose posts came in: preview, export, erasure. For admins."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Form, Request
from fastapi.responses import Response

from triage.app import App
from triage.errors import UserError
from triage.person import Role
from triage.pipeline import privacy as verbs
from triage.store.privacy import UNREACHED
from triage.store.rows import dumps
from triage.web.access import Parts, Routes, Who
from triage.web.render import render

routes = Routes()


@routes.get("/privacy", Role.ADMIN)
def show_privacy(request: Request, app: Parts, handle: str = "") -> Response:
    """What is held of `handle`; without one, the question."""
    try:
        held, refused = (app.store.privacy.preview(handle) if handle.strip() else None), ""
    except UserError as error:
        held, refused = None, str(error)
    values: dict[str, Any] = {"handle": handle.strip(), "held": held, "refused": refused, "retention": kept_days(app)}
    return render(request, "privacy.html", receipt=None, unreached=UNREACHED, **values)


@routes.post("/privacy/export", Role.ADMIN)
def export(app: Parts, who: Who, handle: Annotated[str, Form()] = "") -> Response:
    """All of it as a JSON file; the trail notes that it was taken out."""
    document = app.store.privacy.export(handle, who.name, app.clock.now())
    return Response(dumps(document), media_type="application/json", headers={"Content-Disposition": 'attachment; filename="person.json"'})


@routes.post("/privacy/erase", Role.ADMIN)
def erase(request: Request, app: Parts, who: Who, handle: Annotated[str, Form()] = "", again: Annotated[str, Form()] = "") -> Response:
    """Erase it, when the handle was typed a second time; then a receipt."""
    typed_twice(handle, again)
    receipt = verbs.erase(app, handle, who.name)
    return render(request, "privacy.html", handle="", held=None, refused="", receipt=receipt, unreached=receipt.unreached, retention={})


def kept_days(app: App) -> dict[str, int]:
    """How many days posts are kept, by label."""
    return {str(label): int(age // 86400) for label, age in app.config.retention.items()}


def typed_twice(handle: str, again: str) -> None:
    """`UserError` unless both are the same handle: an erasure can't be undone."""
    if again.strip().removeprefix("@") != handle.strip().removeprefix("@"):
        raise UserError("the handle that you typed is another one; nothing was erased")
