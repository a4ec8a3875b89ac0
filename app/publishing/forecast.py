"""What will happen to a post at its time, told before it is planned: the account and its limits then, the file, doubles
and changes of the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from app import accounts, config, db, platforms
from app.publishing import publications
from app.publishing.rows import Media
from app.publishing.when import When

# The same post within this time on one account is most likely a mistake (TikTok and others refuse it, too).
SAME_WITHIN = timedelta(hours=24)
OK: Final = "ok"
WARN: Final = "warn"
STOP: Final = "stop"


@dataclass(frozen=True)
class Foretold:
    """One thing that is known of the post beforehand. `stop`: it would not go out like this."""

    kind: Literal["ok", "warn", "stop"]
    text: str
    code: str = ""


async def forecast(
    conn: db.Conn,
    *,
    account: accounts.Account,
    post: platforms.Post,
    media: Media | None,
    when: When,
    video_id: int | None,
    target_id: int | None = None,
) -> list[Foretold]:
    """What will happen to this post on this account, in the order in which a person asks. `target_id` is the post that
    is being changed, if it is one.
    """
    at = when.at or datetime.now(UTC)
    told = [*_time(when), *_account(account, when, at), *_file(account, post, media)]
    told += await _limits(conn, account, when, at, target_id)
    if video_id is not None:
        told += await _double(conn, account, post, media, when, at, video_id, target_id)
    return told


def _time(when: When) -> list[Foretold]:
    if when.at is not None and when.at < datetime.now(UTC) - timedelta(minutes=1):
        return [Foretold(STOP, "This time has passed already.", "passed")]
    told = [Foretold(OK, f"{when.words()}.", "when")]
    if when.note:
        told.append(Foretold(WARN, when.note, "clock_change"))
    return told


def _account(account: accounts.Account, when: When, at: datetime) -> list[Foretold]:
    name = f"@{account.handle}"
    if account.state == accounts.DISCONNECTED:
        return [Foretold(STOP, f"{name} is no longer connected.", accounts.DISCONNECTED)]
    if account.state == accounts.NEEDS_RECONNECT:
        reason = account.reason or f"{name} has to be connected again."
        return [Foretold(STOP, f"{reason} The post waits until then.", accounts.NEEDS_RECONNECT)]
    if account.missing_scopes:
        missing = ", ".join(account.missing_scopes)
        return [Foretold(STOP, f"{name} has not allowed {missing}: connect it again.", "missing_scopes")]
    told = []
    if account.paused_at is not None:
        told.append(
            Foretold(WARN, f"{name} is paused: the post waits until you resume it.", "account_paused")
        )
    if account.held_until is not None and account.held_until > at:
        until = When.instant(account.held_until, when.zone).words()
        told.append(
            Foretold(
                WARN, f"{account.held_reason or 'The platform asked it to wait.'} Until {until}.", "held"
            )
        )
    ends = account.refresh_expires_at
    if ends is not None and ends < at:
        text = (
            f"The connection of {name} ends before that, {When.instant(ends, when.zone).words()}: connect it "
            "again until then."
        )
        told.append(Foretold(WARN, text, "token_ends"))
    else:
        told.append(Foretold(OK, f"{name} is connected, also at that time.", "token"))
    return told


def _file(account: accounts.Account, post: platforms.Post, media: Media | None) -> list[Foretold]:
    found = publications.problems_of(account, post, media)
    if found:
        return [Foretold(STOP, text, f"not_accepted.{name}") for name, text in found.items()]
    if account.creator is None:
        return [Foretold(WARN, "What this account may do is asked right before the post.", "creator_unknown")]
    if media is None:
        return [Foretold(OK, "The file is checked as soon as it is ready.", "file_later")]
    return [Foretold(OK, f"{platforms.get(account.platform).LABEL} takes this file.", "file")]


async def _limits(
    conn: db.Conn, account: accounts.Account, when: When, at: datetime, target_id: int | None
) -> list[Foretold]:
    """What the account will have posted by then, against the limits of the platform and of the house."""
    told = []
    creator = accounts.creator_of(account)
    for quota in platforms.get(account.platform).quotas(creator):
        if quota.scope != "account":
            continue
        begin = _begin(quota, at)
        used = await _posts(conn, account.id, begin, at + timedelta(seconds=1), target_id)
        if used >= quota.most:
            told.append(
                Foretold(
                    WARN, f"{quota.sentence} {used} are planned or posted by then: this one waits.", "quota"
                )
            )
        else:
            text = f"{quota.most - used} of {quota.most} posts are left then."
            told.append(Foretold(OK, text, "quota"))
    most, window_s = config.get().account_uploads_most
    if most:
        half = timedelta(seconds=window_s)
        near = await _posts(conn, account.id, at - half, at + half, target_id)
        if near >= most:
            minutes = f"{window_s / 60:g} minutes"
            text = f"Another post of this account is due within {minutes}: one of them waits for the other."
            told.append(Foretold(WARN, text, "close"))
    return told


def _begin(quota: platforms.Quota, at: datetime) -> datetime:
    if quota.zone is None:
        return at - timedelta(seconds=quota.window_s)
    local = When.instant(at, quota.zone).local
    assert local is not None
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


async def _posts(
    conn: db.Conn, account_id: int, begin: datetime, end: datetime, target_id: int | None
) -> int:
    return int(
        await db.value(
            conn,
            """
            SELECT count(*)
              FROM targets
             WHERE account_id = %(account_id)s AND id IS DISTINCT FROM %(target_id)s
               AND state NOT IN ('cancelled', 'failed', 'missed', 'draft')
               AND coalesce(published_at, release_at, publish_at) >= %(begin)s
               AND coalesce(published_at, release_at, publish_at) < %(end)s""",
            {"account_id": account_id, "target_id": target_id, "begin": begin, "end": end},
        )
    )


async def double_of(
    conn: db.Conn,
    *,
    account_id: int,
    post: platforms.Post,
    media: Media | None,
    at: datetime,
    video_id: int,
    target_id: int | None = None,
) -> datetime | None:
    """When the same was posted or is planned within a day of this: the same video or the same file, on the same account
    with the same text. None when it was not.
    """
    found = await db.rows(
        conn,
        """
        SELECT coalesce(published_at, release_at, publish_at)
          FROM targets
         WHERE account_id = %(account_id)s AND id IS DISTINCT FROM %(target_id)s
           AND state NOT IN ('cancelled', 'failed', 'missed')
           AND (video_id = %(video_id)s OR media ->> 'sha256' = %(sha256)s)
           AND coalesce(post ->> 'title', '') = %(title)s
           AND coalesce(post ->> 'description', '') = %(description)s
           AND coalesce(published_at, release_at, publish_at) BETWEEN %(begin)s AND %(end)s
         ORDER BY id DESC
         LIMIT 1""",
        {
            "account_id": account_id,
            "target_id": target_id,
            "video_id": video_id,
            "sha256": None if media is None else media.sha256,
            "title": post.title,
            "description": post.description,
            "begin": at - SAME_WITHIN,
            "end": at + SAME_WITHIN,
        },
    )
    return found[0][0] if found else None


async def _double(
    conn: db.Conn,
    account: accounts.Account,
    post: platforms.Post,
    media: Media | None,
    when: When,
    at: datetime,
    video_id: int,
    target_id: int | None,
) -> list[Foretold]:
    found = await double_of(
        conn,
        account_id=account.id,
        post=post,
        media=media,
        at=at,
        video_id=video_id,
        target_id=target_id,
    )
    if found is None:
        return []
    text = f"The same video with the same text goes to @{account.handle} {When.instant(found, when.zone).words()}."
    return [Foretold(WARN, text, "double")]
