"""What is refused before any call: captions, kinds and files, each limit at and just past."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from instagram_world import World

from app import config
from app.platforms import Creator, Media, Post, instagram

CREATOR = Creator("studio.one", "Studio One", None, kinds=("reel", "story", "image", "carousel"))
MIB = 1024**2


@pytest.fixture
def house(tmp_path: Path) -> World:
    return World("http://127.0.0.1:1", config.load({"BACKLOT_HOME": str(tmp_path)}), tmp_path)


def problems(post: Post, media: Media) -> dict[str, str]:
    return instagram.check(CREATOR, instagram.fit(CREATOR, post), media)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("a" * 2200, True),
        ("a" * 2201, False),
        ("😀" * 1100, True),
        ("😀" * 1100 + "a", False),
        (" ".join(f"#tag{n}" for n in range(30)), True),
        (" ".join(f"#tag{n}" for n in range(31)), False),
        (" ".join(f"@user{n}" for n in range(20)), True),
        (" ".join(f"@user{n}" for n in range(21)), False),
        ("mail@example.org " * 21, True),
    ],
)
def test_a_caption_has_its_limits(text: str, fits: bool, house: World) -> None:
    found = problems(Post(title=text), house.film())
    assert ("title" not in found) is fits
    assert all(count.used <= count.most for count in instagram.counted(Post(title=text))) is fits


def test_a_story_has_no_caption_no_collaborators_and_no_comment(house: World) -> None:
    post = Post(title="Words", kind="story", collaborators=("maya",), first_comment="Hi", alt_text="A knot")
    assert set(problems(post, house.film())) == {"title", "collaborators", "first_comment", "alt_text"}
    assert instagram.counted(post) == ()
    assert problems(Post(kind="story"), house.film()) == {}


@pytest.mark.parametrize(
    ("kind", "changes", "fits"),
    [
        ("reel", {}, True),
        ("reel", {"duration_s": 2.9}, False),
        ("reel", {"duration_s": 3.0}, True),
        ("reel", {"duration_s": 900.0}, True),
        ("reel", {"duration_s": 900.5}, False),
        ("story", {"duration_s": 60.0}, True),
        ("story", {"duration_s": 60.5}, False),
        ("reel", {"bytes_total": 300 * MIB}, True),
        ("reel", {"bytes_total": 300 * MIB + 1}, False),
        ("story", {"bytes_total": 100 * MIB + 1}, False),
        ("reel", {"width_px": 1920, "height_px": 1080}, True),
        ("reel", {"width_px": 1921, "height_px": 1080}, False),
        ("reel", {"width_px": 1920, "height_px": 190}, False),
        ("reel", {"width_px": 10, "height_px": 1010}, False),
        ("story", {"width_px": 96, "height_px": 1000}, False),
        ("reel", {"fps": 23.0}, True),
        ("reel", {"fps": 22.0}, False),
        ("reel", {"fps": 60.0}, True),
        ("reel", {"fps": 61.0}, False),
        ("reel", {"content_type": "video/webm"}, False),
        ("reel", {"content_type": "video/quicktime"}, True),
    ],
)
def test_a_video_has_its_limits(kind: str, changes: dict[str, Any], fits: bool, house: World) -> None:
    found = problems(Post(kind=kind), replace(house.film(), **changes))
    assert ("media" not in found) is fits, found


@pytest.mark.parametrize(
    ("kind", "changes", "fits"),
    [
        ("image", {}, True),
        ("image", {"content_type": "image/png"}, False),
        ("image", {"bytes_total": 8 * MIB}, True),
        ("image", {"bytes_total": 8 * MIB + 1}, False),
        ("image", {"width_px": 320, "height_px": 400}, True),
        ("image", {"width_px": 319, "height_px": 319}, False),
        ("image", {"width_px": 800, "height_px": 1020}, False),
        ("image", {"width_px": 1910, "height_px": 1000}, True),
        ("image", {"width_px": 1940, "height_px": 1000}, False),
        ("story", {"width_px": 1080, "height_px": 1920}, True),
        ("image", {"link": None}, False),
    ],
)
def test_a_picture_has_its_limits(kind: str, changes: dict[str, Any], fits: bool, house: World) -> None:
    found = problems(Post(kind=kind), replace(house.picture(), **changes))
    assert ("media" not in found) is fits, found


@pytest.mark.parametrize(("count", "fits"), [(1, False), (2, True), (10, True), (11, False)])
def test_a_carousel_has_two_to_ten_pictures(count: int, fits: bool, house: World) -> None:
    pictures = [house.picture(number) for number in range(count)]
    found = problems(Post(kind="carousel"), replace(pictures[0], more=tuple(pictures[1:])))
    assert ("media" not in found) is fits, found
    if count == 2:
        wrong = replace(pictures[0], more=(replace(pictures[1], content_type="image/png"),))
        assert "JPEG" in problems(Post(), wrong)["media"]


def test_a_kind_has_to_suit_its_file(house: World) -> None:
    film, picture = house.film(), house.picture()
    several = replace(picture, more=(house.picture(1),))
    for kind, media in (("reel", picture), ("image", film), ("image", several), ("short", film)):
        assert "kind" in problems(Post(kind=kind), media), kind
    for kind, media in (("", film), ("video", film), ("reel", film), ("", picture), ("", several)):
        assert problems(Post(kind=kind), media) == {}, kind


def test_covers_collaborators_and_descriptions_have_their_limits(house: World) -> None:
    film, cover = house.film(), house.picture(width_px=1080, height_px=1920)
    wrong: tuple[tuple[str, Post, Media], ...] = (
        ("cover_ms", Post(cover_ms=30_001), film),
        ("cover_ms", Post(cover_ms=-1), film),
        ("use_cover", Post(use_cover=True), film),
        ("use_cover", Post(use_cover=True), replace(film, cover=replace(cover, link=None))),
        ("use_cover", Post(use_cover=True), replace(film, cover=replace(cover, content_type="image/png"))),
        ("collaborators", Post(collaborators=("a", "b", "c", "d")), film),
        ("collaborators", Post(collaborators=("not a name",)), film),
        ("alt_text", Post(alt_text="A knot"), film),
        ("alt_text", Post(alt_text="a" * 1001), house.picture()),
        ("first_comment", Post(first_comment="a" * 2201), film),
    )
    for field, post, media in wrong:
        found = problems(post, media)
        assert list(found) == [field] and found[field].endswith("."), (field, found)
    fine = (
        (Post(cover_ms=30_000, collaborators=("@a", "b.c", "d_e"), first_comment="a" * 2200), film),
        (Post(use_cover=True), replace(film, cover=cover)),
        (Post(alt_text="a" * 1000), house.picture()),
    )
    for post, media in fine:
        assert problems(post, media) == {}


def test_without_a_reading_of_the_limit_the_lower_number_stands() -> None:
    assert [(quota.name, quota.scope, quota.most) for quota in instagram.quotas(None)] == [
        ("posts", "account", 50),
        ("containers", "account", 400),
    ]


def test_the_accounts_page_is_the_link_until_instagram_gives_another() -> None:
    assert instagram.link("@studio.one", "18000000000000001") == "https://www.instagram.com/studio.one/"
