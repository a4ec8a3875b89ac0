"""What is measured of one peer. Each measurement has a fresh place of its own and gives plain figures."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.queue.crew import SLOTS, Failed, Workers, role, workers
from benchmarks.queue.ground import Ground, Place
from benchmarks.queue.rivals import Peer

BULK = 1000
WARM = 20
GAP_MS = 50
IDLE_S = 3.0
# A queue that a history slows down a thousandfold is not waited for: what it did in this time is its figure.
LONGEST_S = 60.0
WARM_UP_JOBS, GROWTH_JOBS = 2_000, 10_000


@dataclass(frozen=True)
class Drain:
    rate: float
    statements: float
    log_bytes: float


def drain(
    ground: Ground, peer: Peer, processes: int, concurrency: int, jobs: int, template: str | None = None
) -> Drain:
    """Jobs a second with `jobs` waiting: from the moment when every worker process has begun its first job to the
    moment when the peer's own store has none left waiting or running. Jobs begun before do not count.
    """
    place = _prepared(ground, peer, template)
    role(ground, place, "fill", jobs=jobs, batch=BULK)
    place.settle()
    before = place.counters()
    with workers(ground, place, processes, concurrency) as crew:
        crew.until(lambda: all(first for first, _ in crew.heads()), "first job")
        began, earlier = time.monotonic(), crew.count()
        crew.until(lambda: crew.count() >= jobs or time.monotonic() - began > LONGEST_S, "end")
        ended = crew.count()
        if ended >= jobs:
            crew.until(lambda: place.left() == 0, "outcome of the last job")
        took_s = time.monotonic() - began
        after = place.counters()
        if ended >= jobs:
            _check_done(place, jobs)
    if jobs - earlier < jobs / 2:
        raise Failed(
            f"{peer.name}: {earlier} of {jobs} jobs ran before all workers had begun: take more jobs"
        )
    done = min(ended, jobs)
    return Drain((done - earlier) / took_s, (after[0] - before[0]) / done, (after[1] - before[1]) / done)


def _prepared(ground: Ground, peer: Peer, template: str | None) -> Place:
    place = ground.fresh(peer, template)
    if template is not None:
        place.base = place.value("SELECT /* bench */ max(id) FROM procrastinate_jobs")
    return place


def _until_saved(crew: Workers, place: Place, jobs: int) -> None:
    crew.until(lambda: crew.count() >= jobs, f"end of {jobs} jobs")
    crew.until(lambda: place.left() == 0, "outcome of the last job")


def _check_done(place: Place, jobs: int) -> None:
    """Nothing failed and nothing was lost: the peer's own count of what is done must be what was put."""
    # A peer that logs in the background (PgQueuer) may be one flush behind its own table of waiting jobs.
    for _ in range(100):
        done = place.done()
        if done is None or done == jobs:
            return
        time.sleep(0.05)
    raise Failed(f"{place.peer.name}: {jobs} jobs were put, {done} are done")


@dataclass(frozen=True)
class Enqueue:
    rate: float
    bare_rate: float | None
    bulk_rate: float
    statements: float
    log_bytes: float


def enqueue(ground: Ground, peer: Peer, ones: int, many: int) -> Enqueue:
    """Jobs put a second, each in a commit of its own and in bulk calls of 1,000; no worker runs."""
    place = ground.fresh(peer)
    role(ground, place, "ones", jobs=200, bare=True)
    place.settle()
    both = role(ground, place, "ones", jobs=ones, bare=True)
    place.settle()
    before = place.counters()
    role(ground, place, "ones", jobs=ones, bare=False)
    after = place.counters()
    bulk = role(ground, ground.fresh(peer), "fill", jobs=many, batch=BULK)
    return Enqueue(
        rate=ones / both["queue_s"],
        bare_rate=ones / both["bare_s"] if both["bare_s"] else None,
        bulk_rate=many / bulk["s"],
        statements=(after[0] - before[0]) / ones,
        log_bytes=(after[1] - before[1]) / ones,
    )


def latency(ground: Ground, peer: Peer, jobs: int, template: str | None = None) -> list[float]:
    """Milliseconds from the return of the enqueue to the job's first line, one job each 50 ms, concurrency 10.

    A start may be seen before the enqueue has returned to its caller: then the figure is negative. A job that has not
    begun a minute after the last was put counts as begun then.
    """
    place = _prepared(ground, peer, template)
    role(ground, place, "fill", jobs=1, batch=1)
    place.settle()
    total = jobs + WARM
    assert total < SLOTS
    with workers(ground, place, 1, 10) as crew:
        crew.until(lambda: crew.count() >= 1, "first job")
        time.sleep(IDLE_S)
        sent = [int(at) for at in role(ground, place, "produce", jobs=total, gap_ms=GAP_MS)["sent"]]
        given_up = time.monotonic() + LONGEST_S
        crew.until(lambda: all(crew.slots(total)) or time.monotonic() > given_up, "start of the last job")
        began = [at or time.monotonic_ns() for at in crew.slots(total)]
    return [(start - put) / 1e6 for start, put in zip(began, sent, strict=True)][WARM:]


@dataclass(frozen=True)
class Memory:
    resident_mib: float
    proportional_mib: float
    growth_mib: float


def memory(ground: Ground, peer: Peer, warm_up: int = WARM_UP_JOBS, jobs: int = GROWTH_JOBS) -> Memory:
    """Of an idle worker at concurrency 10 that has run one job; and how much it grew over 10,000 jobs after 2,000."""
    place = ground.fresh(peer)
    role(ground, place, "fill", jobs=1, batch=1)
    place.settle()
    with workers(ground, place, 1, 10) as crew:
        crew.until(lambda: crew.count() >= 1, "first job")
        time.sleep(IDLE_S)
        resident, proportional = crew.memory_kib()
        after = []
        for more in (warm_up, jobs):
            before = crew.count()
            role(ground, place, "fill", jobs=more, batch=BULK)
            # Without fresh statistics the stock engine runs some tens a second here.
            place.settle()
            _until_saved(crew, place, before + more)
            time.sleep(1)
            after.append(crew.memory_kib()[0])
    return Memory(resident / 1024, proportional / 1024, (after[1] - after[0]) / 1024)


def set_up(ground: Ground, peer: Peer) -> None:
    """Make the peer's empty database, once, by its own set-up; every measurement begins with a copy of it."""
    if peer.on_redis or peer.module in ground.ready:
        return
    name = f"empty_{peer.module}"
    dsn = ground.empty(name)
    role(ground, Place(peer, ground.address(name), dsn=dsn), "setup")
    ground.ready.add(peer.module)


def percentile(waits: list[float], percent: float) -> float:
    ordered = sorted(waits)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
