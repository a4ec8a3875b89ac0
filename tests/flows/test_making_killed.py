"""A worker is killed at a commit of the making: what was stored stays, nothing is doubled, the video is whole."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app import media
from tests.flows.house import Client, House, open_house
from tests.flows.making_kit import FPS, OPENING_FRAMES, SEGMENT_FRAMES, film, held_at
from tests.flows.test_storm import FINAL, UNLIMITED

pytestmark = pytest.mark.anyio

SECONDS = 11
FRAMES = [OPENING_FRAMES, SEGMENT_FRAMES, SEGMENT_FRAMES, SECONDS * FPS - 2 * SEGMENT_FRAMES - OPENING_FRAMES]
SIZES = 2
LONG = {"VIDEO_FORMATS": "hls,dash,mp4", "VIDEO_SPLIT_S": "4", "VIDEO_PART_S": "4"}
# A table, a row of it, and what is done with it: whoever writes this row waits there and is killed.
POINTS = [
    ("stream_segments", "NEW.number = 2 AND NEW.track = 'v1'", "INSERT", LONG),
    pytest.param("streams", "true", "INSERT", LONG, marks=pytest.mark.storm),
    pytest.param("stream_tracks", "NEW.name = 'v0'", "INSERT", LONG, marks=pytest.mark.storm),
    pytest.param("stream_segments", "NEW.number = 0 AND NEW.track = 'v1'", "INSERT", LONG, marks=pytest.mark.storm),
    pytest.param("stream_segments", "NEW.track = 'a0' AND NEW.number = 1", "INSERT", LONG, marks=pytest.mark.storm),
    pytest.param("stream_parts", "NEW.state = 'done' AND NEW.number = 0", "UPDATE", LONG, marks=pytest.mark.storm),
    pytest.param("stream_parts", "NEW.state = 'done' AND NEW.number = 2", "UPDATE", LONG, marks=pytest.mark.storm),
    pytest.param("streams", "NEW.state = 'ready'", "UPDATE", LONG, marks=pytest.mark.storm),
    pytest.param("renditions", "NEW.kind = 'large'", "INSERT", LONG, marks=pytest.mark.storm),
    pytest.param("stream_segments", "NEW.number = 2", "INSERT", {"VIDEO_FORMATS": "hls,mp4"}, marks=pytest.mark.storm),
    pytest.param("streams", "NEW.state = 'ready'", "UPDATE", {"VIDEO_FORMATS": "hls,mp4"}, marks=pytest.mark.storm),
]  # fmt: skip


@pytest.mark.parametrize(("table", "when", "event", "env"), POINTS)
async def test_a_kill_at_a_commit_loses_no_finished_segment_and_doubles_nothing(
    tmp_path: Path, table: str, when: str, event: str, env: dict[str, str]
) -> None:
    async with open_house(tmp_path / "home", workers=1, **{**UNLIMITED, **env}) as house:
        client = Client(house.base)
        await client.sign_up()
        account_id = await client.account("maya.makes")
        async with held_at(house.server.dsn, table, when, event) as hold:
            video_id = await upload(client, account_id)
            await hold.reached()
            house.kill("worker-1")
            # The server notices the dead client when it next writes to it; its transaction never commits.
            await forget_the_dead(house)
        before = await segments(house)
        unnamed = await without_row(house)
        house.start("worker-1")
        async with asyncio.timeout(170):
            while (video := await client.video(video_id))["status"] not in FINAL:
                await asyncio.sleep(0.5)
        posts = await client.posts()
        after = await segments(house)
        await client.close()
        key = str((await rows(house, "SELECT edited_key FROM videos"))[0][0])
        made = await media.probe(house.home / "storage" / key)
        ((timescale,),) = await rows(house, "SELECT timescale FROM stream_tracks WHERE name = 'v0'")
        ready = await rows(house, "SELECT state, progress, bytes FROM streams")
        left = await without_row(house)
    assert (video["status"], len(posts)) == ("POSTED", 1), video["failure"]
    # Whatever was committed is what plays now.
    assert before.items() <= after.items()
    for track in ("v0", "v1"):
        ticks = [after[track, number][1] for number in range(len(FRAMES))]
        assert [round(one * FPS / int(timescale)) for one in ticks] == FRAMES
    assert len([name for name, _ in after if name == "v0"]) == len(FRAMES)
    assert made.duration_s == pytest.approx(SECONDS, abs=0.1)
    assert [(state, progress) for state, progress, _ in ready] == [("ready", 100)]
    assert int(ready[0][2]) == sum(size for _, _, size in after.values())
    # What was under way when it died: one segment of each size and of the sound, first bytes, or the last files.
    assert len(unnamed) <= 2 * (SIZES + 1) + 7
    assert left <= unnamed


async def upload(client: Client, account_id: int) -> int:
    answer = await client.ask(
        "POST",
        "/api/videos",
        key="video",
        data={
            "accountId": str(account_id),
            "title": "A knot",
            "design": '{"title": {"text": "Five knots"}}',
        },
        files={"file": ("clip.mp4", film(SECONDS, "854x480"), "video/mp4")},
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["video"]["id"])


async def rows(house: House, query: str) -> Sequence[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(house.server.dsn) as conn:
        return await (await conn.execute(query)).fetchall()  # type: ignore[arg-type]  # a text of the test


async def segments(house: House) -> dict[tuple[str, int], tuple[str, int, int]]:
    found = await rows(house, "SELECT track, number, key, ticks, bytes FROM stream_segments")
    return {(track, number): (key, ticks, size) for track, number, key, ticks, size in found}


async def without_row(house: House) -> set[str]:
    """Stored files that nothing names."""
    named = {
        str(row[0])
        for row in await rows(
            house,
            """
            SELECT source_key FROM videos UNION SELECT edited_key FROM videos UNION SELECT key FROM renditions
             UNION SELECT key FROM stream_segments UNION SELECT init_key FROM stream_tracks
             UNION SELECT mp4_key FROM streams""",
        )
    }
    root = house.home / "storage"
    there = {path.relative_to(root).as_posix() for path in root.rglob("tenants/**/*") if path.is_file()}
    return there - named


async def forget_the_dead(house: House) -> None:
    """End what the killed worker's sessions were doing, as the network would in a while."""
    with contextlib.suppress(psycopg.errors.Error):
        await rows(
            house,
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name LIKE 'backlot worker%' AND pid <> pg_backend_pid()""",
        )
