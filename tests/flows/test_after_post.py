"""What follows a post that is out: its cover and its first comment, each once, and neither ever fails the post."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from app import accounts, db, platforms, publishing
from app.errors import Retryable
from tests.makers import Owner, a_video, an_account, an_owner
from tests.worker import TestWorker
from tests.world import World

pytestmark = pytest.mark.anyio
COMMENT = "The rope is 2 m of 6 mm line."


async def posted(
    worker: TestWorker, owner: Owner, account: accounts.Account, post: platforms.Post
) -> publishing.Target:
    """The target of a post that went the whole way, with everything that follows it."""
    video = await a_video(owner, None)
    await worker.run_until_idle()
    async with db.owned_by(owner.workspace_id) as conn:
        made = await publishing.compose_all(
            conn,
            workspace_id=owner.workspace_id,
            user_id=owner.user_id,
            video_id=video.id,
            wanted=[publishing.Wanted(account.id, post)],
            when=publishing.When.now("UTC"),
        )
    target = made.targets[0]
    # All but the job under test is brought forward until the post is out.
    for _ in range(60):
        await worker.run_until_idle()
        async with db.house() as conn:
            await conn.execute(
                "UPDATE procrastinate_jobs SET scheduled_at = now()"
                " WHERE status = 'todo' AND task_name <> 'finish-target'"
            )
            target = await publishing.get(conn, target.id)
        if target.over:
            break
    await worker.run_until_idle()
    return target


def seen(tmp_path: Path, query: str) -> list[tuple[object, ...]]:
    """What the simulated world really has."""
    with sqlite3.connect(tmp_path / "world" / "world.sqlite") as conn:
        return conn.execute(query).fetchall()


async def outcome(target: publishing.Target) -> tuple[str | None, str | None]:
    async with db.house() as conn:
        (found,) = await db.rows(
            conn, "SELECT outcome, remote_id FROM target_comments WHERE target_id = %s", [target.id]
        )
    return found[0], found[1]


async def test_a_first_comment_is_written_once(world: World, worker: TestWorker, tmp_path: Path) -> None:
    owner = await an_owner()
    account = await an_account(owner, "Studio One", platform="facebook")
    target = await posted(worker, owner, account, platforms.Post(description="Knots", first_comment=COMMENT))
    assert target.state == "published" and not target.url_provisional
    said, comment_id = await outcome(target)
    assert said == "written" and comment_id
    assert seen(tmp_path, "SELECT count(*) FROM fb_comments") == [(1,)]
    # The job again, by whatever hand, finds it done.
    async with db.house() as conn:
        await conn.execute("UPDATE procrastinate_jobs SET status = 'todo' WHERE task_name = 'finish-target'")
    await worker.run_until_idle(ahead=True)
    assert seen(tmp_path, "SELECT count(*) FROM fb_comments") == [(1,)]


@pytest.mark.parametrize("fault", ["drop_after", "error_after"])
async def test_a_comment_whose_answer_was_lost_is_looked_for_before_it_is_written_again(
    world: World, worker: TestWorker, tmp_path: Path, fault: str
) -> None:
    owner = await an_owner()
    account = await an_account(owner, "Studio One", platform="facebook")
    await world.arm(fault, step="comment", platform="facebook")
    target = await posted(worker, owner, account, platforms.Post(description="Knots", first_comment=COMMENT))
    assert target.state == "published"
    assert seen(tmp_path, "SELECT count(*) FROM fb_comments") == [(1,)]
    # Not asked about while the call may still be under way; two minutes later it is.
    async with db.house() as conn:
        await conn.execute(
            "UPDATE target_comments SET committed_at = committed_at - interval '3 min' WHERE outcome IS NULL"
        )
    await worker.run_until_idle(ahead=True)
    assert (await outcome(target))[0] == "written"
    assert seen(tmp_path, "SELECT count(*) FROM fb_comments") == [(1,)]


async def test_a_refused_comment_says_why_and_leaves_the_post_alone(
    world: World, worker: TestWorker, tmp_path: Path
) -> None:
    owner = await an_owner()
    made = await accounts.connect_simulated(
        workspace_id=owner.workspace_id,
        platform="facebook",
        display_name="Studio One",
        switches={"scopes": [*platforms.get("facebook").NEEDED_SCOPES]},
    )
    target = await posted(worker, owner, made, platforms.Post(description="Knots", first_comment=COMMENT))
    assert target.state == "published"
    async with db.house() as conn:
        state = await db.value(conn, "SELECT state FROM accounts WHERE id = %s", [made.id])
    said, _ = await outcome(target)
    assert (said, state) == ("failed", "connected")
    assert seen(tmp_path, "SELECT count(*) FROM fb_comments") == [(0,)]


async def test_a_youtube_video_gets_its_poster_as_thumbnail(
    world: World, worker: TestWorker, tmp_path: Path
) -> None:
    owner = await an_owner()
    account = await an_account(owner, "Maya Makes", platform="youtube")
    wish = platforms.Post(title="Knots", privacy_level="unlisted", made_for_kids=False, use_cover=True)
    target = await posted(worker, owner, account, wish)
    assert target.state == "published"
    async with db.house() as conn:
        poster = await db.value(
            conn,
            "SELECT sha256 FROM renditions WHERE video_id = %s AND kind = 'poster'",
            [target.video_id],
        )
        calls = await db.rows(
            conn, "SELECT step, outcome FROM target_calls WHERE target_id = %s", [target.id]
        )
    assert ("thumbnail", "ok") in calls and target.media is not None
    assert target.media["cover"]["sha256"] == poster


async def test_a_thumbnail_that_is_not_taken_leaves_the_post_alone(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    account = await an_account(owner, "Maya Makes", platform="youtube")
    await world.arm("error_before", step="thumbnail", platform="youtube", times=50)
    wish = platforms.Post(title="Knots", privacy_level="unlisted", made_for_kids=False, use_cover=True)
    target = await posted(worker, owner, account, wish)
    assert (target.state, target.reason) == ("published", None)
    assert isinstance(platforms.get("youtube").verdict("http_503").error("x"), Retryable)
