"""Every queue and every job, one line each: how many together in a worker, how many tries, which waits and
limits.

Names and argument names are the contract's. The environment overrides a queue with `QUEUE_<NAME>_TOGETHER`,
`_TRIES`, `_FIRST_WAIT_S`, and over all workers `_MOST` (3/60 is three starts in sixty seconds), `_EVERYWHERE` (so
many at once), `_EACH` (of one owner) and `_FAIR` (of one owner while others wait). Operators change the last four
while everything runs.
"""

from app.queue import HIGH, LOW, NORMAL, Job, Queue

VIDEO_EDIT = Queue("video-edit", together=2, tries=2, first_wait_s=10, most=(3, 60), fair=2)
VIDEO_PROCESSING = Queue("video-processing", together=1, fair=4)
VIDEO_UPLOAD = Queue("video-upload", together=1, tries=2, first_wait_s=10, most=(3, 60))
SOCIAL_PUBLISHING = Queue("social-publishing", together=5, fair=4)
UPKEEP = Queue("upkeep", together=2)

QUEUES = (VIDEO_EDIT, VIDEO_PROCESSING, VIDEO_UPLOAD, SOCIAL_PUBLISHING, UPKEEP)

EDIT_VIDEO = Job("edit-video", VIDEO_EDIT, ("videoId",), once="edit-{videoId}", priority=HIGH)
PROCESS_VIDEO = Job(
    "process-video",
    VIDEO_PROCESSING,
    ("videoId", "inputPath", "userId", "options"),
    once="process-{videoId}-{inputPath}-{options}",
    lock="process-{videoId}",
)
ENCODE_PART = Job("encode-part", VIDEO_PROCESSING, ("streamId", "part"), once="part-{streamId}-{part}")
JOIN_STREAM = Job("join-stream", VIDEO_PROCESSING, ("streamId",), once="join-{streamId}")
MAKE_STILLS = Job(
    "make-stills", VIDEO_PROCESSING, ("videoId", "posterMs"), once="stills-{videoId}-{posterMs}"
)
UPLOAD_VIDEO = Job("upload-video", VIDEO_UPLOAD, ("videoId",), once="upload-{videoId}")
# `settings` and `content` repeat what the post asks for, as operators and other programs read it; the target decides.
PUBLISH_TO = {
    platform: Job(
        f"publish-to-{platform}",
        SOCIAL_PUBLISHING,
        ("targetId", "platform", "credentials", "content", "settings"),
        once="publish-{targetId}",
    )
    for platform in ("tiktok", "instagram", "youtube", "facebook")
}
FINISH_TARGET = Job("finish-target", SOCIAL_PUBLISHING, ("targetId",), once="finish-{targetId}", priority=LOW)
SETTLE_TARGET = Job("settle-target", SOCIAL_PUBLISHING, ("targetId",), once="settle-{targetId}")
RELEASE_DUE = Job("release-due", UPKEEP, priority=HIGH)
RELEASE_AT = Job("release-at", UPKEEP, ("moment",), once="release-{moment}", priority=HIGH)
RENEW_TOKENS = Job("renew-tokens", UPKEEP, once="renew-tokens")
RESCUE_STALLED = Job("rescue-stalled", UPKEEP, once="rescue-stalled")
SWEEP = Job("sweep", UPKEEP, once="sweep", priority=LOW)

JOBS = (
    EDIT_VIDEO, PROCESS_VIDEO, ENCODE_PART, JOIN_STREAM, MAKE_STILLS, UPLOAD_VIDEO, *PUBLISH_TO.values(),
    FINISH_TARGET, SETTLE_TARGET, RELEASE_DUE, RELEASE_AT, RENEW_TOKENS, RESCUE_STALLED, SWEEP,
)  # fmt: skip

__all__ = ["HIGH", "JOBS", "LOW", "NORMAL", "QUEUES"]
