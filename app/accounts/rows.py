"""Connected accounts as rows. Tokens stay in their sealed columns: no dataclass here carries one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from app import config, crypto, db, events, jobs, platforms, queue
from app.errors import NotFound, Refused, WrongState

CONNECTED, NEEDS_RECONNECT, DISCONNECTED = "connected", "needs_reconnect", "disconnected"
# What happens to posts that were due while nothing could go out (S0.7): one after another at the account's pace,
# only at a person's word, or not at all.
OUTAGE_POLICIES = ("spread", "hold", "miss")


@dataclass(frozen=True)
class Account:
    """An account on a platform as people see it. `creator` is what the platform last allowed it, as its
    adapter says; `reason` of a connected account is why its last renewal did not work.
    """

    id: int
    workspace_id: int
    platform: str
    remote_id: str
    handle: str
    display_name: str
    avatar_url: str | None
    simulated: bool
    scopes: list[str]
    facts: dict[str, str]
    access_expires_at: datetime | None
    refresh_expires_at: datetime | None
    renew_at: datetime | None
    state: str
    reason: str | None
    held_until: datetime | None
    held_reason: str | None
    outage_policy: str
    paused_at: datetime | None
    creator: dict[str, Any] | None
    creator_at: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    changed_at: datetime

    @property
    def missing_scopes(self) -> list[str]:
        return [scope for scope in platforms.get(self.platform).NEEDED_SCOPES if scope not in self.scopes]

    @property
    def usable(self) -> bool:
        return self.state == CONNECTED and not self.missing_scopes

    def topic(self) -> str:
        return f"account-{self.id}"


def where(account_id: int, column: str) -> str:
    """What a sealed token is bound to: moved to another row or column it does not open."""
    return f"accounts|{account_id}|{column}"


async def list_for(conn: db.Conn) -> list[Account]:
    """The workspace's accounts that are not disconnected, newest first."""
    return await db.many(
        conn, Account, "SELECT {columns} FROM accounts WHERE state <> 'disconnected' ORDER BY id DESC"
    )


async def get(conn: db.Conn, account_id: int) -> Account:
    return await db.one(conn, Account, "SELECT {columns} FROM accounts WHERE id = %s", [account_id])


async def usable(conn: db.Conn, account_id: int) -> Account:
    """The account to post with; NotFound for a stranger's, WrongState when it has to be connected again."""
    account = await get(conn, account_id)
    if account.state == DISCONNECTED:
        raise NotFound("This account is no longer connected.")
    if account.state == NEEDS_RECONNECT:
        raise WrongState(account.reason or "Connect this account again first.", code=NEEDS_RECONNECT)
    return account


async def keep(
    conn: db.Conn,
    workspace_id: int,
    platform: str,
    profile: platforms.Profile,
    tokens: platforms.Tokens,
    *,
    simulated: bool,
) -> Account:
    """Save a connected account, or the same one connected again: its history, schedule and pause stay, what the
    platform held it back for is over, and what waited for it is looked at again.
    """
    found = await db.rows(
        conn,
        """
        WITH before AS (
            SELECT state
              FROM accounts
             WHERE workspace_id = %(workspace)s AND platform = %(platform)s AND remote_id = %(remote_id)s
        )
        INSERT INTO accounts (workspace_id, platform, remote_id, handle, display_name, avatar_url, simulated,
                              facts, state)
        VALUES (%(workspace)s, %(platform)s, %(remote_id)s, %(handle)s, %(name)s, %(avatar)s, %(simulated)s,
                %(facts)s, 'connected')
            ON CONFLICT (workspace_id, platform, remote_id)
            DO UPDATE SET facts = excluded.facts, handle = excluded.handle, display_name = excluded.display_name,
                          avatar_url = excluded.avatar_url, simulated = excluded.simulated, state = 'connected',
                          reason = NULL, held_until = NULL, held_reason = NULL
        RETURNING id, (SELECT state FROM before)""",
        {
            "workspace": workspace_id,
            "platform": platform,
            "remote_id": profile.remote_id,
            "handle": profile.handle,
            "name": profile.display_name,
            "avatar": profile.avatar_url,
            "simulated": simulated,
            "facts": Jsonb(dict(tokens.facts)),
        },
    )
    [(account_id, state_before)] = found
    await write_tokens(conn, account_id, tokens)
    account = await get(conn, account_id)
    await events.emit(
        conn,
        "account.connected",
        account.topic(),
        workspace_id=workspace_id,
        platform=platform,
        handle=account.handle,
        missing=account.missing_scopes,
    )
    if state_before is not None:
        await _look_again(conn, workspace_id)
    return account


