"""Connecting accounts by both ways of signing in, renewing them, and what may go wrong on the way."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from instagram_world import Account, Watch, World

from app import http
from app.errors import HouseError, NotYet, Permanent, Refused, Retryable
from app.platforms import Grant, Tokens, instagram
from app.platforms.instagram import facebook_login

pytestmark = pytest.mark.anyio
DAY_S = 24 * 3600.0
LOGINS = pytest.mark.parametrize("login", ["instagram", "facebook"])


async def consent(world: World, *grants: str, decision: str = "approve") -> dict[str, str]:
    """A person opens the page that we send them to and presses a button; what their browser brings back."""
    url = instagram.authorize_url(world.app, "the state", "")
    asked = parse_qs(urlsplit(url).query)["scope"][0].split(",")
    ticked = [("grant", scope) for scope in grants or asked]
    form = [("creator", "new"), ("display_name", "Studio One"), ("decision", decision), *ticked]
    answer = await http.request(
        "POST",
        url,
        content=urlencode(form).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status == 303, answer.text
    back = urlsplit(answer.headers["location"])
    assert back.fragment == "_"
    return dict(parse_qsl(back.query))


@LOGINS
async def test_a_person_connects_in_the_browser(login: str, world: World, watch: Watch) -> None:
    world.login = login
    brought = await consent(world)
    assert brought["state"] == "the state"
    # Some hand the fragment on with the code; it is no part of it.
    tokens = await instagram.exchange(world.app, brought["code"] + "#_", "", on_call=watch.on_call)
    assert set(tokens.scopes) == set(instagram.SCOPES)
    (choice,) = await instagram.choices(world.app, tokens, on_call=watch.on_call)
    grant = choice.tokens.grant
    assert grant.facts["login"] == login
    found = await instagram.profile(world.app, grant)
    assert (found.remote_id, found.display_name) == (choice.remote_id, "Studio One") and found.avatar_url
    assert all(call.body_redacted == "" for call in watch.calls if call.step in ("token", "pages", "refresh"))


@LOGINS
async def test_a_person_who_denies_is_told_so(login: str, world: World) -> None:
    world.login = login
    brought = await consent(world, decision="deny")
    error = instagram.declined(brought["error"], brought["error_description"])
    assert (type(error), error.code) == (Refused, "access_denied")
    assert "role on that app" in error.message, "what an app without review may do is said"


async def test_instagrams_tokens_last_sixty_days_and_are_renewed_after_seven(world: World) -> None:
    account = await world.connect()
    tokens = account.tokens
    assert tokens.access_token == tokens.refresh_token
    assert tokens.access_expires_in_s == tokens.refresh_expires_in_s == 5_183_944
    assert tokens.renew_in_s == 7 * DAY_S
    assert tokens.facts["scoped_id"] != tokens.remote_id


@pytest.mark.parametrize("wrapped", [True, False])
async def test_both_shapes_of_the_token_answer_are_read(wrapped: bool, world: World) -> None:
    account = await world.connect(wrapped=wrapped)
    assert set(account.tokens.scopes) == set(instagram.SCOPES)
    assert account.tokens.remote_id.startswith("17841")


@LOGINS
async def test_boxes_that_were_unticked_are_seen(login: str, world: World) -> None:
    world.login = login
    few = {
        "instagram": ("instagram_business_basic",),
        "facebook": ("instagram_basic", "pages_show_list", "instagram_content_publish"),
    }[login]
    brought = await consent(world, *few)
    tokens = await instagram.exchange(world.app, brought["code"], "")
    # Publishing through a Page needs pages_read_engagement as well, so it does not count as allowed.
    assert tokens.scopes == ("instagram_business_basic",)


@LOGINS
async def test_a_code_works_once_and_for_an_hour(login: str, world: World) -> None:
    world.login = login
    _, code = await world.code()
    await instagram.exchange(world.app, code, "")
    _, old = await world.code()
    world.ahead_s += 3601
    for wrong in (code, old, "made-up"):
        with pytest.raises(Refused) as caught:
            await instagram.exchange(world.app, wrong, "")
        assert caught.value.code == "code_refused", caught.value


@LOGINS
async def test_a_wrong_secret_of_ours_is_the_operators_matter(login: str, world: World) -> None:
    world.login = login
    _, code = await world.code()
    with pytest.raises(Permanent) as caught:
        await instagram.exchange(replace(world.app, client_secret="wrong"), code, "")
    assert caught.value.code == "101" and "operator" in caught.value.message


@LOGINS
@pytest.mark.parametrize("fault", ["drop_after", "error_after", "junk_after"])
async def test_a_code_whose_answer_is_lost_connects_nothing_and_is_not_traded_again(
    fault: str, login: str, world: World, watch: Watch
) -> None:
    world.login = login
    step = {"instagram": "token", "facebook": "facebook_token"}[login]
    _, code = await world.code()
    await world.arm(fault, step)
    with pytest.raises(Refused) as caught:
        await instagram.exchange(world.app, code, "", on_call=watch.on_call)
    assert caught.value.code == "connect_answer_lost" and watch.steps(step) == 1


@pytest.mark.parametrize("step", ["exchange_token", "me"])
async def test_what_follows_the_code_is_asked_again_when_the_answer_is_lost(
    step: str, world: World, watch: Watch
) -> None:
    username, code = await world.code()
    await world.arm("drop_after", step)
    tokens = await instagram.exchange(world.app, code, "", on_call=watch.on_call)
    assert watch.steps(step) == 2
    await instagram.profile(world.app, Account(username, tokens).grant)


async def test_a_personal_account_cannot_be_connected(world: World) -> None:
    _, code = await world.code(accountType="PERSONAL")
    with pytest.raises(Refused) as caught:
        await instagram.exchange(world.app, code, "")
    assert caught.value.code == "personal_account"


async def test_the_consent_page_is_asked_for_each_logins_own_scopes(world: World) -> None:
    world.login = "instagram"
    own = urlsplit(instagram.authorize_url(world.app, "s", "verifier-of-ours"))
    world.login = "facebook"
    other = urlsplit(instagram.authorize_url(world.app, "s", "verifier-of-ours"))
    assert own.path == "/sandbox/instagram/auth/oauth/authorize"
    assert other.path == "/sandbox/instagram/facebook_auth/v26.0/dialog/oauth"
    asked = [set(parse_qs(each.query)["scope"][0].split(",")) for each in (own, other)]
    assert asked[0] == set(instagram.SCOPES)
    assert {"pages_show_list", "pages_read_engagement", "instagram_content_publish"} <= asked[1]
    assert not asked[0] & asked[1] and "verifier-of-ours" not in own.query + other.query


# Accounts behind Pages


async def test_a_person_with_several_pages_picks_among_their_accounts(world: World) -> None:
    world.login = "facebook"
    username, code = await world.code("Owner")
    for name in ("Second", "Third"):
        await world.code(name, owner=username)
    await world.code("Without", owner=username, page=False)
    tokens = await instagram.exchange(world.app, code, "")
    choices = await instagram.choices(world.app, tokens)
    assert [choice.detail for choice in choices] == [
        f"behind the Page {name} (Page)" for name in ("Owner", "Second", "Third")
    ]
    assert len({choice.remote_id for choice in choices}) == len({c.tokens.access_token for c in choices}) == 3
    for choice in choices:
        found = await instagram.profile(world.app, choice.tokens.grant)
        assert (found.remote_id, found.handle) == (choice.remote_id, choice.name)
        assert choice.tokens.access_expires_in_s is None, "a Page token has no end by time"
        assert choice.tokens.refresh_token == tokens.access_token


async def test_more_pages_than_fit_one_answer_are_all_listed(world: World, watch: Watch) -> None:
    world.login = "facebook"
    username, code = await world.code("Owner")
    for number in range(facebook_login.PAGES_AT_ONCE):
        await world.code(f"Page {number}", owner=username)
    tokens = await instagram.exchange(world.app, code, "")
    choices = await instagram.choices(world.app, tokens, on_call=watch.on_call)
    assert len(choices) == facebook_login.PAGES_AT_ONCE + 1 and watch.steps("pages") == 2


async def test_a_person_without_an_account_behind_a_page_is_told_what_to_do(world: World) -> None:
    world.login = "facebook"
    _, code = await world.code(page=False)
    tokens = await instagram.exchange(world.app, code, "")
    with pytest.raises(Refused) as caught:
        await instagram.choices(world.app, tokens)
    assert caught.value.code == "no_accounts" and "Link the account to a Page" in caught.value.message


# Renewing


async def renewed(world: World, account: Account, watch: Watch | None = None) -> Tokens:
    return await instagram.refresh(
        world.app,
        account.grant,
        account.tokens.refresh_token,
        on_call=watch.on_call if watch else None,
    )


@LOGINS
async def test_renewing_gives_sixty_days_more_and_another_token(login: str, world: World) -> None:
    world.login = login
    account = await world.connect()
    world.ahead_s += 30 * DAY_S
    tokens = await renewed(world, account)
    assert tokens.access_token != account.tokens.access_token
    assert tokens.refresh_expires_in_s == 5_183_944
    assert (tokens.remote_id, tokens.scopes) == (account.tokens.remote_id, account.tokens.scopes)
    assert tokens.facts == account.tokens.facts
    world.ahead_s += 50 * DAY_S
    await instagram.profile(world.app, tokens.grant)


@LOGINS
@pytest.mark.parametrize("fault", ["drop_after", "error_after", "junk_after"])
async def test_a_renewal_whose_answer_is_lost_is_asked_for_again(
    fault: str, login: str, world: World, watch: Watch
) -> None:
    world.login = login
    step = {"instagram": "refresh", "facebook": "facebook_token"}[login]
    account = await world.connect()
    world.ahead_s += 8 * DAY_S
    await world.arm(fault, step)
    tokens = await renewed(world, account, watch)
    assert watch.steps(step) == 2
    await instagram.profile(world.app, tokens.grant)
    await world.arm(fault, step, times=2)
    with pytest.raises(Retryable) as caught:
        await renewed(world, account)
    assert caught.value.code == "refresh_answer_lost", "network trouble disconnects nobody"


@pytest.mark.parametrize(("age_s", "renews"), [(DAY_S - 5, False), (DAY_S + 5, True)])
async def test_a_token_is_renewed_from_its_second_day_on(age_s: float, renews: bool, world: World) -> None:
    account = await world.connect()
    world.ahead_s += age_s
    if renews:
        await renewed(world, account)
        return
    with pytest.raises(NotYet) as caught:
        await renewed(world, account)
    assert caught.value.code == "renewal_refused", "it works, so nobody is disconnected"


@LOGINS
@pytest.mark.parametrize("subcode", [458, 459, 460, 464])
async def test_a_connection_that_was_ended_says_so_and_how_to_go_on(
    subcode: int, login: str, world: World
) -> None:
    world.login = login
    account = await world.connect()
    world.ahead_s += 2 * DAY_S
    await world.change(account, dead=subcode)
    for call in (instagram.profile(world.app, account.grant), renewed(world, account)):
        with pytest.raises(HouseError) as caught:
            await call
        assert type(caught.value) is Permanent
        assert str(instagram.verdict(caught.value.code).kind) == "authorisation_lost"
        assert "onnect" in caught.value.message or "Sign in" in caught.value.message


async def test_a_page_that_is_no_longer_the_persons_ends_the_connection(world: World) -> None:
    world.login = "facebook"
    account = await world.connect()
    elsewhere = Grant(
        account.tokens.access_token,
        account.tokens.remote_id,
        account.tokens.scopes,
        {"login": "facebook", "page": "1"},
    )
    with pytest.raises(Permanent) as caught:
        await instagram.refresh(world.app, elsewhere, account.tokens.refresh_token)
    assert caught.value.code == "page_gone"


async def test_revoking_calls_nobody_because_it_would_end_more_than_this_account(
    world: World, watch: Watch
) -> None:
    account = await world.connect()
    await instagram.revoke(world.app, account.grant, on_call=watch.on_call)
    assert watch.calls == []
    await instagram.profile(world.app, account.grant)


@LOGINS
async def test_the_settings_say_by_which_way_new_accounts_come(login: str, world: World) -> None:
    app = instagram.app(world.settings.model_copy(update={"instagram_login": login}))
    assert app.auth_base == app.bases["auth" if login == "instagram" else "facebook_auth"]
    assert app.version == "v26.0" and app.client_key == "sandbox"
