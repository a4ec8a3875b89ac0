"""Rows that walk. One UPDATE compares and sets; the same call writes the event and tells the live topic.

The pairs of a machine stand in its room and, the same, in `allowed_moves`, where a trigger refuses every
other move whoever makes it. States are text, not a database enum: an enum's value cannot be dropped again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from psycopg import sql
from psycopg.rows import class_row

from app import db, events
from app.errors import NotFound, Superseded, WrongState

T = TypeVar("T", bound=db.Row)


@dataclass(frozen=True)
class Machine:
    """`moves` maps a state to those it may go to; a working state that names itself may be entered again."""

    name: str
    table: str
    moves: Mapping[str, frozenset[str]]

    def sources(self, to: str) -> list[str]:
        """The states from which `to` can be reached in one move."""
        return sorted(state for state, targets in self.moves.items() if state and to in targets)

    def pairs(self) -> set[tuple[str, str]]:
        """Every move but those to itself, which the database does not see as a move."""
        return {(old, new) for old, targets in self.moves.items() for new in targets if old != new}


async def move(
    conn: db.Conn,
    machine: Machine,
    cls: type[T],
    row_id: int,
    to: str,
    *,
    run: int | None = None,
    take_over: bool = False,
    event: str | None = None,
    detail: Mapping[str, Any] | None = None,
    **changes: Any,
) -> T:
    """Move the row and give it back as a `cls`.

    `run` is the fencing number of the caller: with `take_over` the row is claimed for it (only from an older
    run), without it the row must still be held by it; else Superseded. A state from which `to` is not allowed
    raises WrongState and writes nothing. `reason` and `reason_code` are cleared unless given. Called twice,
    the second call raises WrongState unless the state may follow itself.
    """
    values: dict[str, Any] = {"reason": None, "reason_code": None, **changes, "state": to}
    fence: sql.Composable = sql.SQL("")
    if run is not None and take_over:
        values["run"] = run
        fence = sql.SQL(" AND coalesce(run, 0) <= {}").format(sql.Placeholder("_run"))
    elif run is not None:
        fence = sql.SQL(" AND run = {}").format(sql.Placeholder("_run"))
    query = sql.SQL(
        "UPDATE {table} SET {changes}, changed_at = clock_timestamp()"
        " WHERE id = {id} AND state = ANY ({sources}){fence} RETURNING {columns}"
    ).format(
        table=sql.Identifier(machine.table),
        changes=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in values
        ),
        id=sql.Placeholder("_id"),
        sources=sql.Placeholder("_sources"),
        fence=fence,
        columns=sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(cls)),
    )
    async with conn.cursor(row_factory=class_row(cls)) as cursor:
        await cursor.execute(query, {**values, "_id": row_id, "_sources": machine.sources(to), "_run": run})
        row = await cursor.fetchone()
    if row is None:
        raise await _why_not(conn, machine, row_id, to, run)
    await events.emit(
        conn,
        event or f"{machine.name}.{to.lower()}",
        f"{machine.name}-{row_id}",
        workspace_id=getattr(row, "workspace_id", None),
        run=run,
        **(dict(detail or {}) | ({"reason": values["reason"]} if values["reason"] else {})),
    )
    return row


async def hold(conn: db.Conn, machine: Machine, row_id: int, run: int) -> None:
    """Hold the row for this transaction; raises Superseded when a later run holds it."""
    query = sql.SQL("SELECT 1 FROM {} WHERE id = %s AND run = %s FOR UPDATE").format(
        sql.Identifier(machine.table)
    )
    cursor = await conn.execute(query, [row_id, run])
    if await cursor.fetchone() is None:
        raise Superseded(f"Another run has taken over this {machine.name}.")


async def _why_not(conn: db.Conn, machine: Machine, row_id: int, to: str, run: int | None) -> Exception:
    query = sql.SQL("SELECT state, run FROM {} WHERE id = %s").format(sql.Identifier(machine.table))
    row = await (await conn.execute(query, [row_id])).fetchone()
    if row is None:
        return NotFound()
    state, holder = row
    if run is not None and holder is not None and holder != run:
        return Superseded(f"Another run has taken over this {machine.name}.")
    return WrongState(f"This {machine.name} is {state}; it cannot become {to} now.")
