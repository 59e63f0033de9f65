"""The wiring: one function builds a worker from its settings."""

import logging
from dataclasses import dataclass
from typing import Any, Final

import faust
from aiokafka import AIOKafkaProducer

from scoring.model import ScoringModel
from scoring.rules import Rules
from stream.agents import score_events
from stream.backoff import Backoff
from stream.committer import Outside
from stream.directory import Directory
from stream.finding import AccountFinder
from stream.kafka_log import ConsumerLog
from stream.kafka_security import client_arguments, faust_credentials
from stream.metrics import WorkerMetrics
from stream.networks import open_networks
from stream.outputs import Outputs
from stream.ownership import Ownership
from stream.redis_access import open_store
from stream.scorer import Scorer
from stream.settings import Settings
from stream.state_store import RedisStore
from stream.topics import INPUTS
from stream.tracing import Tracing, open_tracing
from stream.transport import MicroBatches, MicroBatchTransport

log = logging.getLogger("surgeline.worker")

MAX_REQUEST_BYTES: Final = 96 * 2**20
PRODUCE_SECONDS: Final = 20.0


class ScoringApp(faust.App):
    """Faust's app without the working directories that only its tables need."""

    def _create_directories(self) -> None:
        """Create nothing: all state is in Redis."""


@dataclass(frozen=True)
class WorkerApp:
    """Everything that one worker is made of."""

    faust: faust.App
    ownership: Ownership
    store: RedisStore
    producer: AIOKafkaProducer
    metrics: WorkerMetrics
    redis_backoff: Backoff
    kafka_backoff: Backoff
    tracing: Tracing


def create_app(settings: Settings, model: ScoringModel, *, partitions: int) -> WorkerApp:
    """Build a worker; nothing is connected yet. Call it in the loop that will run it.

    *partitions* is the partition count of the input topics, and so the number of shards.
    """
    app = _faust_app(settings)
    metrics = WorkerMetrics()
    redis_backoff = Backoff(log.warning, name="Redis")
    kafka_backoff = Backoff(log.warning, name="Kafka")
    store = open_store(settings)
    producer = _producer(settings)
    outputs = Outputs(producer, prefix=settings.topic_prefix, backoff=kafka_backoff)
    finder = AccountFinder(
        Directory(store),
        model.resolution,
        look_up=open_networks(settings.networks),
        backoff=redis_backoff,
    )
    tracing = open_tracing(settings, process="worker")
    outside = Outside(store, outputs, metrics, redis_backoff, tracing.span, finder)
    scorer = Scorer(settings, Rules.of(model), partitions=partitions, outside=outside)
    kafka_log = ConsumerLog(app, settings, backoff=kafka_backoff)
    ownership = Ownership(settings, INPUTS, scorer=scorer, outside=outside, kafka_log=kafka_log)
    app.transport = MicroBatchTransport(app.conf.broker_consumer, app, progress=ownership)
    score_events(app, [settings.topic_prefix + topic for topic in INPUTS], ownership)
    metrics.watch_lag(settings.group, ownership.lag)
    return WorkerApp(
        app, ownership, store, producer, metrics, redis_backoff, kafka_backoff, tracing
    )


def _faust_app(settings: Settings) -> Any:
    return ScoringApp(
        settings.group,
        broker=[f"kafka://{broker}" for broker in settings.brokers],
        broker_credentials=faust_credentials(settings),
        # Where reading starts is decided by the fence; Kafka must never choose for itself.
        consumer_auto_offset_reset="none",
        ConsumerScheduler=MicroBatches,
        broker_max_poll_records=4_000,
        stream_buffer_maxsize=32,
        broker_commit_interval=1.0,
        broker_session_timeout=settings.session_seconds,
        broker_rebalance_timeout=settings.session_seconds,
        broker_heartbeat_interval=settings.session_seconds / 20,
        broker_request_timeout=max(40.0, settings.session_seconds),
        broker_max_poll_interval=300.0,
        # The leader topic and election serve timers on one node; there are none.
        topic_disable_leader=True,
        # Metrics and health have their own endpoint, on loopback and truthful.
        web_enabled=False,
        producer_request_timeout=PRODUCE_SECONDS,
        stream_wait_empty=True,
    )


def _producer(settings: Settings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **client_arguments(settings),
        client_id=f"{settings.group}-worker",
        acks="all",
        linger_ms=0,
        max_batch_size=1_048_576 - 65_536,  # below the size at which brokers refuse a batch
        max_request_size=MAX_REQUEST_BYTES,
        request_timeout_ms=int(PRODUCE_SECONDS * 1_000),
    )
