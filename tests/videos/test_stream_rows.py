"""Streams as rows: who may hold a part, what is kept once, what a lost job gets back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app import config, db, jobs, queue, videos
from app.errors import Cancelled, NotFound, NotYet, Refused, Retryable, Superseded, WrongState
from app.videos import endings, parts, streams
from app.videos.streams import Stream, Track
from tests.makers import Owner, an_owner
from tests.videos.stream_kit import (
    ASKED,
    LEAD,
    a_row,
    a_segment,
    begun,
    claimed,
    ended,
    kept,
    part_jobs,
    read,
)

pytestmark = pytest.mark.anyio


async def test_the_machine_in_code_equals_its_rows(owner: Owner) -> None:
    async with db.house() as conn:
        found = await db.rows(
            conn, "SELECT from_state, to_state FROM allowed_moves WHERE machine = %s", [streams.MACHINE.name]
        )
    assert set(found) == streams.MACHINE.pairs()


async def test_who_asks_for_the_same_goes_on_and_the_parts_are_in_line_once(owner: Owner) -> None:
    video = await a_row(owner)
    first = await begun(video)
    again = await begun(video, job_id=LEAD + 1)
    assert again.id == first.id
    assert await part_jobs(first) == [("1", "todo"), ("2", "todo")]


async def test_two_that_begin_at_once_make_one_stream(owner: Owner) -> None:
    video = await a_row(owner)

    async def beginning() -> Stream:
        async with db.house() as conn:
            await videos.rows.hold(conn, video.id)
            return await parts.begin(
                conn, workspace_id=video.workspace_id, video_id=video.id, user_id=1, asked=ASKED, job_id=LEAD
            )

    found = await asyncio.gather(*(beginning() for _ in range(4)))
    assert len({stream.id for stream in found}) == 1


async def test_an_edit_takes_the_place_of_what_is_made_beside_it_and_not_the_other_way_round(
    owner: Owner,
) -> None:
    video = await a_row(owner)
    beside = await begun(video, replace(ASKED, for_edit=False))
    edit = await begun(video)
    assert ((await read(beside)).state, edit.state) == ("cancelled", "making")
    assert {status for _, status in await part_jobs(beside)} == {"cancelled"}
    with pytest.raises(NotYet):
        await begun(video, replace(ASKED, for_edit=False))


async def test_a_failed_stream_is_gone_on_with_only_in_the_same_words(owner: Owner) -> None:
    video = await a_row(owner)
    first = await begun(video)
    await claimed(first, 0, 5)
    await kept(first, 0, 5, a_segment("v0", 0))
    async with db.house() as conn:
        await endings.give_up(conn, job_id=LEAD + 5, streamId=first.id, reason="No.", code="x")
    assert (await read(first)).state == "failed"
    other = await begun(video, replace(ASKED, plan={"rate": "30/1"}))
    assert other.id != first.id
    async with db.house() as conn:
        await streams.stop(conn, other, "Enough.")
    again = await begun(video)
    assert (again.id, again.state, again.segments_made) == (first.id, "making", 1)


async def test_an_older_run_writes_nothing_once_a_later_one_holds_the_part(owner: Owner) -> None:
    stream = await begun(await a_row(owner))
    assert await claimed(stream, 1, 7) is not None
    assert await claimed(stream, 1, 9) is not None
    with pytest.raises(Superseded):
        await claimed(stream, 1, 8)
    with pytest.raises(Superseded):
        await kept(stream, 1, 7, a_segment("v0", 1))
    with pytest.raises(Superseded):
        await ended(stream, 1, 7)
    async with db.house() as conn:
        assert await streams.segments(conn, stream.id, "v0") == []


async def test_a_segment_is_kept_once_and_counted_once(owner: Owner) -> None:
    stream = await begun(await a_row(owner))
    await claimed(stream, 1, 7)
    first = await kept(stream, 1, 7, a_segment("v0", 1), a_segment("v1", 1))
    twice = await kept(stream, 1, 7, replace(a_segment("v0", 1), key="tenants/1/streams/other.m4s"))
    assert (first.tracks, twice.tracks) == ({"v0", "v1"}, frozenset())
    now = await read(stream)
    # Five segments in two rungs, and two of these ten are there.
    assert (now.segments, now.segments_made, now.progress, now.bytes) == (10, 2, 20, 10)
    async with db.house() as conn:
        assert await streams.segment(conn, stream.id, "v0", 1) == a_segment("v0", 1)


async def test_nothing_is_kept_of_a_stream_that_was_cancelled(owner: Owner) -> None:
    stream = await begun(await a_row(owner))
    await claimed(stream, 1, 7)
    async with db.house() as conn:
        await streams.stop(conn, stream, "Enough.")
    for attempt in (
        kept(stream, 1, 7, a_segment("v0", 1)),
        ended(stream, 1, 7),
        claimed(stream, 2, 8),
    ):
        with pytest.raises(Cancelled):
            await attempt
    async with db.house() as conn:
        assert await streams.segments(conn, stream.id, "v0") == []


async def test_of_parts_that_end_at_once_exactly_one_is_the_last(owner: Owner) -> None:
    for _ in range(5):
        stream = await begun(await a_row(owner))
        for number in range(3):
            await claimed(stream, number, 10 + number)
        assert sorted(await asyncio.gather(*(ended(stream, number, 10 + number) for number in range(3)))) == [
            False,
            False,
            True,
        ]


async def test_a_worker_that_encodes_otherwise_leaves_the_part_to_others(owner: Owner) -> None:
    stream = await begun(await a_row(owner))
    track = Track(
        "v0", "video", "avc1.64001f", 640, 360, "25/1", "", "", 12800, 800,
        stream.id, owner.workspace_id, "tenants/1/streams/a.mp4", 700, "sum",
    )  # fmt: skip
    async with db.house() as conn:
        assert await parts.keep_track(conn, track) == track
        assert (await parts.keep_track(conn, replace(track, init_key="tenants/1/streams/b.mp4"))) == track
    with pytest.raises(Retryable) as caught:
        async with db.house() as conn:
            await parts.keep_track(conn, replace(track, init_sha256="another"))
    assert caught.value.code == "other_encoder"


async def test_what_another_encoder_began_is_not_gone_on_with_when_a_person_retries(owner: Owner) -> None:
    """No worker may be left that encodes like the one that began: the retry would fail for ever."""
    video = await a_row(owner, "EDITING")
    begun_by_another = await begun(video)
    async with db.house() as conn:
        await endings.give_up(
            conn, LEAD, begun_by_another.id, "This worker's ffmpeg encodes differently.", parts.OTHER_ENCODER
        )
    assert (await read(begun_by_another)).state == "failed"
    anew = await begun(video)
    assert anew.id != begun_by_another.id
    async with db.house() as conn:
        await endings.give_up(conn, LEAD, anew.id, "ffmpeg failed", "ffmpeg_failed")
    assert (await begun(video)).id == anew.id


async def test_a_stream_beside_an_edit_is_begun_once_for_each_time_the_video_is_edited(owner: Owner) -> None:
    video = await a_row(owner, "EDITING")
    async with db.house() as conn:
        job_id = await queue.defer(conn, jobs.EDIT_VIDEO, workspace_id=owner.workspace_id, videoId=video.id)
        assert not await streams.begun_for_job(conn, video.id, job_id)
    await begun(video, replace(ASKED, for_edit=False, formats=("hls",)))
    async with db.house() as conn:
        assert await streams.begun_for_job(conn, video.id, job_id)
        await conn.execute(
            "UPDATE job_records SET put_at = now() + interval '1 s' WHERE job_id = %s", [job_id]
        )
        assert not await streams.begun_for_job(conn, video.id, job_id)


async def test_a_part_without_a_job_gets_one_and_so_does_the_joining(owner: Owner) -> None:
    video = await a_row(owner, "EDITING")
    stream = await begun(video)
    async with db.house() as conn:
        await conn.execute("UPDATE streams SET changed_at = now() - interval '6 min'")
        await conn.execute("DELETE FROM procrastinate_jobs WHERE args ->> 'part' = '2'")
        await conn.execute("UPDATE videos SET changed_at = now() - interval '6 min'")
    await claimed(stream, 0, 5)
    await ended(stream, 0, 5)
    async with db.house() as conn:
        # Its own job is over, and it is not put again: the parts' jobs make it.
        assert await videos.put_back_stranded(conn) == 0
        assert await videos.put_back_streams(conn) == 1
        assert await videos.put_back_streams(conn) == 0
    assert await part_jobs(stream) == [("1", "todo"), ("2", "todo")]
    for number in (1, 2):
        await claimed(stream, number, 6)
        await ended(stream, number, 6)
    async with db.house() as conn:
        assert await videos.put_back_streams(conn) == 1
        joins = await db.value(
            conn, "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'join-stream'"
        )
    assert joins == 1


async def test_an_opening_without_a_job_is_the_nets_too(owner: Owner) -> None:
    video = await a_row(owner, "EDITING")
    edited = await begun(video)
    other = await a_row(owner, "EDITED")
    beside = await begun(
        other,
        replace(ASKED, for_edit=False, parts=((0, 4),), options={"formats": ["hls"], "thumbnails": True}),
    )
    async with db.house() as conn:
        await conn.execute("UPDATE streams SET changed_at = now() - interval '6 min'")
        await conn.execute("UPDATE videos SET changed_at = now() - interval '6 min'")
        assert await videos.put_back_streams(conn) == 1
        assert await videos.put_back_stranded(conn) == 1
        found = await db.rows(
            conn,
            "SELECT task_name FROM procrastinate_jobs WHERE task_name IN ('edit-video', 'process-video') ORDER BY 1",
        )
    assert [row[0] for row in found] == ["edit-video", "process-video"]
    assert (await read(beside)).job_id != beside.job_id and (await read(edited)).job_id == edited.job_id


async def test_the_failure_of_one_part_ends_the_others_and_the_video(owner: Owner) -> None:
    video = await a_row(owner, "EDITING")
    stream = await begun(video)
    async with db.house() as conn:
        waiting = await streams.parts(conn, stream.id)
        await endings.say(conn, stream.id, "[libx264] it broke")
        await endings.give_up(
            conn,
            job_id=int(waiting[1].job_id or 0),
            streamId=stream.id,
            part=1,
            reason="Too slow.",
            code="too_slow",
        )
        now = await videos.get(conn, video.id)
    failed = await read(stream)
    assert (failed.state, failed.reason_code, failed.log) == ("failed", "too_slow", "[libx264] it broke")
    assert (now.state, now.reason, now.edit_log) == ("FAILED", "Too slow.", "[libx264] it broke")
    assert dict(await part_jobs(stream))["2"] == "cancelled"
    # Those that were cancelled with it say nothing more.
    async with db.house() as conn:
        await endings.give_up(
            conn,
            job_id=int(waiting[2].job_id or 0),
            streamId=stream.id,
            reason="Cancelled.",
            code="cancelled",
        )
        assert (await videos.get(conn, video.id)).state == "FAILED"


async def test_a_job_that_an_operator_lets_go_on_takes_the_whole_video_along(owner: Owner) -> None:
    video = await a_row(owner, "EDITING")
    stream = await begun(video)
    async with db.house() as conn:
        waiting = await streams.parts(conn, stream.id)
        await endings.give_up(
            conn, job_id=int(waiting[1].job_id or 0), streamId=stream.id, reason="Too slow.", code="too_slow"
        )
    async with db.house() as conn:
        again = await endings.go_on(conn, await streams.get(conn, stream.id))
        now = await videos.get(conn, video.id)
    assert (again.state, now.state) == ("making", "EDITING")
    assert [status for number, status in await part_jobs(stream) if number == "2"] == ["cancelled", "todo"]


# What may be asked for


async def test_what_cannot_be_made_is_refused_by_name_and_puts_no_job(owner: Owner) -> None:
    video = await a_row(owner, "EDITED")
    theirs = await an_owner("Noor")
    wrong: list[tuple[dict[str, Any], set[str]]] = [
        ({"formats": []}, {"options.formats"}),
        ({"formats": ["hls", "webm"]}, {"options.formats"}),
        ({"formats": ["hls", "hls"]}, {"options.formats"}),
        ({"formats": "hls"}, {"options.formats"}),
        ({"formats": ["hls"], "watermark": "yes"}, {"options.watermark"}),
        ({"formats": ["hls"], "thumbnails": 1}, {"options.thumbnails"}),
        ({"formats": ["hls"], "input_path": "tenants/2/originals/y.mp4"}, {"inputPath"}),
        ({"formats": ["x"], "input_path": "../etc/passwd", "watermark": 3},
         {"options.formats", "inputPath", "options.watermark"}),
    ]  # fmt: skip
    for given, named in wrong:
        with pytest.raises(Refused) as caught:
            async with db.owned_by(owner.workspace_id) as conn:
                await videos.process(conn, video.id, **given)
        assert set(caught.value.fields) == named
    with pytest.raises(NotFound):
        async with db.owned_by(theirs.workspace_id) as conn:
            await videos.process(conn, video.id, formats=["hls"])
    with pytest.raises(WrongState):
        async with db.owned_by(owner.workspace_id) as conn:
            await videos.encode_rung_again(conn, video.id, "v0")
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM procrastinate_jobs") == 0


async def test_the_same_asked_twice_waits_once(owner: Owner) -> None:
    video = await a_row(owner, "EDITED")
    async with db.owned_by(owner.workspace_id) as conn:
        first = await videos.process(conn, video.id, formats=["mp4", "hls"])
        again = await videos.process(conn, video.id, formats=["hls", "mp4"])
        other = await videos.process(conn, video.id, formats=["dash"])
    assert (first == again, first == other) == (True, False)
    async with db.house() as conn:
        job = await queue.get(conn, first)
    assert (job.queue, job.product_priority, job.args["options"]) == (
        jobs.VIDEO_PROCESSING.name,
        jobs.NORMAL,
        {"formats": ["hls", "mp4"], "thumbnails": True},
    )


async def test_the_bytes_of_streams_count_into_the_quota(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await begun(await a_row(owner))
    await claimed(stream, 1, 7)
    monkeypatch.setenv("STORAGE_QUOTA_BYTES", "20")
    config.get.cache_clear()
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.check_quota(conn, 10)
    await kept(stream, 1, 7, a_segment("v0", 1))
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.check_quota(conn, 5)
        with pytest.raises(Refused):
            await videos.check_quota(conn, 6)


# What is swept
