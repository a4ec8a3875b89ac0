"""Three videos in one batch through branding and posting: one fails, and the retry touches that one alone."""

from __future__ import annotations

import pytest

from app import batches, config, db, videos
from tests.makers import Owner, an_account, an_owner, pieces
from tests.worker import TestWorker
from tests.world import World, clip

pytestmark = pytest.mark.anyio


async def a_batch(owner: Owner, account_id: int, names: list[str]) -> int:
    async with db.owned_by(owner.workspace_id) as conn:
        batch = await batches.upload_all(
            conn,
            workspace_id=owner.workspace_id,
            user_id=owner.user_id,
            files=[batches.File(f"{name}.mp4", len(clip()), name) for name in names],
            asked=videos.wishes.Wishes(account_id=account_id),
        )
    return batch.id


async def standing(owner: Owner, batch_id: int) -> batches.ShownBatch:
    async with db.owned_by(owner.workspace_id) as conn:
        return await batches.show(conn, batch_id)


async def send(owner: Owner, place: batches.ShownItem) -> None:
    """The file of one place by the resumable upload, in two pieces."""
    async with db.owned_by(owner.workspace_id) as conn:
        asked = await batches.open_place(conn, place.item.id)
    upload = await videos.uploads.begin(
        workspace_id=owner.workspace_id,
        user_id=owner.user_id,
        filename=place.filename,
        bytes_total=len(clip()),
        asked=asked,
        item_id=place.item.id,
    )
    half = len(clip()) // 2
    await videos.uploads.append(owner.workspace_id, upload.id, 0, pieces(clip()[:half]))
    await videos.uploads.append(owner.workspace_id, upload.id, half, pieces(clip()[half:]))
    await videos.uploads.finish(owner.workspace_id, upload.id)


@pytest.fixture
def no_pause(settings: config.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """One account's pause between two posts is a limit of its own; here it would only be waited for."""
    monkeypatch.setenv("ACCOUNT_UPLOADS_MOST", "none")
    config.get.cache_clear()


async def test_of_three_one_fails_and_its_retry_posts_it_and_no_other_again(
    no_pause: None, world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    account = await an_account(owner)
    batch_id = await a_batch(owner, account.id, ["Red", "Green", "Blue"])
    for place in (await standing(owner, batch_id)).items:
        await send(owner, place)
    begun = await standing(owner, batch_id)
    assert (begun.status, [one.state for one in begun.items]) == ("running", ["EDITING_QUEUED"] * 3)

    await world.arm("spam_risk_text")
    await worker.run_until_idle(ahead=True)
    after = await standing(owner, batch_id)
    assert (after.status, after.counts.done, after.counts.failed) == ("partly_failed", 2, 1)
    [lost] = [one for one in after.items if one.state == "FAILED"]
    assert lost.reason is not None and "caption" in lost.reason
    # It was uploaded and branded, so a third of one of three is missing.
    assert after.progress == pytest.approx(100 - 100 / 9)
    before = await world.posts()
    assert sorted(post["title"] for post in before) == sorted({"Red", "Green", "Blue"} - {lost.title})

    for accepted in (1, 0):
        async with db.owned_by(owner.workspace_id) as conn:
            assert await batches.retry(conn, batch_id) == accepted
    await worker.run_until_idle(ahead=True)
    done = await standing(owner, batch_id)
    assert (done.status, done.progress, [one.state for one in done.items]) == ("done", 100, ["POSTED"] * 3)
    posts = await world.posts()
    assert sorted(post["title"] for post in posts) == ["Blue", "Green", "Red"]
    assert posts[: len(before)] == before
    async with db.house() as conn:
        edits = await db.value(conn, "SELECT count(*) FROM events WHERE name = 'video.edited'")
    assert edits == 3


async def test_a_cancel_amid_the_work_posts_nothing_more(
    no_pause: None, world: World, worker: TestWorker
) -> None:
    owner = await an_owner()
    account = await an_account(owner)
    batch_id = await a_batch(owner, account.id, ["Red", "Green", "Blue"])
    places = (await standing(owner, batch_id)).items
    await send(owner, places[0])
    await worker.run_until_idle(ahead=True)
    await send(owner, places[1])
    async with db.owned_by(owner.workspace_id) as conn:
        assert await batches.cancel(conn, batch_id) == 2
    await worker.run_until_idle(ahead=True)
    after = await standing(owner, batch_id)
    assert [one.state for one in after.items] == ["POSTED", "CANCELLED", "CANCELLED"]
    assert [post["title"] for post in await world.posts()] == ["Red"]
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'") == 0
