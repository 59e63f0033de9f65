"""Records that retention removed, and topics that were made anew: never skipped in silence."""

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka
import aiokafka.admin
import pytest

from stream.routing import shard_of
from tests.integration.worker_kit import PARTITIONS, Place, Servers, Worker, record_of
from tests.servers import KafkaServer, RedisServer
from tests.system.harness import Json

pytestmark = [pytest.mark.kafka]

# aiokafka's own types are incomplete.
_aiokafka: Any = aiokafka
_admin: Any = aiokafka.admin

TOPIC = "page-visits"
DAY_1 = dt.datetime(2024, 6, 3, tzinfo=dt.UTC)
SHARD = shard_of("acme", PARTITIONS)


def visits(first: int, count: int) -> list[Json]:
    return [
        {
            "id": f"v{number}",
            "source": "test",
            "type": "page_visit",
            "time": (DAY_1 + dt.timedelta(hours=number)).isoformat(),
            "account_id": "acme",
            "url": "https://x.example/",
        }
        for number in range(first, first + count)
    ]


@pytest.fixture
def place(kafka_server: KafkaServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Place]:
    servers = Servers(kafka_server.address, redis_server.url, session_seconds="6")
    with Place(servers, tmp_path) as own:
        own.declare_topics()
        yield own


def produce(place: Place, events: list[Json]) -> list[tuple[str, int, int]]:
    return place.produce(record_of(each) for each in events)


def remove_records(place: Place, *, before: int) -> None:
    """Remove the oldest records of acme's page visits, as retention does."""

    async def remove() -> None:
        admin = _admin.AIOKafkaAdminClient(bootstrap_servers=place.kafka)
        await admin.start()
        try:
            at = _aiokafka.TopicPartition(place.prefix + TOPIC, SHARD)
            await admin.delete_records({at: _admin.RecordsToDelete(before)})
        finally:
            await admin.close()

    asyncio.run(remove())


def recreate_topic(place: Place) -> None:
    """Delete the page visits, and declare the topic anew."""

    async def delete() -> None:
        admin = _admin.AIOKafkaAdminClient(bootstrap_servers=place.kafka)
        await admin.start()
        try:
            await admin.delete_topics([place.prefix + TOPIC])
        finally:
            await admin.close()

    asyncio.run(delete())
    place.declare_topics()


def acme(place: Place) -> dict[str, str]:
    return place.hashes().get("acme", {})


def scored_and_stopped(place: Place, events: list[Json]) -> None:
    worker = place.ready_worker()
    place.wait_scored(produce(place, events))
    assert worker.terminate() == 0


def last_line(worker: Worker) -> str:
    return worker.log().splitlines()[-1]


def test_records_that_expired_unscored_are_no_lag_and_stop_no_clock(place: Place) -> None:
    produce(place, visits(0, 5))
    remove_records(place, before=5)
    signal = visits(5, 1)[0] | {"type": "intent", "topic": "crm"}

    worker = place.ready_worker()
    place.wait_scored(produce(place, [signal]))

    assert place.clock(SHARD) == dt.datetime.fromisoformat(signal["time"]).timestamp()
    assert worker.metric("kafka_consumergroup_lag") == 0
    assert f'topic="{place.prefix}{TOPIC}"' in worker.get("/metrics")[1]


def test_worker_that_retention_has_overtaken_says_which_records_are_gone(place: Place) -> None:
    scored_and_stopped(place, visits(0, 3))
    produce(place, visits(3, 5))
    remove_records(place, before=6)

    worker = place.start_worker()

    assert worker.wait() == 1
    assert f"Records 3 to 5 of {place.prefix}{TOPIC}/{SHARD} are gone" in last_line(worker)
    assert "SURGELINE_ON_DATA_GONE=continue" in last_line(worker)


def test_worker_goes_on_without_gone_records_when_told_to(place: Place) -> None:
    scored_and_stopped(place, visits(0, 3))
    stored = produce(place, visits(3, 5))
    remove_records(place, before=6)

    worker = place.ready_worker(SURGELINE_ON_DATA_GONE="continue")
    place.wait_scored(stored)

    assert acme(place)["events"] == "5"
    assert worker.metric("surgeline_gone_records_total", topic=place.prefix + TOPIC) == 3
    assert f"Records 3 to 5 of {place.prefix}{TOPIC}/{SHARD} are gone" in worker.log()


def test_topic_that_was_made_anew_is_refused(place: Place) -> None:
    scored_and_stopped(place, visits(0, 3))
    recreate_topic(place)

    worker = place.start_worker()

    assert worker.wait() == 1
    assert f"{place.prefix}{TOPIC}/{SHARD} up to offset 3" in last_line(worker)
    assert "surgeline reset --replay" in last_line(worker)
