"""Accounts for programs: which are connected, and making one in the simulator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from app import accounts, db, platforms, publishing
from app.web import guard
from app.web.api.body import Answer, Body
from app.web.api.endpoint import gives, takes
from app.web.api.repeats import idempotent

# One line with something to see in it.
NAME = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"


class Limit(Answer):
    """How much of a limit is left. `shared`: all accounts of the installation use it up together. Where a platform
    tells a percentage only, `used` and `most` are null. At `resetsAt` it begins anew, or, when it `slides`, the
    first start comes back. Nothing begins before `heldUntil`.
    """

    name: str
    shared: bool
    used: int | None
    most: int | None
    left: int | None
    used_percent: float
    resets_at: datetime | None
    slides: bool
    held_until: datetime | None
    reason: str | None


class Account(Answer):
    """An account on a platform. `state` is connected, needs_reconnect or disconnected; `reason` says why, and of a
    connected one why its last renewal did not work. `permissionEndsAt` is when a person has to connect it again, null
    when it has no end. `latePosts` is spread, hold or miss. `kinds` are the kinds of post it may make.
    """

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
    usable: bool
    paused: bool
    held_until: datetime | None
    held_reason: str | None
    access_expires_at: datetime | None
    renews_at: datetime | None
    permission_ends_at: datetime | None
    late_posts: str
    kinds: list[str]
    notes: list[str]
    limits: list[Limit]
    planned: int
    next_due_at: datetime | None
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
    await accounts.apps.look()
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await accounts.list_for(conn)
        planned = {account.id: await publishing.on_account(conn, account.id) for account in found}
    async with db.house() as conn:
        left = {account.id: await publishing.left(conn, account) for account in found}
    return Accounts(accounts=[shown(each, planned[each.id], left[each.id]) for each in found])


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
        async with db.house() as house:
            left = await publishing.left(house, account)
        return AccountAnswer(account=shown(account, [], left))

    return await idempotent(request, who, work, status=201)


def shown(
    account: accounts.Account, planned: list[publishing.Target], left: list[publishing.Left]
) -> Account:
    creator = accounts.creator_of(account)
    return Account(
        id=account.id,
        platform=account.platform,
        handle=account.handle,
        display_name=account.display_name,
        avatar_url=account.avatar_url,
        simulated=account.simulated,
        state=account.state,
        reason=account.reason or accounts.elsewhere(account) or None,
        scopes=account.scopes,
        missing_scopes=account.missing_scopes,
        usable=account.usable and not accounts.elsewhere(account),
        paused=account.paused_at is not None,
        held_until=account.held_until,
        held_reason=account.held_reason,
        access_expires_at=account.access_expires_at,
        renews_at=accounts.renews_at(account),
        permission_ends_at=account.refresh_expires_at,
        late_posts=account.outage_policy,
        kinds=list(creator.kinds) if creator else [],
        notes=list(creator.notes) if creator else [],
        limits=[
            Limit(
                name=one.name,
                shared=one.shared,
                used=one.used,
                most=one.most,
                left=one.free,
                used_percent=one.used_percent,
                resets_at=one.resets_at,
                slides=one.slides,
                held_until=one.held_until,
                reason=one.reason,
            )
            for one in left
        ],
        planned=len(planned),
        next_due_at=planned[0].publish_at if planned else None,
        last_success_at=account.last_success_at,
        created_at=account.created_at,
    )
