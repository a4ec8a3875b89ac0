"""Tokens: a code into a short one, that into a long one; what they are worth; ending them. Sheet, section 2.

Nothing rotates: an older token lives on beside a newer one until its time.
"""

from __future__ import annotations

import hmac
import secrets
import sqlite3
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.sandbox import faults, later
from app.sandbox.answering import expire_tokens, under, world_of
from app.sandbox.facebook.calls import VERSIONS, Call, caller_of
from app.sandbox.facebook.creators import NAME, creator_number, pages_of, user_id
from app.sandbox.faults import Fault
from app.sandbox.meta import envelope
from app.sandbox.meta.envelope import Problem
from app.sandbox.world import App, World, app_of, count_call, creator_of, digest, open_id

SHORT_S = 5400
LONG_S = 5_183_944
# A Page's token made with a long one does not end by time; one made with a short one ends with it.
FOR_EVER = 9_999_999_999.0


async def access_token(request: Request) -> Response:
    """Rows 2 and 3 of the sheet's section 1: by GET or POST, with the app's own id and secret."""
    world = world_of(request)
    await later.settle(world)
    if not VERSIONS.match(request.path_params["version"]):
        return Problem(2635, "(#2635) You are calling a version of the API that does not exist.").answer()
    try:
        fields = await envelope.fields_of(request)
    except Problem as problem:
        return problem.answer()
    at = world.clock()
    fault = await world.write(_enter, world, fields, at)

    async def acted() -> Response:
        try:
            return envelope.said(await world.write(_token, world, fields, at))
        except Problem as problem:
            return problem.answer()

    broken = Problem(2, "Service temporarily unavailable", status=500, transient=True).answer()
    # Nothing is lost by an exchange that never takes effect, so there is nothing to put off.
    return await under(world, fault, acted, broken=broken, limited=envelope.app_full().answer())


