"""What became of a post: `settle` asks the platform until it says. It only reads there, so it can never post
twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app import accounts, db, jobs, live, log, platforms, queue, states
from app.errors import HouseError, NotFound, NotYet, Permanent, Superseded, WrongState
from app.platforms import Kind
from app.publishing import caps, ledger, rows, talk
from app.publishing.rows import MACHINE, Attempt, State, Target

# Twice the time limit of the irreversible call: before that a frozen run may still be making it.
CALL_OUT_S = 120.0
# When the run that made it has ended, or is known to be dead: what it sent has arrived by then or never will.
CALL_OVER_S = 15.0
# How long until the next question, by the number of those before (TikTok sheet, section 4.4).
POLLS_S = (5.0, 10.0, 20.0)
POLL_FIRST_HOUR_S, POLL_LATER_S = 60.0, 1800.0
ASK_FOR = timedelta(hours=24)
MOST_INTERNAL = 2
# The code of a post that was left to its owner to settle.
LEFT = "left_to_person"


async def settle(target_id: int) -> None:
    """Step 6: ask the platform what became of a post until it says; only reads there. May run any number of
    times.
    """
    run = queue.current()
    async with db.house() as conn:
        try:
            target = await rows.get(conn, target_id)
        except NotFound:
            return
        if target.state == State.PUBLISHED:
            attempt = await db.maybe(
                conn,
                Attempt,
                """
                SELECT {columns}
                  FROM target_attempts
                 WHERE target_id = %s AND outcome = 'published'
                 ORDER BY id DESC
                 LIMIT 1""",
                [target_id],
            )
        elif target.state == State.UNCONFIRMED:
            await conn.execute(
                "UPDATE targets SET run = %s WHERE id = %s AND coalesce(run, 0) <= %s",
                [run.number, target_id, run.number],
            )
            await states.hold(conn, MACHINE, target_id, run.number)
            attempt = await ledger.take_over(conn, target_id, run.number)
        else:
            return
        handle = None if attempt is None else await ledger.handle_of(conn, attempt)
    if attempt is None or handle is None:
        return
    if target.state == State.PUBLISHED:
        await _find_link(target, attempt, handle, run.number)
        return
    await _ask(target, attempt, handle, run.number)


async def _ask(target: Target, attempt: Attempt, handle: platforms.Handle, run: int) -> None:
    calls = ledger.Calls(target, attempt, run)
    try:
        access, status = await talk.with_token(
            target, lambda access: talk.ask(target, access, handle, calls, attempt.intent_at)
        )
    except NotYet as error:
        if _since(attempt) > ASK_FOR:
            await _leave_to_person(target, run)
            return
        raise error
    except HouseError as error:
        await _ask_later(target, attempt, error, run)
        return
    finally:
        await calls.save()
    if status.handle is not None:
        handle = status.handle
        await ledger.keep_handle(attempt, run, handle)
    await _conclude(target, attempt, handle, status, access.account, run)


async def _ask_later(target: Target, attempt: Attempt, error: HouseError, run: int) -> None:
    """The platform could not be asked: again soon for a day, then it is left to the person."""
    if _since(attempt) > ASK_FOR:
        await _leave_to_person(target, run)
        return
    if isinstance(error, Permanent):
        # The account needs its owner: the question stays open until it is connected again.
        raise NotYet(
            f"{error.message} Then the platform can be asked.", after_s=240, code=error.code
        ) from error
    raise NotYet("The platform does not answer; it is asked again.", after_s=60, code=error.code) from error


def _since(attempt: Attempt) -> timedelta:
    return datetime.now(UTC) - (attempt.committed_at or attempt.intent_at)


async def _leave_to_person(target: Target, run: int) -> None:
    """A day is over: the post stays unconfirmed, says so once, and only its owner can settle it."""
    if target.reason_code != LEFT:
        reason = "The platform has not said within a day what became of it. Look there and tell us."
        async with db.house() as conn:
            await rows.move(
                conn, target.id, State.UNCONFIRMED, run=run, progress=90, reason=reason, reason_code=LEFT
            )


async def _conclude(
    target: Target,
    attempt: Attempt,
    handle: platforms.Handle,
    status: platforms.Status,
    account: accounts.Account,
    run: int,
) -> None:
    """Write what the platform said: yes, a definite no, or not yet."""
    if status.state in ("published", "inbox"):
        await _published(target, attempt, handle, status, account, run)
    elif status.state == "failed":
        await _failed(target, attempt, status, run)
    elif status.state == "unpublished" or (status.state == "processing" and _missing_bytes(target, status)):
        await _not_arrived(target, attempt, run, whole=status.state == "unpublished")
    else:
        await _wait(target, attempt, status, run)


async def _published(
    target: Target,
    attempt: Attempt,
    handle: platforms.Handle,
    status: platforms.Status,
    account: accounts.Account,
    run: int,
) -> None:
    """The post is out: outcome, state, link and the account's success in one transaction, said once in the
    log.
    """
    adapter = platforms.get(target.platform)
    async with db.house() as conn:
        await rows.hold(conn, target.id, run)
        await ledger.close(conn, attempt, run, "published")
        found = await _found(conn, target, handle, status)
        post_id = None if found is None else found.remote_id
        stands_in = attempt.publish_id if adapter.PUBLISH_ID_STANDS_IN else None
        moved = await rows.move(
            conn,
            target.id,
            State.PUBLISHED,
            run=run,
            progress=100,
            remote_id=post_id or stands_in,
            # Until the platform names the public post, its publish id stands in, marked as provisional
            # (S1.43).
            url=(found.url if found else None) or adapter.link(account.handle, post_id or stands_in),
            url_provisional=post_id is None,
            published_at=datetime.now(UTC),
            reason=status.reason,
        )
        await accounts.set_success(conn, target.account_id)
        if target.choices.use_cover or target.choices.first_comment:
            await queue.defer(conn, jobs.FINISH_TARGET, workspace_id=target.workspace_id, targetId=target.id)
        if post_id is None and target.post.get("privacy_level") != "SELF_ONLY":
            await queue.defer(
                conn,
                jobs.SETTLE_TARGET,
                workspace_id=target.workspace_id,
                at=datetime.now(UTC) + timedelta(seconds=POLLS_S[0]),
                targetId=target.id,
            )
    seconds = (datetime.now(UTC) - attempt.intent_at).total_seconds()
    log.info(
        "published",
        video_id=target.video_id,
        target_id=target.id,
        account_id=target.account_id,
        platform=target.platform,
        remote_id=moved.remote_id,
        seconds=round(seconds, 1),
    )


async def _found(
    conn: db.Conn, target: Target, handle: platforms.Handle, status: platforms.Status
) -> platforms.Found | None:
    """Which post of the platform this is: named by it, or the only one that fits and is bound to no other target.

    Never the newest of several: then the post is published and its link is not known (reliability, section 2).
    """
    if status.post_ids:
        return platforms.Found(status.post_ids[0], status.url)
    if handle.remote_id:
        return platforms.Found(handle.remote_id, status.url)
    bound = await db.rows(
        conn,
        "SELECT remote_id FROM targets WHERE account_id = %s AND id <> %s AND remote_id = ANY (%s)",
        [target.account_id, target.id, [one.remote_id for one in status.candidates]],
    )
    free = [one for one in status.candidates if (one.remote_id,) not in bound]
    return free[0] if len(free) == 1 else None


async def _failed(target: Target, attempt: Attempt, status: platforms.Status, run: int) -> None:
    """The platform says it is not out and will not be: try a new one when its own trouble was the reason."""
    error = status.error or Permanent(
        "The platform did not publish the post.", code=status.reason or "failed"
    )
    kind = platforms.get(target.platform).verdict(error.code).kind
    async with db.house() as conn:
        await rows.hold(conn, target.id, run)
        await ledger.close(conn, attempt, run, "failed", error.message)
        earlier = await db.value(
            conn,
            "SELECT count(*) FROM target_attempts WHERE target_id = %s AND outcome = 'failed'",
            [target.id],
        )
        if kind in (Kind.RETRY_NOW, Kind.RETRY_AFTER) and int(earlier) <= MOST_INTERNAL:
            again = datetime.now(UTC) + timedelta(seconds=10 * 2 ** (int(earlier) - 1))
            await rows.queue_again(conn, target, error.message, run, at=again)
            return
        await rows.move(
            conn,
            target.id,
            State.FAILED,
            run=run,
            reason=error.message,
            reason_code=error.code,
            verdict=str(kind),
        )
        if kind is Kind.AUTHORISATION_LOST:
            await accounts.lose(conn, await accounts.get(conn, target.account_id), error.message)
    if kind is Kind.QUOTA:
        await caps.note(target, error)


def _missing_bytes(target: Target, status: platforms.Status) -> bool:
    return status.bytes_received is not None and status.bytes_received < target.to_send.bytes


async def _not_arrived(target: Target, attempt: Attempt, run: int, *, whole: bool) -> None:
    """Nothing is published. Once the call cannot be under way any more that is a definite no, and the same handle is
    used again. Where bytes are missing a late call harms nothing; where the platform has it `whole` it would be a
    second post, so twice the call's time limit passes first, whoever made it.
    """
    committed_at = attempt.committed_at
    if committed_at is not None:
        async with db.house() as conn:
            sending = whole or await _is_sending(conn, target)
            age_s = await db.value(
                conn, "SELECT extract(epoch FROM clock_timestamp() - %s::timestamptz)::float", [committed_at]
            )
        left_s = (CALL_OUT_S if sending else CALL_OVER_S) - float(age_s)
        if left_s > 0:
            raise NotYet(
                "The platform has not received everything yet.", after_s=min(left_s + 0.5, CALL_OVER_S)
            )
    async with db.house() as conn:
        await rows.hold(conn, target.id, run)
        if not await ledger.return_permit(conn, attempt.id, committed_at):
            raise Superseded("Another run has taken over this post.")
        await rows.queue_again(conn, target, "The last part did not arrive; it is sent again.", run)


async def _is_sending(conn: db.Conn, target: Target) -> bool:
    """Whether a run that sends this post has not ended: it may be frozen and make its call later."""
    return bool(
        await db.value(
            conn,
            """
            SELECT EXISTS (SELECT
                             FROM procrastinate_jobs AS jobs
                            WHERE jobs.status = 'doing'
                              AND (jobs.task_name = %s AND (jobs.args ->> 'videoId')::bigint = %s
                                   OR jobs.task_name = %s AND (jobs.args ->> 'targetId')::bigint = %s))""",
            [
                jobs.UPLOAD_VIDEO.name,
                target.video_id,
                jobs.PUBLISH_TO[target.platform].name,
                target.id,
            ],
        )
    )


async def _wait(target: Target, attempt: Attempt, status: platforms.Status, run: int) -> None:
    async with db.house() as conn:
        asks = await ledger.asked(conn, attempt, run)
    since = _since(attempt)
    if since > ASK_FOR:
        await _leave_to_person(target, run)
        return
    reason = (
        "The platform no longer tells about this post; it is asked again."
        if status.state == "gone"
        else "The platform is working on it."
    )
    raise NotYet(reason, after_s=status.after_s or _poll_s(asks, since))


def _poll_s(asks: int, since: timedelta) -> float:
    """Seconds until the next question: 5, 10, 20, then each minute for an hour, then each half hour."""
    if asks <= len(POLLS_S):
        return POLLS_S[asks - 1]
    return POLL_FIRST_HOUR_S if since < timedelta(hours=1) else POLL_LATER_S


async def _find_link(target: Target, attempt: Attempt, handle: platforms.Handle, run: int) -> None:
    """A public post gets its id after moderation; ask for it for a day. Being without one is no failure."""
    if not target.url_provisional or target.published_at is None:
        return
    adapter = platforms.get(target.platform)
    access, status = await talk.with_token(
        target, lambda access: talk.ask(target, access, handle, since=attempt.intent_at)
    )
    since = datetime.now(UTC) - target.published_at
    async with db.house() as conn:
        found = await _found(conn, target, status.handle or handle, status)
        if found is not None:
            await conn.execute(
                """
                UPDATE targets
                   SET remote_id = %s, url = %s, url_provisional = false
                 WHERE id = %s AND url_provisional""",
                [
                    found.remote_id,
                    found.url or adapter.link(access.account.handle, found.remote_id),
                    target.id,
                ],
            )
            await live.tell(conn, f"target-{target.id}", f"video-{target.video_id}")
            if target.choices.first_comment:
                await queue.defer(
                    conn, jobs.FINISH_TARGET, workspace_id=target.workspace_id, targetId=target.id
                )
            return
    if since < ASK_FOR:
        asks = 1 + int(since.total_seconds() // POLL_FIRST_HOUR_S)
        raise NotYet("The platform has not named the public post yet.", after_s=_poll_s(asks, since))


async def settle_gave_up(conn: db.Conn, job_id: int, targetId: int, reason: str, code: str) -> None:
    """Asking ended unexpectedly: the post stays unconfirmed and says so; the hourly net asks again."""
    try:
        await rows.move(conn, targetId, State.UNCONFIRMED, progress=90, reason=reason, reason_code=code)
    except (WrongState, NotFound):
        log.info("nothing left to settle", target_id=targetId, job_id=job_id)


async def ask_about_unsettled(conn: db.Conn) -> int:
    """The net: an unconfirmed post of the last day without a job that asks about it gets one; gives how many."""
    found = await db.rows(
        conn,
        """
        SELECT targets.id, targets.workspace_id
          FROM targets
          JOIN target_attempts AS attempt ON attempt.target_id = targets.id AND attempt.outcome IS NULL
         WHERE targets.state = 'unconfirmed' AND targets.changed_at < now() - interval '5 min'
           AND coalesce(attempt.committed_at, attempt.intent_at) > now() - interval '1 day'
           AND NOT EXISTS (SELECT FROM procrastinate_jobs
                            WHERE queueing_lock = 'settle-' || targets.id AND status IN ('todo', 'doing'))""",
    )
    for target_id, workspace_id in found:
        await queue.defer(conn, jobs.SETTLE_TARGET, workspace_id=workspace_id, targetId=target_id)
    return len(found)


async def put_back_stranded(conn: db.Conn) -> int:
    """The net: a target that says it is in line or on its way, and for which no job is, gets one; gives how many."""
    found = await db.many(
        conn,
        Target,
        """
        SELECT {columns}
          FROM targets
         WHERE state IN ('queued', 'publishing') AND changed_at < now() - interval '5 min'
           AND NOT EXISTS (SELECT FROM procrastinate_jobs AS jobs
                            WHERE jobs.id = targets.job_id AND status IN ('todo', 'doing'))
           FOR UPDATE SKIP LOCKED""",
    )
    for target in found:
        job_id = await rows.queue_upload(conn, target)
        await conn.execute("UPDATE targets SET job_id = %s WHERE id = %s", [job_id, target.id])
        log.warning("a target without a job was put back in line", target_id=target.id, job_id=job_id)
    return len(found)


async def forget_calls(conn: db.Conn, *, most: int = 5_000) -> int:
    """Remove what was said to platforms more than 30 days ago; gives how many."""
    return await db.run(
        conn,
        """
        DELETE FROM target_calls
         WHERE id IN (SELECT id FROM target_calls WHERE at < now() - interval '30 days' ORDER BY at LIMIT %s)""",
        [most],
    )
