"""Micro-batches through Faust: one message per slice of a partition, offsets by the fence.

Faust pays about 100 µs for every message that it hands to an agent. Here a message is a
micro-batch: up to 1,000 records of one partition in one value, so an ordinary agent moves
hundreds of thousands of records a second. Two documented seams make it: a scheduler whose
``iterate`` yields one record-shaped object per micro-batch, and a transport whose consumer
overrides what assumes one message per offset.

Where reading starts is decided by a `Progress`, never by Kafka's committed offsets: those are
written for lag monitors and autoscalers only.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Protocol, cast

import faust
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

from stream.kafka_records import accept_any_header_name
from stream.micro_batch import MAX_BYTES, MAX_RECORDS, MicroBatch, Record

FETCH_WAIT_MS: Final = 50


class MicroBatches(DefaultSchedulingStrategy):
    """Scheduler that cuts what was fetched into micro-batches, round robin over partitions."""

    max_records = MAX_RECORDS
    max_bytes = MAX_BYTES

    def iterate(self, records: Mapping[TP, list[Record]]) -> Iterator[tuple[TP, MicroBatch]]:
        """Yield (partition, micro-batch), one of each partition in turn."""
        waiting = deque((tp, self._slices(fetched)) for tp, fetched in records.items())
        while waiting:
            tp, slices = waiting.popleft()
            batch = next(slices, None)
            if batch is not None:
                yield tp, batch
                waiting.append((tp, slices))

    def _slices(self, fetched: list[Record]) -> Iterator[MicroBatch]:
        batch: list[Record] = []
        size = 0
        for record in fetched:
            length = len(record.value) if record.value is not None else 0
            if batch and (len(batch) >= self.max_records or size + length > self.max_bytes):
                yield MicroBatch(batch)
                batch, size = [], 0
            batch.append(record)
            size += length
        if batch:
            yield MicroBatch(batch)


class Progress(Protocol):
    """Who knows from which offset each partition is read, and is told of assignments."""

    async def claim(self, assigned: set[TP]) -> None:
        """Take over the partitions just assigned; raising ends the process."""

    def starts(self) -> Mapping[TP, int | None]:
        """Return the next offset of each claimed partition, None for the log's beginning."""

    async def flush(self, revoked: set[TP]) -> None:
        """Commit what was folded of partitions that are about to go."""

    def release(self, revoked: set[TP]) -> None:
        """Forget partitions that are gone."""

    async def out_of_range(self, offsets: Mapping[TP, int]) -> BaseException:
        """Return the error that says why *offsets* cannot be fetched."""


class MicroBatchThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, with fetches that do not wait long.

    Faust fixes the wait at 1.5 s. A broker is asked by one fetch at a time, so a partition
    that was full when a fetch began would wait out its silence on the empty ones.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        accept_any_header_name()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001  # no argument for it
        return consumer


class MicroBatchConsumer(driver.Consumer):
    """Faust's aiokafka consumer for messages that span many offsets."""

    def _new_consumer_thread(self) -> MicroBatchThread:
        return MicroBatchThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def progress(self) -> Progress:
        """Return who decides where partitions are read from."""
        return cast(MicroBatchTransport, self.transport).progress

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Claim the partitions before Faust opens the flow.

        aiokafka merely logs an exception here, so it crashes the app instead.
        """
        try:
            await self.progress.claim(set(assigned))
        except Exception as error:  # noqa: BLE001  # whatever it is ends the process
            await self.app.crash(error)
            return
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit, let Faust wait for what is in flight, then forget the partitions."""
        gone = set(revoked)
        if gone:
            # Faust does so in super(): what is still folded until then would be waited for.
            self.stop_flow()
            self.app.flow_control.suspend()
        try:
            await self.progress.flush(gone)
        except Exception as error:  # noqa: BLE001  # whatever it is ends the process
            await self.app.crash(error)
        await super().on_partitions_revoked(revoked)
        self.progress.release(gone)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every claimed partition to its fence, or to the log's beginning.

        Also runs in the middle of a rebalance: the starts are copied before the first
        await, and partitions that are not claimed are left alone.
        """
        starts = dict(self.progress.starts())
        sought: Mapping[TP, int] = await self._thread.call_thread(self._seek_all, starts)
        return sought

    async def _seek_all(self, starts: Mapping[TP, int | None]) -> dict[TP, int]:
        # Runs in the consumer's thread, whose loop owns the fetcher.
        consumer = self._thread._ensure_consumer()  # noqa: SLF001  # no public way to it
        native = {tp: TopicPartition(tp.topic, tp.partition) for tp in starts}
        fresh = [native[tp] for tp, start in starts.items() if start is None]
        begins = await consumer.beginning_offsets(fresh) if fresh else {}
        sought = {}
        for tp, start in starts.items():
            if native[tp] in consumer.assignment():
                sought[tp] = begins[native[tp]] if start is None else start
                consumer.seek(native[tp], sought[tp])
        return sought

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        try:
            return await super()._getmany(active_partitions, timeout)
        except NoOffsetForPartitionError:
            return {}  # assigned, and not yet sought
        except OffsetOutOfRangeError as error:
            asked = {TP(tp.topic, tp.partition): at for tp, at in error.args[0].items()}
            reason = await self.progress.out_of_range(asked)
            await self.app.crash(reason)
            raise reason from error

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Add nothing: a message covers all offsets up to its own."""

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset after the highest acknowledged one.

        Micro-batches of a partition are acknowledged in their order, so there are no holes.
        """
        acked = self._acked[tp]
        if not acked:
            return None
        highest: int = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return highest + 1


class MicroBatchTransport(driver.Transport):
    """Faust's Kafka transport with the consumer above."""

    Consumer = MicroBatchConsumer

    def __init__(self, urls: list[Any], app: faust.App, *, progress: Progress) -> None:
        super().__init__(urls, app)
        self.progress = progress


class Undecoded(faust.Schema[Any, Any]):
    """Schema that hands the micro-batch to the agent as it is.

    Faust's own decoding kills an agent on the first record that it cannot read.
    """

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Return the function that makes an event of a message."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return app.create_event(None, message.value, message.headers, message)

        return decode
