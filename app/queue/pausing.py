"""What operators have paused: queues, tasks, platforms, accounts, as rows that every claim and every post obeys.

A queue and a task are looked up by the claim itself; whoever posts asks `paused` for its platform and account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app import db

# How the sentence of every pause begins; those who wait for one are found by it (`bring_forward`).
PAUSED = "An operator has paused "


@dataclass(frozen=True)
class Pause:
    """What an operator has paused. `name` is a queue's, a task's, a platform's, or `account-7`; `sentence` is what a
    person who waits reads.
    """

    kind: str
    name: str
    label: str
    reason: str
    sentence: str
    paused_by: int | None
    paused_at: datetime


def _sentence(kind: str, label: str, reason: str) -> str:
    what = {"queue": "the queue", "task": "all", "platform": "posting to", "account": "the account"}[kind]
    return f"{PAUSED}{what} {label}." + (f" \u201c{reason}\u201d" if reason else "")


async def pause(
    conn: db.Conn, name: str, *, by: int, reason: str = "", kind: str = "queue", label: str = ""
) -> bool:
    """Let no worker start a job of this queue or task, or a post to this platform or account; what runs goes on.
    `label` is what people read instead of the name. Twice is once: False when it was paused already.
    """
    return bool(
        await db.run(
            conn,
            """
            INSERT INTO pauses (queue, kind, label, reason, sentence, paused_by) VALUES (%s, %s, %s, %s, %s, %s)
                ON CONFLICT (queue) DO NOTHING""",
            [name, kind, label, reason, _sentence(kind, label or name, reason), by],
        )
    )


async def resume(conn: db.Conn, name: str, *, kind: str = "queue") -> bool:
    """Let it go on: its workers are woken, and what was put off because of it is next at once. False when it was not
    paused.
    """
    found = await db.many(
        conn,
        Pause,
        """
        WITH ended AS (
            DELETE FROM pauses WHERE queue = %s AND kind = %s
            RETURNING kind, queue AS name, label, reason, sentence, paused_by, paused_at)
        SELECT {columns} FROM ended""",
        [name, kind],
    )
    for ended in found:
        await conn.execute("SELECT bring_forward(%s)", [ended.sentence])
    if kind == "queue":
        await conn.execute("SELECT wake_queue(%s, 0)", [name])
    if kind == "task":
        await conn.execute(
            "SELECT wake_queue(queue, 0) FROM (SELECT DISTINCT unnest(queues) AS queue FROM worker_leases) AS served"
        )
    return bool(found)


async def paused(conn: db.Conn, *names: str) -> Pause | None:
    """The first of these that is paused, if any."""
    found = await pauses(conn, names)
    return min(found, key=lambda pause: names.index(pause.name)) if found else None


async def pauses(conn: db.Conn, names: Sequence[str] | None = None) -> list[Pause]:
    """What is paused, the newest last; of these names only, when some are given."""
    return await db.many(
        conn,
        Pause,
        """
        SELECT {columns}
          FROM (SELECT kind, queue AS name, label, reason, sentence, paused_by, paused_at FROM pauses) AS shown
         WHERE %(names)s::text[] IS NULL OR name = ANY (%(names)s)
         ORDER BY paused_at, name""",
        {"names": None if names is None else list(names)},
    )
