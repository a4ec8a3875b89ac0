"""Changed minds, lost permissions and late pictures: what was begun for another wish never goes out for this one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg.types.json import Jsonb

from app import accounts, db, platforms, publishing
from app.errors import Refused, Retryable
from app.publishing import publications, release, rows, work
from app.publishing.publications import Publication
from tests.makers import Owner, an_owner
from tests.publishing.room_kit import a_video, an_account, in_, planned, target

pytestmark = pytest.mark.anyio
RUN = 10**9
CREATOR = {"handle": "m", "display_name": "M", "avatar_url": None, "kinds": ["reel", "image", "carousel"]}


async def a_picture(owner: Owner, state: str = "EDITED") -> int:
    video_id = await a_video(owner, state=state)
    async with db.house() as conn:
        await conn.execute(
            "UPDATE videos SET source_type = 'image/jpeg', edited_key = %s WHERE id = %s",
            [f"picture-{video_id}", video_id],
        )
    return video_id


async def becomes_ready(video_id: int) -> None:
    """The picture's own edit ends, as the room of videos ends it."""
    async with db.house() as conn:
        for state in ("EDITING", "EDITED"):
            await conn.execute("UPDATE videos SET state = %s WHERE id = %s", [state, video_id])
        _, media = await publications.video_to_post(conn, video_id)
        assert media is not None
        await release.supply(conn, video_id, media)


async def a_carousel(owner: Owner, first: int, *more: int) -> Publication:
    account = await an_account(owner, platform="instagram", creator=Jsonb(CREATOR))
    post = platforms.Post(title="Boats", kind="carousel", pictures=more)
    return await planned(owner, first, account, post=post)


async def on_its_way(made: Publication) -> publishing.Target:
    """Taken by a run, which has begun something at the platform."""
    async with db.house() as conn:
        taken = await rows.move(conn, made.targets[0].id, rows.State.PUBLISHING, run=RUN, take_over=True)
        await conn.execute(
            "INSERT INTO target_attempts (workspace_id, target_id, run, publish_id, inits)"
            " VALUES (%s, %s, %s, 'begun', 1)",
            [taken.workspace_id, taken.id, RUN],
        )
    return taken


async def open_attempts(target_id: int) -> int:
    async with db.house() as conn:
        return int(
            await db.value(
                conn,
                "SELECT count(*) FROM target_attempts WHERE target_id = %s AND outcome IS NULL",
                [target_id],
            )
        )


@pytest.mark.parametrize("state", ["EDITED", "EDITING_QUEUED"])
async def test_a_strangers_picture_is_refused_whether_mine_is_ready_or_not(maya: Owner, state: str) -> None:
    theirs = await a_picture(await an_owner("Noor"))
    mine = await a_picture(maya, state=state)
    with pytest.raises(Refused) as caught:
        await a_carousel(maya, mine, theirs)
    assert "no picture of yours" in str(caught.value.fields)
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM targets") == 0


async def test_a_carousel_waits_for_its_last_picture_and_spoils_nothing_meanwhile(maya: Owner) -> None:
    first, second = await a_picture(maya, "EDITING_QUEUED"), await a_picture(maya, "EDITING_QUEUED")
    made = await a_carousel(maya, first, second)
    await becomes_ready(first)
    waiting = await target(made.targets[0].id)
    assert (waiting.state, waiting.media, waiting.reason_code) == ("scheduled", None, "not_ready")
    await becomes_ready(second)
    ready = await target(made.targets[0].id)
    assert ready.media is not None
    assert [ready.media["key"], *(one["key"] for one in ready.media["more"])] == [
        f"picture-{first}",
        f"picture-{second}",
    ]


async def test_a_moved_post_is_not_put_back_in_line_by_its_old_run(maya: Owner) -> None:
    made = await planned(maya, await a_video(maya), await an_account(maya), when=publishing.When.now("UTC"))
    taken = await on_its_way(made)
    async with db.owned_by(maya.workspace_id) as conn:
        await publishing.move_target(conn, taken.id, in_(days=7))
    await work._back_in_line(taken, RUN, Retryable("The upload broke off.", code="upload_cut"))
    assert (await target(taken.id)).state == "scheduled"


async def test_an_edit_ends_what_was_begun_with_the_old_words(maya: Owner) -> None:
    made = await planned(maya, await a_video(maya), await an_account(maya), when=publishing.When.now("UTC"))
    taken = await on_its_way(made)
    await work._wait_for_account(taken, RUN, "The permission has ended.")
    assert await open_attempts(taken.id) == 1
    async with db.owned_by(maya.workspace_id) as conn:
        await publishing.move_target(conn, taken.id, in_(days=1))
        await publishing.edit_target(conn, taken.id, replace(taken.choices, title="New words"))
    assert await open_attempts(taken.id) == 0


async def test_the_starts_of_a_post_that_began_nothing_go_back(maya: Owner) -> None:
    made = await planned(maya, await a_video(maya), await an_account(maya), when=publishing.When.now("UTC"))
    post = made.targets[0]
    async with db.house() as conn:
        await conn.execute("INSERT INTO limits VALUES ('day')")
        await conn.execute(
            "INSERT INTO limit_grants (key, holder, at, started) VALUES ('day', %s, clock_timestamp(), true)",
            [f"target-{post.id}"],
        )
        await rows.move(conn, post.id, rows.State.PUBLISHING, run=RUN, take_over=True)
        await conn.execute(
            "INSERT INTO target_attempts (workspace_id, target_id, run) VALUES (%s, %s, %s)",
            [post.workspace_id, post.id, RUN],
        )
    async with db.owned_by(maya.workspace_id) as conn:
        await publishing.cancel(conn, post.id)
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM limit_grants") == 0


async def test_the_longer_of_two_holds_counts_and_a_success_lifts_none(maya: Owner) -> None:
    account_id = await an_account(maya)
    async with db.house() as conn:
        now = await db.value(conn, "SELECT now()")
        day, quarter = in_(days=1).at, in_(minutes=15).at
        await accounts.set_hold(conn, account_id, day, "A day's cap.")
        await accounts.set_hold(conn, account_id, quarter, "Slow down.")
        await accounts.set_success(conn, account_id)
        held = await accounts.get(conn, account_id)
    assert (held.held_until, held.held_reason) == (day, "A day's cap.") and held.held_until > now
