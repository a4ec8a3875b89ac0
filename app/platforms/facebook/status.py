"""What Facebook says became of a video. Sheet, section 3.4; words and spellings vary between its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import HouseError
from app.platforms.base import App, Grant, Handle, OnCall, Status
from app.platforms.facebook.errors import TABLE
from app.platforms.facebook.image import GONE
from app.platforms.facebook.reel import whole_id
from app.platforms.meta import graph

HOME = "https://www.facebook.com"
FIELDS = "id,status,published,permalink_url,post_id"
DONE = ("complete", "completed")
# The docs' spelling first, then the one of the SDK's schema.
COUNTS = ("bytes_transfered", "bytes_transferred")


async def of_video(app: App, grant: Grant, handle: Handle, on_call: OnCall | None) -> Status:
    """Where a Reel or a video stands; `unpublished` where everything arrived and the last call did not."""
    try:
        found = await graph.ask(
            TABLE,
            "status",
            "GET",
            f"{app.api_base}/{app.version}/{handle.publish_id}",
            token=grant.token,
            params={"fields": FIELDS},
            on_call=on_call,
        )
    except HouseError as error:
        if error.code in GONE:
            return Status("gone", reason=error.code)
        raise
    said = found.get("status")
    if not isinstance(said, Mapping) or not said.get("video_status"):
        raise TABLE.error("unreadable_answer")
    return read(found, said, grant.remote_id, handle)


def read(found: Mapping[str, Any], said: Mapping[str, Any], page_id: str, handle: Handle) -> Status:
    """The same in our words. Pure.

    While Facebook works on a video nothing is definite: its publishing phase says `not_started` before and after
    the last call alike. Definite is a video that it is done with, or that it has not begun to work on.
    """
    video_status = str(said["video_status"])
    uploading, processing, publishing = (
        _phase(said, name) for name in ("uploading_phase", "processing_phase", "publishing_phase")
    )
    if _published(found, video_status, publishing, handle):
        post_id = str(found.get("post_id") or handle.remote_id or "")
        return Status(
            "published",
            post_ids=(whole_id(page_id, post_id) if post_id else handle.publish_id,),
            url=_address(found, handle),
        )
    if video_status == "expired":
        return Status("gone", reason=video_status)
    phases = (uploading, processing, publishing)
    if video_status in ("error", "upload_failed") or any(each.get("status") == "error" for each in phases):
        return _failed(video_status, phases)
    if publishing.get("publish_status") == "error":
        return _failed("error", phases)
    arrived = _arrived(uploading)
    if uploading.get("status") not in DONE and video_status == "uploading":
        return Status("processing", bytes_received=arrived or 0)
    working = video_status == "processing" or "in_progress" in (
        processing.get("status"),
        publishing.get("status"),
    )
    if working or publishing.get("publish_status") == "scheduled" or publishing.get("status") in DONE:
        return Status("processing", bytes_received=arrived)
    return Status("unpublished", bytes_received=arrived)


def _published(
    found: Mapping[str, Any], video_status: str, publishing: Mapping[str, Any], handle: Handle
) -> bool:
    if publishing.get("publish_status") == "published":
        return True
    # An ordinary video is shown once it is ready, unless it was asked to stay unseen (section 3.4).
    return handle.kind == "video" and video_status == "ready" and found.get("published") is True


def _failed(video_status: str, phases: tuple[Mapping[str, Any], ...]) -> Status:
    code, words = "", ""
    for phase in phases:
        listed = phase.get("errors")
        told = [*(listed if isinstance(listed, list) else []), phase.get("error")]
        for each in told:
            if isinstance(each, Mapping):
                code, words = code or str(each.get("code") or ""), words or str(each.get("message") or "")
    if code not in TABLE.rows:
        code = "upload_failed" if video_status == "upload_failed" else "video_failed"
    return Status("failed", reason=code, error=TABLE.error(code, words or video_status))


def _address(found: Mapping[str, Any], handle: Handle) -> str:
    """The permalink, which Facebook gives whole or as a path, else the address its id makes."""
    permalink = str(found.get("permalink_url") or "")
    if permalink.startswith("/"):
        return HOME + permalink
    if permalink.startswith("https://"):
        return permalink
    return f"{HOME}/reel/{handle.publish_id}" if handle.kind == "reel" else f"{HOME}/{handle.publish_id}"


def _phase(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = said.get(name)
    return found if isinstance(found, Mapping) else {}


def _arrived(uploading: Mapping[str, Any]) -> int | None:
    for name in COUNTS:
        count = uploading.get(name)
        if isinstance(count, int) or (isinstance(count, str) and count.isdigit()):
            return int(count)
    size = uploading.get("source_file_size")
    return size if uploading.get("status") in DONE and isinstance(size, int) else None
