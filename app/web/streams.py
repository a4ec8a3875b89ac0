"""What a player asks for: playlists, pieces of picture and sound, captions, chapters, little pictures.

Everything here is for the cookie's session or for the bearer of an API token, and for videos of the own workspace
only. Playlists are written from rows; pieces and pictures are a way on to a signed link; small texts come from here,
as a browser takes captions from the page's own origin only.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import db, storage, videos
from app.errors import NotFound
from app.media import playlists
from app.web import facts, guard

VTT = "text/vtt; charset=utf-8"
GROWS = "no-store"
# A stream that is ready never changes. Which of them the video plays may: it is asked again after a minute.
ENDED, CHOSEN = "private, max-age=3600", "private, max-age=60"
# A link is good for ten minutes more at least (`storage.link`), so a kept way on to it is never dead.
ON_TO = "private, max-age=300"
MOST_TEXT_BYTES = 4 * 1024**2
NOT_YET = "There is nothing to play yet."
SHEET = re.compile(r"^\S*?(storyboard-\d{1,3})\.\w+(?=#|$)", re.MULTILINE)


# ---- playlists ----


async def master(request: Request) -> Response:
    """GET /videos/7/stream/master.m3u8: the rungs, sounds and captions of the stream that plays (HLS)."""
    chosen = await _chosen(request, "hls")
    said = playlists.master(
        chosen.listed, base=f"{chosen.stream_id}/", ended=not chosen.grows, texts=chosen.texts
    )
    return _said(said, playlists.HLS_TYPE, GROWS if chosen.grows else CHOSEN)


async def manifest(request: Request) -> Response:
    """GET /videos/7/stream/manifest.mpd: the same segments for DASH."""
    chosen = await _chosen(request, "dash")
    said = playlists.mpd(
        chosen.listed, base=f"{chosen.stream_id}/", ended=not chosen.grows, texts=chosen.texts
    )
    return _said(said, playlists.DASH_TYPE, GROWS if chosen.grows else CHOSEN)


async def playlist(request: Request) -> Response:
    """GET /videos/7/stream/12/v0.m3u8: the segments of one track; EVENT, without an end, while it is being made."""
    name = request.path_params["track"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.playing.tracks(conn, *_ids(request), name)
    if not found or not found[0].ticks:
        raise NotFound(NOT_YET, code="nothing_to_play")
    ended = found[0].state != videos.streams.State.MAKING
    said = playlists.media(_listed(found[0]), base="", ended=ended)
    return _said(said, playlists.HLS_TYPE, ENDED if ended else GROWS)


# ---- files ----


async def beginning(request: Request) -> Response:
    """GET /videos/7/stream/12/v0/init.mp4: on to the first bytes of a track."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.playing.beginning(conn, *_ids(request), request.path_params["track"])
    return _on_to(found)


async def segment(request: Request) -> Response:
    """GET /videos/7/stream/12/v0/3.m4s: on to one segment."""
    params = request.path_params
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.playing.segment(conn, *_ids(request), params["track"], params["number"])
    return _on_to(found)


async def sheet(request: Request) -> Response:
    """GET /videos/7/stream/12/storyboard-0.jpg: on to a sheet of little pictures."""
    return _on_to(await _beside(request, f"storyboard-{request.path_params['number']}"))


async def storyboard(request: Request) -> Response:
    """GET /videos/7/stream/12/storyboard.vtt: which little picture stands for which seconds."""
    text = await _text(await _beside(request, "storyboard-vtt"))
    # Whatever the sheets are called in the storage, here they stand beside this text.
    return _vtt(SHEET.sub(r"\1.jpg", text))


async def chapters(request: Request) -> Response:
    """GET /videos/7/stream/12/chapters.vtt"""
    return _vtt(await _text(await _beside(request, "chapters")))


async def captions(request: Request) -> Response:
    """GET /videos/7/stream/12/captions-en.vtt"""
    return _vtt(await _text(await _beside(request, f"captions-{request.path_params['language']}")))


async def captions_playlist(request: Request) -> Response:
    """GET /videos/7/stream/12/captions-en.m3u8: one file as long as the video; what HLS wants around captions."""
    name = f"captions-{request.path_params['language']}"
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.playing.beside(conn, *_ids(request), name)
        tracks = await videos.playing.tracks(conn, *_ids(request))
    if found is None or not tracks:
        raise NotFound
    grows = tracks[0].state == videos.streams.State.MAKING
    length_s = max(_listed(track).length_s for track in tracks)
    said = playlists.text_media(playlists.Text(name, "", ""), base="", length_s=length_s)
    return _said(said, playlists.HLS_TYPE, GROWS if grows else ENDED)


# ---- what they share ----


@dataclass(frozen=True)
class Chosen:
    """The stream that a video plays, ready to be listed."""

    stream_id: int
    grows: bool
    listed: list[playlists.Listed]
    texts: list[playlists.Text]


async def _chosen(request: Request, wanted: str) -> Chosen:
    """NotFound (`nothing_to_play`) for a video of which nothing is made in this format, or nothing yet."""
    video_id = request.path_params["video_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        stream = await videos.playing.chosen(conn, video_id)
        if stream is None:
            await videos.get(conn, video_id)
            raise NotFound(NOT_YET, code="nothing_to_play")
        tracks = await videos.playing.tracks(conn, video_id, stream.id)
        texts = await videos.playing.texts(conn, video_id)
    if wanted not in stream.formats:
        raise NotFound("This video is not made for such players.", code="nothing_to_play")
    return Chosen(
        stream.id,
        stream.state == videos.streams.State.MAKING,
        [_listed(track) for track in tracks],
        [
            playlists.Text(text.kind, text.language, facts.language(text.language), text.bytes)
            for text in texts
        ],
    )


def _listed(track: videos.playing.Track) -> playlists.Listed:
    return playlists.Listed(
        name=track.name,
        kind="video" if track.kind == "video" else "audio",
        codec=track.codec,
        width_px=track.width_px,
        height_px=track.height_px,
        fps=track.fps,
        language=track.language,
        label=track.label,
        timescale=track.timescale,
        segments=tuple(zip(track.ticks, track.bytes, strict=True)),
        target_kbps=track.target_kbps,
    )


def _ids(request: Request) -> tuple[int, int]:
    return request.path_params["video_id"], request.path_params["stream_id"]


async def _beside(request: Request, kind: str) -> videos.playing.Piece | None:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        return await videos.playing.beside(conn, *_ids(request), kind)


def _on_to(found: videos.playing.Piece | None) -> Response:
    if found is None:
        raise NotFound
    link = storage.link(found.key, content_type=found.content_type)
    return RedirectResponse(link, 302, headers={"cache-control": ON_TO})


async def _text(found: videos.playing.Piece | None) -> str:
    """A small text out of the storage."""
    if found is None:
        raise NotFound
    async with aclosing(storage.read(found.key, 0, MOST_TEXT_BYTES)) as pieces:
        return b"".join([piece async for piece in pieces]).decode("utf-8", "replace")


def _vtt(text: str) -> Response:
    return _said(text, VTT, ON_TO)


def _said(text: str, content_type: str, kept: str) -> Response:
    return Response(text, headers={"content-type": content_type, "cache-control": kept})
