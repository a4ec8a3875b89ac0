"""The last step of a stream: its MP4 and stills from what is stored, then one transaction that makes it all count."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg.types.json import Jsonb

from app import db, live, media, publishing, states, storage
from app.errors import Cancelled, NotFound, Refused, Superseded, WrongState
from app.media import join as join_mp4
from app.media import stills
from app.media.join import appended
from app.media.plan import Plan
from app.videos import endings, rows, streams
from app.videos.endings import Still
from app.videos.rows import Video
from app.videos.streams import Stream

MP4_TYPE, STILL_TYPE, TEXT_TYPE = "video/mp4", "image/jpeg", "text/vtt"
FETCHED_AT_ONCE = 8
# After these nothing was written. After any other error, a lost answer to the commit for one, rows may name the files.
SETTLED = (Superseded, WrongState, Cancelled, NotFound)
# A video that comes out this much shorter than it said could not be read to its end.
READ_PART = 0.9


@dataclass(frozen=True)
class File:
    """A file of this machine that will stand beside the video."""

    kind: str
    path: Path
    width_px: int = 0
    height_px: int = 0


@dataclass(frozen=True)
class Joined:
    """An MP4 on its way into the storage, with what was found in it."""

    path: Path
    probe: media.Probe
    stored: storage.Stored | None
    cpu_s: float


def piece(track: str, number: int | None) -> str:
    """The name of a local piece of a track: its first bytes for None."""
    return f"init-{track}" if number is None else f"{track}-{number}.m4s"


@dataclass(frozen=True)
class _Bench:
    """What the joining works with: `place` for what it makes, `here` the pieces that need not be fetched, `keys` all
    of them.
    """

    stream: Stream
    plan: Plan
    folder: Path
    place: Path
    here: Mapping[str, Path]
    keys: Mapping[str, Mapping[int | None, str]]


async def join(
    stream: Stream, run: int, plan: Plan, folder: Path, source: Path | None, here: Mapping[str, Path]
) -> None:
    """Make the MP4 and the stills of a stream whose parts are all done, and let it be ready. `here` are pieces that
    need not be fetched. May run again: when another run was faster, what this one stored is removed.
    """
    async with db.house() as conn:
        claimed = await endings.claim_join(conn, stream.id, run)
        if claimed is None:
            return
        video = await rows.get(conn, stream.video_id)
        keys = await streams.keys_of(conn, stream.id, sorted(joined_tracks(plan)))
    place = folder / "joined"
    place.mkdir(mode=0o700, exist_ok=True)
    bench = _Bench(claimed, plan, folder, place, here, keys)
    joined = await _mp4(bench, source)
    kept = [joined.stored] if joined is not None and joined.stored is not None else []
    try:
        stills = await _beside(bench, video, joined)
    except BaseException:
        await remove(kept)
        raise
    kept += [still.stored for still in stills]
    try:
        await _save(claimed, run, joined, stills)
    except SETTLED:
        await remove(kept)
        raise


def joined_tracks(plan: Plan) -> frozenset[str]:
    """The tracks whose packets become the MP4, and the smallest, of which the storyboard is made."""
    return frozenset({plan.rungs[0].name, plan.rungs[-1].name, *(heard.name for heard in plan.sounds[:1])})


async def remove(kept: Sequence[storage.Stored]) -> None:
    """Take back what was stored and will have no row."""
    for stored in kept:
        await storage.delete(stored.key)


async def _beside(bench: _Bench, video: Video, joined: Joined | None) -> list[Still]:
    """Stills, storyboard, captions and chapters, as far as they are asked for, stored."""
    stream, plan, place = bench.stream, bench.plan, bench.place
    files: list[File] = []
    if stream.thumbnails and joined is not None:
        files += await pictures(joined.path, plan, place, None)
        files += texts_of(video, plan, place)
    if stream.thumbnails or stream.options.get("storyboard"):
        files += await _storyboard(bench)
    return await store(stream.workspace_id, files)


async def _mp4(bench: _Bench, source: Path | None) -> Joined | None:
    """The MP4 of the top rung's own packets; None where nothing needs one. It is stored only where it is asked for."""
    stream, plan, place = bench.stream, bench.plan, bench.place
    top = plan.rungs[0].name
    wanted = stream.for_edit or "mp4" in stream.formats
    if stream.only_rung not in (None, top) or not (wanted or stream.thumbnails):
        return None
    pieces = [await _pieces(bench, name) for name in (top, *(heard.name for heard in plan.sounds[:1]))]
    if plan.copy_video and source is not None:
        # What fits already is handed on as it is (S0.14).
        own = None
        if len(pieces) > 1 and not plan.copy_audio:
            own = await asyncio.to_thread(appended, pieces[1], place / "sound.mp4")
        made = await join_mp4.copied(plan, source, own, into=place)
    else:
        made = await join_mp4.join(plan, pieces[0], pieces[1] if len(pieces) > 1 else None, into=place)
    if made.probe.duration_s < READ_PART * plan.duration_s - 1:
        raise Refused(
            f"This video is damaged: only {made.probe.duration_s:.0f} of {plan.duration_s:.0f} seconds can be read.",
            code="unreadable_media",
        )
    stored = None
    if wanted:
        stored = await storage.put(
            made.path, storage.key_for(stream.workspace_id, "renders", "mp4"), MP4_TYPE
        )
    return Joined(made.path, made.probe, stored, made.run.cpu_s)


