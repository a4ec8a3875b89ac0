from __future__ import annotations

import re
from pathlib import Path

import pytest

from app import media
from app.errors import Refused
from app.media import stills
from app.media.grid import Rate
from app.media.plan import plan
from tests.media.clips import FAST, Clip, ffmpeg, pixels
from tests.media.test_media_encode import counted, grays

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("frame", [0, 1, 44, 45, 119, 149, 400])
async def test_the_poster_is_the_very_frame(tmp_path: Path, folder: Path, frame: int) -> None:
    video = counted(tmp_path / "a.mp4", seconds=5)
    made = await stills.poster(video, frame, rate=Rate(30), size=(64, 64), into=folder)
    seen = grays(video)
    # The poster is in full range, the video is not.
    raw = ffmpeg("-i", made.path, "-vf", "scale=1:1,format=yuvj420p", "-f", "rawvideo", "-")
    shown = 16 + raw[0] * 219 / 255
    assert abs(shown - seen[min(frame, 149)]) <= 8
    assert sorted(path.name for path in folder.iterdir()) == [
        "poster.jpg", "still-large.jpg", "still-medium.jpg", "still-small.jpg",
    ]  # fmt: skip


async def test_a_poster_has_the_colours_of_its_video(tmp_path: Path, folder: Path) -> None:
    """Video of this size is coded as bt709, a JPEG never is; taken for one another, red falls by twenty levels."""
    video = tmp_path / "red.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "color=0xC02040:s=1280x720:d=0.2,format=yuv444p", "-vf"),
        *("scale=out_color_matrix=bt709:out_range=tv,format=yuv420p", *FAST, "-colorspace", "bt709", video),
    )
    made = await stills.poster(video, 0, rate=Rate(25), size=(1280, 720), into=folder)
    for path in (made.path, *(still.path for still in made.thumbnails)):
        shown = pixels(path, 4, 4, at_s=0)[1][1]
        assert max(abs(one - wanted) for one, wanted in zip(shown, (0xC0, 0x20, 0x40), strict=True)) <= 8


async def test_thumbnails_are_never_larger_than_the_video(clip: Clip, folder: Path) -> None:
    video = clip(size="900x1600", seconds=0.2)
    made = await stills.poster(video, 0, rate=Rate(30), size=(900, 1600), into=folder)
    assert [(still.name, still.width, still.height) for still in made.thumbnails] == [
        ("small", 180, 320),
        ("medium", 360, 640),
        ("large", 720, 1280),
    ]


async def test_a_video_without_a_picture_has_no_poster_and_leaves_nothing(
    tmp_path: Path, folder: Path
) -> None:
    sound = tmp_path / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", sound)
    with pytest.raises(Refused):
        await stills.poster(sound, 0, rate=Rate(30), size=(64, 64), into=folder)
    with pytest.raises(Refused):
        await stills.storyboard(sound, duration_s=1, size=(64, 64), into=folder)
    assert list(folder.iterdir()) == []


async def test_the_frame_that_is_shown_at_a_time(clip: Clip) -> None:
    main, intro = await media.probe(clip(seconds=2)), await media.probe(clip("intro.mp4", seconds=1))
    todo = plan(main, media.Design(), media.TIKTOK)
    assert [stills.poster_frame(todo, ms) for ms in (0, 33, 34, 1000, 99_000, -5)] == [0, 0, 1, 30, 59, 0]
    assert stills.poster_frame(todo, None) == 18
    assert stills.poster_frame(plan(main, media.Design(), media.TIKTOK, intro=intro), None) == 30 + 18


async def test_a_storyboard_shows_each_moment_in_its_tile(tmp_path: Path, folder: Path) -> None:
    video = tmp_path / "a.mp4"
    # Lighter by four each second, a key frame every two.
    ffmpeg(
        *("-f", "lavfi", "-i", "nullsrc=s=320x180:r=4:d=61,geq=lum='16+T*3':cb=128:cr=128"),
        *(*FAST, "-g", "8", "-sc_threshold", "0", video),
    )
    board = await stills.storyboard(video, duration_s=61, size=(320, 180), into=folder)
    assert (board.every_s, board.tile_width_px, board.tile_height_px) == (2, 160, 90)
    assert [path.name for path in board.sheets] == ["storyboard-0.jpg", "storyboard-1.jpg"]
    text = board.vtt(["/one.jpg", "/two.jpg"])
    cues = re.findall(r"(\S+) --> (\S+)\n(\S+)#xywh=(\d+),(\d+),160,90", text)
    assert text.startswith("WEBVTT\n\n")
    assert len(cues) == 31
    assert cues[0] == ("00:00:00.000", "00:00:02.000", "/one.jpg", "0", "0")
    assert cues[26] == ("00:00:52.000", "00:00:54.000", "/two.jpg", "160", "0")
    assert cues[30][1] == "00:01:01.000"
    for number, (_, _, sheet, x, y) in enumerate(cues):
        path = board.sheets[0 if sheet == "/one.jpg" else 1]
        raw = ffmpeg(
            "-i", path, "-vf", f"crop=160:90:{x}:{y},scale=1:1,format=yuvj420p", "-f", "rawvideo", "-"
        )
        assert abs(16 + raw[0] * 219 / 255 - (16 + 2 * number * 3)) <= 5


async def test_a_long_video_has_four_sheets_at_most(clip: Clip, folder: Path) -> None:
    board = await stills.storyboard(clip(seconds=2), duration_s=3600, size=(360, 640), into=folder)
    assert board.every_s == 36
    assert (board.tile_width_px, board.tile_height_px) == (90, 160)
    assert len(board.sheets) <= 4
