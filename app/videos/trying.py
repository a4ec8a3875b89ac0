"""How a video would look with another design: one picture of it, made at once and kept nowhere."""

from __future__ import annotations

import asyncio

from app import db, media, storage
from app.videos import inputs, rows

# Each takes a core for a second or so; what is asked meanwhile waits here, and web pages go on.
_TURNS = asyncio.Semaphore(2)


async def preview(workspace_id: int, video_id: int, design: media.Design, *, at_s: float) -> bytes:
    """A JPEG of the original at `at_s` seconds with this design on it, drawn as the run itself would draw it.

    Nothing is left behind, however it ends; NotFound and Refused as the run would give them.
    """
    async with db.owned_by(workspace_id) as conn:
        video = await rows.get(conn, video_id)
    async with _TURNS:
        with storage.scratch(f"look-{video_id}") as folder:
            source = await storage.borrow(
                video.source_key, into=folder, bytes_total=video.source_bytes, sha256=video.source_sha256
            )
            probe = (
                media.Probe.from_json(video.source_probe) if video.source_probe else await media.probe(source)
            )
            picture = await media.preview(
                source,
                design,
                logo=await inputs.logo(workspace_id, design, folder),
                into=folder,
                probe=probe,
                profile=media.TIKTOK,
                at_s=at_s,
            )
            return await asyncio.to_thread(picture.read_bytes)
