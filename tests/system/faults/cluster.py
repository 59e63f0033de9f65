"""What the fault suite asks of Kafka beside producing: offsets, records, settings, retention."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeVar

import aiokafka
import aiokafka.admin

# aiokafka's own types are incomplete; what leaves this module is typed.
_aiokafka: Any = aiokafka
_admin: Any = aiokafka.admin

IDLE_SECONDS = 6.0
TOPIC_RESOURCE = "TOPIC"

T = TypeVar("T")


class Read(NamedTuple):
    """One record read back."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


class Cluster:
    """The topics *prefix* + name of the broker at *address*; each has *partitions*."""

    def __init__(self, address: str, prefix: str, partitions: int) -> None:
        self._address = address
        self._prefix = prefix
        self._partitions = partitions
        self._read_from: dict[tuple[str, int], int] = {}

    def forget(self, topic: str) -> None:
        """Read of *topic* from now on only what comes later."""
        self._read_from |= self.ends([topic])

    def read(self, topic: str, enough: Callable[[list[Read]], bool]) -> list[Read]:
        """Read a topic from its beginning to where nothing follows; return what was read.

        It is over when nothing comes and what came is *enough*, or nothing has come for seconds.
        """
        return asyncio.run(self._read(topic, enough))

    async def _read(self, topic: str, enough: Callable[[list[Read]], bool]) -> list[Read]:
        found: list[Read] = []
        async with self._consumer() as consumer:
            consumer.assign(self._partitions_of([topic]))
            idle_since = time.monotonic()
            while time.monotonic() - idle_since < IDLE_SECONDS:
                fetched = await consumer.getmany(timeout_ms=400)
                if fetched:
                    idle_since = time.monotonic()
                    read = [_read(each) for each in itertools.chain(*fetched.values())]
                    first = self._read_from
                    found += [e for e in read if e.offset >= first.get((topic, e.partition), 0)]
                elif enough(found):
                    break
        return found

    def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """Return the next offset of every partition of *topics*."""
        return asyncio.run(self._offsets(topics, "end_offsets"))

    def begins(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """Return the oldest offset of every partition of *topics*."""
        return asyncio.run(self._offsets(topics, "beginning_offsets"))

    async def _offsets(self, topics: Iterable[str], which: str) -> dict[tuple[str, int], int]:
        async with self._consumer() as consumer:
            found = await getattr(consumer, which)(self._partitions_of(topics))
        return {
            (tp.topic.removeprefix(self._prefix), tp.partition): int(offset)
            for tp, offset in found.items()
        }

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Return what *group* has committed to Kafka."""

        async def ask(admin: Any) -> dict[tuple[str, int], int]:
            found = await admin.list_consumer_group_offsets(group)
            return {
                (tp.topic.removeprefix(self._prefix), tp.partition): int(each.offset)
                for tp, each in found.items()
                if each.offset >= 0
            }

        return self._asked(ask)

    def settings(self, topic: str) -> dict[str, str]:
        """Return the settings that *topic* itself carries."""

        async def ask(admin: Any) -> dict[str, str]:
            resource = _admin.config_resource.ConfigResource(
                _admin.config_resource.ConfigResourceType.TOPIC, self._prefix + topic
            )
            (answer,) = await admin.describe_configs([resource])
            (described,) = answer.resources
            return {each[0]: each[1] for each in described[4] if each[3] == 1}

        return self._asked(ask)

    def change_settings(self, topic: str, settings: dict[str, str]) -> None:
        """Give *topic* these settings and no others."""

        async def ask(admin: Any) -> None:
            resource = _admin.config_resource.ConfigResource(
                _admin.config_resource.ConfigResourceType.TOPIC,
                self._prefix + topic,
                configs=settings,
            )
            (answer,) = await admin.alter_configs([resource])
            (altered,) = answer.resources
            assert altered[0] == 0, altered

        self._asked(ask)

    def remove_records(self, topic: str, partition: int, *, before: int) -> None:
        """Remove the oldest records of a partition, as retention does."""
        at = _aiokafka.TopicPartition(self._prefix + topic, partition)

        async def ask(admin: Any) -> None:
            await admin.delete_records({at: _admin.RecordsToDelete(before)})

        self._asked(ask)

    def add_partitions(self, total: int, *, only: str = "") -> None:
        """Give every topic with this prefix, or *only* one, this many partitions."""

        async def ask(admin: Any) -> None:
            wanted = self._prefix + only
            names = [each for each in await admin.list_topics() if each.startswith(wanted)]
            parts = await admin.describe_topics(names)
            small = [each["topic"] for each in parts if len(each["partitions"]) < total]
            await admin.create_partitions({name: _admin.NewPartitions(total) for name in small})

        self._asked(ask)

    def delete_topics(self) -> None:
        """Delete every topic with this prefix."""

        async def ask(admin: Any) -> None:
            names = [each for each in await admin.list_topics() if each.startswith(self._prefix)]
            if names:
                await admin.delete_topics(names)

        self._asked(ask)

    def _asked(self, ask: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run(self._ask(ask))

    async def _ask(self, ask: Callable[[Any], Awaitable[T]]) -> T:
        admin = _admin.AIOKafkaAdminClient(bootstrap_servers=self._address)
        await admin.start()
        try:
            return await ask(admin)
        finally:
            await admin.close()

    def _consumer(self) -> Any:
        return _aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._address, auto_offset_reset="earliest", enable_auto_commit=False
        )

    def _partitions_of(self, topics: Iterable[str]) -> list[Any]:
        return [
            _aiokafka.TopicPartition(self._prefix + topic, number)
            for topic in topics
            for number in range(self._partitions)
        ]


def _read(record: Any) -> Read:
    return Read(record.partition, record.offset, record.key, record.value, dict(record.headers))
