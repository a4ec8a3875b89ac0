"""Publications: one post of a video on several accounts, planned together, and how all of it stands."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from app import accounts, db, events, platforms
from app.errors import NotFound, Refused, WrongState
from app.publishing import drafts, release, rows
from app.publishing.pictures import with_pictures
from app.publishing.rows import Media, State, Target
from app.publishing.when import When

# As many accounts as one publication may go to.
MOST_TARGETS = 100
SHOWN = (
    "draft", "scheduled", "queued", "publishing", "unconfirmed", "published", "partially_published", "failed",
    "missed", "cancelled",
)  # fmt: skip
SOURCES = ("composer", "api", "import", "upload")


@dataclass(frozen=True)
class Wanted:
    """One target that is asked for."""

    account_id: int
    post: platforms.Post


@dataclass(frozen=True)
class _Row:
    id: int
    workspace_id: int
    user_id: int
    video_id: int
    text: str
    source: str
    batch_id: int | None
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True)
class Publication(_Row):
    """What goes out together. `text` is the base text that the accounts' own texts started from."""

    targets: tuple[Target, ...] = ()

    @property
    def topic(self) -> str:
        return f"publication-{self.id}"

    @property
    def state(self) -> str:
        """The one word for all targets: what still moves first, then how it ended."""
        return state_of([target.state for target in self.targets])

    @property
    def can_change(self) -> bool:
        return any(target.can_change for target in self.targets)

    @property
    def can_cancel(self) -> bool:
        return any(target.can_cancel for target in self.targets)

    @property
    def to_retry(self) -> int:
        return sum(target.state in (State.FAILED, State.MISSED) for target in self.targets)

    @property
    def when(self) -> When:
        """When it was planned for; of several times the first. `When.now()` while it has no target."""
        return min(
            (target.when for target in self.targets),
            key=lambda when: when.at.timestamp() if when.at else 0,
            default=When.now(),
        )


def state_of(states: Sequence[str]) -> str:
    """The one word for targets in these states; `publication_state` in the database says the same."""
    for going in (
        State.PUBLISHING,
        State.QUEUED,
        State.UNCONFIRMED,
        State.SCHEDULED,
        State.DRAFT,
    ):
        if going in states:
            return str(going)
    if State.PUBLISHED in states:
        bad = State.FAILED in states or State.MISSED in states
        return "partially_published" if bad else str(State.PUBLISHED)
    for over in (State.FAILED, State.MISSED, State.CANCELLED):
        if over in states:
            return str(over)
    return str(State.DRAFT)


@dataclass(frozen=True)
class Planned:
    """A target as the calendar shows it. `at` is when it goes out, or went out; `account_state` tells that it will
    have to wait.
    """

    id: int
    publication_id: int
    video_id: int
    account_id: int
    platform: str
    handle: str
    account_state: str
    paused_at: datetime | None
    text: str
    post: dict[str, Any]
    state: str
    publish_at: datetime
    release_at: datetime | None
    published_at: datetime | None
    zone: str
    wall_time: str | None
    fold: int
    held_at: datetime | None
    reason: str | None
    reason_code: str | None
    url: str | None
    progress: float
    targets: int

    @property
    def at(self) -> datetime:
        return self.published_at or self.release_at or self.publish_at

    @property
    def when(self) -> When:
        return When.kept(self.publish_at, self.zone, self.wall_time, self.fold)

    @property
    def held(self) -> bool:
        return self.held_at is not None and self.state == State.SCHEDULED

    @property
    def can_change(self) -> bool:
        return self.state in rows.CHANGEABLE

    @property
    def title(self) -> str:
        """What people will read first."""
        return str(self.post.get("title") or self.text or self.post.get("description") or "")


