"""Recovery: from the SIGKILL of the only worker to the first commit of its successor."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tests.bench.bulk import Bulk, bulk_producer
from tests.bench.events import Market
from tests.bench.following import followed
from tests.bench.ground import Claim, Figure, Ground, Result, first_commit_after, kill
from tests.bench.processes import Worker

RATE = 200
TIMES, FEWER_TIMES = 5, 2
DRAIN_SECONDS = 60.0
STEADY_SECONDS = 3.0
GOAL = "under 10 s"


async def measure(ground: Ground) -> Result:
    """Kill workers with a successor that stands by, then with one that is only being started."""
    market = Market.of(200)
    times = FEWER_TIMES if ground.small else TIMES
    await ground.ready_worker()
    await ground.score_accounts(market)
    async with (
        followed(ground.store, ground.plan.partitions) as following,
        bulk_producer(ground.plan, market, following) as bulk,
    ):
        async with steady_load(bulk, RATE):
            started = [await _replaced_at_once(ground) for _ in range(times)]
            standing_by = await _killed_beside_others(ground, times)
        await following.all_committed(DRAIN_SECONDS)
        produced = bulk.produced
    lost = produced - await ground.counted()
    return Result(
        [
            Figure("worker killed, successor standing by: first commit", _shown(standing_by), GOAL),
            Figure("worker killed, successor started then: first commit", _shown(started), GOAL),
            Figure("events lost", str(lost), "0"),
        ],
        {"standing_by": standing_by, "started_at_the_kill": started, "lost": lost},
    )


@contextlib.asynccontextmanager
async def steady_load(bulk: Bulk, rate: float) -> AsyncIterator[None]:
    """Produce *rate* events a second during the block."""
    over = asyncio.Event()
    load = asyncio.create_task(bulk.run(rate, float("inf"), over))
    try:
        yield
    finally:
        over.set()
        await load


def _shown(runs: Sequence[dict[str, float]]) -> str:
    seconds = [each["first_commit"] for each in runs]
    return f"{statistics.median(seconds):.1f} s (longest of {len(seconds)}: {max(seconds):.1f} s)"


async def _replaced_at_once(ground: Ground) -> dict[str, float]:
    await asyncio.sleep(STEADY_SECONDS)
    before = {0: await ground.claim_of(0)}
    killed_at = kill(ground.workers[-1])
    successor = await ground.start_worker()
    return await _until_commit(ground, before, killed_at, successor)


async def _killed_beside_others(ground: Ground, times: int) -> list[dict[str, float]]:
    """Kill the owner of the only shard again and again; a new worker is then the one standing by."""
    found = []
    alive = [ground.workers[-1]]
    for _ in range(times):
        alive.append(await ground.ready_worker())
        await asyncio.sleep(STEADY_SECONDS)
        owner = await _owner(alive)
        alive.remove(owner)
        before = {0: await ground.claim_of(0)}
        found.append(await _until_commit(ground, before, kill(owner), alive[0]))
    return found


async def _owner(workers: list[Worker]) -> Worker:
    while True:
        for worker in workers:
            for sample in (await worker.metrics())["surgeline_shards_owned"].samples:
                if sample.value == 1:
                    return worker
        await asyncio.sleep(0.1)


async def _until_commit(
    ground: Ground, before: dict[int, Claim], killed_at: float, successor: Worker
) -> dict[str, Any]:
    claimed_at, committed_at = await first_commit_after(ground, before)
    await successor.ready()
    return {
        "claim": round(claimed_at - killed_at, 2),
        "first_commit": round(committed_at - killed_at, 2),
        "ready": round(time.monotonic() - killed_at, 2),
    }
