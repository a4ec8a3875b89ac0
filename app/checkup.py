"""What `backlot doctor`, the Start page and the operators' health page look at: each finding with its mend (S1.69)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app import crypto, db, jobs, live, media, migrate, platforms, queue, storage
from app.errors import HouseError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` says what to do when it is not fine, or is empty."""

    what: str
    fine: bool
    said: str
    mend: str = ""


async def look() -> list[Finding]:
    """Everything, in the order in which it has to work; opens the pools itself when they are not open."""
    try:
        place = await asyncio.to_thread(db.locate)
    except HouseError as error:
        return [Finding("database", False, error.message, "See the server's log in BACKLOT_HOME/postgres.")]
    if away := await unreachable(place):
        return [Finding("database", False, away, "Start that server, or correct the setting.")]
    if lacking := await _never_migrated(place):
        return [_migrations(lacking)]
    try:
        await db.ensure_pools(place.dsn, pages=True, pooled=place.pooled)
        return [
            *await look_at_database(place),
            *await look_at_standbys(place),
            *await look_at_keys(),
            *await look_at_machine(),
            *await look_at_workers(),
        ]
    except HouseError as error:
        return [Finding("database", False, error.message)]


async def unreachable(place: db.Place) -> str | None:
    """Why one of the addresses in use cannot be reached, in one line; None when all can."""
    return await db.unreachable(place.dsn) or (
        await db.unreachable(place.direct_dsn) if place.direct_dsn != place.dsn else None
    )


async def _never_migrated(place: db.Place) -> list[str]:
    """Every migration, when none was ever applied: before the first of them nothing else can be looked at."""
    async with await db.connect(place.direct_dsn) as conn:
        there = await db.value(conn, "SELECT to_regclass('schema_migrations') IS NOT NULL")
    return [] if there else [step.name for step in migrate.steps()]


def _migrations(lacking: list[str]) -> Finding:
    if not lacking:
        return Finding("migrations", True, "all applied")
    said = f"{len(lacking)} {'is' if len(lacking) == 1 else 'are'} missing, first {lacking[0]}"
    return Finding("migrations", False, said, "Run `backlot migrate`.")


async def look_at_database(place: db.Place) -> list[Finding]:
    """The server, its migrations, its clock and whether notices arrive."""
    async with db.house() as conn:
        version = await db.value(conn, "SHOW server_version")
        began = time.perf_counter()
        now: datetime = await db.value(conn, "SELECT clock_timestamp()")
        round_trip_ms = (time.perf_counter() - began) * 1000
        lacking = await migrate.missing(conn)
    off_s = abs((datetime.now(UTC) - now).total_seconds())
    echoes = await live.hears_itself(place.dsn, place.direct_dsn)
    return [
        Finding("database", True, f"PostgreSQL {version} answers in {round_trip_ms:.1f} ms"),
        _migrations(lacking),
        Finding(
            "clock",
            off_s < db.CLOCK_WARN_S,
            f"{off_s:.1f} s from the database's",
            "" if off_s < db.CLOCK_WARN_S else "Set this machine's clock by NTP.",
        ),
        Finding(
            "notices",
            echoes,
            "arrive" if echoes else "do not arrive: workers only poll, pages do not move",
            "" if echoes else "Set DATABASE_DIRECT_URL to an address that goes past the pooler.",
        ),
    ]


async def look_at_standbys(place: db.Place) -> list[Finding]:
    """Whether somebody would take over; nothing where the address names one server."""
    names = db.hosts(place.direct_dsn)
    if len(names) == 1:
        return []
    answers = await asyncio.gather(*(_standing(place.direct_dsn, name) for name in names))
    said = "; ".join(f"{name} {what}" for name, (_, what) in zip(names, answers, strict=True))
    fine = all(answered for answered, _ in answers)
    return [Finding("servers", fine, said, "" if fine else "Start it: without it nobody takes over.")]


