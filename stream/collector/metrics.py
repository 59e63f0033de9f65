"""The collector's metrics, on a registry of their own."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class CollectorMetrics:
    """What is counted of requests and their events."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "surgeline_collector_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "surgeline_collector_request_seconds",
            "Time until the answer, Kafka's acknowledgement included, by route.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.events = Counter(
            "surgeline_collector_events",
            "Events by outcome: accepted, repeated (and acknowledged before), unused, refused, "
            "failed (not acknowledged by Kafka).",
            ("outcome",),
            registry=self.registry,
        )
        self.accepted = self.events.labels("accepted")

        self._answers: dict[tuple[str, int], Counter] = {}
        self._times: dict[str, Histogram] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one request; finding a metric by its labels costs more than counting."""
        answers = self._answers.get((route, status))
        if answers is None:
            answers = self._answers[route, status] = self.requests.labels(route, str(status))
        times = self._times.get(route)
        if times is None:
            times = self._times[route] = self.seconds.labels(route)
        answers.inc()
        times.observe(seconds)

    def watch(self, *, waiting: Callable[[], float], ready: Callable[[], float]) -> None:
        """Export at every scrape how many records wait for Kafka, and whether it is ready."""
        for name, text, value in (
            ("waiting_records", "Records that Kafka has not acknowledged yet.", waiting),
            ("ready", "Whether the collector is ready.", ready),
        ):
            gauge = Gauge(f"surgeline_collector_{name}", text, registry=self.registry)
            gauge.set_function(value)
