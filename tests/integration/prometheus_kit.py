"""A real Prometheus that scrapes a running stack, and what it answers."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stream.embedded import free_port
from tests.system.harness import eventually

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
PROMISED = "SURGELINE_TESTS_HAVE_PROMETHEUS"
"""Set by .ci/run where it has Prometheus: then its tests may not skip."""
START_SECONDS = 30.0

CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}/*.yml"]
scrape_configs:
"""
JOB = '  - {{job_name: surgeline-{name}, static_configs: [{{targets: ["{target}"]}}]}}\n'


class Sample(NamedTuple):
    """One series of an answer, at its newest."""

    labels: dict[str, str]
    value: float


def require_prometheus() -> None:
    """Skip the test where Prometheus is not installed; fail where it should have been."""
    if shutil.which("prometheus") and shutil.which("promtool"):
        return
    if os.environ.get("CI") and os.environ.get(PROMISED):
        pytest.fail("prometheus was installed for the tests, and is not on PATH")
    pytest.skip("prometheus and promtool are not installed (Debian: apt-get install prometheus)")


class Prometheus:
    """A running Prometheus, asked by its HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer; a refusal raises with what Prometheus says."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self._url}{path}?{query}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            raise AssertionError(f"{parameters}: {said}") from error

    def ask(self, expression: str) -> list[Sample]:
        """Return the samples of *expression* now."""
        data = self.get("/api/v1/query", query=expression)
        assert data["resultType"] == "vector", expression
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def figure(self, expression: str) -> float:
        """Return the one value of *expression*."""
        (found,) = self.ask(expression)
        return found.value

    def values(self, query: str) -> list[str]:
        """Return what a variable's query, label_values(selector, label), finds."""
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert asked is not None, query
        found: list[str] = self.get(f"/api/v1/label/{asked[2]}/values", **{"match[]": asked[1]})
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health."""
        groups = self.get("/api/v1/rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def healthy(self) -> set[str]:
        """Return the jobs whose targets answer."""
        targets = self.get("/api/v1/targets")["activeTargets"]
        return {each["labels"]["job"] for each in targets if each["health"] == "up"}


@contextlib.contextmanager
def scraping(targets: Mapping[str, str], directory: Path) -> Iterator[Prometheus]:
    """Run Prometheus with our rules on *targets*, process -> host:port, until the block ends."""
    config, port = directory / "prometheus.yml", free_port()
    jobs = "".join(JOB.format(name=name, target=target) for name, target in targets.items())
    config.write_text(CONFIG.format(rules=RULES) + jobs)
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        assert eventually(
            lambda: process.poll() is not None or _answers(f"{url}/-/ready"),
            within_seconds=START_SECONDS,
        )
        assert process.poll() is None, (directory / "prometheus.log").read_text()
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False
