"""Accounts whose access ends before what is planned on them, for whoever renews it."""

from __future__ import annotations

from app import db


async def beyond_access(*, most: int = 200) -> list[int]:
    """The connected accounts that are to be renewed soon and have a post planned for after their access ends, the
    one with the earliest such post first (S0.11).
    """
    async with db.house() as conn:
        found = await db.rows(
            conn,
            """
            SELECT accounts.id
              FROM accounts
              JOIN targets ON targets.account_id = accounts.id AND targets.state IN ('scheduled', 'queued')
                          AND targets.publish_at >= accounts.access_expires_at
             WHERE accounts.state = 'connected'
               AND coalesce(accounts.renew_at, accounts.access_expires_at) < now() + interval '2 hours'
             GROUP BY accounts.id
             ORDER BY min(targets.publish_at)
             LIMIT %s""",
            [most],
        )
    return [int(account_id) for (account_id,) in found]
