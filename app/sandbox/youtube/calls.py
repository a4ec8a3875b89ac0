"""One call of the Data API, from the bearer to the answer: what every endpoint has in common.

Order of the checks: armed faults, bearer (401), the project's quota (403, 429), scope (403), channel, the rest.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox import faults, later
from app.sandbox.answering import (
    Caller,
    TooLarge,
    base_of,
    body_of,
    caller_of,
    expire_tokens,
    under,
    world_of,
)
from app.sandbox.faults import Fault
from app.sandbox.world import World, count_call, digest
from app.sandbox.youtube import quota
from app.sandbox.youtube.channels import NAME, names_of
from app.sandbox.youtube.problems import (
    QUIET,
    Problem,
    backend,
    not_allowed,
    too_fast,
    unauthorized,
    used_up,
)

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Call:
    """One call whose caller is known and may make it. `base` is the simulator's address as the caller wrote it."""

    caller: Caller
    query: QueryParams
    headers: dict[str, str]
    raw: bytes
    at: float
    base: str = ""
    path: str = ""

    @property
    def body(self) -> dict[str, Any]:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.raw and kind != "application/json":
            raise Problem(400, "badRequest", "Content-Type must be application/json.", domain="global")
        try:
            body = json.loads(self.raw or b"{}")
        except ValueError:
            raise Problem(400, "parseError", "Parse Error", domain="global") from None
        if not isinstance(body, dict):
            raise Problem(400, "parseError", "The body must be a JSON object.", domain="global")
        return body


Act = Callable[[World, Call], Awaitable[Response]]


@dataclass(frozen=True)
class Step:
    """A call of the API: what faults name it, which scopes allow it (any one), which bucket it takes how much of."""

    name: str
    scopes: tuple[str, ...]
    bucket: str = "units"
    cost: int = 1
    most_body_bytes: int = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    fault: Fault | None
    caller: Caller | None
    fits: bool


def said(body: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status, headers=QUIET)


def endpoint(step: Step, act: Act) -> Handler:
    """The handler of one bearer endpoint."""

    async def handler(request: Request) -> Response:
        world = world_of(request)
        await later.settle(world)
        at = world.clock()
        try:
            raw = await body_of(request, step.most_body_bytes)
        except TooLarge:
            return Problem(413, "uploadTooLarge", "The request is too large.", domain="global").answer()
        entry = await world.write(_enter, world, step, bearer(request), at)

        async def acted() -> Response:
            try:
                allowed = _allowed(entry, step)
                call = Call(
                    allowed, request.query_params, dict(request.headers), raw, at, base_of(request),
                    request.url.path.removeprefix(request.scope.get("root_path", "")),
                )  # fmt: skip
                return await act(world, call)
            except Problem as problem:
                return problem.answer()

        wait_s = entry.fault.seconds if entry.fault else 0.0
        # What was cut off and takes effect later is of no consequence here: a session whose address nobody knows
        # leaves nothing behind, and a thumbnail may be set again at will.
        return await under(world, entry.fault, acted, broken=backend(wait_s).answer(), limited=_limited(step))

    return handler


def _limited(step: Step) -> Response:
    if step.name == "thumbnail":
        return Problem(
            429,
            "uploadRateLimitExceeded",
            "The channel has uploaded too many thumbnails recently. Please try the request again later.",
            domain="youtube.thumbnail",
        ).answer()
    return too_fast().answer()


def bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def caller_by(conn: sqlite3.Connection, world: World, token: str, at: float) -> Caller | None:
    """Whose access token this is; None when it is nobody's or no longer works."""
    row = conn.execute("SELECT * FROM access_tokens WHERE digest = ?", (digest(token),)).fetchone()
    if row is None or row["expires_at"] <= at:
        return None
    caller = caller_of(conn, world, row["grant_id"])
    return caller if caller and caller.creator.platform == NAME else None


def judged(
    conn: sqlite3.Connection,
    world: World,
    steps: tuple[str, ...],
    token: str,
    at: float,
    *,
    counted: tuple[str, ...] | None = None,
) -> tuple[Fault | None, Caller | None]:
    """Count a call under its names, and say which fault hits it and who makes it."""
    for step in steps if counted is None else counted:
        count_call(conn, NAME, step)
    caller = caller_by(conn, world, token, at)
    names = names_of(caller.creator) if caller else ()
    fault = faults.take_line(conn, NAME, steps, names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        return None, caller_by(conn, world, token, at)
    return fault, caller


def _enter(conn: sqlite3.Connection, world: World, step: Step, token: str, at: float) -> Entry:
    fault, caller = judged(conn, world, (step.name,), token, at)
    acts = fault is None or fault.fault not in ("drop_before", "error_before", "rate_limit")
    fits = True
    if caller is not None and acts:
        # Every request costs, an invalid one too (section 1); the project is known by its token.
        fits = quota.charge(conn, caller.app, step.bucket, step.cost, at)
    return Entry(fault, caller, fits)


def _allowed(entry: Entry, step: Step) -> Caller:
    if entry.caller is None:
        raise unauthorized()
    if entry.caller.app.more.get("api_disabled"):
        raise Problem(
            403,
            "accessNotConfigured",
            "YouTube Data API v3 has not been used in project 100200300400 before or it is disabled.",
            domain="usageLimits",
        )
    if not entry.fits:
        raise used_up(step.bucket)
    if not entry.caller.scopes.intersection(step.scopes):
        raise not_allowed()
    return entry.caller
