"""The board's metrics, on a registry of their own."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

REQUEST_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

Gauge = Callable[[], float]


class BoardMetrics:
    """What is counted of requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "surgeline_board_requests",
            "Requests by method, route and status; streams when they end.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "surgeline_board_request_seconds",
            "Time until the first byte of the answer, by route.",
            ("route",),
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self.malformed = Counter(
            "surgeline_board_malformed_records",
            "Records of output topics that the board could not read, by topic.",
            ("topic",),
            registry=self.registry,
        )

    def watch(self, **gauges: tuple[str, Gauge]) -> None:
        """Export ``surgeline_board_<name>`` = (help, value) at every scrape."""
        self.registry.register(_Watched(gauges))


class _Watched(Collector):
    def __init__(self, gauges: dict[str, tuple[str, Gauge]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge."""
        for name, (text, value) in self._gauges.items():
            yield GaugeMetricFamily(f"surgeline_board_{name}", text, value=value())
