"""Tokens stay alive: renewed once whoever asks, never lost to a bad line, ended only by a clear no (S0.11–S0.13)."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import accounts, db, platforms, publishing
from app.errors import Permanent
from app.platforms import Tokens
from tests.accounts.conftest import waits_for_us
from tests.makers import Owner, a_video, an_account, an_owner
from tests.web.studio import Studio

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
# A worker's share of `renew-tokens`, in a process of its own that starts when it is told to.
WORKER = """
import asyncio, sys
from app import accounts, db, http
async def main():
    await db.open_pools(sys.argv[1], pages=False)
    print("ready", flush=True)
    sys.stdin.readline()
    print(await accounts.renew_due(), flush=True)
    await db.close_pools()
    await http.close()
asyncio.run(main())
"""


async def connected(name: str = "maya.makes") -> tuple[Owner, accounts.Account]:
    owner = await an_owner()
    return owner, await an_account(owner, name)


async def change(account_id: int, **columns: object) -> None:
    async with db.house() as conn:
        for name, value in columns.items():
            assert name.isidentifier()
            await conn.execute(f"UPDATE accounts SET {name} = %s WHERE id = %s".encode(), [value, account_id])


async def make_due(account_id: int) -> None:
    await change(account_id, renew_at=datetime.now(UTC) - timedelta(minutes=1))


async def now_of(account_id: int) -> accounts.Account:
    async with db.house() as conn:
        return await accounts.get(conn, account_id)


async def sealed(account_id: int) -> tuple[str, str]:
    async with db.house() as conn:
        [(access, refresh)] = await db.rows(
            conn, "SELECT access_token_enc, refresh_token_enc FROM accounts WHERE id = %s", [account_id]
        )
    return access, refresh


async def notices(account_id: int) -> int:
    async with db.house() as conn:
        return int(
            await db.value(
                conn,
                "SELECT count(*) FROM events WHERE name = 'account.needs_reconnect' AND topic = %s",
                [f"account-{account_id}"],
            )
        )


async def token_calls(studio: Studio) -> int:
    """How often the platform's token address was asked, connecting included."""
    return int((await studio.world.ledger())["calls"].get("token", 0))


async def end_at_platform(account_id: int) -> None:
    """The person takes the permission away at the platform."""
    adapter = platforms.get("tiktok")
    await adapter.revoke(adapter.app(), (await accounts.fresh_token(account_id)).grant)


async def test_two_workers_that_renew_at_once_make_one_call(studio: Studio) -> None:
    _, account = await connected()
    await make_due(account.id)
    before = await token_calls(studio)
    await studio.world.arm("slow", step="token", seconds=0.3)
    await asyncio.gather(accounts.renew_due(), accounts.renew_due(), accounts.renew_due())
    assert await token_calls(studio) == before + 1
    assert (await accounts.ask(account.id)).handle == "maya.makes"


async def test_two_worker_processes_that_renew_at_once_make_one_call(studio: Studio, database: str) -> None:
    _, account = await connected()
    await make_due(account.id)
    before = await token_calls(studio)
    await studio.world.arm("slow", step="token", seconds=0.5)
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            WORKER,
            database,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert (await worker.stdout.readline()).strip() == b"ready"
    ended = await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))
    assert [worker.returncode for worker in workers] == [0, 0], ended
    assert await token_calls(studio) == before + 1
    assert (await accounts.ask(account.id)).handle == "maya.makes"


async def test_a_token_that_was_turned_down_is_renewed_once_for_everybody_who_held_it(studio: Studio) -> None:
    _, account = await connected()
    refused = (await accounts.fresh_token(account.id)).token
    before = await token_calls(studio)
    got = await asyncio.gather(*(accounts.fresh_token(account.id, refused=refused) for _ in range(4)))
    assert await token_calls(studio) == before + 1
    assert len({access.token for access in got}) == 1
    assert got[0].token != refused


async def test_a_renewal_counts_for_whoever_waited_also_when_the_platform_gave_the_same_token(
    studio: Studio,
) -> None:
    _, account = await connected()
    token = (await accounts.fresh_token(account.id)).token
    await make_due(account.id)
    before = await token_calls(studio)
    async with db.house() as conn:
        await conn.execute("SELECT 1 FROM accounts WHERE id = %s FOR NO KEY UPDATE", [account.id])
        waiting = asyncio.create_task(accounts.renew_due())
        await waits_for_us(waiting)
        await accounts.rows.write_tokens(conn, account.id, Tokens(token, "", 7200, None, (), "", {}, 3600))
    assert await waiting == 1
    assert await token_calls(studio) == before


