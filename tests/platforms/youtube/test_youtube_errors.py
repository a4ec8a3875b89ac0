"""The table of answers: every code of the sheet's sections 2.2, 3.4 and 5, from the body it comes in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app import http
from app.errors import HouseError, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms import Kind, youtube
from app.platforms.youtube import errors

GOOD_WORDS = "Quota exceeded for quota metric 'Video Uploads' and limit 'Video Uploads per day' of service"
# status, reason, message, then what it must become: kind of decision, error, code
RECORDED: list[tuple[int, str, str, Kind, type[HouseError], str]] = [
    (401, "authError", "Invalid Credentials", Kind.AUTHORISATION_LOST, Permanent, "access_token_invalid"),
    (
        401,
        "authorizationRequired",
        "Login Required",
        Kind.AUTHORISATION_LOST,
        Permanent,
        "access_token_invalid",
    ),
    (401, "somethingNew", "Unauthorized", Kind.AUTHORISATION_LOST, Permanent, "access_token_invalid"),
    (401, "youtubeSignupRequired", "Unauthorized", Kind.PERMANENT, Refused, "youtubeSignupRequired"),
    (
        403,
        "insufficientPermissions",
        "Insufficient",
        Kind.AUTHORISATION_LOST,
        Permanent,
        "insufficientPermissions",
    ),
    (403, "quotaExceeded", "You have exceeded your quota.", Kind.QUOTA, NotYet, "quotaExceeded"),
    (403, "dailyLimitExceeded", "Daily Limit Exceeded", Kind.QUOTA, NotYet, "dailyLimitExceeded"),
    (429, "rateLimitExceeded", GOOD_WORDS, Kind.QUOTA, NotYet, "upload_quota_exceeded"),
    (403, "rateLimitExceeded", GOOD_WORDS, Kind.QUOTA, NotYet, "upload_quota_exceeded"),
    (429, "rateLimitExceeded", "Too many requests", Kind.RETRY_AFTER, NotYet, "rateLimitExceeded"),
    (403, "userRateLimitExceeded", "Too many requests", Kind.RETRY_AFTER, NotYet, "userRateLimitExceeded"),
    (400, "uploadLimitExceeded", "The user has exceeded", Kind.QUOTA, NotYet, "uploadLimitExceeded"),
    (403, "uploadLimitExceeded", "The user has exceeded", Kind.QUOTA, NotYet, "uploadLimitExceeded"),
    (403, "forbidden", "Forbidden", Kind.PERMANENT, Permanent, "forbidden"),
    (403, "somethingNew", "Forbidden", Kind.PERMANENT, Permanent, "forbidden"),
    (403, "channelClosed", "Closed", Kind.PERMANENT, Permanent, "channelClosed"),
    (403, "channelSuspended", "Suspended", Kind.PERMANENT, Permanent, "channelSuspended"),
    (403, "authenticatedUserAccountClosed", "x", Kind.PERMANENT, Permanent, "authenticatedUserAccountClosed"),
    (
        403,
        "authenticatedUserAccountSuspended",
        "x",
        Kind.PERMANENT,
        Permanent,
        "authenticatedUserAccountSuspended",
    ),
    (403, "accessNotConfigured", "x", Kind.PERMANENT, Permanent, "accessNotConfigured"),
    (400, "invalidTitle", "x", Kind.CONTENT_REJECTED, Permanent, "invalidTitle"),
    (400, "invalidDescription", "x", Kind.CONTENT_REJECTED, Permanent, "invalidDescription"),
    (400, "invalidTags", "x", Kind.CONTENT_REJECTED, Permanent, "invalidTags"),
    (400, "invalidCategoryId", "x", Kind.CONTENT_REJECTED, Permanent, "invalidCategoryId"),
    (400, "invalidPublishAt", "x", Kind.CONTENT_REJECTED, Permanent, "invalidPublishAt"),
    (400, "invalidVideoMetadata", "x", Kind.CONTENT_REJECTED, Permanent, "invalidVideoMetadata"),
    (400, "invalidFilename", "x", Kind.CONTENT_REJECTED, Permanent, "invalidFilename"),
    (400, "defaultLanguageNotSet", "x", Kind.CONTENT_REJECTED, Permanent, "defaultLanguageNotSet"),
    (400, "mediaBodyRequired", "x", Kind.PERMANENT, Permanent, "mediaBodyRequired"),
    (400, "invalidImage", "x", Kind.CONTENT_REJECTED, Permanent, "invalidImage"),
    (400, "somethingNew", "x", Kind.PERMANENT, Permanent, "badRequest"),
    (403, "forbiddenPrivacySetting", "x", Kind.CONTENT_REJECTED, Permanent, "forbiddenPrivacySetting"),
    (403, "forbiddenLicenseSetting", "x", Kind.CONTENT_REJECTED, Permanent, "forbiddenLicenseSetting"),
    (404, "videoNotFound", "x", Kind.PERMANENT, Permanent, "videoNotFound"),
    (429, "uploadRateLimitExceeded", "x", Kind.RETRY_AFTER, NotYet, "uploadRateLimitExceeded"),
    (429, "somethingNew", "x", Kind.RETRY_AFTER, NotYet, "rate_limit_exceeded"),
    (503, "backendError", "Backend Error", Kind.RETRY_NOW, Retryable, "backendError"),
    (500, "somethingNew", "x", Kind.RETRY_NOW, Retryable, "http_500"),
    (418, "somethingNew", "x", Kind.UNKNOWN, Retryable, "somethingNew"),
]
RECORDED_OAUTH: list[tuple[int, str, Kind, type[HouseError]]] = [
    (400, "invalid_grant", Kind.AUTHORISATION_LOST, Permanent),
    (401, "invalid_client", Kind.PERMANENT, Permanent),
    (401, "unauthorized_client", Kind.PERMANENT, Permanent),
    (401, "deleted_client", Kind.PERMANENT, Permanent),
    (400, "redirect_uri_mismatch", Kind.PERMANENT, Permanent),
    (400, "invalid_request", Kind.PERMANENT, Permanent),
    (400, "invalid_scope", Kind.PERMANENT, Permanent),
    (400, "unsupported_grant_type", Kind.PERMANENT, Permanent),
    (400, "access_denied", Kind.PERMANENT, Refused),
    (400, "admin_policy_enforced", Kind.PERMANENT, Refused),
    (403, "org_internal", Kind.PERMANENT, Refused),
    (500, "internal_failure", Kind.RETRY_NOW, Retryable),
]
REASONS: dict[str, tuple[Kind, type[HouseError]]] = {
    **dict.fromkeys(
        ("conversion", "invalidFile", "emptyFile", "tooSmall", "codec", "copyright", "inappropriate", "termsOfUse",
         "length", "claim", "trademark", "legal", "transcodeFailed"),
        (Kind.CONTENT_REJECTED, Permanent),
    ),
    "duplicate": (Kind.DUPLICATE, Permanent),
    "uploaderAccountSuspended": (Kind.PERMANENT, Permanent),
    "uploaderAccountClosed": (Kind.PERMANENT, Permanent),
    **dict.fromkeys(("uploadAborted", "uploadFailed", "streamingFailed", "other"), (Kind.RETRY_NOW, Retryable)),
}  # fmt: skip


def an_answer(status: int, said: Any, **headers: str) -> http.Answer:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return http.Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, 0.1)


def api(status: int, reason: str, message: str, **headers: str) -> http.Answer:
    listed = [{"message": message, "domain": "youtube.video", "reason": reason}]
    said = {"error": {"code": status, "message": message, "errors": listed, "status": "X"}}
    return an_answer(status, said, **headers)


@pytest.mark.parametrize(("status", "reason", "message", "kind", "error", "code"), RECORDED)
def test_every_answer_of_the_api_has_its_meaning(
    status: int, reason: str, message: str, kind: Kind, error: type[HouseError], code: str
) -> None:
    found = errors.refusal(api(status, reason, message))
    assert (type(found), found.code) == (error, code)
    assert youtube.verdict(found.code).kind is kind
    assert found.message and "{" not in found.message


@pytest.mark.parametrize(("status", "reason", "message", "kind", "error", "code"), RECORDED)
def test_a_definite_no_stays_one_after_the_irreversible_call_and_nothing_else_does(
    status: int, reason: str, message: str, kind: Kind, error: type[HouseError], code: str
) -> None:
    found = errors.refusal(api(status, reason, message), irreversible=True)
    assert type(found) is (error if error in (Permanent, Refused) else Unsure)


@pytest.mark.parametrize(("status", "code", "kind", "error"), RECORDED_OAUTH)
def test_every_answer_of_the_token_endpoint_has_its_meaning(
    status: int, code: str, kind: Kind, error: type[HouseError]
) -> None:
    found = errors.refusal(an_answer(status, {"error": code, "error_description": "Token gone."}), oauth={})
    assert type(found) is error and youtube.verdict(found.code).kind is kind
    assert found.code == (code if error is not Retryable else "http_500")


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_a_video_that_was_turned_down_has_a_sentence(reason: str) -> None:
    kind, error = REASONS[reason]
    found = errors.failed(reason)
    assert (type(found), found.code, youtube.verdict(reason).kind) == (error, reason, kind)
    assert f"“{reason}”" not in found.message, "a known reason has words of its own"


def test_a_reason_that_nobody_knows_ends_the_attempt_and_is_quoted() -> None:
    found = errors.failed("madeOfCheese")
    assert (type(found), found.code) == (Permanent, "madeOfCheese") and "madeOfCheese" in found.message


def test_a_page_in_place_of_an_answer_is_trouble_of_the_other_side() -> None:
    found = errors.refusal(an_answer(502, b"<html>Bad Gateway</html>"))
    assert (type(found), found.code) == (Retryable, "http_502")
    assert youtube.verdict("http_502").kind is Kind.RETRY_NOW


def test_markup_in_a_message_is_taken_out_before_it_is_shown() -> None:
    words = 'Exceeded your <a href="/youtube/v3/getting-started#quota">quota</a> &amp; more.'
    found = errors.refusal(api(403, "channelClosed", words))
    assert "<a" not in found.message and "Exceeded your quota & more" in found.message


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [("7", 7.0), ("999999", 3600.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)],
)
def test_a_wait_that_the_answer_names_goes_before_the_tables(said: str, wait_s: float | None) -> None:
    found = errors.refusal(api(503, "backendError", "x", retry_after=said))
    assert isinstance(found, Retryable) and found.after_s == wait_s


def test_a_quota_of_the_day_waits_for_midnight_pacific_whatever_the_answer_says() -> None:
    found = errors.refusal(api(403, "quotaExceeded", "x", retry_after="5"))
    assert isinstance(found, NotYet) and found.after_s is not None
    assert abs(found.after_s - errors.until_midnight_s(datetime.now(UTC))) < 10
    assert youtube.verdict("quotaExceeded").scope == youtube.verdict("upload_quota_exceeded").scope == "app"


def test_the_channels_own_limit_holds_that_channel_for_a_day() -> None:
    found = errors.refusal(api(400, "uploadLimitExceeded", "x"))
    assert isinstance(found, NotYet) and found.after_s == 24 * 3600
    assert youtube.verdict("uploadLimitExceeded").scope == "account"


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        ("2026-07-01T06:59:00+00:00", 60),  # summer: UTC-7
        ("2026-01-01T07:59:00+00:00", 60),  # winter: UTC-8
        ("2026-01-01T08:00:00+00:00", 86_400),
        ("2026-11-01T07:00:00+00:00", 25 * 3600),  # the day with an hour twice
        ("2026-03-08T08:00:00+00:00", 23 * 3600),  # the day with an hour missing
    ],
)
def test_midnight_is_that_of_the_pacific_zone_with_its_summer_time(now: str, seconds: float) -> None:
    assert errors.until_midnight_s(datetime.fromisoformat(now)) == seconds


def test_a_token_in_an_answer_does_not_reach_the_sentence() -> None:
    words = "Token ya29.a0AfH6SMBverysecretindeed and 1//0g-verysecretrefresh are closed"
    assert "verysecret" not in errors.refusal(api(403, "channelClosed", words)).message
