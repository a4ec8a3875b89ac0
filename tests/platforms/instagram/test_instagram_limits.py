"""What stands in the way of a post: tokens that die, files that are not taken, limits; and the first comment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from instagram_world import FILM, Account, Watch, World, goes_out_once, mine

from app.errors import HouseError, NotYet, Permanent, Retryable, Unsure
from app.platforms import Handle, Media, Post, Status, instagram

pytestmark = pytest.mark.anyio
REEL = Post(title="Three knots #rope")


# Tokens that die on the way


@pytest.mark.parametrize("login", ["instagram", "facebook"])
@pytest.mark.parametrize("step", ["me", "create", "container", "upload", "publish"])
async def test_a_token_that_dies_at_any_step_is_renewed_and_the_same_container_goes_out(
    step: str, login: str, world: World, watch: Watch
) -> None:
    world.login = login
    await world.tell("/apps", {"instagramRefreshFromS": 0})
    account, film = await world.connect(polls=0), world.film()
    await world.arm("token_expired", step)
    kept: Handle | None = None
    renewed = 0
    for _ in range(8):
        try:
            await instagram.creator(world.app, account.grant)
            kept = kept or await world.begin(account, REEL, film)
            if await world.send(account, kept, REEL, film, watch) is not None:
                break
        except HouseError as error:
            assert error.code == "access_token_invalid" and type(error) is Permanent, error
            renewed += 1
            tokens = await instagram.refresh(world.app, account.grant, account.tokens.refresh_token)
            assert tokens.access_token != account.tokens.access_token
            account.tokens = tokens
    assert renewed == 1 and await world.fired()
    assert await world.count("create") >= 1
    await goes_out_once(world, account, film)


async def test_a_token_that_ran_out_cannot_be_renewed(world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    kept = await world.begin(account, REEL, film)
    world.ahead_s += 61 * 24 * 3600
    with pytest.raises(Permanent) as caught:
        await world.status(account, kept, REEL, film)
    assert caught.value.code == "access_token_invalid"
    with pytest.raises(Permanent) as caught:
        await world.send(account, kept, REEL, film)
    assert caught.value.code == "access_token_invalid"
    with pytest.raises(Permanent) as caught:
        await instagram.refresh(world.app, account.grant, account.tokens.refresh_token)
    assert caught.value.code == "190/463"


# What Instagram thinks of the file


async def failed(world: World, account: Account, post: Post, media: Media) -> Status:
    kept = await world.begin(account, post, media)
    with pytest.raises(HouseError) as caught:
        await world.send(account, kept, post, media)
    status = await world.status(account, kept, post, media)
    assert status.error is not None and status.error.code == caught.value.code == status.reason
    assert await mine(world, account) == []
    return status


async def test_a_file_that_instagram_does_not_take_is_failed_with_its_reason(world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    world.facts["fps"] = 12.0
    status = await failed(world, account, REEL, film)
    assert status.state == "failed" and status.reason == "2207026"
    assert isinstance(status.error, Permanent)


async def test_a_file_that_instagram_cannot_fetch_is_tried_again(world: World) -> None:
    account = await world.connect()

    async def nowhere() -> str:
        return f"{world.root}/nothing-here.jpg"

    status = await failed(world, account, Post(title="Lost"), world.picture(3, link=nowhere))
    assert status.reason == "2207052" and isinstance(status.error, Retryable)


async def test_a_cover_outside_the_video_is_told_by_instagram(world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    status = await failed(world, account, replace(REEL, cover_ms=31_000), film)
    assert status.reason == "2207057"


# Limits


async def test_the_daily_limit_is_read_and_a_post_past_it_waits(world: World, watch: Watch) -> None:
    account, film = await world.connect(polls=0, quotaTotal=2, postsLast24h=1), world.film()
    await world.posted(account, REEL, film)
    creator = await instagram.creator(world.app, account.grant)
    assert [(left.used, left.most) for left in creator.quotas] == [(2, 2)]
    assert instagram.quotas(creator)[0].most == 2
    kept = await world.begin(account, REEL, world.film(FILM[:-1]))
    with pytest.raises(Unsure) as caught:
        await world.send(account, kept, REEL, world.film(FILM[:-1]), watch)
    assert caught.value.code == "2207042", "asked first, as after every irreversible call"
    assert (await world.status(account, kept, REEL, film)).state == "unpublished"
    world.ahead_s += 24 * 3600 - 60
    await world.change(account, postsLast24h=0)
    assert [left.used for left in (await instagram.creator(world.app, account.grant)).quotas] == [1]


async def test_a_limit_that_cannot_be_read_is_taken_as_fifty(world: World) -> None:
    account = await world.connect(limitReadable=False)
    creator = await instagram.creator(world.app, account.grant)
    assert creator.quotas == () and "50" in creator.notes[0]
    assert [(quota.name, quota.most, quota.window_s) for quota in instagram.quotas(creator)] == [
        ("posts", 50, 86_400),
        ("containers", 400, 86_400),
    ]


async def test_how_much_of_the_calls_is_used_is_told_with_each_call(world: World, watch: Watch) -> None:
    account = await world.connect(callsPerDay=10)
    await instagram.profile(world.app, account.grant, on_call=watch.on_call)
    (use,) = watch.calls[-1].usage
    assert use.scope == "account" and use.percent == 20
    for _ in range(8):
        await instagram.profile(world.app, account.grant)
    with pytest.raises(NotYet) as caught:
        await instagram.profile(world.app, account.grant, on_call=watch.on_call)
    assert caught.value.code == "80002" and (caught.value.after_s or 0) > 80_000
    assert watch.calls[-1].usage[0].until_s == caught.value.after_s


# Comments


async def test_a_first_comment_is_written_and_found_again(world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    sent = await world.posted(account, REEL, film)
    made = await instagram.comment(world.app, account.grant, sent.remote_id, "#rope #knots")
    assert await instagram.comments(world.app, account.grant, sent.remote_id) == [(made, "#rope #knots")]


async def test_a_comment_whose_answer_is_lost_is_unsure_and_found_by_reading(world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    sent = await world.posted(account, REEL, film)
    await world.arm("drop_after", "comment")
    with pytest.raises(Unsure):
        await instagram.comment(world.app, account.grant, sent.remote_id, "Once")
    assert [text for _, text in await instagram.comments(world.app, account.grant, sent.remote_id)] == [
        "Once"
    ]


async def test_without_the_permission_no_comment_is_tried(world: World) -> None:
    username, code = await world.code(scopes=list(instagram.NEEDED_SCOPES))
    account = Account(username, await instagram.exchange(world.app, code, ""))
    before = await world.count("comment")
    with pytest.raises(Permanent) as caught:
        await instagram.comment(world.app, account.grant, "1", "No")
    assert caught.value.code == "comments_not_allowed" and await world.count("comment") == before
