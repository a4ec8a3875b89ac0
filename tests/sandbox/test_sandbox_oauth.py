"""Section 9, items 1, 2, 3 and 10: consent, tokens, bearers, revoking."""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sandbox_kit import CLIENT, REDIRECT, Client

AUTHORIZE = "/tiktok/v2/auth/authorize/"
QUERY = {
    "client_key": "sandbox",
    "response_type": "code",
    "scope": "user.info.basic,video.publish,video.list",
    "redirect_uri": REDIRECT,
    "state": "s-1",
}
VERIFIER = "backlot-pkce-verifier-0123456789-abcdefghijklmnopq"
CHALLENGE = "ef4250ec2e6f19802791d2ffdd7f1a96bc8e0f9d63542be3e41fa989fffa58ad"


def decide(world: Client, query: dict[str, str], **form: Any) -> dict[str, str]:
    """Send the consent form as a browser would; gives the query that returned to the app."""
    form = {
        "decision": "approve",
        "creator": "new",
        "display_name": "Maya",
        "grant": query["scope"].split(","),
    } | form
    answer = world.http.post(AUTHORIZE, params=query, data=form)
    assert answer.status_code == 303, answer.text
    parts = urlsplit(answer.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == query["redirect_uri"]
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


def test_the_consent_page_says_what_it_is_and_needs_no_script_and_no_inline_style(world: Client) -> None:
    world.person("Ann <b>")
    page = world.http.get(AUTHORIZE, params=QUERY)
    assert page.status_code == 200
    assert "This is the built-in simulator, not TikTok" in page.text
    assert "Ann &lt;b&gt;" in page.text
    assert "<script" not in page.text and "style=" not in page.text and "<style" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "form-action 'self'" in policy
    (sheet,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page.text)
    css = httpx2.get(f"http://127.0.0.1:{world.port}{sheet}", trust_env=False)
    assert css.status_code == 200 and css.headers["content-type"].startswith("text/css")


def test_an_approval_gives_the_ticked_scopes_only_and_a_code_that_must_be_decoded(world: Client) -> None:
    back = decide(world, QUERY, grant=["video.publish", "user.info.stats"])
    assert back["scopes"] == "video.publish" and back["state"] == "s-1"
    assert "*!" in back["code"]
    tokens = world.token(code=back["code"]).json()
    assert tokens["scope"] == "video.publish"
    assert (tokens["expires_in"], tokens["refresh_expires_in"]) == (7200, 15_552_000)


def test_a_known_creator_can_be_picked_again(world: Client) -> None:
    first = world.token(code=decide(world, QUERY)["code"]).json()
    (number,) = re.findall(r'name="creator" value="(\d+)"', world.http.get(AUTHORIZE, params=QUERY).text)
    again = world.token(code=decide(world, QUERY, creator=number, display_name="")["code"]).json()
    assert again["open_id"] == first["open_id"]
    assert again["access_token"] != first["access_token"]


def test_a_denial_returns_the_reason_and_makes_nobody(world: Client) -> None:
    back = decide(world, QUERY, decision="deny")
    assert back["error"] == "access_denied" and back["state"] == "s-1" and "code" not in back
    assert "@maya" not in world.http.get("/").text


def test_nothing_ticked_or_no_name_shows_the_form_again(world: Client) -> None:
    form = {"decision": "approve", "creator": "new", "display_name": " ", "grant": "video.publish"}
    assert world.http.post(AUTHORIZE, params=QUERY, data=form).status_code == 400
    form = {"decision": "approve", "creator": "new", "display_name": "Maya"}
    assert world.http.post(AUTHORIZE, params=QUERY, data=form).status_code == 400
    assert (
        world.http.post(
            AUTHORIZE, params=QUERY, data=form | {"creator": "99", "display_name": "", "grant": "video.list"}
        ).status_code
        == 400
    )
    assert "@maya" not in world.http.get("/").text


@pytest.mark.parametrize(
    "change",
    [
        {"client_key": "nobody"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": REDIRECT + "?next=1"},
        {"redirect_uri": REDIRECT + "#part"},
        {"redirect_uri": "http://localhost.evil.example/"},
        {"redirect_uri": "http://localhost/" + "a" * 500},
        {"redirect_uri": ""},
    ],
)
def test_a_wrong_client_or_return_address_is_shown_and_never_followed(
    world: Client, change: dict[str, str]
) -> None:
    for answer in (
        world.http.get(AUTHORIZE, params=QUERY | change),
        world.http.post(AUTHORIZE, params=QUERY | change, data={"decision": "approve"}),
    ):
        assert answer.status_code == 400 and "location" not in answer.headers


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"scope": "video.everything"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"state": ""}, "invalid_request"),
        ({"code_challenge": CHALLENGE, "code_challenge_method": "plain"}, "invalid_request"),
        (
            {
                "code_challenge": "70JQ7C5vGYAnkdL_3X8alryOD51jVCvj5B-pif_6WK0",
                "code_challenge_method": "S256",
            },
            "invalid_request",
        ),
    ],
)
def test_a_wrong_request_goes_back_with_its_error(world: Client, change: dict[str, str], error: str) -> None:
    answer = world.http.get(AUTHORIZE, params=QUERY | change)
    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.headers["location"]).query)["error"] == [error]


