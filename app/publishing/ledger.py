"""The ledger of irreversible calls: intent, handle, permit, outcome. Every write is fenced by the run's
number.

The six steps and why they are enough: reliability, section 2. Two runs of one target cannot both hold the
permit, because exactly one UPDATE ever finds `committed_at` empty.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from app import crypto, db, log, platforms, queue
from app.errors import Superseded
from app.publishing import caps
from app.publishing.rows import Attempt, Target


async def open_attempt(conn: db.Conn, target_id: int) -> Attempt | None:
    """The attempt that is not over yet, if there is one."""
    return await db.maybe(
        conn,
        Attempt,
        "SELECT {columns} FROM target_attempts WHERE target_id = %s AND outcome IS NULL",
        [target_id],
    )


async def intend(conn: db.Conn, target: Target, run: int) -> Attempt:
    """The one open attempt of this target: found again and taken over, else made anew."""
    await conn.execute(
        """
        INSERT INTO target_attempts (workspace_id, target_id, run)
        VALUES (%s, %s, %s)
            ON CONFLICT (target_id) WHERE outcome IS NULL DO NOTHING""",
        [target.workspace_id, target.id, run],
    )
    attempt = await take_over(conn, target.id, run)
    if attempt is None:
        raise Superseded("Another run has ended this attempt.")
    return attempt


async def take_over(conn: db.Conn, target_id: int, run: int) -> Attempt | None:
    """The open attempt, now of this run; None when there is none."""
    return await db.maybe(
        conn,
        Attempt,
        """
        UPDATE target_attempts
           SET run = %s
         WHERE target_id = %s AND outcome IS NULL
        RETURNING {columns}""",
        [run, target_id],
    )


def where(attempt_id: int) -> str:
    return f"target_attempts|{attempt_id}|upload_url_enc"


async def count_init(attempt: Attempt, run: int) -> int:
    """Write down that a handle is being asked for, before it is; gives how often that was so far."""
    async with db.house() as conn:
        inits = await db.value(
            conn,
            """
            UPDATE target_attempts
               SET inits = inits + 1
             WHERE id = %s AND run = %s AND outcome IS NULL
            RETURNING inits""",
            [attempt.id, run],
        )
    return int(_ours(inits))


async def uncount_init(attempt: Attempt, run: int) -> None:
    """Take the last count back: the platform said that nothing was begun."""
    async with db.house() as conn:
        await conn.execute(
            "UPDATE target_attempts SET inits = greatest(inits - 1, 0) WHERE id = %s AND run = %s",
            [attempt.id, run],
        )


async def keep_handle(attempt: Attempt, run: int, handle: platforms.Handle) -> None:
    """Commit the platform's harmless handle before anything else is sent (step 3)."""
    async with db.house() as conn:
        kept = await db.value(
            conn,
            """
            UPDATE target_attempts
               SET publish_id = %s, upload_url_enc = %s, expires_at = %s, resource_at = clock_timestamp()
             WHERE id = %s AND run = %s AND outcome IS NULL
            RETURNING id""",
            [
                handle.publish_id,
                crypto.seal(handle.as_text(), where(attempt.id)),
                handle.expires_at,
                attempt.id,
                run,
            ],
        )
    _ours(kept)


async def handle_of(conn: db.Conn, attempt: Attempt) -> platforms.Handle | None:
    """The handle that was kept for this attempt; None while there is none."""
    sealed = await db.value(conn, "SELECT upload_url_enc FROM target_attempts WHERE id = %s", [attempt.id])
    return None if sealed is None else platforms.Handle.from_text(crypto.unseal(sealed, where(attempt.id)))


async def drop_handle(conn: db.Conn, attempt: Attempt, run: int) -> None:
    """The platform says that the handle is dead: the next step makes another, still in this attempt.

    How many were asked for stays counted, so that a post whose handles die again and again comes to an end.
    """
    kept = await db.value(
        conn,
        """
        UPDATE target_attempts
           SET publish_id = NULL, upload_url_enc = NULL, resource_at = NULL, expires_at = NULL,
               bytes_sent = 0, committed_at = NULL
         WHERE id = %s AND run = %s AND outcome IS NULL
        RETURNING id""",
        [attempt.id, run],
    )
    _ours(kept)


