"""One call of the simulated Graph API, from the token to the answer: what every endpoint has in common.

Order of the checks: armed faults, token (190), the app's and the account's limits (4, 80002), scope (10 or 200), what
a tester's switch or caption wants, the act. Limits count every call of a living token, also a refused one.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.sandbox import faults, later
from app.sandbox.answering import Caller, base_of, caller_of, expire_tokens, names_of, under, world_of
from app.sandbox.faults import Fault
from app.sandbox.instagram import containers, problems
from app.sandbox.instagram.creators import CALLS_PER_HOUR, DAY_S, HOUR_S, NAME, RIGHTS, user_id
from app.sandbox.meta.envelope import (
    Limit,
    Problem,
    account_full,
    account_usage,
    app_full,
    app_usage,
    dead_token,
    fields_of,
    no_permission,
    said,
    token_of,
    unknown_object,
)
from app.sandbox.world import World, count_call, digest

VERSION = re.compile(r"^v\d{1,3}\.\d$")
# What a call is called besides, so that faults for all platforms hit the matching one here too.
ALSO = {
    "create": ("init",),
    "container": ("status",),
    "publish": ("last_chunk",),
    "me": ("user_info",),
    "limit": ("creator_info",),
}
# Lifetimes are floats of seconds: a token that ended this much before its time was ended by somebody.
EARLY_S = 1.0


@dataclass(frozen=True)
class Call:
    """One call whose caller is known. `node` is the id in the path; `base` the address as the caller wrote it."""

    caller: Caller
    login: str
    fields: dict[str, str]
    node: str
    at: float
    base: str = ""
    version: str = ""


# What an endpoint does; gives the body of the answer.
Act = Callable[[World, Call], Awaitable[dict[str, Any]]]
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Entry:
    """What was found out before the act: who calls, which fault or refusal hits, what the usage headers say."""

    fault: Fault | None
    caller: Caller | None
    refusal: Problem | None
    usage: dict[str, str]


def steps_of(step: str) -> tuple[str, ...]:
    return (step, *ALSO.get(step, ()))


def endpoint(step: str, act: Act, login: str, *, right: str = "basic", put_off_as: str = "") -> Handler:
    """The handler of one endpoint. `right` is what the token must be allowed; `put_off_as` names the act for later."""

    async def handler(request: Request) -> Response:
        world = world_of(request)
        await later.settle(world)
        version = request.path_params.get("version", "")
        try:
            if not VERSION.match(version):
                raise unknown_object(version)
            fields = await fields_of(request)
        except Problem as problem:
            return problem.answer()
        token, at = token_of(request.headers, fields), world.clock()
        node = request.path_params.get("node", "me")
        entry = await world.write(_enter, world, step, login, right, token, fields, at)
        caller = entry.caller

        async def acted() -> Response:
            try:
                if entry.refusal is not None:
                    raise entry.refusal
                assert caller is not None
                call = Call(caller, login, fields, node, at, base_of(request), version)
                if step in ("create", "publish", "limit", "list", "stories", "account_insights"):
                    _check_own(call)
                return said(await act(world, call), headers=entry.usage)
            except Problem as problem:
                return problem.answer(entry.usage)

        async def put_off(due_at: float) -> None:
            if caller is not None and entry.refusal is None and put_off_as:
                kept = {name: value for name, value in fields.items() if name != "access_token"}
                arguments = {"grant_id": caller.grant_id, "login": login, "node": node, "fields": kept}
                await world.write(later.put, put_off_as, due_at, arguments)

        broken = Problem(2, "Service temporarily unavailable", status=500, transient=True)
        return await under(
            world,
            entry.fault,
            acted,
            put_off,
            broken=broken.answer(entry.usage),
            limited=app_full().answer(entry.usage),
        )

    return handler


def _check_own(call: Call) -> None:
    if call.node not in ("me", user_id(call.caller.creator)):
        raise unknown_object(call.node)


def _enter(
    conn: sqlite3.Connection,
    world: World,
    step: str,
    login: str,
    right: str,
    token: str,
    fields: Mapping[str, str],
    at: float,
) -> Entry:
    for name in steps_of(step):
        count_call(conn, NAME, name)
    caller = holder_of(conn, world, token, login)
    names = names_of(caller.creator, caller.open_id) if caller else ()
    fault = faults.take_line(conn, NAME, steps_of(step), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        fault = None
    caller, refusal = judged(conn, world, token, login, at)
    usage: dict[str, str] = {}
    if caller is not None:
        usage, full = _used(conn, caller, at)
        refusal = full or _scope_problem(caller, right, login) or _wanted(conn, caller, step, fields)
        if fault is None and step in ("create", "publish"):
            fault = problems.tagged_fault(_caption(conn, caller, step, fields), step)
    return Entry(fault, caller, refusal, usage)


def holder_of(conn: sqlite3.Connection, world: World, token: str, login: str) -> Caller | None:
    """Whose token this is, dead or alive; None for one that never was on this host."""
    row = conn.execute(
        "SELECT a.grant_id FROM access_tokens a JOIN ig_tokens t ON t.digest = a.digest"
        " WHERE a.digest = ? AND t.login = ?",
        (digest(token), login),
    ).fetchone()
    return caller_of(conn, world, row["grant_id"]) if row else None


def judged(
    conn: sqlite3.Connection, world: World, token: str, login: str, at: float
) -> tuple[Caller | None, Problem | None]:
    """The caller of a token that works, or the refusal of one that does not (section 9, item 2)."""
    row = conn.execute(
        "SELECT a.grant_id, a.expires_at, t.ends_at FROM access_tokens a JOIN ig_tokens t ON t.digest = a.digest"
        " WHERE a.digest = ? AND t.login = ?",
        (digest(token), login),
    ).fetchone()
    if row is None:
        return None, dead_token(None)
    caller = caller_of(conn, world, row["grant_id"])
    if caller is None:
        return None, dead_token(458)
    if caller.creator.switches.dead:
        return None, dead_token(caller.creator.switches.dead)
    if row["expires_at"] <= at:
        return None, dead_token(463 if row["ends_at"] <= at + EARLY_S else 467)
    return caller, None


def _used(conn: sqlite3.Connection, caller: Caller, at: float) -> tuple[dict[str, str], Problem | None]:
    """The usage headers, this call included, and the refusal once a limit is used up (sections 7 and 9, item 8)."""
    per_hour = int(caller.app.more.get("instagram_calls_per_hour", CALLS_PER_HOUR))
    whole = Limit(f"ig-app|{caller.app.client_key}", per_hour, HOUR_S)
    own = Limit(f"ig-account|{caller.creator.id}", caller.creator.switches.calls_per_day, DAY_S)
    percent, own_percent = whole.take(conn, at), own.take(conn, at)
    minutes = own.minutes_left(conn, at) if own_percent > 100 else 0
    # The headers appear only after enough calls.
    usage = app_usage(percent) if percent >= 1 else {}
    if own_percent >= 1:
        usage |= account_usage(user_id(caller.creator), "instagram", own_percent, minutes)
    if percent > 100:
        return usage, app_full()
    return usage, account_full(80002) if own_percent > 100 else None


def _scope_problem(caller: Caller, right: str, login: str) -> Problem | None:
    own, of_facebook = RIGHTS[right]
    if login == "instagram":
        missing = own not in caller.scopes
        return Problem(10, f"(#10) Requires {own}", status=403) if missing else None
    needed = (of_facebook, "pages_read_engagement")
    return next((no_permission(scope) for scope in needed if scope not in caller.scopes), None)


def _wanted(conn: sqlite3.Connection, caller: Caller, step: str, fields: Mapping[str, str]) -> Problem | None:
    """The refusal that a switch of the account or a word of the caption asks for (section 9, item 10)."""
    found = problems.asked_for(caller.creator.switches.says, steps_of(step))
    if found is None and step in ("create", "publish"):
        found = problems.tagged_problem(_caption(conn, caller, step, fields), step)
    return found


def _caption(conn: sqlite3.Connection, caller: Caller, step: str, fields: Mapping[str, str]) -> str:
    if step == "create":
        return fields.get("caption", "")
    found = containers.mine(conn, caller, fields.get("creation_id", ""))
    return found.caption if found else ""


def picked(fields: Mapping[str, str], node: str, values: Mapping[str, Any], default: str) -> dict[str, Any]:
    """The fields asked for, `id` always; an unknown name fails the whole call (section 3)."""
    asked = [name.strip() for name in fields.get("fields", default).split(",") if name.strip()]
    for name in asked:
        if name not in values:
            raise problems.no_such_field(name, node)
    found = {name: values[name] for name in asked if values[name] is not None}
    return ({"id": values["id"]} if "id" in values else {}) | found


def listed(call: Call, path: str, items: list[dict[str, Any]], *, most: int = 100) -> dict[str, Any]:
    """A page of a list, with a cursor for the next one while there is more."""
    limit, after = call.fields.get("limit", "25"), call.fields.get("after", "0")
    if not limit.isdigit() or not after.isdigit():
        raise Problem(100, "(#100) limit and after must be what was given.")
    start, count = int(after), min(int(limit), most)
    page = items[start : start + count]
    found: dict[str, Any] = {"data": page}
    if page:
        found["paging"] = {"cursors": {"before": str(start), "after": str(start + len(page))}}
    if start + count < len(items) and page:
        found["paging"]["next"] = f"{call.base}{path}?limit={limit}&after={start + len(page)}"
    return found
