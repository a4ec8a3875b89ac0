"""Cuts the fragmented MP4 that ffmpeg is still writing into finished fragments, and puts them in their place in time.

Bytes only: knows no ffmpeg, no segment length, no grid. The file is one track, as ffmpeg writes it with `-movflags
+cmaf+empty_moov+frag_keyframe+default_base_moof`: `ftyp moov (moof mdat)* mfra`. Boxes and fields: ISO/IEC 14496-12
(8.8 movie fragments, 8.5.2 sample entries), codec names RFC 6381, section 3.3. At most one fragment is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, error
from typing import BinaryIO, NoReturn

from app.errors import Retryable

MIB = 1024**2
# A group of pictures of 2 s at 200 Mbit/s is 50 MB: what is larger is damage, not video.
MOST_FRAGMENT_BYTES = 256 * MIB
# An hour of samples in one fragment would need less.
MOST_MOOF_BYTES = 16 * MIB
MOST_INIT_BYTES = MIB
HEAD_BYTES = 8

# Boxes that may stand between fragments and are not handed out.
PASSED_OVER = (b"styp", b"sidx", b"prft", b"emsg", b"free", b"skip", b"uuid")
END = b"mfra"
# Where the boxes inside these begin, counted from the end of the box's own head.
PICTURE_ENTRY_BYTES = 78
SOUND_ENTRY_BYTES = 28

# tfhd flags (8.8.7)
HAS_BASE_OFFSET, HAS_DESCRIPTION, HAS_DURATION, HAS_SIZE, HAS_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
# trun flags (8.8.8)
HAS_OFFSET, HAS_FIRST_FLAGS = 0x1, 0x4
SAMPLE_DURATION, SAMPLE_SIZE, SAMPLE_FLAGS, SAMPLE_SHIFT = 0x100, 0x200, 0x400, 0x800
NOT_A_KEY_FRAME = 0x0001_0000

U8, U16, U32, U64, HEAD = Struct(">B"), Struct(">H"), Struct(">I"), Struct(">Q"), Struct(">I4s")
S32 = Struct(">i")


@dataclass(frozen=True, slots=True)
class Init:
    """What the first bytes of a track (ftyp and moov) say. `codec` is RFC 6381, e.g. "avc1.64001f", "mp4a.40.2"."""

    kind: str  # "video" or "audio"
    codec: str
    timescale: int
    width_px: int
    height_px: int
    channels: int
    rate_hz: int
    sample_ticks: int
    sample_flags: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """One finished moof and mdat in the file at `path`. `key`: it begins with a key frame; times in ticks."""

    path: Path
    at_bytes: int
    moof_bytes: int
    size_bytes: int
    base_ticks: int
    ticks: int
    samples: int
    key: bool

    def read(self) -> bytes:
        """The bytes as they were written."""
        with self.path.open("rb") as file:
            file.seek(self.at_bytes)
            content = file.read(self.size_bytes)
        if len(content) != self.size_bytes:
            _broken("a finished fragment is gone from its file")
        return content


class Growing:
    """A file that ffmpeg is writing. May be asked at any time and as often as one likes; not by two at once.

    Raises Retryable `ffmpeg_failed` when the bytes are no such file. A file that is not there yet is an empty one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._init: bytes | None = None
        self._facts: Init | None = None
        self._at_bytes = 0
        self._ended = False

    @property
    def init(self) -> bytes | None:
        """ftyp and moov, byte for byte; None as long as they are not wholly there."""
        if self._init is None and self.path.exists():
            with self.path.open("rb") as file:
                self._read_init(file, _length(file))
        return self._init

    @property
    def facts(self) -> Init | None:
        """What `init` says; None as long as it is not there."""
        return self._facts if self.init is not None else None

    def take(self) -> list[Fragment]:
        """The fragments finished since the last call, in order. A half-written one waits for a later call."""
        facts = self.facts
        if facts is None or self._ended:
            return []
        found = []
        with self.path.open("rb") as file:
            length = _length(file)
            while fragment := self._next(file, length, facts):
                found.append(fragment)
        return found

    def check_ended(self) -> None:
        """Call when ffmpeg has ended and all is taken: refuses a file that stops within a fragment or before one."""
        if self.init is None:
            _broken("it wrote no beginning")
        with self.path.open("rb") as file:
            left_bytes = _length(file) - self._at_bytes
        if left_bytes and not self._ended:
            _broken(f"the last {left_bytes} bytes are no whole fragment")

    def _read_init(self, file: BinaryIO, length: int) -> None:
        at = 0
        for name in (b"ftyp", b"moov"):
            box = _box(file, at, length)
            if box is None:
                return
            if box.name != name or box.size > MOST_INIT_BYTES:
                _broken(f"it begins with {box.name!r} instead of {name!r}")
            at += box.size
            if at > length:
                return
        file.seek(0)
        init = file.read(at)
        self._facts = read_init(init)
        self._init, self._at_bytes = init, at

    def _next(self, file: BinaryIO, length: int, facts: Init) -> Fragment | None:
        while (box := _box(file, self._at_bytes, length)) and box.name in PASSED_OVER:
            if self._at_bytes + box.size > length:
                return None
            self._at_bytes += box.size
        if box is None:
            return None
        if box.name == END:
            self._ended = True
            return None
        if box.name != b"moof" or box.size > MOST_MOOF_BYTES:
            _broken(f"a box {box.name!r} of {box.size} bytes stands where a fragment should begin")
        body = _box(file, self._at_bytes + box.size, length)
        if body is None:
            return None
        size = box.size + body.size
        if body.name != b"mdat" or size > MOST_FRAGMENT_BYTES:
            _broken(f"a box {body.name!r} of {body.size} bytes follows the head of a fragment")
        if self._at_bytes + size > length:
            return None
        file.seek(self._at_bytes)
        moof = _Moof(file.read(box.size), facts)
        moof.check_inside(size)
        fragment = Fragment(
            self.path, self._at_bytes, box.size, size, moof.base_ticks, moof.ticks, moof.samples, moof.key
        )
        self._at_bytes += size
        return fragment


