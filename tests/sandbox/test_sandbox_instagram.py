"""The simulated Instagram by section 9 of its sheet: containers, files, bytes, publishing, limits."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import instagram_kit
import pytest
from instagram_kit import DAY_S, H264, WORDS, Account, account, error, hosted, posts, served
from PIL import Image
from sandbox_kit import Client, made_clip, sha256

from app.sandbox.instagram import DEFAULTS

FETCHED = {"media_type": "REELS", "video_url": "{host}/files/reel.mp4"}
IMAGE = {"image_url": "http://127.0.0.1:9/x.jpg"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One world for these tests: each makes accounts of its own."""
    with served(tmp_path_factory.mktemp("world")) as client:
        yield client


@pytest.fixture(autouse=True)
def _no_fault_left(world: Client) -> Iterator[None]:
    yield
    world.http.delete("/faults")


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return instagram_kit.reel(tmp_path_factory.mktemp("reel") / "reel.mp4")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, reel: bytes) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "reel.mp4").write_bytes(reel)
    for name, size, form in (
        ("square.jpg", (640, 640), "JPEG"),
        ("square.png", (640, 640), "PNG"),
        ("tall.jpg", (400, 800), "JPEG"),
        ("small.jpg", (300, 300), "JPEG"),
    ):
        made = io.BytesIO()
        Image.new("RGB", size, (90, 30, 30)).save(made, form)
        (folder / name).write_bytes(made.getvalue())
    (folder / "large.jpg").write_bytes((folder / "square.jpg").read_bytes() + bytes(8 * 1024**2))
    return folder


@pytest.fixture(scope="module")
def host(files: Path) -> Iterator[str]:
    with hosted(files) as found:
        yield found


# Containers (items 3 and 5)


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, (100, None)),
        ({"media_type": "REELS"}, (100, None)),
        ({"media_type": "VIDEO", "video_url": "http://h/x.mp4"}, (100, 2207023)),
        ({"media_type": "FILM", "video_url": "http://h/x.mp4"}, (100, 2207023)),
        ({**WORDS, "video_url": "http://h/x.mp4"}, (100, None)),
        ({**WORDS, "image_url": "http://h/x.jpg"}, (100, None)),
        ({**WORDS, "upload_type": "other"}, (100, None)),
        ({**WORDS, "caption": "a" * 2201}, (36004, 2207010)),
        ({**WORDS, "caption": "😀" * 1101}, (36004, 2207010)),
        ({**WORDS, "caption": " ".join(f"#t{n}" for n in range(31))}, (36004, 2207010)),
        ({**WORDS, "caption": " ".join(f"@u{n}" for n in range(21))}, (100, 2207040)),
        ({**WORDS, "collaborators": ["a", "b", "c", "d"]}, (100, None)),
        ({**WORDS, "thumb_offset": -1}, (100, None)),
        ({**WORDS, "alt_text": "A knot"}, (100, None)),
        ({**WORDS, "is_carousel_item": True}, (100, None)),
        ({**WORDS, "share_to_feed": "perhaps"}, (100, None)),
        ({**WORDS, "brand_new": "1"}, (100, None)),
        ({"media_type": "STORIES", "upload_type": "resumable", "caption": "Words"}, (100, None)),
        ({"media_type": "STORIES", "upload_type": "resumable", "collaborators": ["a"]}, (100, None)),
        ({"media_type": "REELS", "video_url": "ftp://h/x.mp4"}, (9004, 2207052)),
        ({"media_type": "REELS", "video_url": "https://h/ü.mp4"}, (9004, 2207052)),
        ({**IMAGE, "alt_text": "a" * 1001}, (100, None)),
        ({**IMAGE, "is_carousel_item": True, "caption": "Words"}, (100, None)),
        ({**IMAGE, "is_carousel_item": True, "is_ai_generated": True}, (100, None)),
        ({"media_type": "CAROUSEL", "children": "1"}, (100, 2207028)),
        ({"media_type": "CAROUSEL", "children": ",".join(map(str, range(11)))}, (100, 2207028)),
        ({"media_type": "CAROUSEL", "children": "1,2"}, (24, 2207006)),
    ],
)
def test_a_container_is_refused_for_what_it_may_not_say(
    fields: dict[str, Any], refused: tuple[int, int | None], maya: Account
) -> None:
    assert error(maya.create(**fields)) == refused


@pytest.fixture(scope="module")
def maya(world: Client) -> Account:
    return account(world)


@pytest.mark.parametrize("caption", ["a" * 2200, "😀" * 1100, " ".join(f"#t{n}" for n in range(30))])
def test_a_caption_at_its_limit_is_taken(caption: str, maya: Account) -> None:
    assert set(maya.made(**WORDS, caption=caption)) == {"id", "uri"}


