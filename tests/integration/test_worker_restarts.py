"""Workers that are killed, stopped and joined by others: nothing is lost, nothing counts twice."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import KAFKA_ONLY
from tests.integration.mixed_stream import AS_OF, mixed_stream
from tests.integration.worker_kit import PARTITIONS, Found, Place, Servers, Worker, record_of
from tests.system.harness import Json, differences, eventually, rows, write_lines

SMALL_COMMITS = "25"
"""Records a commit, so that a kill finds most of the stream still to be scored."""


@pytest.fixture(scope="module")
def events() -> list[Json]:
    return mixed_stream(seed=23)


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(servers, tmp_path, SURGELINE_FLUSH_RECORDS=SMALL_COMMITS) as own:
        own.declare_topics()
        yield own


def scored_alone(place: Place, events: list[Json]) -> list[Json]:
    file = write_lines(place.directory / "alone.jsonl", events)
    return rows(place.run("score", str(file), "--as-of", AS_OF, "--json").stdout)


def at_progress(place: Place, share: float, total: int) -> int:
    """Wait until at least *share* of *total* records are committed; return how many are."""
    assert eventually(
        lambda: place.committed() >= share * total, within_seconds=30, every_seconds=0.002
    ), place.logs()
    return place.committed()


def announcements(place: Place) -> list[Found]:
    """Return `score-changes`, once nothing waits to be announced."""
    assert eventually(lambda: place.outbox() == 0, within_seconds=10)

    def complete(found: list[Found]) -> bool:
        newest = {each.json["account_id"]: each.json["as_of"] for each in found}
        return newest == {name: stored["as_of"] for name, stored in place.hashes().items()}

    return place.read("score-changes", complete)


def assert_announced_what_was_counted(place: Place) -> None:
    """Assert that every move in the funnel was announced, under one id however often."""
    by_id = {t["id"]: t for found in announcements(place) for t in found.json["transitions"]}
    moves = Counter(t["subject"] for t in by_id.values() if t["rule"] == "stage_changed")
    assert moves == {name: n for name, n in place.funnel().items() if ">" in name}


@KAFKA_ONLY
def test_worker_killed_three_times_loses_and_doubles_nothing(
    place: Place, events: list[Json]
) -> None:
    stored: list[tuple[str, int, int]] = []
    total = len(events)
    for share in (0.1, 0.3, 0.5):
        # No more than this, so that there are records left whenever the kill comes.
        upto = round((share + 0.3) * total)
        stored += place.produce(record_of(each) for each in events[len(stored) : upto])
        worker = place.start_worker()
        done = at_progress(place, share, total)
        worker.kill()
        assert done < 0.9 * total, "it was killed too late to prove anything"
    stored += place.produce(record_of(each) for each in events[len(stored) :])
    place.start_worker()
    place.wait_scored(stored)

    assert differences(place.accounts(AS_OF), scored_alone(place, events)) == []
    assert_announced_what_was_counted(place)


@KAFKA_ONLY
def test_stopped_worker_commits_what_it_has_folded(place: Place, events: list[Json]) -> None:
    some = events[:400]
    worker = place.ready_worker(SURGELINE_FLUSH_SECONDS="3600", SURGELINE_FLUSH_RECORDS="100000")
    place.produce(record_of(each) for each in some)
    assert eventually(
        lambda: worker.metric("surgeline_batch_records_sum") == len(some), within_seconds=20
    )
    assert place.committed() == 0

    exit_code = worker.terminate(within_seconds=5)

    assert exit_code == 0
    assert place.committed() == len(some)
    assert place.outbox() == 0
    assert differences(place.accounts(AS_OF), scored_alone(place, some)) == []


def owned(worker: Worker) -> float:
    return worker.metric("surgeline_shards_owned")


@KAFKA_ONLY
def test_worker_that_joins_and_leaves_under_load_changes_no_score(
    place: Place, events: list[Json]
) -> None:
    third = len(events) // 3
    first = place.ready_worker()
    stored = place.produce(record_of(each) for each in events[:third])
    second = place.start_worker()
    stored += place.produce(record_of(each) for each in events[third : 2 * third])
    assert eventually(lambda: owned(second) > 0, within_seconds=30), place.logs()

    # In the middle of the assignment, which the worker that is told to stop has to take as well.
    assert first.terminate(within_seconds=5) == 0
    stored += place.produce(record_of(each) for each in events[2 * third :])
    place.wait_scored(stored)

    assert owned(second) == PARTITIONS
    assert differences(place.accounts(AS_OF), scored_alone(place, events)) == []
    assert_announced_what_was_counted(place)


@KAFKA_ONLY
def test_worker_that_was_frozen_and_replaced_cannot_write_what_it_had_folded(
    place: Place, events: list[Json]
) -> None:
    half = len(events) // 2
    frozen = place.ready_worker()
    stored = place.produce(record_of(each) for each in events[:half])
    at_progress(place, 0.05, len(events))
    os.kill(frozen.pid, signal.SIGSTOP)
    assert place.committed() < half, "it was frozen too late to prove anything"
    place.ready_worker()
    stored += place.produce(record_of(each) for each in events[half:])
    place.wait_scored(stored)

    os.kill(frozen.pid, signal.SIGCONT)

    assert eventually(lambda: "Redis refused a commit" in frozen.log(), within_seconds=20)
    assert eventually(lambda: frozen.get("/readyz")[0] == 200, within_seconds=20)
    assert differences(place.accounts(AS_OF), scored_alone(place, events)) == []
    assert_announced_what_was_counted(place)


def go_back(place: Place, saved: dict[Any, Any]) -> None:
    """Put Redis back to *saved*, as a failover to a replica that lags does."""
    with place.redis.pipeline(transaction=True) as back_in_time:
        back_in_time.flushdb()
        for key, value in saved.items():
            back_in_time.restore(key, 0, value)
        back_in_time.execute()


def rest(place: Place) -> None:
    """Wait until nothing is left to commit, and the worker has just looked for what is due.

    It looks again in a second, after a look at its fences.
    """

    def nothing_due() -> bool:
        return not any(
            place.redis.zcount(f"sl:{{{shard}}}:due", "-inf", place.clock(shard) or "-inf")
            for shard in range(PARTITIONS)
        )

    def looks() -> int:
        return int(place.redis.info("commandstats")["cmdstat_zrangebyscore"]["calls"])

    assert eventually(nothing_due, within_seconds=20)
    assert eventually(lambda: place.outbox() == 0, within_seconds=10)
    before = looks()
    assert eventually(lambda: looks() >= before + PARTITIONS, within_seconds=10)
    time.sleep(0.2)  # if that began in the middle of a round, for the rest of the next one


def snapshot(place: Place) -> dict[Any, Any]:
    assert eventually(lambda: place.outbox() == 0, within_seconds=10)
    return {key: place.redis.dump(key) for key in place.redis.scan_iter(match="sl:*", count=1_000)}


@KAFKA_ONLY
def test_redis_that_lost_its_newest_writes_is_replayed_from_kafka(
    place: Place, events: list[Json]
) -> None:
    half = len(events) // 2
    worker = place.ready_worker()
    place.wait_scored(place.produce(record_of(each) for each in events[:half]))
    saved = snapshot(place)
    stored = place.produce(record_of(each) for each in events[half:])
    place.wait_scored(stored)

    rest(place)
    go_back(place, saved)  # and nothing is produced any more that would meet the old fence

    place.wait_scored(stored)
    assert differences(place.accounts(AS_OF), scored_alone(place, events)) == []
    assert "Redis has forgotten commits" in worker.log()
