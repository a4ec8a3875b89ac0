"""Around every request: its id, its log line, its metrics, the security headers, and what nobody foresaw.

The headers are those of reliability, section 7. An answer that brings a stricter Content-Security-Policy or a
Cache-Control of its own keeps it.
"""

from __future__ import annotations

import time
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import config, log, metrics
from app.web import errors
from app.web.access import PATTERN
from app.web.addresses import neighbourhood

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Asked every few seconds by machines: their lines would hide the others.
QUIET = ("/health", "/ready", "/metrics", "/static")


def bucket_origin(settings: config.Config) -> str:
    """Where browsers reach the bucket, as an origin; empty for the local folder."""
    if settings.storage_provider != "s3":
        return ""
    address = settings.s3_public_url or settings.s3_endpoint_url
    if address is None:
        host = f"s3.{settings.aws_region}.amazonaws.com"
        if settings.s3_path_style:
            return f"https://{host}"
        # Links of Amazon's first region name it or not, depending on the signature.
        return f"https://{settings.bucket}.{host} https://{settings.bucket}.s3.amazonaws.com"
    parts = urlsplit(address)
    host = parts.netloc if settings.s3_path_style else f"{settings.bucket}.{parts.netloc}"
    return f"{parts.scheme}://{host}"


def policy(settings: config.Config) -> str:
    """The Content-Security-Policy of every answer."""
    bucket = f" {origin}" if (origin := bucket_origin(settings)) else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self'{bucket}",
            f"media-src 'self'{bucket} blob:",
            f"connect-src 'self'{bucket}",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


class Around:
    """The outermost layer of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.policy = policy(config.get())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["address"] = neighbourhood(scope["client"][0]) if scope.get("client") else ""
        with log.bound(correlation_id=request_id):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started, status = time.perf_counter(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._complete(MutableHeaders(scope=message), scope, request_id)
                _count(scope, status, time.perf_counter() - started)
            await send(message)

        try:
            await self.app(scope, receive, with_headers)
        except Exception as error:
            if status:
                # The head is gone, so the caller can only be told by cutting the line; the server does that.
                raise
            request = Request(scope, receive, with_headers)
            response = await errors.answer(request, error)
            await response(scope, receive, with_headers)
        finally:
            _log(scope, status, time.perf_counter() - started)

    def _complete(self, headers: MutableHeaders, scope: Scope, request_id: str) -> None:
        headers.setdefault("content-security-policy", self.policy)
        headers["x-content-type-options"] = "nosniff"
        headers["referrer-policy"] = "same-origin"
        headers["cross-origin-opener-policy"] = "same-origin"
        headers["x-request-id"] = request_id
        headers.setdefault("cache-control", "no-store")
        if scope.get("scheme") == "https":
            headers["strict-transport-security"] = "max-age=31536000"


def _pattern(scope: Scope) -> str:
    """The route, never the address itself: that may be a signed link, and a metric must not grow with it."""
    if scope["path"].startswith("/sandbox"):
        return "/sandbox"
    return str(scope.get(PATTERN, "none"))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "other"


def _count(scope: Scope, status: int, seconds: float) -> None:
    metrics.http_requests.labels(_method(scope), _pattern(scope), str(status)).inc()
    metrics.http_request_seconds.labels(_method(scope), _pattern(scope)).observe(seconds)


def _log(scope: Scope, status: int, seconds: float) -> None:
    pattern, who = _pattern(scope), scope["state"].get("who")
    fields = {name: value for name, value in scope.get("path_params", {}).items() if isinstance(value, int)}
    if who is not None:
        fields |= {"user_id": who.person.id, "workspace_id": who.workspace.id}
    say = log.debug if pattern in QUIET or pattern == "/sandbox" else log.info
    say(
        "request",
        method=_method(scope),
        route=pattern,
        status=status,
        seconds=round(seconds, 4),
        address=scope["state"]["address"],
        **fields,
    )
