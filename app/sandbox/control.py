"""The tester's side of the world: make creators, change apps, arm faults, read the ledger."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox import faults, later, pages
from app.sandbox.answering import TooLarge, body_of, expire_tokens, world_of
from app.sandbox.faults import BadFault
from app.sandbox.world import (
    App,
    Creator,
    Platform,
    World,
    app_of,
    change_app,
    change_creator,
    creators,
    make_creator,
    open_id,
)

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


def no(status: int, code: str, message: str) -> Response:
    """The control desk's own refusal; the platforms have theirs."""
    return JSONResponse({"error": {"code": code, "message": message, "fields": {}}}, status)


async def asked(request: Request) -> dict[str, Any]:
    """The JSON object a tester sent; raises Wrong when it is none."""
    try:
        body = json.loads(await body_of(request) or b"{}")
    except (ValueError, TooLarge):
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


def _platform(world: World, name: object) -> Platform:
    found = next((each for each in world.platforms if name == each.NAME), None)
    if found is None:
        raise Wrong(f"`platform` must be one of: {', '.join(each.NAME for each in world.platforms)}.")
    return found


async def accounts(request: Request) -> Response:
    """POST: a new creator with an approved one-use code; with `username`, change that creator's switches."""
    world = world_of(request)
    try:
        body = await asked(request)
        platform = _platform(world, body.get("platform"))
        known = {"platform", "displayName", "scopes", "username", "clientKey"}
        switches = _picked(body, platform.SWITCHES, known)
        if "username" in body:
            changed = await world.write(change_creator, platform.NAME, str(body["username"]), switches)
            if changed is None:
                return no(404, "not_found", "There is no such creator.")
            return JSONResponse({"account": _account(platform, changed, world.settings.client_key)})
        name = body.get("displayName")
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= 100:
            raise Wrong("`displayName` must be 1 to 100 characters.")
        scopes = body.get("scopes", list(platform.SCOPES))
        if not isinstance(scopes, list) or not scopes or not set(map(str, scopes)) <= set(platform.SCOPES):
            raise Wrong(f"`scopes` must be a list out of: {', '.join(platform.SCOPES)}.")
        client_key = str(body.get("clientKey", world.settings.client_key))
        made = await world.write(
            _make_account, world, platform, client_key, name.strip(), switches, tuple(scopes)
        )
    except Wrong as wrong:
        return no(400, "refused", str(wrong))
    code, creator = made
    return JSONResponse(
        {"code": code, "scopes": scopes, "account": _account(platform, creator, client_key)},
        201,
        {"cache-control": "no-store"},
    )


def _make_account(
    conn: sqlite3.Connection,
    world: World,
    platform: Platform,
    client_key: str,
    name: str,
    switches: dict[str, Any],
    scopes: tuple[str, ...],
) -> tuple[str, Creator]:
    if app_of(conn, world.settings, client_key) is None:
        raise Wrong("There is no app with this `clientKey`.")
    at = world.clock()
    creator = make_creator(conn, platform.NAME, name, replace(platform.DEFAULTS, **switches), at)
    return platform.connect(conn, world, client_key, creator, scopes, at), creator


def _account(platform: Platform, creator: Creator, client_key: str) -> dict[str, Any]:
    return {
        "platform": platform.NAME,
        "username": creator.username,
        "displayName": creator.display_name,
        "openId": open_id(client_key, creator.id),
        **{name: getattr(creator.switches, own) for name, (own, _) in platform.SWITCHES.items()},
    }


async def apps(request: Request) -> Response:
    """POST: change an app, or register another one by giving a new `clientKey` its own `clientSecret`."""
    world = world_of(request)
    try:
        body = await asked(request)
        known = APP_CHANGES | _app_switches(world)
        changes = _picked(body, known, {"clientKey"})
        if changes.get("app_type", "web") not in ("web", "desktop"):
            raise Wrong("`appType` must be web or desktop.")
        app = await world.write(
            _change, world, str(body.get("clientKey", world.settings.client_key)), changes
        )
    except Wrong as wrong:
        return no(400, "refused", str(wrong))
    shown = {name: getattr(app, own) for name, (own, _) in APP_CHANGES.items() if name != "clientSecret"}
    shown |= {name: app.more[own] for name, (own, _) in _app_switches(world).items() if own in app.more}
    return JSONResponse({"app": {"clientKey": app.client_key, **shown}})


def _app_switches(world: World) -> dict[str, tuple[str, type]]:
    """What single platforms let a tester choose per app."""
    found: dict[str, tuple[str, type]] = {}
    for platform in world.platforms:
        found |= getattr(platform, "APP_SWITCHES", {})
    return found


