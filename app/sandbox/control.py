"""The tester's side of the world: make creators, change apps, arm faults, read the ledger."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox import faults, later, pages
from app.sandbox.faults import BadFault
from app.sandbox.tiktok import checks, posts
from app.sandbox.tiktok.calls import SCOPES, Problem, body_of, expire_tokens, world_of
from app.sandbox.tiktok.oauth import issue_code
from app.sandbox.world import (
    App,
    Creator,
    Switches,
    World,
    app_of,
    change_app,
    change_creator,
    creators,
    make_creator,
    open_id,
)

PLATFORMS = ("tiktok",)
SWITCHES: dict[str, tuple[str, type]] = {
    "private": ("private", bool),
    "maxDurationS": ("max_duration_s", int),
    "commentDisabled": ("comment_disabled", bool),
    "duetDisabled": ("duet_disabled", bool),
    "stitchDisabled": ("stitch_disabled", bool),
    "banned": ("banned", bool),
    "postsLast24h": ("posts_last_24h", int),
    "pendingDrafts": ("pending_drafts", int),
}
APP_CHANGES: dict[str, tuple[str, type]] = {
    "audited": ("audited", bool),
    "appType": ("app_type", str),
    "clientSecret": ("client_secret", str),
    "accessLifetimeS": ("access_lifetime_s", int),
    "refreshLifetimeS": ("refresh_lifetime_s", int),
    "redirectUris": ("redirect_uris", list),
    "verifiedUrlPrefixes": ("verified_url_prefixes", list),
    "postsPerDay": ("posts_per_day", int),
}


class Wrong(Exception):
    """What a tester asked for cannot be done; the message says why."""


def _no(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "fields": {}}}, status)


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await body_of(request) or b"{}")
    except (ValueError, Problem):
        raise Wrong("The body must be JSON.") from None
    if not isinstance(body, dict):
        raise Wrong("The body must be a JSON object.")
    return body


def _picked(body: dict[str, Any], known: dict[str, tuple[str, type]], also: set[str]) -> dict[str, Any]:
    unknown = set(body) - set(known) - also
    if unknown:
        raise Wrong(f"Unknown field: {', '.join(sorted(unknown))}.")
    for name, (_, kind) in known.items():
        if name in body and type(body[name]) is not kind:
            raise Wrong(f"`{name}` must be of type {kind.__name__}.")
        if kind is int and body.get(name, 0) < 0:
            raise Wrong(f"`{name}` must not be negative.")
        if kind is list and not all(isinstance(each, str) for each in body.get(name, [])):
            raise Wrong(f"`{name}` must be a list of text.")
    return {own: body[name] for name, (own, _) in known.items() if name in body}


async def accounts(request: Request) -> Response:
    """POST: a new creator with an approved one-use code; with `username`, change that creator's switches."""
    world = world_of(request)
    try:
        body = await _body(request)
        switches = _picked(body, SWITCHES, {"platform", "displayName", "scopes", "username", "clientKey"})
        if body.get("platform") not in PLATFORMS:
            raise Wrong(f"`platform` must be one of: {', '.join(PLATFORMS)}.")
        if "username" in body:
            changed = await world.write(change_creator, str(body["username"]), switches)
            if changed is None:
                return _no(404, "not_found", "There is no such creator.")
            return JSONResponse({"account": _account(changed, world.settings.client_key)})
        name = body.get("displayName")
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= 100:
            raise Wrong("`displayName` must be 1 to 100 characters.")
        scopes = body.get("scopes", list(SCOPES))
        if not isinstance(scopes, list) or not scopes or not set(map(str, scopes)) <= set(SCOPES):
            raise Wrong(f"`scopes` must be a list out of: {', '.join(SCOPES)}.")
        client_key = str(body.get("clientKey", world.settings.client_key))
        made = await world.write(
            _make_account, world, client_key, name.strip(), Switches(**switches), tuple(scopes)
        )
    except Wrong as wrong:
        return _no(400, "refused", str(wrong))
    code, creator = made
    return JSONResponse(
        {"code": code, "scopes": scopes, "account": _account(creator, client_key)},
        201,
        {"cache-control": "no-store"},
    )


def _make_account(
    conn: sqlite3.Connection,
    world: World,
    client_key: str,
    name: str,
    switches: Switches,
    scopes: tuple[str, ...],
) -> tuple[str, Creator]:
    if app_of(conn, world.settings, client_key) is None:
        raise Wrong("There is no app with this `clientKey`.")
    at = world.clock()
    creator = make_creator(conn, "tiktok", name, switches, at)
    return issue_code(conn, world, client_key, creator.id, scopes, at), creator


def _account(creator: Creator, client_key: str) -> dict[str, Any]:
    return {
        "platform": "tiktok",
        "username": creator.username,
        "displayName": creator.display_name,
        "openId": open_id(client_key, creator.id),
        **{name: getattr(creator.switches, own) for name, (own, _) in SWITCHES.items()},
    }


async def apps(request: Request) -> Response:
    """POST: change an app, or register another one by giving a new `clientKey` its own `clientSecret`."""
    world = world_of(request)
    try:
        body = await _body(request)
        changes = _picked(body, APP_CHANGES, {"clientKey"})
        if changes.get("app_type", "web") not in ("web", "desktop"):
            raise Wrong("`appType` must be web or desktop.")
        app = await world.write(
            _change, world, str(body.get("clientKey", world.settings.client_key)), changes
        )
    except Wrong as wrong:
        return _no(400, "refused", str(wrong))
    shown = {name: getattr(app, own) for name, (own, _) in APP_CHANGES.items() if name != "clientSecret"}
    return JSONResponse({"app": {"clientKey": app.client_key, **shown}})


