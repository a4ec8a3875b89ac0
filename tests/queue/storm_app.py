"""A house for the storms: jobs that write what rooms write, in the steps rooms take.

`things` are the domain rows, fenced by `run`; each fenced write leaves a row in `writes`. `effects` is the world
outside: it is written without any fence and remembers every call, so a second one can be seen there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import psycopg

from app import config, db, media, queue
from app.errors import NotYet, Retryable, Superseded
from app.media.run import execute
from app.media.run import run as encode_by
from app.media.walls import Limits
from app.queue import ear, lease, rescue, running
from app.storage.scratch import scratch

LINE = queue.Queue("storm", together=4, tries=4, first_wait_s=0.2)
SHORT = queue.Job("short", LINE, ("name",))
LONG = queue.Job("long", LINE, ("name", "seconds"))
FLAKY = queue.Job("flaky", LINE, ("name", "failures"))
CHILD = queue.Job("child", LINE, ("name", "seconds"))
STEADY = queue.Job("steady", LINE, ("name", "seconds", "early"))
ENCODE = queue.Job("encode", LINE, ("name",))
POISON = queue.Job("poison", LINE, ("name",))
BLOCK = queue.Job("block", LINE, ("name", "seconds", "times"))
GREEDY = queue.Job("greedy", LINE, ("name", "mib"))

TABLES = """
CREATE TABLE things (name text PRIMARY KEY, kind text, run bigint, claims integer NOT NULL DEFAULT 0,
                     failures integer NOT NULL DEFAULT 0, beats integer NOT NULL DEFAULT 0, done_at timestamptz,
                     reason text, permit_run bigint, permit_at timestamptz);
