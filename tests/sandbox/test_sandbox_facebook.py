"""The simulated Facebook's people, tokens, Pages and limits, as strict as section 7 of its sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from facebook_kit import (
    API,
    CLIENT,
    REDIRECT,
    UPLOAD,
    VIDEO,
    a_page,
    bearer,
    code,
    long_token,
    one_world,
    refused,
    token,
)
from sandbox_kit import Client

DIALOG = "/facebook/auth/v26.0/dialog/oauth"
ASKED = {
    "client_id": "sandbox",
    "redirect_uri": REDIRECT,
    "state": "xyz",
    "response_type": "code",
    "scope": "pages_show_list,pages_manage_posts",
}
ALLOW = {"decision": "approve", "display_name": "Studio One", "grant": ["pages_show_list"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with one_world(tmp_path_factory.mktemp("facebook") / "world") as found:
        yield found


# The dialog and its code


def test_the_dialog_gives_a_code_for_what_was_ticked(world: Client) -> None:
    assert world.http.get(DIALOG, params=ASKED).status_code == 200
    back = world.http.post(DIALOG, params=ASKED, data=ALLOW)
    assert back.status_code == 303 and back.headers["location"].startswith(f"{REDIRECT}?code=")
    assert back.headers["location"].endswith("&state=xyz#_=_")
    brought = back.headers["location"].split("code=")[1].split("&")[0].replace("%2A", "*").replace("%21", "!")
    user = token(world, code=brought, redirect_uri=REDIRECT).json()["access_token"]
    granted = world.http.get(f"{API}/me/permissions", headers=bearer(user)).json()["data"]
    told = {each["permission"]: each["status"] for each in granted}
    assert told["pages_show_list"] == "granted" and told["pages_manage_posts"] == "declined"


def test_a_person_who_denies_comes_back_with_the_reason(world: Client) -> None:
    back = world.http.post(DIALOG, params=ASKED, data={"decision": "deny"}).headers["location"]
    assert (
        "error=access_denied" in back
        and "error_reason=user_denied" in back
        and "code=" not in back.split("error_")[0]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "other"},
        {"redirect_uri": "https://example.org/back"},
        {"redirect_uri": ""},
        {"response_type": "token"},
        {"scope": "publish_video"},
        {"scope": ""},
        {"state": ""},
        {"auth_type": "force"},
    ],
)
def test_a_wrong_address_is_shown_and_never_followed(wrong: dict[str, str], world: Client) -> None:
    for answer in (
        world.http.get(DIALOG, params=ASKED | wrong),
        world.http.post(DIALOG, params=ASKED | wrong, data=ALLOW),
    ):
        assert answer.status_code == 400 and "location" not in answer.headers


def test_a_code_works_once_in_time_and_for_its_own_address(world: Client) -> None:
    made = code(world)["code"]
    assert refused(token(world, code="made up", redirect_uri=REDIRECT)) == (100, None)
    assert refused(token(world, code=made)) == (100, 36008)
    assert token(world, code=made, redirect_uri=REDIRECT).status_code == 200
    assert refused(token(world, code=made, redirect_uri=REDIRECT)) == (100, 36009)
    late = code(world)["code"]
    world.later(3600)
    assert refused(token(world, code=late, redirect_uri=REDIRECT)) == (100, 36007)
    # A code of the dialog is bound to the address the dialog was asked with.
    back = world.http.post(DIALOG, params=ASKED, data=ALLOW).headers["location"]
    brought = back.split("code=")[1].split("&")[0].replace("%2A", "*").replace("%21", "!")
    assert refused(token(world, code=brought, redirect_uri=f"{REDIRECT}/")) == (100, 36008)


def test_a_wrong_app_or_secret_gets_nothing(world: Client) -> None:
    made = code(world)["code"]
    url = f"{API}/oauth/access_token"
    form = CLIENT | {"code": made, "redirect_uri": REDIRECT}
    assert refused(world.http.post(url, data=form | {"client_id": "other"})) == (101, None)
    assert refused(world.http.post(url, data=form | {"client_secret": "wrong"})) == (1, None)
    assert world.http.get(url, params=form).status_code == 200


# Tokens


def test_a_short_token_lives_hours_and_a_long_one_sixty_days(world: Client) -> None:
    made = code(world)
    short = token(world, code=made["code"], redirect_uri=REDIRECT).json()
    long = token(world, grant_type="fb_exchange_token", fb_exchange_token=short["access_token"]).json()
    assert short["expires_in"] < 3 * 3600 and long["expires_in"] == 5_183_944
    world.later(3 * 3600)
    assert refused(world.http.get(f"{API}/me", headers=bearer(short["access_token"]))) == (190, 463)
    expired = token(world, grant_type="fb_exchange_token", fb_exchange_token=short["access_token"])
    assert refused(expired) == (190, 463)
    newer = token(world, grant_type="fb_exchange_token", fb_exchange_token=long["access_token"]).json()
    world.later(59 * 24 * 3600)
    assert world.http.get(f"{API}/me", headers=bearer(newer["access_token"])).status_code == 200
    world.later(2 * 24 * 3600)
    assert refused(world.http.get(f"{API}/me", headers=bearer(newer["access_token"]))) == (190, 463)


def test_a_pages_token_has_no_end_and_one_made_with_a_short_token_has(world: Client) -> None:
    page = a_page(world)
    short = token(world, code=code(world)["code"], redirect_uri=REDIRECT).json()["access_token"]
    listed = world.http.get(f"{API}/me/accounts", headers=bearer(short)).json()["data"][0]
    world.later(3 * 3600)
    assert refused(page.get(listed["id"], token=listed["access_token"])) == (190, 463)
    world.later(200 * 24 * 3600)
    assert page.get(page.id).status_code == 200


@pytest.mark.parametrize("subcode", [458, 459, 460, 463, 464, 467, 492])
def test_a_dead_persons_tokens_answer_with_the_subcode_of_their_death(subcode: int, world: Client) -> None:
    page = a_page(world)
    page.switch(deadToken=subcode)
    assert refused(page.get(page.id)) == refused(page.get("me", token=page.user_token)) == (190, subcode)
    answer = page.send("900", b"x" * 2000)
    assert answer.status_code == 401 and answer.json()["debug_info"]["type"] == "NotAuthorizedError"


def test_the_token_may_come_by_header_or_field_and_to_the_upload_host_as_oauth_only(world: Client) -> None:
    page = a_page(world)
    assert world.http.get(f"{API}/{page.id}", params={"access_token": page.token}).status_code == 200
    assert (
        world.http.get(f"{API}/{page.id}", headers={"authorization": f"OAuth {page.token}"}).status_code
        == 200
    )
    assert refused(world.http.get(f"{API}/{page.id}")) == (190, None)
    video_id = page.reel()
    assert page.send(video_id, b"x" * 2000, **bearer(page.token)).status_code == 401
    assert page.send(video_id, b"x" * 2000).status_code == 200


def test_a_persons_token_may_not_write_to_a_page_nor_one_page_to_another(world: Client) -> None:
    page, other = a_page(world), a_page(world)
    for path, fields in (
        (f"{page.id}/video_reels", {"upload_phase": "start"}),
        (f"{page.id}/feed", {"message": "Hello"}),
        (f"{page.id}/photos", {"url": "https://example.org/a.jpg"}),
    ):
        assert refused(page.post(path, fields, token=page.user_token)) == (200, None)
        assert refused(page.post(path, fields, token=other.token)) == (200, None)
    assert refused(page.get("me/accounts")) == (190, None)
    video_id = page.reel()
    assert refused(other.get(video_id)) == (100, 33)
    assert other.send(video_id, b"x" * 2000).status_code == 404


def test_a_missing_permission_is_10_for_reading_and_200_for_writing(world: Client) -> None:
    page = a_page(world, scopes=["pages_show_list"])
    assert refused(page.get(page.id)) == (10, None)
    assert refused(page.post(f"{page.id}/video_reels", {"upload_phase": "start"})) == (200, None)
    without = long_token(world, code(world, scopes=["pages_manage_posts"]))
    assert refused(page.get("me/accounts", token=without)) == (10, None)


def test_debug_token_tells_the_app_what_a_token_is_worth(world: Client) -> None:
    page = a_page(world)
    own = "sandbox|sandbox-secret"

    def told(asked: str, by: str = own) -> Any:
        return page.get("debug_token", token=by, input_token=asked)

    found = told(page.token).json()["data"]
    assert (found["type"], found["is_valid"], found["expires_at"]) == ("PAGE", True, 0)
    assert found["profile_id"] == page.id and "pages_manage_posts" in found["scopes"]
    assert told(page.user_token).json()["data"]["type"] == "USER"
    page.switch(deadToken=460)
    assert told(page.token).json()["data"]["error"]["subcode"] == 460
    assert refused(told(page.token, by=page.user_token)) == (190, 460)
    assert refused(told("made up")) == (100, None)
    assert refused(told(page.token, by="sandbox|wrong")) == (190, None)


def test_revoking_ends_the_person_on_all_their_pages(world: Client) -> None:
    made = code(world, pages=2)
    user = long_token(world, made)
    pages = world.http.get(f"{API}/me/accounts", headers=bearer(user)).json()["data"]
    person = world.http.get(f"{API}/me", headers=bearer(user)).json()["id"]
    own = {"access_token": "sandbox|sandbox-secret"}
    assert refused(world.http.post(f"{API}/{person}/permissions", data=own)) == (100, None)
    assert world.http.request("DELETE", f"{API}/{person}/permissions", params=own).json() == {"success": True}
    for each in (user, *(page["access_token"] for page in pages)):
        assert refused(world.http.get(f"{API}/me", headers=bearer(each))) == (190, 458)


# Pages


def test_the_list_of_pages_comes_in_parts_with_tasks(world: Client) -> None:
    user = long_token(world, code(world, pages=5))
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        part = world.http.get(
            f"{API}/me/accounts", params={"limit": "2", **after}, headers=bearer(user)
        ).json()
        seen += [page["id"] for page in part["data"]]
        assert all("CREATE_CONTENT" in page["tasks"] for page in part["data"])
        if "next" not in part["paging"]:
            break
        after = {"after": part["paging"]["cursors"]["after"]}
    assert len(seen) == len(set(seen)) == 5
    reader = long_token(world, code(world, createContent=False))
    (page,) = world.http.get(f"{API}/me/accounts", headers=bearer(reader)).json()["data"]
    assert page["tasks"] == ["ANALYZE"]


def test_an_unknown_field_or_version_or_address_fails_the_whole_call(world: Client) -> None:
    page = a_page(world)
    assert refused(page.get(page.id, fields="id,name,shoe_size")) == (100, None)
    assert refused(page.get(page.reel(), fields="status,impressions")) == (100, None)
    assert refused(page.get("999999999999999999")) == (100, 33)
    for version in ("v22.0", "v27.0", "latest"):
        answer = world.http.get(f"/facebook/api/{version}/me", headers=bearer(page.token))
        assert refused(answer) == (2635, None)
    assert refused(page.get(f"{page.id}/no/such/edge")) == (2500, None)


def test_each_host_knows_its_own_addresses_only(world: Client) -> None:
    page = a_page(world)
    start = {"upload_phase": "start", "file_size": "2000"}
    assert page.post(f"{page.id}/videos", start, host=VIDEO).status_code == 200
    assert page.post(f"{page.id}/videos", start).status_code == 404
    assert page.post(f"{page.id}/video_reels", start, host=VIDEO).status_code == 404
    assert page.post(page.reel(), {}, host=UPLOAD.replace("/upload/", "/api/")).status_code == 404


# Limits


def test_the_headers_of_use_rise_and_a_full_page_waits(world: Client) -> None:
    for code_, switches in ((80001, {}), (32, {"pageLimitCode": 32})):
        page = a_page(world, callsPerDay=4, **switches)
        percents = []
        for _ in range(4):
            (limit,) = json.loads(page.get(page.id).headers["x-business-use-case-usage"])[page.id]
            percents.append(limit["call_count"])
            assert limit["type"] == "pages" and limit["estimated_time_to_regain_access"] == 0
        assert percents == [25, 50, 75, 100]
        full = page.get(page.id)
        assert refused(full)[0] == code_
        (limit,) = json.loads(full.headers["x-business-use-case-usage"])[page.id]
        assert 23 * 60 < limit["estimated_time_to_regain_access"] <= 24 * 60
    world.later(24 * 3600 + 60)
    assert page.get(page.id).status_code == 200


def test_the_app_and_the_person_have_limits_of_their_own(world: Client) -> None:
    user = long_token(world, code(world, callsPerHour=2))
    answers = [world.http.get(f"{API}/me", headers=bearer(user)) for _ in range(3)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200] and refused(answers[2]) == (17, None)
    assert "x-app-usage" in answers[0].headers
    world.apps(facebookCallsPerHour=3)
    other = long_token(world, code(world))
    assert refused(world.http.get(f"{API}/me", headers=bearer(other))) == (4, None)
    world.later(3601)
    assert world.http.get(f"{API}/me", headers=bearer(other)).status_code == 200
    world.apps(facebookCallsPerHour=20_000)


def test_a_fault_may_hit_one_account_by_any_of_its_names(world: Client) -> None:
    page, other = a_page(world, displayName="Somebody Quiet"), a_page(world)
    for name in (page.username, page.id, "Somebody Quiet"):
        world.arm("error_before", step="page", account=name, platform="facebook")
        assert other.get(other.id).status_code == 200
        assert refused(page.get(page.id)) == (2, None)
        assert page.get(page.id).status_code == 200
