"""Files that no row names: what a process left that was killed between storing a file and committing its row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app import db, log, storage

# Nothing that is on its way into a row takes longer than this.
OLD = timedelta(hours=24)


async def sweep_orphans() -> int:
    """Remove files older than a day that no row names; gives how many. May run again, and beside anything."""
    removed = 0
    async for key in storage.keys("tenants/"):
        async with db.house() as conn:
            named = await db.value(
                conn,
                """
                SELECT EXISTS (SELECT FROM videos WHERE source_key = %(key)s OR edited_key = %(key)s)
                    OR EXISTS (SELECT FROM renditions WHERE key = %(key)s)
                    OR EXISTS (SELECT FROM assets WHERE key = %(key)s)
                    OR EXISTS (SELECT FROM targets WHERE media ->> 'key' = %(key)s)
                    OR EXISTS (SELECT FROM uploads WHERE key = %(key)s)""",
                {"key": key},
            )
        if named:
            continue
        about = await storage.head(key)
        if about is not None and datetime.now(UTC) - about.changed_at > OLD:
            await storage.delete(key)
            removed += 1
            log.info("a file without a row was removed", key=key)
    return removed
