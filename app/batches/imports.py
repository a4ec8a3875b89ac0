"""A CSV file's rows become one batch: each row a publication, each account of it an item with its own result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from app import accounts, db, dedup, events, platforms, publishing, videos
from app.batches import rows
from app.batches.rows import Act, Batch, Item
from app.errors import HouseError, NotFound, Permanent, Refused, WrongState
from app.publishing import When

# A file asks for so many posts at most, over all its rows.
MOST_POSTS = 2_000
# Of a title, as a batch shows it.
MOST_LETTERS = 300
# Column of the file → field of the post that a platform may find fault with.
COLUMN_OF = {"privacy_level": "privacy"}
# What people write for who may see a post → what the platforms call it.
LEVELS = {
    "public": ("PUBLIC_TO_EVERYONE", "public"),
    "everyone": ("PUBLIC_TO_EVERYONE", "public"),
    "private": ("SELF_ONLY", "private"),
    "only me": ("SELF_ONLY", "private"),
}
ANSWERS = (Refused, WrongState, Permanent)


@dataclass(frozen=True)
class Row:
    """One row as it would be planned. `problems` are its mistakes by column, `notes` what is good to know of it."""

    line: publishing.imports.Line
    video: videos.Video | None = None
    wanted: tuple[tuple[accounts.Account, platforms.Post], ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    doubles: Mapping[int, str] = field(default_factory=dict)

    @property
    def number(self) -> int:
        return self.line.number

    @property
    def cells(self) -> Mapping[str, str]:
        return self.line.cells

    @property
    def rest(self) -> list[str]:
        """What is wrong with the row as a whole."""
        return [said for name, said in self.problems.items() if name not in publishing.imports.COLUMNS]

    @property
    def notes(self) -> list[str]:
        when = self.line.when
        return [*([when.note] if when is not None and when.note else []), *self.doubles.values()]

    @property
    def words(self) -> str:
        """What will become of it."""
        names = ", ".join(f"@{account.handle}" for account, _ in self.wanted)
        return f"{self.line.when.words() if self.line.when else ''} to {names}"


async def preview(conn: db.Conn, lines: Sequence[publishing.imports.Line]) -> list[Row]:
    """What would become of each row: its video and accounts are looked up, and what they would refuse is told. Plans
    nothing.
    """
    known = await _known(conn, lines)
    seen: set[tuple[object, ...]] = set()
    return [await _look(conn, line, known, seen) for line in lines]


@dataclass(frozen=True)
class _Known:
    """The workspace's videos by number and by file name, its accounts by handle."""

    by_id: Mapping[int, videos.Video]
    by_name: Mapping[str, list[videos.Video]]
    by_handle: Mapping[str, list[accounts.Account]]


async def _known(conn: db.Conn, lines: Sequence[publishing.imports.Line]) -> _Known:
    said = {line.video for line in lines}
    numbers = [int(name) for name in said if name.isascii() and name.isdigit() and len(name) <= 18]
    found = await db.many(
        conn,
        videos.Video,
        "SELECT {columns} FROM videos WHERE id = ANY (%s) OR filename = ANY (%s) ORDER BY id",
        [numbers, list(said)],
    )
    by_name: dict[str, list[videos.Video]] = {}
    for video in found:
        by_name.setdefault(video.filename, []).append(video)
    by_handle: dict[str, list[accounts.Account]] = {}
    for account in await accounts.list_for(conn):
        for name in (account.handle, f"{account.platform}:{account.handle}"):
            by_handle.setdefault(name.lower(), []).append(account)
    return _Known({video.id: video for video in found}, by_name, by_handle)


async def _look(
    conn: db.Conn, line: publishing.imports.Line, known: _Known, seen: set[tuple[object, ...]]
) -> Row:
    problems = dict(line.mistakes)
    video = _video(line, known, problems)
    chosen = _accounts(line, known, problems)
    wanted: list[tuple[accounts.Account, platforms.Post]] = []
    doubles: dict[int, str] = {}
    for account in chosen:
        post = _post(line, account, "" if video is None else video.title)
        wanted.append((account, post))
        if video is None or line.when is None:
            continue
        made = videos.State(video.state) == videos.State.EDITED
        media = videos.media_of(video) if made else None
        for name, text in publishing.publications.problems_of(account, post, media).items():
            problems.setdefault(COLUMN_OF.get(name, "video" if name == "media" else name), text)
        if double := await _double(conn, account, post, media, video, line.when, seen):
            doubles[account.id] = double
    return Row(line, video, tuple(wanted), problems, doubles)


