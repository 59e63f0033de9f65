"""Redis memory of an account that has five contacts and thirteen weeks of daily history."""

import asyncio
import datetime as dt
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis.asyncio

from stream.kafka_admin import declare_topics
from stream.replay import Sent, replay_producer, scored, send_lines
from stream.routing import shard_of
from stream.state_store import RedisStore, account_key, fact_key, state_key
from tests.bench.events import (
    CONTACTS_PER_ACCOUNT,
    MIX,
    SOURCE,
    Market,
    account_lines,
    event_line,
    line,
)
from tests.bench.plan import PARTITIONS, Plan
from tests.bench.processes import NotMeasured, Worker, running_worker

DAYS = 91
WARM_ACCOUNTS, ACCOUNTS = 20, 200
SETTLE_SECONDS = 2.0
POLL_SECONDS = 0.1
DEADLINE_SECONDS = 180.0


@dataclass(frozen=True)
class RedisBytes:
    """Bytes that Redis holds for one account."""

    own_keys: float
    """Mean MEMORY USAGE of its keys."""
    state: float
    """The part of its state."""
    hash: float
    """The part of the hash that people and programs read."""
    facts: float
    """The part of the log of events from which KPIs are computed."""
    all: float
    """Growth of used_memory per account: leaderboards, due queue and overheads included."""
    accounts: int
    events_per_account: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def measure_redis(plan: Plan, directory: Path) -> RedisBytes:
    """Let the real worker build ACCOUNTS accounts and return what they take in Redis.

    Some accounts before them make Redis allocate what it needs once.
    """
    await declare_topics(plan.settings)
    store = RedisStore(plan.redis_url)
    server = redis.asyncio.Redis.from_url(plan.redis_url)
    market = Market.of(WARM_ACCOUNTS + ACCOUNTS)
    warm, counted = market.accounts[:WARM_ACCOUNTS], market.accounts[WARM_ACCOUNTS:]
    try:
        async with running_worker(plan, directory) as worker, asyncio.timeout(DEADLINE_SECONDS):
            await _score(plan, worker, store, _history(Market(warm, market.chance)))
            before = await _used(server)
            await _score(plan, worker, store, _history(Market(counted, market.chance)))
            after = await _used(server)
            if dead := (await worker.outcomes()).get("dead"):
                raise NotMeasured(f"The worker refused {dead} of the benchmark's own records.")
            own = [await store.memory_of(each, shard_of(each, PARTITIONS)) for each in counted]
            states = await _sizes(server, state_key, counted)
            hashes = await _sizes(server, account_key, counted)
            facts = await _sizes(
                server, lambda shard, each: fact_key(shard, each, "facts"), counted
            )
    finally:
        await server.aclose()
        await store.close()
    return RedisBytes(
        own_keys=round(statistics.fmean(own), 1),
        state=round(statistics.fmean(states), 1),
        hash=round(statistics.fmean(hashes), 1),
        facts=round(statistics.fmean(facts), 1),
        all=round((after - before) / ACCOUNTS, 1),
        accounts=ACCOUNTS,
        events_per_account=DAYS * len(MIX),
    )


def _history(market: Market) -> Iterator[bytes]:
    """Yield the records of accounts and contacts, then one event of each type a day."""
    now = dt.datetime.now(dt.UTC)
    start = now - dt.timedelta(days=DAYS)
    yield from account_lines(market, start)
    for account in market.accounts:
        yield from _contact_lines(account, start)
    for day in range(DAYS):
        for account in market.accounts:
            for hour, type_ in enumerate(MIX):
                at = start + dt.timedelta(days=day, hours=hour)
                yield event_line(
                    market, type_, id_=f"{account}-{type_}-{day}", account=account, at=at
                )


def _contact_lines(account: str, at: dt.datetime) -> Iterator[bytes]:
    seniorities = ("c_level", "vp", "director", "manager", "other")
    for number in range(CONTACTS_PER_ACCOUNT):
        yield line(
            {
                "id": f"{account}-contact-{number}",
                "source": SOURCE,
                "type": "contact",
                "time": at.isoformat(),
                "account_id": account,
                "contact_id": f"{account}-contact-{number}",
                "action": "upserted",
                "email": f"contact-{number}@{account}.example",
                "seniority": seniorities[number % len(seniorities)],
            }
        )


async def _score(plan: Plan, worker: Worker, store: RedisStore, lines: Iterator[bytes]) -> None:
    """Produce *lines* and wait until they are scored and announced."""
    async with replay_producer(plan.settings) as producer:
        sent: Sent = await send_lines(
            lines, producer, prefix=plan.topic_prefix, progress=lambda _: None
        )
    waiting = asyncio.create_task(
        scored(sent, store, partitions=PARTITIONS, progress=lambda _: None)
    )
    try:
        while not waiting.done():
            worker.check()
            await asyncio.wait((waiting,), timeout=POLL_SECONDS)
        await waiting
    finally:
        waiting.cancel()
    while True:
        if not any([await store.outbox(shard) for shard in range(PARTITIONS)]):
            return
        await asyncio.sleep(POLL_SECONDS)


async def _sizes(server: Any, key: Callable[[int, str], str], accounts: Iterable[str]) -> list[int]:
    """Return MEMORY USAGE of one key of each of *accounts*."""
    keys = [key(shard_of(each, PARTITIONS), each) for each in accounts]
    return [int(await server.memory_usage(each)) for each in keys]


async def _used(server: Any) -> int:
    """Return Redis' memory without its clients' buffers, the least of a few moments."""
    found = []
    for _ in range(round(SETTLE_SECONDS / POLL_SECONDS)):
        info = await server.info("memory")
        found.append(int(info["used_memory"]) - int(info["mem_clients_normal"]))
        await asyncio.sleep(POLL_SECONDS)
    return min(found)
