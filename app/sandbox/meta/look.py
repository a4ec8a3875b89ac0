"""What a stored video is, by ffprobe, in one form for both platforms' checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.sandbox.world import World, fact


@dataclass(frozen=True)
class Seen:
    """A video file: `containers` are ffmpeg's names for it, sizes in pixels, `fps` as measured."""

    containers: frozenset[str]
    codec: str
    duration_s: float
    width_px: int
    height_px: int
    fps: float

    @property
    def aspect(self) -> float:
        """Width by height; 0.5625 is 9:16."""
        return self.width_px / self.height_px if self.height_px else 0.0


async def seen(world: World, path: Path) -> Seen | None:
    """What ffprobe finds in the file; None when it is no video."""
    probed = await world.probe(path)
    if probed is None:
        return None

    return Seen(
        frozenset(str(fact(probed, "container") or "").lower().split(",")),
        str(fact(probed, "video_codec") or "").lower(),
        float(fact(probed, "duration_s") or 0),
        int(fact(probed, "width_px") or 0),
        int(fact(probed, "height_px") or 0),
        float(fact(probed, "fps") or 0),
    )


def moov_first(path: Path) -> bool:
    """Whether an MP4's index stands before its picture and sound, read from the boxes at its top level."""
    with path.open("rb") as file:
        size = path.stat().st_size
        at_byte = 0
        while at_byte + 8 <= size:
            file.seek(at_byte)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4]), head[4:8]
            if kind in (b"moov", b"mdat"):
                return kind == b"moov"
            if length == 1:
                length = int.from_bytes(head[8:16])
            if length < 8:
                return False
            at_byte += length
    return False


def picture(content: bytes) -> tuple[str, int, int] | None:
    """Type and size in pixels of a JPEG or PNG by its own bytes; None for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) >= 24:
        return "image/png", int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    if not content.startswith(b"\xff\xd8"):
        return None
    at_byte = 2
    while at_byte + 9 < len(content) and content[at_byte] == 0xFF:
        marker, length = content[at_byte + 1], int.from_bytes(content[at_byte + 2 : at_byte + 4])
        # The frame headers; C4, C8 and CC are tables, not frames.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(content[at_byte + 5 : at_byte + 7])
            return "image/jpeg", int.from_bytes(content[at_byte + 7 : at_byte + 9]), height
        at_byte += 2 + length
    return None
