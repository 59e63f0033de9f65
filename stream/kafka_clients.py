"""Kafka's clients of processes that are in a group of their own: the notifier and the resolver."""

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.kafka_records import accept_any_header_name
from stream.kafka_security import client_arguments
from stream.settings import Settings

MAX_REQUEST_BYTES = 96 * 2**20
"""As much as the topics for whole records of others take."""


def group_consumer(settings: Settings) -> AIOKafkaConsumer:
    """Return a consumer in the group of *settings* that commits when it is told to."""
    accept_any_header_name()
    session_ms = int(settings.session_seconds * 1_000)
    return AIOKafkaConsumer(
        **client_arguments(settings),
        client_id=settings.group,
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // 20,
    )


def group_producer(settings: Settings, *, seconds: float) -> AIOKafkaProducer:
    """Return a producer of records of any size whose requests fail after *seconds*."""
    return AIOKafkaProducer(
        **client_arguments(settings),
        client_id=settings.group,
        acks="all",
        linger_ms=0,
        max_request_size=MAX_REQUEST_BYTES,
        request_timeout_ms=int(seconds * 1_000),
    )
