"""Dashboards and rules on a real Prometheus that scrapes a whole Surgeline after a quarter."""

import datetime as dt
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from scoring.funnel import STAGES
from stream.embedded import free_port
from stream.simulator import simulate
from tests.integration.notifier_kit import SECRET, Answer, receiving
from tests.integration.prometheus_kit import Prometheus, require_prometheus, scraping
from tests.place import Worker
from tests.promql import names_in
from tests.system.harness import Json, Up, eventually, write_lines

pytestmark = [pytest.mark.embedded]

DASHBOARDS = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
NAMES = ("engagement", "funnel", "pipeline", "revenue")
ACCOUNTS = 60
SHOWN_SECONDS = 60.0
RATE_SECONDS = 20.0
STAGES_NOW = "sum by (stage) (surgeline_funnel_accounts)"
ROUTES = """
default = ["crm"]
[routes.crm]
webhook = "{url}"
secret = "{secret}"
rate_limit = {{ alerts = 100, minutes = 60 }}
retry = {{ first_seconds = 0.05, longest_seconds = 0.3, give_up_minutes = 5.0 }}
"""
#: Series that only faults make, which this quiet stack has none of.
OF_FAULTS = {"surgeline_commits_refused_total", "surgeline_gone_records_total"}
#: What Grafana puts in for its own variables.
GRAFANA = {"$__rate_interval": "10s", "$__range": "1m"}
#: KPIs that so small a market may have too little data for, or none of within the last month.
RARE = ("quartile_effect", "renewal_rate", "nps", "first_touch")


class Seen(NamedTuple):
    """A stack after the quarter, and the Prometheus that scrapes it."""

    up: Up
    prometheus: Prometheus
    targets: dict[str, str]
    funnel: Json
    """What `surgeline funnel --json` said when all was scored."""

    def exposed(self) -> dict[str, str]:
        """Return process -> what it shows at /metrics."""
        found = {}
        for name, target in self.targets.items():
            with urllib.request.urlopen(f"http://{target}/metrics", timeout=20) as answer:
                found[name] = answer.read().decode()
        return found


def quarter() -> list[Json]:
    """Return a small quarter, most impressions left out, and some records that are bad."""
    end = dt.datetime.now(dt.UTC)
    told = list(simulate(7, end=end, accounts=ACCOUNTS))
    kept = [
        each
        for number, each in enumerate(told)
        if each.get("action") != "impression" or number % 20 == 0
    ]
    bad: Json = {"id": "b", "source": "t", "type": "email", "account_id": "a", "action": "sent"}
    return [*kept, *deals(kept, end), *({**bad, "id": f"b{number}"} for number in range(5))]


def by_http() -> Json:
    """Return an event for the collector."""
    time = dt.datetime.now(dt.UTC).isoformat()
    seen = {"id": "http", "source": "site", "type": "page_visit", "time": time}
    return seen | {"account_id": "by-http", "url": "https://x.example/"}


def deals(told: list[Json], end: dt.datetime) -> list[Json]:
    """Return new deals won within the last month, of which so small a market may have none."""
    accounts = sorted({each["account_id"] for each in told if each.get("target")})[:4]
    deal: Json = {"source": "test", "type": "opportunity", "kind": "new", "amount": 9_000.0}
    return [
        deal
        | {"id": f"{account}-{action}", "account_id": account, "opportunity_id": f"{account}-d"}
        | {"action": action, "currency": "USD", "time": (end - dt.timedelta(days=days)).isoformat()}
        for account in accounts
        for action, days in (("opened", 20), ("won", 5))
    ]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Give the stack once Prometheus shows all of the quarter."""
    require_prometheus()
    directory = tmp_path_factory.mktemp("observed")
    with ExitStack() as ended:
        # The first delivery fails, so that there is a failure to be seen.
        hook = ended.enter_context(receiving(lambda number, _: Answer(503 if number == 1 else 200)))
        routes = directory / "routes.toml"
        routes.write_text(ROUTES.format(url=hook.url, secret=SECRET))
        up = Up(
            directory,
            *("--clock", "event"),
            SURGELINE_ROUTES=str(routes),
            SURGELINE_NOTIFY_REPLAYS="true",
        )
        ended.callback(up.close)
        up.wait_ready()
        targets = {
            path.stem.removesuffix("-1"): f"127.0.0.1:{path.read_text()}"
            for path in up.temporary.rglob("*.port")
        }
        targets["exporter"] = f"127.0.0.1:{free_port()}"
        prometheus = ended.enter_context(scraping(targets, directory))
        up.command("replay", str(write_lines(directory / "quarter.jsonl", quarter())), "--wait")
        sent = httpx.post(f"http://{targets['collector']}/v1/events", json=[by_http()], timeout=20)
        assert sent.status_code == 200, sent.text
        ended.callback(exporter(up, directory, targets["exporter"]).close)
        found = Seen(up, prometheus, targets, json.loads(up.command("funnel", "--json")))
        assert shown(found), f"{up.log()}\n{prometheus.get('/api/v1/targets')}"
        yield found


def exporter(up: Up, directory: Path, target: str) -> Worker:
    """Start an exporter now: its first KPIs are of all that was scored; the stack's are older."""
    env = up.environment() | {"SURGELINE_EXPORTER_PORT": target.partition(":")[2]}
    return Worker(env, directory / "exporter.log", "exporter")


