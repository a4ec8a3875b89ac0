"""Publications and their targets as rows: composing, releasing when due, cancelling, retrying, settling by
hand.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from app import accounts, db, jobs, live, platforms, queue, states
from app.errors import NotYet, WrongState
from app.publishing.when import When

# What waits for a pause is brought forward at its end; this is the net.
PAUSE_LOOK_S = 3600


class State(StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    PUBLISHING = "publishing"
    UNCONFIRMED = "unconfirmed"
    PUBLISHED = "published"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MISSED = "missed"


def _to(*states_: State) -> frozenset[str]:
    return frozenset(states_)


MACHINE = states.Machine(
    "target",
    "targets",
    {
        "": _to(State.DRAFT, State.SCHEDULED),
        State.DRAFT: _to(State.SCHEDULED, State.CANCELLED),
        # To itself: planned for another time.
        State.SCHEDULED: _to(State.SCHEDULED, State.QUEUED, State.MISSED, State.FAILED, State.CANCELLED),
        State.QUEUED: _to(State.PUBLISHING, State.FAILED, State.CANCELLED, State.SCHEDULED),
        State.PUBLISHING: _to(
            State.PUBLISHING,
            State.PUBLISHED,
            State.UNCONFIRMED,
            State.FAILED,
            State.CANCELLED,
            State.QUEUED,
            State.SCHEDULED,
        ),
        State.UNCONFIRMED: _to(
            State.UNCONFIRMED, State.PUBLISHED, State.FAILED, State.PUBLISHING, State.QUEUED
        ),
        State.FAILED: _to(State.QUEUED, State.SCHEDULED, State.CANCELLED),
        State.MISSED: _to(State.QUEUED, State.SCHEDULED, State.CANCELLED),
        State.CANCELLED: _to(State.SCHEDULED),
    },
)
OVER = (State.PUBLISHED, State.FAILED, State.CANCELLED, State.MISSED)
# In line or on its way: a run may hold it.
GOING = (State.QUEUED, State.PUBLISHING)
CHANGEABLE = (State.DRAFT, State.SCHEDULED, *GOING, State.FAILED, State.MISSED)


@dataclass(frozen=True)
class Media:
    """The edited file that will be sent: where it is, its size and hash, and what the platforms ask about it."""

    key: str
    bytes: int
    sha256: str
    content_type: str
    duration_s: float
    width_px: int
    height_px: int
    fps: float
    # The poster, for platforms that take a cover: `{key, bytes, sha256, width_px, height_px}`.
    cover: dict[str, Any] | None = None
    # The further pictures of a carousel, each as these same fields.
    more: list[dict[str, Any]] | None = None

    def to_json(self, platform: str) -> dict[str, Any]:
        """As a target keeps it. What only newer platforms take stays out of a TikTok post: code before this one
        reads those, and knows none of it.
        """
        kept = asdict(self)
        return {
            name: value
            for name, value in kept.items()
            if name not in ("cover", "more") or (value is not None and platform != "tiktok")
        }


@dataclass(frozen=True)
class Target:
    """One publication on one account. `post` holds the person's choices as the platform's adapter names them.

    `publish_at` is derived from what was chosen (`zone`, `wall_time`, `fold`). `release_at` is its turn after an
    outage, `held_at` says that a person has to decide, `released_at` when it was last put in line.
    """

    id: int
    workspace_id: int
    publication_id: int
    video_id: int
    account_id: int
    platform: str
    post: dict[str, Any]
    media: dict[str, Any] | None
    publish_at: datetime
    zone: str
    wall_time: str | None
    remote_id: str | None
    url: str | None
    url_provisional: bool
    state: str
    progress: float
    reason: str | None
    reason_code: str | None
    verdict: str | None
    job_id: int | None
    run: int | None
    published_at: datetime | None
    changed_at: datetime
    created_at: datetime
    fold: int = 0
    release_at: datetime | None = None
    held_at: datetime | None = None
    released_at: datetime | None = None
    edited_at: datetime | None = None

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def when(self) -> When:
        return When.kept(self.publish_at, self.zone, self.wall_time, self.fold)

    @property
    def choices(self) -> platforms.Post:
        return platforms.Post.from_json(self.post)

    @property
    def to_send(self) -> Media:
        if self.media is None:
            raise WrongState("The video is not ready yet.", code="not_ready")
        known = {each.name for each in fields(Media)}
        return Media(**{name: value for name, value in self.media.items() if name in known})

    @property
    def can_cancel(self) -> bool:
        return self.state in (State.DRAFT, State.SCHEDULED, State.QUEUED, State.PUBLISHING, State.MISSED)

    @property
    def can_change(self) -> bool:
        """Whether text and time may still be changed, as far as the row tells: the permit is asked when it is done."""
        return self.state in CHANGEABLE

    @property
    def can_retry(self) -> bool:
        return self.state in (State.FAILED, State.MISSED, State.CANCELLED)


@dataclass(frozen=True)
class Attempt:
    """One go at publishing, from intent to outcome: the ledger's row. `committed_at` is the spent permit."""

    id: int
    workspace_id: int
    target_id: int
    run: int
    intent_at: datetime
    inits: int
    publish_id: str | None
    resource_at: datetime | None
    expires_at: datetime | None
    bytes_sent: int
    committed_at: datetime | None
    asked_at: datetime | None
    asks: int
    outcome: str | None
    reason: str | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Call:
    """One call to the platform, as operators and owners may read it."""

    id: int
    target_id: int
    attempt_id: int | None
    at: datetime
    step: str
    status: int | None
    seconds: float
    outcome: str
    body: str


