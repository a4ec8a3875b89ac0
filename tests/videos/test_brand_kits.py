"""Kits, logos and clips as the room keeps them: what a video gets of them, what is refused, and what races decide."""

from __future__ import annotations

import asyncio
import io
import subprocess

import pillow_heif
import pytest
from PIL import Image

from app import db, media, storage, videos
from app.errors import NotFound, Refused, WrongState
from tests.makers import Owner, a_picture, an_owner, pieces
from tests.world import clip

pytestmark = pytest.mark.anyio
pillow_heif.register_heif_opener()
BOLD = {"title": {"position": "bottom", "colour": "#ffcc00"}, "effects": ["warm"]}


@pytest.fixture
def maya(owner: Owner) -> Owner:
    return owner


async def a_kit(owner: Owner, name: str, **more: object) -> videos.kits.Kit:
    async with db.owned_by(owner.workspace_id) as conn:
        return await videos.kits.add(
            conn,
            workspace_id=owner.workspace_id,
            user_id=owner.user_id,
            name=name,
            **({"design": BOLD} | more),  # type: ignore[arg-type]  # words of the test
        )


async def kits_of(owner: Owner) -> list[tuple[str, bool]]:
    async with db.owned_by(owner.workspace_id) as conn:
        return [(kit.name, kit.is_default) for kit in await videos.kits.list_for(conn)]


async def a_file(
    owner: Owner, content: bytes, name: str, kind: videos.assets.Kind = "logo"
) -> videos.assets.Asset:
    return await videos.assets.take_in(
        pieces(content), workspace_id=owner.workspace_id, user_id=owner.user_id, name=name, kind=kind
    )


async def a_video_with(owner: Owner, wishes: videos.wishes.Wishes) -> videos.Video:
    return await videos.uploads.take_in(
        pieces(clip()),
        workspace_id=owner.workspace_id,
        user_id=owner.user_id,
        filename="knot.mp4",
        asked=wishes,
    )


async def objects() -> int:
    return len([key async for key in storage.keys("tenants/")])


async def test_a_video_without_a_design_gets_the_default_kit_and_one_with_a_design_does_not(
    maya: Owner,
) -> None:
    """S2.7. A chosen plain look is a design, too."""
    await a_kit(maya, "Other", design={"effects": ["cool"]})
    await a_kit(
        maya,
        "Bold",
        design={**BOLD, "title": {"text": "@maya"}, "captions": {"position": "top"}},
        is_default=True,
    )
    noor = await an_owner("Noor")
    asked = videos.wishes.read({"title": "A knot"})
    assert videos.wishes.from_json(asked.to_json()).design is None
    kept = (await a_video_with(maya, asked)).design
    assert (kept["title"]["text"], kept["effects"]) == ("@maya", ["warm"])
    assert "captions" not in kept
    for chosen in ({}, {"effects": ["vivid"]}):
        wished = videos.wishes.read({"title": "A knot", "design": chosen})
        assert (await a_video_with(maya, wished)).design == chosen
    assert (await a_video_with(noor, asked)).design == {}


async def test_a_style_without_words_is_put_on_no_video(maya: Owner) -> None:
    kit = await a_kit(
        maya, "Style only", design={"title": {"font": "Vollkorn"}, "captions": {"colour": "#ffcc00"}}
    )
    assert kit.design["title"]["font"] == "Vollkorn" and "text" not in kit.design["title"]
    assert kit.design["captions"]["colour"] == "#ffcc00" and "srt" not in kit.design["captions"]
    assert kit.for_video() == media.Design()


async def test_a_kits_words_are_checked_like_a_videos_and_a_refusal_keeps_nothing(maya: Owner) -> None:
    noor = await an_owner("Noor")
    foreign = await a_file(noor, a_picture(), "noor.png")
    await a_kit(maya, "Taken")
    for name, design, field in (
        ("", BOLD, "name"),
        ("x" * 61, BOLD, "name"),
        ("taken", BOLD, "name"),
        ("New", {"title": {"colour": "yellow"}}, "design.title.colour"),
        ("New", {"effects": ["explode"]}, "design.effects.0"),
        ("New", {"watermark": {"url": foreign.address}}, "design.watermark.url"),
        ("New", {"intro": {"url": "asset:4711"}}, "design.intro.url"),
    ):
        with pytest.raises(Refused) as refused:
            await a_kit(maya, name, design=design)
        assert field in refused.value.fields, (name, refused.value.fields)
    assert await kits_of(maya) == [("Taken", False)]


async def test_there_is_one_default_whoever_chooses_at_the_same_moment(maya: Owner) -> None:
    made = [await a_kit(maya, f"Kit {number}", is_default=True) for number in range(4)]
    assert [is_default for _, is_default in await kits_of(maya)] == [True, False, False, False]

    async def choose(kit_id: int) -> None:
        async with db.owned_by(maya.workspace_id) as conn:
            await videos.kits.make_default(conn, kit_id)

    await asyncio.gather(*(choose(kit.id) for kit in made))
    assert sum(is_default for _, is_default in await kits_of(maya)) == 1


