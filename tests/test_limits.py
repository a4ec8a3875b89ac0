"""Limits are exact in every sliding window, over all who ask at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from app import db, limits

pytestmark = pytest.mark.anyio

THREE = limits.Limit("line", 3, 60, "three a minute")


@pytest.fixture
async def house(database: str) -> AsyncIterator[None]:
    await db.open_pools(database, pages=True, most=8)
    yield
    await db.close_pools()


async def take(holder: str, *wanted: limits.Limit) -> limits.Wait | None:
    async with db.house() as conn:
        return await limits.take(conn, holder, list(wanted or (THREE,)))


async def starts(key: str = "line") -> list[datetime]:
    async with db.house() as conn:
        found = await db.rows(
            conn, "SELECT at FROM limit_grants WHERE key = %s AND started ORDER BY at", [key]
        )
    return [row[0] for row in found]


async def pass_time(seconds: float) -> None:
    """Everything that was written is so much older now."""
    async with db.house() as conn:
        await conn.execute("UPDATE limit_grants SET at = at - make_interval(secs => %s)", [seconds])


async def test_the_fourth_start_in_a_minute_waits_and_says_why(house: None) -> None:
    assert [await take(f"job-{number}") for number in range(3)] == [None, None, None]
    wait = await take("job-3")
    assert wait is not None and wait.reason == "three a minute"
    first = (await starts())[0]
    assert wait.until == first + timedelta(seconds=60)


async def test_whoever_waits_is_let_in_when_its_time_has_come_and_not_before(house: None) -> None:
    for number in range(3):
        await take(f"job-{number}")
    await take("job-3")
    await pass_time(59.5)
    assert await take("job-3") is not None
    await pass_time(1)
    assert await take("job-3") is None


async def test_a_newcomer_does_not_pass_those_who_wait(house: None) -> None:
    for number in range(6):
        await take(f"job-{number}")
    await pass_time(60.5)
    assert await take("newcomer") is not None
    assert [await take(f"job-{number}") for number in (3, 4, 5)] == [None, None, None]


async def test_two_limits_are_taken_together_or_not_at_all(house: None) -> None:
    account = limits.Limit("account", 1, 300, "one in five minutes")
    assert await take("a", THREE, account) is None
    wait = await take("b", THREE, account)
    assert wait is not None and wait.reason == "one in five minutes"
    assert len(await starts("line")) == 1


async def test_what_a_cancelled_job_reserved_is_given_back(house: None) -> None:
    for number in range(4):
        await take(f"job-{number}")
    async with db.house() as conn:
        await limits.give_back(conn, "job-3")
        assert await db.value(conn, "SELECT count(*) FROM limit_grants WHERE NOT started") == 0


async def test_no_window_ever_holds_more_starts_than_allowed_with_eight_asking_at_once(house: None) -> None:
    quick = limits.Limit("quick", 3, 0.5, "three in half a second")

    async def ask(number: int) -> None:
        while await take(f"job-{number}", quick) is not None:
            await asyncio.sleep(0.05)

    await asyncio.gather(*(ask(number) for number in range(24)))
    at = await starts("quick")
    assert len(at) == 24
    for first, fourth in zip(at, at[3:], strict=False):
        assert fourth - first >= timedelta(seconds=0.5)


async def test_old_grants_are_forgotten(house: None) -> None:
    await take("job-0")
    await pass_time(100_000)
    async with db.house() as conn:
        assert await limits.forget(conn) == 1


PACIFIC = limits.Limit("uploads", 2, 86_400, "two a day on the Pacific coast", "America/Los_Angeles")


async def midnight_ahead() -> datetime:
    async with db.house() as conn:
        return await db.value(
            conn,
            "SELECT (date_trunc('day', now() AT TIME ZONE 'America/Los_Angeles') + interval '1 day')"
            " AT TIME ZONE 'America/Los_Angeles'",
        )


async def test_a_calendar_day_ends_at_its_own_midnight_and_nobody_books_the_days_after(
    house: None,
) -> None:
    midnight = await midnight_ahead()
    assert [await take(f"job-{number}", PACIFIC) for number in range(2)] == [None, None]
    waits = [await take(f"job-{number}", PACIFIC) for number in range(2, 200)]
    # However many one owner has: nobody's turn is said to be later than the next day.
    assert {wait.until for wait in waits if wait is not None} == {midnight} and None not in waits
    async with db.house() as conn:
        assert await limits.used_today(conn, "uploads", "America/Los_Angeles") == 2


async def test_the_starts_of_yesterday_do_not_count_today(house: None) -> None:
    assert [await take(f"job-{number}", PACIFIC) for number in range(2)] == [None, None]
    await pass_time(25 * 3600)
    assert await take("job-2", PACIFIC) is None


TAKER = """
import asyncio, sys, time
from app import db, limits

async def main(dsn: str, name: str, wanted: int) -> None:
    await db.open_pools(dsn, pages=True, most=2)
    limit = limits.Limit("storm", 40, 0.2, "forty in a fifth of a second")
    got = 0
    while got < wanted:
        async with db.house() as conn:
            wait = await limits.take(conn, f"{name}-{got}", [limit])
        if wait is None:
            got += 1
        else:
            await asyncio.sleep(max(0.0, wait.until.timestamp() - time.time()))
    await db.close_pools()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.mark.parametrize("grants", [400, pytest.param(10_000, marks=pytest.mark.storm)])
async def test_no_window_holds_one_start_too_many_whoever_takes_them(
    house: None, database: str, grants: int
) -> None:
    """Eight processes at once; every window of the ledger of starts is counted afterwards."""
    takers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", TAKER, database, f"taker-{number}", str(grants // 8)
        )
        for number in range(8)
    ]
    assert [await taker.wait() for taker in takers] == [0] * 8
    at = await starts("storm")
    assert len(at) == grants
    gaps = [later - first for first, later in zip(at, at[40:], strict=False)]
    assert min(gaps) >= timedelta(seconds=0.2)
    print(f"{grants} grants in {(at[-1] - at[0]).total_seconds():.1f} s, least span of 41: {min(gaps)}")
