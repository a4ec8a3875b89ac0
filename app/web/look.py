"""Another look for a video that is there: the same section as in the composer, with pictures made by the worker's own
filters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import db, media, videos
from app.errors import Refused
from app.web import errors, forms, guard, kits, look_form, pace
from app.web.pages import page

# Where the first picture is taken: past a black beginning, within the shortest clip.
FIRST_AT_S = 1.0


async def look(request: Request) -> Response:
    """GET /videos/7/look: the form with the video's design; with fields in the address, those and their picture."""
    asked = dict(request.query_params)
    return await _form(request, asked if "frameAspect" in asked else {})


async def change(request: Request) -> Response:
    """POST /videos/7/look: brand the video anew. What was posted stays as it is."""
    form = {name: text for name, text in (await forms.read(request)).items() if isinstance(text, str)}
    video_id = request.path_params["video_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await videos.get(conn, video_id)
    try:
        async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
            design = await _read(conn, form)
            await videos.edit_again(conn, video_id, design)
    except Refused as refused:
        if errors.wants_json(request) or not refused.fields:
            raise
        return await _form(request, form, refused)
    return RedirectResponse(f"/videos/{video_id}", 303)


async def preview(request: Request) -> Response:
    """GET /videos/7/look/preview?at=3&…: the picture at that second with the look of these fields, as a JPEG.

    Captions are too long for an address: those that the video has are shown in the style that is asked for.
    """
    who, video_id = guard.who_acts(request), request.path_params["video_id"]
    asked = dict(request.query_params)
    async with db.owned_by(who.workspace.id) as conn:
        video = await videos.get(conn, video_id)
        kept = look_form.fields_of(video.design)["captionsText"]
        form = {**asked, "captionsText": kept or SAMPLE}
        design = await _read(conn, form)
    await pace.take_preview(who)
    picture = await videos.preview(who.workspace.id, video_id, design, at_s=_seconds(asked.get("at", "")))
    return Response(picture, media_type="image/jpeg", headers={"cache-control": "no-store"})


# Stands where a video has no captions yet, so that their style is seen.
SAMPLE = "1\n00:00:00,000 --> 24:00:00,000\nCaptions look like this\n"


async def _read(conn: db.Conn, form: Mapping[str, str]) -> media.Design:
    """The design of the form; Refused with every problem by its field."""
    problems = look_form.problems_of(form)
    try:
        design = media.read_design(look_form.design_of(form))
    except Refused as refused:
        raise _refused({**look_form.named(refused.fields), **problems}) from refused
    problems |= look_form.named(await videos.assets.check(conn, design))
    if problems:
        raise _refused(problems)
    return design


def _refused(problems: Mapping[str, str]) -> Refused:
    return Refused("Some of this needs another look.", code="invalid", fields=problems)


def _seconds(text: str) -> float:
    try:
        seconds = float(text or FIRST_AT_S)
    except ValueError:
        seconds = FIRST_AT_S
    return max(0.0, seconds) if math.isfinite(seconds) else FIRST_AT_S


async def _form(request: Request, form: Mapping[str, str], refused: Refused | None = None) -> Response:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        shown = await videos.show(conn, request.path_params["video_id"])
        kept = look_form.fields_of(shown.video.design)
        fields = look_form.written({"captionsText": kept["captionsText"], **form}) if form else kept
        section = await kits.section(conn, fields=fields, again=True)
    length_s = media.Probe.from_json(shown.video.source_probe).duration_s if shown.video.source_probe else 0.0
    at = _seconds(form.get("at", "")) if form else min(FIRST_AT_S, length_s / 3)
    about: dict[str, Any] = {
        "shown": shown,
        "problems": refused.fields if refused else {},
        "length_s": length_s,
        "at": min(at, length_s),
        "query": {name: text for name, text in fields.items() if text and name != "captionsText"},
        "busy": shown.video.state != videos.State.EDITED or any(not target.over for target in shown.targets),
    }
    return page(request, "videos/look.html", status=refused.status if refused else 200, **section, **about)
