"""Topics, offsets and `surgeline topics` and `reset`, on the embedded broker and on Apache Kafka."""

import asyncio
import json
import uuid
from typing import Any

import aiokafka
import pytest
from typer.testing import CliRunner, Result

from scoring.model import default_model
from stream.cli.main import create_app
from stream.embedded import EmbeddedServers, free_port
from stream.errors import RefusedStart, Unreachable
from stream.kafka_admin import (
    committed_offsets,
    declare_topics,
    group_members,
    input_partitions,
    log_ranges,
    wait_for_kafka,
)
from stream.settings import Settings
from stream.state_store import FORMAT, RedisStore
from stream.topic_list import find_topics
from stream.topics import topic_specs
from tests.kafka_client import create_topic, produce
from tests.servers import KafkaServer
from tests.stored import folded, store_accounts
from tests.strategies import START, rfc3339
from tests.system.harness import PATIENCE

_aiokafka: Any = aiokafka  # its own types are incomplete


@pytest.fixture(
    params=[
        pytest.param("embedded_servers", marks=pytest.mark.embedded),
        pytest.param("kafka_server", marks=pytest.mark.kafka),
    ]
)
def kafka(request: pytest.FixtureRequest) -> str:
    server = request.getfixturevalue(request.param)
    return str(server.kafka if isinstance(server, EmbeddedServers) else server.address)


def fresh(kafka: str, **fields: Any) -> Settings:
    """Return settings under which nothing exists yet at *kafka*."""
    name = uuid.uuid4().hex[:8]
    given: dict[str, Any] = {
        "topic_prefix": f"t{name}.",
        "group": f"g{name}",
        "partitions": 3,
    } | fields
    return Settings(kafka_url=kafka, **given)


def test_missing_topics_are_declared_with_the_partitions_of_the_settings(kafka: str) -> None:
    settings = fresh(kafka)
    before = asyncio.run(find_topics(settings))

    partitions = asyncio.run(declare_topics(settings))

    assert not any(topic.declared for topic in before)
    assert partitions == 3
    after = asyncio.run(find_topics(settings))
    assert [topic.name for topic in after] == [
        settings.topic_prefix + spec.name for spec in topic_specs()
    ]
    assert {topic.partitions for topic in after} == {3}


def test_topics_declared_before_keep_their_partitions(kafka: str) -> None:
    settings = fresh(kafka)
    asyncio.run(create_topic(kafka, f"{settings.topic_prefix}emails", partitions=2))

    assert asyncio.run(declare_topics(settings)) == 2
    assert asyncio.run(declare_topics(settings)) == 2
    assert asyncio.run(input_partitions(settings)) == 2


def test_inputs_that_differ_in_partitions_are_refused_by_name(kafka: str) -> None:
    settings = fresh(kafka)
    asyncio.run(create_topic(kafka, f"{settings.topic_prefix}emails", partitions=2))
    asyncio.run(create_topic(kafka, f"{settings.topic_prefix}chats", partitions=3))

    with pytest.raises(RefusedStart, match=rf"2: {settings.topic_prefix}emails; 3: .*chats"):
        asyncio.run(declare_topics(settings))


def test_output_with_fewer_partitions_than_the_inputs_is_refused(kafka: str) -> None:
    settings = fresh(kafka)
    asyncio.run(create_topic(kafka, f"{settings.topic_prefix}alerts", partitions=1))

    with pytest.raises(RefusedStart, match="alerts has 1 partitions"):
        asyncio.run(declare_topics(settings))


@pytest.mark.kafka
def test_more_replicas_than_brokers_are_refused_by_setting(kafka_server: KafkaServer) -> None:
    with pytest.raises(RefusedStart, match="SURGELINE_REPLICATION=3"):
        asyncio.run(declare_topics(fresh(kafka_server.address, replication=3)))


@pytest.mark.kafka
def test_replication_may_be_left_to_the_brokers(kafka_server: KafkaServer) -> None:
    assert asyncio.run(declare_topics(fresh(kafka_server.address, replication=-1))) == 3


