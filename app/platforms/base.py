"""The words every platform adapter speaks, and what an adapter must be able to do.

Knows no platform by name, no row and no job. Tokens come in plain and go nowhere: not into a `repr`, a log
line or a failure. Waiting and trying again are the caller's decisions; an adapter says what was answered.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from app.config import Config
from app.errors import HouseError


class Kind(StrEnum):
    """What an answer means for whoever has to decide (S0.37)."""

    RETRY_NOW = "retry_now"
    RETRY_AFTER = "retry_after"
    AUTHORISATION_LOST = "authorisation_lost"
    CONTENT_REJECTED = "content_rejected"
    DUPLICATE = "duplicate"
    QUOTA = "quota"
    AMBIGUOUS = "ambiguous_outcome"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """One row of a platform's table of answers.

    `sentence` tells the person what happened and what to do; `{words}` in it stands for the platform's own
    message. `after_s` is the wait for RETRY_AFTER and QUOTA; `scope` says whom a QUOTA concerns: this account, or
    every account of this installation (`app`).
    """

    kind: Kind
    error: type[HouseError]
    sentence: str
    after_s: float | None = None
    scope: Literal["account", "app"] = "account"


@dataclass(frozen=True)
class App:
    """Our registration at a platform, and where it answers. `simulated`: the simulator stands in for it.

    `bases` are the platform's further hosts by name (`upload`, `token`, …), without a slash at the end.
    """

    client_key: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    app_type: Literal["web", "desktop"]
    auth_base: str
    api_base: str
    simulated: bool
    version: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Grant:
    """What a call for an account needs: a token that works, whose it is, what it may do.

    `facts` is what the adapter asked to be kept with the account when it was connected.
    """

    token: str = field(repr=False)
    remote_id: str = ""
    scopes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tokens:
    """What the platform gave us for one account; store it in one statement. Lifetimes count from now.

    A lifetime of None does not end by time. `renew_in_s` says when it is worth renewing; an empty refresh token
    in an answer never replaces one that is there.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_expires_in_s: int | None
    refresh_expires_in_s: int | None
    scopes: tuple[str, ...]
    remote_id: str
    facts: Mapping[str, str] = field(default_factory=dict)
    renew_in_s: int | None = None

    @property
    def grant(self) -> Grant:
        return Grant(self.access_token, self.remote_id, self.scopes, self.facts)


@dataclass(frozen=True)
class Choice:
    """One of the accounts that a consent covers, to be picked by the person."""

    remote_id: str
    name: str
    detail: str
    tokens: Tokens


@dataclass(frozen=True)
class Profile:
    """Whose account this is. `handle` is the name behind the @."""

    remote_id: str
    handle: str
    display_name: str
    avatar_url: str | None


@dataclass(frozen=True)
class QuotaLeft:
    """How much of a limit is used, as the platform says it; `resets_at` is ISO 8601, None when it slides."""

    name: str
    used: int
    most: int
    resets_at: str | None = None


@dataclass(frozen=True)
class Creator:
    """What this account may do at this moment; ask again right before each post. `max_duration_s` 0: no limit."""

    handle: str
    display_name: str
    avatar_url: str | None
    privacy_levels: tuple[str, ...] = ()
    comment_disabled: bool = False
    duet_disabled: bool = False
    stitch_disabled: bool = False
    max_duration_s: int = 0
    kinds: tuple[str, ...] = ("video",)
    quotas: tuple[QuotaLeft, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Creator:
        """Read what `asdict` made of it; words it does not know (of newer code) are left out."""
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in kept.items() if name in known}
        for name in ("privacy_levels", "kinds", "notes"):
            if name in values:
                values[name] = tuple(values[name])
        values["quotas"] = tuple(QuotaLeft(**quota) for quota in values.get("quotas", ()))
        return cls(**values)


@dataclass(frozen=True)
class Media:
    """A finished video or picture and how to read it: `read(start, end)` gives bytes from start to just before end.

    `link()` makes a public address for platforms that fetch by themselves, good for a day and more. `cover` is a
    JPEG of the video; `more` are the further pictures of a carousel.
    """

    bytes_total: int
    sha256: str
    content_type: str
    duration_s: float
    width_px: int
    height_px: int
    fps: float
    read: Callable[[int, int], AsyncIterator[bytes]]
    link: Callable[[], Awaitable[str]] | None = None
    cover: Media | None = None
    more: tuple[Media, ...] = ()


