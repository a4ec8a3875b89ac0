"""Pictures are taken in, made to fit, and go out where pictures may, by the same way as videos."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from app import db, platforms, publishing, storage, videos
from app.errors import Refused, WrongState
from tests.makers import Owner, a_picture, an_account, an_owner, pieces, shown
from tests.worker import TestWorker
from tests.world import World

pytestmark = pytest.mark.anyio


async def taken_in(owner: Owner, content: bytes, name: str = "harbour.png") -> videos.Video:
    return await videos.uploads.take_in(
        pieces(content),
        workspace_id=owner.workspace_id,
        user_id=owner.user_id,
        filename=name,
        asked=videos.wishes.Wishes(title="The harbour"),
    )


async def posted(owner: Owner, worker: TestWorker, video_id: int, platform: str, post: platforms.Post) -> str:
    account = await an_account(owner, "Studio One", platform=platform)
    async with db.owned_by(owner.workspace_id) as conn:
        made = await publishing.compose_all(
            conn,
            workspace_id=owner.workspace_id,
            user_id=owner.user_id,
            video_id=video_id,
            wanted=[publishing.Wanted(account.id, post)],
            when=publishing.When.now("UTC"),
        )
    await worker.run_until_idle(ahead=True)
    async with db.house() as conn:
        target = await publishing.get(conn, made.targets[0].id)
    return f"{target.state} {target.reason or ''}".strip()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_is_made_to_fit_with_its_thumbnails(
    world: World, worker: TestWorker, kind: str
) -> None:
    owner = await an_owner()
    video = await taken_in(owner, a_picture(kind, (3000, 2000)))
    await worker.run_until_idle()
    made = await shown(owner, video.id)
    assert made.video.state == "EDITED" and made.video.is_picture
    assert made.video.edited_key is not None
    raw = b"".join([piece async for piece in storage.read(made.video.edited_key)])
    with Image.open(io.BytesIO(raw)) as opened:
        assert (opened.format, opened.size) == ("JPEG", (1440, 960))
    assert len(raw) == made.video.edited_bytes
    async with db.house() as conn:
        found = await db.rows(
            conn, "SELECT kind, width_px FROM renditions WHERE video_id = %s ORDER BY width_px", [video.id]
        )
    assert found == [("small", 320), ("medium", 640), ("large", 1280), ("poster", 1440)]


async def test_a_broken_picture_is_refused_with_its_reason_and_leaves_nothing(world: World) -> None:
    owner = await an_owner()
    with pytest.raises(Refused) as caught:
        await taken_in(owner, a_picture("PNG", (900, 900))[:600])
    assert "picture" in caught.value.message
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM videos") == 0
    assert [key async for key in storage.keys("tenants/")] == []


async def test_a_picture_goes_out_on_instagram_and_facebook_once(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await taken_in(owner, a_picture("JPEG", (1200, 1200)))
    await worker.run_until_idle()
    for platform, post in (
        ("instagram", platforms.Post(title="The harbour at six", alt_text="Boats")),
        ("facebook", platforms.Post(description="The harbour at six")),
    ):
        assert await posted(owner, worker, video.id, platform, post) == "published"
        assert len(await world.posts(platform)) == 1


async def test_a_carousel_is_one_post_of_several_pictures(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    taken = [await taken_in(owner, a_picture("JPEG", (1200, 1200)), f"{n}.jpg") for n in range(3)]
    await worker.run_until_idle()
    post = platforms.Post(title="Three boats", kind="carousel", pictures=tuple(one.id for one in taken[1:]))
    assert await posted(owner, worker, taken[0].id, "instagram", post) == "published"
    assert len(await world.posts("instagram")) == 1
    async with db.house() as conn:
        (media,) = (await db.rows(conn, "SELECT media FROM targets"))[0]
    assert len({media["key"], *(one["key"] for one in media["more"])}) == 3


async def test_a_strangers_picture_is_not_for_my_carousel(world: World, worker: TestWorker) -> None:
    maya, noor = await an_owner("Maya"), await an_owner("Noor")
    first = await taken_in(maya, a_picture("JPEG", (1200, 1200)))
    theirs = await taken_in(noor, a_picture("JPEG", (1200, 1200)))
    await worker.run_until_idle()
    post = platforms.Post(title="Two boats", kind="carousel", pictures=(theirs.id,))
    with pytest.raises(Refused) as caught:
        await posted(maya, worker, first.id, "instagram", post)
    assert "no picture of yours" in str(caught.value.fields)


@pytest.mark.parametrize("platform", ["tiktok", "youtube"])
async def test_a_picture_is_refused_where_only_videos_go(
    world: World, worker: TestWorker, platform: str
) -> None:
    owner = await an_owner()
    video = await taken_in(owner, a_picture("JPEG", (1200, 1200)))
    await worker.run_until_idle()
    level = {"tiktok": "SELF_ONLY", "youtube": "unlisted"}[platform]
    post = platforms.Post(title="The harbour", privacy_level=level, made_for_kids=False)
    try:
        said = await posted(owner, worker, video.id, platform, post)
    except Refused as refused:
        said = refused.message + " ".join(refused.fields.values())
    assert "video" in said and not said.startswith("published")
    assert await world.posts(platform) == []


async def test_nothing_of_a_picture_is_encoded_or_branded(world: World, worker: TestWorker) -> None:
    owner = await an_owner()
    video = await taken_in(owner, a_picture("JPEG", (1200, 1200)))
    await worker.run_until_idle()
    async with db.owned_by(owner.workspace_id) as conn:
        with pytest.raises(WrongState, match="picture"):
            await videos.pick_poster(conn, video.id, 0)
