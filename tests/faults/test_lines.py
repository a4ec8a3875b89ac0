"""What becomes of a worker whose line to the database swallows, cuts or delays what it says, or drops packets."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import db, postgres
from app.errors import Retryable
from tests.faults import namespaces
from tests.faults.lines import Proxy
from tests.faults.namespaces import Cable, Inside
from tests.faults.servers import socket_path
from tests.faults.watch import all_ended, found, marked, put
from tests.queue.processes import Process, workers
from tests.worker import until

pytestmark = pytest.mark.anyio

EXIT_STUCK = 70


async def started(name: str, within_s: float = 20) -> None:
    async def there() -> bool:
        return await marked(name, "started")

    await until(there, within_s=within_s)


async def done(name: str, within_s: float) -> None:
    async def there() -> bool:
        return await marked(name)

    await until(there, within_s=within_s)


async def test_a_worker_whose_lines_are_cut_goes_on_in_the_same_process(proxy: Proxy, tmp_path: Path) -> None:
    with workers(1, proxy.dsn(), tmp_path) as (worker,):
        await put("a", seconds=2.0)
        await started("a")
        proxy.cut()
        await put("b")
        began = time.monotonic()
        await done("b", within_s=10)
        assert time.monotonic() - began < 5
        await until(all_ended, within_s=20)
        assert worker.process.poll() is None
    ended = await found()
    assert (ended.states, ended.outcomes) == ({"succeeded": 2}, {"done": 2})


async def test_a_slow_line_costs_time_and_nothing_else(proxy: Proxy, tmp_path: Path) -> None:
    with workers(1, proxy.dsn(), tmp_path) as (worker,):
        await put("first")
        await done("first", within_s=20)
        proxy.delay_s = 0.15
        for name in ("a", "b", "c"):
            await put(name, seconds=0.1)
        await until(all_ended, within_s=60)
        assert worker.process.poll() is None
    ended = await found()
    assert (ended.states, ended.outcomes) == ({"succeeded": 4}, {"done": 4})


async def test_sigterm_ends_a_worker_within_nine_seconds_although_its_line_says_nothing(
    proxy: Proxy, tmp_path: Path
) -> None:
    with workers(1, proxy.dsn(), tmp_path) as (worker,):
        await put("a", seconds=60)
        await started("a")
        proxy.hold()
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        code = await asyncio.to_thread(worker.process.wait, 15)
        assert time.monotonic() - began <= 9.3
        assert code in (0, EXIT_STUCK)


async def test_one_question_without_an_answer_renews_every_line_of_the_pool(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.close_pools()
    monkeypatch.setattr(db, "ANSWER_S", 1.0)
    monkeypatch.setitem(db._STATEMENT_S, "work", 1)
    await db.open_pools(proxy.dsn(), pages=False)
    await asyncio.gather(*(ask(0.3) for _ in range(6)))
    proxy.hold()
    began = time.monotonic()
    with pytest.raises(Retryable):
        await ask(0)
    assert 1.9 < time.monotonic() - began < 4
    proxy.heal()
    began = time.monotonic()
    await asyncio.gather(*(ask(0.1) for _ in range(6)))
    assert time.monotonic() - began < 1.9, "one of them met a line from before"


async def ask(seconds: float) -> None:
    async with db.house() as conn:
        assert await db.value(conn, "SELECT pg_sleep(%s) IS NOT NULL", [seconds])


async def works_again(victim: Process, start_anew: Callable[[], Process], name: str) -> int | None:
    """Wait until a job put now is done; a worker that ended itself is started anew, as a supervisor does. Gives the
    exit status of the first one, or None when the same process works again.
    """
    await put(name)
    began = time.monotonic()
    code: int | None = None
    while not await marked(name):
        assert time.monotonic() - began < 60
        if code is None and (code := victim.process.poll()) is not None:
            start_anew()
        await asyncio.sleep(0.1)
    await until(all_ended, within_s=20)
    assert code in (None, EXIT_STUCK), victim.said()[-3000:]
    return code


@pytest.mark.storm
async def test_a_worker_behind_a_line_that_swallows_everything_leaves_its_job_to_another(
    proxy: Proxy, server: postgres.Server, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        (victim,) = stack.enter_context(workers(1, proxy.dsn(), tmp_path))
        await put("a", seconds=2.0)
        await started("a")
        proxy.hold()
        held_at = time.monotonic()
        with workers(1, server.dsn, tmp_path) as (other,):
            await until(all_ended, within_s=90)
            taken_over_s = time.monotonic() - held_at
            assert other.process.poll() is None
        proxy.heal()
        healed_at = time.monotonic()
        code = await works_again(
            victim, lambda: stack.enter_context(workers(1, proxy.dsn(), tmp_path))[0], "b"
        )
        print(f"done by another after {taken_over_s:.1f} s; {time.monotonic() - healed_at:.1f} s after the line "
              f"healed the worker worked again, {'same process' if code is None else f'exit {code}'}")  # fmt: skip
    ended = await found()
    assert ended.states == {"succeeded": 2}
    assert set(ended.done.values()) == {1}, "saved as done once by one of them"


@pytest.mark.storm
async def test_a_line_that_heals_before_the_job_is_taken_over_doubles_nothing(
    proxy: Proxy, server: postgres.Server, tmp_path: Path
) -> None:
    with workers(1, proxy.dsn(), tmp_path) as (victim,):
        await put("a", seconds=3.0)
        await started("a")
        proxy.hold()
        await asyncio.sleep(5)
        proxy.heal()
        with workers(1, server.dsn, tmp_path):
            await until(all_ended, within_s=120)
        code = victim.process.poll()
        assert code in (None, EXIT_STUCK)
    ended = await found()
    print(f"outcomes={dict(ended.outcomes)} exit={code}")
    assert ended.states == {"succeeded": 1}
    assert set(ended.done.values()) == {1}


@pytest.fixture
def network(server: postgres.Server) -> Iterator[tuple[Cable, Proxy]]:
    """A cable into a network namespace, and a plain line to the server at this end of it."""
    if (reason := namespaces.missing()) is not None:
        pytest.skip(reason)
    with namespaces.cable() as made:
        line = Proxy(socket_path(server), made.address)
        line.start()
        yield made, line
        line.stop()


async def test_packets_that_are_lost_now_and_then_cost_time_only(
    network: tuple[Cable, Proxy], tmp_path: Path
) -> None:
    wire, line = network
    worker = Inside(wire, line.dsn(), tmp_path)
    try:
        await put("first")
        await done("first", within_s=20)
        wire.lose(0.1)
        for number in range(10):
            await put(f"job {number}", seconds=0.1)
        await until(all_ended, within_s=60)
        assert worker.process.poll() is None
    finally:
        worker.end()
    ended = await found()
    assert ended.states == {"succeeded": 11}
    assert set(ended.done.values()) == {1}


async def test_sigterm_ends_a_worker_within_nine_seconds_although_its_packets_are_dropped(
    network: tuple[Cable, Proxy], tmp_path: Path
) -> None:
    wire, line = network
    worker = Inside(wire, line.dsn(), tmp_path)
    try:
        await put("a", seconds=60)
        await started("a")
        wire.lose(1)
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        code = await asyncio.to_thread(worker.process.wait, 15)
        assert time.monotonic() - began <= 9.3
        assert code in (0, EXIT_STUCK)
    finally:
        worker.end()


@pytest.mark.storm
@pytest.mark.parametrize("away_s", [12, 60])
async def test_a_worker_whose_packets_are_dropped_works_again_soon_after_they_pass(
    network: tuple[Cable, Proxy], server: postgres.Server, tmp_path: Path, away_s: int
) -> None:
    wire, line = network
    worker = Inside(wire, line.dsn(), tmp_path)
    try:
        await put("a", seconds=2.0)
        await started("a")
        wire.lose(1)
        dropped_at = time.monotonic()
        with workers(1, server.dsn, tmp_path):
            if away_s > 45:
                await until(all_ended, within_s=90)
                print(
                    f"done by another {time.monotonic() - dropped_at:.1f} s after the first packet was dropped"
                )
            await asyncio.sleep(max(away_s - (time.monotonic() - dropped_at), 0))
            wire.heal()
            healed_at = time.monotonic()
            await until(all_ended, within_s=90)
        await put("b")
        await done("b", within_s=40)
        await until(all_ended, within_s=20)
        print(f"the same process worked {time.monotonic() - healed_at:.1f} s after the packets passed again")
        assert worker.process.poll() is None
    finally:
        worker.end()
    ended = await found()
    assert ended.states == {"succeeded": 2}
    assert set(ended.done.values()) == {1}
