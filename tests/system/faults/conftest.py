import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.place import Servers
from tests.servers import KafkaServer, RedisServer, require_servers
from tests.system.faults.audit import scored_alone
from tests.system.faults.scene import Scene
from tests.system.faults.stream import Stream, mixed_stream, one_topic_stream
from tests.system.faults.table import Row, markdown
from tests.system.harness import Json

EVENTS = 100_000
SEED = 41
SESSION_SECONDS = "3"
KAFKA = {"group.min.session.timeout.ms": "1000"}


@pytest.fixture(scope="session")
def session_kafka() -> Iterator[KafkaServer]:
    require_servers(own=True)
    with KafkaServer(own=True, config=KAFKA) as server:
        yield server


@pytest.fixture
def own_kafka(session_kafka: KafkaServer) -> Iterator[KafkaServer]:
    """Give the Kafka of the fault suite, which a test may end: it runs again for the next one."""
    yield session_kafka
    start_again(session_kafka)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """Give a Redis for one test, which may end it; what it acknowledged is there again after."""
    require_servers(own=True)
    with RedisServer(append_only=True, own=True) as server:
        yield server


def start_again(server: KafkaServer) -> None:
    """Start a server that a test has ended and that a failure kept it from starting again."""
    if not server.alive:
        server.start()


def asked_events() -> int:
    return int(os.environ.get("SURGELINE_FAULT_EVENTS", EVENTS))


@pytest.fixture(scope="session")
def market() -> Stream:
    """Give the stream of the suite: all types, repeats, late events, bad records."""
    return mixed_stream(asked_events(), seed=SEED)


@pytest.fixture(scope="session")
def visits() -> Stream:
    """Give a stream whose moves depend on nothing but the order in one topic."""
    return one_topic_stream(asked_events() // 5, seed=SEED)


SceneOf = Callable[..., Scene]


@pytest.fixture
def scene_of(
    own_kafka: KafkaServer,
    own_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
) -> Iterator[SceneOf]:
    """Give the function from a stream and settings to a scene with topics and no worker."""
    scenes: list[Scene] = []

    def make(stream: Stream, **settings: str) -> Scene:
        servers = Servers(own_kafka.address, own_redis.url, SESSION_SECONDS, redis_is_own=True)
        directory = tmp_path_factory.mktemp("scene")
        scene = Scene(servers, directory, stream, record=record_property, settings=settings)
        scenes.append(scene.__enter__())
        return scene

    yield make
    start_again(own_kafka)
    for scene in scenes:
        scene.__exit__()


@pytest.fixture
def scene(scene_of: SceneOf, market: Stream) -> Scene:
    """Give a scene for the stream of the suite."""
    return scene_of(market)


class References:
    """The accounts that streams make by themselves, computed once."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._known: dict[int, list[Json]] = {}

    def of(self, scene: Scene) -> list[Json]:
        """Return the accounts that the stream of *scene* makes without a worker."""
        key = id(scene.stream)
        if key not in self._known:
            directory = self._factory.mktemp("reference")
            self._known[key] = scored_alone(scene.place, scene.stream, directory)
        return self._known[key]


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> References:
    return References(tmp_path_factory)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and write it to FAULTS_TABLE if that names a file."""
    reports = [each for found in terminalreporter.stats.values() for each in found]
    rows = [
        Row(**value)
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "fault"
    ]
    if not rows:
        return
    table = markdown(rows)
    terminalreporter.section("faults")
    terminalreporter.write(table)
    if path := os.environ.get("FAULTS_TABLE"):
        Path(path).write_text(table, encoding="utf-8")
