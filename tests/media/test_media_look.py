from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import ffmpeg as compiler
import pytest

from app import media
from app.media import look
from app.media.lettering import letter
from tests.media.clips import ffmpeg

SIDES = {"min_side_px": 90, "max_side_px": 4096}
BLUE, FPS, LENGTH_S = "color=0x2040c0", 5, 2.0
# Red to the left, green in the middle, blue to the right.
FLAG = (
    "color=red:s=106x180,format=rgb24[l];color=lime:s=108x180,format=rgb24[m];"
    "color=blue:s=106x180,format=rgb24[r];[l][m][r]hstack=3,fps=5"
)
EVERYTHING = media.Design(
    watermark=media.Watermark("https://example.com/logo.png", "topright", 0.6, 8, 0.2),
    title=media.Title("Hello", font="Kaushan Script", opacity=0.8),
    captions=media.Captions(True, "00:00.5 --> 00:01.5\nOne two\n", background="#204080"),
    effects=media.EFFECTS,
    frame=media.Frame("1:1"),
)
Pixel = tuple[int, int, int]


def frames(
    source: str,
    design: media.Design,
    folder: Path,
    *,
    size: tuple[int, int] = (320, 180),
    logo: Path | None = None,
    start_s: float = 0.0,
    until_s: float = 1 / FPS,
    matrix: str = "bt709",
    **clip: bool,
) -> list[bytes]:
    """Finished pictures, as RGB, of this piece of a clip of 2 s made from a test source."""
    where = look.frame(*size, design, **SIDES)
    lettering = None
    if text := letter(design, width_px=where.canvas[0], height_px=where.canvas[1], duration_s=LENGTH_S):
        lettering = folder / "lettering.ass"
        lettering.write_text(text, encoding="utf-8")
    marks = look.Marks(logo, "png_pipe" if logo else None, lettering)
    if "[" not in source:
        source += f"{':' if '=' in source else '='}s={size[0]}x{size[1]}:r={FPS}"
    shown = (
        compiler.input(source, f="lavfi").filter("format", "gbrp").filter("trim", start=start_s, end=until_s)
    )
    shown = look.finish(shown, design, where, marks, read_as=None, matrix=matrix, duration_s=LENGTH_S, **clip)
    shown = shown.filter("scale", in_color_matrix=matrix, in_range="tv").filter("format", "rgb24")
    output = compiler.output(shown, "-", format="rawvideo", fps_mode="passthrough")
    raw = ffmpeg(*compiler.compile(output, cmd="ffmpeg")[1:])
    one = where.canvas[0] * where.canvas[1] * 3
    return [raw[at : at + one] for at in range(0, len(raw), one)]


def pixel(picture: bytes, width: int, across: float, down: float) -> Pixel:
    """The pixel at this part of the picture's width and height."""
    height = len(picture) // 3 // width
    at = 3 * (min(height - 1, int(down * height)) * width + min(width - 1, int(across * width)))
    return picture[at], picture[at + 1], picture[at + 2]


def near(one: Pixel, other: Pixel, by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("size", "aspect", "fit", "canvas"),
    [
        ((1920, 1080), "original", "crop", (1920, 1080)),
        ((1920, 1080), "9:16", "crop", (608, 1080)),
        ((1920, 1080), "1:1", "crop", (1080, 1080)),
        ((1080, 1920), "4:5", "crop", (1080, 1350)),
        ((3840, 2160), "9:16", "crop", (1216, 2160)),
        ((1920, 1080), "9:16", "blur", (1080, 1920)),
        ((1920, 1080), "4:5", "pad", (1080, 1350)),
        ((1080, 1920), "16:9", "pad", (1920, 1080)),
        ((640, 360), "9:16", "blur", (720, 1280)),
        ((1080, 1920), "9:16", "blur", (1080, 1920)),
        ((720, 1280), "9:16", "pad", (720, 1280)),
        ((1280, 720), "16:9", "crop", (1280, 720)),
    ],
)
def test_the_canvas_has_the_shape_that_was_asked_for_and_is_never_larger_than_it_needs(
    size: tuple[int, int], aspect: str, fit: str, canvas: tuple[int, int]
) -> None:
    design = media.Design(frame=media.Frame(aspect, fit))
    where = look.frame(*size, design, min_side_px=360, max_side_px=4096)
    assert where.canvas == canvas
    assert (where.width_px, where.height_px) == size or aspect != "original"
    assert all(side % 2 == 0 for side in (*where.canvas, *where.cut, where.left_px, where.top_px))
    assert look.Frame(**asdict(where)) == where


