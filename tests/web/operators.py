"""What tests of the operators' pages start from, and what they look at afterwards."""

from __future__ import annotations

from typing import Any

from app import db, queue
from tests.web.studio import Person, Studio


async def put(status: str = "failed", *, many: int = 1, **columns: Any) -> list[int]:
    """Jobs as they stand after their runs, without the work."""
    ids = []
    async with db.house() as conn:
        for number in range(many):
            values = {
                "task": "settle-target",
                "queue": "social-publishing",
                "once": None,
                "reason": "No.",
                **columns,
            }
            job_id = await db.value(
                conn,
                """
                INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, status, queueing_lock)
                VALUES (%s, %s, -5, %s, %s::procrastinate_job_status, %s) RETURNING id""",
                [values["queue"], values["task"], f'{{"targetId": {number + 1000}}}', status, values["once"]],
            )
            await conn.execute(
                """
                INSERT INTO job_records (job_id, workspace_id, correlation_id, ended_at)
                VALUES (%s, %s, %s, CASE WHEN %s THEN now() END)""",
                [job_id, values.get("workspace_id"), f"trace-{job_id}", status != "todo"],
            )
            if status == "failed":
                await conn.execute(
                    """
                    INSERT INTO attempts (job_id, round, worker_id, queue, task, ended_at, outcome, error_kind,
                                          error_code, reason)
                    VALUES (%s, 1, 1, %s, %s, now(), 'gave_up', 'Permanent', 'no', %s)""",
                    [job_id, values["queue"], values["task"], values["reason"]],
                )
            ids.append(int(job_id))
    return ids


async def statuses(ids: list[int]) -> list[str]:
    async with db.house() as conn:
        found = await db.rows(
            conn, "SELECT status::text FROM procrastinate_jobs WHERE id = ANY (%s) ORDER BY id", [ids]
        )
    return [status for (status,) in found]


async def acts() -> list[tuple[str, str, int]]:
    async with db.house() as conn:
        return [(act.action, act.subject, act.many) for act in await queue.lately.acts(conn)]


async def operator(studio: Studio) -> Person:
    return await studio.person("Olga", browser=True)


async def stale(person: Person) -> None:
    """As if they had signed in an hour ago."""
    async with db.house() as conn:
        await conn.execute(
            "UPDATE sessions SET signed_in_at = now() - interval '1 hour' WHERE user_id = %s",
            [person.user_id],
        )
