"""Which queues are compared, how each is started, and where each keeps what has ended."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = HERE / "peers"
# `put` jobs were put since the place was fresh, in rows above `base`.
PROCRASTINATE_LEFT = (
    "SELECT /* bench */ count(*) FROM procrastinate_jobs "
    "WHERE id > {base} AND queue_name = 'bench' AND status IN ('todo', 'doing')"
)
PROCRASTINATE_DONE = (
    "SELECT /* bench */ count(*) FROM procrastinate_jobs WHERE id > {base} AND status = 'succeeded'"
)


@dataclass(frozen=True)
class Peer:
    """One row of the tables. `left` and `done` ask the peer's own tables; `done` empty: it deletes what it did."""

    name: str
    label: str
    kind: str  # node, python, house
    module: str
    left: str
    done: str
    # Jobs of a drain at concurrency 1, 10, 50: so many that it takes some seconds.
    jobs: tuple[int, int, int]
    variant: str = ""
    # Measured in the drains only: another way of work of a peer that has its own row.
    drains_only: bool = False
    # Of one process; two share 50.
    concurrencies: tuple[int, ...] = (1, 10, 25, 50)

    @property
    def on_redis(self) -> bool:
        return self.module == "bullmq"

    def role(self, tools: Tools, role: str) -> list[str]:
        if self.kind == "node":
            return [str(tools.node), str(tools.node_peers / "run.mjs"), self.module, role]
        return [str(tools.python_of(self.kind)), str(PEERS / "run.py"), self.module, role]

    def worker(self, tools: Tools, concurrency: int) -> list[str]:
        python = str(tools.python_of(self.kind))
        procrastinate = [python, "-m", "procrastinate", "--log-level=warning"]
        if self.module == "stock":
            return [*procrastinate, "--app=stock.app", "worker", f"--concurrency={concurrency}"]
        if self.module == "house":
            # The house's worker logs by LOG_LEVEL.
            return [
                python,
                "-m",
                "procrastinate",
                "--app=house.app",
                "worker",
                f"--concurrency={concurrency}",
            ]
        return self.role(tools, "work")


@dataclass(frozen=True)
class Tools:
    """Where the programs of the peers are; None is missing, and so are the peers that need it."""

    node: Path | None
    node_peers: Path
    venv: Path | None
    redis: str | None
    missing: dict[str, str] = field(default_factory=dict)

    def python_of(self, kind: str) -> Path:
        return Path(sys.executable) if kind == "house" or self.venv is None else self.venv / "bin" / "python"

    def why_not(self, peer: Peer) -> str | None:
        """Why this peer cannot be measured here; None when it can."""
        needs = {"node": ("node",), "python": ("python",), "house": ()}[peer.kind]
        if peer.on_redis:
            needs = (*needs, "redis")
        return next((self.missing[need] for need in needs if need in self.missing), None)


def environment(
    peer: Peer,
    tools: Tools,
    *,
    address: dict[str, str],
    together: int,
    bench: dict[str, object],
    marks: Path | None,
) -> dict[str, str]:
    """What a process of this peer is told: where its store is, and what to do."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "BENCH"))}
    env |= {**address, "BENCH": json.dumps({"variant": peer.variant, **bench})}
    if marks is not None:
        env["BENCH_MARKS"] = str(marks)
    if peer.kind == "node":
        return env | {"NODE_ENV": "production"}
    env["PYTHONPATH"] = f"{ROOT}:{PEERS}" if peer.kind == "house" else str(PEERS)
    if peer.kind == "house":
        env |= {"LOG_LEVEL": "warning", "QUEUE_BENCH_TOGETHER": str(together)}
    return env


PEERS_OF_THE_FIELD = (
    Peer("backlot", "Backlot", "house", "house", PROCRASTINATE_LEFT, PROCRASTINATE_DONE, (12_000, 30_000, 40_000)),
    Peer("bullmq", "BullMQ", "node", "bullmq", "", "", (6_000, 20_000, 30_000)),
    Peer("pgboss", "pg-boss", "node", "pgboss",
         "SELECT /* bench */ count(*) FROM pgboss.job WHERE name = 'bench' AND state < 'completed'",
         "SELECT /* bench */ count(*) FROM pgboss.job WHERE name = 'bench' AND state = 'completed'",
         (15_000, 15_000, 30_000)),
    Peer("graphile", "graphile-worker", "node", "graphile",
         "SELECT /* bench */ count(*) FROM graphile_worker._private_jobs", "", (8_000, 14_000, 14_000)),
    Peer("graphile-batched", "graphile-worker, batched", "node", "graphile",
         "SELECT /* bench */ count(*) FROM graphile_worker._private_jobs", "", (40_000, 80_000, 120_000),
         variant="batched", drains_only=True),
    Peer("pgqueuer", "PgQueuer", "python", "pgq",
         "SELECT /* bench */ count(*) FROM pgqueuer",
         "SELECT /* bench */ count(*) FROM pgqueuer_log WHERE status = 'successful'", (2_500, 8_000, 25_000)),
    Peer("stock", "Procrastinate, stock", "python", "stock",
         PROCRASTINATE_LEFT, PROCRASTINATE_DONE, (2_000, 2_500, 2_500)),
    Peer("bare", "bare loop, one statement", "python", "bare",
         "SELECT /* bench */ count(*) FROM bare_jobs WHERE state IN ('todo', 'doing')",
         "SELECT /* bench */ count(*) FROM bare_jobs WHERE state = 'done'", (300_000,) * 3, concurrencies=(1,)),
    Peer("bare-finish", "bare loop, claim then finish", "python", "bare",
         "SELECT /* bench */ count(*) FROM bare_jobs WHERE state IN ('todo', 'doing')",
         "SELECT /* bench */ count(*) FROM bare_jobs WHERE state = 'done'", (200_000,) * 3, concurrencies=(1,),
         variant="finish", drains_only=True),
)  # fmt: skip