@pytest.mark.parametrize("fit", media.FITS)
@pytest.mark.parametrize("aspect", media.ASPECTS)
@pytest.mark.parametrize("size", [(8192, 64), (64, 8192), (2, 2), (481, 363), (4096, 4096)])
def test_whatever_the_source_the_canvas_keeps_the_platforms_sides(
    size: tuple[int, int], aspect: str, fit: str
) -> None:
    design = media.Design(frame=media.Frame(aspect, fit, 1, 1))
    where = look.frame(*size, design, min_side_px=360, max_side_px=4096, max_width_px=1920)
    assert min(where.canvas) >= 360
    assert max(where.canvas) <= 4096
    assert where.canvas[0] <= 1920
    assert where.left_px + where.cut[0] <= max(where.width_px, where.canvas[0])
    assert where.top_px + where.cut[1] <= max(where.height_px, where.canvas[1])
    if shape := media.ASPECTS[aspect]:
        assert where.canvas[0] / where.canvas[1] == pytest.approx(shape[0] / shape[1], rel=0.011)


@pytest.mark.parametrize(
    ("focus_x", "colour"), [(0, (255, 0, 0)), (0.1, (255, 0, 0)), (0.5, (0, 255, 0)), (1, (0, 0, 255))]
)
def test_a_crop_keeps_what_the_focus_is_on(tmp_path: Path, focus_x: float, colour: Pixel) -> None:
    design = media.Design(frame=media.Frame("9:16", "crop", focus_x))
    (picture,) = frames(FLAG, design, tmp_path)
    width = look.frame(320, 180, design, **SIDES).canvas[0]
    assert width == 102
    for across in (0.1, 0.5, 0.9):
        assert near(pixel(picture, width, across, 0.5), colour)


def test_a_padded_picture_stands_whole_before_its_colour(tmp_path: Path) -> None:
    design = media.Design(frame=media.Frame("1:1", "pad", colour="#ff8800"), effects=("grayscale",))
    (picture,) = frames(BLUE, design, tmp_path)
    for down in (0.05, 0.95):
        assert near(pixel(picture, 720, 0.5, down), (255, 136, 0))
    red, green, blue = pixel(picture, 720, 0.5, 0.5)
    assert max(red, green, blue) - min(red, green, blue) < 4


def test_a_blurred_frame_shows_the_picture_whole_and_its_blurred_middle_around_it(tmp_path: Path) -> None:
    design = media.Design(frame=media.Frame("1:1", "blur"))
    (picture,) = frames(FLAG, design, tmp_path)
    for across, colour in ((0.05, (255, 0, 0)), (0.5, (0, 255, 0)), (0.95, (0, 0, 255))):
        assert near(pixel(picture, 720, across, 0.5), colour)
    assert near(pixel(picture, 720, 0.5, 0.05), (0, 255, 0), by=40)
    edge = pixel(picture, 720, 0.19, 0.05)
    assert edge[0] > 60 and edge[1] > 60


def test_an_intro_is_fitted_as_the_video_is() -> None:
    for fit in media.FITS:
        design = media.Design(frame=media.Frame("9:16", fit, 0, 0, "#ff0000"))
        where = look.inside(640, 480, (1080, 1920), design=design)
        assert where.canvas == (1080, 1920)
        assert (where.cut == where.canvas) == (fit == "crop")
        assert where.blur == (fit == "blur")
    assert look.inside(640, 480, (1920, 1080)) == look.Frame(1440, 1080, (1920, 1080))


@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
@pytest.mark.parametrize("name", ["grayscale", "warm", "cool", "vivid", "vintage"])
def test_a_colour_preset_does_what_it_is_called(tmp_path: Path, name: str, matrix: str) -> None:
    source = "color=0xa07050"
    before = pixel(frames(source, media.Design(), tmp_path, matrix=matrix)[0], 320, 0.5, 0.5)
    after = pixel(frames(source, media.Design(effects=(name,)), tmp_path, matrix=matrix)[0], 320, 0.5, 0.5)
    assert near(before, (0xA0, 0x70, 0x50), by=3)
    warmth = (after[0] - after[2]) - (before[0] - before[2])
    colour = (max(after) - min(after)) - (max(before) - min(before))
    if name == "grayscale":
        assert max(after) - min(after) < 4
    elif name == "warm":
        assert 10 < warmth < 60
    elif name == "cool":
        assert -60 < warmth < -10
    elif name == "vivid":
        assert colour > 8
    else:
        assert colour < -8
    assert abs(sum(after) - sum(before)) < 90


