"""Tokens: made, renewed, found. Short ones live an hour, long ones 60 days, Page tokens without end (section 3)."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any

from app.sandbox.answering import Caller, caller_of
from app.sandbox.instagram.calls import judged
from app.sandbox.instagram.creators import (
    HOUR_S,
    LONG_LIFE_S,
    REFRESH_FROM_S,
    SHORT_LIFE_S,
    user_id,
)
from app.sandbox.meta.envelope import Problem, dead_token
from app.sandbox.world import App, Creator, World, app_of, creator_of, digest

CODE_LIFE_S = HOUR_S
# A Page token has no end of its own.
NEVER = 1e12


@dataclass(frozen=True)
class Person:
    """Whose user token this is, on Facebook's side."""

    app: App
    creator: Creator
    scopes: tuple[str, ...]
    long: bool
    expires_at: float


def issue_code(
    conn: sqlite3.Connection,
    client_key: str,
    creator_id: int,
    scopes: tuple[str, ...],
    at: float,
    *,
    redirect_uri: str | None = None,
) -> str:
    """A one-use code, good for an hour. It holds characters that a careless reader of the query would spoil."""
    code = f"AQ{secrets.token_urlsafe(40)}+/{secrets.randbelow(10_000)}"
    conn.execute(
        "INSERT INTO codes VALUES (?, ?, ?, ?, ?, NULL, ?, NULL)",
        (digest(code), client_key, creator_id, ",".join(scopes), redirect_uri, at + CODE_LIFE_S),
    )
    return code


class CodeRefused(Exception):
    """The code cannot be traded; the message says why in the platform's words."""


def take_code(conn: sqlite3.Connection, app: App, code: str, redirect_uri: str, at: float) -> sqlite3.Row:
    """Use up a code: whose it is and what was allowed. Raises CodeRefused, after which nothing was used up."""
    row: sqlite3.Row | None = conn.execute("SELECT * FROM codes WHERE digest = ?", (digest(code),)).fetchone()
    if row is None or row["client_key"] != app.client_key or row["expires_at"] <= at:
        raise CodeRefused("Matching code was not found or was already used")
    if row["used_at"] is not None:
        raise CodeRefused("This authorization code has been used")
    if not redirect_uri or row["redirect_uri"] not in (None, redirect_uri):
        raise CodeRefused(
            "Error validating verification code. Please make sure your redirect_uri is identical to the one you "
            "used in the OAuth dialog request"
        )
    conn.execute("UPDATE codes SET used_at = ? WHERE digest = ?", (at, row["digest"]))
    return row


def grant(
    conn: sqlite3.Connection, client_key: str, creator: Creator, scopes: tuple[str, ...], refresh_until: float
) -> int:
    """A new permission of this account for this app; gives its id."""
    cursor = conn.execute(
        "INSERT INTO grants (client_key, creator_id, open_id, scopes, refresh_digest, refresh_expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (client_key, creator.id, user_id(creator), ",".join(scopes), secrets.token_hex(16), refresh_until),
    )
    return cursor.lastrowid or 0


def issue(conn: sqlite3.Connection, grant_id: int, kind: str, login: str, at: float, life_s: float) -> str:
    token = ("EAA" if login == "facebook" else "IGAA") + secrets.token_urlsafe(48)
    conn.execute("INSERT INTO access_tokens VALUES (?, ?, ?)", (digest(token), grant_id, at + life_s))
    conn.execute(
        "INSERT INTO ig_tokens VALUES (?, ?, ?, ?, ?)", (digest(token), kind, login, at, at + life_s)
    )
    return token


def short(conn: sqlite3.Connection, app: App, creator: Creator, scopes: tuple[str, ...], at: float) -> str:
    grant_id = grant(conn, app.client_key, creator, scopes, at + LONG_LIFE_S)
    return issue(conn, grant_id, "short", "instagram", at, SHORT_LIFE_S)


