"""Videos as rows: adding, looking, cancelling, retrying, and the one state people are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from app import config, db, events, jobs, log, media, platforms, publishing, queue, states, storage
from app.errors import Refused, WrongState


class State(StrEnum):
    UPLOADED = "UPLOADED"
    EDITING_QUEUED = "EDITING_QUEUED"
    EDITING = "EDITING"
    EDITED = "EDITED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


def _to(*states_: State) -> frozenset[str]:
    return frozenset(states_)


MACHINE = states.Machine(
    "video",
    "videos",
    {
        "": _to(State.EDITING_QUEUED),
        State.EDITING_QUEUED: _to(State.EDITING, State.FAILED, State.CANCELLED),
        State.EDITING: _to(State.EDITING, State.EDITED, State.EDITING_QUEUED, State.FAILED, State.CANCELLED),
        State.EDITED: _to(State.EDITING_QUEUED),
        State.FAILED: _to(State.EDITING, State.EDITING_QUEUED),
        State.CANCELLED: _to(State.EDITING_QUEUED),
    },
)
# What the API calls the rest of the way is the video's target: architecture, section 5.
SHOWN_OF_TARGET = {
    publishing.State.DRAFT: "EDITED",
    publishing.State.SCHEDULED: "EDITED",
    publishing.State.QUEUED: "UPLOAD_QUEUED",
    publishing.State.PUBLISHING: "UPLOADING",
    publishing.State.UNCONFIRMED: "CONFIRMING",
    publishing.State.PUBLISHED: "POSTED",
    publishing.State.FAILED: "FAILED",
    publishing.State.CANCELLED: "CANCELLED",
    publishing.State.MISSED: "FAILED",
}
SHOWN = (
    "UPLOADED", "EDITING_QUEUED", "EDITING", "EDITED", "UPLOAD_QUEUED", "UPLOADING", "CONFIRMING", "POSTED",
    "FAILED", "CANCELLED",
)  # fmt: skip
MOST_TITLE_LETTERS = 2200


@dataclass(frozen=True)
class Video:
    """A video with its original, its design and, once edited, what came of it. Its targets say where it goes."""

    id: int
    workspace_id: int
    user_id: int
    account_id: int | None
    title: str
    filename: str
    source_key: str
    source_bytes: int
    source_sha256: str
    source_type: str
    source_probe: dict[str, Any] | None
    design: dict[str, Any]
    edited_key: str | None
    edited_bytes: int | None
    edited_sha256: str | None
    edited_probe: dict[str, Any] | None
    edit_command: str | None
    edit_log: str | None
    edit_cpu_s: float | None
    state: str
    progress: float
    reason: str | None
    reason_code: str | None
    job_id: int | None
    run: int | None
    changed_at: datetime
    created_at: datetime

    @property
    def topic(self) -> str:
        return f"video-{self.id}"


@dataclass(frozen=True)
class Seen:
    """What a look into a file told: its type by its bytes, and ffmpeg's findings."""

    content_type: str
    probe: media.Probe


@dataclass(frozen=True)
class Rendition:
    """A still of the edited video: `poster`, `small`, `medium` or `large`."""

    video_id: int
    kind: str
    key: str
    bytes: int
    width_px: int
    height_px: int
    content_type: str

    @property
    def url(self) -> str:
        return storage.link(self.key, content_type=self.content_type)


@dataclass(frozen=True)
class Shown:
    """A video with its targets and stills: what a card, a page or the API needs of it."""

    video: Video
    targets: tuple[publishing.Target, ...] = ()
    renditions: tuple[Rendition, ...] = ()
    waiting: dict[str, Any] | None = None

    @property
    def target(self) -> publishing.Target | None:
        """The newest target: the one that the video's own state speaks of."""
        return self.targets[-1] if self.targets else None

    @property
    def state(self) -> str:
        """The one mapping of ours to the contract's video states (S1.47)."""
        if self.video.state != State.EDITED or self.target is None:
            return self.video.state
        return SHOWN_OF_TARGET[publishing.State(self.target.state)]

    @property
    def progress(self) -> float:
        """0–100 of the step at hand."""
        if self.video.state != State.EDITED or self.target is None:
            return self.video.progress
        if self.target.state in (publishing.State.SCHEDULED, publishing.State.DRAFT):
            return self.video.progress
        return self.target.progress

    @property
    def reason(self) -> str | None:
        if self.video.state != State.EDITED or self.target is None:
            return self.video.reason
        return self.target.reason

    @property
    def reason_code(self) -> str | None:
        if self.video.state != State.EDITED or self.target is None:
            return self.video.reason_code
        return self.target.reason_code

    @property
    def moving(self) -> bool:
        """Whether something is under way or in line."""
        return self.state in ("EDITING_QUEUED", "EDITING", "UPLOAD_QUEUED", "UPLOADING", "CONFIRMING")

    @property
    def can_cancel(self) -> bool:
        if self.video.state in (State.EDITING_QUEUED, State.EDITING):
            return True
        return any(target.can_cancel for target in self.targets)

    @property
    def can_retry(self) -> bool:
        if self.video.state in (State.FAILED, State.CANCELLED):
            return True
        return self.target is not None and self.target.can_retry

    @property
    def job_id(self) -> int | None:
        if self.video.state != State.EDITED or self.target is None:
            return self.video.job_id
        return self.target.job_id

    def still(self, kind: str) -> Rendition | None:
        return next((rendition for rendition in self.renditions if rendition.kind == kind), None)

    @property
    def source_url(self) -> str:
        return storage.link(self.video.source_key, content_type=self.video.source_type)

    @property
    def edited_url(self) -> str | None:
        if self.video.edited_key is None:
            return None
        return storage.link(self.video.edited_key, content_type="video/mp4")


