"""The ground of one situation: Kafka and Redis of its own, its topics, and its workers."""

import asyncio
import contextlib
import datetime as dt
import os
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import redis.asyncio

from stream.kafka_admin import declare_topics
from stream.replay import replay_producer, scored, send_lines
from stream.state_store import ANY_SHARD, RedisStore, shard_prefix
from tests.bench.events import Market, account_lines
from tests.bench.plan import PARTITIONS, Plan
from tests.bench.processes import NotMeasured, Worker, start_worker
from tests.servers import KafkaServer, RedisServer

BROKER = {"group.initial.rebalance.delay.ms": "3000"}
"""As production brokers have it by default, and as deploy/ leaves it."""
STOP_SECONDS = 15.0
SCORED_SECONDS = 300.0
POLL_SECONDS = 0.005


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    goal: str = ""


class Result(NamedTuple):
    """What one situation came to."""

    figures: list[Figure]
    data: dict[str, Any]


class Claim(NamedTuple):
    """Who owns a shard, and how many commits it has had."""

    owner: str
    seq: int


@dataclass(frozen=True)
class Ground:
    """Servers with declared topics. Workers started here end with it."""

    plan: Plan
    directory: Path
    store: RedisStore
    redis: Any
    small: bool
    workers: list[Worker] = field(default_factory=list)

    async def start_worker(self) -> Worker:
        """Start a worker; it is not ready yet."""
        worker = await start_worker(self.plan, self.directory, name=f"-{len(self.workers)}")
        self.workers.append(worker)
        return worker

    async def ready_worker(self) -> Worker:
        """Start a worker and wait until it is ready."""
        worker = await self.start_worker()
        await worker.ready()
        return worker

    async def score(self, lines: Iterable[bytes]) -> None:
        """Produce *lines* and return once they are scored."""
        async with replay_producer(self.plan.settings) as producer:
            sent = await send_lines(
                lines, producer, prefix=self.plan.topic_prefix, progress=lambda _: None
            )
        async with asyncio.timeout(SCORED_SECONDS):
            await scored(sent, self.store, partitions=self.plan.partitions, progress=lambda _: None)

    async def score_accounts(self, market: Market) -> None:
        """Make all accounts of *market* targets."""
        await self.score(account_lines(market, dt.datetime.now(dt.UTC) - dt.timedelta(days=8)))

    async def claim_of(self, shard: int) -> Claim:
        """Return who owns *shard*."""
        owner, seq = await self.redis.hmget(f"{shard_prefix(shard)}fence", "owner", "seq")
        return Claim((owner or b"").decode(), int(seq or 0))

    async def counted(self) -> int:
        """Return how many events the accounts in Redis contain."""
        total = 0
        async for keys in self.store.keys(f"{ANY_SHARD}account:*"):
            async with self.redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.hget(key, "events")
                total += sum(int(each or 0) for each in await pipeline.execute())
        return total


def kill(worker: Worker) -> float:
    """End *worker* as a crash would; return when, by the monotonic clock."""
    os.kill(worker.pid, signal.SIGKILL)
    return time.monotonic()


async def terminate(worker: Worker, *, within_seconds: float = STOP_SECONDS) -> tuple[float, int]:
    """End *worker* as an operator would; return how many seconds that took, and its exit code."""
    began = time.monotonic()
    os.kill(worker.pid, signal.SIGTERM)
    try:
        code = await asyncio.wait_for(worker.child.wait(), within_seconds)
    except TimeoutError:
        raise NotMeasured(f"A worker does not end. {worker.child.last_lines()}") from None
    return time.monotonic() - began, code


async def first_commit_after(ground: Ground, before: Mapping[int, Claim]) -> tuple[float, float]:
    """Return when a new owner claimed one of the shards in *before*, and when it first committed.

    By the monotonic clock. Raise NotMeasured when that takes a minute.
    """
    last, give_up_at = dict(before), time.monotonic() + 60.0
    claimed_at: float | None = None
    while time.monotonic() < give_up_at:
        for shard, old in last.items():
            claim, now = await ground.claim_of(shard), time.monotonic()
            if claim.owner == before[shard].owner:
                last[shard] = claim  # what was on its way to Redis when the old owner ended
                continue
            claimed_at = claimed_at or now
            if claim.seq > old.seq:
                return claimed_at, now
        await asyncio.sleep(POLL_SECONDS)
    raise NotMeasured(f"No commit within a minute. {ground.workers[-1].child.last_lines()}")


@contextlib.contextmanager
def servers(logs: Path | None) -> Iterator[tuple[KafkaServer, RedisServer, Path]]:
    """Give a Kafka and a Redis, and a directory for *logs*, a temporary one when there is none."""
    with (
        KafkaServer(config=BROKER, own=True, java_options=()) as kafka,
        RedisServer(own=True) as redis_server,
    ):
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
            yield kafka, redis_server, logs
        else:
            with tempfile.TemporaryDirectory(prefix="surgeline-bench-") as directory:
                yield kafka, redis_server, Path(directory)


@contextlib.asynccontextmanager
async def prepared(
    kafka: str,
    redis_url: str,
    directory: Path,
    *,
    small: bool,
    partitions: int = PARTITIONS,
) -> AsyncIterator[Ground]:
    """Declare the topics; end all workers at the end of the block."""
    group = f"bench-{secrets.token_hex(4)}"
    plan = Plan(
        "operations", kafka, redis_url, group, 0, "", partitions=partitions, log_level="info"
    )
    store, client = RedisStore(redis_url), redis.asyncio.Redis.from_url(redis_url)
    ground = Ground(plan, directory, store, client, small)
    try:
        await declare_topics(plan.settings)
        yield ground
    finally:
        for worker in ground.workers:
            await worker.child.stop(grace_seconds=STOP_SECONDS)
        await client.aclose()
        await store.close()
