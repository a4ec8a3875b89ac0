"""Connecting, renewing and ending a connection, the same for every platform."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import fields, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.errors import HouseError, NotYet, Permanent, Refused, Retryable
from app.platforms import Call, Kind, Post
from tests.platforms.conformance.kit import World, a_media, browse
from tests.platforms.conformance.subjects import Subject

pytestmark = pytest.mark.anyio


async def failure(call: Awaitable[Any]) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await call
    return caught.value


async def test_a_person_connects_in_the_browser(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    verifier = adapter.new_verifier()
    brought = await browse(subject, world, verifier)
    tokens = await adapter.exchange(app, brought["code"], verifier)
    assert set(adapter.NEEDED_SCOPES) <= set(tokens.scopes) <= set(adapter.SCOPES)
    (choice, *_) = await adapter.choices(app, tokens)
    grant = choice.tokens.grant
    profile = await adapter.profile(app, grant)
    assert profile.display_name == "Maya Makes" and profile.handle and profile.remote_id
    assert profile.remote_id == grant.remote_id == choice.remote_id
    assert profile.avatar_url is None or profile.avatar_url.startswith("http")
    for lifetime in (tokens.access_expires_in_s, tokens.refresh_expires_in_s, tokens.renew_in_s):
        assert lifetime is None or lifetime > 0
    if tokens.access_expires_in_s is not None and tokens.renew_in_s is not None:
        assert tokens.renew_in_s < tokens.access_expires_in_s


async def test_a_person_who_denies_is_told_so(subject: Subject, world: World) -> None:
    brought = await browse(subject, world, subject.adapter.new_verifier(), decision="deny")
    error = subject.adapter.declined(brought["error"], brought.get("error_description", ""))
    assert (type(error), error.code) == (Refused, "access_denied")


async def test_the_consent_page_gets_what_the_platform_needs_and_no_secret(
    subject: Subject, world: World
) -> None:
    app = world.app(subject)
    verifier = subject.adapter.new_verifier()
    address = subject.adapter.authorize_url(app, "the state", verifier)
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert query["state"] == "the state" and query["redirect_uri"] == app.redirect_uri
    assert query["response_type"] == "code" and query["scope"]
    assert app.client_key in query.values()
    assert app.client_secret not in address and verifier not in address


async def test_a_code_works_once_and_not_for_ever(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    _, code = await world.code(subject)
    await adapter.exchange(app, code, adapter.new_verifier())
    for wrong in (code, "made-up"):
        error = await failure(adapter.exchange(app, wrong, adapter.new_verifier()))
        assert isinstance(error, Refused), error
    _, late = await world.code(subject)
    world.ahead_s += 7200
    assert isinstance(await failure(adapter.exchange(app, late, adapter.new_verifier())), Refused)


async def test_a_wrong_secret_of_ours_is_the_operators_matter(subject: Subject, world: World) -> None:
    adapter = subject.adapter
    _, code = await world.code(subject)
    wrong = replace(world.app(subject), client_secret="wrong")
    error = await failure(adapter.exchange(wrong, code, adapter.new_verifier()))
    assert isinstance(error, (Permanent, Refused))
    assert adapter.verdict(error.code).kind is Kind.PERMANENT
    assert "operator" in error.message


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "junk_after", "error_before"])
async def test_an_exchange_that_got_no_answer_is_started_again_by_the_person(
    fault: str, subject: Subject, world: World
) -> None:
    adapter, app = subject.adapter, world.app(subject)
    _, code = await world.code(subject)
    await world.arm(subject, fault, subject.connects)
    error = await failure(adapter.exchange(app, code, adapter.new_verifier()))
    assert isinstance(error, (Refused, Retryable)), error
    assert await world.fired()
    fresh = await world.connect(subject)
    assert (await adapter.profile(app, fresh.grant)).remote_id


async def test_the_same_person_is_the_same_account_and_another_is_not(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    maya, other = await world.connect(subject), await world.connect(subject)
    ids = {(await adapter.profile(app, each.grant)).remote_id for each in (maya, other)}
    assert ids == {maya.grant.remote_id, other.grant.remote_id} and len(ids) == 2


async def test_the_creator_says_what_may_be_posted(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    creator = await adapter.creator(app, account.grant)
    assert creator.kinds and creator.display_name
    assert set(creator.privacy_levels) <= set(adapter.PRIVACY)
    assert adapter.check(creator, adapter.fit(creator, subject.post), a_media(world)) == {}
    for quota in adapter.quotas(creator):
        assert quota.most > 0 and quota.window_s > 0 and quota.sentence.endswith(".")
        assert quota.scope in ("app", "account")


async def test_a_permission_that_was_not_given_is_missed_by_name(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    username, code = await world.code(subject, scopes=list(subject.least_scopes))
    tokens = await adapter.exchange(app, code, adapter.new_verifier())
    missing = set(adapter.NEEDED_SCOPES) - set(tokens.scopes)
    assert missing and all(scope in adapter.SCOPE_WORDS for scope in missing), username
    try:
        (choice, *_) = await adapter.choices(app, tokens)
        grant = choice.tokens.grant
    except (HouseError, ValueError):
        grant = tokens.grant
    error = await failure(adapter.begin(app, grant, subject.post, a_media(world)))
    assert adapter.verdict(error.code).kind is Kind.AUTHORISATION_LOST, error
    assert error.code != "access_token_invalid"


async def test_what_is_asked_for_covers_what_is_needed(subject: Subject) -> None:
    adapter = subject.adapter
    assert set(adapter.NEEDED_SCOPES) <= set(adapter.SCOPES)
    assert set(adapter.NEEDED_SCOPES) <= set(adapter.SCOPE_WORDS)
    assert set(adapter.FIELDS) <= {each.name for each in fields(Post)}
    assert subject.name == adapter.NAME == subject.simulator.NAME
    assert set(adapter.SCOPES) <= set(subject.simulator.SCOPES)


async def test_renewing_gives_a_token_that_works(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    # Some platforms renew only what has lived for a day.
    world.ahead_s += min(90_000, (account.tokens.access_expires_in_s or 1_000_000) / 2)
    calls: list[Call] = []
    account.take(
        await adapter.refresh(app, account.grant, account.tokens.refresh_token, on_call=calls.append)
    )
    assert (await adapter.profile(app, account.grant)).remote_id == account.grant.remote_id
    assert calls and all(call.outcome == "ok" for call in calls)


@pytest.mark.parametrize("fault", ["drop_before", "error_before"])
async def test_a_renewal_that_the_platform_did_not_get_works_the_next_time(
    fault: str, subject: Subject, world: World
) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    world.ahead_s += min(90_000, (account.tokens.access_expires_in_s or 1_000_000) / 2)
    await world.arm(subject, fault, subject.refreshes)
    for _ in range(3):
        try:
            account.take(await adapter.refresh(app, account.grant, account.tokens.refresh_token))
            break
        except (Retryable, NotYet):
            continue
    assert (await adapter.profile(app, account.grant)).remote_id
    assert await world.fired()


async def test_after_revoking_nothing_works_and_revoking_again_does_no_harm(
    subject: Subject, world: World
) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    await adapter.revoke(app, account.grant)
    if not subject.revokes:
        await adapter.revoke(app, account.grant)
        return
    error = await failure(adapter.creator(app, account.grant))
    assert adapter.verdict(error.code).kind is Kind.AUTHORISATION_LOST
    error = await failure(adapter.refresh(app, account.grant, account.tokens.refresh_token))
    assert adapter.verdict(error.code).kind is Kind.AUTHORISATION_LOST
    try:
        await adapter.revoke(app, account.grant)
    except HouseError as again:
        assert adapter.verdict(again.code).kind is Kind.AUTHORISATION_LOST


async def test_a_dead_token_is_told_by_every_call_in_the_word_that_means_renew(
    subject: Subject, world: World
) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    media = a_media(world)
    creator = await adapter.creator(app, account.grant)
    post = adapter.fit(creator, subject.post)
    handle = await adapter.begin(app, account.grant, post, media)
    await world.arm(subject, "token_expired")
    for call in (
        lambda: adapter.profile(app, account.grant),
        lambda: adapter.creator(app, account.grant),
        lambda: adapter.begin(app, account.grant, post, media),
    ):
        error = await failure(call())
        assert error.code == "access_token_invalid", error
        assert adapter.verdict(error.code).kind is Kind.AUTHORISATION_LOST
    account.take(await adapter.refresh(app, account.grant, account.tokens.refresh_token))
    assert (await adapter.status(app, account.grant, handle, post, media)).state in (
        "processing",
        "unpublished",
    )


async def test_a_made_up_token_is_turned_down(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    error = await failure(adapter.creator(app, replace(account.grant, token="made-up-token")))
    assert adapter.verdict(error.code).kind is Kind.AUTHORISATION_LOST
