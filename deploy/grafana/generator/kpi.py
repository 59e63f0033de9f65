"""Expressions for the KPIs, which the exporter computes now and then for each tier."""

TIER = 'tier="$tier"'
CURRENCY = 'currency="$currency"'


def kpi(name: str, *by: str) -> str:
    """Return the expression for KPI *name* of the chosen tier, split by the labels *by*.

    Every exporter tells the same: the largest, not the sum.
    """
    return _largest(name, by, TIER)


def money(name: str, *by: str) -> str:
    """Return the same in the chosen currency."""
    return _largest(name, by, TIER, CURRENCY)


def cost(name: str) -> str:
    """Return the expression for a KPI that rests on spend, which has no tier."""
    return _largest(name, (), CURRENCY)


def _largest(name: str, by: tuple[str, ...], *matchers: str) -> str:
    grouped = f" by ({', '.join(by)}) " if by else ""
    return f"max{grouped}(surgeline_kpi_{name}{{{', '.join(matchers)}}})"
