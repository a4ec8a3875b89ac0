"""The simulated Facebook's schedules, pictures, posts and numbers, as strict as sections 3.3, 6 and 7 of its sheet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from facebook_kit import API, Page, a_page, bearer, one_world, refused
from sandbox_kit import Client, made_clip, sha256

DAY_S = 24 * 3600
SIZE = 5000
CONTENT = bytes(range(250)) * 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with one_world(tmp_path_factory.mktemp("facebook") / "world") as found:
        yield found


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A Reel of three seconds."""
    path = tmp_path_factory.mktemp("upright") / "clip.mp4"
    return made_clip(path, length_s=3, size="540x960", rate=24)


# Scheduling


@pytest.mark.parametrize(
    ("edge", "latest_s"), [("video_reels", 29 * DAY_S), ("videos", 183 * DAY_S), ("feed", 30 * DAY_S)]
)
def test_each_edge_has_its_own_window_of_scheduling(edge: str, latest_s: int, world: Client) -> None:
    page = a_page(world)
    at = _now(world)

    def schedule(due_at: float) -> Any:
        due = {"scheduled_publish_time": str(int(due_at))}
        if edge == "feed":
            return page.post(f"{page.id}/feed", {"message": f"At {due_at}", "published": "false"} | due)
        if edge == "video_reels":
            video_id = page.reel()
            page.send(video_id, CONTENT)
            return page.finish(video_id, video_state="SCHEDULED", **due)
        begun = page.chunked("start", file_size=SIZE).json()
        session = {"upload_session_id": begun["upload_session_id"]}
        page.chunked("transfer", chunk=CONTENT, start_offset=0, **session)
        return page.chunked("finish", published="false", **session, **due)

    assert refused(schedule(at + 590)) == refused(schedule(at + latest_s + 30)) == (100, None)
    assert schedule(at + latest_s - 30).status_code == 200
    assert schedule(at + 630).status_code == 200
    assert page.seen == []


def _now(world: Client) -> float:
    """The world's own clock, by the time at which an unfinished upload was begun."""
    page = a_page(world)
    page.reel()
    begun = world.ledger(platform="facebook", all="1")["incomplete"][-1]["at"]
    return datetime.fromisoformat(begun.replace("Z", "+00:00")).timestamp()


def test_what_is_scheduled_is_seen_at_its_time_and_not_before(world: Client, upright: bytes) -> None:
    page = a_page(world)
    due = {"scheduled_publish_time": str(int(_now(world)) + 900)}
    video_id = page.reel()
    page.send(video_id, upright)
    page.finish(video_id, video_state="SCHEDULED", **due)
    page.post(f"{page.id}/feed", {"message": "Later", "published": "false"} | due)
    world.later(800)
    assert page.status(video_id)["status"]["publishing_phase"]["publish_status"] == "scheduled"
    assert page.seen == [] and "permalink_url" not in page.status(video_id)
    world.later(200)
    assert page.status(video_id)["status"]["publishing_phase"]["publish_status"] == "published"
    assert {entry["title"] for entry in page.seen} == {"Knots", "Later"}


# Pictures, posts and comments


def a_png() -> bytes:
    return bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8db0"
        "0000000049454e44ae426082"
    )


def picture(page: Page, content: bytes, **fields: str) -> Any:
    url, files = f"{API}/{page.id}/photos", {"source": ("a.png", content)}
    return page.world.http.post(
        url, data={"published": "false"} | fields, files=files, headers=bearer(page.token)
    )


def test_a_stored_picture_is_seen_once_a_post_shows_it(world: Client) -> None:
    page = a_page(world)
    photo = picture(page, a_png()).json()["id"]
    assert page.seen == [] and "page_story_id" not in page.get(photo, fields="page_story_id,link").json()
    post = {"message": "Look", "attached_media": [{"media_fbid": photo}]}
    made = page.post(f"{page.id}/feed", post).json()["id"]
    assert page.get(photo, fields="page_story_id").json() == {"id": photo, "page_story_id": made}
    (entry,) = page.seen
    assert (entry["id"], entry["publishId"], entry["sha256"]) == (made, photo, sha256(a_png()))
    # A second post of the same picture is a second post, and the ledger shows both.
    page.post(f"{page.id}/feed", post)
    assert [entry["sha256"] for entry in page.seen] == [sha256(a_png())] * 2
    assert page.get(photo, fields="page_story_id").json()["page_story_id"] == made


