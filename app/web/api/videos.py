"""Videos for programs: sending one in, seeing where it stands, retrying, cancelling."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from app import accounts, db, events, media, publishing, videos
from app.errors import Refused
from app.web import guard, renditions, words
from app.web.api import multipart
from app.web.api import renditions as api_renditions
from app.web.api.body import Answer, Body
from app.web.api.endpoint import gives, takes
from app.web.api.repeats import idempotent

FILE_FIELDS = ("file", "video")
MOST_LISTED = 100


class Failure(Answer):
    """What failed and why (`message`), and what happens next."""

    code: str
    message: str
    next: str


class Waiting(Answer):
    """Why nothing moves right now. `kind` is paused, no_worker, limit or turn."""

    kind: str
    text: str
    until: datetime | None


class TargetAttempt(Answer):
    """One go at publishing. `outcome` is null while it is open."""

    at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: str | None


class Target(Answer):
    id: int
    platform: str
    account_id: int
    status: str
    progress: float
    publish_at: datetime
    url: str | None
    url_provisional: bool
    reason: str | None
    attempts: list[TargetAttempt]


class Happened(Answer):
    at: datetime
    name: str
    detail: dict[str, Any]


class Summary(Answer):
    """A video in a list."""

    id: int
    title: str
    status: str
    progress: float
    post_url: str | None
    poster_url: str | None
    failure: Failure | None
    created_at: datetime


class Video(Summary):
    account_id: int | None
    src_url: str
    edited_url: str | None
    waiting: Waiting | None
    targets: list[Target]
    streams: api_renditions.Streams
    timeline: list[Happened]


class VideoAnswer(Answer):
    video: Video


class Process(Body):
    """What to make of the video: `formats`, or with `rung` (`v0` is the largest) that one size anew.

    `watermark` false leaves the house's logo out, true puts it on; without it the video's own look decides.
    """

    formats: list[Literal["hls", "dash", "mp4"]] = Field(
        default=["hls", "dash", "mp4"], min_length=1, json_schema_extra={"uniqueItems": True}
    )
    watermark: bool | None = None
    thumbnails: bool = True
    rung: str | None = Field(default=None, pattern="^v[0-9]$")


class Look(Body):
    """A design in the words of an upload's `design`."""

    design: dict[str, Any]


def _whole_number(given: object) -> object:
    """JSON knows one kind of number: 5.0 is as whole as 5."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


class Poster(Body):
    """Where in the edited video the poster's frame stands."""

    poster_ms: Annotated[int, Field(ge=0, le=360_000_000), BeforeValidator(_whole_number)]


class Videos(Answer):
    """The newest first; `next_before` goes on as `?before=`, null at the end."""

    videos: list[Summary]
    next_before: int | None


FORM = {
    "multipart/form-data": {
        "type": "object",
        "description": "Exactly one of `file` and `video` holds the video. Fields may stand before or after it.",
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "video": {"type": "string", "format": "binary"},
            "accountId": {"type": "integer", "minimum": 1},
            "title": {"type": "string", "maxLength": 2200},
            "design": {"type": "string", "contentMediaType": "application/json"},
            "post": {"type": "string", "contentMediaType": "application/json"},
            "publishAt": {"type": "string", "format": "date-time"},
            "zone": {"type": "string"},
        },
        "required": ["accountId"],
        "additionalProperties": False,
    }
}


