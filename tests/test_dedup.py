from __future__ import annotations

import asyncio
import hashlib
import socketserver
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import psycopg
import pytest

from app import config, db, dedup
from app.dedup import Kept, Seen
from app.errors import Refused

pytestmark = pytest.mark.anyio
BODY = hashlib.sha256(b"body").digest()


@pytest.fixture
async def house(database: str) -> AsyncIterator[str]:
    """A migrated database with this process's pools open on it."""
    await db.open_pools(database, pages=True)
    yield database
    await db.close_pools()


async def age(database: str, hours: float) -> None:
    async with await psycopg.AsyncConnection.connect(database) as conn:
        await conn.execute(
            "UPDATE request_keys SET created_at = created_at - make_interval(secs => %s)", [hours * 3600]
        )


async def count_of(database: str) -> int:
    async with await psycopg.AsyncConnection.connect(database) as conn:
        [(count,)] = await (await conn.execute("SELECT count(*) FROM request_keys")).fetchall()
        return int(count)


async def answered(workspace_id: int, key: str, answer: Any = "first") -> None:
    async with db.owned_by(workspace_id) as conn:
        assert await dedup.claim(conn, workspace_id, key, BODY) is None
        await dedup.keep(conn, workspace_id, key, 201, answer)


# In this process


def test_a_key_is_seen_for_its_time_and_no_longer() -> None:
    now = 0.0
    seen = Seen(ttl_s=60, clock=lambda: now)
    assert "a" not in seen
    seen.add("a")
    now = 59.9
    assert "a" in seen
    now = 60.0
    assert "a" not in seen and len(seen) == 0


def test_the_least_used_key_makes_room_for_a_new_one() -> None:
    seen = Seen()
    for number in range(10_000):
        seen.add(str(number))
    assert len(seen) == 10_000 and "0" in seen
    seen.add("one more")
    assert len(seen) == 10_000
    assert "0" in seen and "1" not in seen and "2" in seen and "one more" in seen


# In the database


async def test_the_first_answer_is_kept_and_given_again(house: str) -> None:
    await answered(7, "k", {"video": {"id": 9}})
    async with db.owned_by(7) as conn:
        assert await dedup.claim(conn, 7, "k", BODY) == Kept(201, {"video": {"id": 9}})


async def test_the_work_of_a_request_is_done_once(house: str) -> None:
    done: list[int] = []

    async def work() -> Kept:
        done.append(1)
        return Kept(201, {"number": len(done)})

    for _ in range(3):
        async with db.owned_by(7) as conn:
            assert await dedup.once(conn, 7, "k", BODY, work) == Kept(201, {"number": 1})
    assert done == [1]


async def test_of_two_requests_at_once_the_second_waits_for_the_first_answer(house: str) -> None:
    done: list[int] = []
    started = anyio.Event()

    async def request() -> Kept:
        async def work() -> Kept:
            done.append(1)
            started.set()
            await anyio.sleep(0.05)
            return Kept(201, len(done))

        async with db.owned_by(7) as conn:
            return await dedup.once(conn, 7, "k", BODY, work)

    assert await asyncio.gather(*(request() for _ in range(8))) == [Kept(201, 1)] * 8
    assert done == [1]


