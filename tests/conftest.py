import asyncio
from collections.abc import Iterator

import pytest

from stream.embedded import EmbeddedServers, start_servers
from tests.servers import KafkaServer, RedisServer, require_servers


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
