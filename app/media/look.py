"""What a design does to the picture of one clip: its frame, colours, logo, lettering and fades, as filters.

`finish` is the front. Times are those of the clip, in seconds from its beginning, also where only a piece of the
clip is made: the pictures come in with the time at which they stand in the clip. No filter here remembers a picture
or counts them, so that a picture comes out the same whichever piece it is made in. Nothing here reads a file.

An intro or outro gets the frame and its part of the fades; colours, logo and lettering are the main clip's alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg as compiler

from app.media.design import ASPECTS, COLOURS, Design, Watermark
from app.media.design import Frame as Wanted
from app.media.probe import MAX_PIXELS
from app.media.typefaces import FONT_FOLDER

FADE_S = 1.0
# A shape this near to the wanted one is left as it is: sides are whole pixels, and 9:16 of 1080 lines is 607.5 wide.
NEAR_SHAPE = 0.01
# The short side of a canvas with room around the picture, for a picture whose longer side has at least HD_SIDE_PX
# and for smaller ones: a landscape picture in its own size would make a canvas of three thousand lines.
ROOMY_SIDE_PX, SMALL_ROOMY_SIDE_PX, HD_SIDE_PX = 1080, 720, 1280
# The blurred copy is made this much smaller, which looks the same and costs a sixteenth.
BLUR_SHRINK, BLUR_SIGMA = 4, 8
# What becomes of each channel's levels, from/to; numbers chosen by eye on test pictures. One table look-up a pixel: the
# filter colorbalance, which does the same, took seven times the CPU.
CURVES: dict[str, dict[str, str]] = {
    "warm": {"r": "0/0 0.5/0.545 1/1", "g": "0/0 0.5/0.505 1/0.99", "b": "0/0 0.5/0.44 1/0.96"},
    "cool": {"r": "0/0 0.5/0.45 1/0.96", "g": "0/0 0.5/0.5 1/0.99", "b": "0/0 0.5/0.555 1/1"},
    # Blacks lifted, whites yellowed, less colour: a print of the seventies.
    "vintage": {"r": "0/0.09 0.5/0.56 1/0.96", "g": "0/0.06 0.5/0.5 1/0.91", "b": "0/0.15 0.5/0.46 1/0.8"},
}
VINTAGE_SATURATION = 0.7
VIVID = {"contrast": 1.08, "saturation": 1.35}


@dataclass(frozen=True)
class Frame:
    """How a picture stands in the canvas, which is made.

    It is scaled to `width_px` × `height_px`. What is larger than the canvas is cut off, from `left_px` and `top_px`
    on; where it is smaller it stands in the middle, before a blurred copy of itself or before `colour`.
    """

    width_px: int
    height_px: int
    canvas: tuple[int, int]
    blur: bool = False
    left_px: int = 0
    top_px: int = 0
    colour: str = "#000000"

    @property
    def cut(self) -> tuple[int, int]:
        """Width and height of what is left of the picture."""
        return min(self.width_px, self.canvas[0]), min(self.height_px, self.canvas[1])


@dataclass(frozen=True)
class Marks:
    """The files that a design puts on the picture, under our own names in the folder of the run."""

    logo: Path | None = None
    logo_format: str | None = None
    lettering: Path | None = None


def frame(
    width_px: int,
    height_px: int,
    design: Design,
    *,
    min_side_px: int,
    max_side_px: int,
    max_width_px: int | None = None,
) -> Frame:
    """The canvas that a design makes of an upright picture of this size, within a platform's sides; all even.

    It is the picture's own size where the design wants no other shape, or one that the picture has already.
    """
    sides = (min_side_px, max_side_px, max_width_px or max_side_px)
    wanted = design.framed
    shape = ASPECTS[wanted.aspect]
    if shape is None or _near(width_px, height_px, shape):
        width, height = _within(width_px, height_px, *sides)
        # A very long strip stays below the least side and is padded.
        return Frame(width, height, (max(width, min_side_px), max(height, min_side_px)), colour=wanted.colour)
    if wanted.fit == "crop":
        unit = min(width_px / shape[0], height_px / shape[1])
        canvas = _within(shape[0] * unit, shape[1] * unit, *sides)
        return inside(width_px, height_px, canvas, design=design)
    longer = max(_within(width_px, height_px, *sides))
    short = ROOMY_SIDE_PX if longer >= HD_SIDE_PX else SMALL_ROOMY_SIDE_PX
    unit = max(short, min_side_px) / min(shape)
    return inside(width_px, height_px, (even(shape[0] * unit), even(shape[1] * unit)), design=design)


def inside(width_px: int, height_px: int, canvas: tuple[int, int], *, design: Design | None = None) -> Frame:
    """A picture in a canvas that is given, an intro's in that of the video: as the design fits pictures into its
    frame, or whole and before black where it says nothing of it.
    """
    wanted = design.framed if design else Wanted()
    if wanted.aspect != "original" and wanted.fit == "crop":
        return _cropped(width_px, height_px, canvas, wanted)
    scale = min(canvas[0] / width_px, canvas[1] / height_px)
    return Frame(
        min(canvas[0], even(width_px * scale)),
        min(canvas[1], even(height_px * scale)),
        canvas,
        blur=wanted.aspect != "original" and wanted.fit == "blur",
        colour=wanted.colour,
    )


def even(side: float) -> int:
    return max(2, round(side / 2) * 2)


def finish(
    shown: Any,
    design: Design,
    where: Frame,
    marks: Marks,
    *,
    read_as: str | None,
    matrix: str,
    duration_s: float,
    opens: bool = True,
    closes: bool = True,
) -> Any:
    """The finished picture of the main clip, `where.canvas` large, 8 bit 4:2:0, square pixels.

    `matrix` is how the colours of what is made are coded, `read_as` how those of the source are (None: no
    YCbCr); `duration_s` is the whole clip's. `opens` and `closes`: no clip stands before it, none behind.
    """
    shown = _cut(shown, where, read_as=read_as, matrix=matrix)
    for name in COLOURS:
        if name in design.effects:
            shown = _coloured(shown, name, matrix)
    shown = _placed(shown, where)
    if design.watermark and marks.logo:
        shown = _marked(shown, design.watermark, where.canvas, marks, matrix)
    if marks.lettering:
        shown = shown.filter("ass", filename=str(marks.lettering), fontsdir=str(FONT_FOLDER))
    return faded(shown, design, duration_s, opens=opens, closes=closes)


def fit(shown: Any, where: Frame, *, read_as: str | None, matrix: str) -> Any:
    """The picture in its frame and nothing else: all that is done to an intro or an outro, but for `faded`."""
    return _placed(_cut(shown, where, read_as=read_as, matrix=matrix), where)


def faded(shown: Any, design: Design, duration_s: float, *, opens: bool = True, closes: bool = True) -> Any:
    """This clip's part of the fades: in where it opens the video, out where it closes it."""
    for kind, start_s, length_s in fades(design, duration_s, opens=opens, closes=closes):
        shown = shown.filter("fade", type=kind, start_time=start_s, duration=length_s)
    return shown


