"""Branding a video, and making streams of one that is there: look, plan, make, hand on."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from app import config, db, live, log, media, publishing, queue, states, storage
from app.errors import Cancelled, HouseError, NotFound, Refused, Superseded, WrongState
from app.media import stills as pictures
from app.media.plan import Plan
from app.media.plan import plan as make_plan
from app.videos import endings, inputs, joining, kits, making, picturing, rows, streams, verbs
from app.videos.parts import Asked
from app.videos.rows import MACHINE, State, Video

# Progress is kept at least at these points (S1.46), and every few seconds between them.
POINTS = (10.0, 30.0, 60.0)
KEEP_EVERY_S = 2.0


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
    await storage.need_space_for(video.source_key, bytes_total=video.source_bytes, sha256=video.source_sha256)
    tell = _Teller(video, run)
    with storage.scratch(f"edit-{video.id}") as folder:
        source = await storage.borrow(
            video.source_key, into=folder, bytes_total=video.source_bytes, sha256=video.source_sha256
        )
        await tell(10.0)
        if video.is_picture:
            await picturing.make(video, run, source, folder)
            return
        design = media.read_design(video.design)
        wanted = _formats(video)
        look = await _look(video, source, design, folder, wanted)
        if look.plan.copy_video and _played(wanted):
            await _begin_beside(video, wanted)
        if look.plan.copy_video or not (_played(wanted) or _is_long(look.plan)):
            await _make_whole(video, run, look, folder, wanted, tell)
            return
        asked = _asked(video, look.plan, wanted, for_edit=True)
        await _make_stream(video, video.user_id, asked, look, folder)


@dataclass(frozen=True)
class _Look:
    """What was found in the file that something is made of, and what is to be done."""

    source: Path
    probe: media.Probe
    ends: inputs.Bookends
    plan: Plan


async def _profile(video_id: int) -> media.Profile:
    """What the edited file may be, so that every platform it is planned for takes it."""
    async with db.house() as conn:
        planned = (await publishing.of_videos(conn, [video_id]))[video_id]
    return media.together(sorted({target.platform for target in planned}))


async def _look(
    video: Video, source: Path, design: media.Design, folder: Path, formats: Sequence[str]
) -> _Look:
    probe = await media.probe(source)
    ends = await inputs.bookends(video.workspace_id, design, folder)
    plan = make_plan(
        probe,
        design,
        await _profile(video.id),
        formats=formats,
        intro=ends.intro.probe if ends.intro else None,
        outro=ends.outro.probe if ends.outro else None,
    )
    return _Look(source, probe, ends, plan)


def _formats(video: Video) -> tuple[str, ...]:
    """What an edit makes: always the MP4 that goes out, and what this video, or the house, wants for players."""
    wanted = config.get().video_formats if video.formats is None else video.formats
    return tuple(sorted({"mp4", *wanted}))


def _is_long(plan: Plan) -> bool:
    """Whether it is made in parts, by any number of workers."""
    return plan.duration_s > config.get().video_split_s


def _asked(video: Video, plan: Plan, formats: Sequence[str], *, for_edit: bool, **more: Any) -> Asked:
    """What is asked for, in parts: one for a short video, about a minute each for a long one."""
    settings = config.get()
    last = plan.grid.spans()[-1].number
    given: dict[str, Any] = {
        "source_key": video.source_key,
        "source_bytes": video.source_bytes,
        "source_sha256": video.source_sha256,
        "thumbnails": True,
        **more,
    }
    return Asked(
        formats=tuple(formats),
        for_edit=for_edit,
        plan=plan.to_json(),
        parts=plan.grid.parts(settings.video_part_s) if _is_long(plan) else ((0, last),),
        rungs=len(plan.rungs),
        **given,
    )


async def _make_stream(video: Video, user_id: int, asked: Asked, look: _Look, folder: Path) -> None:
    """Begin the stream, or go on with it, and make its opening; of a short video everything."""
    stream = await making.begin(video, user_id, asked)
    logo = await inputs.logo(video.workspace_id, look.plan.design, folder, stream)
    sources = making.sources_of(look.source, look.ends, logo)
    await making.make_opening(stream, making.Bench(folder, look.plan, sources))


async def _make_whole(
    video: Video, run: int, look: _Look, folder: Path, formats: Sequence[str], tell: _Teller
) -> None:
    """The MP4 in one go: of a video that fits already, which goes out as it is (S0.14), and of a short one that no
    player wants in pieces. What players need of the first is made of it afterwards.
    """
    place = folder / "whole"
    place.mkdir(mode=0o700)
    branded = await media.brand(
        look.source,
        look.plan.design,
        logo=await inputs.logo(video.workspace_id, look.plan.design, folder),
        into=place,
        probe=look.probe,
        profile=await _profile(video.id),
        on_progress=lambda percent: tell(10 + 0.85 * percent),
        intro=look.ends.intro.path if look.ends.intro else None,
        outro=look.ends.outro.path if look.ends.outro else None,
    )
    stored = await storage.put(
        branded.path, storage.key_for(video.workspace_id, "renders", "mp4"), "video/mp4"
    )
    command = shlex.join(branded.run.argv).replace(str(place), ".")
    try:
        stills = await joining.store(video.workspace_id, await _files(video, look, branded, place, formats))
    except BaseException:
        await joining.remove([stored])
        raise
    try:
        await _save(video, run, branded, command, stored, stills, formats)
    except joining.SETTLED:
        await joining.remove([stored, *(still.stored for still in stills)])
        raise


async def _files(
    video: Video, look: _Look, branded: media.Branded, place: Path, formats: Sequence[str]
) -> list[joining.File]:
    """What stands beside a video that was handed on. Where a stream follows, the storyboard is made of that: it takes
    less time, and does not hold the post up.
    """
    size = (branded.probe.width_px, branded.probe.height_px)
    files = [
        joining.File("poster", branded.poster, *size),
        *(joining.File(still.name, still.path, still.width, still.height) for still in branded.thumbnails),
        *joining.texts_of(video, look.plan, place),
    ]
    if not _played(formats):
        length_s = branded.probe.duration_s
        board = await pictures.storyboard(branded.path, duration_s=length_s, size=size, into=place)
        files += joining.sheets_of(board, place)
    return files


def _played(formats: Sequence[str]) -> list[str]:
    return [name for name in formats if name in streams.PLAYED]


async def _save(
    video: Video,
    run: int,
    branded: media.Branded,
    command: str,
    stored: storage.Stored,
    stills: list[endings.Still],
    formats: Sequence[str],
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
            edited_probe=Jsonb(branded.probe.to_first_json()),
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
        await endings.keep_stills(conn, video.workspace_id, video.id, stills)
        if not _played(formats):
            await _drop_streams(conn, video)
        await publishing.supply(conn, video.id, await rows.to_send(conn, edited))


async def _begin_beside(video: Video, formats: Sequence[str]) -> None:
    """What players need of a video that goes out as it is, in line at once: it is made of the original, so it need not
    wait for the MP4. Only once for each time that the video is edited.
    """
    async with db.house() as conn:
        await rows.hold(conn, video.id)
        if await streams.begun_for_job(conn, video.id, video.job_id):
            return
        await _drop_streams(conn, video)
        wanted = {"formats": _played(formats), "thumbnails": False, "storyboard": True}
        await verbs.put_process(conn, video, video.source_key, video.user_id, wanted)


async def _drop_streams(conn: db.Conn, video: Video) -> None:
    """What was made by another design, or is being made by it, plays no longer."""
    await endings.replace_older(conn, video.id)
    if (made := await streams.making(conn, video.id)) is not None:
        await streams.stop(conn, made, "The video was edited anew.")


async def process(video_id: int, input_path: str, user_id: int, options: Mapping[str, Any]) -> None:
    """Make a stream of a video without touching its state or its posts. May run again: it goes on where it stood."""
    async with db.house() as conn:
        try:
            video = await rows.get(conn, video_id)
        except NotFound as error:
            raise Cancelled("The video was deleted.") from error
        before = await streams.ready_of(conn, video_id)
        old = Plan.from_json(await streams.plan_of(conn, before.id)) if before is not None else None
    bytes_total, sha256 = verbs.file_of(video, input_path)
    await storage.need_space_for(input_path, bytes_total=bytes_total, sha256=sha256)
    rung = options.get("rung")
    with storage.scratch(f"process-{video_id}") as folder:
        source = await storage.borrow(input_path, into=folder, bytes_total=bytes_total, sha256=sha256)
        if rung is None:
            design = _design_of(video, input_path, options.get("watermark"))
            look = await _look(video, source, design, folder, options["formats"])
        else:
            if before is None or old is None:
                raise Refused(
                    "There is no stream of this video whose rung could be made again.", code="no_stream"
                )
            look = await _look(video, source, old.design, folder, before.formats)
            _check_same_shape(look.plan, old, str(rung))
        asked = _asked(
            video,
            look.plan,
            options["formats"],
            for_edit=False,
            source_key=input_path,
            source_bytes=bytes_total,
            source_sha256=sha256,
            thumbnails=bool(options.get("thumbnails", True)),
            options=dict(options),
            only_rung=rung,
        )
        await _make_stream(video, user_id, asked, look, folder)


def _design_of(video: Video, input_path: str, watermark: bool | None) -> media.Design:
    """What is put on the picture: the video's design on its original, nothing twice on what was edited."""
    if input_path == video.source_key:
        return _with_watermark(media.read_design(video.design), watermark)
    return _with_watermark(media.Design(), watermark)