@dataclass(frozen=True)
class Post:
    """What the creator chose for one post. `cover_ms` None means the first frame.

    `title` is what people read under a post on TikTok and Instagram; YouTube has a title and a description;
    Facebook shows the description, or the title when that is empty. `kind` is video, reel, story, image, carousel
    or inbox; empty leaves it to the adapter. `pictures` are the further ones of a carousel, as numbers of the
    workspace's own. `native_at` (RFC 3339) is YouTube's own scheduling.
    """

    title: str = ""
    privacy_level: str = ""
    disable_comment: bool = False
    disable_duet: bool = False
    disable_stitch: bool = False
    cover_ms: int | None = None
    brand_content: bool = False
    brand_organic: bool = False
    ai_generated: bool = False
    description: str = ""
    kind: str = ""
    tags: tuple[str, ...] = ()
    category_id: str = ""
    made_for_kids: bool | None = None
    notify: bool = True
    share_to_feed: bool = True
    alt_text: str = ""
    collaborators: tuple[str, ...] = ()
    first_comment: str = ""
    native_at: str = ""
    use_cover: bool = False
    pictures: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults, and always title and privacy level: code before this one reads it, too."""
        kept = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default or each.name in ("title", "privacy_level"):
                kept[each.name] = list(value) if isinstance(value, tuple) else value
        return kept

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Post:
        """Read what `to_json` made; words it does not know (of newer code) are left out."""
        known = {each.name for each in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in kept.items()
            if name in known
        }
        return cls(**values)


@dataclass(frozen=True)
class Handle:
    """A begun post, nothing of it published yet. Keep `as_text` sealed: the address in it is a key.

    `remote_id` is the platform's own name of the finished post, once it is known.
    """

    publish_id: str
    upload_url: str = field(repr=False)
    expires_at: datetime
    kind: str = ""
    remote_id: str = ""
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)

    def as_text(self) -> str:
        kept = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps({**kept, "extra": dict(self.extra), "expires_at": self.expires_at.isoformat()})

    @classmethod
    def from_text(cls, text: str) -> Handle:
        kept = json.loads(text)
        return cls(
            kept["publish_id"],
            kept["upload_url"],
            datetime.fromisoformat(kept["expires_at"]),
            kept.get("kind", ""),
            kept.get("remote_id", ""),
            kept.get("extra", {}),
        )


State = Literal["processing", "unpublished", "published", "inbox", "failed", "gone"]


@dataclass(frozen=True)
class Found:
    """A post of the account's own, as the platform lists it."""

    remote_id: str
    url: str | None = None


@dataclass(frozen=True)
class Status:
    """Where a post stands. `gone`: the platform no longer knows it, whatever became of it. `unpublished`: it has
    everything and says that it was not published, a definite no.

    `bytes_received` is None when the platform does not say. `reason` and `error` belong to `failed`. `candidates`
    are own posts of which one may be this one; `handle` is to be kept in place of the one that was asked with.
    """

    state: State
    bytes_received: int | None = None
    post_ids: tuple[str, ...] = ()
    reason: str | None = None
    error: HouseError | None = None
    url: str | None = None
    candidates: tuple[Found, ...] = ()
    handle: Handle | None = None
    after_s: float | None = None


@dataclass(frozen=True)
class Chunks:
    """How a file is cut: `count` chunks of `chunk_bytes`, the last one running to the end of the file."""

    chunk_bytes: int
    count: int


@dataclass(frozen=True)
class Count:
    """How long a text is in the platform's own counting. `unit` is the word for what is counted."""

    field: str
    used: int
    most: int
    unit: str = "characters"


@dataclass(frozen=True)
class Quota:
    """A limit that the platform keeps: at most `most` posts in any `window_s`, or in a calendar day of `zone`.

    `scope` says whether all accounts of this installation share it (`app`) or each has its own (`account`).
    """

    name: str
    scope: Literal["app", "account"]
    most: int
    window_s: float
    sentence: str
    zone: str | None = None