def _video(line: publishing.imports.Line, known: _Known, problems: dict[str, str]) -> videos.Video | None:
    if "video" in problems:
        return None
    named = known.by_name.get(line.video, [])
    number = int(line.video) if line.video.isascii() and line.video.isdigit() and len(line.video) <= 18 else 0
    found = known.by_id.get(number) or (named[0] if len(named) == 1 else None)
    if len(named) > 1 and found is None:
        ids = ", ".join(str(video.id) for video in named[:5])
        problems["video"] = f"Several videos have this name: give the number of one ({ids})."
    elif found is None:
        problems["video"] = "There is no such video in your library."
    elif found.state in (videos.State.FAILED, videos.State.CANCELLED):
        problems["video"] = "This video was not made: retry it first."
    return found


def _accounts(
    line: publishing.imports.Line, known: _Known, problems: dict[str, str]
) -> list[accounts.Account]:
    chosen: list[accounts.Account] = []
    if "accounts" in problems:
        return chosen
    for handle in line.accounts:
        found = known.by_handle.get(handle.lower().replace(":@", ":"), [])
        if len(found) > 1:
            names = ", ".join(f"{account.platform}:{account.handle}" for account in found)
            problems.setdefault("accounts", f"Several accounts are called {handle}: say which ({names}).")
        elif not found:
            problems.setdefault("accounts", f"No connected account is called {handle}.")
        elif found[0].state != accounts.CONNECTED:
            problems.setdefault("accounts", f"@{handle} has to be connected again first.")
        elif found[0] not in chosen:
            chosen.append(found[0])
    if len(chosen) > publishing.publications.MOST_TARGETS:
        problems.setdefault(
            "accounts", f"These are {len(chosen)}; {publishing.publications.MOST_TARGETS} are the most."
        )
    return chosen


def _post(line: publishing.imports.Line, account: accounts.Account, title: str) -> platforms.Post:
    post = line.post(title)
    levels = platforms.get(account.platform).PRIVACY
    said = line.privacy.lower()
    meant = [level for level in levels if level.lower() == said or levels[level].lower() == said]
    meant += [level for level in LEVELS.get(said, ()) if level in levels]
    level = meant[0] if meant else line.privacy if levels else ""
    return platforms.Post(title=post.title, description=post.description, privacy_level=level, tags=post.tags)


async def _double(
    conn: db.Conn,
    account: accounts.Account,
    post: platforms.Post,
    media: publishing.Media | None,
    video: videos.Video,
    when: When,
    seen: set[tuple[object, ...]],
) -> str | None:
    at = when.at or datetime.now(UTC)
    # In the file itself: the same to the same account on the same day.
    same = (video.id, account.id, post.title, post.description, at.date())
    if same in seen:
        return f"The same goes to @{account.handle} on that day by another row."
    seen.add(same)
    found = await publishing.double_of(
        conn, account_id=account.id, post=post, media=media, at=at, video_id=video.id
    )
    if found is None:
        return None
    return f"The same goes to @{account.handle} {When.instant(found, when.zone).words()} already."


async def import_all(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    lines: Sequence[publishing.imports.Line],
    key: str,
    allow_doubles: bool = False,
) -> Batch:
    """Plan all of it in one batch; a row with mistakes, and what one account refuses, is an item with its reason and
    stops nothing. The same post within a day is not planned again unless `allow_doubles`.

    The same `key` again gives the batch that was made; with another file it is refused.
    """
    said = [[line.number, sorted(line.cells.items()), repr(line.when)] for line in lines]
    digest = hashlib.sha256(json.dumps([user_id, allow_doubles, said]).encode()).digest()

    async def first() -> dedup.Kept:
        batch = await _import(conn, workspace_id, user_id, lines, allow_doubles)
        return dedup.Kept(201, {"batch": batch.id})

    kept = await dedup.once(conn, workspace_id, f"import-{key}", digest, first)
    return await rows.get(conn, int(kept.answer["batch"]))


