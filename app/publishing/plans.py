"""Plans are changed up to the last moment: moved, edited, cancelled, let go or skipped. The rows' locks decide: what a
run has already asked the platform to publish is refused in a sentence, and what is called back is never sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from app import accounts, db, events, platforms, states
from app.errors import Refused, WrongState
from app.publishing import publications, release, rows
from app.publishing.pictures import with_pictures
from app.publishing.publications import Publication
from app.publishing.rows import CHANGEABLE, GOING, MACHINE, State, Target
from app.publishing.when import When

LATE = "too_late"


@dataclass(frozen=True)
class Changes:
    """What is to be changed of a publication; None leaves it. `posts` are the new posts by account."""

    text: str | None = None
    when: When | None = None
    posts: Mapping[int, platforms.Post] | None = None


async def move_target(conn: db.Conn, target_id: int, when: When) -> Target:
    """Plan one post for another time; row and alarm change together. WrongState once the platform may have it.

    One that is in line or on its way goes back to being planned; one that failed or missed its time is planned anew.
    """
    when.check()
    target = await rows.hold(conn, target_id)
    _check_open(target, "moved")
    if target.state in (State.FAILED, State.MISSED):
        await accounts.usable(conn, target.account_id)
    if target.state in GOING:
        await rows.call_back(conn, target, "The post was planned for another time.")
    target = await _plan(conn, target, when, "target.moved")
    if when.at is not None:
        await rows.set_alarm(conn, target.workspace_id, when.at)
    return (await release.go_if_due(conn, [target]))[0]


def _check_open(target: Target, what: str) -> None:
    if target.state not in CHANGEABLE:
        raise WrongState(f"This post is {target.state}: it cannot be {what} any more.", code=LATE)


async def _plan(conn: db.Conn, target: Target, when: When, event: str) -> Target:
    at = when.at or await db.value(conn, "SELECT clock_timestamp()")
    moved = await states.move(
        conn,
        MACHINE,
        Target,
        target.id,
        State.SCHEDULED,
        event=event,
        detail={"at": at.isoformat(), "zone": when.zone},
        publish_at=at,
        zone=when.zone,
        wall_time=when.wall or None,
        fold=when.fold,
        release_at=None,
        held_at=None,
        job_id=None,
        progress=0,
        verdict=None,
    )
    await rows.tell(conn, moved)
    return moved


async def move(conn: db.Conn, publication_id: int, when: When) -> Publication:
    """Plan all of a publication that is not out yet for another time. WrongState when nothing of it can be moved."""
    when.check()
    await _each(conn, publication_id, lambda target: move_target(conn, target.id, when), "moved")
    return await publications.get(conn, publication_id)


async def _each(
    conn: db.Conn, publication_id: int, act: Callable[[Target], Awaitable[Any]], what: str
) -> int:
    """Do it to each target that can still be changed; what is too late for one stops none of the others."""
    publication = await publications.get(conn, publication_id)
    done, late = 0, WrongState(f"Nothing of this can be {what} any more.", code=LATE)
    for target in publication.targets:
        if target.state not in CHANGEABLE:
            continue
        try:
            async with conn.transaction():
                await act(target)
        except WrongState as error:
            late = error
            continue
        done += 1
    if not done:
        raise late
    await conn.execute(
        "UPDATE publications SET changed_at = clock_timestamp() WHERE id = %s", [publication_id]
    )
    return done


async def edit_target(conn: db.Conn, target_id: int, post: platforms.Post) -> Target:
    """Give one post other words and choices. WrongState once the platform may have it; Refused with what the platform
    would not take. One that is on its way starts anew with them.
    """
    target = await rows.hold(conn, target_id)
    _check_open(target, "edited")
    account = await accounts.usable(conn, target.account_id)
    media = None if target.media is None else replace(target.to_send, more=None)
    media = await with_pictures(conn, media, post, target.workspace_id)
    if problems := publications.problems_of(account, post, media):
        raise Refused("Some of this needs another look.", code="invalid", fields=problems)
    if target.choices == post:
        return target
    if target.state in GOING:
        await rows.call_back(conn, target, "The post was edited.")
    elif await db.value(conn, "SELECT close_attempt_unsent(%s)", [target_id]):
        # What was begun for it before holds the old words; one that may be out already keeps them.
        raise WrongState("The platform already has this post: it can only be changed there.", code=LATE)
    await conn.execute(
        "UPDATE targets SET post = %s, media = %s, edited_at = clock_timestamp() WHERE id = %s",
        [Jsonb(post.to_json()), None if media is None else Jsonb(media.to_json(target.platform)), target_id],
    )
    await events.emit(conn, "target.edited", f"target-{target_id}", workspace_id=target.workspace_id)
    await conn.execute(
        "UPDATE publications SET changed_at = clock_timestamp() WHERE id = %s", [target.publication_id]
    )
    target = await rows.get(conn, target_id)
    if target.state in GOING:
        # By way of the plan: the run that had it finds it neither in line nor its own.
        return await rows.put_in_line(conn, await _plan(conn, target, target.when, "target.scheduled"))
    await rows.tell(conn, target)
    return target


async def edit(conn: db.Conn, publication_id: int, changes: Changes) -> Publication:
    """Change text, posts and time of a publication, all of it or nothing. Problems are named as `compose_all` names
    them; an account that it does not go to is a problem, too.
    """
    publication = await publications.get(conn, publication_id)
    by_account = {target.account_id: target for target in publication.targets}
    problems: dict[str, str] = {}
    for account_id, post in (changes.posts or {}).items():
        if account_id not in by_account:
            problems[f"{account_id}"] = "is no account of this publication"
            continue
        try:
            await edit_target(conn, by_account[account_id].id, post)
        except Refused as refused:
            problems |= {f"{account_id}.{name}": said for name, said in refused.fields.items()}
    if problems:
        raise Refused("Some of this needs another look.", code="invalid", fields=problems)
    if changes.text is not None:
        await conn.execute(
            "UPDATE publications SET text = %s, changed_at = clock_timestamp() WHERE id = %s",
            [changes.text, publication_id],
        )
    if changes.when is not None:
        return await move(conn, publication_id, changes.when)
    return await publications.get(conn, publication_id)


async def cancel_all(conn: db.Conn, publication_id: int) -> Publication:
    """Call off all of a publication that is not out yet; again, it changes nothing. WrongState when nothing of it can
    be stopped.
    """
    publication = await publications.get(conn, publication_id)
    stopped = 0
    late: WrongState | None = None
    for target in publication.targets:
        if target.state in (State.CANCELLED, State.PUBLISHED):
            continue
        try:
            async with conn.transaction():
                await (skip if target.state == State.FAILED else rows.cancel)(conn, target.id)
        except WrongState as error:
            late = error
            continue
        stopped += 1
    if late is not None and not stopped:
        raise late
    if not stopped and publication.state != State.CANCELLED:
        raise WrongState("All of this is out already: it can only be deleted there.", code=LATE)
    return await publications.get(conn, publication_id)


async def approve_held(conn: db.Conn, target_id: int) -> Target:
    """Let a post go out now that was held back after an outage, or that missed its time. WrongState for any other."""
    target = await rows.hold(conn, target_id)
    if target.state == State.MISSED:
        return await publications.retry(conn, target_id)
    if target.state != State.SCHEDULED or (target.held_at is None and target.release_at is None):
        raise WrongState("This post is not held back.", code="not_held")
    await accounts.usable(conn, target.account_id)
    await conn.execute("UPDATE targets SET held_at = NULL, release_at = NULL WHERE id = %s", [target_id])
    return (await release.go_if_due(conn, [await rows.get(conn, target_id)]))[0]


async def skip(conn: db.Conn, target_id: int) -> Target:
    """Let a post be that was held back, missed its time or failed: it is cancelled, and not tried again. WrongState for
    any other.
    """
    target = await rows.hold(conn, target_id)
    if target.state == State.CANCELLED:
        return target
    held = target.state == State.SCHEDULED and (target.held_at is not None or target.release_at is not None)
    if not held and target.state not in (State.MISSED, State.FAILED):
        raise WrongState("This post is not held back.", code="not_held")
    return await rows.move(conn, target_id, State.CANCELLED, reason="It was skipped.", reason_code="skipped")


async def rederive(conn: db.Conn) -> int:
    """Derive each planned moment anew from what was chosen, as the rules of zones may have changed; gives how many
    posts that moved. A second call changes nothing.
    """
    now = datetime.now(UTC)
    found = await db.rows(
        conn,
        """
        SELECT DISTINCT zone, wall_time, fold, publish_at
          FROM targets
         WHERE state = 'scheduled' AND wall_time IS NOT NULL AND publish_at > now()""",
    )
    moved = 0
    for zone, wall, fold, publish_at in found:
        try:
            at = When.on(wall, zone, fold).at
        except Refused:
            continue
        if at is None or at == publish_at:
            continue
        changed = await db.many(
            conn,
            Target,
            """
            UPDATE targets
               SET publish_at = %s
             WHERE state = 'scheduled' AND zone = %s AND wall_time = %s AND fold = %s AND publish_at = %s
            RETURNING {columns}""",
            [at, zone, wall, fold, publish_at],
        )
        for target in changed:
            await events.emit(
                conn,
                "target.moved",
                f"target-{target.id}",
                workspace_id=target.workspace_id,
                at=at.isoformat(),
                zone=zone,
                reason="The clocks of this time zone were changed.",
            )
            await rows.tell(conn, target)
            await rows.set_alarm(conn, target.workspace_id, max(at, now))
        moved += len(changed)
    return moved
