"""The adapter against the simulated YouTube: every cut, every ended token, and what becomes of a video."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from youtube_makers import CHUNK, Watch, a_grant, a_media, a_post
from youtube_world import Account, World

from app.errors import HouseError, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms import Media, youtube
from app.platforms.youtube.errors import until_midnight_s

pytestmark = pytest.mark.anyio
SIZE = CHUNK + 700_000
MEDIA = a_media(SIZE)


async def only_one(world: World, account: Account) -> dict[str, Any]:
    (post,) = await world.ledger()
    assert (post["account"], post["bytes"], await world.ledger("rejected")) == (account.username, SIZE, [])
    return post


async def test_a_video_goes_up_is_processed_and_known_by_its_id(world: World, watch: Watch) -> None:
    account = await world.connect()
    begun = await world.begin(account, MEDIA)
    handle = await world.send(account, begun, MEDIA, watch)
    assert watch.told == ["send ok", "before last", "send_last ok"]
    seen = await world.status(account, handle, MEDIA)
    assert (seen.state, seen.bytes_received) == ("processing", SIZE)
    seen = await world.settled(account, handle, MEDIA)
    assert (seen.state, seen.post_ids, seen.reason) == ("published", (handle.remote_id,), None)
    post = await only_one(world, account)
    assert (post["id"], post["publishId"], post["title"]) == (
        handle.remote_id,
        begun.publish_id,
        "Three knots",
    )


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        ("drop_before", "upload"), ("drop_after", "upload"), ("error_before", "upload"), ("error_after", "upload"),
        ("junk_after", "upload"), ("drop_after", "half_chunk"), ("error_after", "half_chunk"), ("slow", "half_chunk"),
        ("slow", "no_range"),
    ],
)  # fmt: skip
async def test_after_any_stumble_of_a_chunk_the_video_is_whole_and_there_once(
    fault: str, step: str, world: World, watch: Watch
) -> None:
    account = await world.connect()
    begun = await world.begin(account, MEDIA)
    await world.arm(fault, step, **({"seconds": 0} if fault == "slow" else {}))
    handle = await world.send(account, begun, MEDIA, watch)
    assert watch.told.count("before last") == 1
    assert (await world.settled(account, handle, MEDIA)).state == "published"
    assert (await only_one(world, account))["id"] == handle.remote_id


async def test_a_wait_that_the_simulator_names_comes_through(world: World, watch: Watch) -> None:
    account = await world.connect()
    begun = await world.begin(account, MEDIA)
    await world.arm("error_before", "upload", seconds=9)
    with pytest.raises(Retryable) as caught:
        await world.send(account, begun, MEDIA, watch)
    assert (caught.value.code, caught.value.after_s) == ("upload_wait", 9.0)
    await world.send(account, begun, MEDIA, watch)
    await only_one(world, account)


@pytest.mark.parametrize("fault", ["drop_after", "error_after", "junk_after"])
async def test_a_lost_last_answer_is_recovered_by_the_probe(fault: str, world: World, watch: Watch) -> None:
    account = await world.connect()
    begun = await world.begin(account, MEDIA)
    await world.arm(fault, "last_chunk")
    with pytest.raises(Unsure):
        await world.send(account, begun, MEDIA, watch)
    seen = await world.settled(account, begun, MEDIA)
    assert seen.state == "published" and seen.handle is not None
    assert (await only_one(world, account))["id"] == seen.handle.remote_id == seen.post_ids[0]
    # A run that did not hear of it finds everything there and asks for no permit.
    watch.told.clear()
    again = await world.send(account, begun, MEDIA, watch, from_byte=SIZE)
    assert again.remote_id == seen.handle.remote_id and "before last" not in watch.told


@pytest.mark.parametrize("fault", ["drop_before", "error_before"])
async def test_a_last_chunk_that_did_not_arrive_goes_up_when_youtube_says_so(
    fault: str, world: World, watch: Watch
) -> None:
    account = await world.connect()
    begun = await world.begin(account, MEDIA)
    await world.arm(fault, "last_chunk")
    with pytest.raises((Unsure, Retryable)):
        await world.send(account, begun, MEDIA, watch)
    seen = await world.status(account, begun, MEDIA)
    assert (seen.state, seen.bytes_received) == ("processing", CHUNK)
    await world.send(account, begun, MEDIA, watch, from_byte=CHUNK)
    await only_one(world, account)


async def test_a_last_chunk_that_takes_effect_late_is_not_sent_twice(world: World, watch: Watch) -> None:
    account = await world.connect()
    begun = await world.begin(account, MEDIA)
    await world.arm("act_after_cut", "last_chunk", seconds=30)
    with pytest.raises((Unsure, Retryable)):
        await world.send(account, begun, MEDIA, watch)
    assert (await world.status(account, begun, MEDIA)).bytes_received == CHUNK
    world.ahead_s += 31
    seen = await world.settled(account, begun, MEDIA)
    assert seen.state == "published" and len(await world.ledger()) == 1


@pytest.mark.parametrize(
    "step", ["upload", "last_chunk", "probe", "videos", "start", "channels", "thumbnail"]
)
async def test_a_token_that_ends_at_any_step_is_said_so_and_a_new_one_goes_on(
    step: str, world: World, watch: Watch
) -> None:
    account = await world.connect()
    media = replace(MEDIA, cover=_cover())

    async def walk(kept: Any, account: Account) -> Any:
        await youtube.creator(world.app, account.grant)
        handle = kept or await world.begin(account, media, use_cover=True)
        seen = await world.status(account, handle, media)
        handle = seen.handle or handle
        handle = await world.send(account, handle, media, watch, seen.bytes_received or 0)
        assert (await world.settled(account, handle, media)).state == "published"
        await youtube.after(world.app, account.grant, handle, a_post(use_cover=True), media)
        return handle

    begun = None if step in ("start", "channels") else await world.begin(account, media)
    await world.arm("token_expired", step)
    with pytest.raises(Permanent) as caught:
        await walk(begun, account)
    assert caught.value.code == "access_token_invalid"
    handle = await walk(begun, await world.fresh(account))
    assert (await only_one(world, account))["id"] == handle.remote_id


def _cover() -> Media:
    async def picture(start: int, end: int) -> Any:
        yield b"\xff\xd8\xff" + b"x" * (end - 3)

    return a_media(4000, picture, content_type="image/jpeg", duration_s=0.0)


async def test_a_session_that_ended_is_gone_and_another_one_takes_its_place(
    world: World, watch: Watch
) -> None:
    account = await world.connect()
    await world.tell("/apps", {"sessionLifetimeS": 60})
    begun = await world.begin(account, MEDIA)
    world.ahead_s += 61
    with pytest.raises(Retryable) as caught:
        await world.send(account, begun, MEDIA, watch)
    assert caught.value.code == "upload_expired"
    assert (await world.status(account, begun, MEDIA)).state == "gone"
    await world.send(account, await world.begin(account, MEDIA), MEDIA, watch)
    await only_one(world, account)


@pytest.mark.parametrize(
    ("facts", "size", "switches", "reason"),
    [
        (None, 5000, {}, "invalidFile"),
        ({"video_codec": "rawvideo"}, 5000, {}, "codec"),
        ({}, 500, {}, "tooSmall"),
        ({"duration_s": 901.0}, 5000, {"longUploads": "eligible"}, "length"),
        ({"duration_s": 12 * 3600 + 1.0}, 5000, {}, "length"),
    ],
)
async def test_a_file_that_youtube_turns_down_says_why(
    facts: dict[str, Any] | None, size: int, switches: dict[str, Any], reason: str, world: World, watch: Watch
) -> None:
    world.facts = None if facts is None else {**(world.facts or {}), **facts}
    account, media = await world.connect(**switches), a_media(size)
    handle = await world.send(account, await world.begin(account, media), media, watch)
    seen = await world.settled(account, handle, media)
    assert (seen.state, seen.reason) == ("failed", reason)
    assert seen.error is not None and seen.error.code == reason
    assert await world.ledger() == [] and [each["reason"] for each in await world.ledger("rejected")] == [
        reason
    ]


@pytest.mark.parametrize("reason", ["copyright", "conversion", "transcodeFailed"])
async def test_a_verdict_that_a_tester_chose_comes_through(reason: str, world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(5000)
    await world.arm("fail", reason=reason)
    handle = await world.send(account, await world.begin(account, media), media, watch)
    seen = await world.settled(account, handle, media)
    assert (seen.state, seen.reason) == ("failed", reason)


async def test_the_same_file_again_on_the_channel_is_a_duplicate_and_elsewhere_it_is_not(
    world: World, watch: Watch
) -> None:
    maya, leo, media = await world.connect("Maya"), await world.connect("Leo"), a_media(5000)
    states = []
    for account in (maya, maya, leo):
        handle = await world.send(account, await world.begin(account, media), media, watch)
        states.append((await world.settled(account, handle, media)).reason)
    assert states == [None, "duplicate", None]
    assert len(await world.ledger()) == 2 and len(await world.ledger("rejected")) == 1


async def test_a_video_planned_at_youtube_is_published_with_its_note_and_turns_public(
    world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(5000)
    at = datetime.fromtimestamp(world.clock(), UTC) + timedelta(days=2)
    post = a_post(privacy_level="private", native_at=at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    begun = await youtube.begin(world.app, account.grant, post, media)
    handle = await world.send(account, begun, media, watch)
    seen = await world.settled(account, handle, media, post)
    assert seen.state == "published" and at.strftime("%d %b %Y at %H:%M UTC") in str(seen.reason)
    world.ahead_s += 2 * 86_400
    late = await world.fresh(account)
    seen = await world.status(late, handle, media, post)
    assert (seen.state, seen.reason) == ("published", None)


@pytest.mark.parametrize(
    ("switches", "code", "kind"),
    [
        ({"uploadLimitReached": True}, "uploadLimitExceeded", NotYet),
        ({"closed": "channelSuspended"}, "channelSuspended", Permanent),
    ],
)
async def test_a_channel_that_may_not_post_is_told_before_any_byte(
    switches: dict[str, Any], code: str, kind: type[HouseError], world: World
) -> None:
    with pytest.raises(kind) as caught:
        await world.begin(await world.connect(**switches), MEDIA)
    assert caught.value.code == code


async def test_a_sign_in_without_a_channel_is_not_connected(world: World) -> None:
    with pytest.raises(Refused) as caught:
        await world.connect(hasChannel=False)
    assert caught.value.code == "youtubeSignupRequired"


async def test_the_days_uploads_end_until_midnight_pacific(world: World) -> None:
    account = await world.connect()
    await world.tell("/apps", {"uploadsPerDay": 2})
    for _ in range(2):
        await world.begin(account, MEDIA)
    with pytest.raises(NotYet) as caught:
        await world.begin(account, MEDIA)
    assert caught.value.code == "upload_quota_exceeded"
    wait_s = caught.value.after_s
    assert wait_s is not None and abs(wait_s - until_midnight_s(datetime.now(UTC))) < 60
    # The world's clock stands elsewhere than ours: its own midnight counts.
    world.ahead_s += until_midnight_s(datetime.fromtimestamp(world.clock(), UTC)) + 1
    await world.begin(await world.fresh(account), MEDIA)


async def test_the_days_units_end_and_uploads_go_on(world: World) -> None:
    account = await world.connect()
    await world.tell("/apps", {"unitsPerDay": 3})
    await youtube.creator(world.app, account.grant)
    await youtube.creator(world.app, account.grant)
    with pytest.raises(NotYet) as caught:
        await youtube.creator(world.app, account.grant)
    assert caught.value.code == "quotaExceeded"
    await world.begin(account, MEDIA)


async def test_permission_taken_back_ends_the_connection(world: World) -> None:
    account = await world.connect()
    await youtube.revoke(world.app, account.grant)
    await youtube.revoke(world.app, account.grant)
    with pytest.raises(Permanent) as caught:
        await youtube.profile(world.app, account.grant)
    assert caught.value.code == "access_token_invalid"
    with pytest.raises(Permanent) as caught:
        await world.fresh(account)
    assert caught.value.code == "invalid_grant"


async def test_a_false_token_is_said_to_be_one(world: World) -> None:
    with pytest.raises(Permanent) as caught:
        await youtube.creator(world.app, a_grant("ya29.nobodys"))
    assert caught.value.code == "access_token_invalid"
