"""YouTube's sheet, section 7, items 4 and 8 to 10: quotas, processing, thumbnails, planned videos, figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sandbox_kit import Client, made_clip
from youtube_kit import ALL, API, READ, REPORTS, UPLOAD, Channel, a_channel, reason, refresh

EVERY_SCOPE = [UPLOAD, READ, ALL, REPORTS]
JPEG, PNG = b"\xff\xd8\xff\xe0" + b"x" * 100, b"\x89PNG\r\n\x1a\n" + b"x" * 100


@pytest.fixture
def maya(world: Client) -> Channel:
    return a_channel(world)


def renewed(channel: Channel) -> Channel:
    channel.tokens |= refresh(channel.world, channel.tokens["refresh_token"]).json()
    return channel


def ready(channel: Channel, clip: bytes, **words: Any) -> str:
    """A processed video."""
    video_id = channel.posted(clip, **words)
    channel.video(video_id)
    channel.world.later(2)
    assert channel.video(video_id)["status"]["uploadStatus"] == "processed"
    return video_id


# Quotas


def used(world: Client) -> dict[str, int]:
    found = world.http.get("/youtube/counters", headers={"accept": "application/json"}).json()
    return {bucket["name"]: bucket["used"] for bucket in found["buckets"]}


def test_each_method_takes_what_the_sheet_says_from_its_own_bucket(maya: Channel, clip: bytes) -> None:
    video_id = maya.posted(clip)
    assert used(maya.world) == {"uploads": 1, "searches": 0, "units": 0, "stats": 0}
    maya.video(video_id)
    maya.get("channels", part="id", mine="true")
    maya.get("videos:batchGetStats", part="id", id=video_id)
    maya.get("search", part="snippet", q="knots")
    maya.thumbnail(video_id, JPEG)
    assert used(maya.world) == {"uploads": 1, "searches": 1, "units": 52, "stats": 1}


def test_a_request_that_is_wrong_costs_as_well_and_a_nobodys_costs_nothing(maya: Channel) -> None:
    assert maya.get("videos", part="status").status_code == 400
    assert maya.start(1000, snippet={"title": ""}).status_code == 400
    maya.world.http.get(f"{API}/videos", params={"part": "id", "id": "x"})
    assert used(maya.world) == {"uploads": 1, "searches": 0, "units": 1, "stats": 0}


def test_exhausted_uploads_answer_429_and_name_their_metric_until_midnight_pacific(maya: Channel) -> None:
    maya.world.http.post("/youtube/counters", data={"bucket": "uploads", "used": "99"})
    assert maya.start(1000).status_code == 200
    refused = maya.start(1000)
    assert reason(refused) == (429, "rateLimitExceeded")
    assert "'Video Uploads' and limit 'Video Uploads per day'" in refused.json()["error"]["message"]
    assert maya.get("channels", part="id", mine="true").status_code == 200, "the other buckets go on"
    maya.world.later(86_400)
    assert renewed(maya).start(1000).status_code == 200


def test_exhausted_units_answer_403_and_uploads_go_on(maya: Channel) -> None:
    maya.world.http.post("/youtube/counters", data={"bucket": "units", "used": "10000"})
    assert reason(maya.get("channels", part="id", mine="true")) == (403, "quotaExceeded")
    assert maya.start(1000).status_code == 200


def test_the_quota_is_the_projects_and_not_the_channels(world: Client) -> None:
    world.apps(uploadsPerDay=1)
    world.apps(clientKey="another", clientSecret="its-secret")
    assert a_channel(world, "Maya").start(1000).status_code == 200
    assert reason(a_channel(world, "Leo").start(1000)) == (429, "rateLimitExceeded")


def test_the_testers_page_shows_and_sets_the_counters(world: Client) -> None:
    assert "Quota of sandbox" in world.http.get("/youtube/counters").text
    assert world.http.post("/youtube/counters", data={"bucket": "units", "used": "7"}).status_code == 303
    assert used(world)["units"] == 7
    assert world.http.post("/youtube/counters", data={"bucket": "cheese", "used": "7"}).status_code == 400


def test_a_project_without_the_api_is_told_so(maya: Channel) -> None:
    maya.world.apps(apiDisabled=True)
    assert reason(maya.get("channels", part="id", mine="true")) == (403, "accessNotConfigured")


# Processing


def test_a_video_is_processed_as_time_goes_by(maya: Channel, clip: bytes) -> None:
    maya.world.arm("processing_delay", platform="youtube", seconds=99)
    video_id = maya.posted(clip)

    def parts() -> int:
        seen = maya.video(video_id)
        assert seen["status"]["uploadStatus"] == "uploaded"
        progress = seen["processingDetails"]["processingProgress"]
        assert progress["partsTotal"] == "1000" and isinstance(progress["timeLeftMs"], str)
        return int(progress["partsProcessed"])

    first = parts()
    maya.world.later(50)
    second = parts()
    assert 0 <= first < second < 1000
    maya.world.later(60)
    seen = maya.video(video_id)
    assert seen["status"]["uploadStatus"] == "processed"
    assert seen["processingDetails"] == {"processingStatus": "succeeded"}


def test_what_is_no_video_fails_and_says_why(maya: Channel) -> None:
    for content, why in ((b"x" * 5000, "invalidFile"), (b"x" * 999, "tooSmall"), (b"", "emptyFile")):
        video_id = _empty(maya) if not content else maya.posted(content)
        maya.video(video_id)
        maya.world.later(2)
        status = maya.video(video_id)["status"]
        assert (status["uploadStatus"], status["failureReason"]) == ("failed", why)
    assert maya.world.ledger(platform="youtube")["posts"] == []


def _empty(maya: Channel) -> str:
    """A file of no bytes: there is nothing to send, so the first probe completes it."""
    answer = maya.probe(maya.session(0), 0)
    assert answer.status_code == 201
    return str(answer.json()["id"])


def test_a_codec_that_nobody_plays_fails(maya: Channel, tmp_path: Any) -> None:
    odd = made_clip(tmp_path / "odd.mkv", "-c:v", "ffv1")
    video_id = maya.posted(odd)
    maya.video(video_id)
    maya.world.later(2)
    assert maya.video(video_id)["status"]["failureReason"] == "codec"


def test_the_same_file_on_the_same_channel_is_rejected_as_a_duplicate(maya: Channel, clip: bytes) -> None:
    first = ready(maya, clip)
    second = maya.posted(clip)
    maya.video(second)
    maya.world.later(2)
    status = maya.video(second)["status"]
    assert (status["uploadStatus"], status["rejectionReason"]) == ("rejected", "duplicate")
    ready(a_channel(maya.world, "Leo"), clip)
    ledger = maya.world.ledger(platform="youtube", all=1)
    assert len(ledger["posts"]) == 2 and [each["id"] for each in ledger["rejected"]] == [second]
    assert first in [each["id"] for each in ledger["posts"]]


def test_a_deleted_video_may_be_uploaded_again(world: Client, clip: bytes) -> None:
    maya = a_channel(world, scopes=EVERY_SCOPE)
    first = ready(maya, clip)
    gone = world.http.delete(f"{API}/videos", params={"id": first}, headers=maya.bearer)
    assert gone.status_code == 204
    assert maya.get("videos", part="status", id=first).json()["items"] == []
    assert ready(maya, clip) != first


def test_a_channel_without_a_confirmed_phone_is_held_to_a_quarter_of_an_hour(
    tmp_path: Any, world: Client
) -> None:
    long = made_clip(tmp_path / "long.mp4", length_s=901, size="64x64", rate=1)
    for state, verdict in (("eligible", "rejected"), ("allowed", "processed")):
        channel = a_channel(world, longUploads=state)
        video_id = channel.posted(long)
        channel.video(video_id)
        world.later(2)
        status = channel.video(video_id)["status"]
        assert status["uploadStatus"] == verdict
        assert status.get("rejectionReason") == ("length" if state == "eligible" else None)


@pytest.mark.parametrize(
    ("why", "shown"),
    [
        ("copyright", {"uploadStatus": "rejected", "rejectionReason": "copyright"}),
        ("conversion", {"uploadStatus": "failed", "failureReason": "conversion"}),
        ("transcodeFailed", {"uploadStatus": "uploaded"}),
    ],
)
def test_a_tester_may_choose_the_verdict(maya: Channel, clip: bytes, why: str, shown: dict[str, str]) -> None:
    maya.world.arm("fail", reason=why, platform="youtube")
    video_id = maya.posted(clip)
    maya.world.later(2)
    seen = maya.video(video_id)
    assert {name: seen["status"][name] for name in shown} == shown
    if why == "transcodeFailed":
        assert seen["processingDetails"]["processingFailureReason"] == why


# Who sees what


def test_a_planned_video_turns_public_when_its_time_has_come(maya: Channel, clip: bytes) -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    planned = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    video_id = ready(maya, clip, status={"privacyStatus": "private", "publishAt": planned})
    leo = a_channel(maya.world, "Leo")
    status = maya.video(video_id)["status"]
    assert (status["privacyStatus"], status["publishAt"]) == ("private", planned)
    assert leo.get("videos", part="status", id=video_id).json()["items"] == []
    maya.world.later(2 * 3600)
    status = renewed(maya).video(video_id)["status"]
    assert status["privacyStatus"] == "public" and "publishAt" not in status
    (seen,) = renewed(leo).get("videos", part="status", id=video_id).json()["items"]
    assert seen["status"]["privacyStatus"] == "public"


def test_a_time_in_the_past_publishes_at_once(maya: Channel, clip: bytes) -> None:
    words = {"privacyStatus": "private", "publishAt": "2020-01-01T00:00:00Z"}
    assert maya.video(ready(maya, clip, status=words))["status"]["privacyStatus"] == "public"


def test_others_see_neither_a_private_video_nor_how_one_is_processed(maya: Channel, clip: bytes) -> None:
    leo = a_channel(maya.world, "Leo")
    hidden = ready(maya, clip, status={"privacyStatus": "private"})
    assert leo.get("videos", part="snippet", id=hidden).json()["items"] == []
    shown = ready(leo, clip)
    assert reason(maya.get("videos", part="processingDetails", id=shown)) == (403, "forbidden")
    assert len(maya.get("videos", part="snippet", id=f"{shown},{hidden},nobodys").json()["items"]) == 2


def test_videos_are_asked_for_by_fifty_ids_at_most(maya: Channel) -> None:
    ids = [f"x{number}" for number in range(51)]
    assert maya.get("videos", part="id", id=",".join(ids[:50])).status_code == 200
    assert reason(maya.get("videos", part="id", id=",".join(ids))) == (400, "invalidFilters")
    assert reason(maya.get("videos", part="cheese", id="x")) == (400, "unknownPart")
    assert reason(maya.get("videos", id="x")) == (400, "missingRequiredParameter")


def test_an_update_replaces_the_parts_sent_and_needs_the_wider_scope(world: Client, clip: bytes) -> None:
    maya = a_channel(world, scopes=EVERY_SCOPE)
    video_id = ready(maya, clip, snippet={"tags": ["knots"]})

    def changed(channel: Channel, body: dict[str, Any], part: str = "snippet") -> Any:
        whole = {"id": video_id} | body
        return world.http.put(f"{API}/videos", params={"part": part}, json=whole, headers=channel.bearer)

    new = {"snippet": {"title": "Four knots", "categoryId": "26"}}
    assert changed(maya, new).status_code == 200
    snippet = maya.video(video_id)["snippet"]
    assert (snippet["title"], snippet["description"], "tags" in snippet) == ("Four knots", "", False)
    assert reason(changed(maya, {"snippet": {"title": "x"}})) == (400, "invalidCategoryId")
    assert reason(changed(maya, new | {"id": "nobodys"})) == (404, "videoNotFound")
    narrow = a_channel(world, "Leo", scopes=[UPLOAD, READ])
    assert reason(changed(narrow, new)) == (403, "insufficientPermissions")
    other = a_channel(world, "Ann", scopes=EVERY_SCOPE)
    assert reason(changed(other, new)) == (403, "forbidden")


# The channel, its thumbnails and lists


def test_the_channel_says_who_it_is_in_texts_and_numbers_as_texts(maya: Channel, clip: bytes) -> None:
    ready(maya, clip, status={"privacyStatus": "public"})
    (channel,) = maya.get("channels", part="snippet,statistics,status", mine="true").json()["items"]
    assert channel["id"].startswith("UC") and len(channel["id"]) == 24
    assert channel["snippet"]["customUrl"] == f"@{maya.username}"
    assert channel["status"]["longUploadsStatus"] == "allowed" and "contentDetails" not in channel
    assert channel["statistics"]["videoCount"] == "1"
    counts = ("viewCount", "subscriberCount", "videoCount")
    assert all(isinstance(channel["statistics"][name], str) for name in counts)
    nobody = a_channel(maya.world, "Leo", hasChannel=False)
    assert nobody.get("channels", part="snippet", mine="true").json()["items"] == []


def test_a_thumbnail_is_stored_and_its_sizes_are_answered(maya: Channel, clip: bytes) -> None:
    video_id = ready(maya, clip)
    for picture, kind in ((JPEG, "image/jpeg"), (PNG, "image/png"), (PNG, "application/octet-stream")):
        answer = maya.thumbnail(video_id, picture, kind)
        assert answer.status_code == 200, answer.text
    (sizes,) = answer.json()["items"]
    assert sizes["maxres"] | {"url": ""} == {"url": "", "width": 1280, "height": 720}
    assert maya.world.http.get(sizes["default"]["url"]).content == PNG


@pytest.mark.parametrize(
    ("picture", "kind", "refusal"),
    [
        (b"", "image/jpeg", (400, "mediaBodyRequired")),
        (b"GIF89a", "image/gif", (400, "invalidImage")),
        (b"no picture", "image/jpeg", (400, "invalidImage")),
    ],
)
def test_what_is_no_picture_is_no_thumbnail(
    maya: Channel, clip: bytes, picture: bytes, kind: str, refusal: tuple[int, str]
) -> None:
    assert reason(maya.thumbnail(maya.posted(clip), picture, kind)) == refusal


def test_thumbnails_have_their_own_refusals(world: Client, clip: bytes) -> None:
    maya = a_channel(world, customThumbnails=False)
    video_id = maya.posted(clip)
    assert reason(maya.thumbnail(video_id, JPEG)) == (403, "forbidden")
    assert reason(maya.thumbnail("nobodys", JPEG)) == (404, "videoNotFound")
    world.arm("rate_limit", step="thumbnail")
    assert reason(maya.thumbnail(video_id, JPEG)) == (429, "uploadRateLimitExceeded")


def test_a_short_takes_a_thumbnail_once_it_is_processed(maya: Channel, tmp_path: Any) -> None:
    tall = made_clip(tmp_path / "tall.mp4", size="360x640")
    maya.world.arm("processing_delay", platform="youtube", seconds=30)
    video_id = maya.posted(tall)
    assert reason(maya.thumbnail(video_id, JPEG)) == (403, "forbidden")
    maya.world.later(60)
    (sizes,) = maya.thumbnail(video_id, JPEG).json()["items"]
    assert "shortsAspectRatio" in sizes


def test_categories_say_which_may_be_chosen(maya: Channel) -> None:
    listed = maya.get("videoCategories", part="snippet", regionCode="US").json()["items"]
    assignable = {each["id"]: each["snippet"]["assignable"] for each in listed}
    assert assignable["26"] is True and assignable["21"] is False
    assert reason(maya.get("videoCategories", part="snippet")) == (400, "missingRequiredParameter")


def test_the_search_finds_titles_of_what_one_may_see(maya: Channel, clip: bytes) -> None:
    mine = ready(maya, clip)
    leo = a_channel(maya.world, "Leo")
    ready(leo, clip, status={"privacyStatus": "private"})
    found = maya.get("search", part="snippet", q="KNOTS").json()["items"]
    assert [each["id"]["videoId"] for each in found] == [mine]


# Figures


def test_counters_grow_with_time_and_are_texts(maya: Channel, clip: bytes) -> None:
    video_id = ready(maya, clip, status={"privacyStatus": "public"})

    def views() -> int:
        (seen,) = maya.get("videos", part="statistics", id=video_id).json()["items"]
        (batch,) = maya.get(
            "videos:batchGetStats", part="statistics,contentDetails", id=f"{video_id},x"
        ).json()["items"]
        assert batch["kind"] == "youtube#videoStats" and batch["contentDetails"]["duration"] == "1s"
        assert batch["statistics"]["viewCount"] == seen["statistics"]["viewCount"]
        return int(seen["statistics"]["viewCount"])

    first = views()
    maya.world.later(86_400)
    renewed(maya)
    assert views() > first and views() == views()


def report(channel: Channel, **changes: str) -> Any:
    today = datetime.now(UTC).date()
    query = {
        "ids": "channel==MINE", "metrics": "views,likes", "dimensions": "day", "sort": "day",
        "startDate": str(today), "endDate": str(today + timedelta(days=30)),
    }  # fmt: skip
    whole = {name: value for name, value in (query | changes).items() if value}
    return channel.world.http.get("/youtube/analytics/v2/reports", params=whole, headers=channel.bearer)


def test_reports_end_three_days_ago_and_have_no_rows_without_figures(world: Client, clip: bytes) -> None:
    maya = a_channel(world, scopes=EVERY_SCOPE)
    ready(maya, clip, status={"privacyStatus": "public"})
    assert "rows" not in report(maya).json()
    world.later(10 * 86_400)
    renewed(maya)
    told = report(maya).json()
    assert [column["name"] for column in told["columnHeaders"]] == ["day", "views", "likes"]
    days = [row[0] for row in told["rows"]]
    last = datetime.now(UTC).date() + timedelta(days=7)
    assert days == sorted(days) and days[-1] in (str(last), str(last + timedelta(days=1)))
    assert report(maya).json() == told, "the same question has the same answer"
    (top,) = report(maya, dimensions="video", sort="-views", maxResults="5").json()["rows"]
    assert top[1] == sum(row[1] for row in told["rows"])


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": "cheese"}, {"dimensions": "day,country"}, {"dimensions": "video"}, {"ids": "channel==UCother"},
        {"startDate": "yesterday"}, {"filters": "moon==full"}, {"metrics": "viewerPercentage"}, {"sort": "likes,day"},
    ],
)  # fmt: skip
def test_a_query_that_does_not_fit_is_not_supported(world: Client, changes: dict[str, str]) -> None:
    answer = report(a_channel(world, scopes=EVERY_SCOPE), **changes)
    assert reason(answer) == (400, "badRequest")
    assert answer.json()["error"]["message"] == "The query is not supported."


def test_money_is_for_its_own_scope(world: Client) -> None:
    maya = a_channel(world, scopes=EVERY_SCOPE)
    assert reason(report(maya, metrics="estimatedRevenue", dimensions="day")) == (403, "forbidden")
    narrow = a_channel(world, "Leo", scopes=[UPLOAD, READ])
    assert reason(report(narrow)) == (403, "insufficientPermissions")
