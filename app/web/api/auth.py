"""Signing up and in for programs: password in, access token out. The token is good for 15 minutes.

These two need no idempotency key: a sign-up repeated with the same password gives the same account, and a
second token harms nobody.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app import db, users
from app.web import guard, pace
from app.web.api.body import Answer, Body
from app.web.api.endpoint import gives, takes


class SignUp(Body):
    # The room refuses with better sentences; what it refuses is published here from the same constants.
    email: Annotated[str, Field(json_schema_extra={"pattern": users.EMAIL, "maxLength": users.LONGEST_EMAIL})]
    password: Annotated[
        str,
        Field(
            json_schema_extra={
                "format": "password",
                "pattern": users.PASSWORD,
                "minLength": users.SHORTEST_PASSWORD,
                "maxLength": users.LONGEST_PASSWORD,
            }
        ),
    ]
    name: Annotated[
        str, Field(json_schema_extra={"pattern": users.NAME, "minLength": 1, "maxLength": users.LONGEST_NAME})
    ]


class Credentials(Body):
    email: str
    password: Annotated[str, Field(json_schema_extra={"format": "password"})]


class User(Answer):
    id: int
    email: str
    name: str
    is_operator: bool
    zone: str
    theme: str


class Workspace(Answer):
    id: int
    name: str


class Token(Answer):
    access_token: str
    expires_in: int


class SignedUp(Token):
    user: User
    workspace: Workspace


class Me(Answer):
    user: User
    workspace: Workspace
    role: str


def shown(person: users.Person) -> User:
    return User(
        id=person.id,
        email=person.email,
        name=person.name,
        is_operator=person.is_operator,
        zone=person.zone,
        theme=person.theme,
    )


@takes(
    SignUp,
    gives=SignedUp,
    status=201,
    summary="Make an account with a workspace of its own.",
    errors=(409, 429),
)
async def sign_up(request: Request, asked: SignUp) -> SignedUp:
    await pace.take_entry(request)
    address = guard.address_of(request)
    person, workspace = await users.sign_up(asked.email, asked.password, asked.name, address=address)
    async with db.house() as conn:
        session, _ = await users.start(
            conn,
            person.id,
            workspace.id,
            kind="api",
            user_agent=request.headers.get("user-agent", ""),
            address=address,
        )
    token, expires_in = users.issue(session)
    return SignedUp(
        access_token=token,
        expires_in=expires_in,
        user=shown(person),
        workspace=Workspace(id=workspace.id, name=workspace.name),
    )


@takes(Credentials, gives=Token, summary="Get an access token for an account.", errors=(401, 429))
async def token(request: Request, asked: Credentials) -> Token:
    await pace.take_entry(request)
    session, _ = await users.sign_in(
        asked.email,
        asked.password,
        address=guard.address_of(request),
        user_agent=request.headers.get("user-agent", ""),
        kind="api",
    )
    access_token, expires_in = users.issue(session)
    return Token(access_token=access_token, expires_in=expires_in)


@gives(None, status=204, summary="End the session of the token that is used.")
async def sign_out(request: Request) -> Response:
    async with db.house() as conn:
        await users.sign_out(conn, guard.who_acts(request).session.id)
    return Response(status_code=204)


@gives(Me, summary="Who the token belongs to.")
async def me(request: Request) -> Me:
    who = guard.who_acts(request)
    return Me(
        user=shown(who.person),
        workspace=Workspace(id=who.workspace.id, name=who.workspace.name),
        role=who.role,
    )
