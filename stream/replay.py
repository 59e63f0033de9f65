"""Replay: recorded events from files into their topics, and waiting until they are scored."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer

from scoring.errors import BadRecord, Reason
from scoring.events import TYPE_TOPICS
from stream.kafka_security import NOT_ALLOWED, client_arguments, denied
from stream.outputs import Message, produce
from stream.settings import Settings
from stream.state_store import RedisStore
from stream.topics import DEAD_LETTERS

LINGER_MS: Final = 5
BATCH_BYTES: Final = 262_144
IN_FLIGHT: Final = 20_000
POLL_SECONDS: Final = 0.1


class _Head(msgspec.Struct):
    """What replay needs to know of a record to send it; the worker validates the rest."""

    type: str
    account_id: str | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


@dataclass
class Sent:
    """How far a replay has come."""

    records: int = 0
    unroutable: int = 0
    """Lines without a known type: no topic is theirs, so they became dead letters at once."""
    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    """(topic without prefix, partition) -> offset of the first record sent."""
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    """(topic without prefix, partition) -> offset after the last record sent."""


def message_of(line: bytes) -> Message:
    """Return the record of one line of a file: its topic by type, keyed by account.

    A line that no topic can be found for becomes a dead letter.
    """
    try:
        head = _decode_head(line)
        topic = TYPE_TOPICS[head.type]
    except msgspec.ValidationError:
        return _dead(line, BadRecord(Reason.MISSING_FIELD, "no type, or ids that are no text"))
    except msgspec.DecodeError as error:
        return _dead(line, BadRecord(Reason.NOT_JSON, str(error)))
    except KeyError:
        return _dead(line, BadRecord(Reason.UNKNOWN_TYPE, f"unknown type {head.type[:100]!r}"))
    key = None if head.account_id is None else head.account_id.encode("utf-8", "surrogatepass")
    return Message(topic, key, line)


def _dead(line: bytes, error: BadRecord) -> Message:
    headers = [
        ("surgeline-reason", error.reason.encode()),
        ("surgeline-detail", error.detail.encode("utf-8", "replace")),
        ("surgeline-topic", b"replay"),
    ]
    return Message(DEAD_LETTERS, None, line, None, headers)


@asynccontextmanager
async def replay_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Yield a producer made for throughput; raises RefusedStart when it may not write."""
    producer = AIOKafkaProducer(
        **client_arguments(settings),
        acks="all",
        linger_ms=LINGER_MS,
        max_batch_size=BATCH_BYTES,
        max_request_size=96 * 2**20,
    )
    await producer.start()
    try:
        yield producer
    except NOT_ALLOWED as error:
        raise denied(settings, error) from error
    finally:
        await producer.stop()


async def send_lines(
    lines: Iterable[bytes],
    producer: AIOKafkaProducer,
    *,
    prefix: str,
    progress: Callable[[int], None],
) -> Sent:
    """Produce *lines* in order and return once Kafka has them all.

    *progress* is called with the number sent since it was called last.
    """
    sent = Sent()
    waiting: list[asyncio.Future[Any]] = []
    for line in lines:
        record = line.strip()
        if not record:
            continue
        message = message_of(record)
        sent.unroutable += message.topic == DEAD_LETTERS
        waiting.append(await produce(producer, message, prefix=prefix))
        if len(waiting) >= IN_FLIGHT:
            await _settle(waiting, sent, prefix, progress)
    await _settle(waiting, sent, prefix, progress)
    return sent


async def _settle(
    waiting: list[asyncio.Future[Any]], sent: Sent, prefix: str, progress: Callable[[int], None]
) -> None:
    for metadata in await asyncio.gather(*waiting):
        at = metadata.topic.removeprefix(prefix), metadata.partition
        sent.starts.setdefault(at, metadata.offset)
        sent.ends[at] = max(sent.ends.get(at, 0), metadata.offset + 1)
    sent.records += len(waiting)
    progress(len(waiting))
    waiting.clear()


async def scored(
    sent: Sent, store: RedisStore, *, partitions: int, progress: Callable[[int], None]
) -> None:
    """Return once everything *sent* is scored, and what was due by then evaluated.

    *progress* is called with the number scored so far, by the fences.
    """
    wanted = {at: end for at, end in sent.ends.items() if at[0] != DEAD_LETTERS}
    while True:
        fences = await store.fences(range(partitions))
        done = {at: min(fences[at[1]].offsets.get(at[0], 0), end) for at, end in wanted.items()}
        progress(sum(max(0, done[at] - sent.starts[at]) for at in wanted))
        if done == wanted and not await _due(store, partitions):
            return
        await asyncio.sleep(POLL_SECONDS)


async def _due(store: RedisStore, partitions: int) -> bool:
    fences = await store.fences(range(partitions))
    for shard, fence in fences.items():
        if fence.time is not None and await store.due(shard, fence.time, 1):
            return True
    return False
