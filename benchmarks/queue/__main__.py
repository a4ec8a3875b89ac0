"""Backlot's queue and the fast queues, all in one run on one machine; prints markdown tables.

    python -m benchmarks.queue [--only backlot,bullmq] [--quick] [--repeat 3] [--history]

Starts everything itself: a PostgreSQL, a Redis, the peers' processes. What each peer is given, and how time is
taken, stands in benchmarks/queue/README.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.queue import history, measures, table
from benchmarks.queue.crew import Failed
from benchmarks.queue.ground import Ground
from benchmarks.queue.rivals import PEERS_OF_THE_FIELD, Peer, Tools
from benchmarks.queue.tools import flush_us, machine, prepare, versions

DRAINS = ((1, 1), (1, 10), (1, 50), (2, 25))
MEASURES = ("drain", "enqueue", "latency", "memory")


class Run:
    def __init__(self, ground: Ground, peers: list[Peer], *, quick: bool) -> None:
        self.ground = ground
        self.peers = peers
        self.shrink = 5 if quick else 1
        self.figures = table.Figures()

    def attempt(self, peer: Peer, what: str, measure: Callable[[], None]) -> None:
        """A peer that fails loses this figure, is named below the tables, and the run goes on."""
        began = time.monotonic()
        try:
            measure()
            said = f"{time.monotonic() - began:.1f} s"
        except (Failed, subprocess.TimeoutExpired, psycopg.Error) as error:
            said = f"failed: {error}"
            self.figures.failed.append(f"{peer.label}, {what}: {str(error)[:300]}")
        print(f"  {peer.name}: {what} ({said})", file=sys.stderr, flush=True)

    def set_up(self) -> None:
        for peer in self.peers:
            self.attempt(peer, "set-up", partial(measures.set_up, self.ground, peer))

    def drain(self, peer: Peer) -> None:
        for processes, concurrency in DRAINS:
            if concurrency in peer.concurrencies:
                jobs = peer.jobs[{1: 0, 10: 1}.get(concurrency, 2)] // self.shrink
                what = f"drain {processes}x{concurrency}"
                self.attempt(peer, what, partial(self._drain, peer, processes, concurrency, jobs))

    def _drain(self, peer: Peer, processes: int, concurrency: int, jobs: int) -> None:
        found = measures.drain(self.ground, peer, processes, concurrency, jobs)
        self.figures.add(peer, f"drain {processes}x{concurrency}", found.rate)
        if (processes, concurrency) == (1, 10) or peer.module == "bare":
            self.figures.add(peer, "take statements", found.statements)
            self.figures.add(peer, "take bytes", found.log_bytes)

    def enqueue(self, peer: Peer) -> None:
        def measure() -> None:
            found = measures.enqueue(self.ground, peer, 2_000 // self.shrink, 50_000 // self.shrink)
            self.figures.add(peer, "one", found.rate)
            self.figures.add(peer, "one bare", found.bare_rate)
            self.figures.add(peer, "bulk", found.bulk_rate)
            self.figures.add(peer, "put statements", found.statements)
            self.figures.add(peer, "put bytes", found.log_bytes)

        self.attempt(peer, "enqueue", measure)

    def latency(self, peer: Peer) -> None:
        self.attempt(peer, "latency", lambda: self._latency(peer, "", None))

    def _latency(self, peer: Peer, prefix: str, template: str | None) -> None:
        waits = measures.latency(self.ground, peer, 200 // min(self.shrink, 2), template)
        for percent in (50, 95, 99):
            self.figures.add(peer, f"{prefix}latency p{percent}", measures.percentile(waits, percent))

    def memory(self, peer: Peer) -> None:
        def measure() -> None:
            found = measures.memory(self.ground, peer, 2_000 // self.shrink, 10_000 // self.shrink)
            self.figures.add(peer, "memory resident", found.resident_mib)
            self.figures.add(peer, "memory proportional", found.proportional_mib)
            self.figures.add(peer, "memory growth", found.growth_mib)

        self.attempt(peer, "memory", measure)

    def history(self, peer: Peer) -> None:
        def drain() -> None:
            past = history.fill(self.ground, peer, share=1 / self.shrink, same_queue=True)
            found = measures.drain(self.ground, peer, 1, 10, peer.jobs[1] // self.shrink, past)
            self.figures.add(peer, "past drain 1x10", found.rate)
            self.ground.drop(past)

        def latency() -> None:
            past = history.fill(self.ground, peer, share=1 / self.shrink, same_queue=False)
            self._latency(peer, "past ", past)
            self.ground.drop(past)

        self.attempt(peer, "drain with a history", drain)
        self.attempt(peer, "latency with a history", latency)

    def tables(self) -> str:
        parts = [
            table.drains,
            table.ratios,
            table.enqueues,
            table.latencies,
            table.costs,
            table.memories,
            table.histories,
        ]
        text = "\n".join(filter(None, (part(self.figures, self.peers) for part in parts)))
        return text + "".join(f"\nFailed: {sentence}" for sentence in self.figures.failed)


def chosen(only: str | None, tools: Tools) -> list[Peer]:
    """The peers asked for that can be measured here; the others are named with the reason."""
    names = {name.strip() for name in only.split(",")} if only else {peer.name for peer in PEERS_OF_THE_FIELD}
    if unknown := names - {peer.name for peer in PEERS_OF_THE_FIELD}:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}")
    kept = []
    for peer in PEERS_OF_THE_FIELD:
        if peer.name not in names:
            continue
        if reason := tools.why_not(peer):
            print(f"without {peer.label}: {reason}", file=sys.stderr)
            continue
        kept.append(peer)
    return kept


def skipped(peer: Peer, what: str, repetition: int) -> bool:
    """Rows that are drains only; and memory is no race: once is enough, and the bare loop's says nothing."""
    return peer.drains_only or (what == "memory" and (repetition > 0 or peer.module == "bare"))


