"""One video on several platforms: a finished video without an encoder behind it, and what is planned for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest
from psycopg.types.json import Jsonb

from app import config, db, platforms, publishing, storage
from app.publishing import When
from tests.flows.house import House
from tests.makers import Owner, pieces
from tests.world import clip

UNLIMITED = {
    "QUEUE_VIDEO_EDIT_MOST": "none",
    "QUEUE_VIDEO_UPLOAD_MOST": "none",
    "ACCOUNT_UPLOADS_MOST": "none",
    "QUEUE_VIDEO_EDIT_FIRST_WAIT_S": "1",
    "QUEUE_VIDEO_UPLOAD_FIRST_WAIT_S": "1",
}
# Upright and a few seconds long: every platform takes it.
LENGTH_S, SIZE_PX, FPS = 4.0, (720, 1280), 25.0
PROBE = {"duration_s": LENGTH_S, "width_px": SIZE_PX[0], "height_px": SIZE_PX[1], "fps": FPS}


async def an_edited_video(owner: Owner) -> int:
    """A video as its edit leaves it, with a real file in the storage."""
    stored = await storage.put_stream(
        pieces(clip(LENGTH_S, f"{SIZE_PX[0]}x{SIZE_PX[1]}")),
        storage.key_for(owner.workspace_id, "edited", "mp4"),
        "video/mp4",
        most_bytes=10**8,
    )
    async with db.house() as conn:
        video_id = await db.value(
            conn,
            """
            INSERT INTO videos (workspace_id, user_id, title, filename, source_key, source_bytes, source_sha256,
                                source_type, state)
            VALUES (%s, %s, 'A knot', 'knot.mp4', 'source', 10, '', 'video/mp4', 'EDITING_QUEUED')
            RETURNING id""",
            [owner.workspace_id, owner.user_id],
        )
        for state in ("EDITING", "EDITED"):
            await conn.execute(
                """
                UPDATE videos
                   SET state = %s, edited_key = %s, edited_bytes = %s, edited_sha256 = %s, edited_probe = %s
                 WHERE id = %s""",
                [state, stored.key, stored.bytes, stored.sha256, Jsonb(PROBE), video_id],
            )
    return int(video_id)


async def planned(
    owner: Owner, video_id: int, on: Sequence[tuple[int, platforms.Post]]
) -> publishing.Publication:
    """One publication of this video on these accounts, due as soon as ready."""
    async with db.owned_by(owner.workspace_id) as conn:
        return await publishing.compose_all(
            conn,
            workspace_id=owner.workspace_id,
            user_id=owner.user_id,
            video_id=video_id,
            wanted=[publishing.Wanted(account_id, post) for account_id, post in on],
            when=When.now(),
        )


async def by_hand(owner: Owner, target_id: int, *, published: bool) -> None:
    async with db.owned_by(owner.workspace_id) as conn:
        await publishing.settle_by_hand(conn, target_id, published=published)


@contextlib.asynccontextmanager
async def inside(house: House) -> AsyncIterator[Owner]:
    """Speak to a running house's own database and storage from here; gives its one owner."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("BACKLOT_HOME", "TEMP_DIR", "PORT"):
            patched.setenv(name, house.env[name])
        config.get.cache_clear()
        await db.open_pools(house.server.dsn, pages=True)
        try:
            async with db.house() as conn:
                ((workspace_id, user_id),) = await db.rows(conn, "SELECT workspace_id, user_id FROM members")
            yield Owner(user_id, workspace_id)
        finally:
            await db.close_pools()
    config.get.cache_clear()


async def states_of(house: House, publication_ids: Sequence[int]) -> list[tuple[str, str, str, str | None]]:
    """Each target of these publications: its state, platform, account and reason."""
    async with await psycopg.AsyncConnection.connect(house.server.dsn) as conn:
        rows = await conn.execute(
            """
            SELECT targets.state, targets.platform, accounts.handle, targets.reason
              FROM targets
              JOIN accounts ON accounts.id = targets.account_id
             WHERE targets.publication_id = ANY (%s)
             ORDER BY targets.id""",
            [list(publication_ids)],
        )
        return [(str(row[0]), str(row[1]), str(row[2]), row[3]) for row in await rows.fetchall()]
