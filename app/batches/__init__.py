"""Batches: several videos in one job, with a result for each of them, one progress, and a retry of what failed."""

from app.batches.acts import act_on, cancel, clear_away, remove, retry
from app.batches.imports import Row, import_all, preview
from app.batches.rows import (
    MOST,
    Act,
    Batch,
    File,
    Item,
    get,
    item,
    open_place,
    refuse,
    title_of,
    upload_all,
)
from app.batches.shown import Counts, ShownBatch, ShownItem, Stage, Status, list_for, show

__all__ = [
    "MOST",
    "Act",
    "Batch",
    "Counts",
    "File",
    "Item",
    "Row",
    "ShownBatch",
    "ShownItem",
    "Stage",
    "Status",
    "act_on",
    "cancel",
    "clear_away",
    "get",
    "import_all",
    "item",
    "list_for",
    "open_place",
    "preview",
    "refuse",
    "remove",
    "retry",
    "show",
    "title_of",
    "upload_all",
]
