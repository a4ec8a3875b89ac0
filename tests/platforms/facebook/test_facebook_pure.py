"""What the adapter decides by itself: kinds, limits, addresses, and what Facebook's words mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from facebook_makers import a_media, a_picture, a_post, an_app

from app.errors import Permanent, Refused, Retryable
from app.platforms import facebook
from app.platforms.base import Creator, Handle, Post
from app.platforms.facebook.errors import TABLE
from app.platforms.facebook.page import kind_of
from app.platforms.facebook.status import read
from app.platforms.meta import hosts

CREATOR = Creator("studio.one", "Studio One", None, kinds=("reel", "video", "image"))
REAL = {
    "simulated": False,
    "api_base": "https://graph.facebook.com",
    "bases": {"upload": "https://rupload.facebook.com"},
}


def problem(**changes: Any) -> str:
    kind = changes.pop("kind", "")
    return facebook.check(CREATOR, a_post(kind=kind), a_media(**changes)).get("media", "")


# Which kind a post becomes


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({}, "reel"),
        ({"duration_s": 3.0}, "reel"),
        ({"duration_s": 90.0}, "reel"),
        ({"duration_s": 2.9}, "video"),
        ({"duration_s": 90.1}, "video"),
        ({"width_px": 540, "height_px": 960}, "reel"),
        ({"width_px": 538, "height_px": 956}, "video"),
        ({"width_px": 1920, "height_px": 1080}, "video"),
        ({"width_px": 1080, "height_px": 1350}, "video"),
        ({"fps": 23.976}, "reel"),
        ({"fps": 23.0}, "video"),
        ({"fps": 60.0}, "reel"),
        ({"fps": 60.1}, "video"),
        ({"content_type": "video/quicktime"}, "video"),
    ],
)
def test_an_upright_clip_of_3_to_90_seconds_becomes_a_reel_and_all_else_a_video(
    facts: dict[str, Any], kind: str
) -> None:
    assert kind_of(a_post(), a_media(**facts)) == kind
    assert problem(**facts) == ""


def test_a_chosen_kind_is_kept_and_a_picture_is_an_image() -> None:
    assert kind_of(a_post(kind="video"), a_media()) == "video"
    assert kind_of(a_post(), a_picture()) == "image"
    assert facebook.check(CREATOR, a_post(), a_picture()) == {}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"width_px": 1920, "height_px": 1080}, "upright"),
        ({"width_px": 360, "height_px": 640}, "540 × 960"),
        ({"duration_s": 2.9}, "3 to 90 s"),
        ({"duration_s": 90.1}, "3 to 90 s"),
        ({"fps": 23.0}, "24 to 60"),
        ({"fps": 60.1}, "24 to 60"),
        ({"content_type": "video/quicktime"}, "MP4"),
    ],
)
def test_a_wanted_reel_that_is_none_is_refused_with_what_to_do(facts: dict[str, Any], words: str) -> None:
    assert words in problem(kind="reel", **facts)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"size": 1024}, ""),
        ({"size": 1023}, "1 KB"),
        ({"size": 2_000_000_000}, ""),
        ({"size": 2_000_000_001}, "2 GB"),
        ({"duration_s": 2400.0}, ""),
        ({"duration_s": 2400.1}, "40 min"),
        ({"duration_s": 0.9}, "1 s"),
        ({"width_px": 2000, "height_px": 1000}, "16:9"),
        ({"width_px": 1000, "height_px": 2000}, "16:9"),
        ({"content_type": "video/webm"}, "MP4 and MOV"),
    ],
)
def test_a_video_is_checked_at_each_limit_and_just_past_it(facts: dict[str, Any], words: str) -> None:
    found = problem(kind="video", **facts)
    assert (words in found) if words else found == ""


def test_a_picture_is_jpeg_or_png_of_up_to_10_mb() -> None:
    def found(**changes: Any) -> str:
        return facebook.check(CREATOR, a_post(), a_picture(**changes)).get("media", "")

    assert found(size=10_000_000) == found(content_type="image/jpeg") == ""
    assert "10 MB" in found(size=10_000_001) and "JPEG" in found(content_type="image/webp")


def test_kinds_that_are_not_offered_are_refused() -> None:
    for kind in ("story", "carousel"):
        assert "kind" in facebook.check(CREATOR, a_post(kind=kind), a_media())


def test_people_read_the_description_or_else_the_title() -> None:
    assert [(c.field, c.used) for c in facebook.counted(Post(title="Knots 😀"))] == [("title", 8)]
    both = facebook.counted(Post(title="Knots", description="Three"))
    assert [(c.field, c.used, c.most) for c in both] == [("description", 5, 63_206), ("title", 5, 255)]


def test_a_text_is_refused_one_unit_past_its_limit() -> None:
    for field, text in (("description", "a" * 63_205 + "😀"), ("title", "a" * 256)):
        post = replace(a_post(), **{field: text})
        assert field in facebook.check(CREATOR, post, a_media())
        assert facebook.check(CREATOR, replace(post, **{field: text[:-1]}), a_media()) == {}


def test_a_page_has_thirty_reels_in_any_day() -> None:
    (quota,) = facebook.quotas(CREATOR)
    assert (quota.scope, quota.most, quota.window_s, quota.zone) == ("account", 30, 86_400, None)


# Addresses


def test_the_dialog_is_asked_for_all_permissions_once_more() -> None:
    app = an_app("https://www.facebook.com", auth_base="https://www.facebook.com")
    address = urlsplit(facebook.authorize_url(app, "the state", facebook.new_verifier()))
    assert address.path == "/v26.0/dialog/oauth"
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert query.pop("scope").split(",") == list(facebook.SCOPES)
    assert query == {
        "client_id": "sandbox",
        "redirect_uri": app.redirect_uri,
        "state": "the state",
        "response_type": "code",
        "auth_type": "rerequest",
    }


def test_a_person_who_declines_and_one_whom_facebook_turns_away_are_told_apart() -> None:
    assert facebook.declined("access_denied", "").code == "access_denied"
    error = facebook.declined("server_error", "It broke")
    assert isinstance(error, Refused) and error.code == "connect_refused" and "It broke" in error.message


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("https://rupload.facebook.com/video-upload/v26.0/9", True),
        ("https://rupload.facebook.com:443/video-upload/v26.0/9", True),
        ("http://rupload.facebook.com/video-upload/v26.0/9", False),
        ("https://rupload.facebook.com.example.org/9", False),
        ("https://evil.rupload.facebook.com/9", False),
        ("https://x@rupload.facebook.com/9", False),
        ("https://rupload.facebook.com:8443/9", False),
        ("https://graph.facebook.com/9", False),
        ("//rupload.facebook.com/9", False),
        ("https://[broken/9", False),
        ("", False),
    ],
)
def test_a_token_goes_to_the_configured_upload_host_over_https_only(address: str, fine: bool) -> None:
    if fine:
        hosts.check(TABLE, an_app("", **REAL), address)
        return
    with pytest.raises(Permanent) as caught:
        hosts.check(TABLE, an_app("", **REAL), address)
    assert caught.value.code == "upload_address_refused"


def test_without_a_configured_host_no_address_is_good() -> None:
    for simulated in (True, False):
        with pytest.raises(Permanent):
            hosts.check(TABLE, an_app("", bases={}, simulated=simulated), "https:///9")


def test_links_lead_to_the_post_or_to_the_page() -> None:
    assert facebook.link("studio.one", "101_122") == "https://www.facebook.com/101_122"
    assert facebook.link("@studio one") == "https://www.facebook.com/studio%20one"


# What the status object means (section 3.4)


def a_status(
    video_status: str, found: dict[str, Any] | None = None, *, kind: str = "reel", **phases: Any
) -> Any:
    said = {"video_status": video_status, **{f"{name}_phase": phase for name, phase in phases.items()}}
    handle = Handle("900", "", datetime.now(UTC), kind)
    return read(found or {}, said, "101", handle)


WHOLE = {"status": "complete", "bytes_transfered": 5_120_000, "source_file_size": 5_120_000}
NONE = {"status": "not_started"}


@pytest.mark.parametrize("count", ["bytes_transfered", "bytes_transferred"])
@pytest.mark.parametrize("number", [4096, "4096"])
def test_bytes_are_read_in_both_spellings(count: str, number: Any) -> None:
    now = a_status("uploading", uploading={"status": "in_progress", count: number})
    assert (now.state, now.bytes_received) == ("processing", 4096)


def test_a_whole_upload_that_nobody_finished_is_a_definite_no() -> None:
    for done in ("complete", "completed"):
        now = a_status(
            "upload_complete", uploading=WHOLE | {"status": done}, processing=NONE, publishing=NONE
        )
        assert (now.state, now.bytes_received) == ("unpublished", 5_120_000)
    ready = {"status": "not_started", "publish_status": "draft"}
    assert (
        a_status("ready", uploading=WHOLE, processing={"status": "complete"}, publishing=ready).state
        == "unpublished"
    )


def test_the_sheets_own_example_is_still_under_way() -> None:
    """While Facebook works on it, `draft` says nothing about the last call."""
    draft = {"status": "not_started", "publish_status": "draft", "publish_time": "2026-11-22T10:00:00+0000"}
    now = a_status("processing", uploading=WHOLE, processing={"status": "in_progress"}, publishing=draft)
    assert now.state == "processing"
    assert a_status("processing", uploading=WHOLE, processing=NONE, publishing=NONE).state == "processing"
    scheduled = {"status": "not_started", "publish_status": "scheduled"}
    assert a_status("ready", uploading=WHOLE, publishing=scheduled).state == "processing"


@pytest.mark.parametrize(
    ("permalink", "url"),
    [
        ("/reel/900/", "https://www.facebook.com/reel/900/"),
        ("https://www.facebook.com/reel/900/", "https://www.facebook.com/reel/900/"),
        (None, "https://www.facebook.com/reel/900"),
        ("javascript:alert(1)", "https://www.facebook.com/reel/900"),
    ],
)
def test_a_published_reel_has_an_address_however_it_is_given(permalink: str | None, url: str) -> None:
    found = {"permalink_url": permalink, "post_id": "122"}
    now = a_status(
        "ready", found, uploading=WHOLE, publishing={"status": "complete", "publish_status": "published"}
    )
    assert (now.state, now.url, now.post_ids) == ("published", url, ("101_122",))


def test_an_ordinary_video_is_out_when_it_is_ready_and_published() -> None:
    draft = {"status": "not_started"}
    assert a_status("ready", {"published": True}, kind="video", publishing=draft).state == "published"
    assert a_status("ready", {"published": False}, kind="video", publishing=draft).state == "unpublished"
    assert a_status("ready", {"published": True}, kind="reel", publishing=draft).state == "unpublished"


@pytest.mark.parametrize(
    "said", [{"error": {"message": "Too wide"}}, {"errors": [{"code": 7, "message": "Too wide"}]}]
)
def test_what_went_wrong_is_quoted_wherever_it_stands(said: dict[str, Any]) -> None:
    now = a_status("error", uploading=WHOLE, processing={"status": "error"} | said)
    assert (now.state, now.reason) == ("failed", "video_failed")
    assert isinstance(now.error, Permanent) and "Too wide" in now.error.message


def test_a_known_number_in_a_phase_decides_and_a_failed_upload_begins_anew() -> None:
    errors = {"status": "error", "errors": [{"code": 1363128, "message": "Too long"}]}
    assert a_status("processing", uploading=WHOLE, processing=errors).reason == "1363128"
    assert a_status("ready", uploading=WHOLE, publishing={"publish_status": "error"}).reason == "video_failed"
    failed = a_status("upload_failed")
    assert isinstance(failed.error, Retryable) and failed.reason == "upload_failed"
    assert a_status("expired").state == "gone"