def permit(attempt: Attempt, run: queue.Run) -> Callable[[], Awaitable[None]]:
    """Step 4, to be awaited right before the one irreversible call: exactly one run ever gets through."""

    async def take() -> None:
        run.check_lease()
        async with db.house() as conn:
            committed_at = await db.value(
                conn,
                """
                UPDATE target_attempts AS attempt
                   SET committed_at = clock_timestamp()
                  FROM targets
                 WHERE attempt.id = %s AND attempt.run = %s AND attempt.committed_at IS NULL
                   AND attempt.outcome IS NULL
                   AND targets.id = attempt.target_id AND targets.run = %s AND targets.state = 'publishing'
                RETURNING attempt.committed_at""",
                [attempt.id, run.number, run.number],
            )
        _ours(committed_at)
        run.check_lease()

    return take


async def return_permit(conn: db.Conn, attempt_id: int, seen: datetime | None) -> bool:
    """After a definite no the permit may be taken anew, for the same handle; by compare-and-set, so once."""
    return bool(
        await db.run(
            conn,
            """
            UPDATE target_attempts
               SET committed_at = NULL
             WHERE id = %s AND outcome IS NULL AND committed_at IS NOT DISTINCT FROM %s""",
            [attempt_id, seen],
        )
    )


async def asked(conn: db.Conn, attempt: Attempt, run: int) -> int:
    """Count a question to the platform; gives how many there were."""
    asks = await db.value(
        conn,
        """
        UPDATE target_attempts
           SET asks = asks + 1, asked_at = clock_timestamp()
         WHERE id = %s AND run = %s
        RETURNING asks""",
        [attempt.id, run],
    )
    return int(_ours(asks))


async def close_unsent(conn: db.Conn, target_id: int, outcome: str, reason: str) -> bool:
    """Close the open attempt unless its permit is spent; False when it is, and only the platform knows.

    Locks the attempt, so a permit that is being taken at this moment is seen. The caller holds the target.
    """
    spent = await db.value(
        conn,
        "SELECT committed_at IS NOT NULL FROM target_attempts WHERE target_id = %s AND outcome IS NULL FOR UPDATE",
        [target_id],
    )
    if spent:
        return False
    await conn.execute("SELECT give_back_starts(%s)", [target_id])
    await conn.execute(
        """
        UPDATE target_attempts
           SET outcome = %s, reason = %s, ended_at = clock_timestamp()
         WHERE target_id = %s AND outcome IS NULL AND committed_at IS NULL""",
        [outcome, reason, target_id],
    )
    return True


async def close(conn: db.Conn, attempt: Attempt, run: int, outcome: str, reason: str | None = None) -> None:
    """End the attempt; written in the transaction that moves the target."""
    closed = await db.value(
        conn,
        """
        UPDATE target_attempts
           SET outcome = %s, reason = %s, ended_at = clock_timestamp()
         WHERE id = %s AND run = %s AND outcome IS NULL
        RETURNING id""",
        [outcome, reason, attempt.id, run],
    )
    _ours(closed)


def _ours(found: Any) -> Any:
    if found is None:
        raise Superseded("Another run has taken over this post.")
    return found


def _newest(made: list[platforms.Call]) -> list[platforms.Usage]:
    """What the last answer said of each limit."""
    return list({(usage.scope, usage.name): usage for call in made for usage in call.usage}.values())


class Calls:
    """Collects what was said to the platform and writes it down; a list of calls is never worth failing a
    step.
    """

    def __init__(self, target: Target, attempt: Attempt | None, run: int) -> None:
        self.target, self.attempt, self.run = target, attempt, run
        self.made: list[platforms.Call] = []

    def __call__(self, call: platforms.Call) -> None:
        self.made.append(call)

    async def save(self) -> None:
        made, self.made = self.made, []
        if not made:
            return
        try:
            async with db.house() as conn, conn.cursor() as cursor:
                await cursor.executemany(
                    """
                    INSERT INTO target_calls
                           (workspace_id, target_id, attempt_id, run, step, status, seconds, outcome, body)
                    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                    [
                        (
                            self.target.workspace_id,
                            self.target.id,
                            self.attempt.id if self.attempt else None,
                            self.run,
                            call.step,
                            call.status,
                            call.seconds,
                            call.outcome,
                            call.body_redacted,
                        )
                        for call in made
                    ],
                )
                await caps.keep_usage(conn, self.target, _newest(made))
        except Exception as error:
            log.warning("calls were not written down", count=len(made), reason=type(error).__name__)
