"""The accounts' pages: connecting by OAuth, how each one stands, pause, test call, disconnect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import accounts, config, db, platforms, publishing, videos
from app.errors import HouseError, NotFound, Refused
from app.web import forms, guard, words
from app.web.pages import page
from app.web.words import Word

LONGEST_NAME = 100
# Renewal begins this long before the end; a permission that ends within the second time is told beforehand.
RENEWED_AHEAD = timedelta(minutes=75)
TOLD_AHEAD = timedelta(days=14)
SCOPES: Mapping[str, str] = {
    "user.info.basic": "see whose account it is",
    "user.info.profile": "see its @name",
    "video.publish": "post videos",
    "video.list": "read how its videos do",
}
MISSING = Word("Permission missing", "needs", "key-round")
HELD = Word("On hold", "needs", "hourglass")
RENEWING = Word("Renewing", "working", "refresh-cw")


@dataclass(frozen=True)
class Tested:
    """What came of a test call a moment ago."""

    fine: bool
    said: str


@dataclass(frozen=True)
class Card:
    """An account with what its card shows."""

    account: accounts.Account
    planned: tuple[publishing.Target, ...]
    next_title: str
    tested: Tested | None = None

    @property
    def word(self) -> Word:
        account, now = self.account, datetime.now(UTC)
        if account.state != accounts.CONNECTED:
            return words.state(account.state)
        if account.missing_scopes:
            return MISSING
        if account.paused_at is not None:
            return words.state("paused")
        if account.held_until is not None and account.held_until > now:
            return HELD
        if account.access_expires_at is not None and account.access_expires_at - now < RENEWED_AHEAD:
            return RENEWING
        return words.state(accounts.CONNECTED)

    @property
    def why(self) -> str:
        """What is wrong and what to do, in sentences; empty when nothing is."""
        account = self.account
        if account.state == accounts.NEEDS_RECONNECT:
            reason = account.reason or "The platform no longer lets us post."
            return f"{reason} What falls due before then fails and can be retried; history and plans stay."
        if account.missing_scopes:
            return "Posts cannot go out without it. Connect again and leave every box ticked."
        if account.paused_at is not None:
            return "Nothing of this account starts until it goes on. What is due meanwhile waits."
        if self.word is HELD:
            return account.held_reason or "The platform asked this account to wait."
        return ""

    @property
    def access(self) -> str:
        """When the access ends and who does what about it (S0.11)."""
        account, now = self.account, datetime.now(UTC)
        if account.state != accounts.CONNECTED or account.access_expires_at is None:
            return "none until it is connected again"
        left = account.access_expires_at - RENEWED_AHEAD - now
        if left <= timedelta(0):
            return "is being renewed"
        return f"renews by itself in {words.took(left.total_seconds())}"

    @property
    def ends_soon(self) -> bool:
        """Whether the permission itself runs out soon, so that a person has to act."""
        ends_at = self.account.refresh_expires_at
        return (
            self.account.state == accounts.CONNECTED
            and ends_at is not None
            and ends_at - datetime.now(UTC) < TOLD_AHEAD
        )

    @property
    def next_when(self) -> datetime | None:
        """When the next post is due, if that is still to come."""
        first = self.planned[0] if self.planned else None
        if (
            first is None
            or first.state != publishing.State.SCHEDULED
            or first.publish_at <= datetime.now(UTC)
        ):
            return None
        return first.publish_at

    @property
    def creator(self) -> platforms.Creator | None:
        return accounts.creator_of(self.account)


async def listed(request: Request) -> Response:
    """GET /accounts"""
    return await _listed(request)


async def card(request: Request) -> Response:
    """GET /accounts/{account_id}/card: the part that lives; a disconnected account has none."""
    return await _card(request)


async def connect(request: Request) -> Response:
    """GET /accounts/{platform}/connect: a link, as a form that leads to a platform is blocked by `form-action`."""
    who = guard.who_acts(request)
    try:
        async with db.owned_by(who.workspace.id) as conn:
            where = await accounts.begin(
                conn,
                workspace_id=who.workspace.id,
                session_id=who.session.id,
                platform=request.path_params["platform"],
            )
    except NotFound:
        raise
    except HouseError as error:
        return _problem(request, error)
    return RedirectResponse(where, 303)


async def callback(request: Request) -> Response:
    """GET /accounts/{platform}/callback: the browser comes back from the platform."""
    who = guard.who_acts(request)
    try:
        account = await accounts.finish(
            workspace_id=who.workspace.id,
            session_id=who.session.id,
            platform=request.path_params["platform"],
            answer=dict(request.query_params),
        )
    except NotFound:
        raise
    except HouseError as error:
        return _problem(request, error)
    return _back(request, account.id)


async def create_simulated(request: Request) -> Response:
    """POST /accounts/simulated: a creator of the simulator's, connected by the ordinary exchange."""
    name = " ".join(forms.text(await forms.read(request), "name").split())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        return await _listed(request, wrong=f"Give a name of 1 to {LONGEST_NAME} letters.", name=name)
    try:
        account = await accounts.connect_simulated(
            workspace_id=guard.who_acts(request).workspace.id, platform="tiktok", display_name=name
        )
    except Refused:
        raise
    except HouseError as error:
        return _problem(request, error)
    return _back(request, account.id)