async def _import(
    conn: db.Conn,
    workspace_id: int,
    user_id: int,
    lines: Sequence[publishing.imports.Line],
    allow_doubles: bool,
) -> Batch:
    found = await preview(conn, lines)
    posts = sum(max(1, len(row.wanted)) for row in found)
    if posts > MOST_POSTS:
        text = f"These rows are {posts} posts; {MOST_POSTS} are the most in one file."
        raise Refused(text, code="too_many", fields={"file": text})
    batch = await db.one(
        conn,
        Batch,
        "INSERT INTO batches (workspace_id, user_id, act) VALUES (%s, %s, %s) RETURNING {columns}",
        [workspace_id, user_id, Act.IMPORT],
    )
    moments: set[datetime] = set()
    # In the order of the videos, so that two batches of the same ones wait for each other and never both.
    for row in sorted(found, key=lambda row: (row.video.id if row.video else 0, row.number)):
        moments |= await _import_row(conn, batch, row, allow_doubles)
    await publishing.publications.set_alarms(conn, workspace_id, moments)
    await events.emit(
        conn,
        "batch.created",
        batch.topic,
        workspace_id=workspace_id,
        act=Act.IMPORT,
        by=user_id,
        many=posts,
    )
    return batch


async def _import_row(conn: db.Conn, batch: Batch, row: Row, allow_doubles: bool) -> set[datetime]:
    """Plan one row and write its items; gives the moment that needs an alarm."""
    if row.problems or row.video is None or row.line.when is None:
        mistakes = "; ".join(
            f"{name}: {text}" if name in publishing.imports.COLUMNS else text
            for name, text in row.problems.items()
        )
        await _add(conn, batch, row, None, None, Refused(f"Row {row.number}: {mistakes}", code="row"), None)
        return set()
    good = [(account, post) for account, post in row.wanted if allow_doubles or account.id not in row.doubles]
    for account, post in row.wanted:
        if account.id in row.doubles and not allow_doubles:
            refused = Refused(row.doubles[account.id], code="duplicate")
            await _add(conn, batch, row, account, post, refused, None)
    if not good:
        return set()
    try:
        async with conn.transaction():
            made = await publishing.publications.plan(
                conn,
                workspace_id=batch.workspace_id,
                user_id=batch.user_id,
                video_id=row.video.id,
                wanted=[publishing.Wanted(account.id, post) for account, post in good],
                when=row.line.when,
                source="import",
                text=row.line.title,
                batch_id=batch.id,
            )
    except ANSWERS as error:
        for account, post in good:
            await _add(conn, batch, row, account, post, error, None)
        return set()
    of_account = {target.account_id: target.id for target in made.targets}
    for account, post in good:
        await _add(conn, batch, row, account, post, None, of_account[account.id])
    return {row.line.when.at} if row.line.when.at is not None else set()


async def _add(
    conn: db.Conn,
    batch: Batch,
    row: Row,
    account: accounts.Account | None,
    post: platforms.Post | None,
    refused: HouseError | None,
    target_id: int | None,
) -> None:
    """Write the item of this row and account, with what it wants and what came of it."""
    video = row.video
    title = (post.title if post is not None else row.line.title) or f"Row {row.number}"
    await conn.execute(
        """
        INSERT INTO batch_items (workspace_id, batch_id, title, filename, bytes, video_id, branded, accepted,
                                 target_id, refused, refused_code, asked, row_number)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        [
            batch.workspace_id,
            batch.id,
            title[:MOST_LETTERS],
            video.filename if video is not None else videos.clean_name(row.line.video),
            video.source_bytes if video is not None else 0,
            None if video is None else video.id,
            video is not None and video.state == videos.State.EDITED,
            target_id is not None,
            target_id,
            None if refused is None else refused.message,
            None if refused is None else refused.code,
            None if account is None or post is None else Jsonb(_asked(row, account, post)),
            row.number,
        ],
    )


def _asked(row: Row, account: accounts.Account, post: platforms.Post) -> dict[str, Any]:
    when = row.line.when
    assert when is not None
    return {
        "accountId": account.id,
        "post": post.to_json(),
        "text": row.line.title,
        "at": when.wall,
        "zone": when.zone,
        "fold": when.fold,
    }


async def plan_one(conn: db.Conn, batch: Batch, item: Item) -> int:
    """Plan an item that was not accepted before: the person asks for it again, so a double is meant. Refused for a row
    with mistakes, and for a time that has passed.
    """
    if item.asked is None or item.video_id is None:
        raise Refused(item.refused or "This row has mistakes: import it again.", code="row")
    asked = item.asked
    when = When.on(asked["at"], asked["zone"], asked["fold"]) if asked["at"] else When.now(str(asked["zone"]))
    made = await publishing.compose_all(
        conn,
        workspace_id=batch.workspace_id,
        user_id=batch.user_id,
        video_id=item.video_id,
        wanted=[publishing.Wanted(int(asked["accountId"]), platforms.Post.from_json(asked["post"]))],
        when=when,
        source="import",
        text=str(asked["text"]),
        batch_id=batch.id,
    )
    if not made.targets:
        raise NotFound
    return made.targets[0].id
