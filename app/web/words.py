"""The words, tones and icons that people read for states, events and sizes: the one place for them.

A tone is one of `waiting working done needs failed off`; an icon is a name of `static/icons.svg`. A state is never
shown by its colour alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jinja2

from app import platforms
from app.media import FONTS


@dataclass(frozen=True)
class Word:
    """How one state is shown."""

    text: str
    tone: str
    icon: str


@dataclass(frozen=True)
class Part:
    """A piece of a text; `marked` is a hashtag or a mention."""

    text: str
    marked: bool


UNKNOWN = Word("Unknown", "off", "circle-help")
# Videos by the contract's states (S1.47), targets, accounts and jobs by their own.
STATES: Mapping[str, Word] = {
    "UPLOADED": Word("Uploaded", "waiting", "upload"),
    "EDITING_QUEUED": Word("In line for branding", "waiting", "clock"),
    "EDITING": Word("Branding", "working", "wand-sparkles"),
    "EDITED": Word("Branded", "done", "check"),
    "UPLOAD_QUEUED": Word("In line to post", "waiting", "clock"),
    "UPLOADING": Word("Posting", "working", "send"),
    "CONFIRMING": Word("Confirming", "working", "hourglass"),
    "POSTED": Word("Posted", "done", "circle-check"),
    "FAILED": Word("Failed", "failed", "triangle-alert"),
    "CANCELLED": Word("Cancelled", "off", "ban"),
    "draft": Word("Draft", "off", "pencil"),
    "scheduled": Word("Planned", "waiting", "calendar-clock"),
    "queued": Word("In line to post", "waiting", "clock"),
    "publishing": Word("Posting", "working", "send"),
    "unconfirmed": Word("Confirming", "working", "hourglass"),
    "published": Word("Posted", "done", "circle-check"),
    "missed": Word("Missed its time", "needs", "calendar-clock"),
    "held": Word("Held back", "needs", "circle-pause"),
    "kept_waiting": Word("Waits for its account", "needs", "plug"),
    "partially_published": Word("Partly posted", "needs", "triangle-alert"),
    "failed": Word("Failed", "failed", "triangle-alert"),
    "cancelled": Word("Cancelled", "off", "ban"),
    "connected": Word("Connected", "done", "circle-check"),
    "needs_reconnect": Word("Connect again", "needs", "plug"),
    "disconnected": Word("Disconnected", "off", "plug"),
    "paused": Word("Paused", "needs", "circle-pause"),
    "waiting": Word("Waiting", "waiting", "clock"),
    "running": Word("Running", "working", "loader-circle"),
    "done": Word("Done", "done", "check"),
    "stream_asked": Word("In line", "waiting", "clock"),
    "stream_making": Word("Being made", "working", "loader-circle"),
    "stream_ready": Word("Ready to stream", "done", "circle-check"),
    "stream_failed": Word("Not made", "failed", "triangle-alert"),
    "gave_up": Word("Gave up", "failed", "triangle-alert"),
    "lost": Word("Worker lost", "needs", "triangle-alert"),
}
# The stretch of an item of a batch before there is a video of it, and what could not be begun.
STATES_OF_ITEMS: Mapping[str, Word] = {
    "WAITING_FOR_FILE": Word("Not uploaded yet", "waiting", "file-video"),
    "RECEIVING": Word("Uploading", "working", "upload"),
    "REFUSED": Word("Not accepted", "failed", "triangle-alert"),
    "SKIPPED": Word("Left alone", "off", "info"),
}
BATCHES: Mapping[str, Word] = {
    "empty": Word("Nothing in it", "off", "circle-dashed"),
    "running": Word("Under way", "working", "layers"),
    "needs_files": Word("Waits for files", "needs", "file-video"),
    "planned": Word("Planned", "waiting", "calendar-clock"),
    "partly_failed": Word("Partly failed", "failed", "triangle-alert"),
    "failed": Word("Failed", "failed", "triangle-alert"),
    "done": Word("Finished", "done", "circle-check"),
    "cancelled": Word("Cancelled", "off", "ban"),
}
# What people are told of the stages that a batch counts; the order is the one they read them in.
COUNTED: Mapping[str, Word] = {
    "done": Word("done", "done", "check"),
    "working": Word("under way", "working", "wand-sparkles"),
    "uploading": Word("uploading", "working", "upload"),
    "planned": Word("planned", "waiting", "calendar-clock"),
    "waiting": Word("not uploaded yet", "waiting", "file-video"),
    "failed": Word("failed", "failed", "triangle-alert"),
    "refused": Word("not accepted", "failed", "triangle-alert"),
    "skipped": Word("left alone", "off", "info"),
    "cancelled": Word("cancelled", "off", "ban"),
}
# What a video waits for when it is branded and has nowhere to go, or a time of its own.
EDITED_PLANNED = Word("Planned", "waiting", "calendar-clock")
EVENTS: Mapping[str, Word] = {
    "video.uploaded": Word("Uploaded", "done", "upload"),
    "video.editing_queued": Word("In line for branding", "waiting", "clock"),
    "video.editing": Word("Branding started", "working", "wand-sparkles"),
    "video.edited": Word("Branded", "done", "check"),
    "video.failed": Word("Branding failed", "failed", "triangle-alert"),
    "video.cancelled": Word("Cancelled", "off", "ban"),
    "video.process_queued": Word("Streaming versions asked for", "waiting", "layers"),
    "video.poster_queued": Word("Another poster asked for", "waiting", "film"),
    "stream.making": Word("Streaming versions begun", "working", "layers"),
    "stream.ready": Word("Ready to stream", "done", "circle-check"),
    "stream.failed": Word("Streaming versions not made", "failed", "triangle-alert"),
    "stream.cancelled": Word("Streaming versions stopped", "off", "ban"),
    "stream.replaced": Word("Streaming versions replaced by newer ones", "off", "history"),
    "target.scheduled": Word("Post planned", "waiting", "calendar-clock"),
    "target.queued": Word("In line to post", "waiting", "clock"),
    "target.publishing": Word("Posting started", "working", "send"),
    "target.unconfirmed": Word("Sent; the platform is asked", "working", "hourglass"),
    "target.published": Word("Posted", "done", "circle-check"),
    "target.failed": Word("Posting failed", "failed", "triangle-alert"),
    "target.missed": Word("Missed its time", "failed", "triangle-alert"),
    "target.cancelled": Word("Post cancelled", "off", "ban"),
    "target.moved": Word("Planned for another time", "waiting", "calendar-clock"),
    "target.edited": Word("Edited", "waiting", "pencil"),
    "publication.planned": Word("Planned", "waiting", "calendar-clock"),
    "batch.created": Word("Several videos put together", "done", "layers"),
    "batch.retried": Word("Tried again what failed", "working", "rotate-ccw"),
    "batch.cancelled": Word("Called off what was not posted", "off", "ban"),
    "batch.item_removed": Word("Taken out of the batch", "off", "x"),
}
PLATFORMS: Mapping[str, str] = platforms.LABELS
PRIVACY: Mapping[str, str] = {
    "PUBLIC_TO_EVERYONE": "Everyone",
    "MUTUAL_FOLLOW_FRIENDS": "Friends (you follow each other)",
    "FOLLOWER_OF_CREATOR": "Followers",
    "SELF_ONLY": "Only me",
}
EFFECTS: Mapping[str, str] = {
    "fade-in": "Fade in",
    "fade-out": "Fade out",
    "grayscale": "Black and white",
    "warm": "Warm",
    "cool": "Cool",
    "vivid": "Vivid",
    "vintage": "Vintage",
    "blur-fill": "Blurred sides (fills the frame)",
    "loudness": "Even loudness (−14 LUFS)",
}
# The shape of a video, what becomes of what does not fit into it, and how captions are shown.
ASPECTS: Mapping[str, str] = {
    "original": "As it is",
    "9:16": "9:16",
    "4:5": "4:5",
    "1:1": "1:1",
    "16:9": "16:9",
}
FITS: Mapping[str, str] = {"crop": "Cut it off", "blur": "Blur behind it", "pad": "Colour behind it"}
MODES: Mapping[str, str] = {
    "off": "None",
    "burned": "Burned in",
    "side": "Beside, to switch on",
    "both": "Both",
}
# Offered; any other tag can be typed.
LANGUAGES: Mapping[str, str] = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fr": "French", "hi": "Hindi",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish",
    "pt-BR": "Portuguese (Brazil)", "ro": "Romanian", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese",
    "zh-Hans": "Chinese (simplified)",
}  # fmt: skip
POSITIONS: Mapping[str, str] = {
    "topleft": "Top left", "top": "Top", "topright": "Top right",
    "left": "Left", "center": "Middle", "right": "Right",
    "bottomleft": "Bottom left", "bottom": "Bottom", "bottomright": "Bottom right",
}  # fmt: skip
# Hashtags and mentions, as platforms mark them.
MARKED = re.compile(r"(?<![\w#@])([#@][\w.]*\w)")
# What is known of a post beforehand.
FORETOLD: Mapping[str, Word] = {
    "ok": Word("Good", "done", "circle-check"),
    "warn": Word("Note", "needs", "triangle-alert"),
    "stop": Word("Stop", "failed", "ban"),
    "todo": Word("To do", "needs", "pencil"),
    "open": Word("Not known yet", "waiting", "circle-dashed"),
}
KINDS: Mapping[str, str] = {
    "video": "Video", "reel": "Reel", "story": "Story", "image": "Picture", "carousel": "Several pictures",
    "inbox": "Draft in the app, to finish there",
}  # fmt: skip
# YouTube's, as a creator may choose them (sheet, section 4).
CATEGORIES: Mapping[str, str] = {
    "1": "Film and animation", "2": "Cars and vehicles", "10": "Music", "15": "Pets and animals", "17": "Sport",
    "19": "Travel and events", "20": "Games", "22": "People and blogs", "23": "Comedy", "24": "Entertainment",
    "25": "News and politics", "26": "How-to and style", "27": "Education", "28": "Science and technology",
    "29": "Non-profits and activism",
}  # fmt: skip
# A reason's code → where the person can do something about it, and what that is called.
NEXT: Mapping[str, tuple[str, str]] = {
    "needs_reconnect": ("/accounts", "Connect the account again"),
    "disconnected": ("/accounts", "Connect the account again"),
    "access_token_invalid": ("/accounts", "Connect the account again"),
    "scope_not_authorized": ("/accounts", "Connect the account again"),
    "account_paused": ("/accounts", "Go to the account"),
}


def state(name: str) -> Word:
    return STATES.get(name, UNKNOWN)


def target_state(target: Any) -> Word:
    """The word of one post; a planned one that waits for a person says so."""
    if target.state == "scheduled" and target.held_at is not None:
        return state("held")
    if target.state == "scheduled" and target.reason_code == "needs_reconnect":
        return state("kept_waiting")
    return state(target.state)


def foretold(kind: str) -> Word:
    return FORETOLD.get(kind, UNKNOWN)


def visible_to(target: Any) -> str | None:
    """Who sees a post, in its own platform's words; None where the platform has no choice of that."""
    known = platforms.get(target.platform).PRIVACY
    level = str(target.post.get("privacy_level") or "")
    return known.get(level, level) if known and level else None


