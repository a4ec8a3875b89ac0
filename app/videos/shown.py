"""What people are shown of a video: its one state, its targets and stills, why it waits, what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app import db, events, publishing, queue, storage
from app.videos import streams
from app.videos.rows import Rendition, State, Video, get
from app.videos.streams import Stream

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


@dataclass(frozen=True)
class Shown:
    """A video with its targets, stills and streams: what a card, a page or the API needs of it. `worked_by` is the
    job of the part that is made of it now, or next.
    """

    video: Video
    targets: tuple[publishing.Target, ...] = ()
    renditions: tuple[Rendition, ...] = ()
    waiting: dict[str, Any] | None = None
    streams: tuple[Stream, ...] = ()
    worked_by: int | None = None

    @property
    def making(self) -> Stream | None:
        """The stream that is being made of the video."""
        return next((stream for stream in self.streams if stream.state == streams.State.MAKING), None)

    @property
    def edited_by(self) -> Stream | None:
        """The stream by which the video is being edited."""
        return self.making if self.making is not None and self.making.for_edit else None

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
        if self.video.state == State.EDITING and self.edited_by is not None and self.edited_by.segments_made:
            return max(self.video.progress, streams.percent_of(self.edited_by.progress))
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
        """The job that it waits for."""
        if self.edited_by is not None:
            return self.worked_by or self.edited_by.job_id or self.video.job_id
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


async def show_many(conn: db.Conn, video_ids: Sequence[int]) -> dict[int, Shown]:
    """These videos with their targets and stills, by id; one that is gone is left out."""
    found = await db.many(
        conn, Video, "SELECT {columns} FROM videos WHERE id = ANY (%s) ORDER BY id", [list(video_ids)]
    )
    return {shown.video.id: shown for shown in await _with_parts(conn, found)}


async def _with_parts(conn: db.Conn, found: Sequence[Video]) -> list[Shown]:
    ids = [video.id for video in found]
    targets = await publishing.of_videos(conn, ids)
    stills = await db.many(
        conn, Rendition, "SELECT {columns} FROM renditions WHERE video_id = ANY (%s) ORDER BY id", [ids]
    )
    made = await streams.of_videos(conn, ids)
    going = [stream.id for stream in made if stream.state == streams.State.MAKING]
    workers = await streams.working_jobs(conn, going) if going else {}
    return [
        Shown(
            video,
            tuple(targets[video.id]),
            tuple(still for still in stills if still.video_id == video.id),
            streams=tuple(stream for stream in made if stream.video_id == video.id),
            worked_by=next(
                (workers[one.id] for one in made if one.video_id == video.id and one.id in workers), None
            ),
        )
        for video in found
    ]


async def timeline(conn: db.Conn, shown: Shown) -> list[events.Event]:
    """Everything that happened to this video, its targets and what was made beside it, oldest first."""
    beside = [stream.topic for stream in shown.streams if not stream.for_edit]
    targets = [f"target-{target.id}" for target in shown.targets]
    return await events.timeline(conn, [shown.video.topic, *targets, *beside])
