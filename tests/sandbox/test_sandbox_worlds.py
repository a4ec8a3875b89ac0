"""One world for all platforms: its control desk, its ledger, and a memory that was written before there were four."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sandbox_kit import Client, sha256

from app import sandbox

NAMES = [each.NAME for each in sandbox.PLATFORMS]
# The tables of the first version, of which worlds on people's disks are made.
FIRST = Path(__file__).with_name("first_world.sql")


def test_every_platform_makes_creators_with_a_code_and_its_own_switches(world: Client) -> None:
    for platform in sandbox.PLATFORMS:
        made = world.http.post("/accounts", json={"platform": platform.NAME, "displayName": "Maya Makes"})
        assert made.status_code == 201, made.text
        account = made.json()["account"]
        assert account["platform"] == platform.NAME and made.json()["code"]
        assert set(account) == {"platform", "username", "displayName", "openId", *platform.SWITCHES}
        assert made.json()["scopes"] == list(platform.SCOPES)
    page = world.http.get("/").text
    assert all(platform.LABEL in page for platform in sandbox.PLATFORMS)


def test_a_creator_is_known_on_its_own_platform_only(world: Client) -> None:
    maya = world.person()
    for platform in NAMES:
        answer = world.http.post("/accounts", json={"platform": platform, "username": maya.username})
        assert answer.status_code == (200 if platform == "tiktok" else 404)
    answer = world.http.post("/accounts", json={"platform": "myspace", "displayName": "Maya"})
    assert answer.status_code == 400 and all(name in answer.text for name in NAMES)


def test_the_ledger_of_all_platforms_holds_each_of_them(world: Client, clip: bytes) -> None:
    world.person().posted(clip)
    everything = world.http.get("/ledger?all=1").json()
    assert [post["platform"] for post in everything["posts"]] == ["tiktok"]
    assert set(everything["calls"]) == set(NAMES) and everything["calls"]["tiktok"]["init"] == 1
    for name in NAMES:
        posts = world.http.get("/ledger", params={"platform": name}).json()["posts"]
        assert len(posts) == (1 if name == "tiktok" else 0)
    assert world.http.get("/ledger?platform=myspace").status_code == 400


def test_a_fault_for_one_platform_leaves_the_others_alone(world: Client, clip: bytes) -> None:
    maya = world.person()
    for name in NAMES:
        if name != "tiktok":
            world.arm("error_before", platform=name, times=5)
    maya.posted(clip)
    assert len(world.posts) == 1
    world.arm("error_before", platform="tiktok", step="creator_info")
    assert maya.creator_info().status_code == 500


@pytest.mark.parametrize(
    "wrong",
    [
        {"fault": "slow", "platform": "myspace"},
        {"fault": "slow", "platform": "tiktok", "step": "no_such_step"},
        {"fault": "fail", "platform": "tiktok", "reason": "no_such_reason"},
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_what_there_is(world: Client, wrong: dict[str, str]) -> None:
    answer = world.http.post("/faults", json=wrong)
    assert answer.status_code == 400 and "must be one of" in answer.text
    assert world.http.get("/faults").json()["faults"] == []


def test_every_step_and_reason_of_every_platform_can_be_armed(world: Client) -> None:
    for platform in sandbox.PLATFORMS:
        assert "last_chunk" in platform.STEPS
        for step in platform.STEPS:
            assert world.arm("slow", platform=platform.NAME, step=step)["platform"] == platform.NAME
        for reason in platform.FAIL_REASONS:
            world.arm("fail", reason=reason, platform=platform.NAME)


def test_a_reason_that_one_platform_alone_knows_concerns_it_alone(world: Client) -> None:
    assert world.arm("fail", reason="picture_size_check_failed")["platform"] == "tiktok"
    assert "platform" not in world.arm("slow", step="token")


def test_expired_tokens_of_one_platform_are_those_of_its_creators(world: Client) -> None:
    maya = world.person()
    others = [name for name in NAMES if name != "tiktok"]
    for name in others:
        world.arm("token_expired", platform=name)
    assert maya.creator_info().status_code == 200
    world.arm("token_expired", platform="tiktok")
    assert maya.creator_info().status_code == 401


def test_the_answer_blocked_after_the_act_is_a_lie_about_the_act(world: Client, clip: bytes) -> None:
    maya = world.person()
    begun = maya.init(len(clip)).json()["data"]
    world.arm("blocked_after", step="last_chunk")
    assert world.put(begun["upload_url"], clip).status_code == 429
    assert len(world.posts) == 1


def test_a_memory_from_before_there_were_four_platforms_goes_on(
    tmp_path: Path, start: Callable[..., Client], clip: bytes
) -> None:
    home = tmp_path / "old"
    home.mkdir()
    with sqlite3.connect(home / "world.sqlite") as old:
        old.executescript(FIRST.read_text())
        switches = {"private": True, "max_duration_s": 60, "banned": False}
        old.execute(
            "INSERT INTO creators VALUES (1, 'tiktok', 'maya.makes', 'Maya Makes', ?, 1.0)",
            [json.dumps(switches)],
        )
        for number, kind in ((1, "direct"), (2, "inbox")):
            old.execute(
                "INSERT INTO posts (publish_id, client_key, creator_id, open_id, kind, source, urls, wishes, title,"
                " privacy_level, total_bytes, chunk_bytes, chunk_count, created_at, expires_at, finished_at, ready_at,"
                " public_at, verdict, post_id) VALUES (?, 'sandbox', 1, 'o', ?, 'FILE_UPLOAD', '[]', '{}', ?,"
                " 'SELF_ONLY', 9, 9, 1, 1, 2, 1, 1, 1, 'ok', ?)",
                [f"p{number}", kind, f"Post {number}", str(number)],
            )
            old.execute(
                "INSERT INTO ledger (platform, publish_id, id, account, title, bytes, sha256, at, kind)"
                " VALUES ('tiktok', ?, ?, 'maya.makes', ?, 9, '', 1, ?)",
                [f"p{number}", str(number), f"Post {number}", kind],
            )
        old.execute(
            "INSERT INTO faults (fault, step, remaining, seed, seconds, armed_at)"
            " VALUES ('slow', 'query', 1, '0', 1, 1)"
        )
    old.close()
    for _ in range(2):
        world = start(home)
        found = world.ledger(all="1")
        assert [post["title"] for post in found["posts"]][:1] == ["Post 1"]
        assert [post["title"] for post in found["drafts"]] == ["Post 2"]
        assert world.http.get("/faults").json()["faults"][0]["step"] == "query"
        changed = world.http.post(
            "/accounts", json={"platform": "tiktok", "username": "maya.makes", "banned": False}
        )
        assert changed.json()["account"]["maxDurationS"] == 60
        world.person("Somebody New").posted(clip)
    assert [post["sha256"] for post in world.posts[1:]] == [sha256(clip)] * 2