async def test_what_is_not_due_is_left_alone(studio: Studio) -> None:
    _, account = await connected()
    await change(account.id, renew_at=datetime.now(UTC) + timedelta(minutes=1))
    assert await accounts.renew_due() == 0
    # What older code wrote names no moment of its own.
    await change(account.id, renew_at=None, access_expires_at=datetime.now(UTC) + timedelta(minutes=76))
    assert await accounts.renew_due() == 0
    await change(account.id, access_expires_at=datetime.now(UTC) + timedelta(minutes=74))
    assert await accounts.renew_due() == 1


async def test_accounts_with_a_post_planned_beyond_their_end_come_first(studio: Studio) -> None:
    owners = [await connected(f"creator{number}") for number in range(3)]
    made = [account for _, account in owners]
    for owner, account in owners[1:]:
        await a_video(owner, account)
    for account in made:
        await make_due(account.id)
    renewed_first = made[2]
    async with db.house() as conn:
        # The second one's post goes out while its token still works.
        await conn.execute("UPDATE targets SET publish_at = now() WHERE account_id = %s", [made[1].id])
        await conn.execute(
            "UPDATE targets SET publish_at = now() + interval '3 days' WHERE account_id = %s",
            [renewed_first.id],
        )
    first = await publishing.beyond_access()
    assert first == [renewed_first.id]
    before = {account.id: await sealed(account.id) for account in made}
    assert await accounts.renew_due(first=first, most=1) == 1
    after = {account.id: await sealed(account.id) for account in made}
    assert [account.id for account in made if before[account.id] != after[account.id]] == [renewed_first.id]


@pytest.mark.parametrize("fault", ["error_before", "rate_limit", "drop_before"])
async def test_trouble_on_the_line_never_disconnects_and_is_told_on_the_card(
    studio: Studio, fault: str
) -> None:
    _, account = await connected()
    await make_due(account.id)
    kept = await sealed(account.id)
    await studio.world.arm(fault, step="token", times=10)
    assert await accounts.renew_due() == 0
    troubled = await now_of(account.id)
    assert (troubled.state, bool(troubled.reason)) == ("connected", True)
    assert await sealed(account.id) == kept
    assert await notices(account.id) == 0
    await studio.world.clear()
    assert await accounts.renew_due() == 1
    assert (await now_of(account.id)).reason is None


async def test_a_platform_that_asks_for_patience_is_asked_later_and_nobody_is_told(studio: Studio) -> None:
    """Instagram renews no sign-in that is younger than a day (its sheet, section 3)."""
    account = await an_account(await an_owner(), platform="instagram")
    await make_due(account.id)
    assert await accounts.renew_due() == 0
    after = await now_of(account.id)
    assert (after.state, after.reason) == ("connected", None)
    assert after.renew_at is not None and after.renew_at > datetime.now(UTC) + timedelta(hours=23)
    # Only when the token does not last until then the person has to know.
    await change(account.id, access_expires_at=datetime.now(UTC) + timedelta(hours=1))
    await make_due(account.id)
    assert await accounts.renew_due() == 0
    assert (await now_of(account.id)).reason


async def test_an_account_in_trouble_does_not_hold_up_the_others(studio: Studio) -> None:
    made = [(await connected(f"creator{number}"))[1] for number in range(3)]
    for account in made:
        await make_due(account.id)
    await end_at_platform(made[0].id)
    assert await accounts.renew_due() == 2
    assert [(await now_of(account.id)).state for account in made] == [
        "needs_reconnect",
        "connected",
        "connected",
    ]


async def test_a_recognised_revocation_is_told_once_whoever_finds_it(studio: Studio) -> None:
    _, account = await connected()
    await end_at_platform(account.id)
    await make_due(account.id)

    async def found_by_a_post() -> None:
        with pytest.raises(Permanent) as refused:
            await accounts.ask(account.id)
        assert refused.value.code == "needs_reconnect"

    await asyncio.gather(accounts.renew_due(), accounts.renew_due(), found_by_a_post())
    lost = await now_of(account.id)
    assert lost.state == "needs_reconnect"
    assert "Connect" in (lost.reason or "")
    assert await notices(account.id) == 1


