"""What every answer carries, so that a browser does nothing that our pages don't need."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# No inline script or style, nothing from outside, no frames, forms only to ourselves. Media of posts are links.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def headers_of(*, tls: bool) -> dict[str, str]:
    """What every answer carries; over TLS the promise to stay there too."""
    return HEADERS | ({"strict-transport-security": "max-age=31536000"} if tls else {})


class Headers:
    """Adds `headers_of` to every answer; and no cache keeps what is not a file of ours."""

    def __init__(self, app: ASGIApp, *, tls: bool) -> None:
        self._app = app
        self._headers = headers_of(tls=tls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asset = scope["path"].startswith("/assets/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                kept = asset and message["status"] in (200, 206, 304)
                headers.setdefault("cache-control", "public, max-age=31536000, immutable" if kept else "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)
