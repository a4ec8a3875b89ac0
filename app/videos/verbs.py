"""What a person may do to a video that is there: stop it, let it go on, brand it anew, post it to a further account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from app import db, jobs, media, platforms, publishing, queue, states
from app.errors import Refused, WrongState
from app.videos import playing, streams
from app.videos.rows import MACHINE, State, Video, get, hold, media_of, queue_edit, to_send
from app.videos.shown import Shown, show

FORMATS = ("hls", "dash", "mp4")


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
        stream = await streams.making(conn, video_id)
        if stream is not None and stream.for_edit:
            await streams.stop(conn, stream, "The video was cancelled.")
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
        await publishing.supply(conn, video_id, await to_send(conn, video))
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
    _check_moves(video)
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
        await publishing.supply(conn, video_id, await to_send(conn, video))
    return await show(conn, video_id)


def _check_moves(video: Video) -> None:
    """WrongState for a picture: nothing of it is encoded, and nothing is drawn on it."""
    if video.is_picture:
        raise WrongState("This is a picture: there is nothing to encode or to brand.", code="picture")


async def process(
    conn: db.Conn,
    video_id: int,
    *,
    formats: Sequence[str],
    watermark: bool | None = None,
    thumbnails: bool = True,
    input_path: str | None = None,
    user_id: int | None = None,
) -> int:
    """Make streams and an MP4 of the video's original (or of the key `input_path`), beside its state and its posts;
    gives the job (S2.79). `watermark` says whether a logo is burned in, None leaves it to the design and the house.

    Refused with the names of what cannot be used; a key of anybody else is no key of this video.
    """
    video = await get(conn, video_id)
    _check_moves(video)
    problems: dict[str, str] = {}
    named = [] if isinstance(formats, str) else list(formats)
    if not named or not all(isinstance(name, str) and name in FORMATS for name in named):
        problems["options.formats"] = f"must be some of {', '.join(FORMATS)}"
    elif len(set(named)) != len(named):
        problems["options.formats"] = "names one twice"
    if watermark is not None and not isinstance(watermark, bool):
        problems["options.watermark"] = "must be true or false"
    if not isinstance(thumbnails, bool):
        problems["options.thumbnails"] = "must be true or false"
    key = video.source_key if input_path is None else input_path
    if key not in (video.source_key, video.edited_key):
        problems["inputPath"] = "is no file of this video"
    if problems:
        raise Refused("This cannot be made of the video.", code="invalid", fields=problems)
    options: dict[str, Any] = {
        "formats": [name for name in FORMATS if name in named],
        "thumbnails": thumbnails,
    }
    if watermark is not None:
        options["watermark"] = watermark
    return await put_process(conn, video, key, video.user_id if user_id is None else user_id, options)


async def encode_rung_again(conn: db.Conn, video_id: int, rung: str, *, user_id: int | None = None) -> int:
    """Make one rung of the stream that plays anew, with the settings as they are now; gives the job. The stream
    plays on until the new one is ready.
    """
    video = await get(conn, video_id)
    _check_moves(video)
    stream = await streams.ready_of(conn, video_id)
    if stream is None:
        raise WrongState("There is no stream of this video yet.", code="not_ready")
    names = [track.name for track in await streams.tracks(conn, stream.id) if track.kind == "video"]
    if rung not in names:
        raise Refused(
            "The video has no such size.",
            code="invalid",
            fields={"rung": f"must be one of {', '.join(names)}"},
        )
    if stream.source_key not in (video.source_key, video.edited_key):
        raise WrongState("What the stream was made of is gone: make all of it again.", code="source_gone")
    options = {"formats": list(stream.formats), "thumbnails": False, "rung": rung}
    by = video.user_id if user_id is None else user_id
    return await put_process(conn, video, stream.source_key, by, options)


async def put_process(conn: db.Conn, video: Video, key: str, user_id: int, options: dict[str, Any]) -> int:
    """The job that makes a stream of this file of the video."""
    job_id = await queue.defer(
        conn,
        jobs.PROCESS_VIDEO,
        workspace_id=video.workspace_id,
        videoId=video.id,
        inputPath=key,
        userId=user_id,
        options=options,
    )
    await playing.note_asked(conn, video, "video.process_queued", job_id)
    return job_id


def file_of(video: Video, key: str) -> tuple[int, str]:
    """Size and SHA-256 of the video's original or edited file. Refused for any other key."""
    if key == video.source_key:
        return video.source_bytes, video.source_sha256
    if key == video.edited_key and video.edited_bytes is not None and video.edited_sha256 is not None:
        return video.edited_bytes, video.edited_sha256
    raise Refused(
        "This is no file of the video any more.", code="source_gone", fields={"inputPath": "is no file of it"}
    )


async def cancel_stream(conn: db.Conn, video_id: int) -> Shown:
    """Stop what is made of an edited video beside it. WrongState when nothing is."""
    await hold(conn, video_id)
    stream = await streams.making(conn, video_id)
    if stream is None or stream.for_edit:
        raise WrongState("There is nothing left to cancel.", code="too_late")
    await streams.stop(conn, stream, "It was cancelled.")
    return await show(conn, video_id)


async def retry_stream(conn: db.Conn, video_id: int) -> int:
    """Go on with what failed beside an edited video, from what is stored of it; gives the job."""
    video = await get(conn, video_id)
    failed = [one for one in await streams.of_videos(conn, [video_id]) if one.state == streams.State.FAILED]
    if not failed or failed[-1].for_edit or failed[-1].source_key not in (video.source_key, video.edited_key):
        raise WrongState("There is nothing to retry.", code="not_over")
    return await put_process(conn, video, failed[-1].source_key, failed[-1].user_id, failed[-1].options)


async def pick_poster(conn: db.Conn, video_id: int, poster_ms: int) -> int:
    """Make the poster and the thumbnails anew from this moment of the edited video; gives the job (S2.4)."""
    video = await get(conn, video_id)
    _check_moves(video)
    length_ms = round(media_of(video).duration_s * 1000)
    good = isinstance(poster_ms, int) and not isinstance(poster_ms, bool) and 0 <= poster_ms <= length_ms
    if not good:
        raise Refused(
            "There is no such moment in the video.",
            code="invalid",
            fields={"posterMs": f"must be a whole number from 0 to {length_ms}"},
        )
    job_id = await queue.defer(
        conn, jobs.MAKE_STILLS, workspace_id=video.workspace_id, videoId=video_id, posterMs=poster_ms
    )
    await playing.note_asked(conn, video, "video.poster_queued", job_id)
    return job_id
