"""Still pictures made to fit: what comes out is looked at with eyes of its own, the numbers of the file's own bytes."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageDraw

from app import config, media
from app.errors import Refused

pytestmark = pytest.mark.anyio
pillow_heif.register_heif_opener()
WHERE = 0x8825
ORIENTATION = 0x0112
MAKER = 0x010F
RED, BLUE = (220, 30, 30), (30, 30, 220)
ROOMY = media.Fit(4000, 4000, 5_000_000)


def halves(width: int = 300, height: int = 200, mode: str = "RGB") -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture.convert(mode)


def rough(width: int, height: int) -> Image.Image:
    """A picture that compresses badly."""
    return Image.merge("RGB", [Image.effect_noise((width, height), 90) for _ in range(3)])


def of_a_phone(orientation: int = 1) -> Image.Exif:
    """What a telephone writes beside a picture: which side is up, who made it, where it was taken."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = orientation, "CameraCo"
    exif.get_ifd(WHERE).update({1: "N", 2: (50.0, 27.0, 0.0), 3: "E", 4: (30.0, 31.0, 0.0)})
    return exif


def saved(picture: Image.Image, path: Path, kind: str, **more: object) -> Path:
    picture.save(path, kind, **more)
    return path


async def fitted(source: Path, fit: media.Fit, folder: Path) -> tuple[media.Picture, Image.Image]:
    made = await media.optimise(source, fit, into=folder)
    assert made.bytes == made.path.stat().st_size <= fit.max_bytes
    with Image.open(made.path) as shown:
        shown.load()
        assert (shown.format, shown.size) == (made.format, (made.width_px, made.height_px))
        assert shown.width <= fit.max_width_px and shown.height <= fit.max_height_px
        return made, shown.copy()