def shown_state(shown: Any) -> Word:
    """The word of a video as a whole; a branded one that waits for its hour says so."""
    if shown.state == "EDITED" and shown.target is not None and shown.target.state == "scheduled":
        return EDITED_PLANNED
    return state(shown.state)


def item_state(item: Any) -> Word:
    """The word of an item of a batch: its video's, as soon as that is what it is about."""
    if item.state in STATES_OF_ITEMS:
        return STATES_OF_ITEMS[item.state]
    return shown_state(item.shown) if item.state == "EDITED" else state(item.state)


def batch_state(name: str) -> Word:
    return BATCHES.get(name, UNKNOWN)


def batch_title(found: Any, names: Mapping[int, str]) -> str:
    """What a batch is called: how many, and what was asked for them."""
    many = plural(len(found.items), "video")
    account = names.get(found.batch.wishes.get("accountId") or 0)
    if found.batch.act == "retry":
        return f"Retrying {many}"
    if found.batch.act == "import":
        return f"{plural(len(found.items), 'post')} from a file"
    if found.batch.act == "cancel":
        return f"Cancelling {many}"
    return f"{many} for {account}" if account else f"{many} to be branded" if not found.batch.posts else many


def counted(counts: Any) -> list[tuple[int, Word]]:
    """How many of a batch stand where, without what there is none of."""
    found = [(int(getattr(counts, name)), word) for name, word in COUNTED.items()]
    return [(many, word) for many, word in found if many]


