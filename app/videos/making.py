"""Making a stream, piece by piece: every finished segment is stored and written down before the next one counts.

A run holds one part. Killed anywhere it leaves whole segments with their rows, perhaps a file without one; whoever
goes on begins at the first segment that has no row.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shlex
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import db, live, media, queue, storage
from app.errors import Cancelled, HouseError, NotFound, Retryable
from app.media.cmaf import read_init
from app.media.cutting import Made
from app.media.encode import Sources, picture, sound
from app.media.grid import Span
from app.media.plan import Plan
from app.videos import endings, inputs, joining, parts, rows, streams
from app.videos.parts import Asked
from app.videos.streams import Part, Segment, Stream, Track

PICTURE_TYPE, SOUND_TYPE = "video/mp4", "audio/mp4"
# The sizes that a player begins with: made first, so that the first second can be played soon.
SOON_PX = 480
# The first and the last segment of a run of the encoder, and its rungs.
Pieces = tuple[int, int, frozenset[str]]


@dataclass(frozen=True)
class Bench:
    """What a run works with: the folder of its own, the plan, and the files that it reads."""

    folder: Path
    plan: Plan
    sources: Sources


async def ready_to_make() -> None:
    """Find ffmpeg and its walls, and remove what dead runs left in TEMP_DIR (S2.59): the first video need not wait."""
    await storage.clear_dead_scratch()
    await asyncio.to_thread(media.isolation)


async def begin(video: rows.Video, user_id: int, asked: Asked) -> Stream:
    """The stream to go on with; one transaction."""
    async with db.house() as conn:
        await rows.hold(conn, video.id)
        return await parts.begin(
            conn,
            workspace_id=video.workspace_id,
            video_id=video.id,
            user_id=user_id,
            asked=asked,
            job_id=queue.current().job_id,
        )


async def make_opening(stream: Stream, bench: Bench) -> None:
    """Make part 0: the opening and all sound. Of a short video it is the whole, and is joined at once."""
    run = queue.current().number
    made = await _make_part(stream, 0, run, bench)
    if made is not None:
        await joining.join(stream, run, bench.plan, bench.folder, bench.sources.main, made)


async def encode_part(stream_id: int, number: int) -> None:
    """Make one part of a stream on any worker. May run again: what is stored is not made twice."""
    run = queue.current().number
    stream, plan = await _taken_up(stream_id)
    await storage.need_space_for(
        stream.source_key, bytes_total=stream.source_bytes, sha256=stream.source_sha256
    )
    with storage.scratch(f"part-{stream_id}-{number}") as folder:
        await _make_part(stream, number, run, await _bench(stream, plan, folder))


async def join_stream(stream_id: int) -> None:
    """Join what the parts have made. May run again: a stream that is ready is left as it is."""
    run = queue.current().number
    stream, plan = await _taken_up(stream_id)
    await asyncio.to_thread(storage.need_space, stream.bytes // 3)
    with storage.scratch(f"join-{stream_id}") as folder:
        try:
            source = None
            if plan.copy_video and "mp4" in stream.formats:
                source = await storage.borrow(stream.source_key, into=folder, bytes_total=stream.source_bytes)
            await joining.join(stream, run, plan, folder, source, {})
        except BaseException as error:
            await note_log(stream.id, error)
            raise


async def _taken_up(stream_id: int) -> tuple[Stream, Plan]:
    """The stream that a job of its own works for; one that had failed goes on, since a person put the job again."""
    async with db.house() as conn:
        try:
            stream = await streams.get(conn, stream_id)
        except NotFound as error:
            raise Cancelled("The video was deleted.") from error
        if stream.state == streams.State.FAILED:
            stream = await endings.go_on(conn, stream)
        if stream.state not in (streams.State.MAKING, streams.State.READY):
            raise Cancelled("Nothing is made of this stream any more.")
        return stream, Plan.from_json(await streams.plan_of(conn, stream_id))


async def _bench(stream: Stream, plan: Plan, folder: Path) -> Bench:
    source = await storage.borrow(
        stream.source_key, into=folder, bytes_total=stream.source_bytes, sha256=stream.source_sha256
    )
    ends = await inputs.bookends(stream.workspace_id, plan.design, folder)
    logo = await inputs.logo(stream.workspace_id, plan.design, folder, stream)
    return Bench(folder, plan, sources_of(source, ends, logo))


def sources_of(source: Path, ends: inputs.Bookends, logo: Path | None) -> Sources:
    return Sources(
        main=source,
        intro=ends.intro.path if ends.intro else None,
        outro=ends.outro.path if ends.outro else None,
        logo=logo,
    )


async def _make_part(stream: Stream, number: int, run: int, bench: Bench) -> Mapping[str, Path] | None:
    """Claim the part, make what it lacks, hand on. When it is the only one the caller joins: then the local pieces of
    what is joined are given, by the names of `joining.piece`; else None.
    """
    async with db.house() as conn:
        part = await parts.claim(conn, stream.id, number, run=run, job_id=queue.current().job_id)
        spans = bench.plan.grid.spans()
        if part is None:
            return {} if len(await streams.parts(conn, stream.id)) == 1 else None
        there = await streams.stored(conn, stream.id, part.first_segment, part.last_segment)
        known = {track.name: track.init_sha256 for track in await streams.tracks(conn, stream.id)}
    alone = (part.first_segment, part.last_segment) == (0, spans[-1].number)
    maker = _Maker(stream, part, run, bench, known, keep_local=alone)
    try:
        await _make(maker, maker.lacking(there))
    except BaseException as error:
        await note_log(stream.id, error)
        raise
    async with db.house() as conn:
        last = await parts.done(
            conn, stream, number, run, cpu_s=maker.cpu_s, command=maker.command, log=maker.log
        )
        if last and not alone:
            await parts.put_join(conn, stream)
    return maker.local if alone else None


async def _make(maker: _Maker, lacking: list[Pieces]) -> None:
    """The pictures that are lacking and, in the opening, all sound. There the small sizes come first and alone, then
    the sound beside the rest, and only then may the other parts begin: what a player needs first is made first.
    """
    if maker.part.number > 0:
        await maker.pictures(lacking)
        return
    await maker.pictures(lacking[:1])
    if not maker.sounds_lack:
        await maker.let_others_begin()
    work = [maker.pictures(lacking[1:])]
    if maker.sounds_lack:
        work.append(maker.sounds())
    await _together(work)
    await maker.let_others_begin()


class _Maker:
    """One run of one part: takes finished segments from the encoder, stores them, writes them down."""

    def __init__(
        self,
        stream: Stream,
        part: Part,
        run: int,
        bench: Bench,
        known: Mapping[str, str],
        *,
        keep_local: bool,
    ) -> None:
        self.stream, self.part, self.run, self.bench = stream, part, run, bench
        # The sums of the first bytes of the tracks that are there.
        self.known = known
        self.plan = bench.plan
        self.joined = joining.joined_tracks(bench.plan)
        self.keep_local = keep_local
        self.local: dict[str, Path] = {}
        self.cpu_s = 0.0
        self.command = ""
        self.log = ""
        self.pace = live.Pace()
        self.others_began = False

    @property
    def sounds_lack(self) -> bool:
        return bool(self.plan.sounds) and self.stream.only_rung is None and not self.stream.sound_done

    def lacking(self, there: Mapping[int, set[str]]) -> list[Pieces]:
        """The segments of the part that are not stored, in order; the small rungs of the opening before all else."""
        spans = self.plan.grid.spans()
        wanted = {self.stream.only_rung} if self.stream.only_rung else {rung.name for rung in self.plan.rungs}
        lacking = {}
        for number in range(self.part.first_segment, self.part.last_segment + 1):
            lacking[number] = frozenset(wanted) - there.get(number, set())
        if self.part.last_segment == spans[-1].number:
            # A video may be longer than it said: what follows the last segment is known only by making it.
            lacking[self.part.last_segment] = frozenset(wanted)
        return _runs(lacking, self._soon())

    async def pictures(self, lacking: Sequence[Pieces]) -> None:
        """Make these, one run of the encoder after the other."""
        spans = self.plan.grid.spans()
        for first, last, rungs in lacking:
            await self._picture(spans[first : last + 1], rungs)

    async def let_others_begin(self) -> None:
        """Put the other parts in line; harmless twice."""
        if self.others_began or self.keep_local:
            return
        self.others_began = True
        async with db.house() as conn:
            await parts.put_parts(conn, self.stream)

    def _soon(self) -> frozenset[str]:
        """The rungs that a player begins with."""
        small = [rung.name for rung in self.plan.rungs if min(rung.width_px, rung.height_px) <= SOON_PX]
        return frozenset(small)

    async def _picture(self, spans: Sequence[Span], rungs: frozenset[str]) -> None:
        made = await picture(
            self.plan,
            self.bench.sources,
            spans,
            into=self._place(f"picture-{spans[0].number}-{min(rungs)}"),
            rungs=rungs,
            on_segment=self._keep_picture,
            inits=self._begin_track,
        )
        self.cpu_s += made.cpu_s
        self.log = "\n".join(made.log_tail)
        self.command = shlex.join(made.argv).replace(str(self.bench.folder), ".")

    async def sounds(self) -> None:
        """All the sound of the video, in one run."""
        made = await sound(
            self.plan,
            self.bench.sources,
            into=self._place("sound"),
            on_segment=self._keep_sound,
            inits=self._begin_track,
        )
        if made is not None:
            self.cpu_s += made.cpu_s
        async with db.house() as conn:
            await parts.sound_done(conn, self.stream.id)

    def _place(self, name: str) -> Path:
        """A folder for one run of ffmpeg: two at once must not write over each other's files."""
        place = self.bench.folder / name
        place.mkdir(mode=0o700, exist_ok=True)
        return place

    async def _begin_track(self, name: str, init: bytes) -> None:
        """Keep the first bytes of a track, unless another run has; they must be the same."""
        path = self.bench.folder / f"init-{name}"
        await asyncio.to_thread(path.write_bytes, init)
        sha256 = hashlib.sha256(init).hexdigest()
        if self.known.get(name) != sha256:
            key = storage.key_for(self.stream.workspace_id, "streams", "mp4")
            await storage.put(path, key, _type_of(name))
            try:
                async with db.house() as conn:
                    track = _track(self.stream, self.plan, name, init, key, sha256)
                    kept = await parts.keep_track(conn, track)
            except Retryable as error:
                if error.code == parts.OTHER_ENCODER:
                    await storage.delete(key)
                raise
            if kept.init_key != key:
                await storage.delete(key)
        if self.keep_local and name in self.joined:
            self.local[joining.piece(name, None)] = path

    async def _keep_picture(self, made: Made) -> None:
        await self._keep(made, told=True)

    async def _keep_sound(self, made: Made) -> None:
        await self._keep(made, told=False)
        await self.let_others_begin()

    async def _keep(self, made: Made, *, told: bool) -> None:
        """Store one finished segment of some tracks and write it down; what another run has kept goes again."""
        stored = await asyncio.gather(*(self._store(name, path) for name, path in made.files.items()))
        segments = [
            Segment(name, made.number, made.ticks, kept.bytes, kept.key)
            for name, kept in zip(made.files, stored, strict=True)
        ]
        kept: parts.Kept | None = None
        try:
            async with db.house() as conn:
                kept = await parts.keep(conn, self.stream, self.part.number, self.run, segments)
                await self._tell(conn, made.number, kept.progress, told=told)
        finally:
            mine = kept.tracks if kept is not None else frozenset()
            for segment in segments:
                if segment.track not in mine:
                    await storage.delete(segment.key)
        for name, path in made.files.items():
            if self.keep_local and name in self.joined:
                self.local[joining.piece(name, made.number)] = path.rename(
                    self.bench.folder / joining.piece(name, made.number)
                )
            else:
                path.unlink(missing_ok=True)

    async def _store(self, name: str, path: Path) -> storage.Stored:
        return await storage.put(
            path, storage.key_for(self.stream.workspace_id, "streams", "m4s"), _type_of(name)
        )

    async def _tell(self, conn: db.Conn, number: int, progress: float, *, told: bool) -> None:
        """Open pages hear how far it is; and, with the first segment, that there is something to play."""
        if number == 0:
            await live.tell(conn, f"video-{self.stream.video_id}")
        if told and self.pace():
            topic = f"video-{self.stream.video_id}" if self.stream.for_edit else self.stream.topic
            await live.tell_percent(conn, topic, streams.percent_of(progress))


