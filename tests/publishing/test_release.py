"""What is due is put in line: fair between owners, after an outage as each account wants it, and never of an account
that cannot post.
"""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from app import db, publishing
from app.errors import WrongState
from app.publishing import When
from app.publishing.release import AT_ONCE
from tests.makers import Owner, an_owner
from tests.publishing.room_kit import a_video, an_account, let_time_pass, planned, target
from tests.worker import until

pytestmark = pytest.mark.anyio


async def release() -> list[publishing.Target]:
    async with db.house() as conn:
        return await publishing.release_due(conn)


async def due(owner: Owner, account_id: int, **late: float) -> int:
    """A ready post that was planned and is due since so long ago."""
    publication = await planned(owner, await a_video(owner), account_id)
    await let_time_pass(publication.targets[0].id, **late)
    return publication.targets[0].id


async def set_account(account_id: int, **columns: Any) -> None:
    async with db.house() as conn:
        for name, value in columns.items():
            await conn.execute(f"UPDATE accounts SET {name} = %s WHERE id = %s", [value, account_id])  # type: ignore[arg-type]  # names of our own


async def alarms() -> list[datetime]:
    async with db.house() as conn:
        found = await db.rows(
            conn,
            "SELECT scheduled_at FROM procrastinate_jobs WHERE task_name = 'release-at' ORDER BY 1",
        )
    return [row[0] for row in found]


async def test_what_is_due_goes_and_what_is_not_stays(maya: Owner) -> None:
    account_id = await an_account(maya)
    first = await due(maya, account_id, seconds=3)
    later = (await planned(maya, await a_video(maya), account_id)).targets[0].id
    assert [one.id for one in await release()] == [first]
    assert (await target(later)).state == "scheduled"
    assert await release() == []


async def test_one_owner_with_a_thousand_posts_does_not_keep_another_waiting(maya: Owner) -> None:
    noor = await an_owner("Noor")
    hers = await planned(maya, await a_video(maya), await an_account(maya))
    async with db.house() as conn:
        # A thousand more like hers, and older than Noor's.
        await conn.execute(
            """
            INSERT INTO targets (workspace_id, publication_id, video_id, account_id, platform, post, media,
                                 publish_at, zone, state)
            SELECT workspace_id, publication_id, video_id, account_id, platform, post, media,
                   now() - make_interval(secs => 300 + number * 0.01), zone, state
              FROM targets, generate_series(1, 1000) AS number
             WHERE targets.id = %s""",
            [hers.targets[0].id],
        )
    theirs = await due(noor, await an_account(noor), seconds=1)
    released = await release()
    assert [one.id for one in released].index(theirs) == 1
    # As many as one commit takes, and those in the order in which the queue gets them.
    assert len(released) == AT_ONCE
    times = [one.publish_at for one in released if one.workspace_id == maya.workspace_id]
    assert times == sorted(times)


async def test_posts_of_one_moment_share_an_alarm(maya: Owner) -> None:
    noor = await an_owner("Noor")
    when = (await planned(maya, await a_video(maya), await an_account(maya))).targets[0].when
    for owner in (maya, noor):
        await planned(owner, await a_video(owner), await an_account(owner), when=when)
    assert await alarms() == [when.at]


async def test_what_was_due_in_an_outage_goes_out_one_after_another(maya: Owner) -> None:
    account_id, other = await an_account(maya), await an_account(maya)
    late = [await due(maya, account_id, hours=3 - number) for number in range(3)]
    elsewhere = await due(maya, other, hours=2)
    on_time = await due(maya, account_id, minutes=2)
    assert {one.id for one in await release()} == {late[0], elsewhere, on_time}
    turns = [await target(target_id) for target_id in late[1:]]
    assert [one.state for one in turns] == ["scheduled"] * 2
    gaps = [one.release_at for one in turns]
    assert gaps[0] is not None and gaps[1] is not None
    assert gaps[1] - gaps[0] == timedelta(minutes=5)
    first = await target(late[0])
    assert first.released_at is not None
    assert timedelta(minutes=4, seconds=50) < gaps[0] - first.released_at < timedelta(minutes=5, seconds=10)
    assert turns[0].reason_code == "in_turn" and "in turn" in (turns[0].reason or "")
    assert set(gaps) <= set(await alarms())
    # Nothing more until it is their turn; then the next one, and no second one with it.
    assert await release() == []
    async with db.house() as conn:
        await conn.execute("UPDATE targets SET release_at = now() WHERE id = %s", [late[1]])
    [second] = await release()
    assert second.id == late[1] and second.release_at is None and second.reason is None


async def test_an_account_s_own_gap_is_kept(maya: Owner) -> None:
    account_id = await an_account(maya, outage_gap_s=1800)
    late = [await due(maya, account_id, hours=3 - number) for number in range(3)]
    await release()
    second, third = [(await target(target_id)).release_at for target_id in late[1:]]
    assert second is not None and third is not None and third - second == timedelta(minutes=30)


async def test_two_rounds_at_once_give_no_turn_twice(maya: Owner) -> None:
    account_id = await an_account(maya)
    late = [await due(maya, account_id, hours=6 - number) for number in range(4)]
    taken = asyncio.Event()

    async def first_round() -> list[publishing.Target]:
        async with db.house() as conn:
            found = await publishing.release_due(conn, most=2)
            taken.set()
            await until(waits_for_a_lock)
            return found

    async def second_round() -> list[publishing.Target]:
        await taken.wait()
        return await release()

    released = await asyncio.gather(first_round(), second_round())
    assert [len(found) for found in released] == [1, 0]
    turns = sorted(
        one.release_at for one in [await target(each) for each in late] if one.release_at is not None
    )
    assert len(turns) == 3
    assert all(after - before >= timedelta(minutes=5) for before, after in itertools.pairwise(turns))


