"""The whole way of a Reel, a video and a picture through the simulated Facebook, whole and cut at every place."""

from __future__ import annotations

from typing import Any

import pytest
from facebook_makers import PIECE_BYTES, Watch, a_media, a_picture, a_post
from facebook_world import KINDS, World, failure, media_of, seen_once

from app import http
from app.errors import NotYet, Permanent, Retryable, Unsure
from app.platforms import facebook
from app.platforms.base import Handle, Kind

pytestmark = pytest.mark.anyio
CUTS = ["drop_before", "drop_after", "error_before", "error_after", "junk_after", "act_after_cut"]
SMALL_CHUNKS = 30_000


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_goes_the_whole_way(kind: str, world: World, watch: Watch) -> None:
    account, media = await world.connect(chunkBytes=SMALL_CHUNKS), media_of(kind)
    profile = await facebook.profile(world.app, account.grant)
    creator = await facebook.creator(world.app, account.grant)
    assert (profile.remote_id, profile.handle) == (account.tokens.remote_id, account.username)
    assert creator.kinds == ("reel", "video", "image") and creator.display_name == "Studio One"

    kept = await world.begin(account, media, watch, kind=kind)
    assert await world.posts(account) == []
    newer = await world.send(account, Handle.from_text(kept.as_text()), media, watch, kind=kind)
    status = await world.settled(account, newer or kept, media)
    assert (status.state, status.url is not None) == ("published", True)
    entry = await seen_once(world, account, media)
    assert (entry["title"], entry["account"]) == ("Three knots", account.username)
    assert status.post_ids == (entry["id"],)
    assert watch.told[0] == "begin ok" and watch.told[-2:] == ["before last", "send_last ok"]
    assert all(call.usage for call in watch.calls if call.step in ("begin", "send_last"))


# The bytes


@pytest.mark.parametrize("kind", ["reel", "video"])
@pytest.mark.parametrize("cut_at_byte", [1, 70_000, 99_999])
async def test_an_upload_that_is_cut_goes_on_where_it_was(
    kind: str, cut_at_byte: int, world: World, watch: Watch
) -> None:
    account, media = await world.connect(chunkBytes=SMALL_CHUNKS, cutAtByte=cut_at_byte), a_media()
    kept = await world.begin(account, media, kind=kind)
    await world.send(account, kept, media, watch)
    assert "send no_answer" in watch.told and watch.told.count("before last") == 1
    assert (await world.settled(account, kept, media)).state == "published"
    await seen_once(world, account, media)


@pytest.mark.parametrize("kind", ["reel", "video"])
async def test_another_process_goes_on_where_a_dead_one_stopped(
    kind: str, world: World, watch: Watch
) -> None:
    account = await world.connect(chunkBytes=SMALL_CHUNKS)
    kept = await world.begin(account, a_media(), kind=kind)

    class Died(Exception):
        pass

    media = a_media()

    async def dying(start: int, end: int) -> Any:
        for at in range(start, end, 10_000):
            if at >= 60_000:
                # A server may forget what it had not read when the line broke: die when it has something.
                while not (await world.status(account, kept, media)).bytes_received:
                    continue
                raise Died
            yield bytes_of(at, min(at + 10_000, end))

    with pytest.raises(Died):
        await world.send(account, kept, a_media(read=dying), Watch())
    status = await world.status(account, kept, media)
    assert status.state == "processing" and 0 < (status.bytes_received or 0) <= 60_000
    await world.send(account, Handle.from_text(kept.as_text()), media, watch, status.bytes_received or 0)
    assert (await world.settled(account, kept, media)).state == "published"
    await seen_once(world, account, media)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", ["reel", "video"])
