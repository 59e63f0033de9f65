"""Reading a topic's partitions to their end, without a group."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from stream.errors import Unreachable
from stream.kafka_records import accept_any_header_name
from stream.kafka_security import client_arguments
from stream.settings import Settings

SILENT_SECONDS: Final = 0.5
"""Some brokers report the end of a log seconds late; silence after the reported end is the end."""
STALLED_SECONDS: Final = 20.0
POLL_MS: Final = 100


@asynccontextmanager
async def reader(settings: Settings) -> AsyncIterator[Any]:
    """Open a consumer without a group."""
    accept_any_header_name()
    consumer = AIOKafkaConsumer(
        **client_arguments(settings),
        client_id=f"{settings.group}-reader",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


def partitions_of(topic: str, numbers: Iterable[int], settings: Settings) -> list[TopicPartition]:
    """Return partitions of *topic*, which is without the prefix."""
    return [TopicPartition(settings.topic_prefix + topic, number) for number in numbers]


async def read_to_end(consumer: Any, tps: Iterable[TopicPartition]) -> AsyncIterator[Any]:
    """Yield the records of partitions from their beginning to their end; assigns them.

    Raises Unreachable when Kafka stops delivering before that.
    """
    tps = list(tps)
    consumer.assign(tps)
    await consumer.seek_to_beginning(*tps)
    ends = await consumer.end_offsets(tps)
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while True:
        fetched = await consumer.getmany(timeout_ms=POLL_MS)
        for records in fetched.values():
            for record in records:
                yield record
        now = loop.time()
        heard_at = now if fetched else heard_at
        if all([await consumer.position(tp) >= end for tp, end in ends.items()]):
            if now - heard_at >= SILENT_SECONDS:
                return
        elif now - heard_at > STALLED_SECONDS:
            raise Unreachable(f"Kafka does not deliver {tps[0].topic} to its end.")
