"""Videos: taking them in, branding them, showing where each one stands."""

from app.videos import assets, kits, places, playing, streams, texts, uploads, wishes
from app.videos.endings import give_up as give_up_stream
from app.videos.endings import put_back_stranded as put_back_streams
from app.videos.endings import sweep as sweep_streams
from app.videos.making import encode_part, join_stream, ready_to_make
from app.videos.orphans import sweep_orphans
from app.videos.rows import (
    MACHINE,
    Rendition,
    Seen,
    State,
    Video,
    add,
    check_quota,
    check_title,
    clean_name,
    get,
    media_of,
    put_back_stranded,
    to_send,
)
from app.videos.shown import SHOWN, Shown, counts, list_for, show, show_many, timeline
from app.videos.streams import MACHINE as STREAM_MACHINE
from app.videos.trying import preview
from app.videos.verbs import (
    cancel,
    cancel_stream,
    edit_again,
    encode_rung_again,
    pick_poster,
    process,
    publish_to,
    retry,
    retry_stream,
    retry_target,
)
from app.videos.work import edit, give_up, give_up_process, make_stills
from app.videos.work import process as make_streams

__all__ = [
    "MACHINE",
    "SHOWN",
    "STREAM_MACHINE",
    "Rendition",
    "Seen",
    "Shown",
    "State",
    "Video",
    "add",
    "assets",
    "cancel",
    "cancel_stream",
    "check_quota",
    "check_title",
    "clean_name",
    "counts",
    "edit",
    "edit_again",
    "encode_part",
    "encode_rung_again",
    "get",
    "give_up",
    "give_up_process",
    "give_up_stream",
    "join_stream",
    "kits",
    "list_for",
    "make_stills",
    "make_streams",
    "media_of",
    "pick_poster",
    "places",
    "playing",
    "preview",
    "process",
    "publish_to",
    "put_back_stranded",
    "put_back_streams",
    "ready_to_make",
    "retry",
    "retry_stream",
    "retry_target",
    "show",
    "show_many",
    "streams",
    "sweep_orphans",
    "sweep_streams",
    "texts",
    "timeline",
    "to_send",
    "uploads",
    "wishes",
]
