"""`surgeline doctor` on servers that are well, ill, or away."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiokafka.admin
import pytest
import redis
from aiokafka.protocol.admin import CreateAclsRequest

from stream.embedded import free_port
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.mixed_stream import mixed_stream
from tests.integration.worker_kit import PARTITIONS, Place, Sent, Servers, record_of
from tests.kafka_client import create_topic
from tests.servers import KafkaServer, RedisServer, require_servers
from tests.system.harness import Json, eventually, rows

LONGEST_SECONDS = 10.0
START_SECONDS = 3.0
"""What Python takes to import everything on a busy machine."""
PASSWORD = "c4n4ry"
TOPIC, GROUP = 2, 3
READ, DESCRIBE = 3, 8
DENY, ALLOW = 2, 3
LITERAL: Final = 3


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(servers, tmp_path) as own:
        yield own


@pytest.fixture(scope="module")
def worked(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Give a place whose worker has scored all there is, and is alive."""
    with Place(servers, tmp_path_factory.mktemp("worked")) as own:
        own.declare_topics()
        own.ready_worker()
        own.wait_scored(own.produce(record_of(each) for each in mixed_stream(3, accounts=5)))
        assert eventually(lambda: own.outbox() == 0, within_seconds=10)
        yield own


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    require_servers(own=True)
    with RedisServer(own=True, append_only=True, config=["maxmemory 1gb"]) as server:
        yield server


def examine(place: Place, *, exit_code: int, **settings: str) -> dict[str, Json]:
    """Run the doctor; return its findings by name."""
    done = place.run("doctor", "--json", **settings)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert done.stderr == ""
    return {row["check"]: row for row in rows(done.stdout)}


def problems(found: dict[str, Json]) -> list[str]:
    return [name for name, row in found.items() if row["level"] == "problem"]


def test_working_place_has_no_problem(worked: Place) -> None:
    found = examine(worked, exit_code=0)

    assert problems(found) == []
    levels = {name: row["level"] for name, row in found.items()}
    well = ["kafka", "topics", "partitions", "replicas", "retention", "redis", "redis permissions"]
    well += ["kafka permissions", "clock", "scores", "fences", "outbox", "due queue"]
    assert {levels[name] for name in well} == {"ok"}
    assert levels["workers"] in ("ok", "unknown")


@KAFKA_ONLY
def test_table_is_for_people(worked: Place) -> None:
    done = worked.run("doctor")

    assert done.returncode == 0, done.stderr
    shown = [line.split()[:3] for line in done.stdout.splitlines()]
    assert ["redis", "persistence", "warning"] in shown


@KAFKA_ONLY
def test_examination_changes_nothing(worked: Place) -> None:
    def everything() -> object:
        return {key: worked.redis.dump(key) for key in worked.redis.scan_iter(match="sl:*")}

    def unchanged() -> bool:
        before, topics = everything(), worked.answer("topics")
        examine(worked, exit_code=0)
        return (everything(), worked.answer("topics")) == (before, topics)

    # The worker may still have something due.
    assert eventually(unchanged, within_seconds=20)


@KAFKA_ONLY
def test_examination_creates_no_topics(place: Place) -> None:
    found = examine(place, exit_code=0)

    assert found["topics"]["level"] == "warning"
    assert not any(row["declared"] for row in place.answer("topics"))


@KAFKA_ONLY
def test_missing_topics_are_a_problem(place: Place) -> None:
    asyncio.run(create_topic(place.kafka, f"{place.prefix}emails", partitions=PARTITIONS))

    found = examine(place, exit_code=1)

    assert problems(found) == ["topics"]
    assert "surgeline topics --create" in found["topics"]["do"]


@KAFKA_ONLY
def test_unequal_partitions_are_a_problem(place: Place) -> None:
    asyncio.run(create_topic(place.kafka, f"{place.prefix}emails", partitions=2))
    asyncio.run(create_topic(place.kafka, f"{place.prefix}chats", partitions=3))

    found = examine(place, exit_code=1)

    assert f"2: {place.prefix}emails; 3: {place.prefix}chats" in found["partitions"]["found"]


@KAFKA_ONLY
def test_another_model_is_a_problem(worked: Place, tmp_path: Path) -> None:
    model = tmp_path / "model.toml"
    model.write_text('name = "hasty"\n[engagement]\nhalf_life_days = 7.0\n')

    found = examine(worked, exit_code=1, SURGELINE_MODEL=str(model))

    assert problems(found) == ["scores"]
    assert "digest" in found["scores"]["found"]


