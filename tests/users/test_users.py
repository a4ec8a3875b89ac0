"""People: signing up and in, what is refused, how often, and what a session and a token are worth."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import jwt
import pytest

from app import crypto, db, users
from app.errors import NotFound, Refused, Retryable
from app.users import failures, passwords

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse"
ADDRESS = "203.0.113.7"


async def count(table: str) -> int:
    async with db.house() as conn:
        statements = {
            "users": "SELECT count(*) FROM users",
            "sessions": "SELECT count(*) FROM sessions",
            "workspaces": "SELECT count(*) FROM workspaces",
            "failures": "SELECT count(*) FROM sign_in_failures",
        }
        return int((await db.rows(conn, statements[table]))[0][0])


async def a_person(email: str = "ada@example.com") -> tuple[users.Person, users.Workspace]:
    return await users.sign_up(email, PASSWORD, "Ada")


async def entered(
    email: str = "ada@example.com", password: str = PASSWORD, address: str = ADDRESS
) -> tuple[users.Session, str]:
    return await users.sign_in(email, password, address=address, user_agent="test", kind="browser")


async def change(statement: str, *given: object) -> None:
    async with db.house() as conn:
        await conn.execute(statement, given)


async def test_a_person_gets_a_workspace_and_the_first_one_is_operator(pools: str) -> None:
    ada, workspace = await a_person()
    bob, other = await users.sign_up("  Bob@Example.COM ", PASSWORD, " Bob ")
    assert (ada.is_operator, bob.is_operator) == (True, False)
    assert (bob.email, bob.name, other.name) == ("bob@example.com", "Bob", "Bob")
    assert workspace.id != other.id


async def test_two_first_sign_ups_at_once_give_one_operator(pools: str) -> None:
    made = await asyncio.gather(*(a_person(f"p{n}@example.com") for n in range(6)))
    assert sum(person.is_operator for person, _ in made) == 1


async def test_the_same_sign_up_twice_at_once_gives_one_person(pools: str) -> None:
    answers = await asyncio.gather(*(a_person() for _ in range(4)), return_exceptions=True)
    assert await count("users") == await count("workspaces") == 1
    people = {answer[0].id for answer in answers if isinstance(answer, tuple)}
    assert len(people) == 1
    assert all(isinstance(answer, (tuple, Refused)) for answer in answers)


async def test_signing_up_again_with_the_right_password_gives_the_same_account(pools: str) -> None:
    assert (await a_person())[0] == (await a_person())[0]


async def test_a_known_address_with_another_password_is_refused_and_counts(pools: str) -> None:
    await a_person()
    with pytest.raises(Refused) as caught:
        await users.sign_up("ada@example.com", "another password", "Eve", address=ADDRESS)
    assert (caught.value.status, caught.value.code) == (409, "sign_up_refused")
    assert await count("users") == await count("workspaces") == 1
    assert await count("failures") == 2


@pytest.mark.parametrize(
    ("email", "password", "name", "wrong"),
    [
        ("", PASSWORD, "Ada", "email"),
        ("ada", PASSWORD, "Ada", "email"),
        ("ada@localhost", PASSWORD, "Ada", "email"),
        ("a@b@example.com", PASSWORD, "Ada", "email"),
        ("ada\n@example.com", PASSWORD, "Ada", "email"),
        ("a" * 250 + "@example.com", PASSWORD, "Ada", "email"),
        ("ada@example.com", "x" * 9, "Ada", "password"),
        ("ada@example.com", "x" * 201, "Ada", "password"),
        ("ada@example.com", "with\x00zero byte", "Ada", "password"),
        ("ada@example.com", PASSWORD, "  ", "name"),
        ("ada@example.com", PASSWORD, "A" * 101, "name"),
        ("ada@example.com", PASSWORD, "Ada\x1b[2J", "name"),
        ("ada@example.com", PASSWORD, "Ada\u202egnp.exe", "name"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_left(
    pools: str, email: str, password: str, name: str, wrong: str
) -> None:
    with pytest.raises(Refused) as caught:
        await users.sign_up(email, password, name)
    assert list(caught.value.fields) == [wrong]
    assert await count("users") == await count("workspaces") == 0


@pytest.mark.parametrize(
    ("password", "name"), [("x" * 10, "A"), ("x" * 200, "A" * 100), ("pässwörter", "李 👩‍🎤")]
)
async def test_the_limits_themselves_are_accepted(pools: str, password: str, name: str) -> None:
    person, _ = await users.sign_up("ada@example.com", password, name)
    assert person.name == name
    await entered(password=password)


async def test_unknown_and_wrong_are_refused_in_the_same_words(pools: str) -> None:
    await a_person()
    told = []
    for email in ("ada@example.com", "nobody@example.com"):
        with pytest.raises(Refused) as caught:
            await entered(email, "wrong password")
        told.append((caught.value.status, caught.value.code, caught.value.message, caught.value.fields))
    assert told[0] == told[1]
    assert await count("sessions") == 0


async def test_unknown_accounts_cost_the_same_work(pools: str) -> None:
    passwords.use(passwords.STRONG)
    await a_person()
    spent: dict[str, list[float]] = {"ada@example.com": [], "nobody@example.com": []}
    for _ in range(3):
        for email, times in spent.items():
            started = time.perf_counter()
            with pytest.raises(Refused):
                await entered(email, "wrong password", address="")
            times.append(time.perf_counter() - started)
    known, unknown = (median(times) for times in spent.values())
    assert unknown > known / 2 > 0.01


async def test_the_sixth_try_on_an_account_waits_even_with_the_right_password(pools: str) -> None:
    await a_person()
    for n in range(5):
        with pytest.raises(Refused) as caught:
            await entered(password="wrong password", address=f"203.0.113.{n}")
        assert caught.value.status == 401
    with pytest.raises(Refused) as caught:
        await entered(address="198.51.100.1")
    assert (caught.value.status, caught.value.code) == (429, "too_many_failures")
    assert 0 < (caught.value.after_s or 0) <= 60
    await change("UPDATE sign_in_failures SET blocked_until = now() - interval '1 second'")
    await entered()
    async with db.house() as conn:
        assert await failures.wait_s(conn, failures.account_key("ada@example.com")) is None


async def test_four_failures_do_no_harm_and_success_forgets_them(pools: str) -> None:
    await a_person()
    for _ in range(2):
        for _ in range(4):
            with pytest.raises(Refused):
                await entered(password="wrong password", address="")
        await entered(address="")


async def test_an_unknown_account_waits_just_the_same(pools: str) -> None:
    statuses = []
    for _ in range(6):
        with pytest.raises(Refused) as caught:
            await entered("nobody@example.com", address="")
        statuses.append(caught.value.status)
    assert statuses == [401] * 5 + [429]


async def test_the_wait_doubles_and_a_quiet_time_forgets(pools: str) -> None:
    key = failures.account_key("ada@example.com")
    waits = []
    for _ in range(12):
        async with db.house() as conn:
            await failures.note(conn, key)
            waits.append(await failures.wait_s(conn, key))
    assert waits == [None] * 4 + [60, 120, 240, 480, 960, 1920, 3600, 3600]
    await change("UPDATE sign_in_failures SET blocked_until = now() - interval '1 hour'")
    await change("UPDATE sign_in_failures SET failed_at = ARRAY[now() - interval '2 hours']")
    async with db.house() as conn:
        await failures.note(conn, key)
        assert await failures.wait_s(conn, key) is None
    await change("UPDATE sign_in_failures SET failed_at = ARRAY[now() - interval '2 hours']")
    async with db.house() as conn:
        assert await users.forget_failures(conn) == 1


async def test_twenty_failures_from_one_address_block_it_for_all_accounts(pools: str) -> None:
    await a_person()
    for n in range(20):
        with pytest.raises(Refused):
            await entered(f"p{n}@example.com")
    with pytest.raises(Refused) as caught:
        await entered()
    assert caught.value.status == 429
    await entered(address="198.51.100.1")


async def test_a_burst_of_guesses_does_not_pass_the_limit_by(pools: str) -> None:
    await a_person()
    answers = await asyncio.gather(
        *(entered(password=f"wrong {n}", address="") for n in range(30)), return_exceptions=True
    )
    looked_at = sum(isinstance(a, Refused) and a.status == 401 for a in answers)
    assert 5 <= looked_at <= 5 + passwords.AT_ONCE - 1


async def test_too_many_waiting_are_told_so(pools: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MOST_WAITING", 3)
    answers = await asyncio.gather(*(a_person(f"p{n}@example.com") for n in range(6)), return_exceptions=True)
    assert sum(isinstance(answer, Retryable) for answer in answers) == 3


async def test_a_session_says_who_acts_until_it_is_ended(pools: str) -> None:
    ada, workspace = await a_person()
    session, secret = await entered()
    async with db.house() as conn:
        who = await users.by_session(conn, secret)
        assert who is not None
        assert (who.person, who.workspace, who.role, who.session) == (ada, workspace, "owner", session)
        assert await users.by_session(conn, crypto.token()) is None
        assert [one.id for one in await users.sessions(conn, ada.id)] == [session.id]
        assert await users.is_living(conn, session.id)
        await users.sign_out(conn, session.id)
        await users.sign_out(conn, session.id)
        assert await users.by_session(conn, secret) is None
        assert not await users.is_living(conn, session.id)
        assert await users.sessions(conn, ada.id) == []


async def test_only_the_digest_of_the_secret_is_kept(pools: str) -> None:
    await a_person()
    _, secret = await entered()
    async with db.house() as conn:
        assert bytes(await db.value(conn, "SELECT secret FROM sessions")) == crypto.digest(secret)


@pytest.mark.parametrize(
    ("statement", "lives"),
    [
        ("UPDATE sessions SET seen_at = now() - interval '13 days 23 hours'", True),
        ("UPDATE sessions SET seen_at = now() - interval '14 days 1 second'", False),
        ("UPDATE sessions SET expires_at = now() + interval '1 minute'", True),
        ("UPDATE sessions SET expires_at = now()", False),
        ("UPDATE users SET disabled_at = now()", False),
        ("DELETE FROM members", False),
    ],
)
async def test_a_session_ends_by_itself(pools: str, statement: str, lives: bool) -> None:
    await a_person()
    _, secret = await entered()
    await change(statement)
    async with db.house() as conn:
        assert (await users.by_session(conn, secret) is not None) is lives


async def test_a_browsers_session_lasts_30_days_at_most(pools: str) -> None:
    await a_person()
    session, _ = await entered()
    assert (session.expires_at - session.signed_in_at).days == 30


async def test_a_visit_is_noted_once_a_minute(pools: str) -> None:
    await a_person()
    session, secret = await entered()
    async with db.house() as conn:
        await users.by_session(conn, secret)
    async with db.house() as conn:
        assert await db.value(conn, "SELECT seen_at FROM sessions") == session.seen_at
    await change("UPDATE sessions SET seen_at = now() - interval '61 seconds'")
    async with db.house() as conn:
        await users.by_session(conn, secret)
    async with db.house() as conn:
        assert await db.value(conn, "SELECT now() - seen_at < interval '10 seconds' FROM sessions")


async def test_nobody_ends_the_session_of_another(pools: str) -> None:
    ada, _ = await a_person()
    bob, _ = await a_person("bob@example.com")
    session, secret = await entered()
    async with db.house() as conn:
        with pytest.raises(NotFound):
            await users.revoke(conn, bob.id, session.id)
        assert await users.by_session(conn, secret) is not None
        await users.revoke(conn, ada.id, session.id)
        assert await users.by_session(conn, secret) is None


async def test_ended_sessions_are_forgotten_after_a_day(pools: str) -> None:
    await a_person()
    await entered()
    await entered()
    await change("UPDATE sessions SET revoked_at = now() - interval '25 hours' WHERE id = 1")
    async with db.house() as conn:
        assert await users.forget_sessions(conn) == 1
        assert await users.forget_sessions(conn) == 0


async def a_token() -> tuple[users.Session, str]:
    ada, workspace = await a_person()
    async with db.house() as conn:
        session, _ = await users.start(conn, ada.id, workspace.id, kind="api")
    return session, users.issue(session)[0]


async def who_with(token: str) -> users.Who | None:
    async with db.house() as conn:
        return await users.by_token(conn, token)


async def test_a_token_says_who_acts_until_its_session_ends(pools: str) -> None:
    session, token = await a_token()
    who = await who_with(token)
    assert who is not None
    assert who.session.id == session.id
    async with db.house() as conn:
        await users.sign_out(conn, session.id)
    assert await who_with(token) is None


async def test_a_token_of_a_browsers_session_is_worth_nothing(pools: str) -> None:
    await a_person()
    session, _ = await entered()
    assert await who_with(users.issue(session)[0]) is None


async def test_the_secret_of_an_api_session_is_no_cookie(pools: str) -> None:
    ada, workspace = await a_person()
    async with db.house() as conn:
        _, secret = await users.start(conn, ada.id, workspace.id, kind="api")
        assert await users.by_session(conn, secret) is None


@pytest.mark.parametrize(
    "change_of",
    [
        {"exp": int(time.time()) - 31},
        {"iss": "somebody"},
        {"aud": "something"},
        {"sid": "999"},
        {"sid": "x"},
        {"sub": "999"},
        {"sid": None},
        {"exp": None},
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(pools: str, change_of: dict[str, object]) -> None:
    _, token = await a_token()
    claims = jwt.decode(token, options={"verify_signature": False}) | change_of
    forged = {name: value for name, value in claims.items() if value is not None}
    header = {"kid": jwt.get_unverified_header(token)["kid"]}
    assert await who_with(jwt.encode(forged, crypto.derive("jwt"), "HS256", header)) is None


async def test_a_token_within_the_leeway_still_counts(pools: str) -> None:
    _, token = await a_token()
    claims = jwt.decode(token, options={"verify_signature": False}) | {"exp": int(time.time()) - 20}
    header = {"kid": jwt.get_unverified_header(token)["kid"]}
    assert await who_with(jwt.encode(claims, crypto.derive("jwt"), "HS256", header)) is not None


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_token_of_another_algorithm_or_key_is_refused(pools: str) -> None:
    _, token = await a_token()
    claims = jwt.decode(token, options={"verify_signature": False})
    header = {"kid": jwt.get_unverified_header(token)["kid"]}
    forged = [
        jwt.encode(claims, "", "none", header),
        jwt.encode(claims, "x" * 32, "HS256", header),
        jwt.encode(claims, crypto.derive("jwt"), "HS512", header),
        jwt.encode(claims, crypto.derive("jwt"), "HS256", {"kid": "other"}),
        token[:-2],
        "a.b.c",
        "",
        "\x00",
    ]
    assert [await who_with(one) for one in forged] == [None] * len(forged)


async def test_theme_and_zone_are_remembered_and_checked(pools: str) -> None:
    ada, _ = await a_person()
    _, secret = await entered()
    async with db.house() as conn:
        await users.set_theme(conn, ada.id, "dark")
        await users.set_zone(conn, ada.id, "Europe/Kyiv")
        for wrong in (users.set_theme(conn, ada.id, "pink"), users.set_zone(conn, ada.id, "../etc/passwd")):
            with pytest.raises(Refused):
                await wrong
        who = await users.by_session(conn, secret)
    assert who is not None
    assert (who.person.theme, who.person.zone) == ("dark", "Europe/Kyiv")


async def test_an_old_hash_is_renewed_at_sign_in(pools: str) -> None:
    await a_person()
    passwords.use(passwords.STRONG)
    await entered()
    async with db.house() as conn:
        assert "m=65536,t=3,p=4" in await db.value(conn, "SELECT password_hash FROM users")
    await entered()
