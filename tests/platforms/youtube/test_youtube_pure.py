"""What needs no network: how YouTube counts, what is refused beforehand, links, hosts, the words of a video."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from youtube_makers import a_media, a_post, an_app

from app.errors import Permanent, Refused
from app.platforms import Creator, Media, Post, youtube
from app.platforms.youtube import publish

CREATOR = Creator(
    "mayamakes", "Maya Makes", None, ("public", "unlisted", "private"), max_duration_s=12 * 3600
)
CLIP = a_media(1000)


def problems(post: Post, media: Media = CLIP, creator: Creator = CREATOR) -> dict[str, str]:
    return youtube.check(creator, youtube.fit(creator, post), media)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": "x" * 100}, None),
        ({"title": "x" * 101}, "title"),
        ({"title": "😀" * 50}, None),
        ({"title": "😀" * 51}, "title"),
        ({"title": ""}, "title"),
        ({"title": " \n"}, "title"),
        ({"title": "1 < 2"}, "title"),
        ({"description": "x" * 5000}, None),
        ({"description": "x" * 5001}, "description"),
        ({"description": "ї" * 2500}, None),
        ({"description": "ї" * 2501}, "description"),
        ({"description": "2 > 1"}, "description"),
        ({"tags": ("x" * 498, "y")}, None),
        ({"tags": ("x" * 499, "y")}, "tags"),
        ({"tags": ("x y" + "z" * 495,)}, None),
        ({"tags": ("x y" + "z" * 496,)}, "tags"),
        ({"tags": ("<b>",)}, "tags"),
        ({"privacy_level": "friends"}, "privacy_level"),
        ({"privacy_level": ""}, "privacy_level"),
        ({"category_id": "26"}, None),
        ({"category_id": "Howto"}, "category_id"),
        ({"native_at": "2026-12-01T09:00:00Z"}, None),
        ({"native_at": "2026-12-01T09:00:00.5+02:00"}, None),
        ({"native_at": "2026-12-01T09:00:00"}, "native_at"),
        ({"native_at": "2026-12-01 09:00"}, "native_at"),
        ({"native_at": "2026-13-01T09:00:00Z"}, "native_at"),
        ({"kind": "video"}, None),
        ({"kind": "story"}, "kind"),
    ],
)
def test_what_youtube_would_refuse_is_said_at_its_field(change: dict[str, Any], field: str | None) -> None:
    assert list(problems(a_post(**change))) == ([field] if field else [])


@pytest.mark.parametrize(
    ("media", "creator", "word"),
    [
        (a_media(1000, content_type="image/png"), CREATOR, "videos only"),
        (a_media(0), CREATOR, "256 GiB"),
        (a_media(256 * 1024**3 + 1), CREATOR, "256 GiB"),
        (a_media(1000, duration_s=12 * 3600.5), CREATOR, "720 minutes"),
        (
            a_media(1000, duration_s=901),
            Creator("a", "A", None, ("unlisted",), max_duration_s=900),
            "15 minutes",
        ),
    ],
)
def test_a_file_that_youtube_would_refuse_is_said_under_media(
    media: Media, creator: Creator, word: str
) -> None:
    found = problems(a_post(), media, creator)
    assert list(found) == ["media"] and word in found["media"]


def test_what_just_fits_is_accepted() -> None:
    assert problems(a_post(), a_media(256 * 1024**3, duration_s=12 * 3600, content_type="video/webm")) == {}


def test_a_thumbnail_past_50_mb_is_refused_only_where_it_is_sent() -> None:
    media = a_media(1000, cover=a_media(52_428_801))
    assert problems(a_post(), media) == {}
    assert "50 MB" in problems(a_post(use_cover=True), media)["media"]
    assert problems(a_post(use_cover=True), a_media(1000, cover=a_media(52_428_800))) == {}


def test_lengths_are_counted_as_youtube_counts_them() -> None:
    counts = youtube.counted(a_post(title="😀a", description="їa", tags=("knots", "learn to sail", "x")))
    assert [(each.field, each.used, each.most, each.unit) for each in counts] == [
        ("title", 3, 100, "characters"),
        ("description", 3, 5000, "bytes"),
        ("tags", 5 + 13 + 1 + 2 + 2, 500, "characters"),
    ]
    assert [each.used for each in youtube.counted(Post())] == [0, 0, 0]


def test_a_video_that_waits_for_its_own_time_is_private_until_then() -> None:
    fitted = youtube.fit(CREATOR, a_post(privacy_level="public", native_at="2026-12-01T09:00:00Z"))
    assert fitted.privacy_level == "private"
    assert youtube.fit(CREATOR, a_post(tags=(" knots", "", "knots", "rope "))).tags == ("knots", "rope")


def test_everything_chosen_is_sent_and_nothing_else() -> None:
    whole = a_post(
        description="Rope.", tags=("knots",), category_id="26", made_for_kids=False, ai_generated=True,
        privacy_level="private", native_at="2026-12-01T09:00:00Z",
    )  # fmt: skip
    assert publish.resource(whole) == {
        "snippet": {"title": "Three knots", "description": "Rope.", "tags": ["knots"], "categoryId": "26"},
        "status": {
            "privacyStatus": "private",
            "containsSyntheticMedia": True,
            "selfDeclaredMadeForKids": False,
            "publishAt": "2026-12-01T09:00:00Z",
        },
    }
    assert publish.resource(a_post()) == {
        "snippet": {"title": "Three knots", "description": ""},
        "status": {"privacyStatus": "unlisted", "containsSyntheticMedia": False},
    }


def test_the_consent_page_is_asked_for_lasting_access_with_a_challenge() -> None:
    app = an_app("https://accounts.google.com")
    url = urlsplit(youtube.authorize_url(app, "st/ate", "v" * 43))
    assert url.path == "/o/oauth2/v2/auth"
    assert {name: value[0] for name, value in parse_qs(url.query).items()} == {
        "client_id": "sandbox",
        "redirect_uri": app.redirect_uri,
        "response_type": "code",
        "scope": " ".join(youtube.SCOPES),
        "access_type": "offline",
        "prompt": "consent",
        "state": "st/ate",
        # RFC 7636: base64url without padding of the SHA-256 of 43 times v.
        "code_challenge": youtube.oauth.challenge("v" * 43),
        "code_challenge_method": "S256",
    }


def test_the_challenge_is_the_one_of_the_rfc() -> None:
    # RFC 7636, appendix B.
    assert youtube.oauth.challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )
    verifier = youtube.new_verifier()
    assert 43 <= len(verifier) <= 128 and verifier != youtube.new_verifier()


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        ("access_denied", Refused, "did not allow"),
        ("admin_policy_enforced", Refused, "administrator"),
        ("org_internal", Refused, "organisation"),
        ("invalid_scope", Permanent, "operator"),
    ],
)
def test_a_person_who_comes_back_without_a_code_is_told_why(error: str, kind: type, word: str) -> None:
    found = youtube.declined(error, "")
    assert isinstance(found, kind) and word in found.message


@pytest.mark.parametrize(
    ("name", "post_id", "url"),
    [
        ("@mayamakes", "a1B2c3D4e5F", "https://www.youtube.com/watch?v=a1B2c3D4e5F"),
        ("mayamakes", None, "https://www.youtube.com/@mayamakes"),
        ("UCdemo0000000000000000aa", None, "https://www.youtube.com/channel/UCdemo0000000000000000aa"),
        ("a/b", "c d", "https://www.youtube.com/watch?v=c%20d"),
    ],
)
def test_links_lead_to_the_video_or_the_channel(name: str, post_id: str | None, url: str) -> None:
    assert youtube.link(name, post_id) == url


@pytest.mark.parametrize(
    ("age_s", "wait_s"),
    [(0, 30), (29, 30), (31, 60), (89, 60), (91, 120), (209, 120), (211, 300), (86_000, 300)],
)
def test_youtube_is_asked_at_the_pace_of_the_sheet(age_s: float, wait_s: float) -> None:
    real = an_app("https://www.googleapis.com", simulated=False)
    assert publish._ask_after_s(real, datetime.now(UTC) - timedelta(seconds=age_s)) == wait_s
    assert publish._ask_after_s(real, None) is None
    assert publish._ask_after_s(an_app("http://127.0.0.1:1"), datetime.now(UTC)) is None


def test_the_days_uploads_are_shared_by_all_channels_of_an_installation() -> None:
    (uploads,) = youtube.quotas(None)
    assert (uploads.scope, uploads.most, uploads.zone) == ("app", 100, "America/Los_Angeles")


def test_a_sessions_name_is_no_key_to_it() -> None:
    name = publish.name_of("https://www.googleapis.com/upload?upload_id=verysecret&part=x")
    assert name.startswith("yt-") and len(name) == 27 and "secret" not in name
    assert name == publish.name_of("https://elsewhere.googleapis.com/other?part=y&upload_id=verysecret")
    assert name != publish.name_of("https://www.googleapis.com/upload?upload_id=another")
