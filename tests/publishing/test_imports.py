"""Publications from a CSV file: read with every mistake by row and column, and planned as one batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app import batches, db, publishing
from app.errors import Refused
from app.publishing.imports import FORMULA, harmless, read_csv
from tests.makers import Owner, an_owner
from tests.publishing.room_kit import a_video, an_account

pytestmark = pytest.mark.anyio
LATER = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%d 09:00")


async def handle_of(account_id: int) -> str:
    async with db.house() as conn:
        return str(await db.value(conn, "SELECT handle FROM accounts WHERE id = %s", [account_id]))


@pytest.mark.parametrize(
    "text",
    [
        f'video,accounts,at,zone,title,tags\n7,a;b,{LATER},Europe/Kyiv,"Knots, all of them","rope, #knots"\n',
        f'\ufeffVideo;Accounts;Publish at;Time zone;Caption;Hashtags\r\n7;"a;b";{LATER};Europe/Kyiv;'
        '"Knots, all of them";"rope, #knots"\r\n',
        f"video\taccount\tat\tzone\ttitle\ttags\n\n7\t@a; @b\t{LATER}\tEurope/Kyiv\tKnots, all of them\trope, #knots\n",
    ],
)
def test_what_spreadsheets_write_is_read_alike(text: str) -> None:
    [line] = read_csv(text)
    assert not line.mistakes
    assert (line.video, line.accounts, line.title) == ("7", ("a", "b"), "Knots, all of them")
    assert line.tags == ("rope", "knots")
    assert line.when is not None and line.when.wall == LATER.replace(" ", "T")
    assert line.when.zone == "Europe/Kyiv"


def test_a_cell_may_hold_lines_and_quotes() -> None:
    [line] = read_csv('video,accounts,title\n7,a,"One ""knot""\nand another"\n')
    assert line.title == 'One "knot"\nand another'


def test_mistakes_are_told_by_row_and_column() -> None:
    lines = read_csv(
        "video,accounts,at,zone\n"
        "7,a,2026-13-40 09:00,UTC\n"
        ",;,,\n"
        "7,a,2001-01-01 09:00,UTC\n"
        "7,a,,Mars/Olympus\n"
        "7,a,,,,more\n"
    )
    assert [sorted(line.mistakes) for line in lines] == [
        ["at"],
        ["accounts", "video"],
        ["at"],
        ["zone"],
        ["row"],
    ]
    assert [line.number for line in lines] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("video,accounts\n", "no rows"),
        ("video,at\n7,x\n", "accounts is missing"),
        ("video,accounts,colour\n7,a,red\n", "'colour'"),
        ("video,accounts,file\n7,a,b\n", "twice"),
        ('video,accounts\n"7,a\n', "cannot be read"),
        ("video,accounts\n7,\0\n", "not a text"),
        ("video,accounts\n" + "7,a\n" * 1001, "1001 rows; 1000"),
    ],
)
def test_what_is_no_such_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        read_csv(text)
    assert list(refused.value.fields) == ["file"]


def test_a_thousand_rows_are_read() -> None:
    assert len(read_csv("video,accounts\n" + "7,a\n" * 1000)) == 1000


@pytest.mark.parametrize("sign", FORMULA)
def test_no_cell_is_a_formula_to_a_spreadsheet_and_none_is_changed_on_the_way_back(sign: str) -> None:
    cell = f"{sign}1+1".strip() if sign in "\t\r" else f"{sign}1+1"
    assert harmless(f"{sign}1+1").startswith("'")
    assert harmless("a knot") == "a knot"
    quoted = harmless(cell).replace('"', '""')
    [line] = read_csv(f'video,accounts,title\n7,a,"{quoted}"\n')
    assert line.title == cell


async def scene(maya: Owner) -> tuple[int, str, str]:
    """A video, and the handles of an account that works and of one that has to be connected again."""
    video_id = await a_video(maya)
    first, second = await an_account(maya), await an_account(maya, state="needs_reconnect")
    return video_id, await handle_of(first), await handle_of(second)


async def import_text(
    maya: Owner, text: str, key: str = "one", *, allow_doubles: bool = False
) -> batches.ShownBatch:
    async with db.owned_by(maya.workspace_id) as conn:
        made = await batches.import_all(
            conn,
            workspace_id=maya.workspace_id,
            user_id=maya.user_id,
            lines=read_csv(text),
            key=key,
            allow_doubles=allow_doubles,
        )
        return await batches.show(conn, made.id)


async def test_the_preview_tells_of_each_row_and_plans_nothing(maya: Owner) -> None:
    video_id, good, broken = await scene(maya)
    twin = await a_video(maya)
    async with db.house() as conn:
        await conn.execute("UPDATE videos SET filename = 'same.mp4' WHERE id = ANY (%s)", [[video_id, twin]])
    text = (
        "video,accounts,at,privacy\n"
        f"{video_id},{good},{LATER},private\n"
        f"same.mp4,{good},{LATER},private\n"
        f"999999,{good},{LATER},private\n"
        f"{video_id},{broken},{LATER},private\n"
        f"{video_id},nobody,{LATER},private\n"
        f"{video_id},{good},{LATER},friends of friends\n"
    )
    async with db.owned_by(maya.workspace_id) as conn:
        found = await batches.preview(conn, read_csv(text))
        assert await publishing.publications.list_for(conn) == []
    assert [list(row.problems) for row in found] == [
        [],
        ["video"],
        ["video"],
        ["accounts"],
        ["accounts"],
        ["privacy"],
    ]
    assert str(video_id) in found[1].problems["video"]
    assert f"@{good}" in found[0].words


async def test_a_stranger_s_video_and_accounts_are_not_found(maya: Owner, room: str) -> None:
    video_id, good, _ = await scene(maya)
    noor = await an_owner("Noor")
    async with db.owned_by(noor.workspace_id) as conn:
        [row] = await batches.preview(conn, read_csv(f"video,accounts\n{video_id},{good}\n"))
    assert sorted(row.problems) == ["accounts", "video"]


async def test_one_batch_has_a_result_for_each_row_and_account(maya: Owner) -> None:
    video_id, good, _ = await scene(maya)
    other = await handle_of(await an_account(maya))
    text = (
        "video,accounts,at,privacy,title\n"
        f"{video_id},{good};{other},{LATER},private,One\n"
        f"{video_id},nobody,{LATER},private,Two\n"
    )
    shown = await import_text(maya, text)
    assert [item.stage for item in shown.items] == ["planned", "planned", "refused"]
    assert "nobody" in (shown.items[2].item.refused or "")
    assert not shown.items[2].can_retry
    async with db.owned_by(maya.workspace_id) as conn:
        [publication] = await publishing.publications.list_for(conn)
    assert publication.batch_id == shown.batch.id and publication.source == "import"
    assert len(publication.targets) == 2
    async with db.house() as conn:
        alarms = await db.value(
            conn, "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'release-at'"
        )
    assert alarms == 1


async def test_the_same_file_under_the_same_key_is_imported_once(maya: Owner) -> None:
    video_id, good, _ = await scene(maya)
    text = f"video,accounts,at,privacy\n{video_id},{good},{LATER},private\n"
    first, second = await import_text(maya, text), await import_text(maya, text)
    assert first.batch.id == second.batch.id
    async with db.owned_by(maya.workspace_id) as conn:
        assert len(await publishing.publications.list_for(conn)) == 1


async def test_a_file_imported_twice_plans_nothing_twice_unless_it_is_meant(maya: Owner) -> None:
    video_id, good, _ = await scene(maya)
    text = f"video,accounts,at,privacy\n{video_id},{good},{LATER},private\n"
    await import_text(maya, text)
    again = await import_text(maya, text, "two")
    assert [item.item.refused_code for item in again.items] == ["duplicate"]
    assert again.items[0].can_retry
    async with db.owned_by(maya.workspace_id) as conn:
        assert await batches.retry(conn, again.batch.id) == 1
        assert len(await publishing.publications.list_for(conn)) == 2
        shown = await batches.show(conn, again.batch.id)
    assert [item.stage for item in shown.items] == ["planned"]


async def test_cancelling_the_batch_calls_its_posts_off(maya: Owner) -> None:
    video_id, good, _ = await scene(maya)
    shown = await import_text(maya, f"video,accounts,at,privacy\n{video_id},{good},{LATER},private\n")
    async with db.owned_by(maya.workspace_id) as conn:
        assert await batches.cancel(conn, shown.batch.id) == 1
        [publication] = await publishing.publications.list_for(conn)
    assert publication.state == "cancelled"
