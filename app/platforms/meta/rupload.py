"""A video's bytes on their way to Meta's upload host. Facebook sheet, section 3.1; instagram sheet, section 4.3.

Nothing here is irreversible: uploaded bytes show nobody anything before the call that publishes them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from app import http
from app.errors import HouseError
from app.platforms import calls
from app.platforms.answers import Table
from app.platforms.base import Media, OnCall, OnProgress
from app.platforms.body import Body
from app.platforms.meta import graph, usage

# Meta takes all that is missing in one call, so its time limit grows with the size.
LEAST_S = 120.0
SLOWEST_BYTES_PER_S = 250_000
SENDS_WITHOUT_PROGRESS = 4
# After these Meta's count of bytes says where to go on.
CUT = (
    "upload_cut",
    "no_answer",
    "not_reached",
    "unreadable_answer",
    "internal_error",
    "1",
    "2",
    "OffsetInvalidError",
    "PartialRequestError",
)


async def send(
    table: Table,
    step: str,
    url: str,
    token: str,
    media: Media,
    from_byte: int,
    arrived: Callable[[], Awaitable[int]],
    *,
    on_progress: OnProgress,
    on_call: OnCall | None = None,
) -> None:
    """Send everything from `from_byte` on; returning means that Meta has all of it. Sends nothing when it had.

    Check the address with `hosts.check` first. After a cut `arrived()` is asked how many bytes Meta has, and the
    rest is sent from there: up to four times without progress, then Retryable `upload_cut`. `on_progress` hears
    the bytes sent so far; an error of it, of `media.read` or of `arrived` ends the sending and comes through.
    """
    at_byte, sends = from_byte, 0
    while at_byte < media.bytes_total:
        sends += 1
        try:
            await _send(table, step, url, token, media, at_byte, on_progress, on_call)
            return
        except HouseError as error:
            if error.code not in CUT and not error.code.startswith("http_5"):
                raise
            now = min(await arrived(), media.bytes_total)
            if now <= at_byte and sends >= SENDS_WITHOUT_PROGRESS:
                raise table.error("upload_cut") from error
        sends = 0 if now > at_byte else sends
        at_byte = now


async def _send(
    table: Table,
    step: str,
    url: str,
    token: str,
    media: Media,
    at_byte: int,
    on_progress: OnProgress,
    on_call: OnCall | None,
) -> None:
    left = media.bytes_total - at_byte
    headers = {
        "Authorization": f"OAuth {token}",
        "offset": str(at_byte),
        "file_size": str(media.bytes_total),
        "Content-Type": "application/octet-stream",
        "Content-Length": str(left),
    }

    def read(answer: http.Answer) -> None:
        taken(table, answer)

    async with aclosing(Body(table, media, at_byte, media.bytes_total, on_progress).pieces()) as body:
        sent = http.request(
            "POST", url, headers=headers, content=body, timeout_s=LEAST_S + left / SLOWEST_BYTES_PER_S
        )
        await calls.told(table, step, "POST", url, sent, read, on_call, usage_of=usage.told)


def taken(table: Table, answer: http.Answer) -> None:
    """Returns when the upload host took the bytes; raises the row for `debug_info` or for Meta's usual envelope."""
    found = calls.mapping(table, answer)
    refusal = found.get("debug_info")
    if isinstance(refusal, dict):
        raise _refused(table, answer, refusal)
    graph.said(table, answer)
    if found.get("success") is not True:
        raise table.error("upload_cut")


def _refused(table: Table, answer: http.Answer, refusal: Mapping[str, Any]) -> HouseError:
    named, words = str(refusal.get("type") or ""), str(refusal.get("message") or "")
    if answer.status == 401 or named == "NotAuthorizedError":
        return table.error("access_token_invalid", words)
    if named in table.rows and (named != "ProcessingFailedError" or refusal.get("retriable") is not False):
        return table.error(named, words)
    return table.error("upload_cut" if refusal.get("retriable") is True else "upload_refused", words)
