"""A Page's connection to the simulated Facebook: how it dies, is renewed, and what it was never allowed."""

from __future__ import annotations

from typing import Any

import pytest
from facebook_makers import Watch, a_media
from facebook_world import KINDS, World, failure, media_of, seen_once

from app.errors import HouseError, NotYet, Permanent, Refused
from app.platforms import facebook
from app.platforms.base import Kind

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["page", "init", "upload", "last_chunk", "status"])
async def test_a_token_that_dies_at_any_step_is_renewed_and_the_post_goes_out_once(
    step: str, kind: str, world: World, watch: Watch
) -> None:
    if (kind, step) == ("image", "upload"):
        return  # a picture is there as soon as it is begun
    account, media = await world.connect(), media_of(kind)
    await world.arm("token_expired", step)
    renewed = 0

    async def renewing(call: Any) -> Any:
        nonlocal account, renewed
        try:
            return await call()
        except HouseError as error:
            assert error.code == "access_token_invalid"
            account, renewed = await world.fresh(account), renewed + 1
            return await call()

    await renewing(lambda: facebook.creator(world.app, account.grant))
    kept = await renewing(lambda: world.begin(account, media, kind=kind))
    await renewing(lambda: world.send(account, kept, media, watch))
    world.ahead_s += 60
    assert (await renewing(lambda: world.status(account, kept, media))).state == "published"
    assert renewed == 1 and await world.fired()
    await seen_once(world, account, media)


@pytest.mark.parametrize("subcode", [458, 459, 460, 464, 492])
async def test_a_sign_in_that_is_over_is_lost_by_every_call(subcode: int, world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(20_000)
    kept = await world.begin(account, media)
    await world.switch(account, deadToken=subcode)
    for call in (
        facebook.creator(world.app, account.grant),
        facebook.profile(world.app, account.grant),
        world.begin(account, media),
        world.begin(account, media, kind="video"),
        world.status(account, kept, media),
        facebook.refresh(world.app, account.grant, account.tokens.refresh_token),
    ):
        error = await failure(call)
        assert error.code in (f"190/{subcode}", f"/{subcode}")
        assert facebook.verdict(error.code).kind is Kind.AUTHORISATION_LOST
    assert isinstance(await failure(world.send(account, kept, media, watch)), Permanent)


async def test_the_pages_token_does_not_end_by_time_and_the_persons_is_renewed_before(world: World) -> None:
    account = await world.connect()
    tokens = account.tokens
    assert (tokens.access_expires_in_s, tokens.renew_in_s) == (None, 30 * 24 * 3600)
    assert (tokens.refresh_expires_in_s or 0) > 59 * 24 * 3600
    world.ahead_s += 30 * 24 * 3600
    newer = await world.fresh(account)
    assert newer.tokens.refresh_token != tokens.refresh_token and newer.tokens.remote_id == tokens.remote_id
    assert newer.tokens.facts == tokens.facts and newer.tokens.scopes == tokens.scopes
    # The older one still lives beside it, and no longer once its 60 days are over.
    await world.fresh(account)
    world.ahead_s += 31 * 24 * 3600
    assert (await facebook.creator(world.app, account.grant)).handle
    error = await failure(facebook.refresh(world.app, account.grant, tokens.refresh_token))
    assert isinstance(error, Permanent) and error.code == "190/463"
    await world.fresh(newer)


async def test_every_page_of_a_person_can_be_chosen_over_all_parts_of_the_list(world: World) -> None:
    account = await world.connect(pages=230)
    ids = [choice.remote_id for choice in account.choices]
    assert len(ids) == len(set(ids)) == 230
    assert {choice.tokens.remote_id for choice in account.choices} == set(ids)
    last = account.choices[-1]
    assert last.name == "Studio One 230"
    profile = await facebook.profile(world.app, last.tokens.grant)
    assert (profile.remote_id, profile.display_name) == (last.remote_id, last.name)


async def test_pages_without_the_task_are_not_offered_and_none_at_all_is_said(world: World) -> None:
    for switches, code in (({"createContent": False}, "no_page_task"), ({"pages": 0}, "no_page")):
        made = await world.tell("/accounts", {"platform": "facebook", "displayName": "Nobody", **switches})
        tokens = await facebook.exchange(world.app, made["code"], "")
        error = await failure(facebook.choices(world.app, tokens))
        assert isinstance(error, Refused) and error.code == code


async def test_a_person_who_lost_the_page_cannot_renew(world: World) -> None:
    for switches in ({"createContent": False}, {"pages": 0}):
        account = await world.connect()
        await world.switch(account, **switches)
        error = await failure(world.fresh(account))
        assert isinstance(error, Permanent) and error.code == "no_page_left"
        assert facebook.verdict(error.code).kind is Kind.AUTHORISATION_LOST


async def test_what_was_unticked_is_missed_by_name(world: World) -> None:
    scopes = ["pages_show_list", "pages_read_engagement"]
    account = await world.connect(scopes=scopes)
    assert set(account.tokens.scopes) == set(scopes)
    assert set(facebook.NEEDED_SCOPES) - set(account.tokens.scopes) == {"pages_manage_posts"}
    for kind in KINDS:
        error = await failure(world.begin(account, media_of(kind), kind=kind))
        assert isinstance(error, Permanent) and error.code == "200"


async def test_a_limit_of_the_page_is_waited_for_by_its_header(world: World, watch: Watch) -> None:
    account = await world.connect(callsPerDay=3)
    for _ in range(3):
        await facebook.creator(world.app, account.grant, on_call=watch.on_call)
    assert [round(call.usage[0].percent or 0) for call in watch.calls] == [33, 66, 100]
    error = await failure(facebook.creator(world.app, account.grant, on_call=watch.on_call))
    assert isinstance(error, NotYet) and error.code == "80001" and (error.after_s or 0) > 23 * 3600
