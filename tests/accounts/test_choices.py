"""A consent for several accounts is kept for ten minutes, for the session that began it, and for one picking."""

from __future__ import annotations

import asyncio

import pytest

from app import accounts, crypto, db, platforms
from app.errors import Refused
from tests.accounts.conftest import waits_for_us
from tests.makers import an_account, an_owner
from tests.web.studio import Person, Studio

pytestmark = pytest.mark.anyio


def choice(number: int, **lifetimes: int | None) -> platforms.Choice:
    tokens = platforms.Tokens(
        f"page-token-{number}",
        "long-token",
        lifetimes.get("access_s"),
        lifetimes.get("refresh_s", 5_000_000),
        ("pages_manage_posts",),
        f"10{number}",
        {"user": "7"},
        lifetimes.get("renew_s"),
    )
    return platforms.Choice(f"10{number}", f"Page {number}", "Facebook Page", tokens)


async def session_of(person: Person) -> int:
    async with db.house() as conn:
        return int(
            await db.value(
                conn,
                "SELECT max(id) FROM sessions WHERE user_id = %s AND kind = 'browser'",
                [person.user_id],
            )
        )


async def kept(person: Person, found: list[platforms.Choice], platform: str = "tiktok") -> tuple[int, str]:
    session_id = await session_of(person)
    async with db.owned_by(person.workspace_id) as conn:
        ticket = await accounts.choices.keep(
            conn, workspace_id=person.workspace_id, session_id=session_id, platform=platform, found=found
        )
    return session_id, ticket


