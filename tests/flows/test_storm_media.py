"""Long videos under fire: their workers are killed at random while parts of them are made on several.

`pytest tests/flows/test_storm_media.py --storm --storm-kills 20 --storm-seed 7`. Every video ends whole: each picture
once and in its place, in every size and in the MP4, nothing that is named is missing.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from app import media
from tests.flows.house import Client, House, open_house
from tests.flows.making_kit import FPS, film
from tests.flows.test_making_killed import rows
from tests.flows.test_storm import FINAL, UNLIMITED, kill_at_random

pytestmark = pytest.mark.anyio

SECONDS = 45
VIDEOS = 3
WORKERS = 3
# Parts of two segments, so that there is always one in the middle.
PARTS = {
    "VIDEO_FORMATS": "hls,dash,mp4",
    "VIDEO_SPLIT_S": "10",
    "VIDEO_PART_S": "8",
    "QUEUE_VIDEO_PROCESSING_FIRST_WAIT_S": "1",
    # Slow enough that kills meet work.
    "FFMPEG_PRESET": "medium",
}
PACKET = re.compile(r"^0,\s*-?\d+,\s*(-?\d+),", re.MULTILINE)


@pytest.mark.storm
async def test_long_videos_are_whole_after_their_workers_were_killed_at_random(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seed, kills = request.config.getoption("--storm-seed"), request.config.getoption("--storm-kills")
    async with open_house(tmp_path / "home", workers=WORKERS, **{**UNLIMITED, **PARTS}) as house:
        client = Client(house.base)
        await client.sign_up()
        account_id = await client.account("maya.makes")
        ids = [await upload(client, account_id, number) for number in range(VIDEOS)]
        await kill_at_random(house, random.Random(seed), kills, (1.0, 5.0))
        last_kill = time.monotonic()
        await client.renew()
        states = await settled(client, ids, until=last_kill + 600)
        posts = await client.posts()
        runs = await rows(
            house,
            "SELECT task || ' ' || coalesce(outcome, 'open'), count(*) FROM attempts"
            " WHERE task IN ('edit-video', 'encode-part', 'join-stream') GROUP BY 1 ORDER BY 1",
        )
        print(f"seed={seed} kills={kills} {states} {runs} settled {time.monotonic() - last_kill:.0f} s later")
        assert states == dict.fromkeys(ids, "POSTED")
        assert len(posts) == VIDEOS
        await check_tracks(house)
        await check_files(house)
        await client.close()


async def upload(client: Client, account_id: int, number: int) -> int:
    answer = await client.ask(
        "POST",
        "/api/videos",
        key=f"video-{number}",
        data={
            "accountId": str(account_id),
            "title": f"Knot {number}",
            "design": '{"title": {"text": "Five knots"}}',
        },
        files={"file": ("clip.mp4", film(SECONDS, "854x480"), "video/mp4")},
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["video"]["id"])


async def settled(client: Client, ids: list[int], *, until: float) -> dict[int, str]:
    while True:
        states = {video_id: str((await client.video(video_id))["status"]) for video_id in ids}
        if all(state in FINAL for state in states.values()) or time.monotonic() > until:
            return states
        await asyncio.sleep(1)


async def check_tracks(house: House) -> None:
    """Each track of each stream has every segment once, and all its pictures together."""
    found = await rows(
        house,
        """
        SELECT streams.id, tracks.name, tracks.kind, tracks.timescale, count(*), max(number), sum(ticks)
          FROM streams
          JOIN stream_tracks AS tracks ON tracks.stream_id = streams.id
          JOIN stream_segments AS segments ON segments.stream_id = streams.id AND track = tracks.name
         WHERE streams.state = 'ready'
         GROUP BY 1, 2, 3, 4
         ORDER BY 1, 2""",
    )
    assert [(stream, name) for stream, name, *_ in found] == [
        (stream, name) for stream in sorted({row[0] for row in found}) for name in ("a0", "v0", "v1")
    ]
    assert len(found) == 3 * VIDEOS
    for stream, name, kind, timescale, count, last, ticks in found:
        assert count == last + 1, (stream, name)
        if kind == "video":
            assert int(ticks) * FPS == SECONDS * FPS * int(timescale), (stream, name)


async def check_files(house: House) -> None:
    """Every file that a row names is there, and every MP4 has each of its pictures once, evenly."""
    root = house.home / "storage"
    named = await rows(
        house,
        """
        SELECT key FROM stream_segments UNION SELECT init_key FROM stream_tracks
         UNION SELECT mp4_key FROM streams WHERE state = 'ready' UNION SELECT key FROM renditions""",
    )
    assert [key for (key,) in named if not (root / key).is_file()] == []
    for (key,) in await rows(house, "SELECT edited_key FROM videos"):
        shown = sorted(int(at) for at in PACKET.findall(packets(root / key)))
        steps = {after - before for before, after in pairwise(shown)}
        assert (len(shown), len(steps)) == (SECONDS * FPS, 1)


def packets(path: Path) -> str:
    """When each packet of the picture is shown, as ffmpeg prints it."""
    argv = [str(media.program().path), "-nostdin", "-loglevel", "error", "-i", str(path)]
    argv += ["-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
