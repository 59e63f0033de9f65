"""Row f: what a good engineer writes in an afternoon, with nothing of this project in it.

aiokafka's `getmany`, pydantic's models in a union by their type, one decayed sum per account and
one Redis pipeline a poll.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from math import exp2
from struct import pack
from typing import Annotated, Any, Literal, TypeAlias

import aiokafka
import redis.asyncio
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from tests.bench.meter import Stopwatch
from tests.bench.plan import Plan

HALF_LIFE_SECONDS = 14 * 86_400.0
POLLED = 4_000

Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=512)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Common(BaseModel):
    id: Text
    source: Text
    time: AwareDatetime
    account_id: Text
    contact_id: Text | None = None


class Ad(Common):
    type: Literal["ad"]
    action: Literal["impression", "click"]
    campaign_id: Text
    placement: Literal["web", "email_signature"]
    cost: NotNegative | None = None


class PageVisit(Common):
    type: Literal["page_visit"]
    url: Annotated[str, Field(min_length=1, max_length=2_048)]
    duration_seconds: NotNegative | None = None
    referrer: Text | None = None
    session_id: Text | None = None


class Chat(Common):
    type: Literal["chat"]
    action: Literal["started", "message", "ended"]
    conversation_id: Text
    direction: Literal["inbound", "outbound"]
    duration_seconds: NotNegative | None = None


class Email(Common):
    type: Literal["email"]
    action: Literal["sent", "opened", "clicked", "replied", "bounced", "unsubscribed"]
    direction: Literal["inbound", "outbound"]
    rep_id: Text | None = None


class Intent(Common):
    type: Literal["intent"]
    topic: Text
    strength: NotNegative = 1.0


class Account(Common):
    type: Literal["account"]
    action: Literal["upserted", "removed"]
    name: Text | None = None
    domains: tuple[Text, ...] = ()
    target: bool = False
    tier: Annotated[int, Field(ge=1, le=3)] | None = None
    owner_id: Text | None = None


Event: TypeAlias = Annotated[
    Ad | PageVisit | Chat | Email | Intent | Account, Field(discriminator="type")
]
Read: TypeAlias = Callable[[Any], tuple[str, float] | None]
"""From a record to its account and its time (Unix seconds); None when it is invalid."""


def reader() -> Read:
    """Return the function that validates a record with pydantic's models."""
    events: TypeAdapter[Any] = TypeAdapter(Event)

    def read(record: Any) -> tuple[str, float] | None:
        try:
            event = events.validate_json(record.value)
        except ValidationError:
            return None
        return event.account_id, event.time.timestamp()

    return read


async def consume(plan: Plan, watch: Stopwatch, topics: list[str], read: Read) -> None:
    """Consume *topics* until *watch* has seen all records, validating them with *read*."""
    landmark = time.time()
    sums: dict[str, float] = defaultdict(float)
    store = redis.asyncio.Redis.from_url(plan.redis_url)
    session_ms = int(plan.settings.session_seconds * 1_000)
    consumer: Any = aiokafka.AIOKafkaConsumer(
        *topics,
        bootstrap_servers=plan.kafka,
        group_id=plan.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // 6,
    )
    await consumer.start()
    finished = False
    while not finished:
        polled = await consumer.getmany(timeout_ms=1_000, max_records=POLLED)
        if not polled:
            continue
        watch.begin()
        touched, handled = set(), 0
        for records in polled.values():
            handled += len(records)
            for record in records:
                found = read(record)
                if found is None:
                    watch.invalid += 1
                    continue
                account_id, at = found
                sums[account_id] += exp2((at - landmark) / HALF_LIFE_SECONDS)
                touched.add(account_id)
        async with store.pipeline(transaction=False) as pipe:
            for account_id in touched:
                pipe.set(f"sum:{account_id}", pack("<d", sums[account_id]))
            await pipe.execute()
        await consumer.commit()
        finished = watch.add(handled)
    await consumer.stop()
    await store.aclose()
