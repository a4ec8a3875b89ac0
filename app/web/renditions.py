"""The files of one video on its page: what was made of it, how large it is, what is being made, and the acts on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import db, queue, videos
from app.errors import Refused
from app.web import errors, forms, guard
from app.web.pages import page

# What "Make streaming versions" makes: all that is played piece by piece, and the MP4 beside it.
ALL = ("hls", "dash", "mp4")
STATE = videos.streams.State
STREAMS_ASKED, POSTER_ASKED = "video.process_queued", "video.poster_queued"
LONGEST_S = 100 * 3600


@dataclass(frozen=True)
class Files:
    """What a page says of a video's streams: the one that is there, the one being made, the one that failed last.

    `played` is the one a player is given. `tracks` are those of the stream that is there, else of the one being
    made; `coming` those of the one being made beside one that is there. `asked`: streams were asked for, and the
    job has not begun one yet; `poster_asked`: another poster is on its way.
    """

    ready: videos.streams.Stream | None = None
    making: videos.streams.Stream | None = None
    failed: videos.streams.Stream | None = None
    played: videos.streams.Stream | None = None
    tracks: tuple[videos.playing.Made, ...] = ()
    coming: tuple[videos.playing.Made, ...] = ()
    planned: videos.playing.Planned | None = None
    sheets: bool = False
    texts: tuple[videos.playing.Text, ...] = ()
    waiting: dict[str, Any] | None = None
    asked: bool = False
    poster_asked: bool = False

    @property
    def rungs(self) -> tuple[videos.playing.Made, ...]:
        return tuple(track for track in self.tracks if track.kind == "video")

    @property
    def sounds(self) -> tuple[videos.playing.Made, ...]:
        return tuple(track for track in self.tracks if track.kind == "audio")

    @property
    def sizes(self) -> int:
        """How many sizes a player is offered: as soon as each that will be made has begun, all of them."""
        there = sum(1 for rung in self.rungs if rung.segments)
        if self.planned is None or there >= len(self.planned.rungs):
            return there
        # Until then nobody begins anew for every further one.
        return 1

    @property
    def progress(self) -> float:
        """How far the one being made is, as the live notices tell it."""
        if self.making is None:
            return 100.0 if self.ready else 0.0
        return videos.streams.percent_of(self.making.progress)

    @property
    def at_work(self) -> list[tuple[str, int]]:
        """Each rung being made, as people call it (`720p`), with how many of its segments are there."""
        if self.making is None or self.planned is None:
            return []
        there = {track.name: track.segments for track in (self.coming if self.ready else self.tracks)}
        return [
            (f"{short_px}p", there.get(name, 0))
            for name, short_px in self.planned.rungs
            if self.making.only_rung in (None, name)
        ]


async def of(conn: db.Conn, shown: videos.Shown) -> Files:
    """What the section, the player and the API say of this video's streams."""
    texts = tuple(
        videos.playing.Text(still.kind, still.kind.partition("-")[2], still.bytes)
        for still in shown.renditions
        if still.kind.startswith("captions-")
    )
    files = Files(texts=texts, sheets=shown.still("storyboard-vtt") is not None)
    newest = {
        stream.state: stream for stream in shown.streams if stream.played or stream.state != STATE.READY
    }
    ready, making, failed = (newest.get(state) for state in (STATE.READY, STATE.MAKING, STATE.FAILED))
    if failed is not None and (making is not None or (ready is not None and ready.id > failed.id)):
        failed = None
    if (first := ready or making) is not None:
        files = replace(files, tracks=tuple(await videos.playing.made(conn, first.id)))
    if making is not None:
        job_id = shown.worked_by or making.job_id
        files = replace(files, **await _making(conn, making, job_id, beside=ready is not None))
    played = ready
    if played is None and making is not None and making.played and files.tracks:
        played = making if await videos.playing.begun(conn, making.id) else None
    asked = await videos.playing.asked(conn, shown.video.id)
    if making is None and (job_id := asked.get(STREAMS_ASKED)) is not None:
        files = replace(files, asked=True, waiting=await queue.waiting_reason(conn, job_id))
    files = replace(files, poster_asked=POSTER_ASKED in asked)
    return replace(files, ready=ready, making=making, failed=failed, played=played)


async def _making(
    conn: db.Conn, making: videos.streams.Stream, job_id: int | None, *, beside: bool
) -> dict[str, Any]:
    """What else is told of a stream being made."""
    return {
        "planned": await videos.playing.planned(conn, making.id),
        "coming": tuple(await videos.playing.made(conn, making.id)) if beside else (),
        "waiting": await queue.waiting_reason(conn, job_id) if job_id is not None else None,
    }


async def section(request: Request) -> Response:
    """GET /videos/7/streams: the section alone, for its live update."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        shown = await videos.show(conn, request.path_params["video_id"])
        files = await of(conn, shown)
    return page(request, "videos/_streams.html", shown=shown, files=files)


async def make(request: Request) -> Response:
    """POST /videos/7/streams: make everything that is played piece by piece."""

    async def work(conn: db.Conn, video_id: int) -> None:
        await videos.process(conn, video_id, user_id=guard.who_acts(request).person.id, formats=ALL)

    return await _act(request, work)


async def stop(request: Request) -> Response:
    """POST /videos/7/streams/stop: what is being made is given up; what is there stays."""
    return await _act(request, videos.cancel_stream)


async def make_rung(request: Request) -> Response:
    """POST /videos/7/streams/rung: one size anew, everything else as it is."""
    rung = forms.text(await forms.read(request), "rung")

    async def work(conn: db.Conn, video_id: int) -> None:
        await videos.encode_rung_again(conn, video_id, rung, user_id=guard.who_acts(request).person.id)

    return await _act(request, work)


async def pick_poster(request: Request) -> Response:
    """POST /videos/7/poster: the still of this video is the frame at `posterS` seconds."""
    poster_ms = milliseconds(forms.text(await forms.read(request), "posterS"))

    async def work(conn: db.Conn, video_id: int) -> None:
        await videos.pick_poster(conn, video_id, poster_ms)

    return await _act(request, work)


def milliseconds(said: str) -> int:
    """Seconds as a field of a form holds them (`12.34`) in milliseconds. Refused for anything else."""
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_S:
        raise Refused(
            "Say at which second the frame is.",
            code="invalid",
            fields={"posterS": "must be a number of seconds"},
        )
    return round(seconds * 1000)


async def _act(request: Request, verb: Callable[[db.Conn, int], Awaitable[Any]]) -> Response:
    """Do it; give the section, or the whole page where there is no script."""
    video_id = request.path_params["video_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await verb(conn, video_id)
    if errors.is_htmx(request):
        return await section(request)
    return RedirectResponse(f"/videos/{video_id}#streams-{video_id}", 303)
