"""How TikTok wants a file cut. Pure; sheet, section 4.2."""

from __future__ import annotations

from app.platforms.base import Chunks

# MB is ambiguous in TikTok's words, so both numbers stay inside either reading.
SINGLE_MOST_BYTES = 64_000_000
CHUNK_BYTES = 10_000_000


def plan(size_bytes: int) -> Chunks:
    """The cut that TikTok accepts for a file of this size: whole up to 64 MB, else tens of MB.

    The count is rounded down, so the last chunk of a cut file has 10,000,000 to 19,999,999 bytes.
    """
    if size_bytes <= SINGLE_MOST_BYTES:
        return Chunks(size_bytes, 1)
    return Chunks(CHUNK_BYTES, size_bytes // CHUNK_BYTES)


def end_of_chunk(size_bytes: int, at_byte: int) -> int:
    """Where the chunk ends that holds this byte; the size of the file when it is the last one."""
    chunks = plan(size_bytes)
    number = at_byte // chunks.chunk_bytes
    return size_bytes if number >= chunks.count - 1 else (number + 1) * chunks.chunk_bytes