def test_a_form_and_a_query_say_the_same_as_json(maya: Account) -> None:
    path = f"{maya.id}/media"
    assert maya.call("POST", path, data=WORDS).status_code == 200
    assert maya.call("POST", path, params=WORDS).status_code == 200
    assert maya.call("POST", path, params={**WORDS, "access_token": maya.token}).status_code == 200


def test_the_containers_of_a_day_are_limited_four_hundred_if_nothing_else_is_said(world: Client) -> None:
    assert DEFAULTS.containers_a_day == 400
    many = account(world, containersADay=3)
    assert {many.create(**WORDS).status_code for _ in range(3)} == {200}
    assert error(many.create(**WORDS)) == (4, None)
    world.later(DAY_S + 1)
    assert many.create(**WORDS).status_code == 200


def test_a_container_belongs_to_its_account_alone(world: Client, maya: Account, reel: bytes) -> None:
    other, made = account(world), maya.made(**WORDS)
    assert error(other.get(made["id"], fields="status_code")) == (100, 33)
    assert error(other.publish(made["id"])) == (24, 2207006)
    assert other.upload(made["uri"], reel).status_code == 401
    assert error(other.call("POST", f"{maya.id}/media", json=WORDS)) == (100, 33)


def test_a_container_lives_a_day(world: Client, reel: bytes) -> None:
    who = account(world)
    made = who.made(**WORDS)
    who.upload(made["uri"], reel)
    assert who.state(made["id"])["status_code"] == "FINISHED"
    world.later(DAY_S)
    assert who.state(made["id"])["status_code"] == "EXPIRED"
    assert error(who.publish(made["id"])) == (24, 2207008)


def test_a_container_is_in_progress_for_as_many_questions_as_the_tester_says(
    world: Client, reel: bytes
) -> None:
    who = account(world, polls=2)
    made = who.made(**WORDS)
    assert who.state(made["id"])["status_code"] == "IN_PROGRESS", "questions before the bytes do not count"
    who.upload(made["uri"], reel)
    assert error(who.publish(made["id"])) == (9007, 2207027)
    states = [who.state(made["id"])["status_code"] for _ in range(3)]
    assert states == ["IN_PROGRESS", "IN_PROGRESS", "FINISHED"]
    assert who.publish(made["id"]).status_code == 200
    assert who.state(made["id"])["status_code"] == "PUBLISHED"
    assert error(who.publish(made["id"])) == (24, 2207008), "published twice it is refused"
    assert len(posts(world, who)) == 1


def test_an_unknown_field_fails_the_whole_call(maya: Account) -> None:
    assert error(maya.get("me", fields="user_id,shoe_size")) == (100, None)
    assert error(maya.get(maya.made(**WORDS)["id"], fields="status_code,shoe_size")) == (100, None)


def test_a_carousel_is_one_post_of_finished_children(world: Client, host: str) -> None:
    who = account(world)
    child = {"image_url": f"{host}/files/square.jpg", "is_carousel_item": True}
    children = [who.made(**child)["id"] for _ in range(2)]
    assert error(who.create(media_type="CAROUSEL", children=",".join(children))) == (9007, 2207027)
    assert {who.state(each)["status_code"] for each in children} == {"FINISHED"}
    assert error(who.publish(children[0]))[0] == 100, "a child is no post"
    whole = who.made(media_type="CAROUSEL", children=children, caption="Two knots")
    assert who.publish(whole["id"]).status_code == 200
    assert [post["title"] for post in posts(world, who)] == ["Two knots"]


# Files (item 4)


def test_a_video_is_fetched_from_its_address_and_looked_at(world: Client, host: str, reel: bytes) -> None:
    who = account(world)
    made = who.made(media_type="REELS", video_url=f"{host}/files/reel.mp4", caption="Fetched")
    assert who.state(made["id"])["status_code"] == "FINISHED"
    who.publish(made["id"])
    (post,) = posts(world, who)
    assert (post["sha256"], post["bytes"]) == (sha256(reel), len(reel))