async def waits_for_a_lock() -> bool:
    async with db.house() as conn:
        return bool(
            await db.value(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        )


async def test_an_account_may_hold_what_was_late_until_somebody_decides(maya: Owner) -> None:
    account_id = await an_account(maya, outage_policy="hold")
    first, second, third = [await due(maya, account_id, hours=2) for _ in range(3)]
    assert await release() == [] and await release() == []
    held = await target(first)
    assert held.state == "scheduled" and held.held_at is not None and held.reason_code == "held"
    assert "could not go out then" in (held.reason or "")
    async with db.owned_by(maya.workspace_id) as conn:
        assert {one.id for one in await publishing.missed(conn)} == {first, second, third}
        assert (await publishing.approve_held(conn, first)).state == "queued"
        skipped = await publishing.skip(conn, second)
        assert (skipped.state, skipped.reason_code) == ("cancelled", "skipped")
        moved = await publishing.move_target(conn, third, When.instant(held.held_at + timedelta(days=1)))
        assert moved.state == "scheduled" and moved.held_at is None and moved.reason is None
        assert await publishing.missed(conn) == []
        with pytest.raises(WrongState):
            await publishing.approve_held(conn, third)


async def test_an_account_may_let_be_what_was_late(maya: Owner) -> None:
    target_id = await due(maya, await an_account(maya, outage_policy="miss"), hours=2)
    assert await release() == []
    missed = await target(target_id)
    assert (missed.state, missed.reason_code) == ("missed", "missed")
    async with db.owned_by(maya.workspace_id) as conn:
        [publication] = await publishing.publications.list_for(conn)
        assert publication.state == "missed" and publication.to_retry == 1
        assert await publishing.retry_failed(conn, publication.id) == 1
        assert await publishing.retry_failed(conn, publication.id) == 0
    assert (await target(target_id)).state == "queued"


@pytest.mark.parametrize("policy", ["spread", "hold", "miss"])
async def test_a_quarter_of_an_hour_is_no_outage(maya: Owner, policy: str) -> None:
    account_id = await an_account(maya, outage_policy=policy)
    on_time = [await due(maya, account_id, minutes=14, seconds=30) for _ in range(2)]
    assert {one.id for one in await release()} == set(on_time)


async def test_what_waits_for_an_account_says_so_and_follows_its_rule_afterwards(maya: Owner) -> None:
    account_id = await an_account(maya, outage_policy="hold")
    target_id = await due(maya, account_id, minutes=5)
    await set_account(account_id, state="needs_reconnect", reason="TikTok wants you to connect it again.")
    for _ in range(2):
        assert await release() == []
    waiting = await target(target_id)
    assert (waiting.state, waiting.reason_code) == ("scheduled", "needs_reconnect")
    assert waiting.reason == "TikTok wants you to connect it again."
    await set_account(account_id, state="connected", reason=None)
    [gone] = await release()
    assert gone.reason is None
    late = await due(maya, account_id, hours=2)
    await set_account(account_id, state="needs_reconnect")
    await release()
    await set_account(account_id, state="connected")
    assert await release() == []
    assert (await target(late)).held_at is not None


async def test_waiting_accounts_leave_room_for_the_others(maya: Owner) -> None:
    broken = await an_account(maya, state="connected")
    for _ in range(3):
        await due(maya, broken, seconds=30)
    await set_account(broken, state="needs_reconnect")
    going = await due(maya, await an_account(maya), seconds=1)
    async with db.house() as conn:
        assert [one.id for one in await publishing.release_due(conn, most=1)] == [going]


async def test_posts_of_a_disconnected_account_fail_with_the_reason(maya: Owner) -> None:
    account_id = await an_account(maya)
    target_id = await due(maya, account_id, seconds=3)
    await set_account(account_id, state="disconnected")
    assert await release() == []
    failed = await target(target_id)
    assert (failed.state, failed.reason_code) == ("failed", "disconnected")
    assert "Connect it again" in (failed.reason or "")


async def test_what_waited_for_its_video_goes_as_soon_as_that_is_there(maya: Owner) -> None:
    video_id = await a_video(maya, state="EDITING_QUEUED")
    account_id = await an_account(maya, outage_policy="miss")
    now = await planned(maya, video_id, account_id, when=When.now("UTC"))
    late = await planned(maya, video_id, await an_account(maya, outage_policy="miss"))
    later = await planned(maya, video_id, await an_account(maya))
    await let_time_pass(late.targets[0].id, hours=3)
    assert await release() == []
    file = publishing.Media("edited", 1000, "sha", "video/mp4", 2.0, 1080, 1920, 30.0)
    async with db.house() as conn:
        await publishing.supply(conn, video_id, file)
        await publishing.supply(conn, video_id, file)
    states = [(await target(one.targets[0].id)).state for one in (now, late, later)]
    assert states == ["queued", "queued", "scheduled"]
    assert (await target(later.targets[0].id)).to_send == file


async def test_a_new_poster_releases_nothing(maya: Owner) -> None:
    account_id = await an_account(maya, outage_policy="hold")
    target_id = await due(maya, account_id, hours=1)
    file = publishing.Media("edited", 1000, "sha", "video/mp4", 2.0, 1080, 1920, 30.0, {"key": "poster"})
    async with db.house() as conn:
        await publishing.supply(conn, (await target(target_id)).video_id, file)
    assert (await target(target_id)).state == "scheduled"
    # Code before this one knows TikTok's posts, and no cover in them; the other platforms are newer than that.
    assert (await target(target_id)).to_send.cover is None
    assert file.to_json("youtube")["cover"] == {"key": "poster"}
