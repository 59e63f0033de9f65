"""The KPIs as Prometheus metrics: one family a measure, made from the definitions.

Names are ``surgeline_kpi_<id>``, the measure where a KPI has several, and the unit where
Prometheus wants one: days and minutes become seconds. Values that are not given have no sample.
"""

from typing import Final, NamedTuple

from scoring.kpis.definitions import KPIS, Kpi, Measure

PERIOD_DAYS: Final = 30
"""KPIs of a period are exported over the last so many days."""

_SUFFIXES: Final = {"ratio": "_ratio", "days": "_seconds", "minutes": "_seconds"}
_SECONDS: Final = {"days": 86_400.0, "minutes": 60.0}
_BASE_NAMES: Final = {
    "days_first_touch_to_opportunity": "first_touch_to_opportunity",
    "deal_cycle_days": "deal_cycle",
    "minutes_spent": "time_spent",
}
"""Without the unit that the value does not have any more."""


class Family(NamedTuple):
    """One metric family."""

    name: str
    help: str
    labels: tuple[str, ...]
    kpi: str
    measure: str
    factor: float
    """From the KPI's unit to the metric's."""


def _family(kpi: Kpi, measure: Measure) -> Family:
    base = _BASE_NAMES.get(kpi.id, kpi.id)
    part = f"_{measure.name.replace('_minutes', '_time')}" if measure.name else ""
    name = f"surgeline_kpi_{base}{part}{_SUFFIXES.get(measure.unit, '')}"
    what = f"{kpi.title}{', ' + measure.name.replace('_', ' ') if measure.name else ''}"
    text = f"{what}; KPI {kpi.id}, periods being the last {PERIOD_DAYS} days."
    labels = (*(("tier",) if kpi.tiers else ()), *measure.labels)
    return Family(name, text, labels, kpi.id, measure.name, _SECONDS.get(measure.unit, 1.0))


FAMILIES: Final[tuple[Family, ...]] = tuple(
    _family(kpi, measure) for kpi in KPIS for measure in kpi.measures if measure.exported
)
"""Every family of the KPIs; label ``tier`` is all, 1, 2, 3 or none."""

OWN: Final = (
    Family(
        "surgeline_kpi_computed_timestamp_seconds",
        "When the KPIs shown were computed, Unix time.",
        (),
        "",
        "",
        1.0,
    ),
    Family(
        "surgeline_kpi_computation_seconds",
        "Time that reading the facts and computing the KPIs took.",
        (),
        "",
        "",
        1.0,
    ),
)
