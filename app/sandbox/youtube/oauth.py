"""Tokens: exchange, refresh and revoke (section 2 of the platform's sheet). A form goes in, flat JSON comes out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from app.sandbox import faults, later
from app.sandbox.answering import (
    TooLarge,
    body_of,
    expire_tokens,
    forget_dead_tokens,
    issue_code,
    under,
    world_of,
)
from app.sandbox.faults import Fault
from app.sandbox.world import App, Creator, World, app_of, count_call, creator_of, digest
from app.sandbox.youtube.calls import said
from app.sandbox.youtube.channels import NAME, SCOPES, channel_id, google_account, names_of
from app.sandbox.youtube.problems import OAuthProblem

VERIFIER = re.compile(r"^[A-Za-z0-9\-._~]{43,128}$")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
DAY_S = 24 * 3600.0
ACCESS_LIFETIME_S = 3599
# Section 2.2: unused for six months, or a project still in testing.
UNUSED_LIFETIME_S, TESTING_LIFETIME_S = 180 * DAY_S, 7 * DAY_S
MOST_REFRESH_TOKENS = 100
Form = dict[str, str]
Act = Callable[[sqlite3.Connection, World, Form, float], dict[str, Any]]


def redirect_problem(app: App, redirect_uri: str, base_url: str) -> str | None:
    """Why this address may not be returned to, or None. One of the app's own list must be met letter by letter.

    An app without a list may return to this machine on any port, and to the install's own address.
    """
    try:
        parts = urlsplit(redirect_uri)
        _ = parts.port
    except ValueError:
        return "redirect_uri is not an address"
    if not redirect_uri or "#" in redirect_uri or parts.username is not None:
        return "redirect_uri is missing, or has a fragment or a user name"
    local = parts.hostname in LOCAL_HOSTS
    if app.redirect_uris is not None:
        return None if redirect_uri in app.redirect_uris else "redirect_uri is not registered for this app"
    own = urlsplit(base_url)
    at_home = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
    if parts.scheme in ("http", "https") and (local or at_home):
        return None
    return "redirect_uri is not on this machine and not on this install's own address"


def scopes_of(asked: str) -> tuple[str, ...] | None:
    """The scopes asked for, in their order; None when one of them does not exist."""
    names = tuple(dict.fromkeys(asked.split()))
    return names if names and all(name in SCOPES for name in names) else None


def give_code(
    conn: sqlite3.Connection,
    world: World,
    client_key: str,
    creator: Creator,
    scopes: tuple[str, ...],
    at: float,
    *,
    offline: bool,
    redirect_uri: str | None = None,
    challenge: str | None = None,
) -> str:
    """A one-use code; `offline` says whether its exchange brings a refresh token."""
    code = issue_code(
        conn, world, client_key, creator.id, scopes, at, redirect_uri=redirect_uri, challenge=challenge
    )
    conn.execute("INSERT INTO yt_codes VALUES (?, ?)", (digest(code), offline))
    return code


def consented(conn: sqlite3.Connection, client_key: str, creator: Creator) -> tuple[str, ...] | None:
    """What this person allows the app already; None before the first consent and after a revocation."""
    rows = conn.execute(
        "SELECT scopes FROM grants WHERE client_key = ? AND creator_id = ? AND ended_at IS NULL",
        (client_key, creator.id),
    ).fetchall()
    return tuple(scope for row in rows for scope in row["scopes"].split(",")) if rows else None


async def token(request: Request) -> Response:
    return await _form_call(request, "token", _token)


async def revoke(request: Request) -> Response:
    return await _form_call(request, "revoke", _revoke)


async def _form_call(request: Request, step: str, act: Act) -> Response:
    world = world_of(request)
    await later.settle(world)
    at = world.clock()
    form: Form | None = None
    try:
        raw = await body_of(request)
    except TooLarge:
        return OAuthProblem("invalid_request", "The request is too large.").answer()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        pairs = parse_qsl(raw.decode(errors="replace"), keep_blank_values=True)
        form = dict(pairs) if len(dict(pairs)) == len(pairs) else None
    fault = await world.write(_enter, step, form or {}, at)

    async def acted() -> Response:
        if form is None:
            return OAuthProblem("invalid_request", "Send one form, each parameter once.").answer()
        try:
            return said(await world.write(act, world, form, at))
        except OAuthProblem as problem:
            return problem.answer()

    async def put_off(due_at: float) -> None:
        await world.write(later.put, f"yt_{step}", due_at, {"form": form or {}})

    return await under(
        world,
        fault,
        acted,
        put_off,
        broken=OAuthProblem("internal_failure", "Internal server error.", 500).answer(),
        limited=OAuthProblem("rate_limit_exceeded", "Rate limit exceeded.", 429).answer(),
    )


def _enter(conn: sqlite3.Connection, step: str, form: Form, at: float) -> Fault | None:
    count_call(conn, NAME, step)
    names = _names(conn, form)
    fault = faults.take_line(conn, NAME, (step,), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        return None
    return fault


def _names(conn: sqlite3.Connection, form: Form) -> tuple[str, ...]:
    row = conn.execute(
        "SELECT creator_id FROM codes WHERE digest = ?"
        " UNION SELECT creator_id FROM grants WHERE refresh_digest = ?"
        " UNION SELECT g.creator_id FROM grants g JOIN access_tokens a ON a.grant_id = g.id WHERE a.digest = ?",
        tuple(digest(form.get(name, "")) for name in ("code", "refresh_token", "token")),
    ).fetchone()
    creator = creator_of(conn, row["creator_id"]) if row else None
    return names_of(creator) if creator and creator.platform == NAME else ()


def _client(conn: sqlite3.Connection, world: World, form: Form) -> App:
    app = app_of(conn, world.settings, form.get("client_id", ""))
    if app is None:
        raise OAuthProblem("invalid_client", "The OAuth client was not found.", 401)
    if not hmac.compare_digest(app.client_secret.encode(), form.get("client_secret", "").encode()):
        raise OAuthProblem("invalid_client", "The provided client secret is invalid.", 401)
    return app


def _token(conn: sqlite3.Connection, world: World, form: Form, at: float) -> dict[str, Any]:
    app = _client(conn, world, form)
    if form.get("grant_type") == "authorization_code":
        return _exchange(conn, app, form, at)
    if form.get("grant_type") == "refresh_token":
        return _refresh(conn, app, form, at)
    raise OAuthProblem("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")


def _exchange(conn: sqlite3.Connection, app: App, form: Form, at: float) -> dict[str, Any]:
    row = conn.execute(
        "SELECT c.*, y.offline FROM codes c JOIN yt_codes y ON y.digest = c.digest WHERE c.digest = ?",
        (digest(form.get("code", "")),),
    ).fetchone()
    if row is None or row["used_at"] is not None or row["client_key"] != app.client_key:
        raise OAuthProblem("invalid_grant", "Malformed auth code.")
    if row["expires_at"] <= at:
        raise OAuthProblem("invalid_grant", "Bad Request")
    if not form.get("redirect_uri"):
        raise OAuthProblem("invalid_request", "Missing parameter: redirect_uri")
    if row["redirect_uri"] is not None and row["redirect_uri"] != form["redirect_uri"]:
        raise OAuthProblem("redirect_uri_mismatch", "Bad Request")
    if row["challenge"] is not None:
        _check_verifier(row["challenge"], form.get("code_verifier", ""))
    conn.execute("UPDATE codes SET used_at = ? WHERE digest = ?", (at, row["digest"]))
    creator = creator_of(conn, row["creator_id"])
    assert creator is not None
    testing = bool(app.more.get("testing"))
    refresh_token = "1//" + secrets.token_urlsafe(48)
    lifetime_s = TESTING_LIFETIME_S if testing else UNUSED_LIFETIME_S
    # Without offline access the digest is of a token that nobody was given.
    grant_id = conn.execute(
        "INSERT INTO grants (client_key, creator_id, open_id, scopes, refresh_digest, refresh_expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            app.client_key,
            creator.id,
            channel_id(creator.id),
            row["scopes"],
            digest(refresh_token),
            at + lifetime_s,
        ),
    ).lastrowid
    conn.execute(
        "INSERT INTO yt_grants VALUES (?, ?, ?, ?, ?)",
        (grant_id, app.client_key, google_account(creator), row["offline"], at),
    )
    _drop_oldest(conn, app.client_key, google_account(creator), at)
    answer = _access(conn, app, grant_id or 0, row["scopes"], at)
    if row["offline"]:
        answer["refresh_token"] = refresh_token
        if testing:
            answer["refresh_token_expires_in"] = int(TESTING_LIFETIME_S)
    return answer


def _check_verifier(challenge: str, verifier: str) -> None:
    if not verifier:
        raise OAuthProblem("invalid_grant", "Missing code verifier.")
    shown = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    if not VERIFIER.match(verifier) or not hmac.compare_digest(shown, challenge):
        raise OAuthProblem("invalid_grant", "Invalid code verifier.")


def _drop_oldest(conn: sqlite3.Connection, client_key: str, account: str, at: float) -> None:
    """More than a hundred refresh tokens of one sign-in and app: the oldest dies without a word (section 2.2)."""
    conn.execute(
        "UPDATE grants SET ended_at = ? WHERE ended_at IS NULL AND id IN ("
        " SELECT y.grant_id FROM yt_grants y JOIN grants g ON g.id = y.grant_id"
        "  WHERE y.client_key = ? AND y.google_account = ? AND y.offline AND g.ended_at IS NULL"
        "  ORDER BY y.grant_id DESC LIMIT -1 OFFSET ?)",
        (at, client_key, account, MOST_REFRESH_TOKENS),
    )


def _refresh(conn: sqlite3.Connection, app: App, form: Form, at: float) -> dict[str, Any]:
    if not form.get("refresh_token"):
        raise OAuthProblem("invalid_request", "Missing required parameter: refresh_token")
    row = conn.execute(
        "SELECT g.* FROM grants g JOIN yt_grants y ON y.grant_id = g.id"
        " WHERE g.refresh_digest = ? AND g.client_key = ? AND g.ended_at IS NULL AND y.offline",
        (digest(form["refresh_token"]), app.client_key),
    ).fetchone()
    creator = creator_of(conn, row["creator_id"]) if row else None
    if row is None or creator is None or row["refresh_expires_at"] <= at or creator.switches.refresh_dead:
        raise OAuthProblem("invalid_grant", "Token has been expired or revoked.")
    if not app.more.get("testing"):
        conn.execute(
            "UPDATE grants SET refresh_expires_at = ? WHERE id = ?", (at + UNUSED_LIFETIME_S, row["id"])
        )
    return _access(conn, app, row["id"], row["scopes"], at)


def _access(conn: sqlite3.Connection, app: App, grant_id: int, scopes: str, at: float) -> dict[str, Any]:
    """Another access token; the earlier ones live on until their own time."""
    access_token = "ya29." + secrets.token_urlsafe(60)
    lifetime_s = int(app.more.get("token_lifetime_s", ACCESS_LIFETIME_S))
    forget_dead_tokens(conn, NAME, at)
    conn.execute(
        "INSERT INTO access_tokens VALUES (?, ?, ?)", (digest(access_token), grant_id, at + lifetime_s)
    )
    return {
        "access_token": access_token,
        "expires_in": lifetime_s,
        "scope": scopes.replace(",", " "),
        "token_type": "Bearer",
    }


def _revoke(conn: sqlite3.Connection, world: World, form: Form, at: float) -> dict[str, Any]:
    """End all that this sign-in allowed the project, whichever of its tokens is named (section 2.2)."""
    hashed = digest(form.get("token", ""))
    row = conn.execute(
        "SELECT y.* FROM yt_grants y JOIN grants g ON g.id = y.grant_id"
        " LEFT JOIN access_tokens a ON a.grant_id = g.id AND a.digest = ? AND a.expires_at > ?"
        " WHERE g.ended_at IS NULL AND (a.digest IS NOT NULL OR g.refresh_digest = ?)",
        (hashed, at, hashed),
    ).fetchone()
    if row is None:
        raise OAuthProblem("invalid_token", "Token expired or revoked")
    whole = (row["client_key"], row["google_account"])
    conn.execute(
        "DELETE FROM access_tokens WHERE grant_id IN"
        " (SELECT grant_id FROM yt_grants WHERE client_key = ? AND google_account = ?)",
        whole,
    )
    conn.execute(
        "UPDATE grants SET ended_at = ? WHERE ended_at IS NULL AND id IN"
        " (SELECT grant_id FROM yt_grants WHERE client_key = ? AND google_account = ?)",
        (at, *whole),
    )
    return {}


async def _token_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    await world.write(_once, _token, world, arguments, due_at)


async def _revoke_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    await world.write(_once, _revoke, world, arguments, due_at)


def _once(conn: sqlite3.Connection, act: Act, world: World, arguments: dict[str, Any], due_at: float) -> None:
    if later.done(conn, arguments["later_id"]):
        try:
            act(conn, world, arguments["form"], due_at)
        except OAuthProblem:
            return


later.knows("yt_token", _token_later)
later.knows("yt_revoke", _revoke_later)
