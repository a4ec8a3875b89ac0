"""What will happen to a post is told before it is planned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app import accounts, db, platforms, publishing
from app.publishing import Foretold, When
from tests.makers import Owner
from tests.publishing.room_kit import POST, a_video, an_account, in_, planned

pytestmark = pytest.mark.anyio


async def told(
    owner: Owner, account_id: int, *, when: When | None = None, video_id: int | None = None, **more: Any
) -> dict[str, Foretold]:
    """What is foretold, by code."""
    async with db.owned_by(owner.workspace_id) as conn:
        media = None
        if video_id is not None:
            _, media = await publishing.publications.video_to_post(conn, video_id)
        found = await publishing.forecast(
            conn,
            account=await accounts.get(conn, account_id),
            post=more.pop("post", POST),
            media=media,
            when=when or in_(days=2),
            video_id=video_id,
            **more,
        )
    return {one.code: one for one in found}


async def test_a_post_that_will_go_well_says_so(maya: Owner) -> None:
    found = await told(maya, await an_account(maya), video_id=await a_video(maya))
    assert {one.kind for one in found.values()} == {"ok"}
    assert {"when", "token", "file"} <= set(found)
    assert found["when"].text.endswith("in 2 days.")


@pytest.mark.parametrize(
    ("columns", "code", "kind"),
    [
        ({"state": "needs_reconnect"}, "needs_reconnect", "stop"),
        ({"state": "disconnected"}, "disconnected", "stop"),
        ({"scopes": []}, "missing_scopes", "stop"),
        ({"paused_at": datetime.now(UTC)}, "account_paused", "warn"),
        ({"held_until": datetime.now(UTC) + timedelta(days=3)}, "held", "warn"),
        ({"held_until": datetime.now(UTC) + timedelta(days=1)}, "token", "ok"),
        ({"refresh_expires_at": datetime.now(UTC) + timedelta(days=1)}, "token_ends", "warn"),
        ({"refresh_expires_at": datetime.now(UTC) + timedelta(days=3)}, "token", "ok"),
        ({"creator": None}, "creator_unknown", "warn"),
    ],
)
async def test_what_the_account_will_be_like_then_is_told(
    maya: Owner, columns: dict[str, Any], code: str, kind: str
) -> None:
    found = await told(maya, await an_account(maya, **columns))
    assert found[code].kind == kind


async def test_what_the_platform_would_refuse_stops_it(maya: Owner) -> None:
    account_id = await an_account(maya)
    found = await told(maya, account_id, post=platforms.Post("x" * 3000, "SELF_ONLY"))
    assert found["not_accepted.title"].kind == "stop"
    assert (await told(maya, account_id, when=When.instant(datetime.now(UTC) - timedelta(hours=1))))[
        "passed"
    ].kind == "stop"


async def test_a_change_of_the_clocks_is_told(maya: Owner) -> None:
    year = datetime.now(UTC).year + 1
    account_id = await an_account(maya)
    for day in range(25, 32):
        found = await told(maya, account_id, when=When.on(f"{year}-03-{day}T03:30", "Europe/Kyiv"))
        if "clock_change" in found:
            assert "leap" in found["clock_change"].text
            return
    raise AssertionError("the clocks go forward on one of these days")


async def test_the_same_within_a_day_is_told_as_a_double(maya: Owner) -> None:
    account_id, other = await an_account(maya), await an_account(maya)
    video_id, twin = await a_video(maya, sha256="same"), await a_video(maya, sha256="same")
    when = in_(days=2)
    made = await planned(maya, video_id, account_id, when=when)
    assert when.at is not None
    day = timedelta(hours=24)
    assert (await told(maya, account_id, video_id=video_id, when=when))["double"].kind == "warn"
    assert "double" in await told(maya, account_id, video_id=twin, when=When.instant(when.at + day))
    for more in (
        {"when": When.instant(when.at + day + timedelta(minutes=1))},
        {"post": platforms.Post("Another knot", "SELF_ONLY")},
        {"video_id": await a_video(maya)},
        {"target_id": made.targets[0].id},
    ):
        assert "double" not in await told(maya, account_id, **({"video_id": video_id, "when": when} | more))
    assert "double" not in await told(maya, other, video_id=video_id, when=when)
    async with db.owned_by(maya.workspace_id) as conn:
        await publishing.cancel_all(conn, made.id)
    assert "double" not in await told(maya, account_id, video_id=video_id, when=when)


async def test_posts_close_to_each_other_and_full_days_are_told(maya: Owner) -> None:
    account_id, when = await an_account(maya), in_(days=2)
    await planned(maya, await a_video(maya), account_id, when=when)
    assert when.at is not None
    found = await told(maya, account_id, when=When.instant(when.at + timedelta(minutes=4)))
    assert found["close"].kind == "warn" and found["quota"].kind == "ok"
    assert "close" not in await told(maya, account_id, when=When.instant(when.at + timedelta(minutes=6)))
    [quota] = [one for one in platforms.get("tiktok").quotas(None) if one.scope == "account"]
    async with db.house() as conn:
        await conn.execute(
            """
            INSERT INTO targets (workspace_id, publication_id, video_id, account_id, platform, post, publish_at,
                                 zone, state)
            SELECT workspace_id, publication_id, video_id, account_id, platform, post,
                   publish_at - make_interval(hours => 1), zone, state
              FROM targets, generate_series(2, %s)""",
            [quota.most],
        )
    full = await told(maya, account_id, when=When.instant(when.at + timedelta(hours=3)))
    assert full["quota"].kind == "warn" and str(quota.most) in full["quota"].text
    after = await told(maya, account_id, when=When.instant(when.at + timedelta(seconds=quota.window_s + 60)))
    assert after["quota"].kind == "ok"
