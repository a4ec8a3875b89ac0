"""Sending a post out, once: `publish` up to the moment the platform has taken over, `settle` to learn what
became of it.

They are two jobs on purpose: a poll can never restart a publish. Six steps with a ledger: reliability,
section 2.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from app import accounts, db, jobs, limits, live, log, platforms, queue, states
from app.errors import (
    HouseError,
    NotFound,
    NotYet,
    Permanent,
    Refused,
    Retryable,
    Superseded,
    Unsure,
    WrongState,
)
from app.platforms import Kind
from app.publishing import caps, ledger, rows, talk
from app.publishing.rows import MACHINE, Attempt, State, Target

# A handle whose answer was lost has published nothing, so it may be asked for again, but each one counts at
# the platform.
MOST_INITS = 6


async def publish_video(video_id: int) -> None:
    """Send this video to each target that waits for this job; what went out is not repeated.

    One account's trouble decides for its own target only: the others go on, and the job waits for the
    earliest of those that have to wait.
    """
    job_id = queue.current().job_id
    async with db.house() as conn:
        targets = [
            target
            for target in (await rows.of_videos(conn, [video_id]))[video_id]
            if target.job_id == job_id and target.state in (State.QUEUED, State.PUBLISHING)
        ]
    tries = jobs.UPLOAD_VIDEO.queue.effective().tries
    waits: list[NotYet | Retryable] = []
    failures: list[HouseError] = []
    for target in targets:
        try:
            await publish(target.id)
        except Retryable as error:
            if len(targets) > 1 and queue.current().tries >= tries:
                # No try is left for this one; the others have had none.
                await _fail_alone(target.id, job_id, error)
            else:
                waits.append(error)
        except NotYet as error:
            waits.append(error)
        except (Permanent, Refused) as error:
            failures.append(error)
            if len(targets) > 1:
                await _fail_alone(target.id, job_id, error)
        except (Superseded, WrongState, NotFound) as error:
            log.info("this target is no longer ours", target_id=target.id, reason=error.message)
    if waits:
        raise min(waits, key=_due)
    if failures:
        raise failures[0]


def _due(error: NotYet | Retryable) -> datetime:
    """When a waiting target wants to go on."""
    if isinstance(error, NotYet) and error.until is not None:
        return error.until
    return datetime.now(UTC) + timedelta(seconds=error.after_s or 0)


async def publish_target(target_id: int) -> None:
    """Send one target to its platform; the whole of a `publish-to-…` job. What went out is not repeated."""
    await publish(target_id)


async def _fail_alone(target_id: int, job_id: int, error: HouseError) -> None:
    async with db.house() as conn:
        await fail(conn, target_id, job_id, error.message, error.code)


async def publish(target_id: int) -> None:
    """Steps 1 to 5 for one target; ends when the platform has every byte or nobody can say whether it has."""
    run = queue.current()
    claimed = await _claim(target_id, run.number)
    if claimed is None:
        return
    target, attempt, handle = claimed
    calls = ledger.Calls(target, attempt, run.number)
    try:
        if attempt.committed_at is not None:
            await _hand_over(target, run.number, "An earlier run may have sent it; the platform is asked.")
            return
        access, post = await _prepare(target, calls)
        if handle is None:
            handle = await _begin(target, attempt, post, run.number, calls)
            from_byte = 0
        else:
            found = await _resume_at(target, attempt, handle, run.number, calls)
            if found is None:
                await _hand_over(target, run.number, None)
                return
            access, handle, from_byte = found
        await _send(target, attempt, handle, access, post, from_byte, run, calls)
    except (NotYet, Retryable) as error:
        await _back_in_line(target, run.number, error)
        raise
    except Permanent as error:
        if error.code != accounts.NEEDS_RECONNECT:
            raise
        await _wait_for_account(target, run.number, error.message)
    finally:
        await calls.save()


async def _back_in_line(target: Target, run: int, error: NotYet | Retryable) -> None:
    """Nothing is on its way: while the job waits, the target says so and why."""
    async with db.house() as conn:
        with contextlib.suppress(Superseded, WrongState):
            if (await rows.hold(conn, target.id, run)).state != State.PUBLISHING:
                # It was planned for another time meanwhile: that stands.
                return
            await rows.move(
                conn, target.id, State.QUEUED, run=run, reason=error.message, reason_code=error.code
            )


async def _wait_for_account(target: Target, run: int, reason: str) -> None:
    """The account lost its permission before anything went out: the post is planned again and says why. Connecting
    the account lets it go on, with the upload that was begun (S0.13).
    """
    async with db.house() as conn:
        await rows.move(
            conn, target.id, State.SCHEDULED, run=run, reason=reason, reason_code=accounts.NEEDS_RECONNECT
        )


async def _claim(target_id: int, run: int) -> tuple[Target, Attempt, platforms.Handle | None] | None:
    """Steps 1 and 2: take the target and its open attempt over, or wait for the account's turn."""
    # Limits that all accounts share are counted by our registration, so it has to be the current one.
    await accounts.apps.look()
    async with db.house() as conn:
        target = await rows.get(conn, target_id)
        if target.state not in (State.QUEUED, State.PUBLISHING):
            return None
        attempt = await ledger.open_attempt(conn, target_id)
        wait = None
        # What may be out already is asked about at once, whatever its account may do now.
        if attempt is None or attempt.committed_at is None:
            account = await accounts.get(conn, target.account_id)
            if account.state == accounts.NEEDS_RECONNECT:
                await rows.move(
                    conn, target_id, State.SCHEDULED, reason=account.reason, reason_code=account.state
                )
                return None
            _check_account(account)
            await caps.check_hold(conn, target, account)
            await rows.check_pause(conn, target)
            if attempt is None:
                wait = await limits.take(conn, f"target-{target_id}", caps.limits_of(target, account))
        if wait is None:
            target = await rows.move(
                conn,
                target_id,
                State.PUBLISHING,
                run=run,
                take_over=True,
                progress=target.progress,
            )
            attempt = await ledger.intend(conn, target, run)
            return target, attempt, await ledger.handle_of(conn, attempt)
    raise NotYet(wait.reason, until=wait.until, code="account_limit")


