"""Many events fast: made from templates, packed into whole batches by partition."""

import asyncio
import datetime as dt
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiokafka

from scoring.events import TYPE_TOPICS
from stream.routing import shard_of
from tests.bench.events import MIX, SPAN, Market, event_line
from tests.bench.following import Following
from tests.bench.plan import Plan

TEMPLATES = 20_000
BATCH_BYTES = 524_288
PIECE = 20_000
TICK_SECONDS = 0.05

_aiokafka: Any = aiokafka  # its own types are incomplete


class Template(NamedTuple):
    """An event without its id and time, and where it goes."""

    topic: str
    partition: int
    key: bytes
    rest: bytes


class Bulk:
    """A producer of events with unique ids, as many and as fast as asked for."""

    def __init__(self, plan: Plan, market: Market, following: Following, producer: Any) -> None:
        self._prefix = plan.topic_prefix
        self._following = following
        self._producer = producer
        self._templates = _templates(market, plan.partitions)
        self.produced = 0
        """Events that Kafka has."""
        self._made = 0
        self._on_their_way: set[asyncio.Task[None]] = set()

    async def send(self, count: int, *, time_of_last: dt.datetime, span: dt.timedelta) -> None:
        """Produce *count* events, their times spread evenly over *span*; return at Kafka's answer."""
        for first in range(0, count, PIECE):
            size = min(PIECE, count - first)
            at = time_of_last - span * (1 - (first + size) / count)
            await self._send_piece(size, at)
        await self.settled()

    async def settled(self) -> None:
        """Return once Kafka has everything."""
        await asyncio.gather(*self._on_their_way)

    async def run(self, rate: float, seconds: float, over: asyncio.Event | None = None) -> float:
        """Produce *rate* events a second for *seconds*, or until *over*; return the rate reached."""
        began, before = time.monotonic(), self._made
        while (elapsed := time.monotonic() - began) < seconds:
            if over is not None and over.is_set():
                break
            due = int(rate * (elapsed + TICK_SECONDS)) - (self._made - before)
            if due > 0:
                await self._send_piece(due, dt.datetime.now(dt.UTC))
            next_tick = began + (elapsed // TICK_SECONDS + 1) * TICK_SECONDS
            await asyncio.sleep(max(0.0, next_tick - time.monotonic()))
        sent, took = self._made - before, time.monotonic() - began
        await self.settled()
        return sent / took

    async def _send_piece(self, count: int, at: dt.datetime) -> None:
        """Hand *count* events of one time to the producer, in whole batches."""
        when, now = at.isoformat().encode(), int(time.time() * 1_000)
        of_partition: dict[tuple[str, int], list[Template]] = defaultdict(list)
        for number in range(self._made, self._made + count):
            template = self._templates[number % len(self._templates)]
            of_partition[template.topic, template.partition].append(template)
        numbers = iter(range(self._made, self._made + count))
        self._made += count
        for (topic, partition), templates in of_partition.items():
            batch = self._producer.create_batch()
            for template in templates:
                value = b'{"id":"bulk-%d","time":"%b",%b' % (next(numbers), when, template.rest)
                if batch.append(timestamp=now, key=template.key, value=value) is None:
                    await self._deliver(batch, topic, partition)
                    batch = self._producer.create_batch()
                    batch.append(timestamp=now, key=template.key, value=value)
            await self._deliver(batch, topic, partition)

    async def _deliver(self, batch: Any, topic: str, partition: int) -> None:
        at, count = time.monotonic(), batch.record_count()
        future = await self._producer.send_batch(batch, self._prefix + topic, partition=partition)
        task = asyncio.create_task(self._note(future, (topic, partition), count=count, at=at))
        self._on_their_way.add(task)
        task.add_done_callback(self._on_their_way.discard)

    async def _note(self, future: Any, to: tuple[str, int], *, count: int, at: float) -> None:
        metadata = await future
        self.produced += count
        self._following.sent(to, end=metadata.offset + count, count=count, at=at)


@asynccontextmanager
async def bulk_producer(plan: Plan, market: Market, following: Following) -> AsyncIterator[Bulk]:
    """Yield a producer of events of *market*, noted in *following*."""
    async with _aiokafka.AIOKafkaProducer(
        bootstrap_servers=plan.kafka, acks="all", linger_ms=0, max_batch_size=BATCH_BYTES
    ) as producer:
        yield Bulk(plan, market, following, producer)


def _templates(market: Market, partitions: int) -> list[Template]:
    types = market.chance.choices(list(MIX), weights=list(MIX.values()), k=TEMPLATES)
    at, found = dt.datetime.now(dt.UTC) - SPAN, []
    for account, type_ in zip(market.chosen(TEMPLATES), types, strict=True):
        fields = json.loads(event_line(market, type_, id_="", account=account, at=at))
        rest = {name: value for name, value in fields.items() if name not in ("id", "time")}
        found.append(
            Template(
                TYPE_TOPICS[type_],
                shard_of(account, partitions),
                account.encode(),
                json.dumps(rest, separators=(",", ":")).encode()[1:],
            )
        )
    return found