@pytest.mark.kafka
def test_retention_is_what_the_topics_need(kafka_server: KafkaServer) -> None:
    settings = fresh(kafka_server.address)
    asyncio.run(declare_topics(settings))

    found = {
        topic.name.removeprefix(settings.topic_prefix): topic
        for topic in asyncio.run(find_topics(settings))
    }

    thirteen_weeks_ms = 13 * 7 * 86_400_000
    assert {found[name].retention_ms for name in ("accounts", "contacts", "opportunities")} == {-1}
    assert (found["page-visits"].retention_ms or 0) >= thirteen_weeks_ms
    assert [name for name, topic in found.items() if topic.compacted] == [
        "score-changes",
        "alert-actions",
        "deliveries",
    ]


def test_log_ranges_span_what_was_produced(kafka: str) -> None:
    settings = fresh(kafka)
    topic = f"{settings.topic_prefix}emails"

    async def run() -> dict[tuple[str, int], tuple[int, int]]:
        await create_topic(kafka, topic, partitions=2)
        for number in range(5):
            await produce(kafka, topic, b"%d" % number, key=b"same")
        return await log_ranges(settings, [topic], 2)

    ranges = asyncio.run(run())

    assert sorted(ranges) == [(topic, 0), (topic, 1)]
    assert sorted(ranges.values()) == [(0, 0), (0, 5)]


def test_committed_offsets_are_those_of_the_group(kafka: str) -> None:
    settings = fresh(kafka, partitions=1)
    topic = f"{settings.topic_prefix}emails"

    async def run() -> list[dict[tuple[str, int], int]]:
        await create_topic(kafka, topic, partitions=1)
        await produce(kafka, topic, b"one")
        before = await committed_offsets(settings, [topic], 1)
        async with _aiokafka.AIOKafkaConsumer(
            topic,
            bootstrap_servers=kafka,
            group_id=settings.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6_000,
            rebalance_timeout_ms=6_000,
            heartbeat_interval_ms=1_000,
        ) as consumer:
            await asyncio.wait_for(consumer.getone(), PATIENCE * 30)
            await consumer.commit()
        return [before, await committed_offsets(settings, [topic], 1)]

    assert asyncio.run(run()) == [{}, {(topic, 0): 1}]


@pytest.mark.kafka
def test_workers_in_the_group_are_counted(kafka_server: KafkaServer) -> None:
    settings = fresh(kafka_server.address)
    topic = f"{settings.topic_prefix}emails"

    async def run() -> list[int | None]:
        await create_topic(kafka_server.address, topic, partitions=1)
        counts = [await group_members(settings)]
        consumer = _consumer(topic, settings)
        async with consumer:
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=100)
            counts.append(await group_members(settings))
        return [*counts, await group_members(settings)]

    assert asyncio.run(run()) == [0, 1, 0]


def _consumer(topic: str, settings: Settings) -> Any:
    return _aiokafka.AIOKafkaConsumer(
        topic, bootstrap_servers=settings.brokers, group_id=settings.group
    )


@pytest.mark.embedded
def test_kafka_that_is_away_is_waited_for_and_said_once() -> None:
    settings = fresh(f"127.0.0.1:{free_port()}")
    said: list[Unreachable] = []

    async def run() -> None:
        waiting = asyncio.create_task(wait_for_kafka(settings, said.append))
        async with asyncio.timeout(PATIENCE * 10):
            while not said:  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.01)
        # Long enough to try again more than once.
        await asyncio.wait([waiting], timeout=1.0)
        assert not waiting.done()
        waiting.cancel()

    asyncio.run(run())

    assert [str(error) for error in said] == [f"Kafka at {settings.kafka_url} does not answer."]


def test_waiting_ends_at_once_where_kafka_answers(kafka: str) -> None:
    said: list[Unreachable] = []

    asyncio.run(asyncio.wait_for(wait_for_kafka(fresh(kafka), said.append), PATIENCE * 10))

    assert said == []


def run(settings: Settings, *arguments: str, answer: str = "", redis_url: str = "") -> Result:
    environment = {
        "SURGELINE_KAFKA_URL": settings.kafka_url,
        "SURGELINE_TOPIC_PREFIX": settings.topic_prefix,
        "SURGELINE_GROUP": settings.group,
        "SURGELINE_PARTITIONS": str(settings.partitions),
        "SURGELINE_CLOCK": "event",
        **({"SURGELINE_REDIS_URL": redis_url} if redis_url else {}),
    }
    return CliRunner(env=environment).invoke(create_app(), arguments, input=answer)


