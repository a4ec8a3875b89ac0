"""The further pictures of a carousel: named in the post by their numbers, sent as files."""

from __future__ import annotations

from dataclasses import replace
from typing import overload

from app import db, platforms
from app.errors import Refused
from app.publishing.rows import Media


@overload
async def with_pictures(conn: db.Conn, media: Media, post: platforms.Post, workspace_id: int) -> Media: ...
@overload
async def with_pictures(conn: db.Conn, media: None, post: platforms.Post, workspace_id: int) -> None: ...
@overload
async def with_pictures(
    conn: db.Conn, media: Media | None, post: platforms.Post, workspace_id: int
) -> Media | None: ...
async def with_pictures(
    conn: db.Conn, media: Media | None, post: platforms.Post, workspace_id: int
) -> Media | None:
    """The file with the further pictures that the post names, all of this workspace.

    Refused, under `pictures`, for one that is a stranger's or no picture, whether the file is there yet or not; code
    `not_ready` for one that is not made yet while the file itself is.
    """
    if not post.pictures:
        return media
    more = []
    for number in post.pictures:
        found = await db.rows(
            conn,
            "SELECT source_type LIKE 'image/%%' FROM videos WHERE id = %s AND workspace_id = %s",
            [number, workspace_id],
        )
        if found != [(True,)]:
            raise _refused(f"{number} is no picture of yours.", "invalid")
        kept = await db.value(conn, "SELECT media FROM video_to_post(%s)", [number])
        if kept is None and media is not None:
            raise _refused(f"The picture {number} is not ready yet.", "not_ready")
        if kept is not None:
            more.append(replace(Media(**kept), cover=None).to_json("instagram"))
    return None if media is None else replace(media, more=more)


def _refused(said: str, code: str) -> Refused:
    return Refused(said, code=code, fields={"pictures": said})
