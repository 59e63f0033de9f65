"""Reading: the records that feed the directory, from where Redis says that it has got to.

What was taken over is noted in Redis beside the directory, and believed there alone: a Redis that
went back in time, or was emptied, is fed again from where it stands.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from scoring.model import ScoringModel
from stream.backoff import Backoff
from stream.directory import Directory
from stream.errors import Unreachable, said
from stream.finding import AccountFinder
from stream.kafka_admin import Reached
from stream.kafka_clients import group_consumer, group_producer
from stream.networks import open_networks
from stream.outputs import Outputs
from stream.resolving.metrics import ResolverMetrics
from stream.resolving.people import Erased
from stream.resolving.resolver import Outside, Resolver
from stream.resolving.waiting import Waiting
from stream.routing import shard_finder
from stream.settings import Settings
from stream.state_store import RedisStore
from stream.topics import INPUTS, TRANSFERS, UNRESOLVED

log = logging.getLogger(__name__)

_TELL_NOTHING: Final = ("spend", "opportunities", TRANSFERS)
READ: Final = (*(each for each in INPUTS if each not in _TELL_NOTHING), UNRESOLVED)
"""Topics that tell of people, or hold events of nobody."""
AT_ONCE: Final = 2_000
POLL_MS: Final = 200
COMMIT_SECONDS: Final = 1.0
TIDY_SECONDS: Final = 5.0
PRODUCE_SECONDS: Final = 20.0


class Reading(ConsumerRebalanceListener):
    """One process of the resolver, over *store*."""

    def __init__(self, settings: Settings, model: ScoringModel, store: RedisStore) -> None:
        self.metrics = ResolverMetrics()
        self.redis_backoff = Backoff(log.warning, name="Redis")
        self.kafka_backoff = Backoff(log.warning, name="Kafka")
        self.failure: BaseException | None = None
        self.joined = False
        self.started = False
        self.beat = time.monotonic()
        self._settings = settings
        self._store = store
        self._directory = Directory(store)
        self._follow_moves = model.contacts.on_move == "take_along"
        self._finder = AccountFinder(
            self._directory,
            model.resolution,
            look_up=open_networks(settings.networks),
            backoff=self.redis_backoff,
        )
        self._next: dict[TopicPartition, int | None] = {}
        """Where each partition goes on; None: at the beginning of its log."""

    @asynccontextmanager
    async def running(self, partitions: int) -> AsyncIterator[None]:
        """Join the group and read for the block; *partitions* is the number of shards."""
        consumer = group_consumer(self._settings)
        producer = group_producer(self._settings, seconds=PRODUCE_SECONDS)
        outputs = Outputs(producer, prefix=self._settings.topic_prefix, backoff=self.kafka_backoff)
        outside = Outside(
            self._directory,
            Waiting(self._store),
            self._finder,
            outputs,
            Erased(self._store),
            self.redis_backoff,
            follow_moves=self._follow_moves,
        )
        resolver = Resolver(
            self._settings, outside, self.metrics, shard_of=shard_finder(partitions)
        )
        tasks: list[asyncio.Task[None]] = []
        try:
            async with Reached(self._settings):
                await producer.start()
                topics = [self._settings.topic_prefix + topic for topic in READ]
                self._consumer = consumer
                consumer.subscribe(topics, listener=self)
                await consumer.start()
            self.beat = time.monotonic()
            self.started = True
            tasks = [asyncio.create_task(self._guarded(consumer, resolver))]
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await consumer.stop()
            await producer.stop()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Go on where the directory has got to."""
        progress = await self.redis_backoff.answered(self._directory.progress)
        self._next |= {tp: progress.get(self._place(tp)) for tp in assigned}
        await self._seek(assigned)
        self.joined = True

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let go: whatever is under way may be done twice."""
        for tp in revoked:
            self._next.pop(tp, None)

    async def _seek(self, tps: Iterable[TopicPartition]) -> None:
        """Read *tps* from where the directory stands."""
        here = [tp for tp in tps if tp in self._next]
        fresh = [tp for tp in here if self._next[tp] is None]
        begins = await self._consumer.beginning_offsets(fresh) if fresh else {}
        for tp in here:
            at = self._next.get(tp, begins.get(tp))
            if tp in self._consumer.assignment():  # it may have gone while Kafka was asked
                self._consumer.seek(tp, begins.get(tp, 0) if at is None else at)

    async def _guarded(self, consumer: AIOKafkaConsumer, resolver: Resolver) -> None:
        try:
            await self._read(consumer, resolver)
        except Exception as error:  # noqa: BLE001  # whatever it is ends the process
            self.failure = error

    async def _read(self, consumer: AIOKafkaConsumer, resolver: Resolver) -> None:
        committed_at = tidied_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now - tidied_at > TIDY_SECONDS:
                tidied_at = now
                await resolver.tidy()
            if now - committed_at > COMMIT_SECONDS:
                committed_at = now
                await self._commit(consumer)
            fetched = await self._fetched(consumer)
            if await self._went_back(resolver):
                await self._seek(fetched)
                continue
            if not fetched:
                continue
            await resolver.take([each for records in fetched.values() for each in records])
            ends = {tp: records[-1].offset + 1 for tp, records in fetched.items()}
            await self._note({tp: end for tp, end in ends.items() if tp in self._next})

    async def _fetched(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, list[Any]]:
        try:
            found = await consumer.getmany(timeout_ms=POLL_MS, max_records=AT_ONCE)
        except KafkaError as error:
            await self.kafka_backoff.wait(Unreachable(f"Kafka does not answer ({said(error)})."))
            return {}
        self.kafka_backoff.succeeded()
        return {tp: records for tp, records in found.items() if tp in self._next and records}

    async def _went_back(self, resolver: Resolver) -> bool:
        """Go back to where the directory stands, if that is not where this process is.

        It was emptied, restored or lost its last second; or nothing is stored at all, and nothing
        may be until a worker has started anew.
        """
        meta = await self.redis_backoff.answered(self._store.meta)
        if not meta:
            return True
        resolver.generation = meta.get("created_at", "")
        progress = await self.redis_backoff.answered(self._directory.progress)
        moved = [tp for tp, at in self._next.items() if progress.get(self._place(tp)) != at]
        if moved:
            self._next |= {tp: progress.get(self._place(tp)) for tp in moved}
            await self._seek(moved)
            log.warning("The directory went back; %d partitions are read again.", len(moved))
        return bool(moved)

    async def _note(self, ends: Mapping[TopicPartition, int]) -> None:
        places = {self._place(tp): end for tp, end in ends.items()}
        await self.redis_backoff.answered(lambda: self._directory.advance(places))
        self._next |= ends

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """Tell Kafka, for monitors of lag."""
        offsets = {tp: at for tp, at in self._next.items() if at is not None}
        try:
            async with asyncio.timeout(self._settings.session_seconds / 2):
                if offsets:
                    await consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            log.debug("A commit failed (%s).", said(error))

    def _place(self, tp: TopicPartition) -> str:
        return f"{tp.topic.removeprefix(self._settings.topic_prefix)}/{tp.partition}"