async def add(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    account_id: int | None,
    title: str,
    filename: str,
    stored: storage.Stored,
    seen: Seen,
    design: media.Design | None = None,
    post: platforms.Post | None = None,
    publish_at: datetime | None = None,
    zone: str = "UTC",
) -> Video:
    """Take a stored original in: the video, its planned post and its edit job commit together or not at all
    (S1.5).
    """
    title = check_title(title)
    await check_quota(conn, stored.bytes)
    video = await db.one(
        conn,
        Video,
        """
        INSERT INTO videos (workspace_id, user_id, account_id, title, filename, source_key, source_bytes,
                            source_sha256, source_type, source_probe, design, state)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'EDITING_QUEUED')
        RETURNING {columns}""",
        [
            workspace_id,
            user_id,
            account_id,
            title,
            clean_name(filename),
            stored.key,
            stored.bytes,
            stored.sha256,
            seen.content_type,
            Jsonb(seen.probe.to_json()),
            Jsonb((design or media.Design()).to_json()),
        ],
    )
    await events.emit(conn, "video.uploaded", video.topic, workspace_id=workspace_id, bytes=stored.bytes)
    if account_id is not None:
        await publishing.compose(
            conn,
            workspace_id=workspace_id,
            user_id=user_id,
            video_id=video.id,
            account_id=account_id,
            # S1.37: the API's default is the creator alone; the composer preselects nothing and always sends
            # a choice.
            post=post or platforms.Post(title=title, privacy_level="SELF_ONLY"),
            publish_at=publish_at,
            zone=zone,
        )
    video = await _queue_edit(conn, video)
    await events.emit(conn, "video.editing_queued", video.topic, workspace_id=workspace_id)
    return video


async def _queue_edit(conn: db.Conn, video: Video) -> Video:
    job_id = await queue.defer(
        conn, jobs.EDIT_VIDEO, workspace_id=video.workspace_id, priority=jobs.HIGH, videoId=video.id
    )
    await conn.execute("UPDATE videos SET job_id = %s WHERE id = %s", [job_id, video.id])
    return replace(video, job_id=job_id)


def check_title(title: str) -> str:
    """The title without what nobody can see; Refused when nothing or too much is left."""
    cleaned = " ".join("".join(letter if letter.isprintable() else " " for letter in title).split())
    if not cleaned:
        raise Refused("Give the video a title.", code="invalid", fields={"title": "is missing"})
    if len(cleaned) > MOST_TITLE_LETTERS:
        raise Refused(
            "The title is too long.",
            code="invalid",
            fields={"title": f"has {len(cleaned)} letters; {MOST_TITLE_LETTERS} are allowed"},
        )
    return cleaned


def clean_name(filename: str) -> str:
    """What the person called the file, for showing only: no control characters, no folders, at most 200
    letters.
    """
    name = filename.replace("\\", "/").rpartition("/")[2]
    name = "".join(letter for letter in name if letter.isprintable()).strip()
    return name[:200] or "video"


async def check_quota(conn: db.Conn, more_bytes: int) -> None:
    """Refused when the workspace would keep more than STORAGE_QUOTA_BYTES, unfinished uploads included."""
    most = config.get().storage_quota_bytes
    if most is None:
        return
    kept = int(
        await db.value(
            conn,
            """
            SELECT coalesce((SELECT sum(source_bytes + coalesce(edited_bytes, 0)) FROM videos), 0)
                 + coalesce((SELECT sum(bytes_total) FROM uploads WHERE state IN ('open', 'finishing')),
                 0)""",
        )
    )
    if kept + more_bytes > most:
        raise Refused(
            f"This workspace may keep {most // 1024**2} MiB and has {max(most - kept, 0) // 1024**2} MiB left.",
            code="quota",
            status=413,
            fields={"file": "does not fit into the storage that is left"},
        )


async def get(conn: db.Conn, video_id: int) -> Video:
    return await db.one(conn, Video, "SELECT {columns} FROM videos WHERE id = %s", [video_id])


