"""Cold start: how the number of stored accounts shows in the time to the first commit."""

import asyncio
import datetime as dt
import itertools
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.bulk import bulk_producer
from tests.bench.events import Market, account_lines, event_line
from tests.bench.following import followed
from tests.bench.ground import Figure, Ground, Result, first_commit_after, terminate
from tests.bench.recovery import steady_load

FEW, MANY, FEWER = 100, 100_000, 10_000
RATE = 1_000
SETTLE_SECONDS = 2.0
DRAIN_SECONDS = 60.0


async def measure(ground: Ground) -> Result:
    """Start a worker on a Redis with few accounts, then on one with many."""
    many = FEWER if ground.small else MANY
    few = await _start_with(ground, FEW)
    full = await _start_with(ground, many)
    figures = [
        figure
        for run, goal in ((few, ""), (full, "under 3 s"))
        for figure in (
            Figure(
                f"{run['accounts']:,} accounts in Redis: start to first commit",
                f"{run['first_commit']:.1f} s",
            ),
            Figure(
                f"{run['accounts']:,} accounts in Redis: assignment to first commit",
                f"{run['first_commit'] - run['claim']:.2f} s",
                goal,
            ),
        )
    ]
    return Result(figures, {"few": few, "many": full})


async def _start_with(ground: Ground, accounts: int) -> dict[str, Any]:
    """Return when a worker claimed and committed, in seconds after its start."""
    market = Market.of(accounts)
    builder = await ground.ready_worker()
    began = time.monotonic()
    await ground.score(_history(market))
    building = time.monotonic() - began
    await terminate(builder)
    shards = range(ground.plan.partitions)
    async with (
        followed(ground.store, ground.plan.partitions) as following,
        bulk_producer(ground.plan, market, following) as bulk,
    ):
        async with steady_load(bulk, RATE):
            await asyncio.sleep(SETTLE_SECONDS)
            before = {shard: await ground.claim_of(shard) for shard in shards}
            started_at = time.monotonic()
            worker = await ground.start_worker()
            claimed_at, committed_at = await first_commit_after(ground, before)
            await worker.ready()
            ready_at = time.monotonic()
        await following.all_committed(DRAIN_SECONDS)
    peak = worker.usage().peak_bytes
    await terminate(worker)
    return {
        "accounts": accounts,
        "building_seconds": round(building, 1),
        "claim": round(claimed_at - started_at, 2),
        "first_commit": round(committed_at - started_at, 2),
        "ready": round(ready_at - started_at, 2),
        "peak_bytes": peak,
    }


def _history(market: Market) -> Iterator[bytes]:
    """Yield a record and two events of each account."""
    at = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
    yield from account_lines(market, at)
    for account, type_ in itertools.product(market.accounts, ("page_visit", "email")):
        id_ = f"{account}-{type_}-{len(market.accounts)}"
        yield event_line(market, type_, id_=id_, account=account, at=at)