def near(seen: object, wanted: tuple[int, ...]) -> bool:
    return isinstance(seen, tuple) and all(abs(a - b) < 25 for a, b in zip(seen, wanted, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
async def test_a_telephones_picture_comes_out_upright_and_without_a_word_about_where(
    tmp_path: Path, folder: Path, kind: str, orientation: int
) -> None:
    exif = of_a_phone(orientation).tobytes()
    source = saved(halves(), tmp_path / "photo", kind, exif=exif)
    made, shown = await fitted(source, ROOMY, folder)
    assert shown.size == ((200, 300) if orientation == 6 else (300, 200))
    first, last = {1: (RED, BLUE), 3: (BLUE, RED), 6: (RED, BLUE)}[orientation]
    assert near(shown.convert("RGB").getpixel((10, 10)), first)
    assert near(shown.convert("RGB").getpixel((shown.width - 10, shown.height - 10)), last)
    content = made.path.read_bytes()
    assert b"CameraCo" in source.read_bytes() and b"CameraCo" not in content
    assert dict(shown.getexif()) == {} and b"Exif" not in content and b"GPS" not in content


async def test_colours_of_another_profile_are_told_in_srgb(tmp_path: Path, folder: Path) -> None:
    # A profile in which red and blue have changed places is easy to see.
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = wide.replace(b"rXYZ", b"tmp0", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmp0", b"bXYZ", 1)
    source = saved(halves(), tmp_path / "wide.png", "PNG", icc_profile=swapped)
    _, shown = await fitted(source, ROOMY, folder)
    assert near(shown.getpixel((10, 10)), BLUE) and "icc_profile" not in shown.info
    lying = saved(halves(), tmp_path / "lying.png", "PNG", icc_profile=b"no profile at all")
    _, shown = await fitted(lying, ROOMY, folder)
    assert near(shown.getpixel((10, 10)), RED)


async def test_every_way_of_keeping_colours_comes_out_right(tmp_path: Path, folder: Path) -> None:
    deep = Image.new("I;16", (64, 64))
    deep.putdata([40_000] * 64 * 64)
    grey = Image.new("LA", (64, 64), (200, 0))
    grey.paste((90, 255), (0, 0, 32, 64))
    palette = halves(64, 64).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    seen = palette.convert("RGB").getpixel((60, 10))
    through = palette.getpixel((5, 5))
    for name, picture, kind, more, at, wanted in (
        ("cmyk", halves(64, 64, "CMYK"), "JPEG", {}, (5, 5), RED),
        ("deep", deep, "PNG", {}, (5, 5), (155, 155, 155)),
        ("grey", grey, "PNG", {}, (5, 5), (90, 90, 90, 255)),
        ("palette", palette, "PNG", {"transparency": through}, (60, 10), (*seen, 255)),
        ("bits", halves(64, 64).convert("1"), "PNG", {}, (60, 60), (0, 0, 0)),
    ):
        source = saved(picture, tmp_path / name, kind, **more)
        _, shown = await fitted(source, ROOMY, folder)
        assert near(shown.getpixel(at), tuple(wanted)), name
        if name in ("grey", "palette"):
            clear = (60, 10) if name == "grey" else (5, 5)
            assert shown.getpixel(clear)[3] == 0, name  # type: ignore[index]  # RGBA is a tuple


async def test_where_a_format_has_no_transparency_the_ground_is_white(tmp_path: Path, folder: Path) -> None:
    source = saved(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), tmp_path / "clear.png", "PNG")
    _, shown = await fitted(source, media.Fit(64, 64, 100_000, ("JPEG",)), folder)
    assert near(shown.getpixel((30, 30)), (255, 255, 255))


async def test_a_picture_of_an_animation_is_its_first(tmp_path: Path, folder: Path) -> None:
    frames = [Image.new("RGB", (60, 40), colour) for colour in (RED, BLUE, BLUE)]
    for kind in ("WEBP", "PNG"):
        source = saved(
            frames[0], tmp_path / kind, kind, save_all=True, append_images=frames[1:], duration=100
        )
        _, shown = await fitted(source, ROOMY, folder)
        assert getattr(shown, "n_frames", 1) == 1 and near(shown.getpixel((5, 5)), RED)


async def test_pixels_are_held_first_and_then_bytes_by_quality(tmp_path: Path, folder: Path) -> None:
    source = saved(rough(1200, 900), tmp_path / "rough.jpg", "JPEG", quality=95)
    best, _ = await fitted(source, media.Fit(600, 600, 10_000_000, ("JPEG",)), folder)
    assert (best.width_px, best.height_px, best.quality) == (600, 450, 90)
    fits = media.Fit(600, 600, best.bytes * 8 // 10, ("JPEG",))
    less, _ = await fitted(source, fits, folder)
    assert (less.width_px, less.height_px) == (600, 450)
    assert less.quality is not None and 70 <= less.quality < 90
    # The very next quality would have been too much: that is why it was left.
    again = io.BytesIO()
    with Image.open(best.path) as picture:
        picture.save(again, "JPEG", quality=90, optimize=True, progressive=True)
    assert len(again.getvalue()) > fits.max_bytes


async def test_below_the_floor_the_picture_is_made_smaller_instead(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved(rough(400, 300), tmp_path / "rough.png", "PNG")
    for floor in (70, 85):
        monkeypatch.setenv("PICTURE_QUALITY_FLOOR", str(floor))
        config.get.cache_clear()
        for kind in ("JPEG", "WEBP"):
            made, _ = await fitted(source, media.Fit(400, 300, 15_000, (kind,)), folder)
            assert made.width_px < 400 and abs(made.width_px / made.height_px - 4 / 3) < 0.01
            assert made.quality is not None and made.quality >= floor
    with pytest.raises(Refused, match="without falling below quality 85") as refused:
        await media.optimise(source, media.Fit(400, 300, 5_000, ("JPEG",), min_width_px=320), into=folder)
    assert refused.value.code == "does_not_fit" and list(folder.iterdir()) == []


async def test_an_exact_picture_stays_exact_where_there_is_room(tmp_path: Path, folder: Path) -> None:
    drawing = Image.new("RGBA", (500, 200), (0, 0, 0, 0))
    ImageDraw.Draw(drawing).rounded_rectangle((0, 0, 499, 199), 40, fill=(*RED, 255))
    source = saved(drawing, tmp_path / "logo.png", "PNG")
    made, shown = await fitted(source, media.LOGO_FIT, folder)
    assert made.format == "PNG" and made.quality is None
    assert shown.convert("RGBA").tobytes() == drawing.tobytes()


async def test_a_shape_or_a_size_that_a_place_does_not_show_is_refused_with_the_numbers(
    tmp_path: Path, folder: Path
) -> None:
    tall = saved(halves(200, 600), tmp_path / "tall.jpg", "JPEG")
    square = saved(halves(300, 300), tmp_path / "square.jpg", "JPEG")
    lying = saved(halves(600, 200), tmp_path / "lying.jpg", "JPEG", exif=of_a_phone(6).tobytes())
    fit = media.Fit(1080, 1350, 8_000_000, ("JPEG",), min_width_px=320, min_aspect=0.8, max_aspect=1.91)
    for source, said in ((tall, "200 × 600"), (lying, "200 × 600"), (square, "320 × 1 pixels")):
        with pytest.raises(Refused, match=said) as refused:
            await media.optimise(source, fit, into=folder, field="picture")
        assert refused.value.fields.keys() == {"picture"}


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises this size and whose bytes are next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_what_is_no_picture_or_a_trap_is_refused_and_leaves_nothing(
    tmp_path: Path, folder: Path
) -> None:
    whole = saved(rough(400, 300), tmp_path / "whole.jpg", "JPEG").read_bytes()
    heic = saved(halves(), tmp_path / "whole.heic", "HEIF").read_bytes()
    png = saved(rough(64, 64), tmp_path / "whole.png", "PNG").read_bytes()
    for name, content, code in (
        ("empty", b"", "not_a_picture"),
        ("words", b"these are only words", "not_a_picture"),
        ("cut jpeg", whole[: len(whole) // 2], "unreadable_picture"),
        ("cut heic", heic[: len(heic) * 3 // 4], "unreadable_picture"),
        ("cut png", png[: len(png) // 2], "unreadable_picture"),
        ("bomb", bomb(30_000, 30_000), "too_many_pixels"),
        ("lying header", bomb(6000, 6000), "unreadable_picture"),
        ("gif", b"GIF89a" + bytes(60), "not_a_picture"),
        ("tiff", b"II*\x00" + bytes(60), "not_a_picture"),
        ("only a head", b"\x89PNG\r\n\x1a\n", "not_a_picture"),
    ):
        source = tmp_path / "sent"
        source.write_bytes(content)
        with pytest.raises(Refused) as refused:
            await media.optimise(source, ROOMY, into=folder)
        assert refused.value.code in (code, "unreadable_picture"), name
        assert list(folder.iterdir()) == [], name
    too_much = tmp_path / "many"
    with too_much.open("wb") as file:
        file.truncate(51 * 1024**2)
    with pytest.raises(Refused, match="50 MiB"):
        await media.optimise(too_much, ROOMY, into=folder)


async def test_one_pixel_is_a_picture(tmp_path: Path, folder: Path) -> None:
    made, _ = await fitted(saved(Image.new("RGB", (1, 1), RED), tmp_path / "dot", "PNG"), ROOMY, folder)
    assert (made.width_px, made.height_px) == (1, 1)


async def test_a_mutated_file_is_refused_or_made_and_never_more(tmp_path: Path, folder: Path) -> None:
    contents = [
        saved(halves(90, 60), tmp_path / kind, kind).read_bytes() for kind in ("JPEG", "WEBP", "HEIF")
    ]
    for number in range(12):
        content = bytearray(contents[number % 3])
        for at in range(number * 7 % 29, len(content), 61 + number):
            content[at] ^= 1 + number * 37 % 255
        source = tmp_path / "mutated"
        source.write_bytes(content)
        try:
            made = await media.optimise(source, ROOMY, into=folder)
        except Refused:
            continue
        assert made.bytes > 0
