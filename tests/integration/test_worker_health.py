"""What a worker's /healthz and /readyz say when it is well and yet not scoring."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import KAFKA_ONLY
from tests.integration.mixed_stream import mixed_stream
from tests.integration.worker_kit import Place, Servers, Worker, record_of
from tests.servers import RedisServer, require_servers
from tests.system.harness import eventually

READY, ALIVE = (200, "ok\n"), (200, "ok\n")
NOT_JOINED = (503, "has not joined its group yet\n")
REBALANCING = (503, "rebalancing\n")
STOPPING = (503, "stopping\n")


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """Give a place for one worker at a time: its only shard cannot be shared."""
    with Place(servers, tmp_path, SURGELINE_PARTITIONS="1") as own:
        own.declare_topics()
        yield own


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    require_servers(own=True)
    with RedisServer(own=True) as server:
        yield server


def shards(worker: Worker) -> float:
    return worker.metric("surgeline_shards_owned")


def answers(worker: Worker, path: str, answer: tuple[int, str]) -> bool:
    return eventually(lambda: worker.get(path) == answer, within_seconds=30, every_seconds=0.02)


@KAFKA_ONLY
def test_worker_standing_by_without_partitions_is_ready(place: Place) -> None:
    first, second = place.ready_worker(), place.ready_worker()

    assert eventually(lambda: shards(first) + shards(second) == 1, within_seconds=20)
    standing_by = first if shards(first) == 0 else second
    assert standing_by.get("/readyz") == READY
    assert standing_by.get("/healthz") == ALIVE


@KAFKA_ONLY
def test_workers_held_up_in_a_rebalance_are_alive_but_not_ready(place: Place) -> None:
    member, frozen = place.ready_worker(), place.ready_worker()
    assert answers(member, "/readyz", READY)
    os.kill(frozen.pid, signal.SIGSTOP)  # the group waits for it until its session is over

    joining = place.start_worker()

    assert answers(member, "/readyz", REBALANCING), place.logs()
    assert member.get("/healthz") == ALIVE
    assert answers(joining, "/readyz", NOT_JOINED), place.logs()
    assert joining.get("/healthz") == ALIVE
    assert answers(member, "/readyz", READY), place.logs()
    assert answers(joining, "/readyz", READY), place.logs()


def test_stopping_worker_is_alive_but_not_ready(
    servers: Servers, own_redis: RedisServer, tmp_path: Path
) -> None:
    alone = Servers(servers.kafka, own_redis.url, servers.session_seconds, redis_is_own=True)
    with Place(alone, tmp_path, SURGELINE_PARTITIONS="1") as place:
        place.declare_topics()
        worker = place.ready_worker()
        records = [record_of(each) for each in mixed_stream(seed=5, accounts=5)[:200]]
        place.wait_scored(place.produce(records))
        own_redis.pause()  # what is folded from now on cannot be committed, and is waited for
        place.produce(records)
        assert eventually(
            lambda: worker.metric("surgeline_batch_records_sum") > len(records), within_seconds=20
        )

        os.kill(worker.pid, signal.SIGTERM)

        assert answers(worker, "/readyz", STOPPING), worker.log()
        assert worker.get("/healthz") == ALIVE
        own_redis.resume()
        assert worker.wait(within_seconds=10) == 0
