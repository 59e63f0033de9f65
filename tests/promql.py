"""What PromQL expressions ask for, and what our processes expose."""

import re
from collections.abc import Iterator

import redis
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.retry import Retry

from scoring.model import default_model
from stream.board.board import assemble
from stream.collector.collector import assemble as assemble_collector
from stream.exporter import FunnelCollector, _business
from stream.kpi_metrics import FAMILIES, OWN
from stream.metrics import WorkerMetrics
from stream.notify.metrics import NotifierMetrics
from stream.notify.policy import Outcome
from stream.redis_metrics import FIGURES
from stream.settings import load_settings

#: What Prometheus itself says of every target, and of its rules.
ITS_OWN = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity", "audience"}}
#: Labels that Prometheus adds to every series that it scrapes.
ADDED = {"job", "instance"}

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
WORDS = {"and", "or", "unless", "offset", "bool"}


class Exported(Collector):
    """What the exporter shows while Redis answers."""

    def collect(self) -> Iterator[Metric]:
        yield from _business({"1|engaged": 1, "target>engaged": 1, "surging": 1})
        for each in FIGURES:
            yield each.kind(each.name, each.text, value=0.0)


def worker_metrics() -> CollectorRegistry:
    metrics = WorkerMetrics()
    metrics.watch_lag("surgeline", lambda: [("emails", 0, 0)])
    metrics.events.labels("email", "scored")
    metrics.dead_letters.labels("not_json")
    metrics.refusals.labels("owner")
    metrics.lost_records.labels("emails")
    metrics.transitions.labels("stage_changed")
    metrics.alerts.labels("stage_changed", "low")
    return metrics.registry


def notifier_metrics() -> CollectorRegistry:
    metrics = NotifierMetrics()
    metrics.watch(waiting=lambda: {"crm": 0}, held=lambda: {"crm": 0})
    metrics.notifications.labels("crm", Outcome.DELIVERED.value)
    metrics.failures.labels("crm")
    return metrics.registry


def exporter_metrics() -> CollectorRegistry:
    # A port on which nobody listens: what it shows without Redis, besides what it shows with it.
    away = redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    registry = CollectorRegistry()
    registry.register(FunnelCollector(away, version="0", model=default_model()))
    registry.register(Exported())
    return registry


def board_metrics() -> CollectorRegistry:
    metrics = assemble(load_settings()).metrics
    metrics.requests.labels("GET", "/readyz", "200")
    metrics.seconds.labels("/readyz")
    metrics.malformed.labels("alerts")
    return metrics.registry


def collector_metrics() -> CollectorRegistry:
    metrics = assemble_collector(load_settings()).metrics
    metrics.requests.labels("/v1/batch", "200")
    metrics.seconds.labels("/v1/batch")
    metrics.events.labels("accepted")
    return metrics.registry


def exposed() -> dict[str, set[str]]:
    """Return sample name -> labels of all that the five processes expose."""
    registries = (
        worker_metrics(),
        notifier_metrics(),
        exporter_metrics(),
        board_metrics(),
        collector_metrics(),
    )
    found: dict[str, set[str]] = {name: set(labels) for name, labels in ITS_OWN.items()}
    for registry in registries:
        for family in registry.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels, ADDED)
    for kpi in (*FAMILIES, *OWN):
        found[kpi.name] = {*kpi.labels, *ADDED}
    return found


def uncommented(expression: str) -> str:
    return re.sub(r"^\s*#.*$", "", expression, flags=re.MULTILINE)


def names_in(expression: str) -> set[str]:
    """Return the names of the series that a PromQL *expression* asks for."""
    text = re.sub(r'"[^"]*"', "", uncommented(expression))
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", text)
    text = re.sub(r"\boffset\s+\w+", "", text)
    text = re.sub(rf"{NAME}\s*\(", "(", text)
    return set(re.findall(rf"(?<![0-9.a-zA-Z_:]){NAME}", text)) - WORDS


def labels_in(expression: str) -> set[tuple[str, str]]:
    """Return (series, label) of everything that a PromQL *expression* selects by label."""
    selected = re.findall(rf"({NAME})\{{([^}}]*)\}}", uncommented(expression))
    return {
        (series, label)
        for series, matchers in selected
        for label in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', matchers)
    }
