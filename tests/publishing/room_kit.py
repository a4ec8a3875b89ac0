"""Rows to plan with: connected accounts and edited videos without a platform or an encoder behind them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from app import db, media, platforms, publishing, storage
from app.publishing import When
from tests.makers import Owner, pieces
from tests.world import clip

_numbers = itertools.count(1)
POST = platforms.Post(title="A knot", privacy_level="SELF_ONLY")
CREATOR = {
    "handle": "maya.makes",
    "display_name": "Maya",
    "avatar_url": None,
    "privacy_levels": ["PUBLIC_TO_EVERYONE", "SELF_ONLY"],
    "max_duration_s": 600,
}
PROBE = media.Probe(
    container="mp4", duration_s=2.0, bitrate_kbps=900, streams=1, video_index=0, video_codec="h264",
    video_profile="High", pixel_format="yuv420p", width_px=1080, height_px=1920, coded_width_px=1080,
    coded_height_px=1920, rotation=0, fps=30.0, uneven=False, interlaced=False, hdr=False, matrix=None,
    attached_picture=False, audio_index=None, audio_codec=None, audio_profile=None, channels=0, audio_rate_hz=None,
)  # fmt: skip


async def an_account(owner: Owner, *, platform: str = "tiktok", **columns: Any) -> int:
    """An account as it stands after connecting; more columns by name."""
    number = next(_numbers)
    values = {
        "workspace_id": owner.workspace_id,
        "platform": platform,
        "remote_id": f"remote-{number}",
        "handle": f"maya{number}",
        "display_name": "Maya",
        "state": "connected",
        "scopes": list(platforms.get(platform).NEEDED_SCOPES),
        "creator": Jsonb(CREATOR),
        **columns,
    }
    names, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    async with db.house() as conn:
        return int(
            await db.value(conn, f"INSERT INTO accounts ({names}) VALUES ({marks}) RETURNING id", values)  # type: ignore[arg-type]  # names of our own
        )


async def a_video(owner: Owner, *, state: str = "EDITED", sha256: str = "") -> int:
    """A video in this state; an edited one has a file to send."""
    number = next(_numbers)
    async with db.house() as conn:
        video_id = await db.value(
            conn,
            """
            INSERT INTO videos (workspace_id, user_id, title, filename, source_key, source_bytes, source_sha256,
                                source_type, state)
            VALUES (%s, %s, 'A knot', %s, 'source', 10, '', 'video/mp4', 'EDITING_QUEUED')
            RETURNING id""",
            [owner.workspace_id, owner.user_id, f"knot-{number}.mp4"],
        )
        way = {"EDITING_QUEUED": [], "EDITED": ["EDITING", "EDITED"], "FAILED": ["FAILED"]}[state]
        for step in way:
            await conn.execute(
                """
                UPDATE videos
                   SET state = %s, edited_key = 'edited', edited_bytes = 1000, edited_sha256 = %s, edited_probe = %s
                 WHERE id = %s""",
                [step, sha256 or f"sha-{number}", Jsonb(PROBE.to_json()), video_id],
            )
    return int(video_id)


async def a_stored_video(owner: Owner) -> int:
    """An edited video with a real file behind it, as a platform wants one."""
    video_id = await a_video(owner)
    content = clip()
    key = f"tenants/{owner.workspace_id}/videos/{video_id}/edited.mp4"
    stored = await storage.put_stream(pieces(content), key, "video/mp4", most_bytes=len(content))
    probe = {**PROBE.to_json(), "duration_s": 1.0, "width_px": 640, "height_px": 360, "fps": 25.0}
    async with db.house() as conn:
        await conn.execute(
            "UPDATE videos SET edited_key = %s, edited_bytes = %s, edited_sha256 = %s, edited_probe = %s WHERE id = %s",
            [stored.key, stored.bytes, stored.sha256, Jsonb(probe), video_id],
        )
    return video_id


async def planned(
    owner: Owner,
    video_id: int,
    *account_ids: int,
    when: When | None = None,
    post: platforms.Post = POST,
    **more: Any,
) -> publishing.Publication:
    """A publication as the composer asks for it; by default in an hour."""
    async with db.owned_by(owner.workspace_id) as conn:
        return await publishing.compose_all(
            conn,
            workspace_id=owner.workspace_id,
            user_id=owner.user_id,
            video_id=video_id,
            wanted=[publishing.Wanted(account_id, post) for account_id in account_ids],
            when=when or in_(hours=1),
            **more,
        )


def in_(zone: str = "UTC", **far: float) -> When:
    """A whole minute from now on, by the clocks of the zone."""
    return When.instant((datetime.now(UTC) + timedelta(**far)).replace(second=0, microsecond=0), zone)


async def let_time_pass(target_id: int, **far: float) -> None:
    """As if the target had been planned for so long ago."""
    async with db.house() as conn:
        await conn.execute(
            """
            UPDATE targets
               SET publish_at = now() - %s, release_at = CASE WHEN release_at IS NOT NULL THEN now() END,
                   wall_time = NULL
             WHERE id = %s""",
            [timedelta(**far), target_id],
        )


async def target(target_id: int) -> publishing.Target:
    async with db.house() as conn:
        return await publishing.get(conn, target_id)