async def test_a_request_that_failed_may_be_sent_again(house: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.owned_by(7) as conn:
            await dedup.claim(conn, 7, "k", BODY)
            raise ZeroDivisionError
    assert await count_of(house) == 0
    await answered(7, "k")


async def test_a_second_request_gets_its_turn_when_the_first_is_rolled_back(house: str) -> None:
    claimed, turns = anyio.Event(), []

    async def failing() -> None:
        with pytest.raises(ZeroDivisionError):
            async with db.owned_by(7) as conn:
                await dedup.claim(conn, 7, "k", BODY)
                claimed.set()
                await anyio.sleep(0.05)
                raise ZeroDivisionError

    async def second() -> None:
        await claimed.wait()
        async with db.owned_by(7) as conn:
            turns.append(await dedup.claim(conn, 7, "k", BODY))

    async with anyio.create_task_group() as group:
        group.start_soon(failing)
        group.start_soon(second)
    assert turns == [None]


async def test_a_key_used_for_another_body_is_refused_and_the_first_answer_stays(house: str) -> None:
    await answered(7, "k")
    with pytest.raises(Refused) as refused:
        async with db.owned_by(7) as conn:
            await dedup.claim(conn, 7, "k", hashlib.sha256(b"other").digest())
    assert (refused.value.code, refused.value.status) == ("idempotency_key_reused", 422)
    async with db.owned_by(7) as conn:
        assert await dedup.claim(conn, 7, "k", BODY) == Kept(201, "first")


async def test_the_same_key_in_two_workspaces_is_two_keys(house: str) -> None:
    await answered(7, "k", "seven")
    await answered(8, "k", "eight")
    async with db.owned_by(7) as conn:
        assert await dedup.claim(conn, 7, "k", BODY) == Kept(201, "seven")


@pytest.mark.parametrize("key", ["", "x" * 256, "ä", "a\n", "·" + "0" * 64])
async def test_a_key_that_is_no_plain_text_is_refused(house: str, key: str) -> None:
    with pytest.raises(Refused):
        async with db.owned_by(7) as conn:
            await dedup.claim(conn, 7, key, BODY)
    assert await count_of(house) == 0


async def test_an_answer_is_kept_for_24_hours(house: str) -> None:
    await answered(7, "k")
    await age(house, 23.9)
    async with db.owned_by(7) as conn:
        assert await dedup.claim(conn, 7, "k", BODY) is not None
    await age(house, 0.2)
    await answered(7, "k", "second")


async def test_upkeep_forgets_what_is_too_old_or_too_much(house: str) -> None:
    for number in range(5):
        await answered(7, f"k{number}")
        await age(house, 1)
    await answered(8, "k")
    async with db.house() as conn:
        assert await dedup.forget_old(conn, most=4) == 1
        assert await dedup.forget_old(conn, most=4) == 0
    await age(house, 21)
    async with db.house() as conn:
        assert await dedup.forget_old(conn) == 2
    assert await count_of(house) == 3


# What was seen before, with and without Redis


@pytest.fixture(params=["no redis", "redis", "redis gone", "redis address unusable"])
def caches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with a_redis() as address:
        if request.param != "no redis":
            pytest.importorskip("redis", reason="the optional package redis is not installed")
            gone = {"redis gone": "redis://127.0.0.1:1", "redis address unusable": "nonsense"}
            monkeypatch.setenv("REDIS_URL", gone.get(request.param, address))
        config.get.cache_clear()
        dedup._lately = Seen()
        yield request.param
    config.get.cache_clear()


async def test_a_thing_is_met_for_the_first_time_once_whatever_caches_there_are(
    house: str, caches: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def met(key: str) -> bool:
        async with db.owned_by(7) as conn:
            return await dedup.first(conn, 7, key)

    assert [await met("a"), await met("a"), await met("b")] == [True, False, True]
    for _ in range(3):
        await dedup.remember(7, "a")
        assert await met("a") is False
        another_process()
    assert await met("a") is False and await met("c") is True
    with pytest.raises(ZeroDivisionError):
        async with db.owned_by(7) as conn:
            assert await dedup.first(conn, 7, "d")
            raise ZeroDivisionError
    assert await met("d") is True
    async with db.owned_by(8) as conn:
        assert await dedup.first(conn, 8, "a") is True
    warnings = [record for record in caplog.records if "redis is off" in str(record.msg)]
    assert len(warnings) == (caches in ("redis gone", "redis address unusable"))


async def test_redis_spares_the_question_to_the_database(house: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis", reason="the optional package redis is not installed")
    with a_redis() as address:
        monkeypatch.setenv("REDIS_URL", address)
        config.get.cache_clear()
        await dedup.remember(7, "known to redis only")
        another_process()
        async with db.owned_by(7) as conn:
            assert await dedup.first(conn, 7, "known to redis only") is False
    config.get.cache_clear()
    assert await count_of(house) == 0


def another_process() -> None:
    """Forget what this process has seen, as a fresh one would."""
    dedup._lately = Seen()


@contextmanager
def a_redis() -> Iterator[str]:
    """A server that speaks as much of Redis's protocol (RESP 2) as we use, on loopback."""
    kept: dict[bytes, bytes] = {}

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(length + 2)[:-2])
                match words[0].upper():
                    case b"SET":
                        kept[words[1]] = words[2]
                        self.wfile.write(b"+OK\r\n")
                    case b"EXISTS":
                        self.wfile.write(b":%d\r\n" % (words[1] in kept))
                    case b"HELLO":
                        self.wfile.write(b"-ERR unknown command 'HELLO'\r\n")
                    case _:
                        self.wfile.write(b"+OK\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0?protocol=2"
        server.shutdown()
        thread.join()