def lengthened(conn: sqlite3.Connection, world: World, token: str, at: float) -> dict[str, Any]:
    """Row 3: a living short token against a long one."""
    caller, refusal = judged(conn, world, token, "instagram", at)
    if caller is None:
        raise refusal or dead_token(None)
    if _kept(conn, token)["kind"] != "short":
        raise Problem(100, "(#100) Only a short-lived token can be exchanged.")
    return _long(conn, caller, at)


def refreshed(conn: sqlite3.Connection, world: World, token: str, at: float) -> dict[str, Any]:
    """Row 4: another 60 days from now, for a long token that is a day old and has not run out.

    One that was ended before its time (467) may be renewed once more: "refresh once if allowed" (section 6).
    """
    caller, refusal = judged(conn, world, token, "instagram", at)
    row = _kept(conn, token)
    if row is not None and caller is None and refusal is not None and refusal.subcode == 467:
        caller = caller_of(conn, world, row["grant_id"])
    if caller is None:
        raise refusal or dead_token(None)
    young = at - row["issued_at"] < float(caller.app.more.get("instagram_refresh_from_s", REFRESH_FROM_S))
    if row["kind"] != "long" or young:
        raise Problem(100, "(#100) The access token must be long-lived and at least 24 hours old.")
    if "instagram_business_basic" not in caller.scopes:
        raise Problem(10, "(#10) Requires instagram_business_basic", status=403)
    return _long(conn, caller, at)


def _kept(conn: sqlite3.Connection, token: str) -> Any:
    return conn.execute(
        "SELECT t.*, a.grant_id FROM ig_tokens t JOIN access_tokens a ON a.digest = t.digest WHERE t.digest = ?",
        (digest(token),),
    ).fetchone()


def _long(conn: sqlite3.Connection, caller: Caller, at: float) -> dict[str, Any]:
    life_s = int(caller.app.more.get("instagram_long_life_s", LONG_LIFE_S))
    token = issue(conn, caller.grant_id, "long", "instagram", at, life_s)
    return {"access_token": token, "token_type": "bearer", "expires_in": life_s}


def issue_person(
    conn: sqlite3.Connection, app: App, creator: Creator, scopes: tuple[str, ...], at: float, *, long: bool
) -> dict[str, Any]:
    """A Facebook user token; it is no token of the account, so what ends those leaves it alive."""
    life_s = int(app.more.get("instagram_long_life_s", LONG_LIFE_S)) if long else SHORT_LIFE_S
    token = "EAA" + secrets.token_urlsafe(48)
    conn.execute(
        "INSERT INTO ig_user_tokens VALUES (?, ?, ?, ?, ?, ?, ?)",
        (digest(token), app.client_key, creator.id, ",".join(scopes), long, at, at + life_s),
    )
    return {"access_token": token, "token_type": "bearer", "expires_in": life_s}


def person_of(conn: sqlite3.Connection, world: World, token: str, at: float) -> Person:
    """Whose living user token this is; raises Problem 190 for any other."""
    row = conn.execute("SELECT * FROM ig_user_tokens WHERE digest = ?", (digest(token),)).fetchone()
    app = app_of(conn, world.settings, row["client_key"]) if row else None
    creator = creator_of(conn, row["creator_id"]) if row else None
    if row is None or app is None or creator is None:
        raise dead_token(None)
    if creator.switches.dead:
        raise dead_token(creator.switches.dead)
    if row["expires_at"] <= at:
        raise dead_token(463)
    return Person(app, creator, tuple(row["scopes"].split(",")), bool(row["long"]), row["expires_at"])


def page_token(conn: sqlite3.Connection, person: Person, creator: Creator, at: float) -> str:
    """A token of this account's Page; it has no end by time when the user token is a long one."""
    grant_id = grant(conn, person.app.client_key, creator, person.scopes, person.expires_at)
    return issue(conn, grant_id, "page", "facebook", at, NEVER if person.long else person.expires_at - at)