def test_a_desktop_app_must_bring_a_hex_challenge_and_its_verifier(world: Client) -> None:
    world.apps(appType="desktop")
    answer = world.http.get(AUTHORIZE, params=QUERY)
    assert parse_qs(urlsplit(answer.headers["location"]).query)["error"] == ["invalid_request"]
    asked = QUERY | {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert world.http.get(AUTHORIZE, params=asked | {"redirect_uri": "http://localhost/x"}).status_code == 400
    code = decide(world, asked)["code"]
    assert world.token(code=code).json()["error"] == "invalid_request"
    assert world.token(code=code, code_verifier="x" * 50).json()["error"] == "invalid_request"
    assert world.token(code=code, code_verifier=VERIFIER).json()["token_type"] == "Bearer"
    assert hashlib.sha256(VERIFIER.encode()).hexdigest() == CHALLENGE


def test_an_app_with_registered_addresses_returns_to_exactly_those(world: Client) -> None:
    world.apps(clientKey="web-app", clientSecret="x", redirectUris=["https://studio.example/back/"])
    asked = QUERY | {"client_key": "web-app"}
    for wrong in (
        "https://studio.example/back",
        "http://studio.example/back/",
        "https://studio.example/back/x",
    ):
        assert world.http.get(AUTHORIZE, params=asked | {"redirect_uri": wrong}).status_code == 400
    right = asked | {"redirect_uri": "https://studio.example/back/"}
    assert world.http.get(AUTHORIZE, params=right).status_code == 200
    world.apps(clientKey="web-app", appType="desktop", redirectUris=["http://localhost:*/back/"])
    pkce = asked | {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert (
        world.http.get(AUTHORIZE, params=pkce | {"redirect_uri": "http://localhost:81/back/"}).status_code
        == 200
    )
    assert (
        world.http.get(AUTHORIZE, params=pkce | {"redirect_uri": "http://localhost:81/back"}).status_code
        == 400
    )


def test_a_code_works_once_for_ten_minutes_and_for_its_own_return_address(world: Client) -> None:
    code = decide(world, QUERY)["code"]
    assert world.token(code=code, redirect_uri=REDIRECT + "/").json()["error"] == "invalid_request"
    assert "access_token" in world.token(code=code).json()
    again = world.token(code=code)
    assert again.status_code == 200 and again.json()["error"] == "invalid_grant"
    assert {"error", "error_description", "log_id"} == set(again.json())
    old = decide(world, QUERY)["code"]
    world.later(601)
    assert world.token(code=old).json()["error"] == "invalid_grant"


def test_the_token_endpoint_takes_a_form_from_a_known_client_only(world: Client) -> None:
    path = "/tiktok/v2/oauth/token/"
    answer = world.http.post(path, json=CLIENT | {"grant_type": "refresh_token"})
    assert answer.status_code == 200 and answer.json()["error"] == "invalid_request"
    assert world.token(client_secret="wrong", code="x").json()["error"] == "invalid_client"
    assert world.token(client_key="wrong", code="x").json()["error"] == "invalid_client"
    assert world.token(grant_type="password").json()["error"] == "unsupported_grant_type"
    assert world.http.post(path[:-1], data=CLIENT).status_code == 404


def test_a_refresh_rotates_and_the_old_token_is_dead_at_once(world: Client) -> None:
    maya = world.person()
    fresh = world.refresh(maya.tokens["refresh_token"]).json()
    assert fresh["open_id"] == maya.tokens["open_id"]
    assert fresh["refresh_token"] != maya.tokens["refresh_token"]
    assert world.refresh(maya.tokens["refresh_token"]).json()["error"] == "invalid_grant"
    world.later(15_552_001)
    assert world.refresh(fresh["refresh_token"]).json()["error"] == "invalid_grant"


def test_of_two_refreshes_at_once_exactly_one_gets_a_pair(world: Client) -> None:
    maya = world.person()
    gate = threading.Barrier(4)

    def one(_: int) -> bool:
        gate.wait(10)
        return "access_token" in world.refresh(maya.tokens["refresh_token"]).json()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, range(4))) == 1


