"""The words every platform adapter speaks, and what an adapter must be able to do.

Knows no platform by name, no row and no job. Tokens come in plain and go nowhere: not into a `repr`, a log
line or a failure. Waiting and trying again are the caller's decisions; an adapter says what was answered.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

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
    message. `after_s` is the wait for RETRY_AFTER and QUOTA.
    """

    kind: Kind
    error: type[HouseError]
    sentence: str
    after_s: float | None = None


@dataclass(frozen=True)
class App:
    """Our registration at a platform, and where it answers. `simulated`: the simulator stands in for it."""

    client_key: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    app_type: Literal["web", "desktop"]
    auth_base: str
    api_base: str
    simulated: bool


@dataclass(frozen=True)
class Tokens:
    """What the platform gave us for one account; store it in one statement. Lifetimes count from now."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_expires_in_s: int
    refresh_expires_in_s: int
    scopes: tuple[str, ...]
    remote_id: str


@dataclass(frozen=True)
class Profile:
    """Whose account this is. `handle` is the name behind the @."""

    remote_id: str
    handle: str
    display_name: str
    avatar_url: str | None


@dataclass(frozen=True)
class Creator:
    """What this account may do at this moment; ask again right before each post."""

    handle: str
    display_name: str
    avatar_url: str | None
    privacy_levels: tuple[str, ...]
    comment_disabled: bool
    duet_disabled: bool
    stitch_disabled: bool
    max_duration_s: int


@dataclass(frozen=True)
class Media:
    """A finished video and how to read it: `read(start, end)` gives bytes from start to just before end."""

    bytes_total: int
    sha256: str
    content_type: str
    duration_s: float
    width_px: int
    height_px: int
    fps: float
    read: Callable[[int, int], AsyncIterator[bytes]]


@dataclass(frozen=True)
class Post:
    """What the creator chose for one post. `cover_ms` None means the first frame."""

    title: str
    privacy_level: str
    disable_comment: bool = False
    disable_duet: bool = False
    disable_stitch: bool = False
    cover_ms: int | None = None
    brand_content: bool = False
    brand_organic: bool = False
    ai_generated: bool = False


@dataclass(frozen=True)
class Handle:
    """A begun upload, nothing of it published yet. Keep `as_text` sealed: the address in it is a key."""

    publish_id: str
    upload_url: str = field(repr=False)
    expires_at: datetime

    def as_text(self) -> str:
        return json.dumps(asdict(self) | {"expires_at": self.expires_at.isoformat()})

    @classmethod
    def from_text(cls, text: str) -> Handle:
        kept = json.loads(text)
        return cls(kept["publish_id"], kept["upload_url"], datetime.fromisoformat(kept["expires_at"]))


State = Literal["processing", "published", "inbox", "failed", "gone"]


@dataclass(frozen=True)
class Status:
    """Where a post stands. `gone`: the platform no longer knows it, whatever became of it.

    `bytes_received` is None when the platform does not say. `reason` and `error` belong to `failed`.
    """

    state: State
    bytes_received: int | None = None
    post_ids: tuple[str, ...] = ()
    reason: str | None = None
    error: HouseError | None = None


@dataclass(frozen=True)
class Chunks:
    """How a file is cut: `count` chunks of `chunk_bytes`, the last one running to the end of the file."""

    chunk_bytes: int
    count: int


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


# Must not raise: it also hears of the irreversible call, after the fact.
OnCall = Callable[[Call], None]
OnProgress = Callable[[int], Awaitable[None]]
BeforeLast = Callable[[], Awaitable[None]]


class Platform(Protocol):
    """What a platform's package offers. The promises stand in the docstrings of TikTok's, the pattern."""

    SCOPES: tuple[str, ...]
    NEEDED_SCOPES: tuple[str, ...]

    def app(self) -> App: ...
    def verdict(self, code: str) -> Verdict: ...
    def new_verifier(self) -> str: ...
    def authorize_url(self, app: App, state: str, verifier: str, scopes: Sequence[str] = ...) -> str: ...
    def declined(self, error: str, description: str) -> HouseError: ...

    async def exchange(
        self, app: App, code: str, verifier: str, *, on_call: OnCall | None = None
    ) -> Tokens: ...
    async def refresh(self, app: App, refresh_token: str, *, on_call: OnCall | None = None) -> Tokens: ...
    async def revoke(self, app: App, access_token: str, *, on_call: OnCall | None = None) -> None: ...

    async def profile(
        self, app: App, token: str, *, scopes: Sequence[str] = ..., on_call: OnCall | None = None
    ) -> Profile: ...
    async def creator(self, app: App, token: str, *, on_call: OnCall | None = None) -> Creator: ...
    def fit(self, creator: Creator, post: Post) -> Post: ...
    def check(self, creator: Creator, post: Post, media: Media) -> dict[str, str]: ...

    def plan(self, size_bytes: int) -> Chunks: ...
    async def begin(
        self, app: App, token: str, post: Post, media: Media, *, on_call: OnCall | None = None
    ) -> Handle: ...
    async def send(
        self,
        app: App,
        token: str,
        handle: Handle,
        media: Media,
        from_byte: int,
        *,
        on_progress: OnProgress,
        before_last: BeforeLast,
        on_call: OnCall | None = None,
    ) -> None: ...
    async def status(
        self, app: App, token: str, handle: Handle, *, on_call: OnCall | None = None
    ) -> Status: ...
    def link(self, handle_name: str, post_id: str | None = None) -> str: ...