@dataclass(frozen=True)
class Usage:
    """What an answer's headers say of a limit. `until_s`: seconds until calls are taken again."""

    scope: Literal["app", "account"]
    name: str
    percent: float | None = None
    used: int | None = None
    most: int | None = None
    until_s: float | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Call:
    """One call that was made, for the timeline and for operators. `status` None: no whole answer came.

    `path` is without its query; `body_redacted` is the answer's beginning without secrets; `outcome` is `ok`
    or the code of the failure.
    """

    step: str
    method: str
    path: str
    status: int | None
    seconds: float
    body_redacted: str
    outcome: str
    usage: tuple[Usage, ...] = ()


# Must not raise: it also hears of the irreversible call, after the fact.
OnCall = Callable[[Call], None]
OnProgress = Callable[[int], Awaitable[None]]
BeforeLast = Callable[[], Awaitable[None]]


class Platform(Protocol):
    """What a platform's package offers. The promises stand in the docstrings of TikTok's, the pattern."""

    @property
    def NAME(self) -> str: ...
    @property
    def LABEL(self) -> str: ...
    @property
    def SCOPES(self) -> tuple[str, ...]: ...
    @property
    def NEEDED_SCOPES(self) -> tuple[str, ...]: ...
    @property
    def SCOPE_WORDS(self) -> Mapping[str, str]: ...

    # The fields of Post that a person may set here, and the words of its privacy levels (none: always public).
    @property
    def FIELDS(self) -> tuple[str, ...]: ...
    @property
    def PRIVACY(self) -> Mapping[str, str]: ...

    # Whether a first comment can be written.
    @property
    def COMMENTS(self) -> bool: ...

    # Whether the publish id may stand in a link until the public id is known (S1.43).
    @property
    def PUBLISH_ID_STANDS_IN(self) -> bool: ...

    def app(self, settings: Config | None = ...) -> App: ...
    def verdict(self, code: str) -> Verdict: ...
    def new_verifier(self) -> str: ...
    def authorize_url(self, app: App, state: str, verifier: str, scopes: Sequence[str] = ...) -> str: ...
    def declined(self, error: str, description: str) -> HouseError: ...

    async def exchange(
        self, app: App, code: str, verifier: str, *, on_call: OnCall | None = None
    ) -> Tokens: ...
    async def choices(self, app: App, tokens: Tokens, *, on_call: OnCall | None = None) -> list[Choice]: ...
    async def refresh(
        self, app: App, grant: Grant, refresh_token: str, *, on_call: OnCall | None = None
    ) -> Tokens: ...
    async def revoke(self, app: App, grant: Grant, *, on_call: OnCall | None = None) -> None: ...

    async def profile(self, app: App, grant: Grant, *, on_call: OnCall | None = None) -> Profile: ...
    async def creator(self, app: App, grant: Grant, *, on_call: OnCall | None = None) -> Creator: ...
    def fit(self, creator: Creator, post: Post) -> Post: ...
    def check(self, creator: Creator, post: Post, media: Media) -> dict[str, str]: ...
    def counted(self, post: Post) -> tuple[Count, ...]: ...
    def quotas(self, creator: Creator | None) -> tuple[Quota, ...]: ...

    async def begin(
        self, app: App, grant: Grant, post: Post, media: Media, *, on_call: OnCall | None = None
    ) -> Handle: ...
    async def send(
        self,
        app: App,
        grant: Grant,
        handle: Handle,
        post: Post,
        media: Media,
        from_byte: int,
        *,
        on_progress: OnProgress,
        before_last: BeforeLast,
        on_call: OnCall | None = None,
    ) -> Handle | None: ...
    async def status(
        self,
        app: App,
        grant: Grant,
        handle: Handle,
        post: Post,
        media: Media,
        *,
        since: datetime | None = None,
        on_call: OnCall | None = None,
    ) -> Status: ...
    def link(self, handle_name: str, post_id: str | None = None) -> str: ...
    async def after(
        self,
        app: App,
        grant: Grant,
        handle: Handle,
        post: Post,
        media: Media,
        *,
        on_call: OnCall | None = None,
    ) -> None: ...
    async def comment(
        self, app: App, grant: Grant, remote_id: str, text: str, *, on_call: OnCall | None = None
    ) -> str: ...
    async def comments(
        self, app: App, grant: Grant, remote_id: str, *, on_call: OnCall | None = None
    ) -> list[tuple[str, str]]: ...
