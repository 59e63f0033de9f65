"""Micro-batches: records of one partition, shaped like one record for Faust.

Apart from `stream.transport`, so that programs without Faust in them start in half the time.
"""

from typing import Any, Final, TypeAlias

from aiokafka.structs import ConsumerRecord

MAX_RECORDS: Final = 1_000
MAX_BYTES: Final = 1_048_576

Record: TypeAlias = "ConsumerRecord[Any, Any]"


class MicroBatch:
    """Records of one partition in offset order, shaped like one record for Faust.

    ``offset`` is that of the last record, so acknowledging the message covers them all.
    """

    __slots__ = ("offset", "partition", "records", "timestamp", "topic")

    # What Faust reads of a record and what a micro-batch has no single value for.
    timestamp_type = 0
    headers = None
    key = None
    checksum = None
    serialized_key_size = 0
    serialized_value_size = 0

    def __init__(self, records: list[Record]) -> None:
        last = records[-1]
        self.records = records
        self.topic: str = last.topic
        self.partition: int = last.partition
        self.offset: int = last.offset
        self.timestamp: int | None = last.timestamp

    @property
    def value(self) -> "MicroBatch":
        """Return the micro-batch itself: what the agent receives."""
        return self
