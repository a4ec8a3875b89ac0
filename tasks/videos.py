"""Branding."""

from app import jobs, videos
from tasks import task


@task(jobs.EDIT_VIDEO, gave_up=videos.give_up)
async def edit_video(videoId: int) -> None:
    await videos.edit(videoId)
