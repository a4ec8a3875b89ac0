"""What the house costs its database: statements of an idle hour and of one video's whole flow (S1.48, S1.49).

Counted in the server's own log, where every statement of every process stands with the name of its connection.
The bounds are the recorded figures with a little room; a change that needs more has to say so here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from tests.flows.house import Client, House, open_house
from tests.world import clip

pytestmark = pytest.mark.anyio

STATEMENT = re.compile(r"^<(?P<who>[^>]*)> LOG:  (?:statement|execute [^:]*): (?P<text>.*)")
# An idle worker beats 360 times an hour; what is left is for its timers. The web process listens.
WORKER_HOUR, WEB_HOUR = 400, 60
VIDEO_WORKER, VIDEO_WEB = 195, 100


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """One web process and one worker, started as a person does, on a server that writes every statement down."""
    async with open_house(
        tmp_path / "house", workers=1, QUEUE_VIDEO_EDIT_MOST="none", QUEUE_VIDEO_UPLOAD_MOST="none"
    ) as house:
        async with await psycopg.AsyncConnection.connect(house.server.dsn, autocommit=True) as conn:
            await conn.execute("ALTER SYSTEM SET log_statement = 'all'")
            await conn.execute("ALTER SYSTEM SET log_line_prefix = '<%a> '")
            await conn.execute("SELECT pg_reload_conf()")
        yield house


def counted(house: House, since: int) -> Counter[tuple[str, str]]:
    """(connection's name, start of the statement) of everything asked since this place in the log."""
    found: Counter[tuple[str, str]] = Counter()
    with house.server.log_path.open("rb") as log:
        log.seek(since)
        for line in log.read().decode(errors="replace").splitlines():
            if match := STATEMENT.match(line):
                found[match["who"], " ".join(match["text"].split())[:70]] += 1
    return found


def end_of_log(house: House) -> int:
    return house.server.log_path.stat().st_size


def by_role(found: Counter[tuple[str, str]]) -> tuple[int, int]:
    """Statements of the worker and of the web process."""
    web = sum(many for (who, _), many in found.items() if who.startswith("backlot web"))
    rest = sum(many for (who, _), many in found.items() if who.startswith("backlot"))
    return rest - web, web


async def idle(house: House, seconds: float, capsys: pytest.CaptureFixture[str]) -> tuple[float, float]:
    """Statements an hour of worker and web while nobody asks for anything."""
    began, since = time.monotonic(), end_of_log(house)
    await asyncio.sleep(seconds)
    found, took_s = counted(house, since), time.monotonic() - began
    worker, web = by_role(found)
    with capsys.disabled():
        print(f"\nidle for {took_s:.0f} s: worker {worker}, web {web}")
        for (who, text), many in found.most_common(14):
            print(f"  {many:4} {who}: {text}")
    return worker * 3600 / took_s, web * 3600 / took_s


async def test_an_idle_minute_costs_six_beats_and_nothing_else(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.sleep(5)
    since = end_of_log(house)
    worker, web = await idle(house, 60, capsys)
    beats = sum(many for (_, text), many in counted(house, since).items() if "beat_worker" in text)
    assert 5 <= beats <= 7
    # A tick of the timers may fall into this minute; the hour below counts them all.
    assert worker <= 60 * (beats + 30)
    assert web <= 60 * 3


@pytest.mark.storm
async def test_an_idle_hour_stays_below_its_bound(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    await asyncio.sleep(30)
    worker, web = await idle(house, 3600, capsys)
    assert worker <= WORKER_HOUR
    assert web <= WEB_HOUR


async def test_a_videos_whole_flow_costs_no_more_than_recorded(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client(house.base)
    await client.sign_up()
    await client.ask("POST", "/sandbox/apps", json={"audited": True})
    account = await client.account("maker")
    since = end_of_log(house)
    video_id = await client.upload(clip(), account, "One")
    async with asyncio.timeout(60):
        while (await client.video(video_id))["status"] != "POSTED":
            await asyncio.sleep(3.0)
    found = counted(house, since)
    worker, web = by_role(found)
    with capsys.disabled():
        print(f"\none video: worker {worker}, web {web}")
        for (who, text), many in found.most_common(30):
            print(f"  {many:4} {who}: {text}")
    await client.close()
    assert worker <= VIDEO_WORKER
    assert web <= VIDEO_WEB
