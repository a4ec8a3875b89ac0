"""Logos and clips that people keep for branding: looked into before they are kept, the same file kept once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from psycopg.types.json import Jsonb

from app import db, media, storage
from app.errors import Refused, WrongState
from app.videos import rows

Kind = Literal["logo", "clip"]
KINDS: tuple[Kind, ...] = ("logo", "clip")
MIB = 1024**2
# What may be sent; what is kept of a logo is never larger than `media.LOGO_FIT` says.
MOST_BYTES: dict[Kind, int] = {"logo": media.MOST_PICTURE_BYTES, "clip": 200 * MIB}
LONGEST_CLIP_S = 30.0
CLIPS = ("mp4", "mov", "webm")
MOST_LISTED = 100
# How many videos are named when an asset is still needed.
MOST_NAMED = 3
ADDRESS = re.compile(r"asset:([1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Asset:
    """A picture or a clip of the workspace. A design names it by `url` = `asset:<id>`."""

    id: int
    workspace_id: int
    user_id: int
    name: str
    key: str
    bytes: int
    sha256: str
    content_type: str
    created_at: datetime
    kind: str
    probe: dict[str, Any] | None

    @property
    def address(self) -> str:
        return f"asset:{self.id}"

    @property
    def url(self) -> str:
        return storage.link(self.key, content_type=self.content_type)

    @property
    def duration_s(self) -> float | None:
        """How long a clip is; None for a picture."""
        return None if self.probe is None else media.Probe.from_json(self.probe).duration_s


@dataclass(frozen=True)
class _File:
    """What is to be kept of a file that was sent."""

    path: Path
    content_type: str
    extension: str
    probe: media.Probe | None = None


def number_of(url: str) -> int | None:
    """The asset that a design's address names; None for an address of the web."""
    found = ADDRESS.fullmatch(url)
    return None if found is None else int(found[1])


async def get(conn: db.Conn, asset_id: int) -> Asset:
    return await db.one(conn, Asset, "SELECT {columns} FROM assets WHERE id = %s", [asset_id])


async def list_for(conn: db.Conn, *, kind: Kind = "logo") -> list[Asset]:
    """The newest of this kind first."""
    return await db.many(
        conn,
        Asset,
        "SELECT {columns} FROM assets WHERE kind = %s ORDER BY id DESC LIMIT %s",
        [kind, MOST_LISTED],
    )


async def check(conn: db.Conn, design: media.Design) -> dict[str, str]:
    """What of a design's own files is not there, by the design's words: a foreign file and one that never was are
    told apart to nobody.
    """
    problems = {}
    asked = (
        ("watermark", "logo", design.watermark.url if design.watermark else None),
        ("intro", "clip", design.intro.url if design.intro else None),
        ("outro", "clip", design.outro.url if design.outro else None),
    )
    for part, kind, url in asked:
        number = number_of(url or "")
        if number is None:
            continue
        there = await db.value(
            conn, "SELECT EXISTS (SELECT FROM assets WHERE id = %s AND kind = %s)", [number, kind]
        )
        if not there:
            problems[f"design.{part}.url"] = f"This {kind} is gone; choose another."
    return problems


async def take_in(
    chunks: AsyncIterator[bytes], *, workspace_id: int, user_id: int, name: str, kind: Kind = "logo"
) -> Asset:
    """Keep a logo or a clip; the same one twice is one.

    A logo may be JPEG, PNG, WebP or HEIC of any size that we open, and is kept upright, without metadata, as PNG or
    WebP of at most 5 MiB. A clip is an MP4, MOV or WebM of at most 200 MiB and 30 s, kept as it is. Refused, with
    nothing left behind, for everything else.
    """
    await asyncio.to_thread(storage.need_space, MOST_BYTES[kind])
    with storage.scratch(kind) as folder:
        sent = folder / "sent"
        sent_bytes = await _receive(chunks, sent, MOST_BYTES[kind])
        file = await (_logo if kind == "logo" else _clip)(sent, sent_bytes, folder)
        key = storage.key_for(workspace_id, "assets", file.extension)
        stored = await storage.put(file.path, key, file.content_type)
    try:
        asset, is_new = await _keep(stored, file, workspace_id, user_id, rows.clean_name(name), kind)
    except BaseException:
        await storage.delete(key)
        raise
    if not is_new:
        await storage.delete(key)
    return asset


