"""Access tokens that work: renewed under a lock of the account's row, because the old pair dies at once
(S0.11–S0.13).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app import crypto, db, events, log, platforms
from app.accounts import rows
from app.errors import HouseError, Permanent
from app.platforms import Kind

# Renewal runs every ten minutes, so what ends within fifteen is renewed; a call asks for five to spare.
# More than an idle house's hour between two looks.
LEAD = timedelta(minutes=75)
SPARE = timedelta(minutes=5)
# Of the nine seconds between SIGTERM and exit.
SEE_THROUGH_S = 5.0


@dataclass(frozen=True)
class Access:
    """A token for calls of this moment. Never stored, never logged."""

    account: rows.Account
    token: str = field(repr=False)


async def fresh_token(account_id: int, *, refused: str | None = None) -> Access:
    """A token that is good for the next minutes, renewed first when needed.

    `refused` is a token the platform has just turned down: then it is renewed unless somebody did already.
    Permanent `needs_reconnect` when only the person can help. May run in many places: one of them renews.
    """
    async with db.house() as conn:
        account, access = await _read(conn, account_id)
    if access is not None and access != refused and _lasts(account, SPARE):
        return Access(account, access)
    return await _renew(account_id, refused)


async def _renew(account_id: int, refused: str | None) -> Access:
    """Renew, and see it through even when we are asked to stop: a pair that was answered and not written is
    lost.
    """
    renewing = asyncio.create_task(_renew_locked(account_id, refused))
    try:
        return await asyncio.shield(renewing)
    except asyncio.CancelledError:
        await asyncio.wait({renewing}, timeout=SEE_THROUGH_S)
        raise


async def _renew_locked(account_id: int, refused: str | None) -> Access:
    """Renew under the row's lock. The one place that calls the world inside a transaction: whoever gets the
    lock second must find the new pair written, for the old one is dead by then.
    """
    lost: HouseError | None = None
    async with db.house() as conn:
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = '120s'")
        await conn.execute("SET LOCAL lock_timeout = '90s'")
        await conn.execute("SELECT 1 FROM accounts WHERE id = %s FOR NO KEY UPDATE", [account_id])
        account, access = await _read(conn, account_id)
        if access is not None and access != refused and _lasts(account, SPARE):
            return Access(account, access)
        sealed = await db.value(conn, "SELECT refresh_token_enc FROM accounts WHERE id = %s", [account_id])
        if sealed is None:
            raise Permanent("Connect this account again.", code=rows.NEEDS_RECONNECT)
        adapter = platforms.get(account.platform)
        try:
            tokens = await adapter.refresh(
                adapter.app(), crypto.unseal(sealed, rows.where(account_id, "refresh_token_enc"))
            )
        except HouseError as error:
            if adapter.verdict(error.code).kind is not Kind.AUTHORISATION_LOST:
                raise
            lost = error
            await lose(conn, account, error.message)
        else:
            await rows.write_tokens(conn, account_id, tokens)
            log.info("token renewed", account_id=account_id, platform=account.platform)
            return Access(await rows.get(conn, account_id), tokens.access_token)
    raise Permanent(lost.message, code=rows.NEEDS_RECONNECT) from lost


async def _read(conn: db.Conn, account_id: int) -> tuple[rows.Account, str | None]:
    account = await rows.get(conn, account_id)
    if account.state != rows.CONNECTED:
        raise Permanent(account.reason or "Connect this account again.", code=rows.NEEDS_RECONNECT)
    sealed = await db.value(conn, "SELECT access_token_enc FROM accounts WHERE id = %s", [account_id])
    return account, None if sealed is None else crypto.unseal(
        sealed, rows.where(account_id, "access_token_enc")
    )


def _lasts(account: rows.Account, spare: timedelta) -> bool:
    return account.access_expires_at is not None and account.access_expires_at - datetime.now(UTC) > spare


async def lose(conn: db.Conn, account: rows.Account, reason: str) -> None:
    """The platform ended the permission: the person is told once and nothing more is tried with this account."""
    told = await db.run(
        conn,
        """
        UPDATE accounts
           SET state = 'needs_reconnect', reason = %s, changed_at = now()
         WHERE id = %s AND state = 'connected'""",
        [reason, account.id],
    )
    if told:
        await events.emit(
            conn, "account.needs_reconnect", account.topic(), workspace_id=account.workspace_id, reason=reason
        )


async def renew_due(*, most: int = 200) -> int:
    """Renew every token that ends soon, those with a post waiting for them first; gives how many were
    renewed.

    One account in trouble does not stop the others: network faults leave it connected for the next round
    (S0.13).
    """
    async with db.house() as conn:
        due = await db.rows(
            conn,
            """
            SELECT id
              FROM accounts
             WHERE state = 'connected' AND access_expires_at < now() + %s
             ORDER BY access_expires_at
             LIMIT %s""",
            [LEAD, most],
        )
    renewed = 0
    for (account_id,) in due:
        try:
            async with db.house() as conn:
                _, access = await _read(conn, account_id)
            await _renew(account_id, access)
            renewed += 1
        except HouseError as error:
            log.warning("token not renewed", account_id=account_id, reason=error.message, code=error.code)
    return renewed


async def disconnect(conn: db.Conn, account_id: int) -> None:
    """Forget the tokens for good; posts and history stay. Twice is once."""
    account = await rows.get(conn, account_id)
    await conn.execute(
        """
        UPDATE accounts
           SET state = 'disconnected', reason = NULL, access_token_enc = NULL, refresh_token_enc = NULL,
               access_expires_at = NULL, refresh_expires_at = NULL, changed_at = now()
         WHERE id = %s""",
        [account_id],
    )
    await events.emit(conn, "account.disconnected", account.topic(), workspace_id=account.workspace_id)


async def forget_states(conn: db.Conn) -> int:
    """Remove what is left of connections that were begun more than a day ago; gives how many."""
    return await db.run(conn, "DELETE FROM oauth_states WHERE created_at < now() - interval '1 day'")