async def test_a_lost_answer_is_asked_for_again_with_the_old_token(studio: Studio) -> None:
    _, account = await connected()
    await make_due(account.id)
    before = await token_calls(studio)
    await studio.world.arm("drop_before", step="token")
    assert await accounts.renew_due() == 1
    assert await token_calls(studio) == before + 2
    assert (await now_of(account.id)).state == "connected"


async def test_an_empty_refresh_token_and_no_scopes_overwrite_nothing(studio: Studio) -> None:
    _, account = await connected()
    _, refresh = await sealed(account.id)
    async with db.house() as conn:
        await accounts.rows.write_tokens(
            conn, account.id, Tokens("new", "", 3600, None, (), account.remote_id)
        )
    assert (await sealed(account.id))[1] == refresh
    after = await now_of(account.id)
    assert after.scopes == account.scopes
    assert after.refresh_expires_at == account.refresh_expires_at


async def test_a_token_without_an_end_is_used_and_never_renewed_for_its_age(studio: Studio) -> None:
    _, account = await connected()
    async with db.house() as conn:
        await accounts.rows.write_tokens(
            conn,
            account.id,
            Tokens("endless", "its-renewal", None, None, tuple(account.scopes), "1", {"page": "9"}),
        )
    before = await token_calls(studio)
    access = await accounts.fresh_token(account.id)
    assert (access.token, access.account.access_expires_at) == ("endless", None)
    assert access.grant.facts == {"page": "9"}
    assert await accounts.renew_due() == 0
    assert await token_calls(studio) == before


async def test_a_permission_that_cannot_be_renewed_ends_with_its_token_and_says_so(studio: Studio) -> None:
    _, account = await connected()
    await change(account.id, refresh_token_enc=None, renew_at=datetime.now(UTC) - timedelta(minutes=1))
    # As long as it works there is nothing to lose.
    assert await accounts.renew_due() == 0
    assert (await now_of(account.id)).state == "connected"
    await change(account.id, access_expires_at=datetime.now(UTC) - timedelta(minutes=1))
    assert await accounts.renew_due() == 0
    lost = await now_of(account.id)
    assert lost.state == "needs_reconnect"
    assert "cannot be renewed" in (lost.reason or "")
    assert await notices(account.id) == 1


async def test_a_token_is_never_sent_to_the_other_world(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, account = await connected()
    await change(account.id, simulated=False)
    before = (await studio.world.ledger())["calls"]
    with pytest.raises(Permanent) as refused:
        await accounts.fresh_token(account.id)
    assert refused.value.code == "other_world"
    await make_due(account.id)
    assert await accounts.renew_due() == 0
    assert (await studio.world.ledger())["calls"] == before
    assert (await now_of(account.id)).state == "connected"


async def test_no_access_is_ever_shown_in_a_repr(studio: Studio) -> None:
    _, account = await connected()
    access = await accounts.fresh_token(account.id)
    assert access.token not in repr(access)
    assert access.token not in repr(access.grant)


async def test_every_platform_renews_once_for_two_who_ask_and_keeps_what_it_was_given(studio: Studio) -> None:
    """Also where the platform gives the same token again, or no refresh token, so that only the row tells."""
    owner = await an_owner()
    await studio.world.allow({"instagramRefreshFromS": 0})
    for platform in platforms.NAMES:
        account = await an_account(owner, "maya.makes", platform)

        async def calls(platform: str = platform) -> int:
            return int(sum((await studio.world.ledger(platform))["calls"].values()))

        made = []
        for together in (1, 2):
            await make_due(account.id)
            before = await calls()
            await asyncio.gather(*(accounts.renew_due() for _ in range(together)))
            made.append(await calls() - before)
        assert made[0] > 0 and made[0] == made[1], (platform, made)
        after = await now_of(account.id)
        assert (after.state, after.scopes, after.facts) == ("connected", account.scopes, account.facts), (
            platform
        )
        assert after.renew_at is not None and after.renew_at > datetime.now(UTC)
        assert (await sealed(account.id))[1], platform
        assert (await accounts.ask(account.id)).handle == account.handle
