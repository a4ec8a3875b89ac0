"""A form with one file, read while it streams in: memory is bounded by what one read gives and by the fields.

Fields may stand before and after the file. Nothing is spooled: whoever asks for the file's next bytes is who
reads the request, so a slow storage slows the sender.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from app.errors import Refused

# All fields together; captions of a design are the largest of them.
MOST_FIELD_BYTES = 1024**2
MOST_FIELDS = 80


@dataclass
class File:
    """The file part. `chunks` may be read once, and before `Form.rest`."""

    name: str
    filename: str
    chunks: AsyncIterator[bytes]


@dataclass
class _Part:
    """What the parser has told of a part so far."""

    name: str = ""
    filename: str | None = None


class Form:
    """One request's form. Ask `file()` first, read its chunks, then `rest()`; `fields` grows meanwhile.

    Refused: 415 when it is no such form, 400 when it cannot be parsed or ends in the middle, 422 with `fields`
    for a field that stands there twice or is no text, 413 when the fields are too large.
    """

    def __init__(self, request: Request, *, files: Collection[str]) -> None:
        self.fields: dict[str, str] = {}
        self._files = files
        self._stream = request.stream()
        self._parser = MultipartParser(
            _boundary(request),
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": lambda data, start, end: self._told.append(data[start:end]),
                "on_part_end": lambda: self._told.append(None),
                "on_end": self._end,
            },
        )
        # What was parsed and not yet looked at: a part's head, its bytes, or its end (None).
        self._told: deque[_Part | bytes | None] = deque()
        self._header: list[bytes] = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._over = False
        self._field_bytes = 0
        self._had_file = False

    async def file(self) -> File | None:
        """The file part, with every field before it read; None when the form holds none."""
        while (told := await self._next()) is not None:
            assert isinstance(told, _Part)
            if told.name in self._files:
                self._had_file = True
                return File(told.name, told.filename or "", self._chunks())
            await self._field(told)
        return None

    async def rest(self) -> None:
        """Read the fields behind the file."""
        while (told := await self._next()) is not None:
            assert isinstance(told, _Part)
            if told.name in self._files:
                raise _invalid(told.name, "stands there twice: send one file at a time")
            await self._field(told)

    async def _next(self) -> _Part | bytes | None:
        """The next thing the parser tells; None at the end of the form."""
        while not self._told:
            if self._over:
                return None
            await self._read()
        told = self._told.popleft()
        # The end of the part before is nothing anybody waits for here.
        return await self._next() if told is None else told

    async def _read(self) -> None:
        """Give the parser the next piece of the request."""
        try:
            chunk = await anext(self._stream)
        except StopAsyncIteration:
            chunk = b""
        if not chunk:
            raise Refused("The form ends in the middle.", code="bad_form", status=400)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Refused("The form cannot be read.", code="bad_form", status=400) from error

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            while not self._told:
                await self._read()
            told = self._told.popleft()
            if not isinstance(told, bytes):
                return
            yield told

    async def _field(self, part: _Part) -> None:
        if part.name in self.fields:
            raise _invalid(part.name, "stands there twice")
        if len(self.fields) >= MOST_FIELDS:
            raise Refused("The form has too many fields.", code="invalid")
        kept = bytearray()
        async for chunk in self._chunks():
            self._field_bytes += len(chunk)
            if self._field_bytes > MOST_FIELD_BYTES:
                raise Refused("The fields of the form are too large.", code="too_large", status=413)
            kept += chunk
        try:
            text = kept.decode()
        except UnicodeDecodeError as error:
            raise _invalid(part.name, "is not valid UTF-8 text") from error
        if "\0" in text:
            raise _invalid(part.name, "holds a character that cannot be used")
        self.fields[part.name] = text

    def _begin(self) -> None:
        self._headers = {}
        self._header = [b"", b""]

    def _add(self, which: int, piece: bytes) -> None:
        self._header[which] += piece

    def _end_header(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise FormParserError("a part without a name")
        filename = options.get(b"filename")
        self._told.append(
            _Part(
                options[b"name"].decode(errors="replace"),
                None if filename is None else filename.decode(errors="replace"),
            )
        )

    def _end(self) -> None:
        self._over = True


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise Refused("Send the form as multipart/form-data.", code="wrong_type", status=415)
    boundary = options.get(b"boundary", b"")
    # RFC 2046, section 5.1.1.
    if not 0 < len(boundary) <= 70:
        raise Refused("The form names no boundary.", code="bad_form", status=400)
    return boundary


def _invalid(field: str, problem: str) -> Refused:
    return Refused("This cannot be used as it is.", code="invalid", fields={field[:50]: problem})
