"""Brings a database to the shape this code expects: the queue engine's migrations, then ours, forward only.

One transaction a file, under one advisory lock that the server frees when a migrating process dies, so any
number may start at once. A file that changed after it was applied is refused, and so is a database that is
newer than the code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import procrastinate.schema
import psycopg

from app import log
from app.errors import Permanent

LOCK = 5_261_120_742  # any constant of our own: the advisory lock of migrations
LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    source     text NOT NULL,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, name)
)"""
OLDEST_SERVER = 150_000
NEWEST_SERVER = 189_999


@dataclass(frozen=True)
class Step:
    source: str
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def folder() -> Path:
    """Our own migration files: beside the package in a checkout, inside it in a wheel."""
    packaged = Path(__file__).parent / "_data" / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "migrations"


def steps() -> list[Step]:
    """Every migration file in the order it is applied."""
    engine = Path(str(procrastinate.schema.SchemaManager.get_migrations_path()))
    return [
        Step(source, path.name, path.read_text(encoding="utf-8"))
        for source, place in (("procrastinate", engine), ("backlot", folder()))
        for path in sorted(place.glob("*.sql"))
    ]


async def run(dsn: str) -> list[str]:
    """Apply what is missing and say which files those were. A second run, or one beside it, applies nothing."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10) as conn:
        if not OLDEST_SERVER <= conn.info.server_version <= NEWEST_SERVER:
            raise Permanent(
                f"This PostgreSQL is version {conn.info.server_version // 10000}; Backlot needs 15 to 18.",
                code="server_version",
            )
        await conn.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        try:
            return await _apply(conn)
        finally:
            await conn.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


async def _apply(conn: psycopg.AsyncConnection) -> list[str]:
    await conn.execute("SET client_min_messages = warning")
    await conn.execute(LEDGER)
    rows = await (await conn.execute("SELECT source, name, sha256 FROM schema_migrations")).fetchall()
    applied = {(str(source), str(name)): str(sha256) for source, name, sha256 in rows}
    wanted = steps()
    unknown = set(applied) - {(step.source, step.name) for step in wanted}
    if unknown:
        names = ", ".join(sorted(name for _, name in unknown))
        raise Permanent(f"This database is newer than this program (it has {names}).", code="newer_database")
    done: list[str] = []
    for step in wanted:
        seen = applied.get((step.source, step.name))
        if seen == step.sha256:
            continue
        if seen is not None:
            if step.source == "backlot":
                raise Permanent(
                    f"The migration {step.name} was changed after it was applied.", code="changed"
                )
            log.warning("engine migration changed after it was applied", name=step.name)
            continue
        async with conn.transaction():
            await conn.execute(step.text.encode())
            await conn.execute(
                "INSERT INTO schema_migrations (source, name, sha256) VALUES (%s, %s, %s)",
                [step.source, step.name, step.sha256],
            )
        done.append(step.name)
    await _hide_ledger(conn)
    return done


async def _hide_ledger(conn: psycopg.AsyncConnection) -> None:
    """The house may look at what was applied (readiness asks); the page role may not."""
    await conn.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'backlot_house') THEN
                GRANT SELECT ON schema_migrations TO backlot_house;
            END IF;
        END $$""")


async def missing(conn: psycopg.AsyncConnection[object]) -> list[str]:
    """The files this code has and this database has not; readiness is red while there is one."""
    cursor = await conn.execute("SELECT source || '/' || name FROM schema_migrations")
    there = {row[0] for row in await cursor.fetchall()}  # type: ignore[index]  # a tuple row by default
    return [step.name for step in steps() if f"{step.source}/{step.name}" not in there]
