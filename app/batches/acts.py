"""What is done to all items of a batch at once: one transaction, a result for each, and what one refuses stops none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

from app import accounts, db, events, publishing, videos
from app.batches import imports, rows, shown
from app.batches.rows import Act, Batch, File, Item
from app.batches.shown import ShownItem, Stage
from app.errors import NotFound, Permanent, Refused, WrongState

# Given to whoever asks for one item of several; what may work in a moment fails all of them instead, unwritten.
ANSWERS = (Refused, WrongState, Permanent)


async def act_on(
    conn: db.Conn,
    *,
    workspace_id: int,
    user_id: int,
    act: Act,
    video_ids: Sequence[int],
    asked: videos.wishes.Wishes | None = None,
) -> Batch:
    """Post, retry or cancel these videos in one batch. What cannot be done for one of them is its result.

    `asked` is what a post needs: account, choices, time, and a title in which `{name}` is the video's own. NotFound
    when one of the videos is not the workspace's; nothing is left then.
    """
    videos.uploads.check_open()
    chosen = sorted(set(video_ids))
    rows.check_many(len(chosen), "videoIds")
    found = await videos.show_many(conn, chosen)
    if len(found) < len(chosen):
        raise NotFound("One of these videos is not there any more.")
    wishes = videos.wishes.Wishes() if asked is None else asked
    if act == Act.POST:
        if wishes.account_id is None or wishes.post is None:
            raise Refused("Choose an account.", code="invalid", fields={"accountId": "is missing"})
        await accounts.usable(conn, wishes.account_id)
        for one in found.values():
            videos.check_title(rows.title_of(wishes.title, one.video.title))
    batch = await rows.add(
        conn,
        workspace_id=workspace_id,
        user_id=user_id,
        act=act,
        wishes=wishes.to_json() if act == Act.POST else {},
        found=[
            (File(one.video.filename, one.video.source_bytes, one.video.title), one.video)
            for one in found.values()
        ],
    )
    # In the order of the videos, so that two batches of the same ones wait for each other and never both.
    for item in await rows.items(conn, [batch.id]):
        await _try(conn, batch, item, DO[act])
    return batch


async def retry(conn: db.Conn, batch_id: int) -> int:
    """Try again what failed or was not accepted, each from the step it ended at; gives how many are on their way.

    A second call finds nothing left to try and changes nothing.
    """
    batch = await rows.hold(conn, batch_id)
    accepted = 0
    for one in _ordered(await shown.show(conn, batch_id)):
        if not one.can_retry:
            continue
        again = DO[Act(batch.act)] if one.stage == Stage.REFUSED else _go_on(one)
        accepted += await _try(conn, batch, one.item, again)
    await _note(conn, batch, "retried", accepted)
    return accepted


async def cancel(conn: db.Conn, batch_id: int) -> int:
    """Call off what is not posted yet; gives how many that were. What cannot be stopped any more says so.

    `clear_away` removes the unfinished files afterwards. A second call changes nothing.
    """
    batch = await rows.hold(conn, batch_id)
    # Whoever makes a video of an item shares its lock: from here on there is one, or there will be none.
    await conn.execute("SELECT 1 FROM batch_items WHERE batch_id = %s ORDER BY id FOR UPDATE", [batch_id])
    stopped = 0
    for one in _ordered(await shown.show(conn, batch_id)):
        if not one.can_cancel:
            continue
        if one.stage in (Stage.WORKING, Stage.PLANNED):
            stopped += await _try(conn, batch, one.item, _stop(one))
            continue
        # Files on their way, places without one, and what was not accepted.
        await conn.execute("UPDATE batch_items SET cancelled_at = now() WHERE id = %s", [one.item.id])
        stopped += 1
    await _note(conn, batch, "cancelled", stopped)
    return stopped


async def clear_away(workspace_id: int, batch_id: int) -> None:
    """Drop the unfinished files of places that were called off. Harmless twice; what a crash leaves here makes no
    video, and the sweep of uploads takes it.
    """
    async with db.owned_by(workspace_id) as conn:
        found = (await shown.show(conn, batch_id)).items
    for one in found:
        if one.item.cancelled_at is not None and one.upload is not None:
            await videos.uploads.drop(workspace_id, one.upload.id)


async def remove(conn: db.Conn, batch_id: int, item_id: int) -> str | None:
    """Take a place without a video out of the batch; gives its unfinished upload, for the caller to drop."""
    await rows.hold(conn, batch_id)
    item = await rows.item(conn, item_id, batch_id)
    if item.video_id is not None:
        raise WrongState("This one is a video already: cancel it instead.", code="item_filled")
    upload = (await videos.uploads.of_items(conn, [item_id])).get(item_id)
    await conn.execute("DELETE FROM batch_items WHERE id = %s", [item_id])
    await events.emit(
        conn,
        "batch.item_removed",
        f"batch-{batch_id}",
        workspace_id=item.workspace_id,
        filename=item.filename,
    )
    return None if upload is None else upload.id


def _ordered(found: shown.ShownBatch) -> list[ShownItem]:
    """By video, as every batch takes them."""
    return sorted(found.items, key=lambda one: (one.item.video_id or 0, one.item.id))


Verb = Callable[[db.Conn, Batch, Item], Awaitable[int | None]]


async def _try(conn: db.Conn, batch: Batch, item: Item, verb: Verb) -> bool:
    """Do it in a part of the transaction of its own, and keep what came of it: the post it is about, or the reason."""
    try:
        async with conn.transaction():
            target_id = await verb(conn, batch, item)
    except ANSWERS as error:
        await rows.refuse(conn, item.id, error)
        return False
    await conn.execute(
        """
        UPDATE batch_items
           SET accepted = true, refused = NULL, refused_code = NULL, target_id = coalesce(%s, target_id)
         WHERE id = %s""",
        [target_id, item.id],
    )
    return True


async def _post(conn: db.Conn, batch: Batch, item: Item) -> int | None:
    """Post it to the batch's account; a video that was not made is made first. Never a second time to one account."""
    assert item.video_id is not None
    asked = batch.asked
    assert asked.account_id is not None and asked.post is not None
    before = await videos.get(conn, item.video_id)
    again = before.state in (videos.State.FAILED, videos.State.CANCELLED)
    now = await (videos.retry if again else videos.show)(conn, item.video_id)
    there = [target for target in now.targets if target.account_id == asked.account_id]
    if again and (going := next((target for target in there if not target.over), None)):
        return going.id
    if any(not target.over for target in there):
        raise WrongState("It is on its way to this account already.", code="on_its_way")
    if any(target.state == publishing.State.PUBLISHED for target in there):
        raise WrongState(
            "It is posted on this account already. Its own page can post it once more.", code="posted"
        )
    title = rows.title_of(asked.title, before.title)
    after = await videos.publish_to(
        conn,
        item.video_id,
        user_id=batch.user_id,
        account_id=asked.account_id,
        post=type(asked.post)(**(asdict(asked.post) | {"title": title})),
        publish_at=asked.publish_at,
        zone=asked.zone,
    )
    return after.targets[-1].id


