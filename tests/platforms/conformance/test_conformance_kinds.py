"""The other kinds of posts a platform takes, and files of more than one part: out once under the same faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.platforms import Media, Post
from tests.platforms.conformance.kit import World, a_media, a_picture
from tests.platforms.conformance.protocol import Walk
from tests.platforms.conformance.subjects import SUBJECTS, Subject, in_a_storm

pytestmark = pytest.mark.anyio

BLUE, GREEN = (40, 40, 200), (40, 200, 40)
Made = Callable[[World, list[int] | None], Media]


@dataclass(frozen=True)
class Kind:
    """`bytes_total` 0: pictures, which are not sent by `send`.

    `late_s` is how late the last call may still take effect. Without end where it names something that can be
    published once only; a Page's picture is shown by a new post, so there only waiting long enough helps.
    """

    platform: str
    kind: str
    bytes_total: int = 0
    pictures: int = 1
    late_s: int = 900
    storm: bool = False

    @property
    def name(self) -> str:
        return f"{self.platform}-{self.kind or 'large'}"

    def media(self, world: World, tear_at: list[int] | None = None) -> Media:
        if self.bytes_total:
            return a_media(world, self.bytes_total, tear_at=tear_at)
        colours = (BLUE, GREEN)[: self.pictures - 1]
        return a_picture(world, *(a_picture(world, colour=colour) for colour in colours))


KINDS = (
    Kind("facebook", "video", 2_600_000),
    Kind("facebook", "image", late_s=100),
    Kind("instagram", "story", 96_000),
    Kind("instagram", "image"),
    Kind("instagram", "carousel", pictures=3),
    Kind("youtube", "", 9_000_000),
    Kind("tiktok", "", 70_000_000, storm=True),
)


def of(*kinds: Kind) -> list[Any]:
    by_name = {subject.name: subject for subject in SUBJECTS}
    return [
        pytest.param(
            replace(by_name[kind.platform], post=_post(by_name[kind.platform], kind)),
            kind,
            id=kind.name,
            marks=(pytest.mark.storm,) if kind.storm else (),
        )
        for kind in kinds
        if kind.platform in by_name
    ]


def _post(subject: Subject, kind: Kind) -> Post:
    # A story has no caption.
    words = {"title": ""} if kind.kind == "story" else {}
    return replace(subject.post, kind=kind.kind, **words)


async def a_walk(subject: Subject, kind: Kind, world: World, tear_at: list[int] | None = None) -> Walk:
    return Walk(world, subject, await world.connect(subject), kind.media(world, tear_at), subject.post)


async def went_out_once(walk: Walk) -> None:
    posts = await walk.world.posts(walk.subject, walk.account)
    assert len(posts) == 1, (posts, walk.told)
    if walk.media.content_type.startswith("video/"):
        assert posts[0]["sha256"] == walk.media.sha256


@pytest.mark.parametrize(("subject", "kind"), of(*KINDS))
async def test_it_goes_out_once_and_says_so(subject: Subject, kind: Kind, world: World) -> None:
    walk = await a_walk(subject, kind, world)
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert (walk.begins, walk.permits) == (1, 1)
    await went_out_once(walk)


@pytest.mark.parametrize(
    "fault", ["drop_before", "drop_after", "error_after", "blocked_after", "token_expired"]
)
@pytest.mark.parametrize(("subject", "kind"), of(*KINDS))
async def test_the_last_calls_lost_answer_doubles_nothing(
    fault: str, subject: Subject, kind: Kind, world: World
) -> None:
    walk = await a_walk(subject, kind, world)
    await world.arm(subject, fault, "last_chunk")
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert await world.fired()
    await went_out_once(walk)


@pytest.mark.parametrize(("subject", "kind"), of(*KINDS))
async def test_a_last_call_that_takes_effect_late_doubles_nothing(
    subject: Subject, kind: Kind, world: World
) -> None:
    walk = await a_walk(subject, kind, world)
    await world.arm(subject, "act_after_cut", "last_chunk", seconds=kind.late_s)
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    world.ahead_s += 1000
    await went_out_once(walk)


@pytest.mark.parametrize("fault", in_a_storm("drop_after", "drop_before", "error_after", first=1))
@pytest.mark.parametrize(("subject", "kind"), of(*KINDS))
async def test_a_begin_that_got_no_answer_costs_no_post(
    fault: str, subject: Subject, kind: Kind, world: World
) -> None:
    walk = await a_walk(subject, kind, world)
    await world.arm(subject, fault, subject.steps[-1])
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert await world.fired()
    await went_out_once(walk)


@pytest.mark.parametrize("at", in_a_storm(0.6, 0.3, 0.95, first=1))
@pytest.mark.parametrize(("subject", "kind"), of(*(kind for kind in KINDS if kind.bytes_total)))
async def test_a_sender_that_dies_in_the_middle_is_followed_by_another(
    at: float, subject: Subject, kind: Kind, world: World
) -> None:
    walk = await a_walk(subject, kind, world, [int(kind.bytes_total * at)])
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert walk.begins == 1, "the same handle is used"
    await went_out_once(walk)


@pytest.mark.parametrize(
    "fault", in_a_storm("drop_before", "error_after", "drop_after", "error_before", "junk_after")
)
@pytest.mark.parametrize(("subject", "kind"), of(*(kind for kind in KINDS if kind.bytes_total > 10**6)))
async def test_a_part_in_the_middle_whose_answer_is_lost_is_sent_once_more_at_most(
    fault: str, subject: Subject, kind: Kind, world: World
) -> None:
    walk = await a_walk(subject, kind, world)
    await world.arm(subject, fault, subject.sends)
    assert await walk.run() in ("published", "inbox"), (walk.told, walk.errors)
    assert await world.fired() and walk.begins == 1
    await went_out_once(walk)
