"""What the worker asks of Kafka's log through Faust's consumer."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from faust.types import TP

from stream.backoff import Backoff
from stream.errors import Unreachable, said
from stream.kafka_security import NOT_ALLOWED, client_arguments
from stream.offset_ranges import offset_ranges
from stream.settings import Settings

log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 5.0


class ConsumerLog:
    """The log as the consumer of *app* sees it; see `stream.ownership.Log`."""

    def __init__(self, app: Any, settings: Settings, *, backoff: Backoff) -> None:
        self._app = app
        self._settings = settings
        self._backoff = backoff

    @property
    def _thread(self) -> Any:
        return self._app.consumer._thread  # noqa: SLF001  # Faust has no public way to it

    async def ranges(self, tps: set[TP]) -> Mapping[TP, tuple[int, int]]:
        """Return the oldest and the next offset of each partition.

        Over a connection of its own: this is asked during an assignment, for whose end the
        consumer's thread waits before it stops, so asking that thread could wait for ever.
        """
        return await self._backoff.answered(lambda: self._ranges(tps))

    async def _ranges(self, tps: set[TP]) -> Mapping[TP, tuple[int, int]]:
        native = {tp: TopicPartition(tp.topic, tp.partition) for tp in tps}
        try:
            async with self._reader() as reader:
                found = await offset_ranges(reader, native.values())
        except NOT_ALLOWED:
            raise
        except KafkaError as error:
            raise Unreachable(f"Kafka does not tell its offsets ({said(error)}).") from error
        return {tp: found[each] for tp, each in native.items()}

    async def has_record(self, tp: TP, offset: int) -> bool:
        """Tell whether a record at or after *offset* can be fetched.

        Some brokers report the end of a log seconds late, so the log itself is asked.
        """
        native = TopicPartition(tp.topic, tp.partition)
        async with self._reader() as reader:
            reader.assign([native])
            reader.seek(native, offset)
            try:
                await asyncio.wait_for(reader.getone(), PROBE_SECONDS)
            except TimeoutError:
                return False
        return True

    def _reader(self) -> AIOKafkaConsumer:
        """Return a consumer without a group, which starts and stops with its block."""
        return AIOKafkaConsumer(**client_arguments(self._settings), enable_auto_commit=False)

    def end(self, tp: TP) -> int | None:
        """Return the next offset as last heard of, None when never heard of."""
        try:
            end: int | None = self._thread.highwater(TopicPartition(tp.topic, tp.partition))
        except Exception:  # noqa: BLE001  # not assigned now, or not started: nothing is known
            return None
        return end

    def rejoin(self) -> None:
        """Make the consumer rejoin its group."""
        coordinator = self._thread._ensure_consumer()._coordinator  # noqa: SLF001
        self._thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)
