"""The Range header, as RFC 9110 section 14 has it, for one range. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# More digits than any size has; longer numbers are cut, as Python refuses to read numbers of 4300 digits.
MOST_DIGITS = 18
_ONE_RANGE = re.compile(r"bytes[ \t]*=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE)


@dataclass(frozen=True)
class Unsatisfiable:
    """The range begins behind the end: answer 416 with `Content-Range: bytes */<size>`."""

    size: int


def parse_range(header: str | None, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """Start and end (exclusive) of the bytes asked for in a file of `size` bytes, or None for the whole file.

    None also for what a server may ignore: another unit, bad syntax, several ranges (RFC 9110, 14.2).
    """
    match = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.group(1, 2) == ("", ""):
        return None
    first, last = match.group(1, 2)
    if not first:
        length = _number(last)
        if length == 0:
            return Unsatisfiable(size)
        return (max(0, size - length), size) if size else None
    start = _number(first)
    if last and _number(last) < start:
        return None
    if start >= size:
        return Unsatisfiable(size)
    return start, min(_number(last) + 1, size) if last else size


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= MOST_DIGITS else 10**MOST_DIGITS
