"""How much may go out: our own pace of an account, the platforms' limits, and what their answers say of them.

Limits that we count are rows of `limits`, taken once for each begun attempt. What only the platform knows (its
headers, its refusals) is kept here as usage and holds. Waiting takes no worker's place and no try.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from app import accounts, config, db, limits, platforms
from app.errors import HouseError, NotYet
from app.platforms import Kind
from app.publishing.rows import Target

# At this much of a budget nothing new is begun until it is said to be free again.
FULL_PERCENT = 95.0
# Where the platform gives no time (Facebook sheet, section 5).
FULL_FOR = timedelta(minutes=15)


def limits_of(target: Target, account: accounts.Account) -> list[limits.Limit]:
    """Every limit that one start of this target counts against."""
    found = _own_pace(target)
    adapter = platforms.get(target.platform)
    for quota in adapter.quotas(accounts.creator_of(account)):
        key = key_of(target.platform, quota, target.account_id)
        found.append(limits.Limit(key, quota.most, quota.window_s, quota.sentence, quota.zone))
    return found


def key_of(platform: str, quota: platforms.Quota, account_id: int) -> str:
    """Under which key a platform's limit is counted, for this account or for all that share our registration."""
    client_key = platforms.get(platform).app().client_key
    whose = f"account-{account_id}" if quota.scope == "account" else f"app-{client_key}"
    return f"{platform}-{quota.name}-{whose}"


def _own_pace(target: Target) -> list[limits.Limit]:
    """S1.30: how often one account may start an upload, over all workers; empty when switched off."""
    most, window_s = config.get().account_uploads_most
    if not most:
        return []
    reason = f"This account posts at most {most} {'video' if most == 1 else 'videos'} every {window_s / 60:g} minutes."
    return [limits.Limit(f"account-{target.account_id}", most, window_s, reason)]


async def check_hold(conn: db.Conn, target: Target, account: accounts.Account) -> None:
    """NotYet while the platform has asked this account, or this whole installation, to wait."""
    now = datetime.now(UTC)
    if account.held_until is not None and account.held_until > now:
        raise NotYet(
            account.held_reason or "The platform asked this account to wait.", until=account.held_until
        )
    found = await db.rows(
        conn,
        """
        SELECT held_until, reason
          FROM app_usage
         WHERE platform = %s AND client_key = %s AND held_until > now()
         ORDER BY held_until DESC
         LIMIT 1""",
        [target.platform, platforms.get(target.platform).app().client_key],
    )
    for until, reason in found:
        raise NotYet(reason or "The platform asked this installation to wait.", until=until)


async def note(target: Target, error: HouseError) -> None:
    """A cap of the platform holds the whole account (or all of them, where they share it), so that the next post
    does not run into it again.
    """
    verdict = platforms.get(target.platform).verdict(error.code)
    if verdict.kind is not Kind.QUOTA:
        return
    until = error.until if isinstance(error, NotYet) else None
    after_s = error.after_s if isinstance(error, NotYet) and error.after_s else verdict.after_s
    until = until or datetime.now(UTC) + timedelta(seconds=after_s or 3600)
    reason = error.message if isinstance(error, NotYet) else verdict.sentence.replace("{words}", "").strip()
    async with db.house() as conn:
        if verdict.scope == "app":
            await _hold_app(conn, target.platform, error.code, until, reason)
        else:
            await accounts.set_hold(conn, target.account_id, until, reason)


async def keep_usage(conn: db.Conn, target: Target, found: Iterable[platforms.Usage]) -> None:
    """Remember what answers said of limits; a budget that is nearly used up holds what would begin next."""
    now = datetime.now(UTC)
    for usage in found:
        resets_at = None if not usage.until_s else now + timedelta(seconds=usage.until_s)
        full = (usage.percent or 0.0) >= FULL_PERCENT
        until = (resets_at or now + FULL_FOR) if full else None
        values = [usage.used, usage.most, usage.percent, resets_at]
        if usage.scope == "account":
            await conn.execute(
                """
                INSERT INTO account_usage (used, most, percent, resets_at, account_id, workspace_id, name)
                VALUES (%s, %s, %s, %s, %s, %s, %s)
                    ON CONFLICT (account_id, name)
                    DO UPDATE SET used = excluded.used, most = excluded.most, percent = excluded.percent,
                                  resets_at = excluded.resets_at, changed_at = now()""",
                [*values, target.account_id, target.workspace_id, usage.name],
            )
            if until is not None:
                await accounts.set_hold(conn, target.account_id, until, usage.sentence or None)
            continue
        await conn.execute(
            """
            INSERT INTO app_usage (used, most, percent, resets_at, platform, client_key, name)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT (platform, client_key, name)
                DO UPDATE SET used = excluded.used, most = excluded.most, percent = excluded.percent,
                              resets_at = excluded.resets_at, changed_at = now()""",
            [*values, target.platform, platforms.get(target.platform).app().client_key, usage.name],
        )
        if until is not None:
            await _hold_app(conn, target.platform, usage.name, until, usage.sentence)


async def _hold_app(conn: db.Conn, platform: str, name: str, until: datetime, reason: str) -> None:
    await conn.execute(
        """
        INSERT INTO app_usage (platform, client_key, name, held_until, reason)
        VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (platform, client_key, name)
            DO UPDATE SET held_until = excluded.held_until, reason = excluded.reason, changed_at = now()""",
        [platform, platforms.get(platform).app().client_key, name, until, reason],
    )
