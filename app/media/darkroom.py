"""One still picture made to measure, as a program of its own: `python -I darkroom.py` with its wishes as JSON.

Started by `app.media.picture` behind walls: the libraries inside are written in C, and what they open comes from
strangers. Knows Pillow and nothing of ours. Writes its answer, as JSON, into the file `answer`.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, ImageCms, UnidentifiedImageError

# Names of Pillow for what we take; HEIF is registered below.
READ = ("JPEG", "PNG", "WEBP", "HEIF")
BEST_QUALITY = 90
STEP = 0.8
SMALLEST_PX = 16
WITH_TRANSPARENCY = ("WEBP", "PNG")
TO_EIGHT_BITS = 1 / 257
# A picture's sides are whole pixels, so its proportions are never exact.
NEAR = 0.005


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = (5, 6, 7, 8)


class Unfit(Exception):
    """The sentence for the person."""

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(problem)
        self.code = code


def main(asked: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the picture that `asked` wants made of `source`, and what they are."""
    within = tuple(asked["within"])
    picture, lossless = opened(Path(asked["source"]), int(asked["max_pixels"]), within)
    orientation = orientation_of(picture)
    check_shape(picture.size[::-1] if orientation in ON_ITS_SIDE else picture.size, asked)
    picture = upright_and_plain(picture, orientation, within)
    name, quality, content, picture = written(picture, lossless, asked)
    width, height = picture.size
    return content, {"format": name, "quality": quality, "width_px": width, "height_px": height}


def opened(source: Path, max_pixels: int, within: tuple[int, int]) -> tuple[Image.Image, bool]:
    """The first picture of the file, decoded; whether its file kept every pixel exactly."""
    # A bomb is found by its header, before anything is decoded.
    Image.MAX_IMAGE_PIXELS = None
    warnings.simplefilter("ignore")
    pillow_heif.register_heif_opener(thumbnails=False)
    try:
        picture: Image.Image = Image.open(source, formats=READ)
    except UnidentifiedImageError as error:
        raise Unfit("not_a_picture", "is not a JPEG, PNG, WebP or HEIC picture") from error
    width, height = picture.size
    if width * height > max_pixels:
        raise Unfit(
            "too_many_pixels",
            f"has {width * height / 1e6:.0f} million pixels; at most {max_pixels / 1e6:.0f} million are taken",
        )
    lossless = picture.format == "PNG"
    # A large JPEG is decoded at a half or a quarter right away: less memory, and the same picture later.
    if picture.format in ("JPEG", "MPO") and min(within) < min(width, height):
        picture.draft(None, (2 * max(within), 2 * max(within)))
    picture.load()
    return picture, lossless


def orientation_of(picture: Image.Image) -> int:
    """How it has to be turned (EXIF 2.32, tag 0x0112); 1, as it is, where the file does not say or says nonsense."""
    try:
        orientation = picture.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return orientation if orientation in TURNS else 1


def check_shape(size: tuple[int, int], asked: dict[str, Any]) -> None:
    """Width to height of the upright picture, against what the platform shows; nothing is cut off unasked."""
    width, height = size
    least, most = asked["min_aspect"], asked["max_aspect"]
    if least is not None and width / height < least - NEAR:
        raise Unfit(
            "wrong_shape", f"is too tall ({width} × {height}): width by height must be {least:.2f} or more"
        )
    if most is not None and width / height > most + NEAR:
        raise Unfit(
            "wrong_shape", f"is too wide ({width} × {height}): width by height must be {most:.2f} or less"
        )
    if width < asked["min_width_px"] or height < asked["min_height_px"]:
        wanted = f"{asked['min_width_px']} × {asked['min_height_px']}"
        raise Unfit("too_small", f"is too small ({width} × {height}): {wanted} pixels are the least")


def upright_and_plain(picture: Image.Image, orientation: int, within: tuple[int, int]) -> Image.Image:
    """RGB or RGBA in sRGB, upright, no larger than `within`, and nothing else: no profile, no metadata."""
    profile = picture.info.get("icc_profile")
    picture = shallow(picture)
    # Made small first, so that all further steps have less to do.
    room = within[::-1] if orientation in ON_ITS_SIDE else within
    picture = smaller(picture, shrunk(picture.size, room))
    picture = in_srgb(picture, profile)
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
    plain = Image.new(picture.mode, picture.size)
    plain.paste(picture)
    return plain


def shallow(picture: Image.Image) -> Image.Image:
    """Eight bits a channel, and no palette."""
    if picture.mode.startswith("I"):
        # Grey of sixteen bits: Pillow's own way to eight would cut off all above 255.
        return picture.convert("I").point(lambda value: value * TO_EIGHT_BITS, "F").convert("L")
    if picture.mode in ("1", "F"):
        return picture.convert("L")
    if picture.mode in ("P", "PA") or "transparency" in picture.info:
        return picture.convert("RGBA" if has_transparency(picture) else "RGB")
    return picture


