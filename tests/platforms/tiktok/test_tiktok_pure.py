"""What can be said about TikTok without calling it: chunks, PKCE, lengths, addresses, checks, the table of errors."""

from __future__ import annotations

import hashlib
import json
import random
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktok_makers import a_media, a_post, an_app

from app import config, platforms
from app.errors import Cancelled, NotFound, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms import Creator, Handle, Kind, Tokens, tiktok
from app.platforms.tiktok import errors
from app.platforms.tiktok.chunks import end_of_chunk
from app.platforms.tiktok.creator import title_units
from app.platforms.tiktok.oauth import challenge
from app.platforms.tiktok.publish import check_upload_address

GIB_4 = 4 * 1024**3
# Sheet, section 4.2
PLANS = [
    (3_145_728, 3_145_728, 1, 0),
    (50_000_123, 50_000_123, 1, 0),
    (64_000_000, 64_000_000, 1, 0),
    (64_000_001, 10_000_000, 6, 50_000_000),
    (66_259_900, 10_000_000, 6, 50_000_000),
    (84_539_038, 10_000_000, 8, 70_000_000),
    (150_000_000, 10_000_000, 15, 140_000_000),
    (GIB_4, 10_000_000, 429, 4_280_000_000),
]


@pytest.mark.parametrize(("size", "chunk_bytes", "count", "last_start"), PLANS)
def test_a_file_is_cut_as_the_sheet_says(size: int, chunk_bytes: int, count: int, last_start: int) -> None:
    chunks = tiktok.plan(size)
    assert (chunks.chunk_bytes, chunks.count) == (chunk_bytes, count)
    assert end_of_chunk(size, last_start) == size
    if last_start:
        assert end_of_chunk(size, last_start - 1) == last_start


def accepted(size: int, chunk_bytes: int, count: int) -> bool:
    """TikTok's rules at init (sheet, section 4.2), in the narrow reading of MB."""
    if count != max(1, size // chunk_bytes) or not 1 <= count <= 1000:
        return False
    if count == 1:
        return chunk_bytes == size <= 64_000_000
    return 5_242_880 <= chunk_bytes <= 64_000_000 and size - (count - 1) * chunk_bytes <= 128_000_000


@pytest.mark.parametrize(
    "vector",
    [
        (50_000_123, 10_000_000, 6),
        (66_259_900, 64_000_000, 1),
        (121_000_000, 64_000_000, 1),
        (20_000_000, 4_000_000, 5),
        (70_000_000, 70_000_000, 1),
    ],
)
def test_the_rules_used_here_reject_what_the_sheet_says_is_rejected(vector: tuple[int, int, int]) -> None:
    assert not accepted(*vector)


def test_twenty_thousand_sizes_are_cut_within_the_rules() -> None:
    sizes = random.Random(42)
    for _ in range(20_000):
        size = sizes.randint(1, sizes.choice((70_000_000, 200_000_000, GIB_4)))
        chunks = tiktok.plan(size)
        assert accepted(size, chunks.chunk_bytes, chunks.count), size


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.integers(1, GIB_4), st.integers(1, 200_000_000)))
def test_any_size_is_cut_within_the_rules_and_completely(size: int) -> None:
    chunks = tiktok.plan(size)
    assert accepted(size, chunks.chunk_bytes, chunks.count)
    ends, at_byte = [], 0
    while at_byte < size:
        at_byte = end_of_chunk(size, at_byte)
        ends.append(at_byte)
    assert len(ends) == chunks.count and ends[-1] == size


def test_the_pkce_challenge_is_the_sheets_vector() -> None:
    verifier = "backlot-pkce-verifier-0123456789-abcdefghijklmnopq"
    assert challenge(verifier) == "ef4250ec2e6f19802791d2ffdd7f1a96bc8e0f9d63542be3e41fa989fffa58ad"
    for _ in range(50):
        assert re.fullmatch(r"[A-Za-z0-9\-._~]{43,128}", tiktok.new_verifier())


