"""Every answer of the sheet's section 4, as it is recorded there, and what becomes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from facebook_makers import CUT, PAGE, Scripted, Watch, a_grant, a_media, a_picture, a_post, an_app, refusal

from app.errors import HouseError, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms import facebook
from app.platforms.base import Handle, Kind
from app.platforms.facebook.errors import TABLE

pytestmark = pytest.mark.anyio
LOST, LATER, FINAL = Kind.AUTHORISATION_LOST, Kind.RETRY_AFTER, Kind.PERMANENT
REJECTED, AGAIN, QUOTA = Kind.CONTENT_REJECTED, Kind.RETRY_NOW, Kind.QUOTA
PAGE_PATH = f"/api/v26.0/{PAGE}"

# code, subcode → the code we raise and what it means: one line for each line of section 4.
RECORDED: list[tuple[int, int | None, str, Kind]] = [
    (1, None, "1", AGAIN),
    (2, None, "2", AGAIN),
    (3, None, "3", FINAL),
    (4, None, "4", LATER),
    (17, None, "17", LATER),
    (32, None, "32", LATER),
    (80001, 2446079, "80001", LATER),
    (341, None, "341", LATER),
    (613, None, "613", LATER),
    (10, None, "10", LOST),
    (200, None, "200", LOST),
    (230, None, "200", LOST),
    (299, None, "200", LOST),
    (100, None, "100", FINAL),
    (100, 33, "100/33", FINAL),
    (102, None, "access_token_invalid", LOST),
    (190, None, "access_token_invalid", LOST),
    (190, 458, "190/458", LOST),
    (190, 459, "190/459", LOST),
    (190, 464, "190/464", LOST),
    (190, 460, "190/460", LOST),
    (190, 463, "access_token_invalid", LOST),
    (190, 467, "access_token_invalid", LOST),
    (190, 492, "/492", LOST),
    (368, None, "368", QUOTA),
    (368, 1390008, "368/1390008", QUOTA),
    (389, None, "389", AGAIN),
    (506, None, "506", Kind.DUPLICATE),
    (6000, None, "6000", AGAIN),
    (6001, None, "6001", AGAIN),
    (382, None, "382", REJECTED),
    (1404078, None, "1404078", FINAL),
    (4854002, None, "4854002", FINAL),
    (1346003, None, "1346003", REJECTED),
    (1404102, None, "1404102", REJECTED),
    (1609005, None, "1609005", REJECTED),
    (1500, None, "1500", REJECTED),
]
# These stand as code in some answers and as subcode in others.
EITHER: list[tuple[int, Kind]] = [
    *((code, REJECTED) for code in (1363022, 1363023, 1363024, 1363031, 1363032, 1363025, 1363026)),
    *((code, REJECTED) for code in (1363040, 1363127, 1363128, 1363129)),
    *((code, AGAIN) for code in (1363030, 1363019, 1363021, 1363033, 1363037, 1363041, 1363045)),
    (1363042, LOST),
]


async def failure(call: Any) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await call
    return caught.value


async def answered(facebook_says: Scripted, *answers: Any, watch: Watch | None = None) -> HouseError:
    facebook_says.says[PAGE_PATH] = list(answers)
    on_call = watch.on_call if watch else None
    return await failure(facebook.creator(an_app(facebook_says.url), a_grant(), on_call=on_call))


@pytest.mark.parametrize(("code", "subcode", "ours", "kind"), RECORDED)
async def test_each_recorded_code_is_its_row(
    code: int, subcode: int | None, ours: str, kind: Kind, facebook_says: Scripted
) -> None:
    error = await answered(facebook_says, (400, refusal(code, subcode)))
    assert (error.code, facebook.verdict(error.code).kind) == (ours, kind)
    assert error.code in TABLE.rows and isinstance(error, TABLE.rows[ours].error)


@pytest.mark.parametrize(("number", "kind"), EITHER)
async def test_the_numbers_of_uploads_are_known_as_code_and_as_subcode(
    number: int, kind: Kind, facebook_says: Scripted
) -> None:
    for body in (refusal(number), refusal(6000, number), refusal(352, number)):
        error = await answered(facebook_says, (400, body))
        assert (error.code, facebook.verdict(error.code).kind) == (str(number), kind)


async def test_an_error_inside_a_good_answer_is_an_error(facebook_says: Scripted) -> None:
    assert (await answered(facebook_says, (200, refusal(190, 460)))).code == "190/460"


async def test_pages_and_nothing_at_all_are_tried_again(facebook_says: Scripted) -> None:
    assert (await answered(facebook_says, (502, b"<h1>Bad gateway</h1>"))).code == "http_502"
    assert (await answered(facebook_says, (200, b"<h1>Hello</h1>"))).code == "unreadable_answer"
    assert (await answered(facebook_says, (200, []))).code == "unreadable_answer"
    assert (await answered(facebook_says, CUT)).code == "no_answer"


async def test_what_no_table_knows_is_passing_when_facebook_says_so(facebook_says: Scripted) -> None:
    error = await answered(facebook_says, (400, refusal(777, 888, is_transient=True)))
    assert (error.code, type(error)) == ("2", Retryable)
    error = await answered(facebook_says, (400, refusal(777, 888)))
    assert error.code == "777/888" and facebook.verdict(error.code).kind is Kind.UNKNOWN


async def test_the_words_people_are_meant_to_read_go_before_the_others(facebook_says: Scripted) -> None:
    more = {"error_user_title": "Not now", "error_user_msg": "Come back tomorrow"}
    error = await answered(facebook_says, (400, refusal(368, message="(#368) Abusive", **more)))
    assert "Come back tomorrow" in error.message and "#368" not in error.message


async def test_tokens_in_a_message_are_not_told(facebook_says: Scripted, watch: Watch) -> None:
    said = "Malformed access token EAABsecretsecretsecret at https://x/?access_token=hidden123&z=1"
    error = await answered(facebook_says, (400, refusal(100, message=said)), watch=watch)
    told = error.message + repr(watch.calls)
    assert "secretsecret" not in told and "hidden123" not in told and "Malformed" in error.message


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"X-Business-Use-Case-Usage": json.dumps({PAGE: [{"type": "pages", "call_count": 100,
          "total_cputime": 8, "total_time": 9, "estimated_time_to_regain_access": 7}]})}, 420),
        ({"X-App-Usage": '{"call_count":100,"total_time":25,"total_cputime":25}'}, 3600),
    ],
)  # fmt: skip
async def test_a_limit_is_waited_for_as_long_as_its_headers_say(
    headers: dict[str, str], after_s: float, facebook_says: Scripted, watch: Watch
) -> None:
    error = await answered(facebook_says, (400, refusal(32), headers), watch=watch)
    assert isinstance(error, NotYet) and error.after_s == after_s
    (usage,) = watch.calls[0].usage
    assert (usage.percent, usage.until_s) == (100, after_s)


async def test_a_limit_without_headers_waits_an_hour_and_a_block_a_day(facebook_says: Scripted) -> None:
    error = await answered(facebook_says, (400, refusal(4)))
    assert isinstance(error, NotYet) and 3600 <= (error.after_s or 0) <= 3600 + 60
    error = await answered(facebook_says, (400, refusal(368)))
    assert isinstance(error, NotYet) and error.after_s == 24 * 3600


async def test_headers_that_cannot_be_read_are_passed_over(facebook_says: Scripted, watch: Watch) -> None:
    facebook_says.says[PAGE_PATH] = [
        (200, {"id": PAGE}, {"X-App-Usage": "soon", "X-Business-Use-Case-Usage": '{"1": 5, "2": [7, {}]}'})
    ]
    assert (
        await facebook.profile(an_app(facebook_says.url), a_grant(), on_call=watch.on_call)
    ).handle == PAGE
    assert watch.calls[0].usage == ()


@pytest.mark.parametrize("kind", ["reel", "video", "image"])
@pytest.mark.parametrize(
    "answer", [CUT, (500, refusal(2)), (502, b"<h1>Hello</h1>"), (200, {}), (200, {"id": ""})]
)
async def test_a_begin_that_may_have_worked_is_unsure_and_nothing_was_sent(
    answer: Any, kind: str, facebook_says: Scripted
) -> None:
    for path in (f"{PAGE_PATH}/video_reels", f"/video/v26.0/{PAGE}/videos", f"{PAGE_PATH}/photos"):
        facebook_says.says[path] = [answer]
    media = a_picture() if kind == "image" else a_media()
    error = await failure(facebook.begin(an_app(facebook_says.url), a_grant(), a_post(kind=kind), media))
    assert isinstance(error, Unsure) and error.code == "init_answer_lost"


async def test_an_upload_address_outside_facebook_is_not_even_kept(facebook_says: Scripted) -> None:
    begun = {"video_id": "900", "upload_url": "https://example.org/900"}
    facebook_says.says[f"{PAGE_PATH}/video_reels"] = [(200, begun)]
    error = await failure(facebook.begin(an_app(facebook_says.url), a_grant(), a_post(), a_media()))
    assert isinstance(error, Permanent) and error.code == "upload_address_refused"


# The call that publishes


def a_handle(facebook_says: Scripted, kind: str = "reel") -> Handle:
    return Handle("900", f"{facebook_says.url}/upload/900", datetime.now(UTC), kind, "", {"session": "55"})


async def finishing(facebook_says: Scripted, watch: Watch, answer: Any) -> HouseError:
    """What `send` raises when every byte is there and the last call is answered so."""
    facebook_says.says[f"{PAGE_PATH}/video_reels"] = [answer]
    media = a_media(10_000)
    return await failure(
        facebook.send(
            an_app(facebook_says.url),
            a_grant(),
            a_handle(facebook_says),
            a_post(),
            media,
            media.bytes_total,
            on_progress=watch.on_progress,
            before_last=watch.before_last,
            on_call=watch.on_call,
        )
    )


@pytest.mark.parametrize(
    "answer",
    [
        CUT,
        (500, refusal(2)),
        (502, b"<h1>Bad gateway</h1>"),
        (200, b"<h1>Hello</h1>"),
        (400, b"<h1>Hello</h1>"),
        (200, {"success": False}),
        (200, {}),
        (400, refusal(1)),
        (400, refusal(32)),
        (400, refusal(368)),
        (400, refusal(6000)),
        (400, refusal(1363041)),
        (400, refusal(777)),
    ],
)
async def test_an_unclear_answer_to_the_last_call_is_unsure(
    answer: Any, facebook_says: Scripted, watch: Watch
) -> None:
    error = await finishing(facebook_says, watch, answer)
    assert isinstance(error, Unsure), error
    assert watch.told[0] == "before last" and len(facebook_says.requests) == 1


@pytest.mark.parametrize(
    ("code", "subcode"), [(100, None), (200, None), (190, 460), (190, 463), (1346003, None)]
)
async def test_a_definite_no_to_the_last_call_stays_one(
    code: int, subcode: int | None, facebook_says: Scripted, watch: Watch
) -> None:
    error = await finishing(facebook_says, watch, (400, refusal(code, subcode)))
    assert isinstance(error, Permanent)


async def test_the_post_that_the_last_answer_names_is_kept_whole(
    facebook_says: Scripted, watch: Watch
) -> None:
    facebook_says.says[f"{PAGE_PATH}/video_reels"] = [(200, {"success": True, "post_id": "122"})]
    media = a_media(10_000)
    newer = await facebook.send(
        an_app(facebook_says.url),
        a_grant(),
        a_handle(facebook_says),
        a_post(title="Knots", description="Three knots"),
        media,
        media.bytes_total,
        on_progress=watch.on_progress,
        before_last=watch.before_last,
    )
    assert newer is not None and newer.remote_id == f"{PAGE}_122"
    (request,) = facebook_says.requests
    assert request.headers["authorization"] == "Bearer EAAPpagetoken" and request.query == ""
    assert request.json == {
        "upload_phase": "finish",
        "video_id": "900",
        "video_state": "PUBLISHED",
        "description": "Three knots",
        "title": "Knots",
    }


# The bytes


UPLOAD = "/upload/900"


async def uploading(
    facebook_says: Scripted, watch: Watch, *answers: Any, status: Any = None
) -> HouseError | None:
    facebook_says.says[UPLOAD] = list(answers)
    phase = {"status": "in_progress", "bytes_transfered": 4000}
    halfway = (200, {"id": "900", "status": {"video_status": "uploading", "uploading_phase": phase}})
    facebook_says.says["/api/v26.0/900"] = [status or halfway]
    facebook_says.says[f"{PAGE_PATH}/video_reels"] = [(200, {"success": True})]
    media = a_media(10_000)
    try:
        await facebook.send(
            an_app(facebook_says.url),
            a_grant(),
            a_handle(facebook_says),
            a_post(),
            media,
            0,
            on_progress=watch.on_progress,
            before_last=watch.before_last,
            on_call=watch.on_call,
        )
    except HouseError as error:
        return error
    return None


def debug_info(kind: str, *, retriable: bool) -> dict[str, Any]:
    return {"debug_info": {"retriable": retriable, "type": kind, "message": "It cannot be."}}


@pytest.mark.parametrize(
    "cut",
    [
        CUT,
        (400, debug_info("OffsetInvalidError", retriable=True)),
        (400, debug_info("PartialRequestError", retriable=True)),
        (500, debug_info("SomethingElse", retriable=True)),
        (503, b"<h1>Hello</h1>"),
        (500, refusal(2)),
        (200, {"success": False}),
    ],
)
async def test_an_upload_that_broke_off_goes_on_at_facebooks_count(
    cut: Any, facebook_says: Scripted, watch: Watch
) -> None:
    assert await uploading(facebook_says, watch, cut, (200, {"success": True})) is None
    first, second = facebook_says.to(UPLOAD)
    assert (first.headers["offset"], second.headers["offset"]) == ("0", "4000")
    assert first.headers["authorization"] == "OAuth EAAPpagetoken"
    assert (second.headers["file_size"], second.headers["content-length"], len(second.body)) == (
        "10000",
        "6000",
        6000,
    )
    assert watch.told.count("before last") == 1


async def test_an_upload_that_never_moves_on_is_given_back_to_the_queue(
    facebook_says: Scripted, watch: Watch
) -> None:
    error = await uploading(facebook_says, watch, (500, debug_info("PartialRequestError", retriable=True)))
    assert isinstance(error, Retryable) and error.code == "upload_cut"
    # The first send moved on to byte 4000; four more did not.
    assert len(facebook_says.to(UPLOAD)) == 5 and "before last" not in watch.told


@pytest.mark.parametrize(
    ("answer", "code", "kind"),
    [
        ((400, debug_info("ProcessingFailedError", retriable=False)), "upload_refused", FINAL),
        ((400, debug_info("ProcessingFailedError", retriable=True)), "ProcessingFailedError", AGAIN),
        ((401, debug_info("NotAuthorizedError", retriable=False)), "access_token_invalid", LOST),
        ((400, refusal(190, 463)), "access_token_invalid", LOST),
        ((400, refusal(200)), "200", LOST),
    ],
)
async def test_what_the_upload_host_refuses_ends_the_sending(
    answer: Any, code: str, kind: Kind, facebook_says: Scripted, watch: Watch
) -> None:
    error = await uploading(facebook_says, watch, answer)
    assert error is not None and (error.code, facebook.verdict(error.code).kind) == (code, kind)
    assert len(facebook_says.to(UPLOAD)) == 1 and "before last" not in watch.told


async def test_an_upload_that_expired_meanwhile_begins_anew(facebook_says: Scripted, watch: Watch) -> None:
    gone = (200, {"id": "900", "status": {"video_status": "expired"}})
    error = await uploading(facebook_says, watch, CUT, status=gone)
    assert error is not None and error.code == "upload_expired"


# Connecting


async def test_a_code_that_was_used_or_is_old_starts_connecting_again(facebook_says: Scripted) -> None:
    app = an_app(facebook_says.url)
    for subcode in (36007, 36009):
        facebook_says.says["/api/v26.0/oauth/access_token"] = [(400, refusal(100, subcode))]
        error = await failure(facebook.exchange(app, "code", ""))
        assert (type(error), error.code) == (Refused, "code_refused")
    for body in (refusal(100), refusal(100, 36008), refusal(190, 460)):
        facebook_says.says["/api/v26.0/oauth/access_token"] = [(400, body)]
        error = await failure(facebook.exchange(app, "code", ""))
        assert (type(error), error.code) == (Refused, "connect_refused")


async def test_our_own_mistakes_while_connecting_are_the_operators(facebook_says: Scripted) -> None:
    app = an_app(facebook_says.url)
    for body in (refusal(1, message="Error validating client secret."), refusal(101), refusal(191)):
        facebook_says.says["/api/v26.0/oauth/access_token"] = [(400, body)]
        error = await failure(facebook.exchange(app, "code", ""))
        assert isinstance(error, Permanent) and "operator" in error.message


async def test_a_lost_renewal_is_asked_for_once_more(facebook_says: Scripted) -> None:
    facebook_says.says["/api/v26.0/oauth/access_token"] = [CUT]
    error = await failure(facebook.refresh(an_app(facebook_says.url), a_grant(), "EAAuser"))
    assert isinstance(error, Retryable) and error.code == "refresh_answer_lost"
    assert len(facebook_says.requests) == 2 and all(request.query == "" for request in facebook_says.requests)


async def test_a_renewal_with_a_dead_sign_in_is_lost_for_good(facebook_says: Scripted) -> None:
    for subcode in (None, 463, 467, 460, 458):
        facebook_says.says["/api/v26.0/oauth/access_token"] = [(400, refusal(190, subcode))]
        error = await failure(facebook.refresh(an_app(facebook_says.url), a_grant(), "EAAuser"))
        assert isinstance(error, Permanent) and facebook.verdict(error.code).kind is LOST
        assert error.code != "access_token_invalid"
