"""PgBouncer in transaction mode in front of the web: no session is ours for longer than a transaction."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import psycopg
import pytest

from app import checkup, config, db, live, postgres
from app.errors import Permanent
from tests.faults.servers import Pooler
from tests.flows.house import Client, House
from tests.web.studio import open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio

LEFT_BEHIND = """
    SELECT current_user = session_user, current_setting('app.workspace_id', true), current_setting('app.house', true),
           current_setting('lock_timeout'), (SELECT count(*) FROM pg_prepared_statements),
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
           (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_cursors)"""


@pytest.fixture
async def through(database: str, pooler: Pooler) -> AsyncIterator[str]:
    """The pools open through the pooler, which nobody told us of; gives the address through it."""
    address = pooler.dsn_of(database)
    await db.open_pools(address, pages=True)
    yield address
    await db.close_pools()


CLEAN = (True, "", "", "0", 0, 0, 0, 0)


async def left_behind(address: str, sessions: int = 1) -> list[tuple[object, ...]]:
    """The state of the sessions that all clients of the pooler share."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(sessions):
            conn = await psycopg.AsyncConnection.connect(address, prepare_threshold=None)
            await stack.enter_async_context(conn)
            # Each keeps its transaction open, so that the next one is given another session.
            found += await (await conn.execute(LEFT_BEHIND)).fetchall()
        return found


async def test_a_workers_own_connection_refuses_a_pooler_and_leaves_nothing_in_its_session(
    database: str, pooler: Pooler
) -> None:
    with pytest.raises(Permanent, match="DATABASE_DIRECT_URL"):
        await db.hand(pooler.dsn_of(database), "backlot pump")
    assert await left_behind(pooler.dsn_of(database)) == [(True, None, None, "0", 0, 0, 0, 0)]


async def test_the_bare_drivers_prepared_statements_fail_through_a_pooler(
    database: str, pooler: Pooler
) -> None:
    failed = 0
    address = pooler.dsn_of(database)
    one = await psycopg.AsyncConnection.connect(address, autocommit=True, prepare_threshold=1)
    other = await psycopg.AsyncConnection.connect(address, autocommit=True, prepare_threshold=1)
    async with one, other:
        for number in range(20):
            for conn, text in ((one, "SELECT 1 + %s"), (other, "SELECT 2 + %s")):
                try:
                    await conn.execute(text, [number])
                except psycopg.Error:
                    failed += 1
    assert failed > 0


async def test_a_pooler_that_nobody_told_us_of_is_found_and_no_statement_fails(through: str) -> None:
    async def ask(workspace_id: int) -> str:
        async with db.owned_by(workspace_id) as conn:
            await conn.execute("SELECT 1 + %s", [workspace_id])
            return str(await db.value(conn, "SELECT current_setting('app.workspace_id')"))

    asked = [number % 20 for number in range(720)]
    assert await asyncio.gather(*map(ask, asked)) == [str(number) for number in asked]


async def test_nothing_of_a_request_stays_in_the_session_it_borrowed(through: str) -> None:
    async with db.owned_by(7) as conn:
        await live.tell(conn, "video-7")
    async with db.house() as conn:
        await db.value(conn, "SELECT count(*) FROM users")
    assert await left_behind(through) == [CLEAN]


async def test_a_session_setting_would_reach_the_next_client_and_is_what_we_do_not_use(
    database: str, pooler: Pooler
) -> None:
    address = pooler.dsn_of(database)
    async with await psycopg.AsyncConnection.connect(
        address, autocommit=True, prepare_threshold=None
    ) as conn:
        await conn.execute("SELECT set_config('app.workspace_id', '7', false)")
    assert (await left_behind(address))[0][1] == "7"