async def test_a_kit_is_changed_and_removed_and_its_videos_stay(maya: Owner) -> None:
    kit = await a_kit(maya, "Bold", is_default=True)
    video = await a_video_with(maya, videos.wishes.Wishes(title="A knot"))
    async with db.owned_by(maya.workspace_id) as conn:
        await videos.kits.change(conn, kit.id, name="Calm", design={}, is_default=False)
        assert [(one.name, one.design, one.is_default) for one in await videos.kits.list_for(conn)] == [
            ("Calm", {}, False)
        ]
        await videos.kits.remove(conn, kit.id)
        assert (await videos.get(conn, video.id)).design == {"effects": ["warm"]}
        with pytest.raises(NotFound):
            await videos.kits.remove(conn, kit.id)


async def test_a_telephones_picture_becomes_a_logo_that_says_nothing_of_where_it_was_taken(
    maya: Owner,
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "CameraCo"
    sent = a_picture("HEIF", (2200, 1100), exif=exif.tobytes())
    kept = await a_file(maya, sent, "IMG_1.HEIC")
    assert kept.content_type in ("image/png", "image/webp") and kept.bytes <= 5 * 1024**2
    content = b"".join([piece async for piece in storage.read(kept.key)])
    with Image.open(io.BytesIO(content)) as shown:
        assert shown.size == (1024, 2048)
    assert b"CameraCo" in sent and b"CameraCo" not in content
    # The same picture again is the same logo, and nothing more is stored.
    before = await objects()
    assert (await a_file(maya, sent, "again.heic")).id == kept.id
    assert await objects() == before


async def test_a_clip_is_looked_into_before_it_is_kept_and_a_refused_one_leaves_nothing(maya: Owner) -> None:
    kept = await a_file(maya, clip(2.0), "intro.mp4", "clip")
    assert kept.kind == "clip" and kept.duration_s == pytest.approx(2.0, abs=0.1)
    async with db.owned_by(maya.workspace_id) as conn:
        assert [one.id for one in await videos.assets.list_for(conn, kind="clip")] == [kept.id]
        assert await videos.assets.list_for(conn) == []
        with_intro = media.read_design({"intro": {"url": kept.address}})
        assert await videos.assets.check(conn, with_intro) == {}
        as_logo = media.read_design({"watermark": {"url": kept.address}})
        assert "design.watermark.url" in await videos.assets.check(conn, as_logo)
    before = await objects()
    long = subprocess.run(
        [
            str(media.program().path), "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=s=64x64:r=5:d=31", "-c:v",
            "libx264", "-preset", "ultrafast", "-f", "mp4", "-movflags", "frag_keyframe+empty_moov", "pipe:1",
        ],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    for content, code in (
        (long, "too_long"),
        (a_picture(), "not_a_clip"),
        (b"words" * 200, "not_a_clip"),
        (b"", "empty"),
    ):
        with pytest.raises(Refused) as refused:
            await a_file(maya, content, "x.mp4", "clip")
        assert refused.value.code == code
    assert await objects() == before


async def test_a_file_that_something_needs_is_not_deleted_and_says_where_it_is_used(maya: Owner) -> None:
    logo = await a_file(maya, a_picture(), "mark.png")
    intro = await a_file(maya, clip(), "intro.mp4", "clip")
    kit = await a_kit(
        maya, "Bold", design={"watermark": {"url": logo.address}, "outro": {"url": intro.address}}
    )
    wished = videos.wishes.read({"title": "A knot", "design": {"watermark": {"url": logo.address}}})
    await a_video_with(maya, wished)
    async with db.owned_by(maya.workspace_id) as conn:
        with pytest.raises(WrongState, match="the kit “Bold”, the video “A knot”"):
            await videos.assets.delete(conn, logo.id)
        with pytest.raises(WrongState, match="the kit “Bold”"):
            await videos.assets.delete(conn, intro.id)
        await videos.kits.remove(conn, kit.id)
        await videos.assets.delete(conn, intro.id)
        assert await videos.assets.list_for(conn, kind="clip") == []
    waiting = await a_file(maya, a_picture(size=(80, 40)), "other.png")
    await videos.uploads.begin(
        workspace_id=maya.workspace_id,
        user_id=maya.user_id,
        filename="half.mp4",
        bytes_total=1000,
        asked=videos.wishes.read({"design": {"watermark": {"url": waiting.address}}}),
    )
    noor = await an_owner("Noor")
    async with db.owned_by(maya.workspace_id) as conn:
        with pytest.raises(WrongState, match="on its way"):
            await videos.assets.delete(conn, waiting.id)
    async with db.owned_by(noor.workspace_id) as conn:
        with pytest.raises(NotFound):
            await videos.assets.delete(conn, waiting.id)


async def test_long_captions_travel_by_their_name_and_to_nobody_else(maya: Owner) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nHello\n"
    async with db.owned_by(maya.workspace_id) as conn:
        name = await videos.texts.keep(conn, maya.workspace_id, text)
        assert await videos.texts.keep(conn, maya.workspace_id, text) == name
        assert await videos.texts.of(conn, name) == text
    noor = await an_owner("Noor")
    async with db.owned_by(noor.workspace_id) as conn:
        assert await videos.texts.of(conn, name) is None
        assert await videos.texts.of(conn, "' OR true --") is None
    async with db.house() as conn:
        await conn.execute("UPDATE kept_texts SET kept_at = now() - interval '49 h'")
    async with db.owned_by(maya.workspace_id) as conn:
        await videos.texts.keep(conn, maya.workspace_id, "another")
        assert await videos.texts.of(conn, name) is None
