"""What a browser and a monitor ask for: /metrics, /healthz."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, RedirectResponse

from triage import metrics
from triage.app import App
from triage.errors import StoreError
from triage.store import health


def take_snapshot(app: App) -> metrics.Snapshot:
    """The service now, as metrics and health see it."""
    others = [("tracker", name) for name in app.trackers] + [("notifier", name) for name in app.notifiers]
    now = app.clock.now()
    stand = app.store.place.stand(now)
    seen = health.snapshot(app.store.database, now, mode=app.config.mode, sources=app.sources, others=others)
    seen = replace(seen, audits_waiting=app.store.samples.count(), earn_rules=app.store.samples.acting())
    return replace(seen, copied=stand.copied, restore_mode_until=stand.until)


def create(app: App) -> FastAPI:
    """The web application of an `App`."""
    web = FastAPI(title="triage", docs_url=None, redoc_url=None, openapi_url=None)

    @web.get("/metrics")
    def _metrics() -> Response:
        try:
            return Response(metrics.render(take_snapshot(app)), media_type=metrics.CONTENT_TYPE)
        except StoreError as error:
            return Response(f"{error}\n", status_code=503, media_type="text/plain")

    @web.get("/healthz")
    def _healthz() -> JSONResponse:
        try:
            fine, told = metrics.health(take_snapshot(app), metrics.Limits.for_sweep(app.config.delivery.sweep))
        except StoreError as error:
            return JSONResponse({"status": "down", "reasons": ["store"], "detail": str(error)}, status_code=503)
        return JSONResponse(told, status_code=200 if fine else 503)

    @web.get("/", include_in_schema=False)
    def _root() -> RedirectResponse:
        return RedirectResponse("/healthz")

    return web
