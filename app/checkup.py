"""What `backlot doctor`, the Start page and the operators' health page look at: each finding with its mend (S1.69)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from app import config, db, jobs, live, media, migrate, queue, storage
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
        await db.ensure_pools(place.dsn, pages=True)
    except HouseError as error:
        return [
            Finding(
                "database",
                False,
                error.message,
                "Check DATABASE_URL, and that the server runs and lets you in.",
            )
        ]
    return [*await look_at_database(place), *await look_at_machine(), *await look_at_workers()]


async def look_at_database(place: db.Place) -> list[Finding]:
    """The server, its migrations, its clock and whether notices arrive."""
    began = time.perf_counter()
    async with db.house() as conn:
        version = await db.value(conn, "SHOW server_version")
        now: datetime = await db.value(conn, "SELECT clock_timestamp()")
        round_trip_ms = (time.perf_counter() - began) * 1000
        lacking = await migrate.missing(conn)
    off_s = abs((datetime.now(UTC) - now).total_seconds())
    echoes = await live.hears_itself(place.dsn, place.direct_dsn)
    return [
        Finding("database", True, f"PostgreSQL {version} answers in {round_trip_ms:.1f} ms"),
        Finding(
            "migrations",
            not lacking,
            "all applied" if not lacking else f"{len(lacking)} are missing, first {lacking[0]}",
            "" if not lacking else "Run `backlot migrate`.",
        ),
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


async def look_at_machine() -> list[Finding]:
    """Storage, ffmpeg, and what stands in for the real world."""
    settings = config.get()
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
    simulated = "simulated" if settings.tiktok_simulated else "real" if settings.tiktok_client_key else "off"
    mend = "" if simulated != "off" else "Set TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET, or SIMULATORS=on."
    findings.append(Finding("TikTok", simulated != "off", simulated, mend))
    return findings


async def look_at_workers() -> list[Finding]:
    """Who works, and which queue nobody serves."""
    async with db.house() as conn:
        living = [worker for worker in await queue.workers(conn) if worker.lives]
        lines = await queue.health(conn, [line.name for line in jobs.QUEUES])
    unserved = [line.name for line in lines if not line.workers]
    said = f"{len(living)} {'is' if len(living) == 1 else 'are'} alive"
    return [
        Finding(
            "workers",
            not unserved,
            said if not unserved else f"{said}; nobody serves {', '.join(unserved)}",
            "" if not unserved else "Start one: `backlot worker`, or the worker line of the Procfile.",
        )
    ]