def test_topics_command_lists_and_declares(kafka: str) -> None:
    settings = fresh(kafka)

    missing = run(settings, "topics", "--json")
    declared = run(settings, "topics", "--create", "--json")

    assert {json.loads(line)["declared"] for line in missing.stdout.splitlines()} == {False}
    rows = [json.loads(line) for line in declared.stdout.splitlines()]
    assert {(row["declared"], row["partitions"]) for row in rows} == {(True, 3)}
    assert "98 days" in run(settings, "topics").stdout


@pytest.mark.embedded
def test_topics_command_says_that_kafka_is_away_in_one_line() -> None:
    settings = fresh(f"127.0.0.1:{free_port()}")

    result = run(settings, "topics")

    assert result.exit_code == 1
    assert result.stderr == f"surgeline: Kafka at {settings.kafka_url} does not answer.\n"


@pytest.fixture
def stored(embedded_servers: EmbeddedServers) -> str:
    record = {
        "id": "e1",
        "source": "test",
        "time": rfc3339(START),
        "account_id": "acme",
        "type": "account",
        "action": "upserted",
        "target": True,
    }
    asyncio.run(store_accounts(embedded_servers.redis_url, folded([record])))
    return embedded_servers.redis_url


def keys_and_meta(url: str) -> tuple[bytes | None, dict[str, str]]:
    async def read() -> tuple[bytes | None, dict[str, str]]:
        store = RedisStore(url)
        found = [each for shard in range(4) async for each in store.all_states(shard)]
        meta = await store.meta()
        await store.close()
        return next(iter(found), None), meta

    return asyncio.run(read())


@pytest.mark.embedded
def test_reset_asks_first(embedded_servers: EmbeddedServers, stored: str) -> None:
    result = run(fresh(embedded_servers.kafka), "reset", answer="n\n", redis_url=stored)

    assert result.exit_code == 1
    assert keys_and_meta(stored)[0] is not None


@pytest.mark.embedded
def test_reset_deletes_everything(embedded_servers: EmbeddedServers, stored: str) -> None:
    result = run(fresh(embedded_servers.kafka), "reset", "--yes", redis_url=stored)

    assert result.exit_code == 0, result.stderr
    assert keys_and_meta(stored) == (None, {})
    assert "SURGELINE_ON_MISSING_STATE=replay" in result.stderr


@pytest.mark.embedded
def test_reset_for_replay_leaves_the_meta_of_these_settings(
    embedded_servers: EmbeddedServers, stored: str
) -> None:
    settings = fresh(embedded_servers.kafka, partitions=5)
    asyncio.run(declare_topics(settings.model_copy(update={"partitions": 2})))

    result = run(settings, "reset", "--replay", "--yes", redis_url=stored)

    assert result.exit_code == 0, result.stderr
    state, meta = keys_and_meta(stored)
    assert state is None
    assert meta.pop("created_at").isdigit()
    assert meta == {
        "partitions": "2",
        "clock": "event",
        "format": str(FORMAT),
        "digest": default_model().digest,
        "replay": "1",
    }


@pytest.mark.embedded
def test_reset_for_replay_deletes_nothing_while_kafka_is_away(stored: str) -> None:
    settings = fresh(f"127.0.0.1:{free_port()}")

    result = run(settings, "reset", "--replay", "--yes", redis_url=stored)

    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert keys_and_meta(stored)[0] is not None


@pytest.mark.kafka
@pytest.mark.embedded
def test_reset_is_refused_while_a_worker_is_in_the_group(
    kafka_server: KafkaServer, stored: str
) -> None:
    settings = fresh(kafka_server.address)
    topic = f"{settings.topic_prefix}emails"

    async def reset_while_consuming() -> Result:
        await create_topic(kafka_server.address, topic, partitions=1)
        consumer = _consumer(topic, settings)
        async with consumer:
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=100)
            return await asyncio.to_thread(run, settings, "reset", "--yes", redis_url=stored)

    result = asyncio.run(reset_while_consuming())

    assert result.exit_code == 1
    assert f"1 worker is in consumer group {settings.group}" in result.stderr
    assert keys_and_meta(stored)[0] is not None
