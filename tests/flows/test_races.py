"""Two hands on one video: cancels, retries and further accounts at the wrong moment; each ends true and posts once."""

from __future__ import annotations

import asyncio

import pytest

from app import accounts, config, db, media, platforms, publishing, videos
from tests.makers import Owner, a_video, an_account, an_owner, pieces, shown
from tests.worker import TestWorker, until
from tests.world import World, clip

pytestmark = pytest.mark.anyio

POST = platforms.Post(title="x", privacy_level="SELF_ONLY")


async def an_edited(worker: TestWorker, owner: Owner) -> int:
    video = await a_video(owner, None)
    await worker.run_until_idle()
    return video.id


async def post_to(owner: Owner, video_id: int, account: accounts.Account) -> None:
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.publish_to(conn, video_id, user_id=owner.user_id, account_id=account.id, post=POST)


async def on_two_accounts(worker: TestWorker, owner: Owner) -> tuple[int, accounts.Account]:
    first, second = await an_account(owner, "first"), await an_account(owner, "second")
    video_id = await an_edited(worker, owner)
    for account in (first, second):
        await post_to(owner, video_id, account)
    return video_id, first


async def targets(owner: Owner, video_id: int) -> list[str]:
    return [target.state for target in (await shown(owner, video_id)).targets]