def event(name: str) -> Word:
    """A sentence for an event; one that has none yet is shown by its name."""
    if name in EVENTS:
        return EVENTS[name]
    kind, _, what = name.partition(".")
    return Word(f"{kind} {what.replace('_', ' ')}".capitalize(), "waiting", "circle-dashed")


def next_step(code: str | None) -> tuple[str, str] | None:
    """Where a person goes to put right what this reason's code names; None when retrying is all there is."""
    return NEXT.get(code or "")


def plain(reason: str | None) -> str:
    """A reason with the platform's own code words put as people know them."""
    said = reason or ""
    for code, word in PRIVACY.items():
        said = said.replace(code, f"“{word}”")
    return said


def size(count: float | None) -> str:
    """Bytes in decimal units, as browsers and phones show them: `1.5 MB`."""
    if count is None:
        return "unknown size"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def clock(seconds: float | None) -> str:
    """How long a video is: `0:05`, `12:34`, `1:02:03`."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def took(seconds: float | None) -> str:
    """How long something took: `400 ms`, `1.4 s`, `12 s`, `3 min`, `2 h 5 min`."""
    if seconds is None:
        return ""
    if seconds < 0.95:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def moment(at: datetime, zone: str = "UTC", *, seconds: bool = False) -> str:
    """A time with its zone: `Tue 3 Mar 2026, 09:00 Europe/Kyiv`; the year is left out while it is this one."""
    local = at.astimezone(_zone(zone))
    year = "" if local.year == datetime.now(UTC).astimezone(_zone(zone)).year else f" {local.year}"
    clock_time = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    return f"{local:%a} {local.day} {local:%b}{year}, {clock_time} {zone}"


def clock_time(at: datetime, zone: str = "UTC") -> str:
    """What the clocks of the zone show: `12:03`."""
    return f"{at.astimezone(_zone(zone)):%H:%M}"


def distance(at: datetime, now: datetime | None = None) -> str:
    """How far away a time is: `in 2 days`, `5 minutes ago`, `just now`."""
    seconds = (at - (now or datetime.now(UTC))).total_seconds()
    far = abs(seconds)
    if far < 60:
        return "just now" if seconds <= 0 else "in a moment"
    for most, unit_s, word in (
        (90 * 60, 60, "minute"),
        (36 * 3600, 3600, "hour"),
        (60 * 86_400, 86_400, "day"),
        (math.inf, 30 * 86_400, "month"),
    ):
        if far < most:
            count = max(1, round(far / unit_s))
            words = f"{count} {word}{'' if count == 1 else 's'}"
            return f"in {words}" if seconds > 0 else f"{words} ago"
    raise AssertionError


def browser(user_agent: str) -> str:
    """What a browser says of itself, in words a person knows: `Firefox on Windows`."""
    # The order counts: most browsers name others, too.
    names = (
        ("Edg", "Edge"),
        ("OPR", "Opera"),
        ("Firefox", "Firefox"),
        ("Chrom", "Chrome"),
        ("Safari", "Safari"),
    )
    systems = (
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    )
    name = next((word for part, word in names if part in user_agent), None)
    system = next((word for part, word in systems if part in user_agent), None)
    if name is None:
        return user_agent[:60] or "A browser"
    return f"{name} on {system}" if system else name


def spoken(text: str) -> list[Part]:
    """A text in pieces, hashtags and mentions marked as platforms mark them."""
    pieces = MARKED.split(text)
    return [Part(piece, at % 2 == 1) for at, piece in enumerate(pieces) if piece]


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 video`, `3 videos`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def add_to(environment: jinja2.Environment) -> None:
    """Make the words known to templates, as filters and as the tables that forms list."""
    environment.filters |= {
        "state": state,
        "foretold": foretold,
        "clock_time": clock_time,
        "spoken": spoken,
        "shown_state": shown_state,
        "target_state": target_state,
        "visible_to": visible_to,
        "item_state": item_state,
        "batch_state": batch_state,
        "batch_title": batch_title,
        "counted": counted,
        "event": event,
        "next_step": next_step,
        "plain": plain,
        "size": size,
        "clock": clock,
        "took": took,
        "moment": moment,
        "distance": distance,
        "plural": plural,
        "browser": browser,
    }
    environment.globals |= {
        "PLATFORMS": PLATFORMS,
        "PRIVACY": PRIVACY,
        "KINDS": KINDS,
        "CATEGORIES": CATEGORIES,
        "EFFECTS": EFFECTS,
        "POSITIONS": POSITIONS,
        "ASPECTS": ASPECTS,
        "FITS": FITS,
        "MODES": MODES,
        "LANGUAGES": LANGUAGES,
        "FONTS": FONTS,
    }