@gives(
    VideoAnswer,
    status=201,
    summary="Send in a video: it is branded, then posted to the account.",
    content=FORM,
    errors=(404, 409),
)
async def create(request: Request) -> Response:
    """The file is stored while it streams in; the video, its post and its job commit together at the end."""
    who = guard.who_acts(request)
    workspace_id = who.workspace.id
    videos.uploads.check_open()
    form = multipart.Form(request, files=FILE_FIELDS)
    file = await form.file()
    if file is None:
        _wishes(form.fields, {"file": "is missing"})
        raise _invalid({"file": "is missing"})
    if "accountId" in form.fields:
        await _check_account(workspace_id, _wishes(form.fields))
    made = False
    async with videos.uploads.receive(
        file.chunks, workspace_id=workspace_id, filename=file.filename
    ) as received:
        await form.rest()
        asked = _wishes(form.fields)

        async def work(conn: db.Conn) -> VideoAnswer:
            nonlocal made
            assert asked.account_id is not None
            await accounts.usable(conn, asked.account_id)
            video = await videos.uploads.make(
                conn, received, workspace_id=workspace_id, user_id=who.person.id, asked=asked
            )
            made = True
            return VideoAnswer(video=await _whole(request, conn, video.id))

        said = json.dumps([file.filename, received.stored.sha256, form.fields], sort_keys=True)
        answer = await idempotent(
            request, who, work, status=201, request_sha256=hashlib.sha256(said.encode()).digest()
        )
        received.kept = made
    return answer


@gives(VideoAnswer, summary="One video with everything that happened to it.")
async def get(request: Request) -> VideoAnswer:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        return VideoAnswer(video=await _whole(request, conn, request.path_params["video_id"]))


@gives(
    Videos,
    summary="The workspace's videos, newest first.",
    query={
        "before": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST_LISTED},
        "status": {"type": "string", "enum": list(videos.SHOWN)},
    },
)
async def listed(request: Request) -> Videos:
    query = request.query_params
    most = _number(query, "limit", MOST_LISTED) or 24
    status = query.get("status")
    if status is not None and status not in videos.SHOWN:
        raise _invalid({"status": f"must be one of {', '.join(videos.SHOWN)}"})
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.list_for(
            conn, state=status, before_id=_number(query, "before", 10**18 - 1), most=most
        )
    return Videos(
        videos=[Summary(**_summary(request, shown)) for shown in found],
        next_before=found[-1].video.id if len(found) == most else None,
    )


@gives(
    VideoAnswer, summary="Go on where it failed or was cancelled, with a fresh count of tries.", errors=(409,)
)
async def retry(request: Request) -> Response:
    return await _act(request, videos.retry)


@gives(VideoAnswer, summary="Stop the work on a video and what was planned with it.", errors=(409,))
async def cancel(request: Request) -> Response:
    return await _act(request, videos.cancel)


@takes(
    Process,
    gives=VideoAnswer,
    status=202,
    summary="Make streams and files of an edited video, or one size of them anew.",
    errors=(409,),
)
async def process(request: Request, asked: Process) -> Response:
    user_id = guard.who_acts(request).person.id

    async def verb(conn: db.Conn, video_id: int) -> Any:
        if asked.rung is not None:
            return await videos.encode_rung_again(conn, video_id, asked.rung, user_id=user_id)
        return await videos.process(
            conn,
            video_id,
            user_id=user_id,
            formats=asked.formats,
            watermark=asked.watermark,
            thumbnails=asked.thumbnails,
        )

    return await _act(request, verb, status=202)


@takes(
    Look,
    gives=VideoAnswer,
    status=202,
    summary="Brand the video anew with another design; what was posted stays.",
    errors=(409,),
)
async def look(request: Request, asked: Look) -> Response:
    design = media.read_design(asked.design)

    async def verb(conn: db.Conn, video_id: int) -> Any:
        if problems := await videos.assets.check(conn, design):
            raise _invalid(problems)
        return await videos.edit_again(conn, video_id, design)

    return await _act(request, verb, status=202)


@takes(
    Poster,
    gives=VideoAnswer,
    status=202,
    summary="Make another frame the poster, in all its sizes.",
    errors=(409,),
)
async def poster(request: Request, asked: Poster) -> Response:
    async def verb(conn: db.Conn, video_id: int) -> Any:
        return await videos.pick_poster(conn, video_id, asked.poster_ms)

    return await _act(request, verb, status=202)


async def _act(request: Request, verb: Any, *, status: int = 200) -> Response:
    video_id = request.path_params["video_id"]

    async def work(conn: db.Conn) -> VideoAnswer:
        await verb(conn, video_id)
        return VideoAnswer(video=await _whole(request, conn, video_id))

    return await idempotent(request, guard.who_acts(request), work, status=status)


