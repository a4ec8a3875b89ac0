from __future__ import annotations

import asyncio
import hashlib
import struct
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from app import media
from app.errors import HouseError, Refused
from app.media import cmaf, encode
from app.media.encode import Sources
from app.media.join import Pieces
from app.media.plan import Plan, plan
from tests.media.clips import FAST, Clip, ffmpeg, running_in

pytestmark = pytest.mark.anyio

# Each picture is of one gray, 37 steps from the one before, so that it can be told from its neighbours.
COUNTED = "nullsrc=s=64x64:r={rate}:d={seconds},geq=lum='16+mod(N*37,210)':cb=128:cr=128"
STEP = 37
# Silence with a tone from the first to the 1.1th second.
BEEP = "aevalsrc='if(between(t,1,1.1),0.5*sin(2*PI*1000*t),0)':s=48000:d={seconds}"


def counted(
    path: Path, *, rate: str = "30", seconds: float = 5, options: Sequence[str] = (), sound: str = ""
) -> Path:
    """A clip whose pictures can be told apart."""
    heard = ("-f", "lavfi", "-i", sound.format(seconds=seconds), "-c:a", "aac") if sound else ()
    ffmpeg(
        *("-f", "lavfi", "-i", COUNTED.format(rate=rate, seconds=seconds), *heard),
        *(*FAST, "-g", "45", *options, path),
    )
    return path


class Taken(Pieces):
    """What was handed over, each track as one file, and when it stands where."""

    def __init__(self, into: Path) -> None:
        into.mkdir(exist_ok=True)
        super().__init__(into)
        self.segments: list[tuple[tuple[str, ...], int, int, int]] = []
        self.inits: dict[str, str] = {}

    async def init(self, track: str, init: bytes) -> None:
        seen = hashlib.sha256(init).hexdigest()
        if self.inits.setdefault(track, seen) != seen:
            raise AssertionError(f"{track} began with other bytes")
        if not self.path(track).exists():
            await super().init(track, init)

    async def segment(self, made: encode.Made) -> None:
        assert all(path.stat().st_size for path in made.files.values())
        self.segments.append((tuple(made.files), made.number, made.start_ticks, made.ticks))
        await super().segment(made)


async def make(
    todo: Plan,
    sources: Sources,
    ranges: Sequence[tuple[int, int]],
    folder: Path,
    *,
    rungs: Sequence[str] = (),
) -> Taken:
    """The picture of these ranges of segments (up to the second number), one call after the other."""
    taken = Taken(folder / "taken")
    spans = todo.grid.spans()
    for first, until in ranges:
        run = folder / f"run-{first}"
        run.mkdir(exist_ok=True)
        await encode.picture(
            todo, sources, spans[first:until], into=run, rungs=rungs or None,
            on_segment=taken.segment, inits=taken.init,
        )  # fmt: skip
        assert list(run.iterdir()) == []
    return taken


def grays(path: Path) -> list[int]:
    """The gray of every picture."""
    return list(ffmpeg("-i", path, "-vf", "scale=1:1,format=yuv420p", "-f", "rawvideo", "-")[::3])


def times(path: Path) -> list[int]:
    """The time of every picture, in the ticks of its track."""
    listed = ffmpeg("-i", path, "-c", "copy", "-f", "framemd5", "-").decode()
    return sorted(int(line.split(",")[2]) for line in listed.splitlines() if line and line[0] != "#")


