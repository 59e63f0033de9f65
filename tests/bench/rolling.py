"""A rolling restart of two workers under load, as an update of the image does it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.bench.bulk import bulk_producer
from tests.bench.events import Market
from tests.bench.following import followed
from tests.bench.ground import Figure, Ground, Result, terminate
from tests.bench.processes import NotMeasured, Worker
from tests.bench.recovery import steady_load

RATE = 1_000
STEADY_SECONDS = 5.0
DRAIN_SECONDS = 60.0
SCRAPE_SECONDS = 0.1


@dataclass
class Outcomes:
    """What came of records by the workers' own metrics, of those that ended by their last answer."""

    last: dict[int, dict[str, int]] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def scrape(self, workers: list[Worker]) -> None:
        """Ask again and again; a worker that does not answer has ended, or not begun."""
        while not self.over.is_set():
            for worker in list(workers):
                with contextlib.suppress(NotMeasured, KeyError):
                    self.last[worker.pid] = await worker.outcomes()
            await asyncio.sleep(SCRAPE_SECONDS)

    def total(self, outcome: str) -> int:
        """Return how many records came to *outcome*."""
        return sum((Counter(each) for each in self.last.values()), Counter())[outcome]


@contextlib.asynccontextmanager
async def _scraped(workers: list[Worker]) -> AsyncIterator[Outcomes]:
    outcomes = Outcomes()
    task = asyncio.create_task(outcomes.scrape(workers))
    try:
        yield outcomes
        await asyncio.sleep(3 * SCRAPE_SECONDS)
    finally:
        outcomes.over.set()
        await task


async def measure(ground: Ground) -> Result:
    """Restart one worker after the other while events come in."""
    market = Market.of()
    old = [await ground.ready_worker(), await ground.ready_worker()]
    await ground.score_accounts(market)
    async with (
        followed(ground.store, ground.plan.partitions) as following,
        bulk_producer(ground.plan, market, following) as bulk,
        _scraped(ground.workers) as outcomes,
    ):
        async with steady_load(bulk, RATE):
            await asyncio.sleep(STEADY_SECONDS)
            began = time.monotonic()
            restarts = [await _restart(ground, worker) for worker in old]
            await asyncio.sleep(STEADY_SECONDS)
            over = time.monotonic()
        await following.all_committed(DRAIN_SECONDS)
        produced = bulk.produced
    gap = following.longest_gap(began, over)
    longest = max(each.delay for each in following.arrived)
    counted, twice = await ground.counted(), outcomes.total("duplicate")
    exits = ", ".join(f"{each['exit_seconds']:.1f} s" for each in restarts)
    codes = [each["exit_code"] for each in restarts]
    figures = [
        Figure("rolling restart of two workers: each ended within", exits, "under 5 s"),
        Figure("exit codes", ", ".join(map(str, codes)), "0, 0"),
        Figure("longest time without a commit of a shard", f"{gap:.1f} s"),
        Figure("longest delay of an event", f"{longest:.1f} s"),
        Figure("events lost / scored twice", f"{produced - counted} / {twice}", "0 / 0"),
    ]
    return Result(
        figures,
        {
            "restarts": restarts,
            "longest_gap_seconds": round(gap, 2),
            "longest_delay_seconds": round(longest, 2),
            "produced": produced,
            "counted": counted,
            "redelivered": twice,
            "gaps": [
                [shard, round(a - began, 2), round(b - a, 2)]
                for shard, a, b in following.gaps(began, over, longer_than=0.8)
            ],
        },
    )


async def _restart(ground: Ground, worker: Worker) -> dict[str, Any]:
    seconds, code = await terminate(worker)
    began = time.monotonic()
    await ground.ready_worker()
    return {
        "exit_seconds": round(seconds, 2),
        "exit_code": code,
        "ready_seconds": round(time.monotonic() - began, 2),
    }