def shown(seen: Seen) -> bool:
    """Wait until Prometheus has what Redis has, and what follows from it."""
    ask, stages = seen.prometheus.ask, counted(seen.funnel["stages"])
    return eventually(
        lambda: (
            counted({each.labels["stage"]: each.value for each in ask(STAGES_NOW)}) == stages
            and ask('rate(surgeline_notifications_total{outcome="delivered"}[10s])')
            and ask("surgeline:engaged_rate:ratio")
            and ask("surgeline_kpi_computed_timestamp_seconds")
            and ask(
                "histogram_quantile(0.5, sum by (le) (rate(surgeline_commit_seconds_bucket[30s])))"
            )
            and ask("sum(rate(surgeline_board_request_seconds_bucket[5m]))")
        ),
        within_seconds=SHOWN_SECONDS,
        every_seconds=0.3,
    )


def counted(stages: Mapping[str, float]) -> dict[str, float]:
    """Return *stages* without those that are empty."""
    return {stage: count for stage, count in stages.items() if count}


def panels(name: str) -> list[Json]:
    found: list[Json] = json.loads((DASHBOARDS / f"{name}.json").read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def panel_expressions(name: str, title: str) -> list[str]:
    (panel,) = [each for each in panels(name) if each["title"] == title]
    return [target["expr"] for target in panel["targets"]]


def filled_in(expression: str, prometheus: Prometheus, name: str) -> str:
    """Return *expression* as Grafana sends it, with the default choice of each variable."""
    currencies = prometheus.values('label_values({__name__=~"surgeline_kpi_.+"}, currency)')
    chosen = {
        "$tier": ".*" if name == "funnel" else "all",
        "$currency": next(iter(currencies), "EUR"),
        **GRAFANA,
    }
    for variable, value in chosen.items():
        expression = expression.replace(variable, value)
    return expression


def told(prometheus: Prometheus, expression: str) -> bool:
    """Wait until *expression* has data: a rate has none before the second time a series is read."""
    return eventually(
        lambda: bool(prometheus.ask(expression)), within_seconds=RATE_SECONDS, every_seconds=0.3
    )


def is_rare(series: str) -> bool:
    return any(series.startswith(f"surgeline_kpi_{each}") for each in RARE)


# --- what is scraped


def test_every_process_of_the_stack_is_scraped(seen: Seen) -> None:
    processes = ("worker", "resolver", "exporter", "notifier", "board", "collector")
    jobs = {f"surgeline-{name}" for name in processes}

    assert {f"surgeline-{name}" for name in seen.targets} == jobs
    assert eventually(lambda: seen.prometheus.healthy() == jobs, within_seconds=SHOWN_SECONDS)


def test_promtool_finds_nothing_to_say_about_any_metric(seen: Seen) -> None:
    for name, text in seen.exposed().items():
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

        assert (name, checked.returncode, checked.stderr) == (name, 0, "")


# --- rules


def test_every_rule_evaluates(seen: Seen) -> None:
    def evaluated() -> bool:
        return all(rule["health"] == "ok" for rule in seen.prometheus.rules())

    assert eventually(evaluated, within_seconds=SHOWN_SECONDS)
    assert [rule["name"] for rule in seen.prometheus.rules() if rule.get("lastError")] == []


def test_every_expression_of_a_rule_parses_and_recorded_figures_are_there(seen: Seen) -> None:
    for rule in seen.prometheus.rules():
        seen.prometheus.ask(rule["query"])
        faulty = OF_FAULTS & names_in(rule["query"])
        bounded = rule["name"] != "surgeline:redis_memory:ratio"  # the embedded Redis is not
        given_up = rule["name"] != "surgeline:notifications_dead:delta1h"
        if rule["type"] == "recording" and not faulty and bounded and given_up:
            assert told(seen.prometheus, rule["query"]), rule["name"]


def test_no_critical_alert_fires_on_a_stack_that_is_well(seen: Seen) -> None:
    assert seen.prometheus.ask('ALERTS{alertstate="firing", severity="critical"}') == []


# --- dashboards


@pytest.mark.parametrize("name", NAMES)
def test_every_query_of_a_dashboard_returns_data(name: str, seen: Seen) -> None:
    silent = []
    for mark in json.loads((DASHBOARDS / f"{name}.json").read_text())["annotations"]["list"]:
        seen.prometheus.ask(mark["expr"])  # none fires, perhaps
    for panel in panels(name):
        for target in panel["targets"]:
            expression = filled_in(target["expr"], seen.prometheus, name)
            asked = names_in(re.sub(r"\[\w+\]", "[5m]", expression))
            # The embedded Redis has no bound on its memory.
            excused = any(map(is_rare, asked)) or "surgeline_redis_memory_max_bytes" in asked
            seen.prometheus.ask(expression)  # what does not parse is an error
            if not excused and not told(seen.prometheus, expression):
                silent.append(f"{panel['title']}: {expression}")

    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_of_a_dashboard_has_values(name: str, seen: Seen) -> None:
    variables: list[dict[str, Any]] = json.loads((DASHBOARDS / f"{name}.json").read_text())[
        "templating"
    ]["list"]
    for each in variables:
        if each["type"] == "query":
            assert seen.prometheus.values(str(each["query"])), each["name"]


def test_kpis_are_about_the_accounts_of_the_funnel(seen: Seen) -> None:
    (of_kpis,) = panel_expressions("engagement", "Engaged rate")
    (of_funnel,) = panel_expressions("funnel", "Engaged or further")
    targets = seen.prometheus.figure('max(surgeline_kpi_target_accounts{tier="all"})')

    rates = [
        seen.prometheus.figure(filled_in(expression, seen.prometheus, name))
        for expression, name in ((of_kpis, "engagement"), (of_funnel, "funnel"))
    ]

    assert targets == sum(seen.funnel["stages"].values())
    # The one walks in order of time, the other as topics were read: inside the hysteresis bands
    # an account may be here or there.
    assert rates[0] == pytest.approx(rates[1], abs=0.05)


def test_stages_on_the_dashboard_are_those_of_the_command(seen: Seen) -> None:
    (expression,) = panel_expressions("funnel", "Accounts in each stage")

    found = seen.prometheus.ask(filled_in(expression, seen.prometheus, "funnel"))

    told = seen.funnel["stages"]
    assert {each.labels["stage"]: each.value for each in found} == {
        stage: told.get(stage, 0) for stage in STAGES
    }


@pytest.mark.parametrize("tier", ["1", "2", "3"])
def test_stages_of_a_tier_are_those_of_the_command(tier: str, seen: Seen) -> None:
    (expression,) = panel_expressions("funnel", "Accounts in each stage")

    found = seen.prometheus.ask(expression.replace("$tier", tier))

    stages = {each.labels["stage"]: each.value for each in found}
    assert counted(stages) == counted(seen.funnel["tiers"][tier])


def test_moves_on_the_dashboard_are_those_of_the_command(seen: Seen) -> None:
    (expression,) = panel_expressions("funnel", "Moves so far")

    found = seen.prometheus.ask(expression)

    assert {f"{each.labels['from']}>{each.labels['to']}": each.value for each in found} == (
        seen.funnel["moves"]
    )


def test_conversion_on_the_dashboard_is_that_of_the_command(seen: Seen) -> None:
    told = seen.funnel["stages"]
    reached = [
        sum(told.get(stage, 0) for stage in STAGES[number:]) for number in range(len(STAGES))
    ]

    for number in range(1, len(STAGES)):
        (expression,) = panel_expressions("funnel", f"{STAGES[number - 1]} → {STAGES[number]}")
        found = seen.prometheus.figure(filled_in(expression, seen.prometheus, "funnel"))
        assert found == pytest.approx(reached[number] / reached[number - 1])


def test_surging_accounts_on_the_dashboard_are_those_of_the_command(seen: Seen) -> None:
    (expression,) = panel_expressions("funnel", "Surging accounts")

    assert seen.prometheus.figure(expression) == seen.funnel["surging"]