def test_an_unknown_or_expired_bearer_is_told_so_in_the_envelope(world: Client) -> None:
    maya = world.person()
    nobody = world.http.post(
        "/tiktok/v2/post/publish/creator_info/query/", headers={"authorization": "Bearer act.x"}
    )
    world.later(7200)
    for answer in (nobody, maya.creator_info(), world.http.get("/tiktok/v2/user/info/?fields=open_id")):
        assert answer.status_code == 401
        assert answer.json()["data"] == {}
        assert answer.json()["error"]["code"] == "access_token_invalid"
        assert answer.json()["error"]["log_id"]


def test_lifetimes_can_be_those_of_before_november(world: Client) -> None:
    world.apps(accessLifetimeS=86_400, refreshLifetimeS=31_536_000)
    maya = world.person()
    assert (maya.tokens["expires_in"], maya.tokens["refresh_expires_in"]) == (86_400, 31_536_000)
    world.later(80_000)
    assert maya.creator_info().status_code == 200


def test_a_missing_scope_is_told_so(world: Client) -> None:
    reader = world.person(scopes=["user.info.basic", "video.list"])
    for answer in (reader.creator_info(), reader.init(100), reader.draft(100), reader.status("v_pub_file~x")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "scope_not_authorized")
    assert reader.get("/tiktok/v2/user/info/", params={"fields": "username"}).status_code == 401
    assert reader.get("/tiktok/v2/user/info/", params={"fields": "display_name"}).status_code == 200


def test_revoking_kills_both_tokens_and_what_is_on_its_way(world: Client, clip: bytes) -> None:
    made = world.http.post("/accounts", json={"platform": "tiktok", "displayName": "Ann"}).json()
    ann = world.person("Ben")
    waiting = ann.init(len(clip)).json()["data"]
    processing = ann.posted(clip)
    done = ann.posted(clip)
    world.later(1.1)
    assert ann.state(done)["status"] == "PUBLISH_COMPLETE"
    moving = ann.posted(clip)
    answer = world.http.post("/tiktok/v2/oauth/revoke/", data=CLIENT | {"token": ann.tokens["access_token"]})
    assert answer.status_code == 200 and answer.json() == {}
    assert ann.creator_info().status_code == 401
    assert world.refresh(ann.tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert world.put(waiting["upload_url"], clip).status_code == 403
    assert [post["publishId"] for post in world.posts] == [processing, done]
    (gone,) = world.ledger(all=1)["rejected"]
    assert (gone["publishId"], gone["reason"]) == (moving, "auth_removed")
    assert "access_token" in world.token(code=made["code"]).json()


def test_the_same_name_twice_is_two_people(world: Client) -> None:
    one, two = world.person("Maya"), world.person("Maya")
    assert one.username != two.username
    assert one.tokens["open_id"] != two.tokens["open_id"]
