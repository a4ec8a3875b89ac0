"""Logos that people keep for branding: looked into before they are kept, the same picture kept once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from app import db, media, storage
from app.errors import Refused
from app.videos.rows import clean_name

MOST_BYTES = 5 * 1024**2
TYPES = {
    "png_pipe": ("image/png", "png"),
    "jpeg_pipe": ("image/jpeg", "jpg"),
    "webp_pipe": ("image/webp", "webp"),
}
ADDRESS = re.compile(r"asset:([1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Asset:
    """A picture of the workspace. A design names it by `url` = `asset:<id>`."""

    id: int
    workspace_id: int
    user_id: int
    name: str
    key: str
    bytes: int
    sha256: str
    content_type: str
    created_at: datetime

    @property
    def address(self) -> str:
        return f"asset:{self.id}"

    @property
    def url(self) -> str:
        return storage.link(self.key, content_type=self.content_type)


def number_of(url: str) -> int | None:
    """The asset that a design's address names; None for an address of the web."""
    found = ADDRESS.fullmatch(url)
    return None if found is None else int(found[1])


async def get(conn: db.Conn, asset_id: int) -> Asset:
    return await db.one(conn, Asset, "SELECT {columns} FROM assets WHERE id = %s", [asset_id])


async def list_for(conn: db.Conn) -> list[Asset]:
    return await db.many(conn, Asset, "SELECT {columns} FROM assets ORDER BY id DESC LIMIT 100")


async def take_in(chunks: AsyncIterator[bytes], *, workspace_id: int, user_id: int, name: str) -> Asset:
    """Keep a logo. Refused unless it is a sound PNG, JPEG or WebP of at most 5 MiB; the same picture twice is
    one.
    """
    key = storage.key_for(workspace_id, "assets", "bin")
    stored = await storage.put_stream(chunks, key, "application/octet-stream", most_bytes=MOST_BYTES)
    try:
        with storage.scratch("logo") as folder:
            kind = await media.check_logo(await storage.fetch(key, into=folder))
        if kind not in TYPES:
            raise Refused(
                "Send a PNG, JPEG or WebP.", code="not_a_picture", fields={"file": "is no such picture"}
            )
        async with db.owned_by(workspace_id) as conn:
            asset_id = await db.value(
                conn,
                """
                INSERT INTO assets (workspace_id, user_id, name, key, bytes, sha256, content_type)
                VALUES (%s, %s, %s, %s, %s, %s, %s)
                    ON CONFLICT (workspace_id, sha256) DO NOTHING
                RETURNING id""",
                [workspace_id, user_id, clean_name(name), key, stored.bytes, stored.sha256, TYPES[kind][0]],
            )
            if asset_id is not None:
                return await get(conn, asset_id)
            twin = await db.one(
                conn, Asset, "SELECT {columns} FROM assets WHERE sha256 = %s", [stored.sha256]
            )
    except BaseException:
        await storage.delete(key)
        raise
    await storage.delete(key)
    return twin
