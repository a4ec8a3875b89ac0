"""Resumable uploads (tus 1.0): bytes arrive in any number of pieces, are looked at first, and become a video
at the end.

A refusal leaves nothing behind: no row that counts, no job, no object. What is finished becomes one video,
however often the last request is repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from app import accounts, config, db, log, media, storage
from app.errors import HouseError, NotFound, Refused, WrongState
from app.videos import kits, places, rows, wishes

KEEP_H = 48
LEAST_BYTES = 1


@dataclass(frozen=True)
class Upload:
    """One upload on its way in. `wishes` is what the person chose for the video, checked at the start; `item_id`
    is the place in a batch that it fills.
    """

    id: str
    workspace_id: int
    user_id: int
    filename: str
    bytes_total: int
    bytes_here: int
    key: str
    handle: str
    content_type: str
    wishes: dict[str, Any]
    state: str
    reason: str | None
    video_id: int | None
    item_id: int | None
    created_at: datetime
    changed_at: datetime


_ONE = """
    SELECT id::text, workspace_id, user_id, filename, bytes_total, bytes_here, key, handle, content_type, wishes,
           state, reason, video_id, item_id, created_at, changed_at
      FROM uploads
     WHERE id = %s
"""


async def get(conn: db.Conn, upload_id: str) -> Upload:
    return await db.one(conn, Upload, _ONE, [upload_id])


async def unfinished(conn: db.Conn, user_id: int) -> list[Upload]:
    """Uploads of this person that can go on, newest first; those of a batch go on at its page."""
    return await db.many(
        conn,
        Upload,
        """
        SELECT id::text, workspace_id, user_id, filename, bytes_total, bytes_here, key, handle, content_type,
               wishes, state, reason, video_id, item_id, created_at, changed_at
          FROM uploads
         WHERE user_id = %s AND state = 'open' AND item_id IS NULL
         ORDER BY changed_at DESC
         LIMIT 50""",
        [user_id],
    )


async def of_items(conn: db.Conn, item_ids: list[int]) -> dict[int, Upload]:
    """The newest upload for each of these places in a batch, by place."""
    found = await db.many(
        conn,
        Upload,
        """
        SELECT DISTINCT ON (item_id) id::text, workspace_id, user_id, filename, bytes_total, bytes_here, key,
               handle, content_type, wishes, state, reason, video_id, item_id, created_at, changed_at
          FROM uploads
         WHERE item_id = ANY (%s)
         ORDER BY item_id, created_at DESC""",
        [item_ids],
    )
    return {upload.item_id: upload for upload in found if upload.item_id is not None}


def check_size(bytes_total: int) -> None:
    """Refused when no file may be this small or this large."""
    most = config.get().max_upload_bytes
    if bytes_total < LEAST_BYTES:
        raise Refused("The file is empty.", code="empty", fields={"file": "is empty"})
    if bytes_total > most:
        raise Refused(
            f"A file may have {most // 1024**2} MiB at most.",
            code="too_large",
            status=413,
            fields={"file": "is too large"},
        )


async def begin(
    *,
    workspace_id: int,
    user_id: int,
    filename: str,
    bytes_total: int,
    asked: wishes.Wishes,
    item_id: int | None = None,
) -> Upload:
    """Open an upload. Refused at once when it could not be accepted at the end: size, quota, account, queue
    off, or a place in a batch (`item_id`) that is filled or was called off.
    """
    check_open()
    check_size(bytes_total)
    async with db.owned_by(workspace_id) as conn:
        if asked.account_id is not None:
            await accounts.usable(conn, asked.account_id)
        await rows.check_quota(conn, bytes_total)
        if item_id is not None and await rows.of_item(conn, item_id) is not None:
            raise places.filled()
    # The type is found from the bytes; until they are here the object is nameless.
    key = storage.key_for(workspace_id, "originals", "bin")
    handle = await storage.begin(key, bytes_total, "application/octet-stream")
    values = [
        workspace_id,
        user_id,
        rows.clean_name(filename),
        bytes_total,
        key,
        handle,
        Jsonb(asked.to_json()),
        item_id,
    ]
    try:
        with places.told():
            return await _insert(workspace_id, item_id, values)
    except Refused:
        await storage.abort(handle)
        raise


async def _insert(workspace_id: int, item_id: int | None, values: list[object]) -> Upload:
    async with db.owned_by(workspace_id) as conn:
        upload_id = await db.value(
            conn,
            """
            INSERT INTO uploads (workspace_id, user_id, filename, bytes_total, key, handle, wishes, item_id)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            RETURNING id::text""",
            values,
        )
        await places.tell(conn, workspace_id, item_id)
        return await get(conn, upload_id)


async def append(workspace_id: int, upload_id: str, offset: int, chunks: AsyncIterator[bytes]) -> int:
    """Add bytes at `offset`; gives how many are safely here now. What is no video is refused by its first
    bytes.

    WrongState (409) when the upload stands elsewhere: ask `offset_of` and go on from there.
    """
    async with db.owned_by(workspace_id) as conn:
        upload = await get(conn, upload_id)
    if upload.state != "open":
        raise _over(upload)
    try:
        if offset == 0:
            chunks = await _looked_at(chunks, upload.bytes_total)
        here = await storage.append(upload.handle, offset, chunks, most=upload.bytes_total - offset)
    except Refused as error:
        await drop(workspace_id, upload_id, state="refused", reason=error.message)
        raise
    except WrongState:
        raise
    except HouseError:
        await _note(workspace_id, upload)
        raise
    async with db.owned_by(workspace_id) as conn:
        await conn.execute(
            "UPDATE uploads SET bytes_here = %s, changed_at = now() WHERE id = %s", [here, upload_id]
        )
        await places.tell(conn, workspace_id, upload.item_id)
    return here


async def _looked_at(chunks: AsyncIterator[bytes], bytes_total: int) -> AsyncIterator[bytes]:
    """The same stream, once its first bytes have been seen to be a video's."""
    first = b""
    wanted = min(media.WANTED_BYTES, bytes_total)
    async for chunk in chunks:
        first += chunk
        if len(first) >= wanted:
            break
    if len(first) >= wanted:
        check_first_bytes(first)

    async def whole() -> AsyncIterator[bytes]:
        if first:
            yield first
        async for chunk in chunks:
            yield chunk

    return whole()


