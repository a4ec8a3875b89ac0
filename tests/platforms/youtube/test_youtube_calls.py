"""The calls around the bytes, against a server that says exactly what a test wants YouTube to say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from youtube_makers import (
    CHANNELS,
    CUT,
    REVOKE,
    SESSION,
    START,
    THUMBNAIL,
    TOKEN,
    VIDEO,
    VIDEOS,
    Says,
    Scripted,
    Watch,
    a_grant,
    a_media,
    a_post,
    an_app,
    content,
    has,
    refused,
)

from app.errors import HouseError, NotYet, Permanent, Refused, Retryable
from app.platforms import Grant, Handle, Post, Status, Tokens, youtube

pytestmark = pytest.mark.anyio
UPLOAD = "https://www.googleapis.com/auth/youtube.upload"
READ = "https://www.googleapis.com/auth/youtube.readonly"
# The sheet's own examples, sections 2.2 and 2.3.
TOKENS = {
    "access_token": "ya29.demo", "expires_in": 3599, "refresh_token": "1//demo-refresh",
    "scope": f"{UPLOAD} {READ}", "token_type": "Bearer",
}  # fmt: skip
CHANNEL = {
    "kind": "youtube#channel",
    "id": "UCdemo0000000000000000aa",
    "snippet": {
        "title": "Maya Makes", "customUrl": "@mayamakes",
        "thumbnails": {"default": {"url": "https://sandbox.local/ch.jpg", "width": 88, "height": 88}},
    },
    "status": {"privacyStatus": "public", "isLinked": True, "longUploadsStatus": "allowed"},
}  # fmt: skip
MEDIA = a_media(1000)


def channels(**changes: Any) -> Says:
    return Says(200, {"kind": "youtube#channelListResponse", "items": [CHANNEL | changes]})


def listed(state: str, processing: str | None = None, **status: Any) -> Says:
    whole = {"uploadStatus": state, "privacyStatus": "unlisted"} | status
    item = {"kind": "youtube#video", "id": VIDEO["id"], "status": whole}
    if processing:
        item["processingDetails"] = {"processingStatus": processing}
    return Says(200, {"kind": "youtube#videoListResponse", "items": [item]})


def form(world: Scripted, address: str) -> dict[str, str]:
    (request,) = world.to(address)
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    return {name: value[0] for name, value in parse_qs(request.body.decode()).items()}


async def asked(
    world: Scripted, handle: Handle, post: Post | None = None, since: datetime | None = None, watch: Watch | None = None
) -> Status:  # fmt: skip
    app = an_app(world.url)
    on_call = watch.on_call if watch else None
    return await youtube.status(app, a_grant(), handle, post or a_post(), MEDIA, since=since, on_call=on_call)


# Connecting


async def test_a_code_becomes_tokens(youtube_says: Scripted, watch: Watch) -> None:
    youtube_says.says[TOKEN] = [Says(200, TOKENS)]
    tokens = await youtube.exchange(an_app(youtube_says.url), "4/c*de", "v" * 43, on_call=watch.on_call)
    assert tokens == Tokens("ya29.demo", "1//demo-refresh", 3599, None, (UPLOAD, READ), "", renew_in_s=2999)
    assert form(youtube_says, TOKEN) == {
        "client_id": "sandbox", "client_secret": "sandbox-secret", "code": "4/c*de", "code_verifier": "v" * 43,
        "grant_type": "authorization_code", "redirect_uri": "http://localhost:3000/accounts/youtube/callback",
    }  # fmt: skip
    assert watch.calls[0].body_redacted == "" and "ya29" not in repr(tokens) + repr(watch.calls)


async def test_a_permission_that_ends_by_time_says_when(youtube_says: Scripted) -> None:
    youtube_says.says[TOKEN] = [Says(200, TOKENS | {"refresh_token_expires_in": 604_799})]
    tokens = await youtube.exchange(an_app(youtube_says.url), "c", "v" * 43)
    assert tokens.refresh_expires_in_s == 604_799


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Says(400, {"error": "invalid_grant", "error_description": "Malformed auth code."}), Refused, "code_refused"),
        (Says(400, {"error": "invalid_request"}), Refused, "connect_refused"),
        (Says(401, {"error": "invalid_client"}), Permanent, "invalid_client"),
        (Says(400, {"error": "redirect_uri_mismatch"}), Permanent, "redirect_uri_mismatch"),
        (Says(200, TOKENS | {"refresh_token": None}), Refused, "no_lasting_permission"),
        (Says(200, {"access_token": "ya29.x", "expires_in": 3599}), Refused, "no_lasting_permission"),
        (Says(200, {"access_token": "ya29.x"}), Refused, "connect_answer_lost"),
        (Says(200, b"<html>"), Refused, "connect_answer_lost"),
        (CUT, Refused, "connect_answer_lost"),
        (Says(503), Retryable, "http_503"),
    ],
)  # fmt: skip
async def test_a_code_that_brings_nothing_is_never_sent_again(
    answer: Any, kind: type[HouseError], code: str, youtube_says: Scripted
) -> None:
    youtube_says.says[TOKEN] = [answer]
    with pytest.raises(kind) as caught:
        await youtube.exchange(an_app(youtube_says.url), "c", "v" * 43)
    assert caught.value.code == code and len(youtube_says.requests) == 1
    assert "ya29" not in repr(caught.value) + repr(caught.value.__cause__)


async def test_a_consent_covers_the_one_channel_that_was_picked(youtube_says: Scripted) -> None:
    youtube_says.says[TOKEN], youtube_says.says[CHANNELS] = [Says(200, TOKENS)], [channels()]
    app = an_app(youtube_says.url)
    (choice,) = await youtube.choices(app, await youtube.exchange(app, "c", "v" * 43))
    assert (choice.remote_id, choice.name, choice.detail) == (CHANNEL["id"], "Maya Makes", "@mayamakes")
    assert choice.tokens.remote_id == CHANNEL["id"] and choice.tokens.refresh_token == "1//demo-refresh"


@pytest.mark.parametrize(
    "answer", [Says(200, {"items": []}), Says(200, {"kind": "x"}), refused(401, "youtubeSignupRequired")]
)
async def test_a_sign_in_without_a_channel_is_told_to_make_one(answer: Says, youtube_says: Scripted) -> None:
    youtube_says.says[CHANNELS] = [answer]
    for ask in (youtube.profile, youtube.creator):
        with pytest.raises(Refused) as caught:
            await ask(an_app(youtube_says.url), a_grant())
        assert caught.value.code == "youtubeSignupRequired" and "channel" in caught.value.message


async def test_a_refresh_keeps_the_refresh_token_and_the_channel(youtube_says: Scripted) -> None:
    youtube_says.says[TOKEN] = [Says(200, {"access_token": "ya29.new", "expires_in": 3599, "scope": UPLOAD})]
    tokens = await youtube.refresh(an_app(youtube_says.url), a_grant(), "1//old")
    assert (tokens.access_token, tokens.refresh_token) == ("ya29.new", "")
    assert tokens.remote_id == a_grant().remote_id
    assert form(youtube_says, TOKEN) == {
        "client_id": "sandbox", "client_secret": "sandbox-secret", "refresh_token": "1//old",
        "grant_type": "refresh_token",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Says(400, {"error": "invalid_grant"}), Permanent, "invalid_grant"),
        (Says(401, {"error": "deleted_client"}), Permanent, "deleted_client"),
        (Says(200, b"<html>"), Retryable, "refresh_answer_lost"),
        (CUT, Retryable, "refresh_answer_lost"),
        (Says(500, {"error": "internal_failure"}), Retryable, "http_500"),
    ],
)
async def test_a_refresh_that_fails_says_whether_it_is_for_good(
    answer: Any, kind: type[HouseError], code: str, youtube_says: Scripted
) -> None:
    youtube_says.says[TOKEN] = [answer]
    with pytest.raises(kind) as caught:
        await youtube.refresh(an_app(youtube_says.url), a_grant(), "1//old")
    assert caught.value.code == code


async def test_revoking_twice_is_once(youtube_says: Scripted) -> None:
    youtube_says.says[REVOKE] = [Says(200, {}), Says(400, {"error": "invalid_token"})]
    await youtube.revoke(an_app(youtube_says.url), a_grant())
    await youtube.revoke(an_app(youtube_says.url), a_grant())
    assert [request.body for request in youtube_says.to(REVOKE)] == [b"token=ya29.demo"] * 2
    youtube_says.says[REVOKE] = [Says(500)]
    with pytest.raises(Retryable):
        await youtube.revoke(an_app(youtube_says.url), a_grant())


# The channel


async def test_the_channel_says_who_it_is_and_what_it_may_do(youtube_says: Scripted) -> None:
    youtube_says.says[CHANNELS] = [channels()]
    profile = await youtube.profile(an_app(youtube_says.url), a_grant())
    assert (profile.remote_id, profile.handle) == (CHANNEL["id"], "mayamakes")
    assert (profile.display_name, profile.avatar_url) == ("Maya Makes", "https://sandbox.local/ch.jpg")
    creator = await youtube.creator(an_app(youtube_says.url), a_grant())
    assert creator.privacy_levels == ("public", "unlisted", "private") and creator.kinds == ("video",)
    assert (creator.max_duration_s, creator.notes) == (12 * 3600, ())
    request = youtube_says.requests[0]
    assert parse_qs(request.query) == {"part": ["snippet,status"], "mine": ["true"]}
    assert request.headers["authorization"] == "Bearer ya29.demo"


@pytest.mark.parametrize("said", ["eligible", "disallowed", None])
async def test_a_channel_without_a_confirmed_phone_has_a_quarter_of_an_hour(
    said: str | None, youtube_says: Scripted
) -> None:
    youtube_says.says[CHANNELS] = [channels(status={"longUploadsStatus": said} if said else {})]
    creator = await youtube.creator(an_app(youtube_says.url), a_grant())
    assert creator.max_duration_s == 900 and "15 minutes" in creator.notes[0]


async def test_a_channel_without_a_name_goes_by_its_id(youtube_says: Scripted) -> None:
    youtube_says.says[CHANNELS] = [channels(snippet={"title": "Maya"})]
    profile = await youtube.profile(an_app(youtube_says.url), a_grant())
    assert (profile.handle, profile.avatar_url) == (CHANNEL["id"], None)


@pytest.mark.parametrize("ask", [youtube.profile, youtube.creator])
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refused(401, "authError"), "access_token_invalid"),
        (refused(403, "insufficientPermissions"), "insufficientPermissions"),
        (refused(403, "quotaExceeded"), "quotaExceeded"),
        (Says(200, {"items": [{}]}), "unreadable_answer"),
        (Says(200, {"items": "x"}), "unreadable_answer"),
        (Says(200, b"<html>"), "unreadable_answer"),
        (CUT, "no_answer"),
    ],
)
async def test_a_channel_that_cannot_be_read_says_why(
    ask: Any, answer: Any, code: str, youtube_says: Scripted
) -> None:
    youtube_says.says[CHANNELS] = [answer]
    with pytest.raises(HouseError) as caught:
        await ask(an_app(youtube_says.url), a_grant())
    assert caught.value.code == code


# Beginning


async def test_a_session_is_begun_with_all_that_youtube_wants_to_know(
    youtube_says: Scripted, watch: Watch
) -> None:
    location = f"{youtube_says.url}/upload/youtube/v3/videos?uploadType=resumable&upload_id=verysecret"
    youtube_says.says[START] = [Says(200, None, {"Location": location})]
    post = a_post(notify=False, made_for_kids=True)
    handle = await youtube.begin(an_app(youtube_says.url), a_grant(), post, MEDIA, on_call=watch.on_call)
    (request,) = youtube_says.requests
    assert parse_qs(request.query) == {
        "uploadType": ["resumable"], "part": ["snippet,status"], "notifySubscribers": ["false"],
    }  # fmt: skip
    assert request.headers["x-upload-content-type"] == "video/mp4"
    assert request.headers["x-upload-content-length"] == "1000"
    assert request.headers["authorization"] == "Bearer ya29.demo"
    assert request.json == {
        "snippet": {"title": "Three knots", "description": ""},
        "status": {
            "privacyStatus": "unlisted",
            "containsSyntheticMedia": False,
            "selfDeclaredMadeForKids": True,
        },
    }
    assert handle.upload_url == location and handle.remote_id == "" and handle.kind == "video"
    assert timedelta(days=5) < handle.expires_at - datetime.now(UTC) < timedelta(days=6)
    assert "verysecret" not in repr(handle) + repr(watch.calls)
    assert Handle.from_text(handle.as_text()) == handle


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (refused(400, "invalidTitle"), Permanent, "invalidTitle"),
        (refused(400, "uploadLimitExceeded"), NotYet, "uploadLimitExceeded"),
        (refused(429, "rateLimitExceeded", "limit 'Video Uploads per day'"), NotYet, "upload_quota_exceeded"),
        (refused(401, "authError"), Permanent, "access_token_invalid"),
        (Says(200), Retryable, "unreadable_answer"),
        (Says(503), Retryable, "http_503"),
        (CUT, Retryable, "no_answer"),
        (
            Says(200, None, {"Location": "https://evil.example/u?upload_id=1"}),
            Permanent,
            "upload_address_refused",
        ),
    ],
)
async def test_a_session_that_was_not_begun_says_why(
    answer: Any, kind: type[HouseError], code: str, youtube_says: Scripted
) -> None:
    youtube_says.says[START] = [answer]
    with pytest.raises(kind) as caught:
        await youtube.begin(an_app(youtube_says.url), a_grant(), a_post(), MEDIA)
    assert caught.value.code == code


# Asking


@pytest.mark.parametrize("received", [0, 1, 999])
async def test_an_unfinished_session_says_how_much_it_has(received: int, youtube_says: Scripted) -> None:
    youtube_says.says[SESSION] = [has(received)]
    seen = await asked(youtube_says, youtube_says.session)
    assert (seen.state, seen.bytes_received, seen.handle, seen.post_ids) == ("processing", received, None, ())
    assert youtube_says.requests[0].headers["content-range"] == "bytes */1000"
    assert youtube_says.to(VIDEOS) == []


@pytest.mark.parametrize("status", [404, 410])
async def test_an_expired_session_is_gone(status: int, youtube_says: Scripted) -> None:
    youtube_says.says[SESSION] = [refused(status, "notFound")]
    assert await asked(youtube_says, youtube_says.session) == Status("gone", reason="upload_expired")


async def test_a_lost_last_answer_is_found_by_the_probe_and_its_video_kept(youtube_says: Scripted) -> None:
    youtube_says.says[SESSION], youtube_says.says[VIDEOS] = (
        [Says(200, VIDEO)],
        [listed("uploaded", "processing")],
    )
    seen = await asked(youtube_says, youtube_says.session)
    assert (seen.state, seen.bytes_received, seen.post_ids) == ("processing", 1000, (VIDEO["id"],))
    assert seen.handle == replace(youtube_says.session, remote_id=VIDEO["id"])
    youtube_says.says[VIDEOS] = [listed("processed", "succeeded")]
    again = await asked(youtube_says, seen.handle)
    assert (again.state, again.handle, again.reason) == ("published", None, None)
    assert again.url == f"https://www.youtube.com/watch?v={VIDEO['id']}"
    assert len(youtube_says.to(SESSION)) == 1, "a session that is complete is not asked again"
    query = parse_qs(youtube_says.to(VIDEOS)[0].query)
    assert query == {"part": ["status,processingDetails"], "id": [VIDEO["id"]]}


KNOWN = Handle("yt-1", "http://127.0.0.1:1/nobody", datetime(2026, 1, 1, tzinfo=UTC), "video", VIDEO["id"])


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (listed("uploaded"), "processing", None),
        (listed("uploaded", "processing"), "processing", None),
        (listed("uploaded", "succeeded"), "published", None),
        (listed("processed"), "published", None),
        (listed("rejected", rejectionReason="duplicate"), "failed", "duplicate"),
        (listed("rejected", rejectionReason="length"), "failed", "length"),
        (listed("rejected"), "failed", "rejected"),
        (listed("failed", failureReason="codec"), "failed", "codec"),
        (listed("failed"), "failed", "conversion"),
        (listed("deleted"), "failed", "videoNotFound"),
        (listed("uploaded", "failed"), "failed", "other"),
        (listed("uploaded", "terminated"), "failed", "other"),
    ],
)
async def test_the_state_of_a_video_is_what_youtube_says(
    answer: Says, state: str, reason: str | None, youtube_says: Scripted
) -> None:
    youtube_says.says[VIDEOS] = [answer]
    seen = await asked(youtube_says, KNOWN)
    assert (seen.state, seen.reason) == (state, reason)
    assert (seen.error is not None) == (state == "failed")
    if seen.error is not None:
        assert seen.error.code == reason and seen.error.message == youtube.errors.failed(str(reason)).message
    assert youtube_says.to(SESSION) == []


async def test_a_video_that_is_not_listed_is_waited_for_and_then_deleted(youtube_says: Scripted) -> None:
    youtube_says.says[VIDEOS] = [Says(200, {"items": []})]
    now = datetime.now(UTC)
    for since in (None, now - timedelta(minutes=9)):
        assert (await asked(youtube_says, KNOWN, since=since)).state == "processing"
    seen = await asked(youtube_says, KNOWN, since=now - timedelta(minutes=11))
    # Never gone: a session that was complete must not be begun anew.
    assert (seen.state, seen.reason) == ("failed", "videoNotFound")


PLANNED = a_post(privacy_level="private", native_at="2026-12-01T09:00:00Z")


@pytest.mark.parametrize(
    ("post", "status", "note"),
    [
        (
            PLANNED,
            {"privacyStatus": "private", "publishAt": "2026-12-01T09:00:00Z"},
            "on 01 Dec 2026 at 09:00 UTC",
        ),
        (PLANNED, {"privacyStatus": "private", "publishAt": "2026-12-01T11:30:00+02:00"}, "at 09:30 UTC"),
        (PLANNED, {"privacyStatus": "private"}, "names no time"),
        (PLANNED, {"privacyStatus": "public"}, None),
        (a_post(), {"privacyStatus": "private"}, "as private, not as unlisted"),
        (a_post(privacy_level="private"), {"privacyStatus": "private"}, None),
    ],
)
async def test_a_published_video_says_what_youtube_does_with_it(
    post: Post, status: dict[str, Any], note: str | None, youtube_says: Scripted
) -> None:
    youtube_says.says[VIDEOS] = [listed("processed", **status)]
    seen = await asked(youtube_says, KNOWN, post)
    assert seen.state == "published"
    assert (seen.reason is None) if note is None else (note in str(seen.reason))


@pytest.mark.parametrize("where", [SESSION, VIDEOS])
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refused(401, "authError"), "access_token_invalid"),
        (refused(503, "backendError"), "backendError"),
        (Says(200, b"<html>"), "unreadable_answer"),
        (CUT, "no_answer"),
    ],
)
async def test_a_question_that_got_no_answer_is_no_answer(
    where: str, answer: Any, code: str, youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION], youtube_says.says[VIDEOS] = [Says(200, VIDEO)], [listed("processed")]
    youtube_says.says[where] = [answer]
    with pytest.raises(HouseError) as caught:
        await asked(youtube_says, youtube_says.session, watch=watch)
    assert caught.value.code == code and watch.calls[-1].outcome == code
    assert "verysecret" not in repr(caught.value) + repr(watch.calls)


# The thumbnail


async def test_the_cover_is_set_as_it_is(youtube_says: Scripted) -> None:
    youtube_says.says[THUMBNAIL] = [Says(200, {"kind": "youtube#thumbnailSetResponse"})]
    media = a_media(1000, cover=a_media(300_000, content_type="image/jpeg"))
    await youtube.after(an_app(youtube_says.url), a_grant(), KNOWN, a_post(use_cover=True), media)
    (request,) = youtube_says.requests
    assert request.query == f"videoId={VIDEO['id']}" and request.headers["content-type"] == "image/jpeg"
    assert request.body == content(0, 300_000) and request.headers["authorization"] == "Bearer ya29.demo"


async def test_without_a_cover_or_a_wish_for_one_nobody_is_called(youtube_says: Scripted) -> None:
    app, with_cover = an_app(youtube_says.url), a_media(1000, cover=a_media(10))
    await youtube.after(app, a_grant(), KNOWN, a_post(), with_cover)
    await youtube.after(app, a_grant(), KNOWN, a_post(use_cover=True), MEDIA)
    await youtube.after(app, a_grant(), replace(KNOWN, remote_id=""), a_post(use_cover=True), with_cover)
    assert youtube_says.requests == []


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (refused(429, "uploadRateLimitExceeded"), NotYet, "uploadRateLimitExceeded"),
        (refused(403, "forbidden"), Permanent, "forbidden"),
        (refused(400, "invalidImage"), Permanent, "invalidImage"),
        (refused(404, "videoNotFound"), Permanent, "videoNotFound"),
        (CUT, Retryable, "no_answer"),
    ],
)
async def test_a_cover_that_was_not_taken_says_why(
    answer: Any, kind: type[HouseError], code: str, youtube_says: Scripted
) -> None:
    youtube_says.says[THUMBNAIL] = [answer]
    media = a_media(1000, cover=a_media(10))
    with pytest.raises(kind) as caught:
        await youtube.after(an_app(youtube_says.url), a_grant(), KNOWN, a_post(use_cover=True), media)
    assert caught.value.code == code
    if isinstance(caught.value, NotYet):
        assert 900 <= (caught.value.after_s or 0) <= 915


async def test_no_comments_are_written_or_read(youtube_says: Scripted) -> None:
    app, grant = an_app(youtube_says.url), Grant("ya29.demo")
    with pytest.raises(Permanent) as caught:
        await youtube.comment(app, grant, VIDEO["id"], "First!")
    assert caught.value.code == "comments_not_offered"
    assert await youtube.comments(app, grant, VIDEO["id"]) == [] and youtube_says.requests == []
    assert youtube.COMMENTS is False
