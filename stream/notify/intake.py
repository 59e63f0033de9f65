"""Intake: every alert of a partition to the lanes of where it goes, never waiting for one.

A lane that is full is left behind: what it did not take is read for it again, apart, as soon as
it has room. Kafka is the queue.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.structs import TopicPartition

from scoring.errors import BadRecord
from stream.backoff import Backoff
from stream.dead_letters import REPLAYED_FROM
from stream.kafka_admin import Reached
from stream.notify.alert import EVENT_CLOCK, Alert, decode_alert
from stream.notify.delivering import AlertJob, Desk, alert_job
from stream.notify.digests import Run
from stream.notify.kafka_reading import reader
from stream.notify.lanes import Lane, Lanes
from stream.notify.matching import Destination, destinations
from stream.notify.partitions import Key, Partition
from stream.notify.policy import Outcome
from stream.notify.recording import NO_ROUTE, Recorder
from stream.notify.routes import Routes
from stream.settings import Settings
from stream.topics import ALERTS


class Outside(NamedTuple):
    """What alerts meet after they were taken in."""

    lanes: Lanes
    recorder: Recorder
    backoff: Backoff
    """Of Kafka."""


class Intake:
    """Takes records in, in the order of their partition."""

    def __init__(self, settings: Settings, routes: Routes, *, desk: Desk, outside: Outside) -> None:
        self._settings = settings
        self._routes = routes
        self._desk = desk
        self._lanes = outside.lanes
        self._recorder = outside.recorder
        self._backoff = outside.backoff
        self._partitions: dict[int, Partition] = {}
        self._catching_up: set[Key] = set()

    def open(self, partition: Partition) -> None:
        """Take *partition* on."""
        self._partitions[partition.number] = partition

    def close(self, partition: Partition) -> None:
        """Let go of *partition*."""
        if self._partitions.get(partition.number) is partition:
            del self._partitions[partition.number]

    def take(self, partition: Partition, record: Any, run: Run) -> None:
        """Queue the alert of *record* wherever it goes."""
        try:
            alert = decode_alert(record.value)
        except BadRecord as error:
            partition.begin(record.offset)
            run(self._refuse(partition, record, error), (partition,))
        else:
            for destination in self._wanted(alert):
                if destination.key in partition.behind:
                    continue
                lane = self._lanes.of(destination)
                if lane.full:
                    partition.behind[destination.key] = record.offset
                    self._start_catching_up(destination, run)
                else:
                    self._queue(lane, partition, alert, record)
        partition.position = record.offset + 1

    async def _refuse(self, partition: Partition, record: Any, error: BadRecord) -> None:
        with partition.busy():
            await self._recorder.refuse(record, error)
            partition.finish(record.offset)

    def _wanted(self, alert: Alert) -> list[Destination]:
        found = destinations(alert, self._routes)
        if alert.clock == EVENT_CLOCK and not self._settings.notify_replays:
            for each in found:
                self._recorder.count(each.route.name, Outcome.SKIPPED)
            return []
        if not found:
            self._recorder.count(NO_ROUTE, Outcome.SKIPPED)
        return found

    def _queue(self, lane: Lane, partition: Partition, alert: Alert, record: Any) -> None:
        again = any(name == REPLAYED_FROM for name, _ in record.headers)
        job = alert_job(partition, alert, record, again=again)

        async def deliver(each: Any) -> bool:
            assert isinstance(each, AlertJob)
            return await self._desk.deliver(each, lane)

        lane.put(job, alert.account_id, record.offset, deliver)

    def _start_catching_up(self, destination: Destination, run: Run) -> None:
        if destination.key not in self._catching_up:
            self._catching_up.add(destination.key)
            run(self._catch_up(destination), ())

    async def _catch_up(self, destination: Destination) -> None:
        """Read for one endpoint what it did not take, until it is where all are."""
        try:
            await self._backoff.answered(lambda: self._read_behind(destination))
        finally:
            self._catching_up.discard(destination.key)

    async def _read_behind(self, destination: Destination) -> None:
        key, lane = destination.key, self._lanes.of(destination)
        assigned: dict[TopicPartition, Partition] = {}
        async with Reached(self._settings), reader(self._settings) as consumer:
            while behind := self._behind(key):
                if behind != assigned:
                    assigned = behind
                    consumer.assign(list(assigned))
                    for tp, partition in assigned.items():
                        consumer.seek(tp, partition.behind[key])
                room = await lane.room()
                fetched = await consumer.getmany(timeout_ms=200, max_records=room)
                for tp, records in fetched.items():
                    self._take_again(assigned[tp], records, destination, lane)

    def _behind(self, key: Key) -> dict[TopicPartition, Partition]:
        topic = self._settings.topic_prefix + ALERTS
        return {
            TopicPartition(topic, number): each
            for number, each in self._partitions.items()
            if key in each.behind and not each.closed
        }

    def _take_again(
        self, partition: Partition, records: Iterable[Any], destination: Destination, lane: Lane
    ) -> None:
        key = destination.key
        for record in records:
            cursor = partition.behind.get(key)
            if cursor is None or partition.closed:
                return
            if record.offset >= partition.position:
                break
            if record.offset >= cursor:
                self._take_for(partition, record, key, lane)
                partition.behind[key] = record.offset + 1
        if partition.behind[key] >= partition.position:
            del partition.behind[key]

    def _take_for(self, partition: Partition, record: Any, key: Key, lane: Lane) -> None:
        try:
            alert = decode_alert(record.value)
        except BadRecord:
            return  # it is a dead letter already
        if any(each.key == key for each in destinations(alert, self._routes)):
            self._queue(lane, partition, alert, record)