async def _standing(dsn: str, name: str) -> tuple[bool, str]:
    """Whether this one of several servers answers; and whether it takes writes, or why it does not answer."""
    parts = {key: value for key, value in conninfo_to_dict(dsn).items() if key != "target_session_attrs"}
    host, _, port = name.rpartition(":")
    alone = make_conninfo("", **(parts | {"host" if parts.get("host") else "hostaddr": host, "port": port}))
    try:
        async with await db.connect(alone) as conn:
            waits = await db.value(conn, "SELECT pg_is_in_recovery()")
    except psycopg.Error as error:
        return False, f"cannot be reached: {db.reason(error).rstrip('.')}"
    return True, "is a standby" if waits else "takes writes"


async def look_at_keys() -> list[Finding]:
    """Whether what is stored under lock still opens: one secret for each key that was ever used."""
    async with db.house() as conn:
        sealed = await db.rows(
            conn,
            """
            SELECT DISTINCT ON (split_part(access_token_enc, '.', 2)) id, access_token_enc
              FROM accounts
             WHERE access_token_enc IS NOT NULL
             ORDER BY split_part(access_token_enc, '.', 2), id""",
        )
    try:
        for account_id, token in sealed:
            crypto.unseal(token, f"accounts|{account_id}|access_token_enc")
    except HouseError as error:
        mend = "Set ENCRYPTION_KEY, or ENCRYPTION_KEYS_OLD, to what it was; else connect the accounts anew."
        return [Finding("keys", False, error.message, mend)]
    return [Finding("keys", True, "open what is stored" if sealed else "nothing is stored under lock yet")]


async def look_at_machine() -> list[Finding]:
    """Storage, ffmpeg, and what stands in for the real world."""
    problems = await storage.storage_check()
    findings = [
        Finding(
            "storage",
            not problems,
            "files can be written, read and removed" if not problems else "; ".join(problems),
            "" if not problems else "Check the STORAGE_ and AWS_ settings, TEMP_DIR and the free space.",
        )
    ]
    try:
        program = await asyncio.to_thread(media.program)
        version = await asyncio.to_thread(media.version)
        isolation = await asyncio.to_thread(media.isolation)
        findings.append(Finding("ffmpeg", True, f"{version} at {program.path}, kept in by {isolation}"))
    except HouseError as error:
        findings.append(
            Finding("ffmpeg", False, error.message, "Install ffmpeg 5.1 or newer, or set BACKLOT_FFMPEG.")
        )
    findings += _look_at_platforms()
    return findings


def _look_at_platforms() -> list[Finding]:
    """Whether each platform is real, simulated or off; a house needs one of them, not all."""
    registered = {name: platforms.get(name).app() for name in platforms.NAMES}
    any_is_on = any(app.simulated or app.client_key for app in registered.values())
    findings = []
    for name, app in registered.items():
        said = "simulated" if app.simulated else "real" if app.client_key else "off"
        first = "KEY" if name == "tiktok" else "ID"
        mend = f"Set {name.upper()}_CLIENT_{first} and {name.upper()}_CLIENT_SECRET, or SIMULATORS=on."
        findings.append(
            Finding(platforms.LABELS[name], any_is_on, said, mend if said == "off" and not any_is_on else "")
        )
    return findings


async def look_at_workers() -> list[Finding]:
    """Who works, whose heartbeat stays away, and which queue nobody serves."""
    async with db.house() as conn:
        workers = await queue.workers(conn)
        lines = await queue.health(conn, [line.name for line in jobs.QUEUES])
    living = [worker for worker in workers if worker.lives]
    unserved = [line.name for line in lines if not line.workers]
    said = f"{len(living)} {'is' if len(living) == 1 else 'are'} alive"
    if living:
        said += f", the last heartbeat {max(worker.age_s for worker in living):.0f} s ago at most"
    for worker in workers:
        if not worker.lives:
            said += f"; {worker.name} on {worker.host} is silent for {worker.age_s:.0f} s"
    if unserved:
        said += f"; nobody serves {', '.join(unserved)}"
    mend = "Start one: `backlot worker`, or the worker line of the Procfile." if unserved else ""
    return [Finding("workers", not unserved, said, mend)]
