"""The notifier: alerts from Kafka to the lanes, and back the offsets up to which all is done."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from aiokafka import ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream.backoff import Backoff
from stream.errors import said
from stream.kafka_admin import Reached
from stream.kafka_clients import group_consumer, group_producer
from stream.notify.delivering import Desk
from stream.notify.digests import TICK_SECONDS, Digests
from stream.notify.held import Held
from stream.notify.intake import Intake, Outside
from stream.notify.lanes import Lanes
from stream.notify.metrics import NotifierMetrics
from stream.notify.mutes import Mutes
from stream.notify.partitions import NEVER, Partition, watched
from stream.notify.past import Past
from stream.notify.recording import Recorder
from stream.notify.routes import Routes
from stream.notify.sending import sender_of, traced
from stream.outputs import Outputs
from stream.settings import Settings
from stream.topics import ALERTS
from stream.tracing import Span, no_span

log = logging.getLogger(__name__)

COMMIT_SECONDS: Final = 1.0
POLL_MS: Final = 200
AT_ONCE: Final = 500
PRODUCE_SECONDS: Final = 10.0


class Notifier(ConsumerRebalanceListener):
    """One process of the notifier. *session* posts to webhooks, *span* times deliveries."""

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        session: aiohttp.ClientSession,
        *,
        span: Span = no_span,
    ) -> None:
        self.metrics = NotifierMetrics()
        self.backoff = Backoff(log.warning, name="Kafka")
        self.failure: BaseException | None = None
        self.joined = False
        self.beat = time.monotonic()
        self._settings = settings
        self._producer = group_producer(settings, seconds=PRODUCE_SECONDS)
        self._consumer = group_consumer(settings)
        outputs = Outputs(self._producer, prefix=settings.topic_prefix, backoff=self.backoff)
        self._recorder = Recorder(outputs, self.metrics, prefix=settings.topic_prefix)
        self._mutes, self._held = Mutes(), Held()
        self._past = Past(settings, routes, self._recorder, held=self._held, mutes=self._mutes)
        lanes = Lanes(
            lambda destination: traced(sender_of(destination, session), destination, span)
        )
        outside = Outside(lanes, self._recorder, self.backoff)
        self._desk = Desk(routes, recorder=self._recorder, mutes=self._mutes, held=self._held)
        self._intake = Intake(settings, routes, desk=self._desk, outside=outside)
        self._digests = Digests(
            self._held, lanes, desk=self._desk, recorder=self._recorder, mutes=self._mutes
        )
        self._partitions: dict[TopicPartition, Partition] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.metrics.watch(waiting=lanes.waiting, held=self._held.counts)

    @property
    def ready(self) -> bool:
        """Tell whether all partitions that this process has are worked on."""
        return self.joined and all(each.ready for each in self._partitions.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Join the group for the block, and at its end finish what is under way."""
        try:
            async with Reached(self._settings):
                await self._producer.start()
                await self._past.hear_mutes(self._run)
                self._consumer.subscribe([self._settings.topic_prefix + ALERTS], listener=self)
                await self._consumer.start()
            self._run(self._read())
            self._run(self._commit_always())
            self._run(self._tick())
            yield
        finally:
            await self._stop()

    def _run(
        self, work: Coroutine[Any, Any, None], partitions: Iterable[Partition] = ()
    ) -> "asyncio.Task[None]":
        """Run *work* as a task that ends with *partitions*; its failure is the notifier's."""
        task = watched(work, self.fail)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for each in partitions:
            each.adopt(task)
        return task

    def fail(self, error: BaseException) -> None:
        """End the process by *error*."""
        self.failure = self.failure or error

    async def _read(self) -> None:
        while True:
            self.beat = time.monotonic()
            ready = [tp for tp, each in self._partitions.items() if each.ready and not each.closed]
            if not ready:
                await asyncio.sleep(POLL_MS / 4_000)
                continue
            fetched = await self._consumer.getmany(*ready, timeout_ms=POLL_MS, max_records=AT_ONCE)
            for tp, records in fetched.items():
                self._take(tp, records)

    def _take(self, tp: TopicPartition, records: Sequence[Any]) -> None:
        partition = self._partitions.get(tp)
        if partition is None or partition.closed:
            return  # given away meanwhile: its next owner begins at what is committed
        if not partition.ready:
            # Given away and back while they were fetched.
            self._consumer.seek(tp, records[0].offset)
            return
        for record in records:
            self._intake.take(partition, record, self._run)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin with the memory of what is assigned; its alerts wait until that is read."""
        self.joined = True
        opened = {tp: Partition(tp.partition, on_fault=self.fail) for tp in assigned}
        self._partitions.update(opened)
        if opened:
            self._run(self._open(opened), opened.values())

    async def _open(self, opened: dict[TopicPartition, Partition]) -> None:
        await self._past.remember(opened.values())
        for partition in opened.values():
            self._intake.open(partition)
            partition.ready = True
        numbers = sorted(each.number for each in opened.values())
        log.info("Delivers the alerts of partitions %s.", ", ".join(map(str, numbers)))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish what is under way, commit, and let go."""
        closed = {tp: self._partitions[tp] for tp in revoked if tp in self._partitions}
        await self._finish(closed.values())
        await self._commit()
        for tp, partition in closed.items():
            self._intake.close(partition)
            self._held.release(partition)
            del self._partitions[tp]
            self._committed.pop(tp, None)

    async def _finish(self, partitions: Iterable[Partition]) -> None:
        busy = {task for each in partitions for task in each.close()}
        busy.discard(asyncio.current_task())
        if busy:
            _, late = await asyncio.wait(busy, timeout=self._settings.session_seconds / 2)
            if late:
                log.warning("%d deliveries take too long; they may be repeated.", len(late))

    async def _commit_always(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        offsets = {tp: each.low for tp, each in self._partitions.items() if each.low != NEVER}
        changed = {tp: at for tp, at in offsets.items() if self._committed.get(tp) != at}
        if not changed:
            return
        try:
            async with asyncio.timeout(self._settings.session_seconds / 2):
                await self._consumer.commit(changed)
        except (KafkaError, TimeoutError) as error:
            # What it covered is read again, and `deliveries` knows what became of it.
            log.debug("A commit failed (%s).", said(error))
        else:
            self._committed |= {tp: at for tp, at in changed.items() if tp in self._partitions}

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._mutes.forget(time.time())
            self._digests.start_due(self._run)

    async def _stop(self) -> None:
        await self._finish(list(self._partitions.values()))
        await self._commit()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._consumer.stop()
        await self._producer.stop()
