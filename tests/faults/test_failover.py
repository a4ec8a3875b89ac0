"""A streaming pair whose primary dies: the address names both servers, and whoever accepts writes is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from app import checkup, config, db, migrate
from app.errors import Retryable
from tests.faults.servers import Member, Pair, missing_for_pair, streaming_pair
from tests.faults.watch import MARKS, Stream, all_ended, first_done_s, found, put_at_last
from tests.queue.processes import workers
from tests.worker import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(missing_for_pair() is not None, reason=str(missing_for_pair())),
]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A primary with one synchronous standby, migrated, our pools open on both."""
    with streaming_pair(synchronous=True) as made:
        await migrate.run(made.dsn)
        async with await psycopg.AsyncConnection.connect(made.dsn, autocommit=True) as conn:
            await conn.execute(MARKS)
        await db.open_pools(made.dsn, pages=True)
        yield made
        await db.close_pools()


async def accepts_writes(member: Member) -> bool:
    try:
        async with await psycopg.AsyncConnection.connect(
            member.dsn, autocommit=True, connect_timeout=2
        ) as conn:
            row = await (await conn.execute("SELECT NOT pg_is_in_recovery()")).fetchone()
            return bool(row and row[0])
    except psycopg.OperationalError:
        return False


async def fail_over(pair: Pair) -> datetime:
    """Kill the primary and promote its standby; gives the moment from which on it accepts writes."""
    pair.primary.kill()
    await asyncio.to_thread(pair.standby.promote)

    async def there() -> bool:
        return await accepts_writes(pair.standby)

    await until(there, within_s=30)
    return datetime.now(UTC)


async def survive(pair: Pair, home: Path, *, before_s: float, jobs_every_s: float) -> None:
    with workers(1, pair.dsn, home) as (worker,):
        async with Stream(jobs_every_s) as stream:
            await asyncio.sleep(before_s)
            accepted_at = await fail_over(pair)
            await put_at_last("after the failover")
            put_s = (datetime.now(UTC) - accepted_at).total_seconds()
            back_s = await first_done_s(accepted_at, within_s=40)
        # The backlog of what was put meanwhile is worked off; only then is there something to count.
        await until(all_ended, within_s=240)
        assert worker.process.poll() is None, worker.said()[-3000:]
    ended = await found()
    print(f"acknowledged={len(stream.acknowledged)} unanswered={stream.unanswered} put after {put_s:.2f} s, "
          f"worked after {back_s:.2f} s "
          f"states={dict(ended.states)} outcomes={dict(ended.outcomes)}")  # fmt: skip
    assert set(stream.acknowledged.values()) <= set(ended.done), "an acknowledged job was lost"
    assert set(ended.done.values()) == {1}, "a job was saved as done twice"
    assert set(ended.states) == {"succeeded"}
    assert len(stream.acknowledged) > 20
    assert put_s < 5
    assert back_s < 5


async def test_no_acknowledged_job_is_lost_when_the_primary_dies_and_the_same_worker_goes_on(
    pair: Pair, tmp_path: Path
) -> None:
    await survive(pair, tmp_path, before_s=2.0, jobs_every_s=0.02)


@pytest.mark.storm
@pytest.mark.parametrize("round_number", range(5))
async def test_no_acknowledged_job_is_lost_in_a_storm_of_failovers(
    pair: Pair, tmp_path: Path, round_number: int
) -> None:
    await survive(pair, tmp_path, before_s=5.0 + round_number, jobs_every_s=0.0)


async def test_an_open_line_to_a_primary_that_became_a_standby_is_given_up(pair: Pair) -> None:
    with pytest.raises(Retryable, match="went away"):
        async with db.house() as conn:
            # What a managed service does to the old primary's sessions, without ending them.
            await conn.execute("SET default_transaction_read_only = on")
            await conn.execute("SET transaction_read_only = on")
            await conn.execute("CREATE TABLE never (id int)")
    async with db.house() as conn:
        assert await db.value(conn, "SELECT current_setting('default_transaction_read_only')") == "off"


@pytest.fixture
def set_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets DATABASE_URL as an operator would."""

    def change(address: str) -> None:
        monkeypatch.setenv("BACKLOT_HOME", str(tmp_path))
        monkeypatch.setenv("DATABASE_URL", address)
        config.get.cache_clear()
        db.locate.cache_clear()

    yield change
    config.get.cache_clear()
    db.locate.cache_clear()


async def test_the_self_check_names_both_servers_and_who_would_take_over(
    pair: Pair, set_to: Callable[[str], None]
) -> None:
    set_to(pair.dsn)
    one, two = f"127.0.0.1:{pair.primary.port}", f"127.0.0.1:{pair.standby.port}"
    servers = (await look())["servers"]
    assert (servers.fine, servers.said) == (True, f"{one} takes writes; {two} is a standby")
    await fail_over(pair)
    findings = await look()
    assert findings["database"].fine
    assert not findings["servers"].fine
    assert findings["servers"].said == f"{one} cannot be reached: Connection refused; {two} takes writes"
    pair.standby.kill()
    away = (await look())["database"].said
    assert away == f"DATABASE_URL: the database at {one} and {two} cannot be reached: Connection refused."


async def test_a_pair_without_a_primary_is_said_to_take_no_writes(
    pair: Pair, set_to: Callable[[str], None]
) -> None:
    set_to(pair.dsn)
    pair.primary.kill()
    one, two = f"127.0.0.1:{pair.primary.port}", f"127.0.0.1:{pair.standby.port}"
    away = await db.unreachable(pair.dsn)
    assert away is not None
    assert away.endswith(
        f"cannot be reached: {one}: Connection refused; {two}: it is a standby and takes no writes."
    )


async def look() -> dict[str, checkup.Finding]:
    """The findings of a process that was started now."""
    await db.close_pools()
    return {finding.what: finding for finding in await checkup.look()}
