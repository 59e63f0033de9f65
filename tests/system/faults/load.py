"""The producer of a stream: a thread that writes at a pace, and keeps what Kafka acknowledged."""

import asyncio
import functools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiokafka

from tests.system.faults.stream import Record

# aiokafka's own types are incomplete; what leaves this module is typed.
_aiokafka: Any = aiokafka

TICK_SECONDS = 0.01
AWAY_SECONDS = 180.0
"""How long Kafka may be away before the producer gives a record up."""
LARGEST_RECORD_BYTES = 8 * 2**20
"""Above what Kafka takes by default, so that it is Kafka that refuses."""

At = tuple[str, int]
"""A topic (without prefix) and a partition."""


class Load(threading.Thread):
    """Writes *records* in order to the topics *prefix* + topic, *per_second* of them (None: all).

    Every write asks for all replicas and is tried again as long as Kafka is away. With
    *idempotent* the order in a partition is kept whatever happens, and nothing is there twice.
    """

    def __init__(
        self,
        kafka: str,
        prefix: str,
        records: Sequence[Record],
        *,
        per_second: float | None = None,
        idempotent: bool = True,
    ) -> None:
        super().__init__(name="load", daemon=True)
        self._kafka = kafka
        self._prefix = prefix
        self._records = records
        self._per_second = per_second
        self._idempotent = idempotent
        self._allowed = len(records)
        self._error: BaseException | None = None
        self._given_up = threading.Event()
        self.acknowledged = 0
        self.ends: dict[At, int] = {}
        """The offset after the last acknowledged record of each partition."""
        self.counts: Counter[At] = Counter()
        """Acknowledged records of each partition."""
        self.stored: dict[int, tuple[int, int]] = {}
        """Number of a record in the stream -> partition and offset at which it was acknowledged."""

    def hold_at(self, share: float) -> None:
        """Write no further than this share of the stream until told otherwise."""
        self._allowed = round(share * len(self._records))

    def hurry(self) -> None:
        """Write what is left as fast as possible."""
        self._per_second = None
        self._allowed = len(self._records)

    def finish(self, *, within_seconds: float = AWAY_SECONDS) -> None:
        """Write what is left, and wait until all of it is acknowledged."""
        self.hurry()
        self.join(within_seconds)
        assert not self.is_alive(), f"{self.acknowledged} of {len(self._records)} are acknowledged"
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End without writing the rest."""
        self._given_up.set()
        if self.is_alive():
            self.join(AWAY_SECONDS)

    def run(self) -> None:
        """Write it all; an error is kept for `finish`."""
        try:
            asyncio.run(self._write())
        except BaseException as error:  # noqa: BLE001  # raised by finish
            self._error = error

    async def _write(self) -> None:
        options: dict[str, Any] = {"enable_idempotence": True} if self._idempotent else {}
        async with _aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._kafka,
            acks="all",
            linger_ms=5,
            retry_backoff_ms=100,
            request_timeout_ms=round(AWAY_SECONDS * 1_000),
            max_request_size=LARGEST_RECORD_BYTES,
            **options,
        ) as producer:
            waiting = await self._send_all(producer)
            if not self._given_up.is_set():
                await asyncio.gather(*waiting)

    async def _send_all(self, producer: Any) -> list["asyncio.Future[Any]"]:
        waiting: list[asyncio.Future[Any]] = []
        due, before = 0.0, time.monotonic()
        while len(waiting) < len(self._records) and not self._given_up.is_set():
            now = time.monotonic()
            due, before = self._due(due, now - before), now
            written = len(waiting)
            for number, record in enumerate(self._records[written : int(due)], written):
                sent = await producer.send(self._prefix + record.topic, record.value, record.key)
                sent.add_done_callback(functools.partial(self._note, number))
                waiting.append(sent)
            await asyncio.sleep(TICK_SECONDS)
        return waiting

    def _due(self, due: float, seconds: float) -> float:
        """Return how many records are to be written, *seconds* after *due* of them were.

        While it is held, no credit gathers: it goes on at its pace.
        """
        pace = self._per_second
        return self._allowed if pace is None else min(self._allowed, due + pace * seconds)

    def _note(self, number: int, done: "asyncio.Future[Any]") -> None:
        if done.cancelled() or done.exception() is not None:
            return
        stored = done.result()
        self.stored[number] = stored.partition, stored.offset
        at = self._records[number].topic, stored.partition
        self.ends[at] = max(self.ends.get(at, 0), stored.offset + 1)
        self.counts[at] += 1
        self.acknowledged += 1
