"""Every metric of a resolver, declared in one place: name, unit, labels, help."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ResolverMetrics:
    """The metrics of one resolver, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.told = Counter(
            "surgeline_directory_records",
            "Records taken over into the directory, by what they tell of.",
            ("kind",),
            registry=self.registry,
        )
        self.attributed = Counter(
            "surgeline_attributed_events",
            "Events that waited and were given their account, by the rule that found it.",
            ("by",),
            registry=self.registry,
        )
        self.given_up = Counter(
            "surgeline_given_up_events",
            "Events that wait no longer: past the horizon, too many, or nothing to wait for.",
            ("why",),
            registry=self.registry,
        )
        self.waiting = Gauge(
            "surgeline_waiting_events",
            "Events that wait for their account.",
            registry=self.registry,
        )