def test_only_a_desktop_app_sends_a_challenge() -> None:
    verifier = tiktok.new_verifier()
    for app_type in ("web", "desktop"):
        app = an_app("https://www.tiktok.com", app_type=app_type, redirect_uri="http://localhost:3000/a?b")
        url = urlsplit(tiktok.authorize_url(app, "sta te", verifier, ("user.info.basic", "video.publish")))
        query = {name: values[0] for name, values in parse_qs(url.query, strict_parsing=True).items()}
        assert url._replace(query="").geturl() == "https://www.tiktok.com/v2/auth/authorize/"
        assert (query["response_type"], query["scope"]) == ("code", "user.info.basic,video.publish")
        assert (query["client_key"], query["state"]) == ("sandbox", "sta te")
        assert query["redirect_uri"] == "http://localhost:3000/a?b"
        challenged = {
            "code_challenge": hashlib.sha256(verifier.encode()).hexdigest(),
            "code_challenge_method": "S256",
        }
        assert {k: v for k, v in query.items() if "challenge" in k} == (
            challenged if app_type == "desktop" else {}
        )
        assert verifier not in url.query and "sandbox-secret" not in url.query


def test_a_title_is_counted_in_utf16_units() -> None:
    assert [title_units(t) for t in ("", "abc", "ü", "😀", "👩‍👩‍👧", "\ud83d")] == [0, 3, 1, 2, 8, 1]


def a_creator(**changes: Any) -> Creator:
    fields: dict[str, Any] = {
        "handle": "maya.makes",
        "display_name": "Maya Makes",
        "avatar_url": None,
        "privacy_levels": ("PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"),
        "comment_disabled": False,
        "duet_disabled": False,
        "stitch_disabled": False,
        "max_duration_s": 300,
    }
    return Creator(**(fields | changes))


@pytest.mark.parametrize(
    ("fits", "breaks", "field"),
    [
        ({"title": "😀" * 1100}, {"title": "😀" * 1100 + "a"}, "title"),
        ({"privacy_level": "PUBLIC_TO_EVERYONE"}, {"privacy_level": "FOLLOWER_OF_CREATOR"}, "privacy_level"),
        ({"privacy_level": "SELF_ONLY"}, {"privacy_level": ""}, "privacy_level"),
        ({"brand_organic": True}, {"brand_content": True}, "privacy_level"),
        ({"cover_ms": 30_000}, {"cover_ms": 30_001}, "cover_ms"),
        ({"cover_ms": 0}, {"cover_ms": -1}, "cover_ms"),
    ],
)
def test_a_post_is_checked_field_by_field(fits: dict[str, Any], breaks: dict[str, Any], field: str) -> None:
    assert tiktok.check(a_creator(), a_post(**fits), a_media(1)) == {}
    assert list(tiktok.check(a_creator(), a_post(**breaks), a_media(1))) == [field]


@pytest.mark.parametrize(
    ("fits", "breaks"),
    [
        ({"bytes_total": GIB_4}, {"bytes_total": GIB_4 + 1}),
        ({"bytes_total": 1}, {"bytes_total": 0}),
        ({"duration_s": 300.0}, {"duration_s": 300.1}),
        ({"width_px": 360, "height_px": 4096}, {"width_px": 359}),
        ({"width_px": 4096}, {"height_px": 4097}),
        ({"fps": 23.976}, {"fps": 22.9}),
        ({"fps": 60.0}, {"fps": 60.02}),
        ({"content_type": "video/quicktime"}, {"content_type": "video/x-matroska"}),
    ],
)
def test_a_video_is_checked_against_tiktoks_limits(fits: dict[str, Any], breaks: dict[str, Any]) -> None:
    def media(changes: dict[str, Any]) -> Any:
        return a_media(changes.pop("bytes_total", 9), **changes)

    assert tiktok.check(a_creator(), a_post(), media(fits)) == {}
    assert list(tiktok.check(a_creator(), a_post(), media(breaks))) == ["media"]


def test_what_the_account_switched_off_is_a_problem_until_the_post_is_fitted() -> None:
    strict = a_creator(comment_disabled=True, duet_disabled=True, stitch_disabled=True)
    problems = tiktok.check(strict, a_post(), a_media(1))
    assert sorted(problems) == ["disable_comment", "disable_duet", "disable_stitch"]
    assert tiktok.check(strict, tiktok.fit(strict, a_post()), a_media(1)) == {}
    kept = tiktok.fit(a_creator(), a_post(disable_duet=True))
    assert kept == a_post(disable_duet=True)


