"""The golden set: one odd video after another as phones, cameras, browsers and old programs make them.

Every maker draws the same scene, so that one pair of eyes can judge any result: red, green, blue and white in the
corners (which way up, which colours), a box in the middle that turns from black to white half way (when), and a
tone of 1 kHz that begins at that moment (with the sound or beside it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.media.clips import ffmpeg
from tests.media.eyes import Colour

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
# Upper left, upper right, lower left, lower right.
UPRIGHT = (RED, GREEN, BLUE, WHITE)
# HDR's reference white stands below its brightest, so it becomes less than white; not made darker, it would be 148.
TONE_MAPPED = ((200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 200))
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:pools=1:frame-threads=1")
BT709 = "scale=out_color_matrix=bt709:out_range=tv"
TONE_HZ = 1000
# A letter of the alphabet of 33 bits: a transport stream's clock starts again here.
WRAP_S = 2**33 / 90_000
# What an MP3 begins with; AVI has no place to say so (LAME 3.100, 1105 samples at 48 kHz).
MP3_DELAY_S = 1105 / 48_000

Make = Callable[[Path], Path]


@dataclass(frozen=True)
class Odd:
    """One odd video and what must come of it.

    `fps` 0 leaves the rate to the planner. `flash_s` and `beep_s` are where the box turns white and the tone begins
    in the result, None where there is none; `channels` 0 means no sound. `copied` says that the picture fits as it
    is; it is then also made with something drawn on it. `refused` is the code of the refusal expected instead.
    """

    name: str
    make: Make
    size: tuple[int, int] = (640, 360)
    fps: float = 30
    seconds: float = 1
    channels: int = 2
    flash_s: float | None = 0.5
    beep_s: float | None = 0.5
    tone_hz: float = TONE_HZ
    corners: tuple[Colour, ...] = UPRIGHT
    colour_slack: int = 30
    copied: bool = False
    refused: str | None = None
    storm: bool = False
    # Frames and seconds that may lack or be too many, where the source itself is vague.
    frame_slack: int = 1
    second_slack: float = 0.0


def scene(size: str = "640x360", fps: str = "30", seconds: float = 1, *, flash_s: float = 0.5) -> str:
    """The scene as a graph for lavfi, in full-range RGB."""
    boxes = [
        ("iw/2", "0", "iw/2", "ih/2", "lime", ""),
        ("0", "ih/2", "iw/2", "ih/2", "blue", ""),
        ("iw/2", "ih/2", "iw/2", "ih/2", "white", ""),
        ("iw*3/8", "ih*3/8", "iw/4", "ih/4", "black", ""),
        ("iw*3/8", "ih*3/8", "iw/4", "ih/4", "white", f":enable=gte(t\\,{flash_s - 0.001})"),
    ]
    drawn = [f"drawbox=x={x}:y={y}:w={w}:h={h}:c={c}:t=fill{when}" for x, y, w, h, c, when in boxes]
    return ",".join([f"color=red:s={size}:r={fps}:d={seconds},format=gbrp", *drawn])


def numbered(size: str = "640x360", fps: str = "30", seconds: float = 7) -> str:
    """A graph for lavfi whose every picture tells its own number, in eight squares of light and dark."""
    squares = (
        f"drawbox=x=iw*{bit}/8:y=0:w=iw/8:h=ih/2:c=white:t=fill:enable=mod(floor(n/{2**bit})\\,2)"
        for bit in range(8)
    )
    return ",".join([f"color=black:s={size}:r={fps}:d={seconds},format=gray", *squares])


def tone(seconds: float = 1, *, hz: float = TONE_HZ, rate_hz: int = 48_000, start_s: float = 0.5) -> str:
    """Silence, then a tone, as a graph for lavfi."""
    return f"aevalsrc=gt(t\\,{start_s})*0.5*sin(2*PI*{hz}*t):s={rate_hz}:d={seconds}"


@dataclass(frozen=True)
class Shot:
    """A maker: the scene with these settings, in the container that the name says.

    `filters` are for the picture, `sound` a graph or None, `after` the options of the output.
    """

    name: str = "clip.mp4"
    size: str = "640x360"
    fps: str = "30"
    seconds: float = 1
    filters: str = BT709
    codec: Sequence[str] = X264
    tags: Sequence[str] = ("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709")
    sound: str | None = field(default_factory=tone)
    sound_codec: Sequence[str] = ("-c:a", "aac", "-ac", "2")
    after: Sequence[str] = ()
    draw: Callable[[str, str, float], str] = scene

    def __call__(self, folder: Path) -> Path:
        path = folder / self.name
        heard = ("-f", "lavfi", "-i", self.sound) if self.sound else ()
        ffmpeg(
            *("-f", "lavfi", "-i", self.draw(self.size, self.fps, self.seconds), *heard),
            *("-vf", self.filters, *self.codec, *self.tags, *(self.sound_codec if heard else ())),
            *(*self.after, path),
        )
        return path


def again(make: Make, name: str, *options: str, before: Sequence[str] = ()) -> Make:
    """The same video put into another container or given other flags, without encoding it again."""

    def made(folder: Path) -> Path:
        path = folder / name
        ffmpeg(*before, "-i", make(folder), "-map", "0", "-c", "copy", *options, path)
        return path

    return made


def covered(name: str, *, first: bool) -> Make:
    """With cover art, before the video or behind it."""

    def made(folder: Path) -> Path:
        path, cover = folder / name, folder / "cover.jpg"
        ffmpeg("-f", "lavfi", "-i", "color=yellow:s=100x100", "-frames:v", "1", cover)
        video = Shot("plain.mp4")(folder)
        order = (cover, video) if first else (video, cover)
        at = 0 if first else 1
        ffmpeg(
            *("-i", order[0], "-i", order[1], "-map", "0", "-map", "1", "-c", "copy"),
            *(f"-disposition:v:{at}", "attached_pic", path),
        )
        return path

    return made


def spoken(folder: Path) -> Path:
    """Three sounds with languages; the second is the one to play first, an octave higher."""
    path = folder / "spoken.mkv"
    ffmpeg(
        *("-i", Shot("mute.mp4", sound=None)(folder), "-f", "lavfi", "-i", tone(hz=500)),
        *("-f", "lavfi", "-i", tone(hz=2000), "-f", "lavfi", "-i", tone(hz=250)),
        *("-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c:v", "copy", "-c:a", "aac", "-ac", "2"),
        *("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu"),
        *("-disposition:a:0", "0", "-disposition:a:1", "default", "-disposition:a:2", "comment", path),
    )
    return path


def with_words(name: str, codec: str) -> Make:
    """With subtitles inside."""

    def made(folder: Path) -> Path:
        words, path = folder / "words.srt", folder / name
        words.write_text("1\n00:00:00,100 --> 00:00:00,900\nHello\n")
        ffmpeg("-i", Shot("plain.mp4")(folder), "-i", words, *("-map", "0", "-map", "1"),
               *("-c", "copy", "-c:s", codec, path))  # fmt: skip
        return path

    return made


def two_cameras(folder: Path) -> Path:
    path = folder / "two.mp4"
    other = Shot("other.mp4", size="320x180", filters=f"hflip,{BT709}", sound=None)(folder)
    ffmpeg("-i", Shot("plain.mp4")(folder), "-i", other, "-map", "0", "-map", "1", "-c", "copy", path)
    return path


def with_chapters(folder: Path) -> Path:
    words, path = folder / "chapters.txt", folder / "chapters.mp4"
    words.write_text(
        ";FFMETADATA1\n"
        + "".join(f"[CHAPTER]\nTIMEBASE=1/10\nSTART={at}\nEND={at + 5}\ntitle=Part {at}\n" for at in (0, 5))
    )
    ffmpeg("-i", Shot("plain.mp4")(folder), "-i", words, "-map_metadata", "1", "-c", "copy", path)
    return path


def cut(make: Make, part: float) -> Make:
    """A transport stream that begins in the middle, as from a receiver switched on late: no key frame first."""

    def made(folder: Path) -> Path:
        whole = make(folder)
        held = whole.read_bytes()
        path = folder / "cut.ts"
        path.write_bytes(held[int(len(held) * part) // 188 * 188 :])
        return path

    return made


def joined(*makes: Make) -> Make:
    """Transport streams one behind the other, as a camera does that changes its form on the way."""

    def made(folder: Path) -> Path:
        path = folder / "joined.ts"
        path.write_bytes(b"".join(make(folder).read_bytes() for make in makes))
        return path

    return made


def delayed(name: str, *, picture_s: float, sound_s: float) -> Make:
    """Picture or sound begins later than the file, by an empty edit."""

    def made(folder: Path) -> Path:
        plain, path = Shot("plain.mp4")(folder), folder / name
        ffmpeg(
            *("-itsoffset", str(picture_s), "-i", plain, "-itsoffset", str(sound_s), "-i", plain),
            *("-map", "0:v", "-map", "1:a", "-c", "copy", path),
        )
        return path

    return made


def live(folder: Path) -> Path:
    """A recording of a browser: no length, no index, no rate."""
    path = folder / "live.webm"
    path.write_bytes(
        ffmpeg(
            *("-f", "lavfi", "-i", scene(), "-f", "lavfi", "-i", tone(), "-pix_fmt", "yuv420p"),
            *("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-c:a", "libopus"),
            *("-live", "1", "-f", "webm", "-"),
        )
    )
    return path


def song(name: str, *codec: str) -> Make:
    def made(folder: Path) -> Path:
        path = folder / name
        ffmpeg("-f", "lavfi", "-i", tone(), *codec, path)
        return path

    return made


def covered_song(folder: Path) -> Path:
    cover, path = folder / "cover.jpg", folder / "song.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=yellow:s=100x100", "-frames:v", "1", cover)
    ffmpeg("-i", cover, "-f", "lavfi", "-i", tone(), "-map", "0", "-map", "1", "-c:v", "copy", "-c:a", "aac",
           *("-disposition:v:0", "attached_pic", path))  # fmt: skip
    return path


def hdr(transfer: str, name: str, codec: Sequence[str]) -> Shot:
    """The scene as HDR: its white is the reference white of 203 nits (ITU-R BT.2408, 2.1)."""
    return Shot(
        name,
        filters=(
            "format=gbrpf32le,zscale=pin=bt709:tin=bt709:min=gbr:rin=full"
            f":p=bt2020:t={transfer}:m=bt2020nc:r=tv:npl=203,format=yuv420p10le"
        ),
        codec=(*codec, "-pix_fmt", "yuv420p10le"),
        tags=("-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc"),
    )


PHONE_VFR = f"select='not(mod(n,3))+gt(mod(n,7),3)',{BT709}"
STANDSTILL = f"select='lt(t,0.7)+gt(t,1.5)',{BT709}"
PAL = (
    "scale=out_color_matrix=bt601:out_range=tv,setsar=64/45",
    ("-color_primaries", "bt470bg", "-color_trc", "gamma28", "-colorspace", "bt470bg"),
)
TAGS_601 = ("-color_primaries", "smpte170m", "-color_trc", "smpte170m", "-colorspace", "smpte170m")
WEB = ("-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-pix_fmt", "yuv420p")
TS = Shot("plain.ts", after=("-muxdelay", "0"))
OPEN = Shot("open.ts", seconds=2, codec=("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p",
            "-x264-params", "open-gop=1:keyint=15:min-keyint=15:bframes=3:scenecut=0"))  # fmt: skip

GOLDEN: tuple[Odd, ...] = (
    # Shapes.
    Odd("plain", Shot(), copied=True),
    Odd("portrait", Shot(size="360x640"), size=(360, 640), copied=True, storm=True),
    Odd("square", Shot(size="360x360"), size=(360, 360), copied=True, storm=True),
    Odd("odd sides", Shot(size="641x361", codec=(*X264[:4], "-pix_fmt", "yuv444p")), size=(640, 360)),
    Odd(
        "turned by 90", again(Shot("a.mp4"), "turned.mp4", before=("-display_rotation", "-90")),
        size=(360, 640), corners=(BLUE, RED, WHITE, GREEN),
    ),
    Odd(
        "turned by 180", again(Shot("a.mp4"), "turned.mp4", before=("-display_rotation", "180")),
        corners=(WHITE, BLUE, GREEN, RED), storm=True,
    ),
    Odd(
        "turned by 270", again(Shot("a.mp4"), "turned.mov", before=("-display_rotation", "90")),
        size=(360, 640), corners=(GREEN, WHITE, RED, BLUE), storm=True,
    ),
    Odd(
        "mirrored", again(Shot("a.mp4"), "mirrored.mp4", before=("-display_rotation", "0", "-display_hflip")),
        corners=(GREEN, RED, WHITE, BLUE), storm=True,
    ),
    Odd("PAL with wide pixels", Shot(size="720x576", fps="25", filters=PAL[0], tags=PAL[1]),
        size=(1024, 576), fps=25),
    Odd("wide pixels, turned", again(Shot("a.mp4", size="480x360", filters=f"{BT709},setsar=4/3"), "turned.mov",
        before=("-display_rotation", "-90")), size=(360, 640), corners=(BLUE, RED, WHITE, GREEN), storm=True),
    Odd("very wide", Shot(size="1280x128"), size=(3600, 360), corners=(), flash_s=None, storm=True),
    # Rates.
    Odd("uneven, as from a phone", Shot(seconds=2, filters=PHONE_VFR, after=("-fps_mode", "vfr")),
        seconds=2, fps=0, second_slack=0.1),
    Odd("30000/1001", Shot(fps="30000/1001"), fps=29.97, copied=True, storm=True),
    Odd("24000/1001", Shot(fps="24000/1001", seconds=2), fps=23.976, seconds=2, copied=True, storm=True),
    Odd("60000/1001", Shot(fps="60000/1001"), fps=59.94, copied=True, storm=True),
    Odd("a picture that stands still for long", Shot(seconds=2, filters=STANDSTILL, after=("-fps_mode", "vfr")),
        seconds=2, fps=0, second_slack=0.1, storm=True),
    Odd("120 frames a second", Shot(fps="120"), fps=60, storm=True),
    Odd("10 frames a second", Shot(fps="10"), storm=True),
    Odd("1 frame a second", Shot(fps="1", seconds=3), fps=23, seconds=3, flash_s=1.0, frame_slack=23,
        second_slack=1.0, beep_s=0.5, storm=True),
    Odd("a picture a minute", Shot(size="360x360", fps="1/60", seconds=120, sound=tone(120, start_s=60)), fps=0,
        size=(360, 360), seconds=120, flash_s=60, beep_s=60, second_slack=1.0, storm=True),
    Odd("one picture", Shot(seconds=0.03, sound=None), seconds=1 / 30, channels=0, flash_s=None, beep_s=None),
    Odd("a tenth of a second", Shot(seconds=0.1, sound=tone(0.1)), seconds=0.1, flash_s=None, beep_s=None, storm=True),
    # Colours.
    Odd("10 bit", Shot(codec=(*X264[:4], "-pix_fmt", "yuv420p10le")), storm=True),
    Odd("HDR, PQ", hdr("smpte2084", "pq.mp4", X264[:4]), corners=TONE_MAPPED, colour_slack=40),
    Odd("HDR, HLG, HEVC", hdr("arib-std-b67", "hlg.mov", (*X265, "-tag:v", "hvc1")), corners=TONE_MAPPED,
        colour_slack=40),
    Odd("full range", Shot(filters="scale=out_color_matrix=bt709:out_range=pc", codec=(*X264[:4], "-pix_fmt",
        "yuvj420p")), storm=True),
    Odd("BT.601", Shot(filters="scale=out_color_matrix=bt601:out_range=tv", tags=TAGS_601), copied=True,
        storm=True),
    Odd("4:2:2", Shot(codec=(*X264[:4], "-pix_fmt", "yuv422p")), storm=True),
    Odd("RGB", Shot("rgb.mkv", filters="null", codec=("-c:v", "libx264rgb", "-preset", "ultrafast"), tags=()),
        storm=True),
    Odd("with transparency", Shot("a.mov", filters="format=argb", codec=("-c:v", "qtrle"), tags=()), storm=True),
    Odd("HDR, turned", again(hdr("arib-std-b67", "hlg.mov", X264[:4]), "turned.mov", before=("-display_rotation",
        "-90")), size=(360, 640), corners=tuple(TONE_MAPPED[at] for at in (2, 0, 3, 1)), colour_slack=40, storm=True),
    Odd("interlaced", Shot("tff.ts", fps="25", filters=f"{BT709},setfield=tff",
        codec=("-c:v", "mpeg2video", "-b:v", "4M", "-flags", "+ilme+ildct", "-pix_fmt", "yuv420p"),
        sound_codec=("-c:a", "mp2", "-ac", "2")), fps=25, frame_slack=2, second_slack=0.05),
    # Sound.
    Odd("mono", Shot(sound_codec=("-c:a", "aac", "-ac", "1")), copied=True, storm=True),
    Odd("5.1", Shot(sound_codec=("-c:a", "aac", "-ac", "6")), copied=True),
    Odd("7.1, 96 kHz", Shot("surround.mkv", sound=tone(rate_hz=96_000), sound_codec=("-c:a", "flac", "-ac", "8")),
        copied=True, storm=True),
    Odd("8 kHz", Shot("low.mov", sound=tone(rate_hz=8000), sound_codec=("-c:a", "pcm_s16le")), copied=True,
        storm=True),
    Odd("no sound", Shot(sound=None), channels=0, beep_s=None, copied=True, storm=True),
    Odd("three sounds", spoken, tone_hz=2000, copied=True),
    Odd("a gap in the sound", again(Shot("plain.mkv", seconds=2, sound=tone(2)), "gap.mkv", "-bsf:a",
        "noise=drop=between(n\\,4\\,14)"), seconds=2, copied=True),
    Odd("sound shorter than the picture", Shot(seconds=2, sound=tone(1.0)), seconds=2, copied=True, storm=True),
    Odd("sound longer than the picture", Shot(sound=tone(2.0)), copied=True, second_slack=1.0, storm=True),
    # Containers and codecs.
    Odd("MPEG-TS", TS, copied=True, storm=True),
    Odd("AVI", Shot("a.avi", codec=("-c:v", "mpeg4", "-q:v", "2"), tags=(), filters="scale=out_color_matrix=bt601",
        sound_codec=("-c:a", "libmp3lame")), second_slack=0.1, frame_slack=2, beep_s=0.5 + MP3_DELAY_S),
    Odd("AVI with B-frames", Shot("b.avi", codec=(*X264[:2], "-preset", "veryfast", *X264[4:])), second_slack=0.1,
        frame_slack=3, flash_s=0.5 + 2 / 30, storm=True),
    Odd("WebM, VP9, Opus", Shot("a.webm", codec=("-c:v", "libvpx-vp9", *WEB), sound_codec=("-c:a", "libopus"))),
    Odd("WebM as browsers record it", live, frame_slack=2, second_slack=0.07,
        colour_slack=60, storm=True),
    Odd("MKV with FLAC", Shot("a.mkv", sound_codec=("-c:a", "flac", "-ac", "2")), copied=True, storm=True),
    Odd("ProRes", Shot("a.mov", codec=("-c:v", "prores_ks", "-profile:v", "1", "-pix_fmt", "yuv422p10le"),
        sound_codec=("-c:a", "pcm_s24le", "-ac", "2")), storm=True),
    Odd("HEVC", Shot(codec=(*X265, "-tag:v", "hvc1", "-pix_fmt", "yuv420p")), storm=True),
    Odd("AV1", Shot("a.mp4", codec=("-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p")), storm=True),
    Odd("MP4 in fragments", Shot(after=("-movflags", "+frag_keyframe+empty_moov")), fps=0,
        second_slack=0.03, storm=True),
    # What else is inside.
    Odd("cover first", covered("a.mkv", first=True), copied=True),
    Odd("cover last", covered("a.mp4", first=False), copied=True, storm=True),
    Odd("subtitles in MP4", with_words("a.mp4", "mov_text"), copied=True, storm=True),
    Odd("subtitles in MKV", with_words("a.mkv", "srt"), copied=True, storm=True),
    Odd("two pictures, as from two cameras", two_cameras, copied=True, storm=True),
    Odd("a time code", Shot("code.mov", after=("-timecode", "01:00:00:00")), copied=True, storm=True),
    Odd("chapters", with_chapters, copied=True, storm=True),
    # Times.
    Odd("starts at ten seconds", Shot("late.ts", after=("-muxdelay", "0", "-output_ts_offset", "10")),
        copied=True),
    Odd("the clock starts again on the way", Shot("wrap.ts", after=("-muxdelay", "0", "-output_ts_offset",
        f"{WRAP_S - 0.5:.3f}")), copied=True, storm=True),
    Odd("picture later than sound", delayed("a.mp4", picture_s=0.3, sound_s=0), seconds=1.3, flash_s=0.8,
        copied=True, frame_slack=10),
    Odd("sound later than picture", delayed("a.mkv", picture_s=0, sound_s=0.3), beep_s=0.8, seconds=1,
        second_slack=0.35, copied=True, storm=True),
    Odd("cut by an edit list", again(Shot("whole.mp4", codec=(*X264, "-g", "60")), "cut.mp4", before=("-ss", "0.2")),
        seconds=0.8, flash_s=0.3, beep_s=0.3, copied=True),
    Odd("negative time stamps", again(Shot("b.mp4", codec=("-c:v", "libx264", "-preset", "veryfast", "-bf", "3",
        "-pix_fmt", "yuv420p")), "negative.mp4", "-use_editlist", "0", "-avoid_negative_ts", "disabled"),
        flash_s=0.5 + 2 / 30, beep_s=0.5 + 1024 / 48_000, second_slack=0.07, copied=True, storm=True),
    Odd("one key frame", Shot(seconds=4, codec=(*X264, "-g", "9999", "-x264-params", "scenecut=0")), seconds=4,
        copied=True, storm=True),
    Odd("one key frame in a minute", Shot(size="360x360", fps="10", seconds=60, sound=tone(60, start_s=30),
        codec=(*X264, "-g", "9999", "-x264-params", "scenecut=0")), size=(360, 360), seconds=60, beep_s=30, storm=True),
    Odd("open groups", OPEN, seconds=2, copied=True, storm=True),
    Odd("begins without its first references", cut(OPEN, 0.3), seconds=1.4, flash_s=None, beep_s=None,
        corners=(), frame_slack=15, second_slack=0.6),
    Odd("changes its size on the way", joined(TS, Shot("small.ts", size="480x272", after=("-muxdelay", "0",
        "-output_ts_offset", "1"))), seconds=2, second_slack=0.1, frame_slack=3, storm=True),
    # No video.
    Odd("sound alone, MP4", song("song.mp4", "-c:a", "aac"), refused="no_video"),
    Odd("sound alone, M4A", song("song.m4a", "-c:a", "aac"), refused="not_a_video"),
    Odd("sound alone, MKV", song("song.mkv", "-c:a", "flac"), refused="no_video", storm=True),
    Odd("sound alone, WebM", song("song.webm", "-c:a", "libopus"), refused="no_video", storm=True),
    Odd("sound alone, MP3", song("song.mp3", "-c:a", "libmp3lame"), refused="not_a_video", storm=True),
    Odd("sound alone, WAV", song("song.wav"), refused="not_a_video", storm=True),
    Odd("sound with a cover", covered_song, refused="no_video", storm=True),
    Odd("a program stream", Shot("a.mpg", codec=("-c:v", "mpeg2video"), sound_codec=("-c:a", "mp2")),
        refused="not_a_video", storm=True),
)  # fmt: skip


B_FRAMES = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-pix_fmt", "yuv420p")
LONG = Shot(seconds=7, sound=tone(7), draw=numbered)
# Sources that are hard to enter in the middle: what is made in pieces must be what is made whole.
ENTERED: dict[str, Make] = {
    "B-frames": replace(LONG, codec=(*B_FRAMES, "-g", "40")),
    "one key frame": replace(LONG, name="a.mkv", codec=(*B_FRAMES, "-g", "9999", "-x264-params", "scenecut=0")),
    "cut by an edit list": again(replace(LONG, codec=(*B_FRAMES, "-g", "50")), "cut.mp4", before=("-ss", "0.2")),
    "negative time stamps": again(
        replace(LONG, codec=B_FRAMES), "b.mp4", "-use_editlist", "0", "-avoid_negative_ts", "disabled"
    ),
    "open groups in a transport stream": replace(LONG, name="a.ts", codec=OPEN.codec),
    "a transport stream cut in the middle": cut(replace(LONG, name="a.ts", codec=OPEN.codec), 0.2),
    "a clock that starts again": replace(
        LONG, name="wrap.ts", after=("-muxdelay", "0", "-output_ts_offset", f"{WRAP_S - 3:.3f}")
    ),
    "fragments": replace(LONG, after=("-movflags", "+frag_keyframe+empty_moov"), codec=B_FRAMES),
    "AVI": replace(LONG, name="a.avi", codec=("-c:v", "mpeg4", "-q:v", "2"), tags=()),
    "AVI with B-frames": replace(LONG, name="b.avi", codec=B_FRAMES),
    "WebM": replace(
        LONG, name="a.webm", codec=("-c:v", "libvpx-vp9", *WEB, "-g", "45"), sound_codec=("-c:a", "libopus")
    ),
    "HEVC": replace(LONG, name="a.mov", codec=(*X265, "-tag:v", "hvc1", "-pix_fmt", "yuv420p", "-g", "48")),
    "uneven": replace(LONG, filters=PHONE_VFR, after=("-fps_mode", "vfr"), codec=(*B_FRAMES, "-g", "37")),
    "interlaced": replace(
        LONG, name="tff.ts", fps="25", filters=f"{BT709},setfield=tff", sound_codec=("-c:a", "mp2", "-ac", "2"),
        codec=("-c:v", "mpeg2video", "-b:v", "6M", "-flags", "+ilme+ildct", "-g", "12", "-pix_fmt", "yuv420p"),
    ),
    "picture later than sound": replace(LONG, filters=f"{BT709},setpts=PTS+0.3/TB", codec=B_FRAMES),
    "120 frames a second": replace(LONG, fps="120"),
}  # fmt: skip
