"""Signing in to the simulated Instagram by both ways, and the life of its tokens (section 9, items 1 and 2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from instagram_kit import (
    DAY_S,
    REDIRECT,
    WORDS,
    Account,
    V,
    account,
    code_of,
    error,
    facebook,
    lengthen,
    pages,
    person,
    refresh,
    served,
    trade,
)
from sandbox_kit import Client

DIALOGS = {
    "instagram": "/instagram/auth/oauth/authorize",
    "facebook": f"/instagram/facebook_auth/{V}/dialog/oauth",
}
SCOPES = {
    "instagram": "instagram_business_basic,instagram_business_content_publish",
    "facebook": "instagram_basic,instagram_content_publish,pages_show_list,pages_read_engagement",
}
LOGINS = pytest.mark.parametrize("login", ["instagram", "facebook"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One world for these tests: each makes accounts of its own."""
    with served(tmp_path_factory.mktemp("world")) as client:
        yield client


def dialog(world: Client, login: str, method: str = "GET", **changes: str) -> httpx2.Response:
    query = {
        "client_id": "sandbox",
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": SCOPES[login],
        "state": "the state",
    } | changes
    form = None
    if method == "POST":
        ticked = SCOPES[login].split(",")
        form = {"creator": "new", "display_name": "Studio", "decision": "approve", "grant": ticked}
    return world.http.request(method, DIALOGS[login], params=query, data=form)


def brought(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 303, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


@LOGINS
def test_the_page_lists_what_is_asked_for_and_brings_back_a_code(login: str, world: Client) -> None:
    page = dialog(world, login)
    assert page.status_code == 200
    assert re.findall(r'name="grant" value="([^"]+)"', page.text) == SCOPES[login].split(",")
    answer = dialog(world, login, "POST")
    assert answer.headers["location"].startswith(f"{REDIRECT}?code=")
    assert answer.headers["location"].endswith("#_")
    assert brought(answer)["state"] == "the state"


@LOGINS
@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "somebody"},
        {"redirect_uri": "https://elsewhere.example/back"},
        {"response_type": "token"},
        {"scope": "business_basic"},
        {"scope": ""},
        {"state": ""},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_question_is_shown_and_never_followed(
    wrong: dict[str, str], login: str, world: Client
) -> None:
    for method in ("GET", "POST"):
        assert dialog(world, login, method, **wrong).status_code == 400


def test_each_login_knows_its_own_scopes_only(world: Client) -> None:
    assert dialog(world, "instagram", scope=SCOPES["facebook"]).status_code == 400
    assert dialog(world, "facebook", scope=SCOPES["instagram"]).status_code == 400


def test_the_address_to_return_to_is_compared_to_the_letter(world: Client) -> None:
    world.apps(clientKey="strict", clientSecret="s", redirectUris=["https://a.example/back/"])
    for address, fine in (("https://a.example/back/", True), ("https://a.example/back", False)):
        answer = dialog(world, "instagram", client_id="strict", redirect_uri=address)
        assert (answer.status_code == 200) is fine


def test_a_person_who_denies_comes_back_with_the_reason(world: Client) -> None:
    query = {
        "client_id": "sandbox",
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": SCOPES["instagram"],
        "state": "s",
    }
    answer = world.http.post(DIALOGS["instagram"], params=query, data={"decision": "deny"})
    found = brought(answer)
    assert (found["error"], found["error_reason"]) == ("access_denied", "user_denied")
    assert "code" not in found


# Row 2


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_code_is_traded_in_either_of_two_shapes(wrapped: bool, world: Client) -> None:
    _, code = code_of(world, wrapped=wrapped)
    found = trade(world, code).json()
    if wrapped:
        (found,) = found["data"]
        assert isinstance(found["permissions"], str) and isinstance(found["user_id"], str)
    else:
        assert isinstance(found["permissions"], list) and isinstance(found["user_id"], int)
    assert found["access_token"].startswith("IGAA")


