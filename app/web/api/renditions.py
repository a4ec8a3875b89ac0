"""What was made of a video, for programs: addresses to play and to load, sizes, and how far the rest is."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urljoin

from starlette.requests import Request

from app import config, videos
from app.web import renditions
from app.web.api.body import Answer

STILLS = ("poster", "small", "medium", "large")


class Rendition(Answer):
    """A size or a sound that is streamed; `bitrate_kbps` is its average."""

    name: str
    kind: Literal["video", "audio"]
    codec: str
    width: int | None
    height: int | None
    bitrate_kbps: int | None
    bytes: int
    seconds: float
    language: str | None
    label: str | None


class Thumbnails(Answer):
    poster: str | None
    small: str | None
    medium: str | None
    large: str | None


class Storyboard(Answer):
    """`vtt` says which part of which sheet stands for which seconds."""

    vtt: str
    sheets: list[str]


class Caption(Answer):
    language: str
    url: str


class Streams(Answer):
    """What plays and what is made. `state`: none, making, ready (also while it is made anew) or failed.

    `hls` and `dash` want the session's cookie or a bearer token; `mp4` and the pictures are open for some minutes.
    """

    state: Literal["none", "making", "ready", "failed"]
    progress: float
    reason: str | None
    reason_code: str | None
    waiting: str | None
    hls: str | None
    dash: str | None
    mp4: str | None
    renditions: list[Rendition]
    thumbnails: Thumbnails
    storyboard: Storyboard | None
    captions: list[Caption]
    chapters: str | None


def streams(request: Request, shown: videos.Shown, files: renditions.Files) -> Streams:
    """All of it, with whole addresses."""
    under = f"/videos/{shown.video.id}/stream"
    played, going, failed = files.played, files.making, files.failed
    formats = played.formats if played else []
    beside = f"{under}/{played.id}" if played else None
    sheets = [still for still in shown.renditions if still.kind.startswith("storyboard-") and still.width_px]

    def whole(path: str | None) -> str | None:
        return None if path is None else address(request, path)

    return Streams(
        state="ready" if files.ready else "making" if going else "failed" if failed else "none",
        progress=round(files.progress, 1),
        reason=failed.reason if failed else None,
        reason_code=failed.reason_code if failed else None,
        waiting=files.waiting["text"] if files.waiting else None,
        hls=whole(f"{under}/master.m3u8" if "hls" in formats else None),
        dash=whole(f"{under}/manifest.mpd" if "dash" in formats else None),
        mp4=whole(shown.edited_url),
        renditions=[_rendition(track) for track in files.tracks],
        thumbnails=Thumbnails(
            **{kind: whole(still.url if (still := shown.still(kind)) else None) for kind in STILLS}
        ),
        storyboard=Storyboard(
            vtt=address(request, f"{beside}/storyboard.vtt"),
            sheets=[address(request, still.url) for still in sheets],
        )
        if beside and files.sheets
        else None,
        captions=[
            Caption(language=text.language, url=address(request, f"{beside}/{text.kind}.vtt"))
            for text in files.texts
            if beside
        ],
        chapters=whole(f"{beside}/chapters.vtt" if beside and shown.still("chapters") else None),
    )


def _rendition(track: videos.playing.Made) -> Rendition:
    return Rendition(
        name=track.name,
        kind="video" if track.kind == "video" else "audio",
        codec=track.codec,
        width=track.width_px or None,
        height=track.height_px or None,
        bitrate_kbps=track.kbps,
        bytes=track.bytes,
        seconds=round(track.seconds, 3),
        language=track.language or None,
        label=track.label or None,
    )


def address(request: Request, link: str) -> Any:
    """A whole address of a file's link: under PUBLIC_URL where it is set, else as the caller reached us."""
    return urljoin(config.get().public_url or str(request.base_url), link)