def same(one: Sequence[int], other: Sequence[int]) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= STEP // 4 for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("name", "given", "even"),
    [
        ("a.mp4", {"rate": "24000/1001"}, True),
        ("a.mov", {"rate": "30000/1001"}, True),
        ("a.mkv", {"rate": "30"}, True),
        ("a.mp4", {"rate": "60", "seconds": 2.5}, True),
        # Two pictures become one: which of the two must not depend on where a piece begins.
        ("a.mp4", {"rate": "120", "seconds": 2.5}, False),
        ("a.mkv", {"rate": "12"}, False),
        # A transport stream begins at 1.4 s, and has no index.
        ("a.ts", {"rate": "30", "seconds": 6}, True),
        ("sounding.ts", {"rate": "30", "sound": BEEP}, False),
        ("late.mp4", {"rate": "30", "options": ("-output_ts_offset", "7")}, True),
        (
            "vfr.mp4",
            {"rate": "30", "options": ("-vf", "select='lt(t,1.7)+not(mod(n,3))'", "-fps_mode", "vfr")},
            False,
        ),
    ],
)
async def test_pieces_have_the_same_pictures_as_the_whole(
    tmp_path: Path, name: str, given: dict[str, object], even: bool
) -> None:
    source = counted(tmp_path / name, **given)  # type: ignore[arg-type] # as the table says
    todo = plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("hls",))
    spans = todo.grid.spans()
    (tmp_path / "whole").mkdir()
    (tmp_path / "pieces").mkdir()
    whole = await make(todo, Sources(source), [(0, len(spans))], tmp_path / "whole")
    ranges = [(0, 1), (1, 2), (2, len(spans))][: len(spans)]
    pieces = await make(todo, Sources(source), ranges, tmp_path / "pieces")
    assert whole.segments == pieces.segments
    assert whole.inits == pieces.inits
    seen, again = grays(whole.path("v0")), grays(pieces.path("v0"))
    # The length that is stated is also the sound's.
    assert todo.grid.frames - len(seen) in (0, 1)
    assert same(seen, again)
    if even:
        assert same(seen, [16 + number * STEP % 210 for number in range(len(seen))])
    ticks = todo.grid.frame_ticks
    assert times(pieces.path("v0")) == [number * ticks for number in range(len(seen))]
    assert cmaf.read_init(pieces.path("v0").read_bytes()[:4096].partition(b"moof")[0][:-4]).timescale == (
        todo.grid.timescale
    )


async def test_every_rung_has_the_same_segments_and_starts_each_with_a_key_frame(
    clip: Clip, tmp_path: Path
) -> None:
    source = clip(size="1280x720", fps="30", seconds=3)
    todo = plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("dash",))
    assert [(rung.width_px, rung.height_px) for rung in todo.rungs] == [(1280, 720), (854, 480), (640, 360)]
    taken = await make(todo, Sources(source), [(0, 2)], tmp_path)
    assert taken.segments == [
        (("v0", "v1", "v2"), 0, 0, 60 * 512),
        (("v0", "v1", "v2"), 1, 60 * 512, 30 * 512),
    ]
    for rung in todo.rungs:
        whole = cmaf.Growing(taken.path(rung.name))
        fragments = whole.take()
        assert all(fragment.key for fragment in fragments)
        assert [fragment.samples for fragment in fragments] == [60, 30]
        assert whole.facts is not None
        assert (whole.facts.width_px, whole.facts.height_px) == (rung.width_px, rung.height_px)
    # A rung made alone, later, fits what is there.
    alone = await make(todo, Sources(source), [(0, 2)], tmp_path / "taken", rungs=["v1"])
    assert alone.inits["v1"] == taken.inits["v1"]
    assert grays(alone.path("v1")) == grays(taken.path("v1"))


def difference(one: Path, other: Path) -> list[float]:
    """SSIM of each picture of two videos."""
    said = ffmpeg(
        *("-i", one, "-i", other, "-lavfi", "[0:v][1:v]ssim=stats_file=-", "-f", "null", "-"),
    ).decode()
    return [float(line.split("All:")[1].split()[0]) for line in said.splitlines() if "All:" in line]


async def test_no_seam_is_seen_where_pieces_meet(clip: Clip, tmp_path: Path) -> None:
    source = clip(size="640x360", seconds=9)
    todo = plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("hls",))
    taken = await make(todo, Sources(source), [(0, 1), (1, 2), (2, 3)], tmp_path)
    likeness = difference(source, taken.path("v0"))
    assert len(likeness) == 270
    joints = [span.start_frame for span in todo.grid.spans()[1:]]
    around = [value for joint in joints for value in likeness[joint - 3 : joint + 3]]
    assert min(around) >= min(likeness)
    assert sum(around) / len(around) >= sum(likeness) / len(likeness) - 0.01


async def test_a_segment_is_handed_over_while_ffmpeg_still_works(clip: Clip, folder: Path) -> None:
    source = clip(size="640x360", seconds=8)
    todo = plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("hls",))
    working: list[bool] = []

    async def look(made: encode.Made) -> None:
        working.append(bool(running_in(folder)))

    slow = replace(todo, preset="medium")
    await encode.picture(slow, Sources(source), slow.grid.spans(), into=folder, on_segment=look)
    assert working[0]
    assert len(working) == 3