async def test_cancelling_one_post_leaves_the_other_alone(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video_id, _ = await on_two_accounts(worker, owner)
    first = (await shown(owner, video_id)).targets[0]
    async with db.owned_by(owner.workspace_id) as conn:
        await publishing.cancel(conn, first.id)
    await worker.run_until_idle(ahead=True)
    assert await targets(owner, video_id) == ["cancelled", "published"]
    assert len(await world.posts()) == 1


async def test_a_post_of_an_account_that_lost_its_permission_waits_for_it_and_holds_no_other(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    video_id, account = await on_two_accounts(worker, owner)
    ended = "TikTok has ended this account's permission."
    async with db.house() as conn:
        await accounts.lose(conn, account, ended)
    await worker.run_until_idle(ahead=True)
    assert await targets(owner, video_id) == ["scheduled", "published"]
    async with db.house() as conn:
        waiting = (await publishing.of_videos(conn, [video_id]))[video_id][0]
        assert (waiting.reason, waiting.reason_code) == (ended, accounts.NEEDS_RECONNECT)
        await conn.execute(
            "UPDATE accounts SET state = 'connected', reason = NULL WHERE id = %s", [account.id]
        )
        await publishing.release_due(conn)
    await worker.run_until_idle(ahead=True)
    assert await targets(owner, video_id) == ["published", "published"]
    assert len(await world.posts()) == 2


async def test_a_post_of_an_account_that_was_disconnected_fails_and_says_what_to_do(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    video_id, account = await on_two_accounts(worker, owner)
    async with db.house() as conn:
        await accounts.disconnect(conn, account.id)
    await worker.run_until_idle(ahead=True)
    assert await targets(owner, video_id) == ["failed", "published"]
    async with db.house() as conn:
        failed = (await publishing.of_videos(conn, [video_id]))[video_id][0]
    assert failed.reason is not None and "Connect it again" in failed.reason


async def test_a_paused_account_does_not_hold_the_other(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video_id, account = await on_two_accounts(worker, owner)
    async with db.house() as conn:
        await accounts.pause(conn, account.id, True)
    await worker.run_until_idle()
    held, sent = await targets(owner, video_id)
    assert held == "queued"
    # A slow machine is still at it when it is time to ask what became of it.
    assert sent in ("unconfirmed", "published")


async def test_a_post_planned_while_the_job_of_another_runs_is_not_forgotten(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    first, second = await an_account(owner, "first"), await an_account(owner, "second")
    video_id = await an_edited(worker, owner)
    await post_to(owner, video_id, first)
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.publish_to(conn, video_id, user_id=owner.user_id, account_id=second.id, post=POST)
        # The worker goes through everything before this transaction commits.
        await worker.run_until_idle()
    await worker.run_until_idle(ahead=True)
    assert await targets(owner, video_id) == ["published", "published"]
    assert len(await world.posts()) == 2


async def test_a_post_planned_while_the_edit_ends_goes_out(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    account = await an_account(owner)
    video = await a_video(owner, None)
    planned = asyncio.Event()

    async def plan() -> None:
        async with db.owned_by(owner.workspace_id) as conn:
            await videos.publish_to(conn, video.id, user_id=owner.user_id, account_id=account.id, post=POST)
            planned.set()
            await asyncio.sleep(2)

    planning = asyncio.create_task(plan())
    await planned.wait()
    await worker.run_until_idle()
    await planning
    await worker.run_until_idle(ahead=True)
    assert await targets(owner, video.id) == ["published"]


async def test_a_post_cancelled_and_retried_while_it_is_sent_goes_out_once(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    account = await an_account(owner)
    video_id = await an_edited(worker, owner)
    await world.arm("slow", step="creator_info", seconds=3, times=1)
    running_worker = worker.worker()
    running = asyncio.create_task(running_worker.run())
    await post_to(owner, video_id, account)

    async def sends() -> bool:
        return await targets(owner, video_id) == ["publishing"]

    await until(sends)
    target = (await shown(owner, video_id)).targets[0]
    async with db.owned_by(owner.workspace_id) as conn:
        await publishing.cancel(conn, target.id)
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.retry_target(conn, video_id, target.id)
    async with db.house() as conn:
        await conn.execute("DELETE FROM limit_grants")

    async def handed_over() -> bool:
        return await targets(owner, video_id) in (["unconfirmed"], ["published"])

    await until(handed_over, within_s=20)
    running_worker.stop()
    await running
    await worker.run_until_idle(ahead=True)
    assert await targets(owner, video_id) == ["published"]
    assert len(await world.posts()) == 1


async def test_a_video_cancelled_and_retried_while_it_is_edited_goes_out(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    design = media.Design(title=media.Title(text="Slow"), effects=("blur-fill",))
    video = await videos.uploads.take_in(
        pieces(clip(20.0)),
        workspace_id=owner.workspace_id,
        user_id=owner.user_id,
        filename="long.mp4",
        asked=videos.wishes.Wishes(title="Long", account_id=(await an_account(owner)).id, design=design),
    )
    running_worker = worker.worker()
    running = asyncio.create_task(running_worker.run())

    async def edits() -> bool:
        return (await shown(owner, video.id)).video.state == "EDITING"

    await until(edits)
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.cancel(conn, video.id)
    async with db.owned_by(owner.workspace_id) as conn:
        await videos.retry(conn, video.id)

    async def edited() -> bool:
        return (await shown(owner, video.id)).video.state == "EDITED"

    await until(edited, within_s=60)
    running_worker.stop()
    await running
    await worker.run_until_idle(ahead=True)
    assert (await shown(owner, video.id)).state == "POSTED"
    assert len(await world.posts()) == 1


async def test_an_upload_given_up_while_it_ends_leaves_its_video_whole(
    world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    content = clip()
    for _ in range(5):
        upload = await videos.uploads.begin(
            workspace_id=owner.workspace_id,
            user_id=owner.user_id,
            filename="knot.mp4",
            bytes_total=len(content),
            asked=videos.wishes.Wishes(title="A knot"),
        )
        await videos.uploads.append(owner.workspace_id, upload.id, 0, pieces(content))
        ended = await asyncio.gather(
            videos.uploads.finish(owner.workspace_id, upload.id),
            videos.uploads.drop(owner.workspace_id, upload.id),
            return_exceptions=True,
        )
        if isinstance(ended[0], videos.Video):
            await worker.run_until_idle()
            assert (await shown(owner, ended[0].id)).video.state == "EDITED"


async def test_a_paused_accounts_jobs_do_not_use_up_the_starts_of_others(
    world: World, worker: TestWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_VIDEO_UPLOAD_MOST", "3/60")
    config.get.cache_clear()
    owner, other = await an_owner("Maya"), await an_owner("Noor")
    paused, free = await an_account(owner, "paused"), await an_account(other, "free")
    async with db.house() as conn:
        await accounts.pause(conn, paused.id, True)
    for number in range(3):
        await a_video(owner, paused, title=f"video {number}")
    await worker.run_until_idle()
    video = await a_video(other, free)
    await worker.run_until_idle()
    # A slow machine is still at it when it is time to ask what became of it.
    assert (await shown(other, video.id)).state in ("CONFIRMING", "POSTED")


async def test_rows_that_wait_for_a_job_that_is_gone_get_another(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await a_video(owner, await an_account(owner))
    async with db.house() as conn:
        await conn.execute("DELETE FROM procrastinate_jobs WHERE task_name = 'edit-video'")
        await conn.execute("UPDATE videos SET changed_at = now() - interval '6 min'")
        assert await videos.put_back_stranded(conn) == 1
    await worker.run_until_idle()
    await worker.run_until_idle(ahead=True)
    assert (await shown(owner, video.id)).state == "POSTED"