async def _check_account(workspace_id: int, asked: videos.wishes.Wishes) -> None:
    """Before a byte of the file is stored."""
    assert asked.account_id is not None
    async with db.owned_by(workspace_id) as conn:
        await accounts.usable(conn, asked.account_id)


def _wishes(fields: Mapping[str, str], problems: Mapping[str, str] | None = None) -> videos.wishes.Wishes:
    """What the form asks for. Refused with every problem under its field's name; an account is needed (S1.2)."""
    found = dict(problems or {})
    if not fields.get("accountId", "").strip():
        found["accountId"] = "is missing"
    asked: dict[str, Any] = {name: text for name, text in fields.items() if text != "" or name == "accountId"}
    for name in ("design", "post"):
        if name in asked:
            try:
                asked[name] = json.loads(asked[name])
            except ValueError:
                found[name] = "must be JSON"
                del asked[name]
            else:
                if not isinstance(asked[name], dict):
                    found[name] = "must be a JSON object"
                    del asked[name]
    try:
        wishes = videos.wishes.read(asked)
    except Refused as refused:
        raise _invalid({**refused.fields, **found}) from refused
    if found:
        raise _invalid(found)
    return wishes


def _invalid(fields: Mapping[str, str]) -> Refused:
    return Refused("This cannot be used as it is.", code="invalid", fields=fields)


def _number(query: Mapping[str, str], name: str, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:20]) <= most:
        raise _invalid({name: f"must be a whole number from 1 to {most}"})
    return int(text)


async def _whole(request: Request, conn: db.Conn, video_id: int) -> Video:
    shown = await videos.show(conn, video_id)
    happened = await videos.timeline(conn, shown)
    tried = {target.id: await publishing.attempts(conn, target.id) for target in shown.targets}
    waiting = shown.waiting
    return Video(
        **_summary(request, shown),
        account_id=shown.video.account_id,
        src_url=_address(request, shown.source_url),
        edited_url=_address(request, shown.edited_url),
        waiting=None
        if waiting is None
        else Waiting(kind=waiting["kind"], text=waiting["text"], until=waiting["until"]),
        targets=[_target(target, tried[target.id]) for target in shown.targets],
        streams=api_renditions.streams(request, shown, await renditions.of(conn, shown)),
        timeline=[_happened(event) for event in happened],
    )


def _summary(request: Request, shown: videos.Shown) -> dict[str, Any]:
    poster = shown.still("medium") or shown.still("poster")
    return {
        "id": shown.video.id,
        "title": shown.video.title,
        "status": shown.state,
        "progress": round(shown.progress, 1),
        "post_url": next((target.url for target in reversed(shown.targets) if target.url), None),
        "poster_url": _address(request, poster.url if poster else None),
        "failure": _failure(shown),
        "created_at": shown.video.created_at,
    }


def _failure(shown: videos.Shown) -> Failure | None:
    if shown.state != "FAILED":
        return None
    step = words.next_step(shown.reason_code)
    onward = f"{step[1]}, then retry." if step else "Retry when the cause is gone, or leave it."
    return Failure(
        code=shown.reason_code or "failed",
        message=shown.reason or "It failed.",
        next=f"Nothing more happens by itself. {onward}",
    )


def _target(target: publishing.Target, tried: list[publishing.Attempt]) -> Target:
    return Target(
        id=target.id,
        platform=target.platform,
        account_id=target.account_id,
        status=target.state,
        progress=round(target.progress, 1),
        publish_at=target.publish_at,
        url=target.url,
        url_provisional=target.url_provisional,
        reason=target.reason,
        attempts=[
            TargetAttempt(at=one.intent_at, ended_at=one.ended_at, outcome=one.outcome, reason=one.reason)
            for one in tried
        ],
    )


def _happened(event: events.Event) -> Happened:
    return Happened(at=event.at, name=event.name, detail=event.detail)


def _address(request: Request, link: str | None) -> Any:
    return None if link is None else api_renditions.address(request, link)
