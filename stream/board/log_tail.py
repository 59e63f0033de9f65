"""The end of output topics, followed as it grows, without a consumer group."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream.errors import SurgelineError, said
from stream.kafka_admin import admin_client, partition_counts
from stream.kafka_records import accept_any_header_name
from stream.kafka_security import client_arguments
from stream.offset_ranges import offset_ranges
from stream.settings import Settings

log = logging.getLogger(__name__)

POLL_MS: Final = 250
AT_ONCE: Final = 100
"""Records between which other work is let in."""
ASKED_SECONDS: Final = 5.0
"""Between two questions to Kafka about the end of its log."""
ANSWER_SECONDS: Final = 5.0
LOOK_AGAIN_SECONDS: Final = 30.0
"""Between two looks for partitions that were added; a second while topics are missing."""
RETRY_SECONDS: Final = 1.0

Take = Callable[[Any], None]
"""Takes one record; must not fail."""


class Followed:
    """One topic: who takes its records, and how many before its end are taken first."""

    def __init__(self, take: Take, *, last: int | None) -> None:
        self.take = take
        self.last = last
        """Of all partitions together; None: from the beginning."""
        self.whole = True
        """All that the topic holds was taken, where anything before its end is."""

    def start(self, begin: int, end: int, partitions: int) -> int:
        """Return the first offset to take of a partition with records from *begin* to *end*."""
        return begin if self.last is None else max(begin, end - -(-self.last // partitions))


class LogTail:
    """Follows topics (name without prefix -> Followed) until it is cancelled."""

    def __init__(self, settings: Settings, followed: Mapping[str, Followed]) -> None:
        self._settings = settings
        self._followed = followed
        self.positioned = asyncio.Event()
        """Everything produced from now on will be taken."""
        self.repositioned = asyncio.Event()
        """Set with it, until somebody has read anew what may have been missed before."""
        self.behind = 0
        """Records to the end when Kafka was last asked."""
        self.fault: str | None = "Kafka was not asked yet."
        self._heard_at = 0.0
        self._caught_up = False

    @property
    def caught_up(self) -> bool:
        """Tell whether the end that it had at the start was reached."""
        return self._caught_up

    @property
    def silent_seconds(self) -> float:
        """Return the seconds since Kafka last answered."""
        return time.monotonic() - self._heard_at

    async def run(self) -> None:
        """Follow for ever; Kafka may be away."""
        accept_any_header_name()
        while True:
            try:
                await self._follow()
            except (SurgelineError, KafkaError, OSError, TimeoutError) as error:
                fault = f"Kafka cannot be followed ({said(error)})."
                if self.fault != fault:
                    log.warning("%s", fault)
                self.fault = fault
            self.positioned.clear()
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        arguments = client_arguments(self._settings)
        consumer: Any = AIOKafkaConsumer(
            **arguments,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=AT_ONCE,
        )
        try:
            await consumer.start()
            await _Following(self, consumer).run(self._settings, self._followed)
        finally:
            await consumer.stop()

    def position(self) -> None:
        """Note that all is followed from here on."""
        if not self.positioned.is_set():
            self.positioned.set()
            self.repositioned.set()

    def heard(self, behind: int) -> None:
        """Note that Kafka answered, and how many records are still to come."""
        if self.fault is not None:
            log.info("Following Kafka.")
        self.fault, self.behind, self._heard_at = None, behind, time.monotonic()

    def reached(self) -> None:
        """Note that the end was reached."""
        self._caught_up = True


class _Following:
    """One connection's worth of following."""

    def __init__(self, tail: LogTail, consumer: Any) -> None:
        self._tail = tail
        self._consumer = consumer
        self._takes: dict[TopicPartition, Take] = {}
        self._ends: dict[TopicPartition, int] = {}

    async def run(self, settings: Settings, followed: Mapping[str, Followed]) -> None:
        look_at = ask_at = 0.0
        while True:
            now = time.monotonic()
            if now >= look_at:
                all_there = await self._look(settings, followed)
                look_at = now + (LOOK_AGAIN_SECONDS if all_there else RETRY_SECONDS)
            if self._takes and now >= ask_at:
                await self._ask()
                ask_at = now + ASKED_SECONDS
            if self._takes:
                await self._take()
            else:
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self, settings: Settings, followed: Mapping[str, Followed]) -> bool:
        """Assign the partitions that there are; tell whether every topic is."""
        async with admin_client(settings) as admin:
            counts = await partition_counts(admin, settings)
        takes: dict[TopicPartition, Take] = {}
        of: dict[TopicPartition, tuple[Followed, int]] = {}
        for name, topic in followed.items():
            for number in range(counts.get(name, 0)):
                tp = TopicPartition(settings.topic_prefix + name, number)
                takes[tp], of[tp] = topic.take, (topic, counts[name])
        if takes.keys() != self._takes.keys():
            await self._assign(of)
            self._takes = takes
        if all(counts.get(name) for name in followed):
            self._tail.position()
            return True
        if not takes:
            self._tail.fault = "Kafka has none of the topics yet: start a worker."
        return False

    async def _assign(self, of: Mapping[TopicPartition, tuple[Followed, int]]) -> None:
        places = {tp: await self._consumer.position(tp) for tp in self._takes if tp in of}
        ranges = await offset_ranges(self._consumer, of)
        for tp, (topic, partitions) in of.items():
            begin, end = ranges[tp]
            if tp not in places:
                # A partition that shows up later is new: all of it is taken.
                late = bool(self._takes) and topic.last == 0
                places[tp] = begin if late else topic.start(begin, end, partitions)
                if places[tp] > begin and topic.last != 0:
                    topic.whole = False
        self._ends = {tp: end for tp, (_, end) in ranges.items()}
        self._consumer.assign(list(of))
        for tp, offset in places.items():
            self._consumer.seek(tp, offset)

    async def _ask(self) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            ends = await self._consumer.end_offsets(list(self._takes))
        behind = 0
        for tp, end in ends.items():
            behind += max(0, end - await self._consumer.position(tp))
        self._tail.heard(behind)

    async def _take(self) -> None:
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=AT_ONCE)
        for tp, records in fetched.items():
            take = self._takes[tp]
            for record in records:
                take(record)
        if not self._tail.caught_up:
            left = [await self._consumer.position(tp) < end for tp, end in self._ends.items()]
            if self._takes and not any(left):
                self._tail.reached()
        await asyncio.sleep(0)