async def show(conn: db.Conn, video_id: int) -> Shown:
    """The video with everything its page shows, and why it waits."""
    shown = (await _with_parts(conn, [await get(conn, video_id)]))[0]
    if shown.moving and shown.job_id is not None:
        return replace(shown, waiting=await queue.waiting_reason(conn, shown.job_id))
    return shown


async def list_for(
    conn: db.Conn,
    *,
    state: str | None = None,
    words: str | None = None,
    before_id: int | None = None,
    most: int = 24,
) -> list[Shown]:
    """The workspace's videos, newest first; `state` is a shown state, `words` are looked for in titles."""
    found = await db.many(
        conn,
        Video,
        """
        SELECT {columns}
          FROM videos
         WHERE (%(before_id)s::bigint IS NULL OR id < %(before_id)s)
           AND (%(words)s::text IS NULL OR position(lower(%(words)s) IN lower(title || ' ' || filename)) > 0)
           AND (%(state)s::text IS NULL OR %(state)s = shown_video_state(state, id))
         ORDER BY id DESC
         LIMIT %(most)s""",
        {"before_id": before_id, "words": words, "state": state, "most": most},
    )
    return await _with_parts(conn, found)


async def counts(conn: db.Conn) -> dict[str, int]:
    """How many of the workspace's videos are in each shown state."""
    found = await db.rows(conn, "SELECT shown_video_state(state, id), count(*) FROM videos GROUP BY 1")
    return {str(state): int(many) for state, many in found}


async def _with_parts(conn: db.Conn, found: Sequence[Video]) -> list[Shown]:
    ids = [video.id for video in found]
    targets = await publishing.of_videos(conn, ids)
    stills = await db.many(
        conn, Rendition, "SELECT {columns} FROM renditions WHERE video_id = ANY (%s) ORDER BY id", [ids]
    )
    return [
        Shown(video, tuple(targets[video.id]), tuple(still for still in stills if still.video_id == video.id))
        for video in found
    ]


async def timeline(conn: db.Conn, shown: Shown) -> list[events.Event]:
    """Everything that happened to this video and its targets, oldest first."""
    return await events.timeline(
        conn, [shown.video.topic, *(f"target-{target.id}" for target in shown.targets)]
    )


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
        await _queue_edit(conn, video)
    return await show(conn, video_id)


async def retry_target(conn: db.Conn, video_id: int, target_id: int) -> Shown:
    """Let one post of this video go on; one that was cancelled before the edit ended gets the edited file now."""
    video = await hold(conn, video_id)
    await publishing.retry(conn, target_id)
    if video.state == State.EDITED:
        await publishing.supply(conn, video_id, media_of(video))
    return await show(conn, video_id)


async def hold(conn: db.Conn, video_id: int) -> Video:
    """Lock the video for this transaction, so that its edit does not end beside what is being planned, and read it."""
    await conn.execute("SELECT 1 FROM videos WHERE id = %s FOR NO KEY UPDATE", [video_id])
    return await get(conn, video_id)


async def put_back_stranded(conn: db.Conn) -> int:
    """The net: a video that says it is being edited, and for which no job is, gets one; gives how many."""
    found = await db.many(
        conn,
        Video,
        """
        SELECT {columns}
          FROM videos
         WHERE state IN ('EDITING_QUEUED', 'EDITING') AND changed_at < now() - interval '5 min'
           AND NOT EXISTS (SELECT FROM procrastinate_jobs AS jobs
                            WHERE jobs.id = videos.job_id AND status IN ('todo', 'doing'))
           FOR UPDATE SKIP LOCKED""",
    )
    for video in found:
        await _queue_edit(conn, video)
        log.warning("a video without a job was put back in line", video_id=video.id)
    return len(found)


async def edit_again(conn: db.Conn, video_id: int, design: media.Design) -> Shown:
    """Brand an edited video anew with another design. What was posted stays as it is."""
    shown = await show(conn, video_id)
    if shown.video.state != State.EDITED or any(not target.over for target in shown.targets):
        raise WrongState("The video is on its way: wait until it is out, or cancel it first.", code="busy")
    video = await states.move(
        conn, MACHINE, Video, video_id, State.EDITING_QUEUED, progress=0, design=Jsonb(design.to_json())
    )
    await _queue_edit(conn, video)
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


def media_of(video: Video) -> publishing.Media:
    """What an edited video offers to a platform."""
    if video.edited_key is None or video.edited_probe is None:
        raise WrongState("The video is not ready yet.", code="not_ready")
    probe = media.Probe.from_json(video.edited_probe)
    return publishing.Media(
        key=video.edited_key,
        bytes=video.edited_bytes or 0,
        sha256=video.edited_sha256 or "",
        content_type="video/mp4",
        duration_s=probe.duration_s,
        width_px=probe.width_px,
        height_px=probe.height_px,
        fps=probe.fps or 0.0,
    )
