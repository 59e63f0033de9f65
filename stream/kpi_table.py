"""KPI figures in rows: for programs as JSON and CSV, for people as a table."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TextIO

from scoring.kpis.definitions import BY_ID, Kpi, Measure
from scoring.kpis.engine import Figure
from scoring.kpis.period import ALL

FIELDS: Final = ("kpi", "measure", "labels", "tier", "value", "unit", "accounts", "missing")
UNLISTED: Final = frozenset({"sdr_activity"})
"""KPIs with a row a day, which the table for people leaves to --json, --csv and --html."""
MOST_ROWS: Final = 10
"""Of a measure with a row per page, campaign or topic in the table for people."""

UNKNOWN: Final = "\N{EN DASH}"
"""What stands where there is not enough data."""

Line = tuple[Kpi, Measure, str, dict[str, Figure]]
"""KPI, measure, what it is split by, and its figure per tier."""


def row(figure: Figure) -> dict[str, Any]:
    """Return *figure* ready for JSON."""
    return {
        "kpi": figure.kpi,
        "measure": figure.measure or None,
        "labels": dict(figure.labels),
        "tier": figure.tier,
        "value": figure.value,
        "unit": measure_of(figure).unit,
        "accounts": figure.accounts,
        "missing": figure.missing,
    }


def write_csv(figures: Iterable[Figure], out: TextIO) -> None:
    """Write *figures* as CSV with a head; labels as ``name=value`` parted by semicolons."""
    writer = csv.DictWriter(out, FIELDS)
    writer.writeheader()
    for figure in figures:
        named = ";".join(f"{name}={value}" for name, value in figure.labels.items())
        writer.writerow(row(figure) | {"labels": named})


def measure_of(figure: Figure) -> Measure:
    """Return the definition of the measure that *figure* is of."""
    return next(m for m in BY_ID[figure.kpi].measures if m.name == figure.measure)


def lines(figures: Sequence[Figure]) -> Iterator[Line]:
    """Yield the figures of all tiers side by side, in their order."""
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[str, Figure]] = {}
    for figure in figures:
        key = (figure.kpi, figure.measure, tuple(figure.labels.items()))
        found.setdefault(key, {})[figure.tier] = figure
    split = {(kpi, name) for kpi, name, labels in found if labels}
    for (kpi, name, labels), tiers in found.items():
        measure = next(m for m in BY_ID[kpi].measures if m.name == name)
        if not labels and (kpi, name) in split:  # some tier has nothing to split
            continue
        yield BY_ID[kpi], measure, ", ".join(value for _, value in labels), tiers


def shown(figure: Figure | None, unit: str) -> str:
    """Return the value of *figure* as people read it; a dash where there is not enough data."""
    if figure is None:
        return ""
    value = figure.value
    if value is None:
        return UNKNOWN
    if unit == "ratio":
        return f"{100 * value:.1f} %" if figure.kpi != "ltv_to_cac" else f"{value:.1f} : 1"
    if unit in ("accounts", "count") and value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.1f}"


def behind(tiers: dict[str, Figure]) -> str:
    """Return the number of accounts behind the figure of all accounts."""
    return f"{tiers[ALL].accounts:,}" if ALL in tiers else ""
