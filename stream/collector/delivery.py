"""Delivery: records to Kafka, and yes to a request only when Kafka has all of its records.

An event that comes again while this process remembers it is not produced again: it waits with the
first, or is done already. After a crash it is, and the worker knows it by its (source, id).
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownError

from stream.collector.checking import Checked
from stream.collector.metrics import CollectorMetrics
from stream.errors import Unreachable
from stream.kafka_admin import declare_topics
from stream.kafka_security import NOT_ALLOWED, client_arguments, denied
from stream.outputs import Message, not_taken, produce
from stream.settings import Settings

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 10.0
"""Kafka gets so long to take what a request brought; its client gets 503 then."""
LINGER_MS: Final = 10
BATCH_BYTES: Final = 131_072
MOST_REMEMBERED: Final = 200_000
"""Events: at 2,000/s the last 100 seconds."""
RETRY_SECONDS: Final = 1.0

NOT_REACHED: Final = "Kafka was not reached yet."


class Delivery:
    """Produces records; `run` keeps it connected."""

    def __init__(self, settings: Settings, metrics: CollectorMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._producer: Any = None
        self._broken = asyncio.Event()
        self._known: dict[int, asyncio.Future[Any] | None] = {}
        """Identity -> what it waits for, None when Kafka has it; the oldest first."""
        self.waiting = 0
        """Records that Kafka has not acknowledged."""
        self.fault: str | None = NOT_REACHED
        self._idempotent = True

    async def run(self) -> None:
        """Stay connected until cancelled; raises RefusedStart when Kafka does not let it in."""
        try:
            while True:
                try:
                    await self._connect()
                except NOT_ALLOWED as error:
                    raise denied(self._settings, error) from error
                except (KafkaError, OSError, TimeoutError, Unreachable) as error:
                    self._away(error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                self._broken.clear()
                await self._broken.wait()
                await self._disconnect()
        finally:
            await self._disconnect()

    async def send(self, records: Iterable[Checked]) -> int:
        """Return once Kafka has acknowledged all *records*: how many of them were repeats.

        Raises Unreachable when it does not do so in time; some it may have all the same.
        """
        repeats, waiting = 0, list[asyncio.Future[Any]]()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for record in records:
                    if record.identity in self._known:
                        repeats += 1
                        known = self._known[record.identity]
                    else:
                        known = await self._produced(record)
                    if known is not None:
                        waiting.append(known)
                if waiting:  # others may wait for the same ones: nobody's to cancel
                    await asyncio.wait(waiting)
                for each in waiting:
                    each.result()
        except (KafkaError, OSError, TimeoutError) as error:
            self._away(error)
            raise not_taken(error) from error
        return repeats

    async def _produced(self, record: Checked) -> "asyncio.Future[Any]":
        if self._producer is None:
            raise Unreachable(self.fault or "Kafka is not connected.")
        message = Message(record.topic, record.key, record.value)
        # Remembered before anything is awaited: a repeat may come meanwhile.
        promise: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        promise.add_done_callback(lambda done: self._settle(record.identity, done))
        self._known[record.identity] = promise
        self.waiting += 1
        try:
            sent = await produce(self._producer, message, prefix=self._settings.topic_prefix)
        except BaseException as error:
            promise.set_exception(error if isinstance(error, Exception) else TimeoutError())
            raise
        sent.add_done_callback(lambda done: _passed_on(done, promise))
        return promise

    def _settle(self, identity: int, done: "asyncio.Future[Any]") -> None:
        self.waiting -= 1
        if done.cancelled() or done.exception() is not None:
            self._known.pop(identity, None)
            self._broken.set()
            return
        self._known[identity] = None
        self.fault = None
        if len(self._known) > MOST_REMEMBERED:
            oldest = next(iter(self._known))
            if self._known[oldest] is None:
                del self._known[oldest]

    async def _connect(self) -> None:
        await declare_topics(self._settings)
        try:
            producer = await self._started()
        except UnknownError:
            if not self._idempotent:
                raise
            self._idempotent = False
            log.info(
                "This broker knows no idempotent producers (the embedded one does not): what is "
                "sent to it again may be in Kafka twice, and the worker counts it once."
            )
            producer = await self._started()
        if self.fault is not None:
            log.info("Connected to Kafka.")
        self._producer, self.fault = producer, None

    async def _started(self) -> Any:
        producer = AIOKafkaProducer(
            **client_arguments(self._settings),
            client_id=f"{self._settings.group}-collector",
            acks="all",
            enable_idempotence=self._idempotent,  # its own retries put nothing into Kafka twice
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=int(ANSWER_SECONDS * 1_000),
        )
        try:
            await producer.start()
        except BaseException:
            await _stopped(producer)
            raise
        return producer

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stopped(producer)

    def _away(self, error: BaseException) -> None:
        said = str(error if isinstance(error, Unreachable) else not_taken(error))
        if self.fault in (None, NOT_REACHED):
            log.warning("%s Waiting for it; what is not acknowledged is answered with 503.", said)
        self.fault = said


async def _stopped(producer: Any) -> None:
    """Let *producer* send what it holds, for as long as anybody waits for it."""
    with suppress(TimeoutError, KafkaError, OSError):
        async with asyncio.timeout(ANSWER_SECONDS):
            await producer.stop()


def _passed_on(done: "asyncio.Future[Any]", promise: "asyncio.Future[Any]") -> None:
    if promise.done():
        return
    if done.cancelled():
        promise.set_exception(TimeoutError())
    elif (error := done.exception()) is not None:
        promise.set_exception(error)
    else:
        promise.set_result(None)
