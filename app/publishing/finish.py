"""What follows a post that is out: the cover that goes up afterwards, and the one first comment.

Neither can fail the post. A cover may be sent again without harm; a comment is an effect of its own, so it has an
intent, a permit and is asked about before it is written a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app import accounts, db, log, platforms, queue
from app.errors import HouseError, NotFound, NotYet, Retryable, Unsure
from app.publishing import ledger, rows, talk
from app.publishing.rows import Attempt, State, Target

# The platform may still be working on the video, or hold the account back for a moment.
AGAIN_S = 900.0
MOST_TRIES = 3
# Twice the time limit of the call: before that a frozen run may still be making it.
CALL_OUT_S = 120.0


@dataclass(frozen=True)
class Comment:
    """The first comment of a post: what is to be written, and whether it may have been."""

    target_id: int
    workspace_id: int
    text: str
    intent_at: datetime
    committed_at: datetime | None
    run: int
    remote_id: str | None
    outcome: str | None


async def finish(target_id: int) -> None:
    """Send the cover and write the first comment of a published post. Twice is once."""
    run = queue.current()
    async with db.house() as conn:
        try:
            target = await rows.get(conn, target_id)
        except NotFound:
            return
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
        handle = None if attempt is None else await ledger.handle_of(conn, attempt)
    if target.state != State.PUBLISHED or attempt is None or handle is None:
        return
    calls = ledger.Calls(target, attempt, run.number)
    try:
        if target.choices.use_cover:
            await _cover(target, handle, calls, run)
        if target.choices.first_comment and target.remote_id and not target.url_provisional:
            await _comment(target, calls, run)
    finally:
        await calls.save()


async def _cover(target: Target, handle: platforms.Handle, calls: ledger.Calls, run: queue.Run) -> None:
    adapter = platforms.get(target.platform)
    try:
        await talk.with_token(
            target,
            lambda access: adapter.after(
                adapter.app(), access.grant, handle, target.choices, talk.media(target), on_call=calls
            ),
            repeat=False,
            loses=False,
        )
    except (Retryable, NotYet) as error:
        if run.tries < MOST_TRIES:
            raise
        log.info("the cover was not taken", target_id=target.id, reason=error.message)
    except HouseError as error:
        log.info("the cover was not taken", target_id=target.id, reason=error.message)


async def _comment(target: Target, calls: ledger.Calls, run: queue.Run) -> None:
    adapter = platforms.get(target.platform)
    comment = await _intend(target, run)
    if comment.outcome is not None or not adapter.COMMENTS or target.remote_id is None:
        return
    remote_id = target.remote_id
    if comment.committed_at is not None and await _is_there(target, comment, remote_id, calls, run):
        return
    # Renewed now if it must be, so that nothing slow stands between the permit and the call.
    await accounts.fresh_token(target.account_id)
    if not await _permit(target, comment, run):
        return
    run.check_lease()
    try:
        _, comment_id = await talk.with_token(
            target,
            lambda access: adapter.comment(
                adapter.app(), access.grant, remote_id, comment.text, on_call=calls
            ),
            repeat=False,
            loses=False,
        )
    except Unsure as error:
        raise Retryable(error.message, code=error.code, after_s=CALL_OUT_S) from error
    except (Retryable, NotYet):
        raise
    except HouseError as error:
        await _close(target, run, "failed", reason=error.message)
        return
    await _close(target, run, "written", remote_id=comment_id)


async def _intend(target: Target, run: queue.Run) -> Comment:
    async with db.house() as conn:
        await conn.execute(
            """
            INSERT INTO target_comments (target_id, workspace_id, text, run)
            VALUES (%s, %s, %s, %s)
                ON CONFLICT (target_id) DO UPDATE SET run = excluded.run""",
            [target.id, target.workspace_id, target.choices.first_comment, run.number],
        )
        return await db.one(
            conn, Comment, "SELECT {columns} FROM target_comments WHERE target_id = %s", [target.id]
        )


async def _is_there(
    target: Target, comment: Comment, remote_id: str, calls: ledger.Calls, run: queue.Run
) -> bool:
    """Whether an earlier run's comment arrived. Its call must be over before a no counts."""
    adapter = platforms.get(target.platform)
    async with db.house() as conn:
        age_s = await db.value(
            conn, "SELECT extract(epoch FROM clock_timestamp() - %s::timestamptz)", [comment.committed_at]
        )
    if float(age_s) < CALL_OUT_S:
        raise NotYet("The comment may be on its way.", after_s=CALL_OUT_S - float(age_s) + 1)
    _, found = await talk.with_token(
        target,
        lambda access: adapter.comments(adapter.app(), access.grant, remote_id, on_call=calls),
        loses=False,
    )
    same = next((comment_id for comment_id, text in found if text.strip() == comment.text.strip()), None)
    if same is None:
        return False
    await _close(target, run, "written", remote_id=same)
    return True


async def _permit(target: Target, comment: Comment, run: queue.Run) -> bool:
    run.check_lease()
    async with db.house() as conn:
        return bool(
            await db.run(
                conn,
                """
                UPDATE target_comments
                   SET committed_at = clock_timestamp()
                 WHERE target_id = %s AND run = %s AND outcome IS NULL
                   AND committed_at IS NOT DISTINCT FROM %s""",
                [target.id, run.number, comment.committed_at],
            )
        )


async def _close(
    target: Target, run: queue.Run, outcome: str, *, remote_id: str | None = None, reason: str | None = None
) -> None:
    async with db.house() as conn:
        await conn.execute(
            """
            UPDATE target_comments
               SET outcome = %s, remote_id = %s, reason = %s, ended_at = clock_timestamp()
             WHERE target_id = %s AND run = %s AND outcome IS NULL""",
            [outcome, remote_id, reason, target.id, run.number],
        )