@KAFKA_ONLY
def test_another_clock_is_a_problem(worked: Place) -> None:
    found = examine(worked, exit_code=1, SURGELINE_CLOCK="wall")

    assert problems(found) == ["scores"]


@KAFKA_ONLY
def test_fence_above_the_log_is_a_problem(worked: Place) -> None:
    key = "sl:{0}:fence"
    right = worked.redis.hget(key, "emails")
    worked.redis.hset(key, "emails", 10**6)
    try:
        found = examine(worked, exit_code=1)
    finally:
        worked.redis.hset(key, "emails", right or b"0")

    assert problems(found) == ["fences"]
    assert f"{worked.prefix}emails/0 is scored up to offset 1000000" in found["fences"]["found"]


@KAFKA_ONLY
def test_keys_without_meta_are_a_problem(place: Place) -> None:
    place.redis.set("sl:{0}:state:a", "a")

    found = examine(place, exit_code=1)

    assert problems(found) == ["scores"]
    assert "without sl:meta" in found["scores"]["found"]


@KAFKA_ONLY
def test_dead_letters_of_today_are_counted(place: Place) -> None:
    place.declare_topics()
    for value in (b"1", b"2"):  # the embedded broker tells the end of a log by its batches
        place.produce([Sent("dead-letters", value)])

    assert eventually(
        lambda: examine(place, exit_code=0)["dead letters"]["found"].startswith("2 records"),
        within_seconds=20,
    )


@KAFKA_ONLY
def test_records_without_a_worker_are_a_problem(place: Place) -> None:
    place.declare_topics()
    place.produce([Sent("emails", b"{}", partition=0)])

    found = examine(place, exit_code=1)

    assert problems(found) == ["workers"]
    assert "1 records wait" in found["workers"]["found"]


@KAFKA_ONLY
def test_compacted_input_is_a_problem(place: Place) -> None:
    place.declare_topics()
    asyncio.run(configure(place, "contacts", {"cleanup.policy": "compact"}))
    found = examine(place, exit_code=1)

    assert problems(found) == ["retention"]
    assert f"{place.prefix}contacts" in found["retention"]["found"]


async def configure(place: Place, topic: str, config: dict[str, str]) -> None:
    admin: Any = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=place.kafka)
    await admin.start()
    try:
        kind = aiokafka.admin.config_resource.ConfigResourceType.TOPIC
        resource = aiokafka.admin.config_resource.ConfigResource(
            kind, place.prefix + topic, configs=config
        )
        await admin.alter_configs([resource])
    finally:
        await admin.close()


@KAFKA_ONLY
def test_redis_that_evicts_is_a_problem(place: Place, own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        found = examine(place, exit_code=1, SURGELINE_REDIS_URL=own_redis.url)
        client.config_set("maxmemory-policy", "noeviction")

    assert problems(found) == ["redis eviction"]
    assert "allkeys-lru" in found["redis eviction"]["found"]
    assert found["redis persistence"]["level"] == "ok"
    assert "of maxmemory" in found["redis memory"]["found"]


@KAFKA_ONLY
def test_commands_that_redis_refuses_are_named_as_rules(
    place: Place, own_redis: RedisServer
) -> None:
    found = as_user(place, own_redis, "+@all", "-hset", "-zadd", "~sl:*")

    assert problems(found) == ["redis permissions"]
    assert found["redis permissions"]["do"] == "Give this user the rules ~sl:* +hset +zadd."


@KAFKA_ONLY
def test_script_that_redis_refuses_is_named_as_a_rule(place: Place, own_redis: RedisServer) -> None:
    found = as_user(place, own_redis, "+@all", "-evalsha", "~sl:*")

    assert problems(found) == ["redis permissions"]
    assert found["redis permissions"]["do"] == "Allow it: +evalsha."


@KAFKA_ONLY
def test_keys_that_redis_refuses_are_named_as_a_rule(place: Place, own_redis: RedisServer) -> None:
    found = as_user(place, own_redis, "+@all", "~other:*")

    assert problems(found) == ["redis permissions"]
    assert "~sl:*" in found["redis permissions"]["do"]
    assert found["scores"]["level"] == "unknown"


@KAFKA_ONLY
def test_information_that_redis_refuses_is_unknown(place: Place, own_redis: RedisServer) -> None:
    found = as_user(place, own_redis, "+@all", "-info", "~sl:*")

    assert found["redis memory"]["level"] == "unknown"
    assert found["redis memory"]["do"] == "Allow it: +info."
    assert "+info" in found["redis permissions"]["do"]


def as_user(place: Place, server: RedisServer, *rules: str) -> dict[str, Json]:
    """Return what the doctor finds as a Redis user with *rules*; there is a problem."""
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "surgeon", "reset", "on", f">{PASSWORD}", *rules)
    at = server.url.replace("redis://", f"redis://surgeon:{PASSWORD}@")
    return examine(place, exit_code=1, SURGELINE_REDIS_URL=at)


