"""What the metadata of a video may be (section 4 of the platform's sheet). Pure; each no has its reason."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from app.sandbox.youtube.problems import Problem

PARTS = (
    "id", "snippet", "status", "contentDetails", "statistics", "processingDetails", "player", "localizations",
    "recordingDetails", "fileDetails", "suggestions", "topicDetails", "liveStreamingDetails",
)  # fmt: skip
CATEGORIES = {
    "1": "Film & Animation", "2": "Autos & Vehicles", "10": "Music", "15": "Pets & Animals", "17": "Sports",
    "19": "Travel & Events", "20": "Gaming", "22": "People & Blogs", "23": "Comedy", "24": "Entertainment",
    "25": "News & Politics", "26": "Howto & Style", "27": "Education", "28": "Science & Technology",
    "29": "Nonprofits & Activism",
}  # fmt: skip
# They exist, and nobody can put a video into them.
NOT_ASSIGNABLE = {
    "18": "Short Movies",
    "21": "Videoblogging",
    "30": "Movies",
    "43": "Shows",
    "44": "Trailers",
}
SNIPPET: dict[str, type] = {
    "title": str, "description": str, "tags": list, "categoryId": str, "defaultLanguage": str,
    "defaultAudioLanguage": str,
}  # fmt: skip
STATUS: dict[str, type] = {
    "privacyStatus": str, "publishAt": str, "selfDeclaredMadeForKids": bool, "containsSyntheticMedia": bool,
    "embeddable": bool, "license": str, "publicStatsViewable": bool,
}  # fmt: skip
TITLE_UNITS, DESCRIPTION_BYTES, TAGS_UNITS = 100, 5000, 500
RFC_3339 = re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")


def utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def tags_units(tags: list[str]) -> int:
    """Their lengths, a comma between two, and two quotation marks around a tag with a space."""
    quoted = sum(2 for tag in tags if " " in tag)
    return sum(map(utf16_units, tags)) + max(len(tags) - 1, 0) + quoted


def moment(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time; ValueError for anything else."""
    if not RFC_3339.match(text):
        raise ValueError(text)
    return datetime.fromisoformat(text.upper().replace("Z", "+00:00")).timestamp()


def parts_of(asked: str) -> tuple[str, ...]:
    parts = tuple(filter(None, (each.strip() for each in asked.split(","))))
    if not parts:
        raise Problem(400, "missingRequiredParameter", "Required parameter: part")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise Problem(400, "unknownPart", f"'{unknown[0]}' is not a known part.", domain="youtube.part")
    return parts


def resource_of(body: dict[str, Any], parts: tuple[str, ...], *, updating: bool = False) -> dict[str, Any]:
    """The video that these words describe, of the parts sent; raises the Problem of the first broken rule."""
    snippet, status = _fields(body, "snippet", SNIPPET), _fields(body, "status", STATUS)
    unknown = sorted(
        set(body) - {"id", "kind", "etag", "snippet", "status", "localizations", "recordingDetails"}
    )
    if unknown:
        raise _bad(f"Unknown name {unknown[0]!r}.")
    if "snippet" in parts or not updating:
        _check_snippet(snippet if "snippet" in parts else {}, updating=updating)
    if "status" in parts:
        _check_status(status)
    if body.get("localizations") and not snippet.get("defaultLanguage"):
        raise Problem(400, "defaultLanguageNotSet", "localizations need snippet.defaultLanguage.")
    found = {"snippet": snippet, "status": status}
    return {name: value for name, value in found.items() if name in parts}


def _check_snippet(snippet: dict[str, Any], *, updating: bool) -> None:
    title, description = snippet.get("title", ""), snippet.get("description", "")
    if not title.strip() or utf16_units(title) > TITLE_UNITS or _angled(title):
        raise Problem(400, "invalidTitle", "The request metadata specifies an invalid or empty video title.")
    if len(description.encode("utf-8", "surrogatepass")) > DESCRIPTION_BYTES or _angled(description):
        raise Problem(
            400, "invalidDescription", "The request metadata specifies an invalid video description."
        )
    tags = snippet.get("tags", [])
    wrong = not all(isinstance(tag, str) and tag.strip() and not _angled(tag) for tag in tags)
    if wrong or tags_units(tags) > TAGS_UNITS:
        raise Problem(400, "invalidTags", "The request metadata specifies invalid video keywords.")
    category = snippet.get("categoryId")
    if category not in CATEGORIES and (category is not None or updating):
        raise Problem(
            400, "invalidCategoryId", "The request metadata specifies an invalid video category ID."
        )


def _check_status(status: dict[str, Any]) -> None:
    privacy = status.get("privacyStatus", "public")
    if privacy not in ("public", "unlisted", "private"):
        raise Problem(
            403, "forbiddenPrivacySetting", "The request attempts to set an invalid privacy setting."
        )
    if status.get("license", "youtube") not in ("youtube", "creativeCommon"):
        raise Problem(403, "forbiddenLicenseSetting", "The request attempts to set an invalid license.")
    if "publishAt" in status:
        invalid = Problem(
            400, "invalidPublishAt", "The request metadata specifies an invalid scheduled publishing time."
        )
        try:
            moment(status["publishAt"])
        except ValueError:
            raise invalid from None
        if privacy != "private":
            raise invalid


def _fields(body: dict[str, Any], part: str, known: dict[str, type]) -> dict[str, Any]:
    found = body.get(part, {})
    if not isinstance(found, dict):
        raise _bad(f"{part} must be an object.")
    for name, value in found.items():
        if name not in known:
            raise _bad(f"Unknown name {name!r} at '{part}'.")
        if type(value) is not known[name]:
            raise _bad(f"Invalid value at '{part}.{name}'.")
    return dict(found)


def _angled(text: str) -> bool:
    return "<" in text or ">" in text


def _bad(message: str) -> Problem:
    return Problem(400, "badRequest", f"Invalid JSON payload received. {message}", domain="global")
