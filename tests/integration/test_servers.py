"""The servers that other tests rely on do what those tests take for granted."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.kafka_client import create_topic, first_value, produce
from tests.kafka_node import ServerUnavailable
from tests.server_hosts import NotOurs, docker_answers
from tests.servers import KafkaServer, RedisServer, require_servers
from tests.system.harness import PATIENCE, eventually

pytestmark = pytest.mark.kafka

REPOSITORY = Path(__file__).resolve().parents[2]

STARTS_AND_WAITS = """
import time
from tests.servers import RedisServer
with RedisServer(own=True) as server:
    print(server.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    require_servers(own=True)
    with RedisServer(append_only=True, config=["appendfsync always"], own=True) as server:
        yield server


def test_kafka_carries_a_message_to_a_consumer_group(kafka_server: KafkaServer) -> None:
    async def run() -> bytes:
        topic = f"greetings-{os.getpid()}-{time.time_ns()}"
        await create_topic(kafka_server.address, topic)
        await produce(kafka_server.address, topic, b"hello")
        return await first_value(kafka_server.address, topic, group=topic)

    assert asyncio.run(run()) == b"hello"


def test_redis_answers(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.ping()


def test_killed_kafka_comes_back_at_its_address_with_its_messages() -> None:
    require_servers(own=True)
    with KafkaServer(own=True) as server:
        address = server.address
        asyncio.run(create_topic(address, "greetings"))
        asyncio.run(produce(address, "greetings", b"hello"))

        server.kill()
        server.start()

        assert server.address == address
        assert asyncio.run(first_value(address, "greetings")) == b"hello"


def test_killed_redis_comes_back_at_its_address_with_its_keys(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("greeting", "hello")

    own_redis.kill()
    own_redis.start()

    with redis.Redis.from_url(own_redis.url) as client:
        assert client.get("greeting") == b"hello"


def test_paused_redis_answers_when_it_is_resumed(own_redis: RedisServer) -> None:
    answers: list[object] = []
    with redis.Redis.from_url(own_redis.url) as client:
        client.ping()
        own_redis.pause()
        asking = threading.Thread(target=lambda: answers.append(client.ping()))
        asking.start()
        asking.join(0.3)
        assert answers == []

        own_redis.resume()
        asking.join(10)

    assert answers == [True]


def test_paused_redis_can_be_restarted(own_redis: RedisServer) -> None:
    own_redis.pause()

    own_redis.restart()

    with redis.Redis.from_url(own_redis.url) as client:
        assert client.ping()


def test_further_lines_of_configuration_reach_redis(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.config_get("appendfsync")["appendfsync"] == "always"


def test_server_given_by_url_is_used_and_left_alone(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGELINE_REDIS_URL", own_redis.url)

    with RedisServer() as given:
        assert given.url == own_redis.url
        with pytest.raises(NotOurs):
            given.kill()


@pytest.mark.skipif(docker_answers(), reason="containers are removed by testcontainers' reaper")
def test_servers_end_when_the_test_process_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    process_id = int(parent.stdout.readline())

    parent.kill()
    parent.wait(PATIENCE * 10)

    assert eventually(lambda: not alive(process_id), within_seconds=10)


def alive(process_id: int) -> bool:
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process_id)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()[:1] not in ("", "Z")


def test_missing_servers_fail_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.unavailable_reason", lambda **_: "There is no Java.")
    monkeypatch.setenv("CI", "true")

    with pytest.raises(ServerUnavailable, match="no Java"):
        require_servers()


def test_missing_servers_skip_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.unavailable_reason", lambda **_: "There is no Java.")
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no Java"):
        require_servers()
