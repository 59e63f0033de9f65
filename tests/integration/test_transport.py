"""The transport alone on a real broker: where it starts, what it hands on, what it commits."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiokafka
import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust.types import TP

from stream.app import _faust_app
from stream.settings import Settings
from stream.transport import (
    MAX_BYTES,
    MAX_RECORDS,
    MicroBatch,
    MicroBatches,
    MicroBatchTransport,
    Undecoded,
)
from tests.kafka_client import create_topic

_aiokafka: Any = aiokafka  # Any: its types are incomplete

T = TypeVar("T")

WITHIN_SECONDS = 30.0
POLL_SECONDS = 0.02
COMMIT_SECONDS = 0.05


class Ledger:
    """What workers share: the next offset of each partition, and what was committed of it."""

    def __init__(self, starts: Mapping[TP, int] | None = None) -> None:
        self.next: dict[TP, int] = dict(starts or {})
        self.owner: dict[TP, object] = {}
        self.records: dict[TP, list[tuple[int, bytes]]] = defaultdict(list)

    def commit(self, owner: object, tp: TP, records: list[Any], end: int) -> None:
        """Add *records* and move the fence of *tp*, unless somebody else claimed it."""
        if self.owner[tp] is owner:
            self.records[tp] += [(record.offset, record.value) for record in records]
            self.next[tp] = end


class OffsetGone(Exception):
    """The error of the recording progress for offsets that cannot be fetched."""


class RecordingProgress:
    """A `Progress` over a ledger: folds at once, commits at `flush`, as a worker does."""

    def __init__(self, ledger: Ledger, *, unsought: Collection[TP] = ()) -> None:
        self.ledger = ledger
        self.batches: list[MicroBatch] = []
        self.claims: list[set[TP]] = []
        self.flushed: list[set[TP]] = []
        self.claim_error: Exception | None = None
        self.first: list[tuple[TP, int]] = []
        """Partition and offset of the first record after each claim."""
        self._unsought = unsought
        self._claimed: dict[TP, int | None] = {}
        self._folded: dict[TP, list[Any]] = {}
        self._waiting: dict[TP, list[Any]] = {}

    async def claim(self, assigned: set[TP]) -> None:
        if self.claim_error is not None:
            raise self.claim_error
        self.claims.append(assigned)
        for tp in assigned:
            self.ledger.owner[tp] = self
            self._claimed[tp] = self.ledger.next.get(tp)
            self._folded[tp], self._waiting[tp] = [], []

    def starts(self) -> Mapping[TP, int | None]:
        return {tp: at for tp, at in self._claimed.items() if tp not in self._unsought}

    async def flush(self, revoked: set[TP]) -> None:
        self.flushed.append(revoked)
        self.commit(revoked)

    def release(self, revoked: set[TP]) -> None:
        for tp in revoked:
            self._claimed.pop(tp, None)
            self._folded.pop(tp, None)
            for event in self._waiting.pop(tp, []):
                event.ack()

    async def out_of_range(self, offsets: Mapping[TP, int]) -> BaseException:
        return OffsetGone(dict(offsets))

    @property
    def claimed(self) -> set[TP]:
        return set(self._claimed)

    def fold(self, event: Any) -> None:
        batch: MicroBatch = event.value
        tp = TP(batch.topic, batch.partition)
        if tp not in self._claimed:
            event.ack()
            return
        self.batches.append(batch)
        folded = self._folded[tp]
        if not folded and not self._waiting[tp]:
            self.first.append((tp, batch.records[0].offset))
        folded += batch.records
        self._waiting[tp].append(event)

    def commit(self, tps: Collection[TP] | None = None) -> None:
        for tp in self._claimed if tps is None else tps:
            events = self._waiting.get(tp)
            if events:
                self.ledger.commit(self, tp, self._folded[tp], events[-1].message.offset + 1)
                for event in events:
                    event.ack()
                self._folded[tp], self._waiting[tp] = [], []
