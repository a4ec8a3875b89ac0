"""Streams as rows and files, made without a worker: real fragmented MP4 of a test picture in two sizes, with sound,
captions, chapters and a storyboard.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from app import db, media, storage
from tests.makers import pieces

SECONDS = 6
PIECE_S = 2
SIZES = {"v0": (640, 360), "v1": (320, 180)}
TICKS, SOUND_HZ = 12_800, 44_100
CAPTIONS = "WEBVTT\n\n00:00.000 --> 00:04.000\nOver, under, through.\n"
CHAPTERS = "WEBVTT\n\n00:00.000 --> 00:03.000\nThe rope\n\n00:03.000 --> 00:06.000\nThe knot\n"
CODECS = {"v0": "avc1.4d401e", "v1": "avc1.4d400d", "a0": "mp4a.40.2"}


@dataclass(frozen=True)
class Cut:
    """A track in pieces: its first bytes, then the segments in order."""

    init: bytes
    segments: tuple[bytes, ...]


@lru_cache(maxsize=2)
def cuts(seconds: int = SECONDS) -> Mapping[str, Cut]:
    """The tracks of a short clip, cut by ffmpeg's own HLS muxer."""
    made: dict[str, Cut] = {}
    for name in (*SIZES, "a0"):
        with tempfile.TemporaryDirectory(prefix="backlot-cut-") as folder:
            if name == "a0":
                given = ["-i", f"sine=frequency=440:duration={seconds}", "-c:a", "aac", "-ac", "2"]
            else:
                width, height = SIZES[name]
                given = [
                    *("-i", f"testsrc2=size={width}x{height}:rate=25:duration={seconds}"),
                    *("-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "main", "-pix_fmt", "yuv420p"),
                    *("-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "0"),
                    *("-video_track_timescale", str(TICKS)),
                ]
            argv = [
                *(str(media.program().path), "-hide_banner", "-loglevel", "error", "-nostdin"),
                *("-f", "lavfi", *given, "-f", "hls", "-hls_time", str(PIECE_S), "-hls_playlist_type", "vod"),
                *("-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4"),
                *("-hls_segment_filename", "%d.m4s", "list.m3u8"),
            ]
            subprocess.run(argv, check=True, capture_output=True, cwd=folder)
            at = Path(folder)
            found = sorted(at.glob("*.m4s"), key=lambda path: int(path.stem))
            made[name] = Cut((at / "init.mp4").read_bytes(), tuple(path.read_bytes() for path in found))
    return made


@lru_cache(maxsize=2)
def sheet(seconds: int = SECONDS) -> bytes:
    """One picture for each second, five in a row."""
    argv = [
        *(str(media.program().path), "-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi"),
        *("-i", f"testsrc2=size=160x90:rate=1:duration={seconds}"),
        *("-vf", f"tile=5x{-(-seconds // 5)}", "-frames:v", "1", "-f", "mjpeg", "pipe:1"),
    ]
    return subprocess.run(argv, check=True, capture_output=True).stdout


def board(seconds: int = SECONDS) -> str:
    """The text that says where each picture stands."""
    cues = [
        f"{clock(second)} --> {clock(second + 1)}\nstoryboard-0.jpg"
        f"#xywh={160 * (second % 5)},{90 * (second // 5)},160,90"
        for second in range(seconds)
    ]
    return "\n\n".join(["WEBVTT", *cues]) + "\n"


def clock(second: int) -> str:
    return f"{second // 60:02}:{second % 60:02}.000"


async def keep(workspace_id: int, content: bytes, extension: str, content_type: str) -> str:
    key = storage.key_for(workspace_id, "streams", extension)
    await storage.put_stream(pieces(content), key, content_type, most_bytes=len(content))
    return key


async def a_stream(
    workspace_id: int,
    user_id: int,
    video_id: int,
    *,
    state: str = "ready",
    there: Mapping[str, tuple[int, ...]] | None = None,
    seconds: int = SECONDS,
    **columns: Any,
) -> int:
    """A stream of this video with its tracks. `there` says which segments of each are stored; without it, all."""
    count = len(cuts(seconds)["v0"].segments)
    plan = {
        "rungs": [{"name": name, "width_px": size[0], "height_px": size[1]} for name, size in SIZES.items()],
        "sounds": [{"name": "a0"}],
        "clips": [{"frames": seconds * 25}],
        "rate": {"num": 25, "den": 1},
    }
    row = {
        "formats": ["hls", "dash", "mp4"],
        "source_key": f"tenants/{workspace_id}/originals/x.mp4",
        "source_bytes": 1,
        "source_sha256": "0" * 64,
        "plan": Jsonb(plan),
        "design": Jsonb({}),
        "segments": count * len(SIZES),
        "cpu_s": 3.4,
        **columns,
    }
    async with db.house() as conn:
        known = [
            str(name)
            for (name,) in await db.rows(
                conn,
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = 'streams' AND table_schema = current_schema()",
            )
        ]
        row = {name: value for name, value in row.items() if name in known}
        names = ", ".join(row)
        stream_id = int(
            await db.value(
                conn,
                f"INSERT INTO streams (workspace_id, video_id, user_id, state, {names})"
                f" VALUES (%s, %s, %s, 'making', {', '.join(['%s'] * len(row))}) RETURNING id",
                [workspace_id, video_id, user_id, *row.values()],
            )
        )
        await conn.execute(
            "INSERT INTO stream_parts (stream_id, workspace_id, number, first_segment, last_segment)"
            " VALUES (%s, %s, 0, 0, %s)",
            [stream_id, workspace_id, count - 1],
        )
    for name in cuts(seconds):
        await a_track(workspace_id, stream_id, name, None if there is None else there.get(name, ()), seconds)
    async with db.house() as conn:
        await conn.execute(
            """
            UPDATE streams
               SET segments_made = (SELECT count(*) FROM stream_segments WHERE stream_id = %(id)s AND track LIKE 'v%%'),
                   bytes = (SELECT coalesce(sum(bytes), 0) FROM stream_segments WHERE stream_id = %(id)s)
             WHERE id = %(id)s""",
            {"id": stream_id},
        )
        if state != "making":
            await move(conn, stream_id, state)
    return stream_id


async def move(conn: db.Conn, stream_id: int, state: str) -> None:
    await conn.execute(
        "UPDATE streams SET state = %s, changed_at = now(), "
        " progress = CASE WHEN %s = 'ready' THEN 100 ELSE progress END"
        " WHERE id = %s",
        [state, state, stream_id],
    )


async def a_track(
    workspace_id: int, stream_id: int, name: str, there: tuple[int, ...] | None = None, seconds: int = SECONDS
) -> None:
    """Its first bytes and the segments `there` (all, if None), stored and written down."""
    cut = cuts(seconds)[name]
    wanted = range(len(cut.segments)) if there is None else there
    if not wanted:
        return
    sound = name == "a0"
    kind = "audio/mp4" if sound else "video/mp4"
    init_key = await keep(workspace_id, cut.init, "mp4", kind)
    keys = {number: await keep(workspace_id, cut.segments[number], "m4s", kind) for number in wanted}
    width, height = SIZES.get(name, (0, 0))
    scale = SOUND_HZ if sound else TICKS
    async with db.house() as conn:
        await conn.execute(
            """
            INSERT INTO stream_tracks (stream_id, workspace_id, name, kind, codec, width_px, height_px, fps, language,
                                       label, timescale, target_kbps, init_key, init_bytes, init_sha256)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, '', '', %s, 600, %s, %s, %s)""",
            [
                stream_id, workspace_id, name, "audio" if sound else "video", CODECS[name], width, height,
                "" if sound else "25", scale, init_key, len(cut.init), "0" * 64,
            ],
        )  # fmt: skip
    for number in wanted:
        await add_segment(workspace_id, stream_id, name, number, keys[number], seconds)


async def more(
    workspace_id: int, stream_id: int, name: str, numbers: tuple[int, ...], seconds: int = SECONDS
) -> None:
    """Further segments of a track that has begun."""
    kind = "audio/mp4" if name == "a0" else "video/mp4"
    for number in numbers:
        key = await keep(workspace_id, cuts(seconds)[name].segments[number], "m4s", kind)
        await add_segment(workspace_id, stream_id, name, number, key, seconds)


async def add_segment(
    workspace_id: int, stream_id: int, name: str, number: int, key: str, seconds: int = SECONDS
) -> None:
    async with db.house() as conn:
        await conn.execute(
            "INSERT INTO stream_segments (stream_id, workspace_id, track, number, ticks, bytes, key)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                stream_id, workspace_id, name, number, (SOUND_HZ if name == "a0" else TICKS) * PIECE_S,
                len(cuts(seconds)[name].segments[number]), key,
            ],
        )  # fmt: skip


async def put_beside(workspace_id: int, video_id: int, *, seconds: int = SECONDS) -> None:
    """Storyboard, captions and chapters of this video."""
    files = {
        "storyboard-0": (sheet(seconds), "jpg", "image/jpeg"),
        "storyboard-vtt": (board(seconds).encode(), "vtt", "text/vtt"),
        "captions-en": (CAPTIONS.encode(), "vtt", "text/vtt"),
        "chapters": (CHAPTERS.encode(), "vtt", "text/vtt"),
    }
    for kind, (content, extension, content_type) in files.items():
        key = await keep(workspace_id, content, extension, content_type)
        async with db.house() as conn:
            await conn.execute(
                """
                INSERT INTO renditions (workspace_id, video_id, kind, key, bytes, sha256, width_px, height_px,
                                        content_type)
                VALUES (%s, %s, %s, %s, %s, %s, 0, 0, %s)""",
                [workspace_id, video_id, kind, key, len(content), "0" * 64, content_type],
            )
