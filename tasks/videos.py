"""Branding, and everything that is made of a video beside it."""

from typing import Any

from app import jobs, videos
from tasks import task


@task(jobs.EDIT_VIDEO, gave_up=videos.give_up)
async def edit_video(videoId: int) -> None:
    await videos.edit(videoId)


@task(jobs.PROCESS_VIDEO, gave_up=videos.give_up_process)
async def process_video(videoId: int, inputPath: str, userId: int, options: dict[str, Any]) -> None:
    await videos.make_streams(videoId, inputPath, userId, options)


@task(jobs.ENCODE_PART, gave_up=videos.give_up_stream)
async def encode_part(streamId: int, part: int) -> None:
    await videos.encode_part(streamId, part)


@task(jobs.JOIN_STREAM, gave_up=videos.give_up_stream)
async def join_stream(streamId: int) -> None:
    await videos.join_stream(streamId)


@task(jobs.MAKE_STILLS)
async def make_stills(videoId: int, posterMs: int) -> None:
    await videos.make_stills(videoId, posterMs)
