"""The first run: whether the house stands, an account, a first video. Each step says whether it is done."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import accounts, checkup, db, platforms, videos
from app.errors import Refused
from app.web import errors, forms, guard
from app.web.account_card import doors
from app.web.pages import page

LONGEST_NAME = 60


async def start(request: Request) -> Response:
    """GET /start"""
    who = guard.who_acts(request)
    await accounts.apps.look()
    async with db.owned_by(who.workspace.id) as conn:
        connected = await accounts.list_for(conn)
        counts = await videos.counts(conn)
    # Without script the page itself waits for the checks: `?checks=1`.
    asked = request.query_params.get("checks") == "1" and who.person.is_operator
    return page(
        request,
        "start/start.html",
        connected=connected,
        counts=counts,
        total=sum(counts.values()),
        findings=await checkup.look() if asked else None,
        doors=doors(),
    )


async def checks(request: Request) -> Response:
    """GET /start/checks: the self-check, which takes a moment. Operators only."""
    await accounts.apps.look()
    return page(request, "start/_checks.html", findings=await checkup.look())


async def simulated(request: Request) -> Response:
    """POST /start/simulated: a creator in the simulator, connected by the ordinary exchange."""
    form = await forms.read(request)
    name = forms.text(form, "displayName").strip()
    platform = forms.text(form, "platform") or platforms.NAMES[0]
    platforms.get(platform)
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Refused(
            f"Give the account a name of 1 to {LONGEST_NAME} letters.",
            code="invalid",
            fields={"displayName": "is missing"},
        )
    await accounts.connect_simulated(
        workspace_id=guard.who_acts(request).workspace.id, platform=platform, display_name=name
    )
    if errors.is_htmx(request):
        return Response(headers={"hx-redirect": "/start"})
    return RedirectResponse("/start", 303)
