"""The row of the worker itself, measured from outside: by its fences and its metrics."""

import asyncio
import time
from collections.abc import Callable, Mapping
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
    """How far the worker was at one moment."""

    scored: int
    at: float
    usage: Usage


async def measure_worker(
    plan: Plan, sent: Sent, directory: Path, *, deadline_seconds: float
) -> Report:
    """Run the worker until all of *sent* is scored and return what it took.

    The time runs from the first commit that shows to the one that reaches the end; records in
    the first are not counted as handled in that time.
    """
    store = RedisStore(plan.redis_url)
    try:
        async with running_worker(plan, directory) as worker:
            give_up_at = time.monotonic() + deadline_seconds
            first = await _reached(worker, store, sent, lambda n: n > 0, give_up_at)
            warm = time.time() - worker.started_at
            last = await _reached(worker, store, sent, lambda n: n >= sent.records, give_up_at)
            outcomes = await _all_counted(worker, sent.records)
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
    worker: Worker,
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
            return Mark(scored, at, worker.usage())
        worker.check()
        if time.monotonic() > give_up_at:
            raise NotMeasured(f"The worker scored {scored} of {sent.records} records in time.")
        await asyncio.sleep(POLL_SECONDS)


async def _all_counted(worker: Worker, records: int) -> dict[str, int]:
    """Return the worker's own count, which follows the commit by a moment."""
    give_up_at = time.monotonic() + METRICS_SECONDS
    while True:
        outcomes = await worker.outcomes()
        if sum(outcomes.values()) >= records or time.monotonic() > give_up_at:
            return outcomes
        await asyncio.sleep(POLL_SECONDS)
