"""What platforms say of their limits holds those whom it concerns, and nobody else, for as long as they said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app import accounts, db, limits, publishing
from app.errors import NotYet
from app.platforms import Usage, tiktok
from app.platforms.tiktok import errors
from app.publishing import caps
from tests.makers import Owner, an_owner
from tests.publishing.room_kit import a_video, an_account, planned

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("room")]


async def a_target(owner: Owner) -> publishing.Target:
    made = await planned(owner, await a_video(owner), await an_account(owner))
    return made.targets[0]


async def held(target: publishing.Target) -> NotYet | None:
    async with db.house() as conn:
        account = await accounts.get(conn, target.account_id)
        try:
            await caps.check_hold(conn, target, account)
        except NotYet as error:
            return error
    return None


async def two_targets() -> tuple[publishing.Target, publishing.Target]:
    """Of two accounts of two owners."""
    return await a_target(await an_owner("Maya")), await a_target(await an_owner("Noor"))


async def test_a_cap_of_one_account_holds_that_account_alone() -> None:
    mine, other = await two_targets()
    await caps.note(mine, errors.error("spam_risk_too_many_posts"))
    found = await held(mine)
    assert found is not None and found.until is not None and "within 24 hours" in found.message
    assert abs(found.until - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)
    assert await held(other) is None


async def test_a_cap_that_all_accounts_share_holds_them_all_and_ends() -> None:
    mine, other = await two_targets()
    await caps.note(mine, errors.error("reached_active_user_cap"))
    for target in (mine, other):
        found = await held(target)
        assert found is not None and "as many TikTok accounts as TikTok allows" in found.message
    async with db.house() as conn:
        await conn.execute("UPDATE app_usage SET held_until = now() - interval '1 s'")
    assert (await held(mine), await held(other)) == (None, None)


async def test_an_ordinary_no_holds_nobody() -> None:
    mine, _ = await two_targets()
    for code in ("internal_error", "invalid_params", "rate_limit_exceeded", "spam_risk_text"):
        await caps.note(mine, errors.error(code))
    assert await held(mine) is None


@pytest.mark.parametrize("scope", ["account", "app"])
async def test_a_budget_that_is_nearly_used_up_holds_until_it_is_said_to_be_free(scope: str) -> None:
    mine, other = await two_targets()
    async with db.house() as conn:
        await caps.keep_usage(conn, mine, [Usage(scope, "calls", percent=80.0)])  # type: ignore[arg-type]  # of two words
    assert await held(mine) is None
    async with db.house() as conn:
        full = Usage(scope, "calls", percent=97.0, until_s=1200.0, sentence="Too many calls.")  # type: ignore[arg-type]  # of two words
        await caps.keep_usage(conn, mine, [full])
    found = await held(mine)
    assert found is not None and found.until is not None and found.message == "Too many calls."
    assert timedelta(minutes=19) < found.until - datetime.now(UTC) <= timedelta(minutes=20)
    assert (await held(other) is None) == (scope == "account")


async def test_the_posts_of_a_day_are_counted_for_each_account() -> None:
    mine, _ = await two_targets()
    async with db.house() as conn:
        account = await accounts.get(conn, mine.account_id)
        wanted = caps.limits_of(mine, account)
        daily = [limit for limit in wanted if limit.window_s == 24 * 3600]
        assert [limit.most for limit in daily] == [15] and f"account-{account.id}" in daily[0].key
        starts = [await limits.take(conn, f"target-{number}", daily) for number in range(16)]
    assert starts[:15] == [None] * 15
    wait = starts[15]
    assert wait is not None and wait.reason == tiktok.quotas(None)[0].sentence
    assert wait.until > datetime.now(UTC) + timedelta(hours=23)