def check_first_bytes(first: bytes) -> media.Kind:
    """What kind of video or picture begins like this; Refused, with what it is instead, when none does."""
    kind = media.sniff(first[: media.WANTED_BYTES]) or media.sniff_picture(first[: media.WANTED_BYTES])
    if kind is None:
        reason = media.why_not(first[: media.WANTED_BYTES])
        raise Refused(reason, code="not_a_video", status=415, fields={"file": reason})
    return kind


async def _note(workspace_id: int, upload: Upload) -> None:
    """After a broken piece: write down how much is here, as the storage tells it."""
    try:
        here = await storage.offset(upload.handle)
        async with db.owned_by(workspace_id) as conn:
            await conn.execute(
                "UPDATE uploads SET bytes_here = %s, changed_at = now() WHERE id = %s", [here, upload.id]
            )
    except HouseError as error:
        log.warning("offset of a broken upload is not known yet", upload_id=upload.id, reason=error.message)


async def offset_of(workspace_id: int, upload_id: str) -> tuple[Upload, int]:
    """Where the upload stands, by the storage's own count."""
    async with db.owned_by(workspace_id) as conn:
        upload = await get(conn, upload_id)
    if upload.state in ("done", "finishing"):
        return upload, upload.bytes_total
    if upload.state != "open":
        raise _over(upload)
    return upload, await storage.offset(upload.handle)


def _over(upload: Upload) -> HouseError:
    if upload.state in ("refused", "dropped"):
        return Refused(upload.reason or "This upload was given up.", code="upload_gone", status=410)
    return WrongState("This upload is complete.", code="complete")


async def finish(workspace_id: int, upload_id: str) -> rows.Video:
    """Every byte is here: look into the file and make the video, or refuse it and leave nothing behind.

    May run again, also in two places at once: one video comes of it, and every call gives that one.
    """
    async with db.owned_by(workspace_id) as conn:
        upload = await get(conn, upload_id)
        if upload.video_id is not None:
            return await rows.get(conn, upload.video_id)
    if upload.state not in ("open", "finishing"):
        raise _over(upload)
    stored = await storage.finish(upload.handle, upload.bytes_total)
    asked = wishes.from_json(upload.wishes)
    try:
        seen = await look_into(stored)
        with places.told():
            return await _become_video(upload, stored, seen, asked)
    except (Refused, NotFound, WrongState) as error:
        await drop(workspace_id, upload_id, state="refused", reason=error.message)
        raise


