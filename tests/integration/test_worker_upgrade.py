"""Scores that an earlier version stored: read, scored on, and written anew; later ones refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream.state_store import FORMAT
from tests.integration.conftest import KAFKA_ONLY
from tests.integration.mixed_stream import AS_OF, mixed_stream
from tests.integration.worker_kit import Place, Servers, record_of
from tests.system.harness import Json, differences, rows, write_lines

pytestmark = [KAFKA_ONLY]

ADDED_SINCE = 4
"""Fields at the end of a state that formats 1 and 2 did not have."""
SENIORITIES = ("c_level", "vp", "director", "manager", "other")


@pytest.fixture(scope="module")
def events() -> list[Json]:
    return mixed_stream(seed=31)


@pytest.fixture
def place(servers: Servers, tmp_path: Path, events: list[Json]) -> Iterator[Place]:
    """Half of the events are scored here, and no worker runs any more."""
    with Place(servers, tmp_path) as own:
        own.declare_topics()
        worker = own.ready_worker()
        own.wait_scored(own.produce(record_of(each) for each in events[: len(events) // 2]))
        assert worker.terminate() == 0
        yield own


def states(place: Place) -> dict[bytes, Any]:
    """Return the stored states by key, as plain arrays."""
    keys = list(place.redis.scan_iter(match="sl:{*}:state:*", count=1_000))
    found = {key: place.redis.get(key) for key in keys}
    return {
        key: msgspec.msgpack.decode(data) for key, data in found.items() if isinstance(data, bytes)
    }


def formats(place: Place) -> set[int]:
    return {state[1] for state in states(place).values()}


def store_as_format_1(place: Place) -> None:
    """Store all states as the first version did: seniorities written out, nothing on alerts."""
    for key, state in states(place).items():
        state[1] = 1
        del state[-ADDED_SINCE:]
        for contact in state[4].values():
            contact[3] = None if contact[3] is None else SENIORITIES[contact[3]]
        place.redis.set(key, msgspec.msgpack.encode(state))
    place.redis.hset("sl:meta", "format", "1")


def test_states_of_the_first_format_are_read_and_rewritten(
    place: Place, events: list[Json]
) -> None:
    store_as_format_1(place)
    before = place.accounts(AS_OF)

    worker = place.ready_worker()
    place.wait_scored(place.produce(record_of(each) for each in events[len(events) // 2 :]))

    file = write_lines(place.directory / "all.jsonl", events)
    alone = rows(place.run("score", str(file), "--as-of", AS_OF, "--json").stdout)
    assert before
    assert differences(place.accounts(AS_OF), alone) == []
    assert FORMAT in formats(place)
    assert place.redis.hget("sl:meta", "format") == str(FORMAT).encode()
    assert "format 1" in worker.log()


def test_scores_of_a_later_format_are_refused_untouched(place: Place) -> None:
    place.redis.hset("sl:meta", "format", "99")
    stored = {key: place.redis.dump(key) for key in place.redis.scan_iter(match="sl:*")}

    done = place.run("worker")

    assert done.returncode == 1
    assert "format 99" in done.stderr
    assert stored == {key: place.redis.dump(key) for key in place.redis.scan_iter(match="sl:*")}


def test_a_single_state_of_a_later_format_ends_the_worker_and_stays(
    place: Place, events: list[Json]
) -> None:
    later = {key: [state[0], 99, *state[2:]] for key, state in states(place).items()}
    for key, state in later.items():
        place.redis.set(key, msgspec.msgpack.encode(state))
    place.produce(record_of(each) for each in events[len(events) // 2 :])

    worker = place.start_worker()

    assert worker.wait() == 1
    assert "is stored in format 99" in worker.log()
    assert formats(place) == {99}
