"""What a job works on, and what an operator's retry means to it.

A job alone put back in line would find its video failed and do nothing, so the room is asked to go on, in the
same transaction; the room then finds the job that waits already.
"""

from __future__ import annotations

from dataclasses import dataclass

from app import db, jobs, publishing, queue, videos
from app.errors import NotFound
from app.queue import JobRow


@dataclass(frozen=True)
class Thing:
    """The video behind a job. `path` is empty for somebody else's: only its workspace may open it."""

    title: str
    state: str
    path: str


async def of(conn: db.Conn, job: JobRow, workspace_id: int) -> Thing | None:
    """What this job works on; None when it works on nothing of anybody's, or that is gone."""
    try:
        video_id = await _video_id(conn, job)
        if video_id is None:
            return None
        shown = await videos.show(conn, video_id)
    except NotFound:
        return None
    own = shown.video.workspace_id == workspace_id
    return Thing(shown.video.title, shown.state, f"/videos/{video_id}" if own else "")


async def retry(conn: db.Conn, job: JobRow) -> None:
    """Put an ended job back in line and let its video go on. WrongState when the job or the room says no."""
    await queue.retry(conn, job.id)
    if job.task not in (jobs.EDIT_VIDEO.name, jobs.UPLOAD_VIDEO.name):
        return
    try:
        shown = await videos.show(conn, int(job.args["videoId"]))
    except NotFound:
        return
    if job.task == jobs.EDIT_VIDEO.name:
        if shown.video.job_id == job.id and shown.video.state in (
            videos.State.FAILED,
            videos.State.CANCELLED,
        ):
            await videos.retry(conn, shown.video.id)
        return
    for target in shown.targets:
        if target.job_id == job.id and target.can_retry:
            await videos.retry_target(conn, shown.video.id, target.id)


async def _video_id(conn: db.Conn, job: JobRow) -> int | None:
    if "videoId" in job.args:
        return int(job.args["videoId"])
    if "targetId" in job.args:
        return (await publishing.get(conn, int(job.args["targetId"]))).video_id
    return None