@pytest.mark.embedded
def test_stopped_servers_are_two_problems_at_once(tmp_path: Path) -> None:
    found, seconds, output = timed(tmp_path, f"127.0.0.1:{free_port()}", free_port())

    assert problems(found) == ["kafka", "redis"]
    assert seconds < LONGEST_SECONDS + START_SECONDS
    assert PASSWORD not in output


@pytest.mark.embedded
def test_servers_that_are_silent_are_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as kafka, socket.create_server(("", 0)) as other:
        found, seconds, output = timed(
            tmp_path, f"127.0.0.1:{kafka.getsockname()[1]}", other.getsockname()[1]
        )

    assert problems(found) == ["kafka", "redis"]
    assert seconds < LONGEST_SECONDS + START_SECONDS
    assert PASSWORD not in output


def timed(directory: Path, kafka: str, redis_port: int) -> tuple[dict[str, Json], float, str]:
    """Examine servers that do not answer; return findings, seconds and all that was printed."""
    url = f"redis://:{PASSWORD}@127.0.0.1:{redis_port}/0"
    nowhere = Servers(kafka, url, session_seconds="3", redis_is_own=True)
    with Place(nowhere, directory) as place:
        began = time.monotonic()
        done = place.run("doctor", "--json")
        seconds = time.monotonic() - began
    assert done.returncode == 1, done.stderr
    found = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
    return found, seconds, done.stdout + done.stderr


@pytest.mark.kafka
def test_paused_servers_are_not_waited_for(tmp_path: Path, own_redis: RedisServer) -> None:
    with KafkaServer(own=True) as kafka:
        own = Servers(kafka.address, own_redis.url, session_seconds="6")
        with Place(own, tmp_path) as place:
            place.declare_topics()
            kafka.pause()
            own_redis.pause()
            try:
                began = time.monotonic()
                found = examine(place, exit_code=1)
                seconds = time.monotonic() - began
            finally:
                kafka.resume()
                own_redis.resume()

    assert problems(found) == ["kafka", "redis"]
    assert seconds < LONGEST_SECONDS + START_SECONDS


@pytest.mark.kafka
def test_what_kafka_refuses_is_named(tmp_path: Path, redis_server: RedisServer) -> None:
    require_servers(own=True)
    config = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with KafkaServer(config=config, own=True) as kafka:
        own = Servers(kafka.address, redis_server.url, session_seconds="6")
        with Place(own, tmp_path) as place:
            place.declare_topics()
            rules = [
                (TOPIC, f"{place.prefix}chats", DESCRIBE, DENY),
                (TOPIC, f"{place.prefix}emails", DESCRIBE, ALLOW),
                (TOPIC, f"{place.prefix}emails", READ, DENY),
                (GROUP, place.group, DESCRIBE, DENY),
            ]
            asyncio.run(add_rules(kafka.address, rules))
            found = examine(place, exit_code=1)

    assert problems(found) == ["kafka permissions"]
    said = found["kafka permissions"]["found"]
    assert f"Describe on topic {place.prefix}chats" in said
    assert f"Read on topic {place.prefix}emails" in said
    assert f"Describe on group {place.group}" in said
    assert found["workers"]["level"] == "unknown"


async def add_rules(address: str, rules: list[tuple[int, str, int, int]]) -> None:
    admin: Any = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        for kind, name, operation, permission in rules:
            request = CreateAclsRequest(
                kind, name, LITERAL, "User:ANONYMOUS", "*", operation, permission
            )
            answer = await admin._send_to_controller(request)
            assert "error_code=0" in str(answer), answer
    finally:
        await admin.close()
