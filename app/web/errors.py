"""The one place where a failure becomes an answer: a page, a small alert for htmx, or JSON.

A person reads a sentence, a code and the request's id; never a stack, a query or a token. What nobody foresaw
is logged with its stack under the same id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from app import log
from app.errors import HouseError, NotYet, Refused, Retryable
from app.web import pages
from app.web.access import HARMLESS, SPEAKS_JSON, Door

# Told when a failure knows no better time.
AGAIN_S = 5
# Not a registered status; nobody is left to read it, only the log line shows it.
CLIENT_LEFT = 499
UNFORESEEN = "Something went wrong on our side. It has been noted; please try again."
SENTENCES: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "This request cannot be understood."),
    401: ("not_signed_in", "Sign in first."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not answer this kind of request."),
    413: ("too_large", "This is too large."),
    415: ("wrong_type", "This kind of content is not understood here."),
    416: ("range", "There is no such part of this file."),
}


@dataclass(frozen=True)
class Problem:
    """What is told of a failure."""

    status: int
    code: str
    message: str
    fields: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


async def answer(request: Request, error: Exception) -> Response:
    """The answer to a failed request, in the form its caller reads."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_LEFT)
    told = problem(error)
    if told.status == 405 and (methods := _methods_of(request)):
        told.headers["Allow"] = ", ".join(sorted(methods))
    if told.status >= 500 and not isinstance(error, (Retryable, NotYet)):
        log.error("request failed", exc_info=error, code=told.code, status=told.status)
    elif told.status >= 500:
        log.warning("request put off", code=told.code, status=told.status, reason=told.message)
    if wants_json(request):
        return _json(told)
    if told.status == 401:
        return _to_sign_in(request)
    return _alert(request, told) if is_htmx(request) else _page(request, told)


def problem(error: Exception) -> Problem:
    """What is told of this failure; anything but our own kinds and plain HTTP ones is a 500."""
    if isinstance(error, HouseError):
        fields = error.fields if isinstance(error, Refused) else {}
        headers = {"retry-after": str(_wait_s(error))} if error.status in (429, 503) else {}
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        return Problem(error.status, error.code, log.redact(error.message), fields, headers)
    if isinstance(error, HTTPException):
        code, message = SENTENCES.get(error.status_code, ("error", "This cannot be done."))
        return Problem(error.status_code, code, message, {}, dict(error.headers or {}))
    return Problem(500, "unforeseen", UNFORESEEN)


def _methods_of(request: Request) -> set[str]:
    """What this address answers; starlette names the methods of the first of its routes only."""
    doors = (route for route in request.app.routes if isinstance(route, Door))
    fitting = (door for door in doors if door.path_regex.match(request.url.path))
    return {method for door in fitting for method in door.methods or ()}


def wants_json(request: Request) -> bool:
    """The API always, pages when they are asked for JSON and not for HTML."""
    path, accept = request.url.path, request.headers.get("accept", "")
    if request.scope.get(SPEAKS_JSON) or path.startswith("/api/"):
        return True
    return "application/json" in accept and "text/html" not in accept


def is_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def _wait_s(error: HouseError) -> int:
    """Whole seconds until it is worth trying again."""
    after_s = getattr(error, "after_s", None)
    if isinstance(error, NotYet) and error.until is not None:
        after_s = (error.until - datetime.now(UTC)).total_seconds()
    return max(1, math.ceil(after_s)) if after_s is not None else AGAIN_S


def _json(told: Problem) -> Response:
    body = {"error": {"code": told.code, "message": told.message, "fields": told.fields}}
    return JSONResponse(body, told.status, told.headers)


def _to_sign_in(request: Request) -> Response:
    """The sign-in page, which leads back to where the person wanted to be."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if is_htmx(request):
        # The page around the fragment is where they want to be; htmx opens the address as a whole page.
        around = pages.current_path(request)
        where = f"/sign-in?next={quote(around)}" if around else "/sign-in"
        return Response(status_code=401, headers={"hx-redirect": where})
    where = f"/sign-in?next={quote(here)}" if request.method in HARMLESS and here != "/" else "/sign-in"
    return RedirectResponse(where, 303)


def _alert(request: Request, told: Problem) -> Response:
    """A message for the corner of the page that is open; the rest of that page stays as it is."""
    headers = told.headers | {"hx-retarget": "#alerts", "hx-reswap": "innerHTML"}
    return _rendered(request, "_alert.html", told, headers)


def _page(request: Request, told: Problem) -> Response:
    return _rendered(request, "error.html", told, told.headers)


def _rendered(request: Request, template: str, told: Problem, headers: Mapping[str, str]) -> Response:
    try:
        return pages.page(
            request,
            template,
            status=told.status,
            headers=headers,
            problem=told,
            status_code=told.status,
            code=told.code,
            message=told.message,
            request_id=getattr(request.state, "request_id", ""),
        )
    # A broken template must not hide the failure it was to show.
    except Exception as error:
        log.error("the error page cannot be shown", exc_info=error)
        return HTMLResponse("<h1>Something went wrong.</h1>", told.status, headers)
