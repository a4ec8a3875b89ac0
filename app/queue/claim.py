"""What binds a job to its step, and how a worker enters and leaves the list of workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app import db
from app.queue import outcome, policy


@dataclass(frozen=True)
class Bound:
    """A job's policy, the step that does it, and what the room does when it is given up."""

    job: policy.Job
    step: Callable[..., Awaitable[None]]
    gave_up: outcome.GaveUp | None
    # Of a periodic job: at most one tick in so many seconds while nothing moves.
    idle_s: int | None = None

    def own(self, args: dict[str, Any]) -> dict[str, Any]:
        """The job's own arguments; the engine's timer adds the time of its tick, which no step of ours needs."""
        return {name: args[name] for name in self.job.args if name in args}


@dataclass(frozen=True)
class Card:
    name: str
    host: str
    process: str
    pid: int
    queues: list[str]
    version: str
    concurrency: int


async def register(conn: db.Conn, card: Card, lines: Sequence[policy.EffectiveQueue]) -> int:
    """Enter a new worker, and the limits its settings name where no operator has set others; gives its id."""
    for line in lines:
        await enter_limits(conn, line)
    worker_id = await db.value(
        conn,
        """
        WITH worker AS (SELECT worker_id FROM procrastinate_register_worker_v1())
        INSERT INTO worker_leases (worker_id, name, host, process, pid, queues, version, concurrency)
        SELECT worker_id, %s, %s, %s, %s, %s, %s, %s FROM worker
        RETURNING worker_id""",
        [card.name, card.host, card.process, card.pid, card.queues, card.version, card.concurrency],
    )
    return int(worker_id)


async def enter_limits(conn: db.Conn, line: policy.EffectiveQueue) -> None:
    """Write down the limits of a queue as the settings have them; what an operator has set stays."""
    starts, window_s = line.most or (None, None)
    if line.most is None and line.everywhere is None and line.each is None and line.fair is None:
        await conn.execute("DELETE FROM queue_limits WHERE queue = %s AND set_by IS NULL", [line.name])
        return
    await conn.execute(
        """
        INSERT INTO queue_limits (queue, together, starts, window_s, each, fair)
        VALUES (%(queue)s, %(together)s, %(starts)s, %(window_s)s, %(each)s, %(fair)s)
            ON CONFLICT (queue) DO UPDATE
           SET together = excluded.together, starts = excluded.starts, window_s = excluded.window_s,
               each = excluded.each, fair = excluded.fair, set_at = now()
         WHERE queue_limits.set_by IS NULL
           AND (queue_limits.together, queue_limits.starts, queue_limits.window_s, queue_limits.each,
                queue_limits.fair)
               IS DISTINCT FROM (excluded.together, excluded.starts, excluded.window_s, excluded.each,
                                 excluded.fair)""",
        {
            "queue": line.name,
            "together": line.everywhere,
            "starts": starts,
            "window_s": window_s,
            "each": line.each,
            "fair": line.fair,
        },
    )


async def sign_off(conn: db.Conn, worker_id: int | None) -> None:
    """Leave the lists. May run again."""
    await conn.execute("DELETE FROM worker_leases WHERE worker_id = %s", [worker_id])
    await conn.execute("DELETE FROM procrastinate_workers WHERE id = %s", [worker_id])