async def _become_video(
    upload: Upload, stored: storage.Stored, seen: rows.Seen, asked: wishes.Wishes
) -> rows.Video:
    async with db.owned_by(upload.workspace_id) as conn:
        # Two finishing at once meet here: the second finds the first one's video.
        await conn.execute("SELECT 1 FROM uploads WHERE id = %s FOR UPDATE", [upload.id])
        now = await get(conn, upload.id)
        if now.video_id is not None:
            return await rows.get(conn, now.video_id)
        if now.state not in ("open", "finishing"):
            raise _over(now)
        # It counts as a video's from here on, not as an upload's.
        await conn.execute("UPDATE uploads SET state = 'done', changed_at = now() WHERE id = %s", [upload.id])
        received = Received(upload.filename, stored, seen)
        video = await make(
            conn,
            received,
            workspace_id=upload.workspace_id,
            user_id=upload.user_id,
            asked=asked,
            item_id=now.item_id,
        )
        await conn.execute("UPDATE uploads SET video_id = %s WHERE id = %s", [video.id, upload.id])
        return video


async def look_into(stored: storage.Stored) -> rows.Seen:
    """What is in the stored file; Refused when it is no video or picture, or more than we take."""
    with storage.scratch("intake") as folder:
        path = await storage.borrow(stored.key, into=folder, bytes_total=stored.bytes, sha256=stored.sha256)
        with path.open("rb") as file:
            kind = check_first_bytes(file.read(media.WANTED_BYTES))
        if kind.is_picture:
            # Opened once here, so that a broken one is refused before anything is promised.
            made = await media.optimise(path, media.POST_FIT, into=folder)
            return rows.Seen(kind.content_type, media.still_probe(made))
        probe = await media.probe(path)
    media.check(probe, stored.bytes)
    return rows.Seen(kind.content_type, probe)


async def drop(
    workspace_id: int, upload_id: str, *, state: str = "dropped", reason: str | None = None
) -> None:
    """Give the upload up: its row says why, its bytes are removed. Harmless twice, and for one that became a
    video.
    """
    async with db.owned_by(workspace_id) as conn:
        # The same lock as `finish` takes: what became a video meanwhile is seen, and stays.
        await conn.execute("SELECT 1 FROM uploads WHERE id = %s FOR UPDATE", [upload_id])
        upload = await db.maybe(conn, Upload, _ONE, [upload_id])
        if upload is None or upload.video_id is not None or upload.state == "done":
            return
        await places.tell(conn, workspace_id, upload.item_id)
        if state == "dropped":
            await conn.execute("DELETE FROM uploads WHERE id = %s", [upload_id])
        else:
            await conn.execute(
                "UPDATE uploads SET state = %s, reason = %s, changed_at = now() WHERE id = %s",
                [state, reason, upload_id],
            )
    await storage.abort(upload.handle)
    await storage.delete(upload.key)


async def living() -> list[str]:
    """The handles of uploads that may still go on: the storage's sweep leaves them alone."""
    async with db.house() as conn:
        found = await db.rows(conn, "SELECT handle FROM uploads WHERE state IN ('open', 'finishing')")
    return [str(row[0]) for row in found]


async def sweep(*, most: int = 200) -> int:
    """Give up uploads that nobody has continued for two days, and forget refused ones; gives how many.

    The refusals of a batch stay: its page tells them for as long as it has a place for the file.
    """
    async with db.house() as conn:
        old = await db.rows(
            conn,
            """
            SELECT workspace_id, id::text
              FROM uploads
             WHERE state IN ('open', 'finishing') AND video_id IS NULL
               AND changed_at < now() - make_interval(hours => %s)
             LIMIT %s""",
            [KEEP_H, most],
        )
        await conn.execute(
            """
            DELETE FROM uploads
             WHERE (state = 'done' OR (state = 'refused' AND item_id IS NULL))
               AND changed_at < now() - make_interval(hours => %s)""",
            [KEEP_H],
        )
    for workspace_id, upload_id in old:
        await drop(workspace_id, upload_id)
    return len(old)


