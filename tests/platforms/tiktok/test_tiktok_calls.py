"""OAuth, creator, begin and status against a server that says exactly what a test wants TikTok to say."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from tiktok_makers import A_GRANT, CUT, Scripted, Watch, a_media, a_post, an_app

from app import metrics
from app.errors import HouseError, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms import Grant, Handle, tiktok

pytestmark = pytest.mark.anyio
TOKEN = "/v2/oauth/token/"
INIT = "/v2/post/publish/video/init/"
STATUS = "/v2/post/publish/status/fetch/"
CREATOR = "/v2/post/publish/creator_info/query/"
PAIR = {
    "access_token": "act.demo-3f1",
    "expires_in": 7200,
    "open_id": "oid-7d0c-demo",
    "refresh_token": "rft.demo-91c",
    "refresh_expires_in": 15552000,
    "scope": "user.info.basic,video.publish,video.list",
    "token_type": "Bearer",
}
HTML = b"<html>Bad gateway</html>"


def said(data: Any, code: str = "ok", message: str = "") -> dict[str, Any]:
    return {"data": data, "error": {"code": code, "message": message, "log_id": "2026112201020304"}}


def no(error: str, description: str = "Something.") -> tuple[int, Any]:
    return 200, {"error": error, "error_description": description, "log_id": "2026112201020304"}


async def failure(call: Awaitable[object]) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await call
    return caught.value


def a_handle(url: str = "http://127.0.0.1:9") -> Handle:
    return Handle("v_pub_file~v2-1.7421", f"{url}/video/?upload_token=verysecret", datetime.now(UTC))


# OAuth


async def test_a_code_becomes_tokens(tiktok_says: Scripted, watch: Watch) -> None:
    tiktok_says.says[TOKEN] = [(200, PAIR)]
    for app_type, verified in (("web", False), ("desktop", True)):
        app = an_app(tiktok_says.url, app_type=app_type)
        tokens = await tiktok.exchange(app, "co*de!1", "v" * 43, on_call=watch.on_call)
        assert (tokens.access_token, tokens.refresh_token) == ("act.demo-3f1", "rft.demo-91c")
        assert (tokens.access_expires_in_s, tokens.refresh_expires_in_s) == (7200, 15552000)
        assert tokens.scopes == ("user.info.basic", "video.publish", "video.list")
        assert tokens.remote_id == "oid-7d0c-demo"
        request = tiktok_says.requests[-1]
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        assert ("code_verifier" in form) is verified
        del form["code"]
        assert (
            form.items()
            >= {
                "client_key": "sandbox",
                "client_secret": "sandbox-secret",
                "grant_type": "authorization_code",
                "redirect_uri": app.redirect_uri,
            }.items()
        )
    assert watch.calls[0].body_redacted == "" and watch.calls[0].outcome == "ok"


@pytest.mark.parametrize(
    ("told", "kind", "code"),
    [
        (no("invalid_grant"), Refused, "code_refused"),
        (no("invalid_request", "Redirect_uri is not matched."), Refused, "connect_refused"),
        (no("invalid_client"), Permanent, "invalid_client"),
        (no("unauthorized_client"), Permanent, "unauthorized_client"),
        (no("invalid_scope"), Permanent, "invalid_scope"),
        (no("unsupported_grant_type"), Permanent, "unsupported_grant_type"),
        (no("unsupported_response_type"), Permanent, "unsupported_response_type"),
        (no("access_denied"), Refused, "access_denied"),
        (no("server_error"), Retryable, "server_error"),
        (no("temporarily_unavailable"), Retryable, "temporarily_unavailable"),
        (no("brand_new"), Retryable, "brand_new"),
        ((503, HTML), Retryable, "http_503"),
        ((429, None), NotYet, "rate_limit_exceeded"),
        ((200, HTML), Refused, "connect_answer_lost"),
        ((200, {"access_token": "act.onlythis"}), Refused, "connect_answer_lost"),
        (CUT, Refused, "connect_answer_lost"),
    ],
)
async def test_every_no_to_a_code_has_its_error_and_no_second_try(
    told: Any, kind: type[HouseError], code: str, tiktok_says: Scripted
) -> None:
    tiktok_says.says[TOKEN] = [told]
    error = await failure(tiktok.exchange(an_app(tiktok_says.url), "secretcode1", "v" * 43))
    assert (type(error), error.code) == (kind, code)
    assert len(tiktok_says.requests) == 1
    assert "secretcode1" not in repr(error) + repr(error.__cause__) and "act." not in str(error)


@pytest.mark.parametrize(
    ("told", "kind", "code"),
    [
        (no("invalid_grant"), Permanent, "invalid_grant"),
        (no("invalid_client"), Permanent, "invalid_client"),
        (no("invalid_request"), Permanent, "invalid_request"),
        (no("server_error"), Retryable, "server_error"),
        ((500, HTML), Retryable, "http_500"),
    ],
)
async def test_every_no_to_a_refresh_has_its_error(
    told: Any, kind: type[HouseError], code: str, tiktok_says: Scripted
) -> None:
    tiktok_says.says[TOKEN] = [told]
    error = await failure(tiktok.refresh(an_app(tiktok_says.url), A_GRANT, "rft.old"))
    assert (type(error), error.code) == (kind, code)
    assert len(tiktok_says.requests) == 1
    if code == "invalid_grant":
        assert tiktok.verdict(error.code).kind == "authorisation_lost"


@pytest.mark.parametrize("lost", [CUT, (200, HTML), (200, {})])
async def test_a_lost_refresh_is_repeated_once_with_the_old_token(lost: Any, tiktok_says: Scripted) -> None:
    app = an_app(tiktok_says.url)
    tiktok_says.says[TOKEN] = [lost, (200, PAIR)]
    assert (await tiktok.refresh(app, A_GRANT, "rft.old")).refresh_token == "rft.demo-91c"
    assert b"refresh_token=rft.old" in tiktok_says.requests[-1].body

    tiktok_says.says[TOKEN] = [lost, no("invalid_grant")]
    assert (await failure(tiktok.refresh(app, A_GRANT, "rft.old"))).code == "invalid_grant"

    tiktok_says.says[TOKEN] = [lost, lost]
    error = await failure(tiktok.refresh(app, A_GRANT, "rft.old"))
    assert (type(error), error.code) == (Retryable, "refresh_answer_lost")


async def test_revoking_takes_an_empty_answer_and_tells_of_a_dead_token(tiktok_says: Scripted) -> None:
    app = an_app(tiktok_says.url)
    tiktok_says.says["/v2/oauth/revoke/"] = [(200, None), (200, {}), no("invalid_request")]
    await tiktok.revoke(app, A_GRANT)
    await tiktok.revoke(app, A_GRANT)
    assert (await failure(tiktok.revoke(app, A_GRANT))).code == "access_token_invalid"


# Profile and creator


async def test_only_fields_that_were_allowed_are_asked_for(tiktok_says: Scripted) -> None:
    user = {"open_id": "oid", "display_name": "Maya Makes", "avatar_url": "https://x/a.jpg"}
    tiktok_says.says["/v2/user/info/"] = [(200, said({"user": user | {"username": "maya.makes"}}))]
    profile = await tiktok.profile(an_app(tiktok_says.url), A_GRANT)
    assert (profile.remote_id, profile.handle, profile.display_name) == ("oid", "maya.makes", "Maya Makes")
    request = tiktok_says.requests[-1]
    assert request.headers["authorization"] == "Bearer act.1" and request.method == "GET"
    assert request.query == "fields=open_id%2Cavatar_url%2Cdisplay_name%2Cusername"

    tiktok_says.says["/v2/user/info/"] = [(200, said({"user": user}))]
    profile = await tiktok.profile(
        an_app(tiktok_says.url), Grant("act.1", scopes=("user.info.basic", "video.publish"))
    )
    assert profile.handle == "Maya Makes"
    assert "username" not in tiktok_says.requests[-1].query


async def test_creator_info_is_read_and_its_no_comes_with_http_200(
    tiktok_says: Scripted, watch: Watch
) -> None:
    told = {
        "creator_avatar_url": "https://sandbox.local/avatars/maya.jpg",
        "creator_username": "maya.makes",
        "creator_nickname": "Maya Makes",
        "privacy_level_options": ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"],
        "comment_disabled": False,
        "duet_disabled": False,
        "stitch_disabled": True,
        "max_video_post_duration_sec": 300,
    }
    tiktok_says.says[CREATOR] = [(200, said(told))]
    creator = await tiktok.creator(an_app(tiktok_says.url), A_GRANT, on_call=watch.on_call)
    assert (creator.handle, creator.stitch_disabled, creator.max_duration_s) == ("maya.makes", True, 300)
    assert creator.privacy_levels == ("PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY")
    request = tiktok_says.requests[-1]
    assert request.headers["content-type"] == "application/json; charset=UTF-8" and request.json == {}
    assert watch.calls[0].status == 200 and watch.calls[0].path == CREATOR

    for code, kind in (
        ("spam_risk_too_many_posts", NotYet),
        ("spam_risk_user_banned_from_posting", Permanent),
        ("reached_active_user_cap", NotYet),
    ):
        tiktok_says.says[CREATOR] = [(200, said({}, code))]
        error = await failure(tiktok.creator(an_app(tiktok_says.url), A_GRANT, on_call=watch.on_call))
        assert (type(error), error.code, watch.calls[-1].outcome) == (kind, code, code)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ((200, HTML), "unreadable_answer"),
        ((200, []), "unreadable_answer"),
        ((200, {}), "unreadable_answer"),
        ((200, said({})), "unreadable_answer"),
        ((200, said({}, "")), "http_200"),
        ((502, HTML), "http_502"),
        ((500, said({})), "http_500"),
        ((404, HTML), "http_404"),
        (CUT, "no_answer"),
    ],
)
async def test_junk_is_never_taken_for_success(told: Any, code: str, tiktok_says: Scripted) -> None:
    tiktok_says.says[CREATOR] = [told]
    error = await failure(tiktok.creator(an_app(tiktok_says.url), Grant("act.verysecret")))
    assert (type(error), error.code) == (Retryable, code)
    assert "verysecret" not in repr(error) + repr(error.__cause__)


# Begin


async def test_begin_sends_what_the_sheet_asks_for_and_gives_the_handle(
    tiktok_says: Scripted, watch: Watch
) -> None:
    upload_url = f"{tiktok_says.url}/video/?upload_id=7421&upload_token=verysecret"
    tiktok_says.says[INIT] = [(200, said({"publish_id": "v_pub_file~v2-1.7421", "upload_url": upload_url}))]
    post = a_post(
        title="Drei Knoten 😀", disable_duet=True, cover_ms=1500, brand_organic=True, ai_generated=True
    )
    handle = await tiktok.begin(
        an_app(tiktok_says.url), A_GRANT, post, a_media(84_539_038), on_call=watch.on_call
    )
    assert (handle.publish_id, handle.upload_url) == ("v_pub_file~v2-1.7421", upload_url)
    assert tiktok_says.requests[-1].json == {
        "post_info": {
            "title": "Drei Knoten 😀",
            "privacy_level": "SELF_ONLY",
            "disable_comment": False,
            "disable_duet": True,
            "disable_stitch": False,
            "video_cover_timestamp_ms": 1500,
            "brand_content_toggle": False,
            "brand_organic_toggle": True,
            "is_aigc": True,
        },
        "source_info": {
            "source": "FILE_UPLOAD",
            "video_size": 84539038,
            "chunk_size": 10000000,
            "total_chunk_count": 8,
        },
    }
    assert "verysecret" not in watch.calls[0].body_redacted and "v_pub_file" in watch.calls[0].body_redacted
    await tiktok.begin(an_app(tiktok_says.url), A_GRANT, a_post(), a_media(9))
    assert "video_cover_timestamp_ms" not in tiktok_says.requests[-1].json["post_info"]


@pytest.mark.parametrize(
    "told", [CUT, (200, HTML), (502, HTML), (200, said({})), (200, said({"publish_id": "v_pub~1"}))]
)
async def test_a_lost_answer_to_begin_is_told_apart(told: Any, tiktok_says: Scripted) -> None:
    tiktok_says.says[INIT] = [told]
    error = await failure(tiktok.begin(an_app(tiktok_says.url), A_GRANT, a_post(), a_media(9)))
    assert (type(error), error.code) == (Unsure, "init_answer_lost")


@pytest.mark.parametrize(
    ("told", "kind", "code"),
    [
        ((500, said({}, "internal_error")), Retryable, "internal_error"),
        ((400, said({}, "invalid_params", "The chunk size is invalid")), Permanent, "invalid_params"),
        ((401, said({}, "access_token_invalid")), Permanent, "access_token_invalid"),
        ((429, said({}, "rate_limit_exceeded")), NotYet, "rate_limit_exceeded"),
    ],
)
async def test_a_definite_no_to_begin_is_definite(
    told: Any, kind: type[HouseError], code: str, tiktok_says: Scripted
) -> None:
    tiktok_says.says[INIT] = [told]
    error = await failure(tiktok.begin(an_app(tiktok_says.url), A_GRANT, a_post(), a_media(9)))
    assert (type(error), error.code) == (kind, code)


async def test_begin_that_never_reached_tiktok_has_begun_nothing(tiktok_says: Scripted) -> None:
    app = an_app("http://127.0.0.1:9")
    error = await failure(tiktok.begin(app, A_GRANT, a_post(), a_media(9)))
    assert (type(error), error.code) == (Retryable, "not_reached")


async def test_an_upload_address_elsewhere_is_refused(tiktok_says: Scripted) -> None:
    told = said({"publish_id": "v_pub~1", "upload_url": "http://evil.net/?upload_token=verysecret"})
    tiktok_says.says[INIT] = [(200, told)]
    error = await failure(tiktok.begin(an_app(tiktok_says.url), A_GRANT, a_post(), a_media(9)))
    assert error.code == "upload_address_refused" and "evil" not in str(error)


# Status


@pytest.mark.parametrize(
    ("told", "state", "received", "ids"),
    [
        ({"status": "PROCESSING_UPLOAD", "uploaded_bytes": 20_000_000}, "processing", 20_000_000, ()),
        ({"status": "PROCESSING_DOWNLOAD", "downloaded_bytes": 5}, "processing", None, ()),
        ({"status": "SEND_TO_USER_INBOX", "uploaded_bytes": 9}, "inbox", 9, ()),
        ({"status": "PUBLISH_COMPLETE", "uploaded_bytes": 9}, "published", 9, ()),
        (
            {
                "status": "PUBLISH_COMPLETE",
                "publicaly_available_post_id": [7421000111222333444, 9007199254740993],
            },
            "published",
            None,
            ("7421000111222333444", "9007199254740993"),
        ),
        ({"status": "PUBLISH_COMPLETE", "publicly_available_post_id": [5]}, "published", None, ("5",)),
    ],
)
async def test_status_is_read(
    told: dict[str, Any], state: str, received: int | None, ids: tuple[str, ...], tiktok_says: Scripted
) -> None:
    tiktok_says.says[STATUS] = [(200, said(told))]
    status = await tiktok.status(an_app(tiktok_says.url), A_GRANT, a_handle(), a_post(), a_media(9))
    assert (status.state, status.bytes_received, status.post_ids) == (state, received, ids)
    assert (status.reason is not None) == (state == "inbox") and status.error is None
    assert tiktok_says.requests[-1].json == {"publish_id": "v_pub_file~v2-1.7421"}


async def test_a_failed_post_says_why_and_a_forgotten_one_is_gone(tiktok_says: Scripted) -> None:
    app = an_app(tiktok_says.url)
    tiktok_says.says[STATUS] = [(200, said({"status": "FAILED", "fail_reason": "spam_risk_text"}))]
    status = await tiktok.status(app, A_GRANT, a_handle(), a_post(), a_media(9))
    assert (status.state, status.reason) == ("failed", "spam_risk_text")
    assert isinstance(status.error, Permanent) and "caption" in status.error.message

    tiktok_says.says[STATUS] = [(200, said({"status": "FAILED"}))]
    assert (await tiktok.status(app, A_GRANT, a_handle(), a_post(), a_media(9))).reason == "unknown"

    for code in ("invalid_publish_id", "token_not_authorized_for_specified_publish_id"):
        tiktok_says.says[STATUS] = [(400, said({}, code))]
        status = await tiktok.status(app, A_GRANT, a_handle(), a_post(), a_media(9))
        assert (status.state, status.reason, status.error) == ("gone", code, None)

    tiktok_says.says[STATUS] = [(200, said({"status": "SOMETHING_NEW"}))]
    assert (
        await failure(tiktok.status(app, A_GRANT, a_handle(), a_post(), a_media(9)))
    ).code == "unreadable_answer"


async def test_every_call_is_counted_by_step_and_kind(tiktok_says: Scripted) -> None:
    def counted(outcome: str) -> float:
        labels = {"platform": "tiktok", "step": "creator", "outcome": outcome}
        return metrics.REGISTRY.get_sample_value("outside_calls_total", labels) or 0.0

    before = counted("quota"), counted("retry_now")
    tiktok_says.says[CREATOR] = [(200, said({}, "reached_active_user_cap")), CUT]
    for _ in range(2):
        await failure(tiktok.creator(an_app(tiktok_says.url), A_GRANT))
    assert (counted("quota"), counted("retry_now")) == (before[0] + 1, before[1] + 1)
