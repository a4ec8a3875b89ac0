"""Access tokens that work: renewed under a lock of the account's row, because an old pair may die at once
(S0.11–S0.13).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app import crypto, db, events, live, log, platforms
from app.accounts import apps, rows
from app.errors import HouseError, NotYet, Permanent
from app.platforms import Kind

# Where a platform names no moment of its own: renewal runs every ten minutes, and this is more than an idle house's
# hour between two looks. A call asks for five minutes to spare.
LEAD = timedelta(minutes=75)
SPARE = timedelta(minutes=5)
# Of the nine seconds between SIGTERM and exit.
SEE_THROUGH_S = 5.0


@dataclass(frozen=True)
class Access:
    """A token for calls of this moment. Never stored, never logged."""

    account: rows.Account
    token: str = field(repr=False)

    @property
    def grant(self) -> platforms.Grant:
        """What an adapter's call for this account takes."""
        account = self.account
        return platforms.Grant(self.token, account.remote_id, tuple(account.scopes), account.facts)


@dataclass(frozen=True)
class _Kept:
    """What stands in the row. `sealed` is written anew by each renewal, so it tells whether there was one since."""

    account: rows.Account
    token: str | None = field(repr=False)
    sealed: str | None = field(repr=False)

    def works(self, refused: str | None) -> bool:
        """Whether the token is good for the next minutes and not the one that was turned down."""
        return self.token is not None and self.token != refused and _lasts(self.account)


async def fresh_token(account_id: int, *, refused: str | None = None) -> Access:
    """A token that is good for the next minutes, renewed first when needed.

    `refused` is a token the platform has just turned down: then it is renewed unless somebody did already.
    Permanent `needs_reconnect` when only the person can help. May run in many places: one of them renews.
    """
    await apps.look()
    async with db.house() as conn:
        kept = await _read(conn, account_id)
    if kept.works(refused):
        return Access(kept.account, kept.token or "")
    return await _renew(account_id, kept, refused)


async def _renew(account_id: int, seen: _Kept, refused: str | None) -> Access:
    """Renew, and see it through even when we are asked to stop: a pair that was answered and not written is
    lost.
    """
    renewing = asyncio.create_task(_renew_locked(account_id, seen, refused))
    try:
        return await asyncio.shield(renewing)
    except asyncio.CancelledError:
        await asyncio.wait({renewing}, timeout=SEE_THROUGH_S)
        raise


async def _renew_locked(account_id: int, seen: _Kept, refused: str | None) -> Access:
    """Renew under the row's lock. The one place that calls the world inside a transaction: whoever gets the
    lock second must find the new pair written, for the old one is dead by then.
    """
    lost: HouseError | None = None
    async with db.house() as conn:
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = '120s'")
        await conn.execute("SET LOCAL lock_timeout = '90s'")
        await conn.execute("SELECT 1 FROM accounts WHERE id = %s FOR NO KEY UPDATE", [account_id])
        kept = await _read(conn, account_id)
        # Somebody else's renewal counts even where the platform gave the same token again.
        if kept.works(refused) or (kept.sealed != seen.sealed and kept.works(None)):
            return Access(kept.account, kept.token or "")
        adapter = platforms.get(kept.account.platform)
        try:
            tokens = await _refresh(conn, adapter, kept)
        except HouseError as error:
            if error.code != rows.NEEDS_RECONNECT and not _ends_it(adapter, error):
                raise
            lost = error
            await lose(conn, kept.account, error.message)
        else:
            await rows.write_tokens(conn, account_id, tokens)
            log.info("token renewed", account_id=account_id, platform=kept.account.platform)
            return Access(await rows.get(conn, account_id), tokens.access_token)
    raise Permanent(lost.message, code=rows.NEEDS_RECONNECT) from lost


async def _refresh(conn: db.Conn, adapter: platforms.Platform, kept: _Kept) -> platforms.Tokens:
    """Ask the platform for new tokens; Permanent `needs_reconnect` where it never gave us anything to ask with."""
    account = kept.account
    sealed = await db.value(conn, "SELECT refresh_token_enc FROM accounts WHERE id = %s", [account.id])
    if sealed is None:
        raise Permanent(
            f"{adapter.LABEL} gave a permission that has ended and cannot be renewed. Connect the account again.",
            code=rows.NEEDS_RECONNECT,
        )
    refresh_token = crypto.unseal(sealed, rows.where(account.id, "refresh_token_enc"))
    return await adapter.refresh(adapter.app(), Access(account, kept.token or "").grant, refresh_token)


def _ends_it(adapter: platforms.Platform, error: HouseError) -> bool:
    return adapter.verdict(error.code).kind is Kind.AUTHORISATION_LOST


def elsewhere(account: rows.Account) -> str:
    """Why an account of the simulator's cannot be used beside the real platform, or the other way round; empty when
    it is of the world that answers now. Its token is never sent to the other one.
    """
    adapter = platforms.get(account.platform)
    if account.simulated == adapter.app().simulated:
        return ""
    if account.simulated:
        return f"This account lives in the simulator, and the real {adapter.LABEL} is set up now. Connect a real one."
    return f"This is a real account, and the simulator stands in for {adapter.LABEL} here now. It waits untouched."