async def test_cancelling_ends_ffmpeg_within_two_seconds_and_leaves_nothing(clip: Clip, folder: Path) -> None:
    source = clip(size="640x360", seconds=20)
    todo = replace(
        plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("hls",)), preset="slow"
    )
    at_work = asyncio.Event()

    async def begun(made: encode.Made) -> None:
        at_work.set()

    task = asyncio.create_task(
        encode.picture(todo, Sources(source), todo.grid.spans(), into=folder, on_segment=begun)
    )
    await asyncio.wait_for(at_work.wait(), 60)
    assert running_in(folder)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 2
    assert running_in(folder) == []
    assert list(folder.iterdir()) == []


async def test_whoever_keeps_the_segments_may_fail_and_the_run_ends_with_it(clip: Clip, folder: Path) -> None:
    source = clip(size="640x360", seconds=6)
    todo = plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("hls",))

    async def full(made: encode.Made) -> None:
        raise OSError("the bucket is gone")

    with pytest.raises(OSError, match="the bucket is gone"):
        await encode.picture(todo, Sources(source), todo.grid.spans(), into=folder, on_segment=full)
    assert running_in(folder) == []
    assert list(folder.iterdir()) == []


async def test_progress_of_all_clips_is_one_progress(clip: Clip, folder: Path) -> None:
    main, intro = clip("main.mp4", size="1280x720", seconds=3), clip("intro.mp4", seconds=1)
    todo = plan(
        await media.probe(main),
        media.Design(),
        media.TIKTOK,
        formats=("hls",),
        intro=await media.probe(intro),
    )
    told: list[float] = []

    async def keep(made: encode.Made) -> None: ...

    await encode.picture(
        todo, Sources(main, intro), todo.grid.spans(), into=folder, on_segment=keep, on_progress=told.append
    )
    assert all(one <= other for one, other in pairwise(told))
    # The intro is a quarter of the work.
    assert any(percent <= 25 for percent in told)
    assert told[-1] > 25


async def test_an_intro_and_an_outro_keep_their_exact_frames(tmp_path: Path) -> None:
    main = counted(tmp_path / "main.mp4", rate="30", seconds=3)
    # Of another size, rate, shape and way to code colours.
    intro = counted(tmp_path / "intro.mkv", rate="25", seconds=1.2, options=("-vf", "scale=160:90"))
    outro = counted(
        tmp_path / "outro.mov",
        rate="30",
        seconds=1,
        options=("-vf", "scale=320:320:out_range=pc,format=yuvj420p", "-color_range", "pc"),
    )
    found = [await media.probe(path) for path in (main, intro, outro)]
    todo = plan(found[0], media.Design(), media.TIKTOK, formats=("hls",), intro=found[1], outro=found[2])
    assert [(span.clip, span.frames) for span in todo.grid.spans()] == [(0, 36), (1, 90), (2, 30)]
    taken = await make(todo, Sources(main, intro, outro), [(0, 3)], tmp_path)
    seen = grays(taken.path("v0"))
    assert len(seen) == 36 + 90 + 30
    counted_main = [16 + number * STEP % 210 for number in range(90)]
    assert same(seen[36:126], counted_main)
    (tmp_path / "pieces").mkdir()
    pieces = await make(todo, Sources(main, intro, outro), [(0, 1), (1, 2), (2, 3)], tmp_path / "pieces")
    assert (pieces.inits, pieces.segments) == (taken.inits, taken.segments)


async def test_a_picture_that_ends_before_its_sound_ends_and_is_no_damage(tmp_path: Path) -> None:
    short = counted(tmp_path / "short.mp4", seconds=2.5)
    source = tmp_path / "longer.mp4"
    ffmpeg("-i", short, "-f", "lavfi", "-i", "sine=d=12", "-c:v", "copy", "-c:a", "aac", source)
    todo = plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("hls",))
    assert len(todo.grid.spans()) == 4
    taken = await make(todo, Sources(source), [(0, 1), (1, 2), (2, 3), (3, 4)], tmp_path)
    assert [(number, ticks) for _, number, _, ticks in taken.segments] == [(0, 60 * 512), (1, 15 * 512)]


async def test_a_picture_longer_than_it_said_is_made_to_its_end(tmp_path: Path) -> None:
    source = counted(tmp_path / "a.mp4", seconds=5.5)
    found = replace(await media.probe(source), duration_s=5.0)
    todo = plan(found, media.Design(), media.TIKTOK, formats=("hls",))
    taken = await make(todo, Sources(source), [(0, len(todo.grid.spans()))], tmp_path)
    assert len(grays(taken.path("v0"))) == 165


