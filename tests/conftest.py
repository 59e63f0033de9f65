import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.embedded import EmbeddedServers, start_servers
from tests.servers import KafkaServer, RedisServer, require_servers

ROOT = Path(__file__).parent
LONGEST = (
    "integration/test_notifier.py",
    "integration/test_worker_outages.py",
    "integration/test_security_kafka.py",
    "system/test_stack.py",
    "integration/test_doctor.py",
    "integration/test_worker_restarts.py",
    "integration/test_dead_letters.py",
    "integration/test_recorded_data.py",
    "integration/test_resolver.py",
    "integration/test_transport.py",
    "integration/test_real_prometheus.py",
    "integration/test_board_process.py",
    "integration/test_security_redis.py",
    "integration/test_kpis.py",
    "integration/test_backup.py",
    "integration/test_dead_letter_limit.py",
    "integration/test_collector.py",
    "integration/test_worker_refusals.py",
    "integration/test_worker_retention.py",
    "integration/test_forget.py",
    "integration/test_worker_transfers.py",
    "integration/test_worker_upgrade.py",
    "integration/test_notifier_security.py",
    "integration/test_board.py",
    "property/test_fold.py",
)
"""Files that take longest begin first, so that at the end nobody waits for one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(ROOT).as_posix(), len(LONGEST)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Give an installed chromium; skip where there is none."""
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if installed is None:
        pytest.skip("no chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """Give the session's Apache Kafka; tests that end or pause one start their own."""
    require_servers()
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Give the session's Redis; tests that end or pause one start their own."""
    require_servers()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def embedded_servers() -> Iterator[EmbeddedServers]:
    """Give the session's embedded broker and Redis."""
    with asyncio.Runner() as runner:
        servers = runner.run(start_servers())
        try:
            yield servers
        finally:
            runner.run(servers.stop())
