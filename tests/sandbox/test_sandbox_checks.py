"""Section 9, items 7 and 8: what becomes of the bytes, and who may ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sandbox_kit import Client, made_clip

from app.sandbox import Settings
from app.sandbox.tiktok.checks import judged


def ended(world: Client, clip: bytes, **switches: Any) -> dict[str, Any]:
    maya = world.person(**switches)
    publish_id = maya.posted(clip)
    world.later(1.1)
    return maya.state(publish_id)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rate": 10}, "frame_rate_check_failed"),
        ({"size": "320x240"}, "picture_size_check_failed"),
        ({"length_s": 3}, "duration_check_failed"),
    ],
)
def test_a_video_outside_the_limits_is_rejected(
    world: Client, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    state = ended(world, made_clip(tmp_path / "clip.mp4", **options), maxDurationS=2)
    assert (state["status"], state["fail_reason"]) == ("FAILED", reason)
    assert world.posts == []


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "mpeg4"), ("clip.mp4", "mpeg4"), ("clip.mp4", "")])
def test_a_foreign_format_is_rejected(world: Client, tmp_path: Path, name: str, codec: str) -> None:
    content = made_clip(tmp_path / name, "-c:v", codec) if codec else b"this is no video" * 100
    state = ended(world, content)
    assert (state["status"], state["fail_reason"]) == ("FAILED", "file_format_check_failed")


def test_webm_and_quicktime_are_accepted(world: Client, tmp_path: Path) -> None:
    for name, codec in (("clip.webm", "libvpx"), ("clip.mov", "libx264")):
        content = made_clip(tmp_path / name, "-c:v", codec, "-pix_fmt", "yuv420p")
        assert ended(world, content)["status"] == "PUBLISH_COMPLETE"


@pytest.mark.parametrize(
    ("fps", "sides", "duration_s", "verdict"),
    [
        (23.0, (360, 4096), 600.0, "ok"),
        (60.0, (4096, 360), 0.1, "ok"),
        (22.9, (360, 360), 1.0, "frame_rate_check_failed"),
        (60.1, (360, 360), 1.0, "frame_rate_check_failed"),
        (30.0, (359, 360), 1.0, "picture_size_check_failed"),
        (30.0, (4097, 360), 1.0, "picture_size_check_failed"),
        (30.0, (360, 360), 600.1, "duration_check_failed"),
    ],
)
def test_each_limit_at_and_just_past(
    fps: float, sides: tuple[int, int], duration_s: float, verdict: str
) -> None:
    assert judged("mp4", "h264", duration_s, fps, *sides, most_s=600) == verdict


def test_a_public_post_gets_its_id_after_moderation_only(world: Client, clip: bytes) -> None:
    world.apps(audited=True)
    maya = world.person(private=False)
    publish_id = maya.posted(clip, privacy_level="PUBLIC_TO_EVERYONE")
    friends = maya.posted(clip, privacy_level="MUTUAL_FOLLOW_FRIENDS")
    world.later(1.1)
    assert maya.state(publish_id)["publicaly_available_post_id"] == []
    world.later(2.1)
    (post_id,) = maya.state(publish_id)["publicaly_available_post_id"]
    assert isinstance(post_id, int) and post_id > 2**53
    assert str(post_id) == world.posts[0]["id"]
    assert maya.state(friends)["publicaly_available_post_id"] == []


def test_a_status_is_for_its_owner_only(world: Client, clip: bytes) -> None:
    maya, ben = world.person(), world.person("Ben")
    publish_id = maya.posted(clip)
    answer = ben.status(publish_id)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "token_not_authorized_for_specified_publish_id"
    assert maya.status("v_pub_file~nothing").json()["error"]["code"] == "invalid_publish_id"
    assert maya.call("/tiktok/v2/post/publish/status/fetch/", {}).status_code == 400


def test_only_the_last_files_are_kept(start: Any, clip: bytes) -> None:
    world = start(settings=Settings(kept_files=2))
    maya = world.person()
    for _ in range(4):
        maya.posted(clip)
        world.later(15)
    assert len(world.posts) == 4
    assert sorted(path.name for path in (world.home / "files").iterdir()) == ["post-3", "post-4"]


def test_the_ledger_is_read_from_a_time_on(world: Client, clip: bytes) -> None:
    maya = world.person()
    maya.posted(clip)
    (first,) = world.posts
    world.later(100)
    maya.posted(clip)
    assert len(world.ledger(since=first["at"])["posts"]) == 2
    second = world.posts[1]["at"]
    assert [post["at"] for post in world.ledger(since=second)["posts"]] == [second]
    assert world.ledger(since="4000000000")["posts"] == []
    assert world.http.get("/ledger?platform=tiktok&since=soon").status_code == 400
    assert world.http.get("/ledger?platform=myspace").status_code == 400
    assert world.posts[0]["at"] < world.posts[1]["at"]


def test_the_index_says_what_this_is(world: Client, clip: bytes) -> None:
    maya = world.person()
    maya.posted(clip)
    page = world.http.get("/").text
    assert "built-in simulator, not TikTok" in page
    assert f"@{maya.username}" in page and "/sandbox/ledger?platform=tiktok" in page
    assert world.http.get("/nothing").status_code == 404
