"""Posts are edited, moved and cancelled while they are being sent, at the real simulator: never both, never a ghost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from app import config, db, http, platforms, publishing
from app.errors import WrongState
from app.publishing import When
from tasks import procrastinate_app
from tests.makers import Owner, an_account, an_owner
from tests.publishing.room_kit import a_stored_video, in_, planned, target
from tests.worker import TestWorker, until
from tests.world import World, free_port, open_world

pytestmark = pytest.mark.anyio
POST = platforms.Post(title="As planned", privacy_level="SELF_ONLY")
OTHER = replace(POST, title="As edited")


@dataclass
class House:
    world: World
    worker: TestWorker
    owner: Owner

    async def sending(self, accounts: int = 1) -> tuple[publishing.Publication, Any]:
        """A publication in line on so many accounts, and a worker that has begun."""
        account_ids = [(await an_account(self.owner, f"maya.{number}")).id for number in range(accounts)]
        video_id = await a_stored_video(self.owner)
        made = await planned(self.owner, video_id, *account_ids, when=When.now("UTC"), post=POST)
        running = self.worker.worker()
        return made, (running, asyncio.create_task(running.run()))

    async def end(self, running: Any) -> None:
        worker, task = running
        worker.stop()
        await task
        async with db.house() as conn:
            # The account's own pace would hold what is sent again for minutes.
            await conn.execute("DELETE FROM limit_grants")
        await self.worker.run_until_idle(ahead=True)

    async def titles(self) -> list[str]:
        return sorted(str(post["title"]) for post in await self.world.posts())


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[House]:
    port = free_port()
    for name, value in {
        "APP_ENV": "test",
        "BACKLOT_HOME": str(tmp_path / "home"),
        "TEMP_DIR": str(tmp_path / "temp"),
        "PORT": str(port),
        "QUEUE_VIDEO_UPLOAD_MOST": "none",
        "QUEUE_VIDEO_UPLOAD_FIRST_WAIT_S": "0",
        "ACCOUNT_UPLOADS_MOST": "none",
    }.items():
        monkeypatch.setenv(name, value)
    config.get.cache_clear()
    await db.open_pools(database, pages=True)
    procrastinate_app.perform_import_paths()
    async with open_world(tmp_path / "world", port) as world:
        yield House(world, TestWorker(procrastinate_app, database), await an_owner())
    await db.close_pools()
    await http.close()
    config.get.cache_clear()


def is_in(target_id: int, *states: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await target(target_id)).state in states

    return look


async def test_a_post_edited_while_it_is_sent_goes_out_once_with_the_new_words(house: House) -> None:
    await house.world.arm("slow", step="creator_info", seconds=2, times=1)
    made, running = await house.sending()
    target_id = made.targets[0].id
    await until(is_in(target_id, "publishing"))
    async with db.owned_by(house.owner.workspace_id) as conn:
        assert (await publishing.edit_target(conn, target_id, OTHER)).state == "queued"
    await house.end(running)
    assert (await target(target_id)).state == "published"
    assert await house.titles() == ["As edited"]


async def test_a_post_moved_while_it_is_sent_goes_out_at_its_new_time_and_once(house: House) -> None:
    await house.world.arm("slow", step="creator_info", seconds=2, times=1)
    made, running = await house.sending()
    target_id = made.targets[0].id
    await until(is_in(target_id, "publishing"))
    when = in_(days=1)
    async with db.owned_by(house.owner.workspace_id) as conn:
        assert (await publishing.move_target(conn, target_id, when)).state == "scheduled"
    await house.end(running)
    moved = await target(target_id)
    assert (moved.state, moved.publish_at) == ("scheduled", when.at)
    assert await house.titles() == []
    async with db.owned_by(house.owner.workspace_id) as conn:
        await publishing.move_target(conn, target_id, When.now("UTC"))
    await house.worker.run_until_idle(ahead=True)
    assert (await target(target_id)).state == "published"
    assert await house.titles() == ["As planned"]


async def test_after_the_permit_every_change_is_refused_in_a_sentence(house: House) -> None:
    await house.world.arm("slow", step="last_chunk", seconds=3, times=1)
    made, running = await house.sending()
    target_id = made.targets[0].id

    async def spent() -> bool:
        async with db.house() as conn:
            return bool(
                await db.value(conn, "SELECT count(*) FROM target_attempts WHERE committed_at IS NOT NULL")
            )

    await until(spent)
    for act in (
        lambda conn: publishing.edit_target(conn, target_id, OTHER),
        lambda conn: publishing.move_target(conn, target_id, in_(days=1)),
        lambda conn: publishing.move(conn, made.id, in_(days=1)),
        lambda conn: publishing.cancel(conn, target_id),
        lambda conn: publishing.cancel_all(conn, made.id),
    ):
        with pytest.raises(WrongState, match=r"already has the video|cannot be|Nothing of this"):
            async with db.owned_by(house.owner.workspace_id) as conn:
                await act(conn)
    await house.end(running)
    assert (await target(target_id)).state == "published"
    assert await house.titles() == ["As planned"]


async def change_at_some_moment(owner: Owner, one: publishing.Target, after_s: float, act: str) -> str | None:
    """What was done to the post, or None when it was refused."""
    await asyncio.sleep(after_s)
    try:
        async with db.owned_by(owner.workspace_id) as conn:
            if act == "edit":
                await publishing.edit_target(conn, one.id, replace(OTHER, title=f"As edited {one.id}"))
            elif act == "move":
                await publishing.move_target(conn, one.id, in_(days=1))
            else:
                await publishing.cancel(conn, one.id)
    except WrongState:
        return None
    return act


async def race(house: House, seed: int, accounts: int, within_s: float) -> None:
    chance = random.Random(seed)
    await house.world.arm("slow", rate=0.6, seed=str(seed), seconds=0.2)
    made, running = await house.sending(accounts)
    done = await asyncio.gather(
        *(
            change_at_some_moment(
                house.owner, one, chance.uniform(0, within_s), chance.choice(("edit", "move", "cancel"))
            )
            for one in made.targets
        )
    )
    await house.world.clear()
    await house.end(running)
    out = [str(post["title"]) for post in await house.world.posts()]
    kept = 0
    for one, act in zip(made.targets, done, strict=True):
        now = (await target(one.id)).state
        edited = out.count(f"As edited {one.id}")
        if act in ("cancel", "move"):
            assert (now, edited) == ({"cancel": "cancelled", "move": "scheduled"}[act], 0), (act, now)
        else:
            assert now == "published", (act, now)
            assert edited == (1 if act == "edit" else 0)
            kept += act is None
    assert out.count("As planned") == kept


async def test_whatever_is_changed_at_whatever_moment_nothing_is_both_sent_and_called_off(
    house: House,
) -> None:
    await race(house, seed=7, accounts=4, within_s=2)


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(16))
async def test_storm_of_changes_at_the_last_moment(house: House, seed: int) -> None:
    await race(house, seed, accounts=5, within_s=5)
