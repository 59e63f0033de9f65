"""Grafana's dashboards: as the code makes them, explained, about metrics that there are."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.grafana.generator.all import dashboards
from deploy.grafana.generator.look import STAGE_COLOURS, TAG
from scoring.funnel import STAGES
from stream.kpi_metrics import FAMILIES
from tests.promql import exposed, labels_in, names_in

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
NAMES = ("engagement", "funnel", "pipeline", "revenue")

#: KPIs that no panel shows, and why.
NOT_DRAWN = {
    "not_engaged_rate": "the rest of engaged_rate",
    "target_accounts": "the funnel counts them at every commit",
}

Json = dict[str, Any]


def committed(name: str) -> Json:
    found: Json = json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text())
    return found


def panels(name: str) -> list[Json]:
    return [panel for panel in committed(name)["panels"] if panel["type"] != "row"]


def expressions(name: str) -> list[str]:
    marks = [each["expr"] for each in committed(name)["annotations"]["list"]]
    return marks + [target["expr"] for panel in panels(name) for target in panel["targets"]]


def links_of(panel: Json) -> list[str]:
    of_series = panel["fieldConfig"]["defaults"].get("links", [])
    return [link["url"] for link in [*panel.get("links", []), *of_series]]


def yaml_of(path: Path) -> Json:
    loaded: Json = YAML(typ="safe", pure=True).load(path)
    return loaded


def without_variables(expression: str) -> str:
    return re.sub(r"\[\$__\w+\]", "[5m]", expression)


ALL_PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}") for name in NAMES for panel in panels(name)
]


def test_committed_dashboards_are_those_that_the_code_makes() -> None:
    found = {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*")}

    assert found == dashboards(), "run `make dashboards`"
    assert set(found) == {f"{name}.json" for name in NAMES}


# --- panels


@pytest.mark.parametrize("panel", ALL_PANELS)
def test_panel_says_what_it_shows_and_what_to_do(panel: Json) -> None:
    assert re.search(r"[.)?]$", panel["description"])
    assert len(panel["description"]) > 60
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["noValue"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None


@pytest.mark.parametrize("panel", ALL_PANELS)
def test_panel_asks_the_chosen_prometheus(panel: Json) -> None:
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [target["refId"] for target in panel["targets"]] == [
        chr(ord("A") + number) for number in range(len(panel["targets"]))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_panels_ask_only_for_metrics_and_labels_that_there_are(name: str) -> None:
    labels = exposed()
    asked = [without_variables(each) for each in expressions(name)]

    assert {series for each in asked for series in names_in(each)} - set(labels) == set()
    selected = {pair for each in asked for pair in labels_in(each)}
    assert {pair for pair in selected if pair[1] not in labels[pair[0]]} == set()


def test_every_kpi_is_drawn() -> None:
    asked = {
        series
        for name in NAMES
        for each in expressions(name)
        for series in names_in(without_variables(each))
    }

    drawn = {family.kpi for family in FAMILIES if family.name in asked}

    assert drawn | set(NOT_DRAWN) == {family.kpi for family in FAMILIES}


@pytest.mark.parametrize("name", NAMES)
def test_titles_are_told_apart(name: str) -> None:
    titles = Counter((panel["title"], panel["type"]) for panel in panels(name))

    assert [title for title, times in titles.items() if times > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_panels_are_told_apart(name: str) -> None:
    numbers = [panel["id"] for panel in committed(name)["panels"]]

    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_figures_come_first(name: str) -> None:
    first_row = [panel["type"] for panel in committed(name)["panels"]][:4]

    assert first_row == ["row", "stat", "stat", "stat"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_the_page_without_covering_each_other(name: str) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in committed(name)["panels"]:
        at = panel["gridPos"]
        x, y = at.get("x", 0), at.get("y", 0)
        assert x + at["w"] <= 24
        taken.update((x + dx, y + dy) for dx in range(at["w"]) for dy in range(at["h"]))

    assert max(taken.values()) == 1


def test_stages_have_their_colours_wherever_they_are_series() -> None:
    found = {
        (override["matcher"]["options"], override["properties"][0]["value"]["fixedColor"])
        for panel in panels("funnel")
        for override in panel["fieldConfig"].get("overrides", [])
        if override["matcher"]["options"] in STAGES
    }

    assert found == set(STAGE_COLOURS.items())
    assert len(set(STAGE_COLOURS.values())) == len(STAGES)


# --- variables and links


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_declared_and_used(name: str) -> None:
    text = json.dumps(committed(name)["panels"]) + json.dumps(committed(name)["links"])
    variables = {each["name"] for each in committed(name)["templating"]["list"]}

    used = {each for each in re.findall(r"\$\{?([a-z_]+)\}?", text) if not each.startswith("__")}

    assert used == variables


@pytest.mark.parametrize("name", NAMES)
def test_dashboard_leads_to_the_others_and_to_the_board(name: str) -> None:
    dashboard = committed(name)
    links = {link["type"]: link for link in dashboard["links"]}

    assert dashboard["tags"] == [TAG]
    assert dashboard["uid"] == f"surgeline-{name}"
    assert links["dashboards"]["tags"] == [TAG]
    assert links["link"]["url"] == "${board_url}/"
    in_panels = [url for panel in panels(name) for url in links_of(panel)]
    assert [url for url in in_panels if url.startswith("${board_url}/")]


def test_links_to_the_board_are_pages_and_filters_that_it_has() -> None:
    urls = {
        url.removeprefix("${board_url}")
        for name in NAMES
        for panel in panels(name)
        for url in links_of(panel)
        if url.startswith("${board_url}")
    }
    urls.remove("/?stage=${__field.labels.stage}")

    assert urls <= {"/", "/funnel", *(f"/?stage={stage}" for stage in STAGES)}


# --- provisioning


def test_dashboards_are_read_from_where_compose_puts_them() -> None:
    (provider,) = yaml_of(GRAFANA / "provisioning" / "dashboards" / "surgeline.yml")["providers"]
    grafana = yaml_of(ROOT / "docker-compose.yml")["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])

    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/funnel.json"


def test_sources_are_services_of_the_compose_file() -> None:
    services = yaml_of(ROOT / "docker-compose.yml")["services"]
    sources = yaml_of(GRAFANA / "provisioning" / "datasources" / "surgeline.yml")["datasources"]

    assert [each["isDefault"] for each in sources if each["type"] == "prometheus"] == [True]
    hosts = {re.sub(r"http://(\w+):\d+", r"\1", each["url"]) for each in sources}
    assert hosts <= set(services)


def test_rate_interval_is_made_of_the_interval_of_scraping() -> None:
    sources = yaml_of(GRAFANA / "provisioning" / "datasources" / "surgeline.yml")["datasources"]
    scraping = yaml_of(ROOT / "deploy" / "prometheus" / "prometheus.yml")["global"]

    intervals = {each["jsonData"].get("timeInterval") for each in sources} - {None}

    assert intervals == {scraping["scrape_interval"]}


def test_grafana_alerts_through_what_it_knows_and_by_the_runbook() -> None:
    alerting = yaml_of(GRAFANA / "provisioning" / "alerting" / "surgeline.yml")
    sources = yaml_of(GRAFANA / "provisioning" / "datasources" / "surgeline.yml")["datasources"]
    known = {each["uid"] for each in sources} | {"__expr__"}
    runbook = (ROOT / "deploy" / "README.md").read_text()
    rules = [rule for group in alerting["groups"] for rule in group["rules"]]

    assert [each["receiver"] for each in alerting["policies"]] == [
        each["name"] for each in alerting["contactPoints"]
    ]
    for rule in rules:
        assert {query["datasourceUid"] for query in rule["data"]} <= known
        assert rule["condition"] in {query["refId"] for query in rule["data"]}
        assert f"#### {rule['title']}\n" in runbook
        assert rule["annotations"]["runbook_url"].endswith(f"#{rule['title'].lower()}")
        assert {"severity", "audience"} <= set(rule["labels"])
