"""Sending out, asking what became of it, and the alarm for what is planned."""

from app import jobs, publishing
from tasks import task


@task(jobs.UPLOAD_VIDEO, gave_up=publishing.give_up)
async def upload_video(videoId: int) -> None:
    await publishing.publish_video(videoId)


async def publish_to(targetId: int, **asked: object) -> None:
    """What else is asked stands in the target; the job repeats it for whoever reads jobs (S2.80)."""
    await publishing.publish_target(targetId)


for job in jobs.PUBLISH_TO.values():
    task(job, gave_up=publishing.give_up_target)(publish_to)


@task(jobs.FINISH_TARGET)
async def finish_target(targetId: int) -> None:
    await publishing.finish(targetId)


@task(jobs.SETTLE_TARGET, gave_up=publishing.settle_gave_up)
async def settle_target(targetId: int) -> None:
    await publishing.settle(targetId)


# Each planned post puts its own alarm; this is the net under them.
@task(jobs.RELEASE_DUE, cron="*/5 * * * *")
async def release_due() -> None:
    await publishing.release_all()


@task(jobs.RELEASE_AT)
async def release_at(moment: str) -> None:
    await publishing.release_all()
