"""The accounts' pages: connecting by OAuth, how each one stands, pause, test call, late posts, disconnect."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import accounts, db, platforms, publishing, videos
from app.errors import HouseError, NotFound, Refused
from app.web import forms, guard
from app.web.account_card import Card, Door, Tested, doors
from app.web.pages import page

LONGEST_NAME = 100


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
        outcome = await accounts.finish(
            workspace_id=who.workspace.id,
            session_id=who.session.id,
            platform=request.path_params["platform"],
            answer=dict(request.query_params),
        )
    except NotFound:
        raise
    except HouseError as error:
        return _problem(request, error)
    if outcome.account is None:
        return RedirectResponse(request.app.url_path_for("account_choose", token=outcome.ticket), 303)
    return _back(request, outcome.account.id)


async def choose(request: Request) -> Response:
    """GET /accounts/choose/{token}: which of the accounts that the consent covers are to be connected."""
    return await _choose(request)


async def pick(request: Request) -> Response:
    """POST /accounts/choose/{token}: connect those that are ticked; the list is used up by it."""
    who = guard.who_acts(request)
    form = await forms.read(request)
    wanted = [value for value in form.getlist("account") if isinstance(value, str)]
    try:
        picked = await accounts.pick(
            workspace_id=who.workspace.id,
            session_id=who.session.id,
            ticket=request.path_params["token"],
            remote_ids=wanted,
        )
    except HouseError as error:
        if error.code == "nothing_picked":
            return await _choose(request, wrong=error.message)
        return _problem(request, error)
    if picked.problems:
        return page(request, "accounts/picked.html", status=409, picked=picked)
    return _back(request, picked.accounts[0].id)


async def create_simulated(request: Request) -> Response:
    """POST /accounts/simulated: a creator of the simulator's, connected by the ordinary exchange."""
    form = await forms.read(request)
    name = " ".join(forms.text(form, "name").split())
    platform = forms.text(form, "platform") or platforms.NAMES[0]
    platforms.get(platform)
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        said = f"Give a name of 1 to {LONGEST_NAME} letters."
        return await _listed(request, wrong=said, name=name, platform=platform)
    try:
        account = await accounts.connect_simulated(
            workspace_id=guard.who_acts(request).workspace.id, platform=platform, display_name=name
        )
    except Refused:
        raise
    except HouseError as error:
        return _problem(request, error, platform)
    return _back(request, account.id)


async def pause(request: Request) -> Response:
    """POST /accounts/{account_id}/pause"""
    return await _set_paused(request, True)


async def resume(request: Request) -> Response:
    """POST /accounts/{account_id}/resume"""
    return await _set_paused(request, False)


async def set_policy(request: Request) -> Response:
    """POST /accounts/{account_id}/late: what happens to posts that were due while nothing could go out."""
    policy = forms.text(await forms.read(request), "policy")
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await accounts.set_policy(conn, request.path_params["account_id"], policy)
    return await _card(request)


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
        creator = await accounts.ask(account_id)
        async with db.owned_by(account.workspace_id) as conn:
            await accounts.keep_creator(conn, account_id, creator)
        tested = Tested(
            True, f"It works: {platforms.LABELS[account.platform]} answered for @{creator.handle}."
        )
    except HouseError as error:
        tested = Tested(False, error.message)
    return await _card(request, tested)


async def _set_paused(request: Request, paused: bool) -> Response:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await accounts.pause(conn, request.path_params["account_id"], paused)
    return await _card(request)


async def _listed(request: Request, *, wrong: str = "", name: str = "", platform: str = "tiktok") -> Response:
    who = guard.who_acts(request)
    await accounts.apps.look()
    async with db.owned_by(who.workspace.id) as conn:
        found = [(account, await _planned(conn, account)) for account in await accounts.list_for(conn)]
    shown = [await _look(account, planned) for account, planned in found]
    # What needs the person comes first; among the rest the newest.
    shown.sort(key=lambda card: card.word.tone != "needs")
    return page(
        request,
        "accounts/list.html",
        status=422 if wrong else 200,
        cards=shown,
        doors=doors(),
        wrong=wrong,
        name=name,
        platform=platform,
    )


async def _card(request: Request, tested: Tested | None = None) -> Response:
    """The card alone for htmx; for a plain form the whole list, standing at this card."""
    account_id = request.path_params["account_id"]
    await accounts.apps.look()
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        account = await accounts.get(conn, account_id)
        if account.state == accounts.DISCONNECTED:
            raise NotFound("This account is no longer connected.")
        planned = await _planned(conn, account)
    if request.method == "POST" and request.headers.get("hx-request") != "true":
        return _back(request, account_id)
    return page(request, "accounts/_account.html", card=await _look(account, planned, tested))


async def _planned(conn: db.Conn, account: accounts.Account) -> tuple[list[publishing.Target], str]:
    planned = await publishing.on_account(conn, account.id)
    title = (await videos.get(conn, planned[0].video_id)).title if planned else ""
    return planned, title


async def _look(
    account: accounts.Account, planned: tuple[list[publishing.Target], str], tested: Tested | None = None
) -> Card:
    """`account` is one the person may see: what the house counts of it is read past the row rules."""
    async with db.house() as conn:
        left = await publishing.left(conn, account)
    return Card(account, tuple(planned[0]), planned[1], tuple(left), tested)


async def _choose(request: Request, *, wrong: str = "") -> Response:
    who = guard.who_acts(request)
    try:
        async with db.owned_by(who.workspace.id) as conn:
            platform, offers = await accounts.choices.offered(
                conn, session_id=who.session.id, ticket=request.path_params["token"]
            )
    except HouseError as error:
        return _problem(request, error)
    return page(
        request,
        "accounts/choose.html",
        status=422 if wrong else 200,
        platform=platform,
        offers=offers,
        minutes=accounts.choices.PICK_MINUTES,
        wrong=wrong,
    )


def _back(request: Request, account_id: int) -> Response:
    return RedirectResponse(f"/accounts#account-{account_id}", 303)


def _problem(request: Request, error: HouseError, platform: str = "") -> Response:
    """Why an account was not connected, and the way to try again; `door` is None where no platform is known."""
    name = platform or str(request.path_params.get("platform", ""))
    door: Door | None = next((door for door in doors() if door.platform == name), None)
    return page(
        request,
        "accounts/problem.html",
        status=error.status,
        message=error.message,
        code=error.code,
        missing=error.fields if isinstance(error, Refused) and error.code == "scopes_missing" else {},
        door=door,
    )
