"""Outputs: what the worker produces to Kafka, and only lets go of once Kafka has it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from scoring.errors import BadRecord
from stream.backoff import Backoff
from stream.errors import Unreachable
from stream.topics import DEAD_LETTERS, UNRESOLVED
from stream.transport import Record

Headers = Sequence[tuple[str, bytes]]


class Message(NamedTuple):
    """One record to produce."""

    topic: str
    """Without the prefix."""
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None


class Announcement(msgspec.Struct, array_like=True):
    """One message of the outbox, as it waits in Redis."""

    topic: str
    key: bytes
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Announcement]).decode


def encode_announcements(announcements: list[Announcement]) -> bytes:
    """Return the outbox entry of *announcements*."""
    return _encode(announcements)


def dead_letter(record: Record, error: BadRecord, *, prefix: str = "") -> Message:
    """Return the dead letter of *record*: its raw bytes, the reason, where it came from."""
    headers = [
        ("surgeline-reason", error.reason.encode()),
        ("surgeline-detail", error.detail.encode("utf-8", "replace")),
        *_origin(record, prefix),
    ]
    return Message(DEAD_LETTERS, record.key, record.value, None, headers)


def unresolved(record: Record, *, prefix: str = "") -> Message:
    """Return *record* as an event that no account could be found for."""
    return Message(UNRESOLVED, record.key, record.value, None, _origin(record, prefix))


def rekeyed(record: Record, topic: str, account_id: str, shard: int) -> Message:
    """Return *record* under the key and in the partition where its account belongs."""
    key = account_id.encode("utf-8", "surrogatepass")
    headers = [*record.headers, ("surgeline-rekeyed-from", str(record.partition).encode())]
    return Message(topic, key, record.value, shard, headers, record.timestamp)


def _origin(record: Record, prefix: str) -> Headers:
    return (
        ("surgeline-topic", record.topic.removeprefix(prefix).encode()),
        ("surgeline-partition", str(record.partition).encode()),
        ("surgeline-offset", str(record.offset).encode()),
        ("surgeline-timestamp", str(record.timestamp).encode()),
    )


class Outputs:
    """Produces, waiting for Kafka as long as it takes."""

    def __init__(self, producer: AIOKafkaProducer, *, prefix: str, backoff: Backoff) -> None:
        self._producer = producer
        self._prefix = prefix
        self._backoff = backoff

    async def send(self, messages: Iterable[Message]) -> None:
        """Return once Kafka has acknowledged all of *messages*."""
        waiting = list(messages)
        while waiting:
            try:
                futures = [await self._send_one(message) for message in waiting]
                results = await asyncio.gather(*futures, return_exceptions=True)
            except KafkaError as error:
                await self._backoff.wait(_away(error))
                continue
            failed = [r for r in results if isinstance(r, BaseException)]
            waiting = [
                m for m, r in zip(waiting, results, strict=True) if isinstance(r, BaseException)
            ]
            if failed:
                await self._backoff.wait(_away(failed[0]))
        self._backoff.succeeded()

    async def announce(self, shard: int, entries: Iterable[bytes]) -> None:
        """Return once Kafka has acknowledged the outbox *entries* of *shard*, in order.

        Output topics have as many partitions as inputs, so an account's announcements stay
        in the order of its commits. Built as whole batches: a future a record is what makes
        producing slow.
        """
        by_topic: dict[str, list[Announcement]] = defaultdict(list)
        for entry in entries:
            for announcement in _decode(entry):
                by_topic[announcement.topic].append(announcement)
        for topic, announcements in by_topic.items():
            position = 0
            while position < len(announcements):
                position = await self._announce_batch(shard, topic, announcements, position)

    async def _announce_batch(
        self, shard: int, topic: str, announcements: list[Announcement], position: int
    ) -> int:
        batch = self._producer.create_batch()
        end = position
        while end < len(announcements):
            each = announcements[end]
            if batch.append(key=each.key, value=each.value, timestamp=None) is None:
                break
            end += 1
        batch.close()
        while True:
            try:
                sent = await self._producer.send_batch(batch, self._prefix + topic, partition=shard)
                await sent
            except KafkaError as error:
                await self._backoff.wait(_away(error))
            else:
                self._backoff.succeeded()
                return end

    async def _send_one(self, message: Message) -> Any:
        return await self._producer.send(
            self._prefix + message.topic,
            value=message.value,
            key=message.key,
            partition=message.partition,
            timestamp_ms=message.timestamp_ms,
            headers=list(message.headers),
        )


def _away(error: BaseException) -> Unreachable:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return Unreachable(f"Kafka does not take records ({text[:200]}).")
