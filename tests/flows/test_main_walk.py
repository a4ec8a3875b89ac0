"""Upload → brand → publish: the walk of the house's main job, on a real database, real ffmpeg and the simulator."""

from __future__ import annotations

import pytest

from app import db, events, media, videos
from tests.makers import a_video, an_account, an_owner, shown
from tests.worker import TestWorker
from tests.world import World

pytestmark = pytest.mark.anyio

TITLED = media.Design(title=media.Title(text="Three knots"))


async def test_a_video_is_branded_and_posted_once(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    account = await an_account(owner)
    video = await a_video(owner, account, design=TITLED)
    assert (await shown(owner, video.id)).state == "EDITING_QUEUED"
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    assert (after.state, after.progress, after.reason) == ("POSTED", 100, None)
    assert after.target is not None and after.target.url is not None
    assert after.target.url.startswith("https://www.tiktok.com/@")
    (post,) = await world.posts()
    assert (post["sha256"], post["bytes"], post["title"]) == (
        after.video.edited_sha256,
        after.video.edited_bytes,
        "A knot",
    )
    assert {still.kind for still in after.renditions} == {
        *("poster", "small", "medium", "large"),
        *("storyboard-0", "storyboard-vtt"),
    }


async def test_the_timeline_tells_every_step_in_order(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    async with db.owned_by(owner.workspace_id) as conn:
        told: list[events.Event] = await videos.timeline(conn, after)
    assert [event.name for event in told] == [
        "video.uploaded",
        "video.editing_queued",
        "video.editing",
        "video.edited",
        "target.queued",
        "target.publishing",
        "target.unconfirmed",
        "target.published",
    ]


async def test_a_lost_answer_to_the_last_chunk_is_asked_about_and_not_repeated(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    await world.arm("drop_after", step="last_chunk")
    await worker.run_until_idle(ahead=True)
    assert (await shown(owner, video.id)).state == "POSTED"
    assert len(await world.posts()) == 1


async def test_lost_answers_to_harmless_calls_cost_no_post(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    for step in ("creator_info", "init", "status"):
        await world.arm("drop_after", step=step)
    await worker.run_until_idle(ahead=True)
    assert (await shown(owner, video.id)).state == "POSTED"
    assert len(await world.posts()) == 1


async def test_a_token_that_expires_between_init_and_status_is_renewed(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    await world.arm("token_expired", step="status")
    await worker.run_until_idle(ahead=True)
    assert (await shown(owner, video.id)).state == "POSTED"
    assert len(await world.posts()) == 1


async def test_a_refused_caption_fails_with_the_reason_and_can_be_retried(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    await world.arm("spam_risk_text")
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    assert (after.state, after.reason_code) == ("FAILED", "spam_risk_text")
    assert after.reason is not None and "caption" in after.reason
    assert await world.posts() == []
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.retry(conn, video.id)
        # The account's five minutes are counted from the first start, so the second one would wait.
    async with db.house() as conn:
        await conn.execute("DELETE FROM limit_grants")
    await worker.run_until_idle(ahead=True)
    assert (await shown(owner, video.id)).state == "POSTED"
    assert len(await world.posts()) == 1


async def test_the_second_post_of_an_account_waits_five_minutes_without_using_a_try(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    account = await an_account(owner)
    first = await a_video(owner, account, title="One")
    second = await a_video(owner, account, title="Two")
    await worker.run_until_idle()
    async with db.house() as conn:
        await conn.execute(
            "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = 'settle-target' AND status = 'todo'"
        )
    await worker.run_until_idle()
    states = {(await shown(owner, video.id)).state for video in (first, second)}
    assert "UPLOAD_QUEUED" in states
    waiting = next(
        after
        for after in [await shown(owner, video.id) for video in (first, second)]
        if after.state == "UPLOAD_QUEUED"
    )
    assert waiting.waiting is not None
    assert len(await world.posts()) == 1


async def test_cancelling_a_waiting_video_stops_its_post_too(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.cancel(conn, video.id)
    await worker.run_until_idle(ahead=True)
    after = await shown(owner, video.id)
    assert (after.state, after.targets[0].state) == ("CANCELLED", "cancelled")
    assert await world.posts() == []


async def test_a_cancelled_video_goes_the_whole_way_after_a_retry(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.cancel(conn, video.id)
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.retry(conn, video.id)
    await worker.run_until_idle(ahead=True)
    assert (await shown(owner, video.id)).state == "POSTED"
    assert len(await world.posts()) == 1


async def test_a_token_that_dies_right_before_init_is_renewed(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    await world.arm("token_expired", step="init")
    await worker.run_until_idle(ahead=True)
    assert (await shown(owner, video.id)).state == "POSTED"
    assert len(await world.posts()) == 1
