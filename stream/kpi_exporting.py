"""The KPIs in the exporter: computed in the background, shown as last computed.

A scrape never waits for them: it is given what is there. They are computed anew a minute after
the last time at the earliest, and so rarely that it takes a twentieth of a core at most.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scoring.errors import ScoringError
from scoring.kpis.engine import Figure, kpi_period, kpis_of
from scoring.model import SECONDS_PER_DAY
from stream.errors import SurgelineError
from stream.kpi_metrics import FAMILIES, OWN, PERIOD_DAYS
from stream.kpi_reading import stored_facts, stored_now
from stream.reader import open_scores
from stream.settings import Settings

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 60.0
RESTS: Final = 19.0
"""Resting this many times longer than computing."""
MOST_SERIES: Final = 3_000
RETRY_SECONDS: Final = 5.0


class Computed(NamedTuple):
    """The figures that are shown, and when and how long they were computed."""

    figures: Sequence[Figure]
    at: float
    seconds: float


class KpiCollector(Collector):
    """Shows the KPIs of the last days, as a thread of its own last computed them.

    Until they were computed once there are no series of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._computed: Computed | None = None
        self._stopped = threading.Event()
        self._fault: str | None = None
        self._thread = threading.Thread(target=self._run, name="kpis", daemon=True)

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def stop(self) -> None:
        """Compute no more; what is being computed does not hold up the end of the process."""
        self._stopped.set()

    def collect(self) -> Iterator[Metric]:
        """Yield the families with what was last computed."""
        computed = self._computed
        if computed is not None:
            yield from metrics_of(computed)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._stopped.wait(self._compute())

    def _compute(self) -> float:
        """Compute the KPIs once; return the seconds to rest."""
        began = time.perf_counter()
        try:
            figures = asyncio.run(self._figures())
        except (SurgelineError, ScoringError) as error:
            if self._fault != str(error):
                log.warning("KPIs are not computed: %s", error)
            self._fault = str(error)
            return RETRY_SECONDS
        except RuntimeError:
            # An interpreter that ends takes no new threads, which computing asks for. Nobody
            # waits for these figures any more.
            if not self._stopped.is_set():
                raise
            return 0.0
        self._fault = None
        seconds = time.perf_counter() - began
        self._computed = Computed(figures, time.time(), seconds)
        return max(EVERY_SECONDS, RESTS * seconds)

    async def _figures(self) -> list[Figure]:
        async with open_scores(self._settings) as stored:
            now = await stored_now(stored)
            facts = await stored_facts(stored)
            start = now - PERIOD_DAYS * SECONDS_PER_DAY
            period = kpi_period(facts, stored.rules, start, now)
            return await asyncio.to_thread(kpis_of, period)


def metrics_of(computed: Computed) -> Iterator[Metric]:
    """Yield every family with its samples, so many in all as Prometheus should keep."""
    by_measure: dict[tuple[str, str], list[Figure]] = {}
    for figure in computed.figures:
        if figure.value is not None:
            by_measure.setdefault((figure.kpi, figure.measure), []).append(figure)
    left = MOST_SERIES
    for family in FAMILIES:
        metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        for figure in by_measure.get((family.kpi, family.measure), [])[:left]:
            labels = {"tier": figure.tier, **figure.labels}
            assert figure.value is not None
            metric.add_metric(
                [labels[name] for name in family.labels], figure.value * family.factor
            )
        left -= len(metric.samples)
        yield metric
    for family, value in zip(OWN, (computed.at, computed.seconds), strict=True):
        yield GaugeMetricFamily(family.name, family.help, value=value)
