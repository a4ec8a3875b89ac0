"""What every simulated platform's calls have in common: who calls, which fault hits, how the answer is spoilt.

It knows no platform's envelope: each brings its own answers for "broken" and "too fast".
"""

from __future__ import annotations

import asyncio
import re
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.sandbox.faults import Fault
from app.sandbox.line import Cut
from app.sandbox.world import App, Creator, World, app_of, creator_of, digest

MOST_BODY_BYTES = 1024 * 1024


class TooLarge(Exception):
    """The body of a call is longer than any call of an API may be."""


@dataclass(frozen=True)
class Caller:
    """Who calls: an app on behalf of a creator. `open_id` is what the platform calls this person."""

    app: App
    creator: Creator
    grant_id: int
    open_id: str
    scopes: frozenset[str]


def world_of(request: Request) -> World:
    world = request.app.state.world
    assert isinstance(world, World)
    return world


async def body_of(request: Request, most_bytes: int = MOST_BODY_BYTES) -> bytes:
    """The whole body of a small call; TooLarge past `most_bytes`. Uploads are streamed by their platform."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise TooLarge
    return body


def base_of(request: Request) -> str:
    """The simulator's address as the caller reached it, without a slash at the end."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"


def tagged(tags: dict[str, Fault], text: object) -> list[Fault]:
    """The faults that words of this text arm, for the post it belongs to alone."""
    words = re.split(r"\s+", text) if isinstance(text, str) else []
    return [tags[word] for word in words if word in tags]


async def under(
    world: World,
    fault: Fault | None,
    acted: Callable[[], Awaitable[Response]],
    put_off: Callable[[float], Awaitable[None]] | None = None,
    *,
    broken: Response,
    limited: Response,
) -> Response:
    """Answer a call as the armed fault wants it.

    `acted()` does the act and gives its answer; `put_off(due_at)` notes the act for later; `broken` and
    `limited` are the platform's own answers for 5xx and for a call too many. `token_expired` is not ours: the
    caller's token must die before the call is judged.
    """
    if fault is None:
        return await acted()
    if fault.fault == "drop_before":
        return Cut()
    if fault.fault == "error_before":
        return broken
    if fault.fault == "rate_limit":
        return limited
    if fault.fault == "act_after_cut":
        if put_off is not None:
            await put_off(world.clock() + fault.seconds)
        return Cut()
    answer = await acted()
    if fault.fault == "slow":
        await asyncio.sleep(fault.seconds)
    if fault.fault == "drop_after":
        return Cut()
    if fault.fault == "error_after":
        return broken
    if fault.fault == "blocked_after":
        return limited
    if fault.fault == "junk_after":
        return HTMLResponse("<!doctype html><title>Gateway</title><h1>Please stand by</h1>")
    return answer


def caller_of(conn: sqlite3.Connection, world: World, grant_id: int) -> Caller | None:
    """The caller behind a grant; None when it has ended."""
    row = conn.execute("SELECT * FROM grants WHERE id = ? AND ended_at IS NULL", (grant_id,)).fetchone()
    if row is None:
        return None
    app = app_of(conn, world.settings, row["client_key"])
    creator = creator_of(conn, row["creator_id"])
    if app is None or creator is None:
        return None
    scopes = frozenset(filter(None, row["scopes"].split(",")))
    return Caller(app, creator, row["id"], row["open_id"], scopes)


def names_of(creator: Creator, *ids: str) -> tuple[str, ...]:
    """What a fault may call this account."""
    return (creator.username, creator.display_name, *ids)


def expire_tokens(
    conn: sqlite3.Connection, accounts: tuple[str, ...] | None, at: float, platform: str | None = None
) -> int:
    """Let the access tokens of these accounts die now; None means everybody's, of every platform or of one."""
    every = (
        "UPDATE access_tokens SET expires_at = ? WHERE expires_at > ? AND grant_id IN ("
        " SELECT g.id FROM grants g JOIN creators c ON c.id = g.creator_id"
        "  WHERE coalesce(?, c.platform) = c.platform"
    )
    if accounts is None:
        return conn.execute(f"{every})", (at, at, platform)).rowcount
    named = f"{every} AND ? IN (c.username, c.display_name, g.open_id))"
    return sum(conn.execute(named, (at, at, platform, account)).rowcount for account in accounts)


def forget_dead_tokens(conn: sqlite3.Connection, platform: str, at: float) -> None:
    """Clear away this platform's tokens that are over. Those of others stay: dead, they still tell whose they were."""
    conn.execute(
        "DELETE FROM access_tokens WHERE expires_at <= ? AND grant_id IN ("
        " SELECT g.id FROM grants g JOIN creators c ON c.id = g.creator_id WHERE c.platform = ?)",
        (at, platform),
    )


def issue_code(
    conn: sqlite3.Connection,
    world: World,
    client_key: str,
    creator_id: int,
    scopes: tuple[str, ...],
    at: float,
    *,
    redirect_uri: str | None = None,
    challenge: str | None = None,
) -> str:
    """A one-use code. It holds characters that a careless reader of the query string would spoil."""
    code = f"{secrets.token_urlsafe(32)}*!{secrets.randbelow(10_000)}.s1"
    conn.execute(
        "INSERT INTO codes VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
        (digest(code), client_key, creator_id, ",".join(scopes), redirect_uri, challenge,
         at + world.settings.code_lifetime_s),
    )  # fmt: skip
    return code