async def test_what_is_picked_comes_back_whole_and_the_rest_is_forgotten(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    session_id, ticket = await kept(maya, [choice(1), choice(2), choice(3)])
    async with db.owned_by(maya.workspace_id) as conn:
        platform, found = await accounts.choices.take(
            conn, session_id=session_id, ticket=ticket, remote_ids=["101", "103"]
        )
    assert (platform, [each.name for each in found]) == ("tiktok", ["Page 1", "Page 3"])
    got, given = found[1].tokens, choice(3).tokens
    assert (got.grant, got.refresh_token) == (given.grant, given.refresh_token)
    async with db.house() as conn:
        assert await db.rows(conn, "SELECT offered_enc FROM account_choices") == [(None,)]


async def test_what_passed_since_is_taken_off_the_lifetimes(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    session_id, ticket = await kept(maya, [choice(1, access_s=3600, refresh_s=120, renew_s=1800), choice(2)])
    async with db.house() as conn:
        await conn.execute("UPDATE account_choices SET created_at = now() - interval '5 minutes'")
    async with db.owned_by(maya.workspace_id) as conn:
        _, found = await accounts.choices.take(
            conn, session_id=session_id, ticket=ticket, remote_ids=["101", "102"]
        )
    first, second = (each.tokens for each in found)
    assert first.access_expires_in_s is not None and 3290 <= first.access_expires_in_s <= 3300
    assert (first.refresh_expires_in_s, second.access_expires_in_s) == (0, None)


async def test_the_list_shows_no_token_and_says_what_is_connected_already(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    async with db.house() as conn:
        await conn.execute("UPDATE accounts SET remote_id = '102'")
    session_id, ticket = await kept(maya, [choice(1), choice(2)])
    async with db.owned_by(maya.workspace_id) as conn:
        platform, offers = await accounts.choices.offered(conn, session_id=session_id, ticket=ticket)
    assert platform == "tiktok"
    assert [(offer.name, offer.account_id) for offer in offers] == [("Page 1", None), ("Page 2", account_id)]
    page = (await maya.browser.get(f"/accounts/choose/{ticket}")).text
    assert "Page 1" in page and "Connected already" in page
    assert "page-token" not in page and "long-token" not in page
    async with db.house() as conn:
        [(sealed,)] = await db.rows(conn, "SELECT offered_enc FROM account_choices")
    assert "token" not in sealed
    with pytest.raises(Exception, match="damaged or in the wrong place"):
        crypto.unseal(sealed, "account_choices|00|offered_enc")


async def test_a_ticket_of_another_session_an_old_one_and_a_used_one_open_nothing(studio: Studio) -> None:
    maya, noa = await studio.person(browser=True), await studio.person("Noa", browser=True)
    session_id, ticket = await kept(maya, [choice(1), choice(2)])
    where = f"/accounts/choose/{ticket}"
    for method in ("get", "post"):
        stolen = await (noa.browser.get(where) if method == "get" else noa.post(where, {"account": ["101"]}))
        assert (stolen.status_code, "Page 1" in stolen.text) == (422, False), method
    # Another session of the same workspace is another session, too.
    async with db.owned_by(maya.workspace_id) as conn:
        with pytest.raises(Refused):
            await accounts.choices.take(conn, session_id=session_id + 1000, ticket=ticket, remote_ids=["101"])
    async with db.owned_by(maya.workspace_id) as conn:
        await accounts.choices.take(conn, session_id=session_id, ticket=ticket, remote_ids=["101"])
    again = await maya.post(where, {"account": ["101"]})
    assert (again.status_code, "was already used" in again.text) == (422, True)
    _, late = await kept(maya, [choice(1), choice(2)])
    async with db.house() as conn:
        await conn.execute("UPDATE account_choices SET created_at = now() - interval '10 minutes'")
    assert (await maya.browser.get(f"/accounts/choose/{late}")).status_code == 422


async def test_two_pickings_at_once_use_it_up_once(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    session_id, ticket = await kept(maya, [choice(1), choice(2)])

    async def picking(remote_id: str) -> str:
        try:
            async with db.owned_by(maya.workspace_id) as conn:
                _, [found] = await accounts.choices.take(
                    conn, session_id=session_id, ticket=ticket, remote_ids=[remote_id]
                )
            return found.remote_id
        except Refused as refused:
            return refused.code

    async with db.owned_by(maya.workspace_id) as conn:
        await accounts.choices.take(conn, session_id=session_id, ticket=ticket, remote_ids=["101"])
        second = asyncio.create_task(picking("102"))
        await waits_for_us(second)
    assert await second == "choice_refused"


async def test_picking_nothing_or_what_was_never_offered_uses_nothing_up(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    session_id, ticket = await kept(maya, [choice(1), choice(2)])
    for picked in ([], ["999"], ["101", "999"]):
        answer = await maya.post(f"/accounts/choose/{ticket}", {"account": picked})
        assert (answer.status_code, "Tick at least one" in answer.text) == (422, True), picked
    async with db.owned_by(maya.workspace_id) as conn:
        assert await accounts.list_for(conn) == []
        assert len((await accounts.choices.offered(conn, session_id=session_id, ticket=ticket))[1]) == 2


async def test_what_nobody_picks_is_forgotten_with_its_tokens(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await kept(maya, [choice(1), choice(2)])
    async with db.house() as conn:
        assert await accounts.forget_states(conn) == 0
        await conn.execute("UPDATE account_choices SET created_at = now() - interval '11 minutes'")
        assert await accounts.forget_states(conn) == 1


async def test_one_of_several_that_fails_leaves_the_others_connected(studio: Studio) -> None:
    """Two creators of the simulator's stand for two Pages; the token of one of them is no token."""
    maya = await studio.person(browser=True)
    noor = await an_owner("Noor")
    donor = await an_account(noor, "kitchen.tales")
    good = await accounts.fresh_token(donor.id)
    offers = [
        platforms.Choice(
            remote_id,
            name,
            "",
            platforms.Tokens(token, "refresh", 3600, 36_000, tuple(donor.scopes), remote_id),
        )
        for remote_id, name, token in ((donor.remote_id, "Kitchen", good.token), ("9", "Broken", "no token"))
    ]
    _, ticket = await kept(maya, offers)
    answer = await maya.post(f"/accounts/choose/{ticket}", {"account": [donor.remote_id, "9"]})
    assert answer.status_code == 409
    assert "1 account is connected, 1 not" in answer.text
    assert "Broken" in answer.text
    async with db.owned_by(maya.workspace_id) as conn:
        assert [account.handle for account in await accounts.list_for(conn)] == ["kitchen.tales"]