async def get(conn: db.Conn, target_id: int) -> Target:
    return await db.one(conn, Target, "SELECT {columns} FROM targets WHERE id = %s", [target_id])


async def hold(conn: db.Conn, target_id: int, run: int | None = None) -> Target:
    """Lock the target for this transaction and read it; Superseded when `run` is given and no longer holds it."""
    await conn.execute("SELECT 1 FROM targets WHERE id = %s FOR UPDATE", [target_id])
    if run is not None:
        await states.hold(conn, MACHINE, target_id, run)
    return await get(conn, target_id)


async def move(conn: db.Conn, target_id: int, to: State, *, run: int | None = None, **changes: Any) -> Target:
    """Move a target as `states.move` does, and tell the pages that show its video."""
    target = await states.move(conn, MACHINE, Target, target_id, to, run=run, **changes)
    await live.tell(conn, f"video-{target.video_id}", f"publication-{target.publication_id}")
    return target


async def tell(conn: db.Conn, target: Target) -> None:
    """Tell every page that shows this target."""
    await live.tell(
        conn,
        f"target-{target.id}",
        f"video-{target.video_id}",
        f"publication-{target.publication_id}",
        f"workspace-{target.workspace_id}",
    )


async def of_videos(conn: db.Conn, video_ids: list[int]) -> dict[int, list[Target]]:
    """The targets of these videos, by video, oldest first."""
    found = await db.many(
        conn, Target, "SELECT {columns} FROM targets WHERE video_id = ANY (%s) ORDER BY id", [video_ids]
    )
    return {video_id: [target for target in found if target.video_id == video_id] for video_id in video_ids}


async def attempts(conn: db.Conn, target_id: int) -> list[Attempt]:
    """Every go at publishing this target, newest first."""
    return await db.many(
        conn,
        Attempt,
        "SELECT {columns} FROM target_attempts WHERE target_id = %s ORDER BY id DESC",
        [target_id],
    )


async def calls(conn: db.Conn, target_id: int, *, most: int = 100) -> list[Call]:
    """What was said between us and the platform about this target, newest first."""
    return await db.many(
        conn,
        Call,
        "SELECT {columns} FROM target_calls WHERE target_id = %s ORDER BY id DESC LIMIT %s",
        [target_id, most],
    )