def _check_account(account: accounts.Account) -> None:
    """Whether the account may post now: one that its owner disconnected is not waited for (S1.32)."""
    if account.state != accounts.CONNECTED:
        raise Permanent(
            account.reason or "The account is no longer connected. Connect it again, then retry.",
            code=accounts.NEEDS_RECONNECT,
        )
    if account.paused_at is not None:
        raise NotYet("This account is paused.", after_s=60, code="account_paused")


async def _prepare(target: Target, calls: ledger.Calls) -> tuple[accounts.Access, platforms.Post]:
    """A token that works, and the post checked against what the creator may do at this moment."""
    adapter = platforms.get(target.platform)
    access, creator = await talk.with_token(
        target, lambda access: adapter.creator(adapter.app(), access.grant, on_call=calls)
    )
    async with db.house() as conn:
        await accounts.keep_creator(conn, target.account_id, creator)
    post = adapter.fit(creator, target.choices)
    if problems := adapter.check(creator, post, talk.media(target)):
        raise Refused(" ".join(problems.values()), code="not_accepted", fields=problems)
    return access, post


async def _begin(
    target: Target,
    attempt: Attempt,
    post: platforms.Post,
    run: int,
    calls: ledger.Calls,
) -> platforms.Handle:
    """Step 3: ask for the harmless handle and commit it before a byte is sent."""
    adapter = platforms.get(target.platform)
    for wait_s in (*talk.ASK_AGAIN_S, 8.0, 0.0):
        inits = await ledger.count_init(attempt, run)
        if inits > 2 * MOST_INITS:
            raise Permanent(
                f"{adapter.LABEL} dropped every upload that was begun, so nothing was posted. Retry it in a while.",
                code="upload_expired",
            )
        try:
            _, handle = await talk.with_token(
                target,
                lambda access: adapter.begin(
                    adapter.app(), access.grant, post, talk.media(target), on_call=calls
                ),
                repeat=False,
            )
        except Unsure as error:
            # Nothing was sent, so nothing is posted; only the number of handles at the platform is unknown.
            if inits >= MOST_INITS:
                raise Permanent(
                    "The platform's answer was lost several times before anything was sent, so nothing was posted. "
                    "Retry it in a while.",
                    code="init_answer_lost",
                ) from error
            await asyncio.sleep(wait_s)
            continue
        except NotYet:
            # A limit: nothing was begun, and waiting for it uses nothing up.
            await ledger.uncount_init(attempt, run)
            raise
        await ledger.keep_handle(attempt, run, handle)
        return handle
    raise Retryable("The platform does not answer.", code="init_answer_lost")