def has_transparency(picture: Image.Image) -> bool:
    return "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "La", "RGBa")


def in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The same colours told in sRGB, transparency kept aside; a profile that lies is taken for sRGB."""
    veil = picture.getchannel("A") if picture.mode in ("RGBA", "LA") else None
    if picture.mode == "LA":
        picture = picture.getchannel("L")
    elif picture.mode == "RGBA":
        picture = picture.convert("RGB")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        try:
            told = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            picture = ImageCms.profileToProfile(  # type: ignore[assignment]  # None comes of inPlace only
                picture, told, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    picture = picture.convert("RGB")
    if veil is not None and veil.getextrema() != (255, 255):
        picture.putalpha(veil)
    return picture


def shrunk(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The size that fits into the room in the same proportions; never larger, never nothing."""
    part = min(1.0, room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * part)), max(1, round(size[1] * part))


def smaller(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def written(
    picture: Image.Image, lossless: bool, asked: dict[str, Any]
) -> tuple[str, int | None, bytes, Image.Image]:
    """The bytes that fit: exact first where the source was, then the best quality, then a smaller picture."""
    formats, most = tuple(asked["formats"]), int(asked["max_bytes"])
    whole = picture
    for size in sizes(whole.size, asked):
        picture = smaller(whole, size)
        for name in ways(picture, lossless, formats):
            if name == "PNG":
                content = encoded(picture, "PNG", None, asked)
                quality: int | None = None
            else:
                quality, content = searched(picture, name, most, asked)
            if len(content) <= most:
                return name, quality, content, picture
    raise Unfit(
        "does_not_fit",
        f"cannot be brought under {most // 1024} KiB without falling below quality {asked['floor']}"
        f" or {asked['min_width_px']} × {asked['min_height_px']} pixels",
    )


def sizes(whole: tuple[int, int], asked: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """The size itself, then each a fifth smaller, down to the least that is allowed."""
    least = (max(1, asked["min_width_px"]), max(1, asked["min_height_px"]))
    yield whole
    part = STEP
    while True:
        size = max(1, round(whole[0] * part)), max(1, round(whole[1] * part))
        if size[0] < least[0] or size[1] < least[1] or max(size) < SMALLEST_PX:
            return
        yield size
        part *= STEP


def ways(picture: Image.Image, lossless: bool, formats: tuple[str, ...]) -> list[str]:
    """In which formats to try, best first: exact where the source was exact, transparency kept where one can."""
    if picture.mode == "RGBA":
        able = [name for name in WITH_TRANSPARENCY if name in formats] or list(formats)
    else:
        able = [name for name in ("JPEG", "WEBP", "PNG") if name in formats]
    if lossless and "PNG" in able:
        able = ["PNG", *(name for name in able if name != "PNG")]
    elif "PNG" in able and len(able) > 1:
        able = [name for name in able if name != "PNG"]
    return able


def searched(picture: Image.Image, name: str, most: int, asked: dict[str, Any]) -> tuple[int, bytes]:
    """The best quality whose bytes fit, or what the floor gives if even that is too much."""
    low, high = int(asked["floor"]), max(int(asked["floor"]), BEST_QUALITY)
    content = encoded(picture, name, high, asked)
    if len(content) <= most or low == high:
        return high, content
    best, best_content = low, encoded(picture, name, low, asked)
    if len(best_content) > most:
        return low, best_content
    low += 1
    high -= 1
    while low <= high:
        middle = (low + high) // 2
        content = encoded(picture, name, middle, asked)
        if len(content) <= most:
            best, best_content, low = middle, content, middle + 1
        else:
            high = middle - 1
    return best, best_content


def encoded(picture: Image.Image, name: str, quality: int | None, asked: dict[str, Any]) -> bytes:
    """The file's bytes. Nothing of the source's metadata is written: none is given."""
    if name == "JPEG" and picture.mode == "RGBA":
        ground = Image.new("RGB", picture.size, asked["background"])
        ground.paste(picture, mask=picture.getchannel("A"))
        picture = ground
    out = io.BytesIO()
    if name == "JPEG":
        picture.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
    elif name == "WEBP":
        picture.save(out, "WEBP", quality=quality, method=4, exact=False)
    else:
        picture.save(out, "PNG", compress_level=7)
    return out.getvalue()


def told(asked: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """As `main`; whatever the libraries make of a broken file is told as the file's fault, with no bytes."""
    try:
        return main(asked)
    except Unfit as unfit:
        return b"", {"code": unfit.code, "problem": str(unfit)}
    except MemoryError:
        return b"", {"code": "too_much_memory", "problem": "needs too much memory to be opened"}
    except Exception as error:
        return b"", {"code": "unreadable_picture", "problem": f"cannot be read ({type(error).__name__})"}


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    content, answer = told(wanted)
    if content:
        Path(wanted["target"]).write_bytes(content)
    Path(wanted["answer"]).write_text(json.dumps(answer))
