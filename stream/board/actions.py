"""What people do about alerts, produced to Kafka; done once Kafka has it."""

import asyncio
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.board.alert_book import RecordAt
from stream.kafka_security import client_arguments
from stream.outputs import Message, not_taken, produce
from stream.settings import Settings
from stream.topics import ALERT_ACTIONS

SENT_SECONDS: Final = 10.0

_encode = msgspec.json.Encoder().encode


class Actions:
    """Produces to `alert-actions`; it connects when it first does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = None
        self._connecting = asyncio.Lock()

    async def send(self, key: str, value: dict[str, Any] | None) -> RecordAt:
        """Return where Kafka has *value* under *key*; None takes back what was done before.

        Raises Unreachable when it does not take it; it may have it all the same.
        """
        data = None if value is None else _encode(value)
        message = Message(ALERT_ACTIONS, key.encode("utf-8", "surrogatepass"), data)
        try:
            async with asyncio.timeout(SENT_SECONDS):
                producer = await self._connected()
                sending = await produce(producer, message, prefix=self._settings.topic_prefix)
                sent = await sending
        except (KafkaError, OSError, TimeoutError) as error:
            raise not_taken(error) from error
        return RecordAt(sent.partition, sent.offset)

    async def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_arguments(self._settings),
                    client_id=f"{self._settings.group}-board",
                    acks="all",
                    request_timeout_ms=int(SENT_SECONDS * 1_000),
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer
