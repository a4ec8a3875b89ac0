"""What a bad end of ffmpeg means for the house: the exit code and the last lines in, a kind of error out."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from app.errors import HouseError, Interrupted, Refused, Retryable
from app.media.walls import Limits

MIB = 1024**2

# Lines that only repeat that something went wrong.
EMPTY_WORDS = (
    "Error opening input file",
    "Conversion failed",
    "At least one output file",
    "Nothing was written into output file",
    "Task finished with error code",
    "Terminating thread with return code",
    "Error opening output file",
    "Error while filtering",
)
# What a reader of the message can do something with.
IN_PLAIN_WORDS = {
    "moov atom not found": "its index is missing; the file was cut short or is not a video",
    "error reading header": "its index is damaged",
    "Decode error rate": "most of its pictures are damaged",
    "Format not on whitelist": "this kind of file is not accepted",
    "exceeds specified max pixel count": "its picture is too large",
    "EBML header parsing failed": "its first bytes are damaged",
    "Invalid data found when processing input": "what is in it does not make sense",
    "could not find codec parameters": "what is in it does not make sense",
    "Could not open encoder before EOF": "there is no whole picture in it",
    "End of file": "it ends before it begins",
    "Cannot allocate memory": "it asks for more memory than any video needs",
}
# The input's fault, whoever reads it and however often.
BAD_INPUT = re.compile(
    r"Invalid data found|moov atom not found|not on whitelist|max pixel count|Error opening input"
    r"|Could not find codec parameters|Unsupported codec|Decoder .* not found|unknown codec|no decoder found"
    r"|Could not open encoder before EOF|header parsing failed|Decode error rate|matches no streams",
    re.IGNORECASE,
)
# Ours, though ffmpeg calls it an error of the input: the file went away, or the disk cannot read it.
NOT_THE_INPUT = re.compile(r"No such file or directory|Permission denied|Input/output error", re.IGNORECASE)
# x264 gives no reason when it gets no memory to start with; our own parameters are always good.
NO_MEMORY = re.compile(
    r"Cannot allocate memory|Resource temporarily unavailable|Out of memory|malloc.* failed|Failed to allocate"
    r"|Error while opening encoder",
    re.IGNORECASE,
)
# bwrap tells the signal that ended its child as 128 + its number. Only these: ffmpeg's own exit codes are the low
# byte of its error, so 183 is "invalid data" and no signal.
THROUGH_BWRAP = {
    128 + number: int(number)
    for number in (
        signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU, signal.SIGXFSZ,
        signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE,
    )
}  # fmt: skip
# What ffmpeg exits with after finishing its files on SIGTERM or SIGINT.
STOPPED = 255
WHERE = re.compile(r"^(\[[^\]]*\]\s*)+")
OUR_PATH = re.compile(r"(?<!\w)(?:file:)?/\S+?(?=[:\s,'\"]|$)")


def failure(code: int, tail: Sequence[str], limits: Limits, cpu_s: float = 0.0) -> HouseError:
    """The error to raise for an ffmpeg that ended with `code` (negative: killed by that signal) after `cpu_s`."""
    text = "\n".join(tail)
    number = -code if code < 0 else THROUGH_BWRAP.get(code, 0)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return Retryable("the disk is full", code="disk_full")
    if number == signal.SIGXFSZ or "File too large" in text:
        return Retryable(f"The result grew beyond {limits.file_bytes // MIB} MiB", code="result_too_large")
    # At the limit of CPU seconds the kernel kills it; before, ffmpeg itself would take SIGXCPU for a wish to stop.
    if number == signal.SIGXCPU or (cpu_s >= limits.cpu_s - 0.5 and (number or code == STOPPED)):
        return Retryable(f"Work on this video used more than {limits.cpu_s} CPU seconds", code="too_slow")
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) or (
        code == STOPPED and not BAD_INPUT.search(text)
    ):
        return Interrupted("Work on this video was told to stop", code="stopped")
    if number == signal.SIGKILL:
        return Retryable("ffmpeg was killed, most likely because memory ran short", code="killed")
    if NO_MEMORY.search(text):
        return Retryable("There was not enough memory to work on this video", code="no_memory")
    if number:
        return Retryable(f"ffmpeg ended by signal {number}", code="crashed")
    if BAD_INPUT.search(text) and not NOT_THE_INPUT.search(text):
        return unreadable(tail)
    return Retryable(f"ffmpeg failed: {last_words(tail)}", code="ffmpeg_failed")


def unreadable(tail: Sequence[str]) -> Refused:
    """The refusal for an input that ffmpeg cannot read, with its own reason."""
    words = last_words(tail)
    plain = next((plain for said, plain in IN_PLAIN_WORDS.items() if said.lower() in words.lower()), None)
    reason = f"{plain} (ffmpeg: {words})" if plain else f"ffmpeg says: {words}"
    return Refused(f"This video cannot be read: {reason}", code="unreadable_media")


def last_words(tail: Sequence[str]) -> str:
    """The last line that says something, without addresses in memory and without our paths."""
    said = [OUR_PATH.sub("the file", WHERE.sub("", line.strip())) for line in tail]
    telling = [line for line in said if line and not line.startswith(EMPTY_WORDS)]
    # "Error opening input: Invalid data…" only repeats the line before it, which names the trouble.
    named = [line for line in telling if not line.startswith("Error opening input")] or telling
    return named[-1][:300] if named else "nothing"