async def write_tokens(conn: db.Conn, account_id: int, tokens: platforms.Tokens) -> None:
    """Both tokens, both ends, what the adapter keeps and the scopes in one statement.

    An empty refresh token never overwrites one (S0.12), nor do no scopes at all. A lifetime of None has no end.
    """
    sealed_refresh = (
        crypto.seal(tokens.refresh_token, where(account_id, "refresh_token_enc"))
        if tokens.refresh_token
        else None
    )
    await conn.execute(
        """
        UPDATE accounts
           SET access_token_enc = %(access)s, access_expires_at = now() + make_interval(secs => %(access_s)s),
               refresh_token_enc = coalesce(%(refresh)s, refresh_token_enc),
               refresh_expires_at = CASE WHEN %(refresh)s::text IS NULL THEN refresh_expires_at
                                         ELSE now() + make_interval(secs => %(refresh_s)s) END,
               renew_at = now() + make_interval(secs => %(renew_s)s), facts = facts || %(facts)s,
               scopes = CASE WHEN cardinality(%(scopes)s::text[]) = 0 THEN scopes ELSE %(scopes)s END,
               reason = NULL, changed_at = now()
         WHERE id = %(id)s""",
        {
            "id": account_id,
            "access": crypto.seal(tokens.access_token, where(account_id, "access_token_enc")),
            "access_s": tokens.access_expires_in_s,
            "refresh": sealed_refresh,
            "refresh_s": tokens.refresh_expires_in_s,
            "renew_s": tokens.renew_in_s,
            "facts": Jsonb(dict(tokens.facts)),
            "scopes": list(tokens.scopes),
        },
    )


async def keep_creator(conn: db.Conn, account_id: int, creator: platforms.Creator) -> None:
    """Remember what the platform just said the account may do, for the composer."""
    await conn.execute(
        """
        UPDATE accounts
           SET creator = %s, creator_at = now(), display_name = %s, handle = %s
         WHERE id = %s""",
        [Jsonb(asdict(creator)), creator.display_name, creator.handle, account_id],
    )


def creator_of(account: Account) -> platforms.Creator | None:
    """What was last heard; None when it was never asked."""
    kept: Mapping[str, Any] | None = account.creator
    if kept is None:
        return None
    return platforms.Creator.from_json(kept)


async def set_hold(conn: db.Conn, account_id: int, until: datetime | None, reason: str | None) -> None:
    """The platform asked this account to wait (a daily cap): nothing of it starts before `until`. The longer of two
    holds counts; None lifts any.
    """
    await conn.execute(
        """
        UPDATE accounts
           SET held_until = %(until)s, held_reason = %(reason)s
         WHERE id = %(id)s
           AND (%(until)s::timestamptz IS NULL OR held_until IS NULL OR held_until < %(until)s::timestamptz)""",
        {"id": account_id, "until": until, "reason": reason},
    )


async def set_success(conn: db.Conn, account_id: int) -> None:
    """Something of it went out. A hold stays: it speaks of what begins next."""
    await conn.execute("UPDATE accounts SET last_success_at = now() WHERE id = %s", [account_id])


async def set_policy(conn: db.Conn, account_id: int, policy: str) -> Account:
    """What happens to posts that were due while nothing could go out: one of OUTAGE_POLICIES, Refused otherwise."""
    if policy not in OUTAGE_POLICIES:
        raise Refused(
            "Choose what happens to posts that were late.",
            code="invalid",
            fields={"policy": f"Choose one of {', '.join(OUTAGE_POLICIES)}."},
        )
    account = await get(conn, account_id)
    await conn.execute("UPDATE accounts SET outage_policy = %s WHERE id = %s", [policy, account_id])
    if policy != account.outage_policy:
        await events.emit(
            conn, "account.policy_set", account.topic(), workspace_id=account.workspace_id, policy=policy
        )
    return await get(conn, account_id)


async def pause(conn: db.Conn, account_id: int, paused: bool) -> Account:
    """Hold back everything of this account, or let it go on: then what waited is looked at again. Twice is once."""
    account = await get(conn, account_id)
    if account.paused_at is not None and not paused:
        await _look_again(conn, account.workspace_id)
    await conn.execute(
        "UPDATE accounts SET paused_at = CASE WHEN %s THEN coalesce(paused_at, now()) END WHERE id = %s",
        [paused, account_id],
    )
    await events.emit(
        conn,
        "account.paused" if paused else "account.resumed",
        account.topic(),
        workspace_id=account.workspace_id,
    )
    return await get(conn, account_id)


async def _look_again(conn: db.Conn, workspace_id: int) -> None:
    """Have the posts that waited for an account looked at now; without a queue they wait for the next timer."""
    if config.get().queue_enabled:
        await queue.defer(conn, jobs.RELEASE_DUE, workspace_id=workspace_id)
