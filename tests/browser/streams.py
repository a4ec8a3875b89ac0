"""A short stream made by ffmpeg, cut and listed as the house does it, and a server that can let it grow."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from app.media.cmaf import Growing, patched
from app.media.playlists import DASH_TYPE, HLS_TYPE, Listed, Text, master, media, mpd, text_media
from tests.media.clips import ffmpeg

ROOT = Path(__file__).parents[2]
PAGES = Path(__file__).parent / "stream_pages"
PLAYERS = {
    "hls.js": ROOT / "static/vendor/hls.js-1.7.4/hls.min.js",
    "dash.js": ROOT / "tests/vendor/dashjs-5.2.1/dash.mediaplayer.min.js",
    "hls-parser.js": ROOT / "tests/vendor/hls-parser-0.16.1/hls-parser.min.js",
    "shaka.js": ROOT / "tests/vendor/shaka-player-5.2.12/shaka-player.dash-es2021.js",
}
CONTENT_TYPES = {
    ".m3u8": HLS_TYPE,
    ".mpd": DASH_TYPE,
    ".mp4": "video/mp4",
    ".m4s": "video/iso.segment",
    ".vtt": "text/vtt",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
}
LENGTH_S = 12
FPS = 30
SIZES = ((480, 270), (320, 180), (160, 90))
FRAGMENTED = "+cmaf+empty_moov+frag_keyframe+default_base_moof"
EDGES = "aresample=48000:async=1000:first_pts=0,aformat=channel_layouts=stereo,atrim=start_pts=1024"
TONES = (("eng", 'The "loud" one', 440), ("fra", "Ton & Co", 880))
VTT = "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\nThree knots\n"


def make(folder: Path) -> tuple[Listed, ...]:
    """Three pictures and two sounds of 12 s: `<folder>/v0/init.mp4`, `<folder>/v0/0.m4s` and so on."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    labels = "".join(f"[s{at}]" for at in range(len(SIZES)))
    scaled = ";".join(f"[s{at}]scale={w}:{h},setsar=1[v{at}]" for at, (w, h) in enumerate(SIZES))
    drawn = f"testsrc2=s={SIZES[0][0]}x{SIZES[0][1]}:r={FPS}:d={LENGTH_S},split={len(SIZES)}{labels};{scaled}"
    for at, (_, _, hertz) in enumerate(TONES):
        drawn += f";sine=f={hertz}:d={LENGTH_S},{EDGES}[a{at}]"
    words: list[str] = ["-filter_complex", drawn]
    for at in range(len(SIZES)):
        words += ["-map", f"[v{at}]", "-c:v", "libx264", "-preset", "superfast", "-pix_fmt", "yuv420p"]
        words += ["-g", str(2 * FPS), "-keyint_min", str(2 * FPS), "-sc_threshold", "0", "-flags", "+cgop"]
        words += ["-bf", "2", "-movflags", FRAGMENTED + "+negative_cts_offsets", "-f", "mp4"]
        words += ["-video_track_timescale", str(FPS * 512), str(raw / f"v{at}.mp4")]
    for at in range(len(TONES)):
        words += ["-map", f"[a{at}]", "-c:a", "aac", "-movflags", FRAGMENTED, "-frag_duration", "4000000"]
        words += ["-f", "mp4", str(raw / f"a{at}.mp4")]
    ffmpeg(*words)
    tracks = [cut(raw / f"v{at}.mp4", folder / f"v{at}", groups=2) for at in range(len(SIZES))]
    for at, (language, label, _) in enumerate(TONES):
        sound = cut(raw / f"a{at}.mp4", folder / f"a{at}", groups=1)
        tracks.append(replace(sound, language=language, label=label))
    shutil.rmtree(raw)
    return tuple(tracks)


def cut(path: Path, folder: Path, *, groups: int) -> Listed:
    """The segments of one growing file: number 0 has one fragment, the further ones this many."""
    folder.mkdir()
    growing = Growing(path)
    fragments = growing.take()
    growing.check_ended()
    facts = growing.facts
    assert facts is not None and growing.init is not None
    (folder / "init.mp4").write_bytes(growing.init)
    segments: list[tuple[int, int]] = []
    base_ticks = 0
    cuts = [fragments[:1], *(fragments[at : at + groups] for at in range(1, len(fragments), groups))]
    for number, inside in enumerate(cuts):
        content, ticks = b"", 0
        for fragment in inside:
            assert fragment.key
            content += patched(fragment, sequence=number + 1, base_ticks=base_ticks + ticks)
            ticks += fragment.ticks
        (folder / f"{number}.m4s").write_bytes(content)
        segments.append((ticks, len(content)))
        base_ticks += ticks
    return Listed(
        name=folder.name,
        kind="video" if facts.kind == "video" else "audio",
        codec=facts.codec,
        width_px=facts.width_px,
        height_px=facts.height_px,
        fps=str(FPS) if facts.kind == "video" else "",
        language="",
        label="",
        timescale=facts.timescale,
        segments=tuple(segments),
        channels=facts.channels or 2,
        target_kbps=2000 if facts.kind == "video" else 160,
    )


@dataclass
class Shelf:
    """What the server gives. With `grows` every list asked for shows one segment of the pictures more than before."""

    folder: Path
    tracks: tuple[Listed, ...]
    texts: tuple[Text, ...] = ()
    grows: bool = False
    shown: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def most(self) -> int:
        return max(len(track.segments) for track in self.tracks if track.kind == "video")

    def now(self, name: str) -> tuple[tuple[Listed, ...], bool]:
        """The tracks as far as this list tells them, and whether it is the last word."""
        count = self.shown.get(name, 1) if self.grows else self.most
        self.shown[name] = count + 1
        cut = [
            replace(track, segments=track.segments[:count]) if track.kind == "video" else track
            for track in self.tracks
        ]
        return tuple(cut), count >= self.most

    def answer(self, path: str) -> bytes | None:
        with self.lock:
            self.asked.append(path)
            found = self._answer(path)
            if found is None and path != "favicon.ico":
                self.missing.append(path)
            return found

    def _answer(self, path: str) -> bytes | None:
        if path == "master.m3u8":
            return master(self.tracks, base="s/", texts=self.texts, ended=not self.grows).encode()
        if path == "manifest.mpd":
            tracks, ended = self.now(path)
            return mpd(tracks, base="s/", ended=ended, texts=self.texts).encode()
        if path.endswith(".m3u8"):
            tracks, ended = self.now(path)
            name = path.removeprefix("s/").removesuffix(".m3u8")
            lists: dict[str, Callable[[], str]] = {
                track.name: lambda track=track: media(track, base="", ended=ended) for track in tracks
            }
            for text in self.texts:
                lists[text.name] = lambda text=text: text_media(text, base="", length_s=tracks[0].length_s)
            return lists[name]().encode() if name in lists else None
        if path in PLAYERS:
            return PLAYERS[path].read_bytes()
        if path.endswith(".vtt"):
            return VTT.encode()
        file = PAGES / path if path.endswith(".html") else self.folder / path.removeprefix("s/")
        return file.read_bytes() if file.is_file() else None


@contextmanager
def served(shelf: Shelf) -> Iterator[str]:
    """The address at which the shelf is served."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            # A player that seeks or switches gives up what it has asked for.
            with suppress(ConnectionError):
                super().handle()

        def do_GET(self) -> None:
            path = self.path.split("?")[0].lstrip("/")
            content = shelf.answer(path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Type", CONTENT_TYPES.get(Path(path).suffix, "text/plain"))
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