@pytest.mark.parametrize(
    ("fields", "subcode"),
    [
        ({"media_type": "REELS", "video_url": "{host}/files/nothing.mp4"}, "2207052"),
        ({"media_type": "REELS", "video_url": "http://127.0.0.1:9/x.mp4"}, "2207052"),
        ({"media_type": "REELS", "video_url": "{host}/moved/reel.mp4"}, "2207052"),
        ({"media_type": "REELS", "video_url": "{host}/whole/reel.mp4"}, "2207076"),
        ({"media_type": "REELS", "video_url": "{host}/text/reel.mp4"}, "2207077"),
        ({**FETCHED, "thumb_offset": 3500}, "2207057"),
        ({**FETCHED, "cover_url": "{host}/files/no.jpg"}, "2207052"),
        ({**FETCHED, "cover_url": "{host}/files/square.png"}, "2207005"),
        ({"image_url": "{host}/files/square.png"}, "2207005"),
        ({"image_url": "{host}/files/tall.jpg"}, "2207009"),
        ({"image_url": "{host}/files/small.jpg"}, "2207009"),
        ({"image_url": "{host}/files/large.jpg"}, "2207004"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_taken_ends_the_container_with_its_subcode(
    fields: dict[str, Any], subcode: str, maya: Account, host: str
) -> None:
    asked = {
        name: value.replace("{host}", host) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    made = maya.made(**asked)
    found = maya.state(made["id"])
    assert found["status_code"] == "ERROR"
    assert found["status"] == f"Error: Media upload has failed with error code {subcode}"
    assert error(maya.publish(made["id"])) == (24, 2207008)


@pytest.mark.parametrize("name", ["square.jpg", "tall.jpg"])
def test_a_picture_for_a_story_may_have_any_shape(name: str, maya: Account, host: str) -> None:
    made = maya.made(media_type="STORIES", image_url=f"{host}/files/{name}")
    assert maya.state(made["id"])["status_code"] == "FINISHED"


@pytest.mark.parametrize(
    ("surface", "options", "size", "rate", "length_s"),
    [
        ("REELS", (*H264,), "180x320", 25, 3),
        ("REELS", (*H264, "-movflags", "+faststart"), "180x320", 25, 2.5),
        ("REELS", (*H264, "-movflags", "+faststart"), "180x320", 12, 3),
        ("REELS", (*H264, "-movflags", "+faststart"), "1940x180", 25, 3),
        ("REELS", ("-c:v", "mpeg4", "-movflags", "+faststart"), "180x320", 25, 3),
        ("STORIES", (*H264, "-movflags", "+faststart"), "180x320", 25, 61),
    ],
    ids=["index last", "too short", "too few frames", "too wide", "another codec", "too long for a story"],
)
def test_a_video_is_judged_by_ffprobe(
    surface: str,
    options: tuple[str, ...],
    size: str,
    rate: int,
    length_s: float,
    maya: Account,
    tmp_path: Path,
) -> None:
    clip = made_clip(tmp_path / "clip.mp4", *options, length_s=length_s, size=size, rate=rate)
    made = maya.made(**{**WORDS, "media_type": surface})
    assert maya.upload(made["uri"], clip).status_code == 200
    assert maya.state(made["id"])["status"].endswith("2207026")


# Bytes (item 6)


def test_bytes_are_counted_and_go_on_at_the_count(maya: Account, reel: bytes) -> None:
    made = maya.made(**WORDS)
    half = len(reel) // 2
    broken = maya.upload(made["uri"], reel[:half], size=len(reel))
    assert broken.status_code == 400
    assert broken.json()["debug_info"]["type"] == "PartialRequestError"
    phase = maya.get(made["id"], fields="video_status").json()["video_status"]["uploading_phase"]
    assert (phase["bytes_transfered"], phase["source_file_size"]) == (half, len(reel))
    wrong = maya.upload(made["uri"], reel, offset=half + 1)
    assert wrong.json()["debug_info"] == {
        "retriable": True,
        "type": "OffsetInvalidError",
        "message": f"The offset is {half + 1}, and {half} bytes are here.",
    }
    assert maya.upload(made["uri"], reel, offset=half).json() == {
        "success": True,
        "message": "Upload successful.",
    }
    assert maya.state(made["id"])["status_code"] == "FINISHED"
    again = maya.upload(made["uri"], reel)
    assert again.json()["debug_info"]["type"] == "OffsetInvalidError"


@pytest.mark.parametrize("cut", [1, 5000])
def test_an_upload_is_cut_where_the_tester_says(cut: int, world: Client, reel: bytes) -> None:
    who = account(world, cutAtByte=cut)
    made = who.made(**WORDS)
    with pytest.raises(httpx2.HTTPError):
        who.upload(made["uri"], reel)
    status = who.get(made["id"], fields="video_status").json()["video_status"]
    assert status["uploading_phase"]["bytes_transfered"] == cut
    assert who.upload(made["uri"], reel, offset=cut).status_code == 200


def test_an_upload_without_its_headers_or_token_is_refused(world: Client, maya: Account, reel: bytes) -> None:
    uri = maya.made(**WORDS)["uri"]
    bearer = {"authorization": f"Bearer {maya.token}", "offset": "0", "file_size": str(len(reel))}
    assert world.http.post(uri, content=reel, headers=bearer).status_code == 401
    bare = {"authorization": f"OAuth {maya.token}"}
    refused = world.http.post(uri, content=reel, headers=bare)
    assert refused.json()["debug_info"]["type"] == "ProcessingFailedError"
    assert maya.upload(uri, reel, size=len(reel) - 1).json()["debug_info"]["retriable"] is False


def test_instagram_may_be_told_to_fetch_the_bytes_itself(maya: Account, host: str) -> None:
    made = maya.made(**WORDS)
    headers = {"authorization": f"OAuth {maya.token}", "file_url": f"{host}/files/reel.mp4"}
    assert maya.world.http.post(made["uri"], headers=headers).status_code == 200
    assert maya.state(made["id"])["status_code"] == "FINISHED"


# Publishing and lists


def test_a_post_can_be_read_and_listed_and_a_story_apart(world: Client, reel: bytes) -> None:
    who = account(world)
    first = who.posted(reel, caption="First")
    world.later(60)
    second = who.posted(reel, caption="Second")
    made = who.made(media_type="STORIES", upload_type="resumable")
    who.upload(made["uri"], reel)
    story = who.publish(made["id"]).json()["id"]
    fields = (
        "id,permalink,media_type,media_product_type,timestamp,caption,shortcode,like_count,comments_count"
    )
    found = who.get(first, fields=fields).json()
    assert (found["caption"], found["media_type"], found["media_product_type"]) == ("First", "VIDEO", "REELS")
    assert found["permalink"] == f"https://www.instagram.com/reel/{found['shortcode']}/"
    listed = who.get(f"{who.id}/media", fields="id,caption", limit=1).json()
    assert [each["id"] for each in listed["data"]] == [second]
    assert listed["paging"]["next"].endswith("limit=1&after=1")
    rest = who.get(f"{who.id}/media", fields="id", limit=1, after=listed["paging"]["cursors"]["after"]).json()
    assert [each["id"] for each in rest["data"]] == [first] and "next" not in rest["paging"]
    assert [each["id"] for each in who.get(f"{who.id}/stories").json()["data"]] == [story]
    world.later(DAY_S)
    assert who.get(f"{who.id}/stories").json()["data"] == []
    assert error(who.get(story)) == (100, 33)
    assert len(who.get(f"{who.id}/media").json()["data"]) == 2


def test_comments_are_written_and_read(world: Client, reel: bytes) -> None:
    who = account(world)
    post = who.posted(reel)
    made = who.call("POST", f"{post}/comments", json={"message": "Where to buy the rope"}).json()["id"]
    (found,) = who.get(f"{post}/comments").json()["data"]
    assert (found["id"], found["text"]) == (made, "Where to buy the rope")
    assert error(who.call("POST", f"{post}/comments", json={"message": " "})) == (100, None)
    assert error(account(world).get(f"{post}/comments")) == (100, 33)


# Limits (items 7 and 8)


@pytest.mark.parametrize("most", [50, 100])
def test_the_posts_of_a_day_are_limited_in_a_moving_window(most: int, world: Client, reel: bytes) -> None:
    who = account(world, quotaTotal=most, postsLast24h=most - 1)
    who.posted(reel)
    asked = {"fields": "config,quota_usage"}
    (told,) = who.get(f"{who.id}/content_publishing_limit", **asked).json()["data"]
    assert told == {"quota_usage": most, "config": {"quota_total": most, "quota_duration": 86400}}
    assert who.get(f"{who.id}/content_publishing_limit").json()["data"] == [{"quota_usage": most}]
    made = who.made(**WORDS)
    who.upload(made["uri"], reel)
    world.later(DAY_S - 300)
    assert error(who.publish(made["id"])) == (9, 2207042)
    world.later(300)
    made = who.made(**WORDS)
    who.upload(made["uri"], reel)
    assert who.publish(made["id"]).status_code == 200, "the oldest has left the window"


def test_usage_rises_with_the_calls_until_they_are_refused_with_a_time(world: Client) -> None:
    who = account(world, callsPerDay=5)
    told = [who.get("me") for _ in range(6)]
    header = "x-business-use-case-usage"
    counts = [json.loads(answer.headers[header])[who.id][0] for answer in told]
    assert [each["call_count"] for each in counts] == [20, 40, 60, 80, 100, 120]
    assert [each["estimated_time_to_regain_access"] > 0 for each in counts] == [False] * 5 + [True]
    assert error(told[-1])[0] == 80002
    world.later(DAY_S + 1)
    assert who.get("me").status_code == 200


def test_the_whole_apps_calls_are_limited_too(world: Client) -> None:
    who = account(world)
    world.later(3601)
    world.apps(instagramCallsPerHour=2)
    try:
        answers = [who.get("me") for _ in range(3)]
    finally:
        world.apps(instagramCallsPerHour=100_000)
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert error(answers[-1]) == (4, None)
    assert '"call_count": 100' in answers[1].headers["x-app-usage"]