async def compose_all(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    video_id: int,
    wanted: Sequence[Wanted],
    when: When,
    draft_id: int | None = None,
    source: str = "composer",
    text: str = "",
    batch_id: int | None = None,
) -> Publication:
    """Plan a post of this video on each of these accounts: the rows, their alarm and the end of the draft commit
    together. What is due and ready is in line at once.

    Refused with every problem as `<account id>.<field>`, or under `at`, `targets`; NotFound for a stranger's account
    or video, WrongState for an account that has to be connected again and for a video that was not made.
    """
    made = await plan(
        conn,
        workspace_id=workspace_id,
        user_id=user_id,
        video_id=video_id,
        wanted=wanted,
        when=when,
        source=source,
        text=text,
        batch_id=batch_id,
    )
    if when.at is not None:
        await rows.set_alarm(conn, workspace_id, when.at)
    if draft_id is not None:
        await drafts.remove(conn, draft_id)
    return made


async def plan(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    video_id: int,
    wanted: Sequence[Wanted],
    when: When,
    source: str,
    text: str = "",
    batch_id: int | None = None,
) -> Publication:
    """`compose_all` without the alarm, which whoever plans many sets once for each moment (`set_alarms`)."""
    when.check()
    state, media = await video_to_post(conn, video_id)
    if state in ("FAILED", "CANCELLED"):
        raise WrongState("This video was not made: retry it first.", code="not_ready")
    chosen = await _check(conn, wanted, media)
    sent = {}
    for one in wanted:
        whole = await with_pictures(conn, media, one.post, workspace_id)
        platform = chosen[one.account_id].platform
        sent[one.account_id] = None if whole is None else Jsonb(whole.to_json(platform))
    publication_id = await db.value(
        conn,
        """
        INSERT INTO publications (workspace_id, user_id, video_id, text, source, batch_id)
        VALUES (%s, %s, %s, %s, %s, %s)
        RETURNING id""",
        [workspace_id, user_id, video_id, text or wanted[0].post.title, source, batch_id],
    )
    planned = [
        await db.one(
            conn,
            Target,
            """
            INSERT INTO targets (workspace_id, publication_id, video_id, account_id, platform, post, media,
                                 publish_at, zone, wall_time, fold, state)
            VALUES (%s, %s, %s, %s, %s, %s, %s, coalesce(%s, clock_timestamp()), %s, %s, %s, 'scheduled')
            RETURNING {columns}""",
            [
                workspace_id, publication_id, video_id, one.account_id, chosen[one.account_id].platform,
                Jsonb(one.post.to_json()), sent[one.account_id], when.at, when.zone,
                when.wall or None, when.fold,
            ],
        )
        for one in wanted
    ]  # fmt: skip
    await events.emit(
        conn,
        "publication.planned",
        f"publication-{publication_id}",
        workspace_id=workspace_id,
        by=user_id,
        many=len(planned),
    )
    await release.go_if_due(conn, planned)
    return await get(conn, publication_id)


async def set_alarms(conn: db.Conn, workspace_id: int, moments: Iterable[datetime]) -> None:
    """One alarm for each of these moments; in order, so that two who set the same ones never wait for each other."""
    for at in sorted(set(moments)):
        await rows.set_alarm(conn, workspace_id, at)


async def video_to_post(conn: db.Conn, video_id: int) -> tuple[str, Media | None]:
    """The video's own state and, once it is edited, the file to send; holds it for this transaction, so that its edit
    cannot end unseen beside what is being planned. NotFound for a stranger's.
    """
    found = await db.rows(conn, "SELECT state, media FROM video_to_post(%s)", [video_id])
    if not found:
        raise NotFound("There is no such video.")
    state, media = found[0]
    return str(state), None if media is None else Media(**media)


