"""Servers that are not there yet, or go away and come back, cost time and nothing else."""

from collections.abc import Iterator

import pytest

from tests.integration.mixed_stream import AS_OF, mixed_stream
from tests.integration.worker_kit import PARTITIONS, Place, Servers, Worker, record_of
from tests.servers import KafkaServer, RedisServer, require_servers
from tests.system.harness import Json, differences, eventually, never, rows, write_lines

pytestmark = [pytest.mark.kafka]

SESSION_SECONDS = "6"
AWAY_SECONDS = 3.0


@pytest.fixture(scope="module")
def events() -> list[Json]:
    return mixed_stream(seed=31, accounts=20)


def scored_alone(place: Place, events: list[Json]) -> list[Json]:
    file = write_lines(place.directory / "alone.jsonl", events)
    return rows(place.run("score", str(file), "--as-of", AS_OF, "--json").stdout)


def said(worker: Worker, *words: str) -> list[str]:
    """Return the lines of the worker's log that contain all of *words*."""
    return [line for line in worker.log().splitlines() if all(word in line for word in words)]


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    require_servers(own=True)
    with RedisServer(append_only=True, config=["appendfsync always"], own=True) as server:
        yield server


@pytest.fixture
def place(
    kafka_server: KafkaServer, own_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Give a place on the session's Kafka and on a Redis that the test may stop."""
    servers = Servers(kafka_server.address, own_redis.url, SESSION_SECONDS, redis_is_own=True)
    with Place(servers, tmp_path_factory.mktemp("outage"), SURGELINE_FLUSH_RECORDS="50") as place:
        place.declare_topics()
        yield place


def test_redis_that_goes_for_seconds_changes_no_score(
    place: Place, own_redis: RedisServer, events: list[Json]
) -> None:
    half = len(events) // 2
    worker = place.ready_worker()
    stored = place.produce(record_of(each) for each in events[:half])
    assert eventually(lambda: place.committed() > 0, within_seconds=20, every_seconds=0.002)

    own_redis.stop()
    stored += place.produce(record_of(each) for each in events[half:])
    assert eventually(lambda: said(worker, "Redis does not answer"), within_seconds=10)
    assert worker.get("/healthz")[0] == 200
    assert worker.get("/readyz") == (503, "waiting for Redis\n")
    assert never(lambda: len(said(worker, "Redis")) > 1, for_seconds=AWAY_SECONDS)
    own_redis.start()
    place.wait_scored(stored)

    assert len(said(worker, "Redis does not answer")) == 1
    # It is said once the commit is answered, which the fence may show a moment before.
    assert eventually(lambda: len(said(worker, "Redis is back")) == 1, within_seconds=5)
    assert worker.get("/readyz")[0] == 200
    assert differences(place.accounts(AS_OF), scored_alone(place, events)) == []


def test_full_redis_is_waited_for(place: Place, own_redis: RedisServer, events: list[Json]) -> None:
    third = len(events) // 3
    worker = place.ready_worker()
    stored = place.produce(record_of(each) for each in events[:third])
    place.wait_scored(stored)

    place.redis.config_set("maxmemory", "1")
    stored += place.produce(record_of(each) for each in events[third:])
    assert eventually(lambda: said(worker, "Redis refuses to write"), within_seconds=10)
    assert never(lambda: said(worker, "Redis is back"), for_seconds=AWAY_SECONDS)
    place.redis.config_set("maxmemory", "0")
    place.wait_scored(stored)

    assert len(said(worker, "Redis refuses to write")) == 1
    # It is said once the commit is answered, which the fence may show a moment before.
    assert eventually(lambda: len(said(worker, "Redis is back")) == 1, within_seconds=5)
    assert differences(place.accounts(AS_OF), scored_alone(place, events)) == []
    assert own_redis.url == place.redis_url


def test_redis_that_is_emptied_ends_the_worker_with_a_sentence(
    place: Place, events: list[Json]
) -> None:
    half = len(events) // 2
    worker = place.ready_worker()
    place.wait_scored(place.produce(record_of(each) for each in events[:half]))

    place.redis.flushdb()
    place.produce(record_of(each) for each in events[half:])

    assert worker.wait(within_seconds=30) == 1
    assert "SURGELINE_ON_MISSING_STATE=replay" in worker.log().splitlines()[-1]


def test_commit_that_can_never_succeed_ends_the_worker_with_a_sentence(
    place: Place, events: list[Json]
) -> None:
    worker = place.ready_worker()
    for shard in range(PARTITIONS):
        place.redis.set(f"sl:{{{shard}}}:due", "somebody else's")

    place.produce(record_of(each) for each in events)

    assert worker.wait(within_seconds=15) == 1
    assert "WRONGTYPE" in worker.log().splitlines()[-1]


def test_worker_told_to_stop_while_redis_is_away_ends(
    place: Place, own_redis: RedisServer, events: list[Json]
) -> None:
    worker = place.ready_worker()
    own_redis.stop()
    place.produce(record_of(each) for each in events)
    assert eventually(lambda: said(worker, "Redis does not answer"), within_seconds=10)

    assert worker.terminate(within_seconds=5) == 0


def test_refused_password_ends_the_start_with_a_sentence(place: Place) -> None:
    place.redis.config_set("requirepass", "secret")

    done = place.run("worker")

    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert "SURGELINE_REDIS_URL" in sentence


class Waiting(Place):
    """A place whose worker was started before its servers."""

    worker: Worker
    kafka_server: KafkaServer
    told: list[str]
    """What the worker had logged of its servers when it was ready."""


@pytest.fixture(scope="module")
def waited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    require_servers(own=True)
    kafka, own_redis = KafkaServer(own=True), RedisServer(own=True)
    servers = Servers(kafka.address, own_redis.url, SESSION_SECONDS, redis_is_own=True)
    with Waiting(servers, tmp_path_factory.mktemp("waited")) as place:
        place.worker = worker = place.start_worker()
        assert eventually(lambda: said(worker, "Redis does not answer"), within_seconds=30)
        with own_redis:
            assert eventually(
                lambda: said(worker, "Kafka at", "does not answer"), within_seconds=30
            )
            with kafka:
                worker.wait_ready()
                place.told = worker.log().splitlines()
                place.kafka_server = kafka
                yield place


def test_worker_started_before_its_servers_waits_for_them(waited: Waiting) -> None:
    of_servers = [line for line in waited.told if "does not answer" in line or "is back" in line]

    assert ["Redis does" in of_servers[0], "Redis is back" in of_servers[1]] == [True, True]
    assert f"Kafka at {waited.kafka} does not answer" in of_servers[2]
    assert len(of_servers) <= 4


def test_kafka_that_crashes_and_comes_back_changes_no_score(
    waited: Waiting, events: list[Json]
) -> None:
    half = len(events) // 2
    stored = waited.produce(record_of(each) for each in events[:half])
    before = len(said(waited.worker, "Kafka"))

    waited.kafka_server.kill()
    assert eventually(lambda: len(said(waited.worker, "Kafka")) > before, within_seconds=20)
    assert waited.worker.get("/readyz") == (503, "waiting for Kafka\n")
    assert waited.worker.get("/healthz") == (200, "ok\n")
    waited.kafka_server.start()
    stored += waited.produce(record_of(each) for each in events[half:])
    waited.wait_scored(stored)

    assert eventually(lambda: len(said(waited.worker, "Kafka is back")) == 1, within_seconds=20)
    assert eventually(lambda: waited.worker.get("/readyz")[0] == 200, within_seconds=20)
    assert differences(waited.accounts(AS_OF), scored_alone(waited, events)) == []


def test_worker_told_to_stop_while_kafka_is_away_ends(waited: Waiting) -> None:
    waited.kafka_server.kill()

    assert waited.worker.terminate(within_seconds=5) == 0
