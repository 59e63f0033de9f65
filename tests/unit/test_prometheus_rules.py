"""Prometheus' configuration, rules and alerts: valid, tested, about metrics that there are, explained."""

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stream.notify.policy import Outcome
from stream.settings import settings_help
from tests.promql import exposed, labels_in, names_in

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
ALERTMANAGER_FILE = DEPLOY / "alertmanager" / "alertmanager.yml"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))

RUNBOOK = "https://github.com/surgeline/surgeline/blob/main/deploy/README.md#"
#: The one alert that Prometheus cannot raise (deploy/grafana/provisioning/alerting).
OF_GRAFANA = "SurgelinePrometheusAway"
SEVERITIES = {"critical", "warning", "info"}
AUDIENCES = {"pipeline", "business"}

with_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


@functools.cache
def yaml_of(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return loaded


def rules() -> list[dict[str, Any]]:
    groups = [group for path in RULE_FILES for group in yaml_of(path)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def cases() -> list[tuple[str, bool]]:
    """Return (alert, whether it fires in the end) of every case in the files of tests."""
    found = []
    for test in (test for path in TEST_FILES for test in yaml_of(path)["tests"]):
        asked = test["promql_expr_test"][-1]
        about = re.search(r'alertname="(\w+)"', asked["expr"])
        assert about is not None, test["name"]
        found.append((about[1], bool(asked["exp_samples"])))
    return found


def promtool(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = ["promtool", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_names_are_found_in_an_expression() -> None:
    expression = """
        # a comment names nothing
        sum by (le) (rate(a_bucket{le="1.0"}[5m])) > 0.5e3
        unless on (job) b:c:sum offset 1d and up{job="b"} == 1
    """

    assert names_in(expression) == {"a_bucket", "b:c:sum", "up"}
    assert labels_in(expression) == {("a_bucket", "le"), ("up", "job")}


# --- promtool


@with_promtool
def test_prometheus_accepts_its_configuration_and_its_rules() -> None:
    ran = promtool("check", "config", PROMETHEUS / "prometheus.yml")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(RULE_FILES)} rule files found" in ran.stdout


@with_promtool
def test_promtool_finds_nothing_to_say_about_the_rules() -> None:
    ran = promtool("check", "rules", "--lint-fatal", *RULE_FILES)

    assert ran.returncode == 0, ran.stdout + ran.stderr


@with_promtool
@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    ran = promtool("test", "rules", path)

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_is_tried_both_ways(alert: str) -> None:
    assert {fires for about, fires in cases() if about == alert} == {True, False}


def test_every_case_is_about_an_alert_that_there_is() -> None:
    assert {about for about, _ in cases()} <= set(alerts())


# --- the rules


def test_rules_ask_only_for_metrics_that_there_are() -> None:
    known = set(exposed()) | {rule["record"] for rule in rules() if "record" in rule}

    unknown = {name for rule in rules() for name in names_in(rule["expr"])} - known

    assert unknown == set()


def test_rules_select_only_by_labels_that_there_are() -> None:
    labels = exposed()
    asked = {pair for rule in rules() for pair in labels_in(rule["expr"]) if ":" not in pair[0]}

    assert asked
    assert {pair for pair in asked if pair[1] not in labels[pair[0]]} == set()


def test_outcomes_that_rules_select_are_those_of_the_notifier() -> None:
    selected = re.findall(r'outcome=~?"([a-z|]+)"', "".join(rule["expr"] for rule in rules()))
    asked = {outcome for each in selected for outcome in each.split("|")}

    assert asked
    assert asked <= {outcome.value for outcome in Outcome}


def test_no_two_rules_have_one_name() -> None:
    names = [rule.get("alert") or rule["record"] for rule in rules()]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("alert", alerts().values(), ids=alerts())
def test_alert_says_how_bad_it_is_what_it_means_and_whom_it_concerns(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in SEVERITIES
    assert alert["labels"]["audience"] in AUDIENCES
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["description"].endswith(".")


@pytest.mark.parametrize("name", alerts())
def test_alert_leads_to_its_entry_in_the_runbook(name: str) -> None:
    headings = re.findall(r"^#+ (.*)$", (DEPLOY / "README.md").read_text(), re.MULTILINE)

    assert headings.count(name) == 1
    assert alerts()[name]["annotations"]["runbook_url"] == RUNBOOK + name.lower()


def test_runbook_explains_no_alert_that_there_is_not() -> None:
    headings = re.findall(r"^#+ (Surgeline\w+)$", (DEPLOY / "README.md").read_text(), re.MULTILINE)

    assert sorted(headings) == sorted([*alerts(), OF_GRAFANA])


# --- what is scraped, and who is told


@pytest.mark.parametrize(
    ("name", "port"), [("worker", 9101), ("resolver", 9105), ("notifier", 9103)]
)
def test_prometheus_finds_every_replica_that_runs(name: str, port: int) -> None:
    jobs = {
        job["job_name"]: job for job in yaml_of(PROMETHEUS / "prometheus.yml")["scrape_configs"]
    }
    (discovery,) = jobs[f"surgeline-{name}"]["dns_sd_configs"]

    assert (discovery["names"], discovery["type"], discovery["port"]) == ([name], "A", port)


@pytest.mark.parametrize(
    ("name", "port"), [("exporter", 9102), ("board", 8321), ("collector", 8322)]
)
def test_prometheus_misses_what_always_runs(name: str, port: int) -> None:
    jobs = {
        job["job_name"]: job for job in yaml_of(PROMETHEUS / "prometheus.yml")["scrape_configs"]
    }

    assert jobs[f"surgeline-{name}"]["static_configs"] == [{"targets": [f"{name}:{port}"]}]


@pytest.mark.parametrize(
    ("variable", "port"),
    [
        ("WORKER_PORT", "9101"),
        ("EXPORTER_PORT", "9102"),
        ("NOTIFIER_PORT", "9103"),
        ("RESOLVER_PORT", "9105"),
        ("BOARD_PORT", "8321"),
        ("COLLECTOR_PORT", "8322"),
    ],
)
def test_scraped_ports_are_those_of_the_settings(variable: str, port: str) -> None:
    defaults = {name: default for name, default, _ in settings_help()}

    assert defaults[f"SURGELINE_{variable}"] == port


def test_jobs_that_rules_select_are_scraped() -> None:
    jobs = {job["job_name"] for job in yaml_of(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    selected = set(re.findall(r'job="([^"]+)"', "".join(rule["expr"] for rule in rules())))

    assert selected
    assert selected <= jobs


def test_alerts_go_to_the_alertmanager_where_there_is_one() -> None:
    (each,) = yaml_of(PROMETHEUS / "prometheus.yml")["alerting"]["alertmanagers"]
    (discovery,) = each["dns_sd_configs"]

    assert (discovery["names"], discovery["port"]) == (["alertmanager"], 9093)


def test_every_route_of_the_alertmanager_leads_to_a_receiver() -> None:
    config = yaml_of(ALERTMANAGER_FILE)
    routed = [config["route"], *config["route"]["routes"]]

    assert {each["receiver"] for each in routed} == {each["name"] for each in config["receivers"]}


def test_alertmanager_matches_only_labels_that_alerts_have() -> None:
    config = yaml_of(ALERTMANAGER_FILE)
    inhibited = config["inhibit_rules"]
    matchers = [
        *(each for route in config["route"]["routes"] for each in route["matchers"]),
        *(
            each
            for rule in inhibited
            for end in ("source", "target")
            for each in rule[f"{end}_matchers"]
        ),
    ]
    pairs = {tuple(re.split(r"=~?", each.replace('"', ""))) for each in matchers}
    known = {("alertname", name) for name in alerts()} | {
        pair for alert in alerts().values() for pair in alert["labels"].items()
    }

    assert {(label, one) for label, value in pairs for one in value.split("|")} <= known
