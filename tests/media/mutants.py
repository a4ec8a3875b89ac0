"""Damaged videos, and a worker of its own that tries to make something of each.

`mutant` is seeded: the same number gives the same file on the same ffmpeg. Run as a program, this takes paths on its
standard input and answers each with one line of JSON; it stands for the worker that must not die.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from app import media
from app.errors import HouseError, NotYet, Permanent, Refused, Retryable, Unsure, WrongState
from tests.media.golden import X264, Shot, tone

KINDS = (Refused, WrongState, Permanent, Retryable, NotYet, Unsure)
SMALL = {"size": "320x180", "fps": "15", "seconds": 0.6}
X264_SMALL = (*X264, "-g", "5")
SEEDS: dict[str, Shot] = {
    "mp4": Shot("seed.mp4", **SMALL, codec=X264_SMALL, sound=tone(0.6), after=("-movflags", "+faststart")),
    "mov": Shot("seed.mov", **SMALL, codec=X264_SMALL, sound=tone(0.6), after=("-timecode", "01:00:00:00")),
    "fragments": Shot(
        "fragments.mp4", **SMALL, codec=X264_SMALL, sound=tone(0.6),
        after=("-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
    ),
    "mkv": Shot("seed.mkv", **SMALL, codec=X264_SMALL, sound=tone(0.6), sound_codec=("-c:a", "flac")),
    "webm": Shot(
        "seed.webm", **SMALL, sound=tone(0.6), sound_codec=("-c:a", "libopus"), codec=(
            "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M", "-pix_fmt", "yuv420p",
        ),
    ),
    "avi": Shot(
        "seed.avi", **SMALL, sound=tone(0.6), codec=("-c:v", "mpeg4", "-q:v", "4"),
        sound_codec=("-c:a", "libmp3lame"),
    ),
    "ts": Shot("seed.ts", **SMALL, codec=X264_SMALL, sound=tone(0.6)),
}  # fmt: skip

# Where sizes and counts stand: four letters in MP4 and AVI, numbers of elements in Matroska.
BOX = re.compile(rb"moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|minf|stbl|stsd|avc1|avcC|mp4a|esds|stts|ctts|stsc"
                 rb"|stsz|stco|stss|moof|mfhd|traf|tfhd|tfdt|trun|mdat|tmcd")  # fmt: skip
CHUNK = re.compile(rb"RIFF|LIST|avih|strh|strf|movi|idx1|00dc|01wb|JUNK|hdrl|strl")
ELEMENT = re.compile(
    rb"\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\x1c\x53\xbb\x6b"
    rb"|\x2a\xd7\xb1|\x44\x89|\x63\xa2|\xae|\xe0|\xe1|\xb0|\xba|\xa3"
)
LIES = (0, 1, 7, 8, 15, 255, 65_535, 2**24 - 1, 2**31 - 1, 2**32 - 1)

Chance = random.Random
Mutation = Callable[[bytearray, Chance], None]


def _spot(held: bytearray, chance: Chance) -> int:
    """Half the time among the first bytes, where a file describes itself."""
    return chance.randrange(min(len(held), 4096) if chance.random() < 0.5 else len(held))


def flip_bits(held: bytearray, chance: Chance) -> None:
    for _ in range(chance.choice((1, 4, 16, 64))):
        held[_spot(held, chance)] ^= 1 << chance.randrange(8)


def truncate(held: bytearray, chance: Chance) -> None:
    del held[chance.randrange(1, len(held)) :]


def lose_the_beginning(held: bytearray, chance: Chance) -> None:
    del held[: chance.randrange(1, max(2, len(held) // 2))]


def swap_blocks(held: bytearray, chance: Chance) -> None:
    size = chance.choice((16, 188, 1024))
    one, other = _spot(held, chance), _spot(held, chance)
    first, second = bytes(held[one : one + size]), bytes(held[other : other + size])
    held[one : one + size], held[other : other + len(second)] = second, first


def double_a_block(held: bytearray, chance: Chance) -> None:
    at, size = _spot(held, chance), chance.choice((16, 188, 4096))
    held[at:at] = held[at : at + size] * chance.choice((1, 1, 20))


def lie_about_a_size(held: bytearray, chance: Chance) -> None:
    found = list(BOX.finditer(held)), list(CHUNK.finditer(held)), list(ELEMENT.finditer(held[:8192]))
    kind = chance.choice([at for at in range(3) if found[at]] or [3])
    if kind == 3:
        # A transport stream: the length of an adaptation field or of a section.
        packet = chance.randrange(max(1, len(held) // 188)) * 188
        held[packet + 4 : packet + 5] = bytes([chance.randrange(256)])
        return
    place = chance.choice(found[kind])
    lie = (chance.choice(LIES) + chance.choice((0, 0, 1, -1, 3))) % 2**32
    if kind == 0:
        held[max(0, place.start() - 4) : place.start()] = lie.to_bytes(4, "big")
    elif kind == 1:
        held[place.end() : place.end() + 4] = lie.to_bytes(4, "little")
    else:
        width = chance.choice((1, 2, 4, 8))
        held[place.end() : place.end() + width] = ((lie % 2 ** (7 * width)) | 1 << 7 * width).to_bytes(
            width, "big"
        )


def lie_about_a_number(held: bytearray, chance: Chance) -> None:
    """A word inside a header: a count of samples, a time scale, a length, a width, an offset."""
    found = list(BOX.finditer(held)) or list(CHUNK.finditer(held)) or list(ELEMENT.finditer(held[:8192]))
    start = chance.choice(found).end() if found else _spot(held, chance)
    at = start + 4 * chance.randrange(12)
    held[at : at + 4] = chance.choice(LIES).to_bytes(4, "big")


def blank(held: bytearray, chance: Chance) -> None:
    at, size = _spot(held, chance), chance.choice((4, 64, 1024))
    held[at : at + size] = chance.choice((b"\x00", b"\xff")) * size


def insert(held: bytearray, chance: Chance) -> None:
    at = _spot(held, chance)
    held[at:at] = chance.randbytes(chance.choice((1, 3, 64, 5000)))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, truncate, lose_the_beginning, swap_blocks, double_a_block, lie_about_a_size, lie_about_a_size,
    lie_about_a_number, lie_about_a_number, blank, insert,
)  # fmt: skip


def mutant(whole: dict[str, bytes], number: int) -> tuple[str, bytes]:
    """The damaged file of this number and how it was made: one of the seeds, with one to three things wrong."""
    # The same damage again is the purpose.
    chance = random.Random(number)
    name = chance.choice(sorted(whole))
    held, done = bytearray(whole[name]), []
    for _ in range(chance.choice((1, 1, 2, 3))):
        if not held:
            break
        mutation = chance.choice(MUTATIONS)
        mutation(held, chance)
        done.append(mutation.__name__)
    return f"{name}: {', '.join(done)}", bytes(held)


async def tried(path: Path, folder: Path) -> str:
    """What the product makes of a file: "made", or the kind of the error, its code and its sentence."""
    try:
        with path.open("rb") as file:
            first = file.read(media.WANTED_BYTES)
        if media.sniff(first) is None:
            return f"Refused not_a_video: {media.why_not(first)}"
        found = await media.probe(path)
        media.check(found, path.stat().st_size)
        design = media.Design(title=media.Title("i"))
        made = await media.brand(path, design, logo=None, into=folder, probe=found, profile=media.TIKTOK)
    except HouseError as error:
        kind = next((kind for kind in KINDS if isinstance(error, kind)), None)
        return f"{kind.__name__ if kind else 'foreign'} {error.code}: {error.message}"
    # The point: nothing else may come out.
    except Exception as error:
        return f"foreign {type(error).__name__}: {error}"
    for path_made in (made.path, made.poster, *(still.path for still in made.thumbnails)):
        path_made.unlink()
    return "made"


async def work(folder: Path) -> None:
    for line in sys.stdin:
        started = time.monotonic()
        said = await tried(Path(line.strip()), folder)
        print(json.dumps({"said": said, "seconds": round(time.monotonic() - started, 3)}), flush=True)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