async def pictures(mp4: Path, plan: Plan, place: Path, poster_ms: int | None) -> list[File]:
    """The poster, as large as the video, and the thumbnails, of an MP4 that was made by this plan."""
    made = await stills.poster(
        mp4, stills.poster_frame(plan, poster_ms), rate=plan.rate, size=plan.canvas, into=place
    )
    return [
        File("poster", made.path, *plan.canvas),
        *(File(still.name, still.path, still.width, still.height) for still in made.thumbnails),
    ]


async def _storyboard(bench: _Bench) -> list[File]:
    """The sheets of small pictures, of the smallest rung, and the text that says where each stands."""
    rung, place = bench.plan.rungs[-1], bench.place
    small = await asyncio.to_thread(appended, await _pieces(bench, rung.name), place / "small.mp4")
    made = await stills.storyboard(
        small, duration_s=bench.plan.duration_s, size=(rung.width_px, rung.height_px), into=place
    )
    return sheets_of(made, place)


def sheets_of(made: stills.Storyboard, place: Path) -> list[File]:
    """The sheets of a storyboard and its text, which names them as players ask for them."""
    width, height = made.tile_width_px * stills.ACROSS, made.tile_height_px * stills.DOWN
    names = [f"storyboard-{number}.jpg" for number in range(len(made.sheets))]
    text = place / "storyboard.vtt"
    text.write_text(made.vtt(names), encoding="utf-8")
    sheets = [File(f"storyboard-{at}", path, width, height) for at, path in enumerate(made.sheets)]
    return [*sheets, File("storyboard-vtt", text)]


def texts_of(video: Video, plan: Plan, place: Path) -> list[File]:
    """Captions and chapters for players, moved by the length of the intro."""
    shift_ms, until_ms = round(plan.main_start_s * 1000), round(plan.rate.seconds(plan.main.frames) * 1000)
    files = []
    captions = plan.design.captions
    if captions is not None and (text := plan.design.side_text):
        path = place / "captions.vtt"
        path.write_text(
            media.vtt(media.read_captions(text), shift_ms=shift_ms, until_ms=until_ms), encoding="utf-8"
        )
        files.append(File(f"captions-{captions.language.lower()}", path))
    probe = media.Probe.from_json(video.source_probe) if video.source_probe else None
    if probe is not None and probe.chapters:
        named = [
            media.Caption(chapter.start_ms, chapter.end_ms, chapter.title or f"Chapter {number}")
            for number, chapter in enumerate(probe.chapters, 1)
        ]
        path = place / "chapters.vtt"
        path.write_text(media.vtt(named, shift_ms=shift_ms, until_ms=until_ms), encoding="utf-8")
        files.append(File("chapters", path))
    return files


async def store(workspace_id: int, files: Sequence[File]) -> list[Still]:
    """Put these files into the storage, each under a new key; when one fails none is left."""
    kept: list[Still] = []
    try:
        for file in files:
            kind, extension = (TEXT_TYPE, "vtt") if file.path.suffix == ".vtt" else (STILL_TYPE, "jpg")
            stored = await storage.put(file.path, storage.key_for(workspace_id, "stills", extension), kind)
            kept.append(Still(file.kind, stored, file.width_px, file.height_px))
    except BaseException:
        for still in kept:
            await storage.delete(still.stored.key)
        raise
    return kept


async def _pieces(bench: _Bench, track: str) -> list[Path]:
    """The first bytes and all segments of a track as files of this machine, in order."""
    keys = {piece(track, number): key for number, key in bench.keys[track].items()}
    lacking = [(name, key) for name, key in keys.items() if name not in bench.here]
    paths = dict(bench.here)
    for at in range(0, len(lacking), FETCHED_AT_ONCE):
        some = lacking[at : at + FETCHED_AT_ONCE]
        fetched = await asyncio.gather(*(storage.borrow(key, into=bench.folder) for _, key in some))
        paths |= {name: path for (name, _), path in zip(some, fetched, strict=True)}
    return [paths[name] for name in keys]


async def _save(stream: Stream, run: int, joined: Joined | None, kept: Sequence[Still]) -> None:
    """The stream is ready, the video is edited, and the upload it causes is in line, all at once (S1.26, S1.27)."""
    cpu_s = joined.cpu_s if joined else 0.0
    async with db.house() as conn:
        video = await rows.hold(conn, stream.video_id)
        made = await endings.ready(conn, stream, run, joined.stored if joined else None, cpu_s=cpu_s)
        if made.for_edit and joined is not None and joined.stored is not None:
            video = await _edited(conn, video, made, joined.probe, joined.stored)
        await endings.keep_stills(conn, made.workspace_id, made.video_id, kept)
        if made.for_edit and joined is not None and joined.stored is not None:
            await publishing.supply(conn, video.id, await rows.to_send(conn, video))
        await live.tell(conn, video.topic)


async def _edited(
    conn: db.Conn, video: Video, stream: Stream, probe: media.Probe, stored: storage.Stored
) -> Video:
    if video.state == rows.State.EDITING_QUEUED:
        # Its own job was handed back after the last part had been made.
        await states.move(conn, rows.MACHINE, Video, video.id, rows.State.EDITING)
    return await states.move(
        conn,
        rows.MACHINE,
        Video,
        video.id,
        rows.State.EDITED,
        progress=100,
        edited_key=stored.key,
        edited_bytes=stored.bytes,
        edited_sha256=stored.sha256,
        edited_probe=Jsonb(probe.to_first_json()),
        edit_command=stream.command,
        edit_log=stream.log,
        edit_cpu_s=stream.cpu_s,
        detail={"reencoded": True, "cpu_s": round(stream.cpu_s, 2), "bytes": stored.bytes},
    )