def _type_of(track: str) -> str:
    return SOUND_TYPE if track.startswith("a") else PICTURE_TYPE


def _runs(lacking: Mapping[int, frozenset[str]], soon: frozenset[str]) -> list[Pieces]:
    """Neighbours that lack the same rungs are made in one run (first, last, rungs). The opening comes apart, and its
    small rungs first.
    """
    found: list[Pieces] = []
    for number, rungs in lacking.items():
        if not rungs:
            continue
        if number == 0 and soon & rungs and rungs - soon:
            found += [(0, 0, rungs & soon), (0, 0, rungs - soon)]
        elif found and found[-1][1] == number - 1 and found[-1][2] == rungs and number > 1:
            found[-1] = (found[-1][0], number, rungs)
        else:
            found.append((number, number, rungs))
    return found


def _track(stream: Stream, plan: Plan, name: str, init: bytes, key: str, sha256: str) -> Track:
    said = read_init(init)
    rung = next((rung for rung in plan.rungs if rung.name == name), None)
    heard = next((heard for heard in plan.sounds if heard.name == name), None)
    return Track(
        stream_id=stream.id,
        workspace_id=stream.workspace_id,
        name=name,
        kind=said.kind,
        codec=said.codec,
        width_px=rung.width_px if rung else 0,
        height_px=rung.height_px if rung else 0,
        fps=str(plan.rate) if rung else "",
        language=heard.language if heard else "",
        label=heard.label if heard else "",
        timescale=said.timescale,
        target_kbps=rung.target_kbps if rung else plan.audio_kbps,
        init_key=key,
        init_bytes=len(init),
        init_sha256=sha256,
    )


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do these at once. The first that fails ends the others, and is the failure that is told."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [one for one in ended if isinstance(one, BaseException)]
    told = [one for one in failures if not isinstance(one, asyncio.CancelledError)]
    if failures:
        raise (told or failures)[0]


def said(error: BaseException) -> str:
    """ffmpeg's own last lines, which come with an error of its own; nothing for any other."""
    return "\n".join(getattr(error, "__notes__", ()))


async def note_log(stream_id: int, error: BaseException) -> None:
    """Keep ffmpeg's own last lines, if it said any, beside the stream."""
    if not (words := said(error)):
        return
    with contextlib.suppress(HouseError):
        async with db.house() as conn:
            await endings.say(conn, stream_id, words)
