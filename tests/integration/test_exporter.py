"""The exporter against a real Redis: what a scrape says, and that it says the truth."""

import asyncio
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from scoring.funnel import STAGES
from scoring.model import default_model
from scoring.report import rfc3339
from stream.embedded import EmbeddedServers, free_port
from stream.state_store import RedisStore
from tests.servers import RedisServer
from tests.stored import Json, folded, store_accounts
from tests.strategies import START
from tests.system.harness import PATIENCE, eventually

pytestmark = pytest.mark.embedded

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
PROMETHEUS_SECONDS = 10.0
"""After which Prometheus gives up a scrape, unless it is told otherwise."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def event(number: int, account_id: str, hours: float, **fields: object) -> Json:
    at = rfc3339(START + hours * 3_600)
    common = {"id": f"e{number}", "source": "test", "time": at, "account_id": account_id}
    return common | fields


def upsert(number: int, account_id: str, **fields: object) -> Json:
    return event(number, account_id, 0, type="account", action="upserted", target=True, **fields)


def visit(number: int, account_id: str, hours: float) -> Json:
    url = "https://x.example/pricing"
    return event(number, account_id, hours, type="page_visit", url=url, duration_seconds=60)


def market() -> list[Json]:
    deal: Json = {"type": "opportunity", "opportunity_id": "o1", "kind": "new"}
    return [
        upsert(1, "acme", tier=1),
        upsert(2, "beta", tier=1),
        upsert(3, "gamma", tier=2),
        upsert(4, "idle"),
        *(visit(10 + n, "acme", 1 + n) for n in range(6)),
        event(30, "gamma", 2, action="opened", **deal),
        event(31, "gamma", 3, action="won", **deal),
    ]


@contextmanager
def exporter(redis_url: str, directory: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    port_file = directory / "exporter.port"
    command = [sys.executable, "-m", "stream.cli.main", "exporter", "--port-file", str(port_file)]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={"SURGELINE_EXPORTER_PORT": "0", "SURGELINE_REDIS_URL": redis_url},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert eventually(
            lambda: port_file.exists() or process.poll() is not None, within_seconds=START_SECONDS
        )
        assert process.poll() is None, process.communicate()[1]
        yield f"http://127.0.0.1:{port_file.read_text()}", process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE * 10)


def fetched(url: str, **headers: str) -> str:
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=PATIENCE * 10
    ) as reply:
        body: bytes = reply.read()
    return body.decode()


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def funnel_of(found: Samples) -> dict[tuple[str, str], float]:
    """Return (tier, stage) -> accounts."""
    return {
        (dict(labels)["tier"], dict(labels)["stage"]): value
        for (name, labels), value in found.items()
        if name == "surgeline_funnel_accounts"
    }


async def emptied(url: str) -> None:
    store = RedisStore(url)
    await store.erase()
    await store.close()


@pytest.fixture
def redis_url(embedded_servers: EmbeddedServers) -> Iterator[str]:
    asyncio.run(store_accounts(embedded_servers.redis_url, folded(market())))
    yield embedded_servers.redis_url
    asyncio.run(emptied(embedded_servers.redis_url))


@pytest.fixture
def scrape(redis_url: str, tmp_path: Path) -> Iterator[Callable[[], str]]:
    with exporter(redis_url, tmp_path) as (url, _):
        yield lambda: fetched(f"{url}/metrics")


def test_scrape_counts_accounts_per_stage_and_tier_zeros_included(
    scrape: Callable[[], str],
) -> None:
    found = funnel_of(samples(scrape()))

    counted = {("1", "target"): 1, ("1", "engaged"): 1, ("2", "customer"): 1, ("none", "target"): 1}
    tiers = ("1", "2", "none")
    assert found == {(t, s): counted.get((t, s), 0) for t in tiers for s in STAGES}


def test_scrape_counts_moves_and_surging_accounts(scrape: Callable[[], str]) -> None:
    found = samples(scrape())

    moves = {
        tuple(dict(labels)[end] for end in ("from", "to")): value
        for (name, labels), value in found.items()
        if name == "surgeline_funnel_moves_total"
    }
    assert moves == {
        ("none", "target"): 4,
        ("target", "engaged"): 1,
        ("target", "opportunity"): 1,
        ("opportunity", "customer"): 1,
    }
    assert found["surgeline_accounts_surging", ()] == 1


def test_scrape_says_who_it_is_and_how_long_it_took(scrape: Callable[[], str]) -> None:
    began = time.monotonic()
    found = samples(scrape())
    took = time.monotonic() - began

    assert found["surgeline_up", ()] == 1
    assert 0 < found["surgeline_scrape_duration_seconds", ()] < took
    ((_, labels),) = [key for key in found if key[0] == "surgeline_build_info"]
    assert dict(labels)["model"] == "default"
    assert dict(labels)["digest"] == default_model().digest
    assert dict(labels)["version"]


def test_scrape_shows_the_memory_of_redis_and_its_bound(tmp_path: Path) -> None:
    bound = 64 * 2**20
    with (
        RedisServer(own=True, config=[f"maxmemory {bound}"]) as server,
        exporter(server.url, tmp_path) as (url, _),
    ):
        found = samples(fetched(f"{url}/metrics"))

    assert found["surgeline_redis_memory_max_bytes", ()] == bound
    assert 0 < found["surgeline_redis_memory_used_bytes", ()] < bound
    assert found["surgeline_redis_memory_resident_bytes", ()] > 0
    assert found["surgeline_redis_clients", ()] >= 1
    assert found["surgeline_redis_commands_total", ()] >= 1
    assert found["surgeline_redis_evicted_keys_total", ()] == 0


def test_redis_that_tells_nothing_of_itself_does_not_hide_the_funnel(tmp_path: Path) -> None:
    with RedisServer(own=True) as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
        with exporter(server.url, tmp_path) as (url, _):
            found = samples(fetched(f"{url}/metrics"))

    assert found["surgeline_up", ()] == 1
    assert funnel_of(found)
    assert [name for name, _ in found if name.startswith("surgeline_redis_")] == []


def test_every_scrape_reads_redis_anew(scrape: Callable[[], str], redis_url: str) -> None:
    scrape()
    asyncio.run(store_accounts(redis_url, folded([upsert(1, "acme", tier=3)])))

    found = funnel_of(samples(scrape()))

    assert {key: value for key, value in found.items() if value} == {("3", "target"): 1}


def test_exporter_may_start_before_the_first_worker(
    embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    asyncio.run(emptied(embedded_servers.redis_url))

    with exporter(embedded_servers.redis_url, tmp_path) as (url, _):
        found = samples(fetched(f"{url}/metrics"))

    assert found["surgeline_up", ()] == 1
    assert set(funnel_of(found).values()) == {0}


def test_promtool_finds_nothing_to_say(scrape: Callable[[], str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH")

    checked = subprocess.run(
        [promtool, "check", "metrics"], input=scrape(), capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_redis_that_goes_and_comes_back_shows_in_up(tmp_path: Path) -> None:
    with RedisServer(own=True) as server:
        asyncio.run(store_accounts(server.url, folded(market())))
        with exporter(server.url, tmp_path) as (url, _):
            assert samples(fetched(f"{url}/metrics"))["surgeline_up", ()] == 1
            server.kill()
            down = samples(fetched(f"{url}/metrics"))
            # KPIs are as last computed, and say when that was.
            assert {name for name, _ in down if not name.startswith("surgeline_kpi_")} == {
                "surgeline_up",
                "surgeline_scrape_duration_seconds",
                "surgeline_build_info",
            }
            assert down["surgeline_up", ()] == 0
            assert fetched(f"{url}/healthz") == "ok\n"

            server.start()
            asyncio.run(store_accounts(server.url, folded(market())))

            up = samples(fetched(f"{url}/metrics"))
            assert up["surgeline_up", ()] == 1
            assert funnel_of(up)["1", "engaged"] == 1


def test_frozen_redis_is_given_up_before_prometheus_gives_up(tmp_path: Path) -> None:
    with RedisServer(own=True) as server:
        asyncio.run(store_accounts(server.url, folded(market())))
        with exporter(server.url, tmp_path) as (url, _):
            fetched(f"{url}/metrics")
            server.pause()
            try:
                began = time.monotonic()
                found = samples(fetched(f"{url}/metrics"))
                took = time.monotonic() - began
            finally:
                server.resume()

    assert found["surgeline_up", ()] == 0
    assert took < PROMETHEUS_SECONDS


def test_openmetrics_is_served_to_those_who_ask_for_it(redis_url: str, tmp_path: Path) -> None:
    with exporter(redis_url, tmp_path) as (url, _):
        shown = fetched(f"{url}/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert shown.endswith("# EOF\n")
    assert "surgeline_funnel_moves_total{" in shown


def test_other_paths_are_not_found(redis_url: str, tmp_path: Path) -> None:
    with (
        exporter(redis_url, tmp_path) as (url, _),
        pytest.raises(urllib.error.HTTPError, match="404"),
    ):
        fetched(f"{url}/secrets")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly(number: int, redis_url: str, tmp_path: Path) -> None:
    with exporter(redis_url, tmp_path) as (url, process):
        fetched(f"{url}/metrics")

        process.send_signal(number)
        _, log = process.communicate(timeout=PATIENCE * 10)

    assert process.returncode == 0
    assert f"Exporter serves metrics at {url}/metrics." in log
    assert "Traceback" not in log


def test_taken_port_is_refused_in_one_sentence(redis_url: str, tmp_path: Path) -> None:
    with exporter(redis_url, tmp_path) as (url, _):
        port = url.rpartition(":")[2]
        second = subprocess.run(
            [sys.executable, "-m", "stream.cli.main", "exporter"],
            cwd=REPOSITORY,
            env={
                "SURGELINE_EXPORTER_PORT": port,
                "SURGELINE_REDIS_URL": redis_url,
                "SURGELINE_LOG_FORMAT": "text",
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE * 30,
            check=False,
        )

    assert second.returncode == 1
    assert second.stderr.startswith(f"surgeline: SURGELINE_EXPORTER_PORT={port}: cannot listen")
    assert second.stderr.count("\n") == 1


def test_unreachable_redis_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    with exporter(f"redis://127.0.0.1:{free_port()}/0", tmp_path) as (url, _):
        assert samples(fetched(f"{url}/metrics"))["surgeline_up", ()] == 0
