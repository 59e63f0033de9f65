"""The commands on dead letters: looking at them, and sending them again."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiokafka
import pytest

from stream.routing import shard_of
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.worker_kit import PARTITIONS, Found, Place, Sent, Servers, Worker, record_of
from tests.system.harness import PATIENCE, Json, eventually, write_lines

pytestmark = [KAFKA_ONLY]

# aiokafka's own types are incomplete.
_aiokafka: Any = aiokafka

SMALL_BYTES = "1024"
AS_OF = "2024-06-10"
ARRIVED_MS = int(time.time()) * 1_000 - 3_600_123
"""An hour ago: Kafka may delete at once what is older than it keeps."""


def visit(account: str, number: int = 0, **fields: Any) -> Json:
    return {
        "id": f"{account}-{number}",
        "source": "test",
        "type": "page_visit",
        "time": "2024-06-03T00:00:00Z",
        "account_id": account,
        "url": "https://x.example/",
        "duration_seconds": 60,
    } | fields


def large(account: str, number: int = 0) -> Json:
    return visit(account, number, padding="x" * 2_000)


class Running(NamedTuple):
    """A worker that takes what an earlier one, which read small records only, buried."""

    place: Place
    worker: Worker


@pytest.fixture(scope="module")
def running(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Place(servers, tmp_path_factory.mktemp("letters")) as place:
        place.declare_topics()
        strict = place.ready_worker(SURGELINE_MAX_RECORD_BYTES=SMALL_BYTES)
        buried = [*(large("upgraded", n) for n in range(5)), large("again"), large("dry")]
        place.wait_scored(place.produce([record_of(each) for each in buried]))
        headed = asyncio.run(
            produce_one(place, record_of(large("headed")), [("trace", b"\x00\x01")])
        )
        place.wait_scored([headed])
        assert strict.terminate() == 0
        yield Running(place, place.ready_worker())


async def produce_one(
    place: Place, record: Sent, headers: list[tuple[str, bytes]]
) -> tuple[str, int, int]:
    async with _aiokafka.AIOKafkaProducer(bootstrap_servers=place.kafka) as producer:
        stored = await producer.send_and_wait(
            place.prefix + record.topic,
            record.value,
            record.key,
            headers=headers,
            timestamp_ms=ARRIVED_MS,
        )
    return record.topic, stored.partition, stored.offset


async def read_back(place: Place, topic: str, key: bytes, count: int) -> list[Any]:
    """Return the first *count* records of *topic* with *key*."""
    found: list[Any] = []
    async with _aiokafka.AIOKafkaConsumer(
        bootstrap_servers=place.kafka, auto_offset_reset="earliest", enable_auto_commit=False
    ) as consumer:
        topic = place.prefix + topic
        consumer.assign([_aiokafka.TopicPartition(topic, n) for n in range(PARTITIONS)])
        async with asyncio.timeout(PATIENCE * 30):
            while len(found) < count:
                fetched = await consumer.getmany(timeout_ms=300)
                found += [r for each in fetched.values() for r in each if r.key == key]
    return found


def letters_of(place: Place, account: str, *options: str) -> list[Json]:
    key = base64.b64encode(account.encode()).decode()
    listed = place.answer("dead-letters", "list", *options)
    return [each for each in listed if each["key_base64"] == key]


def replay(place: Place, *options: str) -> str:
    done = place.run("dead-letters", "replay", *options)
    assert done.returncode == 0, done.stderr
    return done.stderr


def lines_of(place: Place, letters: list[Json]) -> str:
    """Return the name of a file of *letters*."""
    name = f"letters-{len(list(place.directory.iterdir()))}.jsonl"
    return str(write_lines(place.directory / name, letters))


def scored(place: Place, account: str, events: int) -> bool:
    return eventually(
        lambda: place.hashes().get(account, {}).get("events") == str(events), within_seconds=20
    )


def test_letter_is_listed_with_origin_reason_and_raw_bytes(running: Running) -> None:
    (letter,) = letters_of(running.place, "headed", "--reason", "too_large")

    value = record_of(large("headed")).value
    assert value is not None
    assert (letter["topic"], letter["partition"]) == ("page-visits", shard_of("headed", PARTITIONS))
    assert letter["timestamp_ms"] == ARRIVED_MS
    assert letter["detail"] == f"{len(value)} bytes; at most {SMALL_BYTES} are read"
    assert base64.b64decode(letter["value_base64"]) == value
    assert letter["value"] == value.decode()
    assert letter["headers"] == [["trace", "AAE="]]


def test_letters_are_filtered_and_limited(running: Running) -> None:
    place = running.place
    everything = place.answer("dead-letters", "list")

    assert len(everything) >= 8
    assert place.answer("dead-letters", "list", "--reason", "bad_time") == []
    assert place.answer("dead-letters", "list", "--topic", "emails") == []
    assert place.answer("dead-letters", "list", "--since", "2999-01-01") == []
    newest = place.answer("dead-letters", "list", "--limit", "2")
    assert [each["time"] for each in newest] == sorted(each["time"] for each in everything)[-2:]


def test_table_shows_where_a_letter_came_from_and_how_it_begins(running: Running) -> None:
    done = running.place.run("dead-letters", "list", "--limit", "1", COLUMNS="200")

    assert done.returncode == 0, done.stderr
    assert "page-visits/" in done.stdout
    assert "too_large" in done.stdout
    assert '{"id": ' in done.stdout
    assert "these are the newest 1 of " in done.stderr


def test_summary_counts_by_topic_and_reason(running: Running) -> None:
    found = running.place.answer("dead-letters", "list", "--summary")

    (row,) = [each for each in found if each["reason"] == "too_large"]
    assert row["topic"] == "page-visits"
    assert row["letters"] >= 8


def test_unknown_topic_is_wrong_usage(running: Running) -> None:
    done = running.place.run("dead-letters", "list", "--topic", "telegrams")

    assert done.returncode == 2
    assert "page-visits" in done.stderr


def test_dry_run_sends_nothing(running: Running) -> None:
    place = running.place
    file = lines_of(place, letters_of(place, "dry"))

    said = replay(place, file, "--dry-run")

    assert "would replay 1 dead letter." in said
    assert letters_of(place, "dry")[0]["replayed"] is False


def test_letters_buried_by_an_older_version_are_scored_after_a_replay(running: Running) -> None:
    place = running.place

    said = replay(place, lines_of(place, letters_of(place, "upgraded")))

    assert "replayed 5 dead letters." in said
    assert scored(place, "upgraded", 5), place.logs()
    assert all(each["replayed"] for each in letters_of(place, "upgraded"))


def test_replayed_record_is_as_it_was_and_says_that_it_was_replayed(running: Running) -> None:
    place = running.place
    (letter,) = letters_of(place, "headed")
    replay(place, lines_of(place, [letter]))

    first, second = asyncio.run(read_back(place, "page-visits", b"headed", 2))

    origin = f"{letter['letter_partition']}/{letter['letter_offset']}".encode()
    assert (second.value, second.key, second.timestamp) == (first.value, b"headed", ARRIVED_MS)
    assert second.partition == first.partition
    assert second.headers == (("trace", b"\x00\x01"), ("surgeline-replayed-from", origin))


def test_letter_is_replayed_once_unless_asked_again(running: Running) -> None:
    place = running.place
    file = lines_of(place, letters_of(place, "again"))

    said = [replay(place, file), replay(place, file), replay(place, file, "--again")]

    assert "replayed 1 dead letter." in said[0]
    assert "replayed 0 dead letters; passed over 1 replayed before" in said[1]
    assert "replayed 1 dead letter." in said[2]
    copies = asyncio.run(read_back(place, "page-visits", b"again", 3))
    place.wait_scored([("page-visits", copies[-1].partition, copies[-1].offset)])
    assert place.hashes()["again"]["events"] == "1"


def test_record_that_is_still_bad_becomes_a_letter_of_its_own(running: Running) -> None:
    place, bad = running.place, Sent("chats", b"never JSON", b"hopeless")
    place.wait_scored(place.produce([bad]))

    said = replay(place, "--topic", "chats", "--reason", "not_json")
    assert eventually(lambda: len(letters_of(place, "hopeless")) == 2, within_seconds=20)

    first, second = sorted(letters_of(place, "hopeless"), key=lambda each: int(each["offset"]))
    assert "replayed 1 dead letter." in said
    assert (first["replayed"], second["replayed"]) == (True, False)
    assert (second["topic"], second["value"]) == ("chats", "never JSON")
    assert second["headers"][0][0] == "surgeline-replayed-from"


def test_letters_repaired_in_a_file_are_scored(running: Running) -> None:
    place = running.place
    broken = visit("repaired", duration_seconds="sixty")
    place.wait_scored(place.produce([record_of(broken)]))
    (letter,) = letters_of(place, "repaired", "--reason", "wrong_type")
    letter["value"] = json.loads(letter["value"]) | {"duration_seconds": 60}

    replay(place, lines_of(place, [letter]))

    assert scored(place, "repaired", 1), place.logs()
    assert letters_of(place, "repaired")[0]["replayed"] is True


def test_receipts_are_read_by_nobody_as_letters(running: Running) -> None:
    place = running.place
    place.wait_scored(place.produce([Sent("emails", b"", b"receipted")]))
    replay(place, "--topic", "emails")

    def receipted(found: list[Found]) -> bool:
        return any("surgeline-replayed" in each.headers for each in found)

    raw = place.read("dead-letters", receipted)

    assert [each.value for each in raw if "surgeline-replayed" in each.headers] == [None] * len(
        [each for each in raw if "surgeline-replayed" in each.headers]
    )
    assert all(each["reason"] for each in place.answer("dead-letters", "list"))


async def produce_nothing(place: Place, topic: str, partition: int) -> tuple[str, int, int]:
    """Produce a record with neither key nor value, which the client sends in whole batches only."""
    async with _aiokafka.AIOKafkaProducer(bootstrap_servers=place.kafka) as producer:
        batch = producer.create_batch()
        assert batch.append(key=None, value=None, timestamp=None) is not None
        batch.close()
        sent = await producer.send_batch(batch, place.prefix + topic, partition=partition)
        stored = await sent
    return topic, stored.partition, stored.offset


def test_record_with_neither_key_nor_value_is_buried_and_replayed(running: Running) -> None:
    place = running.place
    place.wait_scored([asyncio.run(produce_nothing(place, "surveys", 1))])

    said = replay(place, "--topic", "surveys")

    assert "replayed 1 dead letter." in said
    assert eventually(
        lambda: len(place.answer("dead-letters", "list", "--topic", "surveys")) == 2,
        within_seconds=20,
    )
    assert running.worker.exit_code is None


def test_line_that_is_no_letter_is_refused(running: Running) -> None:
    file = lines_of(running.place, [{"event": "click"}])

    done = running.place.run("dead-letters", "replay", file)

    assert done.returncode == 1
    assert f"{file}:1 is no dead letter" in done.stderr


def test_place_without_topics_has_no_letters(servers: Servers, tmp_path: Path) -> None:
    with Place(servers, tmp_path) as place:
        assert place.answer("dead-letters", "list") == []
        assert place.answer("dead-letters", "list", "--summary") == []
