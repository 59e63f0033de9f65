"""Delay from produce to committed score, on Apache Kafka, at a steady rate.

Measured twice: by the worker's own histogram, and from outside, by watching the fences.
"""

import asyncio
import datetime as dt
import secrets
import sys
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiokafka
from rich.table import Table

from scoring.events import TYPE_TOPICS
from stream.kafka_admin import declare_topics
from stream.replay import replay_producer, scored, send_lines
from stream.state_store import Fence, RedisStore
from tests.bench.events import ACCOUNTS, MIX, Market, account_lines, event_line
from tests.bench.on_kafka import measured_on_kafka
from tests.bench.plan import PARTITIONS, Plan
from tests.bench.processes import NotMeasured, Worker, running_worker

RATE = 1_000
WARM_SECONDS, MEASURED_SECONDS = 5.0, 30.0
POLL_SECONDS = 0.004
DRAIN_SECONDS = 30.0
METRIC = "surgeline_event_delay_seconds"

_aiokafka: Any = aiokafka  # its own types are incomplete


@dataclass
class Watch:
    """Records on their way, by topic and partition, and the delays of those that arrived.

    Times are of the monotonic clock, in seconds.
    """

    on_their_way: dict[tuple[str, int], deque[tuple[int, float]]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    delays: list[float] = field(default_factory=list)
    produced: int = 0
    measuring_from: float = float("inf")

    def sent(self, topic: str, partition: int, *, offset: int, at: float) -> None:
        """Note a record that was handed to the producer *at*."""
        self.on_their_way[topic, partition].append((offset, at))
        self.produced += at >= self.measuring_from

    def passed(self, fences: Mapping[int, Fence], now: float) -> None:
        """Note the records that *fences*, read by *now*, contain."""
        for (topic, shard), waiting in self.on_their_way.items():
            next_offset = fences[shard].offsets.get(topic, 0)
            while waiting and waiting[0][0] < next_offset:
                _, at = waiting.popleft()
                if at >= self.measuring_from:
                    self.delays.append(now - at)

    @property
    def waiting(self) -> int:
        return sum(map(len, self.on_their_way.values()))


class Load:
    """A producer that sends events at a steady rate."""

    def __init__(self, plan: Plan, watch: Watch, market: Market) -> None:
        self._plan = plan
        self._watch = watch
        self._market = market
        self._number = 0
        self._acknowledged: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """Send RATE events a second for *seconds*; return once Kafka has them all."""
        count = round(RATE * seconds)
        accounts = self._market.chosen(count)
        types = self._market.chance.choices(list(MIX), weights=list(MIX.values()), k=count)
        async with _aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._plan.kafka, linger_ms=0
        ) as producer:
            began = time.monotonic()
            for number, (account, type_) in enumerate(zip(accounts, types, strict=True)):
                ahead = began + number / RATE - time.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
                await self._send(producer, account, type_)
            await asyncio.gather(*self._acknowledged)

    async def _send(self, producer: Any, account: str, type_: str) -> None:
        self._number += 1
        now = dt.datetime.now(dt.UTC)
        value = event_line(self._market, type_, id_=f"live-{self._number}", account=account, at=now)
        topic = TYPE_TOPICS[type_]
        at = time.monotonic()
        future = await producer.send(
            self._plan.topic_prefix + topic, value=value, key=account.encode()
        )
        task = asyncio.create_task(self._note(topic, future, at))
        self._acknowledged.add(task)
        task.add_done_callback(self._acknowledged.discard)

    async def _note(self, topic: str, future: Any, at: float) -> None:
        metadata = await future
        self._watch.sent(topic, metadata.partition, offset=metadata.offset, at=at)


