"""The rows of the workers themselves, measured from outside: by fences and metrics."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.replay import Sent
from stream.state_store import RedisStore
from tests.bench.meter import Report, Usage
from tests.bench.plan import PARTITIONS, Plan
from tests.bench.processes import NotMeasured, Worker, running_worker

POLL_SECONDS = 0.02
METRICS_SECONDS = 5.0


@dataclass(frozen=True)
class Mark:
    """How far the workers were at one moment, and what they had used together."""

    scored: int
    at: float
    usage: Usage


async def measure_workers(
    plan: Plan, sent: Sent, directory: Path, *, count: int, deadline_seconds: float
) -> Report:
    """Run *count* workers until all of *sent* is scored and return what it took.

    The time runs from the first commit that shows to the one that reaches the end; records in
    the first are not counted as handled in that time. CPU is that of all, the peak that of the
    largest.
    """
    store = RedisStore(plan.redis_url)
    try:
        async with contextlib.AsyncExitStack() as running:
            workers = [
                await running.enter_async_context(running_worker(plan, directory, name=f"-{n}"))
                for n in range(count)
            ]
            give_up_at = time.monotonic() + deadline_seconds
            first = await _reached(workers, store, sent, lambda n: n > 0, give_up_at)
            warm = time.time() - workers[0].started_at
            last = await _reached(workers, store, sent, lambda n: n >= sent.records, give_up_at)
            outcomes = await _all_counted(workers, sent.records)
    finally:
        await store.close()
    return Report(
        handled=sum(outcomes.values()),
        invalid=outcomes.get("dead", 0),
        seconds=last.at - first.at,
        cpu_seconds=last.usage.cpu_seconds - first.usage.cpu_seconds,
        measured=last.scored - first.scored,
        peak_bytes=last.usage.peak_bytes,
        warm_seconds=warm,
        outcomes=outcomes,
    )


def scored_of(sent: Sent, offsets: Mapping[int, Mapping[str, int]]) -> int:
    """Return how many records of *sent* lie below the fences' *offsets* (shard -> topic)."""
    return sum(
        max(0, min(offsets[shard].get(topic, 0), end) - sent.starts[topic, shard])
        for (topic, shard), end in sent.ends.items()
    )


async def _reached(
    workers: Sequence[Worker],
    store: RedisStore,
    sent: Sent,
    enough: Callable[[int], bool],
    give_up_at: float,
) -> Mark:
    while True:
        fences = await store.fences(range(PARTITIONS))
        at = time.perf_counter()
        scored = scored_of(sent, {shard: fence.offsets for shard, fence in fences.items()})
        if enough(scored):
            return Mark(scored, at, _used([worker.usage() for worker in workers]))
        for worker in workers:
            worker.check()
        if time.monotonic() > give_up_at:
            raise NotMeasured(f"Only {scored} of {sent.records} records were scored in time.")
        await asyncio.sleep(POLL_SECONDS)


def _used(each: Sequence[Usage]) -> Usage:
    return Usage(sum(u.cpu_seconds for u in each), max(u.peak_bytes for u in each))


async def _all_counted(workers: Sequence[Worker], records: int) -> dict[str, int]:
    """Return the workers' own count, which follows the commit by a moment."""
    give_up_at = time.monotonic() + METRICS_SECONDS
    while True:
        outcomes: Counter[str] = Counter()
        for worker in workers:
            outcomes.update(await worker.outcomes())
        if outcomes.total() >= records or time.monotonic() > give_up_at:
            return dict(outcomes)
        await asyncio.sleep(POLL_SECONDS)
