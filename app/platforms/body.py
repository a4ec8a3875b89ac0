"""The bytes of a file on their way to a platform, and how many of them the connection was given."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress

from app.platforms.answers import Table
from app.platforms.base import Media, OnProgress


class Body:
    """The bytes from `start` to just before `end`; `handed` tells how many the connection was given."""

    def __init__(
        self, table: Table, media: Media, start: int, end: int, on_progress: OnProgress | None = None
    ) -> None:
        self.table, self.media, self.on_progress = table, media, on_progress
        self.start, self.end = start, end
        self.handed = 0

    @property
    def complete(self) -> bool:
        """Whether the platform may have got all of it; before this it cannot have taken it."""
        return self.handed >= self.end - self.start

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they are read; Permanent `media_changed` for more or fewer than there were.

        Close it (`aclosing`), or the file behind it stays open when a call breaks off.
        """
        source = self.media.read(self.start, self.end)
        try:
            async for piece in source:
                if self.handed + len(piece) > self.end - self.start:
                    raise self.table.error("media_changed")
                # Told before the piece leaves: what `on_progress` raises can then never follow the last byte.
                if self.on_progress is not None:
                    await self.on_progress(self.start + self.handed)
                self.handed += len(piece)
                yield piece
                if self.complete:
                    break
        finally:
            if isinstance(source, AsyncGenerator):
                # A stumble while closing cannot take back bytes that are on their way.
                with suppress(Exception):
                    await source.aclose()
        if not self.complete:
            raise self.table.error("media_changed")
