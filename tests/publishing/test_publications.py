"""Publications: planned together, shown with all that becomes of them, moved and cancelled with their alarms."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.types.json import Jsonb

from app import db, platforms, publishing, videos
from app.errors import NotFound, Refused, WrongState
from app.publishing import Changes, When
from tests.makers import Owner, an_owner
from tests.publishing.room_kit import POST, a_video, an_account, in_, planned, target

pytestmark = pytest.mark.anyio


async def alarms() -> list[str]:
    async with db.house() as conn:
        found = await db.rows(
            conn,
            "SELECT args ->> 'moment' FROM procrastinate_jobs WHERE task_name = 'release-at' ORDER BY scheduled_at",
        )
    return [row[0] for row in found]


async def test_one_publication_goes_to_several_accounts_at_one_moment(maya: Owner) -> None:
    when = in_("Europe/Kyiv", days=2)
    accounts = [await an_account(maya) for _ in range(3)]
    video_id = await a_video(maya)
    publication = await planned(maya, video_id, *accounts, when=when)
    assert publication.state == "scheduled"
    assert [one.account_id for one in publication.targets] == accounts
    assert {one.publish_at for one in publication.targets} == {when.at}
    assert all(one.when == when and one.media is not None for one in publication.targets)
    assert await alarms() == [when.at.isoformat()]
    async with db.owned_by(maya.workspace_id) as conn:
        assert await publishing.publications.get(conn, publication.id) == publication
        assert await publishing.publications.list_for(conn) == [publication]
        [*shown] = await publishing.between(conn, when.at, in_(days=3).at)
        assert [one.id for one in shown] == [one.id for one in publication.targets]


async def test_what_is_due_and_ready_is_in_line_at_once(maya: Owner) -> None:
    publication = await planned(
        maya, await a_video(maya), await an_account(maya), when=publishing.When.now("UTC")
    )
    assert publication.state == "queued"
    assert await alarms() == []


async def test_a_moved_post_goes_back_from_the_line_and_its_job_with_it(maya: Owner) -> None:
    publication = await planned(
        maya, await a_video(maya), await an_account(maya), when=publishing.When.now("UTC")
    )
    when = in_(days=1)
    async with db.owned_by(maya.workspace_id) as conn:
        moved = await publishing.move(conn, publication.id, when)
    assert moved.state == "scheduled" and moved.targets[0].when == when
    assert await alarms() == [when.at.isoformat()]
    async with db.house() as conn:
        assert (
            await db.value(
                conn,
                "SELECT status::text FROM procrastinate_jobs WHERE id = %s",
                [publication.targets[0].job_id],
            )
            == "cancelled"
        )


async def test_cancelling_calls_all_of_it_off_and_again_changes_nothing(maya: Owner) -> None:
    publication = await planned(maya, await a_video(maya), await an_account(maya), await an_account(maya))
    for _ in range(2):
        async with db.owned_by(maya.workspace_id) as conn:
            assert (await publishing.cancel_all(conn, publication.id)).state == "cancelled"
    assert (await target(publication.targets[0].id)).state == "cancelled"


async def test_one_publication_never_goes_half_way(maya: Owner) -> None:
    video_id, good = await a_video(maya), await an_account(maya)
    stranger = await an_account(await an_owner("Noor"))
    broken = await an_account(maya, state="needs_reconnect")
    for bad, kind in ((stranger, NotFound), (broken, WrongState), (good, Refused)):
        with pytest.raises(kind):
            await planned(maya, video_id, good, bad)
    with pytest.raises(Refused) as refused:
        await planned(maya, video_id, good, post=platforms.Post(title="x" * 3000, privacy_level="SELF_ONLY"))
    assert list(refused.value.fields) == [f"{good}.title"]
    with pytest.raises(Refused):
        await planned(maya, video_id)
    with pytest.raises(NotFound):
        await planned(await an_owner("Noor"), video_id, stranger)
    async with db.house() as conn:
        for table in ("publications", "targets", "procrastinate_jobs", "events"):
            assert await db.value(conn, f"SELECT count(*) FROM {table}") == 0, table  # type: ignore[arg-type]  # a table of ours


@pytest.mark.parametrize("many", [1, 2, 3])
async def test_the_one_word_for_all_targets_is_the_database_s_too(room: str, many: int) -> None:
    async with db.house() as conn:
        for states in itertools.combinations([str(state) for state in publishing.State], many):
            said = await db.value(conn, "SELECT publication_state(%s)", [list(states)])
            assert said == publishing.publications.state_of(states), states
            assert said in publishing.publications.SHOWN
        assert await db.value(conn, "SELECT publication_state(%s)", [[]]) == publishing.publications.state_of(
            []
        )


async def test_the_file_that_is_sent_is_the_one_that_its_video_offers(maya: Owner) -> None:
    video_id = await a_video(maya)
    async with db.owned_by(maya.workspace_id) as conn:
        for poster in (False, True):
            if poster:
                await conn.execute(
                    """
                    INSERT INTO renditions (workspace_id, video_id, kind, key, bytes, sha256, width_px, height_px,
                                            content_type)
                    VALUES (%s, %s, 'poster', 'poster', 10, 'sha', 640, 360, 'image/jpeg')""",
                    [maya.workspace_id, video_id],
                )
            state, media = await publishing.publications.video_to_post(conn, video_id)
            assert state == "EDITED"
            assert media == await videos.to_send(conn, await videos.get(conn, video_id))
            assert media is not None and (media.cover is not None) is poster
        assert await publishing.publications.video_to_post(conn, await a_video(maya, state="FAILED")) == (
            "FAILED",
            None,
        )


async def test_a_video_that_is_still_made_is_planned_without_a_file(maya: Owner) -> None:
    video_id = await a_video(maya, state="EDITING_QUEUED")
    made = await planned(maya, video_id, await an_account(maya), when=When.now("UTC"))
    assert made.state == "scheduled" and made.targets[0].media is None


async def test_moving_sets_an_alarm_and_leaves_what_is_out(maya: Owner) -> None:
    made = await planned(maya, await a_video(maya), *[await an_account(maya) for _ in range(3)])
    out, cancelled, left = made.targets
    async with db.house() as conn:
        for state in ("queued", "publishing", "published"):
            await conn.execute("UPDATE targets SET state = %s WHERE id = %s", [state, out.id])
        await conn.execute("UPDATE targets SET state = 'cancelled' WHERE id = %s", [cancelled.id])
    when = in_("Asia/Tokyo", days=5)
    async with db.owned_by(maya.workspace_id) as conn:
        moved = await publishing.move(conn, made.id, when)
    assert [one.when == when for one in moved.targets] == [False, False, True]
    assert when.at is not None and when.at.isoformat() in await alarms()
    async with db.owned_by(maya.workspace_id) as conn:
        await publishing.cancel(conn, left.id)
        with pytest.raises(WrongState):
            await publishing.move(conn, made.id, when)
        with pytest.raises(Refused):
            await publishing.move_target(conn, left.id, When.on("2001-01-01T09:00", "UTC"))


@pytest.mark.parametrize("state", ["failed", "missed"])
async def test_what_did_not_go_out_can_be_planned_for_another_time(maya: Owner, state: str) -> None:
    made = await planned(maya, await a_video(maya), await an_account(maya))
    async with db.house() as conn:
        await conn.execute("UPDATE targets SET state = %s, reason = 'x'", [state])
    async with db.owned_by(maya.workspace_id) as conn:
        moved = await publishing.move_target(conn, made.targets[0].id, in_(days=1))
    assert (moved.state, moved.reason) == ("scheduled", None)


async def test_only_what_failed_is_tried_again(maya: Owner) -> None:
    made = await planned(maya, await a_video(maya), *[await an_account(maya) for _ in range(3)])
    states = ("failed", "cancelled", "scheduled")
    async with db.house() as conn:
        for one, state in zip(made.targets, states, strict=True):
            await conn.execute("UPDATE targets SET state = %s WHERE id = %s", [state, one.id])
    async with db.owned_by(maya.workspace_id) as conn:
        assert await publishing.retry_failed(conn, made.id) == 1
        assert await publishing.retry_failed(conn, made.id) == 0
        after = await publishing.publications.get(conn, made.id)
    assert [one.state for one in after.targets] == ["queued", "cancelled", "scheduled"]


async def test_an_edit_is_whole_or_not_at_all(maya: Owner) -> None:
    first, second = await an_account(maya), await an_account(maya)
    made = await planned(maya, await a_video(maya), first, second)
    good, bad = platforms.Post("New words", "SELF_ONLY"), platforms.Post("x" * 3000, "SELF_ONLY")
    with pytest.raises(Refused) as refused:
        async with db.owned_by(maya.workspace_id) as conn:
            await publishing.edit(conn, made.id, Changes(text="New", posts={first: good, second: bad}))
    assert list(refused.value.fields) == [f"{second}.title"]
    async with db.owned_by(maya.workspace_id) as conn:
        assert await publishing.publications.get(conn, made.id) == made
        changes = Changes(text="New", posts={first: good}, when=in_(days=2))
        edited = await publishing.edit(conn, made.id, changes)
    assert (edited.text, edited.when) == ("New", changes.when)
    assert [one.choices for one in edited.targets] == [good, POST]
    assert edited.targets[0].edited_at is not None and edited.targets[1].edited_at is None


async def test_a_post_in_line_keeps_its_place_when_it_is_edited(maya: Owner) -> None:
    made = await planned(maya, await a_video(maya), await an_account(maya), when=When.now("UTC"))
    async with db.owned_by(maya.workspace_id) as conn:
        edited = await publishing.edit_target(conn, made.targets[0].id, platforms.Post("New", "SELF_ONLY"))
        same = await publishing.edit_target(conn, made.targets[0].id, platforms.Post("New", "SELF_ONLY"))
    assert edited.state == same.state == "queued" and same.job_id == edited.job_id
    async with db.house() as conn:
        waiting = await db.rows(conn, "SELECT id FROM procrastinate_jobs WHERE status = 'todo'")
    assert waiting == [(edited.job_id,)]


async def test_two_posts_of_a_video_share_a_job_and_one_of_them_can_leave(maya: Owner) -> None:
    made = await planned(
        maya, await a_video(maya), await an_account(maya), await an_account(maya), when=When.now("UTC")
    )
    first, second = made.targets
    assert first.job_id == second.job_id
    async with db.owned_by(maya.workspace_id) as conn:
        await publishing.move_target(conn, first.id, in_(days=1))
    async with db.house() as conn:
        status = await db.value(
            conn, "SELECT status::text FROM procrastinate_jobs WHERE id = %s", [second.job_id]
        )
    assert status == "todo" and (await target(second.id)).state == "queued"


async def test_a_failed_post_can_be_let_be(maya: Owner) -> None:
    made = await planned(maya, await a_video(maya), await an_account(maya))
    async with db.house() as conn:
        await conn.execute("UPDATE targets SET state = 'failed'")
    async with db.owned_by(maya.workspace_id) as conn:
        for _ in range(2):
            assert (await publishing.skip(conn, made.targets[0].id)).state == "cancelled"
        other = await planned(maya, await a_video(maya), await an_account(maya))
        with pytest.raises(WrongState):
            await publishing.skip(conn, other.targets[0].id)


async def test_the_calendar_shows_a_stretch_of_time_and_one_account(maya: Owner) -> None:
    account_id, other = await an_account(maya), await an_account(maya)
    at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)
    for hours in (-1, 0, 1, 2):
        await planned(
            maya, await a_video(maya), account_id, other, when=When.instant(at + timedelta(hours=hours))
        )
    noor = await an_owner("Noor")
    await planned(noor, await a_video(noor), await an_account(noor), when=When.instant(at))
    async with db.owned_by(maya.workspace_id) as conn:
        # From the first moment to just before the last.
        found = await publishing.between(conn, at, at + timedelta(hours=2), account_id=account_id)
        everything = await publishing.between(conn, at - timedelta(days=1), at + timedelta(days=1))
    assert [one.at for one in found] == [at, at + timedelta(hours=1)]
    assert len(everything) == 8
    [first, _] = found
    assert (first.account_id, first.targets, first.title, first.state) == (
        account_id,
        2,
        "A knot",
        "scheduled",
    )
    assert first.can_change and not first.held


async def test_the_job_of_a_post_says_what_was_asked_and_holds_no_secret(maya: Owner) -> None:
    """S2.80: content and settings as named, an account's number in place of credentials."""
    account_id = await an_account(
        maya,
        platform="youtube",
        creator=Jsonb(
            {"handle": "m", "display_name": "M", "avatar_url": None, "privacy_levels": ["unlisted"]}
        ),
    )
    post = platforms.Post(
        title="A knot", description="2 m of rope", privacy_level="unlisted", made_for_kids=False
    )
    made = await planned(maya, await a_video(maya), account_id, when=publishing.When.now("UTC"), post=post)
    async with db.house() as conn:
        (args,) = (
            await db.rows(conn, "SELECT args FROM procrastinate_jobs WHERE task_name = 'publish-to-youtube'")
        )[0]
    assert args == {
        "targetId": made.targets[0].id,
        "platform": "youtube",
        "credentials": {"accountId": account_id},
        "content": {"videoPath": "edited", "title": "A knot", "description": "2 m of rope"},
        "settings": {"privacy": "unlisted", "allowComments": True},
    }
