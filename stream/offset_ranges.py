"""Where logs begin and end, asked of Kafka for many partitions at once."""

from collections.abc import Iterable
from typing import Any

from aiokafka.structs import TopicPartition


async def offset_ranges(
    consumer: Any, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """Return partition -> (oldest offset, next offset), by a started *consumer* without a group.

    Raises KafkaError.
    """
    tps = list(partitions)
    # Else it learns of one topic at a time, each a tenth of a second after the other.
    await consumer._client.set_topics({tp.topic for tp in tps})  # noqa: SLF001
    begins = await consumer.beginning_offsets(tps)
    ends = await consumer.end_offsets(tps)
    return {tp: (begins[tp], ends[tp]) for tp in tps}