async def _resume_at(
    target: Target,
    attempt: Attempt,
    handle: platforms.Handle,
    run: int,
    calls: ledger.Calls,
) -> tuple[accounts.Access, platforms.Handle, int] | None:
    """Where to go on with a handle of an earlier run, by the platform's own count (never a second handle
    beside it). None when it turns out that the post is out: what was thought lost has arrived after all.
    """
    try:
        access, status = await talk.with_token(target, lambda access: talk.ask(target, access, handle, calls))
    except Unsure as error:
        # Asking may make a further harmless piece of what was begun; a lost answer to that has published nothing.
        raise Retryable(error.message, code=error.code) from error
    if status.error is not None and not isinstance(status.error, (Retryable, NotYet)):
        # What was begun has failed for good (its file cannot be read, say): another one would, too.
        raise status.error
    if status.state in ("published", "inbox"):
        return None
    if status.handle is not None:
        handle = status.handle
        await ledger.keep_handle(attempt, run, handle)
    if status.state in ("failed", "gone") or (
        status.state == "processing" and handle.expires_at <= datetime.now(UTC)
    ):
        async with db.house() as conn:
            await ledger.drop_handle(conn, attempt, run)
        if isinstance(status.error, NotYet):
            await caps.note(target, status.error)
            raise status.error
        raise Retryable(
            "The platform has dropped the begun upload; it starts anew.", code="upload_expired", after_s=1
        )
    total = talk.media(target).bytes_total
    if status.state == "unpublished":
        return access, handle, total
    return access, handle, min(status.bytes_received or 0, total)


async def _send(
    target: Target,
    attempt: Attempt,
    handle: platforms.Handle,
    access: accounts.Access,
    post: platforms.Post,
    from_byte: int,
    run: queue.Run,
    calls: ledger.Calls,
) -> None:
    """Steps 4 and 5: the bytes, with the permit taken right before the last of them."""
    adapter = platforms.get(target.platform)
    media = talk.media(target)
    take = ledger.permit(attempt, run)
    spent: list[datetime] = []

    async def before_last() -> None:
        async with db.house() as conn:
            await rows.check_pause(conn, target)
        await take()
        spent.append(datetime.now(UTC))

    try:
        newer = await adapter.send(
            adapter.app(),
            access.grant,
            handle,
            post,
            media,
            from_byte,
            on_progress=_told(target, media.bytes_total, run.number),
            before_last=before_last,
            on_call=calls,
        )
    except Unsure as error:
        await caps.note(target, error)
        await _hand_over(target, run.number, error.message)
        return
    except (asyncio.CancelledError, Superseded):
        raise
    except Exception as error:
        if spent:
            await _after_permit(target, attempt, run.number, error)
        if isinstance(error, HouseError) and error.code == "upload_expired":
            async with db.house() as conn:
                await ledger.drop_handle(conn, attempt, run.number)
            raise Retryable(error.message, code=error.code, after_s=1) from error
        if isinstance(error, HouseError) and error.code == "access_token_invalid":
            # Asked about in the middle of the chunks: renew, and go on by the platform's own count.
            await accounts.fresh_token(target.account_id, refused=access.token)
            raise Retryable(error.message, code="token_renewed", after_s=0) from error
        if isinstance(error, HouseError):
            await _consequences(target, access, error)
        raise
    if newer is not None:
        # What the answer named is worth keeping and not worth failing for: asking finds it, too.
        with contextlib.suppress(Retryable):
            await ledger.keep_handle(attempt, run.number, newer)
    await _hand_over(target, run.number, None)


