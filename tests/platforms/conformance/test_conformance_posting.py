"""One post under every fault of the line, by the house's protocol: it ends out, once, and said so."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from app.errors import HouseError, NotYet, Permanent, Unsure
from app.platforms import Handle, Kind
from tests.platforms.conformance.kit import World, a_media
from tests.platforms.conformance.protocol import Ended, Walk
from tests.platforms.conformance.subjects import SUBJECTS, Subject, in_a_storm

pytestmark = pytest.mark.anyio

LINE: dict[str, dict[str, Any]] = {
    "drop_before": {},
    "drop_after": {},
    "error_before": {},
    "error_after": {},
    "junk_after": {},
    "blocked_after": {},
    "slow": {"seconds": 0.02},
    "rate_limit": {},
    "token_expired": {},
    "act_after_cut": {"seconds": 20},
}
# One of each sort for every run: nothing done, done unsaid, nothing readable said.
FEW = ("drop_before", "drop_after", "error_after", "token_expired")


def at_each_step() -> list[Any]:
    found = []
    for subject in SUBJECTS:
        for step in (*subject.steps, subject.sends, subject.asks):
            for fault in LINE:
                marks = () if fault in FEW else (pytest.mark.storm,)
                found.append(
                    pytest.param(subject, step, fault, marks=marks, id=f"{subject.name}-{step}-{fault}")
                )
    return found


async def a_walk(subject: Subject, world: World, **more: Any) -> Walk:
    return Walk(world, subject, await world.connect(subject), a_media(world, **more), subject.post)


async def went_out_once(walk: Walk) -> dict[str, Any]:
    """Exactly one post in the world, and it is this one."""
    posts = await walk.world.posts(walk.subject, walk.account)
    assert len(posts) == 1, (posts, walk.told)
    (post,) = posts
    assert (post["sha256"], post["bytes"]) == (walk.media.sha256, walk.media.bytes_total)
    found: dict[str, Any] = post
    return found


async def test_a_post_goes_out_and_is_linked(subject: Subject, world: World) -> None:
    walk = await a_walk(subject, world)
    assert await walk.run() in ("published", "inbox"), walk.errors
    post = await went_out_once(walk)
    words = subject.post.title or subject.post.description
    assert post["title"] in (subject.post.title, subject.post.description) and words
    assert (walk.begins, walk.permits) == (1, 1)
    assert [error for error in walk.errors if error.code != "not_ready"] == []
    assert walk.progress == sorted(walk.progress) and walk.progress[-1] < walk.media.bytes_total
    status = walk.status
    assert status is not None
    address = subject.adapter.link("maya.makes", status.post_ids[0] if status.post_ids else None)
    assert (status.url or address).startswith("https://")
    assert all(call.outcome == "ok" and call.path.startswith("/") for call in walk.calls)


async def test_asking_again_about_a_post_that_is_out_says_the_same(subject: Subject, world: World) -> None:
    walk = await a_walk(subject, world)
    assert await walk.run() == "published"
    world.ahead_s += 3600
    first = walk.status
    await walk.asked(lambda: walk.ask(walk.post))
    assert walk.status is not None and first is not None
    assert walk.status.state == "published"
    assert set(first.post_ids) <= set(walk.status.post_ids)
    await went_out_once(walk)


async def test_sending_a_post_that_is_out_already_posts_nothing_more(subject: Subject, world: World) -> None:
    """The protocol asks first; an adapter bears it all the same."""
    walk = await a_walk(subject, world)
    assert await walk.run() == "published"
    walk.committed_at = None
    with suppress(HouseError, Ended):
        await walk.send(walk.post, walk.media.bytes_total)
    world.ahead_s += 600
    await went_out_once(walk)


async def test_the_permit_is_taken_once_right_before_the_last_call(subject: Subject, world: World) -> None:
    walk = await a_walk(subject, world)
    await walk.run()
    at = walk.told.index("permit")
    assert walk.told.count("permit") == 1
    made = [each for each in walk.told[at + 1 :] if each.endswith(" ok")]
    assert made, "the irreversible call is told"
    assert "kept" in walk.told[:at], "the handle is there before anything irreversible"


async def test_a_begun_post_of_which_nothing_is_sent_is_never_seen(subject: Subject, world: World) -> None:
    walk = await a_walk(subject, world)
    creator = await subject.adapter.creator(world.app(subject), walk.account.grant)
    assert await walk.begin(subject.adapter.fit(creator, walk.post))
    world.ahead_s += 7200
    assert await world.posts(subject, walk.account) == []


@pytest.mark.parametrize("fault", LINE)
async def test_the_last_calls_lost_answer_doubles_nothing(fault: str, subject: Subject, world: World) -> None:
    walk = await a_walk(subject, world)
    await world.arm(subject, fault, "last_chunk", **LINE[fault])
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert await world.fired()
    await went_out_once(walk)


@pytest.mark.parametrize(
    "fault", in_a_storm("token_expired", "rate_limit", "drop_before", "error_after", "junk_after")
)
async def test_trouble_in_asking_after_a_lost_answer_doubles_nothing(
    fault: str, subject: Subject, world: World
) -> None:
    walk = await a_walk(subject, world)
    await world.arm(subject, "drop_after", "last_chunk")
    # A second token that dies at once would end the connection, and rightly.
    times = 1 if fault == "token_expired" else 3
    await world.arm(subject, fault, subject.doubts or subject.asks, times=times)
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert walk.permits == 1
    await went_out_once(walk)


@pytest.mark.parametrize("seconds", [300, 4000])
async def test_a_last_call_that_takes_effect_late_doubles_nothing(
    seconds: int, subject: Subject, world: World
) -> None:
    walk = await a_walk(subject, world)
    await world.arm(subject, "act_after_cut", "last_chunk", seconds=seconds)
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    world.ahead_s += seconds
    await went_out_once(walk)


@pytest.mark.parametrize("fault", ["drop_after", "error_after"])
async def test_answers_lost_again_and_again_double_nothing(
    fault: str, subject: Subject, world: World
) -> None:
    walk = await a_walk(subject, world)
    await world.arm(subject, fault, rate=0.4, seed=f"{subject.name}-{fault}")
    assert await walk.run(most_rounds=200) in ("published", "inbox", "failed"), walk.told
    await world.clear()
    if walk.permits:
        await went_out_once(walk)


@pytest.mark.parametrize(("subject", "step", "fault"), at_each_step())
async def test_a_fault_at_any_step_costs_time_and_no_post(
    subject: Subject, step: str, fault: str, world: World
) -> None:
    walk = await a_walk(subject, world)
    await world.arm(subject, fault, step, **LINE[fault])
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert await world.fired(), "the fault met no call"
    await went_out_once(walk)


@pytest.mark.parametrize("at", [0.2, 0.7])
async def test_a_sender_that_dies_in_the_middle_is_followed_by_another(
    at: float, subject: Subject, world: World
) -> None:
    walk = await a_walk(subject, world)
    walk.media = a_media(world, tear_at=[int(walk.media.bytes_total * at)])
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert walk.begins == 1, "the same handle is used"
    await went_out_once(walk)


async def test_a_sender_that_dies_after_the_permit_is_asked_about(subject: Subject, world: World) -> None:
    walk = await a_walk(subject, world)

    walk.dies_at_permit = True
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert walk.permits == 2
    await went_out_once(walk)


async def test_a_handle_that_nobody_used_in_time_is_followed_by_a_new_one(
    subject: Subject, world: World
) -> None:
    walk = await a_walk(subject, world)
    creator = await subject.adapter.creator(world.app(subject), walk.account.grant)
    await walk.begin(subject.adapter.fit(creator, walk.post))
    world.ahead_s += subject.upload_lives_s
    await walk.renew()
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    await went_out_once(walk)


async def test_a_kept_handle_reads_back_the_same(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    post = adapter.fit(await adapter.creator(app, account.grant), subject.post)
    handle = await adapter.begin(app, account.grant, post, a_media(world))
    assert Handle.from_text(handle.as_text()) == handle
    assert handle.publish_id and handle.expires_at.tzinfo is not None


async def test_two_posts_of_the_same_video_are_two_posts(subject: Subject, world: World) -> None:
    """The world would show a double: the same content twice is two rows of the ledger."""
    walk = await a_walk(subject, world)
    await walk.run()
    again = Walk(world, subject, walk.account, a_media(world), walk.post)
    if await again.run() == "failed":
        assert any(subject.adapter.verdict(error.code).kind is Kind.DUPLICATE for error in again.errors)
        return
    assert len(await world.posts(subject, walk.account)) == 2


async def test_bytes_go_nowhere_but_to_the_platform(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    post = adapter.fit(await adapter.creator(app, account.grant), subject.post)
    media = a_media(world)
    handle = await adapter.begin(app, account.grant, post, media)
    if not handle.upload_url:
        return
    walk = Walk(world, subject, account, media, post)
    for elsewhere in ("http://127.0.0.1:9/upload", "https://example.org/upload?upload_id=1"):
        with pytest.raises(HouseError) as caught:
            await adapter.send(
                app, account.grant, replace(handle, upload_url=elsewhere), post, media, 0,
                on_progress=walk.on_progress, before_last=walk.before_last,
            )  # fmt: skip
        assert (type(caught.value), caught.value.code) == (Permanent, "upload_address_refused")
    assert walk.progress == [] and walk.permits == 0


@pytest.mark.parametrize("which", ["looks", "begins"])
async def test_a_call_too_many_is_told_to_wait_in_a_sentence(
    which: str, subject: Subject, world: World
) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    post = adapter.fit(await adapter.creator(app, account.grant), subject.post)
    await world.arm(subject, "rate_limit")
    call = (
        adapter.profile(app, account.grant)
        if which == "looks"
        else adapter.begin(app, account.grant, post, a_media(world))
    )
    with pytest.raises(HouseError) as caught:
        await call
    error = caught.value
    assert isinstance(error, NotYet), error
    assert adapter.verdict(error.code).kind in (Kind.RETRY_AFTER, Kind.QUOTA)
    assert (error.after_s or 0) > 0 and error.message.endswith(".") and adapter.LABEL in error.message


@pytest.mark.parametrize("fault", ["drop_after", "error_after", "junk_after", "rate_limit", "blocked_after"])
async def test_after_the_last_call_an_unclear_answer_is_unsure_and_never_a_no(
    fault: str, subject: Subject, world: World
) -> None:
    """Also where the platform says that it blocked the call: only asking tells (reliability, section 2)."""
    walk = await a_walk(subject, world)
    await world.arm(subject, fault, "last_chunk", **LINE[fault])
    assert await walk.run(until_permit=True) == "sent", walk.told
    assert walk.permits == 1 and isinstance(walk.errors[-1], Unsure), walk.errors