def _enter(conn: sqlite3.Connection, world: World, fields: Mapping[str, str], at: float) -> Fault | None:
    count_call(conn, NAME, "token")
    names: tuple[str, ...] = ()
    caller, _ = caller_of(conn, world, fields.get("fb_exchange_token", ""), at)
    if caller is not None:
        names = caller.names
    fault = faults.take_line(conn, NAME, ("token",), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        return None
    return fault


def _token(conn: sqlite3.Connection, world: World, fields: Mapping[str, str], at: float) -> dict[str, Any]:
    app = app_of(conn, world.settings, fields.get("client_id", ""))
    if app is None:
        raise Problem(101, "Error validating application. Cannot get application info due to a system error.")
    if not hmac.compare_digest(app.client_secret.encode(), fields.get("client_secret", "").encode()):
        raise Problem(1, "Error validating client secret.")
    kind = fields.get("grant_type", "authorization_code")
    if kind == "fb_exchange_token":
        return _exchanged(conn, world, app, fields.get("fb_exchange_token", ""), at)
    if kind == "authorization_code":
        return _from_code(conn, world, app, fields, at)
    if kind == "client_credentials":
        return {"access_token": f"{app.client_key}|{app.client_secret}", "token_type": "bearer"}
    raise envelope.invalid("Unsupported grant_type.")


def _from_code(
    conn: sqlite3.Connection, world: World, app: App, fields: Mapping[str, str], at: float
) -> dict[str, Any]:
    mark = digest(fields.get("code", ""))
    row = conn.execute("SELECT * FROM codes WHERE digest = ?", (mark,)).fetchone()
    creator = creator_of(conn, row["creator_id"]) if row else None
    if row is None or creator is None or creator.platform != NAME or row["client_key"] != app.client_key:
        raise Problem(100, "Invalid verification code format.")
    if row["used_at"] is not None:
        raise Problem(100, "This authorization code has been used.", 36009)
    if row["expires_at"] <= at:
        raise Problem(100, "This authorization code has expired.", 36007)
    redirect_uri = fields.get("redirect_uri", "")
    if not redirect_uri or (row["redirect_uri"] is not None and row["redirect_uri"] != redirect_uri):
        raise Problem(
            100,
            "Error validating verification code. Please make sure your redirect_uri is identical to the one you "
            "used in the OAuth dialog request",
            36008,
        )
    conn.execute("UPDATE codes SET used_at = ? WHERE digest = ?", (at, mark))
    cursor = conn.execute(
        "INSERT INTO grants (client_key, creator_id, open_id, scopes, refresh_digest, refresh_expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        # This platform has no refresh token; the shared table wants a mark that nothing else has.
        (app.client_key, row["creator_id"], open_id(app.client_key, row["creator_id"]), row["scopes"],
         digest(secrets.token_hex(16)), at),
    )  # fmt: skip
    return _issued(conn, cursor.lastrowid or 0, "short", at)


def _exchanged(conn: sqlite3.Connection, world: World, app: App, token: str, at: float) -> dict[str, Any]:
    caller, problem = caller_of(conn, world, token, at)
    if problem is not None:
        raise problem
    if caller is None or caller.kind != "user" or caller.app.client_key != app.client_key:
        raise envelope.dead_token(None)
    return _issued(conn, caller.grant_id, "long", at)


def _issued(conn: sqlite3.Connection, grant_id: int, kind: str, at: float) -> dict[str, Any]:
    token = "EAA" + secrets.token_urlsafe(60).replace("-", "Z").replace("_", "B")
    lives_s = LONG_S if kind == "long" else SHORT_S
    conn.execute(
        "INSERT INTO fb_user_tokens VALUES (?, ?, ?, ?)", (digest(token), grant_id, kind, at + lives_s)
    )
    return {"access_token": token, "token_type": "bearer", "expires_in": lives_s}


def page_token(conn: sqlite3.Connection, user_token_digest: str, page_id: str, at: float) -> str:
    """A Page's token in the hands of the person whose token this is."""
    row = conn.execute("SELECT * FROM fb_user_tokens WHERE digest = ?", (user_token_digest,)).fetchone()
    token = "EAAP" + secrets.token_urlsafe(60).replace("-", "Z").replace("_", "B")
    ends_at = FOR_EVER if row["kind"] == "long" else row["expires_at"]
    conn.execute("INSERT INTO fb_page_tokens VALUES (?, ?, ?)", (digest(token), row["grant_id"], page_id))
    conn.execute("INSERT INTO access_tokens VALUES (?, ?, ?)", (digest(token), row["grant_id"], ends_at))
    return token


async def debug_token(world: World, call: Call) -> dict[str, Any]:
    """Row 6: what a token is worth, told to the app it belongs to."""
    return await world.read(_debugged, world, call)


def _debugged(conn: sqlite3.Connection, world: World, call: Call) -> dict[str, Any]:
    asked = call.fields.get("input_token", "")
    caller, problem = caller_of(conn, world, asked, call.at)
    if caller is None or caller.app.client_key != call.caller.app.client_key or caller.person is None:
        raise envelope.invalid("The input token is not one of this app.")
    row = conn.execute("SELECT * FROM fb_user_tokens WHERE digest = ?", (digest(asked),)).fetchone()
    found: dict[str, Any] = {
        "app_id": caller.app.client_key,
        "type": caller.kind.upper(),
        "is_valid": problem is None,
        # 0 stands for a token that does not end by time.
        "expires_at": int(row["expires_at"]) if row else 0,
        "data_access_expires_at": int(call.at + 90 * 24 * 3600),
        "scopes": sorted(caller.scopes),
        "user_id": user_id(caller.person.id),
    }
    if caller.page is not None:
        found["profile_id"] = caller.page.id
    if problem is not None:
        found["error"] = {"code": problem.code, "subcode": problem.subcode, "message": problem.message}
    return {"data": found}


async def permissions(world: World, call: Call) -> dict[str, Any]:
    """Row 4: what the person granted, and what they declined of all there is."""
    return {
        "data": [{"permission": scope, "status": "granted"} for scope in sorted(call.caller.scopes)]
        + [
            {"permission": scope, "status": "declined"}
            for scope in ("pages_show_list", "pages_read_engagement", "pages_manage_posts")
            if scope not in call.caller.scopes
        ]
    }


async def revoke(world: World, call: Call) -> dict[str, Any]:
    """End all this person allowed this app, on all their Pages. By DELETE, or by POST with `method=delete`."""
    if call.method != "DELETE" and call.fields.get("method", "").lower() != "delete":
        raise envelope.invalid("Unsupported post request.")
    number = creator_number(call.object_id)
    if number is None or await world.read(creator_of, number) is None:
        raise envelope.unknown_object(call.object_id)
    await world.write(_revoked, call.caller.app.client_key, number, call.at)
    return {"success": True}


def _revoked(conn: sqlite3.Connection, client_key: str, creator_id: int, at: float) -> None:
    conn.execute(
        "UPDATE grants SET ended_at = ? WHERE client_key = ? AND creator_id = ? AND ended_at IS NULL",
        (at, client_key, creator_id),
    )


async def me(world: World, call: Call) -> dict[str, Any]:
    call.only("id", "name")
    if call.caller.page is not None:
        return {"id": call.caller.page.id, "name": call.caller.page.name}
    return {"id": user_id(call.caller.creator.id), "name": call.caller.creator.display_name}


async def accounts(world: World, call: Call) -> dict[str, Any]:
    """Row 5: the person's Pages with a token for each, in parts of `limit`."""
    names = call.only(
        "id", "name", "access_token", "tasks", "picture", "instagram_business_account", "username"
    )
    limit = call.fields.get("limit", "25")
    if not limit.isdigit() or not 1 <= int(limit) <= 100:
        raise envelope.invalid("limit must be 1 to 100")
    return await world.write(_listed, call, names, int(limit))


def _listed(conn: sqlite3.Connection, call: Call, names: list[str], limit: int) -> dict[str, Any]:
    pages = pages_of(call.caller.creator)
    after = call.fields.get("after", "")
    first = next((at + 1 for at, page in enumerate(pages) if page.id == after), 0) if after else 0
    part = pages[first : first + limit]
    mark = digest(call.token)
    listed = []
    for page in part:
        shown: dict[str, Any] = {"id": page.id, "name": page.name, "tasks": list(page.tasks)}
        shown |= {"username": page.username, "picture": picture(call.base, page.id)}
        if "access_token" in names or not names:
            shown["access_token"] = page_token(conn, mark, page.id, call.at)
        listed.append({name: value for name, value in shown.items() if not names or name in (*names, "id")})
    paging: dict[str, Any] = {}
    if part:
        paging["cursors"] = {"before": part[0].id, "after": part[-1].id}
    if first + limit < len(pages):
        paging["next"] = (
            f"{call.base}/facebook/api/v26.0/me/accounts?access_token=EAAnext&after={part[-1].id}"
        )
    return {"data": listed, "paging": paging} if paging else {"data": listed}


def picture(base: str, object_id: str) -> dict[str, Any]:
    return {"data": {"url": f"{base}/facebook/pictures/{object_id}.svg", "is_silhouette": False}}
