"""Files of the local folder, for whoever holds a signed link: whole, in part, or only their size.

What a browser may do with a file (type, name, shown or saved) stands in the link, so no answer here can be
turned into a page. With a bucket the links lead there and nothing comes this way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app import storage
from app.errors import NotFound

GONE = "This link is no longer good. Load the page again."
# A link lives at most 15 minutes; so does what a browser keeps of it, and no proxy keeps anything.
KEEP = "private, max-age=900"
# Whatever a file turns out to hold, nothing in it runs.
CLOSED = "default-src 'none'; sandbox; frame-ancestors 'none'"


async def file(request: Request) -> Response:
    """GET and HEAD /media/<token>; 206 for one range (RFC 9110, section 14), 416 behind the end, 404 otherwise."""
    link = storage.open_link(request.path_params["token"])
    about = None if link is None else await storage.head(link.key)
    if link is None or about is None:
        raise NotFound(GONE, code="link_over")
    etag = f'"{link.key.rpartition("/")[2]}"'
    headers = {
        "content-type": link.content_type,
        "content-disposition": link.disposition,
        "accept-ranges": "bytes",
        "cache-control": KEEP,
        "content-security-policy": CLOSED,
        "etag": etag,
    }
    part = storage.parse_range(request.headers.get("range"), about.bytes)
    # A file is written once and never changes, so only a stranger's tag asks for the whole.
    if request.headers.get("if-range", etag) != etag:
        part = None
    if isinstance(part, storage.Unsatisfiable):
        return Response(status_code=416, headers={"content-range": f"bytes */{part.size}"})
    start, end = part or (0, about.bytes)
    headers["content-length"] = str(end - start)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{about.bytes}"
    status = 206 if part is not None else 200
    if request.method == "HEAD" or start == end:
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_pieces(link.key, start, end), status, headers)


async def _pieces(key: str, start: int, end: int) -> AsyncIterator[bytes]:
    """The bytes; the next piece is read only once the one before has been taken."""
    async with aclosing(storage.read(key, start, end)) as pieces:
        async for piece in pieces:
            yield piece
