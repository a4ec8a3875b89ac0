"""Talking to a platform on behalf of a target: tokens that work, questions repeated, caps remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from app import accounts, db, platforms, storage
from app.errors import HouseError, Permanent, Retryable
from app.platforms import Kind
from app.publishing import caps
from app.publishing.rows import Target

T = TypeVar("T")
# Harmless questions are repeated on the spot: waits in seconds between them.
ASK_AGAIN_S = (0.5, 1.0, 2.0, 4.0)


def media(target: Target) -> platforms.Media:
    to_send = target.to_send
    cover = None
    if to_send.cover is not None:
        kept = to_send.cover
        cover = _file(
            kept["key"], kept["bytes"], kept["sha256"], "image/jpeg", (kept["width_px"], kept["height_px"])
        )
    return replace(
        _file(
            to_send.key,
            to_send.bytes,
            to_send.sha256,
            to_send.content_type,
            (to_send.width_px, to_send.height_px),
        ),
        duration_s=to_send.duration_s,
        fps=to_send.fps,
        cover=cover,
        more=tuple(
            _file(
                one["key"],
                one["bytes"],
                one["sha256"],
                one["content_type"],
                (one["width_px"], one["height_px"]),
            )
            for one in to_send.more or ()
        ),
    )


def _file(
    key: str, bytes_total: int, sha256: str, content_type: str, size: tuple[int, int]
) -> platforms.Media:
    def read(start: int, end: int) -> AsyncIterator[bytes]:
        return storage.read(key, start, end)

    async def link() -> str:
        return await asyncio.to_thread(storage.lending_link, key, content_type=content_type)

    return platforms.Media(bytes_total, sha256, content_type, 0.0, *size, 0.0, read, link)


async def with_token(
    target: Target,
    call: Callable[[accounts.Access], Awaitable[T]],
    *,
    repeat: bool = True,
    loses: bool = True,
) -> tuple[accounts.Access, T]:
    """Make a harmless call with a token that works; a token turned down is renewed once (sheet, section 7).

    `repeat` asks again on the spot when the answer is lost; not for calls that leave something at the platform.
    A refused permission ends the account's connection, unless the call can do without (`loses` False).
    """
    adapter = platforms.get(target.platform)
    access = await accounts.fresh_token(target.account_id)
    ask = asking if repeat else once
    try:
        return access, await ask(lambda: call(access))
    except HouseError as error:
        if adapter.verdict(error.code).kind is not Kind.AUTHORISATION_LOST:
            await caps.note(target, error)
            raise
        refused = error
    if refused.code == "access_token_invalid":
        access = await accounts.fresh_token(target.account_id, refused=access.token)
        try:
            return access, await ask(lambda: call(access))
        except HouseError as error:
            if adapter.verdict(error.code).kind is not Kind.AUTHORISATION_LOST:
                await caps.note(target, error)
                raise
            refused = error
            if refused.code == "access_token_invalid":
                # It was renewed a moment ago, so the permission stands: this token died, too.
                raise Retryable(refused.message, code="token_renewed", after_s=60) from error
    if not loses:
        raise refused
    async with db.house() as conn:
        await accounts.lose(conn, access.account, refused.message)
    raise Permanent(refused.message, code=accounts.NEEDS_RECONNECT) from refused


async def ask(
    target: Target,
    access: accounts.Access,
    handle: platforms.Handle,
    calls: platforms.OnCall | None = None,
    since: datetime | None = None,
) -> platforms.Status:
    """Ask the platform where a begun post stands. Reads only."""
    adapter = platforms.get(target.platform)
    return await adapter.status(
        adapter.app(), access.grant, handle, target.choices, media(target), since=since, on_call=calls
    )


async def once(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


async def asking(call: Callable[[], Awaitable[T]]) -> T:
    """A question that changes nothing is repeated on the spot when its answer is lost."""
    for wait_s in ASK_AGAIN_S:
        try:
            return await call()
        except Retryable as error:
            if error.code == "database_away":
                raise
            await asyncio.sleep(error.after_s if error.after_s and error.after_s <= wait_s else wait_s)
    return await call()
