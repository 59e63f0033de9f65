"""Topics full of bad records: the worker stops in front of them, and goes on when it is told to."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.routing import shard_of
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.worker_kit import PARTITIONS, Found, Place, Sent, Servers, Worker, record_of
from tests.system.harness import Json

pytestmark = [KAFKA_ONLY]

TOPIC = "page-visits"
SHARD = shard_of("acme", PARTITIONS)
IN_A_ROW = 50
STOP_SECONDS = 40.0


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(
        servers,
        tmp_path,
        SURGELINE_DEAD_LETTERS_IN_A_ROW=str(IN_A_ROW),
        SURGELINE_DEAD_LETTER_WINDOW="200",
    ) as own:
        own.declare_topics()
        yield own


def visit(number: int) -> Sent:
    event: Json = {
        "id": f"v{number}",
        "source": "test",
        "type": "page_visit",
        "time": "2024-06-03T00:00:00Z",
        "account_id": "acme",
        "url": "https://x.example/",
    }
    return record_of(event)


def poison(number: int) -> Sent:
    return Sent(TOPIC, f"no JSON {number}".encode(), b"acme", SHARD)


def last_line(worker: Worker) -> str:
    """Return the sentence that *worker* ended with."""
    assert worker.wait(STOP_SECONDS) == 1, worker.log()
    said: Json = json.loads(worker.log().splitlines()[-1])
    assert (said["level"], said["process"]) == ("critical", "worker")
    return str(said["event"])


def letters(place: Place, count: int) -> Counter[str]:
    """Return how often each offset was buried, once at least *count* letters are there."""

    def enough(found: list[Found]) -> bool:
        return len(found) >= count

    found = place.read("dead-letters", enough) if count else []
    return Counter(each.headers["surgeline-offset"].decode() for each in found)


def test_worker_stops_in_front_of_a_row_of_bad_records(place: Place) -> None:
    stored = place.produce([visit(0), visit(1), *map(poison, range(120)), visit(2)])

    said = last_line(place.start_worker())

    assert f"Topic {place.prefix}{TOPIC}: " in said
    assert " of " in said
    assert "in a row are bad, most often not_json" in said
    assert f"the newest {place.prefix}{TOPIC}/{SHARD} at offset " in said
    assert f"SURGELINE_DEAD_LETTERS_IN_A_ROW={IN_A_ROW} allows" in said
    assert place.fence(stored[0][0], SHARD) <= 2 + IN_A_ROW


def test_restarts_bury_nothing_twice_and_one_start_lets_all_pass(place: Place) -> None:
    stored = place.produce([visit(0), *map(poison, range(200)), visit(1)])
    for _ in range(3):
        last_line(place.start_worker())
    passed = place.fence(stored[0][0], SHARD)
    assert passed <= 1 + 3 * IN_A_ROW

    place.start_worker(SURGELINE_DEAD_LETTERS_IN_A_ROW="0", SURGELINE_DEAD_LETTER_SHARE="0")
    place.wait_scored(stored)

    assert letters(place, 200) == {str(1 + n): 1 for n in range(200)}
    (account,) = place.answer("account", "acme", "--as-of", "2024-06-04")
    assert account["events"] == 2


def test_worker_goes_on_after_a_restart_when_the_producer_was_repaired(place: Place) -> None:
    worker = place.ready_worker()
    place.wait_scored(place.produce(map(poison, range(30))))
    place.produce(map(poison, range(30, 60)))
    last_line(worker)

    stored = place.produce([visit(0)])
    place.ready_worker()
    place.wait_scored(stored)

    assert letters(place, 60) == {str(n): 1 for n in range(60)}


def test_worker_stops_at_a_large_share_of_bad_records(place: Place) -> None:
    stored = place.produce(poison(n) if n % 5 < 3 else visit(n) for n in range(300))

    said = last_line(place.start_worker())

    assert "of its last " in said
    assert "SURGELINE_DEAD_LETTER_SHARE=0.5 allows" in said
    assert place.fence(stored[0][0], SHARD) < len(stored)


def test_small_share_of_bad_records_does_not_stop_a_worker(place: Place) -> None:
    stored = place.produce(visit(n) if n % 20 else poison(n) for n in range(1_000))

    worker = place.ready_worker()
    place.wait_scored(stored)

    assert worker.exit_code is None
    assert letters(place, 50).total() == 50
