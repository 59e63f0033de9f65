"""The three things that a test asks of a Kafka client, typed."""

import asyncio
from typing import Any

import aiokafka
import aiokafka.admin

from tests.system.harness import PATIENCE

# aiokafka's own types are incomplete; what leaves this module is typed.
_aiokafka: Any = aiokafka
_admin: Any = aiokafka.admin


async def create_topic(address: str, topic: str, *, partitions: int = 1) -> None:
    """Create *topic* at the broker; say nothing if it exists."""
    admin = _admin.AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([_admin.NewTopic(topic, partitions, replication_factor=1)])
    finally:
        await admin.close()


async def produce(address: str, topic: str, value: bytes, *, key: bytes | None = None) -> None:
    """Produce one record and wait until the broker has it."""
    async with _aiokafka.AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(topic, value, key=key)


async def first_value(
    address: str, topic: str, *, group: str | None = None, within_seconds: float = 30.0
) -> bytes:
    """Return the value of the first record of *topic*'s partition 0, or of *group*'s partitions.

    Raise TimeoutError when there is none in time.
    """
    async with _aiokafka.AIOKafkaConsumer(
        bootstrap_servers=address, auto_offset_reset="earliest", group_id=group
    ) as consumer:
        if group is None:
            consumer.assign([_aiokafka.TopicPartition(topic, 0)])
        else:
            consumer.subscribe([topic])
        record = await asyncio.wait_for(consumer.getone(), PATIENCE * within_seconds)
        return bytes(record.value)
