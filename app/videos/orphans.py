"""Files that no row names: what a process left that was killed between storing a file and committing its row."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from app import db, log, storage

# Nothing that is on its way into a row takes longer than this.
OLD = timedelta(hours=24)
ASKED_AT_ONCE = 1000


async def sweep_orphans() -> int:
    """Remove files older than a day that no row names; gives how many. May run again, and beside anything."""
    removed = 0
    keys: list[str] = []
    async for key in storage.keys("tenants/"):
        keys.append(key)
        if len(keys) == ASKED_AT_ONCE:
            removed += await _remove_unnamed(keys)
            keys = []
    return removed + await _remove_unnamed(keys)


async def unnamed(conn: db.Conn, keys: Collection[str]) -> list[str]:
    """Those of these keys that no row names, by one question for all of them."""
    if not keys:
        return []
    found = await db.rows(
        conn,
        """
        SELECT key
          FROM unnest(%s::text[]) AS asked (key)
         WHERE NOT EXISTS (SELECT FROM videos WHERE source_key = asked.key)
           AND NOT EXISTS (SELECT FROM videos WHERE edited_key = asked.key)
           AND NOT EXISTS (SELECT FROM renditions WHERE renditions.key = asked.key)
           AND NOT EXISTS (SELECT FROM assets WHERE assets.key = asked.key)
           AND NOT EXISTS (SELECT FROM targets WHERE media ->> 'key' = asked.key)
           AND NOT EXISTS (SELECT FROM uploads WHERE uploads.key = asked.key)
           AND NOT EXISTS (SELECT FROM stream_segments WHERE stream_segments.key = asked.key)
           AND NOT EXISTS (SELECT FROM stream_tracks WHERE init_key = asked.key)
           AND NOT EXISTS (SELECT FROM streams WHERE mp4_key = asked.key)
           AND NOT EXISTS (SELECT FROM streams WHERE logo_key = asked.key)""",
        [list(keys)],
    )
    return [str(row[0]) for row in found]


async def _remove_unnamed(keys: Collection[str]) -> int:
    async with db.house() as conn:
        left = await unnamed(conn, keys)
    removed = 0
    for key in left:
        about = await storage.head(key)
        if about is not None and datetime.now(UTC) - about.changed_at > OLD:
            await storage.delete(key)
            removed += 1
            log.info("a file without a row was removed", key=key)
    return removed