async def compose(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    video_id: int,
    account_id: int,
    post: platforms.Post,
    publish_at: datetime | None = None,
    zone: str = "UTC",
) -> Target:
    """Plan a post of this video on this account; `publish_at` None means as soon as the video is ready.

    NotFound for another workspace's account, WrongState for one that has to be connected again.
    """
    account = await accounts.usable(conn, account_id)
    publication_id = await db.value(
        conn,
        """
        INSERT INTO publications (workspace_id, user_id, video_id, text, source)
        VALUES (%s, %s, %s, %s, 'upload')
        RETURNING id""",
        [workspace_id, user_id, video_id, post.title],
    )
    target = await db.one(
        conn,
        Target,
        """
        INSERT INTO targets (workspace_id, publication_id, video_id, account_id, platform, post, publish_at,
        zone, state) VALUES (%s, %s, %s, %s, %s, %s, coalesce(%s, clock_timestamp()), %s, 'scheduled')
        RETURNING {columns}""",
        [
            workspace_id,
            publication_id,
            video_id,
            account.id,
            account.platform,
            Jsonb(post.to_json()),
            publish_at,
            zone,
        ],
    )
    if publish_at is not None:
        await set_alarm(conn, workspace_id, publish_at)
    return target


async def set_alarm(conn: db.Conn, workspace_id: int, at: datetime) -> None:
    """Look at what is due at that moment, in the transaction that plans it. Posts of one moment share one alarm;
    one that rings for nothing does no harm.
    """
    moment = at.astimezone(UTC).isoformat()
    await queue.defer(conn, jobs.RELEASE_AT, workspace_id=workspace_id, at=at, moment=moment)


async def put_in_line(conn: db.Conn, target: Target) -> Target:
    """Queue the upload of this target, in the transaction that says so."""
    job_id = await queue_upload(conn, target)
    return await move(
        conn,
        target.id,
        State.QUEUED,
        job_id=job_id,
        progress=0,
        verdict=None,
        release_at=None,
        held_at=None,
        released_at=datetime.now(UTC),
    )


async def queue_upload(conn: db.Conn, target: Target, *, at: datetime | None = None) -> int:
    """Posts of TikTok go with their video's upload job (S1.28); every other has a job of its own (S2.80)."""
    if target.platform == "tiktok":
        return await queue.defer(
            conn, jobs.UPLOAD_VIDEO, workspace_id=target.workspace_id, at=at, videoId=target.video_id
        )
    post = target.choices
    return await queue.defer(
        conn,
        jobs.PUBLISH_TO[target.platform],
        workspace_id=target.workspace_id,
        at=at,
        targetId=target.id,
        platform=target.platform,
        credentials={"accountId": target.account_id},
        content={
            "videoPath": target.to_send.key,
            "title": post.title,
            "description": post.description,
        },
        settings={"privacy": post.privacy_level, "allowComments": not post.disable_comment},
    )


async def queue_again(
    conn: db.Conn, target: Target, reason: str, run: int, *, at: datetime | None = None
) -> Target:
    """Back in line by a step's decision: what failed may be sent again without harm."""
    job_id = await queue_upload(conn, target, at=at)
    return await move(conn, target.id, State.QUEUED, run=run, job_id=job_id, progress=0, reason=reason)


async def cancel(conn: db.Conn, target_id: int) -> Target:
    """Stop a target that has not gone out. WrongState once its permit is spent: then only the platform knows.

    Decided by the rows' locks, so it is never both cancelled and sent.
    """
    target = await hold(conn, target_id)
    if target.state == State.CANCELLED:
        return target
    if not target.can_cancel:
        raise WrongState(f"This post is {target.state}: it cannot be cancelled any more.", code="too_late")
    if await db.value(conn, "SELECT close_attempt_unsent(%s)", [target_id]):
        raise WrongState("The platform already has the video: it can only be deleted there.", code="too_late")
    target = await move(conn, target_id, State.CANCELLED)
    await conn.execute("SELECT give_back_limits(%s)", [target_id])
    await leave_line(conn, target, "The post was cancelled.")
    return target


async def call_back(conn: db.Conn, target: Target, reason: str) -> None:
    """Take a target that the caller holds out of line or away from its run, which sends nothing more. WrongState once
    its permit is spent: then only the platform knows.
    """
    if await db.value(conn, "SELECT close_attempt_unsent(%s)", [target.id]):
        raise WrongState("The platform already has the video: it can only be changed there.", code="too_late")
    await conn.execute("SELECT give_back_limits(%s)", [target.id])
    await leave_line(conn, target, reason)


