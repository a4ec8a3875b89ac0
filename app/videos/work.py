"""Branding a video: fetch the original, one ffmpeg run, keep the results, hand the video on to its targets."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from psycopg.types.json import Jsonb

from app import config, db, http, live, log, media, publishing, queue, states, storage
from app.errors import Cancelled, HouseError, NotFound, Refused, Superseded, WrongState
from app.videos import assets, rows
from app.videos.rows import MACHINE, State, Video

LOGO_MOST_BYTES = 5 * 1024**2
# Progress is kept at least at these points (S1.46), and every few seconds between them.
POINTS = (10.0, 30.0, 60.0)
KEEP_EVERY_S = 2.0
STILL_TYPE = "image/jpeg"


async def edit(video_id: int) -> None:
    """Burn the design into the video and hand it on. May run again: an edited video is left as it is."""
    run = queue.current().number
    video = await _claim(video_id, run)
    if video is None:
        return
    try:
        await _make(video, run)
    except (Superseded, Cancelled):
        raise
    except WrongState as error:
        raise await _cancelled(video_id, error) from error
    except BaseException as error:
        await _back_in_line(video_id, run, error)
        raise


async def _claim(video_id: int, run: int) -> Video | None:
    async with db.house() as conn:
        try:
            video = await rows.get(conn, video_id)
        except NotFound as error:
            raise Cancelled("The video was deleted.") from error
        if video.state == State.EDITED:
            return None
        if video.state == State.CANCELLED:
            raise Cancelled("The video was cancelled.")
        return await states.move(
            conn, MACHINE, Video, video_id, State.EDITING, run=run, take_over=True, progress=0
        )


async def _make(video: Video, run: int) -> None:
    """The work between claim and save; no transaction is open while it runs."""
    await asyncio.to_thread(storage.need_space, video.source_bytes)
    design = media.read_design(video.design)
    tell = _Teller(video, run)
    with storage.scratch(f"edit-{video.id}") as folder:
        source = await storage.fetch(video.source_key, into=folder, sha256=video.source_sha256)
        await tell(10.0)
        probe = await media.probe(source)
        logo = await _logo(video, design, folder)
        branded = await media.brand(
            source,
            design,
            logo=logo,
            into=folder,
            probe=probe,
            profile=media.TIKTOK,
            on_progress=lambda percent: tell(10 + 0.85 * percent),
        )
        stored = await storage.put(
            branded.path, storage.key_for(video.workspace_id, "renders", "mp4"), "video/mp4"
        )
        stills = [await _keep_still(video, still) for still in _stills(branded)]
        command = shlex.join(branded.run.argv).replace(str(folder), ".")
    try:
        await _save(video, run, branded, command, stored, stills)
    except (Superseded, WrongState):
        for key in (stored.key, *(still.kept.key for still in stills)):
            await storage.delete(key)
        raise


@dataclass(frozen=True)
class _Still:
    kind: str
    path: Path
    width_px: int
    height_px: int


@dataclass(frozen=True)
class _Kept:
    still: _Still
    kept: storage.Stored


def _stills(branded: media.Branded) -> list[_Still]:
    """The poster, as large as the video, and the thumbnails."""
    return [
        _Still("poster", branded.poster, branded.probe.width_px, branded.probe.height_px),
        *(_Still(still.name, still.path, still.width, still.height) for still in branded.thumbnails),
    ]


async def _keep_still(video: Video, still: _Still) -> _Kept:
    key = storage.key_for(video.workspace_id, "stills", "jpg")
    return _Kept(still, await storage.put(still.path, key, STILL_TYPE))


async def _save(
    video: Video,
    run: int,
    branded: media.Branded,
    command: str,
    stored: storage.Stored,
    stills: list[_Kept],
) -> None:
    """The edited file, its stills and the upload it causes commit together (S1.26, S1.27)."""
    async with db.house() as conn:
        edited = await states.move(
            conn,
            MACHINE,
            Video,
            video.id,
            State.EDITED,
            run=run,
            progress=100,
            edited_key=stored.key,
            edited_bytes=stored.bytes,
            edited_sha256=stored.sha256,
            edited_probe=Jsonb(branded.probe.to_json()),
            edit_command=command,
            edit_log="\n".join(branded.run.log_tail),
            edit_cpu_s=branded.run.cpu_s,
            detail={
                "reencoded": branded.reencoded,
                "cpu_s": round(branded.run.cpu_s, 2),
                "seconds": round(branded.run.seconds, 2),
                "bytes": stored.bytes,
            },
        )
        for still in stills:
            await conn.execute(
                """
                INSERT INTO renditions (workspace_id, video_id, kind, key, bytes, sha256, width_px, height_px,
                                        content_type)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
                    ON CONFLICT (workspace_id, video_id, kind)
                    DO UPDATE SET key = excluded.key, bytes = excluded.bytes, sha256 = excluded.sha256,
                                  width_px = excluded.width_px, height_px = excluded.height_px""",
                [
                    video.workspace_id,
                    video.id,
                    still.still.kind,
                    still.kept.key,
                    still.kept.bytes,
                    still.kept.sha256,
                    still.still.width_px,
                    still.still.height_px,
                    still.kept.content_type,
                ],
            )
        await publishing.supply(conn, video.id, rows.media_of(edited))


async def _logo(video: Video, design: media.Design, folder: Path) -> Path | None:
    """The logo as a local file: one of the workspace's own, one from the web, or the house's."""
    if design.watermark is None:
        return None
    url = design.watermark.url
    if url is None:
        return config.get().watermark_path
    if (asset_id := assets.number_of(url)) is not None:
        async with db.owned_by(video.workspace_id) as conn:
            asset = await assets.get(conn, asset_id)
        return await storage.fetch(asset.key, into=folder, sha256=asset.sha256)
    answer = await http.fetch_public(url, max_bytes=LOGO_MOST_BYTES)
    if answer.status != 200:
        raise Refused(
            f"The logo could not be fetched: its address answered {answer.status}.",
            code="no_logo",
            fields={"design.watermark.url": "cannot be fetched"},
        )
    path = folder / "logo"
    await asyncio.to_thread(path.write_bytes, answer.body)
    await media.check_logo(path)
    return path


class _Teller:
    """Tells open pages how far the edit is, four times a second at most, and keeps it in the row now and
    then.
    """

    def __init__(self, video: Video, run: int) -> None:
        self.video, self.run = video, run
        self.pace = live.Pace()
        self.points = list(POINTS)
        self.kept_at = time.monotonic()

    async def __call__(self, percent: float) -> None:
        reached = bool(self.points) and percent >= self.points[0]
        if not reached and not self.pace():
            return
        keep = reached or time.monotonic() - self.kept_at > KEEP_EVERY_S
        while self.points and percent >= self.points[0]:
            self.points.pop(0)
        with contextlib.suppress(HouseError):
            async with db.house() as conn:
                if keep:
                    self.kept_at = time.monotonic()
                    await conn.execute(
                        "UPDATE videos SET progress = %s WHERE id = %s AND run = %s AND state = 'EDITING'",
                        [round(percent, 1), self.video.id, self.run],
                    )
                await live.tell_percent(conn, self.video.topic, percent)


async def _cancelled(video_id: int, error: WrongState) -> HouseError:
    """A move that is no longer allowed: when the video was cancelled meanwhile, that is what ended the job
    (S1.19).
    """
    async with db.house() as conn:
        try:
            video = await rows.get(conn, video_id)
        except NotFound:
            return Cancelled("The video was deleted.")
    return Cancelled("The video was cancelled.") if video.state == State.CANCELLED else error


async def _back_in_line(video_id: int, run: int, error: BaseException) -> None:
    """While the job waits to go on, the video says that it is in line, and why it did not end."""
    reason = error.message if isinstance(error, HouseError) else None
    with contextlib.suppress(HouseError):
        async with db.house() as conn:
            await states.hold(conn, MACHINE, video_id, run)
            if (await rows.get(conn, video_id)).state == State.EDITING:
                await states.move(
                    conn, MACHINE, Video, video_id, State.EDITING_QUEUED, run=run, progress=0, reason=reason
                )


async def give_up(conn: db.Conn, job_id: int, videoId: int, reason: str, code: str) -> None:
    """No try is left: the video says why, and what was planned with it does not go out.

    Only for the job that the video waits for: one that was cancelled before a retry put another says nothing
    any more.
    """
    try:
        video = await rows.get(conn, videoId)
    except NotFound:
        return
    if video.state not in (State.EDITING_QUEUED, State.EDITING) or video.job_id != job_id:
        log.info("nothing left to give up", video_id=videoId, state=video.state)
        return
    to = State.CANCELLED if code == "cancelled" else State.FAILED
    await states.move(conn, MACHINE, Video, videoId, to, reason=reason, reason_code=code)
    await publishing.stop_for_video(conn, videoId, "The video was not made.")
