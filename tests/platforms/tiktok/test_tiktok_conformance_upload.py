"""The whole way of a post through the simulated TikTok, whole and cut at every place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tiktok_makers import Watch, a_media, a_post, content, sha256_of
from tiktok_world import World

from app.errors import HouseError, NotYet, Retryable, Unsure
from app.platforms import Handle, Media, tiktok

pytestmark = pytest.mark.anyio
CHUNKED = 64_000_001
# What leaves the simulator without the chunk, and what leaves it with the chunk but without its answer.
CUTS = ["drop_before", "drop_after", "error_before", "error_after", "junk_after", "act_after_cut"]


async def failure(call: Any) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await call
    return caught.value


async def seen_once(world: World, size: int) -> dict[str, Any]:
    """The one post that the world has seen, byte for byte ours."""
    (entry,) = await world.ledger()
    assert (entry["bytes"], entry["sha256"]) == (size, sha256_of(size))
    return entry


async def test_a_small_video_goes_the_whole_way(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(3_145_728)
    profile = await tiktok.profile(world.app, account.grant)
    creator = await tiktok.creator(world.app, account.grant)
    assert profile.handle == creator.handle == account.username
    assert profile.remote_id == account.tokens.remote_id
    assert creator.privacy_levels == ("FOLLOWER_OF_CREATOR", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY")
    assert creator.duet_disabled and creator.stitch_disabled

    kept = await world.begin(account, media, watch, title="Drei Knoten 😀 #segeln")
    assert (await world.status(account, kept)).bytes_received == 0
    await world.send(account, Handle.from_text(kept.as_text()), media, watch)
    status = await world.status(account, kept)
    assert (status.state, status.bytes_received) == ("processing", 3_145_728)
    status = await world.settled(account, kept)
    assert (status.state, status.post_ids) == ("published", ())
    entry = await seen_once(world, 3_145_728)
    assert (entry["title"], entry["account"]) == ("Drei Knoten 😀 #segeln", account.username)
    assert watch.told == ["begin ok", "before last", "send_last ok"]


async def test_a_draft_goes_to_the_inbox_and_becomes_a_post_when_its_creator_finishes_it(
    world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(1000)
    draft = a_post(kind="inbox", title="", privacy_level="")
    creator = await tiktok.creator(world.app, account.grant)
    assert tiktok.check(creator, draft, media) == {}
    kept = await tiktok.begin(world.app, account.grant, draft, media)
    await world.send(account, kept, media, watch)
    status = await world.settled(account, kept)
    assert status.state == "inbox" and status.reason is not None and "open the app" in status.reason
    assert await world.ledger() == []
    await world.tell("/drafts", {"publishId": kept.publish_id})
    assert (await world.settled(account, kept)).state == "published"
    assert len(await world.ledger()) == 1


async def test_a_draft_needs_its_own_scope(world: World) -> None:
    account = await world.connect(scopes=["user.info.basic", "video.publish"])
    with pytest.raises(HouseError) as caught:
        await tiktok.begin(world.app, account.grant, a_post(kind="inbox"), a_media(1000))
    assert caught.value.code == "scope_not_authorized"


async def test_a_public_post_gets_its_id_after_moderation(world: World, watch: Watch) -> None:
    await world.tell("/apps", {"audited": True})
    account, media = await world.connect(private=False), a_media(1000)
    kept = await world.begin(account, media, privacy_level="PUBLIC_TO_EVERYONE")
    await world.send(account, kept, media, watch)
    (post_id,) = (await world.settled(account, kept)).post_ids
    assert int(post_id) > 2**53 and (await seen_once(world, 1000))["id"] == post_id
    assert tiktok.link(account.username, post_id).endswith(f"/@{account.username}/video/{post_id}")


@pytest.mark.parametrize(
    "size",
    [1, 5_242_879, 5_242_880, 50_000_123, 63_999_999, 64_000_000, 64_000_001, 66_259_900, 69_999_999,
     70_000_000, 70_000_001, 84_539_038, 150_000_000],
)  # fmt: skip
async def test_every_size_around_a_boundary_arrives_whole(size: int, world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(size)
    kept = await world.begin(account, media)
    await world.send(account, kept, media, watch)
    assert (await world.settled(account, kept)).state == "published"
    await seen_once(world, size)
    assert watch.told.count("before last") == 1
    assert len(watch.calls) == tiktok.plan(size).count


async def test_sizes_up_to_four_gib_are_accepted_at_begin_and_more_is_not(world: World) -> None:
    account = await world.connect()
    for size in (999_999_999, 1_000_000_000, 4_294_967_295, 4_294_967_296):
        world.ahead_s += 61
        await world.begin(account, a_media(size))
    assert (await failure(world.begin(account, a_media(4_294_967_297)))).code == "invalid_params"


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("chunk", [0, 1, 4])
async def test_an_upload_cut_at_any_chunk_goes_on_and_arrives_once(
    cut: str, chunk: int, world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(CHUNKED)
    kept = await world.begin(account, media)
    if chunk == 0:
        await world.arm(cut, "upload")

    async def arm_for_the_next(at_byte: int) -> None:
        # The simulator takes up its fault with the headers of a call, so this strikes the chunk after.
        if at_byte == (chunk - 1) * 10_000_000 and not any(call.outcome != "ok" for call in watch.calls):
            await world.arm(cut, "upload")

    watch.on_progress = arm_for_the_next  # type: ignore[method-assign]  # arms in the middle of the upload
    await world.send(account, kept, media, watch)
    assert watch.told[chunk] != "send ok" and watch.told.count("before last") == 1
    assert (await world.settled(account, kept)).state == "published"
    await seen_once(world, CHUNKED)


@pytest.mark.parametrize("size", [3_145_728, CHUNKED])
@pytest.mark.parametrize("cut", CUTS)
async def test_a_lost_last_answer_is_unsure_and_asking_tells(
    cut: str, size: int, world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(size)
    kept = await world.begin(account, media)
    await world.arm(cut, "last_chunk")
    error = await failure(world.send(account, kept, media, watch))
    # A line that is cut while bytes are still missing is a definite no.
    assert isinstance(error, Unsure) or (error.code, cut) == ("upload_cut", "drop_before")
    assert watch.told.count("before last") == 1 and watch.told[-1].startswith("send_last")
    world.ahead_s += 10  # an act after the cut takes effect meanwhile
    status = await world.status(account, kept)
    arrived = cut not in ("drop_before", "error_before")
    assert (status.bytes_received == size) is arrived
    if not arrived:
        await world.send(account, kept, media, watch, status.bytes_received or 0)
    assert (await world.settled(account, kept)).state == "published"
    await seen_once(world, size)


async def test_a_rate_limit_on_the_last_chunk_is_unsure_until_asked(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(9)
    kept = await world.begin(account, media)
    await world.arm("rate_limit", "last_chunk")
    error = await failure(world.send(account, kept, media, watch))
    assert (type(error), error.code) == (Unsure, "rate_limit_exceeded")
    assert await world.ledger() == []


async def test_a_rate_limit_on_another_chunk_waits_and_goes_on(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(CHUNKED)
    kept = await world.begin(account, media)
    await world.arm("rate_limit", "upload")
    assert isinstance(await failure(world.send(account, kept, media, watch)), NotYet)
    await world.send(account, kept, media, watch, (await world.status(account, kept)).bytes_received or 0)
    await seen_once(world, CHUNKED)


async def test_a_worker_that_dies_within_a_chunk_is_followed_by_one_that_goes_on(
    world: World, watch: Watch
) -> None:
    account, media, half = await world.connect(), a_media(CHUNKED), asyncio.Event()

    async def stop_there(at_byte: int) -> None:
        if at_byte > 25_000_000:
            half.set()
            await asyncio.Event().wait()

    kept = await world.begin(account, media)
    first = Watch()
    first.on_progress = stop_there  # type: ignore[method-assign]  # holds the chunk half sent
    dying = asyncio.create_task(world.send(account, kept, media, first))
    await half.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    status = await world.status(account, kept)
    assert status.bytes_received == 20_000_000
    await world.send(account, kept, media, watch, 20_000_000)
    await seen_once(world, CHUNKED)


async def test_two_workers_on_the_same_handle_post_once(world: World, watch: Watch) -> None:
    account, media, other = await world.connect(), a_media(CHUNKED), Watch()
    kept = await world.begin(account, media)
    ended = await asyncio.gather(
        world.send(account, kept, media, watch),
        world.send(account, kept, media, other),
        return_exceptions=True,
    )
    assert all(end is None or isinstance(end, (Unsure, Retryable)) for end in ended), ended
    assert (await world.settled(account, kept)).state == "published"
    await seen_once(world, CHUNKED)


async def test_resending_what_has_arrived_posts_nothing_twice(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(CHUNKED)
    kept = await world.begin(account, media)
    await world.send(account, kept, media, watch)
    again = Watch()
    await world.send(account, kept, media, again)
    assert again.told == ["send range_mismatch", "status ok"]
    single = a_media(9)
    kept = await world.begin(account, single)
    await world.send(account, kept, single, watch)
    error = await failure(world.send(account, kept, single, again))
    assert (type(error), error.code) == (Unsure, "range_mismatch")
    assert len(await world.ledger()) == 2


@pytest.mark.parametrize(("size", "kind"), [(CHUNKED, Retryable), (9, Unsure)])
async def test_an_expired_upload_address_is_a_dead_handle(
    size: int, kind: type[HouseError], world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(size)
    kept = await world.begin(account, media)
    world.ahead_s += 3601
    error = await failure(world.send(account, kept, media, watch))
    assert (type(error), error.code) == (kind, "upload_expired")
    status = await world.status(account, kept)
    assert (status.state, status.bytes_received) == ("processing", 0)
    assert await world.ledger() == []


async def test_an_upload_goes_on_when_the_account_token_expires(world: World, watch: Watch) -> None:
    account, media = await world.connect(), a_media(CHUNKED)
    kept = await world.begin(account, media)
    await world.arm("token_expired", "upload")
    await world.send(account, kept, media, watch)
    assert (await failure(world.status(account, kept))).code == "access_token_invalid"
    assert (await world.settled(await world.fresh(account), kept)).state == "published"


async def test_a_token_that_expires_between_a_cut_and_the_question_can_be_renewed_and_sent_on(
    world: World, watch: Watch
) -> None:
    account, media = await world.connect(), a_media(CHUNKED)
    kept = await world.begin(account, media)
    await world.arm("drop_after", "upload")
    await world.arm("token_expired", "status")
    assert (await failure(world.send(account, kept, media, watch))).code == "access_token_invalid"
    account = await world.fresh(account)
    received = (await world.status(account, kept)).bytes_received
    assert received == 10_000_000
    await world.send(account, kept, media, watch, received)
    await seen_once(world, CHUNKED)


async def test_a_file_that_changed_in_our_storage_posts_nothing(world: World, watch: Watch) -> None:
    async def short(start: int, end: int) -> Any:
        yield content(start, end - 1)

    account = await world.connect()
    kept = await world.begin(account, a_media(1000))
    media: Media = a_media(1000, read=short)
    assert (await failure(world.send(account, kept, media, watch))).code == "media_changed"
    assert await world.ledger() == []
    await world.send(account, kept, a_media(1000), watch)
    await seen_once(world, 1000)