async def leave_line(conn: db.Conn, target: Target, reason: str) -> None:
    """Cancel the job that the target waited for, unless another target of the video waits for it, too."""
    others = await db.value(
        conn,
        """
        SELECT count(*)
          FROM targets
         WHERE video_id = %s AND job_id = %s AND id <> %s AND state IN ('queued', 'publishing')""",
        [target.video_id, target.job_id, target.id],
    )
    if target.job_id is not None and not others:
        await queue.cancel(conn, target.job_id, reason)


async def retry(conn: db.Conn, target_id: int) -> Target:
    """Queue a failed, missed or cancelled target again, with a fresh count of tries. Twice raises WrongState."""
    target = await get(conn, target_id)
    if not target.can_retry:
        raise WrongState(f"This post is {target.state}: there is nothing to retry.", code="not_over")
    await accounts.usable(conn, target.account_id)
    if target.state == State.CANCELLED:
        target = await move(conn, target_id, State.SCHEDULED, publish_at=datetime.now(UTC))
    if target.media is None:
        if target.state == State.FAILED:
            target = await move(conn, target_id, State.SCHEDULED)
        return target
    return await put_in_line(conn, target)


async def settle_by_hand(conn: db.Conn, target_id: int, *, published: bool) -> Target:
    """A person has looked at the platform and says what became of an unconfirmed post."""
    target = await get(conn, target_id)
    if target.state != State.UNCONFIRMED:
        raise WrongState(f"This post is {target.state}: there is nothing to settle.", code="not_unconfirmed")
    await conn.execute("SELECT close_attempt_by_hand(%s, %s)", [target_id, published])
    if published:
        return await move(conn, target_id, State.PUBLISHED, progress=100, published_at=datetime.now(UTC))
    return await states.move(
        conn,
        MACHINE,
        Target,
        target_id,
        State.FAILED,
        reason="You said that it did not go out.",
        reason_code="by_hand",
    )


STOPPED = "video_stopped"


async def stop_for_video(conn: db.Conn, video_id: int, reason: str) -> None:
    """The video itself was cancelled or failed: its planned targets do not go out."""
    for target in (await of_videos(conn, [video_id]))[video_id]:
        if target.state in (State.SCHEDULED, State.QUEUED):
            # What was begun with the old file is not gone on with when the video is made after all.
            if await db.value(conn, "SELECT close_attempt_unsent(%s)", [target.id]):
                continue
            stopped = await move(conn, target.id, State.CANCELLED, reason=reason, reason_code=STOPPED)
            await conn.execute("SELECT give_back_limits(%s)", [target.id])
            await leave_line(conn, stopped, reason)


async def resume_for_video(conn: db.Conn, video_id: int) -> None:
    """The video is being made after all: targets that were stopped with it, and no others, are planned again."""
    for target in (await of_videos(conn, [video_id]))[video_id]:
        if target.state == State.CANCELLED and target.reason_code == STOPPED:
            await move(conn, target.id, State.SCHEDULED)


async def job_of(conn: db.Conn, video_id: int) -> int | None:
    """The upload job of this video that is not over, if any."""
    found = await db.value(
        conn,
        "SELECT job_id FROM targets WHERE video_id = %s AND state IN ('queued', 'publishing') ORDER BY id LIMIT 1",
        [video_id],
    )
    return None if found is None else int(found)


async def check_pause(conn: db.Conn, target: Target) -> None:
    """NotYet while an operator has paused the target's platform or account; going on brings its job forward."""
    pause = await queue.paused(conn, target.platform, f"account-{target.account_id}")
    if pause is not None:
        raise NotYet(pause.sentence, after_s=PAUSE_LOOK_S, code="paused")


async def on_account(conn: db.Conn, account_id: int) -> list[Target]:
    """The account's targets that are not over, for its page."""
    return await db.many(
        conn,
        Target,
        """
        SELECT {columns}
          FROM targets
         WHERE account_id = %s AND state IN ('scheduled', 'queued', 'publishing', 'unconfirmed')
         ORDER BY publish_at
         LIMIT 50""",
        [account_id],
    )
