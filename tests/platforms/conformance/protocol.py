"""The house's protocol for one post, as small as it can be: what the product promises an adapter, and no more.

A handle is kept, as text, before anything is sent; the permit is taken right before the one irreversible call;
after it the platform is only asked, until it says a definite no and the call cannot be under way any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from app.errors import HouseError, NotYet, Retryable, Unsure
from app.platforms import Call, Handle, Kind, Media, Post, Status
from tests.platforms.conformance.kit import Account, Subject, Torn, World

T = TypeVar("T")
# Longer than the irreversible call may take, twice over.
CALL_OVER_S = 130.0
ASK_FOR_S = 86_400.0
MOST_BEGINS = 6
ASKS_ON_THE_SPOT = 4


class Ended(Exception):
    """The post cannot go on; the cause says why."""


@dataclass
class Walk:
    """One post on its way. What a new process would find stands in `kept` and `committed_at`."""

    world: World
    subject: Subject
    account: Account
    media: Media
    post: Post
    kept: str = ""
    committed_at: float | None = None
    first_committed_at: float | None = None
    begins: int = 0
    lives_until: float = 0.0
    begun_at: float = 0.0
    permits: int = 0
    renewed: int = 0
    dies_at_permit: bool = False
    told: list[str] = field(default_factory=list)
    progress: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    errors: list[HouseError] = field(default_factory=list)
    status: Status | None = None

    @property
    def handle(self) -> Handle:
        return Handle.from_text(self.kept)

    def __post_init__(self) -> None:
        self.begun_at = self.world.clock()

    async def run(self, most_rounds: int = 80, *, until_permit: bool = False) -> str:
        """`published`, `inbox`, `failed` or `unconfirmed`; waiting moves the world's clock.

        With `until_permit` it stops, at `sent`, when the irreversible call has been made.
        """
        for _ in range(most_rounds):
            if until_permit and self.committed_at is not None:
                return "sent"
            try:
                ended = await (self.publish() if self.committed_at is None else self.settle())
            except (NotYet, Retryable) as error:
                self.errors.append(error)
                self.wait(error.after_s or 1.0)
                continue
            except Torn:
                continue
            except Ended:
                return "failed"
            if ended:
                return ended
        raise AssertionError(f"still under way: {self.told[-20:]} {self.errors[-3:]}")

    async def publish(self) -> str:
        """Up to the moment when the platform has taken over, or may have."""
        adapter, app = self.subject.adapter, self.world.app(self.subject)
        creator = await self.asked(lambda: adapter.creator(app, self.account.grant, on_call=self.on_call))
        post = adapter.fit(creator, self.post)
        assert adapter.check(creator, post, self.media) == {}
        from_byte = 0
        if not self.kept:
            if not await self.begin(post):
                return ""
        else:
            status = await self.asked(lambda: self.ask(post))
            dead = status.state == "processing" and self.world.clock() > self.lives_until
            if status.state in ("published", "inbox"):
                return status.state
            if status.error is not None and not isinstance(status.error, (NotYet, Retryable)):
                raise self.end(status.error)
            if status.state in ("failed", "gone") or dead:
                self.kept = ""
                return ""
            from_byte = min(status.bytes_received or 0, self.media.bytes_total)
            if status.state == "unpublished":
                from_byte = self.media.bytes_total
        await self.send(post, from_byte)
        return ""

    async def begin(self, post: Post) -> bool:
        adapter, app = self.subject.adapter, self.world.app(self.subject)
        self.begins += 1
        assert self.begins <= MOST_BEGINS, "a handle for every try"
        try:
            handle = await self.asked(
                lambda: adapter.begin(app, self.account.grant, post, self.media, on_call=self.on_call), 1
            )
        except Unsure as error:
            self.errors.append(error)
            return False
        self.keep(handle)
        # An adapter counts from the true time, the world from its own.
        self.lives_until = handle.expires_at.timestamp() + self.world.ahead_s
        return True

    async def send(self, post: Post, from_byte: int) -> None:
        adapter, app = self.subject.adapter, self.world.app(self.subject)
        try:
            handle = await adapter.send(
                app,
                self.account.grant,
                self.handle,
                post,
                self.media,
                from_byte,
                on_progress=self.on_progress,
                before_last=self.before_last,
                on_call=self.on_call,
            )
        except Unsure as error:
            self.errors.append(error)
            self.commit()
        except HouseError as error:
            self.committed_at = None  # a definite no
            if error.code == "upload_expired":
                self.kept = ""
            elif error.code == "access_token_invalid":
                self.errors.append(error)
                await self.renew()
            elif not isinstance(error, (NotYet, Retryable)):
                raise self.end(error) from error
            else:
                raise
        else:
            if handle is not None:
                self.keep(handle)
            self.commit()

    async def settle(self) -> str:
        """What became of it. Reads only."""
        try:
            status = await self.asked(lambda: self.ask(self.post, self.begun_at))
        except Ended:
            return "unconfirmed"
        committed_at, first = self.committed_at, self.first_committed_at
        assert committed_at is not None and first is not None
        if status.state in ("published", "inbox", "failed"):
            if status.error is not None:
                self.errors.append(status.error)
            return status.state
        if len(status.candidates) == 1:
            return "published"
        missing = status.bytes_received is not None and status.bytes_received < self.media.bytes_total
        if status.state == "unpublished" or (status.state == "processing" and missing):
            left_s = committed_at + CALL_OVER_S - self.world.clock()
            if left_s > 0:
                self.wait(left_s + 0.5)
            else:
                self.committed_at = None
            return ""
        if self.world.clock() - first > ASK_FOR_S:
            return "unconfirmed"
        self.wait(max(status.after_s or 30.0, (self.world.clock() - first) / 3))
        return ""

    async def ask(self, post: Post, since: float | None = None) -> Status:
        adapter, app = self.subject.adapter, self.world.app(self.subject)
        status = await adapter.status(
            app,
            self.account.grant,
            self.handle,
            post,
            self.media,
            since=datetime.fromtimestamp(since, UTC) if since is not None else None,
            on_call=self.on_call,
        )
        if status.handle is not None:
            self.keep(status.handle)
        self.status = status
        self.told.append(status.state)
        return status

    async def asked(self, call: Callable[[], Awaitable[T]], times: int = ASKS_ON_THE_SPOT) -> T:
        """A harmless call, repeated when its answer is lost; a token that is turned down is renewed once."""
        renewed = False
        for left in range(times, -1, -1):
            try:
                return await call()
            except HouseError as error:
                self.errors.append(error)
                if error.code == "access_token_invalid" and not renewed:
                    renewed = True
                    await self.renew()
                    continue
                if isinstance(error, (NotYet, Unsure)) or (isinstance(error, Retryable) and left <= 1):
                    raise
                if not isinstance(error, Retryable):
                    raise self.end(error) from error
        raise AssertionError("the last try returns or raises")

    async def renew(self) -> None:
        adapter, app = self.subject.adapter, self.world.app(self.subject)
        self.renewed += 1
        assert self.renewed <= 5, "renewed again and again"
        before = self.account.tokens
        try:
            self.account.take(
                await adapter.refresh(app, before.grant, before.refresh_token, on_call=self.on_call)
            )
        except HouseError as error:
            self.errors.append(error)
            if isinstance(error, (NotYet, Retryable)):
                raise
            raise self.end(error) from error

    def end(self, error: HouseError) -> Ended:
        self.errors.append(error)
        kind = self.subject.adapter.verdict(error.code).kind
        self.told.append(f"ended: {error.code} {kind}")
        assert isinstance(kind, Kind)
        return Ended(error.code)

    def keep(self, handle: Handle) -> None:
        self.kept = handle.as_text()
        self.told.append("kept")

    def commit(self) -> None:
        self.committed_at = self.committed_at or self.world.clock()
        self.first_committed_at = self.first_committed_at or self.committed_at

    def wait(self, seconds: float) -> None:
        self.world.ahead_s += seconds

    async def on_progress(self, at_byte: int) -> None:
        self.progress.append(at_byte)

    async def before_last(self) -> None:
        assert self.committed_at is None, "a second permit while the first is out"
        self.permits += 1
        self.told.append("permit")
        self.commit()
        if self.dies_at_permit:
            self.dies_at_permit = False
            raise Torn

    def on_call(self, call: Call) -> None:
        self.calls.append(call)
        self.told.append(f"{call.step} {call.outcome}")
