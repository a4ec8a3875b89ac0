"""Rows move by their machine only, and the machine in code is the one in the database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from app import db, publishing, states, videos
from app.errors import NotFound, Superseded, WrongState
from app.videos import shown as shown_states
from tests.makers import Owner, an_owner

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(database: str) -> AsyncIterator[Owner]:
    await db.open_pools(database, pages=True)
    yield await an_owner()
    await db.close_pools()


async def a_row(owner: Owner) -> int:
    async with db.house() as conn:
        video_id = await db.value(
            conn,
            """
            INSERT INTO videos (workspace_id, user_id, title, filename, source_key, source_bytes, source_sha256,
                                source_type, state)
            VALUES (%s, %s, 'A knot', 'knot.mp4', 'tenants/1/originals/x.mp4', 1, '-', 'video/mp4', 'EDITING_QUEUED')
            RETURNING id""",
            [owner.workspace_id, owner.user_id],
        )
    return int(video_id)


async def move(video_id: int, to: str, **more: object) -> videos.Video:
    async with db.house() as conn:
        return await states.move(conn, videos.MACHINE, videos.Video, video_id, to, **more)  # type: ignore[arg-type]  # named by the test


@pytest.mark.parametrize("machine", [videos.MACHINE, publishing.MACHINE], ids=lambda machine: machine.name)
async def test_the_machine_in_code_equals_its_rows(owner: Owner, machine: states.Machine) -> None:
    async with db.house() as conn:
        found = await db.rows(
            conn, "SELECT from_state, to_state FROM allowed_moves WHERE machine = %s", [machine.name]
        )
    assert {(str(old), str(new)) for old, new in found} == {
        (str(old), str(new)) for old, new in machine.pairs()
    }


async def test_a_move_writes_its_event_in_the_same_transaction(owner: Owner) -> None:
    video_id = await a_row(owner)
    await move(video_id, "EDITING", run=7, take_over=True)
    async with db.house() as conn:
        assert await db.rows(conn, "SELECT name, topic, run FROM events") == [
            ("video.editing", f"video-{video_id}", 7)
        ]


async def test_an_illegal_move_is_refused_by_the_verb_and_by_the_database(owner: Owner) -> None:
    video_id = await a_row(owner)
    with pytest.raises(WrongState):
        await move(video_id, "EDITED")
    with pytest.raises(psycopg.errors.CheckViolation):
        async with db.house() as conn:
            await conn.execute("UPDATE videos SET state = 'EDITED' WHERE id = %s", [video_id])
    async with db.house() as conn:
        assert await db.value(conn, "SELECT state FROM videos") == "EDITING_QUEUED"
        assert await db.value(conn, "SELECT count(*) FROM events") == 0


async def test_an_older_run_neither_writes_nor_takes_over(owner: Owner) -> None:
    video_id = await a_row(owner)
    await move(video_id, "EDITING", run=8, take_over=True)
    with pytest.raises(Superseded):
        await move(video_id, "EDITING", run=7, take_over=True)
    with pytest.raises(Superseded):
        await move(video_id, "EDITED", run=7)
    assert (await move(video_id, "EDITING", run=9, take_over=True)).run == 9


async def test_a_row_that_is_not_there_is_not_found(owner: Owner) -> None:
    with pytest.raises(NotFound):
        await move(4711, "EDITING")


async def test_the_shown_state_is_the_same_in_code_and_in_the_database(database: str, owner: Owner) -> None:
    video_id = await a_row(owner)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        # Without triggers, so that a target may stand in any state and without its account.
        await conn.execute("SET session_replication_role = replica")
        for state, shown in shown_states.SHOWN_OF_TARGET.items():
            await conn.execute("DELETE FROM targets")
            await conn.execute(
                """
                INSERT INTO targets (workspace_id, publication_id, video_id, account_id, platform, post, publish_at,
                                     state)
                VALUES (%s, 1, %s, 1, 'tiktok', '{}', now(), %s)""",
                [owner.workspace_id, video_id, str(state)],
            )
            row = await (await conn.execute("SELECT shown_video_state('EDITED', %s)", [video_id])).fetchone()
            assert row == (shown,)
        await conn.execute("DELETE FROM targets")
        row = await (await conn.execute("SELECT shown_video_state('EDITED', %s)", [video_id])).fetchone()
        assert row == ("EDITED",)