@dataclass(frozen=True)
class Buckets:
    """The worker's histogram: upper bound in seconds -> observations up to it."""

    counts: Mapping[float, float]

    @classmethod
    async def of(cls, worker: Worker) -> "Buckets":
        samples = (await worker.metrics())[METRIC].samples
        return cls(
            {
                float(each.labels["le"]): each.value
                for each in samples
                if each.name == f"{METRIC}_bucket"
            }
        )

    def since(self, before: "Buckets") -> "Buckets":
        return Buckets({bound: n - before.counts[bound] for bound, n in self.counts.items()})

    @property
    def total(self) -> int:
        return int(self.counts[float("inf")])

    def quantile(self, share: float) -> float:
        """Return the value below which *share* lies, linear within a bucket as Prometheus."""
        wanted, below, lower = share * self.total, 0.0, 0.0
        for bound, upto in sorted(self.counts.items()):
            if upto >= wanted:
                if bound == float("inf"):
                    break
                inside = upto - below
                return lower + (bound - lower) * ((wanted - below) / inside if inside else 1.0)
            below, lower = upto, bound
        return lower


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which *share* of the sorted *values* lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(kafka: str, redis_url: str, directory: Path) -> dict[str, Any]:
    """Run a worker under the load and return the delays in seconds."""
    group = f"bench-delay-{secrets.token_hex(4)}"
    plan = Plan("delay", kafka, redis_url, group, 0, "", topic_prefix=f"{group}-")
    store = RedisStore(redis_url)
    try:
        if await store.meta():
            raise NotMeasured(
                f"{redis_url} holds scores already; the benchmark needs an empty Redis."
            )
        await declare_topics(plan.settings)
        try:
            async with running_worker(plan, directory) as worker:
                await worker.ready()
                return await _under_load(plan, worker, store)
        finally:
            await store.erase()
    finally:
        await store.close()


async def _under_load(plan: Plan, worker: Worker, store: RedisStore) -> dict[str, Any]:
    market, watch = Market.of(), Watch()
    await _send_accounts(plan, store, market)
    load = Load(plan, watch, market)
    watching = asyncio.create_task(_follow(store, watch, worker))
    try:
        await load.run(WARM_SECONDS)
        await _arrived(watch, watching)
        before, used = await Buckets.of(worker), worker.usage()
        watch.measuring_from = began = time.monotonic()
        await load.run(MEASURED_SECONDS)
        took = time.monotonic() - began
        await _arrived(watch, watching)
        own = (await Buckets.of(worker)).since(before)
        cpu = worker.usage().cpu_seconds - used.cpu_seconds
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return {
        "produced": watch.produced,
        "events_per_second": round(watch.produced / took, 1),
        "worker_cpu_microseconds_per_event": round(cpu / watch.produced * 1e6, 1),
        "by_fences": _figures(
            len(watch.delays), lambda share: quantile(watch.delays, share), max(watch.delays)
        ),
        "by_worker_metric": _figures(own.total, own.quantile, None),
    }


def _figures(count: int, at: Any, longest: float | None) -> dict[str, Any]:
    return {
        "events": count,
        "p50_seconds": round(at(0.50), 4),
        "p99_seconds": round(at(0.99), 4),
        "max_seconds": None if longest is None else round(longest, 4),
    }


async def _send_accounts(plan: Plan, store: RedisStore, market: Market) -> None:
    """Make all accounts targets before the load begins."""
    async with replay_producer(plan.settings) as producer:
        lines = account_lines(market, dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
        sent = await send_lines(lines, producer, prefix=plan.topic_prefix, progress=lambda _: None)
    async with asyncio.timeout(DRAIN_SECONDS):
        await scored(sent, store, partitions=PARTITIONS, progress=lambda _: None)


async def _follow(store: RedisStore, watch: Watch, worker: Worker) -> None:
    """Read the fences again and again; the reply's arrival is the time that counts."""
    while True:
        watch.passed(await store.fences(range(PARTITIONS)), time.monotonic())
        worker.check()
        await asyncio.sleep(POLL_SECONDS)


async def _arrived(watch: Watch, watching: asyncio.Task[None]) -> None:
    """Wait until everything sent is scored."""
    give_up_at = time.monotonic() + DRAIN_SECONDS
    while watch.waiting:
        if watching.done():
            await watching
        if time.monotonic() > give_up_at:
            raise NotMeasured(f"{watch.waiting} events are not scored {DRAIN_SECONDS:.0f} s later.")
        await asyncio.sleep(POLL_SECONDS)


def _table(figures: Mapping[str, Any]) -> Table:
    table = Table(
        title=f"Delay from produce to committed score: {figures['events_per_second']:,.0f} "
        f"events/s of {ACCOUNTS:,} accounts for {MEASURED_SECONDS:.0f} s, {PARTITIONS} partitions, "
        "Apache Kafka",
    )
    table.add_column("measured")
    for name in ("events", "p50 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="right")
    rows = {
        "from outside, by the fences": "by_fences",
        "by the worker's own histogram": "by_worker_metric",
    }
    for title, key in rows.items():
        row = figures[key]
        longest = row["max_seconds"]
        table.add_row(
            title,
            f"{row['events']:,}",
            f"{row['p50_seconds'] * 1e3:.0f}",
            f"{row['p99_seconds'] * 1e3:.0f}",
            "" if longest is None else f"{longest * 1e3:.0f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(measured_on_kafka("delay", __doc__, measure, _table))
