"""Reels and ordinary videos: begin, chunks, the last call. Facebook sheet, sections 3.1 and 3.2."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.sandbox.facebook import videos
from app.sandbox.facebook.calls import Act, Call, Endpoint, handler, put_off_as
from app.sandbox.facebook.videos import EDGES, NO_SESSION, Video
from app.sandbox.line import Cut
from app.sandbox.meta import envelope, fetch, store
from app.sandbox.meta.envelope import Problem
from app.sandbox.world import World

MOST_BYTES = 2_000_000_000
LEAST_BYTES = 1024
POSTING = "pages_manage_posts"
VIDEO_TYPES = ("video/mp4", "video/quicktime")


class CutHere(Exception):
    """The line is to be cut in the middle of this call, by the tester's wish."""


async def start_reel(world: World, call: Call) -> dict[str, Any]:
    video = await world.write(_start_reel, call)
    return {
        "video_id": video.id,
        "upload_url": f"{call.base}/facebook/upload/video-upload/v26.0/{video.id}",
    }


def _start_reel(conn: sqlite3.Connection, call: Call) -> Video:
    videos.refuse_if_barred(call)
    videos.reels_left(conn, call)
    return videos.begin(conn, call, "reel")


async def finish_reel(world: World, call: Call) -> dict[str, Any]:
    """`video_state` decides: shown, kept as a draft, or shown at a time. Once taken, taken."""
    page = call.page
    video = videos.of_page(
        await world.read(videos.by_id, call.fields.get("video_id", "")),
        page.id,
        call.fields.get("video_id", ""),
    )
    state = call.fields.get("video_state", "")
    if state not in ("PUBLISHED", "DRAFT", "SCHEDULED"):
        raise envelope.invalid("video_state must be one of PUBLISHED, DRAFT, SCHEDULED")
    due_at = videos.moment(call, "reel") if state == "SCHEDULED" else None
    if video.finished_at is None:
        sha256 = await _whole(world, video, call.at)
        video = await world.write(_finish_reel, world, call, video, state, due_at, sha256)
    # Only some answers name the post (section 3.1).
    return {"success": True} | ({} if video.by_the_schema else {"post_id": video.post_id})


def _finish_reel(
    conn: sqlite3.Connection,
    world: World,
    call: Call,
    video: Video,
    state: str,
    due_at: float | None,
    sha256: str,
) -> Video:
    videos.refuse_if_barred(call)
    if state == "PUBLISHED":
        videos.reels_left(conn, call)
    return videos.finish(conn, world, call, video, state, due_at, sha256)


async def start_video(world: World, call: Call) -> dict[str, Any]:
    size = call.fields.get("file_size", "")
    if not size.isdigit():
        raise envelope.invalid("file_size is missing or no number.")
    if int(size) < LEAST_BYTES:
        raise Problem(1363022, "The video file you selected is too small.", title="Video Too Small")
    if int(size) > MOST_BYTES:
        raise Problem(352, "The video file you selected is too large.", 1363023, title="Video Too Large")
    video = await world.write(_start_video, call, int(size))
    return {"upload_session_id": video.session_id, "video_id": video.id} | _offsets(video, 0)


def _start_video(conn: sqlite3.Connection, call: Call, size: int) -> Video:
    videos.refuse_if_barred(call)
    return videos.begin(conn, call, "video", size)


