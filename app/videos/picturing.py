"""A picture on its way to be posted: made to fit, with the smaller ones that pages show. No ffmpeg is in it."""

from __future__ import annotations

from pathlib import Path

from psycopg.types.json import Jsonb

from app import db, media, publishing, states, storage
from app.media.stills import STILLS
from app.videos import endings, joining, rows
from app.videos.rows import MACHINE, State, Video

# Thumbnails may be upright: three times as high as wide at the most.
TALLEST = 3


async def make(video: Video, run: int, source: Path, folder: Path) -> None:
    """Make the JPEG that goes out and its thumbnails; then the picture is edited and its posts are in line.

    Stores nothing that has no row when it fails. A second run makes them anew.
    """
    made = await _fit(source, media.POST_FIT, folder / "whole")
    files = [joining.File("poster", made.path, made.width_px, made.height_px)]
    for name, width_px in STILLS.items():
        small = await _fit(
            source,
            media.Fit(width_px, TALLEST * width_px, media.POST_FIT.max_bytes, ("JPEG",)),
            folder / name,
        )
        files.append(joining.File(name, small.path, small.width_px, small.height_px))
    stored = await storage.put(
        made.path, storage.key_for(video.workspace_id, "renders", made.extension), made.content_type
    )
    try:
        stills = await joining.store(video.workspace_id, files)
    except BaseException:
        await joining.remove([stored])
        raise
    try:
        await _save(video, run, made, stored, stills)
    except joining.SETTLED:
        await joining.remove([stored, *(still.stored for still in stills)])
        raise


async def _fit(source: Path, fit: media.Fit, into: Path) -> media.Picture:
    into.mkdir(mode=0o700)
    return await media.optimise(source, fit, into=into)


async def _save(
    video: Video, run: int, made: media.Picture, stored: storage.Stored, stills: list[endings.Still]
) -> None:
    async with db.house() as conn:
        edited = await states.move(
            conn,
            MACHINE,
            Video,
            video.id,
            State.EDITED,
            run=run,
            progress=100,
            edited_key=stored.key,
            edited_bytes=stored.bytes,
            edited_sha256=stored.sha256,
            edited_probe=Jsonb(media.still_probe(made).to_first_json()),
            edit_command=None,
            edit_log=None,
            edit_cpu_s=None,
            detail={"bytes": stored.bytes},
        )
        await endings.keep_stills(conn, video.workspace_id, video.id, stills)
        await publishing.supply(conn, video.id, await rows.to_send(conn, edited))
