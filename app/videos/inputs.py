"""What a run needs beside the video itself, as files of this machine: the logo, and the clips before and behind it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from app import config, db, http, media, storage
from app.errors import Refused
from app.videos import assets, parts
from app.videos.streams import Stream

LOGO_MOST_BYTES = 5 * 1024**2


@dataclass(frozen=True)
class Clip:
    """A clip of the workspace, here, and what was found in it."""

    path: Path
    probe: media.Probe


@dataclass(frozen=True)
class Bookends:
    """The clips before and behind a video; None where there is none."""

    intro: Clip | None = None
    outro: Clip | None = None


async def bookends(workspace_id: int, design: media.Design, folder: Path) -> Bookends:
    """The intro and the outro that the design names, borrowed into the folder."""
    intro = await _clip(workspace_id, design.intro, folder) if design.intro else None
    outro = await _clip(workspace_id, design.outro, folder) if design.outro else None
    return Bookends(intro, outro)


async def _clip(workspace_id: int, named: media.Bookend, folder: Path) -> Clip:
    asset_id = assets.number_of(named.url)
    if asset_id is None:
        raise Refused("A clip before or behind a video is one of your own.", code="no_clip")
    async with db.owned_by(workspace_id) as conn:
        asset = await assets.get(conn, asset_id)
    path = await storage.borrow(asset.key, into=folder, bytes_total=asset.bytes, sha256=asset.sha256)
    return Clip(path, media.Probe.from_json(asset.probe) if asset.probe else await media.probe(path))


async def logo(
    workspace_id: int, design: media.Design, folder: Path, stream: Stream | None = None
) -> Path | None:
    """The logo as a local file: one of the workspace's own, one from the web, or the house's.

    One from the web may change while a stream is made on several machines; so it is kept once and is the same for
    every part of the `stream`.
    """
    if design.watermark is None:
        return None
    url = design.watermark.url
    if url is None:
        return config.get().watermark_path
    if (asset_id := assets.number_of(url)) is not None:
        async with db.owned_by(workspace_id) as conn:
            asset = await assets.get(conn, asset_id)
        return await storage.borrow(asset.key, into=folder, bytes_total=asset.bytes, sha256=asset.sha256)
    if stream is None:
        return await _from_the_web(url, folder)
    key = stream.logo_key
    if key is None:
        path = await _from_the_web(url, folder)
        own = storage.key_for(workspace_id, "logos", "bin")
        await storage.put(path, own, "application/octet-stream")
        async with db.house() as conn:
            key = await parts.keep_logo(conn, stream.id, own)
        if key == own:
            return path
        await storage.delete(own)
    return await storage.borrow(key, into=folder)


async def _from_the_web(url: str, folder: Path) -> Path:
    answer = await http.fetch_public(url, max_bytes=LOGO_MOST_BYTES)
    if answer.status != 200:
        raise Refused(
            f"The logo could not be fetched: its address answered {answer.status}.",
            code="no_logo",
            fields={"design.watermark.url": "cannot be fetched"},
        )
    path = folder / "logo"
    await asyncio.to_thread(path.write_bytes, answer.body)
    await media.check_logo(path)
    return path