def renews_at(account: rows.Account) -> datetime | None:
    """From when on the token is renewed; None for one that needs no renewing."""
    ends_at = account.access_expires_at
    if account.renew_at is None:
        return None if ends_at is None else ends_at - LEAD
    return account.renew_at if ends_at is None else min(account.renew_at, ends_at - SPARE)


async def ask(account_id: int) -> platforms.Creator:
    """What the platform says now that this account may do; a token that is turned down is renewed once.

    Finds out a lost permission, too: then Permanent, and the account needs to be connected again.
    """
    access = await fresh_token(account_id)
    adapter = platforms.get(access.account.platform)
    try:
        return await adapter.creator(adapter.app(), access.grant)
    except HouseError as error:
        if not _ends_it(adapter, error):
            raise
        turned_down = error
    if turned_down.code == "access_token_invalid":
        access = await fresh_token(account_id, refused=access.token)
        try:
            return await adapter.creator(adapter.app(), access.grant)
        except HouseError as error:
            if not _ends_it(adapter, error):
                raise
            turned_down = error
    async with db.house() as conn:
        await lose(conn, access.account, turned_down.message)
    raise Permanent(turned_down.message, code=rows.NEEDS_RECONNECT) from turned_down


async def _read(conn: db.Conn, account_id: int) -> _Kept:
    account = await rows.get(conn, account_id)
    if account.state != rows.CONNECTED:
        raise Permanent(account.reason or "Connect this account again.", code=rows.NEEDS_RECONNECT)
    if other := elsewhere(account):
        raise Permanent(other, code="other_world")
    sealed = await db.value(conn, "SELECT access_token_enc FROM accounts WHERE id = %s", [account_id])
    if sealed is None:
        return _Kept(account, None, None)
    return _Kept(account, crypto.unseal(sealed, rows.where(account_id, "access_token_enc")), sealed)


def _lasts(account: rows.Account) -> bool:
    """Whether the token is good for SPARE; one without an end of its own is."""
    return account.access_expires_at is None or account.access_expires_at - datetime.now(UTC) > SPARE


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


async def renew_due(*, first: Sequence[int] = (), most: int = 200) -> int:
    """Renew every token whose time has come, those of `first` (accounts with a post planned beyond their token's
    end) before all others; gives how many were renewed.

    One account in trouble does not stop the others: network faults leave it connected, with the reason on its card,
    for the next round (S0.13).
    """
    await apps.look()
    async with db.house() as conn:
        due = await db.rows(
            conn,
            """
            SELECT id
              FROM accounts
             WHERE state = 'connected'
               AND (access_expires_at < now()
                    OR (refresh_token_enc IS NOT NULL AND coalesce(renew_at, access_expires_at - %s) < now()))
             ORDER BY array_position(%s::bigint[], id) NULLS LAST, coalesce(access_expires_at, renew_at)
             LIMIT %s""",
            [LEAD, list(first), most],
        )
    renewed = 0
    for (account_id,) in due:
        try:
            async with db.house() as conn:
                seen = await _read(conn, account_id)
            await _renew(account_id, seen, seen.token)
            renewed += 1
        except NotYet as error:
            log.info("token renewed later", account_id=account_id, reason=error.message, code=error.code)
            await _put_off(account_id, error)
        except HouseError as error:
            log.warning("token not renewed", account_id=account_id, reason=error.message, code=error.code)
            await _note(account_id, error.message)
    return renewed


async def _put_off(account_id: int, error: NotYet) -> None:
    """The platform wants to be asked later: so it is, and nobody is told while the token lasts until then."""
    now = datetime.now(UTC)
    again_at = error.until or now + timedelta(seconds=error.after_s or 0.0)
    async with db.house() as conn:
        account = await rows.get(conn, account_id)
        await conn.execute(
            "UPDATE accounts SET renew_at = %s WHERE id = %s AND state = 'connected'", [again_at, account_id]
        )
    if account.access_expires_at is not None and account.access_expires_at - SPARE <= max(again_at, now):
        await _note(account_id, error.message)


async def _note(account_id: int, reason: str) -> None:
    """Show on the account's card why its renewal did not work; the next that works takes it away."""
    async with db.house() as conn:
        changed = await db.run(
            conn,
            """
            UPDATE accounts
               SET reason = %(reason)s
             WHERE id = %(id)s AND state = 'connected' AND reason IS DISTINCT FROM %(reason)s""",
            {"id": account_id, "reason": reason},
        )
        if changed:
            await live.tell(conn, f"account-{account_id}")


async def disconnect(conn: db.Conn, account_id: int) -> None:
    """Forget the tokens for good; posts and history stay. Twice is once."""
    account = await rows.get(conn, account_id)
    await conn.execute(
        """
        UPDATE accounts
           SET state = 'disconnected', reason = NULL, access_token_enc = NULL, refresh_token_enc = NULL,
               access_expires_at = NULL, refresh_expires_at = NULL, renew_at = NULL, changed_at = now()
         WHERE id = %s""",
        [account_id],
    )
    await events.emit(conn, "account.disconnected", account.topic(), workspace_id=account.workspace_id)
