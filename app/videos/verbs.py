"""What a person may do to a video that is there: stop it, let it go on, brand it anew, post it to a further account."""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb

from app import db, media, platforms, publishing, queue, states
from app.errors import WrongState
from app.videos.rows import MACHINE, State, Video, hold, media_of, queue_edit
from app.videos.shown import Shown, show


async def cancel(conn: db.Conn, video_id: int) -> Shown:
    """Stop the work on this video and what was planned with it. WrongState when there is nothing left to
    stop.
    """
    shown = await show(conn, video_id)
    if not shown.can_cancel:
        raise WrongState("There is nothing left to cancel.", code="too_late")
    if shown.video.state in (State.EDITING_QUEUED, State.EDITING):
        await states.move(conn, MACHINE, Video, video_id, State.CANCELLED)
        await publishing.stop_for_video(conn, video_id, "The video was cancelled.")
        if shown.video.job_id is not None:
            await queue.cancel(conn, shown.video.job_id, "The video was cancelled.")
    else:
        for target in shown.targets:
            if target.can_cancel:
                await publishing.cancel(conn, target.id)
    return await show(conn, video_id)


async def retry(conn: db.Conn, video_id: int) -> Shown:
    """Go on where it ended, with a fresh count of tries: the edit, or the post. Twice raises WrongState."""
    shown = await show(conn, video_id)
    if not shown.can_retry:
        raise WrongState(f"This video is {shown.state}: there is nothing to retry.", code="not_over")
    if shown.video.state == State.EDITED:
        assert shown.target is not None
        return await retry_target(conn, video_id, shown.target.id)
    video = await states.move(conn, MACHINE, Video, video_id, State.EDITING_QUEUED, progress=0)
    await publishing.resume_for_video(conn, video_id)
    if not await queue.retry_ended(conn, video.job_id):
        await queue_edit(conn, video)
    return await show(conn, video_id)


async def retry_target(conn: db.Conn, video_id: int, target_id: int) -> Shown:
    """Let one post of this video go on; one that was cancelled before the edit ended gets the edited file now."""
    video = await hold(conn, video_id)
    await publishing.retry(conn, target_id)
    if video.state == State.EDITED:
        await publishing.supply(conn, video_id, media_of(video))
    return await show(conn, video_id)


async def edit_again(conn: db.Conn, video_id: int, design: media.Design) -> Shown:
    """Brand an edited video anew with another design. What was posted stays as it is."""
    shown = await show(conn, video_id)
    if shown.video.state != State.EDITED or any(not target.over for target in shown.targets):
        raise WrongState("The video is on its way: wait until it is out, or cancel it first.", code="busy")
    video = await states.move(
        conn, MACHINE, Video, video_id, State.EDITING_QUEUED, progress=0, design=Jsonb(design.to_json())
    )
    await queue_edit(conn, video)
    return await show(conn, video_id)


async def publish_to(
    conn: db.Conn,
    video_id: int,
    *,
    user_id: int,
    account_id: int,
    post: platforms.Post,
    publish_at: datetime | None = None,
    zone: str = "UTC",
) -> Shown:
    """Plan a further post of this video; one that is edited already goes out when due."""
    video = await hold(conn, video_id)
    if video.state in (State.FAILED, State.CANCELLED):
        raise WrongState("This video was not made: retry it first.", code="not_ready")
    await publishing.compose(
        conn,
        workspace_id=video.workspace_id,
        user_id=user_id,
        video_id=video_id,
        account_id=account_id,
        post=post,
        publish_at=publish_at,
        zone=zone,
    )
    if video.state == State.EDITED:
        await publishing.supply(conn, video_id, media_of(video))
    return await show(conn, video_id)
