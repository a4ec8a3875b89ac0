"""Connecting an account by OAuth: a one-use state bound to the session that asked, then the code's exchange.

Where one consent covers several accounts the person picks (`choices`); all of them, one or several, are kept by the
same steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from app import config, crypto, db, http, platforms
from app.accounts import apps, choices, rows
from app.errors import HouseError, Permanent, Refused

STATE_MINUTES = 10


@dataclass(frozen=True)
class Outcome:
    """What came of a return: the account that is connected now, or the ticket of the list to pick from."""

    account: rows.Account | None
    ticket: str = field(default="", repr=False)


@dataclass(frozen=True)
class Picked:
    """What came of picking: the accounts that are connected now, and by name why others are not."""

    accounts: tuple[rows.Account, ...]
    problems: Mapping[str, HouseError]


async def begin(conn: db.Conn, *, workspace_id: int, session_id: int, platform: str) -> str:
    """The address of the platform's consent page for this session; its state works once, for ten minutes."""
    adapter = platforms.get(platform)
    await apps.look()
    app = adapter.app()
    if not app.client_key:
        raise Refused(
            f"This installation has no credentials for {adapter.LABEL}; an operator has to set them.",
            code="not_configured",
        )
    state, verifier = crypto.token(), adapter.new_verifier()
    digest = crypto.digest(state)
    await conn.execute(
        """
        INSERT INTO oauth_states (state_sha256, workspace_id, session_id, platform, verifier_enc,
        redirect_uri) VALUES (%s, %s, %s, %s, %s, %s)""",
        [
            digest,
            workspace_id,
            session_id,
            platform,
            crypto.seal(verifier, f"oauth_states|{digest.hex()}|verifier_enc"),
            app.redirect_uri,
        ],
    )
    return adapter.authorize_url(app, state, verifier)


async def finish(*, workspace_id: int, session_id: int, platform: str, answer: Mapping[str, str]) -> Outcome:
    """Take the browser's return from the platform and connect the account it allowed, or offer which of several.

    A state that is unknown, used, old or another session's is refused and connects nothing; so is a return
    without the scopes we cannot do without.
    """
    adapter = platforms.get(platform)
    digest = crypto.digest(answer.get("state", ""))
    async with db.owned_by(workspace_id) as conn:
        sealed = await db.value(
            conn,
            """
            UPDATE oauth_states
               SET used_at = now()
             WHERE state_sha256 = %s AND session_id = %s AND platform = %s AND used_at IS NULL
               AND created_at > now() - make_interval(mins => %s)
            RETURNING verifier_enc""",
            [digest, session_id, platform, STATE_MINUTES],
        )
    if sealed is None:
        raise Refused(
            "This connection was not started here, is too old, or was already used. Start connecting again.",
            code="state_refused",
        )
    # Meta says `error_code` and `error_message` where the app itself is the trouble, without an `error`.
    if "error" in answer or "error_code" in answer:
        said = answer.get("error_description") or answer.get("error_message", "")
        raise adapter.declined(answer.get("error", "connect_refused"), said)
    verifier = crypto.unseal(sealed, f"oauth_states|{digest.hex()}|verifier_enc")
    found = await _consented(platform, answer.get("code", ""), verifier)
    if len(found) == 1:
        return Outcome(await _connect(workspace_id, platform, found[0].tokens))
    async with db.owned_by(workspace_id) as conn:
        ticket = await choices.keep(
            conn, workspace_id=workspace_id, session_id=session_id, platform=platform, found=found
        )
    return Outcome(None, ticket)


async def pick(*, workspace_id: int, session_id: int, ticket: str, remote_ids: Sequence[str]) -> Picked:
    """Connect what was ticked in the list of this ticket, which is used up by it.

    Each is connected by itself: one that fails leaves the others. Refused as `choices.take` says; the first
    failure is raised when none could be connected.
    """
    await apps.look()
    async with db.owned_by(workspace_id) as conn:
        platform, found = await choices.take(
            conn, session_id=session_id, ticket=ticket, remote_ids=list(remote_ids)
        )
    connected: list[rows.Account] = []
    problems: dict[str, HouseError] = {}
    for choice in found:
        try:
            connected.append(await _connect(workspace_id, platform, choice.tokens))
        except HouseError as error:
            problems[choice.name] = error
    if not connected:
        raise next(iter(problems.values()))
    return Picked(tuple(connected), problems)


async def connect_simulated(
    *, workspace_id: int, platform: str, display_name: str, switches: Mapping[str, object] | None = None
) -> rows.Account:
    """Make a creator in the simulator and connect it by the same exchange as the browser's way; where the consent
    covers several accounts, the first of them.

    Refused where the real platform is configured.
    """
    adapter = platforms.get(platform)
    await apps.look()
    if not adapter.app().simulated:
        raise Refused(
            f"{adapter.LABEL} is not simulated here: connect the account in the browser.",
            code="not_simulated",
        )
    answer = await http.request(
        "POST",
        f"{config.get().sandbox_base}/accounts",
        json={**(switches or {}), "platform": platform, "displayName": display_name},
        timeout_s=15,
    )
    if answer.status != 201:
        raise Permanent("The simulator did not make the account.", code="simulator")
    found = await _consented(platform, str(answer.json()["code"]), adapter.new_verifier())
    return await _connect(workspace_id, platform, found[0].tokens)


async def _consented(platform: str, code: str, verifier: str) -> list[platforms.Choice]:
    """Trade the code for tokens; gives the accounts they cover, at least one. Refused when a needed scope lacks."""
    adapter = platforms.get(platform)
    await apps.look()
    app = adapter.app()
    tokens = await adapter.exchange(app, code, verifier)
    if missing := [scope for scope in adapter.NEEDED_SCOPES if scope not in tokens.scopes]:
        raise Refused(
            f"The account did not allow us to {_in_words(adapter, missing)}. Connect it again and leave every box "
            "ticked.",
            code="scopes_missing",
            fields={scope: adapter.SCOPE_WORDS.get(scope, scope) for scope in missing},
        )
    found = await adapter.choices(app, tokens)
    if not found:
        raise Refused(
            f"This sign-in at {adapter.LABEL} covers no account that can be posted to.", code="no_accounts"
        )
    return found


async def _connect(workspace_id: int, platform: str, tokens: platforms.Tokens) -> rows.Account:
    """Ask whose account these tokens are for and what it may do, and save it sealed."""
    adapter = platforms.get(platform)
    app = adapter.app()
    profile = await adapter.profile(app, tokens.grant)
    creator = await adapter.creator(app, replace(tokens.grant, remote_id=profile.remote_id))
    async with db.owned_by(workspace_id) as conn:
        account = await rows.keep(conn, workspace_id, platform, profile, tokens, simulated=app.simulated)
        await rows.keep_creator(conn, account.id, creator)
        return await rows.get(conn, account.id)


def _in_words(adapter: platforms.Platform, scopes: Sequence[str]) -> str:
    """`post videos and see its @name`."""
    words = [adapter.SCOPE_WORDS.get(scope, scope) for scope in scopes]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


async def forget_states(conn: db.Conn) -> int:
    """Remove what is left of connections that were begun more than a day ago, and lists that nobody picked from in
    time; gives how many.
    """
    gone = await db.run(conn, "DELETE FROM oauth_states WHERE created_at < now() - interval '1 day'")
    return gone + await choices.forget(conn)
