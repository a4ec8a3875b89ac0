"""How posts end, what the tables of answers say, and what may never be told to anybody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.errors import HouseError, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms import Kind
from tests.platforms.conformance.kit import World, a_media
from tests.platforms.conformance.protocol import Walk
from tests.platforms.conformance.subjects import SUBJECTS, Subject

pytestmark = pytest.mark.anyio

# Which failures a kind may be raised as: the kind is for people and pages, the error decides.
ERRORS_OF: dict[Kind, tuple[type[HouseError], ...]] = {
    Kind.RETRY_NOW: (Retryable,),
    Kind.RETRY_AFTER: (NotYet, Retryable),
    Kind.AUTHORISATION_LOST: (Permanent,),
    Kind.CONTENT_REJECTED: (Permanent, Refused),
    Kind.DUPLICATE: (Permanent, Refused),
    Kind.QUOTA: (NotYet,),
    Kind.AMBIGUOUS: (Unsure,),
    Kind.PERMANENT: (Permanent, Refused),
    Kind.UNKNOWN: (Retryable, Unsure),
}
# What a sentence has to hold so that whoever reads it knows what comes next, theirs to do or ours.
NEXT = (
    "again", "retry", "connect", "change", "choose", "export", "by itself", "operator", "look ", "ask ", "anew",
    "finish", "update", "shorten", "edit ", "nothing was", "stands", "too late", "make ", "log in", "open ",
    "verify", "within", "waits", "upload", "pick", "sign in", "other programs", "cancelled", "give ", "remove",
    "wait", "use ", "confirm", "goes on", "post a ",
)  # fmt: skip


# How posts end


async def test_a_post_that_takes_long_is_waited_for(subject: Subject, world: World) -> None:
    walk = Walk(world, subject, await world.connect(subject), a_media(world), subject.post)
    await world.arm(subject, "processing_delay", seconds=200)
    begun = world.ahead_s
    assert await walk.run() == "published", (walk.told, walk.errors)
    assert world.ahead_s - begun >= 190 and await world.fired()
    assert walk.permits == 1
    assert len(await world.posts(subject, walk.account)) == 1


def every_reason() -> list[Any]:
    return [
        pytest.param(subject, reason, id=f"{subject.name}-{reason}")
        for subject in SUBJECTS
        for reason in subject.simulator.FAIL_REASONS
    ]


@pytest.mark.parametrize(("subject", "reason"), every_reason())
async def test_every_reason_of_a_failed_post_is_told_in_a_sentence(
    subject: Subject, reason: str, world: World
) -> None:
    walk = Walk(world, subject, await world.connect(subject), a_media(world), subject.post)
    await world.arm(subject, "fail", reason=reason)
    ended = await walk.run()
    assert await world.fired()
    error = next(error for error in walk.errors if error.code != "not_ready")
    # What is the platform's own trouble, before anything was shown, is begun anew by the same protocol.
    assert ended == ("published" if walk.begins > 1 else "failed"), (walk.told, walk.errors)
    assert walk.begins == 1 or isinstance(error, (Retryable, NotYet))
    row = subject.adapter.verdict(error.code)
    assert row.kind is not Kind.UNKNOWN, f"{error.code} is in no table: {error.message}"
    assert error.message.endswith(".") and "{" not in error.message
    assert len(await world.posts(subject, walk.account)) == (1 if ended == "published" else 0)


async def test_what_is_never_confirmed_ends_unconfirmed_and_is_not_sent_again(
    subject: Subject, world: World
) -> None:
    walk = Walk(world, subject, await world.connect(subject), a_media(world), subject.post)
    await world.arm(subject, "drop_after", "last_chunk")
    assert await walk.run(until_permit=True) == "sent"
    await world.arm(subject, "drop_before", subject.asks, times=10_000)
    with pytest.raises(AssertionError, match="still under way"):
        await walk.run(most_rounds=8)
    assert walk.permits == 1, "the permit is out, so nothing is sent again"
    await world.clear()
    assert await walk.run() == "published"
    assert len(await world.posts(subject, walk.account)) == 1


async def test_of_a_strangers_post_nothing_is_claimed(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    maya, other = await world.connect(subject), await world.connect(subject, "Other")
    walk = Walk(world, subject, maya, a_media(world), subject.post)
    assert await walk.run() == "published"
    status = await adapter.status(app, other.grant, walk.handle, walk.post, walk.media)
    assert status.state in ("gone", "processing") and status.error is None, status
    assert len(await world.posts(subject, maya)) == 1


async def test_texts_that_are_too_long_are_told_beforehand_in_the_platforms_own_counting(
    subject: Subject, world: World
) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    creator = await adapter.creator(app, account.grant)
    media = a_media(world)
    counts = adapter.counted(adapter.fit(creator, subject.post))
    assert counts and all(0 <= count.used <= count.most for count in counts)
    for count in counts:
        if not isinstance(getattr(subject.post, count.field), str) or count.unit not in (
            "characters",
            "bytes",
        ):
            continue
        for text, fits in (
            ("a" * count.most, True),
            ("a" * (count.most + 1), False),
            ("é😀" * count.most, False),
        ):
            post = adapter.fit(creator, replace(subject.post, **{count.field: text}))
            problems = adapter.check(creator, post, media)
            assert (count.field not in problems) is fits, (count, problems)
            (now,) = (
                each for each in adapter.counted(post) if (each.field, each.unit) == (count.field, count.unit)
            )
            assert (now.used <= now.most) is fits
            if not fits:
                assert problems[count.field].endswith(".")


async def test_what_follows_a_post_may_be_done_twice(subject: Subject, world: World) -> None:
    walk = Walk(world, subject, await world.connect(subject), a_media(world), subject.post)
    walk.post = replace(walk.post, use_cover="use_cover" in subject.adapter.FIELDS)
    assert await walk.run() == "published"
    for _ in range(2):
        await subject.adapter.after(
            world.app(subject), walk.account.grant, walk.handle, walk.post, walk.media, on_call=walk.on_call
        )
    assert len(await world.posts(subject, walk.account)) == 1


async def test_a_first_comment_can_be_found_again(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    walk = Walk(world, subject, await world.connect(subject), a_media(world), subject.post)
    assert await walk.run() == "published"
    assert walk.status is not None
    remote_id = walk.handle.remote_id or (walk.status.post_ids or (walk.handle.publish_id,))[0]
    if not adapter.COMMENTS:
        with pytest.raises(HouseError) as caught:
            await adapter.comment(app, walk.account.grant, remote_id, "Where to buy the rope")
        assert caught.value.code == "comments_not_offered"
        return
    made = await adapter.comment(app, walk.account.grant, remote_id, "Where to buy the rope")
    found = await adapter.comments(app, walk.account.grant, remote_id)
    assert (made, "Where to buy the rope") in found


# The tables of answers


def every_row() -> list[Any]:
    return [
        pytest.param(subject, code, id=f"{subject.name}-{code}")
        for subject in SUBJECTS
        for code in subject.table.rows
    ]


@pytest.mark.parametrize(("subject", "code"), every_row())
def test_every_row_says_what_happened_and_what_comes_next(subject: Subject, code: str) -> None:
    row = subject.table.rows[code]
    assert isinstance(row.kind, Kind) and row.kind is not Kind.UNKNOWN
    assert (
        any(issubclass(row.error, each) for each in ERRORS_OF[row.kind]) or row.error.__name__ == "Cancelled"
    )
    said = row.sentence.replace("{words}", "“words”.")
    assert said[0].isupper() and said.endswith(".") and "{" not in said and "  " not in said
    assert any(word in f"{said.lower()} " for word in NEXT), said
    error = subject.table.error(code, "the platform's words")
    assert error.code == code and isinstance(error, row.error) and "{" not in error.message
    if isinstance(error, NotYet):
        assert (error.after_s or 0) > 0
    irreversible = subject.table.error(code, irreversible=True)
    assert not isinstance(irreversible, (Retryable, NotYet)), "about the last call nothing is merely repeated"


def test_what_no_table_knows_is_tried_a_few_times_and_quoted(subject: Subject) -> None:
    error = subject.table.classify(400, "brand_new_code", "Something new.")
    assert isinstance(error, Retryable) and "Something new" in error.message
    assert subject.adapter.verdict("brand_new_code").kind is Kind.UNKNOWN
    assert isinstance(subject.table.classify(400, "brand_new_code", "", irreversible=True), Unsure)
    assert isinstance(subject.table.classify(503, "", ""), Retryable)
    assert isinstance(subject.table.classify(429, "", ""), NotYet)
    assert isinstance(subject.table.classify(502, "", "", irreversible=True), Unsure)
