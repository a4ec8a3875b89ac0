"""YouTube's sheet, section 7, items 1 to 3: the consent page, the token rules, and tokens that do not work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from sandbox_kit import Client
from youtube_kit import (
    CLIENT,
    READ,
    REDIRECT,
    REPORTS,
    UPLOAD,
    Channel,
    a_channel,
    challenge,
    exchange,
    reason,
    refresh,
    still,
)

VERIFIER = "v" * 43
ASKED = {
    "client_id": "sandbox",
    "redirect_uri": REDIRECT,
    "response_type": "code",
    "scope": f"{UPLOAD} {READ} {REPORTS}",
    "access_type": "offline",
    "prompt": "consent",
    "state": "a state",
    "code_challenge": challenge(VERIFIER),
    "code_challenge_method": "S256",
}
GRANTED = [("grant", UPLOAD), ("grant", READ), ("grant", REPORTS)]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, servers: Any) -> Iterator[Client]:
    with still(tmp_path_factory.mktemp("quiet"), servers.stop) as world:
        yield world


def address(**changes: str | None) -> str:
    query = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
    return f"/youtube/auth/o/oauth2/v2/auth?{urlencode(query)}"


def page(world: Client, **changes: str | None) -> httpx2.Response:
    return world.http.get(address(**changes))


def decided(world: Client, *fields: tuple[str, str], **changes: str | None) -> httpx2.Response:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return world.http.post(address(**changes), content=urlencode(fields), headers=headers)


def approved(world: Client, *fields: tuple[str, str], **changes: str | None) -> dict[str, str]:
    """What the browser brings back after the person said yes."""
    sent = decided(
        world, *(fields or (("display_name", "Maya Makes"), *GRANTED)), ("decision", "approve"), **changes
    )
    assert sent.status_code == 303, sent.text
    back = urlsplit(sent.headers["location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == REDIRECT
    return {name: value[0] for name, value in parse_qs(back.query).items()}


def said(answer: httpx2.Response) -> tuple[int, str]:
    found = answer.json()
    assert set(found) == {"error", "error_description"}
    return answer.status_code, found["error"]


def test_the_page_offers_accounts_channels_and_every_scope(world: Client) -> None:
    a_channel(world, "Maya Makes", googleAccount="maya@accounts.example")
    a_channel(world, "Knots", googleAccount="maya@accounts.example")
    a_channel(world, "Leo")
    shown = page(world).text
    assert shown.count("Signed in as") == 2 and "maya@accounts.example" in shown
    assert all(name in shown for name in ("Maya Makes", "Knots", "Leo", "A new channel"))
    assert all(f'value="{scope}"' in shown for scope in (UPLOAD, READ, REPORTS))


def test_the_person_comes_back_with_a_code_the_scopes_and_the_state(world: Client) -> None:
    back = approved(world)
    assert set(back) == {"code", "scope", "state"} and back["state"] == "a state"
    assert back["scope"].split() == [UPLOAD, READ, REPORTS]
    tokens = exchange(world, back["code"], code_verifier=VERIFIER).json()
    assert set(tokens) == {"access_token", "expires_in", "refresh_token", "scope", "token_type"}
    assert (tokens["expires_in"], tokens["token_type"]) == (3599, "Bearer")


def test_an_unticked_scope_is_not_granted(world: Client) -> None:
    back = approved(world, ("display_name", "Maya"), ("grant", READ))
    tokens = exchange(world, back["code"], code_verifier=VERIFIER).json()
    assert back["scope"] == tokens["scope"] == READ
    channel = Channel(world, "maya", tokens)
    assert channel.get("channels", part="snippet", mine="true").status_code == 200
    assert reason(channel.start(1000)) == (403, "insufficientPermissions")


def test_somebody_who_denies_comes_back_without_a_code(quiet: Client) -> None:
    sent = decided(quiet, ("display_name", "Maya"), *GRANTED, ("decision", "deny"))
    back = parse_qs(urlsplit(sent.headers["location"]).query)
    assert back == {"error": ["access_denied"], "state": ["a state"]}


@pytest.mark.parametrize(
    "fields",
    [
        (("display_name", "Maya"),),
        (("channel", "new"), *GRANTED),
        (("channel", "4711"), *GRANTED),
        (("display_name", "Maya"), ("google_account", "no sign-in"), *GRANTED),
        GRANTED,
    ],
)
def test_a_page_that_was_filled_in_badly_is_shown_again(quiet: Client, fields: Any) -> None:
    shown = decided(quiet, *fields, ("decision", "approve"))
    assert shown.status_code == 400 and 'role="alert"' in shown.text


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": f"{REDIRECT}#fragment"},
        {"redirect_uri": None},
        {"response_type": "token"},
        {"scope": "https://www.googleapis.com/auth/drive"},
        {"scope": None},
        {"access_type": "forever"},
        {"prompt": "please"},
        {"code_challenge_method": "plain"},
        {"code_challenge": "0" * 64},
    ],
)
def test_a_wrong_address_is_shown_and_never_followed(quiet: Client, changes: dict[str, str | None]) -> None:
    for answer in (page(quiet, **changes), decided(quiet, *GRANTED, ("decision", "approve"), **changes)):
        assert answer.status_code == 400 and "location" not in answer.headers


def test_a_registered_return_address_must_be_met_letter_by_letter(world: Client) -> None:
    world.apps(redirectUris=[REDIRECT])
    assert page(world).status_code == 200
    assert page(world, redirect_uri=f"{REDIRECT}/").status_code == 400
    code = approved(world)["code"]
    other = exchange(world, code, code_verifier=VERIFIER, redirect_uri=f"{REDIRECT}/")
    assert said(other) == (400, "redirect_uri_mismatch")


def test_a_refresh_token_comes_for_offline_access_and_a_first_or_repeated_consent_only(world: Client) -> None:
    def renewable(*fields: tuple[str, str], **changes: str | None) -> bool:
        return (
            "refresh_token"
            in exchange(world, approved(world, *fields, **changes)["code"], code_verifier=VERIFIER).json()
        )

    assert not renewable(("display_name", "Ann"), *GRANTED, access_type=None)
    assert renewable(("display_name", "Maya"), *GRANTED, prompt=None)
    again = (("channel", "2"), *GRANTED)
    assert not renewable(*again, prompt=None)
    assert not renewable(*again, prompt="select_account")
    assert renewable(*again, prompt="consent select_account")


def test_scopes_of_an_earlier_consent_may_be_kept(world: Client) -> None:
    first = approved(world, ("display_name", "Maya"), ("grant", READ))
    exchange(world, first["code"], code_verifier=VERIFIER)
    fields = (("channel", "1"), ("grant", UPLOAD))
    assert approved(world, *fields)["scope"] == UPLOAD
    assert set(approved(world, *fields, include_granted_scopes="true")["scope"].split()) == {UPLOAD, READ}


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ({"code_verifier": "w" * 43}, (400, "invalid_grant")),
        ({"code_verifier": ""}, (400, "invalid_grant")),
        ({"code_verifier": VERIFIER, "code": "4/nobodys"}, (400, "invalid_grant")),
        ({"code_verifier": VERIFIER, "client_secret": "false"}, (401, "invalid_client")),
        ({"code_verifier": VERIFIER, "client_id": "nobody"}, (401, "invalid_client")),
        ({"code_verifier": VERIFIER, "grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"code_verifier": VERIFIER, "redirect_uri": ""}, (400, "invalid_request")),
    ],
)
def test_a_code_is_given_for_the_right_words_only(
    quiet: Client, form: dict[str, str], answer: tuple[int, str]
) -> None:
    code = approved(quiet)["code"]
    assert said(exchange(quiet, **({"code": code} | form))) == answer
    assert exchange(quiet, code, code_verifier=VERIFIER).status_code == 200, (
        "and a failed try uses nothing up"
    )


def test_a_code_works_once_and_for_ten_minutes(world: Client) -> None:
    code = approved(world)["code"]
    assert exchange(world, code, code_verifier=VERIFIER).status_code == 200
    assert said(exchange(world, code, code_verifier=VERIFIER)) == (400, "invalid_grant")
    late = approved(world)["code"]
    world.later(601)
    assert said(exchange(world, late, code_verifier=VERIFIER)) == (400, "invalid_grant")


def test_the_token_endpoint_takes_a_form_and_nothing_else(quiet: Client) -> None:
    body = CLIENT | {"grant_type": "refresh_token", "refresh_token": "1//x"}
    assert said(quiet.http.post("/youtube/token/token", json=body)) == (400, "invalid_request")
    twice = urlencode([*body.items(), ("refresh_token", "1//y")])
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = quiet.http.post("/youtube/token/token", content=twice, headers=headers)
    assert said(answer) == (400, "invalid_request")
    assert quiet.http.get("/youtube/token/token").status_code == 405


def test_a_refresh_brings_an_access_token_and_no_refresh_token(world: Client) -> None:
    maya = a_channel(world)
    fresh = refresh(world, maya.tokens["refresh_token"]).json()
    assert set(fresh) == {"access_token", "expires_in", "scope", "token_type"}
    for token in (maya.tokens["access_token"], fresh["access_token"]):
        live = Channel(world, maya.username, {"access_token": token})
        assert live.get("channels", part="snippet", mine="true").status_code == 200


def test_an_access_token_ends_after_its_time(world: Client) -> None:
    world.apps(tokenLifetimeS=5)
    maya = a_channel(world)
    assert maya.tokens["expires_in"] == 5
    world.later(6)
    refused = maya.get("channels", part="snippet", mine="true")
    assert reason(refused) == (401, "authError") and refused.json()["error"]["status"] == "UNAUTHENTICATED"


def test_a_refresh_token_may_be_killed_and_dies_unused_after_six_months(world: Client) -> None:
    maya = a_channel(world)
    token = maya.tokens["refresh_token"]
    assert refresh(world, token, client_secret="x").status_code == 401
    told = {"platform": "youtube", "username": maya.username, "refreshDead": True}
    world.http.post("/accounts", json=told)
    assert said(refresh(world, token)) == (400, "invalid_grant")
    world.http.post("/accounts", json=told | {"refreshDead": False})
    world.later(179 * 86_400)
    assert refresh(world, token).status_code == 200
    world.later(179 * 86_400)
    assert refresh(world, token).status_code == 200, "each use counts anew"
    world.later(181 * 86_400)
    assert said(refresh(world, token)) == (400, "invalid_grant")


def test_a_project_in_testing_gives_permissions_of_seven_days(world: Client) -> None:
    world.apps(testing=True)
    maya = a_channel(world)
    assert maya.tokens["refresh_token_expires_in"] == 604_800
    world.later(6 * 86_400)
    assert refresh(world, maya.tokens["refresh_token"]).status_code == 200
    world.later(86_400 + 1)
    assert said(refresh(world, maya.tokens["refresh_token"])) == (400, "invalid_grant")


def test_the_hundred_and_first_refresh_token_kills_the_oldest_without_a_word(world: Client) -> None:
    tokens = []
    approved(world)
    for _ in range(101):
        code = approved(world, ("channel", "1"), *GRANTED)["code"]
        tokens.append(exchange(world, code, code_verifier=VERIFIER).json()["refresh_token"])
    assert said(refresh(world, tokens[0])) == (400, "invalid_grant")
    assert [refresh(world, token).status_code for token in (tokens[1], tokens[-1])] == [200, 200]


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_revoking_either_token_ends_all_that_the_sign_in_allowed(world: Client, which: str) -> None:
    maya = a_channel(world, "Maya", googleAccount="maya@accounts.example")
    knots = a_channel(world, "Knots", googleAccount="maya@accounts.example")
    leo = a_channel(world, "Leo")

    def revoked() -> httpx2.Response:
        return world.http.post("/youtube/token/revoke", data={"token": maya.tokens[which]})

    assert revoked().status_code == 200
    for channel in (maya, knots):
        assert reason(channel.get("channels", part="snippet", mine="true")) == (401, "authError")
        assert said(refresh(world, channel.tokens["refresh_token"])) == (400, "invalid_grant")
    assert leo.get("channels", part="snippet", mine="true").status_code == 200
    assert said(revoked()) == (400, "invalid_token")


@pytest.mark.parametrize("header", [None, "Bearer ya29.no", "Basic x"])
def test_a_call_without_a_token_that_works_is_refused_in_googles_shape(
    quiet: Client, header: str | None
) -> None:
    headers = {"authorization": header} if header else {}
    path = "/youtube/api/youtube/v3/channels"
    answer = quiet.http.get(path, params={"part": "id", "mine": "true"}, headers=headers)
    assert reason(answer) == (401, "authError")


def test_a_tiktok_token_is_nobodys_here(world: Client) -> None:
    stranger = Channel(world, "x", world.person("Ann").tokens)
    assert reason(stranger.get("channels", part="id", mine="true")) == (401, "authError")


def test_an_unknown_address_answers_in_the_same_shape(quiet: Client) -> None:
    assert reason(quiet.http.get("/youtube/api/youtube/v4/videos")) == (404, "notFound")
