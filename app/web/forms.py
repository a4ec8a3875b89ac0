"""Forms of pages: read once, bounded, as text that a column can hold. Files go another way (uploads)."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import FormData
from starlette.requests import Request

from app.errors import Refused

# Captions of an hour in a script of three bytes a letter, as forms write them.
MOST_BYTES = 2 * 1024**2
MOST_FIELDS = 500


def is_small(request: Request) -> bool:
    """Whether the body is a plain form (not one with files)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/x-www-form-urlencoded"


async def read(request: Request) -> FormData:
    """The fields of a plain form; empty for any other body. Asked again, the same answer."""
    if not hasattr(request.state, "form"):
        request.state.form = await _read(request) if is_small(request) else FormData()
    form: FormData = request.state.form
    return form


def text(form: FormData, name: str) -> str:
    """One field as text; empty when it is missing."""
    value = form.get(name)
    return value if isinstance(value, str) else ""


async def bounded(request: Request, most_bytes: int) -> bytes:
    """The whole body, or Refused (413, `too_large`) as soon as it is longer."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise Refused(
                f"This is too large: at most {most_bytes // 1024} KiB.", code="too_large", status=413
            )
    return bytes(body)


async def _read(request: Request) -> FormData:
    body = await bounded(request, MOST_BYTES)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise Refused("The form cannot be read.", code="bad_form", status=400) from error
    if any("\0" in part for pair in pairs for part in pair):
        raise Refused("The form holds a character that cannot be used.", code="bad_form", status=400)
    return FormData([(name, value) for name, value in pairs])