@pytest.mark.parametrize(
    ("url", "simulated", "known"),
    [
        ("https://open-upload.tiktokapis.com/video/?upload_token=x", False, True),
        ("https://upload.us.tiktokapis.com/video/", False, True),
        ("https://open.tiktokapis.com:443/video/", False, True),
        ("http://open-upload.tiktokapis.com/video/", False, False),
        ("https://tiktokapis.com/video/", False, False),
        ("https://eviltiktokapis.com/", False, False),
        ("https://open.tiktokapis.com.evil.net/", False, False),
        ("https://evil.net/?a=.tiktokapis.com", False, False),
        ("https://evil.net#.tiktokapis.com", False, False),
        ("https://u@open.tiktokapis.com/", False, False),
        ("https://open.tiktokapis.com:8443/", False, False),
        ("http://127.0.0.1:3000/sandbox/tiktok/video/", False, False),
        ("http://127.0.0.1:3000/sandbox/tiktok/video/", True, True),
        ("http://127.0.0.1:3001/sandbox/tiktok/video/", True, False),
        ("https://open-upload.tiktokapis.com/video/", True, False),
    ],
)
def test_bytes_go_to_tiktok_or_to_the_simulator_and_nowhere_else(
    url: str, simulated: bool, known: bool
) -> None:
    app = an_app("http://127.0.0.1:3000/sandbox/tiktok", simulated=simulated)
    if known:
        check_upload_address(app, url)
        return
    with pytest.raises(Permanent) as caught:
        check_upload_address(app, url)
    assert caught.value.code == "upload_address_refused"
    assert url not in str(caught.value)


def test_a_link_leads_to_the_post_or_else_to_the_profile() -> None:
    assert tiktok.link("maya.makes", "7421000111222333444") == (
        "https://www.tiktok.com/@maya.makes/video/7421000111222333444"
    )
    assert tiktok.link("@maya.makes") == "https://www.tiktok.com/@maya.makes"
    assert tiktok.link('a/b"<') == "https://www.tiktok.com/@a%2Fb%22%3C"


def test_a_handle_survives_being_kept_as_text_and_secrets_are_in_no_repr() -> None:
    handle = Handle("v_pub~1", "https://x.tiktokapis.com/?upload_token=verysecret", datetime.now(UTC))
    assert Handle.from_text(handle.as_text()) == handle
    assert isinstance(json.loads(handle.as_text()), dict)
    tokens = Tokens("act.verysecret", "rft.verysecret", 1, 2, (), "oid")
    app = an_app("http://x", client_secret="verysecret")
    assert "verysecret" not in repr(handle) + repr(tokens) + repr(app)


# The table

SECTION_7: list[tuple[int, str, Kind, type[Exception]]] = [
    (400, "invalid_param", Kind.PERMANENT, Permanent),
    (400, "invalid_params", Kind.PERMANENT, Permanent),
    (400, "scope_permission_missed", Kind.AUTHORISATION_LOST, Permanent),
    (400, "invalid_file_upload", Kind.CONTENT_REJECTED, Permanent),
    (400, "invalid_publish_id", Kind.PERMANENT, Permanent),
    (400, "token_not_authorized_for_specified_publish_id", Kind.PERMANENT, Permanent),
    (400, "publish_not_cancellable", Kind.PERMANENT, Permanent),
    (400, "app_version_check_failed", Kind.PERMANENT, Permanent),
    (401, "access_token_invalid", Kind.AUTHORISATION_LOST, Permanent),
    (401, "scope_not_authorized", Kind.AUTHORISATION_LOST, Permanent),
    (403, "spam_risk_too_many_posts", Kind.QUOTA, NotYet),
    (403, "spam_risk_too_many_pending_share", Kind.QUOTA, NotYet),
    (403, "spam_risk_user_banned_from_posting", Kind.PERMANENT, Permanent),
    (403, "reached_active_user_cap", Kind.QUOTA, NotYet),
    (403, "unaudited_client_can_only_post_to_private_accounts", Kind.PERMANENT, Permanent),
    (403, "url_ownership_unverified", Kind.PERMANENT, Permanent),
    (403, "privacy_level_option_mismatch", Kind.CONTENT_REJECTED, Permanent),
    (429, "rate_limit_exceeded", Kind.RETRY_AFTER, NotYet),
    (500, "internal_error", Kind.RETRY_NOW, Retryable),
    (429, "", Kind.RETRY_AFTER, NotYet),
    (502, "", Kind.RETRY_NOW, Retryable),
    (418, "", Kind.UNKNOWN, Retryable),
    (400, "brand_new_code", Kind.UNKNOWN, Retryable),
]


@pytest.mark.parametrize(("status", "code", "kind", "error"), SECTION_7)
def test_every_answer_of_the_sheet_has_its_kind_and_its_error(
    status: int, code: str, kind: Kind, error: type[Exception]
) -> None:
    found = tiktok.classify(status, code, "The words of TikTok")
    assert type(found) is error
    assert tiktok.verdict(found.code).kind is kind
    if code:
        assert found.code == code
    if isinstance(found, NotYet):
        assert found.after_s is not None and found.after_s >= 60