def test_pictures_and_posts_are_checked(world: Client) -> None:
    page, other = a_page(world), a_page(world)
    assert refused(picture(page, b"GIF89a...")) == (324, None)
    theirs = picture(other, a_png()).json()["id"]
    assert refused(page.post(f"{page.id}/feed", {"attached_media": [{"media_fbid": theirs}]})) == (100, 33)
    late = picture(page, a_png()).json()["id"]
    world.later(DAY_S)
    assert refused(page.get(late)) == (100, 33)
    assert refused(page.post(f"{page.id}/feed", {})) == (100, None)
    assert refused(page.post(f"{page.id}/feed", {"message": "a" * 63_207})) == (100, None)
    assert refused(page.post(f"{page.id}/feed", {"link": "knots"})) == (1500, None)
    assert page.post(f"{page.id}/feed", {"message": "The same"}).status_code == 200
    assert refused(page.post(f"{page.id}/feed", {"message": "The same"})) == (506, None)
    shown = picture(page, a_png(), published="true").json()
    assert page.seen[-1]["id"] == shown["post_id"]


def test_only_what_is_out_can_be_commented(world: Client, upright: bytes) -> None:
    page = a_page(world)
    video_id = page.posted(upright)
    assert refused(page.post(f"{video_id}/comments", {"message": "Rope"})) == (100, 33)
    world.later(60)
    page.status(video_id)
    made = page.post(f"{video_id}/comments", {"message": "Rope"}).json()["id"]
    assert page.get(f"{video_id}/comments", fields="id,message").json()["data"] == [
        {"id": made, "message": "Rope"}
    ]
    assert refused(page.post(f"{video_id}/comments", {})) == (100, None)


@pytest.mark.parametrize(
    ("switch", "code"),
    [
        ("blocked", (368, None)),
        ("tooFast", (368, 1390008)),
        ("needsPageAuthorization", (1404078, None)),
        ("needsIdentity", (4854002, None)),
    ],
)
def test_a_barred_page_can_neither_begin_nor_finish(switch: str, code: Any, world: Client) -> None:
    page = a_page(world)
    video_id = page.reel()
    page.send(video_id, CONTENT)
    page.switch(**{switch: True})
    assert refused(page.finish(video_id)) == code
    assert refused(page.post(f"{page.id}/video_reels", {"upload_phase": "start"})) == code
    assert refused(page.chunked("start", file_size=SIZE)) == code
    assert refused(page.post(f"{page.id}/feed", {"message": "Hello"})) == code
    assert page.seen == []


# Numbers


def test_only_the_metrics_that_still_work_are_told_and_they_grow(world: Client, upright: bytes) -> None:
    page = a_page(world)
    video_id = page.posted(upright)
    world.later(60)
    post_id = f"{page.id}_{page.status(video_id)['post_id']}"

    def value(path: str, metric: str, **more: Any) -> Any:
        found = page.get(path, metric=metric, **more)
        assert found.status_code == 200, found.text
        return found.json()["data"][0]["values"][-1]["value"]

    numbers = (f"{page.id}/insights", "page_media_view"), (f"{post_id}/insights", "post_media_view")
    asked = (*numbers, (f"{video_id}/video_insights", "blue_reels_play_count"))
    before = [value(path, metric) for path, metric in asked]
    assert [value(path, metric) for path, metric in asked] == before
    world.later(3 * DAY_S)
    assert all(now > then for now, then in zip([value(*each) for each in asked], before, strict=True))
    assert set(value(f"{post_id}/insights", "post_reactions_by_type_total")) == {"like", "love"}
    for path, metric in (
        (f"{page.id}/insights", "page_impressions"),
        (f"{page.id}/insights", "page_media_view,page_fans"),
        (f"{post_id}/insights", "post_impressions"),
        (f"{video_id}/video_insights", "post_impressions_unique"),
        (f"{page.id}/insights", ""),
    ):
        assert refused(page.get(path, metric=metric)) == (100, None)
    assert refused(page.get(f"{page.id}/insights", metric="page_follows", period="days_28")) == (100, None)
    assert refused(page.get(f"{video_id}/insights", metric="post_media_view")) == (100, 33)
    wide = {"since": "0", "until": str(94 * DAY_S)}
    assert refused(page.get(f"{page.id}/insights", metric="page_follows", **wide)) == (100, None)
