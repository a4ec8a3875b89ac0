"""Tokens: exchange, refresh and revoke (section 2 of the platform's sheet). Errors are flat and HTTP 200."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox import faults, later
from app.sandbox.answering import (
    TooLarge,
    body_of,
    expire_tokens,
    forget_dead_tokens,
    names_of,
    under,
    world_of,
)
from app.sandbox.faults import Fault
from app.sandbox.tiktok.calls import SCOPES, log_id
from app.sandbox.tiktok.creators import NAME
from app.sandbox.tiktok.posts import end_running
from app.sandbox.world import App, World, app_of, count_call, creator_of, digest, open_id

VERIFIER = re.compile(r"^[A-Za-z0-9\-._~]{43,128}$")
LOCAL_HOSTS = ("localhost", "127.0.0.1")


class OAuthProblem(Exception):
    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description

    def answer(self, status: int = 200) -> Response:
        return _flat({"error": self.error, "error_description": self.description, "log_id": log_id()}, status)


def _flat(body: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status, headers={"cache-control": "no-store"})


def redirect_problem(app: App, redirect_uri: str, base_url: str) -> str | None:
    """Why this address may not be returned to, or None. Rules: table of section 2.1.

    An app without a list of its own may return to this machine on any port, and to the install's own address.
    """
    if not redirect_uri or len(redirect_uri) >= 512:
        return "redirect_uri is missing or longer than 511 characters"
    try:
        parts = urlsplit(redirect_uri)
        port = parts.port
    except ValueError:
        return "redirect_uri is not an address"
    if "?" in redirect_uri or "#" in redirect_uri:
        return "redirect_uri must have no query and no fragment"
    if app.app_type == "desktop" and (parts.hostname not in LOCAL_HOSTS or port is None):
        return "a desktop app returns to localhost or 127.0.0.1 with a port"
    if app.redirect_uris is None:
        own = urlsplit(base_url)
        at_home = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        if parts.scheme in ("http", "https") and (parts.hostname in LOCAL_HOSTS or at_home):
            return None
        return "redirect_uri is not on this machine and not on this install's own address"
    if app.app_type == "web" and parts.scheme != "https":
        return "a web app returns to https only"
    patterns = [re.escape(each).replace(r":\*", r":\d+") for each in app.redirect_uris]
    if app.app_type == "web":
        patterns = [re.escape(each) for each in app.redirect_uris]
    if not any(re.fullmatch(pattern, redirect_uri) for pattern in patterns):
        return "redirect_uri is not registered for this app"
    return None


async def token(request: Request) -> Response:
    return await _form_call(request, "token", _token)


async def revoke(request: Request) -> Response:
    return await _form_call(request, "revoke", _revoke)


async def _form_call(request: Request, step: str, act: Any) -> Response:
    world = world_of(request)
    await later.settle(world)
    at = world.clock()
    try:
        raw = await body_of(request)
    except TooLarge:
        return OAuthProblem("invalid_request", "The request body is too large.").answer()
    form: dict[str, str] | None = None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == (
        "application/x-www-form-urlencoded"
    ):
        pairs = parse_qsl(raw.decode(errors="replace"), keep_blank_values=True)
        form = dict(pairs) if len(dict(pairs)) == len(pairs) else None
    fault = await world.write(_enter, step, form or {}, at)

    async def acted() -> Response:
        if form is None:
            return OAuthProblem("invalid_request", "Send one form, each field once.").answer()
        try:
            return _flat(await world.write(act, world, form, at))
        except OAuthProblem as problem:
            return problem.answer()

    async def put_off(due_at: float) -> None:
        await world.write(later.put, step, due_at, {"form": form or {}})

    return await under(
        world,
        fault,
        acted,
        put_off,
        broken=OAuthProblem("server_error", "Something went wrong on our side.").answer(500),
        limited=OAuthProblem("temporarily_unavailable", "Please try again later.").answer(429),
    )


def _enter(conn: sqlite3.Connection, step: str, form: dict[str, str], at: float) -> Fault | None:
    count_call(conn, NAME, step)
    names = _names(conn, form)
    fault = faults.take_line(conn, NAME, (step,), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        return None
    return fault


def _names(conn: sqlite3.Connection, form: dict[str, str]) -> tuple[str, ...]:
    row = conn.execute(
        "SELECT creator_id, client_key FROM codes WHERE digest = ?"
        " UNION SELECT creator_id, client_key FROM grants WHERE refresh_digest = ?"
        " UNION SELECT g.creator_id, g.client_key FROM grants g"
        "   JOIN access_tokens a ON a.grant_id = g.id WHERE a.digest = ?",
        tuple(digest(form.get(name, "")) for name in ("code", "refresh_token", "token")),
    ).fetchone()
    creator = creator_of(conn, row["creator_id"]) if row else None
    return names_of(creator, open_id(row["client_key"], creator.id)) if creator else ()


def _client(conn: sqlite3.Connection, world: World, form: dict[str, str]) -> App:
    app = app_of(conn, world.settings, form.get("client_key", ""))
    secret = form.get("client_secret", "")
    if app is None or not hmac.compare_digest(app.client_secret.encode(), secret.encode()):
        raise OAuthProblem("invalid_client", "Client key or secret is incorrect.")
    return app


def _token(conn: sqlite3.Connection, world: World, form: dict[str, str], at: float) -> dict[str, Any]:
    app = _client(conn, world, form)
    if form.get("grant_type") == "authorization_code":
        return _exchange(conn, app, form, at)
    if form.get("grant_type") == "refresh_token":
        return _refresh(conn, app, form, at)
    raise OAuthProblem("unsupported_grant_type", "grant_type must be authorization_code or refresh_token.")


def _exchange(conn: sqlite3.Connection, app: App, form: dict[str, str], at: float) -> dict[str, Any]:
    row = conn.execute("SELECT * FROM codes WHERE digest = ?", (digest(form.get("code", "")),)).fetchone()
    if (
        row is None
        or row["used_at"] is not None
        or row["expires_at"] <= at
        or row["client_key"] != app.client_key
    ):
        raise OAuthProblem("invalid_grant", "Authorization code is expired or used.")
    if not form.get("redirect_uri"):
        raise OAuthProblem("invalid_request", "redirect_uri is missing.")
    if row["redirect_uri"] is not None and row["redirect_uri"] != form["redirect_uri"]:
        raise OAuthProblem(
            "invalid_request", "Redirect_uri is not matched with the uri when requesting code."
        )
    if row["challenge"] is not None:
        verifier = form.get("code_verifier", "")
        shown = hashlib.sha256(verifier.encode()).hexdigest()
        if not VERIFIER.match(verifier) or not hmac.compare_digest(shown, row["challenge"]):
            raise OAuthProblem("invalid_request", "Code verifier or code challenge is invalid.")
    conn.execute("UPDATE codes SET used_at = ? WHERE digest = ?", (at, row["digest"]))
    refresh_token = "rft." + secrets.token_urlsafe(40)
    cursor = conn.execute(
        "INSERT INTO grants (client_key, creator_id, open_id, scopes, refresh_digest, refresh_expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (app.client_key, row["creator_id"], open_id(app.client_key, row["creator_id"]), row["scopes"],
         digest(refresh_token), at + app.refresh_lifetime_s),
    )  # fmt: skip
    return _pair(conn, app, cursor.lastrowid or 0, refresh_token, at)


def _refresh(conn: sqlite3.Connection, app: App, form: dict[str, str], at: float) -> dict[str, Any]:
    row = conn.execute(
        "SELECT * FROM grants WHERE refresh_digest = ? AND client_key = ? AND ended_at IS NULL",
        (digest(form.get("refresh_token", "")), app.client_key),
    ).fetchone()
    if row is None or row["refresh_expires_at"] <= at:
        raise OAuthProblem("invalid_grant", "Refresh token is invalid or expired.")
    refresh_token = "rft." + secrets.token_urlsafe(40)
    conn.execute(
        "UPDATE grants SET refresh_digest = ?, refresh_expires_at = ? WHERE id = ?",
        (digest(refresh_token), at + app.refresh_lifetime_s, row["id"]),
    )
    return _pair(conn, app, row["id"], refresh_token, at)


def _pair(conn: sqlite3.Connection, app: App, grant_id: int, refresh_token: str, at: float) -> dict[str, Any]:
    access_token = "act." + secrets.token_urlsafe(40)
    forget_dead_tokens(conn, NAME, at)
    conn.execute(
        "INSERT INTO access_tokens VALUES (?, ?, ?)",
        (digest(access_token), grant_id, at + app.access_lifetime_s),
    )
    row = conn.execute("SELECT open_id, scopes FROM grants WHERE id = ?", (grant_id,)).fetchone()
    return {
        "access_token": access_token,
        "expires_in": app.access_lifetime_s,
        "open_id": row["open_id"],
        "refresh_token": refresh_token,
        "refresh_expires_in": app.refresh_lifetime_s,
        "scope": row["scopes"],
        "token_type": "Bearer",
    }


def _revoke(conn: sqlite3.Connection, world: World, form: dict[str, str], at: float) -> dict[str, Any]:
    """End all this person allowed this app, and what is still on its way with it (section 9, item 10)."""
    app = _client(conn, world, form)
    row = conn.execute(
        "SELECT g.* FROM access_tokens a JOIN grants g ON g.id = a.grant_id"
        " WHERE a.digest = ? AND a.expires_at > ? AND g.client_key = ? AND g.ended_at IS NULL",
        (digest(form.get("token", "")), at, app.client_key),
    ).fetchone()
    if row is None:
        raise OAuthProblem("invalid_request", "The access token is invalid or expired.")
    of_this_person = (row["client_key"], row["creator_id"])
    conn.execute(
        "DELETE FROM access_tokens WHERE grant_id IN"
        " (SELECT id FROM grants WHERE client_key = ? AND creator_id = ?)",
        of_this_person,
    )
    conn.execute(
        "UPDATE grants SET ended_at = ? WHERE client_key = ? AND creator_id = ? AND ended_at IS NULL",
        (at, *of_this_person),
    )
    end_running(conn, row["client_key"], row["creator_id"], "auth_removed", at)
    return {}


def granted_scopes(asked: str) -> tuple[str, ...] | None:
    """The scopes asked for, in their order; None when one of them does not exist."""
    names = tuple(dict.fromkeys(filter(None, (each.strip() for each in asked.split(",")))))
    return names if names and all(name in SCOPES for name in names) else None


async def _token_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    await world.write(_once, _token, world, arguments, due_at)


async def _revoke_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    await world.write(_once, _revoke, world, arguments, due_at)


def _once(conn: sqlite3.Connection, act: Any, world: World, arguments: dict[str, Any], due_at: float) -> None:
    if later.done(conn, arguments["later_id"]):
        try:
            act(conn, world, arguments["form"], due_at)
        except OAuthProblem:
            return


later.knows("token", _token_later)
later.knows("revoke", _revoke_later)
