"""Records that a librdkafka producer puts where its own partitioner says, not where they belong."""

import datetime as dt
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import confluent_kafka
import pytest

from scoring.events import TYPE_TOPICS
from stream.routing import shard_of
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.worker_kit import Place, Servers, Worker
from tests.system.harness import Json, differences, rows, write_lines

pytestmark = KAFKA_ONLY

EVENTS = 20_000
ACCOUNTS = 250
START = dt.datetime(2024, 6, 3, tzinfo=dt.UTC)
AS_OF = "2024-06-06T00:00:00Z"


def events(seed: int) -> list[Json]:
    """Return events of two days, below every daily cap: 40 a day of an account."""
    rng = random.Random(seed)
    made = []
    for number in range(EVENTS):
        at = START + dt.timedelta(seconds=number * 2 * 86_400 / EVENTS)
        who = f"account-{number % ACCOUNTS}"
        common = {"id": f"e{number}", "source": "rd", "time": at.isoformat(), "account_id": who}
        kind = rng.random()
        if kind < 0.6:
            own: Json = {"type": "page_visit", "url": "https://x.example/docs"}
            own["duration_seconds"] = rng.randrange(20)
        elif kind < 0.8:
            own = {"type": "ad", "action": "impression", "campaign_id": "c", "placement": "web"}
        elif kind < 0.9:
            own = {"type": "email", "action": "opened", "direction": "outbound"}
            own["contact_id"] = f"{who}-{rng.randrange(3)}"
        else:
            own = {"type": "intent", "topic": "crm", "strength": 1}
        made.append(common | own)
    return made


class Mixed(NamedTuple):
    place: Place
    worker: Worker
    told: list[Json]
    misplaced: int


@pytest.fixture(scope="module")
def mixed(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    told = events(seed=5)
    with Place(servers, tmp_path_factory.mktemp("mixed")) as place:
        worker = place.ready_worker()
        misplaced = 0

        def note(error: Any, message: Any) -> None:
            nonlocal misplaced
            assert error is None, error
            misplaced += message.partition() != shard_of(message.key().decode(), place.partitions)

        producer = confluent_kafka.Producer({"bootstrap.servers": servers.kafka, "linger.ms": 20})
        for each in told:
            producer.produce(
                place.prefix + TYPE_TOPICS[each["type"]],
                json.dumps(each).encode(),
                each["account_id"].encode(),
                on_delivery=note,
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        place.wait_resolved(resolver=False, within_seconds=180)
        yield Mixed(place, worker, told, misplaced)


def test_librdkafkas_partitioner_puts_most_records_elsewhere(mixed: Mixed) -> None:
    assert EVENTS // 2 < mixed.misplaced < EVENTS
    assert mixed.worker.metric("surgeline_events_total", outcome="rekeyed") == mixed.misplaced


def test_scores_equal_those_of_correctly_keyed_records(mixed: Mixed) -> None:
    file = write_lines(mixed.place.directory / "mixed.jsonl", mixed.told)
    alone = mixed.place.run("score", str(file), "--as-of", AS_OF, "--json")

    found = mixed.place.accounts(AS_OF)

    assert len(found) == ACCOUNTS
    assert sum(each["events"] for each in found) == EVENTS
    assert differences(found, rows(alone.stdout)) == []
