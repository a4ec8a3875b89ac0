"""The rows of a CSV file, read: which video goes where and when. Every mistake is told by its row and column.

Columns: video (number or file name), accounts (handles, separated by ;), at (a wall-clock time), zone, title,
description, privacy, tags (separated by ,). Separator and quotes are found out. `batches.imports` looks up what the
rows name and plans them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from app import platforms
from app.errors import Refused
from app.publishing.when import When

MOST_ROWS = 1_000
MOST_LETTERS = 2_000_000
COLUMNS = ("video", "accounts", "at", "zone", "title", "description", "privacy", "tags")
NEEDED = ("video", "accounts")
# What people and other programs call the columns.
ALSO = {
    "file": "video", "filename": "video", "video id": "video", "account": "accounts", "handle": "accounts",
    "handles": "accounts", "time": "at", "when": "at", "date": "at", "publish at": "at", "timezone": "zone",
    "time zone": "zone", "caption": "title", "text": "title", "visibility": "privacy", "hashtags": "tags",
}  # fmt: skip
# With one of these a spreadsheet takes a cell for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Line:
    """One row: what it says, and what is wrong with it by column. `number` counts from 1 without the headings; `cells`
    are its texts by column.
    """

    number: int
    cells: Mapping[str, str] = field(default_factory=dict)
    video: str = ""
    accounts: tuple[str, ...] = ()
    when: When | None = None
    title: str = ""
    description: str = ""
    privacy: str = ""
    tags: tuple[str, ...] = ()
    mistakes: Mapping[str, str] = field(default_factory=dict)

    def post(self, title: str) -> platforms.Post:
        """What is posted; `title` stands in where the row has none."""
        return platforms.Post(
            title=self.title or title,
            description=self.description,
            privacy_level=self.privacy,
            tags=self.tags,
        )


def harmless(cell: str) -> str:
    """The cell as it may be written into a file: no spreadsheet takes it for a formula (reliability, section 7)."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _plain(cell: str) -> str:
    """The cell as it was before `harmless`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def read_csv(text: str, *, zone: str = "UTC") -> list[Line]:
    """The rows of the file; `zone` is that of rows which name none. Refused under `file` for what is no such file: no
    row, unknown or missing columns, more than MOST_ROWS.
    """
    if len(text) > MOST_LETTERS:
        raise _refused("The file is too large.")
    if "\0" in text:
        raise _refused("This is not a text file.")
    cells = _cells(text.removeprefix("\ufeff"))
    if not cells:
        raise _refused("The file is empty.")
    headings = _headings(cells[0])
    rows = [row for row in cells[1:] if any(cell.strip() for cell in row)]
    if not rows:
        raise _refused("The file has headings and no rows.")
    if len(rows) > MOST_ROWS:
        raise _refused(f"The file has {len(rows)} rows; {MOST_ROWS} are the most.")
    return [_line(number, headings, row, zone) for number, row in enumerate(rows, 1)]


def _refused(text: str) -> Refused:
    return Refused(text, code="invalid", fields={"file": text})


def _cells(text: str) -> list[list[str]]:
    first = text.lstrip().partition("\n")[0]
    # The commonest of the three in the headings: a semicolon is what spreadsheets write where a comma is decimal.
    separator = max((";", ",", "\t"), key=first.count)
    try:
        return [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row
        ]
    except csv.Error as error:
        raise _refused(f"The file cannot be read as CSV: {error}.") from error


def _headings(row: list[str]) -> list[str]:
    named = [" ".join(cell.replace("_", " ").replace("-", " ").split()).lower() for cell in row]
    found = [ALSO.get(name, name) for name in named]
    while found and not found[-1]:
        found.pop()
    unknown = [cell for cell in found if cell not in COLUMNS]
    if unknown:
        shown = ", ".join(repr(name[:40]) for name in unknown[:5])
        raise _refused(f"There is no column called {shown}; the columns are {', '.join(COLUMNS)}.")
    if len(set(found)) < len(found):
        raise _refused("A column is there twice.")
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise _refused(f"The column {missing[0]} is missing.")
    return found


def _line(number: int, headings: list[str], row: list[str], zone: str) -> Line:
    mistakes: dict[str, str] = {}
    said = dict.fromkeys(COLUMNS, "") | {
        name: _plain(cell.strip()) for name, cell in zip(headings, row, strict=False)
    }
    if any(cell.strip() for cell in row[len(headings) :]):
        mistakes["row"] = "has more cells than there are headings"
    for name, cell in said.items():
        if any(letter < " " and letter not in "\n\r\t" for letter in cell):
            mistakes[name] = "holds a character that cannot be used"
    handles = tuple(
        dict.fromkeys(name.strip().removeprefix("@") for name in said["accounts"].split(";") if name.strip())
    )
    if not said["video"]:
        mistakes.setdefault("video", "is missing")
    if not handles:
        mistakes.setdefault("accounts", "is missing")
    return Line(
        number=number,
        cells=said,
        video=said["video"],
        accounts=handles,
        when=_when(said, zone, mistakes),
        title=said["title"],
        description=said["description"],
        privacy=said["privacy"],
        tags=tuple(tag for tag in (part.strip().lstrip("#") for part in said["tags"].split(",")) if tag),
        mistakes=mistakes,
    )


def _when(said: Mapping[str, str], zone: str, mistakes: dict[str, str]) -> When | None:
    try:
        if not said["at"]:
            return When.now(said["zone"] or zone)
        return When.on(said["at"], said["zone"] or zone).check()
    except Refused as refused:
        for name, text in refused.fields.items():
            mistakes.setdefault(name, text)
        return None
