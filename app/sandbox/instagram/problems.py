"""Every refusal of section 6 in Meta's own form, and how a tester asks for one: by account or by caption."""

from __future__ import annotations

import re
from typing import Any

from app.sandbox.answering import tagged
from app.sandbox.faults import Fault
from app.sandbox.meta.envelope import Problem, account_full, app_full, dead_token, no_permission

# code, subcode -> message, title, words for people. Titles and words: as far as the sheet quotes them, else ours.
WORDS: dict[tuple[int, int], tuple[str, str, str]] = {
    (-2, 2207003): ("Timeout", "Timeout", "It takes too long to download the media."),
    (-2, 2207020): ("Media expired", "Media expired", "The media you are trying to access has expired."),
    (-1, 2207001): ("Server error", "Server error", "Instagram server error. Try again."),
    (-1, 2207032): ("Create media fail", "Cannot create media", "Create media fail, please try again."),
    (-1, 2207053): ("Unknown upload error", "Cannot upload", "Unknown upload error. Create a new container."),
    (1, 2207057): (
        "Thumbnail offset",
        "Thumbnail offset",
        "The thumbnail offset must be within the video's duration.",
    ),
    (4, 2207051): (
        "Application request limit reached",
        "Action blocked",
        "We limit how often you can do certain things to protect our community. Try again later.",
    ),
    (9, 2207042): (
        "Application request limit reached",
        "Daily limit reached",
        "You reached the maximum number of posts that is allowed to be published by the Content Publishing API.",
    ),
    (24, 2207006): (
        "The requested resource does not exist",
        "Media not found",
        "The media could not be found.",
    ),
    (24, 2207008): (
        "The requested resource does not exist",
        "Builder expired",
        "The media builder with this creation id does not exist or has expired.",
    ),
    (25, 2207050): (
        "Account restricted",
        "Account restricted",
        "The Instagram account is restricted. Sign in to the Instagram app and complete the actions asked for.",
    ),
    (100, 2207023): ("Invalid parameter", "Unknown media type", "The media type is unknown."),
    (100, 2207028): ("Invalid parameter", "Carousel", "Carousels need at least 2 and at most 10 media."),
    (100, 2207035): ("Invalid parameter", "Product tags", "Product tag positions should not be specified."),
    (100, 2207036): ("Invalid parameter", "Product tags", "Product tag positions are required for photos."),
    (100, 2207037): ("Invalid parameter", "Product tags", "Not all of the product tags could be added."),
    (100, 2207040): ("Invalid parameter", "Too many tags", "Cannot use more than 20 tags per post."),
    (352, 2207026): (
        "The video format is not supported",
        "Unsupported format",
        "The video format is not supported. Check the spec for supported formats.",
    ),
    (9004, 2207052): (
        "Only photo or video can be accepted as media type.",
        "Cannot download",
        "The media could not be fetched from this URI.",
    ),
    (9007, 2207027): (
        "Media ID is not available",
        "Not ready",
        "The media is not ready for publishing. Please wait.",
    ),
    (36000, 2207004): ("The image is too large", "Image too large", "The image is larger than 8 MB."),
    (36001, 2207005): ("Unsupported image format", "Unsupported format", "The image must be a JPEG."),
    (36003, 2207009): (
        "The aspect ratio is not supported",
        "Aspect ratio",
        "The image's aspect ratio must be within 4:5 and 1.91:1.",
    ),
    (36004, 2207010): ("The caption was too long", "Caption too long", "The caption is too long."),
    (0, 2207076): ("Media download failed", "Cannot download", "The media could not be downloaded."),
    (0, 2207077): ("Media download failed", "Cannot download", "The media could not be downloaded."),
    (0, 2207081): ("Trial reels", "Trial reels", "This account may not use trial reels."),
    (0, 2207082): ("Media upload failed", "Cannot upload", "The media could not be uploaded."),
    (0, 2207085): ("Media transcode failed", "Cannot transcode", "The media could not be transcoded."),
}
# What a container that ended ERROR may name.
FAIL_REASONS = (
    *("2207001", "2207003", "2207004", "2207005", "2207009", "2207020", "2207026", "2207032", "2207052"),
    *("2207053", "2207057", "2207076", "2207077", "2207081", "2207082", "2207085"),
)
ACTS = {
    "#sandbox-drop-publish": Fault("drop_after", "publish"),
    "#sandbox-error-publish": Fault("error_after", "publish"),
    "#sandbox-junk-publish": Fault("junk_after", "publish"),
    "#sandbox-drop-create": Fault("drop_after", "create"),
}
SLOW_TAG, SLOW_S = "#sandbox-slow-processing", 30.0
_ERROR_TAG = re.compile(r"#sandbox-(create|publish)-(-?\d+)(?:-(\d{7}))?(?!\S)")
_FAIL_TAG = re.compile(r"#sandbox-fail-(\d{7})(?!\S)")
_SAYS = re.compile(r"^(\w+) (-?\d+)(?:/(\d+))?$")


def problem(code: int, subcode: int | None = None) -> Problem:
    """The refusal with these numbers, in the words of the sheet's table where it has a row."""
    if code == 190:
        return dead_token(subcode)
    if code == 102:
        return Problem(102, "Session key invalid or no longer valid", status=401)
    if code == 200:
        return no_permission("instagram_content_publish")
    if code == 4 and subcode is None:
        return app_full()
    if code in (17, 32, 613, 80002) and subcode is None:
        return account_full(code)
    message, title, words = WORDS.get((code, subcode or 0), ("An unknown error occurred", "", ""))
    return Problem(
        code,
        f"(#{code}) {message}",
        subcode,
        transient=code in (1, 2, -1) and subcode != 2207057,
        title=title,
        words=words,
    )


def known(code: int, subcode: int) -> Problem:
    assert (code, subcode) in WORDS
    return problem(code, subcode)


def asked_for(says: str, steps: tuple[str, ...]) -> Problem | None:
    """The refusal that the account's switch `says` wants from a call with one of these names."""
    found = _SAYS.match(says)
    if found is None or found[1] not in steps:
        return None
    return problem(int(found[2]), int(found[3]) if found[3] else None)


def tagged_problem(caption: object, step: str) -> Problem | None:
    """The refusal that a word of the caption wants from the call `create` or `publish`."""
    for found in _ERROR_TAG.finditer(caption if isinstance(caption, str) else ""):
        if found[1] == step:
            return problem(int(found[2]), int(found[3]) if found[3] else None)
    return None


def tagged_fault(caption: object, step: str) -> Fault | None:
    """The fault of the line that a word of the caption wants for this call."""
    return next((fault for fault in tagged(ACTS, caption) if fault.step == step), None)


def tagged_reason(caption: str) -> str | None:
    """The reason with which a word of the caption wants the container to end."""
    found = _FAIL_TAG.search(caption)
    return found[1] if found else None


def no_such_field(field: str, node: str) -> Problem:
    return Problem(100, f"(#100) Tried accessing nonexisting field ({field}) on node type ({node})")


def old_form(status: int, message: str) -> dict[str, Any]:
    """The other envelope, in which the address that trades codes refuses (section 3)."""
    return {"error_type": "OAuthException", "code": status, "error_message": message}