def patched(fragment: Fragment, *, sequence: int, base_ticks: int) -> bytes:
    """The fragment's bytes with this number and this decode time (64 bit, whatever ffmpeg wrote)."""
    content = fragment.read()
    return moved(content, fragment.moof_bytes, sequence=sequence, base_ticks=base_ticks)


def moved(content: bytes, moof_bytes: int, *, sequence: int, base_ticks: int) -> bytes:
    """As `patched`, for a moof (the first `moof_bytes` bytes) and mdat in memory."""
    if not 0 <= sequence < 2**32 or not 0 <= base_ticks < 2**64:
        raise ValueError(f"no place in a stream: number {sequence}, time {base_ticks}")
    moof = _Moof(content[:moof_bytes])
    tfdt = HEAD.pack(20, b"tfdt") + U32.pack(1 << 24) + U64.pack(base_ticks)
    longer = len(tfdt) - moof.tfdt.size
    head = bytearray(content[: moof.tfdt.at]) + tfdt + content[moof.tfdt.end : moof_bytes]
    U32.pack_into(head, moof.number_at, sequence)
    U32.pack_into(head, 0, moof_bytes + longer)
    U32.pack_into(head, moof.traf.at, moof.traf.size + longer)
    for at, offset in moof.offsets:
        S32.pack_into(head, at + (longer if at > moof.tfdt.at else 0), offset + longer)
    return bytes(head) + content[moof_bytes:]


def read_init(init: bytes) -> Init:
    """What ftyp and moov of a track say; Retryable `ffmpeg_failed` unless they hold one track of H.264 or AAC."""
    try:
        return _read_init(init)
    except (error, IndexError) as wrong:
        raise _failed("its beginning is cut short") from wrong


@dataclass(frozen=True, slots=True)
class _Box:
    name: bytes
    at: int
    size: int
    head: int

    @property
    def end(self) -> int:
        return self.at + self.size

    @property
    def body(self) -> int:
        return self.at + self.head


