"""One call of the platform's API, from the bearer to the envelope: what every endpoint has in common.

Order of the checks: armed faults, bearer (401), limit of the minute (429), scope (401), body (400), the act.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox import answering, faults, later
from app.sandbox.answering import (
    Caller,
    TooLarge,
    base_of,
    body_of,
    caller_of,
    expire_tokens,
    names_of,
    tagged,
    world_of,
)
from app.sandbox.faults import Fault
from app.sandbox.tiktok.creators import NAME
from app.sandbox.world import World, count_call, digest, within_limit

SCOPES = (
    "user.info.basic",
    "user.info.profile",
    "user.info.stats",
    "video.list",
    "video.publish",
    "video.upload",
)
# A word in the caption arms a fault for that post alone.
INIT_TAGS = {
    "#sandbox-error-before": Fault("error_before", "init"),
    "#sandbox-error-after": Fault("error_after", "init"),
    "#sandbox-drop-before": Fault("drop_before", "init"),
    "#sandbox-drop-after": Fault("drop_after", "init"),
    "#sandbox-slow": Fault("slow", "init", seconds=5.0),
    "#sandbox-rate-limit": Fault("rate_limit", "init"),
}
LAST_CHUNK_TAGS = {
    "#sandbox-drop-last-chunk": Fault("drop_after", "last_chunk"),
    "#sandbox-error-last-chunk": Fault("error_after", "last_chunk"),
}
OUTCOME_TAGS = {
    "#sandbox-internal": Fault("fail", reason="internal"),
    "#sandbox-spam-risk-text": Fault("fail", reason="spam_risk_text"),
    "#sandbox-slow-processing": Fault("processing_delay", seconds=30.0),
    "#sandbox-slow-moderation": Fault("moderation_delay", seconds=30.0),
}


class Problem(Exception):
    """The platform's no, in its envelope."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def answer(self) -> Response:
        return envelope({}, self.status, self.code, self.message)


def invalid(message: str, code: str = "invalid_params") -> Problem:
    return Problem(400, code, message)


@dataclass(frozen=True)
class Call:
    """One call whose caller is known. `base` is the simulator's address as the caller wrote it."""

    caller: Caller
    body: dict[str, Any]
    at: float
    base: str = ""
    kind: str = ""
    fields: str = ""


# What an endpoint does; gives the `data` of the envelope.
Act = Callable[[World, Call], Awaitable[dict[str, Any]]]
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Entry:
    fault: Fault | None
    caller: Caller | None
    within_limit: bool


def log_id() -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime()) + secrets.token_hex(8).upper()


def envelope(data: dict[str, Any], status: int = 200, code: str = "ok", message: str = "") -> Response:
    return JSONResponse(
        {"data": data, "error": {"code": code, "message": message, "log_id": log_id()}},
        status,
        headers={"cache-control": "no-store"},
    )


def endpoint(
    step: str,
    act: Act,
    *,
    any_scope: tuple[str, ...] = (),
    per_minute: int | None = None,
    for_app: bool = False,
    kind: str = "",
) -> Handler:
    """The handler of one bearer endpoint. `per_minute` counts per grant, or for the whole app."""

    async def handler(request: Request) -> Response:
        world = world_of(request)
        await later.settle(world)
        try:
            raw = await body_of(request)
        except TooLarge:
            return invalid("The request body is too large.").answer()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        at = world.clock()
        limit = (per_minute, for_app)
        entry = await world.write(_enter, world, step, token if scheme == "Bearer" else "", limit, at, raw)
        caller = entry.caller

        async def acted() -> Response:
            try:
                if caller is None:
                    raise Problem(
                        401,
                        "access_token_invalid",
                        "The access token is invalid or not found in the request.",
                    )
                if not entry.within_limit:
                    raise too_fast()
                if any_scope and not caller.scopes.intersection(any_scope):
                    raise Problem(
                        401, "scope_not_authorized", f"The user did not authorize {' or '.join(any_scope)}."
                    )
                fields = request.query_params.get("fields", "")
                call = Call(caller, _parsed(request, raw), at, base_of(request), kind, fields)
                return envelope(await act(world, call))
            except Problem as problem:
                return problem.answer()

        async def put_off(due_at: float) -> None:
            # Of these endpoints only an init changes anything worth waiting for.
            if caller is not None and step == "init" and entry.within_limit:
                arguments = {"grant_id": caller.grant_id, "kind": kind, "raw": raw.decode(errors="replace")}
                await world.write(later.put, "init", due_at, arguments)

        return await under(world, entry.fault, acted, put_off)

    return handler


def too_fast() -> Problem:
    return Problem(429, "rate_limit_exceeded", "The API rate limit was exceeded. Please try again later.")


async def under(
    world: World,
    fault: Fault | None,
    acted: Callable[[], Awaitable[Response]],
    put_off: Callable[[float], Awaitable[None]] | None = None,
) -> Response:
    """Answer a call as the armed fault wants it, in this platform's envelope."""
    broken = envelope({}, 500, "internal_error", "Something went wrong on our side.")
    return await answering.under(world, fault, acted, put_off, broken=broken, limited=too_fast().answer())


def _enter(
    conn: sqlite3.Connection,
    world: World,
    step: str,
    token: str,
    limit: tuple[int | None, bool],
    at: float,
    raw: bytes,
) -> Entry:
    count_call(conn, NAME, step)
    row = conn.execute("SELECT * FROM access_tokens WHERE digest = ?", (digest(token),)).fetchone()
    caller = caller_of(conn, world, row["grant_id"]) if row else None
    names = names_of(caller.creator, caller.open_id) if caller else ()
    fault = faults.take_line(conn, NAME, (step,), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        row, fault = None, None
    if fault is None and step == "init":
        fault = next(iter(tagged(INIT_TAGS, _title(raw))), None)
    if row is None or row["expires_at"] <= at:
        caller = None
    per_minute, for_app = limit
    fits = True
    acts = fault is None or fault.fault not in ("drop_before", "error_before", "rate_limit")
    if caller and per_minute and acts:
        key = f"{step}|{caller.app.client_key}|{'' if for_app else caller.grant_id}"
        fits = within_limit(conn, key, per_minute, at)
    return Entry(fault, caller, fits)


def _title(raw: bytes) -> object:
    try:
        post = json.loads(raw)["post_info"]
        return f"{post.get('title', '')} {post.get('description', '')}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _parsed(request: Request, raw: bytes) -> dict[str, Any]:
    content_type = request.headers.get("content-type", "")
    if raw and content_type.partition(";")[0].strip().lower() != "application/json":
        raise invalid("Content-Type must be application/json; charset=UTF-8.")
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise invalid("The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    return body