async def test_any_cut_of_the_bytes_costs_a_repetition_and_nothing_else(
    kind: str, cut: str, world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(20_000)
    kept = await world.begin(account, media, kind=kind)
    await world.arm(cut, "upload", **({"seconds": 0} if cut == "act_after_cut" else {}))
    await world.send(account, kept, media, watch)
    assert await world.fired()
    assert (await world.settled(account, kept, media)).state == "published"
    await seen_once(world, account, media)


async def test_facebook_alone_says_how_a_video_is_cut(world: World, watch: Watch) -> None:
    """Every third chunk is twice as long, and what we believe about the rest is put right by 1363037."""
    account, media = await world.connect(chunkBytes=10_000), a_media(95_000)
    kept = await world.begin(account, media, watch, kind="video")
    await world.send(account, kept, media, watch)
    assert watch.told.count("send ok") == 7
    assert watch.progress == [0, 10_000, 20_000, 40_000, 50_000, 70_000, 80_000]

    other = Watch()
    kept = await world.begin(account, media, other, kind="video")
    # Nothing of it is there, whatever an earlier process believed; both forms of `error_data` are understood.
    for believed in (95_000, 40_000):
        again = await world.begin(account, media, kind="video")
        await world.send(account, again, media, other, believed if believed < 95_000 else 10_000)
    assert other.told.count("send 1363037") == 2
    assert len(await world.posts(account)) == 3
    assert kept.publish_id != again.publish_id


async def test_a_video_that_is_all_there_is_only_published(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(20_000)
    for kind in ("reel", "video"):
        kept = await world.begin(account, media, kind=kind)

        class NotToday(Exception):
            pass

        async def not_today() -> None:
            raise NotToday

        held = Watch()
        held.before_last = not_today  # type: ignore[method-assign]  # stops right before the call
        with pytest.raises(NotToday):
            await world.send(account, kept, media, held)
        status = await world.status(account, kept, media)
        assert (status.state, status.bytes_received) == ("unpublished", 20_000)
        watch.told.clear()
        await world.send(account, kept, media, watch, status.bytes_received or 0)
        assert watch.told == ["before last", "send_last ok"]
    assert len(await world.posts(account)) == 2


async def test_a_file_that_is_not_as_long_as_it_was_is_not_sent(world: World, watch: Watch) -> None:
    account = await world.connect()
    for length in (5_000, 20_001):

        async def other(start: int, end: int, length: int = length) -> Any:
            yield bytes_of(start, length)

        for kind in ("reel", "video"):
            kept = await world.begin(account, a_media(20_000), kind=kind)
            error = await failure(world.send(account, kept, a_media(20_000, read=other), watch))
            assert isinstance(error, Permanent) and error.code == "media_changed"
    assert "before last" not in watch.told and await world.posts(account) == []


def bytes_of(start: int, end: int) -> bytes:
    block = bytes(range(256)) * (end // 256 + 1)
    return block[start:end]


# The last call


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", ["drop_after", "error_after", "junk_after", "blocked_after"])
async def test_a_lost_last_answer_is_unsure_and_asking_finds_the_one_post(
    cut: str, kind: str, world: World, watch: Watch
) -> None:
    account, media = await world.connect(), media_of(kind)
    kept = await world.begin(account, media, kind=kind)
    await world.arm(cut, "last_chunk")
    assert isinstance(await failure(world.send(account, kept, media, watch)), Unsure)
    assert (await world.status(account, kept, media)).state in ("processing", "published")
    assert (await world.settled(account, kept, media)).state == "published"
    await seen_once(world, account, media)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", ["drop_before", "error_before", "rate_limit"])
async def test_a_last_call_that_never_arrived_is_told_by_asking_and_made_again(
    cut: str, kind: str, world: World, watch: Watch
) -> None:
    account, media = await world.connect(), media_of(kind)
    kept = await world.begin(account, media, kind=kind)
    await world.arm(cut, "last_chunk")
    assert isinstance(await failure(world.send(account, kept, media, watch)), Unsure)
    status = await world.settled(account, kept, media)
    assert status.state == "unpublished"
    await world.send(account, kept, media, watch, media.bytes_total)
    assert (await world.settled(account, kept, media)).state == "published"
    await seen_once(world, account, media)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_last_call_that_takes_effect_later_is_seen_later(
    kind: str, world: World, watch: Watch
) -> None:
    account, media = await world.connect(), media_of(kind)
    kept = await world.begin(account, media, kind=kind)
    await world.arm("act_after_cut", "last_chunk", seconds=40)
    assert isinstance(await failure(world.send(account, kept, media, watch)), Unsure)
    assert (await world.status(account, kept, media)).state == "unpublished"
    world.ahead_s += 41
    assert (await world.settled(account, kept, media)).state == "published"
    await seen_once(world, account, media)


async def test_finishing_a_reel_twice_makes_no_second_post(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(20_000)
    kept = await world.begin(account, media)
    for from_byte in (0, 20_000):
        await world.send(account, kept, media, watch, from_byte)
    assert (await world.settled(account, kept, media)).state == "published"
    await seen_once(world, account, media)


async def test_finishing_before_all_bytes_are_there_publishes_nothing(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(20_000)
    for kind in ("reel", "video"):
        kept = await world.begin(account, media, kind=kind)
        error = await failure(world.send(account, kept, media, watch, media.bytes_total))
        assert isinstance(error, Unsure) and error.code == "6000"
        status = await world.status(account, kept, media)
        assert (status.state, status.bytes_received) == ("processing", 0)
        await world.send(account, kept, media, watch, 0)
    assert len(await world.posts(account)) == 2


@pytest.mark.parametrize("kind", ["reel", "video"])
async def test_a_session_that_is_over_begins_anew(kind: str, world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(20_000)
    kept = await world.begin(account, media, kind=kind)
    world.ahead_s += 25 * 3600
    status = await world.status(account, kept, media)
    assert (status.state, status.reason) == ("gone", "expired")
    if kind == "video":
        error = await failure(world.send(account, kept, media, watch))
        assert isinstance(error, Retryable) and error.code == "upload_expired"
    error = await failure(world.send(account, kept, media, watch, media.bytes_total))
    assert isinstance(error, Unsure) and error.code == "1363041"
    assert await world.posts(account) == []


async def test_what_facebook_does_not_know_is_gone(world: World) -> None:
    account, media = await world.connect(), a_media(20_000)
    kept = await world.begin(account, media)
    other = await world.connect("Somebody Else")
    assert (await world.status(other, kept, media)).state == "gone"


# Limits and what Facebook finds wrong


async def test_the_thirty_first_reel_of_a_day_waits_and_a_video_does_not(world: World, watch: Watch) -> None:
    account, media = await world.connect(reelsLast24h=29), a_media(20_000)
    late = await world.begin(account, media)
    kept = await world.begin(account, media)
    await world.send(account, kept, media, watch)
    error = await failure(world.begin(account, media))
    assert isinstance(error, NotYet) and error.code == "reels_quota" and (error.after_s or 0) >= 600
    assert facebook.verdict(error.code).kind is Kind.QUOTA
    error = await failure(world.send(account, late, media, watch))
    assert isinstance(error, Unsure) and error.code == "reels_quota"
    assert (await world.status(account, late, media)).state == "unpublished"
    await world.begin(account, media, kind="video")
    # The window moves: a day later there is room again.
    await world.switch(account, reelsLast24h=0)
    world.ahead_s += 20 * 3600
    await world.send(account, late, media, watch, media.bytes_total)
    assert len(await world.posts(account)) == 2


@pytest.mark.parametrize(
    ("switch", "code"),
    [
        ("blocked", "368"),
        ("tooFast", "368/1390008"),
        ("needsPageAuthorization", "1404078"),
        ("needsIdentity", "4854002"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_barred_page_begins_nothing(switch: str, code: str, kind: str, world: World) -> None:
    account = await world.connect(**{switch: True})
    error = await failure(world.begin(account, media_of(kind), kind=kind))
    assert error.code == code and isinstance(error, (NotYet, Permanent))


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"width_px": 1920, "height_px": 1080}, "1363040"),
        ({"width_px": 360, "height_px": 640}, "1363127"),
        ({"duration_s": 2.5}, "1363128"),
        ({"duration_s": 91.0}, "1363128"),
        ({"fps": 20.0}, "1363129"),
        ({"fps": 61.0}, "1363129"),
        ({"container": "avi"}, "1363024"),
        ({"video_codec": "mpeg4"}, "1363031"),
    ],
)
async def test_a_reel_that_facebook_cannot_take_fails_with_its_reason(
    facts: dict[str, Any], code: str, world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(20_000)
    world.facts |= facts
    # Two in a row: their errors are spelt in the two ways.
    for _ in range(2):
        kept = await world.begin(account, media)
        await world.send(account, kept, media, watch)
        status = await world.settled(account, kept, media)
        assert (status.state, status.reason) == ("failed", code)
        assert isinstance(status.error, Permanent) and status.error.code == code
        assert facebook.verdict(code).kind is Kind.CONTENT_REJECTED
    assert await world.posts(account) == []


@pytest.mark.parametrize(
    ("facts", "code"), [({"duration_s": 0.5}, "1363025"), ({"duration_s": 2401.0}, "1363026")]
)
async def test_a_video_that_facebook_cannot_take_fails_with_its_reason(
    facts: dict[str, Any], code: str, world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(20_000)
    world.facts |= facts
    kept = await world.begin(account, media, kind="video")
    await world.send(account, kept, media, watch)
    status = await world.settled(account, kept, media)
    assert (status.state, status.reason) == ("failed", code)


@pytest.mark.parametrize("reason", ["error", "upload_failed", "1346003", "1404102"])
async def test_a_post_that_facebook_turns_down_says_why(reason: str, world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(20_000)
    kept = await world.begin(account, media)
    await world.arm("fail", reason=reason)
    await world.send(account, kept, media, watch)
    status = await world.settled(account, kept, media)
    assert status.state == "failed" and status.error is not None
    assert isinstance(status.error, Retryable if reason == "upload_failed" else Permanent)
    assert await world.posts(account) == []


async def test_sizes_just_past_two_gigabytes_and_under_a_kilobyte_are_refused(world: World) -> None:
    account = await world.connect()
    await world.begin(account, a_media(2_000_000_000), kind="video")
    await world.begin(account, a_media(1024), kind="video")
    assert (await failure(world.begin(account, a_media(2_000_000_001), kind="video"))).code == "1363023"
    assert (await failure(world.begin(account, a_media(1023), kind="video"))).code == "1363022"


# What comes after


async def test_a_first_comment_is_found_again_and_never_written_blindly(world: World, watch: Watch) -> None:
    for kind in KINDS:
        account, media = await world.connect(), media_of(kind)
        kept = await world.begin(account, media, kind=kind)
        await world.send(account, kept, media, watch)
        (post_id,) = (await world.settled(account, kept, media)).post_ids
        await world.arm("drop_after", "comment")
        lost = facebook.comment(world.app, account.grant, post_id, "Where to buy the rope")
        assert isinstance(await failure(lost), Unsure)
        ((_, text),) = await facebook.comments(world.app, account.grant, post_id)
        assert text == "Where to buy the rope"
        made = await facebook.comment(world.app, account.grant, post_id, "And the knife")
        assert (await facebook.comments(world.app, account.grant, post_id))[0] == (made, "And the knife")


async def test_a_cover_is_given_afterwards(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(20_000, cover=a_picture())
    kept = await world.begin(account, media)
    await world.send(account, kept, media, watch)
    await world.settled(account, kept, media)
    for use_cover, calls in ((False, 0), (True, 1), (True, 1)):
        watch.calls.clear()
        post = a_post(use_cover=use_cover)
        await facebook.after(world.app, account.grant, kept, post, media, on_call=watch.on_call)
        assert [call.outcome for call in watch.calls] == ["ok"] * calls


async def test_an_upload_address_elsewhere_gets_nothing(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(3 * PIECE_BYTES)
    kept = await world.begin(account, media)
    elsewhere = Handle(kept.publish_id, "https://example.org/video-upload", kept.expires_at, "reel")
    error = await failure(world.send(account, elsewhere, media, watch))
    assert isinstance(error, Permanent) and error.code == "upload_address_refused"
    assert watch.told == [] and watch.progress == []
    assert (await http.request("GET", f"{world.url}/faults")).status == 200
