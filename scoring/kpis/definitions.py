"""The KPIs as data: what each is called, means and is measured in (``definitions.toml``)."""

import importlib.resources
from typing import Final, Literal

import msgspec

Unit = Literal["accounts", "count", "ratio", "points", "minutes", "days", "money"]


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One figure of a KPI."""

    unit: Unit
    name: str = ""
    """Empty for a KPI with one figure."""
    labels: tuple[str, ...] = ()
    """What it is split by, besides the tier."""
    exported: bool = True
    """Whether the exporter shows it; not what has a series per page, person or campaign."""


class Kpi(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One KPI."""

    id: str
    title: str
    stage: str
    text: str
    """The definition, for people."""
    measures: tuple[Measure, ...]
    tiers: bool = True
    """Whether it is given per tier; cost rows are not, as spend has none."""


class Definitions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole catalogue."""

    general: tuple[str, ...]
    """What all definitions rest on, in paragraphs."""
    kpi: tuple[Kpi, ...]


def _read() -> Definitions:
    resource = importlib.resources.files("scoring.kpis") / "definitions.toml"
    return msgspec.toml.decode(resource.read_bytes(), type=Definitions)


_DEFINITIONS: Final = _read()

GENERAL: Final = _DEFINITIONS.general
KPIS: Final = _DEFINITIONS.kpi
"""Every KPI, in the order in which it is shown."""

BY_ID: Final = {kpi.id: kpi for kpi in KPIS}
STAGES: Final = tuple(dict.fromkeys(kpi.stage for kpi in KPIS))


def definitions_markdown() -> str:
    """Return the catalogue as the Markdown page ``deploy/kpis.md``."""
    lines = [
        "# KPIs",
        "",
        "What `surgeline kpis` and the exporter show, as `surgeline kpis --definitions` prints it.",
        "",
    ]
    for paragraph in GENERAL:
        lines += [paragraph, ""]
    for stage in STAGES:
        lines += [f"## {stage}", ""]
        for kpi in KPIS:
            if kpi.stage == stage:
                lines += [f'### <a id="{kpi.id}"></a>{kpi.title}', "", f"`{kpi.id}`. {kpi.text}"]
                lines += ["", *(_measured(each) for each in kpi.measures), ""]
    return "\n".join(lines[:-1]) + "\n"


def _measured(measure: Measure) -> str:
    name = f"`{measure.name}`, in" if measure.name else "in"
    by = f", by {' and '.join(measure.labels)}" if measure.labels else ""
    return f"- {name} {measure.unit}{by}"