def fades(
    design: Design, duration_s: float, *, opens: bool = True, closes: bool = True
) -> list[tuple[str, float, float]]:
    """Kind, start and length in seconds, for picture and sound; in a very short video they take a third each."""
    length_s = round(min(FADE_S, duration_s / 3), 3)
    found = [("in", 0.0, length_s)] if opens and "fade-in" in design.effects else []
    if closes and "fade-out" in design.effects:
        found.append(("out", round(max(0.0, duration_s - length_s), 3), length_s))
    return found


def _near(width: int, height: int, shape: tuple[int, int]) -> bool:
    return abs(width * shape[1] / (height * shape[0]) - 1) <= NEAR_SHAPE


def _within(
    width: float, height: float, min_side_px: int, max_side_px: int, max_width_px: int
) -> tuple[int, int]:
    """This size, scaled so that a platform takes its sides; the most counts more than the least."""
    scale = max(1.0, min_side_px / min(width, height))
    scale = min(scale, max_side_px / max(width, height), max_width_px / width)
    return even(width * scale), even(height * scale)


def _cropped(width_px: int, height_px: int, canvas: tuple[int, int], wanted: Wanted) -> Frame:
    """The picture just large enough to fill the canvas, cut around the focus, which comes as near to the middle as
    the picture's edges let it.
    """
    scale = max(canvas[0] / width_px, canvas[1] / height_px)
    width, height = max(canvas[0], even(width_px * scale)), max(canvas[1], even(height_px * scale))
    left = min(max(0.0, wanted.focus_x * width - canvas[0] / 2), width - canvas[0])
    top = min(max(0.0, wanted.focus_y * height - canvas[1] / 2), height - canvas[1])
    # Even, because every second column and line has colours of its own.
    return Frame(width, height, canvas, left_px=int(left / 2) * 2, top_px=int(top / 2) * 2)