CREATE TABLE writes (id bigint GENERATED ALWAYS AS IDENTITY, thing text, run bigint, what text,
                     at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE effects (thing text, run bigint, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE refused (thing text, run bigint, what text, at timestamptz NOT NULL DEFAULT clock_timestamp());
GRANT ALL ON things, writes, effects, refused TO PUBLIC"""

# No call to the world takes longer; whoever finds the permit spent asks not before twice as long.
CALL_S = 1.0
MIB = 1024**2

procrastinate_app = queue.HouseApp()

if os.environ.get("STORM_HURRY"):
    # The small storms: the house's times made short, in the same order.
    running.LEASE_S, lease.ALIVE_S = 3.0, 4.0
    ear.BEAT_S, rescue.GRACE_S, rescue.LOST_S = 1.0, 0.0, 4.5


async def gave_up(conn: db.Conn, job_id: int, name: str, reason: str, code: str, **others: object) -> None:
    await conn.execute("UPDATE things SET reason = %s WHERE name = %s", [f"{code}: {reason}", name])


async def claim(name: str) -> tuple[bool, int, int]:
    """Make this run the owner of the thing; gives whether it is done, how often it was claimed, its failures."""
    number = queue.current().number
    async with db.house() as conn:
        found = await db.rows(
            conn,
            """
            UPDATE things SET run = %(run)s, claims = claims + 1
             WHERE name = %(name)s AND coalesce(run, 0) <= %(run)s
            RETURNING done_at IS NOT NULL, claims, failures""",
            {"run": number, "name": name},
        )
        if not found:
            raise Superseded("A later run has this thing.")
        await wrote(conn, name, "claimed")
    return found[0][0], found[0][1], found[0][2]


async def wrote(conn: db.Conn, name: str, what: str) -> None:
    await conn.execute(
        "INSERT INTO writes (thing, run, what) VALUES (%s, %s, %s)", [name, queue.current().number, what]
    )


async def beat(name: str) -> None:
    """A fenced write on the way."""
    async with db.house() as conn:
        if not await db.run(
            conn,
            "UPDATE things SET beats = beats + 1 WHERE name = %s AND run = %s",
            [name, queue.current().number],
        ):
            raise Superseded("A later run has this thing.")
        await wrote(conn, name, "beat")


async def finish(name: str) -> None:
    async with db.house() as conn:
        if not await db.run(
            conn,
            "UPDATE things SET done_at = clock_timestamp() WHERE name = %s AND run = %s AND done_at IS NULL",
            [name, queue.current().number],
        ):
            raise Superseded("A later run has this thing.")
        await wrote(conn, name, "done")


async def permit(name: str) -> bool:
    """True when this run may make the call; False when the world has it already (asked, never assumed)."""
    async with db.house() as conn:
        found = await db.rows(
            conn,
            """
            SELECT permit_run, extract(epoch FROM clock_timestamp() - permit_at)::float8,
                   EXISTS (SELECT FROM effects WHERE thing = name)
              FROM things WHERE name = %s""",
            [name],
        )
        seen, age_s, there = found[0]
        if there:
            return False
        if seen is not None and age_s < 2 * CALL_S:
            raise NotYet("The call of a run before this one may be on its way.", after_s=2 * CALL_S - age_s)
        if not await db.run(
            conn,
            """
            UPDATE things SET permit_run = %(run)s, permit_at = clock_timestamp()
             WHERE name = %(name)s AND run = %(run)s AND permit_run IS NOT DISTINCT FROM %(seen)s""",
            {"name": name, "run": queue.current().number, "seen": seen},
        ):
            raise Superseded("A later run has this thing.")
        await wrote(conn, name, "permit")
    return True


async def call(name: str) -> None:
    """The irreversible call, right after a look at the lease."""
    queue.current().check_lease()
    async with db.house() as conn:
        await conn.execute("INSERT INTO effects (thing, run) VALUES (%s, %s)", [name, queue.current().number])


async def publish(name: str) -> None:
    if await permit(name):
        # On the way to the call: long enough to be met there by a kill.
        await asyncio.sleep(0.1)
        await call(name)


@procrastinate_app.bind(SHORT, gave_up=gave_up)
async def short(name: str) -> None:
    done, _, _ = await claim(name)
    if done:
        return
    await publish(name)
    await finish(name)


@procrastinate_app.bind(LONG, gave_up=gave_up)
async def long(name: str, seconds: float) -> None:
    done, _, _ = await claim(name)
    if done:
        return
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        await asyncio.sleep(0.25)
        await beat(name)
    await publish(name)
    await finish(name)


@procrastinate_app.bind(FLAKY, gave_up=gave_up)
async def flaky(name: str, failures: int) -> None:
    done, _, failed = await claim(name)
    if done:
        return
    if failed < failures:
        async with db.house() as conn:
            if not await db.run(
                conn,
                "UPDATE things SET failures = failures + 1 WHERE name = %s AND run = %s",
                [name, queue.current().number],
            ):
                raise Superseded("A later run has this thing.")
            await wrote(conn, name, "failed")
        raise Retryable("The other side is away.", code="away")
    await publish(name)
    await finish(name)


@procrastinate_app.bind(CHILD, gave_up=gave_up)
async def child(name: str, seconds: float) -> None:
    done, _, _ = await claim(name)
    if done:
        return
    with scratch("storm") as folder:
        ended = await execute(
            ["/bin/sleep", str(seconds)], limits=Limits(wall_s=seconds + 30), writable=folder
        )
    if ended.code < 0:
        raise Retryable(f"The child was killed by signal {-ended.code}.", code="killed")
    await beat(name)
    await publish(name)
    await finish(name)


@procrastinate_app.bind(STEADY, gave_up=gave_up)
async def steady(name: str, seconds: float, early: bool) -> None:
    """The first run lingers, with a thread that writes on whatever the loop does; the one that takes over is quick.
    `early` ones hold their permit while they linger.
    """
    done, claims, _ = await claim(name)
    if done:
        return
    if claims > 1:
        await publish(name)
        await finish(name)
        return
    number = queue.current().number
    threading.Thread(target=_stubborn, args=(name, number), daemon=True).start()
    if early:
        await permit(name)
        await asyncio.sleep(seconds)
        await call(name)
    else:
        await asyncio.sleep(seconds)
        await publish(name)
    await finish(name)


def _stubborn(name: str, number: int) -> None:
    """Writes fenced rows until it is refused: no cancel reaches a thread. One statement each, so that it holds no
    row when it is frozen.
    """
    with psycopg.connect(str(config.get().database_url), autocommit=True) as conn:
        ours = True
        while ours:
            ours = bool(
                conn.execute(
                    """
                    WITH ours AS (
                        UPDATE things SET beats = beats + 1
                         WHERE name = %(name)s AND run = %(run)s AND done_at IS NULL
                        RETURNING name)
                    INSERT INTO writes (thing, run, what) SELECT name, %(run)s, 'thread' FROM ours""",
                    {"name": name, "run": number},
                ).rowcount
            )
            time.sleep(0.1)
        conn.execute("INSERT INTO refused (thing, run, what) VALUES (%s, %s, 'thread')", [name, number])


@procrastinate_app.bind(ENCODE, gave_up=gave_up)
async def encode(name: str) -> None:
    """Ten minutes of ffmpeg, at the pace of the film so that many fit on a machine."""
    await claim(name)
    with scratch("encode") as folder:
        source = ("-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=10:d=600")
        await encode_by(
            [
                str(media.program().path),
                *source,
                "-preset",
                "ultrafast",
                "-y",
                str(Path(folder) / "film.mp4"),
            ],
            limits=Limits(wall_s=900, cpu_s=900),
            writable=folder,
            duration_s=600,
        )
    await finish(name)


@procrastinate_app.bind(POISON, gave_up=gave_up)
async def poison(name: str) -> None:
    await claim(name)
    os.kill(os.getpid(), signal.SIGKILL)


@procrastinate_app.bind(BLOCK, gave_up=gave_up)
async def block(name: str, seconds: float, times: int) -> None:
    """Stands on the loop, the first `times` times."""
    _, claims, _ = await claim(name)
    if claims <= times:
        time.sleep(seconds)
    await finish(name)


@procrastinate_app.bind(GREEDY, gave_up=gave_up)
async def greedy(name: str, mib: int) -> None:
    """Wants this much memory at once."""
    await claim(name)
    with contextlib.closing(_Memory(mib)):
        await finish(name)


class _Memory:
    def __init__(self, mib: int) -> None:
        self.block = bytearray(mib * MIB)

    def close(self) -> None:
        self.block = bytearray()
