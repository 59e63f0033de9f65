"""The past: what Kafka says of earlier deliveries and of mutes, read before anything is delivered."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Final

from stream.backoff import Backoff
from stream.errors import RefusedStart
from stream.kafka_admin import Reached, admin_client, partition_counts
from stream.notify.digests import Run
from stream.notify.held import Held, destination_of, item_of
from stream.notify.kafka_reading import partitions_of, read_to_end, reader
from stream.notify.memory import Found
from stream.notify.mutes import Mutes
from stream.notify.partitions import Partition
from stream.notify.recording import Recorder
from stream.notify.routes import Routes
from stream.outputs import Message
from stream.settings import Settings
from stream.topics import ALERT_ACTIONS, ALERTS, DELIVERIES

log = logging.getLogger(__name__)

FORGET_AT_ONCE: Final = 1_000


class Past:
    """Reads the topics `deliveries` and `alert-actions`."""

    def __init__(
        self, settings: Settings, routes: Routes, recorder: Recorder, *, held: Held, mutes: Mutes
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._recorder = recorder
        self._held = held
        self._mutes = mutes
        self._backoff = Backoff(log.warning, name="Kafka")

    async def hear_mutes(self, run: Run) -> None:
        """Return once all mutes are known; go on listening in a task."""
        heard = asyncio.Event()
        task = run(self._backoff.answered(lambda: self._follow_mutes(heard)), ())
        waiting = asyncio.ensure_future(heard.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _follow_mutes(self, heard: asyncio.Event) -> None:
        numbers = range((await _counts(self._settings)).get(ALERT_ACTIONS, 0))
        tps = partitions_of(ALERT_ACTIONS, numbers, self._settings)
        async with Reached(self._settings), reader(self._settings) as consumer:
            async for each in read_to_end(consumer, tps):
                self._mutes.hear(each.key, each.value)
            heard.set()
            while True:
                for records in (await consumer.getmany(timeout_ms=1_000)).values():
                    for each in records:
                        self._mutes.hear(each.key, each.value)

    async def remember(self, partitions: Iterable[Partition]) -> None:
        """Give *partitions* their memory, and hold back again what was held back."""
        by_number = {each.number: each for each in partitions}
        found = await self._backoff.answered(lambda: self._load(by_number))
        for number, partition in by_number.items():
            await self._hold_again(partition, found[number])

    async def _load(self, partitions: dict[int, Partition]) -> dict[int, Found]:
        records: dict[int, list[tuple[bytes | None, bytes | None]]] = {n: [] for n in partitions}
        async with Reached(self._settings), reader(self._settings) as consumer:
            tps = partitions_of(DELIVERIES, partitions, self._settings)
            async for each in read_to_end(consumer, tps):
                records[each.partition].append((each.key, each.value))
        now = time.time()
        return {n: each.memory.load(records[n], now=now) for n, each in partitions.items()}

    async def _hold_again(self, partition: Partition, found: Found) -> None:
        for each in found.held.values():
            item = item_of(each, partition, topic=self._settings.topic_prefix + ALERTS)
            if item is None:
                continue
            destination = destination_of(item, each.route, self._routes)
            if destination is None:
                await self._recorder.lose(item, each.route)
            else:
                self._held.add(destination, item)
        for begin in range(0, len(found.old), FORGET_AT_ONCE):
            keys = found.old[begin : begin + FORGET_AT_ONCE]
            await self._recorder.forget(
                [Message(DELIVERIES, key, None, partition.number) for key in keys]
            )


async def check_partitions(settings: Settings) -> None:
    """Raise RefusedStart unless `deliveries` has a partition for each of `alerts`."""
    counts = await _counts(settings)
    alerts, remembered = counts.get(ALERTS, 0), counts.get(DELIVERIES, 0)
    if remembered < alerts:
        raise RefusedStart(
            f"Topic {settings.topic_prefix}{DELIVERIES} has {remembered} partitions and "
            f"{settings.topic_prefix}{ALERTS} has {alerts}: it needs as many. Add partitions to it."
        )


async def _counts(settings: Settings) -> dict[str, int]:
    async with admin_client(settings) as admin:
        return await partition_counts(admin, settings)