def _change(conn: sqlite3.Connection, world: World, client_key: str, changes: dict[str, Any]) -> App:
    if app_of(conn, world.settings, client_key) is None and not changes.get("client_secret"):
        raise Wrong("A new app needs a `clientSecret`.")
    change_app(conn, client_key, changes)
    app = app_of(conn, world.settings, client_key)
    assert app is not None
    return app


async def armed_faults(request: Request) -> Response:
    """POST arms, DELETE clears all, GET lists."""
    world = world_of(request)
    if request.method == "DELETE":
        return JSONResponse({"cleared": await world.write(faults.clear)})
    if request.method == "GET":
        return JSONResponse({"faults": [each.as_json() for each in await world.read(faults.armed)]})
    try:
        wanted = faults.wanted(await asked(request), world.platforms)
    except (Wrong, BadFault) as wrong:
        return no(400, "refused", str(wrong))
    at = world.clock()
    if wanted.step == "now":
        account = (wanted.account,) if wanted.account is not None else None
        expired = await world.write(expire_tokens, account, at, wanted.platform)
        return JSONResponse({"fault": wanted.as_json(), "expired": expired}, 201)
    return JSONResponse({"fault": (await world.write(faults.arm, wanted, at)).as_json()}, 201)


async def ledger(request: Request) -> Response:
    """What the world has seen, oldest first; `all=1` adds what was rejected or unfinished, and the calls.

    Without `platform` it lists all of them, and the calls by platform.
    """
    world = world_of(request)
    await later.settle(world)
    await world.settle()
    name = request.query_params.get("platform")
    try:
        concerned = world.platforms if name is None else (_platform(world, name),)
        since = _moment(request.query_params.get("since", "0"))
    except Wrong as wrong:
        return no(400, "refused", str(wrong))
    except ValueError:
        return no(400, "refused", "`since` must be a time: seconds since 1970, or ISO 8601.")
    entries = await world.read(_entries, name, since)
    seen = [entry for entry in entries if entry["rejected"] is None and not entry["draft"]]
    answer: dict[str, Any] = {"posts": [_listed(entry) for entry in seen]}
    if request.query_params.get("all") == "1":
        others = [entry for entry in entries if entry not in seen]
        answer["rejected"] = [_listed(e) | {"reason": e["rejected"]} for e in others if e["rejected"]]
        answer["drafts"] = [_listed(entry) for entry in others if not entry["rejected"]]
        answer["incomplete"] = await _incomplete(world, concerned, since)
        calls = {each.NAME: await world.read(_calls, each.NAME) for each in concerned}
        answer["calls"] = calls if name is None else calls[name]
    return JSONResponse(answer)


async def _incomplete(world: World, concerned: tuple[Platform, ...], since: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for platform in concerned:
        if hasattr(platform, "unfinished"):
            found += [each for each in await platform.unfinished(world) if each["at"] >= since]
    return [each | {"at": _shown(each["at"])} for each in found]


def _entries(conn: sqlite3.Connection, platform: str | None, since: float) -> list[dict[str, Any]]:
    rows = conn.execute(
        "SELECT * FROM ledger WHERE platform = coalesce(?, platform) AND at >= ? ORDER BY at, number",
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
    await world.settle()
    counts: dict[str, int] = {}
    for entry in await world.read(_entries, None, 0.0):
        if entry["rejected"] is None and not entry["draft"]:
            counts[entry["account"]] = counts.get(entry["account"], 0) + 1
    labels = [each.LABEL for each in world.platforms]
    values = {
        "label": " or ".join(filter(None, (", ".join(labels[:-1]), labels[-1]))),
        "platforms": [
            {"name": each.NAME, "label": each.LABEL, "creators": await world.read(_told, each)}
            for each in world.platforms
        ],
        "faults": await world.read(faults.armed),
        "app": await world.read(app_of, world.settings, world.settings.client_key),
        "counts": counts,
    }
    return pages.page(request, "index.html", values)


def _told(conn: sqlite3.Connection, platform: Platform) -> list[tuple[Creator, str]]:
    """This platform's creators, each with the switches that differ from a new creator's."""
    return [
        (
            creator,
            ", ".join(
                f"{name}: {getattr(creator.switches, own)}"
                for name, (own, _) in platform.SWITCHES.items()
                if getattr(creator.switches, own) != getattr(platform.DEFAULTS, own)
            ),
        )
        for creator in creators(conn, platform.NAME)
    ]