def _with_watermark(design: media.Design, wanted: bool | None) -> media.Design:
    """The design without its logo, or at least with the house's, where the job says so (S2.60)."""
    if wanted is None or wanted == (design.watermark is not None):
        return design
    return replace(design, watermark=kits.house_logo() if wanted else None)


def _check_same_shape(plan: Plan, old: Plan, rung: str) -> None:
    """A rung that is made anew must have the segments and the size of the one it takes the place of."""
    sizes = [[(one.name, one.width_px, one.height_px) for one in each.rungs] for each in (plan, old)]
    if plan.grid != old.grid or sizes[0] != sizes[1] or rung not in [one.name for one in plan.rungs]:
        raise Refused(
            "The sizes of this video have changed since it was made: make all of them again.",
            code="other_plan",
        )


async def make_stills(video_id: int, poster_ms: int) -> None:
    """The poster from the moment that a person picked, and the thumbnails with it, from the edited video."""
    async with db.house() as conn:
        try:
            video = await rows.get(conn, video_id)
        except NotFound as error:
            raise Cancelled("The video was deleted.") from error
    if video.edited_key is None:
        raise WrongState("The video is not ready yet.", code="not_ready")
    await storage.need_space_for(video.edited_key, bytes_total=video.edited_bytes, sha256=video.edited_sha256)
    with storage.scratch(f"stills-{video_id}") as folder:
        source = await storage.borrow(
            video.edited_key, into=folder, bytes_total=video.edited_bytes, sha256=video.edited_sha256
        )
        probe = await media.probe(source)
        plan = make_plan(probe, media.Design(), media.TIKTOK)
        stills = await joining.store(
            video.workspace_id, await joining.pictures(source, plan, folder, poster_ms)
        )
    try:
        async with db.house() as conn:
            now = await rows.hold(conn, video_id)
            if now.edited_key != video.edited_key:
                raise Superseded("The video was edited anew meanwhile.")
            await endings.keep_stills(conn, video.workspace_id, video_id, stills)
            # Posts that wait for their time take the new poster as their cover.
            await publishing.supply(conn, video_id, await rows.to_send(conn, now))
            await live.tell(conn, video.topic)
    except joining.SETTLED:
        await joining.remove([still.stored for still in stills])
        raise


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
    changes: dict[str, Any] = {"reason": error.message if isinstance(error, HouseError) else None}
    if said := making.said(error):
        changes["edit_log"] = said
    with contextlib.suppress(HouseError):
        async with db.house() as conn:
            await states.hold(conn, MACHINE, video_id, run)
            if (await rows.get(conn, video_id)).state == State.EDITING:
                await states.move(
                    conn, MACHINE, Video, video_id, State.EDITING_QUEUED, run=run, progress=0, **changes
                )


