"""How a video is shown: the parts of the `video` resource (sections 3.4 and 6.1)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from app.sandbox.world import Creator
from app.sandbox.youtube.channels import channel_id
from app.sandbox.youtube.videos import DAY_S, FAILURES, OK, PROCESSING_FAILURES, REJECTIONS, Video

PARTS_TOTAL = 1000
# name -> width and height of the sizes a thumbnail is shown in; a Short also has a tall one.
SIZES = {
    "default": (120, 90),
    "medium": (320, 180),
    "high": (480, 360),
    "standard": (640, 480),
    "maxres": (1280, 720),
}


def resource(video: Video, creator: Creator, parts: tuple[str, ...], at: float, base: str) -> dict[str, Any]:
    """These parts of the video as its owner sees them; parts this world has nothing for are left out."""
    known: dict[str, Any] = {
        "snippet": snippet(video, creator, at, base),
        "status": status(video, at),
        "contentDetails": content(video),
        "statistics": statistics(video, at),
        "processingDetails": processing(video, at),
    }
    shown = {name: known[name] for name in parts if name in known}
    return {
        "kind": "youtube#video",
        "etag": etag(f"{video.id}{sorted(shown)}{shown}"),
        "id": video.id,
        **shown,
    }


def etag(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:27]


def when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def snippet(video: Video, creator: Creator, at: float, base: str) -> dict[str, Any]:
    words = video.snippet
    title, description = words.get("title", ""), words.get("description", "")
    return {
        "publishedAt": when(video.public_since(at) or video.uploaded_at),
        "channelId": channel_id(creator.id),
        "channelTitle": creator.display_name,
        "thumbnails": thumbnails(video, base),
        "categoryId": "22",
        "liveBroadcastContent": "none",
        "localized": {"title": title, "description": description},
        **words,
        "title": title,
        "description": description,
    }


def thumbnails(video: Video, base: str) -> dict[str, Any]:
    sizes = dict(SIZES) | ({"shortsAspectRatio": (720, 1280)} if video.short else {})
    return {
        name: {"url": f"{base}/youtube/api/vi/{video.id}/{name}.jpg", "width": width, "height": height}
        for name, (width, height) in sizes.items()
    }


def upload_status(video: Video, at: float) -> str:
    if video.verdict in FAILURES and at >= video.ready_at:
        return "failed"
    if video.verdict in REJECTIONS and at >= video.ready_at:
        return "rejected"
    return "processed" if video.ready(at) else "uploaded"


def status(video: Video, at: float) -> dict[str, Any]:
    words = video.status
    told = upload_status(video, at)
    shown: dict[str, Any] = {
        "uploadStatus": told,
        "privacyStatus": video.privacy(at),
        "license": words.get("license", "youtube"),
        "embeddable": words.get("embeddable", True),
        "publicStatsViewable": words.get("publicStatsViewable", True),
        "madeForKids": words.get("selfDeclaredMadeForKids", False),
        "containsSyntheticMedia": words.get("containsSyntheticMedia", False),
    }
    if "selfDeclaredMadeForKids" in words:
        shown["selfDeclaredMadeForKids"] = words["selfDeclaredMadeForKids"]
    if "publishAt" in words and shown["privacyStatus"] == "private":
        shown["publishAt"] = words["publishAt"]
    if told in ("failed", "rejected"):
        shown["failureReason" if told == "failed" else "rejectionReason"] = video.verdict
    return shown


def processing(video: Video, at: float) -> dict[str, Any]:
    if video.ready(at):
        return {"processingStatus": "succeeded"}
    if video.verdict in PROCESSING_FAILURES and at >= video.ready_at:
        return {"processingStatus": "failed", "processingFailureReason": video.verdict}
    if video.verdict not in (None, OK) and at >= video.ready_at:
        return {"processingStatus": "terminated"}
    whole_s = max(video.ready_at - video.uploaded_at, 0.001)
    done = min(max(at - video.uploaded_at, 0) / whole_s, 1)
    left_ms = max(int((video.ready_at - at) * 1000), 0)
    return {
        "processingStatus": "processing",
        "processingProgress": {
            "partsTotal": str(PARTS_TOTAL),
            "partsProcessed": str(int(PARTS_TOTAL * done)),
            "timeLeftMs": str(left_ms),
        },
    }


def content(video: Video) -> dict[str, Any]:
    return {
        "duration": iso_duration(video.duration_s or 0),
        "dimension": "2d",
        "definition": "hd" if min(video.width_px or 0, video.height_px or 0) >= 720 else "sd",
        "caption": "false",
        "licensedContent": False,
        "projection": "rectangular",
    }


def iso_duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    text = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if n)
    return f"PT{text or '0S'}"


def counters(video: Video, at: float) -> dict[str, int]:
    """Grown by the days since it was shown, each video at its own pace: the same question has the same answer."""
    since = video.public_since(at)
    days = 0.0 if since is None else max(at - since, 0) / DAY_S
    pace = int(hashlib.sha256(video.id.encode()).hexdigest()[:6], 16) % 900 + 100
    views = int(pace * days)
    return {"viewCount": views, "likeCount": views // 20, "commentCount": views // 150}


def statistics(video: Video, at: float) -> dict[str, str]:
    # All counters of this API are texts; favoriteCount is always 0 (section 6.1).
    return {name: str(count) for name, count in counters(video, at).items()} | {"favoriteCount": "0"}
