"""Publications from a CSV file: the form, what would become of each line, and the batch that plans them."""

from __future__ import annotations

import csv
import io
import secrets
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import accounts, batches, db, publishing, videos
from app.errors import Refused
from app.web import forms, guard, words
from app.web.api import multipart
from app.web.pages import page

MEANINGS = {
    "video": "The number of a video in your Library, or its file name. Needed.",
    "accounts": "One account or several with ; between them, by handle. Needed.",
    "at": "Day and time on the clock, 2026-03-29 09:00. Left empty: as soon as it is ready.",
    "zone": "The time zone of “at”, Europe/Kyiv. Left empty: yours.",
    "title": "What people read. Left empty: the video’s title.",
    "description": "The longer text, where the platform has one.",
    "privacy": "Who may see it, as the platform calls it.",
    "tags": "Words with commas between them.",
}
GOOD, BAD = (
    words.Word("Can be planned", "done", "circle-check"),
    words.Word("Has mistakes", "failed", "triangle-alert"),
)
# A spreadsheet of the most lines, with room.
MOST_BYTES = 2 * 1024**2


async def form(request: Request) -> Response:
    """GET /publications/import"""
    return _form(request)


async def correct(request: Request) -> Response:
    """POST /publications/import/text: the form again, with the text that was looked at."""
    return _form(request, text=forms.text(await forms.read(request), "csv"))


def _form(request: Request, *, text: str = "", refused: Refused | None = None) -> Response:
    return page(
        request,
        "publications/import.html",
        status=refused.status if refused else 200,
        text=text,
        problems={} if refused is None else refused.fields or {"csv": refused.message},
        columns=[(name, MEANINGS[name]) for name in publishing.imports.COLUMNS],
        example_head=",".join(publishing.imports.COLUMNS),
        most_rows=publishing.imports.MOST_ROWS,
    )


async def example(request: Request) -> Response:
    """GET /publications/import/example.csv: a file of the person's own videos and accounts, to go on from."""
    who = guard.who_acts(request)
    async with db.owned_by(who.workspace.id) as conn:
        connected = await accounts.list_for(conn)
        found = await videos.list_for(conn, most=2)
    names = [one.video.filename for one in found] or ["my-video.mp4", "another-video.mp4"]
    handles = ";".join(one.handle for one in connected[:2]) or "my.handle"
    tomorrow = datetime.now(UTC).astimezone(ZoneInfo(who.person.zone)) + timedelta(days=1)
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow(publishing.imports.COLUMNS)
    for number, name in enumerate(names):
        at = f"{tomorrow + timedelta(days=number):%Y-%m-%d} 09:00"
        cells = [name, handles, at, who.person.zone, f"Title {number + 1}", "", "", "knots,rope"]
        lines.writerow([publishing.imports.harmless(cell) for cell in cells])
    headers = {"content-disposition": 'attachment; filename="backlot-example.csv"'}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


async def preview(request: Request) -> Response:
    """POST /publications/import/preview with a file or its text: each line with its mistakes. Plans nothing."""
    text = ""
    try:
        text = await _given(request)
        return await _looked_at(request, text)
    except Refused as refused:
        return _form(request, text=text, refused=refused)


async def take_in(request: Request) -> Response:
    """POST /publications/import with the text that was looked at and its key: one batch, and its page. A form sent
    twice makes one.
    """
    who, sent = guard.who_acts(request), await forms.read(request)
    text, key = forms.text(sent, "csv"), forms.text(sent, "key")
    try:
        lines = publishing.imports.read_csv(text, zone=who.person.zone)
        async with db.owned_by(who.workspace.id) as conn:
            batch = await batches.import_all(
                conn,
                workspace_id=who.workspace.id,
                user_id=who.person.id,
                lines=lines,
                key=key,
                allow_doubles=bool(forms.text(sent, "doubles")),
            )
    except Refused as refused:
        return _form(request, text=text, refused=refused)
    return RedirectResponse(f"/batches/{batch.id}", 303)


async def _given(request: Request) -> str:
    """The CSV's text: of the file if there is one, else of the field."""
    if forms.is_small(request):
        return forms.text(await forms.read(request), "csv")
    sent = multipart.Form(request, files=("file",))
    file = await sent.file()
    content = bytearray()
    if file is not None:
        async for chunk in file.chunks:
            content += chunk
            if len(content) > MOST_BYTES:
                raise Refused("The file is too large.", code="too_large", status=413)
    await sent.rest()
    if not content:
        return sent.fields.get("csv", "")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        said = "The file is not saved as UTF-8. Choose “CSV UTF-8” when saving it."
        raise Refused(said, code="invalid", fields={"file": said}) from error


async def _looked_at(request: Request, text: str) -> Response:
    who = guard.who_acts(request)
    lines = publishing.imports.read_csv(text, zone=who.person.zone)
    async with db.owned_by(who.workspace.id) as conn:
        rows = await batches.preview(conn, lines)
    good = sum(not row.problems for row in rows)
    return page(
        request,
        "publications/import_preview.html",
        rows=rows,
        good=good,
        bad=len(rows) - good,
        doubles=sum(len(row.doubles) for row in rows if not row.problems),
        names=publishing.imports.COLUMNS,
        text=text,
        key=secrets.token_hex(16),
        good_word=GOOD,
        bad_word=BAD,
    )
