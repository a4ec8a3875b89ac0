"""What the API takes and gives of publications: their shapes, and how a publication is put into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field
from pydantic.alias_generators import to_camel

from app import db, platforms, publishing
from app.errors import Refused
from app.publishing import When
from app.web import words
from app.web.api.body import Answer, Body, Line, Text
from app.web.api.videos import TargetAttempt

Id = Annotated[int, Field(ge=1, lt=10**18)]


def _moment(given: object) -> object:
    """A strict body takes no text for a time; JSON has no other way to say one."""
    if not isinstance(given, str):
        return given
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        return given
    return found if found.tzinfo is None else found.astimezone(UTC)


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


def invalid(fields: Mapping[str, str]) -> Refused:
    return Refused("This cannot be used as it is.", code="invalid", fields=fields)


class PostChoices(Body):
    """What one account posts; which of these a platform knows stands in its documentation. What is left out keeps its
    default, and in a change what it is.
    """

    title: Text = ""
    description: Text = ""
    privacy_level: Line = ""
    kind: Line = ""
    disable_comment: bool = False
    disable_duet: bool = False
    disable_stitch: bool = False
    cover_ms: Annotated[int, Field(ge=0, lt=2**31)] = 0
    use_cover: bool = False
    brand_content: bool = False
    brand_organic: bool = False
    ai_generated: bool = False
    made_for_kids: bool = False
    notify: bool = True
    share_to_feed: bool = True
    category_id: Line = ""
    alt_text: Text = ""
    first_comment: Text = ""
    native_at: Line = ""
    tags: list[Line] = Field(default_factory=list)
    collaborators: list[Line] = Field(default_factory=list)

    def over(self, post: platforms.Post) -> platforms.Post:
        """This post with what was said here."""
        said: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        lists = {name: tuple(value) for name, value in said.items() if isinstance(value, list)}
        return replace(post, **said | lists)


class NewTarget(Body):
    account_id: Id
    post: PostChoices = PostChoices()


class Timed(Body):
    """When: `at`, a wall-clock time (`2026-03-29T09:00`) in `zone`, with `fold` 1 for the second of two equal hours; or
    `publishAt`, a moment with its offset. Without either: as soon as the video is ready.
    """

    at: Line | None = None
    zone: Line | None = None
    fold: Annotated[int, Field(ge=0, le=1)] = 0
    publish_at: Moment | None = None

    def when(self, zone: str) -> When:
        """Refused under the name of the field; `zone` stands in where none is given."""
        if self.at is not None and self.publish_at is not None:
            raise invalid({"publishAt": "Give this or at, not both."})
        if self.at is not None:
            return When.on(self.at, self.zone or zone, self.fold)
        if self.publish_at is not None:
            return When.instant(self.publish_at, self.zone or zone)
        return When.now(self.zone or zone)


class NewPublication(Timed):
    """`text` is what every account posts that has no title of its own. The same video with the same text on the same
    account within a day is refused (409, `duplicate`) unless `allowDuplicate`.
    """

    video_id: Id
    targets: Annotated[list[NewTarget], Field(min_length=1)]
    text: Text = ""
    allow_duplicate: bool = False


class Change(Timed):
    """What is left out stays. A new time moves all that is not out yet; `now` true means as soon as it is ready."""

    text: Text | None = None
    targets: list[NewTarget] | None = None
    now: bool = False
    allow_duplicate: bool = False


class Settle(Body):
    """What a person saw on the platform."""

    published: bool


class PublicationTarget(Answer):
    """The post on one account. `next` says what can be done, or what happens by itself; `heldAt` is set while it is
    held back after an outage, `releaseAt` is its turn then. `post` holds what differs from the defaults.
    """

    id: int
    platform: str
    account_id: int
    status: str
    progress: float
    post: dict[str, Any]
    publish_at: datetime
    at: str | None
    zone: str
    fold: int
    release_at: datetime | None
    held_at: datetime | None
    published_at: datetime | None
    remote_id: str | None
    url: str | None
    url_provisional: bool
    reason: str | None
    reason_code: str | None
    next: str
    can_change: bool
    can_cancel: bool
    can_retry: bool
    attempts: list[TargetAttempt]


class Publication(Answer):
    """`status` is the one word for all targets: what still moves first, else how it ended. `when` says the time in
    words, `note` what was decided where the clock is changed.
    """

    id: int
    video_id: int
    text: str
    source: str
    status: str
    when: str
    note: str | None
    targets: list[PublicationTarget]
    created_at: datetime
    changed_at: datetime


class PublicationAnswer(Answer):
    publication: Publication


class Publications(Answer):
    """The newest first, without attempts; `next_before` goes on as `?before=`, null at the end."""

    publications: list[Publication]
    next_before: int | None


class TargetAnswer(Answer):
    target: PublicationTarget


async def whole(conn: db.Conn, found: publishing.Publication) -> Publication:
    """The publication with every attempt of its targets."""
    tried = {target.id: await publishing.attempts(conn, target.id) for target in found.targets}
    return shown(found, tried)


def shown(found: publishing.Publication, tried: Mapping[int, list[publishing.Attempt]]) -> Publication:
    """The publication with those attempts that were read, by target."""
    when = found.when
    return Publication(
        id=found.id,
        video_id=found.video_id,
        text=found.text,
        source=found.source,
        status=found.state,
        when=when.words(),
        note=when.note or None,
        targets=[target_of(target, tried.get(target.id, [])) for target in found.targets],
        created_at=found.created_at,
        changed_at=found.changed_at,
    )


def target_of(target: publishing.Target, tried: list[publishing.Attempt]) -> PublicationTarget:
    """The post on one account, with what can be done about it."""
    return PublicationTarget(
        id=target.id,
        platform=target.platform,
        account_id=target.account_id,
        status=target.state,
        progress=round(target.progress, 1),
        post={to_camel(name): value for name, value in target.post.items()},
        publish_at=target.publish_at,
        at=target.wall_time,
        zone=target.zone,
        fold=target.fold,
        release_at=target.release_at,
        held_at=target.held_at,
        published_at=target.published_at,
        remote_id=target.remote_id,
        url=target.url,
        url_provisional=target.url_provisional,
        reason=target.reason,
        reason_code=target.reason_code,
        next=_next(target),
        can_change=target.can_change,
        can_cancel=target.can_cancel,
        can_retry=target.can_retry,
        attempts=[
            TargetAttempt(at=one.intent_at, ended_at=one.ended_at, outcome=one.outcome, reason=one.reason)
            for one in tried
        ],
    )


def _next(target: publishing.Target) -> str:
    """What happens by itself, or what can be done."""
    if target.state == publishing.State.SCHEDULED and target.held_at is not None:
        return "Nothing happens by itself. Retry it to post it now, plan it anew, or cancel it."
    if target.state in (publishing.State.FAILED, publishing.State.MISSED):
        step = words.next_step(target.reason_code)
        onward = f"{step[1]}, then retry." if step else "Retry when the cause is gone, or leave it."
        return f"Nothing more happens by itself. {onward}"
    return NEXT[target.state]


NEXT = {
    "draft": "It is not planned yet.",
    "scheduled": "It goes out at its time.",
    "queued": "It goes out as soon as it is its turn.",
    "publishing": "It is being sent.",
    "unconfirmed": "The platform is asked until it says what became of it; nothing is sent a second time.",
    "published": "It is out.",
    "cancelled": "It does not go out. Retry it to plan it again.",
}