def test_a_code_works_once_for_an_hour_and_for_its_own_address(world: Client) -> None:
    _, code = code_of(world)
    assert trade(world, code).status_code == 200
    again = trade(world, code)
    assert (again.status_code, again.json()) == (
        400,
        {
            "error_type": "OAuthException",
            "code": 400,
            "error_message": "This authorization code has been used",
        },
    )
    _, old = code_of(world)
    world.later(3601)
    assert "was not found" in trade(world, old).json()["error_message"]
    code = brought(dialog(world, "instagram", "POST"))["code"]
    assert "redirect_uri" in trade(world, code, redirect_uri=REDIRECT + "/").json()["error_message"]
    assert trade(world, code).status_code == 200, "a refusal uses nothing up"


@pytest.mark.parametrize(
    "wrong", [{"client_secret": "x"}, {"client_id": "x"}, {"grant_type": "x"}, {"code": "made-up"}]
)
def test_a_wrong_trade_is_refused_in_the_form_of_its_own(wrong: dict[str, str], world: Client) -> None:
    _, code = code_of(world)
    answer = trade(world, **({"code": code} | wrong))
    assert answer.status_code == 400 and answer.json()["error_type"] == "OAuthException"


# Tokens of Instagram Login


def test_a_short_token_lives_an_hour_and_is_exchanged_once_it_is_shown_with_the_secret(
    world: Client,
) -> None:
    _, code = code_of(world, wrapped=False)
    short = trade(world, code).json()["access_token"]
    assert error(lengthen(world, short, "wrong"))[0] == 101
    long = lengthen(world, short).json()
    assert long["token_type"] == "bearer" and 59 * DAY_S < long["expires_in"] <= 60 * DAY_S
    assert error(lengthen(world, long["access_token"]))[0] == 100
    world.later(3601)
    assert error(lengthen(world, short)) == (190, 463)


def test_a_long_token_is_renewed_from_its_second_day_to_its_last(world: Client) -> None:
    who = account(world)
    assert error(refresh(world, who.token))[0] == 100, "younger than a day"
    world.later(DAY_S)
    fresh = refresh(world, who.token).json()
    assert fresh["access_token"] != who.token and fresh["expires_in"] > 59 * DAY_S
    world.later(59.9 * DAY_S)
    assert error(who.get("me")) == (190, 463)
    assert error(refresh(world, who.token)) == (190, 463), "what has run out is not renewed"
    assert who.call("GET", "me", fresh["access_token"]).status_code == 200


def test_a_token_that_was_ended_before_its_time_may_be_renewed_once_more(world: Client) -> None:
    who = account(world)
    world.later(2 * DAY_S)
    world.http.post(
        "/faults", json={"fault": "token_expired", "platform": "instagram", "account": who.username}
    )
    assert error(who.get("me")) == (190, 467)
    assert who.call("GET", "me", refresh(world, who.token).json()["access_token"]).status_code == 200


@pytest.mark.parametrize("subcode", [458, 459, 460, 464])
def test_a_connection_that_ended_refuses_everything(subcode: int, world: Client) -> None:
    who = account(world)
    world.later(2 * DAY_S)
    who.change(dead=subcode)
    assert error(who.get("me")) == error(refresh(world, who.token)) == (190, subcode)


@pytest.mark.parametrize("token", ["", "IGAAmade-up"])
def test_no_token_or_a_made_up_one_is_refused(token: str, world: Client) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = world.http.get(f"/instagram/api/{V}/me", headers=headers)
    assert error(answer) == (190, None)


def test_each_call_needs_its_scope(world: Client) -> None:
    reads = account(world, scopes=["instagram_business_basic"])
    assert reads.get("me", fields="user_id,username,account_type").json()["account_type"] == "BUSINESS"
    assert error(reads.create(**WORDS)) == (10, None)
    assert error(reads.get(f"{reads.id}/insights", metric="views")) == (10, None)
    posts = account(world, scopes=["instagram_business_content_publish"])
    assert error(posts.get("me")) == (10, None)
    assert posts.create(**WORDS).status_code == 200