async def _retry(conn: db.Conn, batch: Batch, item: Item) -> int | None:
    assert item.video_id is not None
    after = await videos.retry(conn, item.video_id)
    return None if after.target is None else after.target.id


async def _cancel(conn: db.Conn, batch: Batch, item: Item) -> int | None:
    assert item.video_id is not None
    if not (await videos.show(conn, item.video_id)).can_cancel:
        raise WrongState("There is nothing left to cancel.", code="nothing_to_cancel")
    after = await videos.cancel(conn, item.video_id)
    return None if after.target is None else after.target.id


async def _import(conn: db.Conn, batch: Batch, item: Item) -> int | None:
    return await imports.plan_one(conn, batch, item)


DO: dict[Act, Verb] = {
    Act.POST: _post,
    Act.RETRY: _retry,
    Act.CANCEL: _cancel,
    Act.IMPORT: _import,
}


def _go_on(one: ShownItem) -> Verb:
    """The retry of what failed: the making of the video, or the one post that is the batch's."""

    async def again(conn: db.Conn, batch: Batch, item: Item) -> int | None:
        assert one.shown is not None
        target = one.shown.target
        if one.shown.video.state == videos.State.EDITED and target is not None:
            await videos.retry_target(conn, one.shown.video.id, target.id)
        else:
            await videos.retry(conn, one.shown.video.id)
        return None

    return again


def _stop(one: ShownItem) -> Verb:
    """The end of what is under way for the batch: the making of the video with all that hangs on it, or its post."""

    async def stop(conn: db.Conn, batch: Batch, item: Item) -> int | None:
        assert one.shown is not None
        if one.edits_for_us:
            await videos.cancel(conn, one.shown.video.id)
        elif one.shown.target is not None:
            await publishing.cancel(conn, one.shown.target.id)
        return None

    return stop


async def _note(conn: db.Conn, batch: Batch, what: str, many: int) -> None:
    if many:
        await events.emit(conn, f"batch.{what}", batch.topic, workspace_id=batch.workspace_id, many=many)
