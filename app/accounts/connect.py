"""Connecting an account by OAuth: a one-use state bound to the session that asked, then the code's exchange."""

from __future__ import annotations

from collections.abc import Mapping

from app import config, crypto, db, http, platforms
from app.accounts import rows
from app.errors import Permanent, Refused

STATE_MINUTES = 10


async def begin(conn: db.Conn, *, workspace_id: int, session_id: int, platform: str) -> str:
    """The address of the platform's consent page for this session; its state works once, for ten minutes."""
    adapter = platforms.get(platform)
    app = adapter.app()
    if not app.client_key:
        raise Refused(
            f"This installation has no {platform} credentials; an operator has to set them.",
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


async def finish(
    *, workspace_id: int, session_id: int, platform: str, answer: Mapping[str, str]
) -> rows.Account:
    """Take the browser's return from the platform and connect the account it allowed.

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
    if "error" in answer:
        raise adapter.declined(answer["error"], answer.get("error_description", ""))
    verifier = crypto.unseal(sealed, f"oauth_states|{digest.hex()}|verifier_enc")
    return await exchange(workspace_id, platform, answer.get("code", ""), verifier)


async def exchange(workspace_id: int, platform: str, code: str, verifier: str) -> rows.Account:
    """Trade the code for tokens, ask whose account it is, and save it sealed."""
    adapter = platforms.get(platform)
    app = adapter.app()
    tokens = await adapter.exchange(app, code, verifier)
    if missing := [scope for scope in adapter.NEEDED_SCOPES if scope not in tokens.scopes]:
        raise Refused(
            f"The account did not allow {', '.join(missing)}. Connect it again and leave those boxes ticked.",
            code="scopes_missing",
        )
    profile = await adapter.profile(app, tokens.access_token, scopes=tokens.scopes)
    creator = await adapter.creator(app, tokens.access_token)
    async with db.owned_by(workspace_id) as conn:
        account = await rows.keep(conn, workspace_id, platform, profile, tokens, simulated=app.simulated)
        await rows.keep_creator(conn, account.id, creator)
        return await rows.get(conn, account.id)


async def connect_simulated(
    *, workspace_id: int, platform: str, display_name: str, switches: Mapping[str, object] | None = None
) -> rows.Account:
    """Make a creator in the simulator and connect it by the same exchange as the browser's way.

    Refused where the real platform is configured.
    """
    adapter = platforms.get(platform)
    if not adapter.app().simulated:
        raise Refused(
            f"{platform} is not simulated here: connect the account in the browser.", code="not_simulated"
        )
    answer = await http.request(
        "POST",
        f"{config.get().sandbox_base}/accounts",
        json={**(switches or {}), "platform": platform, "displayName": display_name},
        timeout_s=15,
    )
    if answer.status != 201:
        raise Permanent("The simulator did not make the account.", code="simulator")
    return await exchange(workspace_id, platform, str(answer.json()["code"]), adapter.new_verifier())