@dataclass
class Received:
    """A whole file that came in one request, stored and looked into. Set `kept` once a video of it is committed."""

    filename: str
    stored: storage.Stored
    seen: rows.Seen
    kept: bool = False


@asynccontextmanager
async def receive(
    chunks: AsyncIterator[bytes], *, workspace_id: int, filename: str
) -> AsyncIterator[Received]:
    """A whole file in one request (S1.1): stored while it streams in, looked into; no object is left unless
    `kept`.

    Refused before a byte is read when the queue is off; by its first bytes when it is no video.
    """
    settings = config.get()
    check_open()
    async with db.owned_by(workspace_id) as conn:
        await rows.check_quota(conn, 0)
    first, rest = await _first_bytes(chunks)
    if not first:
        raise Refused("The file is empty.", code="empty", fields={"file": "is empty"})
    kind = check_first_bytes(first)
    key = storage.key_for(workspace_id, "originals", kind.extension)
    async with aclosing(rest) as stream:
        stored = await storage.put_stream(
            stream, key, kind.content_type, most_bytes=settings.max_upload_bytes
        )
    received = None
    try:
        received = Received(filename, stored, await look_into(stored))
        yield received
    finally:
        if received is None or not received.kept:
            await _forget(workspace_id, key)


def check_open() -> None:
    """Refused (503, `queue_disabled`) while nothing could be made of a video."""
    if not config.get().queue_enabled:
        raise Refused("The queue is switched off.", code="queue_disabled", status=503)


async def _forget(workspace_id: int, key: str) -> None:
    """Remove an object that no video names. When that cannot be asked (a commit whose answer was lost), it stays."""
    try:
        async with db.owned_by(workspace_id) as conn:
            named = await db.value(conn, "SELECT EXISTS (SELECT FROM videos WHERE source_key = %s)", [key])
    except HouseError as error:
        log.warning("an original may be left behind", key=key, reason=error.message)
        return
    if not named:
        await storage.delete(key)


async def make(
    conn: db.Conn,
    received: Received,
    *,
    workspace_id: int,
    user_id: int,
    asked: wishes.Wishes,
    item_id: int | None = None,
) -> rows.Video:
    """The video of a received file, with everything that is wished for it, in the caller's transaction.

    Where no design was wished for at all, the workspace's default kit gives it (S2.7).
    """
    design = asked.design if asked.design is not None else await kits.default_design(conn)
    return await rows.add(
        conn,
        workspace_id=workspace_id,
        user_id=user_id,
        account_id=asked.account_id,
        title=asked.title or received.filename,
        filename=received.filename,
        stored=received.stored,
        seen=received.seen,
        design=design,
        post=asked.post,
        publish_at=asked.publish_at,
        zone=asked.zone,
        formats=asked.formats,
        item_id=item_id,
    )


async def take_in(
    chunks: AsyncIterator[bytes],
    *,
    workspace_id: int,
    user_id: int,
    filename: str,
    asked: wishes.Wishes | Callable[[], Awaitable[wishes.Wishes]],
) -> rows.Video:
    """A whole file in one request becomes a video, or nothing is left.

    `asked` may be a question, put once the file is here: fields of a form may follow it.
    """
    check_open()
    if isinstance(asked, wishes.Wishes) and asked.account_id is not None:
        async with db.owned_by(workspace_id) as conn:
            await accounts.usable(conn, asked.account_id)
    async with receive(chunks, workspace_id=workspace_id, filename=filename) as received:
        wished = asked if isinstance(asked, wishes.Wishes) else await asked()
        async with db.owned_by(workspace_id) as conn:
            video = await make(conn, received, workspace_id=workspace_id, user_id=user_id, asked=wished)
        received.kept = True
        return video


async def _first_bytes(chunks: AsyncIterator[bytes]) -> tuple[bytes, Any]:
    first = b""
    async for chunk in chunks:
        first += chunk
        if len(first) >= media.WANTED_BYTES:
            break

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return first, whole()
