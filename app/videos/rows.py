"""Videos as rows: adding, looking, cancelling, retrying, and the one state people are shown."""

from __future__ import annotations

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
MOST_TITLE_LETTERS = 2200


@dataclass(frozen=True)
class Video:
    """A video with its original, its design and, once edited, what came of it. Its targets say where it goes.

    `formats` is what is made for players beside the MP4; None is what the house makes.
    """

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
    item_id: int | None = None
    formats: list[str] | None = None

    @property
    def topic(self) -> str:
        return f"video-{self.id}"

    @property
    def is_picture(self) -> bool:
        """A picture walks the same way as a video, without what only moves or sounds."""
        return self.source_type.startswith("image/")


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
    formats: tuple[str, ...] | None = None,
    item_id: int | None = None,
) -> Video:
    """Take a stored original in: the video, its planned post and its edit job commit together or not at all
    (S1.5). `item_id` is the place in a batch that it fills.
    """
    title = check_title(title)
    await check_quota(conn, stored.bytes)
    video = await db.one(
        conn,
        Video,
        """
        INSERT INTO videos (workspace_id, user_id, account_id, title, filename, source_key, source_bytes,
                            source_sha256, source_type, source_probe, design, formats, item_id, state)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'EDITING_QUEUED')
        RETURNING {columns}""",
        [
            workspace_id, user_id, account_id, title, clean_name(filename), stored.key, stored.bytes,
            stored.sha256, seen.content_type, Jsonb(seen.probe.to_json()),
            Jsonb((design or media.Design()).to_json()), None if formats is None else list(formats), item_id,
        ],
    )  # fmt: skip
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
    video = await queue_edit(conn, video)
    await events.emit(conn, "video.editing_queued", video.topic, workspace_id=workspace_id)
    return video


async def queue_edit(conn: db.Conn, video: Video) -> Video:
    """Put the edit job of this video, and remember it in its row."""
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
                 + coalesce((SELECT sum(bytes) FROM streams
                              WHERE state IN ('making', 'failed')
                                 OR state = 'ready' AND formats && ARRAY['hls', 'dash']), 0)
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


async def of_item(conn: db.Conn, item_id: int) -> Video | None:
    """The video that came of this place in a batch, if one did."""
    return await db.maybe(conn, Video, "SELECT {columns} FROM videos WHERE item_id = %s", [item_id])


async def hold(conn: db.Conn, video_id: int) -> Video:
    """Lock the video for this transaction, so that its edit does not end beside what is being planned, and read it."""
    await conn.execute("SELECT 1 FROM videos WHERE id = %s FOR NO KEY UPDATE", [video_id])
    return await get(conn, video_id)


async def put_back_stranded(conn: db.Conn) -> int:
    """The net: a video that says it is being edited, and for which no job is, gets one; gives how many. One whose
    opening is made waits for the jobs of its other parts, which have a net of their own.
    """
    found = await db.many(
        conn,
        Video,
        """
        SELECT {columns}
          FROM videos
         WHERE state IN ('EDITING_QUEUED', 'EDITING') AND changed_at < now() - interval '5 min'
           AND NOT EXISTS (SELECT FROM procrastinate_jobs AS jobs
                            WHERE jobs.id = videos.job_id AND status IN ('todo', 'doing'))
           AND NOT EXISTS (SELECT FROM streams
                             JOIN stream_parts AS parts ON parts.stream_id = streams.id
                            WHERE streams.video_id = videos.id AND streams.state = 'making' AND streams.for_edit
                              AND parts.number = 0 AND parts.state = 'done'
                              AND EXISTS (SELECT FROM stream_parts
                                           WHERE stream_id = streams.id AND number = 1))
           FOR UPDATE SKIP LOCKED""",
    )
    for video in found:
        await queue_edit(conn, video)
        log.warning("a video without a job was put back in line", video_id=video.id)
    return len(found)


def media_of(video: Video) -> publishing.Media:
    """What an edited video offers to a platform."""
    if video.edited_key is None or video.edited_probe is None:
        raise WrongState("The video is not ready yet.", code="not_ready")
    probe = media.Probe.from_json(video.edited_probe)
    return publishing.Media(
        key=video.edited_key,
        bytes=video.edited_bytes or 0,
        sha256=video.edited_sha256 or "",
        content_type="image/jpeg" if video.is_picture else "video/mp4",
        duration_s=probe.duration_s,
        width_px=probe.width_px,
        height_px=probe.height_px,
        fps=probe.fps or 0.0,
    )


async def to_send(conn: db.Conn, video: Video) -> publishing.Media:
    """What an edited video offers to a platform, with its poster as the cover."""
    row = await db.rows(
        conn,
        "SELECT key, bytes, sha256, width_px, height_px FROM renditions WHERE video_id = %s AND kind = 'poster'",
        [video.id],
    )
    names = ("key", "bytes", "sha256", "width_px", "height_px")
    cover = dict(zip(names, row[0], strict=True)) if row else None
    return replace(media_of(video), cover=cover)
