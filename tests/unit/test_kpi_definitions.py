"""The catalogue of KPIs, and the metrics that are made from it."""

import re
from pathlib import Path

from scoring.kpis.definitions import KPIS, definitions_markdown
from stream.kpi_metrics import FAMILIES, OWN


def test_committed_page_of_definitions_is_current() -> None:
    page = Path(__file__).parents[2] / "deploy" / "kpis.md"

    assert page.read_text(encoding="utf-8") == definitions_markdown(), "run `make kpis`"


def test_every_kpi_is_defined_once() -> None:
    ids = [kpi.id for kpi in KPIS]

    assert len(ids) == len(set(ids))


def test_every_metric_has_a_name_of_its_own_in_base_units() -> None:
    names = [family.name for family in (*FAMILIES, *OWN)]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"surgeline_kpi_[a-z0-9_]+", name) for name in names)
    assert not [name for name in names if re.search(r"_(days|minutes)(_|$)", name)]
