"""Batches and their items as rows: opening one for files, and the places that files fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from app import accounts, db, events, live, videos
from app.errors import HouseError, NotFound, Refused

# As many as one page of work can be looked over; a form of this many files stays far below its limit.
MOST = 50
NAME = "{name}"


class Act(StrEnum):
    """What a batch asks of each of its items."""

    UPLOAD = "upload"
    POST = "post"
    RETRY = "retry"
    CANCEL = "cancel"
    IMPORT = "import"


@dataclass(frozen=True)
class Batch:
    """What was asked for several videos at once. `wishes` are the settings they share, as `videos.wishes` reads
    them; their title may hold `{name}`.
    """

    id: int
    workspace_id: int
    user_id: int
    act: str
    wishes: dict[str, Any]
    created_at: datetime

    @property
    def topic(self) -> str:
        return f"batch-{self.id}"

    @property
    def asked(self) -> videos.wishes.Wishes:
        return videos.wishes.from_json(self.wishes)

    @property
    def posts(self) -> bool:
        """Whether its uploads go to an account, too."""
        return self.wishes.get("accountId") is not None


@dataclass(frozen=True)
class Item:
    """A place in a batch. `refused` is why the last thing that was asked for it was not accepted, `accepted` that the
    act on its video was. Of an import it is one row for one account: `asked` is what the row wants there, None for a
    row with mistakes.
    """

    id: int
    workspace_id: int
    batch_id: int
    title: str
    filename: str
    bytes: int
    video_id: int | None
    target_id: int | None
    branded: bool
    accepted: bool
    cancelled_at: datetime | None
    refused: str | None
    refused_code: str | None
    asked: dict[str, Any] | None = None
    row_number: int | None = None


@dataclass(frozen=True)
class File:
    """A file that will be sent: what it is called, its size, and the title its video gets."""

    filename: str
    bytes: int
    title: str


def title_of(pattern: str | None, name: str) -> str:
    """The title of one of several: `{name}` in the common title stands for its own name; no title, its name."""
    return pattern.replace(NAME, name) if pattern and pattern.strip() else name


async def get(conn: db.Conn, batch_id: int) -> Batch:
    return await db.one(conn, Batch, "SELECT {columns} FROM batches WHERE id = %s", [batch_id])


async def hold(conn: db.Conn, batch_id: int) -> Batch:
    """Lock the batch for this transaction, so that two who act on it do so one after the other, and read it."""
    await conn.execute("SELECT 1 FROM batches WHERE id = %s FOR NO KEY UPDATE", [batch_id])
    return await get(conn, batch_id)


async def newest(conn: db.Conn, *, before_id: int | None, most: int) -> list[Batch]:
    return await db.many(
        conn,
        Batch,
        """
        SELECT {columns}
          FROM batches
         WHERE %(before_id)s::bigint IS NULL OR id < %(before_id)s
         ORDER BY id DESC
         LIMIT %(most)s""",
        {"before_id": before_id, "most": most},
    )


async def items(conn: db.Conn, batch_ids: Sequence[int]) -> list[Item]:
    """The items of these batches in their order, each with the video it is about as soon as there is one."""
    return await db.many(
        conn,
        Item,
        """
        SELECT items.id, items.workspace_id, items.batch_id, items.title, items.filename, items.bytes,
               coalesce(items.video_id, videos.id) AS video_id, items.target_id, items.branded,
               items.accepted, items.cancelled_at, items.refused, items.refused_code, items.asked,
               items.row_number
          FROM batch_items AS items
          LEFT JOIN videos ON videos.item_id = items.id
         WHERE items.batch_id = ANY (%s)
         ORDER BY items.id""",
        [list(batch_ids)],
    )


async def item(conn: db.Conn, item_id: int, batch_id: int | None = None) -> Item:
    """One item, locked for this transaction; NotFound also when it is of another batch than `batch_id`."""
    found = await db.value(
        conn,
        """
        SELECT batch_id
          FROM batch_items
         WHERE id = %(item_id)s AND (%(batch_id)s::bigint IS NULL OR batch_id = %(batch_id)s)
           FOR UPDATE""",
        {"item_id": item_id, "batch_id": batch_id},
    )
    of_batch = await items(conn, [] if found is None else [found])
    same = [one for one in of_batch if one.id == item_id]
    if not same:
        raise NotFound
    return same[0]


async def add(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    act: Act,
    wishes: Mapping[str, Any],
    found: Sequence[tuple[File, videos.Video | None]],
) -> Batch:
    """Write the batch with its items, in the caller's transaction."""
    batch = await db.one(
        conn,
        Batch,
        "INSERT INTO batches (workspace_id, user_id, act, wishes) VALUES (%s, %s, %s, %s) RETURNING {columns}",
        [workspace_id, user_id, act, Jsonb(dict(wishes))],
    )
    async with conn.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO batch_items (workspace_id, batch_id, title, filename, bytes, video_id, branded)
            VALUES (%s, %s, %s, %s, %s, %s, %s)""",
            [
                (
                    workspace_id,
                    batch.id,
                    file.title,
                    videos.clean_name(file.filename),
                    file.bytes,
                    None if video is None else video.id,
                    video is not None and video.state == videos.State.EDITED,
                )
                for file, video in found
            ],
        )
    await events.emit(
        conn, "batch.created", batch.topic, workspace_id=workspace_id, act=act, by=user_id, many=len(found)
    )
    return batch


def check_many(count: int, field: str) -> None:
    """Refused, under the name of the field, when a batch cannot hold this many."""
    if count == 0:
        raise Refused("Choose at least one video.", code="invalid", fields={field: "is empty"})
    if count > MOST:
        raise Refused(
            f"A batch holds at most {MOST} videos; these are {count}.",
            code="too_many",
            fields={field: f"may hold {MOST} at most, not {count}"},
        )


async def upload_all(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    files: Sequence[File],
    asked: videos.wishes.Wishes,
) -> Batch:
    """Open a batch with a place for each of these files. Refused, and nothing is left, when one of them could not
    be accepted: every problem is told as `files.<number>.<what>`, counted from 0.
    """
    videos.uploads.check_open()
    check_many(len(files), "files")
    checked = _checked(files)
    if asked.account_id is not None:
        await accounts.usable(conn, asked.account_id)
    await videos.check_quota(conn, sum(file.bytes for file in files))
    return await add(
        conn,
        workspace_id=workspace_id,
        user_id=user_id,
        act=Act.UPLOAD,
        wishes=asked.to_json(),
        found=[(file, None) for file in checked],
    )


def _checked(files: Sequence[File]) -> list[File]:
    problems: dict[str, str] = {}
    checked = []
    for number, file in enumerate(files):
        try:
            videos.uploads.check_size(file.bytes)
        except Refused as refused:
            problems[f"files.{number}.bytes"] = refused.fields["file"]
        try:
            checked.append(replace(file, title=videos.check_title(file.title)))
        except Refused as refused:
            problems[f"files.{number}.title"] = refused.fields["title"]
    if problems:
        raise Refused("Some of these cannot be accepted.", code="invalid", fields=problems)
    return checked


async def open_place(conn: db.Conn, item_id: int, batch_id: int | None = None) -> videos.wishes.Wishes:
    """What is wished for the file that fills this place. Refused when it was called off or is filled already."""
    place = await item(conn, item_id, batch_id)
    batch = await get(conn, place.batch_id)
    if batch.act != Act.UPLOAD or place.video_id is not None:
        raise videos.places.filled()
    if place.cancelled_at is not None:
        raise Refused("This part of the batch was cancelled.", code="cancelled", status=410)
    await conn.execute(
        "UPDATE batch_items SET refused = NULL, refused_code = NULL WHERE id = %s AND refused IS NOT NULL",
        [item_id],
    )
    return titled(batch.asked, place.title)


def titled(asked: videos.wishes.Wishes, title: str) -> videos.wishes.Wishes:
    """The same wishes under a title of one's own."""
    return replace(asked, title=title, post=None if asked.post is None else replace(asked.post, title=title))


async def refuse(conn: db.Conn, item_id: int, error: HouseError) -> None:
    """Note why what was asked for this item was not accepted, and tell the batch's pages."""
    workspace_id = await db.value(
        conn,
        "UPDATE batch_items SET refused = %s, refused_code = %s WHERE id = %s RETURNING workspace_id",
        [error.message, error.code, item_id],
    )
    if workspace_id is not None:
        await live.tell(conn, f"workspace-{workspace_id}")
