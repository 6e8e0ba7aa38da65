"""What browsers, programs and monitors ask for: the human queue, its API, /metrics, /healthz."""

from __future__ import annotations

from importlib import import_module

from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.staticfiles import StaticFiles

from triage.app import App
from triage.web import access, faults
from triage.web.headers import Headers
from triage.web.render import FILES

# The rooms, each with `routes`, in the order in which their routes are tried.
ROOMS = (
    "health",
    "login",
    "api",
    "api_list",
    "api_items",
    "api_people",
    "api_sources",
    "api_privacy",
    "sources",
    "insights",
    "people",
    "me",
    "privacy",
    "item",
    "live",
    "reply",
    "boost",
    "queue",
)

LARGEST_BODY = 1_048_576
"""In bytes. A draft is a few thousand characters; who sends megabytes is told so."""


def create(app: App) -> FastAPI:
    """The web application of an `App`."""
    # The routes as their rooms made them: `include_router` would build each a second time, which takes longer than all the rest.
    routes = [route for name in ROOMS for route in import_module(f"triage.web.{name}").routes.router.routes]
    web = FastAPI(title="triage", docs_url=None, redoc_url=None, openapi_url=None, routes=routes)
    web.state.parts = app
    access.table(web)  # no route without a role
    for name, folder in FILES.items():
        # Only these: a page that is compressed together with its secrets gives them away by its length.
        web.mount(f"/assets/{name}", GZipMiddleware(StaticFiles(directory=folder)))
    faults.handle(web)
    web.add_middleware(faults.Sizes, largest=LARGEST_BODY)
    web.add_middleware(Headers, tls=access.is_tls(app.config.web))
    return web