async def test_a_file_that_states_much_less_than_it_lasts_is_cut_off(tmp_path: Path) -> None:
    source = counted(tmp_path / "a.mp4", seconds=9)
    found = replace(await media.probe(source), duration_s=1.0)
    todo = plan(found, media.Design(), media.TIKTOK, formats=("hls",))
    taken = await make(todo, Sources(source), [(0, 1)], tmp_path)
    assert len(grays(taken.path("v0"))) <= 66


@pytest.mark.parametrize("exact", [False, True])
async def test_a_source_shorter_than_it_says_is_refused(tmp_path: Path, exact: bool) -> None:
    source = counted(tmp_path / "a.mp4", seconds=3, sound="sine=d={seconds}")
    outro = counted(tmp_path / "outro.mp4", seconds=1)
    found = replace(await media.probe(source), duration_s=9.0)
    todo = plan(
        found,
        media.Design(),
        media.TIKTOK,
        formats=("hls",),
        outro=await media.probe(outro) if exact else None,
    )
    with pytest.raises(Refused) as refused:
        await make(todo, Sources(source, outro=outro), [(0, len(todo.grid.spans()))], tmp_path)
    assert refused.value.code == "unreadable_media"
    assert "of 9 seconds" in str(refused.value)
    assert list((tmp_path / "run-0").iterdir()) == []


async def heard(todo: Plan, sources: Sources, folder: Path) -> Taken:
    run = folder / "sound"
    run.mkdir(exist_ok=True)
    taken = Taken(folder / "heard")
    made = await encode.sound(todo, sources, into=run, on_segment=taken.segment, inits=taken.init)
    assert (made is None) == (not todo.sounds)
    assert list(run.iterdir()) == []
    return taken


def samples(path: Path, track: int = 0) -> list[float]:
    raw = ffmpeg("-i", path, "-map", f"0:a:{track}", "-f", "f32le", "-ac", "1", "-ar", "48000", "-")
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def starts_at(wave: Sequence[float]) -> float:
    """The second at which something is heard."""
    return next(at for at, value in enumerate(wave) if abs(value) > 0.1) / 48_000


@pytest.mark.parametrize(
    ("name", "options", "beeps_at"),
    [
        ("a.mp4", (), 1.0),
        ("a.mp4", ("-ac", "6"), 1.0),
        ("a.mp4", ("-ac", "1", "-ar", "22050"), 1.0),
        ("a.mkv", ("-c:a", "pcm_s16le"), 1.0),
        # These begin 1024 samples before their picture.
        ("a.ts", (), 1.0 + 1024 / 48_000),
        ("late.mp4", ("-output_ts_offset", "7"), 1.0 + 1024 / 48_000),
    ],
)
async def test_a_sound_is_heard_at_its_moment(
    tmp_path: Path, name: str, options: Sequence[str], beeps_at: float
) -> None:
    source = counted(tmp_path / name, seconds=5, sound=BEEP, options=options)
    todo = plan(
        await media.probe(source), media.Design(effects=("grayscale",)), media.TIKTOK, formats=("hls",)
    )
    taken = await heard(todo, Sources(source), tmp_path)
    assert [(tracks, number) for tracks, number, _, _ in taken.segments] == [(("a0",), 0), (("a0",), 1)]
    assert sum(ticks for *_, ticks in taken.segments) == pytest.approx(5 * 48_000, abs=2048)
    assert starts_at(samples(taken.path("a0"))) == pytest.approx(beeps_at, abs=0.01)


async def test_the_sound_of_each_clip_begins_with_its_picture(tmp_path: Path) -> None:
    main = counted(tmp_path / "main.mp4", seconds=3, sound=BEEP)
    intro = counted(tmp_path / "intro.mp4", seconds=1.2, rate="25")
    outro = counted(tmp_path / "outro.mp4", seconds=2, sound=BEEP)
    found = [await media.probe(path) for path in (main, intro, outro)]
    todo = plan(found[0], media.Design(), media.TIKTOK, formats=("hls",), intro=found[1], outro=found[2])
    taken = await heard(todo, Sources(main, intro, outro), tmp_path)
    wave = samples(taken.path("a0"))
    assert starts_at(wave) == pytest.approx(1.2 + 1, abs=0.01)
    late = round(4.2 * 48_000)
    assert starts_at(wave[late:]) == pytest.approx(1.0, abs=0.01)
    assert len(wave) / 48_000 == pytest.approx(6.2, abs=0.05)


