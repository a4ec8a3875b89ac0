"""Talking to a platform on behalf of a target: tokens that work, questions repeated, caps remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from app import accounts, db, platforms, storage
from app.errors import HouseError, NotYet, Permanent, Retryable
from app.platforms import Kind
from app.publishing.rows import Target

T = TypeVar("T")
# Harmless questions are repeated on the spot: waits in seconds between them.
ASK_AGAIN_S = (0.5, 1.0, 2.0, 4.0)


def media(target: Target) -> platforms.Media:
    to_send = target.to_send

    def read(start: int, end: int) -> AsyncIterator[bytes]:
        return storage.read(to_send.key, start, end)

    return platforms.Media(
        to_send.bytes,
        to_send.sha256,
        to_send.content_type,
        to_send.duration_s,
        to_send.width_px,
        to_send.height_px,
        to_send.fps,
        read,
    )


async def with_token(
    target: Target, call: Callable[[accounts.Access], Awaitable[T]], *, repeat: bool = True
) -> tuple[accounts.Access, T]:
    """Make a harmless call with a token that works; a token turned down is renewed once (sheet, section 7).

    `repeat` asks again on the spot when the answer is lost; not for calls that leave something at the platform.
    """
    adapter = platforms.get(target.platform)
    access = await accounts.fresh_token(target.account_id)
    ask = asking if repeat else once
    try:
        return access, await ask(lambda: call(access))
    except HouseError as error:
        if adapter.verdict(error.code).kind is not Kind.AUTHORISATION_LOST:
            await note(target, error)
            raise
        refused = error
    if refused.code == "access_token_invalid":
        access = await accounts.fresh_token(target.account_id, refused=access.token)
        try:
            return access, await ask(lambda: call(access))
        except HouseError as error:
            if adapter.verdict(error.code).kind is not Kind.AUTHORISATION_LOST:
                await note(target, error)
                raise
            refused = error
    async with db.house() as conn:
        await accounts.lose(conn, access.account, refused.message)
    raise Permanent(refused.message, code=accounts.NEEDS_RECONNECT) from refused


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


async def note(target: Target, error: HouseError) -> None:
    """A cap of the platform holds the whole account, so that its next post does not run into it again."""
    if platforms.get(target.platform).verdict(error.code).kind is Kind.QUOTA and isinstance(error, NotYet):
        until = error.until or datetime.now(UTC) + timedelta(seconds=error.after_s or 3600)
        async with db.house() as conn:
            await accounts.set_hold(conn, target.account_id, until, error.message)
