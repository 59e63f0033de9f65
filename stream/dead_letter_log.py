"""The topic `dead-letters`: read to its end, and its records produced again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import TopicPartition

from stream.dead_letters import (
    Chosen,
    DeadLetter,
    letter_of,
    receipt,
    receipt_of,
    replayed,
)
from stream.errors import BadDeadLetter, Unreachable
from stream.kafka_admin import Reached, admin_client, partition_counts
from stream.kafka_records import accept_any_header_name
from stream.kafka_security import client_arguments
from stream.micro_batch import Record
from stream.outputs import Message, not_taken, produce
from stream.settings import Settings
from stream.topics import DEAD_LETTERS

SILENT_SECONDS: Final = 0.5
"""Some brokers report the end of a log seconds late; silence after the reported end is the end."""
PAST_END_SECONDS: Final = 5.0
"""At most so long is read beyond the reported end, while letters keep coming."""
STALLED_SECONDS: Final = 20.0
POLL_MS: Final = 100
AT_ONCE: Final = 500
"""Letters produced before their receipts: so many are produced twice when it ends in between."""


class DeadLetterLog:
    """The letters up to the end that the topic has when `receipts` is read."""

    def __init__(self, consumer: Any, partitions: int, prefix: str) -> None:
        self._consumer = consumer
        self._topic = prefix + DEAD_LETTERS
        self.partitions = [TopicPartition(self._topic, number) for number in range(partitions)]
        self._ends: dict[TopicPartition, int] = {}
        self._closed = False

    async def receipts(self) -> set[str]:
        """Return the identities of the letters that were replayed; read this first.

        A receipt lies behind its letter, so nobody can tell before the end.
        """
        if self.partitions:
            self._ends = dict(await self._consumer.end_offsets(self.partitions))
        found = {known async for each in self._records() if (known := receipt_of(each))}
        self._ends = {tp: await self._consumer.position(tp) for tp in self.partitions}
        self._closed = True
        return found

    async def letters(self, chosen: Chosen) -> AsyncIterator[DeadLetter]:
        """Yield the letters that are *chosen*, those of one partition in their order."""
        assert self._closed, "read the receipts first"
        async for record in self._records():
            letter = letter_of(record)
            if letter is not None and letter in chosen:
                yield letter

    async def _records(self) -> AsyncIterator[Record]:
        if not self.partitions:
            return
        await self._consumer.seek_to_beginning(*self.partitions)
        loop = asyncio.get_running_loop()
        heard_at, past_end_since = loop.time(), None
        while True:
            fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
            for tp, records in fetched.items():
                for record in records:
                    if not self._closed or record.offset < self._ends[tp]:
                        yield record
            now = loop.time()
            heard_at = now if fetched else heard_at
            if await self._all_read():
                past_end_since = now if past_end_since is None else past_end_since
                silent, long = now - heard_at, now - past_end_since
                if self._closed or silent >= SILENT_SECONDS or long >= PAST_END_SECONDS:
                    return
            elif now - heard_at > STALLED_SECONDS:
                raise Unreachable(f"Kafka does not deliver {self._topic} to its end.")

    async def _all_read(self) -> bool:
        return all([await self._consumer.position(tp) >= end for tp, end in self._ends.items()])


@asynccontextmanager
async def open_dead_letters(settings: Settings) -> AsyncIterator[DeadLetterLog]:
    """Open the topic, which may be missing; within, what says that Kafka is away is Unreachable."""
    async with admin_client(settings) as admin:
        counts = await partition_counts(admin, settings)
    partitions = counts.get(DEAD_LETTERS, 0)
    accept_any_header_name()
    consumer = AIOKafkaConsumer(
        **client_arguments(settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    log = DeadLetterLog(consumer, partitions, settings.topic_prefix)
    async with Reached(settings):
        if not partitions:
            yield log
            return
        try:
            await consumer.start()
            consumer.assign(log.partitions)
            yield log
        finally:
            await consumer.stop()


@dataclass
class Replayed:
    """How far a replay has come."""

    records: int = 0
    before: int = 0
    """Letters passed over: replayed earlier, or a second letter of the same record."""
    unroutable: int = 0
    """Letters passed over: no topic takes them, as when they were written."""


class Replay:
    """Produces letters to where they came from, each once as far as *done* knows.

    *done* are the identities of letters that were replayed; it grows. Without a *producer* it
    only counts. *partitions* is the number of those of `dead-letters`.
    """

    def __init__(
        self, producer: AIOKafkaProducer | None, done: set[str], *, prefix: str, partitions: int
    ) -> None:
        self.count = Replayed()
        self._producer = producer
        self._done = done
        self._prefix = prefix
        self._partitions = partitions
        self._waiting: list[tuple[DeadLetter, Message]] = []

    async def add(self, letter: DeadLetter) -> bool:
        """Produce *letter*, now or with the next ones; tell whether it is to be replayed.

        Raises BadDeadLetter when Kafka refuses a record for its size, Unreachable when it takes
        none.
        """
        message = replayed(letter)
        if letter.identity in self._done:
            self.count.before += 1
            return False
        if message is None:
            self.count.unroutable += 1
            return False
        self._done.add(letter.identity)
        self._waiting.append((letter, message))
        self.count.records += 1
        if len(self._waiting) >= AT_ONCE:
            await self.finish()
        return True

    async def finish(self) -> None:
        """Return once Kafka has all that was added, and the receipts of it."""
        waiting, self._waiting = self._waiting, []
        if self._producer is None:
            return
        results = await self._sent(self._producer, [message for _, message in waiting])
        good = [letter for (letter, _), r in zip(waiting, results, strict=True) if r is None]
        failures = await self._sent(self._producer, [self._receipt(letter) for letter in good])
        self.count.records -= len(waiting) - len(good)
        for (letter, _), error in zip(waiting, results, strict=True):
            if error is not None:
                raise _refused(letter, error)
        for error in failures:
            if error is not None:
                raise not_taken(error)

    def _receipt(self, letter: DeadLetter) -> Message:
        message = receipt(letter)
        known = message.partition is not None and 0 <= message.partition < self._partitions
        return message if known else message._replace(partition=None)  # a line made by hand

    async def _sent(
        self, producer: AIOKafkaProducer, messages: list[Message]
    ) -> list[KafkaError | None]:
        """Produce *messages* in order; return of each why Kafka did not take it, None if it did."""
        sent: list[Any] = []
        for each in messages:
            try:
                future = await produce(producer, each, prefix=self._prefix)
            except MessageSizeTooLargeError as error:
                future = asyncio.get_running_loop().create_future()
                future.set_exception(error)
            sent.append(future)
        results = await asyncio.gather(*sent, return_exceptions=True)
        return [_kafka_error(each) for each in results]


def _kafka_error(result: object) -> KafkaError | None:
    if isinstance(result, BaseException) and not isinstance(result, KafkaError):
        raise result
    return result if isinstance(result, KafkaError) else None


def _refused(letter: DeadLetter, error: KafkaError) -> BadDeadLetter | Unreachable:
    if isinstance(error, MessageSizeTooLargeError):
        return BadDeadLetter(
            f"Kafka refuses {letter.identity} as too large for its topic; those chosen before "
            "it were replayed. Leave it out, or raise the topic's max.message.bytes."
        )
    return not_taken(error)