class _Moof:
    """The parts of a moof that say when, how long, and where; the decode time is 0 where none is written."""

    def __init__(self, moof: bytes, facts: Init | None = None) -> None:
        try:
            self._read(moof, facts)
        except (error, IndexError) as wrong:
            raise _failed("the head of a fragment is cut short") from wrong

    def _read(self, moof: bytes, facts: Init | None) -> None:
        inside = list(_boxes(moof, HEAD_BYTES, len(moof)))
        mfhd = _only(inside, b"mfhd")
        self.number_at = mfhd.body + 4
        if mfhd.size != 16:
            _broken("a fragment's number has the wrong size")
        self.traf = _only(inside, b"traf")
        inside = list(_boxes(moof, self.traf.body, self.traf.end))
        self.tfdt = _only(inside, b"tfdt")
        version = moof[self.tfdt.body]
        if version > 1 or self.tfdt.size != (20 if version else 16):
            _broken("a fragment's time has the wrong size")
        (self.base_ticks,) = (U64 if version else U32).unpack_from(moof, self.tfdt.body + 4)
        duration, flags = _defaults(moof, _only(inside, b"tfhd"), facts)
        self.ticks, self.samples, self.key = 0, 0, False
        self.offsets: list[tuple[int, int]] = []
        for trun in inside:
            if trun.name == b"trun":
                self._add(moof, trun, duration, flags)
        if not self.samples:
            _broken("a fragment holds no samples")

    def _add(self, moof: bytes, trun: _Box, duration: int, flags: int) -> None:
        says, count = (number[0] for number in (U32.unpack_from(moof, trun.body + at) for at in (0, 4)))
        says &= 0xFFFFFF
        at = trun.body + 8
        if says & HAS_OFFSET:
            self.offsets.append((at, S32.unpack_from(moof, at)[0]))
            at += 4
        if says & HAS_FIRST_FLAGS:
            flags = U32.unpack_from(moof, at)[0]
            at += 4
        given = [says & field != 0 for field in (SAMPLE_DURATION, SAMPLE_SIZE, SAMPLE_FLAGS, SAMPLE_SHIFT)]
        step = 4 * sum(given)
        # Before anything is counted: a damaged number must not become a long loop.
        if at + count * step != trun.end or count > MOST_MOOF_BYTES:
            _broken("a fragment's list of samples has the wrong size")
        if not self.samples and count:
            own = at + 4 * sum(given[:2])
            first = U32.unpack_from(moof, own)[0] if given[2] and not says & HAS_FIRST_FLAGS else flags
            self.key = not first & NOT_A_KEY_FRAME
        self.samples += count
        self.ticks += (
            sum(U32.unpack_from(moof, place)[0] for place in range(at, trun.end, step))
            if given[0]
            else count * duration
        )

    def check_inside(self, size: int) -> None:
        if not self.offsets or any(not 0 < offset <= size for _, offset in self.offsets):
            _broken("a fragment's samples lie outside of it")


def _defaults(moof: bytes, tfhd: _Box, facts: Init | None) -> tuple[int, int]:
    """Duration and flags of a sample that has none of its own."""
    says = U32.unpack_from(moof, tfhd.body)[0] & 0xFFFFFF
    if says & HAS_BASE_OFFSET:
        _broken("a fragment counts from the start of the file and cannot be moved")
    at = tfhd.body + 8 + (4 if says & HAS_DESCRIPTION else 0)
    duration, flags = (facts.sample_ticks, facts.sample_flags) if facts else (0, 0)
    if says & HAS_DURATION:
        duration = U32.unpack_from(moof, at)[0]
        at += 4
    if says & HAS_SIZE:
        at += 4
    if says & HAS_FLAGS:
        flags = U32.unpack_from(moof, at)[0]
    return duration, flags


