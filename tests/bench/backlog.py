"""Backpressure: what a worker holds in memory when it starts far behind."""

import asyncio
import datetime as dt
import time
from typing import Any

from tests.bench.bulk import bulk_producer
from tests.bench.events import SPAN, Market
from tests.bench.following import Following, followed
from tests.bench.ground import Figure, Ground, Result
from tests.bench.processes import Worker

FEW, MANY, FEWER = 100, 2_000_000, 200_000
SECONDS = 60.0
SAMPLE_SECONDS = 0.25


async def measure(ground: Ground) -> Result:
    """Start a worker behind by few records, then one behind by many."""
    many = FEWER if ground.small else MANY
    few = await _start_behind(ground, FEW)
    far = await _start_behind(ground, many)
    figures = [
        Figure(f"peak memory, started {FEW} records behind", _megabytes(few)),
        Figure(
            f"peak memory, started {many:,} records behind ({far['seconds']:.0f} s)",
            _megabytes(far),
            "bounded",
        ),
        Figure(
            "records scored a second meanwhile, after the first commit",
            f"{far['per_second']:,.0f}",
        ),
    ]
    return Result(figures, {"few": few, "many": far})


def _megabytes(run: dict[str, Any]) -> str:
    return f"{run['peak_bytes'] / 2**20:.0f} MB"


async def _start_behind(ground: Ground, records: int) -> dict[str, Any]:
    """Return memory and speed of a worker's first minute, or of its way to the end."""
    market = Market.of()
    async with followed(ground.store, ground.plan.partitions) as following:
        async with bulk_producer(ground.plan, market, following) as bulk:
            began = time.monotonic()
            await bulk.send(records, time_of_last=dt.datetime.now(dt.UTC), span=SPAN)
            produced = time.monotonic() - began
        behind, worker = following.unseen, await ground.start_worker()
        peak = await _peak_until_done(worker, following)
        scored, seconds = _way(following, behind)
        await worker.child.stop()
    return {
        "behind": behind,
        "producing_seconds": round(produced, 1),
        "peak_bytes": peak,
        "scored": scored,
        "seconds": round(seconds, 1),
        "per_second": round(scored / seconds, 1) if seconds else 0.0,
    }


def _way(following: Following, behind: int) -> tuple[int, float]:
    """Return the records scored after the first commit seen, and the seconds that this took.

    The first commit ends work of unknown length: what it holds is not counted.
    """
    untouched = max(at for at, lag in following.lags if lag == behind)
    seen = [(lag, at) for at, lag in following.lags if at > untouched]
    (most, since), (least, until) = seen[0], min(seen)
    return most - least, until - since


async def _peak_until_done(worker: Worker, following: Following) -> int:
    give_up_at, peak = time.monotonic() + SECONDS, 0
    while following.unseen and time.monotonic() < give_up_at:
        peak = max(peak, worker.usage().peak_bytes)
        await asyncio.sleep(SAMPLE_SECONDS)
    return max(peak, worker.usage().peak_bytes)
