"""Accounts for programs: which are connected, and making one in the simulator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from app import accounts, db, platforms
from app.web import guard
from app.web.api.body import Answer, Body
from app.web.api.endpoint import gives, takes
from app.web.api.repeats import idempotent

# One line with something to see in it.
NAME = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"


class Account(Answer):
    """An account on a platform. `state` is connected, needs_reconnect or disconnected; `reason` says why."""

    id: int
    platform: str
    handle: str
    display_name: str
    avatar_url: str | None
    simulated: bool
    state: str
    reason: str | None
    scopes: list[str]
    missing_scopes: list[str]
    paused: bool
    held_until: datetime | None
    held_reason: str | None
    access_expires_at: datetime | None
    last_success_at: datetime | None
    created_at: datetime


class Accounts(Answer):
    accounts: list[Account]


class AccountAnswer(Answer):
    account: Account


class NewAccount(Body):
    platform: Literal[platforms.NAMES]  # type: ignore[valid-type]  # the names are known only when it runs
    display_name: Annotated[str, StringConstraints(pattern=NAME, min_length=1, max_length=100)]


@gives(Accounts, summary="The workspace's connected accounts, newest first.")
async def listed(request: Request) -> Accounts:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        return Accounts(accounts=[shown(account) for account in await accounts.list_for(conn)])


@takes(
    NewAccount,
    gives=AccountAnswer,
    status=201,
    summary="Make an account in the simulator and connect it. Not where the real platform is configured.",
    errors=(409,),
)
async def create_simulated(request: Request, asked: NewAccount) -> Response:
    """The simulator is asked inside the transaction that keeps the answer, so that two requests with one key make
    one account; it is on this machine, and the real platforms are connected in the browser.
    """
    who = guard.who_acts(request)

    async def work(_: db.Conn) -> AccountAnswer:
        account = await accounts.connect_simulated(
            workspace_id=who.workspace.id, platform=asked.platform, display_name=asked.display_name.strip()
        )
        return AccountAnswer(account=shown(account))

    return await idempotent(request, who, work, status=201)


def shown(account: accounts.Account) -> Account:
    return Account(
        id=account.id,
        platform=account.platform,
        handle=account.handle,
        display_name=account.display_name,
        avatar_url=account.avatar_url,
        simulated=account.simulated,
        state=account.state,
        reason=account.reason,
        scopes=account.scopes,
        missing_scopes=account.missing_scopes,
        paused=account.paused_at is not None,
        held_until=account.held_until,
        held_reason=account.held_reason,
        access_expires_at=account.access_expires_at,
        last_success_at=account.last_success_at,
        created_at=account.created_at,
    )
