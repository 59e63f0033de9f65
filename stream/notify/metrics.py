"""Every metric of a notifier, declared in one place: name, unit, labels, help."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stream.metrics import DELAY_SECONDS

Waiting = Callable[[], Mapping[str, int]]
"""Returns route -> how many."""


class NotifierMetrics:
    """The metrics of one notifier, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.notifications = Counter(
            "surgeline_notifications",
            "Alerts by route and what became of them.",
            ("route", "outcome"),
            registry=self.registry,
        )
        self.failures = Counter(
            "surgeline_notification_failures",
            "Tries that an endpoint did not take.",
            ("route",),
            registry=self.registry,
        )
        self.delays = Histogram(
            "surgeline_notification_delay_seconds",
            "Time from an alert's detection to its delivery; digests are left out.",
            buckets=DELAY_SECONDS,
            registry=self.registry,
        )

    def watch(self, *, waiting: Waiting, held: Waiting) -> None:
        """Export how many wait to be delivered, and how many for a digest."""
        self.registry.register(_ByRoute(waiting, held))


class _ByRoute(Collector):
    def __init__(self, waiting: Waiting, held: Waiting) -> None:
        self._sources = (
            ("surgeline_notifications_waiting", "Alerts in memory, not delivered yet.", waiting),
            ("surgeline_notifications_held", "Alerts that wait for a digest.", held),
        )

    def collect(self) -> Iterator[Metric]:
        """Yield both gauges."""
        for name, text, source in self._sources:
            family = GaugeMetricFamily(name, text, labels=("route",))
            for route, count in source().items():
                family.add_metric((route,), count)
            yield family
