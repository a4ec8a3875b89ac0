"""Posts to the simulated Instagram: each kind of them, cut uploads, lost answers, containers that wait or die."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from instagram_world import FILM, Account, Watch, World, goes_out_once, mine

from app.errors import NotYet, Permanent, Retryable, Unsure
from app.platforms import Handle, Media, Post, instagram

pytestmark = pytest.mark.anyio
REEL = Post(title="Three knots #rope")


async def until_sent(
    world: World, account: Account, kept: Handle, media: Media, watch: Watch, post: Post = REEL
) -> Handle:
    for _ in range(5):
        try:
            sent = await world.send(account, kept, post, media, watch)
        except NotYet as error:
            assert error.code == "not_ready" and error.after_s
            continue
        assert sent is not None
        return sent
    raise AssertionError(watch.told)


# The kinds of post


async def test_a_reel_goes_out_with_what_was_chosen(world: World, watch: Watch) -> None:
    account, film = await world.connect(polls=2), world.film()
    post = replace(REEL, cover_ms=1500, collaborators=("@maya", "ben"), share_to_feed=False)
    kept = await world.begin(account, post, film, watch)
    assert kept.kind == "reel" and kept.upload_url.startswith(
        f"{world.url}/instagram/upload/ig-api-upload/v26.0/"
    )
    sent = await until_sent(world, account, kept, film, watch, post)
    status = await world.status(account, sent, post, film)
    assert status.state == "published" and status.post_ids == (sent.remote_id,)
    assert status.url is not None and status.url.startswith("https://www.instagram.com/reel/")
    found = await goes_out_once(world, account, film)
    assert (found["title"], found["publishId"]) == (post.title, kept.publish_id)
    assert watch.told.index("before last") == watch.told.index("publish ok") - 1
    assert watch.progress[0] == 0 and watch.progress[-1] < len(FILM)


async def test_a_picture_of_the_video_goes_before_a_moment_of_it(world: World) -> None:
    account = await world.connect(polls=0)
    film = world.film(cover=world.picture(7, width_px=1080, height_px=1920))
    post = replace(REEL, use_cover=True, cover_ms=1500)
    sent = await world.posted(account, post, film)
    assert (await world.status(account, sent, post, film)).state == "published"


async def test_a_story_has_no_caption(world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    creator = await instagram.creator(world.app, account.grant)
    worded = Post(title="Words", kind="story")
    assert "title" in instagram.check(creator, worded, film)
    # Should one get here all the same, it is not sent: Instagram would refuse the whole story.
    sent = await world.posted(account, worded, film)
    assert sent.kind == "story"
    assert (await goes_out_once(world, account, film))["title"] == ""


async def test_a_picture_is_posted_by_its_address(world: World) -> None:
    account, picture = await world.connect(), world.picture(1)
    post = Post(title="A knot", alt_text="A bowline in red rope")
    sent = await world.posted(account, post, picture)
    assert (sent.kind, sent.upload_url) == ("image", "")
    status = await world.status(account, sent, post, picture)
    assert status.url is not None and "/p/" in status.url
    await goes_out_once(world, account, picture)


async def test_a_picture_may_be_a_story(world: World) -> None:
    account, picture = await world.connect(), world.picture(2, width_px=1080, height_px=1920)
    sent = await world.posted(account, Post(kind="story"), picture)
    status = await world.status(account, sent, Post(kind="story"), picture)
    assert status.url is not None and "/stories/" in status.url


@pytest.mark.parametrize("count", [2, 10])
async def test_a_carousel_of_few_and_of_many_is_one_post(count: int, world: World, watch: Watch) -> None:
    account = await world.connect()
    pictures = [world.picture(number) for number in range(count)]
    media = replace(pictures[0], more=tuple(pictures[1:]))
    post = Post(title=f"{count} knots")
    creator = await instagram.creator(world.app, account.grant)
    assert instagram.check(creator, post, media) == {}
    kept = await world.begin(account, post, media, watch)
    assert watch.steps("create") == count + 1
    sent = await world.send(account, kept, post, media, watch)
    assert sent is not None and sent.kind == "carousel"
    assert [post["title"] for post in await mine(world, account)] == [f"{count} knots"]


@pytest.mark.parametrize("count", [1, 11])
async def test_a_carousel_of_too_few_or_too_many_is_refused_before_and_by_instagram(
    count: int, world: World
) -> None:
    account = await world.connect()
    pictures = [world.picture(number) for number in range(count)]
    media, post = replace(pictures[0], more=tuple(pictures[1:])), Post(kind="carousel")
    creator = await instagram.creator(world.app, account.grant)
    assert f"this one has {count}" in instagram.check(creator, post, media)["media"]
    with pytest.raises(Permanent) as caught:
        await world.begin(account, post, media)
    assert caught.value.code == "2207028"


async def test_a_carousel_whose_children_were_not_finished_is_joined_by_asking(
    world: World, watch: Watch
) -> None:
    account = await world.connect()
    media, post = replace(world.picture(1), more=(world.picture(2),)), Post(title="Slow")
    made = await world.begin(account, post, media)
    # What `begin` gives when the children took too long: their names, and no whole.
    kept = replace(made, publish_id=json.loads(made.extra["children"])[0], extra={**made.extra, "whole": ""})
    with pytest.raises(NotYet):
        await world.send(account, kept, post, media, watch)
    assert watch.calls == [] and await mine(world, account) == []
    status = await world.status(account, kept, post, media)
    assert status.state == "processing" and status.handle is not None
    whole = Handle.from_text(status.handle.as_text())
    assert whole.publish_id not in (kept.publish_id, made.publish_id)
    assert await world.send(account, whole, post, media) is not None
    assert len(await mine(world, account)) == 1


async def test_where_no_upload_is_taken_the_video_is_fetched_from_us(world: World) -> None:
    account, film = await world.connect(resumable=False, polls=0), world.film()
    sent = await world.posted(account, REEL, film)
    assert sent.upload_url == "" and sent.extra["by"] == "link"
    await goes_out_once(world, account, film)
    with pytest.raises(Permanent) as caught:
        await world.begin(account, REEL, world.film(linked=False))
    assert caught.value.code == "100"


# Waiting


async def test_a_container_that_is_worked_on_is_waited_for_before_the_permit(
    world: World, watch: Watch
) -> None:
    account, film = await world.connect(polls=3), world.film()
    kept = await world.begin(account, REEL, film, watch)
    with pytest.raises(NotYet) as caught:
        await world.send(account, kept, REEL, film, watch)
    assert (caught.value.code, caught.value.after_s) == ("not_ready", 10)
    assert "before last" not in watch.told and await mine(world, account) == []
    old = replace(kept, expires_at=kept.expires_at - timedelta(minutes=5))
    with pytest.raises(NotYet) as caught:
        await world.send(account, old, REEL, film, watch)
    assert caught.value.after_s == 60
    assert watch.steps("upload") == 1, "the bytes are there"
    await until_sent(world, account, kept, film, watch)
    await goes_out_once(world, account, film)


async def test_publishing_too_early_is_unsure_and_asked_about(world: World, watch: Watch) -> None:
    account, film = await world.connect(polls=0), world.film()
    kept = await world.begin(account, REEL, film)
    await world.change(account, says="publish 9007/2207027")
    with pytest.raises(Unsure) as caught:
        await world.send(account, kept, REEL, film, watch)
    assert caught.value.code == "2207027" and watch.told.count("before last") == 1
    status = await world.status(account, kept, REEL, film)
    assert (status.state, status.bytes_received) == ("unpublished", len(FILM))
    await world.change(account, says="")
    assert await world.send(account, kept, REEL, film, watch, len(FILM)) is not None
    await goes_out_once(world, account, film)


async def test_a_container_that_nobody_published_in_a_day_is_over_and_another_may_be_made(
    world: World,
) -> None:
    account, film = await world.connect(polls=0), world.film()
    kept = await world.begin(account, REEL, film)
    world.ahead_s += 24 * 3600 + 1
    status = await world.status(account, kept, REEL, film)
    assert status.state == "failed" and isinstance(status.error, Retryable)
    with pytest.raises(Retryable) as caught:
        await world.send(account, kept, REEL, film)
    assert caught.value.code == "upload_expired"
    assert await mine(world, account) == []


async def test_another_accounts_container_is_gone_for_this_one(world: World) -> None:
    account, other, film = await world.connect(), await world.connect("Other"), world.film()
    kept = await world.begin(account, REEL, film)
    status = await world.status(other, kept, REEL, film)
    assert (status.state, status.reason) == ("gone", "100/33")


# Bytes


@pytest.mark.parametrize("cut_at_byte", [1, 40_000, len(FILM) - 1])
async def test_an_upload_that_is_cut_goes_on_where_instagram_stopped(
    cut_at_byte: int, world: World, watch: Watch
) -> None:
    account, film = await world.connect(polls=0, cutAtByte=cut_at_byte), world.film()
    kept = await world.begin(account, REEL, film)
    assert await world.send(account, kept, REEL, film, watch) is not None
    assert watch.steps("upload") == 2 and cut_at_byte in watch.progress
    await goes_out_once(world, account, film)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "junk_after"])
async def test_an_upload_with_a_lost_answer_is_asked_about_and_sent_once(
    fault: str, world: World, watch: Watch
) -> None:
    account, film = await world.connect(polls=0), world.film()
    kept = await world.begin(account, REEL, film)
    await world.arm(fault, "upload")
    assert await world.send(account, kept, REEL, film, watch) is not None
    assert await world.fired()
    assert watch.steps("upload") == (2 if fault == "drop_before" else 1)
    await goes_out_once(world, account, film)


@pytest.mark.parametrize("fault", ["error_before", "error_after"])
async def test_an_upload_host_in_trouble_is_tried_again_by_the_caller(
    fault: str, world: World, watch: Watch
) -> None:
    account, film = await world.connect(polls=0), world.film()
    kept = await world.begin(account, REEL, film)
    await world.arm(fault, "upload")
    with pytest.raises(Retryable):
        await world.send(account, kept, REEL, film, watch)
    assert await world.send(account, kept, REEL, film, watch) is not None
    assert watch.steps("upload") == (2 if fault == "error_before" else 1)
    await goes_out_once(world, account, film)


async def test_a_sender_that_dies_is_followed_by_one_that_goes_on_at_the_count(
    world: World, watch: Watch
) -> None:
    account, film = await world.connect(polls=0), world.film()
    kept = await world.begin(account, REEL, film)

    class Died(Exception):
        pass

    async def die(at_byte: int) -> None:
        if at_byte >= 50_000:
            raise Died

    with pytest.raises(Died):
        await instagram.send(
            world.app, account.grant, kept, REEL, film, 0, on_progress=die, before_last=watch.before_last
        )
    status = await world.status(account, kept, REEL, film)
    assert status.state == "processing" and 0 <= (status.bytes_received or 0) < len(FILM)
    assert await world.send(account, kept, REEL, film, watch, status.bytes_received or 0) is not None
    assert watch.progress[0] >= (status.bytes_received or 0)
    await goes_out_once(world, account, film)


async def test_an_upload_that_never_gets_on_is_given_back_to_the_caller(world: World, watch: Watch) -> None:
    account, film = await world.connect(), world.film()
    kept = await world.begin(account, REEL, film)
    await world.arm("drop_before", "upload", times=9)
    with pytest.raises(Retryable) as caught:
        await world.send(account, kept, REEL, film, watch)
    assert caught.value.code == "upload_cut" and watch.steps("upload") == 4
    assert await mine(world, account) == []


async def test_the_token_goes_to_no_address_but_metas(world: World, watch: Watch) -> None:
    account, film = await world.connect(), world.film()
    kept = await world.begin(account, REEL, film)
    elsewhere = replace(kept, upload_url="https://rupload.facebook.com.example.org/ig-api-upload/v26.0/1")
    with pytest.raises(Permanent) as caught:
        await world.send(account, elsewhere, REEL, film, watch)
    assert caught.value.code == "upload_address_refused" and watch.progress == []


# Lost answers


@pytest.mark.parametrize("fault", ["drop_after", "error_after", "junk_after"])
async def test_a_publish_whose_answer_is_lost_is_one_post_and_found_again(
    fault: str, world: World, watch: Watch
) -> None:
    account, film = await world.connect(polls=0), world.film()
    await world.posted(account, replace(REEL, title="An older one"), world.film(FILM[:-1]))
    kept = await world.begin(account, REEL, film)
    since = datetime.fromtimestamp(world.clock(), UTC)
    await world.arm(fault, "publish")
    with pytest.raises(Unsure):
        await world.send(account, kept, REEL, film, watch)
    status = await world.status(account, kept, REEL, film, since)
    assert status.state == "published" and status.post_ids == ()
    (found,) = status.candidates
    posts = await mine(world, account)
    assert len(posts) == 2 and found.remote_id == posts[1]["id"] and found.url
    assert watch.steps("publish") == 1
    assert await world.send(account, kept, REEL, film, watch) is None, "it is out: nothing is published again"


async def test_two_posts_with_the_same_caption_are_both_told_and_none_is_chosen(world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    since = datetime.fromtimestamp(world.clock(), UTC)
    first = await world.posted(account, REEL, film)
    second = await world.posted(account, REEL, world.film(FILM[:-1]))
    status = await world.status(account, replace(first, remote_id=""), REEL, film, since)
    assert {each.remote_id for each in status.candidates} == {first.remote_id, second.remote_id}


async def test_an_older_post_with_the_same_caption_is_no_candidate(world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    await world.posted(account, REEL, film)
    world.ahead_s += 3600
    since = datetime.fromtimestamp(world.clock(), UTC)
    second = await world.posted(account, REEL, world.film(FILM[:-1]))
    status = await world.status(account, replace(second, remote_id=""), REEL, film, since)
    assert [each.remote_id for each in status.candidates] == [second.remote_id]


async def test_a_lost_story_is_looked_for_among_the_stories(world: World) -> None:
    account, film, story = await world.connect(polls=0), world.film(), Post(kind="story")
    since = datetime.fromtimestamp(world.clock(), UTC)
    sent = await world.posted(account, story, film)
    status = await world.status(account, replace(sent, remote_id=""), story, film, since)
    assert [each.remote_id for each in status.candidates] == [sent.remote_id]


async def test_a_publish_that_takes_effect_late_is_not_repeated_after_it_did(
    world: World, watch: Watch
) -> None:
    account, film = await world.connect(polls=0), world.film()
    kept = await world.begin(account, REEL, film)
    await world.arm("act_after_cut", "publish", seconds=60)
    with pytest.raises(Unsure):
        await world.send(account, kept, REEL, film, watch)
    assert (await world.status(account, kept, REEL, film)).state == "unpublished"
    world.ahead_s += 61
    # Two runs that both believe the no: the same container is published once all the same.
    assert await world.send(account, kept, REEL, film, watch) is None
    await goes_out_once(world, account, film)


async def test_a_container_whose_answer_is_lost_shows_nothing_to_anybody(world: World, watch: Watch) -> None:
    account, film = await world.connect(polls=0), world.film()
    await world.arm("drop_after", "create")
    with pytest.raises(Unsure) as caught:
        await world.begin(account, REEL, film, watch)
    assert caught.value.code == "init_answer_lost" and watch.steps("create") == 1
    world.ahead_s += 3600
    assert await mine(world, account) == []


@pytest.mark.parametrize(
    "fault", ["drop_before", "error_before", "junk_after", "rate_limit", "token_expired"]
)
async def test_a_link_that_cannot_be_read_fails_and_repeats_nothing(fault: str, world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    sent = await world.posted(account, REEL, film)
    await world.arm(fault, "media")
    status = await world.status(account, sent, REEL, film)
    assert await world.fired()
    assert (status.state, status.post_ids, status.url) == ("published", (sent.remote_id,), None)
    assert await world.count("publish") >= 1
    await goes_out_once(world, account, film)


@pytest.mark.parametrize("fault", ["drop_before", "error_before"])
async def test_a_list_that_cannot_be_read_leaves_the_post_published(fault: str, world: World) -> None:
    account, film = await world.connect(polls=0), world.film()
    sent = await world.posted(account, REEL, film)
    await world.arm(fault, "list")
    status = await world.status(account, replace(sent, remote_id=""), REEL, film)
    assert (status.state, status.candidates) == ("published", ()) and status.after_s
