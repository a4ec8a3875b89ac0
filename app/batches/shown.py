"""How a batch stands: read from its items' own uploads, videos and targets each time, so it cannot differ from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from app import db, videos
from app.batches import rows
from app.batches.rows import Act, Batch, Item

# What an item is shown as before it goes the way of its video; from then on it is the video's own state.
WAITING_FOR_FILE, RECEIVING, REFUSED, SKIPPED = "WAITING_FOR_FILE", "RECEIVING", "REFUSED", "SKIPPED"

# Where there is nothing to do, nothing failed: posted or on its way there already, nothing to retry or to stop.
NOTHING_TO_DO = ("posted", "on_its_way", "not_over", "nothing_to_cancel")


class Stage(StrEnum):
    """What the states of items mean for the batch."""

    WAITING = "waiting"
    UPLOADING = "uploading"
    WORKING = "working"
    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


STAGES = {
    WAITING_FOR_FILE: Stage.WAITING,
    RECEIVING: Stage.UPLOADING,
    REFUSED: Stage.REFUSED,
    SKIPPED: Stage.SKIPPED,
    "UPLOADED": Stage.WORKING,
    "EDITING_QUEUED": Stage.WORKING,
    "EDITING": Stage.WORKING,
    "UPLOAD_QUEUED": Stage.WORKING,
    "UPLOADING": Stage.WORKING,
    "CONFIRMING": Stage.WORKING,
    "POSTED": Stage.DONE,
    "FAILED": Stage.FAILED,
    "CANCELLED": Stage.CANCELLED,
}


class Status(StrEnum):
    """The one word for the whole batch."""

    EMPTY = "empty"
    RUNNING = "running"
    NEEDS_FILES = "needs_files"
    PLANNED = "planned"
    PARTLY_FAILED = "partly_failed"
    FAILED = "failed"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Counts:
    """How many items are at each stage; together they are `total`."""

    total: int
    waiting: int
    uploading: int
    working: int
    planned: int
    done: int
    failed: int
    refused: int
    skipped: int
    cancelled: int


@dataclass(frozen=True)
class ShownItem:
    """An item with what came of it. `shown` is its video, with the one post that this batch is about."""

    batch: Batch
    item: Item
    upload: videos.uploads.Upload | None = None
    shown: videos.Shown | None = None

    @property
    def title(self) -> str:
        return self.item.title if self.shown is None else self.shown.video.title

    @property
    def filename(self) -> str:
        """The file at hand: one that was added again may be another than the one announced."""
        if self.shown is not None:
            return self.shown.video.filename
        return self.item.filename if self.upload is None else self.upload.filename

    @property
    def bytes_total(self) -> int:
        return self.item.bytes if self.upload is None else self.upload.bytes_total

    @property
    def bytes_here(self) -> int:
        return 0 if self.upload is None else self.upload.bytes_here

    @property
    def state(self) -> str:
        if self.shown is None:
            return self._without_video()
        if self._accepted:
            return self.shown.state
        if self.item.cancelled_at is not None:
            return "CANCELLED"
        return SKIPPED if self.item.refused_code in NOTHING_TO_DO else REFUSED

    def _without_video(self) -> str:
        if self.item.cancelled_at is not None:
            return "CANCELLED"
        if self.upload is not None:
            return REFUSED if self.upload.state == "refused" else RECEIVING
        return WAITING_FOR_FILE if self.item.refused is None else REFUSED

    @property
    def _accepted(self) -> bool:
        """Whether the item goes the way of its video: what was asked of a video that was there could be begun."""
        return self.batch.act == Act.UPLOAD or self.item.accepted

    @property
    def stage(self) -> Stage:
        if self.state == "EDITED":
            planned = self.shown is not None and self.shown.target is not None
            return Stage.PLANNED if planned else Stage.DONE
        if self.state == "CANCELLED" and self.batch.act == Act.CANCEL:
            return Stage.DONE
        return STAGES[self.state]

    @property
    def reason(self) -> str | None:
        """Why it failed or was refused, or why it waits, where there is something to say."""
        if self.state in (REFUSED, SKIPPED):
            return self.upload.reason if self.upload is not None else self.item.refused
        return None if self.shown is None or not self._accepted else self.shown.reason

    @property
    def reason_code(self) -> str | None:
        if self.state in (REFUSED, SKIPPED):
            return "refused" if self.upload is not None else self.item.refused_code
        return None if self.shown is None or not self._accepted else self.shown.reason_code

    @property
    def note(self) -> str | None:
        """What was asked for it last and not possible, where its own state does not tell it."""
        return None if self.state in (REFUSED, SKIPPED) else self.item.refused

    @property
    def takes_file(self) -> bool:
        """Whether a file can be added here (again), or the place be given up."""
        return self.batch.act == Act.UPLOAD and self.shown is None and self.item.cancelled_at is None

    @property
    def can_retry(self) -> bool:
        """A file that was refused has to be sent again by the person; everything else can be tried again here."""
        if self.stage == Stage.REFUSED:
            # A row with mistakes is put right in its file.
            return self.batch.act != Act.UPLOAD and (
                self.batch.act != Act.IMPORT or self.item.asked is not None
            )
        return self.stage == Stage.FAILED

    @property
    def can_cancel(self) -> bool:
        if self.batch.act == Act.CANCEL:
            return False
        if self.takes_file or self.state == REFUSED:
            return True
        if self.stage not in (Stage.WORKING, Stage.PLANNED) or self.shown is None:
            return False
        return self.edits_for_us or (self.shown.target is not None and self.shown.target.can_cancel)

    @property
    def edits_for_us(self) -> bool:
        """Whether the video is being made because of this batch, so that calling off ends the making."""
        making = self.shown is not None and self.shown.video.state in ("EDITING_QUEUED", "EDITING")
        return making and self.batch.act in (Act.UPLOAD, Act.RETRY)

    # ---- how far ----

    @property
    def steps(self) -> tuple[str, ...]:
        """What has to be done for it, in order; equal parts of its progress."""
        if self.batch.act == Act.CANCEL:
            return ("cancel",)
        if self.batch.act == Act.UPLOAD:
            return ("receive", "brand", "post") if self.batch.posts else ("receive", "brand")
        posts = self.batch.act in (Act.POST, Act.IMPORT) or (
            self.shown is not None and self.shown.target is not None
        )
        return (*(() if self.item.branded else ("brand",)), *(("post",) if posts else ())) or ("brand",)

    @property
    def step(self) -> tuple[int, float]:
        """How many steps are done, and how far the next one is (0–100). What failed counts its whole steps."""
        many = len(self.steps)
        if self.stage == Stage.DONE:
            return many, 0.0
        if self.shown is None:
            return 0, 100 * self.bytes_here / self.bytes_total if self.stage == Stage.UPLOADING else 0.0
        if not self._accepted:
            return 0, 0.0
        edited = self.shown.video.state == videos.State.EDITED
        ahead = ("post",) if edited else ("brand", "post")
        done = many - len([step for step in self.steps if step in ahead])
        going = self.stage == Stage.WORKING
        return done, self.shown.progress if going else 0.0

    @property
    def begins_at(self) -> float:
        """Percent of the whole at which the step at hand begins; it covers `span` more."""
        return 100 * self.step[0] / len(self.steps)

    @property
    def span(self) -> float:
        return 100 / len(self.steps)

    @property
    def progress(self) -> float:
        """0–100 of everything that has to be done for it."""
        return min(100.0, self.begins_at + self.span * self.step[1] / 100)

    @property
    def counts_in(self) -> bool:
        """What was called off, and where there was nothing to do, is not waited for."""
        return self.stage not in (Stage.CANCELLED, Stage.SKIPPED)


@dataclass(frozen=True)
class ShownBatch:
    """A batch with its items, and what follows from them."""

    batch: Batch
    items: tuple[ShownItem, ...]

    @cached_property
    def counts(self) -> Counts:
        stages = [item.stage for item in self.items]
        return Counts(total=len(stages), **{stage.value: stages.count(stage) for stage in Stage})

    @cached_property
    def progress(self) -> float:
        """0–100 over all that was not called off; 100 when nothing is left to be done."""
        counted = [item.progress for item in self.items if item.counts_in]
        return sum(counted) / len(counted) if counted else 100.0

    @property
    def status(self) -> Status:
        counts = self.counts
        bad, out = counts.failed + counts.refused, counts.cancelled + counts.skipped
        if not counts.total:
            return Status.EMPTY
        if counts.uploading or counts.working:
            return Status.RUNNING
        if counts.waiting:
            return Status.NEEDS_FILES
        if bad:
            return Status.FAILED if bad + out == counts.total else Status.PARTLY_FAILED
        if counts.planned:
            return Status.PLANNED
        return Status.CANCELLED if counts.cancelled and out == counts.total else Status.DONE

    @property
    def over(self) -> bool:
        """Whether nothing moves and nothing is waited for."""
        return self.status in (Status.EMPTY, Status.DONE, Status.CANCELLED)

    @property
    def to_retry(self) -> int:
        return sum(item.can_retry for item in self.items)

    @property
    def to_cancel(self) -> int:
        return sum(item.can_cancel for item in self.items)


async def show(conn: db.Conn, batch_id: int) -> ShownBatch:
    return (await _with_items(conn, [await rows.get(conn, batch_id)]))[0]


async def list_for(conn: db.Conn, *, before_id: int | None = None, most: int = 20) -> list[ShownBatch]:
    """The workspace's batches, newest first."""
    return await _with_items(conn, await rows.newest(conn, before_id=before_id, most=most))


async def _with_items(conn: db.Conn, batches: Sequence[Batch]) -> list[ShownBatch]:
    if not batches:
        return []
    items = await rows.items(conn, [batch.id for batch in batches])
    found = await videos.show_many(conn, [item.video_id for item in items if item.video_id is not None])
    without = [item.id for item in items if item.video_id is None]
    sent = await videos.uploads.of_items(conn, without) if without else {}
    of = {batch.id: batch for batch in batches}
    shown = [
        ShownItem(of[item.batch_id], item, sent.get(item.id), _narrowed(of[item.batch_id], item, found))
        for item in items
    ]
    return [
        ShownBatch(batch, tuple(one for one in shown if one.item.batch_id == batch.id)) for batch in batches
    ]


def _narrowed(batch: Batch, item: Item, found: dict[int, videos.Shown]) -> videos.Shown | None:
    """The item's video with the one post that the batch made or is about: a later one is not the batch's."""
    shown = found.get(item.video_id) if item.video_id is not None else None
    if shown is None:
        return None
    if batch.act == Act.UPLOAD:
        targets = shown.targets[:1] if batch.posts else ()
    else:
        targets = tuple(target for target in shown.targets if target.id == item.target_id)
    return replace(shown, targets=targets)
