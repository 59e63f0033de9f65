"""What the exporter shows of Redis itself: memory and its bound, clients, commands, evictions."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from stream.errors import said

log = logging.getLogger(__name__)

SECTIONS: Final = ("memory", "clients", "stats")
"""Asked for in one INFO; the others would cost Redis more and are not shown."""


class Figure(NamedTuple):
    """One field of INFO as a metric."""

    field: str
    name: str
    text: str
    kind: Callable[..., Metric] = GaugeMetricFamily


FIGURES: Final = (
    Figure("used_memory", "surgeline_redis_memory_used_bytes", "Memory that Redis has allocated."),
    Figure(
        "maxmemory",
        "surgeline_redis_memory_max_bytes",
        "Memory above which Redis refuses writes; 0: no bound.",
    ),
    Figure(
        "used_memory_rss",
        "surgeline_redis_memory_resident_bytes",
        "Memory that Redis takes from the machine, fragmentation included.",
    ),
    Figure("connected_clients", "surgeline_redis_clients", "Connections to Redis."),
    Figure(
        "total_commands_processed",
        "surgeline_redis_commands",
        "Commands that Redis has processed, those inside scripts included.",
        CounterMetricFamily,
    ),
    Figure(
        "evicted_keys",
        "surgeline_redis_evicted_keys",
        "Keys that Redis has evicted for room; any is a forgotten account.",
        CounterMetricFamily,
    ),
)


class RedisFigures:
    """Asks Redis about itself, once a scrape; what it does not say is not shown."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis: Any = client  # its own types lack execute_command's
        self._refused = False

    def collect(self) -> Iterator[Metric]:
        """Yield every figure that Redis gives."""
        found = self._found()
        for each in FIGURES:
            if each.field in found:
                yield each.kind(each.name, each.text, value=float(found[each.field]))

    def _found(self) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._redis.execute_command("INFO", *SECTIONS)
        except (redis.RedisError, OSError) as error:
            if not self._refused:
                log.warning("Redis says nothing of its memory (%s).", said(error))
            self._refused = True
            return {}
        self._refused = False
        return found