# Connecting a simulated account asks the simulator, which is the web itself, inside its transaction.
@pytest.mark.parametrize("pooler", [2], indirect=True)
async def test_the_web_serves_through_a_pooler_and_its_pages_hear_of_news_past_it(
    pg: postgres.Server, database: str, pooler: Pooler, tmp_path: Path
) -> None:
    through = pooler.dsn_of(database)
    house = House(tmp_path, pg, {"DATABASE_URL": through, "DATABASE_DIRECT_URL": database})
    try:
        house.start("web")
        await house.answers()
        client = Client(house.base)
        await client.sign_up()
        account_id = await client.account("maya")
        video_ids = await asyncio.gather(
            *(client.upload(clip(1.0), account_id, f"video {number}") for number in range(4))
        )
        answers = await asyncio.gather(*(client.ask("GET", f"/api/videos/{one}") for one in video_ids * 25))
        assert {answer.status_code for answer in answers} == {200}
        took_s = await heard_after_s(client, house, database)
        await client.close()
    finally:
        house.stop()
    assert took_s < 1.0, "told by a notice, not by a poll"
    lines = [json.loads(line) for line in house.said("web").splitlines() if line.startswith("{")]
    assert [line for line in lines if line.get("level") in ("warning", "error")] == []
    assert await left_behind(through, sessions=2) == [CLEAN] * 2


async def heard_after_s(client: Client, house: House, database: str) -> float:
    """Seconds from the commit of a notice to its arrival on an open page."""
    loop = asyncio.get_running_loop()
    me = (await client.ask("GET", "/api/me")).json()
    topic = f"workspace-{me['workspace']['id']}"
    form = {name: client.who[name] for name in ("email", "password")}
    signed_in = await client.http.post(
        f"{house.base}/sign-in", data=form, headers={"sec-fetch-site": "same-origin"}
    )
    # By hand: a Secure cookie is not sent over this plain line.
    headers = {"cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=20) as http,
        http.stream("GET", f"{house.base}/live", params={"topic": topic}, headers=headers) as stream,
    ):
        assert stream.status_code == 200
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        # What counts as told once when the page comes is let by first.
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
            began = loop.time()
            await conn.execute("SELECT pg_notify('live', %s)", [json.dumps({"t": topic, "p": 12.5})])
        async for line in lines:
            if '"percent": 12.5' in line:
                return loop.time() - began
    raise AssertionError("the stream ended")


async def test_a_hub_that_listens_through_a_pooler_finds_out_and_lets_pages_look(
    through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "POLL_S", 2.5)
    hub = live.Hub(through)
    await hub.start()
    try:
        async with hub.subscribe(frozenset({"video-7"})) as page:
            for _ in range(2):
                assert await page.next(8.0) == [live.Notice("video-7")]
            assert not hub.listening.is_set()
    finally:
        await hub.stop()


async def test_operators_are_told_that_notices_do_not_arrive(
    database: str, pooler: Pooler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_studio(tmp_path, monkeypatch, database) as studio:
        olga = await studio.person("Olga", browser=True)
        for address, told in ((database, False), (pooler.dsn_of(database), True)):
            studio.app.state.hub = hub = live.Hub(address)
            await hub.start()
            try:
                if not told:
                    await asyncio.wait_for(hub.listening.wait(), 5)
                page = (await olga.browser.get("/admin/queues")).text
                assert ("Notices do not arrive" in page) is told
            finally:
                await hub.stop()


@pytest.mark.parametrize("past_it", [True, False])
async def test_the_self_check_knows_whether_the_address_past_the_pooler_is_set(
    database: str, pooler: Pooler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, past_it: bool
) -> None:
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", pooler.dsn_of(database))
    if past_it:
        monkeypatch.setenv("DATABASE_DIRECT_URL", database)
    config.get.cache_clear()
    db.locate.cache_clear()
    try:
        findings = {finding.what: finding for finding in await checkup.look()}
    finally:
        await db.close_pools()
        config.get.cache_clear()
        db.locate.cache_clear()
    assert findings["database"].fine
    assert findings["notices"].fine is past_it
    assert ("DATABASE_DIRECT_URL" in findings["notices"].mend) is not past_it