def _change(conn: sqlite3.Connection, world: World, client_key: str, changes: dict[str, Any]) -> App:
    if app_of(conn, world.settings, client_key) is None and not changes.get("client_secret"):
        raise Wrong("A new app needs a `clientSecret`.")
    change_app(conn, client_key, changes)
    app = app_of(conn, world.settings, client_key)
    assert app is not None and {each.name for each in fields(App)} >= set(changes)
    return app


async def armed_faults(request: Request) -> Response:
    """POST arms, DELETE clears all, GET lists."""
    world = world_of(request)
    if request.method == "DELETE":
        return JSONResponse({"cleared": await world.write(faults.clear)})
    if request.method == "GET":
        return JSONResponse({"faults": [each.as_json() for each in await world.read(faults.armed)]})
    try:
        wanted = faults.wanted(await _body(request))
    except (Wrong, BadFault) as wrong:
        return _no(400, "refused", str(wrong))
    at = world.clock()
    if wanted.step == "now":
        account = (wanted.account,) if wanted.account is not None else None
        return JSONResponse(
            {"fault": wanted.as_json(), "expired": await world.write(expire_tokens, account, at)}, 201
        )
    return JSONResponse({"fault": (await world.write(faults.arm, wanted, at)).as_json()}, 201)


async def drafts(request: Request) -> Response:
    """POST {publishId}: the person opens the draft in their inbox and posts it."""
    world = world_of(request)
    try:
        body = await _body(request)
    except Wrong as wrong:
        return _no(400, "refused", str(wrong))
    post = await world.read(posts.by_publish_id, str(body.get("publishId", "")))
    if post is None:
        return _no(404, "not_found", "There is no such draft.")
    post = await checks.checked(world, post)
    if post.state(world.clock()) != "SEND_TO_USER_INBOX":
        return _no(409, "wrong_state", "This is no draft in an inbox.")
    await world.write(posts.send_on, post, world.clock())
    return JSONResponse({"publishId": post.publish_id, "status": "PUBLISH_COMPLETE"})


async def ledger(request: Request) -> Response:
    """What the world has seen, oldest first; `all=1` adds what was rejected or unfinished, and the calls."""
    world = world_of(request)
    await later.settle(world)
    await checks.check_all(world)
    platform = request.query_params.get("platform")
    if platform not in PLATFORMS:
        return _no(400, "refused", f"`platform` must be one of: {', '.join(PLATFORMS)}.")
    try:
        since = _moment(request.query_params.get("since", "0"))
    except ValueError:
        return _no(400, "refused", "`since` must be a time: seconds since 1970, or ISO 8601.")
    entries = await world.read(_entries, platform, since)
    seen = [entry for entry in entries if entry["rejected"] is None and not entry["draft"]]
    answer: dict[str, Any] = {"posts": [_listed(entry) for entry in seen]}
    if request.query_params.get("all") == "1":
        others = [entry for entry in entries if entry not in seen]
        answer["rejected"] = [_listed(e) | {"reason": e["rejected"]} for e in others if e["rejected"]]
        answer["drafts"] = [_listed(entry) for entry in others if not entry["rejected"]]
        answer["incomplete"] = [
            {"publishId": post.publish_id, "title": post.title, "receivedBytes": post.received_bytes,
             "bytes": post.total_bytes, "reason": post.verdict, "at": _shown(post.created_at)}
            for post in await world.read(posts.unfinished) if post.created_at >= since
        ]  # fmt: skip
        answer["calls"] = await world.read(_calls, platform)
    return JSONResponse(answer)


def _entries(conn: sqlite3.Connection, platform: str, since: float) -> list[dict[str, Any]]:
    rows = conn.execute(
        "SELECT l.*, l.kind IN ('inbox', 'photo_inbox') AND p.sent_on_at IS NULL AS draft"
        "  FROM ledger l JOIN posts p ON p.publish_id = l.publish_id"
        " WHERE l.platform = ? AND l.at >= ? ORDER BY l.at, l.number",
        (platform, since),
    )
    return [dict(row) for row in rows]


def _listed(entry: dict[str, Any]) -> dict[str, Any]:
    shown = {name: entry[name] for name in ("platform", "id", "account", "title", "bytes", "sha256")}
    return shown | {"at": _shown(entry["at"]), "publishId": entry["publish_id"]}


def _calls(conn: sqlite3.Connection, platform: str) -> dict[str, int]:
    rows = conn.execute("SELECT step, count FROM calls WHERE platform = ? ORDER BY step", (platform,))
    return {row["step"]: row["count"] for row in rows}


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


async def index(request: Request) -> Response:
    world = world_of(request)
    await later.settle(world)
    await checks.check_all(world)
    counts: dict[str, int] = {}
    for entry in await world.read(_entries, "tiktok", 0.0):
        if entry["rejected"] is None and not entry["draft"]:
            counts[entry["account"]] = counts.get(entry["account"], 0) + 1
    values = {
        "creators": await world.read(creators, "tiktok"),
        "faults": await world.read(faults.armed),
        "app": await world.read(app_of, world.settings, world.settings.client_key),
        "counts": counts,
    }
    return pages.page(request, "index.html", values)