async def _check(conn: db.Conn, wanted: Sequence[Wanted], media: Media | None) -> dict[int, accounts.Account]:
    """The accounts, when each may post what is wanted there."""
    if not wanted:
        raise Refused("Choose at least one account.", code="invalid", fields={"targets": "is empty"})
    if len(wanted) > MOST_TARGETS:
        most = f"may name {MOST_TARGETS} at most, not {len(wanted)}"
        raise Refused("These are too many accounts.", code="invalid", fields={"targets": most})
    if len({one.account_id for one in wanted}) < len(wanted):
        raise Refused(
            "An account is named twice.", code="invalid", fields={"targets": "names an account twice"}
        )
    chosen: dict[int, accounts.Account] = {}
    problems: dict[str, str] = {}
    for one in wanted:
        account = chosen[one.account_id] = await accounts.usable(conn, one.account_id)
        whole = await with_pictures(conn, media, one.post, account.workspace_id)
        found = problems_of(account, one.post, whole)
        problems |= {f"{one.account_id}.{name}": said for name, said in found.items()}
    if problems:
        raise Refused("Some of this needs another look.", code="invalid", fields=problems)
    return chosen


def problems_of(account: accounts.Account, post: platforms.Post, media: Media | None) -> dict[str, str]:
    """What the platform would refuse of this post, by the field of the post (`media` for the file): the choices alone
    while there is no file. What the account may do is as last heard; it is asked again right before the post.
    """
    creator = accounts.creator_of(account)
    if creator is None:
        return {}
    adapter = platforms.get(account.platform)
    shown = ANY_FILE if media is None else _as_sent(media)
    found = adapter.check(creator, adapter.fit(creator, post), shown)
    if media is None:
        found = {name: said for name, said in found.items() if name in adapter.FIELDS}
    return dict(found)


async def _read(start: int, end: int) -> AsyncIterator[bytes]:
    """Nothing: only the facts of the file are looked at."""
    return
    yield b""


async def _address() -> str:
    """Nowhere: that there will be an address is all that is asked."""
    return ""


def _as_sent(media: Media) -> platforms.Media:
    kept = media.cover
    cover = None
    if kept is not None:
        size = (kept["width_px"], kept["height_px"])
        cover = platforms.Media(kept["bytes"], kept["sha256"], "image/jpeg", 0.0, *size, 0.0, _read, _address)
    return platforms.Media(
        bytes_total=media.bytes,
        sha256=media.sha256,
        content_type=media.content_type,
        duration_s=media.duration_s,
        width_px=media.width_px,
        height_px=media.height_px,
        fps=media.fps,
        read=_read,
        link=_address,
        cover=cover,
        more=tuple(_as_sent(Media(**one)) for one in media.more or ()),
    )


# A file that every platform takes, to ask about the choices alone.
ANY_FILE = platforms.Media(
    bytes_total=1_000_000,
    sha256="",
    content_type="video/mp4",
    duration_s=10.0,
    width_px=1080,
    height_px=1920,
    fps=30.0,
    read=_read,
    link=_address,
    cover=platforms.Media(10_000, "", "image/jpeg", 0.0, 1080, 1920, 0.0, _read, _address),
)


async def get(conn: db.Conn, publication_id: int) -> Publication:
    """The publication with its targets in their order; NotFound for a stranger's."""
    row = await db.one(conn, _Row, "SELECT {columns} FROM publications WHERE id = %s", [publication_id])
    return (await _with_targets(conn, [row]))[0]


async def list_for(
    conn: db.Conn,
    *,
    before_id: int | None = None,
    most: int = 24,
    state: str | None = None,
    account_id: int | None = None,
) -> list[Publication]:
    """The workspace's publications, newest first; `state` is one of SHOWN."""
    found = await db.many(
        conn,
        _Row,
        """
        SELECT {columns}
          FROM publications
         WHERE (%(before_id)s::bigint IS NULL OR id < %(before_id)s)
           AND (%(account_id)s::bigint IS NULL
                OR EXISTS (SELECT FROM targets
                            WHERE publication_id = publications.id AND account_id = %(account_id)s))
           AND (%(state)s::text IS NULL
                OR %(state)s = publication_state(ARRAY(SELECT state FROM targets
                                                        WHERE publication_id = publications.id)))
         ORDER BY id DESC
         LIMIT %(most)s""",
        {"before_id": before_id, "account_id": account_id, "state": state, "most": most},
    )
    return await _with_targets(conn, found)