@pytest.mark.parametrize("name", ["warm", "cool", "vivid", "grayscale"])
def test_black_stays_black_and_white_white_but_in_an_old_print(tmp_path: Path, name: str) -> None:
    for source, level in (("color=black", 0), ("color=white", 255)):
        seen = pixel(frames(source, media.Design(effects=(name,)), tmp_path)[0], 320, 0.5, 0.5)
        assert near(seen, (level, level, level), by=16)
        old = pixel(frames(source, media.Design(effects=("vintage",)), tmp_path)[0], 320, 0.5, 0.5)
        assert not near(old, (level, level, level), by=10)


@pytest.mark.parametrize(
    "position",
    ["topleft", "top", "topright", "left", "center", "right", "bottomleft", "bottom", "bottomright"],
)
def test_the_logo_stands_in_each_of_nine_places(tmp_path: Path, logo: Path, position: str) -> None:
    design = media.Design(watermark=media.Watermark(None, position, 1, 0, 0.2))
    (picture,) = frames(BLUE, design, tmp_path, logo=logo, size=(300, 300))
    places = {
        (row, column): near(pixel(picture, 300, 0.1 + 0.4 * column, 0.1 + 0.4 * row), (255, 0, 0))
        for row in range(3)
        for column in range(3)
    }
    row = 0 if position.startswith("top") else 2 if position.startswith("bottom") else 1
    column = 0 if position.endswith("left") else 2 if position.endswith("right") else 1
    assert [place for place, red in places.items() if red] == [(row, column)]


def test_the_logo_keeps_its_margin_and_width(tmp_path: Path, logo: Path) -> None:
    design = media.Design(watermark=media.Watermark(None, "topleft", 1, 30, 0.1))
    (picture,) = frames(BLUE, design, tmp_path, logo=logo, size=(300, 300))
    red = [at for at in range(300) if near(pixel(picture, 300, at / 300, 45 / 300), (255, 0, 0), by=60)]
    assert red == list(range(30, 60))


@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
def test_a_faint_logo_keeps_its_colour(tmp_path: Path, logo: Path, matrix: str) -> None:
    for opacity, colour in ((1, (255, 0, 0)), (0.5, (144, 32, 96))):
        design = media.Design(watermark=media.Watermark(None, "center", opacity, 0, 0.2))
        (picture,) = frames(BLUE, design, tmp_path, logo=logo, matrix=matrix)
        assert near(pixel(picture, 320, 0.5, 0.5), colour, by=6)


def test_a_fade_belongs_to_the_clip_that_opens_or_closes_the_video(tmp_path: Path) -> None:
    design = media.Design(effects=("fade-in", "fade-out"))
    first = {"start_s": 0.0, "until_s": 1 / FPS}
    last = {"start_s": LENGTH_S - 1 / FPS, "until_s": LENGTH_S}
    for clip, at, dark in (
        ({}, first, True),
        ({"opens": False}, first, False),
        ({}, last, True),
        ({"closes": False}, last, False),
        ({"opens": False}, last, True),
    ):
        (picture,) = frames("color=white", design, tmp_path, **at, **clip)
        assert (max(pixel(picture, 320, 0.5, 0.5)) < 100) == dark
    assert look.fades(design, 30.0, closes=False) == [("in", 0.0, 1.0)]
    assert look.fades(design, 1.5) == [("in", 0.0, 0.5), ("out", 1.0, 0.5)]


@pytest.mark.parametrize("fit", media.FITS)
def test_a_picture_is_the_same_in_whichever_piece_it_is_made(tmp_path: Path, logo: Path, fit: str) -> None:
    design = replace(
        EVERYTHING,
        frame=media.Frame("1:1", fit),
        effects=tuple(name for name in media.EFFECTS if name != "blur-fill"),
    )
    size = (96, 54)
    whole = frames("testsrc2", design, tmp_path, logo=logo, size=size, until_s=LENGTH_S)
    assert len(whole) == LENGTH_S * FPS
    assert len(set(whole)) >= 8
    cuts = (0, 3, 4, 9, 10)
    pieces = [
        picture
        for first, until in pairwise(cuts)
        for picture in frames(
            "testsrc2", design, tmp_path, logo=logo, size=size, start_s=first / FPS, until_s=until / FPS
        )
    ]
    assert pieces == whole
