"""A multipart form around the bytes of a file, as Facebook takes chunks and pictures. Pure but for the bytes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from app.platforms.base import Media, OnProgress
from app.platforms.body import Body
from app.platforms.facebook.errors import TABLE


class Form:
    """The fields and one part of `media`, from `start` to just before `end`, under the name `part`."""

    def __init__(self, fields: Mapping[str, str], part: str, media: Media, start: int, end: int) -> None:
        self._media, self._start, self._end = media, start, end
        self._boundary = secrets.token_hex(16)
        before = "".join(
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        before += (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="media"\r\n'
            f"Content-Type: {media.content_type}\r\n\r\n"
        )
        self._before, self._after = before.encode(), f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def headers(self) -> dict[str, str]:
        length = len(self._before) + self._end - self._start + len(self._after)
        return {
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            "Content-Length": str(length),
        }

    async def pieces(self, on_progress: OnProgress | None = None) -> AsyncGenerator[bytes, None]:
        yield self._before
        async with aclosing(
            Body(TABLE, self._media, self._start, self._end, on_progress).pieces()
        ) as content:
            async for piece in content:
                yield piece
        yield self._after