async def _keep(
    stored: storage.Stored, file: _File, workspace_id: int, user_id: int, name: str, kind: Kind
) -> tuple[Asset, bool]:
    async with db.owned_by(workspace_id) as conn:
        if kind == "clip":
            await rows.check_quota(conn, stored.bytes)
        asset_id = await db.value(
            conn,
            """
            INSERT INTO assets (workspace_id, user_id, name, key, bytes, sha256, content_type, kind, probe)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT (workspace_id, sha256) DO NOTHING
            RETURNING id""",
            [
                workspace_id,
                user_id,
                name,
                stored.key,
                stored.bytes,
                stored.sha256,
                file.content_type,
                kind,
                Jsonb(file.probe.to_json()) if file.probe else None,
            ],
        )
        if asset_id is not None:
            return await get(conn, asset_id), True
        twin = await db.one(conn, Asset, "SELECT {columns} FROM assets WHERE sha256 = %s", [stored.sha256])
        return twin, False


async def _receive(chunks: AsyncIterator[bytes], path: Path, most_bytes: int) -> int:
    here = 0
    with path.open("wb") as file:
        async for chunk in chunks:
            here += len(chunk)
            if here > most_bytes:
                problem = f"is larger than {most_bytes // MIB} MiB"
                raise Refused(f"The file {problem}.", code="too_large", status=413, fields={"file": problem})
            await asyncio.to_thread(file.write, chunk)
    if not here:
        raise Refused("The file is empty.", code="empty", fields={"file": "is empty"})
    return here


async def _logo(sent: Path, sent_bytes: int, folder: Path) -> _File:
    made = await media.optimise(sent, media.LOGO_FIT, into=folder)
    return _File(made.path, made.content_type, made.extension)


async def _clip(sent: Path, sent_bytes: int, folder: Path) -> _File:
    with sent.open("rb") as file:
        first = file.read(media.WANTED_BYTES)
    kind = media.sniff(first)
    if kind is None or kind.name not in CLIPS:
        reason = media.why_not(first) if kind is None else "Send an MP4, MOV or WebM."
        raise Refused(reason, code="not_a_clip", status=415, fields={"file": reason})
    found = await media.probe(sent)
    media.check(found, sent_bytes)
    if found.duration_s > LONGEST_CLIP_S:
        problem = f"lasts {found.duration_s:.0f} seconds; at most {LONGEST_CLIP_S:.0f} are taken"
        raise Refused(f"The clip {problem}.", code="too_long", fields={"file": problem})
    return _File(sent, kind.content_type, kind.extension, found)


async def delete(conn: db.Conn, asset_id: int) -> Asset:
    """Take an asset away that nothing names any more; the caller removes its file once this is committed.

    WrongState (`in_use`) names the kits and videos that still need it, also those that are finished: they can be
    made anew only with it.
    """
    asset = await get(conn, asset_id)
    places = await used_in(conn, asset)
    if places:
        raise WrongState(f"“{asset.name}” is still used in {', '.join(places)}.", code="in_use")
    await conn.execute("DELETE FROM assets WHERE id = %s", [asset_id])
    return asset


async def used_in(conn: db.Conn, asset: Asset) -> list[str]:
    """Where a design names it, in words: kits, videos, uploads on their way."""
    parts = ("watermark",) if asset.kind == "logo" else ("intro", "outro")
    named = [Jsonb({part: {"url": asset.address}}) for part in parts]
    kits = await db.rows(conn, "SELECT name FROM brand_kits WHERE design @> ANY (%s) ORDER BY name", [named])
    places = [f"the kit “{row[0]}”" for row in kits]
    found = await db.rows(
        conn,
        "SELECT title FROM videos WHERE design @> ANY (%s) ORDER BY id DESC LIMIT %s",
        [named, MOST_NAMED + 1],
    )
    places += [f"the video “{row[0]}”" for row in found[:MOST_NAMED]]
    if len(found) > MOST_NAMED:
        places.append("further videos")
    wished = [Jsonb({"design": {part: {"url": asset.address}}}) for part in parts]
    on_their_way = await db.value(
        conn,
        "SELECT EXISTS (SELECT FROM uploads WHERE state IN ('open', 'finishing') AND wishes @> ANY (%s))",
        [wished],
    )
    return [*places, "an upload that is on its way"] if on_their_way else places
