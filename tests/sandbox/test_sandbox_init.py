"""Section 9, items 4 and 5: limits, and what an init must look like."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox_kit import POSTING, WISH, Client, Person

from app.sandbox import Settings


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def nothing_begun(world: Client) -> bool:
    return not world.ledger(all=1)["incomplete"]


@pytest.mark.parametrize(
    ("size", "chunk", "count"),
    [
        (3_145_728, 3_145_728, 1),
        (50_000_123, 50_000_123, 1),
        (50_000_123, 10_000_000, 5),
        (64_000_000, 64_000_000, 1),
        (64_000_001, 10_000_000, 6),
        (66_259_900, 10_000_000, 6),
        (150_000_000, 10_000_000, 15),
        (4_294_967_296, 10_000_000, 429),
        (10_485_760, 5_242_880, 2),
        (1, 1, 1),
    ],
)
def test_a_plan_inside_the_rules_is_accepted(world: Client, size: int, chunk: int, count: int) -> None:
    begun = world.person().init(size, chunk, count)
    assert begun.status_code == 200, begun.text
    assert len(begun.json()["data"]["publish_id"]) <= 64
    assert len(begun.json()["data"]["upload_url"]) <= 256


@pytest.mark.parametrize(
    ("size", "chunk", "count", "message"),
    [
        (50_000_123, 10_000_000, 6, "The total chunk count is invalid"),
        (66_259_900, 64_000_000, 1, "The chunk size is invalid"),
        (121_000_000, 64_000_000, 1, "The chunk size is invalid"),
        (20_000_000, 4_000_000, 5, "The chunk size is invalid"),
        (70_000_000, 70_000_000, 1, "The chunk size is invalid"),
        (10_485_758, 5_242_879, 2, "The chunk size is invalid"),
        (64_000_001, 64_000_001, 1, "The chunk size is invalid"),
        (5_000_000, 4_000_000, 1, "The chunk size is invalid"),
        (100, 100, 0, "The total chunk count is invalid"),
        (0, 1, 1, "The video size is invalid"),
        (4_294_967_297, 10_000_000, 429, "The video size is invalid"),
    ],
)
def test_a_plan_outside_the_rules_is_refused(
    world: Client, size: int, chunk: int, count: int, message: str
) -> None:
    answer = world.person().init(size, chunk, count)
    assert code(answer) == (400, "invalid_params")
    assert answer.json()["error"]["message"] == message
    assert nothing_begun(world)


@pytest.mark.parametrize(
    "wish",
    [
        {"title": "x" * 2201},
        {"title": "😀" * 1101},
        {"title": 7},
        {"privacy_level": "EVERYONE"},
        {"privacy_level": None},
        {"disable_comment": "no"},
        {"disable_duet": 1},
        {"is_aigc": None},
        {"brand_content_toggle": None},
        {"video_cover_timestamp_ms": 1.5},
        {"video_cover_timestamp_ms": 2**31},
        {"colour": "red"},
    ],
)
def test_a_malformed_wish_is_refused_and_nothing_is_begun(world: Client, wish: dict[str, Any]) -> None:
    assert code(world.person().init(100, **wish)) == (400, "invalid_params")
    assert nothing_begun(world)


def test_titles_are_counted_in_utf16_units(world: Client) -> None:
    assert world.person().init(100, title="😀" * 1100).status_code == 200


def test_branded_content_cannot_be_for_oneself(world: Client) -> None:
    assert code(world.person().init(100, brand_content_toggle=True)) == (400, "invalid_param")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"post_info": WISH},
        {"post_info": WISH, "source_info": {"source": "FTP"}},
        {"post_info": WISH, "source_info": {"source": "FILE_UPLOAD", "video_size": "1"}},
        {"post_info": WISH, "source_info": {"source": "FILE_UPLOAD", "video_size": True}},
    ],
)
def test_a_malformed_source_is_refused(world: Client, body: dict[str, Any]) -> None:
    assert code(world.person().call(f"{POSTING}/video/init/", body)) == (400, "invalid_params")


def test_only_json_is_read(world: Client) -> None:
    maya = world.person()
    headers = {"authorization": f"Bearer {maya.tokens['access_token']}"}
    path = f"{POSTING}/video/init/"
    assert code(world.http.post(path, data={"a": "b"}, headers=headers)) == (400, "invalid_params")
    headers["content-type"] = "application/json"
    assert code(world.http.post(path, content=b"{", headers=headers)) == (400, "invalid_params")
    assert code(world.http.post(path, content=b"[]", headers=headers)) == (400, "invalid_params")


def test_an_unaudited_app_posts_to_private_accounts_for_their_owner_only(world: Client) -> None:
    private, public = world.person(), world.person("Ben", private=False)
    refused = (403, "unaudited_client_can_only_post_to_private_accounts")
    assert code(private.init(100, privacy_level="FOLLOWER_OF_CREATOR")) == refused
    assert code(public.init(100)) == refused
    assert nothing_begun(world)
    world.apps(audited=True)
    assert public.init(100, privacy_level="PUBLIC_TO_EVERYONE").status_code == 200
    assert code(public.init(100, privacy_level="FOLLOWER_OF_CREATOR")) == (
        403,
        "privacy_level_option_mismatch",
    )
    assert code(private.init(100, privacy_level="PUBLIC_TO_EVERYONE")) == (
        403,
        "privacy_level_option_mismatch",
    )


def test_an_unaudited_app_serves_five_accounts_a_day(world: Client) -> None:
    people = [world.person(f"Person {number}") for number in range(6)]
    for person in people[:5]:
        assert person.init(100).status_code == 200
    assert code(people[5].init(100)) == (403, "reached_active_user_cap")
    assert code(people[5].creator_info()) == (200, "reached_active_user_cap")
    assert people[0].init(100).status_code == 200
    world.later(24 * 3600 + 1)
    fresh = Person(world, people[5].username, world.refresh(people[5].tokens["refresh_token"]).json())
    assert fresh.init(100).status_code == 200


def test_fifteen_posts_a_day_are_the_most(world: Client) -> None:
    busy = world.person(postsLast24h=14)
    assert busy.init(100).status_code == 200
    assert code(busy.init(100)) == (403, "spam_risk_too_many_posts")
    assert code(busy.creator_info()) == (200, "spam_risk_too_many_posts")
    assert busy.draft(100).status_code == 200


def test_a_banned_creator_posts_nothing(world: Client) -> None:
    banned = world.person(banned=True)
    assert code(banned.init(100)) == (403, "spam_risk_user_banned_from_posting")
    assert code(banned.creator_info()) == (200, "spam_risk_user_banned_from_posting")
    body = {"platform": "tiktok", "username": banned.username, "banned": False, "maxDurationS": 60}
    assert world.http.post("/accounts", json=body).status_code == 200
    assert banned.creator_info().json()["data"]["max_video_post_duration_sec"] == 60
    assert banned.init(100).status_code == 200


def test_five_drafts_wait_at_most_and_posting_one_frees_its_place(world: Client, clip: bytes) -> None:
    maya = world.person()
    begun = [maya.draft(len(clip)).json()["data"] for _ in range(5)]
    assert code(maya.draft(100)) == (403, "spam_risk_too_many_pending_share")
    publish_id = begun[0]["publish_id"]
    assert publish_id.startswith("v_inbox_file~")
    assert world.put(begun[0]["upload_url"], clip).status_code == 201
    world.later(61)
    assert maya.state(publish_id)["status"] == "SEND_TO_USER_INBOX"
    assert world.posts == [] and len(world.ledger(all=1)["drafts"]) == 1
    assert world.http.post("/drafts", json={"publishId": publish_id}).status_code == 200
    assert maya.state(publish_id)["status"] == "PUBLISH_COMPLETE"
    assert len(world.posts) == 1
    assert maya.draft(100).status_code == 200


@pytest.mark.parametrize(("step", "most"), [("creator_info", 20), ("init", 6), ("status", 30)])
def test_the_limit_of_a_minute_slides(world: Client, step: str, most: int) -> None:
    maya, ben = world.person(), world.person("Ben")
    publish_id = maya.init(100).json()["data"]["publish_id"]
    world.later(61)

    def call(person: Person) -> tuple[int, str]:
        if step == "init":
            return code(person.init(100))
        return code(person.creator_info() if step == "creator_info" else person.status(publish_id))

    assert call(maya) == (200, "ok")
    world.later(30)
    for _ in range(most - 1):
        assert call(maya) == (200, "ok")
    assert call(maya) == (429, "rate_limit_exceeded")
    assert call(ben)[0] != 429
    world.later(30.5)
    assert call(maya) == (200, "ok")
    assert call(maya) == (429, "rate_limit_exceeded")


def test_a_renewed_token_does_not_renew_the_limit(world: Client) -> None:
    maya = world.person()
    for _ in range(6):
        assert maya.init(100).status_code == 200
    maya.tokens = world.refresh(maya.tokens["refresh_token"]).json()
    assert maya.init(100).status_code == 429


def test_settings_set_the_start(start: Any) -> None:
    world = start(settings=Settings(audited=True, posts_per_day=1))
    ann = world.person(private=False)
    assert ann.init(100, privacy_level="PUBLIC_TO_EVERYONE").status_code == 200
    assert code(ann.init(100, privacy_level="PUBLIC_TO_EVERYONE")) == (403, "spam_risk_too_many_posts")