def test_a_token_works_on_its_own_host_only(world: Client) -> None:
    who = account(world)
    _, user = person(world)
    (page,) = pages(world, user)
    assert error(facebook(world, who.id, who.token)) == (190, None)
    assert error(who.call("GET", "me", page["access_token"])) == (190, None)


def test_an_unknown_version_or_address_is_refused(world: Client) -> None:
    who = account(world)
    headers = {"authorization": f"Bearer {who.token}"}
    assert error(world.http.get("/instagram/api/latest/me", headers=headers)) == (100, 33)
    assert error(world.http.get(f"/instagram/api/{V}/me/nothing", headers=headers)) == (100, 33)
    assert error(world.http.delete(f"/instagram/api/{V}/me", headers=headers))[0] == 100


# Facebook Login


def test_a_person_sees_the_pages_they_manage_with_the_accounts_behind_them(world: Client) -> None:
    username, user = person(world)
    code_of(world, owner=username, displayName="Second")
    code_of(world, owner=username, displayName="Third", page=False)
    found = pages(world, user)
    assert [page["name"] for page in found] == ["Studio One (Page)", "Second (Page)", "Third (Page)"]
    assert ["instagram_business_account" in page for page in found] == [True, True, False]
    assert all("CREATE_CONTENT" in page["tasks"] for page in found)
    who = Account(
        world,
        username,
        found[0]["instagram_business_account"]["id"],
        found[0]["access_token"],
        "/instagram/facebook_api",
    )
    me = who.get(who.id, fields="id,username").json()
    assert me == {"id": who.id, "username": username}
    assert set(who.made(**WORDS)) == {"id", "uri"}
    assert error(facebook(world, who.id, user)) == (190, None), "that is no account's token"


def test_a_page_token_has_no_end_and_the_persons_has(world: Client) -> None:
    _, user = person(world)
    (page,) = pages(world, user)
    world.later(61 * DAY_S)
    account_id = page["instagram_business_account"]["id"]
    assert facebook(world, account_id, page["access_token"]).status_code == 200
    assert error(facebook(world, "me/accounts", user)) == (190, 463)
    exchange = {
        "client_id": "sandbox",
        "client_secret": "sandbox-secret",
        "grant_type": "fb_exchange_token",
        "fb_exchange_token": user,
    }
    assert error(facebook(world, "oauth/access_token", **exchange)) == (190, 463)


def test_what_ends_the_accounts_token_leaves_the_persons_alive(world: Client) -> None:
    username, user = person(world)
    (page,) = pages(world, user)
    world.http.post("/faults", json={"fault": "token_expired", "platform": "instagram", "account": username})
    account_id = page["instagram_business_account"]["id"]
    assert error(facebook(world, account_id, page["access_token"])) == (190, 467)
    (again,) = pages(world, user)
    assert facebook(world, account_id, again["access_token"]).status_code == 200


def test_permissions_say_what_was_granted_and_what_declined(world: Client) -> None:
    _, user = person(world, scopes=["instagram_basic", "pages_show_list"])
    found = facebook(world, "me/permissions", user).json()["data"]
    granted = {each["permission"] for each in found if each["status"] == "granted"}
    assert granted == {"instagram_basic", "pages_show_list"}
    assert {each["status"] for each in found} == {"granted", "declined"}
    (page,) = pages(world, user)
    account_id = page["instagram_business_account"]["id"]
    answer = facebook(world, account_id, page["access_token"])
    assert error(answer) == (200, None) and answer.status_code == 403


def test_a_facebook_code_works_once_with_the_right_secret(world: Client) -> None:
    _, code = code_of(world)
    asked = {"client_id": "sandbox", "redirect_uri": REDIRECT, "code": code}
    assert error(facebook(world, "oauth/access_token", **asked, client_secret="wrong")) == (101, None)
    right = asked | {"client_secret": "sandbox-secret"}
    assert facebook(world, "oauth/access_token", **right).status_code == 200
    assert error(facebook(world, "oauth/access_token", **right)) == (100, 36009)
