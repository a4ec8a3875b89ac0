"""Brand kits: looks that a workspace keeps under a name, one of them for every new video that says nothing of its own.

A kit's design is in the words of `media.read_design`. Its title and captions are a style; a title that has a text, too,
is put on every video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from app import config, db, media
from app.errors import Refused, WrongState
from app.videos import assets

MOST = 50
MOST_NAME_LETTERS = 60
# Stands where a style has no text of its own, so that everything else of it is read and checked.
STAND_IN = "Title"


@dataclass(frozen=True)
class Kit:
    """A look with a name. `is_default`: new videos get it unless they bring a design."""

    id: int
    workspace_id: int
    user_id: int
    name: str
    design: dict[str, Any]
    is_default: bool
    changed_at: datetime
    created_at: datetime

    def for_video(self) -> media.Design:
        """What it puts on a video that brings no words of its own: styles without a text are nothing."""
        words = {part: said for part, said in self.design.items() if part != "captions"}
        if not self.design.get("title", {}).get("text"):
            words.pop("title", None)
        return media.read_design(words)


async def list_for(conn: db.Conn) -> list[Kit]:
    """All kits of the workspace, the default first, then by name."""
    return await db.many(
        conn, Kit, "SELECT {columns} FROM brand_kits ORDER BY is_default DESC, lower(name), id"
    )


async def get(conn: db.Conn, kit_id: int) -> Kit:
    return await db.one(conn, Kit, "SELECT {columns} FROM brand_kits WHERE id = %s", [kit_id])


async def default_design(conn: db.Conn) -> media.Design:
    """The look of a video for which nobody chose one: the default kit's (S2.7), else the house's logo where
    WATERMARK_ENABLED is on (S2.60), else none.
    """
    kit = await db.maybe(conn, Kit, "SELECT {columns} FROM brand_kits WHERE is_default")
    if kit is not None:
        return kit.for_video()
    return media.Design(watermark=house_logo() if config.get().watermark_enabled else None)


def house_logo() -> media.Watermark:
    """The logo of WATERMARK_PATH at its place."""
    return media.Watermark(url=None, position=config.get().watermark_position)


async def add(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    name: str,
    design: Mapping[str, Any],
    is_default: bool = False,
) -> Kit:
    """Keep a look. Refused with every problem by its field; a name that is there already is one."""
    name, words = await _checked(conn, name, design)
    await _hold_all(conn)
    count = int(await db.value(conn, "SELECT count(*) FROM brand_kits"))
    if count >= MOST:
        raise Refused(f"A workspace keeps at most {MOST} brand kits.", code="too_many")
    if is_default:
        await conn.execute("UPDATE brand_kits SET is_default = false WHERE is_default")
    with _told():
        return await db.one(
            conn,
            Kit,
            """
            INSERT INTO brand_kits (workspace_id, user_id, name, design, is_default)
            VALUES (%s, %s, %s, %s, %s)
            RETURNING {columns}""",
            [workspace_id, user_id, name, Jsonb(words), is_default],
        )


async def change(
    conn: db.Conn, kit_id: int, *, name: str, design: Mapping[str, Any], is_default: bool
) -> Kit:
    """Another name or look. Videos that were made with it stay as they are."""
    await get(conn, kit_id)
    name, words = await _checked(conn, name, design)
    await _hold_all(conn)
    if is_default:
        await conn.execute("UPDATE brand_kits SET is_default = false WHERE is_default AND id <> %s", [kit_id])
    with _told():
        return await db.one(
            conn,
            Kit,
            """
            UPDATE brand_kits
               SET name = %s, design = %s, is_default = %s, changed_at = now()
             WHERE id = %s
            RETURNING {columns}""",
            [name, Jsonb(words), is_default, kit_id],
        )


async def make_default(conn: db.Conn, kit_id: int) -> Kit:
    """From now on new videos get this one. May run twice."""
    await get(conn, kit_id)
    await _hold_all(conn)
    await conn.execute("UPDATE brand_kits SET is_default = false WHERE is_default AND id <> %s", [kit_id])
    return await db.one(
        conn, Kit, "UPDATE brand_kits SET is_default = true WHERE id = %s RETURNING {columns}", [kit_id]
    )


async def remove(conn: db.Conn, kit_id: int) -> Kit:
    """Take a kit away; its logo and clips stay, and so do the videos that were made with it."""
    return await db.one(conn, Kit, "DELETE FROM brand_kits WHERE id = %s RETURNING {columns}", [kit_id])


async def _checked(conn: db.Conn, name: str, design: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the design as they are kept; Refused with all problems of both."""
    problems: dict[str, str] = {}
    words: dict[str, Any] = {}
    try:
        words = await _words(conn, design)
    except Refused as refused:
        problems |= refused.fields
    cleaned = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    if not cleaned:
        problems["name"] = "Give the kit a name."
    elif len(cleaned) > MOST_NAME_LETTERS:
        problems["name"] = f"At most {MOST_NAME_LETTERS} letters."
    if problems:
        raise Refused("Some of this needs another look.", code="invalid", fields=problems)
    return cleaned, words


async def _words(conn: db.Conn, design: Mapping[str, Any]) -> dict[str, Any]:
    asked = dict(design)
    title = asked.get("title")
    is_style = isinstance(title, Mapping) and not title.get("text")
    if is_style and isinstance(title, Mapping):
        asked["title"] = {**title, "text": STAND_IN}
    read = media.read_design(asked)
    if problems := await assets.check(conn, read):
        raise Refused("The design cannot be used as it is.", code="invalid_design", fields=problems)
    words = read.to_json()
    if is_style:
        del words["title"]["text"]
    # Captions belong to one video; of a kit they are a style.
    if captions := words.get("captions"):
        captions["enabled"] = False
        captions.pop("srt", None)
    return words


async def _hold_all(conn: db.Conn) -> None:
    """One at a time decides which kit is the default."""
    await conn.execute("SELECT 1 FROM brand_kits ORDER BY id FOR UPDATE")


@contextmanager
def _told() -> Iterator[None]:
    """What the database refuses, in words. It alone decides races."""
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == "brand_kits_name_idx":
            raise Refused(
                "There is a kit of this name already.",
                code="name_taken",
                fields={"name": "There is a kit of this name already."},
            ) from error
        raise WrongState("Another kit was made the default just now: try again.", code="busy") from error
