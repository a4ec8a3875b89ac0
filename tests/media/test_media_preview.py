from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app import media
from app.errors import Refused
from tests.media.clips import FAST, Clip, branded, ffmpeg, running_in

pytestmark = pytest.mark.anyio

BLUE = "color=0x2040c0"
MARK = media.Watermark("https://example.com/logo.png", "topleft", 1, 0, 0.2)
Pixel = tuple[int, int, int]


async def seen(
    source: Path,
    design: media.Design,
    folder: Path,
    *,
    logo: Path | None = None,
    at_s: float = 0.5,
    **more: int,
) -> Image.Image:
    found = await media.probe(source)
    made = await media.preview(
        source, design, logo=logo, into=folder, probe=found, profile=media.TIKTOK, at_s=at_s, **more
    )
    assert [path.name for path in folder.iterdir()] == ["preview.jpg"]
    with Image.open(made) as picture:
        return picture.convert("RGB")


def pixel(picture: Image.Image, across: float, down: float) -> Pixel:
    red, green, blue = picture.getpixel(  # type: ignore[misc]  # an RGB picture has three
        (int(across * (picture.width - 1)), int(down * (picture.height - 1)))
    )
    return red, green, blue


def near(one: Pixel, other: Pixel, by: int = 14) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


async def test_a_preview_shows_all_that_the_run_would_draw(clip: Clip, logo: Path, folder: Path) -> None:
    design = media.Design(
        watermark=MARK,
        title=media.Title("HHHHHH", "bottom", 10, "#ffff00"),
        effects=("grayscale",),
        frame=media.Frame("1:1", "pad", colour="#ff8800"),
    )
    picture = await seen(clip(size="1280x720", picture=BLUE), design, folder, logo=logo)
    assert picture.size == (720, 720)
    assert near(pixel(picture, 0.05, 0.05), (255, 0, 0))
    assert near(pixel(picture, 0.9, 0.05), (255, 136, 0))
    red, green, blue = pixel(picture, 0.5, 0.5)
    assert max(red, green, blue) - min(red, green, blue) < 8
    yellow = sum(near(pixel(picture, at / 200, 0.9), (255, 255, 0), by=60) for at in range(200))
    assert yellow > 10


@pytest.mark.parametrize("size", ["640x360", "1280x720"])
async def test_its_colours_are_those_of_the_video(clip: Clip, folder: Path, size: str) -> None:
    given = ("-vf", f"scale=out_color_matrix={'bt709' if size == '1280x720' else 'bt601'}:out_range=tv")
    picture = await seen(
        clip(size=size, picture="color=0xc02040", options=(*given, "-pix_fmt", "yuv420p")),
        media.Design(),
        folder,
    )
    assert near(pixel(picture, 0.5, 0.5), (0xC0, 0x20, 0x40), by=6)


async def test_it_is_no_wider_than_asked_and_never_larger_than_the_video(clip: Clip, folder: Path) -> None:
    source = clip(size="640x360")
    assert (await seen(source, media.Design(), folder, width_px=200)).size == (200, 112)
    assert (await seen(source, media.Design(), folder, width_px=5000)).size == (640, 360)


async def test_it_is_the_picture_of_its_time(clip: Clip, folder: Path, tmp_path: Path) -> None:
    two = tmp_path / "two.mp4"
    ffmpeg(
        *("-i", clip("a.mp4", picture="color=red"), "-i", clip("b.mp4", picture="color=blue")),
        *("-filter_complex", "[0][1]concat=n=2", *FAST, two),
    )
    fading = media.Design(effects=("fade-in", "fade-out"))
    for at_s, design, colour in (
        (0.97, media.Design(), (255, 0, 0)),
        (1.0, media.Design(), (0, 0, 255)),
        (-5.0, media.Design(), (255, 0, 0)),
        (99.0, media.Design(), (0, 0, 255)),
        (0.0, fading, (0, 0, 0)),
        (0.0, replace(fading, intro=media.Bookend("asset:1")), (255, 0, 0)),
        (99.0, replace(fading, outro=media.Bookend("asset:1")), (0, 0, 255)),
    ):
        picture = await seen(two, design, folder, at_s=at_s)
        assert near(pixel(picture, 0.5, 0.5), colour), (at_s, design.effects)


async def test_it_shows_the_same_picture_as_the_run(clip: Clip, folder: Path, tmp_path: Path) -> None:
    source = clip(size="640x360", fps="30000/1001", options=("-g", "100"), seconds=2)
    design = media.Design(
        title=media.Title("Same"), effects=("vintage", "fade-out"), frame=media.Frame("1:1", "crop")
    )
    other = tmp_path / "other"
    other.mkdir()
    made = await branded(source, design, other)
    for at_s, frame in ((0.0, 0), (0.75, 22), (1.7, 50)):
        picture = await seen(source, design, folder, at_s=at_s)
        apart = {}
        for number in (frame, frame + 1):
            still = ffmpeg(
                *("-i", made.path, "-vf", f"select=eq(n\\,{number}),scale=in_color_matrix=bt601"),
                *("-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
            )
            assert len(still) == 3 * picture.width * picture.height
            both = zip(still, picture.tobytes(), strict=True)
            apart[number] = sum(abs(one - other) for one, other in both) / len(still)
        # Not 0: the video is compressed by x264, the preview as a JPEG.
        assert apart[frame] < 4
        assert apart[frame] < 0.7 * apart[frame + 1]


@pytest.mark.parametrize("name", ["clip.ts", "clip.avi", "clip.webm"])
async def test_other_kinds_of_files_are_seen_too(clip: Clip, folder: Path, name: str) -> None:
    codec = {
        "clip.ts": FAST,
        "clip.avi": ("-c:v", "mpeg4"),
        "clip.webm": ("-c:v", "libvpx", "-deadline", "realtime"),
    }
    source = clip(name, picture=BLUE, codec=codec[name])
    assert near(pixel(await seen(source, media.Design(), folder), 0.5, 0.5), (0x20, 0x40, 0xC0), by=20)


async def test_what_cannot_be_read_is_refused_and_nothing_is_left(
    clip: Clip, folder: Path, tmp_path: Path
) -> None:
    source = clip()
    found = await media.probe(source)
    bad_logo = tmp_path / "bad.png"
    bad_logo.write_bytes(b"no picture")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(source.read_bytes()[:600] + bytes(5000))
    for path, design, logo in (
        (source, media.Design(watermark=MARK), bad_logo),
        (source, media.Design(watermark=MARK), None),
        (broken, media.Design(), None),
    ):
        with pytest.raises(Refused):
            await media.preview(
                path, design, logo=logo, into=folder, probe=found, profile=media.TIKTOK, at_s=0
            )
        assert list(folder.iterdir()) == []


async def test_called_off_it_leaves_no_file_and_no_ffmpeg(clip: Clip, folder: Path) -> None:
    source = clip(size="1280x720", seconds=3)
    found = await media.probe(source)
    doing = asyncio.create_task(
        media.preview(
            source, media.Design(effects=("vintage",)), logo=None, into=folder, probe=found,
            profile=media.TIKTOK, at_s=2.9,
        )
    )  # fmt: skip
    while not running_in(folder):
        await asyncio.sleep(0.005)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert list(folder.iterdir()) == []
    assert running_in(folder) == []
