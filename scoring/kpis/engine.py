"""The engine: every KPI of a period, in total and per tier, or why it cannot be told."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from scoring.kpis.columns import Array, Facts
from scoring.kpis.definitions import KPIS
from scoring.kpis.growth import cost, growth, reps
from scoring.kpis.period import ALL, Measured, Period
from scoring.kpis.reach import reach
from scoring.kpis.sales import sales
from scoring.kpis.targets import targets
from scoring.report import rfc3339
from scoring.rules import Rules

THREADS: Final = 2
"""Memory is soon as busy as two of them can make it."""

NOTHING_TO_DIVIDE: Final = "nothing to divide by or to average"

_OF_EVENTS: Final = frozenset(
    {
        "ad_impressions", "ad_clicks", "view_through_visits", "view_through_conversions",
        "website_visits", "high_value_page_visits", "chat_conversations", "deanonymisation_rate",
        "minutes_spent", "content_engagement", "email_open_rate", "email_click_rate",
        "email_reply_rate", "awareness", "reach_by_channel", "account_penetration",
        "conversations_to_meetings", "conversion_rate", "nps", "sdr_activity",
        "cost_per_engaged_account",
    }
)  # fmt: skip
"""KPIs that want every event of the period."""

_OF_SPEND: Final = frozenset(
    {"cost_per_engaged_account", "cost_per_opportunity_account", "cost_per_won_account", "cac",
     "ltv_to_cac"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a KPI."""

    kpi: str
    measure: str
    tier: str
    """``all``, ``1``, ``2``, ``3`` or ``none``."""
    labels: Mapping[str, str]
    value: float | None
    accounts: int
    """Behind the figure."""
    missing: str | None = None
    """Why there is not enough data, where there is no value."""


def kpis_of(period: Period) -> list[Figure]:
    """Return every figure of *period*, in the order of the definitions, all accounts first."""
    figures: list[Figure] = []
    with ThreadPoolExecutor(THREADS) as pool:
        period.prepare(pool)
        tiers = [*period.slices]
        measured = pool.map(lambda tier: [*_measured(period, tier)], tiers)
    for tier, found in zip(tiers, measured, strict=True):
        gaps = _Gaps.of(period, period.slices[tier])
        told = {(each.kpi, each.measure) for each in found}
        found += [each for each in _silent(tier) if (each.kpi, each.measure) not in told]
        figures += [gaps.figure(each, tier) for each in found]
    measures = [(kpi.id, measure.name) for kpi in KPIS for measure in kpi.measures]
    place = {measure: number for number, measure in enumerate(measures)}
    return sorted(figures, key=lambda f: (place[f.kpi, f.measure], tiers.index(f.tier)))


def kpi_period(facts: Facts, rules: Rules, start: float, end: float) -> Period:
    """Return the period [start, end) over *facts*, times in Unix seconds."""
    return Period(facts, rules, start, end)


_EVERY_TIER: Final[tuple[Callable[[Period, Array], Iterator[Measured]], ...]] = (
    targets, reach, sales, growth, reps,
)  # fmt: skip


def _measured(period: Period, tier: str) -> Iterator[Measured]:
    mask = period.slices[tier]
    for function in _EVERY_TIER:
        yield from function(period, mask)
    if tier == ALL:
        yield from cost(period)


def _silent(tier: str) -> Iterator[Measured]:
    """Yield what stands where a KPI has no figure, as of money that was never named."""
    for kpi in KPIS:
        for measure in kpi.measures:
            if measure.exported and (kpi.tiers or tier == ALL):
                yield Measured(kpi.id, measure.name, {}, None, 0)


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Since when the memory of some accounts is whole."""

    start: float
    events: float
    records: float
    spend: float
    forgetful: int

    @classmethod
    def of(cls, period: Period, mask: Array) -> "_Gaps":
        facts = period.facts
        cut = np.maximum(facts.cut_at, facts.since)
        since = float(cut[mask].max(initial=-inf))
        records = max(float(facts.records_cut_at[mask].max(initial=-inf)), facts.since)
        forgetful = int((cut[mask] >= period.start).sum())
        return cls(period.start, since, records, max(facts.spend_cut_at, facts.since), forgetful)

    def figure(self, found: Measured, tier: str) -> Figure:
        """Return *found* as a figure, without a value where it would mislead."""
        missing = self._missing(found.kpi)
        value = found.value if missing is None else None
        if missing is None and value is None:
            missing = NOTHING_TO_DIVIDE
        kpi, measure, labels, _, accounts = found
        return Figure(kpi, measure, tier, labels, value, accounts, missing)

    def _missing(self, kpi: str) -> str | None:
        if self.records == inf:
            return "nothing is remembered since the upgrade yet: start a worker"
        if self.records > -inf:
            return f"records of the CRM are remembered since {rfc3339(self.records)} only"
        if kpi in _OF_EVENTS and self.events >= self.start:
            whose = f"{self.forgetful} account{'' if self.forgetful == 1 else 's'}"
            return f"events of {whose} are remembered since {rfc3339(self.events)} only"
        if kpi in _OF_SPEND and self.spend >= self.start:
            return f"spend is remembered since {rfc3339(self.spend)} only"
        return None