@pytest.mark.parametrize(("status", "code", "kind", "error"), SECTION_7)
def test_after_an_irreversible_call_only_a_definite_no_stays_one(
    status: int, code: str, kind: Kind, error: type[Exception]
) -> None:
    found = tiktok.classify(status, code, "", irreversible=True)
    assert type(found) is (Permanent if error is Permanent else Unsure)


def test_every_sentence_is_one_for_people() -> None:
    for code in [*errors.ANSWERS, "http_503", "brand_new_code"]:
        sentence = str(errors.error(code, "Some words"))
        assert sentence[0].isupper() and sentence[-1] in ".”" and 20 < len(sentence) < 320, code
        assert "{" not in sentence and ".." not in sentence and "“”" not in sentence, code
        for jargon in ("init", "token", "HTTP", "payload", "null", "None"):
            assert jargon not in sentence.split(), code


def test_tiktoks_own_words_are_quoted_short_and_without_secrets() -> None:
    found = tiktok.classify(
        400, "invalid_params", "The title\nis bad, access_token=act.abcdefgh123 " + "x" * 900
    )
    assert "The title is bad" in found.message and "act.abc" not in found.message
    assert len(found.message) < 500


def test_reasons_of_failed_posts_have_rows_and_an_unknown_one_is_for_a_person() -> None:
    rows = {
        "file_format_check_failed": Kind.CONTENT_REJECTED,
        "duration_check_failed": Kind.CONTENT_REJECTED,
        "frame_rate_check_failed": Kind.CONTENT_REJECTED,
        "picture_size_check_failed": Kind.CONTENT_REJECTED,
        "internal": Kind.RETRY_NOW,
        "video_pull_failed": Kind.RETRY_NOW,
        "photo_pull_failed": Kind.RETRY_NOW,
        "publish_cancelled": Kind.PERMANENT,
        "auth_removed": Kind.AUTHORISATION_LOST,
        "spam_risk_too_many_posts": Kind.QUOTA,
        "spam_risk_user_banned_from_posting": Kind.PERMANENT,
        "spam_risk_text": Kind.CONTENT_REJECTED,
        "spam_risk": Kind.CONTENT_REJECTED,
        "who_knows": Kind.UNKNOWN,
    }
    for reason, kind in rows.items():
        found = errors.failed(reason)
        assert found.code == reason and tiktok.verdict(reason).kind is kind
    assert isinstance(errors.failed("publish_cancelled"), Cancelled)
    assert isinstance(errors.failed("who_knows"), Permanent)
    daily = errors.failed("spam_risk_too_many_posts")
    assert isinstance(daily, NotYet) and daily.after_s == 24 * 3600


def test_coming_back_from_the_consent_page_without_a_code_is_told_in_plain_words() -> None:
    refused = tiktok.declined("access_denied", "")
    assert isinstance(refused, Refused) and "nothing was connected" in refused.message
    assert isinstance(tiktok.declined("invalid_scope", "Scope x"), Permanent)


# The front door


def test_platforms_are_found_by_name() -> None:
    assert platforms.NAMES == ("tiktok", "youtube", "instagram", "facebook")
    assert platforms.get("tiktok") is tiktok
    with pytest.raises(NotFound):
        platforms.get("myspace")


@pytest.mark.parametrize("name", [name for name in vars(platforms.Platform) if not name.startswith("_")])
def test_tiktok_offers_the_whole_interface(name: str) -> None:
    assert name in tiktok.__all__ and hasattr(tiktok, name)


def test_hosts_and_keys_come_from_the_settings(tmp_path: Path) -> None:
    app = tiktok.app(config.load({"BACKLOT_HOME": str(tmp_path)}))
    assert (app.client_key, app.client_secret, app.simulated) == ("sandbox", "sandbox-secret", True)
    assert app.api_base == "http://127.0.0.1:3000/sandbox/tiktok"
    own = {"TIKTOK_CLIENT_KEY": "k", "TIKTOK_CLIENT_SECRET": "s", "TIKTOK_APP_TYPE": "desktop"}
    own |= {"BACKLOT_HOME": str(tmp_path)}
    app = tiktok.app(config.load(own))
    assert (app.client_key, app.client_secret, app.simulated, app.app_type) == ("k", "s", False, "desktop")
    assert (app.auth_base, app.api_base) == ("https://www.tiktok.com", "https://open.tiktokapis.com")