def _cut(shown: Any, where: Frame, *, read_as: str | None, matrix: str) -> Any:
    """The picture in its size, without what the canvas has no room for.

    Cut first: a long strip, enlarged until its short side fills the canvas, would be a hundred million pixels.
    """
    width, height = where.cut
    if (width, height) != (where.width_px, where.height_px):
        # A hundredth on top, because ffmpeg takes the whole part of what may come out as 607.99999.
        shown = shown.filter(
            "crop",
            f"iw*{width}/{where.width_px}+0.01",
            f"ih*{height}/{where.height_px}+0.01",
            f"iw*{where.left_px}/{where.width_px}",
            f"ih*{where.top_px}/{where.height_px}",
        )
    colours = {"in_color_matrix": read_as} if read_as else {}
    shown = shown.filter("scale", width, height, out_range="tv", out_color_matrix=matrix, **colours)
    return shown.filter("setsar", 1).filter("format", "yuv420p")


def _placed(shown: Any, where: Frame) -> Any:
    if where.cut == where.canvas:
        return shown
    if where.blur:
        return _blur_filled(shown, where)
    return shown.filter("pad", *where.canvas, "(ow-iw)/2", "(oh-ih)/2", color=f"0x{where.colour[1:]}")


def _coloured(shown: Any, name: str, matrix: str) -> Any:
    if name == "grayscale":
        return shown.filter("hue", s=0)
    if name == "vivid":
        return shown.filter("eq", **VIVID)
    # The way to red, green and blue and back is spelled out: what ffmpeg would put there by itself takes the colours
    # for those of small pictures.
    shown = shown.filter("scale", in_color_matrix=matrix, in_range="tv").filter("format", "gbrp")
    graded = shown.filter("curves", **CURVES[name])
    shown = graded.filter("scale", out_color_matrix=matrix, out_range="tv").filter("format", "yuv420p")
    return shown.filter("eq", saturation=VINTAGE_SATURATION) if name == "vintage" else shown


def _blur_filled(shown: Any, where: Frame) -> Any:
    """The picture in the middle of a frame, before a blurred copy of its own middle."""
    width, height = where.canvas
    small = (even(width / BLUR_SHRINK), even(height / BLUR_SHRINK))
    shrunk = min(where.cut[0] / width, where.cut[1] / height)
    both = shown.split()
    behind = (
        both[0]
        .filter("crop", even(width * shrunk), even(height * shrunk))
        .filter("scale", *small)
        .filter("gblur", sigma=BLUR_SIGMA)
        .filter("scale", width, height)
        .filter("setsar", 1)
    )
    return compiler.overlay(behind, both[1], x="(W-w)/2", y="(H-h)/2")


def _marked(shown: Any, mark: Watermark, canvas: tuple[int, int], marks: Marks, matrix: str) -> Any:
    """The logo in its place. Its margin counts in the pixels of the video that is made."""
    width, height = canvas
    margin = min(mark.margin_px, width // 3, height // 3)
    wide, tall = max(2, round(width * mark.scale)), height - 2 * margin
    logo = compiler.input(
        f"file:{marks.logo}", protocol_whitelist="file", format=marks.logo_format, max_pixels=MAX_PIXELS
    ).video
    if mark.opacity < 1:
        # Before the way to YCbCr: behind it ffmpeg would add one more, with colours of its own choice.
        logo = logo.filter("format", "rgba").filter("colorchannelmixer", aa=round(mark.opacity, 3))
    logo = logo.filter(
        "scale",
        min(wide, width - 2 * margin),
        tall,
        force_original_aspect_ratio="decrease",
        out_color_matrix=matrix,
    ).filter("format", "yuva420p")
    along, down = _place(mark.position)
    return compiler.overlay(
        shown,
        logo,
        x={"start": str(margin), "middle": "(W-w)/2", "end": f"W-w-{margin}"}[along],
        y={"start": str(margin), "middle": "(H-h)/2", "end": f"H-h-{margin}"}[down],
    )


def _place(position: str) -> tuple[str, str]:
    along = "start" if position.endswith("left") else "end" if position.endswith("right") else "middle"
    down = "start" if position.startswith("top") else "end" if position.startswith("bottom") else "middle"
    return along, down
