"""Nobody sees or touches a row of another workspace: every table, by raw SQL as the role of the pages.

A new table without a class fails here: it is either owned (row rules in force), the house's alone, or a reference.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app import db, events, jobs, migrate, postgres, queue
from tests.makers import Owner, an_owner

pytestmark = pytest.mark.anyio

# Rows without an owner that everybody may read: the moves of the machines, which queues are paused, and how much is
# used of the platforms' limits that all accounts share.
REFERENCE = {"allowed_moves", "pauses", "app_usage"}
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")


@pytest.fixture
async def two(database: str) -> AsyncIterator[tuple[Owner, Owner]]:
    await db.open_pools(database, pages=True)
    yield await an_owner("Maya"), await an_owner("Noor")
    await db.close_pools()


async def tables(conn: db.Conn) -> list[str]:
    found = await db.rows(
        conn,
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1",
    )
    return [str(row[0]) for row in found]


async def is_owned(conn: db.Conn, table: str) -> bool:
    return bool(
        await db.value(
            conn,
            """
            SELECT relrowsecurity AND relforcerowsecurity
               AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid)
              FROM pg_class WHERE oid = %s::regclass""",
            [table],
        )
    )


async def rights(conn: db.Conn, table: str) -> set[str]:
    """What the page role may do with the table at all."""
    return {
        right
        for right in RIGHTS
        if await db.value(conn, "SELECT has_table_privilege('backlot_page', %s, %s)", [table, right])
    }


async def test_every_table_has_a_class(two: tuple[Owner, Owner]) -> None:
    async with db.house() as conn:
        for table in await tables(conn):
            allowed = await rights(conn, table)
            assert "TRUNCATE" not in allowed, f"{table}: truncating ignores row rules"
            if await is_owned(conn, table):
                continue
            assert allowed <= ({"SELECT"} if table in REFERENCE else set()), (
                f"{table} has no owner rule, so pages may not use it"
            )


async def fill(conn: db.Conn, owner: Owner) -> None:
    """One row of this owner in every owned table, written as the superuser without triggers and keys."""
    await conn.execute("SET session_replication_role = replica")
    for table in await tables(conn):
        if not await is_owned(conn, table):
            continue
        columns = await db.rows(
            conn,
            """
            SELECT attname, format_type(atttypid, NULL)
              FROM pg_attribute
             WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull
               AND NOT atthasdef AND attidentity = ''""",
            [table],
        )
        values = {str(name): SAMPLES[str(kind)] for name, kind in columns}
        values |= CHOSEN.get(table, {})
        values["workspace_id"] = owner.workspace_id
        names, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
        await conn.execute(f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING", values)  # type: ignore[arg-type]  # names of our own catalogue


SAMPLES = {
    "bigint": 4711,
    "integer": 1,
    "smallint": 1,
    "text": "x",
    "bytea": b"x",
    "jsonb": "{}",
    "timestamp with time zone": "2026-01-01T00:00:00Z",
    "double precision": 1.0,
    "boolean": True,
    "real": 0,
    "uuid": "00000000-0000-0000-0000-000000000001",
}
# Where a check wants one of a few words.
CHOSEN: dict[str, dict[str, object]] = {
    "members": {"role": "editor"},
    "accounts": {"state": "connected"},
    "renditions": {"kind": "poster"},
    "stream_tracks": {"kind": "video"},
    "batches": {"act": "upload"},
    "weekly_slots": {"wall": "09:00"},
}


async def test_raw_sql_of_a_page_sees_and_touches_nothing_of_another_owner(
    database: str, two: tuple[Owner, Owner]
) -> None:
    mine, theirs = two
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await fill(conn, theirs)
    async with db.house() as conn:
        owned = [table for table in await tables(conn) if await is_owned(conn, table)]
        allowed = {table: await rights(conn, table) for table in owned}
    assert len(owned) >= 15
    for table in owned:
        async with db.house() as conn:
            there = await db.value(
                conn, f"SELECT count(*) FROM {table} WHERE workspace_id = %s", [theirs.workspace_id]
            )  # type: ignore[arg-type]  # a table of ours
            assert there, f"{table}: the test wrote no row to be hidden"
        async with db.owned_by(mine.workspace_id) as conn:
            if "SELECT" in allowed[table]:
                assert (
                    await db.value(
                        conn, f"SELECT count(*) FROM {table} WHERE workspace_id <> %s", [mine.workspace_id]
                    )
                    == 0
                ), table  # type: ignore[arg-type]  # a table of ours
            if "UPDATE" in allowed[table]:
                assert await db.run(conn, f"UPDATE {table} SET workspace_id = workspace_id") == 0, table  # type: ignore[arg-type]  # a table of ours
            if "DELETE" in allowed[table]:
                assert (
                    await db.run(conn, f"DELETE FROM {table} WHERE workspace_id = {theirs.workspace_id}") == 0
                ), table  # type: ignore[arg-type]  # a table of ours
        if "UPDATE" in allowed[table]:
            async with db.owned_by(theirs.workspace_id) as conn:
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation)):
                    # Giving a row away is a write into another workspace.
                    await conn.execute(f"UPDATE {table} SET workspace_id = {mine.workspace_id}")  # type: ignore[arg-type]  # a table of ours


async def test_without_an_owner_there_are_no_rows(database: str, two: tuple[Owner, Owner]) -> None:
    _, theirs = two
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await fill(conn, theirs)
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await conn.execute("SET ROLE backlot_page")
        for table in ("videos", "targets", "accounts", "job_records"):
            row = await (await conn.execute(f"SELECT count(*) FROM {table}")).fetchone()  # type: ignore[arg-type]  # a table of ours
            assert row == (0,), table


async def test_the_page_role_gains_nothing_by_claiming_to_be_the_house(
    database: str, two: tuple[Owner, Owner]
) -> None:
    _, theirs = two
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await fill(conn, theirs)
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await conn.execute("SET ROLE backlot_page")
        await conn.execute("SELECT set_config('app.house', 'on', false)")
        row = await (await conn.execute("SELECT count(*) FROM videos")).fetchone()
        assert row == (0,)
        row = await (await conn.execute("SELECT count(*) FROM owned_jobs")).fetchone()
        assert row == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute(
                "SELECT put_job('video-edit', 'edit-video', 0, NULL, NULL, '{}', NULL, %s, 'x')",
                [theirs.workspace_id],
            )


@pytest.fixture
async def one_role(pg: postgres.Server) -> AsyncIterator[str]:
    """A database whose one login may create no roles and owns its tables, as some providers give it."""
    name = f"plain_{uuid.uuid4().hex[:12]}"
    async with await psycopg.AsyncConnection.connect(pg.dsn, autocommit=True) as conn:
        await conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        await conn.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
    dsn = make_conninfo(pg.dsn_of(name), user=name)
    await migrate.run(dsn)
    yield dsn
    async with await psycopg.AsyncConnection.connect(pg.dsn, autocommit=True) as conn:
        await conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        await conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


async def test_where_a_provider_gives_one_role_the_rows_are_held_apart_all_the_same(one_role: str) -> None:
    await db.open_pools(one_role, pages=True)
    try:
        mine, theirs = await an_owner("Maya"), await an_owner("Noor")
        async with db.owned_by(theirs.workspace_id) as conn:
            job_id = await queue.defer(conn, jobs.EDIT_VIDEO, workspace_id=theirs.workspace_id, videoId=1)
            await events.emit(conn, "test", "test", workspace_id=theirs.workspace_id)
        async with db.owned_by(mine.workspace_id) as conn:
            assert await db.value(conn, "SELECT count(*) FROM events") == 0
            assert await db.value(conn, "SELECT count(*) FROM owned_jobs") == 0
            assert not await queue.cancel(conn, job_id, "not mine")
        async with db.house() as conn:
            assert await db.value(conn, "SELECT count(*) FROM events") == 1
            assert await db.value(conn, "SELECT count(*) FROM owned_jobs") == 1
    finally:
        await db.close_pools()