async def pause(request: Request) -> Response:
    """POST /accounts/{account_id}/pause"""
    return await _set_paused(request, True)


async def resume(request: Request) -> Response:
    """POST /accounts/{account_id}/resume"""
    return await _set_paused(request, False)


async def disconnect(request: Request) -> Response:
    """POST /accounts/{account_id}/disconnect"""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await accounts.disconnect(conn, request.path_params["account_id"])
    return RedirectResponse("/accounts", 303)


async def test(request: Request) -> Response:
    """POST /accounts/{account_id}/test: ask the platform now what this account may do."""
    account_id = request.path_params["account_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        account = await accounts.get(conn, account_id)
    try:
        creator = await _ask(account)
        async with db.owned_by(account.workspace_id) as conn:
            await accounts.keep_creator(conn, account_id, creator)
        tested = Tested(True, f"It works: TikTok answered for @{creator.handle}.")
    except HouseError as error:
        tested = Tested(False, error.message)
    return await _card(request, tested)


async def _ask(account: accounts.Account) -> platforms.Creator:
    """What the account may do; a token that is turned down is renewed once, which also finds out a lost permission."""
    adapter = platforms.get(account.platform)
    access = await accounts.fresh_token(account.id)
    try:
        return await adapter.creator(adapter.app(), access.token)
    except HouseError as error:
        if error.code != "access_token_invalid":
            raise
    access = await accounts.fresh_token(account.id, refused=access.token)
    return await adapter.creator(adapter.app(), access.token)


async def _set_paused(request: Request, paused: bool) -> Response:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await accounts.pause(conn, request.path_params["account_id"], paused)
    return await _card(request)


async def _listed(request: Request, *, wrong: str = "", name: str = "") -> Response:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        cards = [await _look(conn, account) for account in await accounts.list_for(conn)]
    return page(
        request,
        "accounts/list.html",
        status=422 if wrong else 200,
        cards=cards,
        can_simulate=config.get().tiktok_simulated,
        scopes=SCOPES,
        wrong=wrong,
        name=name,
    )


async def _card(request: Request, tested: Tested | None = None) -> Response:
    """The card alone for htmx; for a plain form the whole list, standing at this card."""
    account_id = request.path_params["account_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        account = await accounts.get(conn, account_id)
        if account.state == accounts.DISCONNECTED:
            raise NotFound("This account is no longer connected.")
        shown = await _look(conn, account, tested)
    if request.method == "POST" and request.headers.get("hx-request") != "true":
        return _back(request, account_id)
    return page(request, "accounts/_account.html", card=shown, scopes=SCOPES)


async def _look(conn: db.Conn, account: accounts.Account, tested: Tested | None = None) -> Card:
    planned = await publishing.on_account(conn, account.id)
    title = (await videos.get(conn, planned[0].video_id)).title if planned else ""
    return Card(account, tuple(planned), title, tested)


def _back(request: Request, account_id: int) -> Response:
    return RedirectResponse(f"/accounts#account-{account_id}", 303)


def _problem(request: Request, error: HouseError) -> Response:
    """Why an account was not connected, and the way to try again."""
    platform = str(request.path_params.get("platform", "tiktok"))
    return page(
        request,
        "accounts/problem.html",
        status=error.status,
        message=error.message,
        code=error.code,
        platform=platform,
        can_simulate=config.get().tiktok_simulated,
    )