def next_end(video: Video, start: int) -> int:
    """Where the chunk ends that begins here: Facebook cuts as it likes, so every third one is twice as long."""
    length = video.chunk_bytes * (2 if (start // video.chunk_bytes) % 3 == 2 else 1)
    return min(start + length, video.total_bytes)


def _offsets(video: Video, start: int) -> dict[str, str]:
    return {"start_offset": str(start), "end_offset": str(next_end(video, start))}


async def transfer(world: World, call: Call) -> dict[str, Any]:
    """One chunk, at the place and of the length that was told; anything else is told again (1363037)."""
    video = await _session(world, call)
    chunk = call.files.get("video_file_chunk")
    if chunk is None:
        raise envelope.invalid("video_file_chunk is missing.")
    content = await chunk.read()
    here = video.received(world)
    start = call.fields.get("start_offset", "")
    if start != str(here) or len(content) != next_end(video, here) - here:
        raise wrong_start(video, here)
    cut_at_byte = call.caller.creator.switches.cut_at_byte
    if cut_at_byte and not video.was_cut and here <= cut_at_byte < here + len(content):
        await world.write(mark_cut, video.id)
        raise CutHere
    if not await asyncio.to_thread(append, video.path(world), here, content):
        raise wrong_start(video, video.received(world))
    return _offsets(video, here + len(content))


def wrong_start(video: Video, here: int) -> Problem:
    """With the right offsets in `error_data`: an object for some videos, its JSON text for others (section 4)."""
    offsets: Any = _offsets(video, here)
    if video.by_the_schema:
        offsets = f'{{"start_offset": {offsets["start_offset"]}, "end_offset": {offsets["end_offset"]}}}'
    return Problem(
        6001 if video.by_the_schema else 1363037,
        "There was a problem uploading your video file. Please try again with the right start offset.",
        1363037 if video.by_the_schema else None,
        error_data=offsets,
        transient=False,
    )


def append(path: Path, start: int, content: bytes) -> bool:
    """Add a chunk to its file; False when another call was first."""
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if store.received(path) != start:
            return False
        with path.open("ab") as file:
            file.write(content)
        return True
    finally:
        os.close(lock)


def mark_cut(conn: sqlite3.Connection, video_id: str) -> None:
    conn.execute("UPDATE fb_videos SET was_cut = 1 WHERE id = ?", (video_id,))


async def finish_video(world: World, call: Call) -> dict[str, Any]:
    video = await _session(world, call)
    published = call.fields.get("published", "true").lower() != "false"
    due_at = (
        videos.moment(call, "video") if "scheduled_publish_time" in call.fields and not published else None
    )
    state = "PUBLISHED" if published else ("SCHEDULED" if due_at else "DRAFT")
    sha256 = await _whole(world, video, call.at)
    await world.write(_finish_video, world, call, video, state, due_at, sha256)
    return {"success": True}


def _finish_video(
    conn: sqlite3.Connection,
    world: World,
    call: Call,
    video: Video,
    state: str,
    due_at: float | None,
    sha256: str,
) -> None:
    videos.refuse_if_barred(call)
    videos.finish(conn, world, call, video, state, due_at, sha256)


async def cancel_video(world: World, call: Call) -> dict[str, Any]:
    video = await _session(world, call)
    await world.write(_end, video.id, call.at)
    return {"success": True}


def _end(conn: sqlite3.Connection, video_id: str, at: float) -> None:
    conn.execute("UPDATE fb_videos SET expires_at = ? WHERE id = ? AND finished_at IS NULL", (at, video_id))


async def _session(world: World, call: Call) -> Video:
    """The open session that the call names; one that is over or finished is 1363041."""
    found = await world.read(videos.by_session, call.fields.get("upload_session_id", ""))
    video = videos.of_page(found, call.page.id, call.fields.get("upload_session_id", ""))
    if video.finished_at is not None or video.ended(call.at):
        raise Problem(NO_SESSION, "The video upload session has expired.", title="Session Expired")
    return video


async def _whole(world: World, video: Video, at: float) -> str:
    """The hash of the whole file; refused while bytes are missing or the video has ended."""
    if video.ended(at):
        raise Problem(NO_SESSION, "The video upload session has expired.", title="Session Expired")
    received = video.received(world)
    if not video.total_bytes or received != video.total_bytes:
        raise Problem(6000, "There was a problem uploading your video file. Please try again.")
    return await asyncio.to_thread(store.sha256_of, video.path(world))


async def one_shot(world: World, call: Call) -> dict[str, Any]:
    """`/videos` with `file_url`: fetched and published in one call, ambiguous when its answer is lost (3.2 c)."""
    page = call.page
    if "upload_phase" in call.fields:
        raise envelope.invalid("file_url cannot be combined with upload_phase.")
    videos.refuse_if_barred(call)
    published = call.fields.get("published", "true").lower() != "false"
    video = await world.write(videos.begin, call, "video")
    try:
        found = await fetch.fetch(
            call.fields["file_url"],
            video.path(world),
            most_bytes=MOST_BYTES,
            types=VIDEO_TYPES,
            trust=world.settings.pull_ca,
        )
    except fetch.Unfetchable as failure:
        raise Problem(389, f"(#389) Unable to fetch video file from URL. {failure}") from failure
    await world.write(set_size, video.id, found.bytes)
    now = videos.of_page(await world.read(videos.by_id, video.id), page.id, video.id)
    await world.write(
        videos.finish, world, call, now, "PUBLISHED" if published else "DRAFT", None, found.sha256
    )
    return {"id": video.id}


def set_size(conn: sqlite3.Connection, video_id: str, total_bytes: int) -> None:
    conn.execute(
        "UPDATE fb_videos SET total_bytes = ? WHERE id = ? AND total_bytes = 0", (total_bytes, video_id)
    )


async def list_reels(world: World, call: Call) -> dict[str, Any]:
    """Row 12: the Page's Reels, newest first, from `since` to `until`."""
    since, until = (
        float(call.fields.get(name, default)) for name, default in (("since", "0"), ("until", "9e12"))
    )
    found = await world.read(
        videos.listed,
        "kind = 'reel' AND page_id = ? AND created_at BETWEEN ? AND ?",
        (call.page.id, since, until),
    )
    return {
        "data": [
            {"id": video.id, "description": video.text(), "updated_time": videos.shown(video.created_at)}
            for video in reversed(found)
            if video.published(call.at)
        ]
    }


def _edge(steps: tuple[str, ...], act: Act) -> Endpoint:
    return Endpoint(steps, act, scope=POSTING, writes=True)


REELS = {
    "start": put_off_as("start_reel", _edge(("init",), start_reel)),
    "finish": put_off_as("finish_reel", _edge(("finish", "last_chunk"), finish_reel)),
}
CHUNKED = {
    "start": put_off_as("start_video", _edge(("init",), start_video)),
    "transfer": _edge(("upload",), transfer),
    "finish": put_off_as("finish_video", _edge(("finish", "last_chunk"), finish_video)),
    "cancel": _edge(("cancel",), cancel_video),
}
ONE_SHOT = put_off_as("one_shot", _edge(("one_shot", "last_chunk"), one_shot))


def _reels(fields: Mapping[str, str], object_id: str) -> Endpoint:
    if fields.get("upload_phase") not in REELS:
        raise envelope.invalid("upload_phase must be one of start, finish")
    return REELS[fields["upload_phase"]]


def _chunked(fields: Mapping[str, str], object_id: str) -> Endpoint:
    if "file_url" in fields:
        return ONE_SHOT
    if fields.get("upload_phase") not in CHUNKED:
        raise envelope.invalid("upload_phase must be one of start, transfer, finish, cancel")
    return CHUNKED[fields["upload_phase"]]


video_reels = handler(_reels)
_videos = handler(_chunked, files=True)


async def page_videos(request: Request) -> Response:
    try:
        return await _videos(request)
    except CutHere:
        return Cut()


__all__ = ["EDGES", "list_reels", "page_videos", "video_reels"]
