"""Turns the figures of all repetitions into markdown tables: the median, and least to most where there are several."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.queue.rivals import Peer

OURS, RIVAL = "backlot", "bullmq"


@dataclass
class Figures:
    """(peer, what) → one value of each repetition; and what went wrong, in a sentence."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def add(self, peer: Peer, what: str, value: float | None) -> None:
        if value is not None:
            self.values.setdefault((peer.name, what), []).append(value)

    def median(self, name: str, what: str) -> float | None:
        found = self.values.get((name, what))
        return statistics.median(found) if found else None

    def cell(self, name: str, what: str, write: Callable[[float], str]) -> str:
        found = self.values.get((name, what))
        if not found:
            return "–"
        middle = write(statistics.median(found))
        return middle if len(found) == 1 else f"{middle} ({write(min(found))}–{write(max(found))})"

    def ratio(self, name: str, other: str, what: str, of: str | None = None) -> str:
        ours, theirs = self.median(name, what), self.median(other, of or what)
        return f"{ours / theirs:.2f}" if ours and theirs else "–"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def fine(value: float) -> str:
    return f"{value:.2f}"


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """One markdown table under its title; rows of dashes alone are left out, and so is a table without rows."""
    names = list(head)
    kept = [row for row in map(list, rows) if any(cell != "–" for cell in row[1:])]
    if not kept:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in kept]
    return "\n".join([f"### {title}", "", f"| {' | '.join(names)} |", "|---" * len(names) + "|", *lines, ""])


DRAINS = {
    "1": "drain 1x1",
    "10": "drain 1x10",
    "50": "drain 1x50",
    "two processes of 25": "drain 2x25",
}


def drains(figures: Figures, peers: list[Peer]) -> str:
    rows = [
        [peer.label, *(figures.cell(peer.name, what, whole) for what in DRAINS.values())] for peer in peers
    ]
    return table("Drain", ["empty jobs a second, at concurrency", *DRAINS], rows)


def ratios(figures: Figures, peers: list[Peer]) -> str:
    """Backlot over each other; the bare loop has one figure, at its one connection."""
    rows = [
        [
            peer.label,
            *(
                figures.ratio(OURS, peer.name, what, "drain 1x1" if peer.module == "bare" else what)
                for what in DRAINS.values()
            ),
        ]
        for peer in peers
        if peer.name != OURS
    ]
    return table("Drain: Backlot as a multiple of", ["at concurrency", *DRAINS], rows)


def enqueues(figures: Figures, peers: list[Peer]) -> str:
    rows = [
        [peer.label, figures.cell(peer.name, "one", whole), figures.cell(peer.name, "one bare", whole),
         figures.ratio(peer.name, peer.name, "one", "one bare"), figures.cell(peer.name, "bulk", whole)]
        for peer in peers
    ]  # fmt: skip
    head = ["enqueued a second", "one by one", "bare INSERT, same connection", "ratio", "bulk, 1,000 a call"]
    return table("Enqueue", head, rows)


def latencies(figures: Figures, peers: list[Peer]) -> str:
    names = ["p50", "p95", "p99"]
    rows = [
        [peer.label, *(figures.cell(peer.name, f"latency {name}", fine) for name in names),
         figures.ratio(peer.name, RIVAL, "latency p50")]
        for peer in peers
    ]  # fmt: skip
    return table(
        "Idle start latency", ["ms from the commit to the first line", *names, "p50 of BullMQ's"], rows
    )


def costs(figures: Figures, peers: list[Peer]) -> str:
    rows = [
        [peer.label, figures.cell(peer.name, "put statements", fine), figures.cell(peer.name, "take statements", fine),
         figures.cell(peer.name, "put bytes", whole), figures.cell(peer.name, "take bytes", whole)]
        for peer in peers
    ]  # fmt: skip
    head = [
        "a job, at concurrency 10",
        "statements to put",
        "to take and finish",
        "bytes of log to put",
        "to take and finish",
    ]
    return table("Statements and log", head, rows)


def memories(figures: Figures, peers: list[Peer]) -> str:
    names = ["memory resident", "memory proportional", "memory growth"]
    rows = [[peer.label, *(figures.cell(peer.name, name, fine) for name in names)] for peer in peers]
    return table("Memory of a worker", ["MiB", "idle, RSS", "idle, PSS", "growth over 10,000 jobs"], rows)


def histories(figures: Figures, peers: list[Peer]) -> str:
    rows = []
    for peer in peers:
        for label, what, write in (
            ("drain at 10", "drain 1x10", whole),
            ("latency p50, ms", "latency p50", fine),
            ("latency p99, ms", "latency p99", fine),
        ):
            cells = [figures.cell(peer.name, what, write), figures.cell(peer.name, f"past {what}", write)]
            if cells[1] != "–":
                rows.append(
                    [
                        f"{peer.label}, {label}",
                        *cells,
                        figures.ratio(peer.name, peer.name, f"past {what}", what),
                    ]
                )
    return table("With a history", ["", "empty table", "with history", "ratio"], rows)