def ended(*_: object) -> None:
    raise SystemExit("ended before the tables")


def main() -> None:
    # As with Ctrl-C: the servers and folders of the run go with it.
    signal.signal(signal.SIGTERM, ended)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", help="names with commas: " + ", ".join(peer.name for peer in PEERS_OF_THE_FIELD)
    )
    parser.add_argument("--measure", default=",".join(MEASURES), help="of drain, enqueue, latency, memory")
    parser.add_argument(
        "--quick", action="store_true", help="a fifth of the jobs: whether it works, not figures"
    )
    parser.add_argument(
        "--repeat", type=int, default=3, help="repetitions, in turn over the peers; the median counts"
    )
    parser.add_argument(
        "--history", action="store_true", help="also beside finished, waiting and future rows"
    )
    args = parser.parse_args()
    wanted = [name for name in args.measure.split(",") if name]
    tools = prepare()
    peers = chosen(args.only, tools)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="backlot-bench-") as name:
        # The server runs under an account of its own when we are root: it has to pass this folder.
        Path(name).chmod(0o711)
        disk_us, load = flush_us(Path(name)), os.getloadavg()[0]
        ground = Ground(Path(name), tools)
        try:
            run = Run(ground, peers, quick=args.quick)
            run.set_up()
            for number in range(args.repeat):
                for what in wanted:
                    for peer in peers:
                        if what == "drain" or not skipped(peer, what, number):
                            getattr(run, what)(peer)
            if args.history:
                for peer in (peer for peer in peers if peer.module in ("house", "stock")):
                    run.history(peer)
        finally:
            ground.stop()
    took_minutes = (time.monotonic() - began) / 60
    said = ", ".join(f"{name} {version}" for name, version in versions(tools, ground.server.version).items())
    where = f"{machine()}, {disk_us:.0f} µs to flush 8 KiB to the disk, load {load:.1f} before the run"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {where}. {said}.")
    print(f"{args.repeat} repetitions: median (least–most). The run took {took_minutes:.0f} minutes.\n")
    print(run.tables())


if __name__ == "__main__":
    main()
