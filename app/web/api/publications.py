"""Publications for programs: planning a video's post on several accounts, seeing how each stands, changing it, calling
it off, retrying and settling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from app import accounts, db, platforms, publishing
from app.errors import Refused
from app.publishing import When
from app.web import guard
from app.web.api.endpoint import gives, takes
from app.web.api.publication_shapes import (
    Change,
    NewPublication,
    NewTarget,
    PublicationAnswer,
    Publications,
    Settle,
    TargetAnswer,
    invalid,
    shown,
    target_of,
    whole,
)
from app.web.api.repeats import idempotent

MOST_LISTED = 100
# The most private that a platform offers, for a post that does not say (S1.37).
PRIVATE = ("SELF_ONLY", "private")


@takes(
    NewPublication,
    gives=PublicationAnswer,
    status=201,
    summary="Plan a video's post on one or several accounts.",
    errors=(404, 409),
)
async def create(request: Request, asked: NewPublication) -> Response:
    """All of it is planned or nothing."""
    who = guard.who_acts(request)

    async def work(conn: db.Conn) -> PublicationAnswer:
        when = asked.when(who.person.zone)
        wanted = [
            publishing.Wanted(one.account_id, await _post(conn, one, asked.text)) for one in asked.targets
        ]
        with_places = {one.account_id: place for place, one in enumerate(asked.targets)}
        try:
            when.check()
            if not asked.allow_duplicate:
                await _refuse_doubles(conn, asked.video_id, wanted, when, with_places)
            made = await publishing.compose_all(
                conn,
                workspace_id=who.workspace.id,
                user_id=who.person.id,
                video_id=asked.video_id,
                wanted=wanted,
                when=when,
                source="api",
                text=asked.text,
            )
        except Refused as refused:
            raise _placed(refused, with_places) from refused
        return PublicationAnswer(publication=await whole(conn, made))

    return await idempotent(request, who, work, status=201)


@gives(PublicationAnswer, summary="One publication with its targets and every attempt.")
async def get(request: Request) -> PublicationAnswer:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await publishing.publications.get(conn, request.path_params["publication_id"])
        return PublicationAnswer(publication=await whole(conn, found))


@gives(
    Publications,
    summary="The workspace's publications, newest first.",
    query={
        "before": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST_LISTED},
        "status": {"type": "string", "enum": list(publishing.publications.SHOWN)},
        "accountId": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
    },
)
async def listed(request: Request) -> Publications:
    query = request.query_params
    status = query.get("status")
    if status is not None and status not in publishing.publications.SHOWN:
        raise invalid({"status": f"must be one of {', '.join(publishing.publications.SHOWN)}"})
    most = _number(query, "limit", MOST_LISTED) or 24
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await publishing.publications.list_for(
            conn,
            before_id=_number(query, "before", 10**18 - 1),
            most=most,
            state=status,
            account_id=_number(query, "accountId", 10**18 - 1),
        )
    return Publications(
        publications=[shown(one, {}) for one in found],
        next_before=found[-1].id if len(found) == most else None,
    )


@takes(
    Change,
    gives=PublicationAnswer,
    summary="Change text, choices or time of what is not out yet.",
    errors=(409,),
)
async def change(request: Request, asked: Change) -> Response:
    """All of the changes are made or none; once the platform may have a post, changing it is refused (409)."""
    who = guard.who_acts(request)
    publication_id = request.path_params["publication_id"]
    timed = asked.at is not None or asked.publish_at is not None
    if asked.now and timed:
        raise invalid({"now": "Give this or a time, not both."})

    async def work(conn: db.Conn) -> PublicationAnswer:
        found = await publishing.publications.get(conn, publication_id)
        zone = asked.zone or found.when.zone
        when = asked.when(zone) if timed or asked.now else None
        places = {one.account_id: place for place, one in enumerate(asked.targets or [])}
        try:
            posts = _changed_posts(found, asked)
            if not asked.allow_duplicate:
                await _refuse_changed_doubles(conn, found, posts, when, places)
            changes = publishing.Changes(text=asked.text, when=when, posts=posts)
            changed = await publishing.edit(conn, publication_id, changes)
        except Refused as refused:
            raise _placed(refused, places) from refused
        return PublicationAnswer(publication=await whole(conn, changed))

    return await idempotent(request, who, work)


@gives(PublicationAnswer, summary="Call off what is not out yet; again, it changes nothing.", errors=(409,))
async def cancel(request: Request) -> Response:
    publication_id = request.path_params["publication_id"]

    async def work(conn: db.Conn) -> PublicationAnswer:
        return PublicationAnswer(
            publication=await whole(conn, await publishing.cancel_all(conn, publication_id))
        )

    return await idempotent(request, guard.who_acts(request), work)


@gives(
    TargetAnswer,
    summary="Let one post go on that failed, missed its time, was cancelled or is held back.",
    errors=(409,),
)
async def retry_target(request: Request) -> Response:
    async def verb(conn: db.Conn, target_id: int) -> publishing.Target:
        target = await publishing.get(conn, target_id)
        if target.state == publishing.State.SCHEDULED and (target.held_at or target.release_at):
            return await publishing.approve_held(conn, target_id)
        return await publishing.retry(conn, target_id)

    return await _act(request, verb)


@gives(TargetAnswer, summary="Call one post off that is not out yet.", errors=(409,))
async def cancel_target(request: Request) -> Response:
    return await _act(request, publishing.cancel)


@takes(
    Settle, gives=TargetAnswer, summary="Say what became of a post that nobody could confirm.", errors=(409,)
)
async def settle_target(request: Request, asked: Settle) -> Response:
    async def verb(conn: db.Conn, target_id: int) -> publishing.Target:
        return await publishing.settle_by_hand(conn, target_id, published=asked.published)

    return await _act(request, verb)


async def _act(request: Request, verb: Callable[[db.Conn, int], Awaitable[publishing.Target]]) -> Response:
    target_id = request.path_params["target_id"]

    async def work(conn: db.Conn) -> TargetAnswer:
        await verb(conn, target_id)
        target = await publishing.get(conn, target_id)
        return TargetAnswer(target=target_of(target, await publishing.attempts(conn, target_id)))

    return await idempotent(request, guard.who_acts(request), work)


async def _post(conn: db.Conn, one: NewTarget, text: str) -> platforms.Post:
    """The post of a new target: the common text where it has none of its own, and seen by the creator alone where the
    platform knows that and nothing was said.
    """
    account = await accounts.get(conn, one.account_id)
    post = one.post.over(platforms.Post(title=text))
    if post.privacy_level:
        return post
    private = [level for level in PRIVATE if level in platforms.get(account.platform).PRIVACY]
    return replace(post, privacy_level=private[0]) if private else post


def _changed_posts(found: publishing.Publication, asked: Change) -> dict[int, platforms.Post]:
    """What each account is to post now. A new common text replaces the title of those that had the old one."""
    of_account = {target.account_id: target for target in found.targets}
    posts: dict[int, platforms.Post] = {}
    if asked.text is not None:
        for target in found.targets:
            if target.can_change and target.choices.title == found.text:
                posts[target.account_id] = replace(target.choices, title=asked.text)
    for one in asked.targets or []:
        known = of_account.get(one.account_id)
        before = platforms.Post() if known is None else known.choices
        posts[one.account_id] = one.post.over(posts.get(one.account_id, before))
    return posts


async def _refuse_doubles(
    conn: db.Conn,
    video_id: int,
    wanted: list[publishing.Wanted],
    when: When,
    places: Mapping[int, int],
) -> None:
    _, media = await publishing.publications.video_to_post(conn, video_id)
    problems: dict[str, str] = {}
    for one in wanted:
        found = await publishing.double_of(
            conn,
            account_id=one.account_id,
            post=one.post,
            media=media,
            at=when.at or datetime.now(UTC),
            video_id=video_id,
        )
        if found is not None:
            problems[f"targets.{places[one.account_id]}"] = _double(found, when.zone)
    _refuse_if(problems)


async def _refuse_changed_doubles(
    conn: db.Conn,
    found: publishing.Publication,
    posts: Mapping[int, platforms.Post],
    when: When | None,
    places: Mapping[int, int],
) -> None:
    problems: dict[str, str] = {}
    for target in found.targets:
        if not target.can_change or (when is None and target.account_id not in posts):
            continue
        double = await publishing.double_of(
            conn,
            account_id=target.account_id,
            post=posts.get(target.account_id, target.choices),
            media=None if target.media is None else target.to_send,
            at=(when.at or datetime.now(UTC)) if when else target.publish_at,
            video_id=target.video_id,
            target_id=target.id,
        )
        if double is not None:
            place = places.get(target.account_id)
            name = "text" if place is None else f"targets.{place}"
            problems[name] = _double(double, target.zone)
    _refuse_if(problems)


def _double(at: datetime, zone: str) -> str:
    return (
        f"The same goes to this account: {When.instant(at, zone).words()}. Say allowDuplicate if you mean it."
    )


def _refuse_if(problems: Mapping[str, str]) -> None:
    if problems:
        text = "The same video with the same text is planned or posted there within a day."
        raise Refused(text, code="duplicate", status=409, fields=problems)


def _placed(refused: Refused, places: Mapping[int, int]) -> Refused:
    """The refusal with the names of this body's fields: `targets.0.post.title` for `7.title`."""
    fields = {}
    for name, text in refused.fields.items():
        number, _, word = name.partition(".")
        if number.isdigit() and int(number) in places:
            inner = "" if not word else ".file" if word == "media" else f".post.{to_camel(word)}"
            fields[f"targets.{places[int(number)]}{inner}"] = text
        elif number.isdigit():
            fields["targets"] = text
        else:
            fields[name] = text
    return (
        type(refused)(refused.message, code=refused.code)
        if not fields
        else Refused(refused.message, code=refused.code, status=refused.status, fields=fields)
    )


def _number(query: Mapping[str, str], name: str, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:20]) <= most:
        raise invalid({name: f"must be a whole number from 1 to {most}"})
    return int(text)