async def _with_targets(conn: db.Conn, found: Sequence[_Row]) -> list[Publication]:
    targets = await db.many(
        conn,
        Target,
        "SELECT {columns} FROM targets WHERE publication_id = ANY (%s) ORDER BY id",
        [[row.id for row in found]],
    )
    return [
        Publication(
            **vars(row), targets=tuple(target for target in targets if target.publication_id == row.id)
        )
        for row in found
    ]


_PLANNED = """
        SELECT {columns}
          FROM (SELECT targets.*, accounts.handle, accounts.state AS account_state, accounts.paused_at,
                       publications.text,
                       (SELECT count(*) FROM targets AS beside
                         WHERE beside.publication_id = targets.publication_id) AS targets
                  FROM targets
                  JOIN accounts ON accounts.id = targets.account_id
                  JOIN publications ON publications.id = targets.publication_id) AS planned
"""


async def between(
    conn: db.Conn, from_at: datetime, to_at: datetime, *, account_id: int | None = None, most: int = 5_000
) -> list[Planned]:
    """What goes out, or went out, from this moment to just before that one, in the order of time; what was cancelled
    is left out.
    """
    return await db.many(
        conn,
        Planned,
        _PLANNED
        + """
         WHERE publish_at >= %(from_at)s AND publish_at < %(to_at)s AND state <> 'cancelled'
           AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
         ORDER BY publish_at, id
         LIMIT %(most)s""",
        {"from_at": from_at, "to_at": to_at, "account_id": account_id, "most": most},
    )


async def missed(conn: db.Conn, *, most: int = 200) -> list[Planned]:
    """What missed its time, and what is held back until a person decides; the oldest first."""
    return await db.many(
        conn,
        Planned,
        _PLANNED
        + """
         WHERE state = 'missed' OR state = 'scheduled' AND held_at IS NOT NULL
         ORDER BY publish_at, id
         LIMIT %s""",
        [most],
    )


async def in_trouble(conn: db.Conn, *, most: int = 100) -> list[Planned]:
    """What failed, what no platform has confirmed for an hour, and what is due and waits for its account to be
    connected again; the newest first.
    """
    return await db.many(
        conn,
        Planned,
        _PLANNED
        + """
         WHERE state = 'failed'
            OR state = 'unconfirmed' AND changed_at < now() - interval '1 hour'
            OR state = 'scheduled' AND reason_code = 'needs_reconnect'
         ORDER BY publish_at DESC, id DESC
         LIMIT %s""",
        [most],
    )


async def retry_failed(conn: db.Conn, publication_id: int) -> int:
    """Try again what failed or missed its time, and nothing else; gives how many are on their way. A second call finds
    nothing and changes nothing.
    """
    publication = await get(conn, publication_id)
    again = 0
    for target in publication.targets:
        if target.state in (State.FAILED, State.MISSED):
            # One whose account has to be connected again first leaves the others alone.
            with contextlib.suppress(WrongState, NotFound):
                async with conn.transaction():
                    await retry(conn, target.id)
                    again += 1
    return again


async def retry(conn: db.Conn, target_id: int) -> Target:
    """Let one post go on that failed, missed its time or was cancelled, with its video's file as it is now. Twice
    raises WrongState.
    """
    target = await rows.hold(conn, target_id)
    _, media = await video_to_post(conn, target.video_id)
    if target.can_retry:
        whole = await with_pictures(conn, media, target.choices, target.workspace_id)
        kept = None if whole is None else Jsonb(whole.to_json(target.platform))
        await conn.execute("UPDATE targets SET media = %s WHERE id = %s", [kept, target.id])
    return await rows.retry(conn, target_id)