async def test_a_silent_video_has_no_sound_and_one_with_a_loud_intro_has_silence(tmp_path: Path) -> None:
    main = counted(tmp_path / "main.mp4", seconds=2)
    found = await media.probe(main)
    silent = plan(found, media.Design(), media.TIKTOK, formats=("hls",))
    assert (await heard(silent, Sources(main), tmp_path)).segments == []
    intro = counted(tmp_path / "intro.mp4", seconds=2, sound=BEEP)
    todo = plan(found, media.Design(), media.TIKTOK, formats=("hls",), intro=await media.probe(intro))
    wave = samples((await heard(todo, Sources(main, intro), tmp_path)).path("a0"))
    assert starts_at(wave) == pytest.approx(1.0, abs=0.01)
    assert max(map(abs, wave[2 * 48_000 :])) < 0.01
    assert len(wave) / 48_000 == pytest.approx(4, abs=0.05)


async def test_every_sound_track_is_made_the_chosen_one_first(tmp_path: Path) -> None:
    source = tmp_path / "two.mkv"
    ffmpeg(
        *("-i", counted(tmp_path / "a.mp4", seconds=2), "-f", "lavfi", "-i", "sine=f=300:d=2"),
        *("-f", "lavfi", "-i", BEEP.format(seconds=2), "-map", "0:v", "-map", "1:a", "-map", "2:a"),
        *("-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "language=eng", "-c:v", "copy"),
        *("-disposition:a:0", "0", "-disposition:a:1", "default", source),
    )
    todo = plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("hls",))
    assert [(sound.name, sound.language) for sound in todo.sounds] == [("a0", "eng"), ("a1", "deu")]
    taken = await heard(todo, Sources(source), tmp_path)
    assert starts_at(samples(taken.path("a0"))) == pytest.approx(1.0, abs=0.01)
    assert starts_at(samples(taken.path("a1"))) < 0.05


def loudness(path: Path) -> float:
    said = ffmpeg(
        "-i", path, "-af", "ebur128=metadata=1,ametadata=print:key=lavfi.r128.I:file=-", "-f", "null", "-"
    )
    return float(said.decode().strip().splitlines()[-1].partition("=")[2])


@pytest.mark.parametrize(
    ("volume", "reached"),
    [
        ("-30dB", True),
        ("-3dB", True),
        ("-90dB", False),
        ("-30dB,volume=25dB:enable='lt(mod(t,0.5),0.002)'", True),
    ],
)
async def test_sound_comes_out_as_loud_as_platforms_play(tmp_path: Path, volume: str, reached: bool) -> None:
    # From the first second on; its peaks lie some 12 dB above its loudness.
    speech = "anoisesrc=c=pink:a=0.5:d={seconds},volume=0:enable='lt(t,1)',volume=" + volume
    source = counted(tmp_path / "a.mp4", seconds=4, sound=speech)
    todo = plan(
        await media.probe(source), media.Design(effects=("loudness",)), media.TIKTOK, formats=("hls",)
    )
    taken = await heard(todo, Sources(source), tmp_path)
    loud = loudness(taken.path("a0"))
    assert (abs(loud + 14) <= 1) == reached
    if reached:
        assert starts_at(samples(taken.path("a0"))) == pytest.approx(1.0, abs=0.01)
    assert sum(ticks for *_, ticks in taken.segments) == pytest.approx(4 * 48_000, abs=2048)


async def test_a_source_that_cannot_be_read_leaves_nothing(clip: Clip, folder: Path, tmp_path: Path) -> None:
    found = await media.probe(clip(sound="sine"))
    todo = plan(found, media.Design(), media.TIKTOK, formats=("hls",))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"#EXTM3U\nhttp://127.0.0.1/")

    async def never(made: encode.Made) -> None:
        raise AssertionError("there is nothing to hand over")

    with pytest.raises(HouseError):
        await encode.picture(todo, Sources(bad), todo.grid.spans(), into=folder, on_segment=never)
    with pytest.raises(HouseError):
        await encode.sound(todo, Sources(bad), into=folder, on_segment=never)
    assert list(folder.iterdir()) == []
