"""Outputs: what the worker produces to Kafka, and only lets go of once Kafka has it."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Optional

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
)

from scoring.errors import BadRecord, Reason
from stream.backoff import Backoff
from stream.errors import Unreachable, said
from stream.micro_batch import Record
from stream.topics import DEAD_LETTERS, TRANSFERS, UNRESOLVED

Headers = Sequence[tuple[str, bytes]]

LARGE_BYTES: Final = 64 * 2**10
"""Smaller records fit into every topic; of the value of a cut one so much is left."""
CUT: Final = "surgeline-cut"
"""Header of a dead letter that holds but the beginning of a record: the record's bytes."""
_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)


class Message(NamedTuple):
    """One record to produce."""

    topic: str
    """Without the prefix."""
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None
    instead: Optional["Message"] = None
    """What is produced when the topic refuses it for its size."""


class Announcement(msgspec.Struct, array_like=True, gc=False):
    """One message of the outbox, as it waits in Redis."""

    topic: str
    key: bytes
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Announcement]).decode


def encode_announcements(announcements: list[Announcement]) -> bytes:
    """Return the outbox entry of *announcements*."""
    return _encode(announcements)


def announced_accounts(entry: bytes) -> list[str]:
    """Return the accounts that an outbox *entry* announces."""
    return [each.key.decode("utf-8", "surrogatepass") for each in _decode(entry)]


def dead_letter(record: Record, error: BadRecord, *, prefix: str = "") -> Message:
    """Return the dead letter of *record*: its raw bytes, the reason, where it came from.

    The record's own headers come first: of equal names the last one counts.
    """
    headers = [
        ("surgeline-reason", error.reason.encode()),
        ("surgeline-detail", error.detail.encode("utf-8", "replace")),
        *_origin(record, prefix),
    ]
    # Kafka's client sends no record that has neither key nor value.
    key = b"" if record.key is None and record.value is None else record.key
    letter = Message(DEAD_LETTERS, key, record.value, None, [*record.headers, *headers])
    size = _size(record)
    return letter if size < LARGE_BYTES else letter._replace(instead=_cut(letter, headers, size))


def _cut(letter: Message, headers: Headers, size: int) -> Message:
    """Return the beginning of *letter*; the whole record stays where it came from."""
    key = b"" if letter.key is None else letter.key[:LARGE_BYTES]
    value = (letter.value or b"")[:LARGE_BYTES]
    return Message(DEAD_LETTERS, key, value, None, [*headers, (CUT, str(size).encode())])


def _too_large_for(topic: str, record: Record, prefix: str) -> Message | None:
    """Return the dead letter of a good *record* that *topic* may refuse, None where it fits."""
    if _size(record) < LARGE_BYTES:
        return None
    error = BadRecord(Reason.TOO_LARGE, f"topic {topic} takes no record of this size")
    return dead_letter(record, error, prefix=prefix)


def _size(record: Record) -> int:
    own = sum(len(name) + len(value or b"") for name, value in record.headers)
    return own + len(record.key or b"") + len(record.value or b"")


def unresolved(record: Record, *, why: str = "unknown", prefix: str = "") -> Message:
    """Return *record* as an event that no account could be found for, and *why*."""
    instead = _too_large_for(UNRESOLVED, record, prefix)
    headers = [*_origin(record, prefix), ("surgeline-why", why.encode())]
    return Message(UNRESOLVED, record.key, record.value, None, headers, instead=instead)


def attributed(record: Record, topic: str, fields: Mapping[str, Any], shard: int) -> Message:
    """Return *record* with the *fields* that tell of its account, in that one's partition."""
    message = rekeyed(record, topic, fields["account_id"], shard)
    return message._replace(value=with_fields(record.value or b"", fields))


def with_fields(value: bytes, fields: Mapping[str, Any]) -> bytes:
    """Return the JSON object *value* with *fields*; all others stay as they are."""
    event = json.loads(value) | fields
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def rekeyed(record: Record, topic: str, account_id: str, shard: int) -> Message:
    """Return *record* under the key and in the partition where its account belongs."""
    key = account_id.encode("utf-8", "surrogatepass")
    headers = [*record.headers, ("surgeline-rekeyed-from", str(record.partition).encode())]
    instead = _too_large_for(topic, record, record.topic.removesuffix(topic))
    return Message(topic, key, record.value, shard, headers, record.timestamp, instead)


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

        async def send_waiting() -> None:
            nonlocal waiting
            try:
                futures = [
                    await produce(self._producer, message, prefix=self._prefix)
                    for message in waiting
                ]
                results = await asyncio.gather(*futures, return_exceptions=True)
            except KafkaError as error:
                raise _failure(error) from error
            failed = [
                (m, r)
                for m, r in zip(waiting, results, strict=True)
                if isinstance(r, BaseException)
            ]
            waiting = [_smaller(message, why) for message, why in failed]
            for (message, why), left in zip(failed, waiting, strict=True):
                if left is message:
                    raise _failure(why) from why
            if waiting:
                await send_waiting()

        if waiting:
            await self._backoff.answered(send_waiting)

    async def announce(self, shard: int, entries: Iterable[bytes]) -> None:
        """Return once Kafka has acknowledged the outbox *entries* of *shard*, in order.

        Output topics have as many partitions as inputs, so an account's announcements stay
        in the order of its commits. Built as whole batches: a future a record is what makes
        producing slow. Transfers are few, and go to the partitions of other accounts.
        """
        by_topic: dict[str, list[Announcement]] = defaultdict(list)
        for entry in entries:
            for announcement in _decode(entry):
                by_topic[announcement.topic].append(announcement)
        await self.send(map(_transfer, by_topic.pop(TRANSFERS, ())))
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

        async def send_batch() -> int:
            try:
                sent = await self._producer.send_batch(batch, self._prefix + topic, partition=shard)
                await sent
            except KafkaError as error:
                raise _failure(error) from error
            return end

        return await self._backoff.answered(send_batch)


def _transfer(announcement: Announcement) -> Message:
    """Return the record of a transfer; where the topic takes none of its size, it is buried."""
    message = Message(TRANSFERS, announcement.key, announcement.value)
    size = len(announcement.value)
    if size < LARGE_BYTES:
        return message
    error = BadRecord(Reason.TOO_LARGE, f"topic {TRANSFERS} takes no record of this size")
    headers = [
        ("surgeline-reason", error.reason.encode()),
        ("surgeline-detail", error.detail.encode()),
        ("surgeline-topic", TRANSFERS.encode()),
    ]
    return message._replace(instead=_cut(message, headers, size))


async def produce(producer: AIOKafkaProducer, message: Message, *, prefix: str) -> Any:
    """Hand *message* to *producer*; return the future of where Kafka put it."""
    return await producer.send(
        prefix + message.topic,
        value=message.value,
        key=message.key,
        partition=message.partition,
        timestamp_ms=message.timestamp_ms,
        headers=list(message.headers),
    )


def _smaller(message: Message, error: BaseException) -> Message:
    """Return what is produced after *error*: no waiting makes a record smaller."""
    return message.instead or message if isinstance(error, _TOO_LARGE) else message


def _failure(error: BaseException) -> BaseException:
    """Return what is raised of *error*: a producer that we have closed is not waited for."""
    return error if isinstance(error, ProducerClosed) else not_taken(error)


def not_taken(error: BaseException) -> Unreachable:
    """Return the error for records that Kafka did not take because of *error*."""
    return Unreachable(f"Kafka does not take records ({said(error)}).")
