"""Sending out, asking what became of it, and the alarm for what is planned."""

from app import db, jobs, publishing, queue
from tasks import task


@task(jobs.UPLOAD_VIDEO, gave_up=publishing.give_up)
async def upload_video(videoId: int) -> None:
    await publishing.publish_video(videoId)


@task(jobs.SETTLE_TARGET, gave_up=publishing.settle_gave_up)
async def settle_target(targetId: int) -> None:
    await publishing.settle(targetId)


# Each planned post puts its own alarm; this is the net under them.
@task(jobs.RELEASE_DUE, cron="*/5 * * * *")
async def release_due() -> None:
    async with db.house() as conn:
        await publishing.release_due(conn)
        await queue.done(conn)
