"""Weekly slots and the next free one; drafts as they are typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app import db, publishing
from app.errors import NotFound, Refused, WrongState
from app.publishing import When, drafts, slots
from tests.makers import Owner, an_owner
from tests.publishing.room_kit import a_video, an_account, planned

pytestmark = pytest.mark.anyio


async def test_the_next_slots_are_those_of_the_week_that_nothing_stands_in(maya: Owner) -> None:
    account_id = await an_account(maya)
    async with db.owned_by(maya.workspace_id) as conn:
        assert await slots.next_free(conn, account_id) == []
        await slots.add(conn, account_id=account_id, weekday=2, wall="18:30", zone="America/New_York")
        await slots.add(conn, account_id=account_id, weekday=0, wall="09:00", zone="Europe/Kyiv")
        assert [slot.words for slot in await slots.weekly(conn, account_id)] == [
            "Monday 09:00 Europe/Kyiv",
            "Wednesday 18:30 America/New_York",
        ]
        found = await slots.next_free(conn, account_id, count=4)
    moments = [when.at for when in found]
    assert moments == sorted(moments) and len(set(moments)) == 4
    assert [(when.local.weekday(), f"{when.local:%H:%M}") for when in found if when.local] == [
        (0, "09:00") if when.zone == "Europe/Kyiv" else (2, "18:30") for when in found
    ]
    assert {when.zone for when in found} == {"Europe/Kyiv", "America/New_York"}
    # The one that is taken is left out, also when its post is out by then; a cancelled one is free again.
    made = await planned(maya, await a_video(maya), account_id, when=found[0])
    async with db.owned_by(maya.workspace_id) as conn:
        assert await slots.next_free(conn, account_id, count=2) == found[1:3]
        await publishing.cancel_all(conn, made.id)
        assert await slots.next_free(conn, account_id) == found[:1]
        after = found[1].at
        assert after is not None
        assert (await slots.next_free(conn, account_id, after=after))[0] == found[2]


async def test_a_slot_keeps_its_hour_when_the_clocks_change(maya: Owner) -> None:
    account_id = await an_account(maya)
    async with db.owned_by(maya.workspace_id) as conn:
        for weekday in range(7):
            await slots.add(conn, account_id=account_id, weekday=weekday, wall="09:00", zone="Europe/Kyiv")
        year = await slots.next_free(conn, account_id, count=400)
    assert 365 <= len(year) <= 367
    assert {f"{when.local:%H:%M}" for when in year if when.local} == {"09:00"}
    here = ZoneInfo("Europe/Kyiv")
    assert len({when.at.astimezone(here).utcoffset() for when in year if when.at}) == 2


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Kyiv"])
async def test_slots_of_far_zones_come_in_the_order_of_time(maya: Owner, zone: str) -> None:
    account_id = await an_account(maya)
    async with db.owned_by(maya.workspace_id) as conn:
        for wall, place in (("00:00", zone), ("23:59", zone), ("12:00", "UTC")):
            for weekday in range(7):
                await slots.add(conn, account_id=account_id, weekday=weekday, wall=wall, zone=place)
        found = [when.at for when in await slots.next_free(conn, account_id, count=30)]
    assert found == sorted(found)
    assert found[0] is not None and found[0] - datetime.now(UTC) < timedelta(days=1)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"weekday": 7}, "weekday"),
        ({"wall": "9:00"}, "wall"),
        ({"wall": "24:00"}, "wall"),
        ({"zone": "Mars"}, "zone"),
    ],
)
async def test_what_is_no_slot_is_refused(maya: Owner, wrong: dict[str, object], field: str) -> None:
    account_id = await an_account(maya)
    asked = {"weekday": 0, "wall": "09:00", "zone": "UTC", **wrong}
    async with db.owned_by(maya.workspace_id) as conn:
        with pytest.raises(Refused) as refused:
            await slots.add(conn, account_id=account_id, **asked)  # type: ignore[arg-type]  # wrong on purpose
        assert list(refused.value.fields) == [field]
        assert await slots.weekly(conn) == []


async def test_slots_are_their_owner_s_alone(maya: Owner) -> None:
    account_id, noor = await an_account(maya), await an_owner("Noor")
    async with db.owned_by(maya.workspace_id) as conn:
        slot = await slots.add(conn, account_id=account_id, weekday=0, wall="09:00", zone="UTC")
        with pytest.raises(WrongState):
            await slots.add(conn, account_id=account_id, weekday=0, wall="09:00", zone="UTC")
    async with db.owned_by(noor.workspace_id) as conn:
        assert await slots.weekly(conn) == []
        with pytest.raises(NotFound):
            await slots.add(conn, account_id=account_id, weekday=1, wall="09:00", zone="UTC")
        with pytest.raises(NotFound):
            await slots.remove(conn, slot.id)
    async with db.owned_by(maya.workspace_id) as conn:
        await slots.remove(conn, slot.id)
        assert await slots.weekly(conn) == []


async def test_a_draft_is_kept_as_it_was_typed_last(maya: Owner) -> None:
    noor = await an_owner("Noor")
    async with db.owned_by(maya.workspace_id) as conn:
        typed = {"text": "A kn", "7-own": "1", "accounts": [7, 9]}
        first = await drafts.save(conn, workspace_id=maya.workspace_id, user_id=maya.user_id, form=typed)
        assert (first.form, first.version) == (typed, 1)
        second = await drafts.save(
            conn,
            workspace_id=maya.workspace_id,
            user_id=maya.user_id,
            form=typed | {"text": "A knot"},
            draft_id=first.id,
        )
        assert (second.id, second.version, second.form["text"]) == (first.id, 2, "A knot")
        assert second.saved_at > first.saved_at
        assert await drafts.list_for(conn) == [second]
    async with db.owned_by(noor.workspace_id) as conn:
        assert await drafts.list_for(conn) == []
        with pytest.raises(NotFound):
            await drafts.get(conn, first.id)
        with pytest.raises(NotFound):
            await drafts.save(
                conn, workspace_id=noor.workspace_id, user_id=noor.user_id, form={}, draft_id=first.id
            )
        with pytest.raises(NotFound):
            await drafts.remove(conn, first.id)
    async with db.owned_by(maya.workspace_id) as conn:
        assert await drafts.get(conn, first.id) == second


async def test_a_draft_ends_with_the_publication_that_came_of_it(maya: Owner) -> None:
    async with db.owned_by(maya.workspace_id) as conn:
        draft = await drafts.save(conn, workspace_id=maya.workspace_id, user_id=maya.user_id, form={})
    account_id = await an_account(maya)
    with pytest.raises(Refused):
        await planned(
            maya, await a_video(maya), account_id, draft_id=draft.id, when=When.on("2001-01-01T09:00", "UTC")
        )
    async with db.owned_by(maya.workspace_id) as conn:
        assert await drafts.list_for(conn) == [draft]
    await planned(maya, await a_video(maya), account_id, draft_id=draft.id)
    async with db.owned_by(maya.workspace_id) as conn:
        assert await drafts.list_for(conn) == []