def _read_init(init: bytes) -> Init:
    moov = _only(list(_boxes(init, 0, len(init))), b"moov")
    inside = list(_boxes(init, moov.body, moov.end))
    trak = _only(inside, b"trak")
    trex = _within(init, _only(inside, b"mvex"), b"trex")
    mdia = _within(init, trak, b"mdia")
    mdhd = _within(init, mdia, b"mdhd")
    # Two times stand before the time scale; version 1 has them in 64 bit.
    (timescale,) = U32.unpack_from(init, mdhd.body + 4 + (16 if init[mdhd.body] else 8))
    if not timescale:
        _broken("its time scale is 0")
    stsd = _within(init, _within(init, _within(init, mdia, b"minf"), b"stbl"), b"stsd")
    entry = next(_boxes(init, stsd.body + 8, stsd.end), None)
    width_px = height_px = channels = rate_hz = 0
    if entry is not None and entry.name in (b"avc1", b"avc3"):
        width_px, height_px = (U16.unpack_from(init, entry.body + at)[0] for at in (24, 26))
        avcc = _only(list(_boxes(init, entry.body + PICTURE_ENTRY_BYTES, entry.end)), b"avcC")
        codec = f"{entry.name.decode()}.{init[avcc.body + 1 : avcc.body + 4].hex()}"
    elif entry is not None and entry.name == b"mp4a":
        channels, rate_hz = (U16.unpack_from(init, entry.body + at)[0] for at in (16, 24))
        esds = _only(list(_boxes(init, entry.body + SOUND_ENTRY_BYTES, entry.end)), b"esds")
        codec = _sound_codec(init[esds.body + 4 : esds.end])
    else:
        _broken(f"it holds {entry.name if entry else b'nothing'!r} instead of H.264 or AAC")
    ticks, _, flags = (U32.unpack_from(init, trex.body + at)[0] for at in (12, 16, 20))
    kind = "video" if width_px else "audio"
    return Init(kind, codec, timescale, width_px, height_px, channels, rate_hz, ticks, flags)


def _sound_codec(descriptors: bytes) -> str:
    """The codec from an elementary stream descriptor: tag, length, body, and so on (ISO/IEC 14496-1, 7.2.6)."""
    at, kind = 0, 0
    while at < len(descriptors):
        tag = descriptors[at]
        at, length = _descriptor_length(descriptors, at + 1)
        if tag == 0x03:
            flags = descriptors[at + 2]
            if flags & 0xE0:
                _broken("its sound depends on another stream")
            at += 3
        elif tag == 0x04:
            kind = descriptors[at]
            at += 13
        elif tag == 0x05:
            profile = descriptors[at] >> 3
            # 31 means that six more bits hold the number, counted from 32.
            if profile == 31:
                profile = 32 + ((U16.unpack_from(descriptors, at)[0] >> 5) & 0x3F)
            return f"mp4a.{kind:02x}.{profile}"
        else:
            at += length
    raise _failed("its sound says not what it is")


def _descriptor_length(descriptors: bytes, at: int) -> tuple[int, int]:
    """Where the body begins and its length: seven bits a byte, at most four bytes, the top bit says "more"."""
    length = 0
    for _ in range(4):
        byte = descriptors[at]
        at += 1
        length = length << 7 | byte & 0x7F
        if not byte & 0x80:
            break
    return at, length


def _box(file: BinaryIO, at: int, length: int) -> _Box | None:
    """The box that begins here; None if its head is not wholly written yet."""
    if at + HEAD_BYTES > length:
        return None
    file.seek(at)
    size, name = HEAD.unpack(file.read(HEAD_BYTES))
    # 1 (a 64 bit size follows) and 0 (up to the end of the file) are for sizes that we do not take.
    if size < HEAD_BYTES:
        _broken(f"a box {name!r} of size {size}")
    return _Box(name, at, size, HEAD_BYTES)


def _boxes(content: bytes, at: int, end: int) -> Iterator[_Box]:
    while at < end:
        size, name = HEAD.unpack_from(content, at)
        if size < HEAD_BYTES or at + size > end:
            _broken(f"a box {name!r} of size {size} does not fit where it stands")
        yield _Box(name, at, size, HEAD_BYTES)
        at += size


def _only(boxes: list[_Box], name: bytes) -> _Box:
    found = [box for box in boxes if box.name == name]
    if len(found) != 1:
        _broken(f"there are {len(found)} boxes {name!r} where one is wanted")
    return found[0]


def _within(content: bytes, box: _Box, name: bytes) -> _Box:
    return _only(list(_boxes(content, box.body, box.end)), name)


def _length(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _failed(what: str) -> Retryable:
    return Retryable(f"ffmpeg wrote a file that makes no sense: {what}", code="ffmpeg_failed")


def _broken(what: str) -> NoReturn:
    raise _failed(what)