async def _consequences(target: Target, access: accounts.Access, error: HouseError) -> None:
    """What a no in the middle of sending means beyond this post: a cap holds the account, a permission that was taken
    back ends its connection and lets the post wait for the next one.
    """
    await caps.note(target, error)
    if platforms.get(target.platform).verdict(error.code).kind is Kind.AUTHORISATION_LOST:
        async with db.house() as conn:
            await accounts.lose(conn, access.account, error.message)
        raise Permanent(error.message, code=accounts.NEEDS_RECONNECT) from error


async def _after_permit(target: Target, attempt: Attempt, run: int, error: Exception) -> None:
    """The one call failed. Only a definite no of the platform gives the permit back; else it is asked first."""
    if not isinstance(error, HouseError):
        # Nobody foresaw it, so nobody knows whether the bytes left.
        await _hand_over(target, run, "Something unexpected happened while sending; the platform is asked.")
        raise Superseded("The platform is asked what became of it.") from error
    async with db.house() as conn:
        await states.hold(conn, MACHINE, target.id, run)
        seen = await db.value(conn, "SELECT committed_at FROM target_attempts WHERE id = %s", [attempt.id])
        await ledger.return_permit(conn, attempt.id, seen)


async def _hand_over(target: Target, run: int, reason: str | None) -> None:
    """The platform has taken over, or may have: from here on it is only asked (step 6)."""
    async with db.house() as conn:
        job_id = await queue.defer(
            conn, jobs.SETTLE_TARGET, workspace_id=target.workspace_id, targetId=target.id
        )
        await rows.move(
            conn,
            target.id,
            State.UNCONFIRMED,
            run=run,
            progress=90,
            reason=reason,
            job_id=job_id,
        )


def _told(target: Target, bytes_total: int, run: int) -> Callable[[int], Awaitable[None]]:
    """Tell open pages how far the upload is, four times a second at most; keep 10, 30 and 60 percent (S1.46)."""
    pace = live.Pace()
    kept = [10.0, 30.0, 60.0]

    async def tell(sent: int) -> None:
        percent = round(90 * sent / max(bytes_total, 1), 1)
        if not (kept and percent >= kept[0]) and not pace():
            return
        async with db.house() as conn:
            while kept and percent >= kept[0]:
                kept.pop(0)
            await conn.execute(
                "UPDATE targets SET progress = %s WHERE id = %s AND run = %s AND state = 'publishing'",
                [percent, target.id, run],
            )
            await live.tell_percent(conn, f"target-{target.id}", percent)
            await live.tell_percent(conn, f"video-{target.video_id}", percent)

    return tell


async def give_up(conn: db.Conn, job_id: int, videoId: int, reason: str, code: str) -> None:
    """No try is left for the targets that wait for this job: fail what was not sent, ask about what may have
    been.

    A target that waits for another job by now (it was cancelled and retried) is left to that one.
    """
    for target in (await rows.of_videos(conn, [videoId]))[videoId]:
        await fail(conn, target.id, job_id, reason, code)


async def give_up_target(
    conn: db.Conn, job_id: int, targetId: int, reason: str, code: str, **asked: object
) -> None:
    """No try is left for the one target of this job; as `give_up`."""
    await fail(conn, targetId, job_id, reason, code)


async def fail(conn: db.Conn, target_id: int, job_id: int, reason: str, code: str) -> None:
    """End a target of this job that has not gone out, or hand it to `settle` when its permit is spent: decided
    under its lock. One that is over, or waits for another job by now, is left alone.
    """
    target = await rows.hold(conn, target_id)
    if target.job_id != job_id or target.state not in (State.QUEUED, State.PUBLISHING):
        return
    cancelled = code == "cancelled"
    if not await ledger.close_unsent(conn, target_id, "cancelled" if cancelled else "abandoned", reason):
        asking = await queue.defer(
            conn, jobs.SETTLE_TARGET, workspace_id=target.workspace_id, targetId=target_id
        )
        await rows.move(conn, target_id, State.UNCONFIRMED, progress=90, reason=reason, job_id=asking)
        return
    await limits.give_back(conn, f"target-{target_id}")
    await rows.move(
        conn,
        target_id,
        State.CANCELLED if cancelled else State.FAILED,
        reason=reason,
        reason_code=code,
        verdict=str(platforms.get(target.platform).verdict(code).kind),
    )
