"""Sign-in, limits, refusals and endings as the simulated TikTok gives them (sheet, sections 2, 4.4, 7 and 9)."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from tiktok_makers import Watch, a_media, a_post, an_app
from tiktok_world import World

from app import http
from app.errors import Cancelled, HouseError, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms import App, Grant, Kind, tiktok
from app.sandbox.tiktok import FAIL_REASONS

pytestmark = pytest.mark.anyio
NINE = a_media(9)


async def failure(call: Any) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await call
    return caught.value


# Signing in


async def browse(app: App, verifier: str, **form: Any) -> dict[str, str]:
    """A person opens the consent page and presses a button; gives what the browser brings back."""
    url = tiktok.authorize_url(app, "the state", verifier)
    page = await http.request("GET", url)
    assert page.status == 200, page.text
    fields = {"creator": "new", "display_name": "Maya Makes", "decision": "approve"} | form
    ticked = [
        ("grant", scope) for scope in re.findall(r'name="grant" value="([^"]+)"', html.unescape(page.text))
    ]
    body = urlencode([*fields.items(), *ticked]).encode()
    answer = await http.request(
        "POST", url, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status == 303, answer.text
    back = urlsplit(answer.headers["location"])
    assert back._replace(query="").geturl() == app.redirect_uri
    brought = dict(parse_qsl(back.query, strict_parsing=True))
    assert brought.pop("state") == "the state"
    return brought


@pytest.mark.parametrize("app_type", ["web", "desktop"])
async def test_a_person_connects_in_the_browser(app_type: str, world: World) -> None:
    await world.tell("/apps", {"appType": app_type})
    app = an_app(world.app.api_base, app_type=app_type)
    verifier = tiktok.new_verifier()
    brought = await browse(app, verifier)
    tokens = await tiktok.exchange(app, brought["code"], verifier)
    assert tokens.scopes == tiktok.SCOPES == tuple(brought["scopes"].split(","))
    assert (tokens.access_expires_in_s, tokens.refresh_expires_in_s) == (7200, 15_552_000)
    assert (await tiktok.profile(app, tokens.grant)).display_name == "Maya Makes"

    error = await failure(tiktok.exchange(app, brought["code"], verifier))
    assert (type(error), error.code) == (Refused, "code_refused")


async def test_a_person_who_denies_is_told_so(world: World) -> None:
    brought = await browse(world.app, "", decision="deny")
    error = tiktok.declined(brought["error"], brought["error_description"])
    assert (type(error), error.code) == (Refused, "access_denied")


async def test_a_wrong_verifier_or_return_address_is_refused_at_exchange(world: World) -> None:
    await world.tell("/apps", {"appType": "desktop"})
    app = an_app(world.app.api_base, app_type="desktop")
    code = (await browse(app, tiktok.new_verifier()))["code"]
    error = await failure(tiktok.exchange(app, code, tiktok.new_verifier()))
    assert (type(error), error.code) == (Refused, "connect_refused")
    verifier = tiktok.new_verifier()
    code = (await browse(app, verifier))["code"]
    elsewhere = an_app(app.api_base, app_type="desktop", redirect_uri="http://localhost:3000/elsewhere")
    assert (await failure(tiktok.exchange(elsewhere, code, verifier))).code == "connect_refused"


async def test_a_wrong_secret_is_the_operators_matter(world: World) -> None:
    account = await world.connect()
    wrong = an_app(world.app.api_base, client_secret="wrong")
    error = await failure(tiktok.refresh(wrong, account.grant, account.tokens.refresh_token))
    assert (type(error), error.code) == (Permanent, "invalid_client")
    assert tiktok.verdict(error.code).kind is Kind.PERMANENT


@pytest.mark.parametrize("lifetimes", [(7200, 15_552_000), (86_400, 31_536_000)])
async def test_tokens_live_as_long_as_tiktok_says_and_rotate(
    lifetimes: tuple[int, int], world: World
) -> None:
    await world.tell("/apps", {"accessLifetimeS": lifetimes[0], "refreshLifetimeS": lifetimes[1]})
    first = await world.connect()
    assert (first.tokens.access_expires_in_s, first.tokens.refresh_expires_in_s) == lifetimes
    world.ahead_s += lifetimes[0] + 1
    assert (await failure(tiktok.creator(world.app, first.grant))).code == "access_token_invalid"
    second = await world.fresh(first)
    await tiktok.creator(world.app, second.grant)
    error = await failure(world.fresh(first))
    assert (type(error), error.code) == (Permanent, "invalid_grant")
    assert tiktok.verdict(error.code).kind is Kind.AUTHORISATION_LOST


async def test_a_refresh_whose_request_was_lost_works_at_once_again(world: World) -> None:
    account = await world.connect()
    await world.arm("drop_before", "token")
    await tiktok.creator(world.app, (await world.fresh(account)).grant)


@pytest.mark.parametrize("fault", ["drop_after", "junk_after"])
async def test_a_refresh_whose_answer_was_lost_needs_a_new_connection(fault: str, world: World) -> None:
    account = await world.connect()
    await world.arm(fault, "token")
    error = await failure(world.fresh(account))
    assert (type(error), error.code) == (Permanent, "invalid_grant")


async def test_a_refresh_that_tiktok_cannot_serve_now_is_retried_later(world: World) -> None:
    account = await world.connect()
    await world.arm("error_before", "token")
    error = await failure(world.fresh(account))
    assert (type(error), error.code) == (Retryable, "server_error")
    await world.fresh(account)


async def test_revoking_ends_both_tokens(world: World) -> None:
    account = await world.connect()
    await tiktok.revoke(world.app, account.grant)
    assert (await failure(tiktok.creator(world.app, account.grant))).code == "access_token_invalid"
    assert (await failure(world.fresh(account))).code == "invalid_grant"
    assert (await failure(tiktok.revoke(world.app, account.grant))).code == "access_token_invalid"


async def test_a_post_still_running_at_revocation_ends_for_want_of_permission(
    world: World, watch: Watch
) -> None:
    code = await browse(world.app, "")
    tokens = await tiktok.exchange(world.app, code["code"], "")
    kept = await tiktok.begin(world.app, tokens.grant, a_post(), NINE)
    await tiktok.revoke(world.app, tokens.grant)
    code = await browse(world.app, "", creator="1", display_name="")
    tokens = await tiktok.exchange(world.app, code["code"], "")
    status = await tiktok.status(world.app, tokens.grant, kept, a_post(), NINE)
    assert (status.state, status.reason) == ("failed", "auth_removed")
    assert isinstance(status.error, Permanent)


# Refusals, section 7


async def test_a_dead_token_is_told_by_every_call(world: World, watch: Watch) -> None:
    account = await world.connect()
    kept = await world.begin(account, NINE)
    await world.arm("token_expired")
    for call in (
        tiktok.profile(world.app, account.grant),
        tiktok.creator(world.app, account.grant),
        world.begin(account, NINE),
        world.status(account, kept),
        tiktok.creator(world.app, Grant("act.made-up")),
    ):
        error = await failure(call)
        assert (type(error), error.code) == (Permanent, "access_token_invalid")


async def test_a_scope_the_person_unticked_is_missing(world: World) -> None:
    account = await world.connect(scopes=["user.info.basic"])
    assert set(account.tokens.scopes) < set(tiktok.NEEDED_SCOPES)
    for call in (tiktok.creator(world.app, account.grant), world.begin(account, NINE)):
        error = await failure(call)
        assert (type(error), error.code) == (Permanent, "scope_not_authorized")
    profile = await tiktok.profile(world.app, account.grant)
    assert profile.handle == "Maya Makes"
    error = await failure(tiktok.profile(world.app, Grant(account.grant.token)))
    assert tiktok.verdict(error.code).kind is Kind.AUTHORISATION_LOST


@pytest.mark.parametrize(
    ("switches", "code", "kind"),
    [
        ({"banned": True}, "spam_risk_user_banned_from_posting", Permanent),
        ({"postsLast24h": 1000}, "spam_risk_too_many_posts", NotYet),
    ],
)
async def test_an_account_that_cannot_post_now_says_so_with_200_and_with_403(
    switches: dict[str, Any], code: str, kind: type[HouseError], world: World, watch: Watch
) -> None:
    account = await world.connect(**switches)
    error = await failure(tiktok.creator(world.app, account.grant, on_call=watch.on_call))
    assert (type(error), error.code) == (kind, code)
    error = await failure(world.begin(account, NINE, watch))
    assert (type(error), error.code) == (kind, code)
    assert [call.status for call in watch.calls] == [200, 403]


async def test_the_sixth_account_of_a_day_hits_the_cap(world: World) -> None:
    for number in range(5):
        await world.begin(await world.connect(f"Person {number}"), NINE)
    sixth = await world.connect("Person 6")
    for call in (tiktok.creator(world.app, sixth.grant), world.begin(sixth, NINE)):
        error = await failure(call)
        assert (type(error), error.code) == (NotYet, "reached_active_user_cap")
    world.ahead_s += 86_401
    await world.begin(await world.fresh(sixth), NINE)


async def test_an_unaudited_app_posts_privately_for_private_accounts_only(world: World) -> None:
    public, private = await world.connect(private=False), await world.connect()
    code = "unaudited_client_can_only_post_to_private_accounts"
    for call in (
        world.begin(public, NINE),
        world.begin(private, NINE, privacy_level="MUTUAL_FOLLOW_FRIENDS"),
    ):
        error = await failure(call)
        assert (type(error), error.code) == (Permanent, code)


async def test_a_privacy_level_the_account_does_not_offer_is_a_mismatch(world: World) -> None:
    await world.tell("/apps", {"audited": True})
    account = await world.connect()
    error = await failure(world.begin(account, NINE, privacy_level="PUBLIC_TO_EVERYONE"))
    assert (type(error), error.code) == (Permanent, "privacy_level_option_mismatch")
    assert tiktok.verdict(error.code).kind is Kind.CONTENT_REJECTED


async def test_a_caption_fits_to_the_very_last_utf16_unit(world: World) -> None:
    account = await world.connect()
    creator = await tiktok.creator(world.app, account.grant)
    fits, breaks = "😀" * 1100, "😀" * 1100 + "."
    await world.begin(account, NINE, title=fits)
    error = await failure(world.begin(account, NINE, title=breaks))
    assert (type(error), error.code) == (Permanent, "invalid_params")
    assert "2200" in error.message
    # What TikTok refuses, `check` tells beforehand.
    assert list(tiktok.check(creator, tiktok.fit(creator, a_post(title=breaks)), NINE)) == ["title"]
    assert tiktok.check(creator, tiktok.fit(creator, a_post(title=fits)), NINE) == {}


async def test_branded_content_for_oneself_is_refused_by_both(world: World) -> None:
    account = await world.connect()
    creator = await tiktok.creator(world.app, account.grant)
    error = await failure(world.begin(account, NINE, brand_content=True))
    assert (type(error), error.code) == (Permanent, "invalid_param")
    assert "privacy_level" in tiktok.check(creator, a_post(brand_content=True), NINE)


async def test_every_choice_of_a_post_is_accepted(world: World) -> None:
    account = await world.connect()
    await world.begin(
        account,
        NINE,
        title="",
        cover_ms=1500,
        disable_comment=True,
        disable_duet=True,
        disable_stitch=True,
        brand_organic=True,
        ai_generated=True,
    )


@pytest.mark.parametrize(("step", "most"), [("begin", 6), ("creator", 20), ("status", 30)])
async def test_one_call_more_than_a_minute_allows_is_told_to_wait(step: str, most: int, world: World) -> None:
    account = await world.connect()
    kept = await world.begin(account, NINE)
    world.ahead_s += 61

    async def call() -> None:
        if step == "begin":
            await world.begin(account, NINE)
        elif step == "creator":
            await tiktok.creator(world.app, account.grant)
        else:
            await world.status(account, kept)

    for _ in range(most):
        await call()
    error = await failure(call())
    assert isinstance(error, NotYet) and error.code == "rate_limit_exceeded"
    assert 60 <= (error.after_s or 0) <= 75
    world.ahead_s += error.after_s or 0
    await call()


async def test_posts_of_others_and_unknown_posts_are_gone_and_not_failed(world: World) -> None:
    maya, other = await world.connect(), await world.connect("Other")
    kept = await world.begin(maya, NINE)
    status = await world.status(other, kept)
    assert (status.state, status.reason) == ("gone", "token_not_authorized_for_specified_publish_id")
    unknown = type(kept)("v_pub_file~v2-1.1", kept.upload_url, kept.expires_at)
    status = await world.status(maya, unknown)
    assert (status.state, status.reason, status.error) == ("gone", "invalid_publish_id", None)


@pytest.mark.parametrize("fault", ["error_before", "error_after"])
async def test_an_internal_error_is_retryable_for_reads_and_at_begin(fault: str, world: World) -> None:
    account = await world.connect()
    await world.arm(fault, "creator_info")
    await world.arm(fault, "init")
    for call in (tiktok.creator(world.app, account.grant), world.begin(account, NINE)):
        error = await failure(call)
        assert (type(error), error.code) == (Retryable, "internal_error")
    assert await world.ledger() == []


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "junk_after", "act_after_cut"])
async def test_a_lost_begin_is_unsure_and_a_lost_read_is_not(fault: str, world: World, watch: Watch) -> None:
    account = await world.connect()
    await world.arm(fault, "init")
    error = await failure(world.begin(account, NINE))
    assert (type(error), error.code) == (Unsure, "init_answer_lost")
    kept = await world.begin(account, NINE)
    await world.arm(fault, "status")
    assert isinstance(await failure(world.status(account, kept)), Retryable)
    await world.send(account, kept, NINE, watch)
    world.ahead_s += 60
    # What the lost begin may have made has published nothing.
    assert len(await world.ledger()) == 1


# How posts end


@pytest.mark.parametrize("reason", FAIL_REASONS)
async def test_every_reason_of_a_failed_post_is_told(reason: str, world: World, watch: Watch) -> None:
    account = await world.connect()
    kept = await world.begin(account, NINE)
    await world.arm("fail", reason=reason)
    await world.send(account, kept, NINE, watch)
    status = await world.settled(account, kept)
    assert (status.state, status.reason) == ("failed", reason)
    assert status.error is not None and status.error.code == reason
    expected: dict[str, type[HouseError]] = {
        "internal": Retryable,
        "video_pull_failed": Retryable,
        "photo_pull_failed": Retryable,
        "publish_cancelled": Cancelled,
        "spam_risk_too_many_posts": NotYet,
    }
    assert type(status.error) is expected.get(reason, Permanent)
    assert await world.ledger() == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"container": "matroska"}, "file_format_check_failed"),
        ({"duration_s": 61.0}, "duration_check_failed"),
        ({"fps": 22.0}, "frame_rate_check_failed"),
        ({"width_px": 320}, "picture_size_check_failed"),
    ],
)
async def test_a_video_outside_the_limits_fails_there_and_is_known_here_beforehand(
    facts: dict[str, Any], reason: str, world: World, watch: Watch
) -> None:
    account = await world.connect(maxDurationS=60)
    creator = await tiktok.creator(world.app, account.grant)
    assert tiktok.check(creator, tiktok.fit(creator, a_post()), NINE) == {}
    ours = {"content_type": "video/x-matroska"} if "container" in facts else facts
    assert list(tiktok.check(creator, tiktok.fit(creator, a_post()), a_media(9, **ours))) == ["media"]

    world.facts |= facts
    kept = await world.begin(account, NINE)
    await world.send(account, kept, NINE, watch)
    assert (await world.settled(account, kept)).reason == reason


async def test_no_secret_is_told_of_any_call(world: World, watch: Watch) -> None:
    account = await world.connect()
    kept = await world.begin(account, NINE, watch)
    fresh = await tiktok.refresh(
        world.app, account.grant, account.tokens.refresh_token, on_call=watch.on_call
    )
    await world.send(account, kept, NINE, watch)
    await failure(
        tiktok.refresh(world.app, account.grant, account.tokens.refresh_token, on_call=watch.on_call)
    )
    await tiktok.revoke(world.app, fresh.grant, on_call=watch.on_call)
    told = repr(watch.calls)
    upload_token = dict(parse_qsl(urlsplit(kept.upload_url).query))["upload_token"]
    for secret in (
        account.tokens.access_token,
        account.tokens.refresh_token,
        fresh.access_token,
        fresh.refresh_token,
        upload_token,
    ):
        assert secret not in told
    assert [call.step for call in watch.calls] == ["begin", "refresh", "send_last", "refresh", "revoke"]
