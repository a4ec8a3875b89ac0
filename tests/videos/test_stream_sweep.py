"""What is swept of streams that nobody needs any more, and what is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from app import db, storage, videos
from app.errors import NotFound
from app.videos import endings, orphans, parts, streams
from app.videos.streams import Stream, Track
from tests.makers import Owner
from tests.videos.stream_kit import (
    LEAD,
    a_row,
    a_segment,
    begun,
    claimed,
    kept,
    read,
)

pytestmark = pytest.mark.anyio


async def bytes_of(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def put(key: str) -> None:
    await storage.put_stream(bytes_of(b"12345"), key, "video/mp4", most_bytes=5)


async def here(*keys: str) -> list[bool]:
    return [await storage.head(key) is not None for key in keys]


async def over(stream: Stream, *hours: int) -> None:
    async with db.house() as conn:
        await conn.execute(
            "UPDATE streams SET changed_at = now() - make_interval(hours => %s) WHERE id = %s",
            [hours[0], stream.id],
        )


async def test_a_key_that_another_stream_names_outlives_the_sweep_of_the_first(owner: Owner) -> None:
    video = await a_row(owner)
    first = await begun(video)
    shared, own = a_segment("v0", 1), a_segment("v1", 1)
    await put(shared.key)
    await put(own.key)
    await claimed(first, 1, 7)
    await kept(first, 1, 7, shared, own)
    async with db.house() as conn:
        await streams.stop(conn, first, "Enough.")
    second = await begun(video)
    await claimed(second, 1, 8)
    await kept(second, 1, 8, shared)
    await over(first, 0)
    assert await videos.sweep_streams() == 0
    await over(first, 2)
    assert await videos.sweep_streams() == 1
    assert await here(shared.key, own.key) == [True, False]
    with pytest.raises(NotFound):
        await read(first)
    assert (await read(second)).state == "making"


async def test_a_failed_stream_is_kept_a_week_for_a_retry(owner: Owner) -> None:
    stream = await begun(await a_row(owner))
    segment = a_segment("v0", 1)
    await put(segment.key)
    await claimed(stream, 1, 7)
    await kept(stream, 1, 7, segment)
    async with db.house() as conn:
        await endings.give_up(conn, job_id=LEAD + 7, streamId=stream.id, reason="No.", code="x")
    await over(stream, 24 * 6)
    assert (await videos.sweep_streams(), await here(segment.key)) == (0, [True])
    await over(stream, 24 * 8)
    assert (await videos.sweep_streams(), await here(segment.key)) == (1, [False])


async def test_the_sweep_goes_in_small_steps_and_orphans_are_asked_about_by_the_thousand(
    owner: Owner, database: str
) -> None:
    stream = await begun(await a_row(owner))
    await claimed(stream, 1, 7)
    many = [replace(a_segment("v0", number), key=f"tenants/1/streams/{number}.m4s") for number in range(1200)]
    await kept(stream, 1, 7, *many)
    async with db.house() as conn:
        keys = [*(one.key for one in many), "tenants/1/streams/lost.m4s"]
        assert await orphans.unnamed(conn, keys) == ["tenants/1/streams/lost.m4s"]
        await streams.stop(conn, stream, "Enough.")
    await over(stream, 2)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
        await other.execute("BEGIN")
        await other.execute("SELECT 1 FROM stream_segments WHERE number = 0 FOR UPDATE")
        # What somebody else holds is left to the next sweep, and nobody waits for it.
        assert await videos.sweep_streams() >= 1199
        await other.execute("COMMIT")
    assert await videos.sweep_streams() == 1


async def test_a_stream_names_its_first_bytes_its_mp4_and_its_logo(owner: Owner) -> None:
    stream = await begun(await a_row(owner))
    keys = [f"tenants/1/streams/{name}.bin" for name in ("init", "mp4", "logo")]
    async with db.house() as conn:
        track = Track(
            "v0", "video", "avc1", 640, 360, "25/1", "", "", 12800, 800,
            stream.id, owner.workspace_id, keys[0], 7, "s",
        )  # fmt: skip
        await parts.keep_track(conn, track)
        await conn.execute("UPDATE streams SET mp4_key = %s WHERE id = %s", [keys[1], stream.id])
        assert await parts.keep_logo(conn, stream.id, keys[2]) == keys[2]
        assert await parts.keep_logo(conn, stream.id, "tenants/1/logos/late.bin") == keys[2]
        assert await orphans.unnamed(conn, keys) == []
