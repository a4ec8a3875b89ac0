from __future__ import annotations

from pathlib import Path

import pytest

from app import media
from app.errors import HouseError
from app.media import encode, join
from app.media.encode import Sources
from app.media.plan import plan
from tests.media.clips import Clip, ffmpeg
from tests.media.test_media_encode import BEEP, counted, grays, samples, starts_at, times

pytestmark = pytest.mark.anyio


async def test_segments_become_one_mp4_with_the_same_packets_and_its_index_first(
    tmp_path: Path, folder: Path
) -> None:
    source = counted(tmp_path / "a.mp4", seconds=5, sound=BEEP)
    todo = plan(
        await media.probe(source), media.Design(effects=("grayscale",)), media.TIKTOK, formats=("hls", "mp4")
    )
    pieces: dict[str, list[Path]] = {"v0": [], "a0": []}

    async def begin(track: str, init: bytes) -> None:
        pieces[track].append(tmp_path / f"{track}-init")
        pieces[track][-1].write_bytes(init)

    async def keep(made: encode.Made) -> None:
        for track, path in made.files.items():
            pieces[track].append(path.rename(tmp_path / f"{track}-{made.number}"))

    await encode.sound(todo, Sources(source), into=folder, on_segment=keep, inits=begin)
    await encode.picture(todo, Sources(source), todo.grid.spans(), into=folder, on_segment=keep, inits=begin)
    assert [len(paths) for paths in pieces.values()] == [3, 3]
    made = await join.join(todo, pieces["v0"], pieces["a0"], into=folder)
    assert [path.name for path in folder.iterdir()] == ["branded.mp4"]
    held = made.path.read_bytes()
    assert held.index(b"moov") < held.index(b"mdat")
    assert made.bytes == len(held)
    assert (made.probe.video_codec, made.probe.audio_codec, made.probe.fps) == ("h264", "aac", 30)
    assert not made.probe.uneven
    assert len(grays(made.path)) == todo.grid.frames
    assert starts_at(samples(made.path)) == pytest.approx(1.0, abs=0.01)
    whole = join.appended(pieces["v0"], tmp_path / "whole.mp4")
    md5 = ("-map", "0:v", "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "md5", "-")
    assert ffmpeg("-i", made.path, *md5) == ffmpeg("-i", whole, *md5)
    assert times(whole)[:3] == [0, 512, 1024]


async def test_what_cannot_be_joined_leaves_nothing(clip: Clip, folder: Path, tmp_path: Path) -> None:
    todo = plan(await media.probe(clip()), media.Design(), media.TIKTOK)
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"no video at all")
    with pytest.raises(HouseError):
        await join.join(todo, [tmp_path / "one", tmp_path / "two"], None, into=folder)
    assert list(folder.iterdir()) == []
