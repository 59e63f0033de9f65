"""Every metric of a worker, declared in one place: name, unit, labels, help."""

import collections
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

DELAY_SECONDS: Final = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
    600.0,
)
COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCH_RECORDS: Final = (1, 3, 10, 30, 100, 300, 1_000)

LagSource = Callable[[], Iterable[tuple[str, int, int]]]
"""Yields (topic, partition, records behind)."""


class Delays(Collector):
    """Histogram of seconds from produce to commit, fed a whole commit at a time.

    One observation a record through the client library would cost as much as decoding it.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(DELAY_SECONDS) + 1)
        self._sum = 0.0

    def observe(self, stamps: Iterable[int], now: float) -> None:
        """Add the delay of every record that arrived at *stamps*, Unix milliseconds, until *now*.

        *now* in Unix seconds. Records arrive together: each moment is looked up once.
        """
        for stamp, records in collections.Counter(stamps).items():
            seconds = now - stamp / 1_000
            self._counts[bisect_left(DELAY_SECONDS, seconds)] += records
            self._sum += seconds * records

    def collect(self) -> Iterator[Metric]:
        """Yield the histogram."""
        total, buckets = 0, []
        for bound, count in zip((*DELAY_SECONDS, "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((str(bound), total))
        yield HistogramMetricFamily(
            "surgeline_event_delay_seconds",
            "Time from an event's arrival in Kafka to its committed scores.",
            buckets=buckets,
            sum_value=self._sum,
        )


class Lag(Collector):
    """Consumer lag in the shape that lag exporters share."""

    def __init__(self, group: str, source: LagSource) -> None:
        self._group = group
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield the lag of every partition that this worker reads."""
        family = GaugeMetricFamily(
            "kafka_consumergroup_lag",
            "Records that the group has not scored yet, by the committed fence.",
            labels=("consumergroup", "topic", "partition"),
        )
        for topic, partition, behind in self._source():
            family.add_metric((self._group, topic, str(partition)), behind)
        yield family


class WorkerMetrics:
    """The metrics of one worker, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = self._counter(
            "surgeline_events", "Records by event type and what became of them.", "event", "outcome"
        )
        self.dead_letters = self._counter(
            "surgeline_dead_letters", "Records that break the contract, by reason.", "reason"
        )
        self.resolved = self._counter(
            "surgeline_resolved_events",
            "Records that named no account and were given one, by the rule that found it.",
            "by",
        )
        self.unresolved = self._counter(
            "surgeline_unresolved_events", "Records that no account was found for, and why.", "why"
        )
        self.refusals = self._counter(
            "surgeline_commits_refused", "Commits that the fence refused, by reason.", "reason"
        )
        self.lost_records = self._counter(
            "surgeline_gone_records", "Offsets between a fence and the oldest record left.", "topic"
        )
        self.transitions = self._counter(
            "surgeline_transitions", "Stage moves and surges announced, by rule.", "rule"
        )
        self.alerts = self._counter(
            "surgeline_alerts", "Alerts raised, by rule and severity.", "rule", "severity"
        )
        self.noise = self._counter(
            "surgeline_noise", "Events labelled as noise, which add nothing, by reason.", "reason"
        )
        self.commit_seconds = Histogram(
            "surgeline_commit_seconds",
            "Duration of one commit to Redis.",
            buckets=COMMIT_SECONDS,
            registry=self.registry,
        )
        self.batch_records = Histogram(
            "surgeline_batch_records",
            "Records per micro-batch.",
            buckets=BATCH_RECORDS,
            registry=self.registry,
        )
        self.cached_bytes = Gauge(
            "surgeline_cached_bytes",
            "Estimated memory of the account states kept by this worker.",
            registry=self.registry,
        )
        self.shards = Gauge(
            "surgeline_shards_owned", "Shards that this worker owns.", registry=self.registry
        )
        self.delays = Delays()
        self.registry.register(self.delays)

    def watch_lag(self, group: str, source: LagSource) -> None:
        """Export the lag that *source* yields."""
        self.registry.register(Lag(group, source))

    def count_events(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add records by (event type, outcome)."""
        for labels, count in counts.items():
            self.events.labels(*labels).inc(count)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)
