"""Signing up and signing in: the two ways from a password to a person.

Both are long steps: the hash is computed between two transactions, never inside one. Whoever waits for a turn
to hash holds no connection. The limits are looked at inside the turn, so no burst passes them by.
"""

from __future__ import annotations

from app import db, log
from app.errors import Refused
from app.users import checks, failures, passwords, people
from app.users.people import Person, Workspace
from app.users.sessions import Kind, Session, start

NOT_THIS = "This e-mail address and password do not belong together."
TAKEN = "This address cannot be used to sign up. If it is yours, sign in."


async def sign_up(email: str, password: str, name: str, *, address: str = "") -> tuple[Person, Workspace]:
    """A new person with a workspace; the first one of the house becomes operator. Refused with `fields`.

    A known address with its right password gives the account that is there, so a repeated request does no
    harm; with another password it is refused (409, `sign_up_refused`) after the same work, and counts as a failed
    sign-in. Without a mail to the owner a refusal cannot hide that the address is known; the limits per
    address make asking for many of them slow.
    """
    email, password, name = checks.check(email, password, name)
    async with passwords.turn():
        async with db.house() as conn:
            await failures.refuse_waiting(conn, failures.address_key(address))
            waits = await failures.wait_s(conn, failures.account_key(email)) is not None
            account = await people.known(conn, email)
        if account is None:
            password_hash = await passwords.hashed(password)
            async with db.house() as conn:
                added = await people.add(conn, email, name, password_hash)
            if added is None:
                raise _taken()
            log.info("signed up", user_id=added[0].id, is_operator=added[0].is_operator)
            return added
        right = await passwords.matches(account.password_hash, password) and not waits
        async with db.house() as conn:
            if right:
                return await people.get(conn, account.id), await people.first_workspace(conn, account.id)
            await failures.note(conn, failures.account_key(email) | failures.address_key(address))
    raise _taken()


async def sign_in(
    email: str, password: str, *, address: str, user_agent: str, kind: Kind
) -> tuple[Session, str]:
    """A new session and its secret. Refused (401, `not_signed_in`) in the same words, and after the same work,
    for a wrong password and an unknown address; Refused (429, `too_many_failures`) while there is a wait.
    """
    email, password = checks.normal_email(email), checks.normal_password(password)
    keys = failures.account_key(email) | failures.address_key(address)
    async with passwords.turn():
        async with db.house() as conn:
            await failures.refuse_waiting(conn, keys)
            account = await people.known(conn, email)
        right = await passwords.matches(account.password_hash if account else None, password)
        if account is None or not right:
            async with db.house() as conn:
                await failures.note(conn, keys)
            log.info("sign-in failed", address=address)
            raise Refused(NOT_THIS, code="not_signed_in", status=401)
        newer = await passwords.hashed(password) if passwords.is_outdated(account.password_hash) else None
    async with db.house() as conn:
        if newer is not None:
            await people.rehash(conn, account.id, account.password_hash, newer)
        await failures.clear(conn, failures.account_key(email))
        workspace = await people.first_workspace(conn, account.id)
        return await start(conn, account.id, workspace.id, kind=kind, user_agent=user_agent, address=address)


def _taken() -> Refused:
    return Refused(TAKEN, code="sign_up_refused", status=409, fields={"email": TAKEN})
