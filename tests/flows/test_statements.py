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
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.flows.house import Client, House, open_house
from tests.flows.making_kit import film
from tests.world import clip

pytestmark = pytest.mark.anyio

STATEMENT = re.compile(r"^<(?P<who>[^>]*)> LOG:  (?:statement|execute [^:]*): (?P<text>.*)")
# An idle worker beats 360 times an hour; what is left is for its timers. The web process listens.
WORKER_HOUR, WEB_HOUR = 400, 60
# Each look at a video reads its streams, too.
VIDEO_WORKER, VIDEO_WEB = 205, 120


# A stream of two segments up to the edited video, and each further segment (one for all sizes; sound has its own).
STREAM_WORKER, SEGMENT_WORKER = 140, 5


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """One web process and one worker, started as a person does, on a server that writes every statement down."""
    async with written_down(tmp_path, VIDEO_FORMATS="mp4") as house:
        yield house


@pytest.fixture
async def streaming(tmp_path: Path) -> AsyncIterator[House]:
    """The same; everything is made of a video."""
    async with written_down(tmp_path, VIDEO_FORMATS="hls,dash,mp4") as house:
        yield house


@asynccontextmanager
async def written_down(place: Path, **env: str) -> AsyncIterator[House]:
    limits = {"QUEUE_VIDEO_EDIT_MOST": "none", "QUEUE_VIDEO_UPLOAD_MOST": "none"}
    async with open_house(place / "house", workers=1, **limits, **env) as house:
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


async def test_a_stream_costs_a_few_statements_for_each_segment(
    streaming: House, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client(streaming.base)
    await client.sign_up()
    account = await client.account("maker")
    found = []
    for seconds in (6, 26):
        since = end_of_log(streaming)
        video_id = await upload_film(client, account, seconds)
        async with asyncio.timeout(120):
            while (await client.video(video_id))["status"] != "EDITED":
                await asyncio.sleep(1.0)
        costs = counted(streaming, since)
        found.append(by_role(costs)[0])
        with capsys.disabled():
            print(f"\na stream of {seconds} s: worker {found[-1]}")
            for (who, text), many in costs.most_common(25):
                print(f"  {many:4} {who}: {text}")
    await client.close()
    # Twenty seconds more are five segments of picture and five of sound.
    assert found[1] - found[0] <= 10 * SEGMENT_WORKER
    assert found[0] <= STREAM_WORKER


async def upload_film(client: Client, account_id: int, seconds: int) -> int:
    """A film with a title, made in one job into everything."""
    answer = await client.ask(
        "POST",
        "/api/videos",
        key=f"film-{seconds}",
        data={
            "title": "A knot",
            "accountId": str(account_id),
            "publishAt": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "design": '{"title": {"text": "Five knots"}}',
        },
        files={"file": ("clip.mp4", film(seconds, "854x480"), "video/mp4")},
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["video"]["id"])
