"""Acts that take effect after their connection was cut: kept in the world's file until their time comes.

There is no timer to lose: every call first settles what is due, so whoever looks at the world sees it done.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from app.sandbox.world import World

# name of the act -> what does it: (world, arguments, due time). Each must bear being done twice at once.
Doer = Callable[[World, dict[str, Any], float], Awaitable[None]]
_doers: dict[str, Doer] = {}


def knows(act: str, doer: Doer) -> None:
    _doers[act] = doer


def put(conn: sqlite3.Connection, act: str, due_at: float, arguments: dict[str, Any]) -> None:
    conn.execute(
        "INSERT INTO later (due_at, act, arguments) VALUES (?, ?, ?)", (due_at, act, json.dumps(arguments))
    )


async def settle(world: World) -> None:
    """Do everything that is due, oldest first. A kill in between leaves the rest for the next call."""
    for row in await world.read(_due, world.clock()):
        await _doers[row["act"]](world, json.loads(row["arguments"]) | {"later_id": row["id"]}, row["due_at"])
        await world.write(done, row["id"])


def done(conn: sqlite3.Connection, later_id: int) -> bool:
    """Take the act off the list; False when somebody else has done it."""
    return conn.execute("DELETE FROM later WHERE id = ?", (later_id,)).rowcount == 1


def _due(conn: sqlite3.Connection, at: float) -> list[sqlite3.Row]:
    return conn.execute("SELECT * FROM later WHERE due_at <= ? ORDER BY due_at, id", (at,)).fetchall()
