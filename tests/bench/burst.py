"""A burst: many times the usual rate for a while, and how long its end is felt."""

import asyncio
import time

from tests.bench.bulk import bulk_producer
from tests.bench.events import Market
from tests.bench.following import Following, followed
from tests.bench.ground import Figure, Ground, Result
from tests.bench.processes import NotMeasured
from tests.bench.recovery import steady_load

STEADY, BURST = 1_000, 20_000
BEFORE_SECONDS, BURST_SECONDS, SHORT_SECONDS = 10.0, 60.0, 10.0
LATE_SECONDS = 1.0
CALM_SECONDS = 3.0
AGAIN_SECONDS = 300.0
LOOK_SECONDS = 0.25
DRAIN_SECONDS = 120.0


async def measure(ground: Ground) -> Result:
    """Send events steadily, then in a burst, then steadily until the delay is small again."""
    seconds = SHORT_SECONDS if ground.small else BURST_SECONDS
    market = Market.of()
    worker = await ground.ready_worker()
    await ground.score_accounts(market)
    async with (
        followed(ground.store, ground.plan.partitions, worker.check) as following,
        bulk_producer(ground.plan, market, following) as bulk,
    ):
        await bulk.run(STEADY, BEFORE_SECONDS)
        await following.all_committed(DRAIN_SECONDS)
        burst_from = time.monotonic()
        rate = await bulk.run(BURST, seconds)
        ended = time.monotonic()
        async with steady_load(bulk, STEADY):
            await _prompt_again(following, ended)
        await following.all_committed(DRAIN_SECONDS)
        produced = bulk.produced
    late_until = following.last_delayed(LATE_SECONDS)
    back = max(0.0, late_until - ended) if late_until is not None else 0.0
    peak_delay = max(each.delay for each in following.arrived)
    lag, peak = following.peak_lag(burst_from), worker.usage().peak_bytes
    counted, outcomes = await ground.counted(), await worker.outcomes()
    figures = [
        Figure(
            f"{rate:,.0f} events/s for {seconds:.0f} s: delay under {LATE_SECONDS:.0f} s again",
            f"{back:.1f} s after its end" if late_until is not None else "never above it",
        ),
        Figure("longest delay", f"{peak_delay:.1f} s"),
        Figure("greatest lag", f"{lag:,} records"),
        Figure("peak memory", f"{peak / 2**20:.0f} MB"),
        Figure(
            "events lost / scored twice",
            f"{produced - counted} / {outcomes.get('duplicate', 0)}",
            "0 / 0",
        ),
    ]
    return Result(
        figures,
        {
            "burst_per_second": round(rate, 1),
            "burst_seconds": seconds,
            "seconds_until_delay_is_small": round(back, 2),
            "longest_delay_seconds": round(peak_delay, 2),
            "peak_lag": lag,
            "peak_bytes": peak,
            "produced": produced,
            "counted": counted,
            "outcomes": outcomes,
        },
    )


async def _prompt_again(following: Following, ended: float) -> None:
    """Return once no event was late for a while. Raise NotMeasured when that takes minutes."""
    while time.monotonic() < ended + AGAIN_SECONDS:
        now = time.monotonic()
        late = following.last_delayed(LATE_SECONDS) or ended
        if following.oldest_age(now) < LATE_SECONDS and now - max(late, ended) > CALM_SECONDS:
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise NotMeasured(f"Events are still late {AGAIN_SECONDS:.0f} s after the burst.")