async def give_up(conn: db.Conn, job_id: int, videoId: int, reason: str, code: str) -> None:
    """No try is left: the video says why, and what was planned with it does not go out.

    Only for the job that the video waits for: one that was cancelled before a retry put another says nothing
    any more.
    """
    try:
        video = await rows.hold(conn, videoId)
    except NotFound:
        return
    if video.state not in (State.EDITING_QUEUED, State.EDITING) or video.job_id != job_id:
        log.info("nothing left to give up", video_id=videoId, state=video.state)
        return
    stream = await streams.making(conn, videoId)
    if stream is not None and stream.for_edit:
        await endings.fail(conn, video, stream, reason, code, but=job_id)
    await endings.fail_video(conn, video, reason, code, edit_log=stream.log if stream else None)


async def give_up_process(
    conn: db.Conn,
    job_id: int,
    videoId: int,
    inputPath: str,
    userId: int,
    options: Mapping[str, Any],
    reason: str,
    code: str,
) -> None:
    """No try is left: the stream that this job made says why. The video itself stays as it is."""
    try:
        video = await rows.hold(conn, videoId)
    except NotFound:
        return
    stream = await streams.making(conn, videoId)
    if stream is not None and not stream.for_edit and stream.job_id == job_id:
        await endings.fail(conn, video, stream, reason, code, but=job_id)
