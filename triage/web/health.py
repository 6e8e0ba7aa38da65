"""/metrics and /healthz: for Prometheus and for what restarts us; they tell numbers alone, so they are open."""

from __future__ import annotations

from dataclasses import replace

from fastapi import Response
from fastapi.responses import JSONResponse

from triage import metrics
from triage.app import App
from triage.errors import StoreError
from triage.store import health
from triage.web.access import OPEN, Parts, Routes

routes = Routes()


def take_snapshot(app: App) -> metrics.Snapshot:
    """The service now, as metrics and health see it."""
    others = [("tracker", name) for name in app.trackers] + [("notifier", name) for name in app.notifiers]
    now = app.clock.now()
    stand = app.store.place.stand(now)
    seen = health.snapshot(app.store.database, now, mode=app.config.mode, sources=app.sources, others=others)
    seen = replace(seen, audits_waiting=app.store.samples.count(), earn_rules=app.store.samples.acting())
    return replace(seen, copied=stand.copied, restore_mode_until=stand.until)


@routes.get("/metrics", OPEN)
def show_metrics(app: Parts) -> Response:
    """What Prometheus reads."""
    try:
        return Response(metrics.render(take_snapshot(app)), media_type=metrics.CONTENT_TYPE)
    except StoreError as error:
        return Response(f"{error}\n", status_code=503, media_type="text/plain")


@routes.get("/healthz", OPEN)
def show_health(app: Parts) -> JSONResponse:
    """Whether all is well, and if not, why."""
    try:
        fine, told = metrics.health(take_snapshot(app), metrics.Limits.for_sweep(app.config.delivery.sweep))
    except StoreError as error:
        return JSONResponse({"status": "down", "reasons": ["store"], "detail": str(error)}, status_code=503)
    return JSONResponse(told, status_code=200 if fine else 503)
