"""KPIs of a worker's memory: the same as of the events alone, through a crash and a backup."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.simulator import simulate
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.test_exporter import exporter, fetched, samples
from tests.integration.worker_kit import Place, Servers, record_of
from tests.system.harness import Json, eventually, write_lines

pytestmark = KAFKA_ONLY

END = dt.datetime(2026, 10, 1, 10, 17, tzinfo=dt.UTC)
PERIOD = ("--from", "2026-09-10T10:00:00Z", "--to", "2026-10-01T10:17:00Z")
BY_ORDER = frozenset({"intent_surges", "engagement_spikes", "competitor_surges"})
"""When a surge began is as the worker knew it, in the order in which it read."""


@pytest.fixture(scope="module")
def events() -> list[Json]:
    return [dict(event) for event in simulate(5, end=END, weeks=4, accounts=9)]


@pytest.fixture(scope="module")
def place(
    servers: Servers, events: list[Json], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Score the events by two workers, the first of which is killed under way."""
    directory = tmp_path_factory.mktemp("kpis")
    with Place(servers, directory, SURGELINE_FLUSH_RECORDS="50") as own:
        own.declare_topics()
        stored = own.produce(record_of(each) for each in events)
        first = own.start_worker()
        assert eventually(lambda: own.committed() > len(events) / 4, within_seconds=60), own.logs()
        first.kill()
        own.start_worker()
        own.wait_scored(stored)
        yield own


def told(rows: list[Json]) -> dict[tuple[str, ...], tuple[float | None, int]]:
    return {
        (
            row["kpi"],
            row["measure"] or "",
            row["tier"],
            *sorted(f"{k}={v}" for k, v in row["labels"].items()),
        ): (row["value"] and round(row["value"], 9), row["accounts"])
        for row in rows
        if row["kpi"] not in BY_ORDER
    }


def test_kpis_after_a_crash_are_those_of_the_events(place: Place, events: list[Json]) -> None:
    file = write_lines(place.directory / "alone.jsonl", events)
    alone = told(place.answer("kpis", str(file), *PERIOD))

    ours = told(place.answer("kpis", *PERIOD))

    assert len(ours) > 400
    assert ours == alone


def test_kpis_outlive_a_backup(place: Place) -> None:
    before = told(place.answer("kpis", *PERIOD))
    file = place.directory / "kpis.backup"
    assert place.run("backup", str(file)).returncode == 0
    for worker in place.workers:
        if worker.exit_code is None:
            worker.terminate(within_seconds=15)  # one that is killed stays in its group for a while

    done = place.run("restore", str(file), "--force")

    assert done.returncode == 0, done.stderr
    assert told(place.answer("kpis", *PERIOD)) == before


def test_exporter_shows_kpis_without_holding_up_a_scrape(place: Place, tmp_path: Path) -> None:
    with exporter(place.redis_url, tmp_path) as (url, _):
        assert "surgeline_up 1.0" in fetched(f"{url}/metrics")
        assert eventually(
            lambda: "surgeline_kpi_computed_timestamp_seconds" in fetched(f"{url}/metrics"),
            within_seconds=30,
        )
        found = samples(fetched(f"{url}/metrics"))

    kpis = {key: value for key, value in found.items() if key[0].startswith("surgeline_kpi_")}
    assert kpis["surgeline_kpi_target_accounts", (("tier", "all"),)] == 9.0
    assert 100 < len(kpis) < 3_000


def test_report_asks_no_other_address_for_anything(place: Place, tmp_path: Path) -> None:
    page = tmp_path / "kpis.html"

    done = place.run("kpis", *PERIOD, "--html", str(page))

    text = page.read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "http" not in text.replace("http-equiv", "")
    assert 'href="#win_rate"' in text
    assert 'id="win_rate"' in text


def test_kpis_per_account_and_as_csv(place: Place) -> None:
    accounts = place.answer("kpis", *PERIOD, "--accounts")
    table = place.run("kpis", *PERIOD, "--csv", "--tier", "all").stdout.splitlines()

    assert len(accounts) == 9
    assert accounts[0].keys() >= {"relationship", "contacts", "penetration", "minutes"}
    assert table[0] == "kpi,measure,labels,tier,value,unit,accounts,missing"
    assert any(line.startswith("target_accounts,,,all,9.0,accounts,9,") for line in table)
