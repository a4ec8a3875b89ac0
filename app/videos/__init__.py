"""Videos: taking them in, branding them, showing where each one stands."""

from app.videos import assets, places, uploads, wishes
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
    put_back_stranded,
)
from app.videos.shown import SHOWN, Shown, counts, list_for, show, show_many, timeline
from app.videos.verbs import cancel, edit_again, publish_to, retry, retry_target
from app.videos.work import edit, give_up

__all__ = [
    "MACHINE",
    "SHOWN",
    "Rendition",
    "Seen",
    "Shown",
    "State",
    "Video",
    "add",
    "assets",
    "cancel",
    "check_quota",
    "check_title",
    "clean_name",
    "counts",
    "edit",
    "edit_again",
    "get",
    "give_up",
    "list_for",
    "places",
    "publish_to",
    "put_back_stranded",
    "retry",
    "retry_target",
    "show",
    "show_many",
    "sweep_orphans",
    "timeline",
    "uploads",
    "wishes",
]
