"""What is made of a video in pieces: playable before it is whole, gone on with where it stood, joined into its MP4."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app import config, db, media, storage, videos
from app.errors import WrongState
from app.videos import streams
from tests.flows.making_kit import (
    FPS,
    OPENING_FRAMES,
    SEGMENT_FRAMES,
    files,
    frames_of,
    held_at,
    job_rows,
    newest,
    run_queue,
    segments,
    stream_frames,
    take_in,
    track_names,
    unnamed,
)
from tests.makers import an_owner, shown
from tests.media.clips import ffmpeg
from tests.worker import TestWorker
from tests.world import World

pytestmark = pytest.mark.anyio

TWO_SIZES = "854x480"


@pytest.fixture
def settings(settings: config.Config, monkeypatch: pytest.MonkeyPatch) -> config.Config:
    """Everything is made of a video, and one that lasts longer than four seconds is long."""
    monkeypatch.setenv("VIDEO_FORMATS", "hls,dash,mp4")
    monkeypatch.setenv("VIDEO_SPLIT_S", "4")
    monkeypatch.setenv("VIDEO_PART_S", "4")
    monkeypatch.setenv("QUEUE_VIDEO_PROCESSING_FIRST_WAIT_S", "0")
    config.get.cache_clear()
    return config.get()


async def test_a_short_video_is_made_in_one_job_and_goes_out(
    world: World, worker: TestWorker, tmp_path: Path
) -> None:
    owner = await an_owner()
    video = await take_in(owner, 3, size=TWO_SIZES, posted=True)
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    assert (after.state, after.progress, after.reason) == ("POSTED", 100, None)
    (post,) = await world.posts()
    assert post["sha256"] == after.video.edited_sha256
    stream = await newest(video.id)
    assert (stream.state, stream.formats, stream.mp4_key) == (
        "ready",
        ["dash", "hls", "mp4"],
        after.video.edited_key,
    )
    assert await track_names(stream) == ["v0", "v1", "a0"]
    assert await stream_frames(stream, "v1") == [OPENING_FRAMES, 3 * FPS - OPENING_FRAMES]
    assert await frames_of(str(stream.mp4_key), tmp_path) == 3 * FPS
    kinds = {still.kind for still in after.renditions}
    assert kinds == {"poster", "small", "medium", "large", "storyboard-0", "storyboard-vtt"}
    assert [await job_rows(task) for task in ("encode-part", "join-stream", "process-video")] == [[], [], []]
    assert await unnamed() == set()


async def test_a_long_video_is_made_in_parts_and_joined_frame_for_frame(
    world: World, worker: TestWorker, tmp_path: Path
) -> None:
    owner = await an_owner()
    video = await take_in(owner, 9.4, posted=True)
    await run_queue(worker, "video-edit")
    early = await shown(owner, video.id)
    async with db.owned_by(owner.workspace_id) as conn:
        played = await streams.of_video(conn, video.id)
    assert (early.state, early.video.edited_key) == ("EDITING", None)
    # It can be played before it is whole, and says what it waits for.
    assert played is not None and early.progress > streams.FROM_PERCENT
    assert early.job_id != early.video.job_id and early.waiting is not None
    assert [state for state, _ in await job_rows("encode-part")] == ["todo", "todo"]
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    stream = await newest(video.id)
    assert (after.state, stream.state, stream.progress) == ("POSTED", "ready", 100)
    assert await stream_frames(stream) == [OPENING_FRAMES, SEGMENT_FRAMES, 235 - 150]
    assert await frames_of(str(after.video.edited_key), tmp_path) == 235
    assert len(await job_rows("join-stream")) == 1
    assert len(await world.posts()) == 1
    assert await unnamed() == set()


async def test_two_workers_share_the_parts_of_a_video(
    world: World, worker: TestWorker, house: str, tmp_path: Path
) -> None:
    owner = await an_owner()
    video = await take_in(owner, 14)
    await run_queue(worker, "video-edit")
    async with held_at(house, "stream_segments", "NEW.number = 2") as hold:
        both = [asyncio.create_task(run_queue(worker, "video-processing")) for _ in range(2)]
        # One of them stands at its second segment; the other makes what is left meanwhile.
        await hold.reached()
        await hold.let_go()
        await asyncio.gather(*both)
    await worker.run_until_idle()
    after = await shown(owner, video.id)
    assert after.state == "EDITED"
    assert await frames_of(str(after.video.edited_key), tmp_path) == 14 * FPS
    async with db.house() as conn:
        workers = await db.value(
            conn, "SELECT count(DISTINCT worker_id) FROM attempts WHERE task = 'encode-part'"
        )
    assert workers == 2


async def test_a_video_that_fits_goes_out_as_it_is_and_gets_its_stream_beside_that(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    video = await take_in(owner, 3, posted=True, design=None)
    await run_queue(worker, "video-edit")
    edited = await shown(owner, video.id)
    assert edited.video.state == "EDITED"
    ((_, asked),) = await job_rows("process-video")
    assert (asked["inputPath"], asked["options"]["formats"]) == (edited.video.source_key, ["dash", "hls"])
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    assert after.state == "POSTED"
    assert after.video.edited_sha256 == edited.video.edited_sha256
    stream = await newest(video.id)
    assert (stream.state, stream.for_edit, stream.mp4_key) == ("ready", False, None)
    assert await stream_frames(stream) == [OPENING_FRAMES, 3 * FPS - OPENING_FRAMES]


async def test_cancelling_in_the_middle_stops_every_part_and_leaves_nothing_for_long(
    world: World, worker: TestWorker, house: str
) -> None:
    owner = await an_owner()
    video = await take_in(owner, 9.4, posted=True)
    before = files()
    async with held_at(house, "stream_segments", "NEW.number = 1 AND NEW.track = 'v0'") as hold:
        running = asyncio.create_task(worker.run_until_idle())
        await hold.reached()
        async with db.owned_by(owner.workspace_id) as conn:
            await videos.cancel(conn, video.id)
        await hold.let_go()
        await running
    await worker.run_until_idle(ahead=True)
    after, stream = await shown(owner, video.id), await newest(video.id)
    assert (after.state, stream.state) == ("CANCELLED", "cancelled")
    assert {status for status, _ in await job_rows("encode-part")} <= {"cancelled", "aborted"}
    assert [segment.number for segment in await segments(stream)] == [0]
    assert await unnamed() == set()
    async with db.house() as conn:
        await conn.execute("UPDATE streams SET changed_at = now() - interval '2 hours'")
    assert await videos.sweep_streams() > 0
    assert files() == before
    assert await world.posts() == []


async def test_a_part_that_cannot_be_made_fails_the_video_and_a_retry_makes_only_what_lacks(
    world: World, worker: TestWorker, tmp_path: Path
) -> None:
    owner = await an_owner()
    video = await take_in(owner, 9.4, posted=True)
    await run_queue(worker, "video-edit")
    opening = await segments(await newest(video.id))
    kept = await storage.fetch(video.source_key, into=tmp_path)
    await storage.delete(video.source_key)
    await worker.run_until_idle(ahead=True)
    failed, stream = await shown(owner, video.id), await newest(video.id)
    assert (failed.state, stream.state) == ("FAILED", "failed")
    assert failed.reason == stream.reason and failed.reason
    assert failed.targets[0].state == "cancelled"
    assert "todo" not in {status for status, _ in await job_rows("encode-part")}
    await storage.put(kept, video.source_key, "video/mp4")
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.retry(conn, video.id)
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    assert (after.state, (await newest(video.id)).id) == ("POSTED", stream.id)
    assert (await segments(stream))[: len(opening)] == opening
    assert await frames_of(str(after.video.edited_key), tmp_path) == 235
    assert len(await world.posts()) == 1


async def test_ffmpegs_own_last_lines_stay_with_a_video_that_failed(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await take_in(owner, 3)
    path = config.get().backlot_home / "storage" / video.source_key
    content = path.read_bytes()
    path.chmod(0o600)
    # Its index is whole, so it is looked into without a complaint; its pictures are not.
    path.write_bytes(content[:64] + bytes(len(content) * 3 // 4) + content[64 + len(content) * 3 // 4 :])
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    assert after.state == "FAILED"
    assert after.video.edit_log and after.video.edit_log.splitlines()[-1]


async def test_one_rung_is_encoded_again_and_the_rest_is_taken_over(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await take_in(owner, 3, size=TWO_SIZES)
    await worker.run_until_idle()
    first = await newest(video.id)
    before = {name: await segments(first, name) for name in ("v0", "v1", "a0")}
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.encode_rung_again(conn, video.id, "v1")
    await worker.run_until_idle()
    second = await newest(video.id)
    after = {name: await segments(second, name) for name in ("v0", "v1", "a0")}
    assert (second.id != first.id, second.state, second.only_rung) == (True, "ready", "v1")
    assert (await streams_states(video.id))[first.id] == "replaced"
    assert (after["v0"], after["a0"]) == (before["v0"], before["a0"])
    assert not {one.key for one in after["v1"]} & {one.key for one in before["v1"]}
    assert [one.ticks for one in after["v1"]] == [one.ticks for one in before["v1"]]
    assert second.mp4_key == first.mp4_key == (await shown(owner, video.id)).video.edited_key
    async with db.house() as conn:
        await conn.execute("UPDATE streams SET changed_at = now() - interval '2 hours'")
    await videos.sweep_streams()
    left = files()
    assert {one.key for one in [*after["v0"], *after["v1"], *after["a0"]]} <= left
    assert not {one.key for one in before["v1"]} & left


async def streams_states(video_id: int) -> dict[int, str]:
    async with db.house() as conn:
        found = await db.rows(conn, "SELECT id, state FROM streams WHERE video_id = %s", [video_id])
    return {int(stream_id): str(state) for stream_id, state in found}


async def test_a_second_design_replaces_the_stream_of_the_first(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await take_in(owner, 2)
    await worker.run_until_idle()
    first = await newest(video.id)
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.edit_again(conn, video.id, media.Design(effects=("grayscale",)))
    await worker.run_until_idle()
    second = await newest(video.id)
    assert await streams_states(video.id) == {first.id: "replaced", second.id: "ready"}
    assert (await shown(owner, video.id)).video.edited_key == second.mp4_key != first.mp4_key


async def test_the_house_logo_is_burned_in_where_nothing_else_is_said(
    world: World, worker: TestWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=red:size=80x40", "-frames:v", "1", tmp_path / "logo.png")
    monkeypatch.setenv("WATERMARK_PATH", str(tmp_path / "logo.png"))
    monkeypatch.setenv("WATERMARK_ENABLED", "true")
    config.get.cache_clear()
    owner = await an_owner()
    video = await take_in(owner, 2, design=None)
    await worker.run_until_idle()
    async with db.house() as conn:
        plan = await streams.plan_of(conn, (await newest(video.id)).id)
    assert plan["design"]["watermark"]["position"] == config.get().watermark_position
    # What was asked for one job goes before what the house does.
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.process(conn, video.id, formats=["hls"], watermark=False, thumbnails=False)
    await worker.run_until_idle()
    async with db.house() as conn:
        plan = await streams.plan_of(conn, (await newest(video.id)).id)
    assert "watermark" not in plan["design"]


async def test_the_poster_is_the_moment_that_a_person_picked(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await take_in(owner, 3)
    with pytest.raises(WrongState):
        async with db.owned_by(owner.workspace_id) as conn:
            await videos.pick_poster(conn, video.id, 100)
    await worker.run_until_idle()
    before = {still.kind: still.key for still in (await shown(owner, video.id)).renditions}
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.pick_poster(conn, video.id, 2500)
    await worker.run_until_idle()
    after = {still.kind: still.key for still in (await shown(owner, video.id)).renditions}
    changed = {kind for kind in after if after[kind] != before[kind]}
    assert changed == {"poster", "small", "medium", "large"}
