"""What a file is, told from its first bytes alone. Names and types that somebody states are not looked at."""

from __future__ import annotations

from dataclasses import dataclass

# How many bytes `sniff` wants to see; fewer is allowed and may tell less.
WANTED_BYTES = 4096
TS_PACKET_BYTES = 188
EBML = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True)
class Kind:
    """A kind of video or picture file. `formats` is what ffmpeg calls it, for its list of accepted formats; empty for
    a picture, which ffmpeg never sees.
    """

    name: str
    content_type: str
    extension: str
    formats: str

    @property
    def is_picture(self) -> bool:
        return self.content_type.startswith("image/")


MP4 = Kind("mp4", "video/mp4", "mp4", "mov,mp4")
MOV = Kind("mov", "video/quicktime", "mov", "mov,mp4")
WEBM = Kind("webm", "video/webm", "webm", "matroska,webm")
MATROSKA = Kind("matroska", "video/x-matroska", "mkv", "matroska,webm")
AVI = Kind("avi", "video/x-msvideo", "avi", "avi")
MPEGTS = Kind("mpegts", "video/mp2t", "ts", "mpegts")
JPEG = Kind("jpeg", "image/jpeg", "jpg", "")
PNG = Kind("png", "image/png", "png", "")
WEBP = Kind("webp", "image/webp", "webp", "")
HEIC = Kind("heic", "image/heic", "heic", "")
KINDS = (MP4, MOV, WEBM, MATROSKA, AVI, MPEGTS)

ACCEPTED = "send MP4, MOV, WebM, MKV, AVI or MPEG-TS"
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
PICTURE_BRANDS = (
    b"heic",
    b"heix",
    b"hevc",
    b"hevx",
    b"heim",
    b"heis",
    b"mif1",
    b"msf1",
    b"avif",
    b"avis",
    b"crx ",
)
SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
# Boxes an old QuickTime file, older than `ftyp`, begins with.
OLD_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")

# First bytes of what people send by mistake, and what to call it.
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"BM", "an image (BMP)"),
    (b"II*\x00", "an image (TIFF)"),
    (b"MM\x00*", "an image (TIFF)"),
    (b"8BPS", "an image (Photoshop)"),
    (b"ID3", "sound (MP3)"),
    (b"\xff\xfb", "sound (MP3)"),
    (b"\xff\xfa", "sound (MP3)"),
    (b"\xff\xf3", "sound (MP3)"),
    (b"\xff\xf2", "sound (MP3)"),
    (b"\xff\xf1", "sound (AAC)"),
    (b"\xff\xf9", "sound (AAC)"),
    (b"fLaC", "sound (FLAC)"),
    (b"caff\x00\x01", "sound (CAF)"),
    (b"#!AMR", "sound (AMR)"),
    (b"OggS", "an Ogg file"),
    (b"FLV", "Flash video (FLV)"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMV)"),
    (b"\x00\x00\x01\xba", "an MPEG program stream (MPG)"),
    (b"\x00\x00\x01\xb3", "an MPEG video stream"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program"),
)
PLAYLISTS = (b"#extm3u", b"ffconcat", b"[playlist]", b"<mpd", b"<smil", b"<asx")


def sniff(first_bytes: bytes) -> Kind | None:
    """The kind of video that begins with these bytes, or None if it is none that we take (see `why_not`)."""
    if first_bytes[4:8] == b"ftyp":
        return _by_brand(first_bytes[8:12])
    if first_bytes[4:8] in OLD_BOXES and not _is_text(first_bytes):
        return MOV
    if first_bytes.startswith(EBML):
        return _by_doctype(first_bytes[:64])
    if first_bytes.startswith(b"RIFF") and first_bytes[8:12] == b"AVI ":
        return AVI
    return MPEGTS if _is_transport_stream(first_bytes) else None


def sniff_picture(first_bytes: bytes) -> Kind | None:
    """The kind of picture that begins with these bytes, or None if it is none that we take."""
    if first_bytes.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if first_bytes.startswith(b"\xff\xd8\xff"):
        return JPEG
    if first_bytes.startswith(b"RIFF") and first_bytes[8:12] == b"WEBP":
        return WEBP
    return HEIC if first_bytes[4:8] == b"ftyp" and first_bytes[8:12] in HEIC_BRANDS else None


def why_not(first_bytes: bytes) -> str:
    """One plain sentence on why `sniff` said None for these bytes."""
    if not first_bytes:
        return "The file is empty."
    text = first_bytes.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(PLAYLISTS) or b"<mpd" in text[:512]:
        return "This is a text playlist, not a video."
    what = _other(first_bytes)
    if what and what.startswith("sound"):
        return f"This file holds sound only {what.removeprefix('sound ')}: there is no picture in it. Send a video."
    if what:
        return f"This is {what}, not a video that we can take: {ACCEPTED}."
    if not first_bytes.strip(b"\x00"):
        return "The file holds nothing but zeros."
    if _is_text(first_bytes):
        return f"This is a text file, not a video: {ACCEPTED}."
    return f"This is not a video that we know: {ACCEPTED}."


def _other(first: bytes) -> str | None:
    if first[4:8] == b"ftyp":
        return "sound (M4A)" if first[8:12] in SOUND_BRANDS else "an image (HEIC or AVIF)"
    if first.startswith(b"RIFF"):
        return {b"WAVE": "sound (WAV)", b"WEBP": "an image (WebP)"}.get(first[8:12])
    if first.startswith(b"FORM") and first[8:12] in (b"AIFF", b"AIFC"):
        return "sound (AIFF)"
    return next((what for start, what in OTHERS if first.startswith(start)), None)


def _by_brand(brand: bytes) -> Kind | None:
    if brand in PICTURE_BRANDS or brand in SOUND_BRANDS:
        return None
    return MOV if brand == b"qt  " else MP4


def _by_doctype(head: bytes) -> Kind | None:
    if b"webm" in head:
        return WEBM
    return MATROSKA if b"matroska" in head else None


def _is_transport_stream(first: bytes) -> bool:
    """A sync byte at every packet; cameras (M2TS) put four bytes of time before each."""
    for step, start in ((TS_PACKET_BYTES, 0), (TS_PACKET_BYTES + 4, 4)):
        marks = first[start::step]
        if len(marks) >= 3 and set(marks) == {0x47}:
            return True
    return False


def _is_text(first: bytes) -> bool:
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        text = first[:1024].decode()
    except UnicodeDecodeError as error:
        # A letter cut in two by the end of the piece is still text.
        if error.start < len(first[:1024]) - 4:
            return False
        text = first[: error.start].decode()
    return all(ch.isprintable() or ch in "\r\n\t\f" for ch in text)
