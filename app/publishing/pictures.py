"""The further pictures of a carousel: named in the post by their numbers, sent as files."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import overload

from app import db, platforms
from app.errors import Refused
from app.publishing.rows import Media


@overload
async def with_pictures(conn: db.Conn, media: Media, post: platforms.Post) -> Media: ...
@overload
async def with_pictures(conn: db.Conn, media: None, post: platforms.Post) -> None: ...
@overload
async def with_pictures(conn: db.Conn, media: Media | None, post: platforms.Post) -> Media | None: ...
async def with_pictures(conn: db.Conn, media: Media | None, post: platforms.Post) -> Media | None:
    """The file with the further pictures that the post names; the file itself when it names none, or is not there yet.

    Refused, under `pictures`, for one that is a stranger's, no picture, or not made yet.
    """
    if media is None or not post.pictures:
        return media
    more = []
    for number in post.pictures:
        found = await db.rows(conn, "SELECT media FROM video_to_post(%s)", [number])
        kept = found[0][0] if found else None
        if kept is None or not str(kept["content_type"]).startswith("image/"):
            said = f"{number} is no picture of yours that is ready."
            raise Refused(said, code="invalid", fields={"pictures": said})
        more.append(asdict(replace(Media(**kept), cover=None)))
    return replace(media, more=more)
